"""Orbitals of metals by self-consistency: a few steps of LOBPCG in a potential, new occupations, a mixed density, and again.

A. V. Knyazev, SIAM J. Sci. Comput. 23 (2001) 517; mixing of D. G. Anderson, J. ACM 12 (1965) 547, of densities whose long waves
are damped as by G. P. Kerker, Phys. Rev. B 23 (1981) 3082. W is the free energy of the orbitals and occupations themselves.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fiberax.numerics.result import Outcome, Result, outcome
from fiberax.physics.solids.electrons import bloch, fourier
from fiberax.physics.solids.electrons import hamiltonian as h
from fiberax.physics.solids.electrons.hamiltonian import Setting
from fiberax.physics.solids.electrons.occupations import Smearing, occupied

_MOST = 80
_INNER = 3
_DEPTH = 6
_DAMPED = 0.6  # 1/bohr
_NULL = 1e-9


class Occupied(NamedTuple):
    """State of a metal: coefficients (k, bands, g, 2), occupations f (k, bands), and −T S per cell (hartree)."""

    orbitals: Float[Array, "k bands g 2"]
    occupations: Float[Array, "k bands"]
    heat: Float[Array, ""]


class Frame(NamedTuple):
    """Functions: coefficients, kinetic and nonlocal part of H, all of H in the present potential."""

    c: Any
    bare: Any
    full: Any


class _Carry(NamedTuple):
    frame: Frame
    before: Frame  # directions of the last step
    psi: Any  # orbitals on the grid
    share: Any
    heat: Any
    density: Any
    tried: Any  # the last densities and their residuals, output minus input, (depth, n1, n2, n3)
    missed: Any
    norm: Any
    step: Any
    result: Any


def self_consistent(
    s: Setting, smearing: Smearing, electrons: float, weights: Any, state: Occupied, tolerance: float, careful: Any = 1.0
) -> tuple[Occupied, Outcome]:
    """Orbitals and occupations near `state`, to a residual (hartree, mean over electrons) below `tolerance`.

    With `careful` below 1 densities change by that part of a step, in more steps.
    """
    c = h.orthonormal(jnp.where(s.there[:, None], state.orbitals[..., 0] + 1j * state.orbitals[..., 1], 0.0))
    psi = bloch.to_grid(s.points, c)
    frame = Frame(c, h.without_potential(s, c), jnp.zeros_like(c))
    share = weights[:, None] * state.occupations
    density = bloch.count(s.points, psi, share)
    density = density * (electrons / s.cell.volume / jnp.mean(density))  # mixing leaves the mean as it is
    none = jnp.zeros((_DEPTH, *density.shape))
    nowhere = jax.tree.map(jnp.zeros_like, frame)
    start = _Carry(
        frame, nowhere, psi, share, state.heat, density, none, none, jnp.inf, jnp.zeros((), jnp.int32), jnp.int32(-1)
    )

    def body(x: _Carry) -> _Carry:
        potential = h.potential(s, x.density)
        frame, before, levels = _lowest(s, potential, x)
        psi = bloch.to_grid(s.points, frame.c)
        f, heat, _ = occupied(smearing, levels, weights, electrons)
        share = weights[:, None] * f
        out = bloch.count(s.points, psi, share) / s.cell.volume
        off = frame.full - levels[..., None] * frame.c
        orbital = jnp.sum(jnp.abs(share) * jnp.sum(jnp.abs(off) ** 2, axis=-1)) / electrons
        change = h.potential(s, out) - potential
        norm = jnp.sqrt(orbital + s.cell.volume * jnp.mean(out * change**2) / electrons)
        density, tried, missed = _mixed(s, x, out, careful)
        result = jnp.where(x.step + 1 >= _MOST / careful, jnp.int32(Result.MAX_STEPS), jnp.int32(-1))
        result = jnp.where(norm <= tolerance, jnp.int32(Result.SUCCESS), result)
        result = jnp.where(jnp.isfinite(norm), result, jnp.int32(Result.NONFINITE))
        return _Carry(frame, before, psi, share, heat, density, tried, missed, norm, x.step + 1, result)

    end = jax.lax.while_loop(lambda x: x.result < 0, body, start)
    orbitals = jnp.stack([end.frame.c.real, end.frame.c.imag], axis=-1)
    return Occupied(orbitals, end.share / weights[:, None], end.heat), outcome(end.result, end.step, end.norm)


def _lowest(s: Setting, potential, x: _Carry) -> tuple[Frame, Frame, Any]:
    """Some steps towards the lowest orbitals in a potential; the directions of the last one, and levels (k, bands)."""
    bands = x.frame.c.shape[1]

    def of(c, bare, psi) -> Frame:
        return Frame(c, bare, bare + h.local_part(s, psi, potential))

    frame = of(x.frame.c, x.frame.bare, x.psi)
    before = of(x.before.c, x.before.bare, bloch.to_grid(s.points, x.before.c))

    def improved(_, found):
        frame, before, _ = found
        residual = frame.full - h.mix(frame.c, h.inner(frame.c, frame.full))
        z = h.softened(s, residual)
        z = z - h.mix(frame.c, h.inner(frame.c, z))
        z = z / jnp.maximum(jnp.linalg.norm(z, axis=-1, keepdims=True), 1e-200)
        added = of(z, h.without_potential(s, z), bloch.to_grid(s.points, z))
        space = jax.tree.map(lambda *parts: jnp.concatenate(parts, axis=1), frame, added, before)
        levels, chosen = _ritz(h.inner(space.c, space.c), h.inner(space.c, space.full), bands)
        frame = Frame(*(h.mix(part, chosen) for part in space))
        aside = Frame(*(h.mix(part[:, bands:], chosen[:, bands:]) for part in space))
        length = jnp.maximum(jnp.linalg.norm(aside.c, axis=-1, keepdims=True), 1e-200)
        return frame, Frame(*(part / length for part in aside)), levels

    return jax.lax.fori_loop(0, _INNER, improved, (frame, before, jnp.zeros(frame.c.shape[:2])))


def _ritz(overlap, energy, bands: int):
    """Lowest levels in a space, and the combinations that have them; nearly dependent vectors are left out."""
    values, vectors = jnp.linalg.eigh(overlap)
    null = values < _NULL
    scaled = vectors * jnp.where(null, 0.0, jnp.where(null, 1.0, values) ** -0.5)[:, None]
    small = jnp.einsum("kpa,kpq,kqb->kab", scaled.conj(), 0.5 * (energy + jnp.swapaxes(energy.conj(), 1, 2)), scaled)
    small = small + jnp.where(null, 1e6, 0.0)[:, None] * jnp.eye(small.shape[-1])
    levels, turned = jnp.linalg.eigh(small)
    return levels[:, :bands], (scaled @ turned)[:, :, :bands]


def _mixed(s: Setting, x: _Carry, out: Float[Array, "n1 n2 n3"], careful) -> tuple[Any, Any, Any]:
    """The next density, and the memory with this one in it."""
    shape = s.points.shape
    tried = jnp.roll(x.tried, 1, axis=0).at[0].set(x.density)
    missed = jnp.roll(x.missed, 1, axis=0).at[0].set(out - x.density)
    known = jnp.arange(1, _DEPTH) <= x.step
    mask = known[:, None, None, None]
    older = jnp.where(mask, missed[1:] - missed[0], 0.0)
    normal = jnp.einsum("anml,bnml->ab", older, older)
    scale = jnp.trace(normal) / _DEPTH + 1e-300
    normal = normal + jnp.diag(jnp.where(known, 1e-12 * scale, scale))
    weight = -jnp.linalg.solve(normal, jnp.einsum("anml,nml->a", older, missed[0]))
    weight = jnp.where(known, weight, 0.0)
    best = tried[0] + jnp.einsum("a,anml->nml", weight, jnp.where(mask, tried[1:] - tried[0], 0.0))
    left = missed[0] + jnp.einsum("a,anml->nml", weight, older)
    damped = fourier.forward(left) * (s.cell.g2 / (s.cell.g2 + _DAMPED**2))
    return best + 0.8 * careful * fourier.backward(shape, damped), tried, missed

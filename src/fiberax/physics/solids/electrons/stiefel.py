"""Orbitals of insulators by direct minimisation: conjugate gradients on orthonormal frames, all k at once.

T. A. Arias, M. C. Payne, J. D. Joannopoulos, Phys. Rev. Lett. 69 (1992) 1077; A. Edelman, T. A. Arias, S. T. Smith, SIAM J.
Matrix Anal. Appl. 20 (1998) 303. The step along a direction comes from the exact second derivative of the energy; orbitals on
the grid are updated as well, so that an iteration costs two transforms of each. A step that raises the energy is taken back.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fiberax.numerics.result import Outcome, outcome
from fiberax.physics.solids.electrons import bloch, descent
from fiberax.physics.solids.electrons import hamiltonian as h
from fiberax.physics.solids.electrons.bloch import Coefficients
from fiberax.physics.solids.electrons.hamiltonian import Setting

_MOST = 200
_WIDEST = 0.4  # largest turn of an orbital in a step
_SHORTEST = 1e-4  # of what a step should be


class _Point(NamedTuple):
    c: Coefficients
    psi: Any  # on the grid
    bare: Coefficients  # kinetic and nonlocal part of H c
    density: Float[Array, "n1 n2 n3"]
    potential: Float[Array, "n1 n2 n3"]
    energy: Float[Array, ""]
    lagrange: Any  # c†Hc
    residual: Coefficients
    norm: Float[Array, ""]


class _Carry(NamedTuple):
    point: _Point
    way: Coefficients
    before: Coefficients
    product: Any
    shorter: Any
    step: Any
    result: Any


def _at(s: Setting, share, c, psi, bare, count) -> _Point:
    density = count.reshape(s.points.shape) / s.cell.volume
    potential = h.potential(s, density)
    applied = bare + h.local_part(s, psi, potential)
    lagrange = h.inner(c, applied)
    residual = applied - h.mix(c, lagrange)
    kinetic = jnp.einsum("kb,kbg,kbg->", share, c.conj(), bare).real
    norm = jnp.sqrt(jnp.sum(share * jnp.sum(jnp.abs(residual) ** 2, axis=-1)) / jnp.sum(share))
    return _Point(c, psi, bare, density, potential, kinetic + h.of_density(s, density), lagrange, residual, norm)


def minimum(
    s: Setting, share: Float[Array, "k bands"], guess: Coefficients, tolerance: float, careful: Any = 1.0
) -> tuple[Coefficients, Outcome]:
    """Orbitals near `guess` whose residual (hartree, mean over electrons) is below `tolerance`; all of a k share one weight.

    With `careful` below 1 steps are bounded more tightly, and are plain preconditioned descent.
    """
    c = h.orthonormal(jnp.where(s.there[:, None], guess, 0.0))
    psi = bloch.to_grid(s.points, c)
    point = _at(s, share, c, psi, h.without_potential(s, c), bloch.count(s.points, psi, share))
    none, one = jnp.zeros_like(c), jnp.ones(())
    carry = _Carry(point, none, none, one, one, jnp.zeros((), jnp.int32), _verdict(point, 0, one, tolerance))
    carry = jax.lax.while_loop(lambda x: x.result < 0, lambda x: _iteration(s, share, x, tolerance, careful), carry)
    return carry.point.c, outcome(carry.result, carry.step, carry.point.norm)


def _verdict(point: _Point, step, shorter, tolerance):
    return descent.verdict(point.norm, point.energy, step, shorter, tolerance, _MOST, _SHORTEST)


def horizontal(c: Coefficients, d: Coefficients) -> Coefficients:
    """Directions without their part in the span of c."""
    return d - h.mix(c, h.inner(c, d))


def _iteration(s: Setting, share, x: _Carry, tolerance, careful) -> _Carry:
    p = x.point
    weighed = lambda a, b: jnp.einsum("kb,kbg,kbg->", share, a.conj(), b).real
    down = -horizontal(p.c, h.softened(s, p.residual))
    product = -weighed(p.residual, down)
    more = descent.share_of_the_last(weighed(down, p.residual - x.before), x.product, x.step, x.shorter, careful)
    way = down + more * horizontal(p.c, x.way)
    slope = 2.0 * weighed(way, p.residual)
    way, slope = jnp.where(slope < 0.0, way, down), jnp.where(slope < 0.0, slope, -2.0 * product)

    bare = h.without_potential(s, way)
    moved, change, second = _moved(s, share, way, p.psi)
    answer = h.answer(s, p.density, change)
    turning = jnp.einsum("kb,kab,kab->", share, p.lagrange.conj(), h.inner(way, way)).real
    curve = 2.0 * (weighed(way, bare) + jnp.mean(p.potential * second) - turning)
    curve = curve + s.cell.volume * jnp.mean(change * answer)
    widest = careful * _WIDEST / jnp.sqrt(jnp.max(jnp.sum(jnp.abs(way) ** 2, axis=-1)))
    t = descent.length(slope, curve, widest, x.shorter)

    root = _inverse_root(t**2 * h.inner(way, way))
    psi, count = _turned(share, p.psi, moved, t, root)
    new = _at(s, share, h.mix(p.c + t * way, root), psi, h.mix(p.bare + t * bare, root), count)
    point, shorter = descent.kept(new, p, -slope * t, x.shorter)
    step = x.step + 1
    return _Carry(point, way, p.residual, product, shorter, step, _verdict(point, step, shorter, tolerance))


def curvature(s: Setting, share: Float[Array, "k bands"], c: Coefficients) -> Callable[[Coefficients], Coefficients]:
    """The map d -> H d − d Λ + δV c without its part in the span of c: second derivatives of the energy over 2 `share`."""
    psi = bloch.to_grid(s.points, c)
    point = _at(s, share, c, psi, h.without_potential(s, c), bloch.count(s.points, psi, share))

    def apply(d):
        moved, change, _ = _moved(s, share, d, psi)
        answer = h.answer(s, point.density, change)
        bent = bloch.from_grid(s.points, moved * point.potential.reshape(-1) + psi * answer.reshape(-1))
        found = h.without_potential(s, d) + jnp.where(s.there[:, None], bent, 0.0) - h.mix(d, point.lagrange)
        return horizontal(c, found)

    return apply


def _moved(s: Setting, share, way, psi) -> tuple[Any, Any, Any]:
    """Directions on the grid, the change of the density along them, and Σ share |way|²; one k after another."""

    def one(sums, x):
        rows, place, now, w = x
        moved = bloch.spread(s.points, rows, place)
        first = w @ (now.real * moved.real + now.imag * moved.imag)
        return (sums[0] + 2.0 * first, sums[1] + w @ (moved.real**2 + moved.imag**2)), moved

    none = jnp.zeros(psi.shape[-1])
    sums, moved = jax.lax.scan(one, (none, none), (way, jnp.asarray(s.points.place), psi, share))
    return moved, sums[0].reshape(s.points.shape) / s.cell.volume, sums[1].reshape(s.points.shape)


def _turned(share, psi, moved, t, root) -> tuple[Any, Any]:
    """(ψ + t way) root on the grid, and Σ share |.|²; one k after another."""

    def one(total, x):
        now, along, turn, w = x
        new = turn.T @ (now + t * along)
        return total + w @ (new.real**2 + new.imag**2), new

    count, new = jax.lax.scan(one, jnp.zeros(psi.shape[-1]), (psi, moved, root, share))
    return new, count


def _inverse_root(small):
    """(1 + S)^{−1/2} for Hermitian S below 1, by Newton's iteration: other methods do not pay off for such small matrices."""
    eye = jnp.eye(small.shape[-1])
    start = jnp.broadcast_to(eye, small.shape).astype(small.dtype)
    return jax.lax.fori_loop(0, 6, lambda _, x: 0.5 * x @ (3.0 * eye - (eye + small) @ x @ x), start)

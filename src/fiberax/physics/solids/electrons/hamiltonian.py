"""The Kohn-Sham energy of orbitals at a displacement gradient, and its Hamiltonian in a potential (3.17)-(3.22)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fiberax.physics.solids.electrons import bloch, fourier, lda
from fiberax.physics.solids.electrons import cell as cells
from fiberax.physics.solids.electrons.bloch import Coefficients, Table

DEEP = 0.5  # hartree
_SHAKES = 20


class Setting(NamedTuple):
    """What stays constant while orbitals change. `there`: plane waves that are in the basis at this deformation."""

    points: Table
    xc: lda.Functional | None
    cell: cells.Cell
    kinetic: Float[Array, "k g"]
    there: Any
    projectors: Any
    strength: Any  # h (p, p)


def inner(a: Coefficients, b: Coefficients) -> Any:
    """Overlaps a†b, (k, bands, bands)."""
    return jnp.einsum("kag,kbg->kab", a.conj(), b)


def mix(c: Any, matrix: Any) -> Any:
    """Linear combinations Σ_a c_a M_ab."""
    return jnp.einsum("kag,kab->kbg", c, matrix)


def without_potential(s: Setting, c: Coefficients) -> Coefficients:
    """Kinetic and nonlocal part of H c."""
    found = s.kinetic[:, None] * c
    if s.strength.shape[0]:
        amplitude = jnp.einsum("kpg,kbg->kbp", s.projectors.conj(), c) @ s.strength
        found = found + jnp.einsum("kpg,kbp->kbg", s.projectors, amplitude)
    return jnp.where(s.there[:, None], found, 0.0)


def local_part(s: Setting, psi: Any, potential: Float[Array, "n1 n2 n3"]) -> Coefficients:
    """V c from the orbitals on the grid."""
    flat = potential.reshape(-1)
    found = jax.lax.map(lambda x: bloch.collect(s.points, x[0] * flat, x[1]), (psi, jnp.asarray(s.points.place)))
    return jnp.where(s.there[:, None], found, 0.0)


def exchange(s: Setting, density: Float[Array, "n1 n2 n3"]) -> Float[Array, "n1 n2 n3"]:
    """v_xc."""
    if s.xc is None:
        return jnp.zeros_like(density)
    functional = s.xc
    return jax.grad(lambda rho: jnp.sum(rho * lda.energy(rho, functional)))(_with_core(s, density))


def _with_core(s: Setting, density):
    """The density that exchange and correlation see."""
    return density if s.cell.core is None else density + fourier.backward(s.points.shape, s.cell.core)


def potential(s: Setting, density: Float[Array, "n1 n2 n3"]) -> Float[Array, "n1 n2 n3"]:
    """The local potential that belongs to a density."""
    return cells.of_ions(s.cell, s.points.shape) + cells.hartree(s.cell, s.points.shape, density) + exchange(s, density)


def answer(s: Setting, density: Float[Array, "n1 n2 n3"], change: Float[Array, "n1 n2 n3"]) -> Float[Array, "n1 n2 n3"]:
    """The change of the potential that belongs to a change of the density."""
    coulomb = cells.hartree(s.cell, s.points.shape, change)
    return coulomb + jax.jvp(lambda rho: exchange(s, rho), (density,), (change,))[1]


def of_density(s: Setting, density: Float[Array, "n1 n2 n3"]) -> Float[Array, ""]:
    """Energy per cell of a density: in the ions' potential, Hartree, exchange and correlation; without kinetic energy."""
    found = cells.electrostatic(s.cell, s.points.shape, density)
    if s.xc is not None:
        whole = _with_core(s, density)
        found = found + s.cell.volume * jnp.mean(whole * lda.energy(whole, s.xc))
    return found


def of_orbitals(s: Setting, c: Coefficients, share: Float[Array, "k bands"]) -> Float[Array, ""]:
    """Kinetic and nonlocal energy per cell; `share` = w f."""
    found = jnp.einsum("kb,kbg,kg->", share, c.real**2 + c.imag**2, jnp.where(s.there, s.kinetic, 0.0))
    if s.strength.shape[0]:
        amplitude = jnp.einsum("kpg,kbg->kbp", s.projectors.conj(), c)
        found = found + jnp.einsum("kb,kbp,pq,kbq->", share, amplitude.conj(), s.strength, amplitude).real
    return found


def softened(s: Setting, residual: Coefficients) -> Coefficients:
    """The residual over ½|q|² plus the depth of a valence level: fewer steps than with each band's own kinetic energy."""
    return residual / (s.kinetic[:, None] + DEEP)


def orthonormal(c: Coefficients) -> Coefficients:
    """The nearest orthonormal orbitals, (c†c)^{−1/2} applied."""
    values, vectors = jnp.linalg.eigh(inner(c, c))
    root = jnp.einsum("kab,kb,kcb->kac", vectors, values**-0.5, vectors.conj())
    return mix(c, root)


def spanning(c: Coefficients) -> Coefficients:
    """Orthonormal orbitals with the span of c, by Cholesky's factors: differentiable where overlaps have equal eigenvalues."""
    lower = jnp.linalg.cholesky(inner(c, c).conj())
    return jax.lax.linalg.triangular_solve(lower, c, left_side=True, lower=True)


def held(c: Coefficients, weights: Any) -> Any:
    """Zero, with the gradient of a spring (of DEEP hartree) that holds c, which could otherwise rotate within its span.

    The spring exerts no force on orthonormal c. Linear solvers at the minimum need it: round-off grows along directions
    without stiffness.
    """
    eye = jnp.eye(c.shape[1])
    off = inner(jax.lax.stop_gradient(c), c) - eye
    spring = 0.5 * DEEP * jnp.sum(weights[:, None, None] * (off.real**2 + off.imag**2))
    return 2.0 * (spring - jax.lax.stop_gradient(spring))


def lagrange(overlap: Any, across: Any) -> Any:
    """The Hermitian X with (c + c₀X)†(c + c₀X) = 1, from c†c and c₀†c, by Car's and Parrinello's iteration."""
    eye = jnp.eye(overlap.shape[-1])

    def improve(_, x):
        cross = x @ (eye - across)
        return 0.5 * (eye - overlap + cross + jnp.swapaxes(cross.conj(), 1, 2) - x @ x)

    return jax.lax.fori_loop(0, _SHAKES, improve, jnp.zeros_like(overlap))

"""Derivatives with respect to conductivities that are zero.

Where nothing conducts nothing determines the correctors, and A does not depend on them. The derivative of A with respect to the
conductivity there does: it belongs to the limit of a small conductivity, whose correctors minimise the first change of the
energy over everything that the energy itself leaves free.
"""

import equinox as eqx
import jax
import jax.numpy as jnp

from fiberax.numerics import conjugate_gradients as cg
from fiberax.physics.homogenization.discretisation import AbstractDiscretisation
from fiberax.physics.homogenization.media import medium

_TOLERANCE = 1e-10
_MAX_STEPS = 2000


@eqx.filter_custom_jvp
def energy_beside_pores(discretisation: AbstractDiscretisation, chi, a):
    """⟨(e_i + ∇χ_i)·a(e_j + ∇χ_j)⟩ (d, d) of numbers a (*shape) at correctors χ (d, *shape) that minimise it.

    Its derivative is that at fixed χ, where χ is continued into pixels with a = 0. That of raising a from zero is that of
    raising it everywhere where it is zero, by the same number.
    """
    problem = medium(discretisation, a, a.ndim)
    return problem.energy(chi, *problem.balance(chi))


@energy_beside_pores.def_jvp
def _differentiate(primals, tangents):
    discretisation, chi, a = primals
    value = energy_beside_pores(discretisation, chi, a)
    if tangents[2] is None:
        return value, jnp.zeros_like(value)
    held = chi + _first_order(jax.lax.stop_gradient(continued(discretisation, chi, a) - chi), a)

    def energy(a):
        problem = medium(discretisation, a, a.ndim)
        return problem.energy(held, *problem.balance(held))

    return value, jax.jvp(energy, (a,), (tangents[2],))[1]


@jax.custom_jvp
def _first_order(correction, a):
    """`correction`; its derivative, which second derivatives of the energy need, is not computed: 0 without pores, else NaN."""
    return correction


@_first_order.defjvp
def _differentiate_once_only(primals, tangents):
    correction, a = primals
    unknown = jnp.where(jnp.any(a == 0), jnp.nan, 0.0)
    return correction, jnp.full_like(correction, 1.0) * (unknown * jnp.sum(tangents[1]))


def continued(discretisation: AbstractDiscretisation, chi, a):
    """Correctors χ (d, *shape) with values where nothing conducts: those of the limit of a small conductivity there.

    They solve, on the unknowns that the operator K(a) does not see, the cell problem of dK/da in the direction of raising a
    where it is zero.
    """
    d = a.ndim
    raised = (a == 0).astype(a.dtype)
    system = medium(discretisation, a, d).system()
    probe = jax.random.normal(jax.random.key(0), chi.shape, chi.dtype)
    free = (system.apply(probe) == 0).astype(chi.dtype)

    def change(of):
        return jax.jvp(of, (a,), (raised,))[1]

    def apply(x):
        return free * change(lambda a: medium(discretisation, a, d).system().apply(free * x))

    def precondition(r):
        return free * system.precondition(free * r)

    r = free * change(lambda a: medium(discretisation, a, d).balance(chi)[0])
    scale = system.dot(r, precondition(r))
    found = cg.conjugate_gradients(apply, precondition, system.dot, r, scale, _TOLERANCE, _MAX_STEPS)
    return chi + found.correction

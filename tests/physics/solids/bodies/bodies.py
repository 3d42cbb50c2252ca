"""Shared by the tests of bodies: a material in closed form, Newton's method in a few lines, manufactured solutions."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import fiberax as fx
from fiberax.grids import elements


class NeoHooke(fx.AbstractTangent, fx.AbstractEnergy):
    """W = μ/2 (F:F − d − 2 log J) + λ/2 (log J)², compressible, without microstate."""

    mu: jax.Array = eqx.field(converter=jnp.asarray, default=1.0)
    lam: jax.Array = eqx.field(converter=jnp.asarray, default=1.5)

    def init(self, condition, key):
        return jnp.zeros((0,))

    def energy(self, state, condition):
        f = condition + jnp.eye(condition.shape[0])
        log = jnp.log(determinant(f))
        return 0.5 * self.mu * (jnp.sum(f * f) - condition.shape[0] - 2.0 * log) + 0.5 * self.lam * log**2

    def link(self, state, condition):
        return jax.grad(self.energy, 1)(state, condition)

    def tangent(self, state, condition):
        return jax.hessian(self.energy, 1)(state, condition)


def determinant(f):
    """In closed form: derivatives of the general one take long to compile."""
    if len(f) == 1:
        return f[0, 0]
    return f[0, 0] * f[1, 1] - f[0, 1] * f[1, 0] if len(f) == 2 else jnp.dot(f[0], jnp.cross(f[1], f[2]))


NONE = jnp.zeros((0,))


@eqx.filter_jit
def newton_step(body, fiber, position, t):
    macro = fx.Moving(position, jnp.zeros_like(position))
    gradients = body.conditions(macro)
    stress = jax.vmap(lambda a: fiber.link(NONE, a))(gradients)
    tangents = jax.vmap(lambda a: fiber.tangent(NONE, a))(gradients)
    residual = body.balance(t, macro, stress)
    return position + body.solve_linearised(t, -residual, macro, stress, tangents, 0.0), residual, stress


def equilibrium(body, fiber, t=0.0, steps=8):
    """Position and stress after plain Newton steps from rest."""
    position, stress = jnp.zeros(body.example().position.shape), None
    for _ in range(steps):
        position, _, stress = newton_step(body, fiber, position, jnp.asarray(t))
    return position, stress


def distance(body, position, exact, constant=False):
    """L2 norm of the error, by a quadrature of high degree; with `constant`, up to one."""
    mesh = body.mesh
    table = elements.table(mesh.kind, mesh.order, 6)
    jacobian = np.einsum("eki,qkj->eqij", mesh.points[mesh.cells], table.gradients)
    weights = np.abs(np.linalg.det(jacobian)) * table.weights
    places = np.einsum("qk,eki->eqi", table.values, mesh.points[mesh.cells])
    found = np.einsum("qk,eki->eqi", table.values, np.asarray(position)[np.asarray(body.space.cells)])
    error = found - np.asarray(jax.vmap(jax.vmap(exact))(places))
    if constant:
        error = error - np.einsum("eq,eqi->i", weights, error) / weights.sum()
    return float(np.sqrt(np.einsum("eq,eqi->", weights, error**2)))


def manufactured(fiber, exact):
    """Stress and body force −div P of a displacement field."""

    @functools.cache
    def made():
        stress = lambda x: fiber.link(NONE, jax.jacfwd(exact)(x))
        force = lambda x: -jnp.trace(jax.jacfwd(stress)(x), axis1=1, axis2=2)
        return stress, force

    return made()

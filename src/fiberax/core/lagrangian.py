"""Energies under constraints: metric, multipliers, and the generalised Hellmann-Feynman force (4.6).

Functions of an energy fiber with `energy(u, U)`, `constraint(u, U)` and `metric(u)`; they do not depend on solvers.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from fiberax.numerics import linear
from fiberax.numerics.minimise import round_off


def metric_tree(fiber: Any, state):
    """The metric as a tree like `state`."""
    metric = fiber.metric(state)
    if jax.tree.structure(metric) == jax.tree.structure(state):
        return jax.tree.map(lambda m, s: jnp.broadcast_to(m, s.shape), metric, state)
    return jax.tree.map(lambda s: jnp.broadcast_to(jnp.asarray(metric), s.shape), state)


def constraint_count(fiber: Any, state, condition) -> int:
    """Number of scalar constraints."""
    return jax.eval_shape(fiber.constraint, state, condition).size


def multipliers(fiber: Any, state, condition):
    """Multipliers λ (k,) of the static problem: least squares of ∂_u W = λ·∂_u g in the metric.

    These are the λ of (4.6); the multiplier that keeps a moving constraint in (4.8) carries inertia as well.
    """
    if constraint_count(fiber, state, condition) == 0:
        return fiber.constraint(state, condition)
    flat, unravel = ravel_pytree(state)
    inverse = 1.0 / ravel_pytree(metric_tree(fiber, state))[0]
    gradient = jax.grad(lambda u: fiber.energy(unravel(u), condition))(flat)
    jacobian = jax.jacrev(lambda u: fiber.constraint(unravel(u), condition))(flat)
    weighted = jacobian * inverse
    return linear.dense_solve(weighted @ jacobian.T, weighted @ gradient)


def lagrangian(fiber: Any, state, condition, lam):
    """W − λ·g; W alone without constraints.

    JAX cannot differentiate a product of two empty arrays in a program that was traced before (`grad(jit(...))`, `scan`).
    """
    energy = fiber.energy(state, condition)
    return energy - jnp.sum(lam * fiber.constraint(state, condition)) if lam.size else energy


def energy_rest(fiber: Any, unknowns, condition):
    """(−metric⁻¹(∂_u W − λ·∂_u g), g) at v = (state, λ): zero at a stationary point."""
    state, lam = unknowns
    force = jax.grad(lambda state: lagrangian(fiber, state, condition, lam))(state)
    rate = jax.tree.map(lambda f, m: -f / m, force, metric_tree(fiber, state))
    return rate, fiber.constraint(state, condition)


def hellmann_feynman(fiber: Any, state, condition):
    """∂_U W − λ·∂_U g at fixed state, a tree like `condition` (4.6), with the static multipliers."""
    lam = multipliers(fiber, state, condition)
    return jax.grad(lambda condition: lagrangian(fiber, state, condition, lam))(condition)


def curvatures(fiber: Any, state, condition):
    """Eigenvalues (n − k,) of ∂²(W − λ·g)/∂u² along the constraints, in the metric, in increasing order.

    A negative one belongs to a saddle or a maximum. Dense in the number n of entries.
    """
    flat, unravel = ravel_pytree(state)
    root = jnp.sqrt(ravel_pytree(metric_tree(fiber, state))[0])
    lam, count = multipliers(fiber, state, condition), constraint_count(fiber, state, condition)
    matrix = jax.hessian(lambda u: lagrangian(fiber, unravel(u), condition, lam))(flat) / jnp.outer(root, root)
    if count:
        normals = jax.jacrev(lambda u: fiber.constraint(unravel(u), condition))(flat) / root
        free = jnp.linalg.qr(normals.T, mode="complete")[0][:, count:]
        matrix = free.T @ matrix @ free
    return jnp.linalg.eigvalsh(matrix)


def is_saddle(fiber: Any, state, condition):
    """Whether a stationary state is no minimum, and the eigenvalues of `curvatures`; up to round-off, as `Minimise` judges."""
    values = curvatures(fiber, state, condition)
    root = jnp.sqrt(ravel_pytree(metric_tree(fiber, state))[0])
    rest = energy_rest(fiber, (state, multipliers(fiber, state, condition)), condition)[0]
    gradient = jnp.linalg.norm(ravel_pytree(rest)[0] * root)
    largest = jnp.max(jnp.abs(values), initial=0.0)
    noise = round_off(values.size, largest, gradient, jnp.max(jnp.abs(ravel_pytree(state)[0] * root)))
    return jnp.any(values < -noise), values

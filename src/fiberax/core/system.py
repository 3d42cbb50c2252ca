"""Every fiber's rest state as one system: unknowns v, and rest(v, U) = 0 at equilibrium.

For a flow v is the state and rest is its rate. For an energy v = (u, λ) and rest = (−metric⁻¹(∂_u W − λ·∂_u g), g), which is
0 = δW/δu − λ δg/δu with the sign of a relaxation, so that implicit time steps and equilibria share their linear algebra.
"""

from typing import Any

import jax

from fiberax.core.fiber import AbstractEnergy, AbstractFlow
from fiberax.core.lagrangian import constraint_count, energy_rest, multipliers
from fiberax.core.strategies import AbstractSolver
from fiberax.numerics import linear, trees
from fiberax.numerics.newton import Linearised

Solvable = AbstractFlow | AbstractEnergy


def unknowns(fiber: Solvable, state, condition):
    """The unknowns v of the system, with multipliers for energies."""
    return (state, multipliers(fiber, state, condition)) if isinstance(fiber, AbstractEnergy) else state


def state_of(fiber: Solvable, v):
    """The state in the unknowns."""
    return v[0] if isinstance(fiber, AbstractEnergy) else v


def rest(fiber: Solvable, v, condition):
    """What vanishes at equilibrium, a tree like `v`."""
    if isinstance(fiber, AbstractFlow):
        return fiber.rate(v, condition)
    rate, violation = energy_rest(fiber, v, condition)
    metric = fiber.metric(v[0])
    # With the weight of the rate on constraints, the system of a uniform metric stays symmetric.
    return rate, violation / metric if isinstance(metric, float | int) else violation


def stage_rest(fiber: Solvable, v, condition, base, shift):
    """rest(v, U) − shift (u − base): what vanishes in one implicit stage."""
    value = rest(fiber, v, condition)
    rate = jax.tree.map(lambda r, x, b: r - shift * (x - b), state_of(fiber, value), state_of(fiber, v), base)
    return (rate, value[1]) if isinstance(fiber, AbstractEnergy) else rate


def precondition(fiber: Solvable, solver: AbstractSolver, residual, condition, shift):
    """The solver's preconditioner on residuals like the unknowns."""
    if isinstance(fiber, AbstractEnergy):
        return solver.approximate_inverse(fiber, residual[0], condition, shift), residual[1]
    return solver.approximate_inverse(fiber, residual, condition, shift)


def is_symmetric(fiber: Solvable, solver: AbstractSolver, state, condition) -> bool:
    """Whether the system may use symmetric solvers (dense ones where there are constraints: the system is then indefinite)."""
    if isinstance(fiber, AbstractFlow):
        return solver.symmetric
    metric = fiber.metric(state)
    uniform = isinstance(metric, float | int) or (isinstance(metric, jax.Array) and metric.ndim == 0)
    if constraint_count(fiber, state, condition) == 0:
        return uniform
    small = trees.size(state) <= solver.dense_limit // 2
    return isinstance(metric, float | int) and small


def linearised(fiber: Solvable, solver: AbstractSolver, function, v, state, condition, shift, tolerance) -> Linearised:
    """The derivative of `function`, rest or that of a stage, at `v`, with its inverse."""

    def action(w: Any):
        return jax.jvp(function, (v,), (w,))[1]

    return linear.linearised(
        action,
        v,
        symmetric=is_symmetric(fiber, solver, state, condition),
        dense_limit=solver.dense_limit,
        precondition=lambda r: precondition(fiber, solver, r, condition, shift),
        tolerance=0.1 * tolerance,
    )

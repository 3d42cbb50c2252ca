"""Rest states of fibers, differentiable by the implicit function theorem; see `system` for the equations.

The solver itself is never differentiated: derivatives of a rest state v(U) come from rest(v(U), U) = 0 by one linear solve.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from fiberax.core import system
from fiberax.core.fiber import AbstractEnergy
from fiberax.core.solvers import solver_of
from fiberax.core.strategies import AbstractSolver
from fiberax.core.system import Solvable
from fiberax.numerics import linear, trees
from fiberax.numerics.result import Outcome, outcome


class _System(eqx.Module):
    """What the implicit function theorem needs of a fiber, without closures over values that are being differentiated."""

    solve: Any  # (parameters, guess) -> (unknowns, Outcome)
    rest: Any  # (unknowns, parameters) -> like unknowns
    precondition: Any  # (residual, parameters) -> like unknowns
    symmetric: bool = eqx.field(static=True)
    zero_modes: bool = eqx.field(static=True)
    dense_limit: int = eqx.field(static=True)


def _equilibrium_system(fiber: Solvable, solver: AbstractSolver, guess, condition, solve) -> _System:
    zero = jnp.zeros(())
    convert = eqx.filter_closure_convert
    v = system.unknowns(fiber, guess, condition)
    symmetric = system.is_symmetric(fiber, solver, guess, condition)
    return _System(
        convert(solve, condition, guess),
        convert(lambda v, c: system.rest(fiber, v, c), v, condition),
        convert(lambda r, c: system.precondition(fiber, solver, r, c, zero), v, condition),
        symmetric,
        symmetric and isinstance(fiber, AbstractEnergy),
        solver.dense_limit,
    )


def _stage_system(fiber: Solvable, solver: AbstractSolver, parameters, guess, tolerance) -> _System:
    """System of one implicit stage, rest(v, U) = shift (u − base); `parameters` = (condition, base, shift)."""
    convert = eqx.filter_closure_convert

    def solve(parameters, g):
        condition, base, shift = parameters
        return solver.stage(fiber, g, condition, base, shift, tolerance)

    v = system.unknowns(fiber, guess, parameters[0])
    return _System(
        convert(solve, parameters, guess),
        convert(lambda v, p: system.stage_rest(fiber, v, *p), v, parameters),
        convert(lambda r, p: system.precondition(fiber, solver, r, p[0], p[2]), v, parameters),
        system.is_symmetric(fiber, solver, guess, parameters[0]),
        False,
        solver.dense_limit,
    )


@eqx.filter_custom_jvp
def _implicit(equations: _System, parameters, guess):
    frozen = jax.tree.map(jax.lax.stop_gradient, (eqx.filter(equations.solve, eqx.is_array), parameters, guess))
    solve = eqx.combine(frozen[0], equations.solve)
    return solve(frozen[1], frozen[2])


@_implicit.def_jvp
def _implicit_jvp(primals, tangents):
    equations, parameters, guess = primals
    t_equations, t_parameters, _ = tangents
    v, out = _implicit(equations, parameters, guess)
    t_rest = t_equations.rest

    def rest_of_parameters(rest, parameters):
        return rest(v, parameters)

    _, direction = eqx.filter_jvp(rest_of_parameters, (equations.rest, parameters), (t_rest, t_parameters))
    rhs = jax.tree.map(lambda v, d: jnp.zeros_like(v) if d is None else -d, v, direction, is_leaf=lambda x: x is None)
    moved = linear.solve(
        lambda w: jax.jvp(lambda v: equations.rest(v, parameters), (v,), (w,))[1],
        rhs,
        symmetric=equations.symmetric,
        zero_modes=equations.zero_modes,
        dense_limit=equations.dense_limit,
        precondition=lambda r: equations.precondition(r, parameters),
    )
    return (v, out), (moved, jax.tree.map(lambda _: None, out))


def relaxed(fiber: Solvable, state, condition, tolerance: float, solver: AbstractSolver | None = None) -> tuple[Any, Outcome]:
    """The fiber at rest under `condition`, found from `state` and differentiable in condition and fiber parameters.

    `solver` None: the fiber's own. `state`, the guess, has no influence on derivatives.
    """
    solver = solver_of(fiber) if solver is None else solver
    if trees.size(state) == 0:
        # Nothing to solve for; a fiber may still refuse a condition.
        return state, solver.solve(fiber, state, condition, tolerance)[1]
    condition, state = jax.tree.map(jnp.asarray, (condition, state))

    def solve(c, g):
        found, out = solver.solve(fiber, g, c, tolerance)
        return system.unknowns(fiber, found, c), out

    v, out = _implicit(_equilibrium_system(fiber, solver, state, condition, solve), condition, state)
    return system.state_of(fiber, v), out


def following(fiber: Solvable, state, condition, solver: AbstractSolver | None = None) -> Any:
    """`state`, known to be at rest under `condition`, as a differentiable function of condition and fiber parameters."""
    if trees.size(state) == 0:
        return state
    solver = solver_of(fiber) if solver is None else solver
    condition, state = jax.tree.map(jnp.asarray, (condition, state))

    def known(c, g):
        return system.unknowns(fiber, g, c), outcome(0)

    v, _ = _implicit(_equilibrium_system(fiber, solver, state, condition, known), condition, state)
    return system.state_of(fiber, v)


def implicit_stage(fiber: Solvable, state, condition, base, shift, tolerance: float) -> tuple[Any, Outcome]:
    """U with rest(u, U) = shift (u − base), constraints kept: one stage of an implicit time step of length 1/shift."""
    parameters, guess = jax.tree.map(jnp.asarray, ((condition, base, shift), state))
    v, out = _implicit(_stage_system(fiber, solver_of(fiber), parameters, guess, tolerance), parameters, guess)
    return system.state_of(fiber, v), out

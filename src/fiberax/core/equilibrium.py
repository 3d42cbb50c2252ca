"""Rest states of fibers, and their derivatives by the implicit function theorem.

Every fiber is seen through one system: unknowns v, and rest(v, U) = 0 at equilibrium. For a flow v is the state and rest is
its rate. For an energy v = (u, λ) and rest = (−metric⁻¹(∂_u W − λ·∂_u g), g), which is 0 = δW/δu − λ δg/δu with the sign of
a relaxation, so that implicit time steps and equilibria share their linear algebra.
"""

from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from fiberax.numerics import linear, trees
from fiberax.numerics.minimise import Problem, minimise
from fiberax.numerics.newton import newton
from fiberax.numerics.result import Outcome, outcome

if TYPE_CHECKING:
    from fiberax.core.fiber import AbstractEnergy, AbstractFlow


def _is_energy(fiber) -> bool:
    from fiberax.core.fiber import AbstractEnergy  # fiber.py builds on this module

    return isinstance(fiber, AbstractEnergy)


def metric_tree(fiber: "AbstractEnergy", state):
    """The metric as a tree like `state`."""
    metric = fiber.metric(state)
    if jax.tree.structure(metric) == jax.tree.structure(state):
        return jax.tree.map(lambda m, s: jnp.broadcast_to(m, s.shape), metric, state)
    return jax.tree.map(lambda s: jnp.broadcast_to(jnp.asarray(metric), s.shape), state)


def constraint_count(fiber: "AbstractEnergy", state, condition) -> int:
    """Number of scalar constraints."""
    return jax.eval_shape(fiber.constraint, state, condition).size


def multipliers(fiber: "AbstractEnergy", state, condition):
    """Multipliers λ (k,) of the static problem: least squares of ∂_u W = λ·∂_u g in the metric (section 12 on (4.8))."""
    if constraint_count(fiber, state, condition) == 0:
        return fiber.constraint(state, condition)
    flat, unravel = ravel_pytree(state)
    inverse = 1.0 / ravel_pytree(metric_tree(fiber, state))[0]
    gradient = jax.grad(lambda u: fiber.energy(unravel(u), condition))(flat)
    jacobian = jax.jacrev(lambda u: fiber.constraint(unravel(u), condition))(flat)
    weighted = jacobian * inverse
    return jnp.linalg.solve(weighted @ jacobian.T, weighted @ gradient)


def energy_rest(fiber: "AbstractEnergy", unknowns, condition):
    """rest(v, U) of an energy fiber; v = (state, λ)."""
    state, lam = unknowns

    def lagrangian(state):
        return fiber.energy(state, condition) - jnp.sum(lam * fiber.constraint(state, condition))

    force = jax.grad(lagrangian)(state)
    rate = jax.tree.map(lambda f, m: -f / m, force, metric_tree(fiber, state))
    return rate, fiber.constraint(state, condition)


def solve_flow(fiber: "AbstractFlow", condition, state, tolerance) -> tuple[Any, Outcome]:
    """Newton for rate(u, U) = 0; see `AbstractFlow.solve`."""
    zero = jnp.zeros(())

    def rest(v):
        return fiber.rate(v, condition)

    def linear_solve(v, r):
        return linear.solve(
            lambda w: jax.jvp(rest, (v,), (w,))[1],
            r,
            symmetric=fiber.symmetric,
            dense_limit=fiber.dense_limit,
            precondition=lambda w: fiber.precondition(w, condition, zero),
            tolerance=0.1 * tolerance,
        )

    reference = trees.norm(rest(fiber.init(condition, jax.random.key(0))))
    return newton(rest, state, linear_solve, reference, tolerance)


def solve_energy(fiber: "AbstractEnergy", condition, state, tolerance) -> tuple[Any, Outcome]:
    """Constrained minimum; see `AbstractEnergy.solve`."""
    if trees.size(state) == 0:
        return state, outcome(0)
    flat, unravel = ravel_pytree(state)
    root = jnp.sqrt(ravel_pytree(metric_tree(fiber, state))[0])

    def precondition(y, r):
        del y
        guess = fiber.precondition(unravel(r / root), condition, jnp.zeros(()))
        return -root * ravel_pytree(guess)[0]

    problem = Problem(
        energy=lambda y: fiber.energy(unravel(y / root), condition),
        constraint=lambda y: fiber.constraint(unravel(y / root), condition),
        precondition=precondition,
        constraints=constraint_count(fiber, state, condition),
        dense=flat.size <= fiber.dense_limit,
    )
    begin = fiber.init(condition, jax.random.key(0))
    first = ravel_pytree(energy_rest(fiber, (begin, multipliers(fiber, begin, condition)), condition)[0])[0]
    y, _, out = minimise(problem, flat * root, jnp.linalg.norm(first * root), tolerance)
    return unravel(y / root), out


def newton_step(fiber, condition, state) -> tuple[Any, Outcome]:
    """One undamped Newton step for rest(v, U) = 0; its residual is relative to that of the fiber's own `init`."""
    if trees.size(state) == 0:
        return state, outcome(0)
    begin = fiber.init(condition, jax.random.key(0))
    reference = trees.norm(_rest(fiber, _unknowns(fiber, begin, condition), condition))
    unknowns = _unknowns(fiber, state, condition)
    symmetric = _symmetric(fiber, state, condition)

    def rest(v):
        return _rest(fiber, v, condition)

    residual = rest(unknowns)
    step = linear.solve(
        lambda w: jax.jvp(rest, (unknowns,), (w,))[1],
        jax.tree.map(jnp.negative, residual),
        symmetric=symmetric,
        zero_modes=symmetric and _is_energy(fiber),
        dense_limit=fiber.dense_limit,
        precondition=lambda r: _precondition(fiber, r, condition, jnp.zeros(())),
    )
    new = _state_of(fiber, trees.axpy(1.0, step, unknowns))
    left = trees.norm(residual)
    return onto_constraint(fiber, new, condition), outcome(0, 1, left / jnp.where(reference > 0, reference, 1.0))


def onto_constraint(fiber, state, condition, from_state=None):
    """Move `state` to g(u, U) = 0 along metric⁻¹ ∂g taken at `from_state` (SHAKE), or at each iterate where that is None.

    A flow has no constraints: its state comes back as it is.
    """
    if not _is_energy(fiber):
        return state
    own = fiber.restrain(state, condition, from_state)
    if own is not None or constraint_count(fiber, state, condition) == 0:
        return state if own is None else own
    flat, unravel = ravel_pytree(state)
    inverse = 1.0 / ravel_pytree(metric_tree(fiber, state))[0]

    def constraint(u):
        return fiber.constraint(unravel(u), condition)

    fixed = None if from_state is None else jax.jacrev(constraint)(ravel_pytree(from_state)[0])

    def step(_, u):
        jacobian = jax.jacrev(constraint)(u)
        normal = (jacobian if fixed is None else fixed) * inverse
        return u - normal.T @ jnp.linalg.solve(jacobian @ normal.T, constraint(u))

    return unravel(jax.lax.fori_loop(0, 6, step, flat))


def tangent_velocity(fiber, state, velocity, condition):
    """`velocity` without its part normal to the constraints (RATTLE)."""
    if not _is_energy(fiber):
        return velocity
    own = fiber.restrain_velocity(state, velocity, condition)
    if own is not None or constraint_count(fiber, state, condition) == 0:
        return velocity if own is None else own
    flat, unravel = ravel_pytree(velocity)
    inverse = 1.0 / ravel_pytree(metric_tree(fiber, state))[0]
    position, unravel_state = ravel_pytree(state)
    jacobian = jax.jacrev(lambda u: fiber.constraint(unravel_state(u), condition))(position)
    normal = jacobian * inverse
    return unravel(flat - normal.T @ jnp.linalg.solve(jacobian @ normal.T, jacobian @ flat))


class _System(eqx.Module):
    """What the implicit function theorem needs of a fiber, free of closures over values being differentiated."""

    solve: Any  # (condition, guess) -> (unknowns, Outcome)
    rest: Any  # (unknowns, condition) -> like unknowns
    precondition: Any  # (residual, condition) -> like unknowns
    symmetric: bool = eqx.field(static=True)
    zero_modes: bool = eqx.field(static=True)
    dense_limit: int = eqx.field(static=True)


def _unknowns(fiber, state, condition):
    """The unknowns v of the system, with multipliers for energies that have constraints."""
    return (state, multipliers(fiber, state, condition)) if _is_energy(fiber) else state


def _rest(fiber, unknowns, condition):
    if not _is_energy(fiber):
        return fiber.rate(unknowns, condition)
    rate, violation = energy_rest(fiber, unknowns, condition)
    metric = fiber.metric(unknowns[0])
    # Weighed like the rate, constraints leave the system of a uniform metric symmetric.
    return rate, violation / metric if isinstance(metric, float | int) else violation


def _precondition(fiber, residual, condition, shift):
    if _is_energy(fiber):
        return fiber.precondition(residual[0], condition, shift), residual[1]
    return fiber.precondition(residual, condition, shift)


def _symmetric(fiber, state, condition) -> bool:
    """Whether the system may use symmetric solvers (dense ones where there are constraints: the system is then indefinite)."""
    if not _is_energy(fiber):
        return fiber.symmetric
    metric = fiber.metric(state)
    uniform = isinstance(metric, float | int) or (isinstance(metric, jax.Array) and metric.ndim == 0)
    if constraint_count(fiber, state, condition) == 0:
        return uniform
    small = trees.size(state) <= fiber.dense_limit // 2
    return isinstance(metric, float | int) and small


def _equilibrium_system(fiber, condition, guess, solve) -> _System:
    zero = jnp.zeros(())
    convert = eqx.filter_closure_convert
    unknowns = _unknowns(fiber, guess, condition)
    symmetric = _symmetric(fiber, guess, condition)
    return _System(
        convert(solve, condition, guess),
        convert(lambda v, c: _rest(fiber, v, c), unknowns, condition),
        convert(lambda r, c: _precondition(fiber, r, c, zero), unknowns, condition),
        symmetric,
        symmetric and _is_energy(fiber),
        fiber.dense_limit,
    )


def stage_rest(fiber, unknowns, condition, base, shift):
    """rest(v, U) − shift (u − base): what vanishes in one implicit stage."""
    value = _rest(fiber, unknowns, condition)
    u, rate = _state_of(fiber, unknowns), _state_of(fiber, value)
    rate = jax.tree.map(lambda r, x, b: r - shift * (x - b), rate, u, base)
    return (rate, value[1]) if _is_energy(fiber) else rate


def solve_stage(fiber, condition, base, shift, guess, tolerance) -> tuple[Any, Outcome]:
    """Newton for one implicit stage; returns the unknowns (with multipliers, for energies)."""
    symmetric = _symmetric(fiber, guess, condition)

    def rest(v):
        return stage_rest(fiber, v, condition, base, shift)

    def linear_solve(v, r):
        return linear.solve(
            lambda w: jax.jvp(rest, (v,), (w,))[1],
            r,
            symmetric=symmetric,
            dense_limit=fiber.dense_limit,
            precondition=lambda r: _precondition(fiber, r, condition, shift),
            tolerance=0.1 * tolerance,
        )

    reference = trees.norm(_rest(fiber, _unknowns(fiber, base, condition), condition)) + shift * trees.norm(base)
    return newton(rest, _unknowns(fiber, guess, condition), linear_solve, reference, tolerance)


def _stage_system(fiber, parameters, guess, tolerance) -> _System:
    """System of one implicit stage, rest(v, U) = shift (u − base); `parameters` = (condition, base, shift)."""
    convert = eqx.filter_closure_convert

    def solve(parameters, g):
        return fiber.solve_stage(*parameters, g, tolerance)

    unknowns = _unknowns(fiber, guess, parameters[0])
    return _System(
        convert(solve, parameters, guess),
        convert(lambda v, p: stage_rest(fiber, v, *p), unknowns, parameters),
        convert(lambda r, p: _precondition(fiber, r, p[0], p[2]), unknowns, parameters),
        _symmetric(fiber, guess, parameters[0]),
        False,
        fiber.dense_limit,
    )


@eqx.filter_custom_jvp
def _implicit(system: _System, condition, guess):
    frozen = jax.tree.map(jax.lax.stop_gradient, (eqx.filter(system.solve, eqx.is_array), condition, guess))
    solve = eqx.combine(frozen[0], system.solve)
    return solve(frozen[1], frozen[2])


@_implicit.def_jvp
def _implicit_jvp(primals, tangents):
    system, condition, guess = primals
    t_system, t_condition, _ = tangents
    unknowns, out = _implicit(system, condition, guess)
    t_rest = t_system.rest

    def rest_of_parameters(rest, condition):
        return rest(unknowns, condition)

    _, direction = eqx.filter_jvp(rest_of_parameters, (system.rest, condition), (t_rest, t_condition))
    rhs = jax.tree.map(lambda v, d: jnp.zeros_like(v) if d is None else -d, unknowns, direction, is_leaf=lambda x: x is None)
    moved = linear.solve(
        lambda w: jax.jvp(lambda v: system.rest(v, condition), (unknowns,), (w,))[1],
        rhs,
        symmetric=system.symmetric,
        zero_modes=system.zero_modes,
        dense_limit=system.dense_limit,
        precondition=lambda r: system.precondition(r, condition),
    )
    return (unknowns, out), (moved, jax.tree.map(lambda _: None, out))


def relaxed(fiber: "AbstractFlow | AbstractEnergy", condition, guess, tolerance) -> tuple[Any, Outcome]:
    """The fiber in equilibrium with `condition`, found from `guess` and differentiable in condition and fiber parameters.

    Derivatives come from rest(v(U), U) = 0; the solver itself is never differentiated, and `guess` has no influence on them.
    """
    if trees.size(guess) == 0:
        # Nothing to solve for; a fiber may still refuse a condition.
        return (guess, fiber.solve(condition, guess, tolerance)[1]) if _is_energy(fiber) else (guess, outcome(0))
    condition, guess = jax.tree.map(jnp.asarray, (condition, guess))

    def solve(c, g):
        state, out = fiber.solve(c, g, tolerance)
        return _unknowns(fiber, state, c), out

    unknowns, out = _implicit(_equilibrium_system(fiber, condition, guess, solve), condition, guess)
    return _state_of(fiber, unknowns), out


def following(fiber: "AbstractFlow | AbstractEnergy", condition, state) -> Any:
    """`state`, known to be in equilibrium with `condition`, as a differentiable function of condition and fiber parameters."""
    if trees.size(state) == 0:
        return state
    condition, state = jax.tree.map(jnp.asarray, (condition, state))

    def known(c, g):
        return _unknowns(fiber, g, c), outcome(0)

    unknowns, _ = _implicit(_equilibrium_system(fiber, condition, state, known), condition, state)
    return _state_of(fiber, unknowns)


def implicit_stage(fiber, condition, base, shift, guess, tolerance) -> tuple[Any, Outcome]:
    """U with rest(u, U) = shift (u − base), constraints kept: one stage of an implicit time step of length 1/shift."""
    parameters, guess = jax.tree.map(jnp.asarray, ((condition, base, shift), guess))
    unknowns, out = _implicit(_stage_system(fiber, parameters, guess, tolerance), parameters, guess)
    return _state_of(fiber, unknowns), out


def _state_of(fiber, unknowns):
    return unknowns[0] if _is_energy(fiber) else unknowns

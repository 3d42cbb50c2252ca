"""The library's own solvers and manifold, used by fibers that propose none."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from fiberax.core import system
from fiberax.core.errors import BadInput, Mismatch
from fiberax.core.fiber import AbstractEnergy, AbstractFlow
from fiberax.core.lagrangian import constraint_count, energy_rest, metric_tree, multipliers
from fiberax.core.strategies import AbstractManifold, AbstractSolver
from fiberax.numerics import linear, trees
from fiberax.numerics.minimise import Problem, is_minimum, minimise_thoroughly
from fiberax.numerics.newton import newton
from fiberax.numerics.result import Result, outcome


def solver_of(fiber: AbstractFlow | AbstractEnergy) -> AbstractSolver:
    """The solver that a fiber proposes, or the one of its kind."""
    if fiber.solver is not None:
        return fiber.solver
    return Newton() if isinstance(fiber, AbstractFlow) else Minimise()


def check_solver(who: str, solver: Any) -> None:
    """Raise `BadInput` where `solver` is not a solver, such as a name or a class; None is one."""
    if solver is None or isinstance(solver, AbstractSolver):
        return
    shown = f"the class {solver.__name__}" if isinstance(solver, type) else repr(solver)
    raise BadInput(f"{who}: solver must be a solver such as fx.Newton() or fx.Minimise(); it is {shown}.")


def manifold_of(fiber: AbstractEnergy) -> AbstractManifold:
    """The manifold that a fiber proposes, or `LevelSet()`."""
    return LevelSet() if fiber.manifold is None else fiber.manifold


class AbstractNewtonLike(AbstractSolver):
    """Steps and stages by Newton's method on the system of the fiber; subclasses say how it is solved to the end."""

    precondition: eqx.AbstractVar[Callable | None]

    def approximate_inverse(self, fiber, residual, condition, shift):
        if self.precondition is None:
            return super().approximate_inverse(fiber, residual, condition, shift)
        return self.precondition(residual, condition, shift)

    def step(self, fiber, state, condition):
        return newton_step(fiber, self, state, condition)

    def stage(self, fiber, state, condition, base, shift, tolerance):
        return newton_stage(fiber, self, state, condition, base, shift, tolerance)


class Newton(AbstractNewtonLike):
    """Damped Newton iteration for a rest state, every equation judged on its own scale (`fiberax.numerics.newton`).

    Where it stalls, a flow is followed in pseudo-time from the same guess, and Newton's method begins again at what is reached.

    Args:
        precondition: precondition(residual, condition, shift), as `AbstractSolver.approximate_inverse`; used for states with
            more than `dense_limit` entries.
        symmetric: As for `AbstractSolver`.
        dense_limit: As for `AbstractSolver`.
    """

    precondition: Callable | None = None

    def solve(self, fiber, state, condition, tolerance):
        if trees.size(state) == 0:
            return state, outcome(0)
        zero = jnp.zeros(())

        def rest(v):
            return system.rest(fiber, v, condition)

        def linearise(v, shift=zero):
            moved = rest if shift is zero else lambda w: system.stage_rest(fiber, w, condition, v, shift)
            return system.linearised(fiber, self, moved, v, state, condition, shift, tolerance)

        begin = fiber.init(condition, jax.random.key(0))
        reference = trees.norm(system.state_of(fiber, rest(system.unknowns(fiber, begin, condition))))
        guess = system.unknowns(fiber, state, condition)
        judged = lambda v: system.state_of(fiber, v)
        follow = isinstance(fiber, AbstractFlow)
        found, out = newton(rest, guess, linearise, reference, tolerance, judged=judged, follow=follow)
        if isinstance(fiber, AbstractEnergy):
            problem, y = _problem(fiber, self, judged(found), condition)
            begun = _problem(fiber, self, state, condition)[1]
            lowest = is_minimum(problem, y, jnp.max(jnp.abs(jnp.stack([begun, y])), initial=0.0))
            code = jnp.where((out.result == Result.SUCCESS) & ~lowest, jnp.int32(Result.UNSTABLE), out.result)
            out = out._replace(result=code)
        return judged(found), out


class Minimise(AbstractNewtonLike):
    """Minimum of an energy on its constraints, by projected Newton steps (`fiberax.numerics.minimise`).

    Args:
        precondition: precondition(residual, condition, shift), as `AbstractSolver.approximate_inverse`; used for states with
            more than `dense_limit` entries.
        symmetric: To be left out: second derivatives are symmetric.
        dense_limit: As for `AbstractSolver`. Dense algebra also finds its way out of saddles.

    Raises:
        BadInput: `symmetric` is given.
    """

    precondition: Callable | None = None

    def __check_init__(self):
        if self.symmetric:
            raise BadInput(
                f"{type(self).__name__}: symmetric without effect: second derivatives of energies are symmetric. Leave it out."
            )

    def check(self, fiber):
        if isinstance(fiber, AbstractFlow):
            raise Mismatch(
                f"fx.Minimise finds minima of energies, and {type(fiber).__name__} is a flow. Use fx.Newton(), or leave the "
                "solver out."
            )

    def solve(self, fiber, state, condition, tolerance):
        if trees.size(state) == 0:
            return state, outcome(0)
        problem, y = _problem(fiber, self, state, condition)
        root, unravel = _weights(fiber, state)
        begin = fiber.init(condition, jax.random.key(0))
        first = ravel_pytree(energy_rest(fiber, (begin, multipliers(fiber, begin, condition)), condition)[0])[0]
        y, out = minimise_thoroughly(problem, y, first * root, tolerance)
        return unravel(y / root), out


def _weights(fiber: AbstractEnergy, state) -> tuple[jax.Array, Callable]:
    """Roots of the metric (n,): times these the entries have a uniform one. And the function from n numbers to a state."""
    return jnp.sqrt(ravel_pytree(metric_tree(fiber, state))[0]), ravel_pytree(state)[1]


def _problem(fiber: AbstractEnergy, solver: AbstractSolver, state, condition) -> tuple[Problem, jax.Array]:
    """The minimisation of an energy in entries of uniform metric, and `state` in them (n,)."""
    root, unravel = _weights(fiber, state)

    def precondition(y, r):
        del y
        guess = solver.approximate_inverse(fiber, unravel(r / root), condition, jnp.zeros(()))
        return -root * ravel_pytree(guess)[0]

    problem = Problem(
        energy=lambda y: fiber.energy(unravel(y / root), condition),
        constraint=lambda y: fiber.constraint(unravel(y / root), condition),
        precondition=precondition,
        constraints=constraint_count(fiber, state, condition),
        dense=root.size <= solver.dense_limit,
    )
    return problem, ravel_pytree(state)[0] * root


def newton_step(fiber, solver: AbstractSolver, state, condition) -> tuple[Any, Any]:
    """One undamped Newton step for rest(v, U) = 0; its residual is relative to that of the fiber's own `init`."""
    if trees.size(state) == 0:
        return state, outcome(0)
    begin = fiber.init(condition, jax.random.key(0))
    reference = trees.norm(system.rest(fiber, system.unknowns(fiber, begin, condition), condition))
    v = system.unknowns(fiber, state, condition)
    symmetric = system.is_symmetric(fiber, solver, state, condition)

    def rest(v):
        return system.rest(fiber, v, condition)

    residual = rest(v)
    step = linear.solve(
        lambda w: jax.jvp(rest, (v,), (w,))[1],
        jax.tree.map(jnp.negative, residual),
        symmetric=symmetric,
        zero_modes=symmetric and isinstance(fiber, AbstractEnergy),
        dense_limit=solver.dense_limit,
        precondition=lambda r: system.precondition(fiber, solver, r, condition, jnp.zeros(())),
    )
    new = system.state_of(fiber, trees.axpy(1.0, step, v))
    left = trees.norm(residual)
    return onto_constraint(fiber, new, condition), outcome(0, 1, left / jnp.where(reference > 0, reference, 1.0))


def newton_stage(fiber, solver: AbstractSolver, state, condition, base, shift, tolerance) -> tuple[Any, Any]:
    """Newton for one implicit stage; returns the unknowns (with multipliers, for energies)."""

    def rest(v):
        return system.stage_rest(fiber, v, condition, base, shift)

    def linearise(v):
        return system.linearised(fiber, solver, rest, v, state, condition, shift, tolerance)

    at_base = system.rest(fiber, system.unknowns(fiber, base, condition), condition)
    reference = trees.norm(at_base) + shift * trees.norm(base)
    guess = system.unknowns(fiber, state, condition)
    return newton(rest, guess, linearise, reference, tolerance, judged=lambda v: system.state_of(fiber, v))


class LevelSet(AbstractManifold):
    """States where `constraint` vanishes, reached by Gauss-Newton steps; dense in the number of constraints."""

    def retract(self, fiber, state, condition, normal_at=None):
        if constraint_count(fiber, state, condition) == 0:
            return state
        flat, unravel = ravel_pytree(state)
        inverse = 1.0 / ravel_pytree(metric_tree(fiber, state))[0]

        def constraint(u):
            return fiber.constraint(unravel(u), condition)

        fixed = None if normal_at is None else jax.jacrev(constraint)(ravel_pytree(normal_at)[0])

        def step(_, u):
            jacobian = jax.jacrev(constraint)(u)
            normal = (jacobian if fixed is None else fixed) * inverse
            return u - normal.T @ linear.dense_solve(jacobian @ normal.T, constraint(u))

        return unravel(jax.lax.fori_loop(0, 6, step, flat))

    def project(self, fiber, state, velocity, condition):
        if constraint_count(fiber, state, condition) == 0:
            return velocity
        flat, unravel = ravel_pytree(velocity)
        inverse = 1.0 / ravel_pytree(metric_tree(fiber, state))[0]
        position, unravel_state = ravel_pytree(state)
        jacobian = jax.jacrev(lambda u: fiber.constraint(unravel_state(u), condition))(position)
        normal = jacobian * inverse
        return unravel(flat - normal.T @ linear.dense_solve(jacobian @ normal.T, jacobian @ flat))


def onto_constraint(fiber, state, condition, normal_at=None):
    """`AbstractManifold.retract` of an energy fiber; the state of a flow is returned unchanged."""
    return manifold_of(fiber).retract(fiber, state, condition, normal_at) if isinstance(fiber, AbstractEnergy) else state


def tangent_velocity(fiber, state, velocity, condition):
    """`AbstractManifold.project` of an energy fiber; the velocity of a flow is returned unchanged."""
    return manifold_of(fiber).project(fiber, state, velocity, condition) if isinstance(fiber, AbstractEnergy) else velocity

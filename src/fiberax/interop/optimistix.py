"""Root finders and minimisers of optimistix as solvers of fibers: `fx.Quasistatic(solver=fx.interop.optimistix.Solver(...))`.

Kidger and others, optimistix (https://docs.kidger.site/optimistix). It comes with the extra `fiberax[ode]`.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from fiberax.core import system
from fiberax.core.errors import MissingExtra
from fiberax.core.fiber import AbstractEnergy
from fiberax.core.lagrangian import constraint_count, is_saddle
from fiberax.core.solvers import newton_stage, newton_step
from fiberax.core.strategies import AbstractSolver
from fiberax.numerics import trees
from fiberax.numerics.result import Result, outcome

try:
    import optimistix
except ImportError as error:
    raise MissingExtra("fx.interop.optimistix needs optimistix: install `fiberax[ode]`.") from error


_NOISE = 1e4  # times eps, of the terms of an equation: residuals below that are round-off


class Solver(AbstractSolver):
    """An optimistix solver for rest states: a root finder for flows and constrained energies, a minimiser for free energies.

    Args:
        solver: For example `optimistix.Dogleg(rtol, atol)`, or `optimistix.BFGS(rtol, atol)`. Its own tolerances decide when it
            ends. The driver's bounds the residual that is left, relative to that of the state of `init`: a larger one is
            `STALLED`, or `MAX_STEPS`. Up to `dense_limit` entries, residuals that are the round-off of their terms count as
            solved.
        max_steps: Largest number of its iterations.
        symmetric: As for `AbstractSolver`.
        dense_limit: As for `AbstractSolver`.

    A root finder may stop at a saddle or a maximum of an energy. Such a state is `UNSTABLE`, by the eigenvalues of the second
    derivatives along the constraints. States with more than `dense_limit` entries are not looked at: give them a minimiser.
    Newton steps and implicit stages are the library's own; derivatives come from the implicit function theorem.
    """

    solver: Any
    max_steps: int = eqx.field(static=True, default=256)

    def solve(self, fiber, state, condition, tolerance):
        if trees.size(state) == 0:
            return state, outcome(0)
        begin = system.unknowns(fiber, fiber.init(condition, jax.random.key(0)), condition)
        reference = trees.norm(system.rest(fiber, begin, condition))
        free = isinstance(fiber, AbstractEnergy) and constraint_count(fiber, state, condition) == 0
        minimise = isinstance(self.solver, optimistix.AbstractMinimiser)
        options = {"max_steps": self.max_steps, "throw": False}
        if free and minimise:
            found = optimistix.minimise(lambda u, _: fiber.energy(u, condition), self.solver, state, **options)
            new = found.value
        else:
            guess = system.unknowns(fiber, state, condition)
            found = optimistix.root_find(lambda v, _: system.rest(fiber, v, condition), self.solver, guess, **options)
            new = system.state_of(fiber, found.value)
        v = system.unknowns(fiber, new, condition)
        left = trees.norm(system.rest(fiber, v, condition))
        good = left <= tolerance * reference
        if trees.size(state) <= self.dense_limit:
            good |= _is_round_off(fiber, v, condition)
        used_up = found.result == optimistix.RESULTS.nonlinear_max_steps_reached
        code = jnp.where(used_up, jnp.int32(Result.MAX_STEPS), jnp.int32(Result.STALLED))
        code = jnp.where(good, jnp.int32(Result.SUCCESS), code)
        code = jnp.where(jnp.isfinite(left), code, jnp.int32(Result.NONFINITE))
        if isinstance(fiber, AbstractEnergy) and trees.size(state) <= self.dense_limit:
            lost, _ = is_saddle(fiber, new, condition)
            code = jnp.where((code == Result.SUCCESS) & lost, jnp.int32(Result.UNSTABLE), code)
        steps = jnp.asarray(found.stats["num_steps"], jnp.int32)
        return new, outcome(code, steps, left / jnp.where(reference > 0, reference, 1.0))

    def step(self, fiber, state, condition):
        return newton_step(fiber, self, state, condition)

    def stage(self, fiber, state, condition, base, shift, tolerance):
        return newton_stage(fiber, self, state, condition, base, shift, tolerance)


def _is_round_off(fiber, v, condition):
    """Whether every residual is small beside the terms of its row, Σ_j |J_ij| |v_j|, as far as their precision goes."""
    flat, unravel = ravel_pytree(v)
    rest = lambda w: ravel_pytree(system.rest(fiber, unravel(w), condition))[0]
    terms = jnp.abs(jax.jacfwd(rest)(flat)) @ jnp.abs(flat)
    return jnp.all(jnp.abs(rest(flat)) <= _NOISE * jnp.finfo(flat.dtype).eps * terms)

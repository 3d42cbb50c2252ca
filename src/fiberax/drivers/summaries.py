"""Fibers with memory as a table sees them: a step as a function of condition, summary of the history, and its length."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from fiberax.core.capabilities import AbstractSummarised
from fiberax.core.equilibrium import following
from fiberax.core.fiber import AbstractEnergy
from fiberax.core.link import apply_link
from fiberax.core.strategies import AbstractSolver


class Increment(eqx.Module):
    """One step of a fiber with memory: the energy that is solved, and what it was made of."""

    problem: AbstractEnergy
    fiber: AbstractSummarised
    history: Any
    dt: jax.Array

    @classmethod
    def of(cls, fiber: AbstractSummarised, history: Any, dt: jax.Array) -> "Increment":
        """The step of length `dt` from a history."""
        return cls(fiber.increment(history, dt), fiber, history, dt)

    def ended(self, link: Callable | None, state, condition) -> tuple[Any, jax.Array, jax.Array]:
        """Response, energy and the summary after the step (k,), at its state."""
        response = apply_link(link, self.problem, state, condition)
        after = self.fiber.summary(self.fiber.accept(self.history, state, condition, self.dt))
        return response, self.problem.energy(state, condition), after

    def slope(self, link: Callable | None, solver: AbstractSolver | None, state, condition) -> tuple[jax.Array, jax.Array]:
        """The derivative of `ended` (m, d) by what a table is asked by (d,), and the second derivative of the energy (d, d)."""
        point, unravel = ravel_pytree((condition, *numbers_of(self.fiber, self.history, self.dt)))

        def at(point):
            condition, summary, *dt = unravel(point)
            return Increment.of(self.fiber, self.fiber.recover(summary), dt[0] if dt else self.dt), condition

        def value(point):
            step, condition = at(point)
            found = following(step.problem, state, condition, solver)
            # At a minimum the state does not count in the derivative of the energy.
            slope = jax.grad(lambda p: at(p)[0].problem.energy(found, at(p)[1]))(point)
            return ravel_pytree(step.ended(link, found, condition))[0], slope

        return jax.jacfwd(value)(point)


def bare(fiber: Any) -> Any:
    """The fiber whose equilibrium is solved for: of an `Increment` its energy."""
    return fiber.problem if isinstance(fiber, Increment) else fiber


def first(fiber: Any, condition) -> Any:
    """The fiber itself; one with memory as its first step, of length 1."""
    return Increment.of(fiber, fiber.begin(condition), jnp.ones(())) if isinstance(fiber, AbstractSummarised) else fiber


def numbers_of(fiber: AbstractSummarised, history: Any, dt: jax.Array) -> tuple[jax.Array, ...]:
    """What a step depends on beside the condition: the summary of the history, and the length of the step."""
    summary = fiber.summary(history)
    return (summary, jnp.asarray(dt, summary.dtype)) if with_length(fiber) else (summary,)


def with_length(fiber: Any) -> bool:
    """Whether a table is asked by the length of the step as well, as the last of its numbers."""
    return isinstance(fiber, AbstractSummarised) and not fiber.rate_independent


def asked_of(fiber: Any, conditions: Any, histories: Any, since: Any) -> Any:
    """What a table is asked by at all sites: conditions, and of fibers with memory the numbers of `numbers_of`, rows first."""
    if not isinstance(fiber, AbstractSummarised):
        return conditions
    return conditions, *jax.vmap(lambda history, dt: numbers_of(fiber, history, dt))(histories, since)


def first_asked(fiber: Any, conditions: Any) -> Any:
    """`asked_of` in the first step, of length 1, of fibers at rest."""
    if not isinstance(fiber, AbstractSummarised):
        return conditions
    return asked_of(fiber, conditions, jax.vmap(fiber.begin)(conditions), jnp.ones(jax.tree.leaves(conditions)[0].shape[:1]))

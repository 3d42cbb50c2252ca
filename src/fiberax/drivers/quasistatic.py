"""The fiber in equilibrium at every evaluation of the macro model: 𝓛(u; U) = 0 (2.6), (3.6), (3.15), (3.21).

Fibers that have only dynamics, random ones above all, are sampled instead: the response is the mean of the link over their
long-time behaviour under the held condition (spec section 7), with its standard error.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from fiberax.core.driver import AbstractDriver, check_finite
from fiberax.core.equilibrium import following, relaxed
from fiberax.core.errors import BadInput, Mismatch
from fiberax.core.fiber import AbstractDynamic
from fiberax.core.link import apply_link
from fiberax.core.precision import need_double
from fiberax.core.relax import at_rest
from fiberax.drivers.sampling import BLOCKS, follow, judged
from fiberax.numerics import trees
from fiberax.numerics.result import outcome


class Quasistatic(AbstractDriver):
    """Solve the fiber to a relative `tolerance`, warm-started from the carried state.

    Differentiable through the implicit function theorem. A fiber that does not converge is tried once more from its own `init`.

    A fiber that has only dynamics is sampled: at each macro evaluation `replicas` copies take about `steps` steps of `dt`
    (fiber time; None: the fiber's own `timestep`) from where they stood, once as many more at the start. Such responses have a
    standard error and no tangent. That replicas mix is not looked at here: see `fx.sample`.
    """

    tolerance: float = eqx.field(static=True, default=1e-8)
    steps: int = eqx.field(static=True, default=2560)
    replicas: int = eqx.field(static=True, default=4)
    dt: float | None = eqx.field(static=True, default=None)

    def __check_init__(self):
        if not 0.0 < self.tolerance < 1.0:
            raise BadInput(f"Quasistatic: tolerance must lie between 0 and 1; it is {self.tolerance}.")
        for name, value, least in (("steps", self.steps, BLOCKS), ("replicas", self.replicas, 1)):
            if not isinstance(value, int) or value < least:
                raise BadInput(f"Quasistatic: {name} must be a whole number, at least {least}; it is {value!r}.")
        if self.dt is not None and not 0.0 < self.dt < float("inf"):
            raise BadInput(f"Quasistatic: dt must be positive (fiber time); it is {self.dt}.")

    @property
    def slaved(self):
        return True

    def prepare(self, fiber):
        need_double("fx.Quasistatic", self.tolerance)
        return at_rest(fiber)

    def begin(self, fiber, link, condition, key, samples):
        fresh = self._fresh(fiber, condition, key)
        return self._sampled(fiber, link, fresh, condition, key) if isinstance(fiber, AbstractDynamic) else (fresh, ())

    def advance(self, fiber, link, state, memory, condition, dt, key, attempt):
        guess = state
        if isinstance(attempt, jax.Array):
            guess = trees.where(attempt == 0, state, self._fresh(fiber, condition, key))
        if isinstance(fiber, AbstractDynamic):
            state, memory = self._sampled(fiber, link, guess, condition, key)
            out = outcome(0, self.steps)
        else:
            state, out = relaxed(fiber, condition, guess, self.tolerance)
        response = self.respond(fiber, link, state, memory, condition)
        return state, memory, response, check_finite(response, out)

    def _fresh(self, fiber, condition, key) -> Any:
        if not isinstance(fiber, AbstractDynamic):
            return fiber.init(condition, key)
        return jax.vmap(lambda k: fiber.init(condition, k))(jax.random.split(key, self.replicas))

    def _sampled(self, fiber: AbstractDynamic, link, states, condition, key) -> tuple[Any, Any]:
        """Replicas after their steps, and as memory the mean of the link and its standard error."""
        span, length = fiber.timestep(condition) if self.dt is None else self.dt, jnp.asarray(-(-self.steps // BLOCKS))
        if span is None:
            raise BadInput(f"Quasistatic: {type(fiber).__name__} has no time step of its own. Give dt, in fiber time.")
        states, series = follow(fiber, link, states, condition, span, length, jnp.zeros((), jnp.uint32), key)
        one_site = judged(jax.tree.map(lambda x: x[None], series), span, length)
        return states, jax.tree.map(lambda x: x[0], one_site[:2])

    def respond(self, fiber, link, state, memory, condition):
        """Response at an equilibrium state; in the variational form, where there is one, the state is held for derivatives."""
        if isinstance(fiber, AbstractDynamic):
            return memory[0]
        response = _variational(fiber, link, state, condition)
        return apply_link(link, fiber, state, condition) if response is None else response

    def stderr(self, fiber, link, state, memory, condition):
        return memory[1] if isinstance(fiber, AbstractDynamic) else None

    def follow(self, fiber, link, state, memory, condition):
        if isinstance(fiber, AbstractDynamic):
            raise Mismatch(
                f"{type(fiber).__name__} is sampled, and a sampled response has no tangent. "
                "Take an explicit macro step, fx.Heun(), or differences of fx.sample."
            )
        response = _variational(fiber, link, state, condition)
        if response is not None:
            return response
        return apply_link(link, fiber, following(fiber, condition, state), condition)

    def tangent(self, fiber, link, state, memory, condition):
        found = fiber.tangent(state, condition) if link is None else None
        return super().tangent(fiber, link, state, memory, condition) if found is None else found


def _variational(fiber, link, state, condition):
    """The stationary form of the fiber's own link, or None."""
    if link is not None:
        return None
    return fiber.variational_link(jax.tree.map(jax.lax.stop_gradient, state), condition)

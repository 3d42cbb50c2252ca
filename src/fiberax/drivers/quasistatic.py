"""The fiber in equilibrium at every evaluation of the macro model: 𝓛(u; U) = 0 (2.6), (3.6), (3.15), (3.21)."""

import equinox as eqx
import jax

from fiberax.core.driver import AbstractDriver, check_finite
from fiberax.core.equilibrium import following, relaxed
from fiberax.core.errors import BadInput, Mismatch
from fiberax.core.fiber import AbstractDynamic
from fiberax.core.link import apply_link
from fiberax.core.precision import need_double
from fiberax.core.relax import at_rest
from fiberax.numerics import trees


class Quasistatic(AbstractDriver):
    """Solve the fiber to a relative `tolerance`, warm-started from the carried state.

    Differentiable through the implicit function theorem. A fiber that does not converge is tried once more from its own `init`.
    """

    tolerance: float = eqx.field(static=True, default=1e-8)

    def __check_init__(self):
        if not 0.0 < self.tolerance < 1.0:
            raise BadInput(f"Quasistatic: tolerance must lie between 0 and 1; it is {self.tolerance}.")

    @property
    def slaved(self):
        return True

    def prepare(self, fiber):
        need_double("fx.Quasistatic", self.tolerance)
        fiber = at_rest(fiber)
        if isinstance(fiber, AbstractDynamic):
            raise Mismatch(
                f"Quasistatic solves for an equilibrium, and {type(fiber).__name__} has only dynamics. "
                "Use fx.Seamless(), or write it as a flow or an energy fiber."
            )
        return fiber

    def begin(self, fiber, link, condition, key, samples):
        return fiber.init(condition, key), ()

    def advance(self, fiber, link, state, memory, condition, dt, key, attempt):
        guess = state
        if isinstance(attempt, jax.Array):
            guess = trees.where(attempt == 0, state, fiber.init(condition, key))
        state, out = relaxed(fiber, condition, guess, self.tolerance)
        response = self.respond(fiber, link, state, memory, condition)
        return state, memory, response, check_finite(response, out)

    def respond(self, fiber, link, state, memory, condition):
        """Response at an equilibrium state; in the variational form, where there is one, the state is held for derivatives."""
        response = _variational(fiber, link, state, condition)
        return apply_link(link, fiber, state, condition) if response is None else response

    def follow(self, fiber, link, state, memory, condition):
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

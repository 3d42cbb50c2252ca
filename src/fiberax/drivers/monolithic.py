"""Macro model and fibers solved together: one local Newton step per macro iteration, statically condensed.

With the residuals R of the macro model and r of the fibers, the coupled Newton system is condensed to the macro unknowns by
dA/dU = W_UU − W_Uu W_uu⁻¹ W_uU, taken at the fiber's present state, which need not be in equilibrium before the macrostate is.
"""

import jax

from fiberax.core.capabilities import tangent_of
from fiberax.core.driver import AbstractDriver, check_finite
from fiberax.core.equilibrium import following
from fiberax.core.errors import Mismatch
from fiberax.core.fiber import AbstractEnergy, AbstractFlow, AbstractMemory
from fiberax.core.link import apply_link
from fiberax.core.platform import need_double
from fiberax.core.relax import at_rest
from fiberax.core.solvers import solver_of
from fiberax.numerics import trees


class Monolithic(AbstractDriver):
    """One Newton step of the fiber at every macro evaluation, from the carried state: for `fx.steady` and `fx.continuation`.

    `Quasistatic` solves every fiber at every trial of the macro model (nested); here both converge together, quadratically. A
    fiber that gives no finite response is tried once more from its own `init`. It has no arguments. Raises `Mismatch` for
    fibers that have only dynamics, and `BadInput` in single precision, when a run begins.
    """

    @property
    def slaved(self):
        return True

    @property
    def coupled(self):
        return True

    def prepare(self, fiber):
        need_double("fx.Monolithic", 1e-8)
        fiber = at_rest(fiber)
        if not isinstance(fiber, AbstractFlow | AbstractEnergy | AbstractMemory):
            raise Mismatch(f"Monolithic needs a flow or an energy fiber; {type(fiber).__name__} has only dynamics.")
        return fiber

    def begin(self, fiber, link, condition, key, samples):
        return fiber.init(condition, key), ()

    def advance(self, fiber, link, state, memory, condition, dt, key, attempt):
        guess = state
        if isinstance(attempt, jax.Array):
            guess = trees.where(attempt == 0, state, fiber.init(condition, key))
        held, condition_now, guess = trees.frozen((fiber, condition, guess))
        state, out = solver_of(held).step(held, guess, condition_now)
        response = self.follow(fiber, link, state, memory, condition)
        return state, memory, response, check_finite(response, out)

    def respond(self, fiber, link, state, memory, condition):
        return apply_link(link, fiber, state, condition)

    def follow(self, fiber, link, state, memory, condition):
        return apply_link(link, fiber, following(fiber, state, condition), condition)

    def tangent(self, fiber, link, state, memory, condition):
        found = tangent_of(fiber, state, condition) if link is None else None
        return super().tangent(fiber, link, state, memory, condition) if found is None else found

"""Fibers that stay at their sites."""

from fiberax.core.errors import Mismatch
from fiberax.core.transport import AbstractCarrier, AbstractTransport


class Fixed(AbstractTransport):
    """No transport: sites are material points, points of a medium at rest, or of a flow whose fibers forget at once.

    Raises:
        Mismatch: A bundle of fibers that remember, with a flow that moves them between sites.
    """

    def check(self, model, fiber):
        memory = fiber.mixing.memory
        if memory and isinstance(model, AbstractCarrier) and not isinstance(model.transport(), Fixed):
            raise Mismatch(
                f"Fixed leaves states at their sites, and {type(model).__name__} moves what is there. {type(fiber).__name__}: "
                f"{memory}."
            )

    def apply(self, model, fiber, state, macro, t, dt):
        return state

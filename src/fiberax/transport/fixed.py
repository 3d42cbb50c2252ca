"""Fibers that stay at their sites."""

from fiberax.core.transport import AbstractTransport


class Fixed(AbstractTransport):
    """No transport: sites are material points or points of a medium at rest."""

    def apply(self, model, fiber, state, macro, t, dt):
        return state

"""Errors for users. Each message names the value, the place and the remedy."""


class FiberaxError(Exception):
    """Base of every error whose message is written for users."""


class BadInput(FiberaxError, ValueError):
    """A value that cannot be computed with: wrong shape, range, type or file content."""


class Mismatch(BadInput):
    """Macro model, fiber, link and driver do not fit together."""


class MissingExtra(FiberaxError, ImportError):
    """An optional dependency is not installed; the message names the extra that contains it."""


class FiberFailure(FiberaxError, RuntimeError):
    """More fibers failed than `fail_fraction` allows."""


class NonFiniteMacro(FiberaxError, RuntimeError):
    """The macrostate became NaN or infinite."""


class StabilityLost(FiberaxError, RuntimeError):
    """The model of some fibers is no longer valid: no stable microstate, or no elliptic response."""


class NotConverged(FiberaxError, RuntimeError):
    """The macro solve (a steady state or an implicit step) did not converge."""

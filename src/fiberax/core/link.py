"""Links: functions that compute the response A from a fiber's state (2.7); and the base of fibers that wrap another one."""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx

from fiberax.core.fiber import AbstractEnergy, AbstractFiber
from fiberax.core.lagrangian import hellmann_feynman


class AbstractLink(eqx.Module):
    """A link object. Wherever a link is accepted, a plain function of (fiber, state, condition) is accepted too."""

    @abc.abstractmethod
    def __call__(self, fiber: AbstractFiber, state: Any, condition: Any) -> Any:
        """The response of one fiber.

        Args:
            fiber: The fiber, in its own units where it was rescaled.
            state: Its state.
            condition: What it is held at.

        Returns:
            A tree of arrays, as the macro model expects it.
        """


class AbstractDirect(AbstractLink):
    """A link that asks the fiber as it stands: wrappers do not hand it on to what they wrap."""


class EnergyDerivative(AbstractLink):
    """∂_U W − λ·∂_U g at fixed state, by automatic differentiation: the generalised Hellmann-Feynman theorem (4.6).

    For energy fibers. Returns a tree like the condition.
    """

    def __call__(self, fiber: AbstractEnergy, state, condition):
        return hellmann_feynman(fiber, state, condition)


class AbstractWrapper(AbstractFiber):
    """A fiber around another one, `inner`, that changes its dynamics, its units or the number of its copies.

    Wrappers differ in `inside`, `read` and `outside`; by these three they forward what the inner fiber can do.
    """

    inner: eqx.AbstractVar[AbstractFiber]

    def inside(self, condition: Any) -> Any:
        """The condition of the inner fiber."""
        return condition

    def read(self, function: Callable, state: Any, combine: Callable | None = None) -> Any:
        """`function` of the inner state; of several copies the mean, or `combine(values)` over a leading axis."""
        return function(state)

    def outside(self, response: Any) -> Any:
        """A response of the inner fiber in the units of the wrapper; linear."""
        return response

    def outside_energy(self, energy: Any) -> Any:
        """An energy of the inner fiber in the units of the wrapper."""
        return energy

    def link(self, state, condition):
        return self.apply_link(None, state, condition)

    def apply_link(self, link: Callable | None, state: Any, condition: Any) -> Any:
        """The response of the wrapped fiber through `link` (None: its own)."""
        held = self.inside(condition)
        return self.outside(self.read(lambda s: apply_link(link, self.inner, s, held), state))

    def remedy(self, result):
        return self.inner.remedy(result)


def apply_link(link: Callable | None, fiber: AbstractFiber, state: Any, condition: Any) -> Any:
    """The response through `link`, or the fiber's own link where `link` is None; wrappers apply it to the fiber inside."""
    if isinstance(fiber, AbstractWrapper) and not isinstance(link, AbstractDirect):
        return fiber.apply_link(link, state, condition)
    if link is None:
        return fiber.link(state, condition)
    return link(fiber, state, condition)

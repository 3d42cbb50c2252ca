"""Links: what makes the response A out of a fiber's state (2.7)."""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx

from fiberax.core.fiber import AbstractEnergy, AbstractFiber, AbstractWrapper, hellmann_feynman


class AbstractLink(eqx.Module):
    """A link object. A plain function of (fiber, state, condition) is accepted wherever a link is."""

    @abc.abstractmethod
    def __call__(self, fiber: AbstractFiber, state: Any, condition: Any) -> Any:
        """The response of one fiber."""


class EnergyDerivative(AbstractLink):
    """∂_U W − λ·∂_U g at fixed state by automatic differentiation: the generalised Hellmann-Feynman theorem (4.6)."""

    def __call__(self, fiber: AbstractEnergy, state, condition):
        return hellmann_feynman(fiber, state, condition)


def apply_link(link: Callable | None, fiber: AbstractFiber, state: Any, condition: Any) -> Any:
    """The response through `link`, or the fiber's own link where `link` is None; wrappers hand it on to what they wrap."""
    if isinstance(fiber, AbstractWrapper):
        return fiber.apply_link(link, state, condition)
    if link is None:
        return fiber.link(state, condition)
    return link(fiber, state, condition)

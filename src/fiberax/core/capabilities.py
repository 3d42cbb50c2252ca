"""Capabilities: what some fibers can do besides their kind. Each is a type that is there or absent.

Drivers and wrappers ask for them by type. A wrapper forwards those that `fiberax.core.wrapper` lists, and refuses a fiber
with a capability that it does not know; one of your own derives from `AbstractCapability`.
"""

import abc
from typing import Any

from jaxtyping import Array, Float

from fiberax.core.fiber import AbstractEnergy, AbstractFiber, AbstractFlow, Condition, Response, State


class AbstractCapability(AbstractFiber):
    """Base of all capabilities."""


class AbstractMonitored(AbstractCapability):
    """A fiber that can tell how far its model is from losing its validity. Runs look at the macrostates that they accept."""

    @abc.abstractmethod
    def stability_margin(self, state: State, condition: Condition) -> Float[Array, ""]:
        """A number that is positive while the model is valid: a stable microstate, an elliptic response, a true density."""

    def explain(self, state: State, condition: Condition) -> str:
        """In words for a message, on the host: what was lost where the margin is not positive, and in which direction."""
        return ""


class AbstractEnsemble(AbstractCapability):
    """A fiber whose link averages members or replicas at one instant."""

    @abc.abstractmethod
    def standard_error(self, state: State, condition: Condition) -> Response | None:
        """Standard error of the link over the members, a tree like the response; None where there is one member only."""


class AbstractAssembled(AbstractCapability, AbstractEnergy):
    """An energy fiber that assembles its energy and the derivatives of the energy at equilibrium itself."""

    @property
    def highest_order(self) -> int:
        """1 where `assemble` knows W and P, 2 where it knows the tangent as well."""
        return 2

    @abc.abstractmethod
    def assemble(self, state: State, condition: Condition, order: int) -> tuple[Any, ...]:
        """W and P = dW_CB/dU at `order` 1; W, P and C = dP/dU, axes of P first, at order 2. The state is in equilibrium."""


class AbstractTangent(AbstractCapability):
    """A fiber that knows the derivative of its response at equilibrium."""

    @abc.abstractmethod
    def tangent(self, state: State, condition: Condition) -> Any:
        """dA/dU at equilibrium, axes of the response first."""


class AbstractStationary(AbstractCapability):
    """A fiber with a form of its response that is stationary in the state at equilibrium."""

    @abc.abstractmethod
    def stationary_link(self, state: State, condition: Condition) -> Response:
        """The response at equilibrium; its derivative at fixed state is the total derivative dA/dU."""


class AbstractPropagated(AbstractCapability, AbstractFlow):
    """A flow that knows its own motion; `fx.Implicit()` takes it as its step."""

    @abc.abstractmethod
    def propagate(self, state: State, condition: Condition, time: Float[Array, ""]) -> State:
        """The state after `time` (fiber time) under a held condition."""


class AbstractEnergetic(AbstractCapability):
    """A fiber with dynamics that has an energy."""

    @abc.abstractmethod
    def total_energy(self, state: State, condition: Condition) -> Float[Array, ""]:
        """Energy per unit reference volume, kinetic energy of the microstate included."""


def energy_of(fiber: AbstractFiber, state: State, condition: Condition) -> Float[Array, ""] | None:
    """The energy of one fiber per unit reference volume, kinetic energy included; None without an energy."""
    if isinstance(fiber, AbstractEnergy):
        return fiber.energy(state, condition)
    return fiber.total_energy(state, condition) if isinstance(fiber, AbstractEnergetic) else None


def standard_error_of(fiber: AbstractFiber, state: State, condition: Condition) -> Response | None:
    """The standard error of a fiber's own link at this instant, or None."""
    return fiber.standard_error(state, condition) if isinstance(fiber, AbstractEnsemble) else None


def tangent_of(fiber: AbstractFiber, state: State, condition: Condition) -> Any | None:
    """The tangent that the fiber itself knows, or None."""
    if isinstance(fiber, AbstractTangent):
        return fiber.tangent(state, condition)
    if isinstance(fiber, AbstractAssembled) and fiber.highest_order == 2:
        return fiber.assemble(state, condition, 2)[2]
    return None

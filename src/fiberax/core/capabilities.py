"""Capabilities: what some fibers can do beyond their kind, each as a base class.

Drivers and wrappers ask for them by type. A wrapper forwards those that `fiberax.core.wrapper` lists, and refuses a fiber
with a capability that it does not know. A capability of your own derives from `AbstractCapability`.
"""

import abc
from typing import Any

from jaxtyping import Array, Float

from fiberax.core.fiber import AbstractEnergy, AbstractFiber, AbstractFlow, AbstractMemory, Condition, History, Response, State


class AbstractCapability(AbstractFiber):
    """Base of all capabilities."""


class AbstractMonitored(AbstractCapability):
    """A fiber that measures how far its model is from losing its validity. Runs look at the macrostates that they accept."""

    @abc.abstractmethod
    def stability_margin(self, state: State, condition: Condition) -> Float[Array, ""]:
        """A number that is positive while the model is valid: a stable microstate, an elliptic response, a positive density.

        Args:
            state: A state, in equilibrium or carried.
            condition: What the fiber is held at.

        Returns:
            A scalar; its unit is the fiber's own.
        """

    def explain(self, state: State, condition: Condition) -> str:
        """In words, for a message: what was lost where the margin is not positive, and in which direction."""
        return ""


class AbstractEnsemble(AbstractCapability):
    """A fiber whose link averages members or replicas at one instant."""

    @abc.abstractmethod
    def standard_error(self, state: State, condition: Condition) -> Response | None:
        """Standard error of the link over the members.

        Args:
            state: The ensemble.
            condition: What the fiber is held at.

        Returns:
            A tree like the response, in its units; None where there is one member only.
        """


class AbstractAssembled(AbstractCapability, AbstractEnergy):
    """An energy fiber that assembles its energy and the derivatives of the energy at equilibrium itself."""

    @property
    def highest_order(self) -> int:
        """The highest `order` of `assemble`: 1 for W and P, 2 for the tangent as well."""
        return 2

    @property
    def tangent_is_cheap(self) -> bool:
        """Whether a tangent costs about as much as a response. Runs look at their step limit only where it does."""
        return True

    @abc.abstractmethod
    def assemble(self, state: State, condition: Condition, order: int) -> tuple[Any, ...]:
        """Energy, response and, at order 2, the tangent.

        Args:
            state: In equilibrium with `condition`.
            condition: U.
            order: 1 or 2.

        Returns:
            W, per unit reference volume, and P = dW_CB/dU, a tree like the condition; at order 2 also C = dP/dU, axes of P
            first.
        """

    def assemble_all(self, state: State, condition: Condition) -> tuple[Any, Any, Any, Any]:
        """W, response, tangent and dW/dU, which is the response unless it is mapped; `highest_order` must be 2.

        Args:
            state: In equilibrium with `condition`.
            condition: U.
        """
        energy, response, tangent = self.assemble(state, condition, 2)
        return energy, response, tangent, response


class AbstractTangent(AbstractCapability):
    """A fiber that knows the derivative of its response at equilibrium."""

    @abc.abstractmethod
    def tangent(self, state: State, condition: Condition) -> Any:
        """dA/dU at equilibrium.

        Args:
            state: In equilibrium with `condition`.
            condition: U.

        Returns:
            The tree of the response with the tree of the condition at every leaf; axes of the response first.
        """


class AbstractStationary(AbstractCapability):
    """A fiber with a form of its response that is stationary in the state at equilibrium."""

    @abc.abstractmethod
    def stationary_link(self, state: State, condition: Condition) -> Response:
        """The response at equilibrium; its derivative at fixed state is the total derivative dA/dU.

        Args:
            state: In equilibrium with `condition`.
            condition: U.
        """


class AbstractPropagated(AbstractCapability, AbstractFlow):
    """A flow that computes its own motion, exactly or at order 2 for any step; `fx.Implicit()` then uses it as its step.

    Steps much longer than its relaxation time must end at the equilibrium.
    """

    @abc.abstractmethod
    def propagate(self, state: State, condition: Condition, time: Float[Array, ""]) -> State:
        """The state after some time under a held condition.

        Args:
            state: That at the start.
            condition: U.
            time: Fiber time.

        Returns:
            A tree like `state`.
        """


class AbstractEnergetic(AbstractCapability):
    """A fiber with dynamics that has an energy."""

    @abc.abstractmethod
    def total_energy(self, state: State, condition: Condition) -> Float[Array, ""]:
        """Energy of the microstate, a scalar per unit reference volume, kinetic energy included."""


class AbstractObjective(AbstractCapability):
    """A fiber of a solid whose response turns with the material; its condition is a displacement gradient A (d, d), F = I + A.

    P(QF) = Q P(F) for every rotation Q, and the energy does not change: tables need to know the right stretch alone.
    """


class AbstractSummarised(AbstractCapability, AbstractMemory):
    """A fiber with memory that declares by which numbers its history counts: tables answer by these and the condition.

    Responses, and the summary after a step, depend on the history before it through `summary` alone, and smoothly: tables do
    not see where tangents jump, as at a yield surface.
    """

    @property
    def rate_independent(self) -> bool:
        """Whether a step does not depend on its length; else tables have the length as a further entry."""
        return False

    @abc.abstractmethod
    def summary(self, history: History) -> Float[Array, " k"]:
        """The numbers by which a history counts.

        Args:
            history: That of one fiber.

        Returns:
            An array (k,), each number in its own unit.
        """

    @abc.abstractmethod
    def recover(self, summary: Float[Array, " k"]) -> History:
        """A history with that summary. What else it holds is lost where a table answers.

        Args:
            summary: As `summary` gives it.

        Returns:
            A tree like the history.
        """


def energy_of(fiber: AbstractFiber, state: State, condition: Condition) -> Float[Array, ""] | None:
    """The energy of one fiber per unit reference volume, kinetic energy included; None without an energy."""
    if isinstance(fiber, AbstractEnergy):
        return fiber.energy(state, condition)
    return fiber.total_energy(state, condition) if isinstance(fiber, AbstractEnergetic) else None


def standard_error_of(fiber: AbstractFiber, state: State, condition: Condition) -> Response | None:
    """The standard error of a fiber's own link at this instant, or None."""
    return fiber.standard_error(state, condition) if isinstance(fiber, AbstractEnsemble) else None


def tangent_of(fiber: AbstractFiber, state: State, condition: Condition) -> Any | None:
    """The tangent that the fiber itself computes, or None."""
    if isinstance(fiber, AbstractTangent):
        return fiber.tangent(state, condition)
    if isinstance(fiber, AbstractAssembled) and fiber.highest_order == 2:
        return fiber.assemble(state, condition, 2)[2]
    return None

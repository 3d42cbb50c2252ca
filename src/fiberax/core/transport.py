"""Transport of states between sites: its interface, and macro models whose motion carries states."""

import abc
from typing import Any

import equinox as eqx
from jaxtyping import Array, Float

from fiberax.core.fiber import AbstractFiber
from fiberax.core.macro import AbstractMacro


class AbstractTransport(eqx.Module):
    """How the macroscale motion carries the states of the section between sites, once per macro step."""

    @abc.abstractmethod
    def apply(self, model: AbstractMacro, fiber: AbstractFiber, state: Any, macro: Any, t: Float[Array, ""], dt: Any) -> Any:
        """States carried by the motion of the macrostate.

        Args:
            model: The macro model.
            fiber: The fiber; its `mixing` says how states of neighbouring sites may be averaged.
            state: States, a leading site axis.
            macro: The macrostate that moves.
            t: Macro time.
            dt: Span of the motion, macro time.

        Returns:
            A tree like `state`.
        """

    def check(self, model: AbstractMacro, fiber: AbstractFiber) -> None:
        """Raise `Mismatch` or `BadInput` for a model or a fiber whose states cannot be carried this way."""


class AbstractCarrier(AbstractMacro):
    """A macro model whose motion carries the states of its sites, the cells of `grid` in C order, one fiber in each."""

    @property
    @abc.abstractmethod
    def grid(self) -> Any:
        """The `fx.grids.Box` whose cell centres are the sites."""

    @property
    def tight(self) -> tuple[str, ...]:
        """Names of sides of the grid whose face velocity is always 0; transport is spared what could enter there."""
        return ()

    @abc.abstractmethod
    def face_velocity(self, t: Float[Array, ""], macro: Any) -> tuple[Float[Array, "..."], ...]:
        """Velocity component k on the faces normal to axis k, for every k: cells, with one more along k (periodic axes too).

        Sums to zero over the faces of each cell where the motion is incompressible.
        """

    @abc.abstractmethod
    def transport(self) -> AbstractTransport:
        """The transport of a `Bundle` that gives none."""

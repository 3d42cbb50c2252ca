"""Macroscale models: L(U; A) = 0 with the missing input A (2.5)."""

import abc
from typing import Any, NamedTuple

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float

Macro = Any


class Layout(NamedTuple):
    """Names and coordinates of the axes of a macrostate array, for output.

    `dims` names the axes of a macro field, e.g. ("x", "y"); `coords` maps a name to its coordinate values (n,).
    """

    dims: tuple[str, ...]
    coords: dict[str, np.ndarray]


class AbstractMacro(eqx.Module):
    """A macroscale model. The macrostate is any pytree of arrays; sites are numbered along the leading axis of conditions."""

    @abc.abstractmethod
    def conditions(self, macro: Macro) -> Any:
        """What each fiber is held at: a tree whose leaves have a leading site axis."""

    @abc.abstractmethod
    def rate(self, t: Float[Array, ""], macro: Macro, response: Any) -> Macro:
        """dU/dt, a tree like `macro`; `response` has a leading site axis. A steady state has rate zero."""

    def precondition(self, residual: Macro, macro: Macro, response: Any, shift: Float[Array, ""]) -> Macro:
        """Approximation of (J − shift)⁻¹ residual, J = d rate/dU with fibers in equilibrium, linear in `residual`.

        Implicit steps (shift = 1/step) and steady states (shift = 0) use it for large systems. Default: no preconditioner.
        """
        return residual

    def positions(self) -> np.ndarray | None:
        """Positions of the sites (sites, dim), for messages and output; None where a site has none."""
        return None

    def layout(self) -> Layout | None:
        """Names of the axes of the macrostate, for output; None leaves them numbered."""
        return None

    def example(self) -> Any:
        """A tree of `jax.ShapeDtypeStruct` like a macrostate, so that a `Bundle` can be checked when it is made; or None."""
        return None

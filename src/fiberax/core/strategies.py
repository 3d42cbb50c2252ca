"""Strategies: objects that say how something is computed. A fiber proposes them; a user may hand in others.

`AbstractSolver` finds rest states, `AbstractManifold` keeps states on their constraints, `AbstractMixing` says how states of
neighbouring sites may be averaged. Each method gets the fiber first, then the state, then the condition.
"""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax

from fiberax.numerics.linear import DENSE_LIMIT
from fiberax.numerics.result import Outcome


class AbstractSolver(eqx.Module):
    """How the rest state of a flow or an energy fiber is found, and with which linear algebra it is differentiated.

    Args:
        symmetric: Whether the Jacobian of a flow's `rate` is symmetric and negative definite: conjugate gradients are used.
        dense_limit: States with up to this many entries (multipliers count) are solved densely, larger ones by Krylov methods.
    """

    symmetric: bool = eqx.field(static=True, default=False, kw_only=True)
    dense_limit: int = eqx.field(static=True, default=DENSE_LIMIT, kw_only=True)

    @abc.abstractmethod
    def solve(self, fiber: Any, state: Any, condition: Any, tolerance: float) -> tuple[Any, Outcome]:
        """Rest state near `state` under `condition`, to the relative `tolerance`, and how the solve ended."""

    @abc.abstractmethod
    def step(self, fiber: Any, state: Any, condition: Any) -> tuple[Any, Outcome]:
        """One Newton step from `state` towards rest; the residual in the outcome is that before the step."""

    @abc.abstractmethod
    def stage(self, fiber: Any, state: Any, condition: Any, base: Any, shift: Any, tolerance: float) -> tuple[Any, Outcome]:
        """Unknowns of one stage of an implicit step of length 1/shift: rate(u, U) = shift (u − base), constraints kept.

        Unknowns are the state of a flow, and (state, multipliers) of an energy. `state` is where the search begins.
        """

    def approximate_inverse(self, fiber: Any, residual: Any, condition: Any, shift: Any) -> Any:
        """Approximation of (J − shift)⁻¹ residual, linear in `residual`; J is the Jacobian of the rate, shift ≥ 0.

        For energies J = −metric⁻¹ ∂²W/∂u². Negative definite where J is. The default stands for J = −1.
        """
        return jax.tree.map(lambda r: -r / (1.0 + shift), residual)


class AbstractManifold(eqx.Module):
    """How states of an energy fiber are kept where its constraints hold."""

    @abc.abstractmethod
    def retract(self, fiber: Any, state: Any, condition: Any, normal_at: Any = None) -> Any:
        """`state` moved to g(u, U) = 0 along metric⁻¹ ∂g, taken at `normal_at` (SHAKE) or, where that is None, on the way."""

    @abc.abstractmethod
    def project(self, fiber: Any, state: Any, velocity: Any, condition: Any) -> Any:
        """`velocity` without its part normal to the constraints at `state` (RATTLE)."""


class AbstractMixing(eqx.Module):
    """How transport may average the states of neighbouring sites."""

    @property
    def refusal(self) -> str:
        """Why states may not be averaged at all, so that transport refuses them; empty where they may."""
        return ""

    def align(self, state: Any, reference: Any) -> Any:
        """The state nearest to `reference` of those that mean the same as `state`."""
        return state

    def limit(self, state: Any, safe: Any) -> Any:
        """What to go on with after an interpolation of high order gave `state`, and a mean of neighbours `safe`."""
        return state


class Linear(AbstractMixing):
    """States live in a linear space: any average is a state."""


class Within(AbstractMixing):
    """States live in a part of a linear space: `keep(state, safe)` gives `state`, or a safer one near `safe`."""

    keep: Callable

    def limit(self, state, safe):
        return self.keep(state, safe)


class Headless(AbstractMixing):
    """States that are the same head to tail: `turn(state, reference)` picks the sense, `keep(state, safe)` as in `Within`."""

    turn: Callable
    keep: Callable

    def align(self, state, reference):
        return self.turn(state, reference)

    def limit(self, state, safe):
        return self.keep(state, safe)


class Forbidden(AbstractMixing):
    """States that may not be averaged, and `why`; the noise of such fibers is never shared between sites."""

    why: str = eqx.field(static=True)

    @property
    def refusal(self):
        return self.why

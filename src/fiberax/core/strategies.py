"""Strategies: objects that say how something is computed. A fiber proposes them; a user may give others.

`AbstractSolver` finds rest states, `AbstractManifold` keeps states on their constraints, `AbstractMixing` says how states of
neighbouring sites may be averaged. Each method gets the fiber first, then the state, then the condition.
"""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax

from fiberax.core.errors import BadInput
from fiberax.numerics.linear import DENSE_LIMIT
from fiberax.numerics.result import Outcome


class AbstractSolver(eqx.Module):
    """How the rest state of a flow or an energy fiber is found, and with which linear algebra it is differentiated.

    Args:
        symmetric: Whether the Jacobian of a flow's `rate` is symmetric and negative definite: conjugate gradients are used.
        dense_limit: States with up to this many entries (multipliers count) are solved densely, larger ones by Krylov methods.

    Raises:
        BadInput: A negative dense_limit.
    """

    symmetric: bool = eqx.field(static=True, default=False, kw_only=True)
    dense_limit: int = eqx.field(static=True, default=DENSE_LIMIT, kw_only=True)

    def __check_init__(self):
        if self.dense_limit < 0:
            raise BadInput(f"{type(self).__name__}: dense_limit {self.dense_limit}, expected a number of entries from 0.")

    def check(self, fiber: Any) -> None:
        """Raise `Mismatch` for a fiber that this solver cannot solve; called when a run begins."""

    @abc.abstractmethod
    def solve(self, fiber: Any, state: Any, condition: Any, tolerance: float) -> tuple[Any, Outcome]:
        """The rest state near `state`.

        Args:
            fiber: The flow or energy fiber.
            state: Where the search begins.
            condition: What the fiber is held at.
            tolerance: Relative, in the sense of docs/conventions.md.

        Returns:
            The state, and how the solve ended. The result code must be true.
        """

    @abc.abstractmethod
    def step(self, fiber: Any, state: Any, condition: Any) -> tuple[Any, Outcome]:
        """The state after one Newton step from `state`, and an outcome; its residual is that before the step."""

    @abc.abstractmethod
    def stage(self, fiber: Any, state: Any, condition: Any, base: Any, shift: Any, tolerance: float) -> tuple[Any, Outcome]:
        """Unknowns of one stage of an implicit step of length 1/shift: rate(u, U) = shift (u − base), constraints kept.

        Unknowns are the state of a flow, and (state, multipliers) of an energy. The search begins at `state`. `shift` counts
        per unit of fiber time.
        """

    def approximate_inverse(self, fiber: Any, residual: Any, condition: Any, shift: Any) -> Any:
        """The preconditioner: an approximation of (J − shift)⁻¹ residual, linear in `residual`; J is the Jacobian of the rate.

        For energies J = −metric⁻¹ ∂²W/∂u². It must be negative definite where J is. The default takes J = −1.

        Args:
            fiber: The flow or energy fiber.
            residual: A tree like the state.
            condition: What the fiber is held at.
            shift: At least 0, per unit of fiber time; 0 for equilibria.

        Returns:
            A tree like `residual`.
        """
        return jax.tree.map(lambda r: -r / (1.0 + shift), residual)


class AbstractManifold(eqx.Module):
    """How states of an energy fiber are kept on its constraints."""

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

    @property
    def memory(self) -> str:
        """Why states of a flow may not stay at their sites, so that `fx.Fixed()` refuses them there; empty where they may."""
        return ""

    def align(self, state: Any, reference: Any) -> Any:
        """Of the states that are equivalent to `state`, the one nearest to `reference`."""
        return state

    def limit(self, state: Any, safe: Any) -> Any:
        """An admissible state, from `state`, which an interpolation of high order gave, and `safe`, a mean of neighbours."""
        return state


class Linear(AbstractMixing):
    """States form a linear space: any average is a state."""


class Within(AbstractMixing):
    """States form a part of a linear space, such as positive densities.

    Args:
        keep: keep(state, safe) gives `state` where it is admissible, else a state near `safe`.
    """

    keep: Callable

    def limit(self, state, safe):
        return self.keep(state, safe)


class Headless(AbstractMixing):
    """States that do not change when their direction is reversed, such as rods.

    Args:
        turn: turn(state, reference) gives `state` in the sense nearest to `reference`.
        keep: As in `Within`.
    """

    turn: Callable
    keep: Callable

    def align(self, state, reference):
        return self.turn(state, reference)

    def limit(self, state, safe):
        return self.keep(state, safe)


class Forbidden(AbstractMixing):
    """States that may not be averaged. By default the noise of such fibers is not shared between sites.

    Args:
        why: The reason, for messages.
        stays: Why they may not stay at the sites of a flow that moves them either; empty where they may.
    """

    why: str = eqx.field(static=True)
    stays: str = eqx.field(static=True, default="")

    @property
    def memory(self):
        return self.stays

    @property
    def refusal(self):
        return self.why

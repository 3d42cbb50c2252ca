"""Kinds of fibers: the microstructure at one site, written once, without a word about space, batches or devices.

A kind says what the mathematics is (section 2 of the paper). What a fiber can do besides is a type of its own
(`capabilities`), and how something is computed is an object that it proposes (`strategies`).
"""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from fiberax.core.errors import Mismatch
from fiberax.core.lagrangian import hellmann_feynman
from fiberax.core.strategies import AbstractManifold, AbstractMixing, AbstractSolver, Linear

State = Any
Condition = Any
Response = Any
History = Any


class AbstractFiber(eqx.Module):
    """One microstructure model. Its state and its condition are any pytrees of arrays."""

    @abc.abstractmethod
    def init(self, condition: Condition, key: PRNGKeyArray) -> State:
        """A state to begin with under `condition`; it need not be in equilibrium."""

    def link(self, state: State, condition: Condition) -> Response:
        """The response A = 𝒜(U, u) of (2.7) that this fiber gives by itself; used where no other link is handed in."""
        raise Mismatch(
            f"{type(self).__name__} has no link of its own. Define {type(self).__name__}.link(state, condition), "
            "or pass link=function(fiber, state, condition)."
        )

    @property
    def mixing(self) -> AbstractMixing:
        """How states of neighbouring sites may be averaged; it also decides whether sites may share their noise."""
        return Linear()

    def remedy(self, result: int) -> str:
        """What a user of this fiber can do about a result code of `fx.Result` or of its own, in words; empty for nothing."""
        return ""


class AbstractFlow(AbstractFiber):
    """A fiber with du/dτ = rate(u, U); its rest points solve 𝓛(u; U) = 0 of (2.6)."""

    @abc.abstractmethod
    def rate(self, state: State, condition: Condition) -> State:
        """du/dτ, a tree like `state`, in state units per unit of fiber time."""

    @property
    def solver(self) -> AbstractSolver | None:
        """How rest points are found; None for `fx.Newton()`."""
        return None


class AbstractEnergy(AbstractFiber):
    """A fiber at the minimum of an energy under constraints g(u, U) = 0 (section 4 of the paper)."""

    @abc.abstractmethod
    def energy(self, state: State, condition: Condition) -> Float[Array, ""]:
        """W(U, u), per unit reference volume."""

    def constraint(self, state: State, condition: Condition) -> Float[Array, " k"]:
        """g(u, U), a vector that must vanish; none by default."""
        return jnp.zeros((0,))

    def metric(self, state: State) -> State | float:
        """Mass of each entry of the state (a number, or a tree like `state`), so that friction and norms have a meaning.

        Grid fields give the cell volume: then the relaxation (4.1) does not change with the resolution.
        """
        return 1.0

    @property
    def solver(self) -> AbstractSolver | None:
        """How minima are found; None for `fx.Minimise()`."""
        return None

    @property
    def manifold(self) -> AbstractManifold | None:
        """How states are kept on the constraints; None for `fx.LevelSet()`, which uses `constraint`."""
        return None

    def link(self, state: State, condition: Condition) -> Response:
        """The generalised Hellmann-Feynman force ∂_U W − λ·∂_U g at fixed state (4.6)."""
        return hellmann_feynman(self, state, condition)


class AbstractMemory(AbstractFiber):
    """A fiber whose step starts from an accepted past: plasticity, viscosity, damage (generalised standard materials).

    One step of length dt from the history minimises W(U, u) + dt R((u − u_n)/dt): `increment` returns that problem, which
    has no memory, as an ordinary energy fiber. Every trial of a Newton iteration, of a line search or of a stage starts from
    the same history; `accept` changes it once for each step that is kept (Halphen and Nguyen, J. Mécanique 14, 1975).
    """

    @abc.abstractmethod
    def begin(self, condition: Condition) -> History:
        """The past of a fiber to which nothing has happened yet, any pytree of arrays."""

    @abc.abstractmethod
    def increment(self, history: History, dt: Float[Array, ""]) -> AbstractEnergy:
        """The problem of one step of length `dt` (macro time, 0 must work: nothing flows) from `history`."""

    @abc.abstractmethod
    def accept(self, history: History, state: State, condition: Condition, dt: Float[Array, ""]) -> History:
        """The history after the step of length `dt` that ended in `state` under `condition`."""

    def dissipated(self, history: History) -> Float[Array, ""]:
        """The energy dissipated so far, per unit reference volume, for the energy law; zero by default."""
        return jnp.zeros(())

    def init(self, condition, key):
        return self.increment(self.begin(condition), jnp.zeros(())).init(condition, key)

    def link(self, state, condition):
        """The response of a step of length zero from the virgin history; runs use that of their own step."""
        return self.increment(self.begin(condition), jnp.zeros(())).link(state, condition)


class AbstractDynamic(AbstractFiber):
    """A fiber with dynamics of its own, deterministic or random, advanced step by step."""

    @abc.abstractmethod
    def step(self, state: State, condition: Condition, dt: Float[Array, ""], key: PRNGKeyArray) -> State:
        """The state after the time `dt` (fiber time) under a held condition."""

    @property
    def implicit(self) -> bool:
        """Whether a step solves equations; a look at failures after each step then costs next to nothing."""
        return False

    def timestep(self, condition: Condition) -> Float[Array, ""] | None:
        """A step (fiber time) that the fiber's scheme bears and resolves under `condition`; None where it cannot tell."""
        return None

    def verdict(self, state: State) -> Int[Array, ""]:
        """Result code of a state: 0 while all is well, else one of `fx.Result` or a code of the fiber's own from 100 on.

        What can only be seen during a step (a list that overflowed, a bond that broke) is kept in the state. It is read at
        the end of every block of steps; `remedy` puts it into words.
        """
        return jnp.zeros((), jnp.int32)

    def relaxation_time(self, condition: Condition) -> Float[Array, ""] | None:
        """Time (fiber time) of the slowest relaxation under a held condition; None where it has to be measured."""
        return None


class AbstractStochastic(AbstractDynamic):
    """A dynamic fiber that draws noise in `step`; it owns its weak scheme. All its randomness comes from `key`."""


class FlowFiber(AbstractFlow):
    """A flow fiber from plain functions.

    Args:
        rate: rate(u, U), a tree like u.
        init: init(U), a state to begin with.
        link: link(u, U), the response; None where a link is handed in elsewhere.
    """

    rate_function: Callable
    init_function: Callable
    link_function: Callable | None = None

    def __init__(self, rate: Callable, init: Callable, link: Callable | None = None):
        self.rate_function, self.init_function, self.link_function = rate, init, link

    def init(self, condition, key):
        return self.init_function(condition)

    def rate(self, state, condition):
        return self.rate_function(state, condition)

    def link(self, state, condition):
        return super().link(state, condition) if self.link_function is None else self.link_function(state, condition)


class EnergyFiber(AbstractEnergy):
    """An energy fiber from plain functions.

    Args:
        energy: energy(u, U), one number.
        init: init(U), a state to begin with.
        constraint: constraint(u, U), one number or a vector that must vanish; None for no constraint.
    """

    energy_function: Callable
    init_function: Callable
    constraint_function: Callable | None = None

    def __init__(self, energy: Callable, init: Callable, constraint: Callable | None = None):
        self.energy_function, self.init_function, self.constraint_function = energy, init, constraint

    def init(self, condition, key):
        return self.init_function(condition)

    def energy(self, state, condition):
        return self.energy_function(state, condition)

    def constraint(self, state, condition):
        if self.constraint_function is None:
            return super().constraint(state, condition)
        return jnp.atleast_1d(self.constraint_function(state, condition))


class StochasticFiber(AbstractStochastic):
    """A stochastic fiber from plain functions.

    Args:
        step: step(u, U, dt, key), the state after the time dt.
        init: init(U, key), a state to begin with.
        link: link(u, U), the response; None where a link is handed in elsewhere.
    """

    step_function: Callable
    init_function: Callable
    link_function: Callable | None = None

    def __init__(self, step: Callable, init: Callable, link: Callable | None = None):
        self.step_function, self.init_function, self.link_function = step, init, link

    def init(self, condition, key):
        return self.init_function(condition, key)

    def step(self, state, condition, dt, key):
        return self.step_function(state, condition, dt, key)

    def link(self, state, condition):
        return super().link(state, condition) if self.link_function is None else self.link_function(state, condition)

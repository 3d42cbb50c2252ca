"""Kinds of fibers: the microstructure at one site. A fiber knows nothing of space, batches or devices.

A kind says what the mathematics is (section 2 of the paper). What a fiber can do beyond that is a type of its own
(`capabilities`), and how something is computed is an object that it proposes (`strategies`).
"""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from fiberax.core.errors import Mismatch
from fiberax.core.lagrangian import hellmann_feynman
from fiberax.core.strategies import AbstractManifold, AbstractMixing, AbstractSolver, Linear
from fiberax.numerics.result import text_of

State = Any
Condition = Any
Response = Any
History = Any


class AbstractFiber(eqx.Module):
    """One microstructure model, at one site. State, condition and response are any pytrees of arrays, without a site axis."""

    @abc.abstractmethod
    def init(self, condition: Condition, key: PRNGKeyArray) -> State:
        """A state to begin with.

        Args:
            condition: What the fiber is held at.
            key: Key of jax.random, for states that begin at random.

        Returns:
            A state whose shapes and types do not depend on values. It need not be in equilibrium.
        """

    def link(self, state: State, condition: Condition) -> Response:
        """The response A = 𝒜(U, u) of (2.7), used where a bundle has no other link.

        Args:
            state: As `init` gives it.
            condition: What the fiber is held at.

        Returns:
            The response, in the fiber's units.

        Raises:
            Mismatch: The fiber defines no link.
        """
        raise Mismatch(
            f"{type(self).__name__} has no link of its own. Define {type(self).__name__}.link(state, condition), "
            "or pass link=function(fiber, state, condition)."
        )

    @property
    def mixing(self) -> AbstractMixing:
        """How states of neighbouring sites may be averaged; it also decides whether sites may share their noise."""
        return Linear()

    def remedy(self, result: int) -> str:
        """In words, what a user can do about a result code of `fx.Result` or of the fiber's own; empty by default."""
        return ""


def code_in_words(fiber: AbstractFiber, code: int) -> str:
    """A result code in words, with what the fiber says about it."""
    return "; ".join(text for text in (text_of(code), fiber.remedy(code).rstrip(".")) if text)


class AbstractFlow(AbstractFiber):
    """A fiber with du/dτ = rate(u, U); its rest points solve 𝓛(u; U) = 0 of (2.6)."""

    @abc.abstractmethod
    def rate(self, state: State, condition: Condition) -> State:
        """The flow under a held condition.

        Args:
            state: u.
            condition: U.

        Returns:
            du/dτ, a tree like `state`, in units of the state per unit of fiber time. Zero in equilibrium.
        """

    @property
    def solver(self) -> AbstractSolver | None:
        """How rest points are found; None for `fx.Newton()`."""
        return None


class AbstractEnergy(AbstractFiber):
    """A fiber at the minimum of an energy under constraints g(u, U) = 0 (section 4 of the paper)."""

    @abc.abstractmethod
    def energy(self, state: State, condition: Condition) -> Float[Array, ""]:
        """W(U, u), a scalar, per unit reference volume, twice differentiable.

        Args:
            state: u.
            condition: U.
        """

    def constraint(self, state: State, condition: Condition) -> Float[Array, " k"]:
        """g(u, U), a vector (k,) that must vanish; k = 0 by default."""
        return jnp.zeros((0,))

    def metric(self, state: State) -> State | float:
        """Mass of each entry of the state, a number or a tree like `state`: it gives norms and friction their units.

        Fields on a grid give the volume of a cell. Then the relaxation (4.1) does not depend on the resolution.
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
    """A fiber with a history: plasticity, viscosity, damage (generalised standard materials).

    One step of length dt from the history minimises W(U, u) + dt R((u − u_n)/dt): `increment` returns that problem, which
    has no memory, as an ordinary energy fiber. Every trial of a Newton iteration, of a line search or of a stage starts from
    the same history. `accept` changes it once for each step that is kept (Halphen and Nguyen, J. Mécanique 14, 1975).
    """

    @abc.abstractmethod
    def begin(self, condition: Condition) -> History:
        """The history at the start, any pytree of arrays."""

    @abc.abstractmethod
    def increment(self, history: History, dt: Float[Array, ""]) -> AbstractEnergy:
        """The problem of one step.

        Args:
            history: That at the start of the step.
            dt: Length of the step, macro time. It may be 0: then nothing flows.

        Returns:
            An energy fiber without memory, whose minimum is the state at the end of the step.
        """

    @abc.abstractmethod
    def accept(self, history: History, state: State, condition: Condition, dt: Float[Array, ""]) -> History:
        """The history after a step that is kept.

        Args:
            history: That at the start of the step.
            state: The state at its end, in equilibrium with `condition`.
            condition: The condition at its end.
            dt: Its length, macro time.

        Returns:
            A tree like `history`.
        """

    def dissipated(self, history: History) -> Float[Array, ""]:
        """The energy dissipated so far, a scalar per unit reference volume; zero by default."""
        return jnp.zeros(())

    def init(self, condition, key):
        return self.increment(self.begin(condition), jnp.zeros(())).init(condition, key)

    def link(self, state, condition):
        """The response of a step of length zero from the history at the start; runs use that of their own step."""
        return self.increment(self.begin(condition), jnp.zeros(())).link(state, condition)


class AbstractDynamic(AbstractFiber):
    """A fiber with dynamics of its own, deterministic or random, advanced step by step."""

    @abc.abstractmethod
    def step(self, state: State, condition: Condition, dt: Float[Array, ""], key: PRNGKeyArray) -> State:
        """The state after one step under a held condition.

        Args:
            state: That at the start of the step.
            condition: What the fiber is held at.
            dt: Length of the step, fiber time.
            key: Key of jax.random, the only source of noise.

        Returns:
            A tree like `state`.
        """

    @property
    def implicit(self) -> bool:
        """Whether a step solves equations. Looking for failures after each step is then a small part of the cost."""
        return False

    @property
    def workspace(self) -> int:
        """Bytes that a step writes and reads again beside the state, such as neighbour lists; 0 where they are few.

        On a CPU, fibers are then computed in batches whose state and workspace fit into the cache together.
        """
        return 0

    def timestep(self, condition: Condition) -> Float[Array, ""] | None:
        """A step (fiber time) that is stable and accurate under `condition`; None where the fiber does not know one."""
        return None

    def verdict(self, state: State) -> Int[Array, ""]:
        """Result code of a state: 0 for success, else one of `fx.Result` or a code of the fiber's own from 100 on.

        A fiber that finds a failure during a step (a list that overflowed, a bond that broke) keeps it in the state. The code
        is read at the end of every block of steps, and `remedy` puts it into words.
        """
        return jnp.zeros((), jnp.int32)

    def remark(self, conditions: Condition) -> str:
        """In words, for a warning: what is doubtful about the fiber at one of these `conditions` (sites first); else empty.

        `fx.sample` asks once, and a run that carries states at each of its looks at scale separation; each text is said once.
        """
        return ""

    def relaxation_time(self, condition: Condition) -> Float[Array, ""] | None:
        """Time of the slowest relaxation under a held condition (fiber time); None where it has to be measured."""
        return None


def workspace_of(fiber: AbstractFiber) -> int:
    """`AbstractDynamic.workspace`; 0 for other kinds."""
    return fiber.workspace if isinstance(fiber, AbstractDynamic) else 0


class AbstractStochastic(AbstractDynamic):
    """A dynamic fiber that draws noise in `step`, by a weak scheme of its own. All its noise comes from `key`."""


def _arrays(tree: Any, kind: Any = None) -> Any:
    """`tree` with plain numbers as arrays, of floating point where `kind` is float."""
    kind = None if kind is None else jnp.result_type(kind)
    return jax.tree.map(lambda x: jnp.asarray(x, kind) if isinstance(x, int | float) else x, tree)


class FlowFiber(AbstractFlow):
    """A flow fiber from plain functions.

    Args:
        rate: rate(u, U), a tree like u.
        init: init(U), a state to begin with.
        link: link(u, U), the response; None where the bundle gives the link.
    """

    rate_function: Callable
    init_function: Callable
    link_function: Callable | None = None

    def __init__(self, rate: Callable, init: Callable, link: Callable | None = None):
        self.rate_function, self.init_function, self.link_function = rate, init, link

    def init(self, condition, key):
        return _arrays(self.init_function(condition), float)

    def rate(self, state, condition):
        return _arrays(self.rate_function(state, condition), float)

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
        return _arrays(self.init_function(condition), float)

    def energy(self, state, condition):
        return _arrays(self.energy_function(state, condition), float)

    def constraint(self, state, condition):
        if self.constraint_function is None:
            return super().constraint(state, condition)
        return jnp.atleast_1d(self.constraint_function(state, condition))


class StochasticFiber(AbstractStochastic):
    """A stochastic fiber from plain functions, without a `timestep` and a `standard_error` of its own.

    Args:
        step: step(u, U, dt, key), the state after the time dt.
        init: init(U, key), a state to begin with.
        link: link(u, U), the response; None where the bundle gives the link.
    """

    step_function: Callable
    init_function: Callable
    link_function: Callable | None = None

    def __init__(self, step: Callable, init: Callable, link: Callable | None = None):
        self.step_function, self.init_function, self.link_function = step, init, link

    def init(self, condition, key):
        return _arrays(self.init_function(condition, key))

    def step(self, state, condition, dt, key):
        return _arrays(self.step_function(state, condition, dt, key))

    def link(self, state, condition):
        return super().link(state, condition) if self.link_function is None else self.link_function(state, condition)

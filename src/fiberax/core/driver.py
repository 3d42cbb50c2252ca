"""Drivers: the rule by which one fiber follows its condition.

`AbstractDriver` has more than five public methods because the time loop needs more of it than `advance`.
"""

import abc
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from fiberax.core.capabilities import AbstractMonitored, energy_of, standard_error_of
from fiberax.core.fiber import AbstractFiber, AbstractMemory
from fiberax.numerics import trees
from fiberax.numerics.linear import jacobian
from fiberax.numerics.result import OWN_CODES, Outcome, Result


class Section(NamedTuple):
    """Everything that is carried at the sites; every leaf has a leading site axis.

    `memory` belongs to the driver (averages); `response` is the last good one of each site; `outcome` that of the last step;
    `own` whether the site has given a good response of its own.
    For fibers with memory (`AbstractMemory`) `history` is the accepted past, which `Field.accept` alone changes, and `since`
    the macro time between it and the present state; both are empty for others. `shared` is what a driver over all sites keeps
    for all of them together, such as a table: it alone has no site axis.
    """

    state: Any
    memory: Any
    response: Any
    outcome: Outcome
    own: Any
    history: Any = ()
    since: Any = ()
    shared: Any = ()


def map_rows(function: Callable, section: Section, *others: Section) -> Section:
    """`function` of every leaf with a site axis; what the sites share is that of `section`."""
    bare = (s._replace(shared=()) for s in (section, *others))
    return jax.tree.map(function, *bare)._replace(shared=section.shared)


class Pace(NamedTuple):
    """Micro steps per macro step, the clock, and the ratio of time scales above which a run warns."""

    substeps: int
    clock: Any
    separation: float


class AbstractDriver(eqx.Module):
    """How one fiber follows its condition during one macro step. The macro time stepper is something else.

    Of a fiber with memory, drivers see the memoryless problem of its step (`AbstractMemory.increment`).
    """

    @property
    @abc.abstractmethod
    def slaved(self) -> bool:
        """True where the response is a function of the condition alone, so that every macro stage computes it anew."""

    @abc.abstractmethod
    def prepare(self, fiber: AbstractFiber) -> AbstractFiber:
        """The fiber in the form that this driver advances. Raises `Mismatch` for a fiber that it cannot advance."""

    def check_traced(self) -> None:
        """Raise `BadInput` where results under `jax.jit`, `jax.grad` or `jax.vmap` would lack derivatives."""

    def check_tangents(self, fiber: AbstractFiber) -> None:
        """Raise `Mismatch`, with a remedy, where responses of `fiber`, as `prepare` gave it, have no tangent.

        Newton's method and implicit steps ask before anything is computed.
        """

    def step_of(self, fiber: AbstractMemory, history: Any, dt: Any) -> Any:
        """The fiber that the other methods receive in place of one with memory; by default the energy of its step."""
        return fiber.increment(history, dt)

    def accept(self, fiber: AbstractMemory, history: Any, state, memory, condition, dt: Float[Array, ""]) -> Any:
        """The history of a fiber with memory after a step that is kept; by default from its state."""
        return fiber.accept(history, state, condition, dt)

    @abc.abstractmethod
    def begin(self, fiber, link: Callable | None, condition, key: PRNGKeyArray, samples: int) -> tuple[Any, Any]:
        """State and memory at the start; `samples`: the number of stored values that averages of this run need."""

    @abc.abstractmethod
    def advance(
        self, fiber, link: Callable | None, state, memory, condition, dt: Float[Array, ""], key: PRNGKeyArray, attempt
    ) -> tuple[Any, Any, Any, Outcome]:
        """One fiber advanced under a held condition.

        Args:
            fiber: As `prepare` gave it.
            link: That of the bundle, or None for the fiber's own.
            state: The microstate.
            memory: What this driver stores, such as values for averages.
            condition: What the fiber is held at.
            dt: Macro time.
            key: Key of this evaluation and site.
            attempt: 0 at first, a number or a traced integer; 1 after a failure, where a safer setting is used.

        Returns:
            State, memory, response and outcome after `dt`.
        """

    @abc.abstractmethod
    def respond(self, fiber, link: Callable | None, state, memory, condition) -> Any:
        """The response to a `condition` at fixed state; of a slaved driver at a state that is in equilibrium already."""

    def follow(self, fiber, link: Callable | None, state, memory, condition) -> Any:
        """The same, as the function of the condition whose derivative is the fiber's tangent."""
        return self.respond(fiber, link, state, memory, condition)

    def tangent(self, fiber, link: Callable | None, state, memory, condition) -> Any:
        """The derivative of `follow` with respect to the condition, axes of the response first."""
        return jacobian(lambda c: self.follow(fiber, link, state, memory, c), condition)

    def stderr(self, fiber, link: Callable | None, state, memory, condition) -> Any | None:
        """Standard error of what `respond` gives, a tree like it, or None where there is none."""
        return standard_error_of(fiber, state, condition) if link is None else None

    def energy(self, fiber, state, memory, condition) -> Float[Array, ""] | None:
        """The energy that belongs to `respond`, per unit reference volume; None where fibers have none."""
        return energy_of(fiber, state, condition)

    def margin(self, fiber, state, memory, condition) -> Float[Array, ""] | None:
        """The stability margin that belongs to `respond`; None where fibers measure none."""
        return fiber.stability_margin(state, condition) if isinstance(fiber, AbstractMonitored) else None

    @property
    def coupled(self) -> bool:
        """True where fibers reach equilibrium together with the macro model, and not within each of its evaluations."""
        return False

    @property
    def micro_steps(self) -> int:
        """Steps of a carried fiber in one `advance`; of no use for slaved drivers, whose outcomes count them."""
        return 1

    @property
    def pace(self) -> "Pace | None":
        """Substeps, clock and limit of scale separation, for drivers that carry states in time; None for slaved ones."""
        return None

    @property
    def paces_itself(self) -> bool:
        """Whether the run chooses the clock, and hands it over by `with_clock`."""
        return False

    def with_clock(self, clock: Any) -> "AbstractDriver":
        """This driver with a given clock, where it `paces_itself`."""
        return self

    def stats(self, section: Section) -> dict[str, Any]:
        """What this driver counts during a run, for `Solution.stats`; read at the end, outside of any transformation."""
        return {}

    def samples(self, dt: float) -> int:
        """Number of stored values that averaging needs at the macro step `dt`."""
        return 0


if TYPE_CHECKING:
    # What a driver over all sites receives. `field` makes it, and imports this module.
    from typing import Protocol

    class Chosen(Protocol):
        """Advances the sites where `mask` (rows,) holds, by the driver's own `advance`, and leaves the others."""

        def __call__(self, mask: jax.Array, section: Section, conditions: Any, capacity: int) -> Section: ...


class AbstractSectionDriver(AbstractDriver):
    """A driver that sees all sites at once: tables, clusters, shared work.

    Decisions are made on replicated data in the order of the sites, so that results do not depend on chunks or on the number
    of devices. `advance` still says how one chosen fiber is advanced.
    """

    @property
    def alone(self) -> AbstractDriver:
        """The driver that a run takes in place of this one where it does not pay; by default itself."""
        return self

    def pays(self, field: Any, macro: Any, response: Any) -> bool:
        """Whether a run is better off with this driver than with `alone`; asked once, before it begins, outside of any jit.

        Args:
            field: The `Field` of the run, which imports this module.
            macro: The macrostate at the start.
            response: The shape of one response.
        """
        return True

    def begin_shared(self, fiber, section: Section, conditions: Any) -> Any:
        """`Section.shared` at the start; `section` and `conditions` have rows of all sites. Empty by default."""
        return ()

    @abc.abstractmethod
    def advance_sites(
        self, solve: "Chosen", fiber, ids: jax.Array, section: Section, conditions: Any, dt: Float[Array, ""], learn: bool
    ) -> Section:
        """The section after the macro time `dt`.

        Args:
            solve: `solve(mask, section, conditions, capacity)` advances the sites where `mask` (rows,) holds, `capacity` at a
                time, each with failures isolated and one retry; the rows of other sites are returned unchanged.
            fiber: As `prepare` gave it.
            ids: Global site numbers (rows,); padded rows at the end repeat the last site.
            section: That after the last step, rows of all sites.
            conditions: A tree with a leading axis (rows,), the same on all devices.
            dt: Macro time.
            learn: False in the trials of a Newton iteration, in which what the sites share must not change.

        Returns:
            The section, all rows.
        """

    def solved_by(self, section: Section) -> "tuple[AbstractDriver, Section] | None":
        """The driver that computes every site, and its section, where states may be older than responses; else None."""
        return None

    def tangents_sites(self, fiber, section: Section, conditions: Any) -> Any | None:
        """dA/dU at every row, axes of the response first; None (the default) for the `tangent` of each site."""
        return None


def check_finite(response, out: Outcome) -> Outcome:
    """The outcome, marked as non-finite where the response is, unless its code already gives the reason."""
    good = trees.isfinite(response)
    known = (out.result == Result.OUT_OF_RANGE) | (out.result >= OWN_CODES)
    result = jnp.where(good | known, out.result, jnp.int32(Result.NONFINITE))
    return out._replace(result=result)

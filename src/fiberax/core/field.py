"""The macro vector field with its fibers: what time steppers and the steady solver see of a bundle."""

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from fiberax.core.borrow import borrowed, marked
from fiberax.core.bundle import Bundle
from fiberax.core.driver import AbstractDriver, AbstractSectionDriver, Section
from fiberax.core.fiber import AbstractDynamic, AbstractMemory
from fiberax.core.macro import AbstractInertial, AtRest
from fiberax.core.sites import Sites, each, each_keyed, site_keys
from fiberax.numerics import trees
from fiberax.numerics.result import Outcome, Result, outcome

_ATTEMPTS = 2


class Field(eqx.Module):
    """dU/dt = rate(t, U, A), A the responses of all fibers. Fiber failures are isolated here, site by site.

    With `retry` a failed fiber is tried once more with the driver's safer setting; if that fails too it keeps its last good
    state and response. It is off while JAX differentiates or traces the whole run, and in steps taken on trial. Drivers that
    are not slaved then keep the stored response and outcome, since a failed link makes the macrostate NaN.

    More than five public methods: everything about all sites at once is here.
    """

    bundle: Bundle
    driver: AbstractDriver
    fiber: Any  # the fiber in the form that the driver prepared
    sites: Sites
    key: jax.Array
    retry: bool = eqx.field(static=True)
    borrow: bool = eqx.field(static=True, default=False)  # whether sites without a response use the nearest one
    learn: bool = eqx.field(static=True, default=True)  # whether what sites share may change, see `AbstractSectionDriver`

    @property
    def remembers(self) -> bool:
        """Whether the fibers have a history."""
        return isinstance(self.fiber, AbstractMemory)

    def _at(self, history: Any, since: Any) -> Any:
        """The fiber as drivers see it: one with memory as the memoryless problem of its step."""
        return self.driver.step_of(self.fiber, history, since) if isinstance(self.fiber, AbstractMemory) else self.fiber

    def begin(self, macro: Any, response: Any, samples: int, ids: jax.Array | None = None) -> Section:
        """The section at the start: states from `init`, responses not yet computed (zeros of the shape `response`)."""
        conditions = self.sites.pad(self.bundle.macro.conditions(macro))
        rows = self.sites.padded

        def one(key, condition):
            history = self.fiber.begin(condition) if isinstance(self.fiber, AbstractMemory) else ()
            fiber = self._at(history, jnp.zeros(()))
            return *self.driver.begin(fiber, self.bundle.link, condition, key, samples), history

        shapes = jax.eval_shape(one, self.key, jax.tree.map(lambda x: x[0], conditions))
        empty = jax.tree.map(lambda x: jnp.zeros((rows, *x.shape), x.dtype), shapes)

        shared = self.bundle.noise == "shared"  # states must be smooth over the sites from the start

        def chunk(ids, section, conditions):
            return each_keyed(one, site_keys(self.key, jnp.uint32(2**32 - 1), ids, shared), conditions)

        state, memory, history = self.sites.update(chunk, empty, conditions, ids)
        zeros = jax.tree.map(lambda x: jnp.zeros((rows, *x.shape), x.dtype), response)
        none = jax.tree.map(lambda x: jnp.broadcast_to(x, (rows,)), outcome(0))
        since = jnp.zeros((rows,)) if self.remembers else ()
        section = Section(state, memory, zeros, none, jnp.zeros((rows,), bool), history, since)
        if not isinstance(self.driver, AbstractSectionDriver):
            return section
        return section._replace(shared=self.driver.begin_shared(self.fiber, section, conditions))

    def advance(self, step, macro, section: Section, dt, stage: Any = 0, ids: jax.Array | None = None) -> Section:
        """Every fiber one step of its driver, held at the conditions that `macro` sets.

        `dt`: macro time; for a slaved driver that since the last accepted step, which only fibers with memory use. `step`
        and `stage` number the evaluation: no two of them share noise. `step` is one number, or one for each row; `ids` are
        global site numbers (padded rows), by default 0, 1, ....
        """
        conditions = self.sites.pad(self.bundle.macro.conditions(macro))
        if self.remembers:
            section = section._replace(since=jnp.broadcast_to(jnp.asarray(dt, section.since.dtype), section.since.shape))
        if not self.retry and not self.driver.slaved:

            def bare(ids, moving, inputs):
                return self._run(ids, moving[0], moving[1], ((), ()), inputs, dt, stage, 0)[:2]

            moving = self.sites.update(bare, (section.state, section.memory), (conditions, self._steps(step)), ids)
            return section._replace(state=moving[0], memory=moving[1])

        def chunk(ids, section, inputs):
            return self._advanced(ids, section, inputs, dt, stage)

        steps = self._steps(step)
        if isinstance(self.driver, AbstractSectionDriver):
            numbers = self.sites.ids(ids)

            def solve(mask, section, conditions, capacity):
                bare = section._replace(shared=())
                new = self.sites.update_chosen(chunk, mask, bare, (conditions, steps), numbers, capacity)
                return new._replace(shared=section.shared)

            section = self.driver.advance_sites(
                solve, self.fiber, numbers, section, conditions, jnp.asarray(dt), self.retry and self.learn
            )
        else:
            section = self.sites.update(chunk, section, (conditions, steps), ids)
        return borrowed(self.sites, self.bundle.macro.positions(), section) if self.retry and self.borrow else section

    def _steps(self, step) -> Any:
        """`step` as an input over rows, where each row has a number of its own."""
        return self.sites.pad(step) if jnp.ndim(step) else step

    def _run(self, ids, state, memory, past, inputs, dt, stage, attempt) -> tuple[Any, Any, Any, Outcome]:
        conditions, step = inputs
        keys = site_keys(self.key, step, ids, self.bundle.noise == "shared", stage)

        def one(key, state, memory, past, condition):
            return self.driver.advance(self._at(*past), self.bundle.link, state, memory, condition, dt, key, attempt)

        return each_keyed(one, keys, state, memory, past, conditions)

    def _advanced(self, ids, section: Section, inputs, dt, stage) -> Section:
        """One chunk advanced; failed fibers are tried once more, then keep their last good state and response."""
        past = (section.history, section.since)

        def run(attempt):
            new = self._run(ids, section.state, section.memory, past, inputs, dt, stage, attempt)
            return dict(zip(("state", "memory", "response", "outcome"), new))

        if not self.retry:
            new = section._replace(**run(0), own=jnp.ones(ids.shape, bool))
        else:

            def attempt(carry):
                number, merged, failed = carry
                new = section._replace(**run(number))
                good = new.outcome.result == 0
                new = new._replace(own=good)
                result = trees.where_site(failed & ~good, new.outcome, merged.outcome)
                merged = trees.where_site(failed & good, new, merged._replace(outcome=result))
                return number + 1, merged, failed & ~good

            start = (jnp.zeros((), jnp.int32), section, jnp.ones(ids.shape, bool))
            new = jax.lax.while_loop(lambda c: jnp.any(c[2]) & (c[0] < _ATTEMPTS), attempt, start)[1]
        # A fiber that fails at one stage of a macro step counts as failed in that step; the steps of all stages count.
        before, now = section.outcome, new.outcome
        worst = jax.tree.map(jnp.maximum, before, now)
        return new._replace(outcome=worst._replace(steps=before.steps + now.steps))

    def accept(self, step, macro, section: Section, dt) -> Section:
        """The section after a macro step of length `dt` that ended at `macro` and is kept: histories change, once.

        Fibers with memory are solved at that macrostate, from the history before the step; one that fails keeps its history.
        """
        return self.commit(macro, self.advance(step, macro, section, dt)) if self.remembers else section

    def commit(self, macro, section: Section) -> Section:
        """`accept` of a section that is solved at `macro` already, the time `section.since` after its history."""
        if not self.remembers:
            return section
        conditions = self.sites.pad(self.bundle.macro.conditions(macro))

        def chunk(ids, history, inputs):
            state, memory, since, conditions, good = inputs
            new = each(lambda *at: self.driver.accept(self.fiber, *at), history, state, memory, conditions, since)
            return trees.where_site(good, new, history)

        good = section.outcome.result == 0
        inputs = (section.state, section.memory, section.since, conditions, good)
        history = self.sites.update(chunk, section.history, inputs)
        return section._replace(history=history, since=jnp.zeros_like(section.since))

    def carry(self, section: Section, macro, t, span) -> Section:
        """The section with its states carried by the motion of `macro` over the time `span`, which may be 0."""
        transport = self.bundle.transport
        if transport is None:
            return section

        def moved(state):
            new = transport.apply(self.bundle.macro, self.bundle.fiber, self.sites.trim(state), macro, t, span)
            if self.retry:  # numbers of a failed neighbour that are not finite must not spread
                new = trees.where_site(jax.vmap(trees.isfinite)(new), new, self.sites.trim(state))
            return self.sites.pad(new)

        return section._replace(state=jax.lax.cond(span > 0.0, moved, lambda state: state, section.state))

    def response(self, macro, section: Section) -> Any:
        """Responses (sites first) at the carried states under the conditions that `macro` sets; nothing is advanced."""
        conditions = self.sites.pad(self.bundle.macro.conditions(macro))

        def one(state, memory, past, condition):
            return self.driver.respond(self._at(*past), self.bundle.link, state, memory, condition)

        def chunk(ids, _, inputs):
            section, conditions = inputs
            new = each(one, section.state, section.memory, (section.history, section.since), conditions)
            if not self.retry:
                return new
            return trees.where_site(section.outcome.result == 0, new, section.response)

        return self.sites.trim(self.sites.update(chunk, section.response, (section._replace(shared=()), conditions)))

    def rate(
        self, step, t, macro, section: Section, dt, equation: Callable | None = None, stage: Any = 0
    ) -> tuple[Any, Section]:
        """dU/dt; a slaved driver solves its fibers here, another one links their carried states.

        `dt`: time since the last accepted step. `equation(t, macro, response)`: the function of the macro model to evaluate,
        by default its `rate`. `stage`: number of this evaluation within the step.
        """
        equation = self.bundle.macro.rate if equation is None else equation
        macro = self.bundle.macro.prescribed(t, macro)
        if self.driver.slaved:
            section = self.advance(step, macro, section, dt, stage)
            return equation(t, macro, self.sites.trim(section.response)), section
        return equation(t, macro, self.response(macro, section)), section

    def tangents(self, macro, section: Section) -> Any:
        """dA/dU at every site (sites first, then response axes, then condition axes) at the carried states.

        For a slaved driver the total derivative by the implicit function theorem, else the link's at fixed state.
        """
        if isinstance(self.driver, AbstractSectionDriver):
            found = self.driver.tangents_sites(self.fiber, section, self.sites.pad(self.bundle.macro.conditions(macro)))
            if found is not None:
                return self.sites.trim(found)
        return self.over_sites(lambda fiber, *at: self.driver.tangent(fiber, self.bundle.link, *at), macro, section)

    def over_sites(self, function, macro, section: Section) -> Any:
        """`function(fiber, state, memory, condition)` at every site, sites first; None where it gives None."""
        conditions = self.sites.pad(self.bundle.macro.conditions(macro))
        one = lambda state, memory, past, condition: function(self._at(*past), state, memory, condition)
        carried = (section.state, section.memory, (section.history, section.since), conditions)
        like = jax.eval_shape(one, *jax.tree.map(lambda x: x[0], carried))
        if like is None:
            return None
        empty = jax.tree.map(lambda x: jnp.zeros((self.sites.padded, *x.shape), x.dtype), like)
        chunk = lambda ids, _, inputs: each(one, *inputs)
        return self.sites.trim(self.sites.update(chunk, empty, carried))

    def states(self, step, macro, section: Section) -> Any:
        """Microstates (sites first) under the conditions that `macro` sets; solved for where the driver has not done it."""
        found = self.driver.solved_by(section) if isinstance(self.driver, AbstractSectionDriver) else None
        if found is not None:
            driver, section = found
            field = dataclasses.replace(self, driver=driver)
            section = field.advance(step, macro, section, jnp.zeros(()))
        return self.sites.trim(section.state)

    def stability_margin(self, macro, section: Section) -> jax.Array | None:
        """`AbstractMonitored.stability_margin` of every site (sites,), or None."""
        return self.over_sites(self.driver.margin, macro, section)

    def energy(self, macro, section: Section) -> jax.Array | None:
        """Energy of every fiber (sites,) per unit reference volume, see `energy_of`, or None."""
        return self.over_sites(self.driver.energy, macro, section)

    def stderr(self, macro, section: Section) -> Any | None:
        """Standard errors of the responses, a tree like them (sites first), or None."""
        return self.over_sites(lambda fiber, *at: self.driver.stderr(fiber, self.bundle.link, *at), macro, section)

    def results(self, section: Section) -> jax.Array:
        """Result codes (sites,), `BORROWED` where a failed site uses the response of another one."""
        result = self.outcomes(section).result
        return marked(result, self.sites.trim(section.own)) if self.borrow else result

    def codes(self, macro, section: Section, response) -> jax.Array:
        """Results (sites,) of fibers that carry their states, of which no step has been looked at while JAX traces the run."""
        result = self.outcomes(section).result
        finite = jax.vmap(trees.isfinite)(response)
        result = jnp.where(finite, result, jnp.maximum(result, jnp.int32(Result.NONFINITE)))
        own = None if self.retry else self.verdicts(macro, section)
        return result if own is None else jnp.where(own == 0, result, own)

    def verdicts(self, macro, section: Section) -> jax.Array | None:
        """`AbstractDynamic.verdict` of every site (sites,), or None."""
        if self.driver.slaved or not isinstance(self.fiber, AbstractDynamic):
            return None
        return self.over_sites(lambda fiber, state, *_: fiber.verdict(state), macro, section)

    def at_rest(self) -> "Field":
        """The field of an inertial model as a function of the position alone; other fields unchanged."""
        if not isinstance(self.bundle.macro, AbstractInertial):
            return self
        return dataclasses.replace(self, bundle=eqx.tree_at(lambda b: b.macro, self.bundle, AtRest(self.bundle.macro)))

    def linear_rate(self, t, macro, response, tangents):
        """The map dU -> d rate, where fibers follow by their `tangents`."""

        def apply(direction):
            direction = jax.jvp(lambda u: self.bundle.macro.prescribed(t, u), (macro,), (direction,))[1]
            moved = jax.jvp(self.bundle.macro.conditions, (macro,), (direction,))[1]
            change = jax.vmap(trees.contract)(tangents, moved, response)
            return jax.jvp(lambda u, a: self.bundle.macro.rate(t, u, a), (macro, response), (direction, change))[1]

        return apply

    def outcomes(self, section: Section) -> Outcome:
        """Outcome of each site (sites,)."""
        return self.sites.trim(section.outcome)

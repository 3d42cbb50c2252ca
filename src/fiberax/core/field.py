"""The macro vector field with the fibers under it: what time steppers and the steady solver see of a bundle."""

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from fiberax.core.bundle import Bundle
from fiberax.core.driver import AbstractDriver, Section
from fiberax.core.macro import AbstractInertial, AtRest
from fiberax.core.relax import energy_of
from fiberax.core.sites import Sites, each, each_keyed, site_keys
from fiberax.numerics import trees
from fiberax.numerics.result import Outcome, outcome

_ATTEMPTS = 2


class Field(eqx.Module):
    """dU/dt = rate(t, U, A), A the responses of all fibers. Fiber failures are isolated here, site by site.

    `retry` tries a failed fiber once more with the driver's safer setting and keeps its last good state and response. It is
    off while JAX differentiates or traces the whole run, and in steps taken on trial; drivers that are not slaved then leave
    the stored response and outcome as they are, since a link that failed shows in the macrostate.
    """

    bundle: Bundle
    driver: AbstractDriver
    fiber: Any  # the fiber in the form that the driver prepared
    sites: Sites
    key: jax.Array
    retry: bool = eqx.field(static=True)

    def begin(self, macro: Any, response: Any, samples: int) -> Section:
        """The section at the start: states from `init`, responses not yet computed (zeros of the shape `response`)."""
        conditions = self.sites.pad(self.bundle.macro.conditions(macro))
        rows = self.sites.padded

        def one(key, condition):
            return self.driver.begin(self.fiber, self.bundle.link, condition, key, samples)

        shapes = jax.eval_shape(one, self.key, jax.tree.map(lambda x: x[0], conditions))
        empty = jax.tree.map(lambda x: jnp.zeros((rows, *x.shape), x.dtype), shapes)

        shared = self.bundle.noise == "shared"  # fields over the sites have to be smooth from the first

        def chunk(ids, section, conditions):
            return each_keyed(one, site_keys(self.key, jnp.uint32(2**32 - 1), ids, shared), conditions)

        state, memory = self.sites.update(chunk, empty, conditions)
        zeros = jax.tree.map(lambda x: jnp.zeros((rows, *x.shape), x.dtype), response)
        none = jax.tree.map(lambda x: jnp.broadcast_to(x, (rows,)), outcome(0))
        return Section(state, memory, zeros, none)

    def advance(self, step, macro, section: Section, dt) -> Section:
        """Every fiber one step of its driver, held at the conditions that `macro` sets."""
        conditions = self.sites.pad(self.bundle.macro.conditions(macro))
        shared = self.bundle.noise == "shared"

        def run(ids, moving, conditions, attempt):
            keys = site_keys(self.key, step, ids, shared)

            def one(key, state, memory, condition):
                return self.driver.advance(self.fiber, self.bundle.link, state, memory, condition, dt, key, attempt)

            return Section(*each_keyed(one, keys, moving[0], moving[1], conditions))

        def bare(ids, moving, conditions):
            return run(ids, moving, conditions, 0)[:2]

        if not self.retry and not self.driver.slaved:
            state, memory = self.sites.update(bare, (section.state, section.memory), conditions)
            return section._replace(state=state, memory=memory)

        def careful(ids, section, conditions):
            def attempt(carry):
                number, merged, failed = carry
                new = run(ids, section[:2], conditions, number)
                good = new.outcome.result == 0
                result = trees.where_site(failed & ~good, new.outcome, merged.outcome)
                merged = trees.where_site(failed & good, new, merged._replace(outcome=result))
                return number + 1, merged, failed & ~good

            # A fiber that fails twice keeps its last good state and response, and is marked.
            start = (jnp.zeros((), jnp.int32), section, jnp.ones(ids.shape, bool))
            return jax.lax.while_loop(lambda c: jnp.any(c[2]) & (c[0] < _ATTEMPTS), attempt, start)[1]

        def chunk(ids, section, conditions):
            new = careful(ids, section, conditions) if self.retry else run(ids, section[:2], conditions, 0)
            # A fiber that failed at one stage of a macro step has failed in that step.
            return new._replace(outcome=jax.tree.map(jnp.maximum, section.outcome, new.outcome))

        return self.sites.update(chunk, section, conditions)

    def carry(self, section: Section, macro, t, span) -> Section:
        """The section with its states carried by the motion of `macro` over the time `span`, which may be 0."""
        transport = self.bundle.transport
        if transport is None:
            return section

        def moved(state):
            new = transport.apply(self.bundle, self.sites.trim(state), macro, t, span)
            if self.retry:  # a site whose neighbour has failed must not take over what is not finite
                new = trees.where_site(jax.vmap(trees.isfinite)(new), new, self.sites.trim(state))
            return self.sites.pad(new)

        return section._replace(state=jax.lax.cond(span > 0.0, moved, lambda state: state, section.state))

    def response(self, macro, section: Section) -> Any:
        """Responses (sites first) at the carried states under the conditions that `macro` sets; nothing is advanced."""
        conditions = self.sites.pad(self.bundle.macro.conditions(macro))

        def chunk(ids, _, inputs):
            section, conditions = inputs
            new = each(self._respond, section.state, section.memory, conditions)
            if not self.retry:
                return new
            return trees.where_site(section.outcome.result == 0, new, section.response)

        return self.sites.trim(self.sites.update(chunk, section.response, (section, conditions)))

    def _respond(self, state, memory, condition):
        return self.driver.respond(self.fiber, self.bundle.link, state, memory, condition)

    def rate(self, step, t, macro, section: Section, dt, equation: Callable | None = None) -> tuple[Any, Section]:
        """dU/dt; a slaved driver solves its fibers here, another one links their carried states.

        `equation(t, macro, response)`: what is asked of the macro model, by default its `rate`.
        """
        equation = self.bundle.macro.rate if equation is None else equation
        if self.driver.slaved:
            section = self.advance(step, macro, section, dt)
            return equation(t, macro, self.sites.trim(section.response)), section
        return equation(t, macro, self.response(macro, section)), section

    def tangents(self, macro, section: Section) -> Any:
        """dA/dU at every site (sites first, then response axes, then condition axes) at the carried states.

        For a slaved driver the total derivative by the implicit function theorem, else the link's at fixed state.
        """
        conditions = self.bundle.macro.conditions(macro)
        padded = self.sites.pad(conditions)

        def one(state, memory, condition):
            return self.driver.tangent(self.fiber, self.bundle.link, state, memory, condition)

        first = jax.tree.map(lambda x: x[0], (section.state, section.memory, padded))
        shapes = jax.eval_shape(one, *first)
        empty = jax.tree.map(lambda x: jnp.zeros((self.sites.padded, *x.shape), x.dtype), shapes)

        def chunk(ids, _, inputs):
            section, conditions = inputs
            return each(one, section.state, section.memory, conditions)

        return self.sites.trim(self.sites.update(chunk, empty, (section, padded)))

    def over_sites(self, function, macro, section: Section) -> Any:
        """`function(fiber, state, memory, condition)` at every site, sites first; None where it gives None."""
        conditions = self.sites.pad(self.bundle.macro.conditions(macro))
        one = lambda state, memory, condition: function(self.fiber, state, memory, condition)
        carried = (section.state, section.memory, conditions)
        like = jax.eval_shape(one, *jax.tree.map(lambda x: x[0], carried))
        if like is None:
            return None
        empty = jax.tree.map(lambda x: jnp.zeros((self.sites.padded, *x.shape), x.dtype), like)
        chunk = lambda ids, _, inputs: each(one, *inputs)
        return self.sites.trim(self.sites.update(chunk, empty, carried))

    def soundness(self, macro, section: Section) -> jax.Array | None:
        """`AbstractFiber.soundness` of every site (sites,), or None."""
        return self.over_sites(lambda fiber, state, _, condition: fiber.soundness(state, condition), macro, section)

    def energy(self, macro, section: Section) -> jax.Array | None:
        """Energy of every fiber (sites,) per unit reference volume, see `energy_of`, or None."""
        return self.over_sites(lambda fiber, state, _, condition: energy_of(fiber, state, condition), macro, section)

    def stderr(self, macro, section: Section) -> Any | None:
        """Standard errors of the responses, a tree like them (sites first), or None."""
        return self.over_sites(lambda fiber, *at: self.driver.stderr(fiber, self.bundle.link, *at), macro, section)

    def at_rest(self) -> "Field":
        """The field of an inertial model as a function of the position alone; another field is what it is."""
        if not isinstance(self.bundle.macro, AbstractInertial):
            return self
        return dataclasses.replace(self, bundle=eqx.tree_at(lambda b: b.macro, self.bundle, AtRest(self.bundle.macro)))

    def linear_rate(self, t, macro, response, tangents):
        """The map dU -> d rate, the fibers following through their `tangents`."""

        def apply(direction):
            moved = jax.jvp(self.bundle.macro.conditions, (macro,), (direction,))[1]
            change = contract(tangents, moved, response)
            return jax.jvp(lambda u, a: self.bundle.macro.rate(t, u, a), (macro, response), (direction, change))[1]

        return apply

    def outcomes(self, section: Section) -> Outcome:
        """Outcome of each site (sites,)."""
        return self.sites.trim(section.outcome)


def contract(tangents, direction, response):
    """Σ dA/dc · dc over the leaves of the condition, site by site."""
    response_leaves, structure = jax.tree.flatten(response)
    condition_leaves = jax.tree.leaves(direction)
    blocks = jax.tree.leaves(tangents)  # response-major, as jacfwd and jacrev nest them
    count = len(condition_leaves)

    def row(i):
        total = jnp.zeros_like(response_leaves[i])
        for j, moved in enumerate(condition_leaves):
            axes = moved.ndim - 1
            total = total + jax.vmap(lambda b, m, axes=axes: jnp.tensordot(b, m, axes=axes))(blocks[i * count + j], moved)
        return total

    return jax.tree.unflatten(structure, [row(i) for i in range(len(response_leaves))])

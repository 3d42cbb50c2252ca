"""Responses of random fibers from a regression over the bursts of all sites and times, where its error allows.

A burst at one site has the noise of that burst; the regression has that of all bursts in the same range of conditions, which is
smaller by the root of their number (`regression_cells`). What is left is the same at neighbouring sites and at all later times.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from fiberax.core.driver import AbstractSectionDriver, Section
from fiberax.core.errors import BadInput, Mismatch
from fiberax.core.fiber import AbstractMemory, AbstractStochastic
from fiberax.core.platform import need_double
from fiberax.drivers.multiscale import FEWEST_MEANS, HeterogeneousMultiscale
from fiberax.drivers.quasistatic import Quasistatic
from fiberax.drivers.regression_cells import MOST_ENTRIES, Cells, PooledTable
from fiberax.drivers.views import flat, shaped
from fiberax.numerics import trees

_GOLDEN = 0.5 * (5.0**0.5 - 1.0)


class Tally(NamedTuple):
    """What a regression has done: evaluations, answers without a burst, bursts, and those that only checked it."""

    evaluations: jax.Array
    retrieved: jax.Array
    live: jax.Array
    checked: jax.Array
    deviation: jax.Array  # sum over the checked ones of the squared difference, over its expected square


class _Shared(NamedTuple):
    """What `Regression` keeps for all sites together."""

    cells: Cells
    tally: Tally


class _Site(NamedTuple):
    """What is carried at each site: the memory of the inner driver, the standard error of what it answers, and `ripe`.

    The first burst of a site begins from the `init` of the fiber, and is thrown away.
    """

    inner: Any
    error: Any
    ripe: jax.Array


class Regression(AbstractSectionDriver):
    """A regression over the bursts of all sites and all times; a further burst where its standard error is too large.

    Bursts are weighed by 1/s², s their standard errors, and fitted by polynomials of third degree in cells of the space of
    conditions, which are halved where a fit is seen to miss too much. A standard error is the larger one of what the bursts
    state and of their scatter around the fit. It takes them as independent: a burst must leave out (`relax`) a few relaxation
    times, since it begins from the state in which the last one ended.

    Args:
        inner: The driver that makes bursts: `fx.HeterogeneousMultiscale`, or `fx.Quasistatic` for sampled fibers.
        tolerance: Largest standard error of a response (norm over its entries) over the largest response so far. Where it is
            not reached, every site has a burst at every evaluation, and the fit is used all the same.
        capacity: Most cells. Where there is no room left, cells are no more halved, and sites outside of them take their own
            bursts.
        check: Share of the answers, chosen at random, that are compared with a burst of their own.
        batch: Bursts that are made at a time before the fit is asked again.

    Raises:
        BadInput: Numbers out of their range, bursts of less than 8 steps and replicas, which have no standard error, or a run
            under `jax.jit`, `jax.grad` or `jax.vmap`, in which derivatives with respect to parameters would be lost.
        Mismatch: When a run begins, fibers without noise or with a history, noise that is shared between sites, conditions of
            more than three entries, or a macro scheme that asks for tangents.
    """

    inner: HeterogeneousMultiscale | Quasistatic
    tolerance: float = eqx.field(static=True, default=1e-2)
    capacity: int = eqx.field(static=True, default=256)
    check: float = eqx.field(static=True, default=1e-3)
    batch: int = eqx.field(static=True, default=8)

    def __check_init__(self):
        if not isinstance(self.inner, HeterogeneousMultiscale | Quasistatic):
            raise BadInput(
                f"Regression: inner makes bursts, as fx.HeterogeneousMultiscale(relax, average); it is {self.inner!r}."
            )
        if isinstance(self.inner, HeterogeneousMultiscale) and self.inner.average * self.inner.replicas < FEWEST_MEANS:
            raise BadInput(
                f"Regression weighs bursts by their standard errors, and a burst of average={self.inner.average} steps and "
                f"replicas={self.inner.replicas} has none: their product must be at least {FEWEST_MEANS}."
            )
        if not 0.0 < self.tolerance < 1.0:
            raise BadInput(f"Regression: tolerance must lie between 0 and 1; it is {self.tolerance!r}.")
        for name, value in (("capacity", self.capacity), ("batch", self.batch)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise BadInput(f"Regression: {name} must be a whole number, at least 1; it is {value!r}.")
        if not 0.0 <= self.check <= 1.0:
            raise BadInput(f"Regression: check is a share, 0 to 1; it is {self.check!r}.")

    @property
    def slaved(self):
        return True

    @property
    def alone(self):
        return self.inner

    def check_traced(self):
        raise BadInput(
            "Regression keeps a table of past responses, through which derivatives with respect to parameters would be lost. "
            "Under jax.jit, jax.grad or jax.vmap use the inner driver."
        )

    def prepare(self, fiber):
        name = type(fiber).__name__
        if isinstance(fiber, AbstractMemory):
            raise Mismatch(
                f"Regression: responses of {name} depend on its history, and a table knows the condition alone. "
                "Use fx.Quasistatic()."
            )
        need_double("fx.Regression", self.tolerance)
        fiber = self.inner.prepare(fiber)
        if not isinstance(fiber, AbstractStochastic):
            raise Mismatch(f"Regression: {name} draws no noise. Use fx.Surrogate(fx.Quasistatic()), whose tables interpolate.")
        return fiber

    def pays(self, field, macro, response):
        """True; raises `Mismatch` for noise that is the same at all sites, which no mean over sites makes smaller."""
        if field.bundle.noise == "shared":
            raise Mismatch(
                "Regression takes bursts of several sites as independent, and the sites of this bundle share their noise. "
                'Give fx.Bundle(..., noise="independent").'
            )
        return True

    def stats(self, section):
        """`regression`: evaluations, answers, bursts, checks, their deviation, cells, whether they are full.

        The deviation is the root mean square of the difference of checked answers over its standard error: about 1.
        """
        cells, tally = section.shared
        seen = float(tally.checked)
        deviation = (float(tally.deviation) / seen) ** 0.5 if seen else float("nan")
        numbers = {name: float(value) for name, value in tally._replace(deviation=deviation)._asdict().items()}
        return {"regression": numbers | {"cells": int(cells.count), "full": bool(cells.full)}}

    # --- one site -----------------------------------------------------------------------------------------------------------

    def begin(self, fiber, link, condition, key, samples):
        size = trees.size(condition)
        if size > MOST_ENTRIES:
            raise Mismatch(f"Regression: conditions have {size} entries, more than {MOST_ENTRIES}. Use the inner driver alone.")
        state, inner = self.inner.begin(fiber, link, condition, key, samples)
        return state, _Site(inner, self.inner.stderr(fiber, link, state, inner, condition), jnp.asarray(False))

    def advance(self, fiber, link, state, memory, condition, dt, key, attempt):
        state, inner, response, out = self.inner.advance(fiber, link, state, memory.inner, condition, dt, key, attempt)
        memory = _Site(inner, self.inner.stderr(fiber, link, state, inner, condition), jnp.asarray(True))
        return state, memory, response, out

    def respond(self, fiber, link, state, memory, condition):
        return self.inner.respond(fiber, link, state, memory.inner, condition)

    def stderr(self, fiber, link, state, memory, condition):
        """That of the fit, or of a burst of its own where there is no fit."""
        return memory.error

    def energy(self, fiber, state, memory, condition):
        return self.inner.energy(fiber, state, memory.inner, condition)

    def margin(self, fiber, state, memory, condition):
        return self.inner.margin(fiber, state, memory.inner, condition)

    def follow(self, fiber, link, state, memory, condition):
        self.check_tangents(fiber)

    def check_tangents(self, fiber):
        raise Mismatch("Regression: fits of neighbouring cells do not join smoothly. Take an explicit macro step: fx.Heun().")

    # --- all sites ----------------------------------------------------------------------------------------------------------

    def begin_shared(self, fiber, section, conditions):
        points, size = flat(conditions), flat(section.response).shape[1]
        zero = jnp.zeros((), jnp.result_type(float))
        return _Shared(self._table(points).empty(points, size), Tally(jnp.zeros((), jnp.uint32), zero, zero, zero, zero))

    def _table(self, points: jax.Array) -> PooledTable:
        return PooledTable(self.tolerance, self.capacity, points.shape[1])

    def advance_sites(self, solve, fiber, ids, section, conditions, dt, learn):
        points = flat(conditions)
        table = self._table(points)
        cells, tally = section.shared
        rows = ids.shape[0]
        size = min(self.batch, rows)
        own = jnp.concatenate([jnp.ones((1,), bool), ids[1:] != ids[:-1]])  # padded rows repeat the last site
        key = jax.random.fold_in(jax.random.key(1), tally.evaluations)
        draw = jax.vmap(lambda i: jax.random.uniform(jax.random.fold_in(key, i)))(ids)
        found = table.find(cells, points)
        checks = found.sure & (draw < self.check) & own

        scattered = np.arange(rows) * _GOLDEN % 1.0  # of sites that are alike, some from everywhere

        def body(carry):
            section, cells, tally, todo, live = carry
            found = table.find(cells, points)
            worst = jnp.where(found.there, jnp.sum(found.error**2, axis=1), jnp.inf)
            order = jnp.lexsort((scattered, jnp.where(todo, -worst, jnp.inf)))[:size]
            mask = jnp.zeros((rows,), bool).at[order].set(todo[order])
            ripe = section.memory.ripe
            section = solve(mask, section, conditions, size)
            # Within one evaluation the second burst of a site has the noise of the first. Taken twice, it gives a state at any
            # of its steps the law that as many independent steps give: it is the same sequence, begun elsewhere.
            cells, tally = self._learnt(table, cells, tally, section, points, order, todo & ripe, checks & mask)
            live = live | (mask & (ripe | ~section.memory.ripe))
            unsure = ~table.find(cells, points).sure
            return section, cells, tally, (unsure | checks) & own & ~live, live

        section = section._replace(shared=())
        start = (section, cells, tally, (~found.sure | checks) & own, jnp.zeros((rows,), bool))
        section, cells, tally, _, live = jax.lax.while_loop(lambda c: jnp.any(c[3]), body, start)
        tally = tally._replace(
            evaluations=tally.evaluations + 1,
            live=tally.live + jnp.sum(live),
            retrieved=tally.retrieved + jnp.sum(own & ~live),
        )
        return self._answered(table, section, cells, points)._replace(shared=_Shared(cells, tally))

    def _learnt(self, table, cells, tally, section, points, order, todo, checked):
        """Cells and tally after the bursts at the sites `order`, of which those of `todo` have been made."""
        value, error = flat(section.response)[order], flat(section.memory.error)[order]
        good = todo[order] & (section.outcome.result[order] == 0) & jnp.all(jnp.isfinite(error), axis=1)
        compared, at = checked[order] & good, points[order]

        def one(k, carry):
            cells, tally = carry
            told = table.find(cells, at[k][None])
            off = jnp.sum((told.value[0] - value[k]) ** 2) / jnp.sum(told.error[0] ** 2 + error[k] ** 2)
            tally = tally._replace(
                checked=tally.checked + compared[k], deviation=tally.deviation + jnp.where(compared[k], off, 0.0)
            )
            learnt = lambda c: table.learn(c, at[k], value[k], error[k])
            return jax.lax.cond(good[k], learnt, lambda c: c, cells), tally

        return jax.lax.fori_loop(0, order.shape[0], one, (cells, tally))

    def _answered(self, table, section, cells, points) -> Section:
        """The section with the responses of the fit, where there is one.

        Also where a burst states a smaller error: to choose the smaller of two estimates makes both too small.
        """
        found = table.find(cells, points)
        memory, use = section.memory, found.there
        response, error = shaped(found.value, section.response), shaped(found.error, section.response)
        response, error = trees.where_site(use, (response, error), (section.response, memory.error))
        memory = memory._replace(error=error)
        return section._replace(memory=memory, response=response, own=section.own | use)

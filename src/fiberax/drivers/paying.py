"""Whether a table pays: the time of one solve beside that of one look-up, measured before a run begins."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from fiberax.core.driver import AbstractDriver
from fiberax.core.field import Field
from fiberax.drivers.summaries import bare, first, first_asked
from fiberax.drivers.tables import AbstractTable
from fiberax.drivers.views import seen

_SOLVED = 16  # most sites that are solved for the measurement
_ASKED = {"one": 4096, "several": 256}  # look-ups, so many that what a call takes by itself does not count
_MOVED = 1e-3  # by which conditions change before the solve that is timed
_REPEATS = 3
_LONG = 0.02  # seconds, after which a call is not repeated


class Costs(NamedTuple):
    """Seconds of one solve from the state of a condition nearby, and of one look-up."""

    solve: float
    look_up: float


def costs(driver: AbstractDriver, table: AbstractTable, entries: int, field: Field, conditions: Any) -> Costs:
    """Measured for the `driver` that solves, and the `table` with points of `entries` numbers, at conditions of the run."""
    count = field.sites.count
    some = lambda most: np.unique(np.linspace(0, count - 1, min(most, count)).astype(int))
    pick = lambda rows: jax.tree.map(lambda x: x[rows], conditions)
    rows = some(min(_SOLVED, field.sites.chunk))
    keys = jax.random.split(jax.random.key(0), rows.size)

    fiber, link, held = field.fiber, field.bundle.link, pick(rows)
    state, memory = _begun(driver, fiber, link, held, keys)
    state, memory, _ = _solved(driver, fiber, link, state, memory, held, keys)
    moved = jax.tree.map(lambda x: x + _MOVED * (jnp.abs(x) + 1.0), held)
    solving = _seconds(lambda: _solved(driver, fiber, link, state, memory, moved, keys)) / rows.size
    asked = pick(np.resize(np.arange(count), _ASKED["one" if entries == 1 else "several"]))
    records = table.empty(entries, table.measured, ())._replace(count=jnp.asarray(table.capacity // 2, jnp.int32))
    looking = _seconds(lambda: _answered(table, fiber, records, asked)) / jax.tree.leaves(asked)[0].shape[0]
    return Costs(solving, looking)


@eqx.filter_jit
def _begun(driver, fiber, link, conditions, keys):
    return jax.vmap(lambda c, key: driver.begin(bare(first(fiber, c)), link, c, key, 0))(conditions, keys)


@eqx.filter_jit
def _solved(driver, fiber, link, state, memory, conditions, keys):
    def one(state, memory, condition, key):
        return driver.advance(bare(first(fiber, condition)), link, state, memory, condition, jnp.zeros(()), key, 0)[:3]

    return jax.vmap(one)(state, memory, conditions, keys)


@eqx.filter_jit
def _answered(table: AbstractTable, fiber, records, conditions):
    """What an evaluation asks of the table: before sites are solved, and after."""
    view = seen(fiber, first_asked(fiber, conditions), table.measured)
    found = table.find(records, view.points)
    later = records._replace(count=records.count + jnp.sum(found.sure, dtype=records.count.dtype))
    return view.value_out(table.find(later, view.points).value)


def _seconds(call: Callable) -> float:
    """The shortest of a few calls, after one that compiles."""
    jax.block_until_ready(call())
    best = np.inf
    for _ in range(_REPEATS):
        begun = time.perf_counter()
        jax.block_until_ready(call())
        best = min(best, time.perf_counter() - begun)
        if best > _LONG:
            break
    return best

"""What a run takes: bytes of the states of all sites, steps, records, and room on the disk."""

import math
import os
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import fiberax as fx
from fiberax.cases.base import Evolve, Loading, Problem, Steady, Table
from fiberax.cases.options import MOST_RECORDS
from fiberax.core.bundle import check_fit
from fiberax.core.errors import BadInput
from fiberax.core.schedule import schedule

_LARGE = 1e9  # bytes from which the start of a run says it


def memory_words(problem: Evolve | Steady | Loading, state: int, sites: int) -> str:
    """What the states of all sites take, in words; `state` bytes for each."""
    if not _keeps_states(problem):
        return f"states of {size_words(state)} are not kept; those of all {sites} sites would take {size_words(state * sites)}"
    records = _records(problem)
    of_records = f" and of {records} records of its table" if records else ""
    size = size_words(state * (sites + records))
    return f"{size} for the states of all sites{of_records}, as much for a checkpoint on disk"


def _keeps_states(problem: Evolve | Steady | Loading) -> bool:
    driver = problem.driver.inner if isinstance(problem.driver, fx.Surrogate) else problem.driver
    return not isinstance(driver, fx.Quasistatic) or driver.keep_states


def _records(problem: Evolve | Steady | Loading) -> int:
    """States that a table keeps beside those of the sites."""
    return problem.driver.capacity if isinstance(problem.driver, fx.Surrogate) else 0


def large_states(problem: Evolve | Steady | Loading) -> str | None:
    """`memory_words` where the states of all sites are large, else None."""
    conditions, state, _ = check_fit(problem.bundle, jax.tree.map(np.asarray, problem.macro0))
    sites = jax.tree.leaves(conditions)[0].shape[0]
    large = bytes_of(state) * (sites + _records(problem)) > _LARGE
    return memory_words(problem, bytes_of(state), sites) if large else None


def table_words(problem: Table, conditions: np.ndarray) -> str:
    """What the states of the rows of a table that are computed at once take, in words."""
    rows = min(problem.batch, len(conditions))
    size = _bytes_of_rows(problem, conditions)
    return f"{size_words(size)} for the states of {rows} rows at once; solves take several times that"


def _bytes_of_rows(problem: Table, conditions: np.ndarray) -> int:
    shape = jax.eval_shape(problem.fiber.init, jnp.asarray(conditions[0], float), jax.random.key(0))
    copies = 1 if problem.sampling is None else problem.sampling.replicas
    return bytes_of(shape) * min(problem.batch, len(conditions)) * copies


def bytes_of(tree: Any) -> int:
    """Bytes of all leaves of a tree of arrays or shapes."""
    return sum(int(np.prod(leaf.shape)) * np.dtype(leaf.dtype).itemsize for leaf in jax.tree.leaves(tree))


def size_words(count: float) -> str:
    """A number of bytes with three digits."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def refuse_too_large(problem: Problem, folder: Path) -> None:
    """Count steps, records and bytes of a problem before anything is computed. Raises `BadInput` with numbers and a remedy."""
    if isinstance(problem, Table):
        rows = np.asarray(problem.conditions)
        _refuse_records(len(rows), "rows of the table", "fewer rows")
        _refuse_bytes(_bytes_of_rows(problem, rows), "the states of the rows computed at once", "a smaller --batch")
        return
    conditions, state, response = check_fit(problem.bundle, jax.tree.map(np.asarray, problem.macro0))
    sites = jax.tree.leaves(conditions)[0].shape[0]
    if _keeps_states(problem):
        size, records = bytes_of(state) * (sites + _records(problem)), _records(problem)
        what = f"the states of {sites} sites" + (f" and of {records} records of the table" if records else "")
        _refuse_bytes(size, what, "fewer cells or smaller states")
    records = 1
    if isinstance(problem, Evolve):
        plan = schedule(problem.t0, problem.t1, problem.dt, problem.saveat)
        records = sum(stretch.save for stretch in plan.stretches) + plan.save_start
    elif isinstance(problem, Loading):
        with np.errstate(over="ignore"):
            steps = np.float64(problem.t1 - problem.t0) / problem.dt
        records = int(min(steps, 1e300)) + 1
    _refuse_records(records, "records", "fewer save times, or longer load steps")
    size = records * (bytes_of(problem.macro0) + sites * bytes_of(response))
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    free = shutil.disk_usage(there).free
    if size > free:
        raise BadInput(
            f"{records} records of {sites} sites take {size_words(size)}, and {size_words(free)} are free at {there}. "
            "Save fewer times, take fewer cells, or choose another place with --out."
        )


def _refuse_records(count: int, what: str, remedy: str) -> None:
    if count > MOST_RECORDS:
        raise BadInput(f"{count:.6g} {what}: each is a file, and {MOST_RECORDS} are the most. Take {remedy}.")


def _refuse_bytes(size: int, what: str, remedy: str) -> None:
    memory = _memory()
    if jax.default_backend() == "cpu" and size > memory * jax.process_count():
        each = "" if jax.process_count() == 1 else f" in each of {jax.process_count()} processes"
        raise BadInput(f"{size_words(size)} for {what}: this machine has {size_words(memory)}{each}. Take {remedy}.")


def _memory() -> float:
    """Bytes of memory of this machine; infinite where it is not known."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return math.inf

"""What the states of all sites take."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import fiberax as fx
from fiberax.cases.base import Evolve, Loading, Steady, Table
from fiberax.core.bundle import check_fit

_LARGE = 1e9  # bytes from which the start of a run says it


def memory_words(problem: Evolve | Steady | Loading, state: int, sites: int) -> str:
    """What the states of all sites take, in words; `state` bytes for each."""
    if isinstance(problem.driver, fx.Quasistatic) and not problem.driver.keep_states:
        return f"states of {size_words(state)} are not kept; those of all {sites} sites would take {size_words(state * sites)}"
    return f"{size_words(state * sites)} for the states of all sites, as much for a checkpoint on disk"


def large_states(problem: Evolve | Steady | Loading) -> str | None:
    """`memory_words` where the states of all sites are large, else None."""
    conditions, state, _ = check_fit(problem.bundle, jax.tree.map(np.asarray, problem.macro0))
    sites = jax.tree.leaves(conditions)[0].shape[0]
    return memory_words(problem, bytes_of(state), sites) if bytes_of(state) * sites > _LARGE else None


def table_words(problem: Table, conditions: np.ndarray) -> str:
    """What the states of the rows of a table that are computed at once take, in words."""
    shape = jax.eval_shape(problem.fiber.init, jnp.asarray(conditions[0]), jax.random.key(0))
    rows = min(problem.batch, len(conditions))
    copies = rows * (1 if problem.sampling is None else problem.sampling.replicas)
    return f"{size_words(bytes_of(shape) * copies)} for the states of {rows} rows at once; solves take several times that"


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

"""Where the motion enters a box, and what enters there."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

SIDES = (("left", "right"), ("bottom", "top"), ("front", "back"))
_LEAK = 1e-9  # inward motion below this share of the fastest is the round-off of a wall


class Sides(NamedTuple):
    """For the ends (0 lower, 1 upper) of axes where something may enter: where they are open, and the rows of their data.

    `open[axis, end]` (*cells of the side) is dynamic; `row[axis, end]`, of the same shape, counts on from the last site.
    """

    open: dict[tuple[int, int], Bool[Array, "..."]]
    row: dict[tuple[int, int], np.ndarray]


def side_shape(grid: Any, axis: int) -> tuple[int, ...]:
    """Cells along the other axes."""
    return tuple(n for k, n in enumerate(grid.cells) if k != axis)


def name_of(axis: int, end: int) -> str:
    """Name of a side."""
    return SIDES[axis][end]


def boundaries(grid: Any) -> list[tuple[int, int]]:
    """The sides (axis, end) that a box has."""
    return [(axis, end) for axis in range(grid.dim) if not grid.periodic[axis] for end in (0, 1)]


def openings(grid: Any, shift: tuple[Float[Array, "..."], ...], given: tuple[str, ...], tight: tuple[str, ...] = ()) -> Sides:
    """Sides of `grid` under a motion by `shift` (cells per step, on faces); sides with data of their own are `given` in order.

    Data are one row for all sides that are not given, then the cells of each given side. Nothing enters through `tight` ones.
    """
    fastest = jnp.max(jnp.stack([jnp.max(jnp.abs(s)) for s in shift]))
    count = math.prod(grid.cells)
    start, firsts = count + 1, {}
    for name in given:
        axis = next(k for k, names in enumerate(SIDES) if name in names)
        firsts[name] = start
        start += math.prod(side_shape(grid, axis))
    is_open, row = {}, {}
    for axis, end in boundaries(grid):
        shape, name = side_shape(grid, axis), name_of(axis, end)
        if name in tight:
            continue
        inward = jnp.take(shift[axis], -end, axis=axis) * (1.0 - 2.0 * end)
        is_open[axis, end] = inward > _LEAK * fastest
        own = np.arange(math.prod(shape)).reshape(shape) + firsts[name] if name in firsts else np.full(shape, count)
        row[axis, end] = own.astype(np.int32)
    return Sides(is_open, row)


def anywhere(sides: Sides) -> Bool[Array, ""]:
    """Whether there is any inflow."""
    return jnp.any(jnp.stack([jnp.any(x) for x in jax.tree.leaves(sides.open)]))

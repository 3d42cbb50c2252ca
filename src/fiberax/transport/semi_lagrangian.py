"""Semi-Lagrangian transport: the new state at a cell centre is the old one at the departure point of its material.

Departure points by the midpoint rule, of second order; there a tensor product of cubic Lagrange interpolants between cell
centres (Staniforth and Côté, Mon. Weather Rev. 119, 1991). No bound on the step. Where a path crosses an inflow face it ends
there, and inflow faces are nodes of the interpolant; elsewhere the nodes next to a boundary are one-sided. Lengths are counted
in cells, from the centre of the first.
"""

import functools
import itertools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from fiberax.transport.sides import Sides
from fiberax.transport.sweep import scaled, sweep

_NODES = 4


class Axis(NamedTuple):
    """What one axis contributes to the stencil of every site: nodes, −1 and n being ghosts, and their weights.

    Two nodes and weights for the convex combination, `node` and `weight` for the cubic.
    """

    node: Int[Array, "sites nodes"]
    weight: Float[Array, "sites nodes"]
    safe_node: Int[Array, "sites 2"]
    safe_weight: Float[Array, "sites 2"]


class Part(NamedTuple):
    """Row numbers and weights of a chunk, cubic first, then convex."""

    rows: Int[Array, "chunk k"]
    weight: Float[Array, "chunk k"]


def carried(hooks: Any, state: Any, inflow: Any, grid: Any, shift: tuple[Float[Array, "..."], ...], sides: Sides) -> Any:
    """States (sites, ...) moved by `shift`, displacements in cells on the faces; `hooks.align`, `hooks.limit` over chunks."""
    points = departure(grid, shift, sides)
    axes = tuple(_axis(grid, k, points, sides) for k in range(grid.dim))
    cubic = math.prod(axis.node.shape[1] for axis in axes)

    def combine(take, home, part):
        # Deviations from the home state are averaged, so that constants stay unchanged to the last digit.
        def add(total, rows, weights):
            for row, weight in zip(rows.T, weights.T):
                other = hooks.align(take(row), home)
                total = jax.tree.map(jnp.add, total, scaled(weight, jax.tree.map(jnp.subtract, other, home)))
            return total

        def planes(tree):  # the nodes of the first axis in turn
            return jax.tree.map(lambda x: jnp.moveaxis(x.reshape(len(x), axes[0].node.shape[1], -1), 1, 0), tree)

        fine, safe = (jax.tree.map(lambda x, s=s: x[:, s], part) for s in (slice(cubic), slice(cubic, None)))
        nothing = jax.tree.map(jnp.zeros_like, home)
        if grid.dim < 3:
            total = add(nothing, fine.rows, fine.weight)
        else:  # 64 nodes written out would take minutes to compile
            total = jax.lax.scan(lambda t, plane: (add(t, plane.rows, plane.weight), None), nothing, planes(fine))[0]
        return tuple(jax.tree.map(jnp.add, home, x) for x in (total, add(nothing, safe.rows, safe.weight)))

    rows = lambda axes: _product(grid, sides, axes)
    return sweep(combine, lambda made, home: hooks.limit(*made), state, inflow, axes, rows)


def departure(grid: Any, shift: tuple[Float[Array, "..."], ...], sides: Sides) -> Float[Array, "dim sites"]:
    """Departure points of all cell centres, within the box; on the face where the material entered through it."""
    start = jnp.stack([jnp.asarray(x.ravel()) for x in np.meshgrid(*map(np.arange, grid.cells), indexing="ij")]).astype(float)
    middle = start - 0.5 * _motion(grid, shift, start)
    path = -_motion(grid, shift, _within(grid, middle))
    part = jnp.ones(start.shape[1])
    for axis, end in sides.open:
        wall = grid.cells[axis] - 0.5 if end else -0.5
        outward = path[axis] if end else -path[axis]
        share = jnp.abs(wall - start[axis]) / jnp.maximum(outward, 0.25)  # no centre is this close to a wall
        crosses = (share < 1.0) & _at(grid, sides.open[axis, end], axis, start + jnp.minimum(share, 1.0) * path)
        part = jnp.where(crosses, jnp.minimum(part, share), part)
    return _within(grid, start + part * path)


def _within(grid: Any, points):
    """Points taken into the box: around where it is periodic, else to the boundary."""
    rows = []
    for x, n, periodic in zip(points, grid.cells, grid.periodic):
        rows.append(jnp.mod(x, n) if periodic else jnp.clip(x, -0.5, n - 0.5))
    return jnp.stack(rows)


def _motion(grid: Any, shift, points):
    """Displacements at points (dim, sites), linear between faces and across them between their centres."""
    found = []
    for k, field in enumerate(shift):
        pairs = []
        for m, (n, periodic) in enumerate(zip(grid.cells, grid.periodic)):
            x = points[m] + 0.5 if m == k else points[m]
            if periodic:
                x = jnp.mod(x, n)
            low = jnp.floor(x).astype(jnp.int32)
            if m == k:
                low = jnp.clip(low, 0, n - 1)
                pairs.append(((low, 1.0 - (x - low)), (low + 1, x - low)))
            elif periodic:
                pairs.append(((low % n, 1.0 - (x - low)), ((low + 1) % n, x - low)))
            elif n == 1:
                pairs.append(((jnp.zeros_like(low), 1.0),))
            else:  # beyond the last centre the line is extrapolated to the wall
                low = jnp.clip(low, 0, n - 2)
                pairs.append(((low, 1.0 - (x - low)), (low + 1, x - low)))
        total = 0.0
        for corner in itertools.product(*pairs):
            weight = 1.0
            for _, w in corner:
                weight = weight * w
            total = total + weight * field[tuple(i for i, _ in corner)]
        found.append(total)
    return jnp.stack(found)


def _at(grid: Any, values, axis: int, points):
    """Values on a side normal to `axis` at the cells nearest to points."""
    index = []
    for k, (n, periodic) in enumerate(zip(grid.cells, grid.periodic)):
        if k != axis:
            near = jnp.round(points[k]).astype(jnp.int32)
            index.append(near % n if periodic else jnp.clip(near, 0, n - 1))
    return jnp.broadcast_to(values[tuple(index)], points.shape[1:])


def _axis(grid: Any, k: int, points, sides: Sides) -> Axis:
    """Nodes and weights along axis `k`."""
    n, x = grid.cells[k], points[k]
    low = jnp.floor(x).astype(jnp.int32)
    if grid.periodic[k]:
        nodes, where = _NODES, low[:, None] + jnp.arange(-1, _NODES - 1, dtype=jnp.int32)
        near = low[:, None] + jnp.arange(2, dtype=jnp.int32)
        place, fraction = where.astype(x.dtype), x - low
        where, near = where % n, near % n
    else:
        nodes = min(_NODES, n)
        ghosts = [
            _at(grid, sides.open[k, end], k, points).astype(jnp.int32) if (k, end) in sides.open else jnp.zeros_like(low)
            for end in (0, 1)
        ]
        first, last = -ghosts[0], n - 1 + ghosts[1]
        begin = jnp.clip(low - (nodes // 2 - 1), first, last - (nodes - 1))
        where = begin[:, None] + jnp.arange(nodes, dtype=jnp.int32)
        place = jnp.clip(where.astype(x.dtype), -0.5, n - 0.5)
        left = jnp.clip(low, first, jnp.maximum(last - 1, first))
        near = jnp.minimum(jnp.stack([left, left + 1], axis=1), last[:, None])
        ends = jnp.clip(near.astype(x.dtype), -0.5, n - 0.5)
        fraction = jnp.clip((x - ends[:, 0]) / jnp.maximum(ends[:, 1] - ends[:, 0], 0.5), 0.0, 1.0)
    weight = []
    for j in range(nodes):
        others = [l for l in range(nodes) if l != j]
        factors = [(x - place[:, l]) / (place[:, j] - place[:, l]) for l in others]
        weight.append(jnp.prod(jnp.stack(factors), axis=0) if factors else jnp.ones_like(x))
    return Axis(where, jnp.stack(weight, axis=1), near, jnp.stack([1.0 - fraction, fraction], axis=1))


def _product(grid: Any, sides: Sides, axes: tuple[Axis, ...]) -> Part:
    """Rows and weights of all products of nodes."""

    def spread(arrays):
        shape = lambda x, k: (len(x), *(x.shape[1] if m == k else 1 for m in range(grid.dim)))
        return [x.reshape(shape(x, k)) for k, x in enumerate(arrays)]

    def products(nodes, weights):
        rows, weight = _row(grid, sides, spread(nodes)), functools.reduce(jnp.multiply, spread(weights))
        return rows.reshape(len(rows), -1), weight.reshape(len(rows), -1)

    cubic = products([axis.node for axis in axes], [axis.weight for axis in axes])
    convex = products([axis.safe_node for axis in axes], [axis.safe_weight for axis in axes])
    return Part(*(jnp.concatenate(both, axis=1) for both in zip(cubic, convex)))


def _row(grid: Any, sides: Sides, nodes: list) -> Int[Array, "chunk ..."]:
    """Row numbers of products of nodes, which broadcast; a ghost where nothing flows in is the cell next to it."""
    inside = [node if periodic else jnp.clip(node, 0, n - 1) for node, n, periodic in zip(nodes, grid.cells, grid.periodic)]
    row = jnp.int32(0)
    for i, n in zip(inside, grid.cells):
        row = row * n + i
    for axis, end in reversed(sides.open):
        beside = tuple(i for k, i in enumerate(inside) if k != axis)
        ghost = nodes[axis] == grid.cells[axis] if end else nodes[axis] < 0
        enters = ghost & sides.open[axis, end][beside]
        row = jnp.where(enters, jnp.asarray(sides.row[axis, end])[beside], row)
    return row

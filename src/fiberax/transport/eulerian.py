"""Transport on the cells in explicit steps of bounded Courant number: upwind, and WENO of third order.

Upwind is ds/dt = −Σ_faces (velocity outwards) (s_face − s)/(cell), the flux form less s times the divergence: a convex
combination of neighbours. It keeps constants in any flow, and totals in incompressible flow. WENO takes the
derivatives themselves from weighted upwind differences, as for Hamilton-Jacobi equations (Jiang and Peng, SIAM J. Sci. Comput.
21, 2000) but of third order, with the weights of Yamaleev and Carpenter (J. Comput. Phys. 228, 2009), and Heun's
strong-stability-preserving steps.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from fiberax.transport.sides import Sides
from fiberax.transport.sweep import scaled, sweep

_COURANT = {"upwind": 0.95, "weno": 0.45}  # an inflow face is half a cell away: twice the second must stay below 1


class Part(NamedTuple):
    """Row numbers of a chunk, one after another for each axis, and the weights or coefficients of each."""

    rows: Int[Array, "chunk k"]
    weight: Float[Array, "chunk k"]
    coefficient: Float[Array, "chunk axis 6"]


def carried(scheme: str, hooks: Any, state: Any, inflow: Any, grid: Any, shift: tuple, sides: Sides) -> Any:
    """States (sites, ...) moved by `shift`, displacements in cells on the faces, in as many steps as are stable."""
    make, step = (_upwind_part, _upwind) if scheme == "upwind" else (_weno_part, _weno)
    courant = jnp.max(jnp.sum(make(grid, shift, sides).weight, axis=1))
    # A flow that is not finite must not hang the loop; its states are not finite after one step.
    steps = jnp.where(jnp.isfinite(courant), jnp.ceil(courant / _COURANT[scheme]), 1.0)
    steps = jnp.clip(steps, 1.0, 2.0**30).astype(jnp.int32)
    part = make(grid, tuple(s / steps for s in shift), sides)
    return jax.lax.fori_loop(0, steps, lambda _, state: step(hooks, state, inflow, part), state)


def _ends(grid: Any, shift, axis: int):
    """Displacements on the lower and the upper faces of all cells, (sites,) each."""
    n = grid.cells[axis]
    cut = lambda first: jax.lax.slice_in_dim(shift[axis], first, first + n, axis=axis).reshape(-1)
    return cut(0), cut(1)


def _beside(grid: Any, axis: int, offset: int):
    """Row numbers of the cells `offset` away along `axis`, and whether they are within the box; constants."""
    place = np.indices(grid.cells)
    there = place[axis] + offset
    n = grid.cells[axis]
    inside = np.ones_like(there, bool) if grid.periodic[axis] else (there >= 0) & (there < n)
    place[axis] = there % n if grid.periodic[axis] else np.clip(there, 0, n - 1)
    return np.ravel_multi_index(tuple(place), grid.cells).ravel().astype(np.int32), inside.ravel()


def _entering(grid: Any, sides: Sides, axis: int, end: int):
    """For all cells, whether something enters from the side in front of them along `axis`, and the rows of what does."""
    if (axis, end) not in sides.open:
        nothing = np.zeros(math.prod(grid.cells), np.int32)
        return nothing.astype(bool), nothing
    spread = lambda x: jnp.broadcast_to(jnp.expand_dims(x, axis), grid.cells).ravel()
    return spread(sides.open[axis, end]), spread(jnp.asarray(sides.row[axis, end]))


def _upwind_part(grid: Any, shift, sides: Sides) -> Part:
    rows, weights = [], []
    for axis in range(grid.dim):
        low, high = _ends(grid, shift, axis)
        for end, inward in ((0, low), (1, -high)):
            row, inside = _beside(grid, axis, 2 * end - 1)
            is_open, entering = _entering(grid, sides, axis, end)
            rows.append(jnp.where(inside, row, jnp.where(is_open, entering, row)))
            weights.append(jnp.where(inside | is_open, jnp.maximum(inward, 0.0), 0.0))
    count = math.prod(grid.cells)
    return Part(jnp.stack(rows, 1), jnp.stack(weights, 1), jnp.zeros((count, 0, 6)))


def _upwind(hooks: Any, state: Any, inflow: Any, part: Part) -> Any:
    def combine(take, home, part):
        new = home
        for k in range(part.rows.shape[1]):
            other = hooks.align(take(part.rows[:, k]), home)
            change = scaled(part.weight[:, k], jax.tree.map(jnp.subtract, other, home))
            new = jax.tree.map(jnp.add, new, change)
        return new

    return sweep(combine, lambda new, home: hooks.limit(new, new), state, inflow, part, lambda part: part)


def _weno_part(grid: Any, shift, sides: Sides) -> Part:
    """Rows two and one upwind and one downwind of every cell, Courant numbers, and the coefficients of the differences.

    With rows a, b, c and the home state s: da = C0 (b − a) + C1 db, db = C2 (s − b) + C3 (c − s), dc = C4 (c − s) + C5 db. One
    of each pair is mostly 0: a difference across a wall is replaced by the one next to it (linear extrapolation), and one
    to an inflow face is over half a cell (da then is extrapolated to where it belongs).
    """
    rows, weights, coefficients = [], [], []
    for axis in range(grid.dim):
        low, high = _ends(grid, shift, axis)
        motion = 0.5 * (low + high)
        found = []
        for end in (0, 1):  # upwind is below, above
            sign = 2 * end - 1
            (a, a_in), (b, b_in), (c, c_in) = (_beside(grid, axis, sign * k) for k in (2, 1, -1))
            is_open, entering = _entering(grid, sides, axis, end)
            b_open, a_open = ~b_in & is_open, b_in & ~a_in & is_open
            choose = lambda inside, at_face, values: jnp.where(inside, values[0], jnp.where(at_face, values[1], values[2]))
            row = [jnp.where(a_open, entering, a), jnp.where(b_open, entering, b), c]
            pairs = [
                choose(a_in, a_open, (1.0, 8.0 / 3.0, 0.0)),
                choose(a_in, a_open, (0.0, -1.0 / 3.0, 1.0)),
                choose(b_in, b_open, (1.0, 2.0, 0.0)),
                choose(b_in, b_open, (0.0, 0.0, 1.0)),
                jnp.where(c_in, 1.0, 0.0),
                jnp.where(c_in, 0.0, 1.0),
            ]
            found.append((jnp.stack(row, 1), jnp.stack(pairs, 1)))
        forward = motion[:, None] >= 0.0
        rows.append(jnp.where(forward, found[0][0], found[1][0]))
        coefficients.append(jnp.where(forward, found[0][1], found[1][1]))
        weights.append(jnp.abs(motion))
    return Part(jnp.concatenate(rows, 1), jnp.stack(weights, 1), jnp.stack(coefficients, 1))


def _weno(hooks: Any, state: Any, inflow: Any, part: Part) -> Any:
    """Heun's step as a mean of two of Euler's, each with its upwind counterpart as the safe value."""

    def euler(take, home, part):
        new = safe = home
        for axis in range(part.weight.shape[1]):
            a, b, c = (hooks.align(take(part.rows[:, 3 * axis + k]), home) for k in range(3))
            courant, near = part.weight[:, axis], part.coefficient[:, axis]
            slope = jax.tree.map(lambda *x, near=near: _slope(near, *x), a, b, home, c)
            first = scaled(near[:, 2], jax.tree.map(jnp.subtract, home, b))
            new = jax.tree.map(jnp.subtract, new, scaled(courant, slope))
            safe = jax.tree.map(jnp.subtract, safe, scaled(courant, first))
        return new, safe

    def halved(made, home, old):
        old = hooks.align(old, home)
        return hooks.limit(*(jax.tree.map(lambda x, y: 0.5 * x + 0.5 * y, old, tree) for tree in made))

    same = lambda part: part
    once = sweep(euler, lambda made, home: hooks.limit(*made), state, inflow, part, same)
    return sweep(euler, halved, once, inflow, part, same, into=state)


def _slope(near, a, b, s, c):
    """Upwind difference of third order where the state is smooth, of the smoother of two stencils where it is not."""
    k = [near[:, j].astype(s.dtype).reshape((-1,) + (1,) * (s.ndim - 1)) for j in range(6)]
    middle = k[2] * (s - b) + k[3] * (c - s)
    behind = k[0] * (b - a) + k[1] * middle
    ahead = k[4] * (c - s) + k[5] * middle
    rough_behind, rough_ahead = (middle - behind) ** 2, (ahead - middle) ** 2
    third = (ahead - 2.0 * middle + behind) ** 2
    tiny = jnp.finfo(s.dtype).tiny ** 0.5 + jnp.finfo(s.dtype).eps ** 2 * s * s
    one = (1.0 + third / (rough_behind + tiny)) / 3.0
    two = (1.0 + third / (rough_ahead + tiny)) * (2.0 / 3.0)
    low, high = 1.5 * middle - 0.5 * behind, 0.5 * (middle + ahead)
    return (one * low + two * high) / (one + two)

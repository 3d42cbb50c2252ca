"""Structured meshes: intervals, rectangles and blocks, with a hole or a notch. No package is needed for order 1.

Cells are cut from a grid of parameters in [0, 1] along each axis: quads and hexes as they are, triangles two to a square, and
tetrahedra six to a cube (Kuhn's division, which fits across periodic sides). Sides are named left, right (first axis), bottom,
top (second), front and back (third), each the lower one first.
"""

from collections.abc import Sequence
from itertools import permutations

import numpy as np

from fiberax.core.errors import BadInput
from fiberax.grids import elements
from fiberax.grids.mesh import Mesh, boundary_facets

NAMES = (("left", "right"), ("bottom", "top"), ("front", "back"))
_BLOCK = {1: "interval", 2: "quad", 3: "hex"}
_SIMPLEX = {1: "interval", 2: "triangle", 3: "tet"}


def interval(lower: float = 0.0, upper: float = 1.0, cells: int = 16, periodic: bool = False, order: int = 1) -> Mesh:
    """The interval from `lower` to `upper` in equal cells.

    Args:
        lower: Left end, in the user's unit of length.
        upper: Right end.
        cells: Number of cells.
        periodic: Whether the ends are the same point.
        order: 1, or 2 for quadratic elements.

    Returns:
        The mesh, with the boundaries "left" and "right" where it is not periodic.
    """
    return _box("interval", lower, upper, cells, periodic, order)


def triangles(lower=(0.0, 0.0), upper=(1.0, 1.0), cells=(16, 16), periodic=False, order: int = 1) -> Mesh:
    """A rectangle in triangles, two for each of `cells` rectangles.

    Args:
        lower: Lower corner, (2,), in the user's unit of length.
        upper: Upper corner, (2,).
        cells: Number of rectangles along each axis, (2,).
        periodic: Whether opposite sides are the same; one value for all axes, or one for each.
        order: 1, or 2 for quadratic elements.

    Returns:
        The mesh, with the boundaries "left", "right", "bottom", "top" of its axes that are not periodic.
    """
    return _box("triangle", lower, upper, cells, periodic, order)


def quads(lower=(0.0, 0.0), upper=(1.0, 1.0), cells=(16, 16), periodic=False, order: int = 1) -> Mesh:
    """A rectangle in equal rectangles.

    Args:
        lower: Lower corner, (2,), in the user's unit of length.
        upper: Upper corner, (2,).
        cells: Number of rectangles along each axis, (2,).
        periodic: Whether opposite sides are the same; one value for all axes, or one for each.
        order: 1, or 2 for quadratic elements.

    Returns:
        The mesh, with the boundaries "left", "right", "bottom", "top" of its axes that are not periodic.
    """
    return _box("quad", lower, upper, cells, periodic, order)


def tets(lower=(0.0, 0.0, 0.0), upper=(1.0, 1.0, 1.0), cells=(8, 8, 8), periodic=False, order: int = 1) -> Mesh:
    """A block in tetrahedra, six for each of `cells` blocks.

    Args:
        lower: Lower corner, (3,), in the user's unit of length.
        upper: Upper corner, (3,).
        cells: Number of blocks along each axis, (3,).
        periodic: Whether opposite sides are the same; one value for all axes, or one for each.
        order: 1, or 2 for quadratic elements.

    Returns:
        The mesh, with the boundaries "left", "right", "bottom", "top", "front", "back" of its axes that are not periodic.
    """
    return _box("tet", lower, upper, cells, periodic, order)


def hexes(lower=(0.0, 0.0, 0.0), upper=(1.0, 1.0, 1.0), cells=(8, 8, 8), periodic=False, order: int = 1) -> Mesh:
    """A block in equal blocks.

    Args:
        lower: Lower corner, (3,), in the user's unit of length.
        upper: Upper corner, (3,).
        cells: Number of blocks along each axis, (3,).
        periodic: Whether opposite sides are the same; one value for all axes, or one for each.
        order: 1, or 2 for quadratic elements.

    Returns:
        The mesh, with the boundaries "left", "right", "bottom", "top", "front", "back" of its axes that are not periodic.
    """
    return _box("hex", lower, upper, cells, periodic, order)


def holed(
    size: Sequence[float],
    radius: float,
    cells: Sequence[int],
    kind: str | None = None,
    order: int = 2,
    grading: float = 1.0,
) -> Mesh:
    """A plate (width, height) or block (width, height, depth) around the origin with a round hole through its middle.

    Args:
        size: Width and height, and depth of a block; the depth runs from 0.
        radius: Radius of the hole.
        cells: Cells along a quarter of the hole, from the hole to the side, and through the depth.
        kind: "quad" or "triangle", "hex" or "tet"; by default the first of each.
        order: 1, or 2, with which the hole is curved.
        grading: Above 1, cells at the hole are smaller.

    Returns:
        The mesh; the boundary of the hole is named "hole".

    Raises:
        BadInput: Sizes or numbers that do not fit.
    """
    extent = _floats("holed", "size", size)
    dim = len(extent)
    kind, counts = _kind(kind, dim, "holed"), _counts("holed", cells, dim)
    half = extent[:2] / 2
    if not (0 < radius < half.min()) or extent.min() <= 0:
        raise BadInput(f"holed: the radius is {radius}; it must lie between 0 and half the smaller side, {half.min()}.")
    counts[0] *= 4

    def place(s):
        quarter, along = np.divmod(4 * s[:, 0], 1.0)
        end = quarter % 4
        corner = np.array([[1, -1], [1, 1], [-1, 1], [-1, -1]])
        start, stop = corner[end.astype(int)], corner[(end.astype(int) + 1) % 4]
        outer = half * (start + along[:, None] * (stop - start))
        angle = np.arctan2(-half[1], half[0]) + 0.0
        # Angles of the four corners of the rectangle, so that its corners are nodes.
        turn = 2 * np.arctan2(half[1], half[0])
        begin = np.array([angle, angle + turn, angle + np.pi, angle + np.pi + turn])[end.astype(int)]
        width = np.where(end % 2 == 0, turn, np.pi - turn)
        theta = begin + along * width
        inner = radius * np.stack([np.cos(theta), np.sin(theta)], axis=1)
        weight = (s[:, 1] ** grading)[:, None]
        plane = (1 - weight) * inner + weight * outer
        return plane if dim == 2 else np.concatenate([plane, extent[2] * s[:, 2:]], axis=1)

    mesh = _grid(kind, counts, (True, False, False)[:dim], order, place, merge=True)
    boundaries, everything = {"hole": mesh.boundaries["bottom"]}, mesh.boundaries["top"]
    middle = mesh.points[everything].mean(axis=1)
    for axis, names in enumerate(NAMES[:2]):
        for name, sign in zip(names, (-1, 1)):
            boundaries[name] = everything[np.abs(middle[:, axis] - sign * half[axis]) < 1e-9 * extent.max()]
    boundaries |= {name: mesh.boundaries[name] for name in NAMES[2] if dim == 3}
    return Mesh(mesh.points, mesh.cells, kind, boundaries)


def notched(
    lower: Sequence[float],
    upper: Sequence[float],
    cells: Sequence[int],
    depth: float,
    width: float,
    kind: str | None = None,
    order: int = 2,
) -> Mesh:
    """A rectangle or block with a smooth notch across the middle of its top: depth·cos²(π(x − middle)/width) for |x| < width/2.

    Args:
        lower: Lower corner, (2,) or (3,).
        upper: Upper corner.
        cells: Number of cells along each axis.
        depth: Depth of the notch.
        width: Its width at the top.
        kind: As for `holed`.
        order: 1, or 2, with which the notch is curved.

    Returns:
        The mesh; the notch belongs to the boundary "top".

    Raises:
        BadInput: Sizes or numbers that do not fit.
    """
    low, up = _floats("notched", "lower", lower), _floats("notched", "upper", upper)
    kind = _kind(kind, len(low), "notched")
    if not 0 <= depth < up[1] - low[1] or not 0 < width <= up[0] - low[0]:
        raise BadInput(f"notched: depth = {depth}, width = {width} do not fit into the block {low.tolist()} to {up.tolist()}.")
    mesh = _box(kind, lower, upper, cells, False, order)

    def carve(x):
        along = (x[:, 0] - (low[0] + up[0]) / 2) / width
        groove = np.where(np.abs(along) < 0.5, np.cos(np.pi * along) ** 2, 0.0)
        share = (x[:, 1] - low[1]) / (up[1] - low[1])
        moved = x.copy()
        moved[:, 1] -= depth * groove * share
        return moved

    return mesh.mapped(carve)


def _box(kind, lower, upper, cells, periodic, order) -> Mesh:
    where = {"interval": "interval", "triangle": "triangles", "quad": "quads", "tet": "tets", "hex": "hexes"}[kind]
    low, up = _floats(where, "lower", lower), _floats(where, "upper", upper)
    dim = elements.CORNERS[kind].shape[1]
    counts = _counts(where, cells, dim)
    around = [bool(p) for p in np.broadcast_to(periodic, (dim,))] if np.shape(periodic) in ((), (dim,)) else None
    if len(low) != dim or len(up) != dim or around is None:
        raise BadInput(f"{where}: lower, upper and periodic have {dim} entries; got {lower}, {upper} and {periodic}.")
    if not np.all(up > low):
        raise BadInput(f"{where}: upper = {up.tolist()} is not above lower = {low.tolist()}.")
    return _grid(kind, counts, around, order, lambda s: low + s * (up - low), merge=False)


def _floats(where: str, name: str, value) -> np.ndarray:
    array = np.atleast_1d(np.asarray(value, float))
    if array.ndim != 1 or not 1 <= len(array) <= 3 or not np.all(np.isfinite(array)):
        raise BadInput(f"{where}: {name} = {value} must be one to three finite numbers.")
    return array


def _counts(where: str, cells, dim: int) -> np.ndarray:
    counts = np.atleast_1d(np.asarray(cells))
    if counts.shape != (dim,) or np.any(counts != np.floor(counts)) or np.any(counts < 1):
        raise BadInput(f"{where}: cells = {cells} must be {dim} whole number(s), at least 1.")
    return counts.astype(int)


def _kind(kind: str | None, dim: int, where: str) -> str:
    if dim not in (2, 3):
        raise BadInput(f"{where}: the body has two or three dimensions; {dim} given.")
    kind = _BLOCK[dim] if kind is None else kind
    if kind not in (_BLOCK[dim], _SIMPLEX[dim]):
        raise BadInput(f"{where}: in {dim} dimensions kind is {_BLOCK[dim]!r} or {_SIMPLEX[dim]!r}; it is {kind!r}.")
    return kind


def _corner_offsets(kind: str, dim: int) -> list[np.ndarray]:
    """Offsets (corners, dim) in the grid of the cells that one block is cut into."""
    if kind in ("interval", "quad", "hex"):
        return [elements.CORNERS[kind].astype(int)]
    cells = []
    for axes in permutations(range(dim)):
        path = np.zeros((dim + 1, dim), int)
        for step, axis in enumerate(axes):
            path[step + 1 :, axis] = 1
        if np.linalg.det(path[1:] - path[0]) < 0:
            path[[0, 1]] = path[[1, 0]]
        cells.append(path)
    return cells


def _grid(kind, counts, around, order, place, merge) -> Mesh:
    """The mesh of the parameter grid, moved by `place`; sides along axes that go `around` are the same (or one, `merge`)."""
    dim = len(counts)
    shape = counts + 1
    index = np.stack(np.meshgrid(*map(np.arange, counts), indexing="ij"), axis=-1).reshape(-1, dim)
    corners = np.stack([index[:, None] + offsets for offsets in _corner_offsets(kind, dim)], axis=1)
    corners = corners.reshape(-1, *corners.shape[2:])
    cells: np.ndarray = np.asarray(np.ravel_multi_index(tuple(np.moveaxis(corners, -1, 0)), tuple(shape)))
    parameters = np.stack(np.meshgrid(*(np.arange(n + 1) / n for n in counts), indexing="ij"), axis=-1).reshape(-1, dim)
    sides, _ = boundary_facets(kind, cells)
    facet = elements.FACET_KIND[kind]
    if order == 2:
        parameters, (cells, sides) = elements.raise_order(parameters, [(kind, cells), (facet, sides)])
    elif order != 1:
        raise BadInput(f"Meshes have the order 1 or 2; order = {order!r}.")
    boundaries = {}
    for axis in range(dim):
        for end in (0, 1):
            on = np.all(parameters[sides][..., axis] == end, axis=1)
            if not around[axis]:
                boundaries[NAMES[axis][end]] = sides[on]
    same = _wrapped(parameters, counts, around)
    points = place(parameters)
    if not merge:
        return Mesh(points, cells, kind, boundaries, same=same)
    kept, number = np.unique(same, return_inverse=True)
    number = np.asarray(number)
    merged = {name: number[value] for name, value in boundaries.items()}
    return Mesh(points[kept], number[cells], kind, merged)


def _wrapped(parameters, counts, around) -> np.ndarray:
    """For each node the first one with the same parameters modulo 1 along the axes that go around."""
    ticks = np.rint(parameters * counts * 2).astype(int)
    for axis, wraps in enumerate(around):
        if wraps:
            ticks[:, axis] %= 2 * counts[axis]
    _, first, inverse = np.unique(ticks, axis=0, return_index=True, return_inverse=True)
    return first[inverse.ravel()]

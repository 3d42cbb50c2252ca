"""Shapes cut from meshes: cells are left out, and the sides that this lays bare are a boundary of their own."""

from collections.abc import Callable, Sequence

import numpy as np

from fiberax.core.errors import BadInput
from fiberax.grids import elements
from fiberax.grids.generators import hexes, quads, tets, triangles
from fiberax.grids.mesh import Mesh, all_facets, outer_facets

_MAKERS = {"quad": quads, "triangle": triangles, "hex": hexes, "tet": tets}


def carved(mesh: Mesh, remove: Callable[[np.ndarray], np.ndarray], name: str = "cut") -> Mesh:
    """A mesh without some of its cells.

    Args:
        mesh: The mesh.
        remove: From the centres of all cells (E, dim) to booleans (E,): true where a cell is left out.
        name: Of the boundary that consists of the sides laid bare. It may be that of a boundary that the mesh has already,
            which then grows.

    Returns:
        The mesh of the other cells, with those parts of its boundaries and regions that remain.

    Raises:
        BadInput: Nothing would remain, or `remove` gives something else.
    """
    corners = len(elements.CORNERS[mesh.kind])
    gone = np.asarray(remove(mesh.points[mesh.cells[:, :corners]].mean(axis=1)))
    if gone.shape != (len(mesh.cells),) or gone.dtype != bool:
        raise BadInput(
            f"carved: remove must give {len(mesh.cells)} booleans, one for each cell; it gives {gone.dtype} {gone.shape}."
        )
    if gone.all():
        raise BadInput("carved: remove is true for every cell; nothing would remain of the mesh.")
    cells = mesh.cells[~gone]
    kept, number = np.unique(cells), np.full(len(mesh.points), -1)
    number[kept] = np.arange(len(kept))
    place = np.full(len(mesh.cells), -1)
    place[~gone] = np.arange(len(cells))
    regions = {key: place[value][place[value] >= 0] for key, value in mesh.regions.items()}
    # A node whose unknowns were those of a node that is gone takes those of the first of its partners.
    _, first, group = np.unique(mesh.same[kept], return_index=True, return_inverse=True)
    bare = Mesh(mesh.points[kept], number[cells], mesh.kind, regions=regions, same=first[group.ravel()])
    before = {tuple(sorted(row)) for row in number[outer_facets(mesh)].tolist()}
    now = outer_facets(bare)
    there = {tuple(sorted(row)) for row in all_facets(bare).tolist()}
    boundaries = {}
    for key, value in mesh.boundaries.items():
        new = number[value]
        remains = new >= 0 if new.ndim == 1 else np.array([tuple(sorted(row)) in there for row in new.tolist()], bool)
        if remains.any():
            boundaries[key] = new[remains]
    fresh = now[[tuple(sorted(row)) not in before for row in now.tolist()]]
    if len(fresh):
        old = boundaries.get(name)
        if old is not None and old.ndim != 2:
            raise BadInput(f"carved: the boundary {name!r} is a set of nodes; give another name to the sides of the cut.")
        boundaries[name] = fresh if old is None else np.concatenate([old, fresh])
    return Mesh(bare.points, bare.cells, mesh.kind, boundaries, regions, same=bare.same)


def l_shape(size: Sequence[float], cells: Sequence[int], kind: str | None = None, order: int = 1) -> Mesh:
    """An L: the rectangle or block from the origin to `size` without its upper right quarter.

    Args:
        size: Width and height, and depth of a block.
        cells: Number of cells along each axis; even along the first two.
        kind: "quad" or "triangle", "hex" or "tet"; by default the first of each.
        order: 1 or 2.

    Returns:
        The mesh, with the boundaries of a rectangle or block and "inner", the two sides at the inner corner.

    Raises:
        BadInput: Sizes or numbers that do not fit.
    """
    dim = len(size)
    kinds = {2: ("quad", "triangle"), 3: ("hex", "tet")}.get(dim)
    if kinds is None or len(cells) != dim or (kind is not None and kind not in kinds):
        raise BadInput(
            f"l_shape: size = {size}, cells = {cells}, kind = {kind!r}. Give two or three of each, and a kind of cell."
        )
    if any(n % 2 for n in cells[:2]):
        raise BadInput(f"l_shape: cells = {tuple(cells)}; along the first two axes the numbers must be even.")
    block = _MAKERS[kind or kinds[0]]((0.0,) * dim, tuple(size), tuple(cells), order=order)
    middle = np.asarray(size, float)[:2] / 2
    return carved(block, lambda x: (x[:, 0] > middle[0]) & (x[:, 1] > middle[1]), "inner")

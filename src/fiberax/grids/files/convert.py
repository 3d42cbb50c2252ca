"""From what a file holds to a `Mesh`: one kind of cell, coordinates of its dimension, groups as boundaries and regions."""

import warnings
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from fiberax.core.errors import BadInput
from fiberax.grids import elements
from fiberax.grids.files.complete import Cells, completed, cut_quads, linear, simplices
from fiberax.grids.files.raw import CORNERS, KINDS, Group, MeshFileWarning, Raw, find_rows
from fiberax.grids.mesh import Mesh, facets_of

# Points that far from a plane, relative to the size of the mesh, count as in it: files keep six digits at times.
_FLAT = 1e-6


class _Body(NamedTuple):
    """Cells of one kind with their sources, before points are numbered anew."""

    points: np.ndarray
    cells: Cells


def convert(raw: Raw, where: str, periodic: bool) -> Mesh:
    """The mesh of a file; `where` names it in messages. Warns of what was changed or left out. Raises `BadInput`."""
    try:
        mesh, notes = _convert(raw, periodic)
    except BadInput as error:
        raise BadInput(f"{where[0].upper()}{where[1:]}: {error}") from error
    if notes:
        warnings.warn(f"{where[0].upper()}{where[1:]}: {'; '.join(notes)}.", MeshFileWarning, stacklevel=3)
    return mesh


def _convert(raw: Raw, periodic: bool) -> tuple[Mesh, list[str]]:
    notes = list(raw.notes)
    dim = _dimension(raw)
    body, first = _one_kind(raw, dim, notes)
    used = np.unique(body.cells.nodes)
    lost = used[~np.all(np.isfinite(body.points[used]), axis=1)]
    if len(lost):
        place = body.points[lost[0]].tolist()
        raise BadInput(f"node {lost[0] + 1} of its list lies at {place}, which is not finite. Write the file again")
    number = np.full(len(body.points), -1)
    number[used] = np.arange(len(used))
    points = _flat(body.points[used], dim, notes)
    cells = Cells(body.cells.shape, number[body.cells.nodes], body.cells.source)
    regions = {group.name: np.flatnonzero(np.isin(cells.source, first[rows]))
               for group in raw.groups if len(rows := raw.rows(group, dim))}  # fmt: skip
    boundaries = _boundaries(raw, dim, cells, number, notes)
    same = np.zeros(0, int)
    if periodic:
        same = _same(number[raw.pairs], len(used))
        boundaries = _without_joined(boundaries, same, notes)
    elif len(raw.pairs):
        notes.append("its periodic nodes are not joined; fx.grids.read(..., periodic=True) joins them")
    return Mesh(points, cells.nodes, cells.shape, boundaries, regions, same), notes


def _dimension(raw: Raw) -> int:
    """Dimension of the body."""
    filled = [dim for block, dim in zip(raw.blocks, raw.dims) if len(block.nodes)]
    if not filled:
        raise BadInput("it holds no cells. Save the volume elements too (in Gmsh: of all physical groups)")
    dim = max(filled)
    if dim == 0:
        raise BadInput("it holds points only, no cells")
    return dim


def _one_kind(raw: Raw, dim: int, notes: list[str]) -> tuple[_Body, np.ndarray]:
    """The cells as one kind; and for each cell of the file the first one that is the same."""
    dims, starts = raw.dims, raw.starts
    blocks = [k for k, block in enumerate(raw.blocks) if dims[k] == dim and len(block.nodes)]
    kinds = sorted({raw.blocks[k].kind for k in blocks})
    first = np.arange(starts[-1])
    cells = []
    for kind in kinds:
        of = [k for k in blocks if raw.blocks[k].kind == kind]
        nodes = np.concatenate([raw.blocks[k].nodes for k in of])
        rows = np.concatenate([starts[k] + np.arange(len(raw.blocks[k].nodes)) for k in of])
        # Version 2 of Gmsh's format repeats the cells that are in several groups.
        corners = np.sort(nodes[:, : CORNERS[KINDS[kind].shape]], axis=1)
        _, kept, inverse = np.unique(corners, axis=0, return_index=True, return_inverse=True)
        first[rows] = rows[kept][np.asarray(inverse).ravel()]
        kept = np.sort(kept)
        cells.append((kind, nodes[kept], rows[kept]))
    shapes, orders = {KINDS[kind].shape for kind in kinds}, {KINDS[kind].order for kind in kinds}
    order = min(orders)
    if len(orders) > 1:
        notes.append(f"{' and '.join(kinds)} are of different order; all cells are taken by their corners, with straight sides")
    points, made = completed(raw.points, cells) if order == 2 else (raw.points, linear(cells))
    partial = [kind for kind in kinds if KINDS[kind].partial or kind == "triangle7"]
    if order == 2 and partial:
        what = "node in the middle left out" if partial == ["triangle7"] else "missing nodes on faces and in the middle added"
        notes.append(f"{', '.join(partial)}: {what}, the sides are as curved as in the file")
    if len(shapes) > 1 or shapes & {"wedge", "pyramid"}:
        count = sum(len(one.nodes) for one in made)
        made = simplices(made, order)
        shape = {"tet": "tetrahedra", "triangle": "triangles"}[made[0].shape]
        notes.append(f"{count} cells ({', '.join(kinds)}) are cut into {sum(len(one.nodes) for one in made)} {shape}")
    whole = Cells(made[0].shape, np.concatenate([one.nodes for one in made]), np.concatenate([one.source for one in made]))
    return _Body(points, whole), first


def _flat(points: np.ndarray, dim: int, notes: list[str]) -> np.ndarray:
    """Coordinates (N, dim) in the line or plane that the points lie in; along the axes where it is parallel to them."""
    if points.shape[1] == dim:
        return points
    centred = points - points.mean(axis=0)
    width = np.ptp(points, axis=0)
    axes = np.sort(np.argsort(-width, kind="stable")[:dim])
    rest = np.setdiff1d(np.arange(points.shape[1]), axes)
    if np.all(width[rest] <= 1e-9 * width.max()):
        if not np.array_equal(axes, np.arange(dim)):
            names = ", ".join("xyz"[k] for k in axes)
            notes.append(f"it lies across {' and '.join('xyz'[k] for k in rest)}; its coordinates are ({names})")
        return points[:, axes]
    directions = np.linalg.svd(centred, full_matrices=False)[2]
    if np.abs(centred @ directions[dim:].T).max() > _FLAT * width.max():
        only, missing = (("lines", "surface"), ("surfaces", "volume"))[dim - 1]
        raise BadInput(
            f"it holds {only} only, which are not {('straight', 'flat')[dim - 1]}, not a body of dimension {dim}. "
            f"If they are the boundary of one, save its {missing} elements too (in Gmsh, give the {missing} a physical group)"
        )
    basis = _plane_axes(directions, dim)
    told = " and ".join(str(axis.round(6).tolist()) for axis in basis)
    notes.append(f"it lies in {('a line', 'a plane')[dim - 1]} askew to the axes; its coordinates are along {told}")
    return points @ basis.T


def _plane_axes(directions: np.ndarray, dim: int) -> np.ndarray:
    """Orthonormal axes (dim, 3) of a line or plane: of a plane, the first as near to x (or y) as can be."""
    if dim == 1:
        line = directions[0]
        return (line * np.sign(line[np.argmax(np.abs(line))]))[None]
    normal = directions[2] * np.sign(directions[2][np.argmax(np.abs(directions[2]))])
    towards = np.eye(3)[0 if abs(normal[0]) < 0.9 else 1]
    along = towards - (towards @ normal) * normal
    along /= np.linalg.norm(along)
    return np.stack([along, np.cross(normal, along)])


def _boundaries(raw: Raw, dim: int, cells: Cells, number: np.ndarray, notes: list[str]) -> dict[str, np.ndarray]:
    """Name -> sides of cells, or nodes of groups of points, and in space of curves."""
    order = 1 if cells.nodes.shape[1] == CORNERS[cells.shape] else 2
    facets = facets_of(cells.shape, order, cells.nodes)
    owner, sides = _sides(raw, dim, cells.shape, number)
    place = find_rows(sides, np.sort(facets[:, : CORNERS[elements.FACET_KIND[cells.shape]]], axis=1))
    found: dict[str, np.ndarray] = {}
    for group in raw.groups:
        inside = np.isin(owner, raw.rows(group, dim - 1))
        if np.any(place[inside] < 0):
            strange, count = int(np.sum(place[inside] < 0)), int(np.sum(inside))
            notes.append(f"the group {group.name!r} is left out: {strange} of its {count} sides are of no cell")
        elif np.any(inside):
            found[group.name] = facets[np.unique(place[inside])]  # once, in whichever entities it is
    dims = raw.dims
    for group in raw.groups:
        nodes = [raw.blocks[k].nodes[rows].ravel() for k, rows in group.rows.items() if dims[k] < dim - 1]
        _add_nodes(group, np.unique(np.concatenate([group.nodes, *nodes])), number, found, notes)
    return found


def _sides(raw: Raw, dim: int, shape: str, number: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the cells of the file that are sides, and their corners in ascending order, cut like the faces of cells."""
    width = CORNERS[elements.FACET_KIND[shape]]
    owner, sides = [np.zeros(0, int)], [np.zeros((0, width), int)]
    for block, of, start in zip(raw.blocks, raw.dims, raw.starts):
        if of != dim - 1 or not len(block.nodes):
            continue
        corners = block.nodes[:, : CORNERS[KINDS[block.kind].shape]]
        rows = start + np.arange(len(corners))
        if width == 3 and corners.shape[1] == 4:
            rows, corners = np.repeat(rows, 2), cut_quads(corners)
        owner.append(rows)
        sides.append(np.pad(number[corners], [(0, 0), (0, width - corners.shape[1])], constant_values=-1))
    return np.concatenate(owner), np.sort(np.concatenate(sides), axis=1)


def _add_nodes(group: Group, nodes: np.ndarray, number: np.ndarray, found: dict[str, np.ndarray], notes: list[str]) -> None:
    """A boundary of nodes; where there are sides of that name it adds nothing that these have not."""
    if not len(nodes):
        return
    kept = number[nodes]
    kept = kept[kept >= 0]
    if len(kept) < len(nodes):
        notes.append(
            f"{len(nodes) - len(kept)} of {len(nodes)} nodes of the group {group.name!r} are left out, being of no cell"
        )
    name = group.name
    if name in found:
        if np.isin(kept, found[name]).all():
            return
        name = f"{name} (nodes)"
        notes.append(f"the group {group.name!r} has sides and other nodes; these are the boundary {name!r}")
    if len(kept):
        found[name] = np.union1d(found.get(name, kept), kept)


def _same(pairs: np.ndarray, count: int) -> np.ndarray:
    """For each node the first of those that it is paired with, directly or through others."""
    if not len(pairs):
        raise BadInput("it pairs no nodes ($Periodic of Gmsh), and periodic=True asks for them")
    pairs = pairs[np.all(pairs >= 0, axis=1)]
    graph = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    _, label = connected_components(graph, directed=False)
    _, first = np.unique(label, return_index=True)
    return first[label]


def _without_joined(boundaries: dict[str, np.ndarray], same: np.ndarray, notes: list[str]) -> dict[str, np.ndarray]:
    """Boundaries whose nodes are all joined with others are inside of the body."""
    shared = np.bincount(same, minlength=len(same))[same] > 1
    joined = sorted(name for name, value in boundaries.items() if value.ndim == 2 and shared[value].all())
    if joined:
        notes.append(f"{', '.join(map(repr, joined))}: no boundaries any more, because their nodes are joined")
    return {name: value for name, value in boundaries.items() if name not in joined}

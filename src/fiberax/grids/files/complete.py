"""Cells of kinds that a `Mesh` has not: made complete where nodes are missing, cut into triangles and tetrahedra where needed.

A quadrilateral face is cut from its node of the smallest number, whichever cell looks at it, so that cells of all kinds fit
together (Dompierre, Labbé, Vallet and Camarero, How to subdivide pyramids, prisms and hexahedra into tetrahedra, 1999). A cell
is cut from its own smallest node to the faces that do not have it.
"""

from typing import NamedTuple

import numpy as np

from fiberax.core.errors import BadInput
from fiberax.grids.files.raw import CORNERS, DIM, FACES, KINDS, find_rows, parents


class Cells(NamedTuple):
    """Cells of one shape, all nodes of their order, and the row of the file that each is made of."""

    shape: str
    nodes: np.ndarray
    source: np.ndarray


def completed(points: np.ndarray, cells: list[tuple[str, np.ndarray, np.ndarray]]) -> tuple[np.ndarray, list[Cells]]:
    """Cells (kind, nodes, source) with the missing nodes on faces and in the middle; the shape of every cell stays the same.

    A serendipity element is the full one with those nodes at the places where its own map has them.
    """
    faces, bodies, made = [], [], []
    for kind, nodes, _ in cells:
        shape, count, _, partial = KINDS[kind]
        of = parents(shape)
        full = np.full((len(nodes), len(of)), -1)
        full[:, : min(count, len(of))] = nodes[:, : len(of)]
        for local, corners in enumerate(of):
            if len(corners) == 4:
                edges = [of.index(edge) for edge in of if len(edge) == 2 and set(edge) <= set(corners)]
                faces.append((full, local, list(corners), edges))
            elif len(corners) == 8 and partial:
                bodies.append((full, local))
        made.append(full)
    if faces:
        points = _middles(points, faces)
    for full, local in bodies:  # the map of the hexahedron of 20 nodes at its middle
        places = 0.25 * (points[full[:, 8:20]].sum(axis=1) - points[full[:, :8]].sum(axis=1))
        full[:, local] = len(points) + np.arange(len(full))
        points = np.concatenate([points, places])
    return points, [Cells(KINDS[kind].shape, full, source) for (kind, _, source), full in zip(cells, made)]


def _middles(points: np.ndarray, faces: list) -> np.ndarray:
    """Fills in the nodes of faces, which neighbours share; returns all points."""
    keys = np.concatenate([np.sort(full[:, corners], axis=1) for full, _, corners, _ in faces])
    known = np.concatenate([full[:, local] for full, local, _, _ in faces])
    places = np.concatenate(
        [
            0.5 * points[full[:, edges]].sum(axis=1) - 0.25 * points[full[:, corners]].sum(axis=1)
            for full, _, corners, edges in faces
        ]
    )
    unique, first, inverse = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    inverse = np.asarray(inverse).ravel()
    node = np.full(len(unique), -1)
    np.maximum.at(node, inverse, known)
    new = np.flatnonzero(node < 0)
    node[new] = len(points) + np.arange(len(new))
    start = 0
    for full, local, _, _ in faces:
        full[:, local] = node[inverse[start : start + len(full)]]
        start += len(full)
    return np.concatenate([points, places[first[new]]])


def linear(cells: list[tuple[str, np.ndarray, np.ndarray]]) -> list[Cells]:
    """The same cells by their corners."""
    shapes = [KINDS[kind].shape for kind, _, _ in cells]
    return [Cells(shape, nodes[:, : CORNERS[shape]], source) for shape, (_, nodes, source) in zip(shapes, cells)]


def simplices(cells: list[Cells], order: int) -> list[Cells]:
    """All cells as triangles or tetrahedra, conforming. Raises `BadInput` where cells of the file do not fit together."""
    made = [Cells(_SIMPLEX[DIM[one.shape]], *_cut(one, order)) for one in cells]
    if DIM[cells[0].shape] == 3:
        _check_fit(cells, made)
    return made


_SIMPLEX = {2: "triangle", 3: "tet"}


def cut_quads(sides: np.ndarray) -> np.ndarray:
    """Triangles (2n, 3) of quadrilaterals (n, 4), by the rule above; those of one follow each other."""
    first = np.argmin(sides, axis=1)
    turned = np.take_along_axis(sides, (first[:, None] + np.arange(4)) % 4, axis=1)
    return turned[:, [0, 1, 2, 0, 2, 3]].reshape(-1, 3)


def _cut(cells: Cells, order: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes of the simplices of cells of one shape, and their sources."""
    count = CORNERS[cells.shape]
    corners = cells.nodes[:, :count]
    local = _local_cuts(cells.shape, corners)  # (n, simplices, corners) numbers within the cell
    number = local.shape[1]
    rows = np.repeat(np.arange(len(corners)), number)
    local = local.reshape(len(rows), -1)
    nodes = corners[rows[:, None], local]
    if order == 2:
        table = _between(cells.shape)
        edges = [edge for edge in parents(_SIMPLEX[DIM[cells.shape]]) if len(edge) == 2]
        middles = np.stack([table[local[:, a], local[:, b]] for a, b in edges], axis=1)
        nodes = np.concatenate([nodes, cells.nodes[rows[:, None], middles]], axis=1)
    return nodes, np.repeat(cells.source, number)


def _between(shape: str) -> np.ndarray:
    """The node of order 2 between two corners of a cell: of their edge, else of the face they lie in, else the middle."""
    of = parents(shape)
    table = np.full((CORNERS[shape],) * 2, -1)
    for local, corners in reversed(list(enumerate(of))):
        for a in corners:
            for b in corners:
                table[a, b] = local
    return table


def _local_cuts(shape: str, corners: np.ndarray) -> np.ndarray:
    """Corners (n, simplices, dim + 1), as numbers within the cell, of the simplices of each cell."""
    count = corners.shape[1]
    if shape in ("triangle", "tet"):
        return np.broadcast_to(np.arange(count), (len(corners), 1, count))
    if shape == "quad":
        turned = (np.argmin(corners, axis=1)[:, None] + np.arange(4)) % 4
        return turned[:, [0, 1, 2, 0, 2, 3]].reshape(-1, 2, 3)
    smallest = np.argmin(corners, axis=1)
    size = {"hex": 6, "wedge": 3, "pyramid": 2}[shape]
    found = np.empty((len(corners), size, 4), int)
    for apex in range(count):
        rows = np.flatnonzero(smallest == apex)
        pieces = []
        for face in (np.array(f) for f in FACES[shape] if apex not in f):
            if len(face) == 3:
                pieces.append(np.broadcast_to(face, (len(rows), 1, 3)))
                continue
            turned = face[(np.argmin(corners[rows][:, face], axis=1)[:, None] + np.arange(4)) % 4]
            pieces.append(turned[:, [0, 1, 2, 0, 2, 3]].reshape(-1, 2, 3))
        found[rows] = np.pad(np.concatenate(pieces, axis=1), [(0, 0), (0, 0), (1, 0)], constant_values=apex)
    return found


def _check_fit(before: list[Cells], after: list[Cells]) -> None:
    """No quadrilateral face that one cell has alone meets two triangles along its other diagonal."""
    quads = [one.nodes[:, list(face)] for one in before for face in FACES[one.shape] if len(face) == 4]
    if not quads:
        return
    sides = np.concatenate(quads)
    _, first, counts = np.unique(np.sort(sides, axis=1), axis=0, return_index=True, return_counts=True)
    alone = sides[first[counts == 1]]
    start = np.argmin(alone, axis=1)
    turned = np.take_along_axis(alone, (start[:, None] + np.arange(4)) % 4, axis=1)
    crossing = np.sort(turned[:, [1, 2, 3]], axis=1)
    there = np.concatenate([np.sort(one.nodes[:, list(face)], axis=1) for one in after for face in FACES["tet"]])
    bad = find_rows(crossing, there) >= 0
    if np.any(bad):
        raise BadInput(
            f"tetrahedra meet {int(bad.sum())} quadrilateral faces of other cells without pyramids between them, so that the "
            f"cells do not fit together. Mesh with pyramids, or with one kind of cell."
        )

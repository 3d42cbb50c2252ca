"""A mesh as its file has it: cells of any kinds and groups of any dimension, before it becomes a `Mesh`.

Kinds of cells have meshio's names, nodes are numbered as in VTK and meshio.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from fiberax.grids import elements


class MeshFileWarning(UserWarning):
    """What was converted or left out when a mesh was read from a file."""


class Kind(NamedTuple):
    """A kind of cell: its shape, number of nodes, and whether nodes in the middle of faces and cells are missing."""

    shape: str
    nodes: int
    order: int
    partial: bool = False


KINDS = {
    "vertex": Kind("point", 1, 1),
    "line": Kind("interval", 2, 1),
    "line3": Kind("interval", 3, 2),
    "triangle": Kind("triangle", 3, 1),
    "triangle6": Kind("triangle", 6, 2),
    "triangle7": Kind("triangle", 7, 2),
    "quad": Kind("quad", 4, 1),
    "quad8": Kind("quad", 8, 2, True),
    "quad9": Kind("quad", 9, 2),
    "tetra": Kind("tet", 4, 1),
    "tetra10": Kind("tet", 10, 2),
    "hexahedron": Kind("hex", 8, 1),
    "hexahedron20": Kind("hex", 20, 2, True),
    "hexahedron27": Kind("hex", 27, 2),
    "wedge": Kind("wedge", 6, 1),
    "wedge15": Kind("wedge", 15, 2, True),
    "wedge18": Kind("wedge", 18, 2),
    "pyramid": Kind("pyramid", 5, 1),
    "pyramid13": Kind("pyramid", 13, 2, True),
    "pyramid14": Kind("pyramid", 14, 2),
}
DIM = {"point": 0, "interval": 1, "triangle": 2, "quad": 2, "tet": 3, "hex": 3, "wedge": 3, "pyramid": 3}
# Sides of wedges and pyramids, each around its edge; those of the other shapes are in `elements`.
FACES = {
    **elements.FACETS,
    "wedge": ((0, 1, 2), (3, 4, 5), (0, 1, 4, 3), (1, 2, 5, 4), (2, 0, 3, 5)),
    "pyramid": ((0, 1, 2, 3), (0, 1, 4), (1, 2, 4), (2, 3, 4), (3, 0, 4)),
}
_EDGES = {
    "wedge": ((0, 1), (1, 2), (2, 0), (3, 4), (4, 5), (5, 3), (0, 3), (1, 4), (2, 5)),
    "pyramid": ((0, 1), (1, 2), (2, 3), (3, 0), (0, 4), (1, 4), (2, 4), (3, 4)),
}
CORNERS = {"wedge": 6, "pyramid": 5} | {shape: len(places) for shape, places in elements.CORNERS.items()}


def parents(shape: str) -> tuple[tuple[int, ...], ...]:
    """For each node of order 2 the corners around it, in VTK's order: corners, edges, quadrilateral faces, middle."""
    if shape not in _EDGES:
        return elements.parents(shape, 2)
    faces = tuple(face for face in FACES[shape] if len(face) == 4)
    return (*((k,) for k in range(CORNERS[shape])), *_EDGES[shape], *faces)


@dataclass
class Block:
    """Cells of one kind, `nodes` (n, k)."""

    kind: str
    nodes: np.ndarray


@dataclass
class Group:
    """A group of the file: rows of blocks by the number of the block, and nodes where it has nodes of its own."""

    name: str
    rows: dict[int, np.ndarray] = field(default_factory=dict)
    nodes: np.ndarray = field(default_factory=lambda: np.zeros(0, int))

    def add(self, block: int, rows: np.ndarray) -> None:
        """More rows of a block."""
        self.rows[block] = np.union1d(self.rows.get(block, np.zeros(0, int)), rows).astype(int)


@dataclass
class Raw:
    """Points (N, 2) or (N, 3), blocks, groups, pairs (n, 2) of nodes that are the same by periodicity, and remarks."""

    points: np.ndarray
    blocks: list[Block]
    groups: list[Group]
    pairs: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), int))
    notes: list[str] = field(default_factory=list)

    @property
    def dims(self) -> list[int]:
        """Dimension of the cells of each block."""
        return [DIM[KINDS[block.kind].shape] for block in self.blocks]

    @property
    def starts(self) -> np.ndarray:
        """Number of the first cell of each block, counted over all blocks."""
        return np.cumsum([0, *(len(block.nodes) for block in self.blocks)])

    def rows(self, group: Group, dim: int) -> np.ndarray:
        """Cells of a group of one dimension, counted over all blocks."""
        dims, starts = self.dims, self.starts
        found = [starts[k] + rows for k, rows in group.rows.items() if dims[k] == dim]
        return np.concatenate([np.zeros(0, int), *found])


def places_of(labels: np.ndarray, wanted: np.ndarray, what: str) -> np.ndarray:
    """Rows of the nodes (or cells) with these labels. Raises `ValueError` for a label that the file does not define."""
    if not len(labels):
        raise ValueError(f"it defines no {what}")
    order = np.argsort(labels, kind="stable")
    found = order[np.minimum(np.searchsorted(labels[order], wanted), len(labels) - 1)]
    missing = labels[found] != wanted
    if np.any(missing):
        raise ValueError(f"{what} {np.asarray(wanted)[missing].flat[0]} is used, but not defined")
    return found


def find_rows(rows: np.ndarray, table: np.ndarray) -> np.ndarray:
    """For each row of whole numbers a place where it is in a table; -1 where it is not in it."""
    both = np.concatenate([table, rows])
    order = np.lexsort(both.T)  # several times faster than np.unique of rows
    fresh = np.any(both[order][1:] != both[order][:-1], axis=1)
    label = np.empty(len(both), int)
    label[order] = np.cumsum(np.concatenate([np.zeros(min(len(both), 1), int), fresh]))
    place = np.full(len(both), -1)
    place[label[: len(table)]] = np.arange(len(table))
    return place[label[len(table) :]]

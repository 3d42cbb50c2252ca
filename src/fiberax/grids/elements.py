"""Isoparametric elements of order 1 and 2 on the interval, triangle, quadrilateral, tetrahedron and hexahedron.

Nodes are numbered as in VTK and meshio. Shape functions and quadrature come from scikit-fem, whose own numbering is matched by
reference coordinates. Curved sides need order 2 (Ciarlet and Raviart 1972): straight sides cost quadratic elements an order.
"""

from functools import cache
from typing import NamedTuple

import numpy as np

from fiberax.core.errors import BadInput, MissingExtra

# Corners of the reference cells, in VTK's order, and the corners of their sides.
CORNERS = {
    "point": np.zeros((1, 0)),
    "interval": np.array([[0.0], [1.0]]),
    "triangle": np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]),
    "quad": np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]),
    "tet": np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]),
    "hex": np.array(
        [[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]],
    ),
}
FACETS = {
    "interval": ((0,), (1,)),
    "triangle": ((0, 1), (1, 2), (2, 0)),
    "quad": ((0, 1), (1, 2), (2, 3), (3, 0)),
    "tet": ((0, 1, 2), (0, 1, 3), (0, 2, 3), (1, 2, 3)),
    "hex": ((0, 4, 7, 3), (1, 2, 6, 5), (0, 1, 5, 4), (3, 7, 6, 2), (0, 1, 2, 3), (4, 5, 6, 7)),
}
FACET_KIND = {"interval": "point", "triangle": "interval", "quad": "interval", "tet": "triangle", "hex": "quad"}
_EDGES = {
    "point": (),
    "interval": ((0, 1),),
    "triangle": ((0, 1), (1, 2), (2, 0)),
    "quad": ((0, 1), (1, 2), (2, 3), (3, 0)),
    "tet": ((0, 1), (1, 2), (2, 0), (0, 3), (1, 3), (2, 3)),
    "hex": ((0, 1), (1, 2), (2, 3), (3, 0), (4, 5), (5, 6), (6, 7), (7, 4), (0, 4), (1, 5), (2, 6), (3, 7)),
}
_MIDDLES = {"quad": ((0, 1, 2, 3),), "hex": (*FACETS["hex"], tuple(range(8)))}
SKFEM = {
    ("interval", 1): "ElementLineP1",
    ("interval", 2): "ElementLineP2",
    ("triangle", 1): "ElementTriP1",
    ("triangle", 2): "ElementTriP2",
    ("quad", 1): "ElementQuad1",
    ("quad", 2): "ElementQuad2",
    ("tet", 1): "ElementTetP1",
    ("tet", 2): "ElementTetP2",
    ("hex", 1): "ElementHex1",
    ("hex", 2): "ElementHex2",
}


class Table(NamedTuple):
    """Shape functions at quadrature points of the reference cell.

    `values` (points, nodes), `gradients` (points, nodes, dim) in reference coordinates, `weights` (points,).
    """

    values: np.ndarray
    gradients: np.ndarray
    weights: np.ndarray


def parents(kind: str, order: int) -> tuple[tuple[int, ...], ...]:
    """For each node of an element, the corners whose mean it is; order 2 puts nodes on edges, quad faces and in the middle."""
    corners = tuple((k,) for k in range(len(CORNERS[kind])))
    return corners if order == 1 else (*corners, *_EDGES[kind], *_MIDDLES.get(kind, ()))


def reference_nodes(kind: str, order: int) -> np.ndarray:
    """Reference coordinates of the nodes, (nodes, dim)."""
    return np.stack([CORNERS[kind][list(of)].mean(axis=0) for of in parents(kind, order)])


def skfem():
    """scikit-fem, or the message that names its extra."""
    try:
        import skfem
    except ImportError as error:
        raise MissingExtra("Meshes with elements need scikit-fem: install `fiberax[mesh]`.") from error
    return skfem


def from_skfem_order(kind: str, order: int) -> np.ndarray:
    """Numbers of the nodes in scikit-fem's element, for each node of this module."""
    theirs = np.asarray(getattr(skfem(), SKFEM[kind, order])().doflocs, float)
    distance = np.abs(reference_nodes(kind, order)[:, None] - theirs[None]).max(axis=-1)
    return distance.argmin(axis=1)


def degree(kind: str, order: int) -> int:
    """Degree of a quadrature that keeps the order of the element and has positive weights: 1 and 2 on simplices, else 2k+1."""
    return {1: 1, 2: 2}[order] if kind in ("triangle", "tet") else 2 * order + 1


@cache
def table(kind: str, order: int, exact: int | None = None) -> Table:
    """`Table` of an element for a quadrature of degree `exact` (default: see `degree`)."""
    if kind == "point":
        return Table(np.ones((1, 1)), np.zeros((1, 1, 0)), np.ones(1))
    element = getattr(skfem(), SKFEM[kind, order])()
    from skfem.quadrature import get_quadrature

    points, weights = get_quadrature(element.refdom, degree(kind, order) if exact is None else exact)
    pairs = [element.lbasis(points, int(k)) for k in from_skfem_order(kind, order)]
    count = len(weights)
    values = np.stack([np.broadcast_to(value, (count,)) for value, _ in pairs], axis=1)
    gradients = np.stack([np.broadcast_to(np.asarray(g), (len(points), count)).T for _, g in pairs], axis=1)
    return Table(values, gradients, np.asarray(weights))


def raise_order(points: np.ndarray, families: list[tuple[str, np.ndarray]]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Nodes of order 2 for straight cells.

    `families` are (kind, corners (n, k)) of cells and sides together, so that they share nodes. Returns all points, the old
    ones first, and the nodes of each family.
    """
    width = max(len(CORNERS[kind]) for kind, _ in families)
    keys, places = [], []
    for number, (kind, cells) in enumerate(families):
        for local, of in enumerate(parents(kind, 2)):
            if len(of) > 1:
                key = np.full((len(cells), width), -1)
                key[:, : len(of)] = np.sort(cells[:, list(of)], axis=1)
                keys.append(key)
                places.append((number, local))
    nodes = [np.empty((len(cells), len(parents(kind, 2))), int) for kind, cells in families]
    for (_, cells), new in zip(families, nodes):
        new[:, : cells.shape[1]] = cells
    if not keys:
        return points, nodes
    unique, inverse = np.unique(np.concatenate(keys), axis=0, return_inverse=True)
    present = unique >= 0
    sums = np.where(present[..., None], points[np.maximum(unique, 0)], 0.0).sum(axis=1)
    inverse, start = inverse.ravel() + len(points), 0
    for (number, local), key in zip(places, keys):
        nodes[number][:, local] = inverse[start : start + len(key)]
        start += len(key)
    return np.concatenate([points, sums / present.sum(axis=1, keepdims=True)]), nodes


def check_kind(kind: str, where: str) -> None:
    """Raise `BadInput` for an unknown kind of cell."""
    if kind not in FACETS:
        raise BadInput(f"{where}: cells of the kind {kind!r} are unknown. Kinds: {', '.join(FACETS)}, of order 1 or 2.")

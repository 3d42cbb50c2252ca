"""Unstructured meshes: points, cells of one kind, named boundaries and regions, and sides that are identified.

Cells are isoparametric (see `elements`): the order of the mesh is the order of the fields on it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from fiberax.core.errors import BadInput
from fiberax.grids import elements


@dataclass(frozen=True, eq=False)
class Mesh:
    """Cells of one kind over points, with names for parts of the boundary and of the interior.

    Args:
        points: Coordinates (N, dim) of the nodes, in the user's unit of length.
        cells: Nodes of each cell (E, k), numbered as in VTK and meshio.
        kind: "interval", "triangle", "quad", "tet" or "hex"; the number of nodes decides between order 1 and 2.
        boundaries: Name -> sides as rows of nodes (F, k), of order 1 or of the mesh's; or nodes (n,), for supports alone.
        regions: Name -> numbers of cells.
        same: For each node the node whose unknowns it shares, for periodic sides. Empty: each node has its own.

    Raises:
        BadInput: Shapes and numbers that do not fit; cells without volume, folded over themselves or overlapping. Both
            orientations of a cell are accepted.
    """

    points: np.ndarray
    cells: np.ndarray
    kind: str
    boundaries: Mapping[str, np.ndarray] = field(default_factory=dict)
    regions: Mapping[str, np.ndarray] = field(default_factory=dict)
    same: np.ndarray = field(default_factory=lambda: np.zeros(0, int))

    def __post_init__(self):
        elements.check_kind(self.kind, "Mesh")
        put = lambda name, value: object.__setattr__(self, name, value)
        put("points", np.asarray(self.points, float))
        put("cells", np.asarray(self.cells))
        put("boundaries", {name: np.asarray(value) for name, value in self.boundaries.items()})
        put("regions", {name: np.asarray(value) for name, value in self.regions.items()})
        put("same", np.asarray(self.same) if np.size(self.same) else np.arange(len(self.points)))
        _check(self)

    @property
    def dim(self) -> int:
        """Dimension of space, which is that of the cells."""
        return self.points.shape[1]

    @property
    def order(self) -> int:
        """1 or 2."""
        return 1 if self.cells.shape[1] == len(elements.CORNERS[self.kind]) else 2

    @cached_property
    def unknowns(self) -> np.ndarray:
        """For each node the number of its unknown; nodes that are the same share it."""
        return np.unique(self.same, return_inverse=True)[1]

    @cached_property
    def representatives(self) -> np.ndarray:
        """For each unknown the node that represents it."""
        return np.unique(self.same)

    def nodes(self, name: str) -> np.ndarray:
        """Nodes of a boundary.

        Args:
            name: The boundary.

        Returns:
            Numbers of nodes, (n,).

        Raises:
            BadInput: The mesh has no such boundary.
        """
        return np.unique(self._boundary(name))

    def facets(self, name: str) -> np.ndarray:
        """Sides of a boundary.

        Args:
            name: The boundary.

        Returns:
            All nodes of each side, (F, k).

        Raises:
            BadInput: The name is unknown or has nodes only.
        """
        sides = self._boundary(name)
        if sides.ndim == 1:
            raise BadInput(f"The boundary {name!r} is a set of nodes; a traction needs its sides, an array (F, k) of nodes.")
        return sides

    def of_order(self, order: int) -> "Mesh":
        """The same mesh with cells of another order.

        Args:
            order: 1 (corners only) or 2 (nodes added in the middle of straight cells).

        Returns:
            The mesh.

        Raises:
            BadInput: Another order.
        """
        if order not in (1, 2):
            raise BadInput(f"Meshes have the order 1 or 2; order = {order!r}.")
        if order == self.order:
            return self
        return _linear(self) if order == 1 else _quadratic(self)

    def mapped(self, function: Callable[[np.ndarray], np.ndarray]) -> "Mesh":
        """The mesh with its points moved.

        Args:
            function: From points (N, dim) to points (N, dim). Nodes of order 2 move too, so that sides become curved.

        Returns:
            The mesh.
        """
        return replace(self, points=np.asarray(function(self.points), float))

    def _boundary(self, name: str) -> np.ndarray:
        if name not in self.boundaries:
            known = ", ".join(map(repr, sorted(self.boundaries))) or "none"
            raise BadInput(f"The mesh has no boundary {name!r}. Its boundaries: {known}.")
        return self.boundaries[name]


def boundary_facets(kind: str, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sides that belong to one cell alone, as rows of corners, and the cells they belong to."""
    sides = np.concatenate([cells[:, list(of)] for of in elements.FACETS[kind]])
    owners = np.tile(np.arange(len(cells)), len(elements.FACETS[kind]))
    lonely = _lonely(sides)
    return sides[lonely], owners[lonely]


def outer_facets(mesh: Mesh) -> np.ndarray:
    """All nodes (F, k) of the sides that belong to one cell alone, those of periodic sides among them."""
    corners = len(elements.CORNERS[elements.FACET_KIND[mesh.kind]])
    sides = all_facets(mesh)
    return sides[_lonely(sides[:, :corners])]


def _lonely(sides: np.ndarray) -> np.ndarray:
    """Rows that occur once, whatever the order of their nodes."""
    _, first, counts = np.unique(np.sort(sides, axis=1), axis=0, return_index=True, return_counts=True)
    return np.sort(first[counts == 1])


def _linear(mesh: Mesh) -> Mesh:
    cells = mesh.cells[:, : len(elements.CORNERS[mesh.kind])]
    kept, number = np.unique(cells), np.full(len(mesh.points), -1)
    number[kept] = np.arange(len(kept))
    corners = len(elements.CORNERS[elements.FACET_KIND[mesh.kind]])
    boundaries = {}
    for name, value in mesh.boundaries.items():
        new = number[value[:, :corners] if value.ndim == 2 else value]
        boundaries[name] = new[new >= 0] if new.ndim == 1 else new
    same = number[mesh.same[kept]]
    return replace(mesh, points=mesh.points[kept], cells=number[cells], boundaries=boundaries, same=same)


def _quadratic(mesh: Mesh) -> Mesh:
    sides = {name: value for name, value in mesh.boundaries.items() if value.ndim == 2}
    facet = elements.FACET_KIND[mesh.kind]
    families = [(mesh.kind, mesh.cells), *((facet, value) for value in sides.values())]
    points, nodes = elements.raise_order(mesh.points, families)
    same = np.arange(len(points))
    if not np.array_equal(mesh.same, np.arange(len(mesh.points))):
        same[: len(mesh.points)] = mesh.same
        found, keys = _middle_keys(mesh, nodes[0], points)
        _, first, inverse = np.unique(keys, axis=0, return_index=True, return_inverse=True)
        same[found] = found[first][inverse.ravel()]
    boundaries = {**mesh.boundaries, **dict(zip(sides, nodes[1:]))}
    return replace(mesh, points=points, cells=nodes[0], boundaries=boundaries, same=same)


def _middle_keys(mesh: Mesh, nodes: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """New nodes, and rows that agree where they are the same: shared corners around them, each in the same direction.

    The corners alone are ambiguous: with two cells along a periodic axis, edges on both sides of a corner have the same ends.
    """
    tick = 1.2345e-6 * np.ptp(mesh.points, axis=0).max()
    everything, keys = [], []
    for local, of in enumerate(elements.parents(mesh.kind, 2)):
        if len(of) > 1:
            corners = mesh.cells[:, list(of)]
            away = np.rint((mesh.points[corners] - points[nodes[:, local]][:, None]) / tick).astype(int)
            rows = np.concatenate([mesh.same[corners][..., None], away], axis=2)
            order = np.lexsort(np.moveaxis(rows, 2, 0)[::-1], axis=1)
            rows = np.take_along_axis(rows, order[..., None], axis=1).reshape(len(rows), -1)
            keys.append(np.pad(rows, [(0, 0), (0, 8 * (1 + mesh.dim) - rows.shape[1])], constant_values=-1))
            everything.append(nodes[:, local])
    return np.concatenate(everything), np.concatenate(keys)


def _check(mesh: Mesh) -> None:
    points, cells, kind = mesh.points, mesh.cells, mesh.kind
    dim = elements.CORNERS[kind].shape[1]
    if points.ndim != 2 or points.shape[1] != dim:
        raise BadInput(f"Mesh: points of a mesh of the kind {kind!r} have the shape (N, {dim}); they have {points.shape}.")
    if not np.all(np.isfinite(points)):
        raise BadInput(f"Mesh: point {int(np.argmin(np.isfinite(points).all(axis=1)))} has a coordinate that is not finite.")
    sizes = [len(elements.parents(kind, order)) for order in (1, 2)]
    if cells.ndim != 2 or cells.shape[1] not in sizes or not len(cells) or not np.issubdtype(cells.dtype, np.integer):
        told = f"{cells.dtype} {cells.shape}"
        raise BadInput(f"Mesh: cells of the kind {kind!r} are whole numbers (E, {sizes[0]}) or (E, {sizes[1]}); got {told}.")
    arrays = {"cells": cells, "same": mesh.same, **{f"boundary {name!r}": b for name, b in mesh.boundaries.items()}}
    for name, value in arrays.items():
        if value.size and not (np.issubdtype(value.dtype, np.integer) and value.min() >= 0 and value.max() < len(points)):
            raise BadInput(f"Mesh: {name} must hold numbers of nodes between 0 and {len(points) - 1}.")
    for name, value in mesh.regions.items():
        if value.size and not (value.min() >= 0 and value.max() < len(cells)):
            raise BadInput(f"Mesh: region {name!r} must hold numbers of cells between 0 and {len(cells) - 1}.")
    unused = np.setdiff1d(np.arange(len(points)), cells)
    if len(unused):
        raise BadInput(f"Mesh: {len(unused)} points belong to no cell, the first is {unused[0]}. Drop them.")
    _check_facets(mesh)
    _check_volumes(mesh)


def _check_facets(mesh: Mesh) -> None:
    facet = elements.FACET_KIND[mesh.kind]
    corners, full = len(elements.CORNERS[facet]), len(elements.parents(facet, mesh.order))
    for name, value in mesh.boundaries.items():
        if value.ndim == 1:
            continue
        if value.ndim != 2 or value.shape[1] not in (corners, full):
            raise BadInput(f"Mesh: sides of {name!r} have {corners} or {full} nodes each; the array is {value.shape}.")
    if mesh.order == 2:  # sides given by their corners get the rest of their nodes from the cells
        known = {tuple(sorted(row[:corners])): row for row in all_facets(mesh)}
        for name, value in mesh.boundaries.items():
            if value.ndim == 2 and value.shape[1] == corners != full:
                try:
                    rows = [known[tuple(sorted(row))] for row in value]
                except KeyError as missing:
                    raise BadInput(f"Mesh: boundary {name!r} has a side {missing} that is no side of a cell.") from None
                mesh.boundaries[name] = np.asarray(rows, int).reshape(-1, full)  # type: ignore[index]


def all_facets(mesh: Mesh) -> np.ndarray:
    """All nodes (F, k) of the sides of every cell, each side as often as there are cells at it."""
    return facets_of(mesh.kind, mesh.order, mesh.cells)


def facets_of(kind: str, order: int, cells: np.ndarray) -> np.ndarray:
    """`all_facets` of cells that are no mesh yet."""
    facet = elements.FACET_KIND[kind]
    place = {tuple(sorted(of)): k for k, of in enumerate(elements.parents(kind, 2))}
    rows = []
    for corners in elements.FACETS[kind]:
        locals_ = [place[tuple(sorted(corners[j] for j in of))] for of in elements.parents(facet, order)]
        rows.append(cells[:, locals_])
    return np.concatenate(rows)


def _check_volumes(mesh: Mesh) -> None:
    """Cells have volume, of one sign within each, and neighbours lie on two sides of what they share."""
    points, cells, kind = mesh.points, mesh.cells, mesh.kind
    corners = cells[:, : len(elements.CORNERS[kind])]
    middle, scale = points[corners].mean(axis=1), np.ptp(points[corners], axis=1).max(axis=1)
    jacobian = np.linalg.det(jacobians(mesh, nodal=True)) / scale[:, None] ** mesh.dim
    small, tangled = np.abs(jacobian).max(axis=1) < 1e-10, jacobian.min(axis=1) * jacobian.max(axis=1) <= 0
    for bad, what in ((small, "has no volume"), (tangled, "is turned inside out or degenerate at one of its nodes")):
        if np.any(bad):
            first = int(np.argmax(bad))
            raise BadInput(
                f"Mesh: {int(bad.sum())} of {len(cells)} cells are not valid; cell {first} near "
                f"{middle[first].round(6).tolist()} {what}. Check the order of its nodes, or mesh again."
            )
    sides = np.concatenate([corners[:, list(of)] for of in elements.FACETS[kind]])
    owners = np.tile(np.arange(len(cells)), len(elements.FACETS[kind]))
    order = np.lexsort(np.sort(sides, axis=1).T)
    key = np.sort(sides, axis=1)[order]
    equal = np.all(key[1:] == key[:-1], axis=1)
    if np.any(equal[1:] & equal[:-1]):
        raise BadInput("Mesh: a side belongs to more than two cells.")
    one, two = order[:-1][equal], order[1:][equal]
    vertex = points[sides[one]]
    base, edges = vertex[:, 0], vertex[:, 1 : mesh.dim] - vertex[:, :1]

    def side(cell):
        return np.linalg.det(np.concatenate([edges, (middle[cell] - base)[:, None]], axis=1))

    crossed = side(owners[one]) * side(owners[two]) >= 0
    if np.any(crossed):
        first = int(np.argmax(crossed))
        raise BadInput(
            f"Mesh: cells {owners[one][first]} and {owners[two][first]} near "
            f"{base[first].round(6).tolist()} lie over each other: one of them is inverted. Check its points, or mesh again."
        )


def jacobians(mesh: Mesh, nodal: bool = False) -> np.ndarray:
    """∂x/∂ξ (E, points, dim, dim) at the quadrature points of each cell, or at the corners of the cell (`nodal`)."""
    if mesh.order == 1 and nodal:
        gradients = _corner_gradients(mesh.kind)
    elif nodal:
        gradients = elements.table(mesh.kind, 2).gradients
    else:
        gradients = elements.table(mesh.kind, mesh.order).gradients
    return np.einsum("eki,qkj->eqij", mesh.points[mesh.cells], gradients)


def _corner_gradients(kind: str) -> np.ndarray:
    """Gradients of the shape functions of order 1 at the corners, (corners, corners, dim); in closed form."""
    corners = elements.CORNERS[kind]
    if kind in ("interval", "triangle", "tet"):
        gradient = np.concatenate([-np.ones((1, corners.shape[1])), np.eye(corners.shape[1])])
        return np.tile(gradient, (len(corners), 1, 1))
    factors = np.where(corners[None] == 1, corners[:, None], 1 - corners[:, None])  # (at, of, axis)
    slopes = np.where(corners == 1, 1.0, -1.0)
    axes = range(corners.shape[1])
    rest = np.stack([np.prod(np.delete(factors, j, axis=2), axis=2) for j in axes], axis=2)
    return slopes[None] * rest

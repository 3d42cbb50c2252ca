"""Meshes made by others: files that meshio reads (Gmsh and some twenty more formats), and scikit-fem's meshes."""

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np

from fiberax.core.errors import BadInput, MissingExtra
from fiberax.grids import elements
from fiberax.grids.mesh import Mesh

_KINDS = {
    "vertex": ("point", 1),
    "line": ("interval", 1),
    "line3": ("interval", 2),
    "triangle": ("triangle", 1),
    "triangle6": ("triangle", 2),
    "quad": ("quad", 1),
    "quad9": ("quad", 2),
    "tetra": ("tet", 1),
    "tetra10": ("tet", 2),
    "hexahedron": ("hex", 1),
    "hexahedron27": ("hex", 2),
}
_DIM = {"point": 0, "interval": 1, "triangle": 2, "quad": 2, "tet": 3, "hex": 3}


def read(source: Any) -> Mesh:
    """A mesh from a file that meshio reads, such as Gmsh's `.msh`; physical groups give the names.

    The third coordinate of plane meshes is dropped.

    Args:
        source: The path of the file, or a mesh of meshio.

    Returns:
        The mesh, in the lengths of the file, with its named sides and regions.

    Raises:
        BadInput: The file is missing or damaged, or holds cells of unknown or mixed kinds.
        MissingExtra: meshio is absent.
    """
    try:
        import meshio
    except ImportError as error:
        raise MissingExtra("Reading mesh files needs meshio: install `fiberax[mesh]`.") from error
    if isinstance(source, meshio.Mesh):
        return _convert(source, "the mesh")
    path = Path(source)
    if not path.is_file():
        raise BadInput(f"The mesh file {path} does not exist.")
    if path.stat().st_size == 0:
        raise BadInput(f"The mesh file {path} is empty.")
    if not path.name.lower().endswith(tuple(meshio.extension_to_filetypes)):
        known = ", ".join(sorted(meshio.extension_to_filetypes))
        raise BadInput(f"The mesh file {path} has a format that meshio does not read. By their endings it reads {known}.")
    try:
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):  # meshio prints
            mesh = meshio.read(path)
    except SystemExit as error:  # meshio ends the process where it does not know a format
        raise BadInput(f"The mesh file {path} has a format that meshio does not read.") from error
    except Exception as error:  # its readers raise errors of any type on a damaged file
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise BadInput(
            f"The mesh file {path} cannot be read: {reason}. It may be damaged or cut short; write it again."
        ) from error
    return _convert(mesh, f"the mesh file {path}")


def _convert(mesh, where: str) -> Mesh:
    blocks = [block for block in mesh.cells if len(block.data)]
    if not blocks:
        raise BadInput(f"{where.capitalize()} holds no cells. Save the volume elements too (in Gmsh: of all physical groups).")
    unknown = sorted({block.type for block in blocks} - set(_KINDS))
    if unknown:
        raise BadInput(f"{where.capitalize()} has cells of the kind {', '.join(unknown)}; known are {', '.join(_KINDS)}.")
    dim = max(_DIM[_KINDS[block.type][0]] for block in blocks)
    kinds = sorted({block.type for block in blocks if _DIM[_KINDS[block.type][0]] == dim})
    if len(kinds) > 1:
        raise BadInput(
            f"{where.capitalize()} mixes {' and '.join(kinds)}; a mesh has cells of one kind. Mesh with one of them."
        )
    if dim == 0:
        raise BadInput(f"{where.capitalize()} holds points only, no cells.")
    kind, order = _KINDS[kinds[0]]
    points = np.asarray(mesh.points, float)
    if dim < points.shape[1] and np.ptp(points[:, dim:], axis=0).max() > 1e-9 * max(np.ptp(points), 1e-300):
        raise BadInput(
            f"{where.capitalize()} is a curved {dim}-dimensional mesh in space, which is not a body of its dimension."
        )
    cells = np.concatenate([block.data for block in blocks if block.type == kinds[0]])
    facet = elements.FACET_KIND[kind]
    sides = {n for n, (k, _) in _KINDS.items() if k == facet}
    regions, boundaries = _groups(mesh, blocks, {kinds[0]}), _groups(mesh, blocks, sides)
    tables = [block.data for block in blocks if block.type in sides]
    stacked = np.concatenate(tables) if tables else np.zeros((0, 1), int)
    used = np.unique(cells)
    number = np.full(len(points), -1)
    number[used] = np.arange(len(used))
    named = {name: number[stacked[rows]] for name, rows in boundaries.items()}
    for name, rows in named.items():
        if np.any(rows < 0):
            raise BadInput(f"{where.capitalize()}: the group {name!r} has a side with a point of no {kind}.")
    made = Mesh(points[used][:, :dim], number[cells], kind, named, regions)
    return made if made.order == order else made.of_order(order)


def _groups(mesh, blocks, types: set[str]) -> dict[str, np.ndarray]:
    """Name -> rows among the blocks of these types, from Gmsh's physical groups and meshio's cell sets."""
    kept = [k for k, block in enumerate(mesh.cells) if len(block.data) and block.type in types]
    starts = np.cumsum([0, *(len(mesh.cells[k].data) for k in kept)])
    found: dict[str, list[np.ndarray]] = {}
    tags = mesh.cell_data.get("gmsh:physical")
    dims = {_DIM[_KINDS[t][0]] for t in types}
    for name, value in (mesh.field_data or {}).items() if tags is not None else ():
        tag, dim = int(value[0]), int(value[1])
        if dim in dims and tags is not None:
            found[name] = [start + np.flatnonzero(np.asarray(tags[k]) == tag) for start, k in zip(starts, kept)]
    for name, rows in (mesh.cell_sets or {}).items():
        if name not in found and not name.startswith("gmsh:"):
            found[name] = [start + np.asarray(rows[k], int) for start, k in zip(starts, kept) if rows[k] is not None]
    joined = {name: np.concatenate([np.zeros(0, int), *rows]) for name, rows in found.items()}
    return {name: rows for name, rows in joined.items() if len(rows)}


def from_skfem(mesh: Any) -> Mesh:
    """A mesh of scikit-fem, straight or of order 2, with its named boundaries and subdomains.

    Args:
        mesh: A `skfem.Mesh` of triangles, quadrilaterals, tetrahedra or hexahedra.

    Returns:
        The mesh, in the same lengths.

    Raises:
        BadInput: It is no such mesh, or its cells are of an unknown kind.
    """
    skfem = elements.skfem()
    if not isinstance(mesh, skfem.Mesh):
        raise BadInput(f"grids.from_skfem takes a mesh of scikit-fem; it got a {type(mesh).__name__}.")
    kind, order = _skfem_kind(mesh)
    dofs = np.asarray(mesh.dofs.element_dofs).T  # (E, k) in scikit-fem's order
    cells = dofs[:, elements.from_skfem_order(kind, order)]
    vertices = np.asarray(mesh.dofs.nodal_dofs)[0]
    named = {}
    rows = np.concatenate([cells[:, list(of)] for of in elements.FACETS[kind]])
    key = {tuple(sorted(row)): row for row in rows}
    for name, facets in (mesh.boundaries or {}).items():
        named[name] = np.stack([key[tuple(sorted(row))] for row in vertices[np.asarray(mesh.facets)[:, facets]].T])
    regions = {name: np.asarray(value) for name, value in (mesh.subdomains or {}).items()}
    return Mesh(np.asarray(mesh.doflocs).T, cells, kind, named, regions)


def _skfem_kind(mesh: Any) -> tuple[str, int]:
    name = mesh.elem.__name__
    for (kind, order), known in elements.SKFEM.items():
        if name == known:
            return kind, order
    raise BadInput(f"grids.from_skfem: {type(mesh).__name__} has cells {name}, which are not known (straight or of order 2).")

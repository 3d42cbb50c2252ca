"""Meshes made by others: files of Gmsh, Abaqus, I-DEAS and all that meshio reads, and scikit-fem's meshes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fiberax.core.errors import BadInput, FiberaxError
from fiberax.grids import elements
from fiberax.grids.files import abaqus, gmsh, others, unv
from fiberax.grids.files.convert import convert
from fiberax.grids.files.raw import Raw
from fiberax.grids.mesh import Mesh


def read(source: Any, periodic: bool = False) -> Mesh:
    """A mesh from a file: Gmsh's `.msh`, Abaqus's `.inp`, `.unv`, or another format that meshio reads.

    Groups of cells become regions, groups of sides boundaries, and groups of points (in space also of curves) boundaries of
    nodes, for supports alone. Groups without a name are called by their number. A plane mesh may lie in any plane. Elements
    without nodes in the middle of faces (8 nodes of a quadrilateral, 20 of a hexahedron) get them; wedges, pyramids and
    mixtures of kinds are cut into triangles or tetrahedra that fit together. `MeshFileWarning` says what was done.

    Args:
        source: The path of the file, or a mesh of meshio.
        periodic: Whether nodes that the file pairs (`$Periodic` of Gmsh) are the same.

    Returns:
        The mesh, in the lengths of the file, with its named sides and regions.

    Raises:
        BadInput: The file is missing or damaged, or holds no cells of a body.
        MissingExtra: meshio is absent, and the format needs it.
    """
    if not isinstance(source, str | Path):
        if not isinstance(source, others.meshio().Mesh):
            raise BadInput(f"grids.read takes the path of a file or a mesh of meshio; it got a {type(source).__name__}.")
        return convert(_of_meshio(source), "the mesh", periodic)
    path = Path(source)
    if path.is_dir():
        raise BadInput(f"The mesh file {path} is a folder: give the path of a file in it.")
    if not path.is_file():
        raise BadInput(f"The mesh file {path} does not exist.")
    if path.stat().st_size == 0:
        raise BadInput(f"The mesh file {path} is empty.")
    try:
        raw = _reader(path)(path)
    except FiberaxError as error:
        told = str(error)
        raise type(error)(told if str(path) in told else f"The mesh file {path}: {told}") from error
    except Exception as error:  # readers raise errors of any type on a damaged file
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise BadInput(
            f"The mesh file {path} cannot be read: {reason}. It is cut short, damaged, or holds what meshio does not read; "
            "write it again, or as Gmsh's .msh."
        ) from error
    return convert(raw, f"the mesh file {path}", periodic)


def _of_meshio(mesh: Any) -> Raw:
    try:
        return others.of_meshio(mesh)
    except BadInput as error:
        raise BadInput(f"The mesh: {error}") from error


def _reader(path: Path) -> Callable[[Path], Raw]:
    ending = path.suffix.lower()
    version = gmsh.version_of(path) if ending == ".msh" else ""
    if version in ("2", "2.0", "2.1", "2.2", "4.1"):
        return gmsh.read
    return _older if version else {".inp": abaqus.read, ".unv": unv.read}.get(ending, others.read)


def _older(path: Path) -> Raw:
    """Gmsh's other versions, by meshio, which keeps one physical group of each entity."""
    version = gmsh.version_of(path)
    try:
        raw = others.read(path)
    except FiberaxError:
        raise
    except Exception as error:
        raise BadInput(
            f"it is of version {version} of Gmsh's format, which meshio does not read whole. Save it in version 4.1 "
            "(Mesh.MshFileVersion = 4.1)."
        ) from error
    raw.notes.append(f"version {version} of Gmsh's format: of groups that overlap one is kept; save it as 4.1")
    return raw


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

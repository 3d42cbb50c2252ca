"""Meshes from files in the cases: dimension and order, and sides by their names."""

from pathlib import Path
from typing import TYPE_CHECKING

from fiberax.core.errors import BadInput

if TYPE_CHECKING:
    from fiberax.grids.mesh import Mesh


def mesh_from(path: Path, dim: int, order: int | None, other: str, remedy: str) -> "Mesh":
    """The mesh of a file, of dimension `dim` like `other`; its own order where none is given. Raises `BadInput`."""
    from fiberax import grids

    mesh = grids.read(path)
    if mesh.dim != dim:
        raise BadInput(
            f"--mesh {path} is of dimension {mesh.dim}, and {other} of dimension {dim}. They must agree: give {remedy} of "
            f"dimension {mesh.dim}, or another mesh."
        )
    return mesh if order is None else mesh.of_order(order)


def sides_of(mesh: "Mesh", text: str, flag: str) -> list[str]:
    """Names of boundaries, given with commas. Raises `BadInput` with those that the mesh has."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    known = ", ".join(sorted(mesh.boundaries)) or "none (in Gmsh, make physical groups of its sides and save them)"
    if not names:
        raise BadInput(f"{flag} names no side. The mesh has the sides: {known}.")
    for name in names:
        if name not in mesh.boundaries:
            raise BadInput(f"{flag}: the mesh has no side {name!r}. Its sides: {known}.")
    return names

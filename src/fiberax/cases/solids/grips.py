"""How a body is pulled: which sides are held and which move, along which axis, and by which length strain counts."""

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fiberax.cases.mesh_files import sides_of
from fiberax.core.errors import BadInput

if TYPE_CHECKING:
    from fiberax.grids.mesh import Mesh

# Of the size of the mesh: sides that are so flat are plane.
_FLAT = 1e-6


class Grips(NamedTuple):
    """A mesh with its supports: components that are held by boundary, and boundaries that move along an axis.

    `length` is the distance between the grips, with the sign of the motion; `block` that distance times the area that is
    pulled, None where the grips are not plane across the axis, so that the force is not that of a mean stress.
    """

    mesh: "Mesh"
    fixed: dict[str, list[int]]
    pulled: list[str]
    axis: int
    length: float
    block: float | None


def grips_of(mesh: "Mesh", held: str, pulled: str, mirrors: str | None, axis: int, clamped: bool) -> Grips:
    """The supports of a mesh from a file. Names are given with commas. Raises `BadInput` for sides that cannot be used."""
    if axis >= mesh.dim:
        raise BadInput(f"--along {'xyz'[axis]}: the mesh is of dimension {mesh.dim}.")
    still, moving = sides_of(mesh, held, "--held-sides"), sides_of(mesh, pulled, "--pulled-sides")
    both = sorted(set(still) & set(moving))
    if both:
        raise BadInput(f"--held-sides and --pulled-sides both name {', '.join(both)}: give every side once.")
    size = float(np.ptp(mesh.points, axis=0).max())
    places = [np.concatenate([mesh.points[mesh.nodes(name), axis] for name in names]) for names in (still, moving)]
    length = float(places[1].mean() - places[0].mean())
    if abs(length) <= _FLAT * size:
        raise BadInput(
            f"--held-sides {held} and --pulled-sides {pulled} lie at the same {'xyz'[axis]}: strain along {'xyz'[axis]} means "
            "nothing there. Give sides that lie apart, or another --along."
        )
    across = list(range(mesh.dim)) if clamped else [axis]
    fixed = {name: across for name in still}
    if clamped:
        fixed |= {name: [k for k in across if k != axis] for name in moving}
    planes = [] if mirrors is None else sides_of(mesh, mirrors, "--mirror-sides")
    normals = {name: _normal(mesh, name, size) for name in planes}
    fixed |= {name: sorted({*fixed.get(name, []), normal}) for name, normal in normals.items()}
    if mesh.dim == 3 and not clamped and not set(normals.values()) - {axis}:
        mesh, fixed = _without_turning(mesh, still, axis, fixed)
    plane = all(np.ptp(place) <= _FLAT * size for place in places)
    return Grips(mesh, fixed, moving, axis, length, abs(length) * _area(mesh, moving) if plane else None)


def _normal(mesh: "Mesh", name: str, size: float) -> int:
    """The axis across which a plane side lies."""
    flat = np.flatnonzero(np.ptp(mesh.points[mesh.nodes(name)], axis=0) <= _FLAT * size)
    if len(flat) != 1:
        raise BadInput(f"--mirror-sides: {name!r} is no plane across one of the axes, as a plane of symmetry must be here.")
    return int(flat[0])


def _without_turning(mesh: "Mesh", still: list[str], axis: int, fixed: dict[str, Any]) -> tuple["Mesh", dict[str, Any]]:
    """Two nodes of the grip that is held keep the body from turning around the axis, which no force opposes."""
    nodes = np.unique(np.concatenate([mesh.nodes(name) for name in still]))
    lateral = [k for k in range(3) if k != axis]
    away = mesh.points[nodes][:, lateral] - mesh.points[nodes[0], lateral]
    far = int(np.argmax(np.linalg.norm(away, axis=1)))
    if not np.any(away[far]):
        return mesh, fixed
    # Turning moves a node across the line to the first one.
    moves = lateral[int(np.argmin(np.abs(away[far])))]
    names = {"(pin)": nodes[:1], "(guide)": nodes[far : far + 1]}
    held = dataclasses.replace(mesh, boundaries={**mesh.boundaries, **names})
    return held, fixed | {"(pin)": lateral, "(guide)": [moves]}


def _area(mesh: "Mesh", names: list[str]) -> float:
    """Area of sides, each counted once."""
    from fiberax.grids.parts import over_sides

    sides = [mesh.boundaries[name] for name in names]
    if any(value.ndim == 1 for value in sides):
        raise BadInput(f"--pulled-sides {','.join(names)}: a set of nodes has no area; give a group of sides.")
    rows = np.concatenate(sides)
    rows = rows[np.unique(np.sort(rows, axis=1), axis=0, return_index=True)[1]]
    return float(over_sides(mesh, rows).weighted.sum())

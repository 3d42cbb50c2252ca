"""Files of the formats that meshio reads, and meshio's own meshes, with the groups that it has in different places."""

import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fiberax.core.errors import BadInput, MissingExtra
from fiberax.grids.files.raw import KINDS, Block, Group, Raw

# Numbers of cells that formats without names have for groups; zero is none.
_TAGS = (
    *("gmsh:physical", "medit:ref", "nastran:ref", "netgen:index", "su2:tag", "tetgen:ref", "avsucd:material"),
    *("flac3d:group", "ansys:zone", "cell_tags"),
)


def meshio() -> Any:
    """The package. Raises `MissingExtra` where it is absent."""
    try:
        import meshio
    except ImportError as error:
        raise MissingExtra("Reading mesh files of this format needs meshio: install `fiberax[mesh]`.") from error
    return meshio


def read(path: Path) -> Raw:
    """The mesh of a file. Raises `BadInput` for another format, any other error where it is damaged."""
    package = meshio()
    known = sorted({*package.extension_to_filetypes, ".unv"})
    if not path.name.lower().endswith(tuple(known)):
        raise BadInput(
            f"The mesh file {path} has a format that is not read here. By their endings these are: {', '.join(known)}."
        )
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):  # meshio prints
            mesh = package.read(path)
    except SystemExit as error:  # meshio prints why it cannot read a file, and ends the process
        reason = next((line.strip() for line in said.getvalue().splitlines() if line.strip()), "of unknown format")
        raise ValueError(reason) from error
    except KeyError as error:  # a kind of cell that its tables have not
        raise BadInput(f"meshio does not know {error} in it. Save it in another format, such as Gmsh's .msh") from error
    return of_meshio(mesh)


def of_meshio(mesh: Any) -> Raw:
    """What a mesh of meshio holds. Raises `BadInput` for cells of unknown kinds."""
    unknown = sorted({block.type for block in mesh.cells if len(block.data)} - set(KINDS))
    if unknown:
        raise BadInput(f"it has cells of the kind {', '.join(unknown)}; known are {', '.join(KINDS)}")
    kept = [k for k, block in enumerate(mesh.cells) if len(block.data)]
    blocks = [Block(mesh.cells[k].type, np.asarray(mesh.cells[k].data).astype(int)) for k in kept]
    groups: dict[str, Group] = {}
    of = lambda name: groups.setdefault(name, Group(name))
    for name, rows in (mesh.cell_sets or {}).items():
        for new, k in enumerate(kept):
            if not name.startswith("gmsh:") and k < len(rows) and rows[k] is not None and len(rows[k]):
                of(name).add(new, np.asarray(rows[k], int))
    for name, nodes in (mesh.point_sets or {}).items():
        of(name).nodes = np.unique(np.asarray(nodes, int))
    families = getattr(mesh, "cell_tags", None)  # of MED: number -> names
    _tagged(mesh, kept, of, families or {})
    _tagged_points(mesh, of)
    return Raw(np.asarray(mesh.points, float), blocks, list(groups.values()))


def _tagged(mesh: Any, kept: list[int], of: Callable[[str], Group], families: dict) -> None:
    """Adds the groups that are numbers of cells; they are called by their names, else by the number."""
    # Gmsh's names have two numbers; MED has lists of words there.
    named = {
        (int(value[0]), int(value[1])): name
        for name, value in (mesh.field_data or {}).items()
        if len(value) == 2 and all(np.ndim(v) == 0 and np.issubdtype(np.asarray(v).dtype, np.number) for v in value)
    }
    for key in _TAGS:
        for new, k in enumerate(kept):
            if key not in mesh.cell_data:
                continue
            tags = np.asarray(mesh.cell_data[key][k])
            for tag in np.unique(tags[tags != 0]).astype(int).tolist() if tags.ndim == 1 else ():
                names = families.get(tag) or [named.get((tag, mesh.cells[k].dim), str(tag))]
                for name in names:
                    of(name).add(new, np.flatnonzero(tags == tag))


def _tagged_points(mesh: Any, of: Callable[[str], Group]) -> None:
    """Adds the groups of nodes of a MED file."""
    tags = mesh.point_data.get("point_tags")
    for number, names in (getattr(mesh, "point_tags", None) or {}).items():
        for name in names:
            group = of(name)
            group.nodes = np.union1d(group.nodes, np.flatnonzero(np.asarray(tags) == number)).astype(int)

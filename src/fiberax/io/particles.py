"""Boxes of particles of chosen sites as files: extended XYZ, and ParaView files of the particles and of their boxes.

A microstate with the arrays "molecules" (3, n), positions, "momenta" (3, n) and "box" (3, 3), whose columns are the vectors of
a lattice, is one. Extended XYZ is what ASE and OVITO read; ParaView reads VTK XML PolyData 1.0, here as text.
"""

import itertools
from pathlib import Path

import numpy as np

from fiberax.io.atomic import write_text
from fiberax.io.microstates import Microstate

SYMBOL = "Ar"  # of all particles: programs want a chemical one
_CORNERS = np.array(list(itertools.product((0.0, 1.0), repeat=3)))
_EDGES = [(i, j) for i, j in itertools.combinations(range(8), 2) if np.abs(_CORNERS[i] - _CORNERS[j]).sum() == 1.0]


def is_box(microstate: Microstate) -> bool:
    """Whether it is a box of particles."""
    return {"molecules", "momenta", "box"} <= set(microstate.arrays)


def write_boxes(folder: Path, microstates: list[Microstate]) -> None:
    """Every box to `folder/boxes.xyz`, one frame each, and to `folder/paraview/box_K.vtp` and `particles_K.vtp`.

    Nothing where there is none. Raises `SaveFailed`.
    """
    boxes = [m for m in microstates if is_box(m)]
    if not boxes:
        return
    write_text(folder / "boxes.xyz", "".join(map(extended_xyz, boxes)))
    (folder / "paraview").mkdir(parents=True, exist_ok=True)
    for k, box in enumerate(boxes):
        at, p, h = (box.arrays[name] for name in ("molecules", "momenta", "box"))
        corners = _CORNERS @ h.T
        write_text(folder / "paraview" / f"box_{k}.vtp", _polydata(corners, "Lines", _EDGES, {}))
        fields = {"momentum": p.T, "speed": np.linalg.norm(p, axis=0)[:, None]}
        points = [(i,) for i in range(at.shape[1])]
        write_text(folder / "paraview" / f"particles_{k}.vtp", _polydata(at.T, "Verts", points, fields))


def extended_xyz(box: Microstate) -> str:
    """One frame: lattice, positions and momenta, with the caption of the site."""
    at, p, h = (np.asarray(box.arrays[name], float) for name in ("molecules", "momenta", "box"))
    caption = " ".join(box.caption.replace('"', "'").split())
    lattice = _numbers(h.T.ravel())
    head = f'Lattice="{lattice}" Properties=species:S:1:pos:R:3:momenta:R:3 pbc="T T T" site="{caption}"'
    rows = [f"{SYMBOL} {_numbers(row)}" for row in np.concatenate([at, p]).T]
    return "\n".join([str(at.shape[1]), head, *rows]) + "\n"


def _polydata(points: np.ndarray, kind: str, cells: list, fields: dict[str, np.ndarray]) -> str:
    counts = {name: len(cells) if name == kind else 0 for name in ("Verts", "Lines", "Strips", "Polys")}
    pieces = " ".join(f'NumberOf{name}="{count}"' for name, count in counts.items())
    data = "".join(_array(name, values) for name, values in fields.items())
    flat, ends = [i for cell in cells for i in cell], np.cumsum([len(cell) for cell in cells])
    whole = lambda name, values: (
        f'<DataArray type="Int64" Name="{name}" format="ascii">{" ".join(map(str, values))}</DataArray>\n'
    )
    return (
        '<?xml version="1.0"?>\n<VTKFile type="PolyData" version="1.0" byte_order="LittleEndian" header_type="UInt64">\n'
        f'<PolyData>\n<Piece NumberOfPoints="{len(points)}" {pieces}>\n<PointData>\n{data}</PointData>\n'
        f"<Points>\n{_array('positions', points)}</Points>\n<{kind}>\n{whole('connectivity', flat)}{whole('offsets', ends)}"
        f"</{kind}>\n</Piece>\n</PolyData>\n</VTKFile>\n"
    )


def _array(name: str, values: np.ndarray) -> str:
    rows, count = "\n".join(map(_numbers, values)), values.shape[1]
    return f'<DataArray type="Float64" Name="{name}" NumberOfComponents="{count}" format="ascii">\n{rows}\n</DataArray>\n'


def _numbers(values: np.ndarray) -> str:
    return " ".join(repr(float(x)) for x in values)

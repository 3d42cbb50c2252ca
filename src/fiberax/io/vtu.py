"""ParaView files of bodies: a series of `.vtu` meshes with fields on nodes and cells, and the `.pvd` that lists them.

Format: VTK XML UnstructuredGrid 1.0, raw appended blocks, little-endian, 64-bit lengths. Vectors are padded to three
components and tensors to nine, row by row; meshes of order 2 keep their curved cells.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from fiberax.core.errors import BadInput
from fiberax.grids.mesh import Mesh
from fiberax.io.atomic import write_file, write_text
from fiberax.io.body import Body
from fiberax.io.results import Table
from fiberax.io.vtk import TYPES

_NONE = 1e-13  # of the largest stress: less than that is round-off
# VTK's numbers of the cells of order 1 and 2.
_CELLS = {"interval": (3, 21), "triangle": (5, 22), "quad": (9, 28), "tet": (10, 24), "hex": (12, 29)}
Fields = Mapping[str, np.ndarray]


class MeshSeries:
    """Writes `folder/NAME_000000.vtu`, ... one after another, and after each the `folder/NAME.pvd` of all so far."""

    def __init__(self, folder: Path, mesh: Mesh, name: str = "series"):
        self.folder, self.mesh, self.name = Path(folder), mesh, name
        self.entries: list[tuple[float, str]] = []
        self.folder.mkdir(parents=True, exist_ok=True)

    def write(self, time: float, points: Fields, cells: Fields) -> Path:
        """Add the fields at `time` (or load): see `write_mesh`. Returns the `.pvd`. Raises `BadInput`, `SaveFailed`."""
        file = f"{self.name}_{len(self.entries):06d}.vtu"
        write_mesh(self.folder / file, self.mesh, points, cells)
        self.entries.append((float(time), file))
        listed = "".join(f'    <DataSet timestep="{t!r}" part="0" file="{f}"/>\n' for t, f in self.entries)
        path = self.folder / f"{self.name}.pvd"
        head = '<?xml version="1.0"?>\n<VTKFile type="Collection" version="0.1" byte_order="LittleEndian">\n  <Collection>\n'
        write_text(path, f"{head}{listed}  </Collection>\n</VTKFile>\n")
        return path


def write_body(folder: Path, table: Table, body: Body) -> None:
    """Every record of a body to `folder/paraview`, and the stress-strain curve of one that is pulled to `folder/curve.csv`.

    Raises `SaveFailed`.
    """
    names = {variable.key: variable.quantity.name for variable in table.schema.variables}
    if not body.deforms:
        return _write_field(folder, table, body, names)
    series = MeshSeries(folder / "paraview", body.mesh)
    displacement, stress = table.arrays[names["macro.position"]], table.arrays[names["response"]]
    skipped = {"macro.position", "macro.velocity", "result", *(key for key in names if key.startswith("energies."))}
    moving = "macro.velocity" in names and table.arrays[names["macro.velocity"]].any()
    on_nodes = [names["macro.position"], *([names["macro.velocity"]] if moving else [])]
    worst = {key: body.worst(table.arrays[names[key]]) for key in ("stability_margin", "acoustic", "internal") if key in names}
    for k, load in enumerate(table.values):
        cells = {name: body.over_cells(table.arrays[name][k]) for key, name in names.items() if key not in skipped}
        cells |= {names[key]: worst[key][k] for key in worst}
        cells["mises"] = body.mises(displacement[k], stress[k])
        flat = {name: value.reshape(len(value), -1) if value.ndim > 3 else value for name, value in cells.items()}
        points = {name: table.arrays[name][k] for name in on_nodes}
        series.write(float(load), points, flat)
    if body.block is not None:
        nominal = body.nominal(stress)
        nominal = np.where(np.abs(nominal) < _NONE * np.abs(nominal).max(initial=0.0), 0.0, nominal)
        rows = zip(body.strain * table.values, nominal, strict=True)
        unit = next(v.quantity.unit for v in table.schema.variables if v.key == "response")
        head = "strain,stress" if unit in ("", "1") else f"strain,stress [{unit}]"
        lines = [head, *(f"{strain!r},{value!r}" for strain, value in ((float(a), float(b)) for a, b in rows))]
        write_text(folder / "curve.csv", "\n".join(lines) + "\n")


def _write_field(folder: Path, table: Table, body: Body, names: Mapping[str, str]) -> None:
    """Every record of scalars at nodes, with all that there is at the sites as means over cells."""
    series = MeshSeries(folder / "paraview", body.mesh)
    sites = len(body.weights)
    for k, value in enumerate(table.values):
        arrays = {key: table.arrays[name][k] for key, name in names.items() if not key.startswith(("state", "energies."))}
        points = {names[key]: array for key, array in arrays.items() if key.split(".")[0] == "macro"}
        at_sites = {key: a for key, a in arrays.items() if key != "result" and names[key] not in points and len(a) == sites}
        series.write(float(value), points, {names[key]: body.over_cells(array) for key, array in at_sites.items()})


def write_mesh(path: Path, mesh: Mesh, points: Fields, cells: Fields) -> None:
    """Write one `.vtu`.

    `points`: name -> values (nodes, ...), one for each node of the mesh or for each unknown of a periodic one. `cells`: name ->
    values (cells, ...) or (cells · quadrature points, ...), of which the mean is taken. Raises `BadInput`, `SaveFailed`.
    """
    count = len(mesh.cells)
    on_points = {name: _on_points(mesh, name, value) for name, value in points.items()}
    on_cells = {name: _on_cells(count, name, value) for name, value in cells.items()}
    places = np.pad(mesh.points, [(0, 0), (0, 3 - mesh.dim)])
    kind = np.full(count, _CELLS[mesh.kind][mesh.order - 1], np.uint8)
    ends = mesh.cells.shape[1] * np.arange(1, count + 1)
    sections = (
        ("PointData", on_points),
        ("CellData", on_cells),
        ("Points", {"Points": places}),
        ("Cells", {"connectivity": mesh.cells.ravel(), "offsets": ends, "types": kind}),
    )
    blocks, body, offset = [], "", 0
    for section, arrays in sections:
        body += f"      <{section}>\n"
        for name, array in arrays.items():
            data = _little_endian(array)
            block = np.uint64(data.nbytes).astype("<u8").tobytes() + data.tobytes()
            width = f' NumberOfComponents="{array.shape[1]}"' if array.ndim == 2 else ""
            kind_ = "UInt8" if data.dtype == np.uint8 else TYPES[data.dtype.str[1:]]
            body += f'        <DataArray type="{kind_}" Name="{name}"{width} format="appended" offset="{offset}"/>\n'
            blocks.append(block)
            offset += len(block)
        body += f"      </{section}>\n"
    head = (
        '<?xml version="1.0"?>\n'
        '<VTKFile type="UnstructuredGrid" version="1.0" byte_order="LittleEndian" header_type="UInt64">\n'
        f'  <UnstructuredGrid>\n    <Piece NumberOfPoints="{len(mesh.points)}" NumberOfCells="{count}">\n{body}'
        '    </Piece>\n  </UnstructuredGrid>\n  <AppendedData encoding="raw">\n_'
    )
    content = head.encode() + b"".join(blocks) + b"\n  </AppendedData>\n</VTKFile>\n"
    write_file(path, lambda stream: stream.write(content), durable=False)


def _on_points(mesh: Mesh, name: str, value) -> np.ndarray:
    value = np.asarray(value)
    if value.ndim and len(value) == len(mesh.representatives):
        value = value[mesh.unknowns]
    if not value.ndim or len(value) != len(mesh.points):
        raise BadInput(f"The field {name!r} on nodes has the shape {value.shape}; the mesh has {len(mesh.points)} nodes.")
    return _components(value)


def _on_cells(count: int, name: str, value) -> np.ndarray:
    value = np.asarray(value)
    if not value.ndim or not len(value) or len(value) % count:
        raise BadInput(f"The field {name!r} on cells has the shape {value.shape}; the mesh has {count} cells.")
    if len(value) > count:
        value = value.reshape(count, -1, *value.shape[1:]).mean(axis=1)
    return _components(value)


def _components(value: np.ndarray) -> np.ndarray:
    """One row of 1, 3, 9 or any other number of components for each node or cell."""
    if value.ndim in (2, 3) and all(n <= 3 for n in value.shape[1:]):
        value = np.pad(value, [(0, 0), *((0, 3 - n) for n in value.shape[1:])])
    return np.ascontiguousarray(value.reshape(len(value), -1))


def _little_endian(array: np.ndarray) -> np.ndarray:
    if array.dtype == np.uint8:
        return array
    kind = {"i": "i8", "f": f"f{array.itemsize}"}.get(array.dtype.kind, "f8")
    return np.ascontiguousarray(array).astype(f"<{kind}")

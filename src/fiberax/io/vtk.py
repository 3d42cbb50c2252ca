"""ParaView files: a series of `.vti` images (uniform grids in one to three dimensions) and the `.pvd` that lists them.

Format: VTK XML ImageData 1.0, cell data in one raw appended block, little-endian, 64-bit lengths. Cells run with x
fastest. Vectors are padded to three components and tensors to nine, row by row, as ParaView expects.
"""

from pathlib import Path

import numpy as np

from fiberax.core.errors import BadInput
from fiberax.io.atomic import write_file, write_text
from fiberax.io.results import Table

TYPES = {"f8": "Float64", "f4": "Float32", "i4": "Int32", "i8": "Int64"}


def write_series(folder: Path, table: Table) -> Path | None:
    """Write every record of `table` to `folder/paraview`, and return the `.pvd`; None for fields that have no grid.

    Raises `BadInput` where a coordinate is not uniform, `SaveFailed` where a file cannot be written.
    """
    dims = tuple(table.schema.coords)
    if not 1 <= len(dims) <= 3:
        return None
    target = folder / "paraview"
    target.mkdir(exist_ok=True)
    origin, spacing = _geometry(table)
    on_grid = [v for v in table.schema.variables if v.dims[: len(dims)] == dims]
    names = []
    for index in range(len(table.values)):
        cells = {
            v.quantity.name: _components(table.arrays[v.quantity.name][index], len(dims), v.dims[len(dims) :]) for v in on_grid
        }
        names.append(f"fields_{index:06d}.vti")
        write_image(target / names[-1], origin, spacing, cells)
    entries = "".join(
        f'    <DataSet timestep="{value!r}" part="0" file="{name}"/>\n'
        for value, name in zip(table.values.tolist(), names, strict=True)
    )
    path = target / "series.pvd"
    write_text(
        path,
        '<?xml version="1.0"?>\n<VTKFile type="Collection" version="0.1" byte_order="LittleEndian">\n  <Collection>\n'
        f"{entries}  </Collection>\n</VTKFile>\n",
    )
    return path


def write_image(path: Path, origin: tuple[float, ...], spacing: tuple[float, ...], cells: dict[str, np.ndarray]) -> None:
    """Write one `.vti` of cell data.

    `origin` (lower corner) and `spacing` in one to three dimensions, in length units; `cells` arrays of shape
    (*cells per direction, components). Raises `SaveFailed`.
    """
    shape = next(iter(cells.values())).shape[:-1]
    padding = 3 - len(shape)
    extent = " ".join(f"0 {n}" for n in (*shape, *(1,) * padding))
    corner = " ".join(repr(float(v)) for v in (*origin, *(0.0,) * padding))
    step = " ".join(repr(float(v)) for v in (*spacing, *(1.0,) * padding))
    blocks, declarations, offset = [], [], 0
    for name, array in cells.items():
        data = _little_endian(array)
        block = np.uint64(data.nbytes).astype("<u8").tobytes() + data.tobytes()
        declarations.append(
            f'        <DataArray type="{TYPES[data.dtype.str[1:]]}" Name="{name}" '
            f'NumberOfComponents="{array.shape[-1]}" format="appended" offset="{offset}"/>\n'
        )
        blocks.append(block)
        offset += len(block)
    head = (
        '<?xml version="1.0"?>\n'
        '<VTKFile type="ImageData" version="1.0" byte_order="LittleEndian" header_type="UInt64">\n'
        f'  <ImageData WholeExtent="{extent}" Origin="{corner}" Spacing="{step}">\n'
        f'    <Piece Extent="{extent}">\n      <CellData>\n{"".join(declarations)}      </CellData>\n'
        '    </Piece>\n  </ImageData>\n  <AppendedData encoding="raw">\n_'
    )
    content = head.encode() + b"".join(blocks) + b"\n  </AppendedData>\n</VTKFile>\n"
    write_file(path, lambda stream: stream.write(content), durable=False)


def _little_endian(array: np.ndarray) -> np.ndarray:
    """The cells with x fastest, components innermost, in a type of VTK."""
    kind = {"i": f"i{max(array.itemsize, 4)}", "f": f"f{array.itemsize}"}.get(array.dtype.kind, "f8")
    axes = (*reversed(range(array.ndim - 1)), array.ndim - 1)
    return np.ascontiguousarray(array.transpose(axes)).astype(f"<{kind}")


def _components(array: np.ndarray, dim: int, tensor: tuple[str, ...]) -> np.ndarray:
    """One field with its tensor axes made into a last axis of 1, 3 or 9 components (or as many as there are)."""
    grid, rest = array.shape[:dim], array.shape[dim:]
    if len(tensor) in (1, 2) and all(n <= 3 for n in rest):
        array = np.pad(array, [(0, 0)] * dim + [(0, 3 - n) for n in rest])
    return array.reshape(*grid, -1)


def _geometry(table: Table) -> tuple[tuple[float, ...], tuple[float, ...]]:
    origin, spacing = [], []
    for name, values in table.schema.coords.items():
        steps = np.diff(values)
        step = float(steps.mean()) if len(steps) else 1.0
        if len(steps) and not np.allclose(steps, step, rtol=1e-6):
            raise BadInput(f"The coordinate {name} is not uniform: a .vti image cannot hold it.")
        origin.append(values[0] - step / 2)
        spacing.append(step)
    return tuple(origin), tuple(spacing)

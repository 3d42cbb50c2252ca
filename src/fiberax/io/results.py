"""Results: one small atomic file per save time while a run lasts, and `results.nc` assembled from them.

A process that is killed while it writes an HDF5 file can make all of the file unreadable, so none is open during a run. Each
record is a file of its own (`records/000012.npz`, see `records.py`), which is complete or absent; `results.nc` (netCDF-4, that
is HDF5 with named dimensions) is assembled record by record, and renamed to its final name when it is complete.
"""

import contextlib
import dataclasses
import json
import operator
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fiberax.core.errors import BadInput, FiberaxError
from fiberax.io.atomic import replacing, write_text
from fiberax.io.reading import Unreadable, opened, read_json
from fiberax.io.records import DamagedRecord, missing_records, read_record, record_numbers, write_record

SCHEMA = "schema.json"
TENSOR_DIMS = "ijklmnopqrs"


@dataclass(frozen=True)
class Quantity:
    """A quantity in results and figures.

    Args:
        name: An identifier.
        unit: Its unit, "1" for none.
        label: A text for axes; empty for the name.
        indices: Names of the axes of a tensor in a table, such as i, J of a Piola-Kirchhoff stress; else i, j, k and so on.
    """

    name: str
    unit: str = "1"
    label: str = ""
    indices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Variable:
    """One variable of the results: its key in a record, and its dimensions after time."""

    key: str
    quantity: Quantity
    dims: tuple[str, ...]
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Coordinate:
    """A coordinate along a dimension that is no axis of a grid, such as "site_x" along the sites, or the rate at each."""

    quantity: Quantity
    dim: str
    values: list[float]

    def attributes(self) -> dict[str, str]:
        """Unit and text."""
        return {"units": self.quantity.unit, "long_name": self.quantity.label or self.quantity.name}


@dataclass(frozen=True)
class Schema:
    """The content of a run's results: variables, coordinates (dimension -> values and unit) and the leading axis.

    `origin` is what the records come from (`origin.py`); None where that is not known. `places` are no axes.
    """

    variables: tuple[Variable, ...]
    coords: dict[str, list[float]]
    units: dict[str, str]
    axis: Quantity = Quantity("time", "1", "time")
    origin: dict[str, Any] | None = None
    places: tuple[Coordinate, ...] = ()

    @property
    def is_table(self) -> bool:
        """Whether the records are rows of a table of responses, and not states of a macro model."""
        return not any(variable.key.split(".")[0] == "macro" for variable in self.variables)

    def save(self, folder: Path) -> None:
        """Write the schema into a run's folder."""
        write_text(folder / SCHEMA, json.dumps(dataclasses.asdict(self), indent=1))

    @classmethod
    def load(cls, folder: Path) -> "Schema | None":
        """The schema in a run's folder; None where no record was ever written. Raises `Unreadable`."""
        path = folder / SCHEMA
        if not path.exists():
            return None
        raw = read_json(path)
        try:
            variables = tuple(
                Variable(v["key"], _quantity(v["quantity"]), tuple(v["dims"]), tuple(map(operator.index, v["shape"])))
                for v in raw["variables"]
            )
            coords = {dim: [float(value) for value in values] for dim, values in raw["coords"].items()}
            places = _coordinates(raw.get("places", []), raw["units"])
            schema = cls(variables, coords, dict(raw["units"]), _quantity(raw["axis"]), raw.get("origin"), places)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Unreadable(f"{path} is damaged: {type(error).__name__} {error}.") from error
        return schema


@dataclass(frozen=True)
class Table:
    """Arrays with a leading record axis, by variable name, and the values along that axis; `wanted` of them are drawn."""

    schema: Schema
    values: np.ndarray
    arrays: dict[str, np.ndarray]
    wanted: tuple[float, ...] = ()

    def chosen(self, usual: Iterable[int]) -> list[int]:
        """The records that a figure shows: those next to the wanted values, else the `usual` ones."""
        if self.wanted:
            usual = (int(np.argmin(np.abs(self.values - value))) for value in self.wanted)
        return sorted({int(k) for k in usual})


def make_schema(
    arrays: dict[str, np.ndarray],
    quantities: dict[str, Quantity],
    coords: dict[str, np.ndarray],
    unit: str,
    axis: Quantity,
    sites: bool = True,
    places: np.ndarray | None = None,
    along: Mapping[str, tuple[str, np.ndarray]] | None = None,
) -> Schema:
    """The schema of records like `arrays`. `sites`: whether their first axis is that of sites, or they are tensors.

    `places` are the positions of the sites (sites, d), in `unit`. `along` are further coordinates by key: a dimension and its
    values; those of a dimension that the records do not have are left out.

    `coords` name the axes of a macro field and give their values, in `unit`; a leading axis over all sites is reshaped
    to them. `quantities` name the keys; a key without one is named after itself.
    Raises `BadInput` where two variables, or a variable and an axis, have the same name.
    """
    grid = {dim: len(values) for dim, values in coords.items()}
    sizes = dict(grid)
    variables = []
    for key, array in arrays.items():
        quantity = quantities.get(key, _named_after(key, quantities))
        cells = tuple(grid.values())
        on_grid = bool(cells) and array.shape[: len(cells)] == cells
        if on_grid or (cells and array.shape[:1] == (np.prod(cells),)):
            rest = array.shape[len(cells) :] if on_grid else array.shape[1:]
            lead = list(grid)
        elif not sites:
            rest, lead = array.shape, []
        else:
            rest = array.shape[1:]
            lead = [_dim(sizes, "point" if key.startswith("macro") else "site", n) for n in array.shape[:1]]
        letters = quantity.indices if len(quantity.indices) == len(rest) else TENSOR_DIMS
        dims = (*lead, *(_dim(sizes, letters[i], n) for i, n in enumerate(rest)))
        shape = tuple(sizes[dim] for dim in dims)
        variables.append(Variable(key, quantity, dims, shape))
    located = []
    if places is not None and sizes.get("site") == len(places):
        for letter, column in zip("xyz", places.T.astype(float), strict=False):
            located.append(Coordinate(Quantity(f"site_{letter}", unit, f"{letter} of the site"), "site", column.tolist()))
    for key, (dim, values) in (along or {}).items():
        if sizes.get(dim) == len(values):
            quantity = quantities.get(key, _named_after(key, quantities))
            located.append(Coordinate(quantity, dim, np.asarray(values, float).tolist()))
    taken = [axis.name, *sizes, *(place.quantity.name for place in located)]
    for variable in variables:
        if variable.quantity.name in taken:
            raise BadInput(f"Two results are called {variable.quantity.name!r}: rename the quantity of {variable.key}.")
        taken.append(variable.quantity.name)
    return Schema(
        tuple(variables),
        {dim: [float(v) for v in values] for dim, values in coords.items()},
        dict.fromkeys(coords, unit),
        axis,
        places=tuple(located),
    )


def _quantity(raw: dict[str, Any]) -> Quantity:
    """As it stands in a file."""
    content: dict[str, Any] = dict(raw)
    content["indices"] = tuple(content.get("indices", ()))
    return Quantity(**content)


def _coordinates(raw: Any, units: dict[str, str]) -> tuple[Coordinate, ...]:
    """As they stand in a file; at first there were positions of the sites alone, by name."""
    if isinstance(raw, dict):
        unit = units.pop("site", "1")
        raw = [
            {"quantity": {"name": name, "unit": unit, "label": f"{name[-1]} of the site"}, "dim": "site", "values": values}
            for name, values in raw.items()
        ]
    return tuple(Coordinate(_quantity(p["quantity"]), p["dim"], [float(value) for value in p["values"]]) for p in raw)


def _named_after(key: str, quantities: dict[str, Quantity]) -> Quantity:
    """A quantity named after its key; a standard error after its response."""
    name = re.sub(r"\W+", "_", key).strip("_")
    root, dot, leaf = key.partition(".")
    if root != "stderr":
        return Quantity(name)
    of = quantities.get(f"response{dot}{leaf}", Quantity(re.sub(r"\W+", "_", f"response{dot}{leaf}").strip("_")))
    return Quantity(f"{of.name}_stderr", of.unit, f"standard error of {of.label or of.name}")


def _dim(sizes: dict[str, int], name: str, size: int) -> str:
    """A dimension called `name`, or `name` with its size where another length has that name already."""
    name = name if sizes.setdefault(name, size) == size else f"{name}{size}"
    sizes[name] = size
    return name


class Assembled(NamedTuple):
    """The results file, None where no record is sound; the numbers of the records in it; and for each of the others why."""

    path: Path | None
    numbers: list[int]
    lost: dict[int, str]


def assemble(folder: Path, attributes: dict[str, str], expected: int = 0) -> Assembled:
    """Write `folder/results.nc` from the sound ones among the records, one at a time.

    `expected` is how many there should be; 0 for as many as the highest number says. The attribute `missing_records` of the
    file lists those that are not in it. Raises `SaveFailed` where it cannot be written, `Unreadable` for a damaged schema.
    """
    present = record_numbers(folder)
    count = max([expected, *(number + 1 for number in present)])
    lost = missing_records(folder, count)
    schema = Schema.load(folder)
    if schema is None:
        return Assembled(None, [], dict.fromkeys(range(count), f"{folder / SCHEMA} is gone."))
    numbers = present
    while numbers:
        try:
            return Assembled(_write_results(folder, schema, attributes, numbers, sorted(lost)), numbers, lost)
        except DamagedRecord as damage:
            lost[damage.index] = str(damage)
            numbers = [number for number in numbers if number != damage.index]
    return Assembled(None, [], lost)


def _write_results(folder: Path, schema: Schema, attributes: dict[str, str], numbers: list[int], lost: list[int]) -> Path:
    import h5py

    path = folder / "results.nc"
    with replacing(path) as partial, h5py.File(partial, "w") as file:
        file.attrs.update(attributes)
        if lost:
            file.attrs["missing_records"] = ", ".join(map(str, lost))
        scales = _write_dimensions(file, schema, len(numbers))
        datasets = {v.key: _create_variable(file, v, schema, len(numbers), scales) for v in schema.variables}
        for row, number in enumerate(numbers):
            scales[schema.axis.name][row], arrays = read_record(folder, number)
            for variable in schema.variables:
                array = arrays.get(variable.key)
                if array is None or array.size != np.prod(variable.shape, dtype=int):
                    raise DamagedRecord(number, f"Record {number} of {folder} is not of this run: {variable.key} differs.")
                datasets[variable.key][row] = array.reshape(variable.shape)
    return path


def unpack(folder: Path) -> None:
    """Write the records of a finished run again, from its `results.nc`. Raises `Unreadable`, `SaveFailed`."""
    import h5py

    path, schema = folder / "results.nc", Schema.load(folder)
    if schema is None or not path.exists():
        return
    with _as_unreadable(path), opened(path) as stream, h5py.File(stream) as file:
        lost = {int(k) for k in str(file.attrs.get("missing_records", "")).split(",") if k}
        values = _values(path, file, schema.axis.name)
        numbers = [k for k in range(len(values) + len(lost)) if k not in lost]
        for row, (number, value) in enumerate(zip(numbers, values, strict=True)):
            write_record(folder, number, value, {v.key: file[v.quantity.name][row] for v in schema.variables})


@contextlib.contextmanager
def _as_unreadable(path: Path) -> Iterator[None]:
    """What h5py raises for damaged files as `Unreadable`."""
    try:
        yield
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, OverflowError) as error:
        if isinstance(error, FiberaxError):
            raise
        raise Unreadable(f"{path} is damaged: {error}.") from error


def read_table(folder: Path) -> Table | None:
    """All of `folder/results.nc` as arrays; None where there is none.

    Raises `Unreadable` naming it where it is damaged, or claims more values than are in it, before memory is taken for them.
    """
    import h5py

    path, schema = folder / "results.nc", Schema.load(folder)
    if schema is None or not path.exists():
        return None
    with _as_unreadable(path), opened(path) as stream, h5py.File(stream) as file:
        arrays = {v.quantity.name: _values(path, file, v.quantity.name) for v in schema.variables}
        return Table(schema, _values(path, file, schema.axis.name), arrays)


def _values(path: Path, file, name: str) -> np.ndarray:
    dataset = file[name]
    stored = dataset.id.get_storage_size()
    if dataset.nbytes > stored:
        raise Unreadable(f"{path} is damaged: {name} claims {dataset.nbytes} bytes, {stored} are there.")
    return dataset[...]


def component_names(variable: Variable, skip: int = 0) -> list[tuple[str, tuple[int, ...]]]:
    """Suffix ("xy", "0") and index of each component of a tensor variable, after its first `skip` axes."""
    shape = variable.shape[skip:]
    letters = "xyz" if all(n <= 3 for n in shape) else "0123456789"
    if any(n > len(letters) for n in shape):
        return [("_".join(map(str, index)), index) for index in np.ndindex(*shape)]
    return [("".join(letters[i] for i in index), index) for index in np.ndindex(*shape)]


def _write_dimensions(file, schema: Schema, count: int) -> dict:
    """Dimension scales as netCDF-4 requires them: with values where there are coordinates, else without."""
    sizes = {schema.axis.name: count}
    for variable in schema.variables:
        sizes |= dict(zip(variable.dims, variable.shape, strict=True))
    scales = {}
    for number, (name, size) in enumerate(sizes.items()):
        if name in schema.coords or name == schema.axis.name:
            scale = file.create_dataset(name, data=np.asarray(schema.coords.get(name, np.zeros(size))))
            scale.make_scale(name)
            unit, label = schema.units.get(name, schema.axis.unit), name
            if name == schema.axis.name:
                unit, label = schema.axis.unit, schema.axis.label or name
            scale.attrs.update({"units": unit, "long_name": label})
        else:
            scale = file.create_dataset(name, shape=(size,), dtype=">f4")
            scale.make_scale(f"This is a netCDF dimension but not a netCDF variable. {size:10d}")
        scale.attrs["_Netcdf4Dimid"] = np.int32(number)
        scales[name] = scale
    for place in schema.places:
        dataset = file.create_dataset(place.quantity.name, data=np.asarray(place.values))
        dataset.dims[0].attach_scale(scales[place.dim])
        dataset.attrs.update(place.attributes())
    return scales


def _create_variable(file, variable: Variable, schema: Schema, count: int, scales: dict):
    shape = (count, *variable.shape)
    dataset = file.create_dataset(variable.quantity.name, shape=shape, dtype=stored(variable, np.zeros(0)).dtype)
    for axis, dim in enumerate((schema.axis.name, *variable.dims)):
        dataset.dims[axis].attach_scale(scales[dim])
    dataset.attrs.update(attributes_of(variable))
    located = [place.quantity.name for place in schema.places if place.dim in variable.dims]
    if located:
        dataset.attrs["coordinates"] = " ".join(located)
    return dataset


def stored(variable: Variable, values: np.ndarray) -> np.ndarray:
    """Values in the type that results have."""
    return np.asarray(values, np.int32 if variable.key == "result" else np.float64)


def attributes_of(variable: Variable) -> dict[str, Any]:
    """Unit and text of a variable, and the meaning of result codes."""
    from fiberax.numerics.result import Result

    found: dict[str, Any] = {"units": variable.quantity.unit, "long_name": variable.quantity.label or variable.key}
    if variable.key == "result":
        found["flag_values"] = np.array([int(r) for r in Result], np.int32)
        found["flag_meanings"] = " ".join(r.name.lower() for r in Result)
    return found

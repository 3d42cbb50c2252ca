"""The files are read back by a reader written from the VTK XML format description, not by our own code."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest

from fiberax.core.errors import BadInput
from fiberax.io.results import Quantity, Table, make_schema
from fiberax.io.vtk import write_series

TYPES = {"Float64": "<f8", "Int32": "<i4"}


def read_vti(path):
    content = path.read_bytes()
    start = content.index(b"_", content.index(b"<AppendedData")) + 1
    end = content.rindex(b"\n  </AppendedData>")
    root = ET.fromstring(content[: start - 1] + content[end:])
    assert root.attrib["header_type"] == "UInt64" and root.attrib["byte_order"] == "LittleEndian"
    image = root.find("ImageData")
    extent = [int(v) for v in image.attrib["WholeExtent"].split()]
    shape = [extent[2 * i + 1] - extent[2 * i] for i in range(3)]
    fields = {}
    for array in image.iter("DataArray"):
        offset = start + int(array.attrib["offset"])
        length = int(np.frombuffer(content, "<u8", 1, offset)[0])
        flat = np.frombuffer(content[offset + 8 : offset + 8 + length], TYPES[array.attrib["type"]])
        fields[array.attrib["Name"]] = flat.reshape(*shape[::-1], int(array.attrib["NumberOfComponents"]))
    geometry = {k: [float(v) for v in image.attrib[k].split()] for k in ("Origin", "Spacing")}
    return shape, geometry, fields


def table(dim):
    coords = {name: 0.5 + np.arange(2.0 + i) for i, name in enumerate("xyz"[:dim])}
    cells = tuple(len(values) for values in coords.values())
    sites = int(np.prod(cells))
    generator = np.random.default_rng(dim)
    records = {
        "macro": generator.normal(size=(2, *cells)),
        "response": generator.normal(size=(2, sites, dim, dim)),
        "result": generator.integers(0, 4, size=(2, sites)).astype(np.int32),
    }
    quantities = {"macro": Quantity("U"), "response": Quantity("A"), "result": Quantity("result")}
    schema = make_schema({k: v[0] for k, v in records.items()}, quantities, coords, "m", Quantity("time"))
    arrays = {v.quantity.name: records[v.key].reshape(2, *v.shape) for v in schema.variables}
    return Table(schema, np.array([0.0, 0.25]), arrays)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_every_cell_and_component_is_where_paraview_looks_for_it(tmp_path, dim):
    data = table(dim)
    collection = ET.parse(write_series(tmp_path, data)).getroot()
    entries = [entry.attrib for entry in collection.iter("DataSet")]
    assert [float(entry["timestep"]) for entry in entries] == [0.0, 0.25]
    shape, geometry, fields = read_vti(tmp_path / "paraview" / entries[1]["file"])
    cells = data.arrays["U"].shape[1:]
    assert shape == list(cells) + [1] * (3 - dim)
    assert geometry["Origin"][:dim] == [0.0] * dim and geometry["Spacing"] == [1.0] * 3
    for cell in np.ndindex(*cells):
        x, y, z = (*cell, 0, 0)[:3]
        assert fields["U"][z, y, x, 0] == data.arrays["U"][(1, *cell)]
        assert fields["result"][z, y, x, 0] == data.arrays["result"][(1, *cell)]
        tensor = fields["A"][z, y, x].reshape(3, 3)
        np.testing.assert_array_equal(tensor[:dim, :dim], data.arrays["A"][(1, *cell)])
        assert np.count_nonzero(tensor) == dim * dim


def test_an_uneven_coordinate_is_refused(tmp_path):
    data = table(1)
    data.schema.coords["x"] = [0.0, 1.0, 3.0]
    with pytest.raises(BadInput, match="x is not uniform"):
        write_series(tmp_path, data)

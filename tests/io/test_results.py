import io
import json
import os
import zipfile

import h5py
import numpy as np
import pytest

from fiberax.core.errors import BadInput
from fiberax.io import digests, reading, records, results
from fiberax.io.results import Quantity

COORDS = {"x": np.array([0.25, 0.75]), "y": np.array([0.1, 0.3, 0.5])}
QUANTITIES = {
    "macro": Quantity("U", "K", "temperature"),
    "response": Quantity("A", "mm^2/s", "conductivity"),
    "result": Quantity("result"),
}
TIME = Quantity("time", "s", "time")


def arrays(index):
    generator = np.random.default_rng(index)
    return {
        "macro": generator.normal(size=(2, 3)),
        "response": generator.normal(size=(6, 2, 2)),
        "result": np.full(6, index, np.int32),
    }


def write(folder, count):
    (folder / "records").mkdir()
    results.make_schema(arrays(0), QUANTITIES, COORDS, "mm", TIME).save(folder)
    for index in range(count):
        records.write_record(folder, index, 0.5 * index, arrays(index))


def test_xarray_opens_what_was_recorded(tmp_path):
    xarray = pytest.importorskip("xarray")
    write(tmp_path, 3)
    path = results.assemble(tmp_path, {"parameters": "{}"}).path
    with xarray.open_dataset(path, engine="h5netcdf", decode_times=False) as found:
        assert found.U.dims == ("time", "x", "y")
        assert found.A.dims == ("time", "x", "y", "i", "j")
        assert (found.U.units, found.U.long_name, found.x.units) == ("K", "temperature", "mm")
        assert found.attrs["parameters"] == "{}"
        np.testing.assert_array_equal(found.time, [0.0, 0.5, 1.0])
        np.testing.assert_array_equal(found.y, COORDS["y"])
        for index in range(3):
            np.testing.assert_array_equal(found.U[index], arrays(index)["macro"])
            np.testing.assert_array_equal(found.A[index], arrays(index)["response"].reshape(2, 3, 2, 2))
            np.testing.assert_array_equal(found.result[index], index)
        assert found.result.attrs["flag_meanings"].startswith("success ")


def test_reading_back_gives_the_same_arrays(tmp_path):
    write(tmp_path, 2)
    results.assemble(tmp_path, {})
    table = results.read_table(tmp_path)
    np.testing.assert_array_equal(table.arrays["U"][1], arrays(1)["macro"])
    np.testing.assert_array_equal(table.values, [0.0, 0.5])


def test_records_after_a_gap_are_in_the_results_and_the_gap_is_marked(tmp_path):
    write(tmp_path, 5)
    (tmp_path / "records" / "000003.npz").unlink()
    made = results.assemble(tmp_path, {}, 6)
    assert made.numbers == [0, 1, 2, 4] and list(made.lost) == [3, 5] and "000003.npz is gone" in made.lost[3]
    np.testing.assert_array_equal(results.read_table(tmp_path).values, [0.0, 0.5, 1.0, 2.0])
    with h5py.File(made.path) as file:
        assert file.attrs["missing_records"] == "3, 5"
    records.drop_records(tmp_path, 2)
    assert sorted(p.name for p in (tmp_path / "records").iterdir()) == ["000000.npz", "000001.npz"]


def _flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _other_number(path):
    path.write_bytes(path.with_name("000000.npz").read_bytes())


def _other_values(path):
    """A sound archive with one number changed: only the digest of the record knows."""
    with np.load(path) as archive:
        found = dict(archive)
    found["macro"][0, 0] += 1e-9
    np.savez(path, **found)


def _pipe(path):
    path.unlink()
    os.mkfifo(path)


def _of_another_run(path):
    records.write_record(path.parents[1], 1, 0.5, {"macro": np.zeros(3)})


@pytest.mark.timeout(60)  # a pipe without a writer would hang
@pytest.mark.parametrize(
    "damage", [lambda path: path.write_bytes(b"PK"), _flip, _other_number, _other_values, _pipe, _of_another_run]
)
def test_a_damaged_record_is_named_and_loses_no_other(tmp_path, damage):
    write(tmp_path, 3)
    damage(tmp_path / "records" / "000001.npz")
    made = results.assemble(tmp_path, {})
    assert made.numbers == [0, 2] and list(made.lost) == [1]
    assert "000001.npz" in made.lost[1] or "Record 1" in made.lost[1]
    np.testing.assert_array_equal(results.read_table(tmp_path).arrays["U"][1], arrays(2)["macro"])


def test_a_record_that_claims_more_than_its_file_holds_takes_no_memory(tmp_path):
    """A header of 320 GB before 8 bytes: refused, and not read."""
    write(tmp_path, 2)
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f8", "fortran_order": False, "shape": (40_000_000_000,)})
    with zipfile.ZipFile(tmp_path / "records" / "000001.npz", "w") as archive:
        archive.writestr("axis.npy", stream.getvalue() + bytes(8))
    with pytest.raises(records.DamagedRecord, match="claims 320000000000 bytes"):
        records.read_record(tmp_path, 1)


def test_results_that_claim_more_than_their_file_holds_take_no_memory(tmp_path):
    write(tmp_path, 2)
    path = results.assemble(tmp_path, {}).path
    with h5py.File(path, "a") as file:
        del file["A"]
        file.create_dataset("A", (2, 20_000_000_000), "f8")
    with pytest.raises(reading.Unreadable, match=r"results\.nc is damaged: A claims 320000000000 bytes, 0 are there"):
        results.read_table(tmp_path)


@pytest.mark.parametrize("content", [b"", b"no HDF5", None])
def test_damaged_results_are_named(tmp_path, content):
    write(tmp_path, 2)
    path = results.assemble(tmp_path, {}).path
    path.write_bytes(path.read_bytes()[:3000] if content is None else content)
    with pytest.raises(reading.Unreadable, match=r"results\.nc is damaged"):
        results.read_table(tmp_path)


def test_results_that_are_not_what_was_written_are_named(tmp_path):
    write(tmp_path, 2)
    path = results.assemble(tmp_path, {}).path
    assert digests.altered(tmp_path) == []  # nothing was sealed
    digests.seal(tmp_path)
    assert digests.altered(tmp_path) == []
    _flip(path)
    (line,) = digests.altered(tmp_path)
    assert f"{path} is not what was written" in line
    os.truncate(path, 2**40)  # a file of holes, which would take minutes to read
    (line,) = digests.altered(tmp_path)
    assert f"it has {2**40} bytes, not " in line
    path.unlink()
    assert digests.altered(tmp_path) == [f"{path} is gone."]
    (tmp_path / "digests.json").write_text("{")
    assert "digests.json is damaged" in digests.altered(tmp_path)[0]


@pytest.mark.parametrize(
    "change", [{"variables": 3}, {"variables": [{"key": "macro"}]}, {"coords": {"x": 5}}, {"axis": {}}, None]
)
def test_a_damaged_schema_is_named(tmp_path, change):
    write(tmp_path, 1)
    path = tmp_path / "schema.json"
    path.write_text("[1, 2]" if change is None else json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(reading.Unreadable, match=r"schema\.json is damaged"):
        results.Schema.load(tmp_path)


def test_dimension_names_keep_apart_what_has_another_length():
    schema = results.make_schema(
        {"macro.a": np.zeros((4, 3)), "macro.b": np.zeros((4, 2)), "response": np.zeros((9, 2))},
        {}, {}, "1", TIME,
    )  # fmt: skip
    shapes = {}
    for variable in schema.variables:
        for dim, size in zip(variable.dims, variable.shape, strict=True):
            assert shapes.setdefault(dim, size) == size, dim
    assert schema.variables[0].quantity.name == "macro_a"


def test_tensors_of_a_table_have_no_sites():
    rows = {"response": np.zeros((3, 3)), "tangent": np.zeros((3, 3, 3, 3)), "result": np.zeros(()), "own": np.zeros(5)}
    named = {"response": Quantity("P", "GPa", "stress", ("i", "J"))}
    schema = results.make_schema(rows, named, {}, "1", Quantity("strain"), sites=False)
    dims = {variable.key: variable.dims for variable in schema.variables}
    assert dims == {"response": ("i", "J"), "tangent": ("i", "j", "k", "l"), "result": (), "own": ("i5",)}


def test_coordinates_along_a_dimension_are_kept_and_those_of_another_length_left_out(tmp_path):
    along = {"rate": ("site", np.array([0.5, 2.0])), "nodes": ("point", np.arange(3.0)), "wrong": ("site", np.arange(9.0))}
    named = {"rate": Quantity("rate", "1/time", "shear rate")}
    columns = {"macro": np.zeros(3), "response": np.zeros((2, 3))}
    schema = results.make_schema(columns, named, {}, "mm", TIME, places=np.array([[1.0], [4.0]]), along=along)
    schema.save(tmp_path)
    again = results.Schema.load(tmp_path)
    assert [(p.quantity.name, p.quantity.unit, p.dim, p.values) for p in again.places] == [
        ("site_x", "mm", "site", [1.0, 4.0]), ("rate", "1/time", "site", [0.5, 2.0]), ("nodes", "1", "point", [0.0, 1.0, 2.0])
    ]  # fmt: skip
    path = tmp_path / "schema.json"
    earlier = {"places": {"site_x": [1.0, 4.0]}, "units": {"site": "mm"}}
    path.write_text(json.dumps(json.loads(path.read_text()) | earlier))
    (place,) = results.Schema.load(tmp_path).places
    assert (place.quantity, place.values) == (Quantity("site_x", "mm", "x of the site"), [1.0, 4.0])


@pytest.mark.parametrize("name", ["x", "time"])
def test_a_variable_cannot_take_the_name_of_an_axis(name):
    with pytest.raises(BadInput, match=name):
        results.make_schema(arrays(0), {"macro": Quantity(name)}, COORDS, "mm", TIME)

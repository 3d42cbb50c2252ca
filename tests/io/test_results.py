import numpy as np
import pytest

from fiberax.core.errors import BadInput
from fiberax.io import results
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
        results.write_record(folder, index, 0.5 * index, arrays(index))


def test_xarray_opens_what_was_recorded(tmp_path):
    xarray = pytest.importorskip("xarray")
    write(tmp_path, 3)
    path = results.assemble(tmp_path, {"parameters": "{}"})
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


def test_records_after_a_gap_do_not_count(tmp_path):
    write(tmp_path, 5)
    (tmp_path / "records" / "000003.npz").unlink()
    assert results.count_records(tmp_path) == 3
    results.drop_records(tmp_path, 2)
    assert sorted(p.name for p in (tmp_path / "records").iterdir()) == ["000000.npz", "000001.npz"]


def test_a_damaged_record_is_named(tmp_path):
    write(tmp_path, 2)
    (tmp_path / "records" / "000001.npz").write_bytes(b"PK")
    with pytest.raises(BadInput, match=r"000001\.npz"):
        results.assemble(tmp_path, {})
    assert not (tmp_path / "results.nc").exists()


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


@pytest.mark.parametrize("name", ["x", "time"])
def test_a_variable_cannot_take_the_name_of_an_axis(name):
    with pytest.raises(BadInput, match=name):
        results.make_schema(arrays(0), {"macro": Quantity(name)}, COORDS, "mm", TIME)

"""Archives of arrays: what is written is read, and what claims more than a file holds is refused before memory is taken."""

import zipfile

import numpy as np
import pytest

from fiberax.io.reading import Unreadable, read_array, read_arrays


def test_arrays_of_all_shapes_come_back(tmp_path):
    arrays = {"one": np.array(2.5), "none": np.zeros((0, 3)), "many": np.arange(6).reshape(2, 3), "": np.array([True])}
    np.savez(tmp_path / "a.npz", **arrays)
    found = read_arrays(tmp_path / "a.npz")
    assert found.keys() == arrays.keys()
    for name, value in arrays.items():
        assert found[name].dtype == value.dtype and found[name].shape == value.shape
        np.testing.assert_array_equal(read_array(tmp_path / "a.npz", name), value)


@pytest.mark.parametrize("shape", ["(4000000000, 10)", "(-1, 3)", "(4294967296, 4294967296)"])
def test_claims_are_checked_first(tmp_path, shape):
    head = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head.encode() + bytes(48))
    with pytest.raises(Unreadable, match=r"a\.npz is damaged: x\.npy claims"):
        read_arrays(tmp_path / "a.npz")


def test_compressed_members_are_refused(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros(1000))
    with pytest.raises(Unreadable, match="claims 8128 bytes"):
        read_arrays(tmp_path / "a.npz")

import errno
import os

import numpy as np
import pytest

from fiberax.core.recorder import Snapshot
from fiberax.io import checkpoint
from fiberax.io.atomic import SaveFailed


def snapshot(step):
    leaves = {
        "macro": np.linspace(0, 1, 7) + step,
        "section.u": np.arange(12.0).reshape(3, 4),
        "key": np.array([1, 2], np.uint32),
        "empty": np.zeros((0, 3)),
    }
    return Snapshot(step=step, t=0.1 * step, saved=step // 2, leaves=leaves)


def test_what_is_written_is_read_back_bit_for_bit(tmp_path):
    written = snapshot(4)
    read = checkpoint.read_checkpoint(checkpoint.write_checkpoint(tmp_path, written))
    assert (read.step, read.t, read.saved) == (written.step, written.t, written.saved)
    assert list(read.leaves) == list(written.leaves)
    for name, leaf in written.leaves.items():
        assert read.leaves[name].dtype == leaf.dtype
        np.testing.assert_array_equal(read.leaves[name], leaf)


def test_the_last_two_are_kept_and_numpy_alone_opens_them(tmp_path):
    for step in (1, 2, 10, 11):
        checkpoint.write_checkpoint(tmp_path, snapshot(step))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["step-0000000010.npz", "step-0000000011.npz"]
    assert "manifest" in np.load(tmp_path / names[0]).files
    assert checkpoint.last_checkpoint(tmp_path)[0] == 11


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "other"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(tmp_path, damage):
    checkpoint.write_checkpoint(tmp_path, snapshot(1))
    newest = checkpoint.write_checkpoint(tmp_path, snapshot(2))
    content = bytearray(newest.read_bytes())
    place = content.find(np.float64(3.0).tobytes())  # inside the leaf "macro", whose last entry is 3
    content[place + 6] ^= 1
    newest.write_bytes({"flip": content, "cut": content[:-200], "empty": b"", "other": b"no zip at all" * 30}[damage])
    found, complaints = checkpoint.newest_checkpoint(tmp_path)
    assert found.step == 1
    assert len(complaints) == 1 and str(newest) in complaints[0]


def test_a_changed_manifest_is_found(tmp_path):
    path = checkpoint.write_checkpoint(tmp_path, snapshot(2))
    with np.load(path) as archive:
        arrays = dict(archive)
    arrays["manifest"] = np.frombuffer(bytes(arrays["manifest"]).replace(b'"step": 2', b'"step": 3'), np.uint8)
    np.savez(path, **arrays)
    with pytest.raises(checkpoint.DamagedCheckpoint, match="manifest"):
        checkpoint.read_checkpoint(path)


def test_a_later_format_is_refused_in_words(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "VERSION", 99)
    path = checkpoint.write_checkpoint(tmp_path, snapshot(2))
    monkeypatch.undo()
    with pytest.raises(checkpoint.DamagedCheckpoint, match="update fiberax"):
        checkpoint.read_checkpoint(path)


def test_a_full_disk_leaves_the_checkpoint_before_untouched(tmp_path, monkeypatch):
    checkpoint.write_checkpoint(tmp_path, snapshot(1))

    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SaveFailed, match=r"No space left on device.*Free some space"):
        checkpoint.write_checkpoint(tmp_path, snapshot(2))
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["step-0000000001.npz"]
    assert checkpoint.newest_checkpoint(tmp_path)[0].step == 1

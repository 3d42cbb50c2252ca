"""Runs with files that are missing, damaged or changed: what is sound is kept, what is not is said."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from fiberax import cli
from fiberax.io import log, recorder, runfolder
from fiberax.io.results import read_table

RING = str(Path(__file__).with_name("ring_case.py"))
TINY = [RING, "--cells", "3", "--steps", "12", "--records", "3", "--plain", "--no-figures"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of one small run without figures."""
    folder = tmp_path_factory.mktemp("runs") / "ring"
    assert cli.main(["run", *TINY, "--out", str(folder)]) == 0
    return folder


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of it to damage."""
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def said(capsys, code, *arguments):
    """What a command that must end with this code says."""
    capsys.readouterr()
    assert cli.main([str(a) for a in arguments]) == code
    found = capsys.readouterr()
    assert "Traceback" not in found.err
    return found.out + found.err


@pytest.mark.parametrize("damage", ["gone", "cut"])
def test_a_lost_record_loses_no_other(finished, tmp_path, monkeypatch, capsys, damage):
    folder, write = tmp_path / "run", recorder.write_record

    def lossy(where, index, value, arrays):
        write(where, index, value, arrays)
        path = where / "records" / "000001.npz"
        if index == 2 and damage == "gone":
            path.unlink()
        elif index == 2:
            path.write_bytes(path.read_bytes()[:-50])

    monkeypatch.setattr(recorder, "write_record", lossy)
    words = said(capsys, 3, "run", *TINY, "--out", folder)
    assert "1 of 4 records are not in the results: " in words and "000001.npz" in words
    table, whole = read_table(folder), read_table(finished)
    assert log.read_state(folder)["phase"] == "finished"
    np.testing.assert_array_equal(table.values, whole.values[[0, 2, 3]])
    np.testing.assert_array_equal(table.arrays["U"], whole.arrays["U"][[0, 2, 3]])
    left = [path.name for path in (folder / "records").iterdir()]
    assert left == ([] if damage == "gone" else ["000001.npz"])


@pytest.fixture(scope="module")
def broken_off(tmp_path_factory):
    """The folder of that run, which ended before its last record and has checkpoints."""
    folder, write = tmp_path_factory.mktemp("broken") / "run", recorder.write_record

    def fail(where, index, value, arrays):
        if index == 3:
            raise RuntimeError("the power is gone")
        write(where, index, value, arrays)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recorder, "write_record", fail)
        assert cli.main(["run", *TINY, "--checkpoint-every", "0", "--out", str(folder)]) == 1
    return folder


@pytest.fixture
def stopped(broken_off, tmp_path):
    """A copy of it to change."""
    shutil.copytree(broken_off, tmp_path / "run")
    return tmp_path / "run"


RESUME = ["--plain", "--no-figures"]


def test_a_record_that_is_missing_before_a_checkpoint_is_said_and_the_run_goes_on(finished, stopped, capsys):
    (stopped / "records" / "000000.npz").unlink()
    words = said(capsys, 3, "plot", stopped)
    assert "1 of 3 records are not in the results" in words and (stopped / "results.nc").exists()
    assert "1 of 4 records are not in the results" in said(capsys, 3, "resume", stopped, *RESUME)
    np.testing.assert_array_equal(read_table(stopped).arrays["U"], read_table(finished).arrays["U"][1:])


def _option(folder, monkeypatch):
    path = folder / "parameters.json"
    path.write_text(path.read_text().replace('"pole": 1.0', '"pole": 1.5'))
    return "--pole was 1.0, is 1.5"


def _file(folder, monkeypatch):
    path = folder / "inputs" / "ring_case.py"
    path.write_text(path.read_text().replace("0.1 * U**2", "0.2 * U**2"))
    return "inputs/ring_case.py is not the same file"


def _version(folder, monkeypatch):
    before = runfolder.versions()
    monkeypatch.setattr("fiberax.io.origin.versions", lambda: before | {"jax": "0.0.1"})
    return f"jax was {before['jax']}, is 0.0.1"


@pytest.mark.parametrize("change", [_option, _file, _version])
@pytest.mark.parametrize("checkpoints", [True, False])
def test_a_run_that_would_go_on_otherwise_is_refused(stopped, monkeypatch, capsys, change, checkpoints):
    words = change(stopped, monkeypatch)
    if not checkpoints:  # the records say it as well
        shutil.rmtree(stopped / "checkpoints")
    message = said(capsys, 2, "resume", stopped, *RESUME)
    assert words in message and "--allow-changes" in message
    assert log.read_state(stopped)["phase"] == "failed" and not (stopped / "owner.json").exists()


def test_a_run_goes_on_otherwise_where_that_is_asked_for(stopped, monkeypatch, capsys):
    _option(stopped, monkeypatch)
    said(capsys, 0, "resume", stopped, "--allow-changes", *RESUME)
    (event,) = (event for event in log.read_events(stopped) if event["event"] == "resume")
    assert event["changes"] == ["--pole was 1.0, is 1.5"]


def test_files_that_are_not_what_was_written_are_said(copied, capsys):
    assert set(json.loads((copied / "digests.json").read_text())) == {"results.nc", "microstates.npz", "schema.json"}
    assert "changed" not in said(capsys, 0, "status", copied)
    content = bytearray((copied / "results.nc").read_bytes())
    at = content.find(read_table(copied).arrays["U"][1].tobytes())
    content[at + 6] ^= 1
    (copied / "results.nc").write_bytes(content)
    assert "results.nc is not what was written" in said(capsys, 0, "status", copied)
    words = said(capsys, 2, "plot", copied)
    assert "results.nc is not what was written" in words and (copied / "figures" / "U.png").exists()
    (copied / "results.nc").write_bytes(b"")
    (copied / "microstates.npz").write_bytes(b"PK")
    words = said(capsys, 2, "plot", copied)
    assert "results.nc is damaged" in words and "microstates.npz is damaged" in words

"""Real processes: killed, interrupted, resumed; the results must be the same to the last bit."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from fiberax import cli
from fiberax.io import log, owner
from fiberax.io.checkpoint import newest_checkpoint
from fiberax.io.results import read_table

RING = str(Path(__file__).with_name("ring_case.py"))
STEPS, RECORDS = 100_000, 16
CASE = [RING, "--cells", "16", "--steps", str(STEPS), "--records", str(RECORDS), "--no-figures", "--plain"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The results of a run that nobody disturbs."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert cli.main(["run", *CASE, "--out", str(folder)]) == 0
    return read_table(folder)


def begin(folder, *arguments):
    """A run in its own process, returned when it has written a checkpoint and is still at work."""
    command = [sys.executable, "-m", "fiberax", "run", *CASE, "--out", str(folder), "--checkpoint-every", "0", *arguments]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while len(list((folder / "checkpoints").glob("*.npz"))) < 2:
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[1]
        time.sleep(0.02)
    return process


def assert_same(folder, whole):
    table = read_table(folder)
    assert table.values.tobytes() == whole.values.tobytes()
    for name, array in whole.arrays.items():
        assert table.arrays[name].tobytes() == array.tobytes(), name


def test_kill_at_any_moment_and_a_damaged_checkpoint_lose_no_digit(tmp_path, whole, capsys):
    folder = tmp_path / "run"
    process = begin(folder)
    assert cli.main(["resume", str(folder)]) == 2
    assert f"process {process.pid}" in capsys.readouterr().err
    process.kill()
    process.communicate()
    assert not (folder / "results.nc").exists() and owner.read_owner(folder).pid == process.pid
    assert cli.main(["status", str(folder)]) == 0
    said = capsys.readouterr().out
    assert "dead" in said and "resume" in said and "last checkpoint" in said
    assert cli.main(["plot", str(folder), "--debug"]) == 0  # what was saved so far can be looked at
    assert 1 <= len(read_table(folder).values) <= RECORDS
    newest = sorted((folder / "checkpoints").iterdir())[-1]
    newest.write_bytes(newest.read_bytes()[:-100])
    before = newest_checkpoint(folder / "checkpoints")[0].step
    assert cli.main(["resume", str(folder), "--plain"]) == 0
    said = capsys.readouterr().err
    assert str(newest) in said and "the one before it is used" in said
    resumed = [event for event in log.read_events(folder) if event["event"] == "progress"]
    assert any(event["step"] > before for event in resumed)
    assert_same(folder, whole)


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_signal_ends_the_run_after_a_checkpoint(tmp_path, whole, capsys, number):
    folder = tmp_path / "run"
    process = begin(folder)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"`fiberax resume {folder}`" in said and "Traceback" not in said
    assert owner.read_owner(folder) is None
    assert cli.main(["status", str(folder)]) == 0
    assert "interrupted" in capsys.readouterr().out
    assert json.loads((folder / "state.json").read_text())["step"] == newest_checkpoint(folder / "checkpoints")[0].step
    assert cli.main(["resume", str(folder)]) == 0
    assert_same(folder, whole)


def test_a_run_without_a_checkpoint_begins_anew(tmp_path, whole):
    folder = tmp_path / "run"
    process = begin(folder)
    process.kill()
    process.communicate()
    for path in (folder / "checkpoints").iterdir():
        path.unlink()
    assert cli.main(["resume", str(folder)]) == 0
    assert_same(folder, whole)


@pytest.mark.slow
def test_another_number_of_devices_changes_the_twelfth_digit_at_most(tmp_path, whole):
    folder = tmp_path / "run"
    process = begin(folder, "--devices", "2")
    process.kill()
    process.communicate()
    done = subprocess.run(
        [sys.executable, "-m", "fiberax", "resume", str(folder), "--devices", "1"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    table = read_table(folder)
    np.testing.assert_allclose(table.arrays["U"], whole.arrays["U"], rtol=0, atol=1e-12)

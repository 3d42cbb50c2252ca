"""`fiberax extend`: a run made longer is one long run, to the last bit."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from small_runs import LONG, SMALL

from fiberax import cli
from fiberax.cases.times import even_times
from fiberax.io import log
from fiberax.io.checkpoint import newest_checkpoint
from fiberax.io.records import record_numbers
from fiberax.io.results import read_table

RING = str(Path(__file__).with_name("ring_case.py"))


def run(folder, case, *arguments, code=0):
    assert cli.main(["run", case, *arguments, "--plain", "--out", str(folder)]) == code
    return folder


def extend(folder, t1, *arguments, code=0):
    assert cli.main(["extend", str(folder), "--t1", repr(t1), "--plain", *arguments]) == code


def refused(capsys, *arguments):
    capsys.readouterr()
    assert cli.main([str(a) for a in arguments]) == 2
    return " ".join(capsys.readouterr().err.split())


def assert_one_run(folder, whole):
    """Results, microstates and figures of two folders are the same bytes; attributes of the file name folder and options."""
    with h5py.File(folder / "results.nc") as one, h5py.File(whole / "results.nc") as other:
        assert set(one) == set(other)
        for name in other:
            assert one[name][...].tobytes() == other[name][...].tobytes(), name
            assert one[name].attrs.get("units") == other[name].attrs.get("units")
    with np.load(folder / "microstates.npz") as one, np.load(whole / "microstates.npz") as other:
        for name in other.files:
            assert one[name].tobytes() == other[name].tobytes(), name
    drawn = sorted(path.name for path in (whole / "figures").iterdir())
    assert drawn and sorted(path.name for path in (folder / "figures").iterdir()) == drawn
    for name in drawn:
        assert (folder / "figures" / name).read_bytes() == (whole / "figures" / name).read_bytes(), name


@pytest.mark.slow
@pytest.mark.parametrize("case", LONG)
def test_a_finished_run_made_longer_is_one_long_run(tmp_path, case):
    whole = run(tmp_path / "whole", case, *SMALL[case], *LONG[case])
    folder = run(tmp_path / "run", case, *SMALL[case])
    before = read_table(folder)
    extend(folder, float(LONG[case][1]))
    assert_one_run(folder, whole)
    assert len(read_table(folder).values) > len(before.values) and not record_numbers(folder)


def test_a_run_made_longer_twice_to_odd_ends_goes_on_where_it_was(tmp_path, capsys):
    """The ring saves each 0.04; the ends are saved as well, and the interval goes on through them."""
    folder = run(tmp_path / "run", RING, "--cells", "10", "--steps", "120", "--records", "3", "--no-figures")
    before = read_table(folder)
    checkpoint = newest_checkpoint(folder / "checkpoints")[0].step
    assert checkpoint == 120
    extend(folder, 0.17)
    extend(folder, 0.25)
    table = read_table(folder)
    np.testing.assert_allclose(table.values, [0.0, 0.04, 0.08, 0.12, 0.16, 0.17, 0.2, 0.24, 0.25], rtol=0, atol=1e-15)
    assert table.arrays["U"][:4].tobytes() == before.arrays["U"].tobytes()
    begun = [event for event in log.read_events(folder) if event["event"] == "resume"]
    assert len(begun) == 2 and not list((folder / "figures").iterdir())  # --no-figures is kept


def test_a_stopped_run_is_made_longer(tmp_path):
    """A process that dies between the steps of an extension leaves a run that can be resumed, or extended again."""
    whole = run(tmp_path / "whole", RING, "--cells", "10", "--steps", "24", "--records", "6")
    folder = run(tmp_path / "run", RING, "--cells", "10", "--steps", "12", "--records", "3")
    end = float(read_table(whole).values[-1])
    from fiberax.cli import extend as module

    module.reopen(folder, end)  # and dies
    assert cli.main(["status", str(folder)]) == 0
    assert json.loads((folder / "parameters.json").read_text())["ends"] == [end]
    assert cli.main(["resume", str(folder), "--plain"]) == 0
    assert_one_run(folder, whole)


def test_what_cannot_be_made_longer_is_refused_and_not_touched(tmp_path, capsys):
    table = run(tmp_path / "table", "chain", *SMALL["chain"], "--no-figures")
    kept = {p.name: p.read_bytes() for p in table.iterdir() if p.is_file() and p.name != "log.jsonl"}
    assert "is a table and has no end time" in refused(capsys, "extend", table, "--t1", "2")
    assert {p.name: p.read_bytes() for p in table.iterdir() if p.is_file() and p.name != "log.jsonl"} == kept
    folder = run(tmp_path / "run", RING, "--steps", "12", "--records", "3", "--no-figures")
    assert "needs --t1" in refused(capsys, "extend", folder)
    assert "Give a later time" in refused(capsys, "extend", folder, "--t1", "0")
    assert "give a finite number" in refused(capsys, "extend", folder, "--t1", "nan")
    assert "most that are counted" in refused(capsys, "extend", folder, "--t1", "1e300")
    content = bytearray((folder / "results.nc").read_bytes())
    content[-9] ^= 1
    (folder / "results.nc").write_bytes(content)
    assert "is not what was written" in refused(capsys, "extend", folder, "--t1", "1")
    assert log.read_state(folder)["phase"] == "finished"


def test_save_times_of_decimal_numbers_do_not_depend_on_the_end():
    long = even_times(0.9, 18)
    assert even_times(0.6, 12) == long[:13] and long[-1] == 0.9 and long[12] == 0.6
    assert even_times(1.0, 3) == even_times(3.0, 9)[:4]

"""What would never end or take all memory is counted, and refused, before anything starts."""

from pathlib import Path

import numpy as np
import pytest

from fiberax import cli
from fiberax.cli import memory
from fiberax.core.errors import BadInput
from fiberax.core.schedule import MOST_STEPS, schedule

RING = str(Path(__file__).with_name("ring_case.py"))


def refused(capsys, *arguments):
    capsys.readouterr()
    assert cli.main([str(a) for a in arguments]) == 2
    return " ".join(capsys.readouterr().err.replace("│", " ").split())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["diffusion", "--dt", "1e-300"], "with dt = 1e-300 the run from t0 = 0 to t1 = "),
        (["diffusion", "--t1", "1e300"], "takes more than 4294967295 steps"),
        (["spins", "--mode", "diffusion", "--records", "1000000000"], "--records = 1000000000: give at most 1e+06"),
        (["spins", "--mode", "diffusion", "--cells", "100000000"], "--cells = 100000000: give at most 1e+07"),
        (["spins", "--rows", "1000000000"], "--rows = 1000000000: give at most 1e+06"),
        (["diffusion", "--cells", "100000000"], "--cells = 100000000: give at most 10000"),
        (["chain", "--bond", "2"], "--bond = 2: two bonds make a cell of the length 1"),
        (["wave", "--bond", "1"], "--bond = 1: two bonds make a cell of the length 1"),
    ],
)
def test_what_cannot_end_is_refused_before_it_begins(capsys, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    assert words in refused(capsys, "run", *arguments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dt", [5e-324, 1e-300, 1.0 / MOST_STEPS * 0.99])
def test_steps_are_counted_in_32_bits(dt):
    with pytest.raises(BadInput, match="more than 4294967295 steps"):
        schedule(0.0, 1.0, dt, None)
    assert schedule(0.0, 1.0, 1.01 / MOST_STEPS, None).steps <= MOST_STEPS


def test_states_and_records_are_compared_with_what_is_there(capsys, tmp_path, monkeypatch):
    run = ["run", RING, "--cells", "30", "--steps", "1", "--records", "1", "--out", tmp_path / "run"]
    monkeypatch.setattr(memory, "_memory", lambda: 239.0)
    assert "240 B for the states of 30 sites: this machine has 239 B" in refused(capsys, *run)
    monkeypatch.undo()
    usage = type("Usage", (), {"free": 959})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    assert "2 records of 30 sites take 960 B, and 959 B are free" in refused(capsys, *run)
    assert not (tmp_path / "run").exists()


def test_a_history_with_a_trace_is_refused(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savetxt("trace.txt", [[0.0, 0.0, 1.0, 0.0, 0.0], [1.0, 0.5, 1.0, 0.0, 0.0]])
    message = refused(capsys, "run", "rheometer", "--mode", "startup", "--history", "trace.txt", "--dim", "2")
    assert "the trace of kappa must be zero; at t = 1 it is 0.5" in message


def test_negative_diffusion_in_a_model_of_ones_own_is_refused(capsys, tmp_path):
    """Sixty steps of it end without a word else: 7 records, 0 failed."""
    message = refused(capsys, "run", RING, "--pole", "-1", "--out", tmp_path / "run")
    assert "ill-posed at the start (negative diffusion, lost ellipticity): its shortest waves grow fastest" in message
    assert not (tmp_path / "run").exists()

"""How commands end: exit codes of tables with failed rows, words on memory, and signals while the device computes."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fiberax import cli
from fiberax.cli import memory
from fiberax.io import log
from fiberax.io.results import read_table

RING = str(Path(__file__).with_name("ring_case.py"))

ROOTS = '''"""Square roots, which negative numbers do not have."""

from dataclasses import dataclass

import numpy as np

import fiberax as fx
from fiberax.cases import Case, Names, Quantity, Table


@dataclass(frozen=True)
class Roots(Case):
    """A table of roots."""

    def build(self):
        """Four rows, two at a time."""
        fiber = fx.FlowFiber(rate=lambda u, U: U - u**2, init=lambda U: 1.0 + 0 * U, link=lambda u, U: u)
        names = Names({"response": Quantity("u")}, axis=Quantity("number"))
        return Table(fiber, np.linspace(-2.0, 4.0, 4), names=names, batch=2)
'''

ENDLESS = '''"""A run whose first step does not end."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

import fiberax as fx
from fiberax.cases import Case, Evolve
from fiberax.testing import Decay


def rate(u, U):
    """Zero at u = U, after a long time."""
    return jax.lax.while_loop(lambda x: x < 1e15, lambda x: x + 1.0, U - u)


@dataclass(frozen=True)
class Endless(Case):
    """Three sites."""

    def build(self):
        """One long step."""
        fiber = fx.FlowFiber(rate=rate, init=lambda U: 0 * U, link=lambda u, U: u)
        return Evolve(bundle=fx.Bundle(Decay(3), fiber), driver=fx.Quasistatic(), macro0=jnp.ones(3), t1=0.01, dt=0.01)
'''


@pytest.fixture
def roots(tmp_path):
    path = tmp_path / "roots.py"
    path.write_text(ROOTS)
    return str(path)


def test_a_table_without_some_of_its_rows_says_so(roots, tmp_path, capsys):
    assert cli.main(["run", roots, "--out", str(tmp_path / "out"), "--plain", "--no-figures"]) == 3
    said = capsys.readouterr()
    assert "Finished: 4 conditions, 1 failed" in said.out
    assert "1 of 4 conditions failed and have no numbers. number = -2: " in said.err
    assert "the solver" in said.err and "Traceback" not in said.err
    assert log.read_state(tmp_path / "out")["phase"] == "finished"
    table = read_table(tmp_path / "out")
    assert table is not None
    assert table.arrays["result"].astype(bool).tolist() == [True, False, False, False]


def test_check_says_the_memory_before_what_takes_long(roots, capsys, monkeypatch):
    monkeypatch.setattr("fiberax.cli.check._check_fiber", lambda *_: 1 / 0)
    assert cli.main(["check", RING, "--cells", "3"]) == 1
    assert "memory   24 B for the states of all sites, as much for a checkpoint" in capsys.readouterr().out
    assert cli.main(["check", roots]) == 1
    assert "memory   16 B for the states of 2 rows at once; solves take several times that" in capsys.readouterr().out


def test_the_start_of_a_run_says_the_memory_where_it_is_large(tmp_path, capsys, monkeypatch):
    run = ["run", RING, "--cells", "3", "--steps", "1", "--records", "1", "--plain", "--no-figures", "--out"]
    monkeypatch.setattr(memory, "_LARGE", 23.0)
    assert cli.main([*run, str(tmp_path / "large")]) == 0
    assert "Memory: 24 B for the states of all sites, as much for a checkpoint on disk." in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("numbers", [[signal.SIGTERM], [signal.SIGINT, signal.SIGINT]])
def test_a_signal_ends_a_run_that_computes_within_seconds(tmp_path, numbers):
    (tmp_path / "endless.py").write_text(ENDLESS)
    folder = tmp_path / "out"
    command = [sys.executable, "-m", "fiberax", "run", str(tmp_path / "endless.py"), "--out", str(folder), "--plain"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 60
        while not (folder / "state.json").exists():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        time.sleep(8.0)  # compiled by then, and at work
        for number in numbers:
            process.send_signal(number)
            time.sleep(0.5)
        _, said = process.communicate(timeout=10)
    finally:
        process.kill()
    assert process.returncode == 130 and f"`fiberax resume {folder}`" in said
    assert log.read_state(folder)["phase"] == "interrupted" and not (folder / "owner.json").exists()

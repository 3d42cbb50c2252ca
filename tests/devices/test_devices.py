"""The same numbers on one device, on several, in several processes, and after a change of their number."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from fiberax.io.results import read_table

CASE = Path(__file__).parents[1] / "ring_case.py"
pytestmark = pytest.mark.devices


def start(folder: Path, *options: str, case: str = str(CASE)) -> subprocess.Popen:
    command = [sys.executable, "-m", "fiberax", "run", case, "--out", str(folder), "--plain", "--no-figures", *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=dict(os.environ))


def finish(process: subprocess.Popen) -> str:
    text = process.communicate(timeout=240)[0]
    assert process.returncode == 0, text
    return text


def pair(folder: Path, *options: str, case: str = str(CASE)) -> list[subprocess.Popen]:
    """Two real processes that find each other on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    together = ("--coordinator", f"127.0.0.1:{port}", "--num-processes", "2", "--process-id")
    return [start(folder, *options, *together, str(number), case=case) for number in range(2)]


def final(folder: Path) -> list[np.ndarray]:
    table = read_table(folder)
    assert table is not None and len(table.arrays) >= 3
    return list(table.arrays.values())


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> list[np.ndarray]:
    folder = tmp_path_factory.mktemp("alone") / "run"
    finish(start(folder, "--cells", "13"))
    return final(folder)


def test_two_devices_give_the_numbers_of_one(tmp_path, alone):
    finish(start(tmp_path / "run", "--cells", "13", "--devices", "2"))
    for found, expected in zip(final(tmp_path / "run"), alone, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


def test_two_processes_give_the_numbers_of_one(tmp_path, alone):
    for process in pair(tmp_path / "run", "--cells", "13"):
        finish(process)
    for found, expected in zip(final(tmp_path / "run"), alone, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


def test_two_processes_killed_go_on_as_one(tmp_path):
    folder, options = tmp_path / "run", ("--cells", "13", "--steps", "400000", "--records", "20")
    processes = pair(folder, *options, "--checkpoint-every", "0.5")
    deadline = time.monotonic() + 180
    while not any((folder / "checkpoints").glob("*")) and time.monotonic() < deadline:
        assert processes[0].poll() is None, processes[0].communicate()[0]
        time.sleep(0.1)
    for process in processes:
        process.kill()
        process.communicate()
    assert json.loads((folder / "state.json").read_text()).get("step", 0) < 400000  # none before the first record
    resumed = subprocess.run(
        [sys.executable, "-m", "fiberax", "resume", str(folder), "--plain"], capture_output=True, text=True, timeout=240
    )
    assert resumed.returncode == 0, resumed.stderr
    finish(start(tmp_path / "whole", *options))
    for found, expected in zip(final(folder), final(tmp_path / "whole"), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.slow
def test_diffusion_on_a_mesh_with_its_sparse_solves_is_the_same_on_devices_and_processes(tmp_path):
    np.save(tmp_path / "layers.npy", np.repeat([[0, 1]], 4, axis=0).repeat(2, axis=1))
    options = ("--shape", "l-shape", "--cells", "4", "--image", str(tmp_path / "layers.npy"), "--t1", "0.1", "--records", "2")
    finish(start(tmp_path / "one", *options, case="diffusion"))
    finish(start(tmp_path / "two", *options, "--devices", "2", case="diffusion"))
    for process in pair(tmp_path / "pair", *options, case="diffusion"):
        finish(process)
    for folder in ("two", "pair"):
        for found, expected in zip(final(tmp_path / folder), final(tmp_path / "one"), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)

"""`fiberax plot`: formats, resolution, times, and the numbers of curves."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

from fiberax import cli
from fiberax.io.results import read_table

RING = str(Path(__file__).with_name("ring_case.py"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    pytest.importorskip("matplotlib")
    folder = tmp_path_factory.mktemp("runs") / "ring"
    assert cli.main(["run", RING, "--cells", "10", "--steps", "24", "--records", "12", "--plain", "--out", str(folder)]) == 0
    return folder


@pytest.fixture
def ring(tmp_path, finished):
    return Path(shutil.copytree(finished, tmp_path / "ring"))


def size_of(path):
    content = path.read_bytes()
    return tuple(int.from_bytes(content[k : k + 4], "big") for k in (16, 20))


def curves(folder):
    with open(folder / "figures" / "U.csv", encoding="utf-8") as stream:
        return list(csv.reader(stream))


def test_curves_are_numbers_with_units(ring):
    table = read_table(ring)
    head, *rows = curves(ring)
    assert head[0] == "x" and head[1] == "temperature [K]: time 0" and len(head) == 9
    np.testing.assert_allclose(np.array(rows, float)[:, 0], (np.arange(10) + 0.5) / 10)
    np.testing.assert_array_equal(np.array(rows, float)[:, 1], table.arrays["U"][0])
    np.testing.assert_array_equal(np.array(rows, float)[:, -1], table.arrays["U"][-1])
    assert not (ring / "figures" / "microstates.csv").exists()


@pytest.mark.parametrize(("kind", "start"), [("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_formats(ring, capsys, kind, start):
    assert cli.main(["plot", str(ring), "--format", kind]) == 0
    drawn = capsys.readouterr().out.split()
    assert {Path(path).name for path in drawn} == {f"{name}.{kind}" for name in ("U", "response", "space-time", "microstates")}
    content = Path(drawn[0]).read_bytes()
    assert content.startswith(start)
    assert cli.main(["plot", str(ring), "--format", kind]) == 0
    assert Path(drawn[0]).read_bytes() == content  # without a date


def test_dots_per_inch(ring):
    before = size_of(ring / "figures" / "U.png")
    assert cli.main(["plot", str(ring), "--dpi", "80"]) == 0
    after = size_of(ring / "figures" / "U.png")
    assert before[0] / after[0] == pytest.approx(2.0, abs=0.01) and before[1] / after[1] == pytest.approx(2.0, abs=0.01)


def test_times(ring):
    table = read_table(ring)
    assert cli.main(["plot", str(ring), "--times", f"{table.values[3]:.9g},{table.values[7] + 1e-6:.9g}"]) == 0
    head, *rows = curves(ring)
    assert len(head) == 3
    np.testing.assert_array_equal(np.array(rows, float)[:, 1:], table.arrays["U"][[3, 7]].T)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--times", "0.1,soon"], "'soon' is no number"),
        (["--times", "7"], "--times = 7: this run has saved from 0 to 0.024"),
        (["--dpi", "1"], "--dpi = 1: give at least 10"),
        (["--format", "bmp"], "'bmp' is not one of"),
    ],
)
def test_what_cannot_be_drawn_is_refused(ring, capsys, arguments, words):
    before = {path: path.read_bytes() for path in (ring / "figures").iterdir()}
    assert cli.main(["plot", str(ring), *arguments]) == 2
    assert words in " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert {path: path.read_bytes() for path in (ring / "figures").iterdir()} == before

"""Pores in the case `homogenize`, and where correctors of a run are kept."""

import json

import numpy as np
import pytest
import xarray

from fiberax.cases.base import CaseWarning
from fiberax.cases.homogenization.composite import quasistatic
from fiberax.cases.homogenization.shapes import States
from fiberax.cli import main
from fiberax.physics.homogenization import Cell


@pytest.fixture
def channels(tmp_path):
    """Straight channels along x, 1/4 of the cell, with a dead end."""
    labels = np.zeros((8, 8), int)
    labels[:, 2:4] = 1
    labels[3, 4:6] = 1
    np.save(tmp_path / "channels.npy", labels)
    return tmp_path / "channels.npy"


def run(image, out, *options):
    words = [
        "run",
        "homogenize",
        "--image",
        str(image),
        "--conductivities",
        "0,2",
        "--slopes",
        "0,0.1",
        "--low",
        "0",
        "--high",
        "10",
    ]
    return main([*words, "--rows", "2", "--out", str(out), "--plain", *options])


@pytest.mark.parametrize("borders", ["periodic", "held"])
def test_channels(channels, tmp_path, capsys, borders):
    """A = 1/4 of the channels' conductivity along x and nothing along y; the dead end counts in the mean alone."""
    assert run(channels, tmp_path / "out", "--borders", borders) == 0
    printed = capsys.readouterr().err
    assert "28.12 % of the cell conducts, 100 % of that in clusters that lead through" in printed
    assert "does not percolate along y: no flux passes" in printed
    with xarray.open_dataset(tmp_path / "out" / "results.nc") as found:
        np.testing.assert_allclose(found["A"].values[:, 0, 0], [0.5, 0.75], rtol=1e-8)
        assert np.count_nonzero(found["A"].values) == 2
        np.testing.assert_allclose(found["tortuosity"].values, [[9 / 8, np.inf]] * 2, rtol=1e-8)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["percolates"] == {"x": True, "y": False} and summary["tortuosity"][1] is None
    assert {p.name for p in (tmp_path / "out" / "figures").glob("*.png")} == {
        "response.png",
        "tortuosity.png",
        "microstates.png",
    }


def test_a_scheme_that_passes_corners_says_so(channels, tmp_path, capsys):
    assert run(channels, tmp_path / "out", "--scheme", "element") == 0
    assert "lets flux pass corners; --scheme volume does not" in capsys.readouterr().err


def test_held_ends_need_volumes(channels, tmp_path, capsys):
    assert run(channels, tmp_path / "out", "--scheme", "element", "--borders", "held") == 2
    assert "held ends need FiniteVolume()" in capsys.readouterr().err


def test_correctors_that_do_not_fit_are_not_kept():
    cell = Cell.from_image(np.eye(8, dtype=int), [1.0, 2.0])
    assert quasistatic(cell, 100, 1e-4, States.AUTO).keep_states
    assert not quasistatic(cell, 100, 1e-4, States.ANEW).keep_states
    with pytest.warns(CaseWarning, match="The correctors of 10000000000 sites take 1.02e\\+04 GB"):
        assert not quasistatic(cell, 10**10, 1e-4, States.AUTO).keep_states
    assert quasistatic(cell, 10**10, 1e-4, States.KEPT).keep_states
    table = quasistatic(cell, 100, 1e-4, States.ANEW, 1e-3)
    assert table.tolerance == 1e-3 and not table.inner.keep_states


def test_phases_that_conduct_along_one_axis_alone(tmp_path, capsys):
    """Layers with the tensors diag(1, 0) and diag(2, 0), side by side."""
    np.save(tmp_path / "layers.npy", np.tile([0, 1], (4, 2)))
    words = ["run", "homogenize", "--image", str(tmp_path / "layers.npy"), "--conductivities", "1,0;2,0", "--slopes", "0,0"]
    assert main([*words, "--rows", "1", "--out", str(tmp_path / "out"), "--plain", "--no-figures"]) == 0
    assert "along x: 1.5, y: 0 at U = 0; tortuosity factor x: 1, y: inf" in capsys.readouterr().err


def test_ones_own_conductivities_do_not_grow_by_themselves(tmp_path, capsys):
    """Pores stay pores at any U, in the figure's table too: only the image that ships with fiberax has slopes of its own."""
    island = np.zeros((6, 6), int)
    island[2:4, 2:4] = 1
    np.save(tmp_path / "island.npy", island)
    words = ["run", "homogenize", "--image", str(tmp_path / "island.npy"), "--conductivities", "0,1"]
    assert main([*words, "--rows", "2", "--out", str(tmp_path / "out"), "--plain"]) == 0
    assert "along x: 0, y: 0 at U = 0; tortuosity factor x: inf, y: inf" in capsys.readouterr().err
    with xarray.open_dataset(tmp_path / "out" / "results.nc") as found:
        assert not found["A"].values.any() and not found["dA"].values.any()
    rows = (tmp_path / "out" / "figures" / "tortuosity.csv").read_text().splitlines()
    assert rows[1:] == ["0.0,inf,inf", "100.0,inf,inf"]


@pytest.fixture
def layers(tmp_path):
    """Layers of equal shares, across x."""
    np.save(tmp_path / "layers.npy", np.repeat([0, 1], 4)[:, None] * np.ones(8, int))
    return tmp_path / "layers.npy"


def table_of(layers, tmp_path, *options):
    words = ["run", "homogenize", "--image", str(layers), *options, "--out", str(tmp_path / "out"), "--plain", "--no-figures"]
    assert main(words) == 0
    with xarray.open_dataset(tmp_path / "out" / "results.nc") as found:
        return found["A"].values


@pytest.mark.parametrize("constant", [0.7, 1.0, 3.0, 5.0])
def test_a_conductivity_that_ends_at_zero(layers, tmp_path, constant):
    """c − c/100 U at U = 100: a compiled program rounds once where plain numbers round twice, and may find it negative.

    0.7 − 0.007·100 is negative in plain numbers, too.
    """
    slope = -constant / 100.0
    found = table_of(layers, tmp_path, "--conductivities", f"{constant},9", f"--slopes={slope:g},0", "--rows", "2")
    np.testing.assert_allclose(found[-1], np.diag([0.0, 4.5]), atol=1e-30)


def test_one_row_is_asked_for_and_no_other(layers, tmp_path):
    found = table_of(layers, tmp_path, "--conductivities", "3,1", "--slopes=-0.1,0", "--low", "20", "--rows", "1")
    np.testing.assert_allclose(found, [np.diag([1.0, 1.0])], rtol=1e-9)


def test_what_percolates_is_said_of_the_first_row_alone(layers, tmp_path, capsys):
    found = table_of(layers, tmp_path, "--conductivities", "0,1", "--slopes=0.1,0", "--rows", "2")
    assert found[1, 0, 0] > 1.0
    said = capsys.readouterr().err
    assert "at U = 0: 50 % of the cell conducts" in said and "does not percolate along x: no flux passes" in said


def test_entries_off_the_diagonal_are_printed(layers, tmp_path, capsys):
    """Layers of diag(5, 1) and the same turned by 45 degrees: [[3.75, 1.25], [1.25, 1.75]]."""
    table = tmp_path / "angles.csv"
    table.write_text("label,angle\n0,0\n1,45\n")
    found = table_of(layers, tmp_path, "--phases", str(table), "--tensor", "5,1", "--rows", "1")
    np.testing.assert_allclose(found, [[[3.75, 1.25], [1.25, 1.75]]], rtol=1e-9)
    assert "along x: 3.75, y: 1.75, xy: 1.25 at U = 0" in capsys.readouterr().err

"""What `homogenize` says of phases: labels, shares, conductivities, bounds, and whether anything depends on U."""

import json

import numpy as np
import pytest
import xarray

from fiberax.cases.homogenization.homogenize import Homogenize
from fiberax.cases.homogenization.phases import bounds_of, phase_words, phases_of
from fiberax.cli import main
from fiberax.core.errors import BadInput


def shares(*counts):
    return np.repeat(np.arange(len(counts)), counts)


def test_bounds_of_two_phases():
    """Discs of conductivity 10 and share 0.3220 in a matrix of 1, in the plane; in space by the usual form of the bounds."""
    phases = phases_of(shares(2777, 1319), [1.0, 10.0])
    plane, space, line = (bounds_of(phases, d) for d in (2, 3, 1))
    np.testing.assert_allclose(plane.wiener, [1.40809, 3.89819], rtol=3e-6)
    np.testing.assert_allclose(plane.hashin_shtrikman, [1.71544, 2.86414], rtol=3e-6)
    f = 1319 / 4096
    lower, upper = 1 + f / (1 / 9 + (1 - f) / 3), 10 + (1 - f) / (-1 / 9 + f / 30)
    np.testing.assert_allclose(space.hashin_shtrikman, [lower, upper], rtol=1e-12)
    assert line.wiener == pytest.approx((1 / (1 - 0.9 * f), 1 + 9 * f)) and line.hashin_shtrikman is None


def test_bounds_of_three_phases_enclose_each_other():
    phases = phases_of(shares(20, 30, 50), {0: 5.0, 1: lambda U: 1.0 + U, 2: 3.0})
    bounds = bounds_of(phases, 3)
    assert bounds.wiener[0] < bounds.hashin_shtrikman[0] < bounds.hashin_shtrikman[1] < bounds.wiener[1]
    assert [phase.depends for phase in phases] == [False, True, False]
    assert phase_words(phases).endswith("label 2: 50 %, conductivity 3 (at U = 0)")


@pytest.mark.parametrize("values", [[0.0, 1.0], [np.eye(2), np.eye(2)], [lambda U: U, 1.0]])
def test_no_bounds_beside_pores_or_tensors(values):
    assert bounds_of(phases_of(shares(1, 1), values), 2) is None
    assert bounds_of(phases_of(shares(1), [1.0]), 2) is None


def test_words_of_tensors_and_of_many_phases():
    assert phase_words(phases_of(shares(1), [np.diag([2.0, 3.5])])) == "label 0: 100 %, conductivity [[2, 0], [0, 3.5]]"
    assert phase_words(phases_of(np.arange(20), np.ones(20))).endswith("label 15: 5 %, conductivity 1; and 4 more phases")


def test_a_composite_is_described(tmp_path, capsys):
    """Without slopes one row is enough. A composite without a pore has no tortuosity factor."""
    labels = np.zeros((8, 8), int)
    labels[2:6, 2:6] = 255
    np.save(tmp_path / "cell.npy", labels)
    words = ["run", "homogenize", "--image", str(tmp_path / "cell.npy"), "--conductivities", "1,10", "--plain"]
    assert main([*words, "--out", str(tmp_path / "out"), "--no-figures"]) == 0
    printed = capsys.readouterr().err
    assert "no conductivity depends on U" in printed and "tortuosity" not in printed
    assert "label 0: 75 %, conductivity 1; label 255: 25 %, conductivity 10\n" in printed
    assert "bounds at U = 0: Wiener 1.29032 to 3.25, Hashin-Shtrikman (isotropic cells) 1.51429 to 2.39437" in printed
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["phases"][1] == {"label": 255, "share": 0.25, "conductivity": 10.0}
    assert summary["bounds"]["Hashin-Shtrikman"] == pytest.approx([1.51429, 2.39437], rel=1e-5)
    with xarray.open_dataset(tmp_path / "out" / "results.nc") as found:
        assert found["A"].shape == (1, 2, 2)


@pytest.mark.parametrize(("options", "rows"), [({}, 41), ({"slopes": "0,0"}, 1), ({"slopes": "0,0", "rows": 3}, 3),
                                               ({"formula": "2 + U"}, 41), ({"formula": "2 + x"}, 1)])  # fmt: skip
def test_one_row_where_nothing_depends_on_u(options, rows):
    assert len(Homogenize(**options).build().conditions) == rows


def test_rows_need_a_span():
    with pytest.raises(BadInput, match="--high = 1 is not above --low = 5"):
        Homogenize(slopes="0,0", rows=2, low=5.0, high=1.0).build()
    assert list(Homogenize(slopes="0,0", low=500.0).build().conditions) == [500.0]

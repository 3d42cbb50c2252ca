"""The numbers of curves beside figures."""

import csv
import io

import numpy as np
import pytest

plt = pytest.importorskip("matplotlib.pyplot")

from fiberax.io.plots.curves import curves_csv  # noqa: E402

X = np.array([0.0, 0.5, 1.0])


@pytest.fixture
def panels():
    figure, axes = plt.subplots(1, 2)
    yield figure, axes
    plt.close(figure)


def rows(figure):
    return list(csv.reader(io.StringIO(curves_csv(figure))))


def test_curves_with_one_abscissa_share_its_column(panels):
    figure, (left, right) = panels
    left.plot(X, X**2, label="early")
    left.plot(X, X**3, label="late")
    left.axhline(0.3)
    left.set(xlabel="x [mm]", ylabel="temperature\n$U$ [K], mean")
    left.legend(title="time [s]")
    right.imshow(np.eye(3))
    found = rows(figure)
    assert found[0] == ["x [mm]", "temperature U [K], mean: time [s] early", "temperature U [K], mean: time [s] late"]
    np.testing.assert_array_equal(np.array(found[1:], float), np.column_stack([X, X**2, X**3]))


def test_curves_along_the_other_axis_share_that_and_lengths_may_differ(panels):
    figure, (left, right) = panels
    left.plot(X, 2.0 * X, label="a")
    left.plot(X + 1.0, 2.0 * X, label="b")
    left.set(xlabel="velocity", ylabel="y")
    right.plot([7.0, 8.0], [1.0, 2.0])
    right.set(xlabel="velocity", ylabel="y")
    assert rows(figure) == [
        ["velocity: a", "y", "velocity: b", "velocity", "y (panel 2)"],
        ["0.0", "0.0", "1.0", "7.0", "1.0"],
        ["0.5", "1.0", "1.5", "8.0", "2.0"],
        ["1.0", "2.0", "2.0", "", ""],
    ]


def test_error_bars_are_columns(panels):
    figure, (left, _) = panels
    left.errorbar(X, X, yerr=[0.1, 0.2, 0.3], errorevery=2, capsize=2.0, label="fibers")
    left.set(xlabel="x", ylabel="A")
    head, *values = rows(figure)
    assert head == ["x", "A: fibers", "A: fibers, length of the error bar"]
    np.testing.assert_allclose([float(row[2]) for row in values], [0.1, np.nan, 0.3])


@pytest.mark.parametrize("along", ["x", "y"])
def test_bands_are_columns(panels, along):
    figure, (left, _) = panels
    half = np.array([0.1, 0.2, 0.3])
    left.plot(X, 2.0 * X, label="one")
    left.plot(X, 3.0 * X, label="other")
    if along == "y":
        left.fill_between(X, 3.0 * X - half, 3.0 * X + half)
    else:
        left.fill_betweenx(3.0 * X, X - half, X + half)
    left.set(xlabel="t", ylabel="A")
    head, *values = rows(figure)
    column = head.index(f"{'A: other' if along == 'y' else 't'}, half width of the band")
    assert len(head) == 4
    np.testing.assert_allclose([float(row[column]) for row in values], half, rtol=1e-12)


def test_a_figure_without_curves_has_no_numbers(panels):
    figure, (left, _) = panels
    left.imshow(np.eye(3))
    left.plot(1.0, 1.0, marker="x")
    assert curves_csv(figure) == ""

"""The cases crystal and pull: what they compute, against closed forms and balances; what they refuse; kill and resume."""

import json

import meshio
import numpy as np
import pytest
from scipy.interpolate import CubicSpline

import fiberax as fx
from fiberax import cli
from fiberax.cases.solids.atoms import Choice, Kind, Material, Structure, cell
from fiberax.cases.solids.figures import titled
from fiberax.cases.solids.pull import Driver, Pull, Shape
from fiberax.core.errors import BadInput
from fiberax.io import recorder
from fiberax.io.body import Body, mises
from fiberax.io.plots.figure import Figure
from fiberax.io.results import read_table

SILICON = """# Si, as in the named set
Si Si Si 2.1683 2.0951 1.80 21.0 1.20 -0.333333333333333333 7.049556277 0.6022245584 4.0 0.0 0.0
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A run of Lennard-Jones fcc under dilation and pressure."""
    folder = tmp_path_factory.mktemp("crystal") / "run"
    arguments = ["--material", "lj", "--path", "volumetric", "--low", "-0.02", "--high", "0.14", "--rows", "33", "--plain"]
    assert cli.main(["run", "crystal", *arguments, "--batch", "33", "--out", str(folder)]) == 0
    return folder


def test_stress_along_a_path_is_the_slope_of_the_energy(path):
    table = read_table(path)
    work = np.trace(table.arrays["P"], axis1=1, axis2=2)
    # Fourth-order differences of W over the amplitude.
    W, h = table.arrays["W"], table.values[1] - table.values[0]
    slope = (W[:-4] - 8 * W[1:-3] + 8 * W[3:-1] - W[4:]) / (12 * h)
    np.testing.assert_allclose(work[2:-2], slope, atol=2e-3 * np.abs(work).max())
    assert abs(W[np.argmin(np.abs(table.values))]) < 1e-10  # energy counts from rest
    # dP/ds = C : I, the trace of which is that of the tangent.
    C = np.einsum("riijj->r", table.arrays["C"])
    slope = (work[:-4] - 8 * work[1:-3] + 8 * work[3:-1] - work[4:]) / (12 * h)
    np.testing.assert_allclose(C[2:-2], slope, atol=5e-3 * np.abs(C).max())


def test_constants_and_limit_of_a_crystal_are_said(path):
    said = json.loads((path / "summary.json").read_text())
    C = np.array(said["elastic constants, relaxed"])
    assert C[0, 1] == pytest.approx(C[3, 3], rel=1e-9)  # Cauchy's relation of pair potentials at rest
    table = read_table(path)
    (limit,) = said["marks"]
    crossing = np.flatnonzero((table.arrays["acoustic"][:-1] > 0) & (table.arrays["acoustic"][1:] <= 0))
    (k,) = crossing
    assert table.values[k] < limit <= table.values[k + 1]
    assert "Ellipticity is lost" in said["limits"][0]["text"]
    crystal = fx.solids.Crystal(said["lattice"], said["basis"], said["species"], _lennard_jones())
    assert abs(fx.solids.stability(crystal, limit * np.eye(3)).acoustic) < 1e-3
    assert (path / "figures" / "path.png").stat().st_size > 10_000
    assert (path / "table.csv").read_text().startswith("strain,P_xx [eps/sigma^3],P_xy [eps/sigma^3],")


def _lennard_jones():
    return fx.solids.potentials.LennardJones(cutoff=2.5, scheme="smooth")


def test_a_file_gives_the_crystal_that_the_name_gives(tmp_path):
    file = tmp_path / "mine.sw"
    file.write_text(SILICON)
    named = Choice(Material.SI_SW, None, None, None, None, None).found().crystal
    read, lattice, _ = Choice(Material.LJ, file, None, None, 5.431, None).found()
    A = np.diag([0.03, 0.0, -0.01])
    zero = np.zeros((1, 3))
    assert lattice[0, 0] == 5.431 and read.species == ("Si", "Si")
    np.testing.assert_allclose(read.energy(zero, A), named.energy(zero, A), rtol=1e-14)


@pytest.mark.parametrize(
    ("structure", "atoms", "volume", "neighbours", "distance"),
    [
        (Structure.FCC, 1, 1 / 4, 12, 0.5**0.5),
        (Structure.BCC, 1, 1 / 2, 8, 0.75**0.5),
        (Structure.SC, 1, 1.0, 6, 1.0),
        (Structure.HCP, 2, 2**0.5, 12, 1.0),
        (Structure.DIAMOND, 2, 1 / 4, 4, 3**0.5 / 4),
    ],
)
def test_structures_have_their_neighbours(structure, atoms, volume, neighbours, distance):
    lattice, basis = cell(structure, 1.0)
    assert len(basis) == atoms and abs(np.linalg.det(lattice)) == pytest.approx(volume)
    shifts = np.stack(np.meshgrid(*[np.arange(-3, 4)] * 3, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    length = np.linalg.norm((shifts + basis - basis[0]) @ lattice, axis=-1).ravel()
    assert np.sum(np.abs(length - distance) < 1e-9) == neighbours and length[length > 1e-9].min() > distance - 1e-9


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["crystal", "--material", "unobtainium"], "unobtainium"),
        (["crystal", "--potential", "nowhere.eam.alloy"], "nowhere.eam.alloy: there is no such file"),
        (["crystal", "--low", "-1.5"], "collapses: det"),
        (["crystal", "--low", "-0.8"], "pressed to 0.2"),
        (["crystal", "--direction", "1,2"], "give 9 numbers"),
        (["crystal", "--structure", "fcc"], "--potential"),
        (["pull", "--width", "-3"], "--width = -3"),
        (["pull", "--radius", "50"], "the hole must be smaller"),
        (["pull", "--shape", "notch", "--radius", "70"], "does not fit"),
        (["pull", "--step", "2"], "longer than the whole path"),
    ],
)
def test_bad_input_is_one_message(arguments, words, tmp_path, capfd):
    assert cli.main(["run", *arguments, "--out", str(tmp_path / "run")]) == 2
    said = capfd.readouterr().err
    assert words in said and "Traceback" not in said
    assert not (tmp_path / "run").exists()


def test_a_truncated_file_is_named_with_its_line(tmp_path, capfd):
    file = tmp_path / "cut.eam.alloy"
    file.write_text("a\nb\nc\n1 Cu\n500 0.001 500 0.01 5.0\n29 63.5 3.6 fcc\n1 2 3\n")
    assert cli.main(["run", "crystal", "--potential", str(file), "--out", str(tmp_path / "run")]) == 2
    assert f"{file}, line 7" in capfd.readouterr().err


def test_files_that_leave_things_open_ask_for_them(tmp_path):
    file = tmp_path / "mine.sw"
    file.write_text(SILICON)
    with pytest.raises(BadInput, match="--lattice-constant"):
        Choice(Material.LJ, file, None, None, None, None).found()
    with pytest.raises(BadInput, match="no entry for Si Si C; it knows Si"):
        Choice(Material.LJ, file, Kind.SW, None, 5.4, "Si,C").found()


PLATE = ["pull", "--material", "lj-triangular", "--cells", "2", "--strain", "0.2", "--step", "0.01", "--plain"]


@pytest.fixture(scope="module")
def pulled(tmp_path_factory):
    """A plane plate with a hole, pulled until it loses its ground."""
    folder = tmp_path_factory.mktemp("pull") / "run"
    assert cli.main(["run", *PLATE, "--checkpoint-every", "0", "--out", str(folder)]) == 0
    return folder


def test_a_pulled_plate_ends_where_ellipticity_does(pulled):
    summary = json.loads((pulled / "summary.json").read_text())
    said, reached = summary["stopped"], summary["reached"]
    for words in ("beyond t =", "Worst site", "at position", "Ellipticity is lost", "in direction", "in x, y"):
        assert words in said
    table = read_table(pulled)
    assert 0.1 < table.values[-1] < 1.0 and len(table.values) > 4
    assert reached == {"load": table.values[-1], "applied strain": 0.2 * table.values[-1]}
    assert np.all(np.diff(table.values) > 0) and np.all(table.arrays["stability_margin"] > 0)
    # The weakest crystals are the same by both measures, the acoustic one in the unit of the stress.
    acoustic, P = table.arrays["acoustic"], table.arrays["P"]
    assert acoustic[-1].min() > 0.0 and acoustic[-1].min() < 0.2 * acoustic[0].min() and acoustic[0].min() > np.abs(P).max()
    assert acoustic[-1][np.argmin(table.arrays["stability_margin"][-1])] == pytest.approx(acoustic[-1].min(), rel=0.01)
    # Margins shrink on the way, and the last step is the smallest.
    assert table.arrays["stability_margin"][-1].min() < 0.2 * table.arrays["stability_margin"][0].min()


def test_the_curve_is_the_force_on_the_grips(pulled):
    table, body = read_table(pulled), Body.load(pulled)
    macro = Pull(Material.LJ_PLANE, cells=2, strain=0.2, step=0.01).build().bundle.macro
    force = [float(macro.reaction(P, "right")[0]) for P in table.arrays["P"]]
    curve = np.loadtxt(pulled / "curve.csv", delimiter=",", skiprows=1)
    assert curve[0].tolist() == [0.0, 0.0]  # no round-off
    np.testing.assert_allclose(curve[:, 0], 0.2 * table.values)
    np.testing.assert_allclose(curve[:, 1], np.array(force) / 80.0, atol=1e-9)
    # Power balance: the work of the grips is the energy stored.
    stored = table.arrays["W"] @ body.weights
    work = CubicSpline(0.2 * 80.0 * table.values, force).antiderivative()(0.2 * 80.0 * table.values)
    np.testing.assert_allclose(work, stored, atol=2e-3 * stored[-1])


def test_the_peaks_of_a_pulled_plate_are_said(pulled):
    said, table, body = json.loads((pulled / "summary.json").read_text()), read_table(pulled), Body.load(pulled)
    curve = np.loadtxt(pulled / "curve.csv", delimiter=",", skiprows=1)
    mean, local = said["largest mean stress"], said["largest von Mises stress"]
    k = np.argmax(curve[:, 1])
    assert mean["value"] == pytest.approx(curve[k, 1]) and mean["unit"] == "eps/sigma^2"
    assert (mean["applied strain"], mean["load"]) == pytest.approx((curve[k, 0], curve[k, 0] / 0.2))
    # The cells as they are written for ParaView, and their middles.
    count = len(table.values)
    cells = [meshio.read(pulled / "paraview" / f"series_{k:06d}.vtu").cell_data["mises"][0].ravel() for k in range(count)]
    k, cell = np.unravel_index(np.argmax(cells), np.shape(cells))
    assert local["value"] == pytest.approx(cells[k][cell], rel=1e-6) and local["value"] > 1.5 * mean["value"]
    assert local["load"] == pytest.approx(table.values[k]) and local["unit of the position"] == "nm"
    # One of those that are equal by symmetry, above or below the hole.
    middles = np.abs(body.mesh.points[body.mesh.cells].mean(axis=1))
    assert np.linalg.norm(middles[cell] - np.abs(local["position"])) < 2.0 and local["position"][1] ** 2 > 14.0**2


def test_a_body_of_a_turned_crystal_says_so_above_its_figure():
    figure = titled(Figure("body", lambda plt: plt.figure()), "x along [110]").draw(pytest.importorskip("matplotlib.pyplot"))
    assert figure.get_suptitle() == "x along [110]"


def test_a_pulled_plate_is_drawn_and_written(pulled, capsys):
    count = len(read_table(pulled).values)
    assert len(list((pulled / "paraview").glob("*.vtu"))) == count
    text = (pulled / "paraview" / "series_000001.vtu").read_bytes()
    for name in (b'"u"', b'"P"', b'"W"', b'"stability_margin"', b'"acoustic"', b'"mises"'):
        assert b"Name=" + name in text
    (pulled / "figures" / "body.png").unlink()
    assert cli.main(["plot", str(pulled)]) == 0
    assert "body.png" in capsys.readouterr().out
    assert (pulled / "figures" / "body.png").stat().st_size > 20_000
    assert (pulled / "figures" / "stress-strain.png").exists()


def test_a_path_that_breaks_off_resumes_with_the_same_digits(pulled, tmp_path, monkeypatch, capsys):
    folder, write = tmp_path / "run", recorder.write_record

    def fail(where, index, value, arrays):
        if index == 4:
            raise RuntimeError("the power is gone")
        write(where, index, value, arrays)

    monkeypatch.setattr(recorder, "write_record", fail)
    assert cli.main(["run", *PLATE, "--checkpoint-every", "0", "--no-figures", "--out", str(folder)]) == 1
    monkeypatch.setattr(recorder, "write_record", write)
    assert cli.main(["status", str(folder)]) == 0
    assert "failed" in capsys.readouterr().out
    assert cli.main(["resume", str(folder), "--plain"]) == 0
    assert "The path ends at the applied strain 0." in capsys.readouterr().err
    table, whole = read_table(folder), read_table(pulled)
    assert table.values.tobytes() == whole.values.tobytes()
    for name, array in whole.arrays.items():
        assert table.arrays[name].tobytes() == array.tobytes(), name


def test_notches_and_both_drivers_make_problems():
    notched = Pull(Material.LJ_PLANE, shape=Shape.NOTCH, cells=2, driver=Driver.NESTED).build()
    assert isinstance(notched.driver, fx.Quasistatic) and notched.output.body is not None
    low, high = notched.output.body.mesh.points.min(axis=0), notched.output.body.mesh.points.max(axis=0)
    np.testing.assert_allclose(high - low, [80.0, 80.0])
    assert float(notched.output.body.weights.sum()) < 80.0 * 80.0


def test_mises_stress_is_that_of_textbooks():
    P = np.array([np.diag([2.0, 0.0, 0.0]), np.eye(3)])
    P = np.concatenate([P, [[[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]]])
    np.testing.assert_allclose(mises(np.zeros((3, 3, 3)), P), [2.0, 0.0, 3**0.5], atol=1e-15)
    # A body turned by 90 degrees: the same Cauchy stress, other P.
    R = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    np.testing.assert_allclose(mises((R - np.eye(3))[None], R @ P[:1]), [2.0])

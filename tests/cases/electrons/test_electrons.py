"""The cases electrons and electron-wave: what they compute and draw, and what they refuse."""

import json

import numpy as np
import pytest

from fiberax import cli
from fiberax.cases.electrons.electron_wave import ElectronWave
from fiberax.cases.electrons.electrons import Basis, Crystal_, Electrons, Model, _elastic, path_of
from fiberax.cases.electrons.units import GPA
from fiberax.core.errors import BadInput
from fiberax.io.microstates import read_microstates
from fiberax.io.results import read_table


def run(folder, *arguments):
    """The results of a run of the command."""
    assert cli.main(["run", *arguments, "--plain", "--out", str(folder)]) == 0
    return read_table(folder), json.loads((folder / "summary.json").read_text()) if arguments[0] == "electrons" else None


@pytest.mark.slow
def test_sodium_without_orbitals(tmp_path):
    """Stress is the slope of the energy; elastic constants are those of the slope of the stress, near the measured ones."""
    options = ["--crystal", "sodium", "--model", "tfw", "--grid", "10", "--low", "-0.01", "--high", "0.01", "--rows", "5"]
    table, summary = run(tmp_path / "run", "electrons", *options, "--batch", "5")
    W, P = table.arrays["W"], table.arrays["P"][:, 0, 0]
    np.testing.assert_allclose(P[1:-1], (W[2:] - W[:-2]) / 0.01, atol=2e-4)
    C = np.asarray(summary["elastic constants (GPa)"])
    np.testing.assert_allclose(C[0, 0], (8.0 * (P[3] - P[1]) - (P[4] - P[0])) / 0.06, rtol=2e-4)
    np.testing.assert_allclose([C[0, 0], C[0, 1], C[3, 3]], [7.6, 6.3, 4.2], rtol=0.1)
    np.testing.assert_allclose(C, C.T, atol=1e-6)
    assert abs(P[2]) < 1e-3
    assert {p.name for p in (tmp_path / "run/figures").glob("*.png")} == {"density.png", "stress-strain.png"}


@pytest.mark.slow
def test_silicon_in_orbitals(tmp_path):
    """Shear of a cell under pressure, whose atoms come to rest; bands and density are drawn."""
    small = ["--cutoff", "4", "--points", "1", "--path", "shear", "--low", "0", "--high", "0.01", "--rows", "2"]
    table, summary = run(tmp_path / "run", "electrons", *small)
    W, P = table.arrays["W"], table.arrays["P"]
    np.testing.assert_allclose(P[1, 0, 1], 2.0 * (W[1] - W[0]) / 0.01 - P[0, 0, 1], rtol=2e-2)
    C = np.asarray(summary["elastic constants (GPa)"])
    # Simple shear is half a rotation, which turns the stress along.
    np.testing.assert_allclose(P[1, 0, 1] / 0.01 - 0.5 * P[0, 0, 0], C[5, 5], atol=0.5)
    assert summary["abinit"] == []
    states = read_microstates(tmp_path / "run")
    bands = next(state.arrays["bands"] for state in states if "bands" in state.arrays)
    points, marks = path_of(Crystal_.SILICON)
    centre = dict((name, place) for place, name in marks)["Γ"]
    assert len(bands) == len(points) and np.ptp(bands[centre, 1:4]) < 1e-6
    assert {p.name for p in (tmp_path / "run/figures").glob("*.png")} == {"bands.png", "density.png", "stress-strain.png"}


@pytest.mark.slow
def test_elastic_constants_of_metals_have_points_of_their_own():
    """Unless points or a width are given; those of sodium without orbitals have none."""
    case = Electrons(crystal=Crystal_.ALUMINIUM)
    fine, coarse = case.fiber(moduli=True)[0], case.fiber()[0]
    assert fine.kgrid == (8, 8, 8) and fine.shift == (0.5,) * 3 and fine.smearing.width == 0.02
    assert coarse.kgrid == (4, 4, 4) and coarse.shift == (0.0,) * 3
    assert Electrons(crystal=Crystal_.ALUMINIUM, moduli=True).fiber()[0].kgrid == (8, 8, 8)
    assert Electrons(crystal=Crystal_.ALUMINIUM, points=3).fiber(moduli=True)[0].kgrid == (3, 3, 3)
    assert Electrons().fiber(moduli=True)[0].kgrid == (3, 3, 3)
    assert case._with_what(fine) == ", with 8³ points k and kT = 0.02 hartree"


@pytest.mark.slow
def test_elastic_constants_of_aluminium():
    """Within 5 % of those of 12³ shifted points: 116.3, 59.1 and 34.6 GPa."""
    C = _elastic(Electrons(crystal=Crystal_.ALUMINIUM).fiber(moduli=True)[0], 1e-7, 1) * GPA
    np.testing.assert_allclose([C[0, 0], C[0, 1], C[3, 3]], [116.3, 59.1, 34.6], rtol=0.05)


def test_a_pseudopotential_from_a_file(tmp_path, capsys):
    """One that is not there is named before anything is computed."""
    file = tmp_path / "GTH_POTENTIALS"
    file.write_text("Si GTH-PADE-q4\n 2 2\n 0.44 1 -7.33610297\n 2\n 0.42273813 1 5.90692831\n 0.48427842 1 2.72701346\n")
    fiber = Electrons(pseudopotential=str(file)).fiber()[0]
    assert fiber.ions[0].projectors[0].strength == ((5.90692831,),)
    assert cli.main(["run", "electrons", "--pseudopotential", str(tmp_path / "none.upf"), "--plain"]) != 0
    assert "none.upf" in "".join(capsys.readouterr())


def test_stresses_of_abinit_stand_beside_the_usual_options():
    published = Electrons(high=0.02, moduli=True, basis=Basis.CUTOFF)._published()
    assert len(published) == 5 and published[0][0] == -0.04
    assert Electrons(cutoff=14.0)._published() == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": Model.TFW}, "bonds of silicon need orbitals"),
        (
            {"model": Model.TFW, "crystal": Crystal_.SODIUM, "cutoff": 9.0},
            r"--cutoff 9.0 has no effect: it counts with --model ks",
        ),
        ({"width": 0.01}, "silicon has a gap"),
        ({"low": 0.1}, "is not above --low"),
        ({"low": -1.5}, "the crystal collapses"),
        ({"direction": "1,2"}, "give 9 numbers"),
        ({"cutoff": 0.1}, "--cutoff = 0.1 hartree: give at least 0.5"),
    ],
)
def test_refusals(options, message):
    with pytest.raises(BadInput, match=message):
        Electrons(**options).build()
    with pytest.raises(BadInput, match="its bonds need orbitals"):
        ElectronWave(crystal=Crystal_.SILICON).build()


@pytest.mark.slow
def test_a_pulse_in_a_bar_keeps_its_energy(tmp_path):
    """The total energy, the electrons' own included, is kept; the pulse runs apart with the speed of sound."""
    options = ["--crystal", "sodium", "--cells", "8", "--grid", "6", "--width", "0.15", "--records", "8"]
    table, _ = run(tmp_path / "run", "electron-wave", *options)
    total, kinetic, strain = (table.arrays[name] for name in ("total", "kinetic", "A"))
    assert np.abs(total - total[0]).max() < 0.02 * kinetic.max()
    np.testing.assert_allclose(np.mean(strain, axis=1), np.mean(strain[0]), rtol=1e-12)
    assert strain[-1, 0] > 2.0 * strain[-1, 4]  # at the ends, half the bar away

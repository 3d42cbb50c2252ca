"""Molecules in the rheometer: tiny runs, what the options make, figures, what is refused."""

import json

import numpy as np
import pytest

from fiberax import cli
from fiberax.cases.fluids.fluids_common import Model
from fiberax.cases.fluids.rheometer import Mode, Rheometer
from fiberax.cases.molecules.rheology import Stresses
from fiberax.core.errors import BadInput
from fiberax.io.microstates import read_microstates
from fiberax.io.results import read_table


def run(folder, *arguments):
    """The results of a run of the command, and its summary."""
    assert cli.main(["run", "rheometer", *arguments, "--plain", "--quiet", "--out", str(folder)]) == 0
    table = read_table(folder)
    assert table is not None
    return table, json.loads((folder / "summary.json").read_text())


def test_a_repulsive_liquid_in_shear(tmp_path):
    """Its viscosity at ρ = 0.5 is near 0.5, Enskog's; columns are those of the stress."""
    arguments = ["--model", "wca", "--particles", "64", "--density", "0.5", "--rates", "0.5,1", "--average", "24"]
    table, summary = run(tmp_path / "run", *arguments)
    a, rates = table.arrays, table.values
    assert rates.tolist() == [0.5, 1.0] and not a["result"].any()
    np.testing.assert_allclose(a["viscosity"], a["stress"] / rates, rtol=1e-12)
    np.testing.assert_allclose(a["Psi1_stderr"], a["N1_stderr"] / rates**2, rtol=1e-12)
    assert np.all(a["viscosity_stderr"] > 0.0) and np.all(a["viscosity_stderr"] < 0.3)
    assert np.all(np.abs(a["viscosity"] - 0.55) < 0.1 + 4.0 * a["viscosity_stderr"])
    assert np.all(np.abs(a["pressure"] - 1.65) < 0.3)
    assert summary["viscosity"] == pytest.approx(a["viscosity"][0]) and summary["rate"] == 0.5
    drawn = {path.name for path in (tmp_path / "run" / "figures").glob("*.png")}
    assert drawn == {"material-functions.png", "boxes.png"}
    assert [m.caption for m in read_microstates(tmp_path / "run")] == ["shear rate = 0.5", "shear rate = 1"]


@pytest.mark.slow
def test_green_kubo_of_a_dilute_liquid(tmp_path):
    arguments = ["--model", "wca", "--mode", "green-kubo", "--particles", "64", "--density", "0.5", "--average", "60"]
    table, summary = run(tmp_path / "run", *arguments)
    a = table.arrays
    assert a["modulus"].shape == a["viscosity"].shape == (1, 101) and a["time"][0, -1] == pytest.approx(4.0)
    trapezoid = 0.02 * np.concatenate([[0.0], np.cumsum(a["modulus"][0, 1:] + a["modulus"][0, :-1])])
    np.testing.assert_allclose(a["viscosity"][0], trapezoid, rtol=1e-9, atol=1e-12)
    assert a["modulus"][0, 0] > 10.0 * abs(a["modulus"][0, 25]) and a["viscosity_stderr"][0, -1] > 0.0
    assert abs(summary["viscosity"] - 0.55) < 0.1 + 4.0 * summary["viscosity, standard error"]
    assert {path.name for path in (tmp_path / "run" / "figures").glob("*.png")} == {"green-kubo.png"}


def test_the_options_make_the_boxes():
    chains = Rheometer(model=Model.KG_CHAINS, beads=3, particles=30, temperature=1.2, boxes=4, average=2.0).build()
    box = chains.fiber
    assert box.particles == 30 and box.bonds.count == 20 and box.dt == 0.003 and float(box.temperature) == 1.2
    assert chains.sampling.replicas == 4 and chains.sampling.span == pytest.approx(2.0 * 1.5 * 9.0)
    np.testing.assert_allclose(chains.values, np.geomspace(0.01, 1.0, 7))
    liquid = Rheometer(model=Model.WCA, particles=40, seed=3, md_step=0.004, low=0.2).build()
    assert liquid.fiber.dt == 0.004 and liquid.fiber.double == (False,) * 3 and liquid.sampling.seed == 3
    np.testing.assert_allclose(liquid.values, np.geomspace(0.2, 1.0, 7))
    np.testing.assert_allclose(liquid.conditions[-1], [[0.0, 1.0, 0.0], [0.0] * 3, [0.0] * 3])
    assert Rheometer().build().sampling.span == pytest.approx(300.0)  # others as before


def test_stresses_are_those_of_the_society_of_rheology():
    class Fiber:
        def link(self, state, condition):
            return state

    found = Stresses()(Fiber(), np.array([[1.0, 0.7, 0.0], [0.7, 3.0, 0.0], [0.0, 0.0, 8.0]]), None)
    assert {key: float(value) for key, value in found.items()} == {"stress": 0.7, "N1": -2.0, "N2": -5.0, "pressure": -4.0}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"model": Model.LJ, "mode": Mode.STARTUP}, "--mode startup: molecules are sheared steadily"),
        ({"mode": Mode.GREEN_KUBO}, "--mode green-kubo is for molecules at rest: give --model lj"),
        ({"model": Model.KG_CHAINS, "particles": 31}, "--particles 31 are no whole number of chains of --beads 12"),
        ({"model": Model.LJ, "particles": 8}, "8 particles at density 0.81 make a box of length"),
        ({"model": Model.LJ, "md_step": 0.15}, "--md-step = 0.15"),
        ({"model": Model.LJ, "low": 2.0}, "--high = 1 is not above --low = 2"),
    ],
)
def test_refusals(options, words):
    with pytest.raises(BadInput, match=words):
        Rheometer(**options).build()


def test_flows_of_other_cases_have_no_molecules(tmp_path, capsys):
    assert cli.main(["run", "channel", "--model", "lj", "--out", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert "lj" in said and "dumbbell" in said and not (tmp_path / "run").exists()

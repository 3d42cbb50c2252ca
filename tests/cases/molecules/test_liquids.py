"""The cases liquid-channel and liquid-cavity: averages against closed forms, options, tiny runs, what is refused."""

import json

import numpy as np
import pytest

import fiberax as fx
from fiberax import cli
from fiberax.cases.molecules.averages import Averages, newtonian
from fiberax.cases.molecules.liquid_cavity import LiquidCavity
from fiberax.cases.molecules.liquid_channel import LiquidChannel
from fiberax.cases.molecules.liquids import Potential
from fiberax.core.errors import BadInput
from fiberax.io.microstates import read_microstates
from fiberax.io.results import read_table

TINY = ["--potential", "wca", "--particles", "32", "--cells", "4", "--t1", "1.6", "--records", "8"]


def run(folder, case, *arguments):
    """The results of a run of the command, and its summary."""
    assert cli.main(["run", case, *TINY, *arguments, "--plain", "--quiet", "--out", str(folder)]) == 0
    table = read_table(folder)
    assert table is not None
    return table, json.loads((folder / "summary.json").read_text())


def test_the_viscosity_is_that_of_noisy_newtonian_stress():
    """κ has noise of its own, whose square would lower a fit by as much as half; σ = η (κ + κᵀ) − p."""
    rng, eta = np.random.default_rng(1), 1.7
    pattern = rng.normal(size=(1, 12, 2, 2)) * np.ones((400, 1, 1, 1))
    kappa = np.zeros((400, 12, 3, 3))
    kappa[..., :2, :2] = 0.3 * pattern + rng.normal(size=(400, 12, 2, 2))
    noise = rng.normal(size=kappa.shape)
    stress = eta * (kappa + np.swapaxes(kappa, -1, -2)) + noise
    traceless = pattern - 0.5 * np.trace(pattern, axis1=-2, axis2=-1)[..., None, None] * np.eye(2)
    averages = Averages(np.arange(400.0), {"response": stress - 5.0 * np.eye(3), "kappa": kappa}, 100.0)
    found, error = averages.viscosity(traceless)
    assert abs(found - eta) < 4.0 * error and 0.0 < error < 0.05
    exact = Averages(np.arange(400.0), {"response": stress - noise - 5.0 * np.eye(3), "kappa": kappa}, 100.0)
    assert exact.viscosity(traceless)[0] == pytest.approx(eta, rel=1e-12)


def test_noise_and_standard_errors_are_those_of_white_noise():
    """Velocities with the variance 0.04 about a flow that moves; 7 of 9 values are free."""
    rng, times = np.random.default_rng(2), np.arange(3000.0)
    beside = {"U": np.exp(-times / 500.0)[:, None] * np.ones(9)}
    U = beside["U"] + np.pad(0.2 * rng.normal(size=(3000, 7)), ((0, 0), (1, 1)))
    averages = Averages(times, {"U": U + 0.3}, 1000.0)
    variance, error = averages.noise(beside, ("U",), 7)
    assert abs(variance - 0.04) < 4.0 * error and error < 0.002
    off, sure = averages.deviation(beside, ("U",))
    assert off == pytest.approx(0.3, rel=0.05)
    assert sure == pytest.approx(0.2 * (7.0 / 9.0) ** 0.5 / 2000.0**0.5, rel=0.4)


def test_navier_stokes_beside_starts_up_as_its_series_says():
    """U = f/(2η) y (H − y) and its modes, in a channel of width 10, density 0.8, viscosity 1.6."""
    grid, eta, rho, f = fx.grids.Box(0.0, 10.0, cells=40, periodic=False), 1.6, 0.8, 0.05
    flow = fx.fluids.Flow(grid, stress="total", density=rho, viscosity=2.0, force=f, dim=3)
    times = np.array([0.0, 2.0, 6.0])
    U = newtonian(flow, eta, lambda macro: {"U": np.asarray(macro)}, times, 0.1)["U"]
    y, q = np.linspace(0.0, 10.0, 41), np.pi * np.arange(1, 200, 2)[:, None] / 10.0
    for k, t in enumerate(times):
        modes = 4.0 * f / (10.0 * eta * q**3) * (1.0 - np.exp(-eta * q**2 * t / rho)) * np.sin(q * y)
        np.testing.assert_allclose(U[k], modes.sum(axis=0), atol=2e-3 * f * 100.0 / (8.0 * eta))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"potential": Potential.WCA, "cutoff": 3.0}, "--cutoff 3.0 has no effect"),
        ({"speed": 2.0}, "--speed 2.0 has no effect"),
        ({"temperature": 0.0}, "--temperature = 0.0"),
        ({"boxes": 0}, "--boxes = 0"),
        ({"average_from": 199.9}, "--records 250: fewer than two of them are from t = 199.9 on"),
        ({"particles": 16}, "16 particles at density 0.81 make a box of length"),
    ],
)
def test_refusals(options, words):
    with pytest.raises(BadInput, match=words):
        LiquidChannel(**options).build()


def test_steps_and_noise_follow_from_the_options():
    """T M/(ρ V R) with ρ V = N, and a step of the flow as long as its steps of the boxes, lengthened by the clock."""
    case = LiquidCavity(particles=200, boxes=3, temperature=0.9, clock=5.0, substeps=2, md_step=0.004)
    assert case.variance == pytest.approx(0.9 * 5.0 / 600.0)
    assert case.dt == pytest.approx(2 * 8 * 0.004 * 5.0)
    small = LiquidChannel(potential=Potential.WCA, particles=32, boxes=2, cells=4, t1=1.6, records=8)
    assert "variance T M/(rho V R) = 0.0156, that is 0.12 beside velocities of about 1.5" in small.build().expected


def test_channel_of_molecules(tmp_path):
    """Three boxes of the same liquid agree on the stress of the start, and the whole is drawn and summed up."""
    table, summary = run(tmp_path / "run", "liquid-channel", "--boxes", "2", "--gradient", "0.5")
    a = table.arrays
    assert a["U"].shape == (9, 5) and a["velocity"].shape == (9, 4, 2) and a["sigma"].shape == a["sigma_stderr"].shape
    assert np.all(a["result"] == 0) and np.all(a["U"][:, (0, -1)] == 0.0) and np.all(a["U"][-1, 1:-1] > 0.0)
    np.testing.assert_allclose(a["temperature"], 1.0, rtol=1e-9)  # held by the thermostat
    assert np.all(a["pressure"][1:] > 1.0)  # of a dense liquid that only repels
    np.testing.assert_allclose(a["kappa"][:, :, 0, 1], np.diff(a["U"], axis=1) / 5.0, atol=1e-12)
    assert summary["variance by the law"] == pytest.approx(1.0 / 64.0) and summary["averages from"] == pytest.approx(0.4)
    assert 1.0 < summary["variance expected"] * 64.0 < 1.05 and 5.0 < summary["shear modulus"] < 80.0
    assert len(summary["Navier-Stokes"]["macro.U"]) == 5 and len(summary["Navier-Stokes"]["centre"]) == 9
    drawn = {path.name for path in (tmp_path / "run" / "figures").glob("*.png")}
    assert drawn == {"velocity.png", "stress.png", "centre.png", "boxes.png"}
    for state in read_microstates(tmp_path / "run"):
        inside = np.linalg.solve(state.arrays["box"], state.arrays["molecules"])
        assert inside.shape == (3, 32) and inside.min() > -1e-9 and inside.max() < 1.0 + 1e-9


@pytest.mark.slow
def test_cavity_of_molecules(tmp_path):
    table, summary = run(tmp_path / "run", "liquid-cavity", "--boxes", "1")
    a = table.arrays
    assert a["u"].shape == (9, 5, 4) and a["v"].shape == (9, 4, 5) and a["velocity"].shape == (9, 4, 4, 2)
    divergence = np.diff(a["u"], axis=1) + np.diff(a["v"], axis=2)
    assert np.all(a["result"] == 0) and np.abs(divergence).max() < 1e-10
    assert summary["variance by the law"] == pytest.approx(4.0 / 32.0)
    assert 1.02 < summary["variance expected"] * 8.0 < 1.06
    assert np.shape(summary["Navier-Stokes"]["macro.u"]) == (5, 4)
    drawn = {path.name for path in (tmp_path / "run" / "figures").glob("*.png")}
    assert drawn == {"fields.png", "profiles.png", "boxes.png"}


@pytest.mark.slow
def test_a_resting_channel_fluctuates_as_the_law_says(tmp_path):
    """T M/(N R) in each mode, at M = 2."""
    long = ["--gradient", "0", "--clock", "2", "--boxes", "1", "--width", "12", "--cells", "6", "--viscosity", "1.8"]
    _, summary = run(tmp_path / "run", "liquid-channel", *long, "--t1", "400", "--records", "400", "--no-figures")
    assert abs(summary["variance"] - summary["variance expected"]) < 4.0 * summary["variance, standard error"]
    assert summary["variance, standard error"] < 0.15 * summary["variance"]

"""Oscillating shear of the case rheometer: closed forms, measured moduli, harmonics."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import fiberax as fx
from fiberax import cli
from fiberax.cases.fluids.fluids_common import Form, Model, Potential
from fiberax.cases.fluids.oscillation import cycle
from fiberax.cases.fluids.rheometer import Mode, Rheometer
from fiberax.io.results import read_table


def answers(**options):
    """Responses and standard errors over the frequencies."""
    problem = Rheometer(mode=Mode.OSCILLATION, **options).build()
    found = fx.responses(problem.fiber, problem.conditions, tangent=False)
    assert not np.asarray(found.result).any()
    return found.value, found.stderr


def harmonics(alpha, amplitude, omega):
    """G' and G'' of the odd harmonics of Giesekus's fluid in two dimensions, by an integrator for ordinary equations."""

    def rate(t, flat):
        c, kappa = flat.reshape(2, 2), np.array([[0.0, amplitude * omega * np.cos(omega * t)], [0.0, 0.0]])
        off = c - np.eye(2)
        return (kappa @ c + c @ kappa.T - off - alpha * off @ off).ravel()

    period = 2.0 * np.pi / omega
    begin = np.ceil(20.0 / period) * period
    t = begin + period * np.arange(64) / 64.0
    tau = solve_ivp(rate, (0.0, t[-1]), np.eye(2).ravel(), t_eval=t, rtol=1e-10, atol=1e-12).y[1]
    waves = 2.0 / 64.0 / amplitude * np.array([np.exp(1j * n * omega * t) @ tau for n in (1, 3, 5)])
    return waves.imag, waves.real


def test_large_oscillations_of_a_closure_are_those_of_its_equation():
    """Giesekus's fluid at strain 4: all harmonics, the ratio I3/I1, and the curve of stress against strain."""
    value, error = answers(model=Model.GIESEKUS, alpha=0.3, dim=2, rates="1.5", amplitude=4.0)
    assert error is None
    elastic, viscous = harmonics(0.3, 4.0, 1.5)
    np.testing.assert_allclose(value["elastic"][0, :3], elastic, atol=2e-4)
    np.testing.assert_allclose(value["viscous"][0, :3], viscous, atol=2e-4)
    sizes = np.hypot(elastic, viscous)
    assert sizes[1] > 0.05 * sizes[0]
    np.testing.assert_allclose(value["third"][0], sizes[1] / sizes[0], atol=1e-3)
    np.testing.assert_allclose(value["fifth"][0], sizes[2] / sizes[0], atol=1e-3)
    strain, stress = cycle(np.asarray(value["elastic"][0]), np.asarray(value["viscous"][0]), 5)
    np.testing.assert_allclose(strain, [0.0, 1.0, 0.0, -1.0, 0.0], atol=1e-12)
    # A quarter of a period on, sines of n = 1, 3, 5 are 1, -1, 1 and cosines are 0.
    assert stress[1] == pytest.approx(float(value["elastic"][0] @ np.array([1.0, -1.0, 1.0, -1.0, 1.0])), abs=1e-12)


def test_large_oscillations_of_a_density_are_those_of_its_equation():
    """FENE dumbbells at strain 3: the coefficients of the density by an integrator for ordinary equations."""
    amplitude, omega = 3.0, 2.0
    value, error = answers(b=20.0, dim=2, degree=8, form=Form.DENSITY, rates="2", amplitude=amplitude)
    assert error is None
    fiber = fx.fluids.DumbbellDensity(fx.fluids.FENE(20.0), 2, 1.0, 8)
    shear = lambda t: jnp.zeros((2, 2)).at[0, 1].set(amplitude * omega * jnp.cos(omega * t))
    rate = jax.jit(lambda t, u: fiber.rate(u, shear(t)))
    period = 2.0 * np.pi / omega
    t = np.ceil(20.0 / period) * period + period * np.arange(64) / 64.0
    start = np.asarray(fiber.init(shear(0.0), jax.random.key(0)))
    u = solve_ivp(lambda t, u: np.asarray(rate(t, u)), (0.0, t[-1]), start, t_eval=t, method="LSODA", rtol=1e-8, atol=1e-10).y.T
    tau = jax.vmap(lambda u: fiber.link(u, shear(0.0))[0, 1])(jnp.asarray(u))
    waves = 2.0 / 64.0 / amplitude * np.array([np.exp(1j * n * omega * t) @ tau for n in (1, 3, 5)])
    assert abs(waves[1]) > 0.01 * abs(waves[0])
    np.testing.assert_allclose(value["elastic"][0, :3], waves.imag, atol=2e-4)
    np.testing.assert_allclose(value["viscous"][0, :3], waves.real, atol=2e-4)


def test_a_density_that_is_not_resolved_on_the_way_has_no_moduli():
    problem = Rheometer(mode=Mode.OSCILLATION, form=Form.DENSITY, degree=4, dim=2, rates="5", amplitude=30.0).build()
    found = fx.responses(problem.fiber, problem.conditions)
    assert int(found.result[0]) == fx.Result.OUT_OF_RANGE
    assert np.isnan(np.asarray(found.value["storage"])).all()


def test_small_oscillations_of_densities_are_their_linear_response():
    """Rods have a stress that acts at once."""
    for fluid in ({"model": Model.ROD, "degree": 6}, {"b": 20.0, "dim": 2, "degree": 8}):
        linear, measured = (
            answers(**fluid, De=0.7, form=Form.DENSITY, rates="0.5,4", **more)[0] for more in ({}, {"amplitude": 0.01})
        )
        for name in ("storage", "loss", "dynamic"):
            np.testing.assert_allclose(measured[name], linear[name], rtol=2e-3)


def test_small_measured_oscillations_are_those_of_maxwell():
    """Within the square of the amplitude and the error of the step."""
    value, _ = answers(model=Model.PTT, De=0.7, rates="0.5,4", amplitude=0.01)
    x = 0.7 * np.array([0.5, 4.0])
    np.testing.assert_allclose(value["storage"], x**2 / (1.0 + x**2), rtol=2e-3)
    np.testing.assert_allclose(value["loss"], x / (1.0 + x**2), rtol=2e-3)
    assert np.all(np.asarray(value["third"]) < 1e-4)


def test_a_chain_of_members_oscillates_as_rouse_says():
    """In closed form without being asked for a density; relaxation times are those of Rouse's matrix."""
    value, _ = answers(model=Model.CHAIN, springs=4, spring="hookean", De=0.7, rates="0.05,0.5,5")
    times = 2.0 * 0.7 / np.linalg.eigvalsh(2.0 * np.eye(4) - np.eye(4, k=1) - np.eye(4, k=-1))
    x = np.outer([0.05, 0.5, 5.0], times)
    np.testing.assert_allclose(value["storage"], np.sum(x**2 / (1.0 + x**2), axis=1), rtol=1e-10)
    np.testing.assert_allclose(value["loss"], np.sum(x / (1.0 + x**2), axis=1), rtol=1e-10)
    np.testing.assert_allclose(value["dynamic"], np.hypot(value["storage"], value["loss"]) / [0.05, 0.5, 5.0], rtol=1e-10)


def test_dilute_rods_of_members_oscillate_as_their_density():
    members, density = (answers(model=Model.ROD, De=2.0, rates="0.5,8", form=form)[0] for form in Form)
    for name in ("storage", "loss", "dynamic"):
        np.testing.assert_allclose(members[name], density[name], rtol=1e-8)


def test_measured_members_have_error_bars_that_hold(tmp_path):
    """A Hookean dumbbell at strain 1 is linear; the run writes errors, harmonics and both figures."""
    arguments = "--mode oscillation --spring hookean --dim 2 --amplitude 1 --rates 1 --members 60 --replicas 6 --periods 4"
    assert cli.main(["run", "rheometer", *arguments.split(), "--plain", "--quiet", "--out", str(tmp_path / "run")]) == 0
    a = read_table(tmp_path / "run").arrays
    for name in ("storage", "loss"):
        # Five degrees of freedom: 8 errors are as rare as four of a Gaussian.
        assert abs(a[name][0] - 0.5) < 8.0 * a[f"{name}_stderr"][0] < 0.4
        assert a[f"{name}_exact"][0] == pytest.approx(0.5)
    assert a["third"][0] < 8.0 * a["third_stderr"][0]
    assert {p.name for p in (tmp_path / "run" / "figures").glob("*.png")} == {"oscillation.png", "cycles.png"}


def test_a_closed_form_says_how_to_measure(tmp_path, capsys):
    arguments = "--mode oscillation --model chain --spring hookean --rows 3 --no-figures"
    assert cli.main(["run", "rheometer", *arguments.split(), "--plain", "--out", str(tmp_path / "run")]) == 0
    said = capsys.readouterr()
    assert "moduli in closed form; --amplitude 0.1 measures those of members" in said.err + said.out


@pytest.mark.slow
@pytest.mark.parametrize(
    "fluid",
    [
        {"b": 12.0, "dim": 2, "rates": "0.3,3"},
        {"model": Model.ROD, "potential": Potential.MAIER_SAUPE, "intensity": 2.0, "rates": "10", "periods": 16},
    ],
    ids=["fene", "rods"],
)
def test_measured_moduli_are_those_of_the_density(fluid):
    """FENE dumbbells and interacting rods, whose Fokker-Planck equation gives the linear response exactly."""
    members, error = answers(**fluid, replicas=16)
    density, _ = answers(**{name: x for name, x in fluid.items() if name != "periods"}, form=Form.DENSITY)
    for name in ("storage", "loss"):
        # Fifteen degrees of freedom: 4.9 errors are as rare as four of a Gaussian.
        assert np.all(np.abs(members[name] - density[name]) < 4.9 * error[name]), name
        assert np.all(error[name] < 0.06 * np.asarray(density[name]))

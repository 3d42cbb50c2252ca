"""The variance of a resting flow in its own discretisation: an exact channel, walls of second order, simulated steps."""

import jax
import numpy as np
import pytest

import fiberax as fx
from fiberax.cases.molecules.averages import Averages
from fiberax.cases.molecules.fluctuations import Fluctuations, _step, fluctuations


def flow(*cells, width=12.0):
    ends = (0.0, width) if len(cells) == 1 else ((0.0, 0.0), (width, width))
    grid = fx.grids.Box(*ends, cells[0] if len(cells) == 1 else cells, periodic=False)
    return fx.fluids.Flow(grid, stress="total", density=0.8, viscosity=2.0, dim=3)


def test_a_channel_has_no_part_of_its_walls_and_the_rates_of_its_modes():
    found = fluctuations(flow(6))
    assert found.walls == pytest.approx(1.0, abs=1e-12)
    np.testing.assert_allclose(np.sort(found.rates), np.sort(np.sin(np.pi * np.arange(1, 6) / 12.0) ** 2), rtol=1e-10)


def test_walls_of_second_order_raise_the_variance():
    """As many modes as there are values of a stream function; less with finer grids. Its own noise, in steps of Euler."""
    found = fluctuations(flow(4, 4))
    assert len(found.rates) == 9 and found.walls == pytest.approx(1.0298, abs=1e-4)
    assert 1.0 < fluctuations(flow(6, 6)).walls < found.walls
    assert fluctuations(flow(30, 30)) is None


def test_steps_are_those_of_a_simulated_mode():
    """A stress that relaxes and a velocity by the stepper's own formula, with noise: 2000 pairs over 1500 steps."""
    rng = np.random.default_rng(5)
    for rate, split, lived in ((0.8, 0.8, 0.45), (0.8, 0.0, 0.45), (0.5, 3.0, 0.2)):
        fades, pull = np.exp(-lived), np.sqrt(rate * lived)
        s, u = rng.normal(size=(2, 4000))
        total, count = 0.0, 0
        for k in range(1500):
            s = fades * s + (1.0 - fades) / lived * pull * u + np.sqrt(1.0 - fades**2) * rng.normal(size=u.shape)
            u = _step(u, s, pull, split, 1.0)
            total, count = (total + np.mean(u * u), count + 1) if k >= 300 else (total, count)
        kink = 0.5 * lived / np.tanh(0.5 * lived)
        expected = Fluctuations(np.array([1.0]), 1.3).factor(rate, rate * lived, 1.0, 1.0, 1.0, split) / 1.3 * kink
        assert abs(expected - 1.0) > 0.02 and total / count == pytest.approx(expected, abs=0.005)


def test_the_stepper_is_that_of_the_library():
    """One step of a mode under the stress of its start, which is held."""
    channel = flow(6)
    grid_mode = np.sin(np.pi * np.arange(7) / 6.0)
    rate = 4.0 / 2.0**2 * np.sin(np.pi / 12.0) ** 2
    held = fx.FlowFiber(rate=lambda s, kappa: 0.0 * s, init=lambda kappa: kappa + kappa.T, link=lambda s, kappa: s)
    bundle = fx.Bundle(channel, held, transport=fx.Fixed())
    sol = fx.evolve(bundle, fx.Seamless(separation=np.inf), jax.numpy.asarray(grid_mode), t1=1.0, dt=1.0, saveat=[1.0])
    ours = _step(1.0, 1.0, rate / 0.8, 2.0 * rate / 0.8, 1.0)
    assert 1e-4 < abs(ours - 1.0 + rate / 0.8) < 0.1
    np.testing.assert_allclose(np.asarray(sol.macro)[0], ours * grid_mode, atol=1e-12)


def test_steps_that_are_not_stable_are_told():
    assert np.isnan(Fluctuations(np.array([1.0]), 1.0).factor(3.0, 300.0, 1.0, 1.0, 1.0, 0.0))


def test_the_modulus_is_that_of_noisy_stresses():
    rng = np.random.default_rng(2)
    stress = 0.3 * rng.normal(size=(2000, 4, 3, 3)) + 5.0 * np.eye(3)
    found = Averages(np.arange(2000.0), {"response": stress}, 500.0).modulus(7.0)
    assert found == pytest.approx(7.0 * 0.09, rel=0.05)

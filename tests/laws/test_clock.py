"""The law of clocks: fibers slowed by M give the same macro run while scales stay separated.

See docs: mathematics, Averages, clocks and units.

The library's own figure of the separation is looked at beside it: it grows with M, and says when the ground is lost.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax.testing import Decay, OrnsteinUhlenbeck, observed_order

CLOCKS = (1.0, 4.0, 16.0)
RATE = 100.0


def run(fiber, clock, separation=0.2):
    bundle, start = fx.Bundle(Decay(4), fiber), jnp.linspace(0.5, 1.0, 4)
    key = jax.random.key(1) if isinstance(fiber, fx.AbstractStochastic) else None
    return fx.evolve(bundle, fx.Seamless(clock=clock, separation=separation), start, t1=1.0, dt=0.005, key=key)


def separation(sol):
    return np.array([look.ratio for look in sol.stats["separation"]]).max()


def test_deterministic_fibers():
    """dU/dt = −u², u → U at the rate 100/M: the error against 1/(1/U₀ + t) is of first order in M, as is the figure."""
    fiber = fx.FlowFiber(rate=lambda u, U: RATE * (U - u), init=lambda U: U, link=lambda u, U: u**2)
    runs = [run(fiber, clock) for clock in CLOCKS]
    start = jnp.linspace(0.5, 1.0, 4)
    errors = [float(jnp.max(jnp.abs(sol.macro[-1] - start / (1.0 + start)))) for sol in runs]
    assert errors[-1] < 0.1
    assert 0.8 < observed_order(errors, CLOCKS) < 1.2, errors
    found = [separation(sol) for sol in runs]
    np.testing.assert_allclose(found, np.array(CLOCKS) / RATE, rtol=0.35)  # the macrostate moves on a time of about 1


@pytest.mark.parametrize("ratio", [1e7, 1e3, 1.0 + 2.0**0.5, 0.3])
def test_relaxation_times_are_those_of_the_fiber_and_not_of_the_scheme(ratio):
    """In steps of `ratio` relaxation times; at 1 + √2 one step of the scheme of `fx.relax` leaves nothing."""
    dt = 0.01
    fiber = fx.relax(fx.FlowFiber(rate=lambda u, U: U - u, init=lambda U: U, link=lambda u, U: u**2), friction=dt / ratio)
    sol = fx.evolve(fx.Bundle(Decay(4), fiber), fx.Seamless(), jnp.linspace(0.5, 1.0, 4), t1=0.1, dt=dt)
    for look in sol.stats["separation"]:
        assert look.relaxation == pytest.approx(dt / ratio, rel=0.15)


@pytest.mark.slow
def test_random_fibers():
    """Means of z² over Ornstein-Uhlenbeck members: dU/dt = −(U² + D/k), solved by a tangent."""
    k, spread = RATE, 0.04
    fiber = OrnsteinUhlenbeck(k=k, diffusion=spread * k, members=4000)
    start, root = np.linspace(0.5, 1.0, 4), spread**0.5
    truth = root * np.tan(np.arctan(start / root) - root)
    for clock in CLOCKS:
        sol = run(fiber, clock)
        # that of the mean response over the run, with correlation time M/k, and the lag, of order M/k
        error = 4.0 * float(np.sqrt(fiber.variance(1.0) * 2.0 * clock / k)) + 1.2 * clock / k
        assert np.max(np.abs(sol.macro[-1] - truth)) < error, clock
        assert separation(sol) < 0.2


def test_lost_separation_is_said():
    fiber = fx.FlowFiber(rate=lambda u, U: RATE * (U - u), init=lambda U: U, link=lambda u, U: u**2)
    with pytest.warns(fx.ScaleSeparationWarning, match="No scale separation"):
        sol = run(fiber, 100.0)
    start = np.linspace(0.5, 1.0, 4)
    assert np.max(np.abs(sol.macro[-1] - start / (1.0 + start))) > 0.1

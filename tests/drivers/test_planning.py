"""Plans against the exact law of a linear response, and runs of what was planned against the error they expect."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax.testing import CubicFlow, Decay, OrnsteinUhlenbeck

EPS, MEMBERS, N, T = 1e-3, 4, 200, 0.8
MICRO = 0.25 * EPS
FIBER = OrnsteinUhlenbeck(k=1.0 / EPS, diffusion=0.5 / EPS, members=MEMBERS)
BUNDLE = fx.Bundle(Decay(N), FIBER, link=lambda fiber, state, condition: jnp.mean(state))
START = jnp.ones(N)


def planned(driver, target, dt=0.05):
    return fx.plan(BUNDLE, driver, START, t1=T, dt=dt, target_error=target, micro=MICRO, key=jax.random.key(5))


def law(intensity):
    """Spread and lag of dU = −U dt + dW: √(q (1 − e^(−2t))/2), and ε t e^(−t)."""
    return np.sqrt(0.5 * intensity * (1.0 - np.exp(-2.0 * T))), EPS * T * np.exp(-T)


def run(plan):
    sol = fx.evolve(BUNDLE, plan.driver, START, t1=T, dt=plan.dt, key=jax.random.key(7))
    assert sol.stats["expected_error"] == plan.error
    assert abs(sol.stats["fiber_steps"] / plan.fiber_steps - 1.0) < 0.02
    return sol.macro[-1] - np.exp(-T)


def test_the_clock_is_that_of_the_law():
    """Q = 2σ²τ = ε/members; error² = (lag M)² + spread² M."""
    plan = planned(fx.Seamless(separation=np.inf), 0.03)
    clock = float(plan.driver.clock)
    spread, lag = law(EPS / MEMBERS * clock)
    np.testing.assert_allclose(plan.spread, spread, rtol=0.1)  # of the measured intensity
    np.testing.assert_allclose(plan.bias, lag * clock, rtol=0.1)
    np.testing.assert_allclose(plan.correlation_time, EPS, rtol=0.25)
    np.testing.assert_allclose(plan.error, 0.03, rtol=1e-6)
    again = planned(plan.driver, None)  # the same numbers, and what they give
    assert float(again.driver.clock) == clock
    np.testing.assert_allclose(again.error, plan.error, rtol=1e-6)
    off = run(plan)
    assert abs(np.std(off) / plan.spread - 1.0) < 0.2
    assert np.sqrt(np.mean(off**2)) < 1.2 * 0.03


def test_bursts_are_those_of_the_law():
    plan = planned(fx.HeterogeneousMultiscale(relax=0, average=1), 0.01, dt=0.1)
    driver = plan.driver
    spread, _ = law(EPS / MEMBERS * 0.1 / (2 * driver.average * MICRO))
    np.testing.assert_allclose(plan.spread, spread, rtol=0.1)
    assert plan.error <= 0.01 * (1.0 + 1e-9)
    off = run(plan)
    assert abs(np.std(off) / plan.spread - 1.0) < 0.25
    assert abs(np.sqrt(np.mean(off**2)) - 0.01) < 0.003
    many = planned(fx.HeterogeneousMultiscale(relax=0, average=1, replicas=4), 0.01, dt=0.1)
    assert many.driver.average < driver.average and many.fiber_steps >= plan.fiber_steps


def test_shared_noise_does_not_average_out():
    """A mean over sites: independent noise gives N times less variance than shared noise."""

    class Mean(fx.AbstractMacro):
        def conditions(self, macro):
            return macro * jnp.ones(10)

        def rate(self, t, macro, response):
            return -jnp.mean(response, keepdims=True)

    spreads = {}
    for noise in ("independent", "shared"):
        bundle = fx.Bundle(Mean(), FIBER, link=BUNDLE.link, noise=noise)
        target = 0.02
        found = fx.plan(bundle, fx.Seamless(), jnp.ones(1), t1=T, dt=0.05, target_error=target, micro=MICRO)
        spreads[noise] = found.spread**2 / float(found.driver.clock)
    np.testing.assert_allclose(spreads["shared"] / spreads["independent"], 10.0, rtol=0.1)


def test_misuse_is_told():
    options = {"t1": T, "dt": 0.05, "target_error": 0.01}
    for bundle, driver, more, kind, told in (
        (BUNDLE, fx.Quasistatic(), {}, fx.Mismatch, "cannot"),
        (fx.Bundle(Decay(N), CubicFlow()), fx.Seamless(), {}, fx.Mismatch, "draws no noise"),
        (BUNDLE, fx.Seamless(), {"target_error": 0.0}, fx.BadInput, "target_error"),
        (BUNDLE, fx.Seamless(), {}, fx.BadInput, "Give micro"),
        (BUNDLE, fx.Seamless(clock="auto"), {"target_error": None, "micro": MICRO}, fx.BadInput, "auto"),
        (BUNDLE, fx.Seamless(), {"micro": -1.0}, fx.BadInput, "micro must be positive"),
    ):
        with pytest.raises(kind, match=told):
            fx.plan(bundle, driver, START, **options | more)
    with pytest.raises(fx.BadInput, match="too large"):
        fx.plan(fx.Bundle(Decay(2001), FIBER, BUNDLE.link), fx.Seamless(), jnp.ones(2001), micro=MICRO, **options)

"""Macro steps and macro equilibrium: orders, steady states, stiffness, scale separation."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax.testing import CubicFlow, Decay, Heat, OrnsteinUhlenbeck, observed_order

CONSTANT = fx.FlowFiber(lambda u, c: 1.5 - u, lambda c: jnp.zeros(()), lambda u, c: u)  # D = 1.5 whatever U
FORCED = Decay(3, source=0.5)
START = jnp.asarray([0.6, 1.1, 1.7])


@pytest.mark.parametrize(
    "stepper, expected", [(fx.ForwardEuler(), 1), (fx.Heun(), 2), (fx.BackwardEuler(), 1), (fx.SDIRK2(), 2)]
)
def test_order_of_the_macro_steps(stepper, expected):
    """Nonlinear relaxation, against the same scheme with a fine step for order two (whose own error is far smaller)."""
    bundle = fx.Bundle(FORCED, CubicFlow(a=0.5))
    go = lambda dt, stepper: fx.evolve(bundle, fx.Quasistatic(1e-11), START, t1=1.0, dt=dt, stepper=stepper).macro[0]
    truth = go(1 / 800, fx.Heun())
    steps = (0.1, 0.05, 0.025)
    errors = [np.abs(go(dt, stepper) - truth).max() for dt in steps]
    assert abs(observed_order(errors, steps) - expected) < 0.2, errors


def test_implicit_steps_are_not_bound_by_the_grid():
    """Heat, D = 1.5, steps 40 times the explicit limit: modes damped as the scheme's stability function says."""
    cells, dt = 16, 0.05
    start = 1.0 + jnp.cos(2 * jnp.pi * jnp.arange(cells) / cells)
    bundle = fx.Bundle(Heat(cells), CONSTANT)
    z = -4.0 * 1.5 * cells**2 * np.sin(np.pi / cells) ** 2 * dt
    assert dt > 40 * 2.0 / (4.0 * 1.5 * cells**2) / 2
    found = fx.evolve(bundle, fx.Quasistatic(), start, t1=dt, dt=dt, stepper=fx.BackwardEuler()).macro[0]
    np.testing.assert_allclose(found, 1.0 + (start - 1.0) / (1.0 - z), rtol=1e-8)
    gamma = 1.0 - 0.5**0.5
    factor = (1.0 + (1.0 - 2.0 * gamma) * z) / (1.0 - gamma * z) ** 2
    found = fx.evolve(bundle, fx.Quasistatic(), start, t1=dt, dt=dt, stepper=fx.SDIRK2()).macro[0]
    np.testing.assert_allclose(found, 1.0 + (start - 1.0) * factor, rtol=1e-8)


@pytest.mark.parametrize("steps", [12, 20])
def test_implicit_steps_through_zero(steps):
    """U grows by one per time, and falls by one after 0.6: the macrostate comes back to zero in one step exactly."""
    bundle = fx.Bundle(UpAndDown(), fx.testing.CubicFlow())
    sol = fx.evolve(bundle, fx.Quasistatic(), np.zeros(1), t1=1.2, dt=1.2 / steps, stepper=fx.BackwardEuler())
    np.testing.assert_allclose(sol.macro[-1], 0.0, atol=1e-12)


class UpAndDown(fx.AbstractMacro):
    """No response enters."""

    def conditions(self, macro):
        return macro

    def rate(self, t, macro, response):
        return jnp.where(t < 0.6 + 1e-9, 1.0, -1.0) + 0.0 * response


def test_steady_state():
    fiber = CubicFlow(a=0.5)
    sol = fx.steady(fx.Bundle(FORCED, fiber), fx.Quasistatic(), START)
    assert sol.macro.shape == (1, 3) and sol.response.shape == (1, 3) and not sol.result.any()
    np.testing.assert_allclose(sol.macro[0], fiber.condition_of(0.5), rtol=1e-8)
    np.testing.assert_allclose(sol.response[0], 0.5, rtol=1e-8)
    np.testing.assert_array_equal(sol.ts, [0.0])


def test_steady_says_when_it_fails():
    rising = fx.FlowFiber(lambda u, c: jnp.exp(c) - u, lambda c: jnp.zeros(()), lambda u, c: -u)  # dU/dt = exp(U) + ½ > 0
    with pytest.raises(fx.NotConverged, match="Start closer"):
        fx.steady(fx.Bundle(FORCED, rising), fx.Quasistatic(), START, max_steps=15)
    poor = fx.FlowFiber(lambda u, c: jnp.where(c < 1.0, jnp.nan, c - u), lambda c: jnp.zeros(()), lambda u, c: u)
    with pytest.raises(fx.FiberFailure, match="Worst site 0 at position"):
        fx.steady(fx.Bundle(FORCED, poor), fx.Quasistatic(), START)


@pytest.mark.parametrize("cells", [24, 260])
def test_stiffness_of_the_heat_equation(cells):
    """Largest eigenvalue −4D/dx², dense and by ARPACK (more than 256 unknowns)."""
    found = fx.stiffness(fx.Bundle(Heat(cells), CONSTANT), jnp.ones(cells))
    np.testing.assert_allclose(found.eigenvalue, -4.0 * 1.5 * cells**2, rtol=1e-4)
    np.testing.assert_allclose(found.step, 2.0 / (6.0 * cells**2), rtol=1e-4)
    assert abs(found.growth) < 1e-6 * 6.0 * cells**2 or cells > 256


def test_stiffness_follows_the_fibers():
    """dA/dU of the fibers enters: −1/(1 + 3aA²) at each site, and a positive growth where the model is ill-posed."""
    fiber = CubicFlow(a=0.5)
    found = fx.stiffness(fx.Bundle(FORCED, fiber), fiber.condition_of(START))
    np.testing.assert_allclose(found.eigenvalue, -fiber.slope_at(0.6), rtol=1e-6)
    np.testing.assert_allclose(found.growth, -fiber.slope_at(1.7), rtol=1e-6)
    falling = fx.FlowFiber(lambda u, c: -2.0 - u, lambda c: jnp.zeros(()), lambda u, c: u)
    found = fx.stiffness(fx.Bundle(Heat(8), falling), jnp.ones(8))
    assert found.growth > 100.0 and found.ill_posed


def test_a_reaction_that_grows_is_not_ill_posed():
    """dU/dt = 3 U at each site: a uniform change grows as fast as any other."""
    rising = fx.FlowFiber(lambda u, c: -3.0 * c - u, lambda c: jnp.zeros(()), lambda u, c: u)
    found = fx.stiffness(fx.Bundle(Decay(8), rising), jnp.ones(8))
    assert found.growth == pytest.approx(3.0) and found.uniform == pytest.approx(3.0) and not found.ill_posed


class Rooted(Decay):
    def rate(self, t, macro, response):
        return -jnp.sqrt(jnp.abs(macro)) * response


@pytest.mark.parametrize("sites", [3, 300])
def test_a_rate_without_derivative_has_no_limit(sites):
    """√|U| has no derivative at 0: nothing is known about steps there, and an explicit run goes on without a word."""
    bundle = fx.Bundle(Rooted(sites), CubicFlow())
    start = jnp.ones(sites).at[1].set(0.0)
    found = fx.stiffness(bundle, start)
    assert np.isnan([found.eigenvalue, found.step, found.growth]).all()
    sol = fx.evolve(bundle, fx.Quasistatic(), start, t1=0.2, dt=0.1, stepper=fx.ForwardEuler())
    assert np.isfinite(sol.macro[-1]).all()


def test_explicit_limit_is_real():
    """Just below the reported step the highest mode decays, just above it grows."""
    bundle = fx.Bundle(Heat(8), CONSTANT)
    limit = fx.stiffness(bundle, jnp.ones(8)).step
    start = 1.0 + 0.1 * jnp.cos(jnp.pi * jnp.arange(8))
    go = lambda dt: fx.evolve(bundle, fx.Quasistatic(), start, t1=40 * dt, dt=dt, stepper=fx.ForwardEuler()).macro[0]
    assert np.ptp(go(0.98 * limit)) < 0.15
    with pytest.warns(fx.StepLimitWarning, match="longer than the stability limit"):
        assert np.ptp(go(1.02 * limit)) > 0.5
    sol = fx.evolve(bundle, fx.Quasistatic(), start, t1=12 * limit, dt=0.5 * limit, stepper=fx.ForwardEuler())
    looks = sol.stats["stability"]
    assert len(looks) >= 2 and looks[0].t <= 0.5 * limit * (1 + 1e-9)  # after the first step, and later


@pytest.mark.parametrize("friction, slow", [(0.01, False), (3.0, True)])
def test_scale_separation_is_measured(friction, slow):
    """u relaxes in the time η, U moves in about 1: the ratio is recorded, and warned about once above 0.1."""
    fiber = fx.relax(CubicFlow(a=0.0), friction=friction)
    run = lambda: fx.evolve(fx.Bundle(Decay(4), fiber), fx.Seamless(), jnp.ones(4), t1=0.5, dt=0.01)
    if slow:
        with pytest.warns(fx.ScaleSeparationWarning, match="No scale separation") as caught:
            sol = run()
        assert len(caught) == 1
    else:
        sol = run()  # a warning would be an error here
    looks = sol.stats["separation"]
    assert 8 <= len(looks) <= 12
    np.testing.assert_allclose([look.relaxation for look in looks], friction, rtol=0.15)
    ratio = [look.ratio for look in looks]
    np.testing.assert_allclose(ratio, [look.relaxation / look.macro for look in looks])


class Costly(CubicFlow):
    """Counts how often a start is computed."""

    begun: ClassVar[list[int]] = []

    def init(self, condition, key):
        jax.debug.callback(lambda: self.begun.append(1))
        return super().init(condition, key)


@pytest.mark.parametrize("options", [{"friction": 0.01}, {"mass": 1e-3, "friction": 0.1}])
def test_scale_separation_computes_no_start(options):
    Costly.begun.clear()
    bundle = fx.Bundle(Decay(1), fx.relax(Costly(a=0.0), **options))
    sol = fx.evolve(bundle, fx.Seamless(separation=1.0), jnp.ones(1), t1=0.1, dt=0.005)
    jax.effects_barrier()
    assert len(sol.stats["separation"]) >= 8 and len(Costly.begun) == 1


def test_scale_separation_of_the_clock_and_of_random_fibers():
    """Two copies on the same noise approach each other at the rate k; a clock M makes that M times longer."""
    bundle = fx.Bundle(Decay(2), OrnsteinUhlenbeck(k=40.0, members=4))
    sol = fx.evolve(bundle, fx.Seamless(clock=4.0, separation=10.0), jnp.ones(2), t1=0.5, dt=0.02)
    times = [look.relaxation for look in sol.stats["separation"]]
    np.testing.assert_allclose(times, 4.0 / 40.0, rtol=0.05)


def test_scale_separation_that_nothing_tells_is_not_measured():
    """A random fiber at one site has no second state to compare with: no number is invented, and nothing is warned about."""
    sol = fx.evolve(fx.Bundle(Decay(1), OrnsteinUhlenbeck(k=0.01)), fx.Seamless(), jnp.ones(1), t1=0.5, dt=0.02)
    looks = sol.stats["separation"]
    assert looks and np.isnan([(look.relaxation, look.ratio) for look in looks]).all()


class Known(OrnsteinUhlenbeck):
    """Says its relaxation time itself."""

    def relaxation_time(self, condition):
        return 1.0 / self.k


def test_scale_separation_is_what_the_fiber_says():
    bundle = fx.Bundle(Decay(1), Known(k=0.1))
    with pytest.warns(fx.ScaleSeparationWarning, match="the fibers relax in 20, the macrostate"):
        sol = fx.evolve(bundle, fx.Seamless(clock=2.0), jnp.ones(1), t1=0.5, dt=0.02)
    np.testing.assert_allclose([look.relaxation for look in sol.stats["separation"]], 20.0)


class Led(fx.AbstractMacro):
    """U₀ is prescribed, U₁ follows it at the rate U₀ − A with A = U₁; one site."""

    def conditions(self, macro):
        return macro[1:]

    def rate(self, t, macro, response):
        return jnp.stack([jnp.zeros(()), macro[0] - response[0]])

    def prescribed(self, t, macro):
        return macro.at[0].set(1.0 + jnp.sin(t))


FOLLOWER = fx.FlowFiber(rate=lambda s, U: U - s, init=lambda U: jnp.zeros(()), link=lambda s, U: s)


def led(t):
    """U₁ from U₁(0) = 2."""
    return 1.0 + 0.5 * (np.sin(t) - np.cos(t)) + 1.5 * np.exp(-t)


@pytest.mark.parametrize(
    ("stepper", "order"), [(fx.ForwardEuler(), 1), (fx.Heun(), 2), (fx.BackwardEuler(), 1), (fx.SDIRK2(), 2)]
)
def test_prescribed_entries_are_set_in_every_stage(stepper, order):
    run = lambda dt: (
        fx.evolve(
            fx.Bundle(Led(), FOLLOWER),
            fx.Quasistatic(),
            jnp.array([9.0, 2.0]),
            t1=1.0,
            dt=dt,
            stepper=stepper,
            saveat=[0.0, 1.0],
        ).macro
    )
    coarse, fine = run(0.1), run(0.05)
    np.testing.assert_allclose(fine[:, 0], [1.0, 1.0 + np.sin(1.0)], rtol=1e-14)
    assert fine[0, 1] == 2.0
    errors = [abs(u[1, 1] - led(1.0)) for u in (coarse, fine)]
    assert order - 0.15 < np.log2(errors[0] / errors[1]) < order + 0.3


def test_prescribed_entries_are_set_in_steady_states_loads_and_stiffness():
    bundle, far = fx.Bundle(Led(), FOLLOWER), jnp.array([9.0, 2.0])
    np.testing.assert_allclose(fx.steady(bundle, fx.Quasistatic(), far, t=0.5).macro[0], 1.0 + np.sin(0.5), rtol=1e-8)
    path = fx.continuation(bundle, fx.Quasistatic(), far, t0=0.0, t1=1.0, dt=0.5)
    np.testing.assert_allclose(path.macro, 1.0 + np.sin(path.ts)[:, None] * np.ones(2), rtol=1e-8)
    assert fx.stiffness(bundle, far).eigenvalue == pytest.approx(-1.0)
    carried = fx.evolve(fx.Bundle(Led(), fx.relax(FOLLOWER, friction=1e-3)), fx.Seamless(), far, t1=1.0, dt=0.002)
    np.testing.assert_allclose(carried.macro[-1], [1.0 + np.sin(1.0), led(1.0)], atol=5e-3)

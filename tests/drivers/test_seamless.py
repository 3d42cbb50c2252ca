"""Seamless: second order in Δt against a tight solution of the whole coupled system, clock, substeps, misuse."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from keeper import Keeper

import fiberax as fx
from fiberax.testing import CubicFlow, Decay, ElasticWave, Motion, SharedLoad, Spring, TwoSpringChain, observed_order

START = jnp.asarray([0.6, 1.7])


def coupled(bundle, clock, macro0, t1):
    """The coupled system by an adaptive scheme of order 8, to 1e-12."""
    solution = diffrax.diffeqsolve(
        fx.coupled_ode(bundle, clock),
        diffrax.Dopri8(),
        t0=0.0,
        t1=t1,
        dt0=1e-3,
        y0=(macro0, fx.section(bundle, macro0)),
        stepsize_controller=diffrax.PIDController(rtol=1e-12, atol=1e-13),
        max_steps=100_000,
    )
    return jax.tree.map(lambda x: x[0], solution.ys)


def order(bundle, driver, macro0, t1, steps, stepper=None):
    """Observed order of the macrostate at t1, and the errors."""
    truth = jax.tree.leaves(coupled(bundle, float(driver.clock), macro0, t1)[0])
    errors = []
    for dt in steps:
        found = fx.evolve(bundle, driver, macro0, t1=t1, dt=dt, stepper=stepper).macro
        errors.append(max(np.abs(a[0] - b).max() for a, b in zip(jax.tree.leaves(found), truth, strict=True)))
    return observed_order(errors, steps), errors


STEPS = (0.05, 0.025, 0.0125)
QUIET = fx.Seamless(clock=0.5, separation=np.inf)


@pytest.mark.parametrize(
    "fiber",
    [
        fx.relax(CubicFlow(a=0.5, speed=2.0)),
        fx.relax(CubicFlow(a=0.5, speed=2.0), scheme=fx.Explicit()),
        fx.relax(Spring(0.6, 0.4), mass=0.2, friction=0.3),
    ],
    ids=["implicit", "explicit", "inertial"],
)
def test_second_order_in_the_step(fiber):
    """Nonlinear and far from equilibrium at the start; the fibers are about as fast as the macrostate."""
    found, errors = order(fx.Bundle(Decay(2, source=1.0), fiber), QUIET, START, 0.6, STEPS)
    assert 1.8 < found < 2.3, (found, errors)
    assert errors[-1] < 1e-3


def test_second_order_for_waves_on_inertial_fibers():
    bundle = fx.Bundle(ElasticWave(8), fx.relax(TwoSpringChain(k=1.0, q=8.0), mass=0.02, friction=0.05))
    macro = Motion(0.3 * jnp.cos(2 * jnp.pi * jnp.arange(8) / 8), jnp.zeros(8))
    found, errors = order(bundle, fx.Seamless(separation=np.inf), macro, 0.4, (0.02, 0.01, 0.005))
    assert 1.8 < found < 2.3, (found, errors)


def test_order_with_a_constraint_that_moves():
    """A state between two times cannot satisfy the constraint of both: first order there (pull back, as (4.12) does)."""
    found, errors = order(fx.Bundle(Decay(2), fx.relax(SharedLoad(jnp.asarray([1.0, 2.0, 5.0])))), QUIET, START, 0.6, STEPS)
    assert found > 0.9, (found, errors)


def test_euler_is_first_order():
    """The measurement can tell the difference, where the response depends on the macrostate at once as well."""
    bundle = fx.Bundle(Decay(2, source=1.0), CubicFlow(a=0.5), link=lambda fiber, u, c: u + c)
    found, errors = order(bundle, QUIET, START, 0.6, STEPS, fx.ForwardEuler())
    assert 0.85 < found < 1.2, (found, errors)


def test_clock_slows_the_fibers():
    """A clock M is the same as a friction M times larger; substeps refine."""
    bundle = lambda friction: fx.Bundle(Decay(2), fx.relax(CubicFlow(), friction=friction))
    go = lambda bundle, **o: fx.evolve(bundle, fx.Seamless(separation=np.inf, **o), START, t1=0.4, dt=0.05).macro
    np.testing.assert_allclose(go(bundle(1.0), clock=3.0), go(bundle(3.0), clock=1.0), rtol=1e-12)
    once, thrice = go(bundle(0.05)), go(bundle(0.05), substeps=8)
    assert 0.0 < np.abs(once - thrice).max() < 0.02


@pytest.mark.parametrize(
    "options, word", [({"substeps": 0}, "substeps"), ({"clock": 0.0}, "clock"), ({"substeps": 1.5}, "substeps")]
)
def test_misuse_is_named(options, word):
    with pytest.raises(fx.BadInput, match=word):
        fx.Seamless(**options)


class TestClockOfItsOwn:
    """`clock="auto"`: the largest clock that keeps the stated ratio of time scales."""

    BUNDLE = fx.Bundle(Decay(2, source=1.0), fx.relax(CubicFlow(a=0.0, speed=500.0)))

    def run(self, **options):
        driver = fx.Seamless(clock="auto", separation=0.05)
        return fx.evolve(self.BUNDLE, driver, START, t1=1.0, dt=0.01, **options)

    def test_it_keeps_the_ratio_and_is_revised(self):
        """The relaxation time is 1/500; the macrostate halves its distance from rest in log 2."""
        found = self.run()
        times, clocks = np.asarray(found.stats["clock"]).T
        assert len(times) == 11 and clocks[0] == 1.0 and np.all(clocks[1:] > 5.0)
        # The first micro step was five relaxation times long: they are measured in shorter ones.
        for look, clock in zip(found.stats["separation"], clocks[1:], strict=True):
            np.testing.assert_allclose(clock, 0.05 * min(look.macro, 1.0) * 500.0, rtol=0.1)
        truth = fx.evolve(fx.Bundle(Decay(2, source=1.0), CubicFlow(a=0.0)), fx.Quasistatic(1e-10), START, t1=1.0, dt=0.01)
        assert 1e-4 < np.abs(found.macro - truth.macro).max() < 0.05

    def test_it_goes_with_a_snapshot(self):
        keeper = Keeper()
        whole = self.run(checkpoint=keeper)
        middle = next(s for s in keeper.snapshots if 20 < s.step < 90)
        rest = self.run(start=middle)
        np.testing.assert_array_equal(rest.macro[-1], whole.macro[-1])
        assert rest.stats["clock"][1:] == whole.stats["clock"][-len(rest.stats["clock"]) + 1 :]

    def test_no_micro_step_is_longer_than_the_fibers_own(self):
        class Short(fx.AbstractDynamic):
            def init(self, condition, key):
                return condition

            def step(self, state, condition, dt, key):
                return condition + (state - condition) * jnp.exp(-500.0 * dt)

            def link(self, state, condition):
                return state

            def timestep(self, condition):
                return jnp.asarray(1e-4)

            def relaxation_time(self, condition):
                return jnp.asarray(1 / 500)

        with pytest.warns(fx.ScaleSeparationWarning):
            found = fx.evolve(
                fx.Bundle(Decay(2, source=1.0), Short()), fx.Seamless(clock="auto", separation=0.01), START, t1=0.2, dt=0.02
            )
        assert all(clock >= 0.02 / 1e-4 * (1.0 - 1e-12) for _, clock in found.stats["clock"])

    def test_misuse_is_told(self):
        with pytest.raises(fx.BadInput, match="clock"):
            fx.Seamless(clock="slow")
        with pytest.raises(fx.BadInput, match="separation"):
            fx.Seamless(clock="auto", separation=np.inf)
        with pytest.raises(fx.BadInput, match="revised between the steps"):
            fibers = fx.Fibers(self.BUNDLE.fiber, fx.Seamless(clock="auto"), START)
            fibers.advance(fibers.begin(START), START, 0.1)

"""Fibers that fail: isolated, tried once more, counted, named; and macrostates that blow up."""

import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax.testing import Decay, Heat

LINK = lambda u, c: u


def fragile(u, c):
    """NaN under conditions below 0.75, else u = c at rest."""
    return jnp.where(c < 0.75, jnp.nan, c - u)


FRAGILE = fx.Bundle(Decay(4), fx.FlowFiber(fragile, lambda c: jnp.zeros_like(c), LINK))
START = jnp.asarray([2.0, 0.8, 3.0, 4.0])  # decays like exp(−t): site 1 reaches 0.75 first


@pytest.mark.parametrize("driver", [fx.Quasistatic(), fx.Seamless(separation=float("inf"))])
def test_one_failed_fiber_stops_the_run_in_words(driver):
    with pytest.raises(fx.FiberFailure) as caught:
        fx.evolve(FRAGILE, driver, START, t1=1.0, dt=0.02)
    message = str(caught.value)
    for word in (
        "1 of 4 fibers failed",
        "Worst site 1",
        "position [1.0]",
        "condition 0.7",
        "not finite",
        "fail_fraction",
        "t = 0.",
    ):
        assert word in message, message


def test_a_failed_fiber_poisons_nobody_and_keeps_its_last_response():
    sol = fx.evolve(FRAGILE, fx.Quasistatic(), START, t1=0.5, dt=0.01, saveat=[0.05, 0.3, 0.5], fail_fraction=0.25)
    np.testing.assert_array_equal(sol.result[0], [0, 0, 0, 0])
    np.testing.assert_array_equal(sol.result[1:] != 0, [[False, True, False, False]] * 2)
    assert np.all(np.isfinite(sol.macro)) and np.all(np.isfinite(sol.response))
    others = [0, 2, 3]
    np.testing.assert_allclose(sol.macro[-1][others], np.asarray(START)[others] * np.exp(-0.5), rtol=1e-4)
    assert sol.response[1, 1] == sol.response[2, 1] and 0.75 <= sol.response[2, 1] < 0.77
    np.testing.assert_allclose(sol.macro[2, 1], sol.macro[1, 1] - 0.2 * sol.response[1, 1], rtol=1e-10)


def test_what_happened_before_the_failure_is_saved():
    records, snapshots = [], []

    class Keeper(fx.AbstractRecorder):
        def due(self):
            return False

        def save(self, snapshot):
            snapshots.append(snapshot)

        def record(self, record):
            records.append(record)

    with pytest.raises(fx.FiberFailure):
        fx.evolve(FRAGILE, fx.Quasistatic(), START, t1=1.0, dt=0.02, saveat=[0.02, 0.04, 1.0], checkpoint=Keeper())
    assert [r.index for r in records] == [0, 1, 2] and len(snapshots) == 1
    assert np.all(np.isfinite(records[-1].macro)) and snapshots[0].step == 3


def needs_a_fresh_start(u, c):
    """Newton diverges to NaN from u > 1, where the carried state ends up under large conditions; from u = 0 it is linear."""
    return jnp.where((c < 1.0) & (u > 1.0), jnp.nan, c - u)


def test_second_try_from_init_mends_a_bad_warm_start():
    fiber = fx.FlowFiber(needs_a_fresh_start, lambda c: jnp.zeros_like(c), LINK)
    sol = fx.evolve(
        fx.Bundle(Decay(2), fiber), fx.Quasistatic(), jnp.asarray([1.05, 2.0]), t1=0.2, dt=0.1, stepper=fx.ForwardEuler()
    )
    assert not sol.result.any()
    np.testing.assert_allclose(sol.macro[-1], np.asarray([1.05, 2.0]) * 0.9**2, rtol=1e-7)


def test_a_fiber_that_fails_from_the_start_is_named():
    with pytest.raises(fx.FiberFailure, match="Worst site 1"):
        fx.evolve(FRAGILE, fx.Quasistatic(), START.at[1].set(0.1), t1=0.1, dt=0.05)


def test_a_fiber_without_a_response_takes_that_of_the_nearest_site():
    """Decay has its sites at 0, 1, 2, 3: site 1 fails from the first step on, and site 0 is as near as site 2."""
    start = START.at[1].set(0.1)
    for driver in (fx.Quasistatic(), fx.Seamless(separation=float("inf"))):
        sol = fx.evolve(FRAGILE, driver, start, t1=0.1, dt=0.05, saveat=[0.05, 0.1], fail_fraction=0.5)
        np.testing.assert_array_equal(sol.result, [[0, fx.Result.BORROWED, 0, 0]] * 2)
        assert sol.stats["failures"] == 2  # one site in each of two steps
        if driver.slaved:  # carried fibers are half a step older in the step than in the record
            np.testing.assert_array_equal(sol.response[:, 1], sol.response[:, 0])
        assert np.all(sol.response[:, 1] > 0.0)
    with pytest.raises(fx.FiberaxError, match="4 of 4 fibers failed"):
        fx.evolve(FRAGILE, fx.Quasistatic(), 0.0 * start, t1=0.1, dt=0.05, fail_fraction=0.5)


class Still(fx.AbstractMacro):
    """Conditions that stay."""

    def conditions(self, macro):
        return macro

    def rate(self, t, macro, response):
        return 0.0 * response


def test_borrowed_responses_are_marked_in_steady_states_and_paths():
    bundle, start = fx.Bundle(Still(), fx.FlowFiber(fragile, lambda c: jnp.zeros_like(c), LINK)), START.at[1].set(0.1)
    run = fx.evolve(bundle, fx.Quasistatic(), start, t1=0.1, dt=0.1, fail_fraction=0.5)
    for sol in (run, fx.steady(bundle, fx.Quasistatic(), start, fail_fraction=0.5)):
        np.testing.assert_array_equal(sol.result[-1], [0, fx.Result.BORROWED, 0, 0])
        np.testing.assert_allclose(sol.response, run.response, rtol=1e-7)
    path = fx.continuation(bundle, fx.Quasistatic(), start, dt=0.5, fail_fraction=0.5)
    np.testing.assert_array_equal(path.result, [[0, fx.Result.BORROWED, 0, 0]] * 3)


def test_blow_up_names_the_step_limit():
    """Heat equation with D = 1 + U² above the explicit limit 2/(4D/dx²): the message gives the limit."""
    bundle = fx.Bundle(Heat(16), fx.FlowFiber(lambda u, c: c - u, lambda c: jnp.zeros_like(c), lambda u, c: 1.0 + u**2))
    start = 1.0 + 0.5 * jnp.cos(2.0 * jnp.pi * jnp.arange(16) / 16)
    blown_up = pytest.raises(fx.NonFiniteMacro, match=r"limit an explicit step to dt = .*which this run exceeds.*SDIRK2")
    with blown_up, pytest.warns(fx.StepLimitWarning, match=r"at t = 0\.02"):  # said after the first step
        fx.evolve(bundle, fx.Quasistatic(), start, t1=2.0, dt=0.02)


def test_bad_share_is_refused():
    with pytest.raises(fx.BadInput, match="fail_fraction"):
        fx.evolve(FRAGILE, fx.Quasistatic(), START, t1=1.0, dt=0.1, fail_fraction=1.5)

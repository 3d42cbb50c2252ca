"""A table that costs more than what it replaces is left out, and said so; one that pays stays."""

import time
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from keeper import Keeper

import fiberax as fx
from fiberax.drivers import surrogate
from fiberax.drivers.paying import Costs, costs
from fiberax.drivers.tables import Curve
from fiberax.testing import CubicFlow, Decay

START, OPTIONS = jnp.linspace(0.5, 1.5, 12), {"t1": 0.4, "dt": 0.1}
CHEAP = fx.Bundle(Decay(12, source=1.0), CubicFlow(a=0.5))


class Dear(fx.AbstractFlow):
    """A cubic flow whose rate waits for a millisecond."""

    def init(self, condition, key):
        return jnp.zeros_like(condition)

    def rate(self, state, condition):
        return condition - state - 0.5 * state**3

    @property
    def solver(self):
        return Waiting()

    def link(self, state, condition):
        return state


class Waiting(fx.Newton):
    def solve(self, fiber, state, condition, tolerance):
        def wait(x):
            time.sleep(2e-3)
            return np.asarray(x)

        waited = jax.pure_callback(wait, jax.ShapeDtypeStruct((), state.dtype), state, vmap_method="sequential")
        return super().solve(fiber, waited, condition, tolerance)


@pytest.fixture
def measured(monkeypatch):
    """Sets what is measured: the times of a solve and of a look-up."""
    return lambda solve, look_up: monkeypatch.setattr(surrogate, "costs", lambda *_: Costs(solve, look_up))


@pytest.mark.slow
def test_times_are_measured():
    """A solve waits for two milliseconds; the state it begins from is that of another condition."""
    bundle = fx.Bundle(Decay(3, source=1.0), Dear())
    seen = []

    def pays(driver, field, macro, response):
        seen.append(costs(driver.inner, Curve(1e-4, 64, 1), 1, field, field.bundle.macro.conditions(macro)))
        return True

    driver = type("Seen", (fx.Surrogate,), {"pays": pays})(fx.Quasistatic(), 1e-4)
    fx.evolve(bundle, driver, START[:3], t1=0.1, dt=0.1)
    assert 2e-3 < seen[0].solve < 0.1 and 0.0 < seen[0].look_up < 1e-3


def test_a_table_that_does_not_pay_is_left_out(measured):
    measured(1e-5, 2e-5)
    with pytest.warns(fx.NoEffectWarning, match=r"one solve of CubicFlow takes 10 µs.* 20.1 µs.*always=True"):
        found = fx.evolve(CHEAP, fx.Surrogate(fx.Quasistatic(), 1e-4), START, **OPTIONS)
    nested = fx.evolve(CHEAP, fx.Quasistatic(), START, **OPTIONS)
    np.testing.assert_array_equal(found.macro, nested.macro)
    assert "surrogate" not in found.stats and found.stats["fiber_steps"] == nested.stats["fiber_steps"]


@pytest.mark.parametrize("pays", [True, False])
def test_a_run_that_goes_on_keeps_what_it_began_with(measured, pays):
    keeper, driver = Keeper(), fx.Surrogate(fx.Quasistatic(), 1e-4)
    measured(1e-5, 5e-6 if pays else 2e-5)
    with warnings.catch_warnings():
        warnings.simplefilter("error" if pays else "ignore", fx.NoEffectWarning)
        whole = fx.evolve(CHEAP, driver, START, checkpoint=keeper, **OPTIONS)
    middle = next(s for s in keeper.snapshots if 0 < s.step < 4)
    measured(1e-5, 2e-5 if pays else 5e-6)  # now the other choice would be made
    rest = fx.evolve(CHEAP, driver, START, start=middle, **OPTIONS)
    np.testing.assert_array_equal(rest.macro[-1], whole.macro[-1])
    assert ("surrogate" in rest.stats) == pays
    longer = fx.evolve(CHEAP, driver, START, start=whole, t1=0.5, dt=0.1)
    assert ("surrogate" in longer.stats) == pays

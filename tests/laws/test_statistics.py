"""A statistical law: averages over random fibers meet the exact ones within their error, which falls as N^(−1/2)."""

import jax
import jax.numpy as jnp
import numpy as np

import fiberax as fx
from fiberax.testing import OrnsteinUhlenbeck, observed_order


class Held(fx.AbstractMacro):
    """Conditions that do not move."""

    def conditions(self, macro):
        return macro

    def rate(self, t, macro, response):
        return 0.0 * macro


def responses(sites, key, members=8, steps=6):
    fiber = OrnsteinUhlenbeck(k=2.0, diffusion=0.7, members=members)
    bundle = fx.Bundle(Held(), fiber)
    driver = fx.Seamless(separation=np.inf)
    sol = fx.evolve(bundle, driver, jnp.full(sites, 0.6), t1=0.5 * steps, dt=0.5, key=jax.random.key(key))
    return fiber, np.asarray(sol.response[0])


def test_mean_and_variance():
    fiber, found = responses(4000, key=0)
    error = np.sqrt(fiber.variance(0.6) / found.size)
    assert abs(found.mean() - fiber.mean(0.6)) < 4.0 * error
    spread = found.var() / fiber.variance(0.6) - 1.0  # its own error: √(2 + excess)/√sites, excess ≤ 12/members
    assert abs(spread) < 4.0 * np.sqrt(3.5 / found.size)
    assert abs(found.mean() - 0.36) > 50.0 * error  # the test can tell ⟨z²⟩ from ⟨z⟩²


def test_random_fibers(random):
    """The mean is the exact one, and the standard error that a fiber states is the spread between sites."""
    sites, dt = 300, random.fiber.timestep(random.condition)
    bundle, driver = fx.Bundle(Held(), random.fiber), fx.Seamless(separation=np.inf)
    conditions = jnp.broadcast_to(random.condition, (sites, *random.condition.shape))
    found = fx.evolve(bundle, driver, conditions, t1=20 * dt, dt=dt, key=jax.random.key(5))
    value, error = np.asarray(found.response[-1]), np.asarray(found.stderr[-1])
    spread = value.std(axis=0, ddof=1)
    assert np.all(np.abs(value.mean(axis=0) - random.exact) < 4.0 * spread / sites**0.5)
    np.testing.assert_allclose(np.sqrt(np.mean(error**2, axis=0)), spread, rtol=4.0 * (3.0 / sites) ** 0.5)


def test_error_falls_with_the_number_of_fibers():
    _, found = responses(4000, key=1)
    truth = OrnsteinUhlenbeck(k=2.0, diffusion=0.7).mean(0.6)
    sizes = (5, 20, 80)
    errors = [np.sqrt(np.mean((found.reshape(-1, n).mean(axis=1) - truth) ** 2)) for n in sizes]
    assert abs(observed_order(errors, sizes) + 0.5) < 0.15, errors


def test_keys_decide():
    first, again, other = (responses(8, key)[1] for key in (2, 2, 3))
    np.testing.assert_array_equal(first, again)
    assert np.all(first != other)
    assert len(np.unique(first)) == 8

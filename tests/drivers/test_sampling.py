"""Long-time averages: values and standard errors against the exact statistics of an Ornstein-Uhlenbeck process."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax.testing import LinearFlow, OrnsteinUhlenbeck

U, DT, STEPS = 0.7, 0.1, 4000


@pytest.fixture(scope="module")
def fiber():
    return OrnsteinUhlenbeck(k=0.5, diffusion=0.5, members=1)


@pytest.fixture(scope="module")
def many(fiber):
    """The same average fifty times, by independent noise."""
    return fx.samples(fiber, jnp.full(50, U), steps=STEPS, replicas=2, dt=DT)


def exact_time(fiber):
    """∫₀^∞ of the normalised correlation of z², with c(t) = exp(−kt): (4U²s c + 2s²c²)/(4U²s + 2s²), sampled every DT."""
    s, k = float(fiber.diffusion / fiber.k), float(fiber.k)
    a, b = 4.0 * U**2 * s, 2.0 * s**2
    trapezoid = lambda rate: 0.5 * DT / np.tanh(0.5 * rate * DT)
    return (a * trapezoid(k) + b * trapezoid(2.0 * k)) / (a + b)


def test_value_and_error(fiber, many):
    error = np.asarray(many.value) - float(fiber.mean(U))
    assert not np.asarray(many.result).any()
    exact = (2.0 * exact_time(fiber) * float(fiber.variance(U)) / (2 * STEPS * DT)) ** 0.5
    # Fifty of each: the mean of the estimated errors, and the spread of the true ones.
    np.testing.assert_allclose(np.mean(many.stderr), exact, rtol=0.1)
    np.testing.assert_allclose(np.std(error), exact, rtol=0.4)
    assert abs(np.mean(error)) < 4.0 * exact / 50**0.5
    assert np.mean(np.abs(error) < 2.0 * np.asarray(many.stderr)) > 0.85


def test_correlation_time(fiber, many):
    np.testing.assert_allclose(np.mean(many.correlation_time), exact_time(fiber), rtol=0.15)


def test_one_is_one_of_many_and_chunks_do_not_matter(fiber, many):
    one = fx.sample(fiber, U, steps=STEPS, replicas=2, dt=DT)
    assert float(one.value) == float(many.value[0])
    parts = fx.samples(fiber, jnp.full(50, U), steps=STEPS, replicas=2, dt=DT, placement=fx.Placement(chunk=7))
    np.testing.assert_array_equal(parts.value, many.value)


def test_goes_on_to_the_error_that_was_asked_for(fiber):
    found = fx.sample(fiber, U, steps=1000, replicas=4, dt=DT, stderr=0.02)
    assert float(found.stderr) <= 0.02 and int(found.steps) > 1000
    assert abs(float(found.value) - float(fiber.mean(U))) < 4.0 * float(found.stderr)
    stopped = fx.sample(fiber, U, steps=1000, replicas=4, dt=DT, stderr=1e-6, max_steps=2000)
    assert fx.Result(int(stopped.result)) is fx.Result.TOO_SHORT


def test_what_does_not_mix_is_called_so():
    hop = lambda z, c, dt, key: z + dt * (8.0 * z * (1.0 - z**2)) + jnp.sqrt(0.1 * dt) * jax.random.normal(key)
    wells = fx.Stochastic(hop, lambda c, key: jnp.sign(jax.random.normal(key)), lambda z, c: z)
    found = fx.sample(wells, 0.0, steps=2000, replicas=8, dt=0.02)
    assert fx.Result(int(found.result)) is fx.Result.NOT_MIXED
    assert float(found.stderr) > 0.1  # the spread between replicas, not the noise within them


def test_slow_dynamics_is_too_short():
    slow = OrnsteinUhlenbeck(k=1e-3, diffusion=5e-4, members=1)
    found = fx.sample(slow, U, steps=1000, replicas=1, dt=DT)
    assert fx.Result(int(found.result)) is fx.Result.TOO_SHORT


def test_goes_on_from_a_state(fiber):
    first = fx.sample(fiber, U, steps=500, replicas=3, dt=DT)
    more = fx.sample(fiber, U, steps=500, replicas=3, dt=DT, state=first.state, key=jax.random.key(5))
    assert float(more.value) != float(first.value)


def test_refusals(fiber):
    with pytest.raises(fx.Mismatch, match=r"Use fx\.response"):
        fx.sample(LinearFlow(jnp.eye(2), jnp.ones(2), jnp.ones(2)), 1.0)
    with pytest.raises(fx.BadInput, match="OrnsteinUhlenbeck has no time step of its own"):
        fx.sample(fiber, U)
    with pytest.raises(fx.BadInput, match="steps must be a whole number, at least 128; it is 5"):
        fx.sample(fiber, U, steps=5, dt=DT)
    with pytest.raises(fx.BadInput, match="not finite"):
        fx.sample(fiber, np.nan, dt=DT)

"""Long-time averages: values and standard errors against the exact statistics of an Ornstein-Uhlenbeck process."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax.testing import Decay, LinearFlow, OrnsteinUhlenbeck

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


class TwoTimes(fx.AbstractStochastic):
    """The sum of two Ornstein-Uhlenbeck processes: times 0.4 and 20, variances 1 and 0.02, in steps of 0.1."""

    times = np.array([0.4, 20.0])
    variances = np.array([1.0, 0.02])

    def init(self, condition, key):
        return jnp.sqrt(self.variances) * jax.random.normal(key, (2,))

    def timestep(self, condition):
        return 0.1

    def step(self, state, condition, dt, key):
        decay = jnp.exp(-dt / self.times)
        return decay * state + jnp.sqrt(self.variances * (1.0 - decay**2)) * jax.random.normal(key, (2,))

    def link(self, state, condition):
        return condition + jnp.sum(state)

    def error(self, steps, replicas):
        """Of the mean, from the exact sum of correlations."""
        a = np.exp(-0.1 / self.times)
        of_mean = (1.0 + a) / (1.0 - a) - 2.0 * a * (1.0 - a**steps) / (steps * (1.0 - a) ** 2)
        return np.sqrt(np.sum(self.variances * of_mean) / (steps * replicas))


def test_a_slow_part_of_little_variance_is_in_the_error():
    """It holds half of the variance of the mean; the shortest blocks that suffice for one correlation time miss most of it."""
    fiber = TwoTimes()
    found = fx.samples(fiber, jnp.zeros(200), steps=12_800, replicas=1)
    exact = fiber.error(12_800, 1)
    assert not np.asarray(found.result).any()
    np.testing.assert_allclose(np.std(found.value), exact, rtol=0.2)
    np.testing.assert_allclose(np.mean(found.stderr), exact, rtol=0.12)


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
    wells = fx.StochasticFiber(hop, lambda c, key: jnp.sign(jax.random.normal(key)), lambda z, c: z)
    found = fx.sample(wells, 0.0, steps=2000, replicas=8, dt=0.02)
    assert fx.Result(int(found.result)) is fx.Result.NOT_MIXED
    assert float(found.stderr) > 0.1  # the spread between replicas, not the noise within them


def test_slow_dynamics_is_too_short():
    slow = OrnsteinUhlenbeck(k=1e-3, diffusion=5e-4, members=1)
    found = fx.sample(slow, U, steps=1000, replicas=1, dt=DT)
    assert fx.Result(int(found.result)) is fx.Result.TOO_SHORT


class Paced(fx.AbstractStochastic):
    """An Ornstein-Uhlenbeck process of rate and mean U, of variance 1, that says what step it needs."""

    def init(self, condition, key):
        return condition + jax.random.normal(key)

    def timestep(self, condition):
        return 0.5 / condition

    def step(self, state, condition, dt, key):
        decay = jnp.exp(-condition * dt)
        return condition + decay * (state - condition) + jnp.sqrt(1.0 - decay**2) * jax.random.normal(key)

    def link(self, state, condition):
        return state


def test_each_condition_has_its_own_time_step():
    rates = jnp.asarray([1.0, 40.0])
    found = fx.samples(Paced(), rates, steps=20_000, replicas=2)
    # In steps, a half over tanh(1/4) each; z is sampled every 1/2 of its relaxation time.
    np.testing.assert_allclose(found.correlation_time, 0.25 / np.tanh(0.25) / rates, rtol=0.2)
    np.testing.assert_array_less(np.abs(found.value - rates), 4.0 * np.asarray(found.stderr))
    given = fx.samples(Paced(), rates, steps=20_000, replicas=2, dt=np.asarray([0.5, 0.5 / 40.0]))
    np.testing.assert_array_equal(given.value, found.value)
    with pytest.raises(fx.BadInput, match=r"one number, or one for each of 2 conditions; its shape is \(3,\)"):
        fx.samples(Paced(), rates, dt=np.ones(3))
    with pytest.raises(fx.BadInput, match="positive and finite"):
        fx.samples(Paced(), jnp.asarray([1.0, -2.0]))


def test_length_is_judged_in_correlation_times():
    """64 replicas of 128 steps: enough where steps are long, too short where they are not, whatever begins in equilibrium."""
    codes = [
        fx.Result(int(fx.sample(OrnsteinUhlenbeck(k=k, diffusion=k, members=100), 0.0, steps=128, replicas=64, dt=1.0).result))
        for k in (2.0, 0.1, 1e-3)  # 512, 26 and 0.3 correlation times of 1/(2k)
    ]
    assert codes[:2] == [fx.Result.SUCCESS, fx.Result.TOO_SHORT]
    assert codes[2] is not fx.Result.SUCCESS


def test_a_start_that_is_far_away_does_not_count():
    """With a target for the error the run goes on until the start is forgotten, although there is next to no noise."""
    far = fx.StochasticFiber(
        lambda z, c, dt, key: z + dt * (1.0 - z) + 1e-3 * jnp.sqrt(dt) * jax.random.normal(key),
        lambda c, key: jnp.asarray(20.0),
        lambda z, c: z,
    )
    short = fx.sample(far, 0.0, steps=128, dt=0.02)
    assert fx.Result(int(short.result)) is fx.Result.TOO_SHORT and abs(float(short.value) - 1.0) > 0.1
    found = fx.sample(far, 0.0, steps=128, dt=0.02, stderr=1.0)
    assert int(found.result) == 0 and abs(float(found.value) - 1.0) < 4.0 * float(found.stderr)
    assert float(found.stderr) < 1e-3


class Brittle(Paced):
    """Breaks at the condition 2."""

    def verdict(self, state):
        return jnp.where(state > 1e6, 123, 0).astype(jnp.int32)

    def step(self, state, condition, dt, key):
        return jnp.where(condition > 1.5, 2e6, super().step(state, condition, dt, key))


def test_a_failure_that_the_fiber_tells_is_the_result():
    found = fx.samples(Brittle(), jnp.asarray([1.0, 2.0]), steps=1280, replicas=2, stderr=0.3)
    assert found.result.tolist()[1] == 123 and int(found.result[0]) != 123
    assert np.isnan(found.value[1]) and np.isnan(found.stderr[1])
    assert np.isfinite(found.value[0]) and np.isfinite(found.stderr[0])


class Bulky(Paced):
    @property
    def workspace(self):
        return 2**30


def test_copies_that_work_on_much_are_advanced_one_by_one_with_the_same_noise():
    at_once, one_by_one = (fx.samples(fiber, jnp.asarray([1.0, 1.4]), steps=128, replicas=3) for fiber in (Paced(), Bulky()))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), at_once, one_by_one)
    copies = [fx.sample(fx.replicas(fiber, 3), 1.0, steps=128, replicas=1).value for fiber in (Paced(), Bulky())]
    np.testing.assert_allclose(*copies, rtol=1e-12)


class Doubtful(Paced):
    def remark(self, conditions):
        return f"doubtful at {float(jnp.max(conditions)):g}" if jnp.max(conditions) > 1.5 else ""


def test_what_a_fiber_remarks_is_a_warning():
    fx.sample(Doubtful(), 1.0, steps=128)
    for fiber, condition in ((Doubtful(), 2.0), (fx.rescale(Doubtful(), condition=2.0), 1.0)):
        with pytest.warns(fx.DoubtfulFiberWarning, match="doubtful at 2"):
            fx.sample(fiber, condition, steps=128)
    driver = fx.Seamless(separation=1e9)
    with pytest.warns(fx.DoubtfulFiberWarning, match="doubtful at 1.9") as caught:
        fx.evolve(fx.Bundle(Decay(3), Doubtful()), driver, jnp.full(3, 2.0), t1=0.2, dt=0.02)
    assert len(caught) == 1


def test_no_noise_is_drawn_twice():
    """Neither by warm-up and measurement, nor by replicas, nor by a run that is doubled up to its most steps."""
    seen = []

    def step(u, c, dt, key):
        jax.debug.callback(lambda data: seen.append(data.tobytes()), jax.random.key_data(key))
        return jax.random.normal(key)

    fiber = fx.StochasticFiber(step, lambda c, key: jnp.zeros(()), lambda u, c: u)
    fx.sample(fiber, 0.0, steps=128, replicas=2, dt=0.1, stderr=1e-9, max_steps=512)
    jax.effects_barrier()
    assert len(set(seen)) == len(seen)
    assert 2 * 512 <= len(seen) < 2 * 2 * 512  # an error that is out of reach ends at the most steps


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

"""`Quasistatic` on random fibers: sampling with standard errors, inside runs and alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax.testing import CubicFlow, Decay, OrnsteinUhlenbeck

FIBER = OrnsteinUhlenbeck(k=2.0, diffusion=0.7, members=8)
DRIVER = fx.Quasistatic(steps=640, replicas=4, dt=0.5)


class Held(Decay):
    """Conditions that do not move."""

    def rate(self, t, macro, response):
        return 0.0 * macro


@pytest.fixture(scope="module")
def held():
    sites = 60
    return fx.evolve(fx.Bundle(Held(sites), FIBER), DRIVER, jnp.full(sites, 0.6), t1=1.0, dt=0.5, key=jax.random.key(3))


def test_responses_and_their_errors(held):
    """The deviations from the truth have the size of the standard errors: their mean square is 1 within its own error."""
    off = (held.response[0] - FIBER.mean(0.6)) / held.stderr[0]
    assert np.all(held.result == 0)
    assert abs(np.mean(off)) < 4.0 / off.size**0.5
    assert abs(np.mean(off**2) - 1.0) < 4.0 * (2.0 / off.size) ** 0.5 + 0.1  # errors are themselves known to some 10 %
    found = float(np.mean(held.stderr[0]))
    decay = np.exp(-2.0 * 0.5)
    linear, square = 4.0 * 0.36 * 0.35, 2.0 * 0.35**2  # variances of the two parts, with correlations e^{−kt}, e^{−2kt}
    exact = (linear * (1 + decay) / (1 - decay) + square * (1 + decay**2) / (1 - decay**2)) / (8 * 4 * 640)
    np.testing.assert_allclose(found, exact**0.5, rtol=0.15)


def test_in_files_and_tables(held):
    data = held.to_xarray()
    np.testing.assert_array_equal(data["response_stderr"], held.stderr)


def test_coupled_run():
    """dU/dt = −(U² + D/k) through a sampled response, against its closed form."""
    sites, spread = 20, 0.35**0.5
    bundle = fx.Bundle(Decay(sites), FIBER)
    sol = fx.evolve(bundle, DRIVER, jnp.full(sites, 0.6), t1=0.4, dt=0.1)
    truth = spread * np.tan(np.arctan(0.6 / spread) - 0.4 * spread)
    error = 0.4 * np.mean(sol.stderr) / 4**0.5  # four steps, each with noise of its own
    assert abs(np.mean(sol.macro[0]) - truth) < 4.0 * error / sites**0.5 + 2e-4  # Heun's own error at this step
    assert 0.3 * error < np.std(sol.macro[0]) < 3.0 * error


def test_seamless_reports_the_error_of_the_ensemble():
    class Members(OrnsteinUhlenbeck, fx.AbstractEnsemble):
        def standard_error(self, state, condition):
            return jnp.std(state**2, ddof=1) / self.members**0.5

    fiber = Members(k=2.0, diffusion=0.7, members=400)
    sol = fx.evolve(fx.Bundle(Held(5), fiber), fx.Seamless(), jnp.full(5, 0.6), t1=1.0, dt=0.5)
    np.testing.assert_allclose(sol.stderr[0], fiber.variance(0.6) ** 0.5, rtol=0.25)


def test_response_of_a_random_fiber():
    own = fx.rescale(FIBER, time=2.0)
    with pytest.raises(fx.BadInput, match="no time step of its own"):
        fx.response(own, 0.6)

    class Timed(OrnsteinUhlenbeck):
        def timestep(self, condition):
            return 1.0 / self.k

    answer = fx.response(Timed(k=2.0, diffusion=0.7, members=8), 0.6)
    assert abs(answer.value - FIBER.mean(0.6)) < 4.0 * answer.stderr < 0.1
    with pytest.raises(fx.Mismatch, match="no tangent"):
        fx.response(Timed(), 0.6, tangent=True)


@pytest.mark.parametrize(
    "options, word",
    [({"steps": 3}, "at least 128; it is 3"), ({"replicas": 0}, "replicas"), ({"dt": -1.0}, "dt must be positive")],
)
def test_misuse_is_named(options, word):
    with pytest.raises(fx.BadInput, match=word):
        fx.Quasistatic(**options)


def _steps(stepper):
    return lambda bundle, driver, start: fx.evolve(bundle, driver, start, t1=1.0, dt=0.5, stepper=stepper)


NEWTON = {
    "steady": fx.steady,
    "continuation": lambda *pieces: fx.continuation(*pieces, dt=0.5),
    "BackwardEuler": _steps(fx.BackwardEuler()),
    "SDIRK2": _steps(fx.SDIRK2()),
}
BURSTS = fx.HeterogeneousMultiscale(2, 8, dt=0.5)


@pytest.mark.parametrize("run", NEWTON)
@pytest.mark.parametrize(
    ("driver", "told"),
    [
        (DRIVER, "OrnsteinUhlenbeck is sampled, .* no tangent, .*fx.Heun.*in time, by fx.evolve"),
        (BURSTS, "no tangent.*explicit macro step"),
        (fx.Regression(BURSTS), "do not join smoothly.*explicit macro step"),
    ],
    ids=lambda x: type(x).__name__,
)
def test_newton_is_refused_before_anything_is_sampled(monkeypatch, driver, told, run):
    monkeypatch.setattr("fiberax.core.field.Field.begin", lambda *_: pytest.fail("it was computed"))
    with pytest.raises(fx.Mismatch, match=told):
        NEWTON[run](fx.Bundle(Decay(2), FIBER), driver, jnp.full(2, 0.6))


def test_steady_does_not_send_a_random_fiber_to_a_driver_that_refuses_it():
    for fiber, told in ((FIBER, "OrnsteinUhlenbeck has only dynamics: .* fx.evolve"), (CubicFlow(), "Use fx.Quasistatic")):
        with pytest.raises(fx.Mismatch, match=told):
            fx.steady(fx.Bundle(Decay(2), fiber), fx.Seamless(), jnp.full(2, 0.6))

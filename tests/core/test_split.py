"""Macro models in two parts and models without inertia: their time steps are of second order, and are refused elsewhere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax.testing import Decay, observed_order

FIBER = fx.FlowFiber(rate=lambda u, U: U - 2.0 * u, init=lambda U: 0.0 * U, link=lambda u, U: u)


class Split(fx.AbstractSemiImplicit):
    """dU/dt = −A + cos t − stiffness U."""

    stiffness: float

    def conditions(self, macro):
        return macro

    def explicit(self, t, macro, response):
        return jnp.cos(t) - response

    def solve(self, t, known, shift, guess):
        return known / (shift + self.stiffness)

    def rate(self, t, macro, response):
        return self.explicit(t, macro, response) - self.stiffness * macro


class Balance(fx.AbstractInertialess):
    """U = cos t − A, at once."""

    def conditions(self, macro):
        return macro.value

    def balance(self, t, macro, response):
        return jnp.cos(t) - response


def truth_of_split(stiffness, t):
    """(U, u) at t from (1, 0) by the exponential of the driven linear system."""
    matrix = jnp.array([[-stiffness, -1.0, 1.0, 0.0], [1.0, -2.0, 0.0, 0.0], [0.0, 0.0, 0.0, -1.0], [0.0, 0.0, 1.0, 0.0]])
    return jax.scipy.linalg.expm(t * matrix) @ jnp.array([1.0, 0.0, 1.0, 0.0])


def test_imex_is_of_second_order():
    errors = []
    for steps in (10, 20, 40):
        sol = fx.evolve(fx.Bundle(Split(3.0), FIBER), fx.Seamless(separation=np.inf), jnp.ones(2), t1=1.0, dt=1.0 / steps)
        errors.append(float(jnp.max(jnp.abs(sol.macro[-1] - truth_of_split(3.0, 1.0)[0]))))
    assert observed_order(errors[1:], [2.0, 1.0]) > 1.85, errors


def test_imex_is_the_default_and_bears_stiffness():
    sol = fx.evolve(fx.Bundle(Split(1e5), FIBER), fx.Quasistatic(), jnp.ones(2), t1=1.0, dt=0.1)
    np.testing.assert_allclose(sol.macro[-1], 1e-5 * np.cos(1.0), rtol=0.2)


def test_extrapolation_is_of_second_order():
    """u' = cos t − 3u, u(0) = 0, and U = cos t − u."""
    t, errors = 1.0, []
    u = (3.0 * np.cos(t) + np.sin(t) - 3.0 * np.exp(-3.0 * t)) / 10.0
    for steps in (20, 40, 80):
        start = fx.Inertialess(jnp.ones(2), jnp.ones(2))
        sol = fx.evolve(fx.Bundle(Balance(), FIBER), fx.Seamless(separation=np.inf), start, t1=t, dt=t / steps)
        errors.append(float(jnp.max(jnp.abs(sol.macro.value[-1] - (np.cos(t) - u)))))
    assert observed_order(errors[1:], [2.0, 1.0]) > 1.8, errors


def test_balance_with_fibers_in_equilibrium():
    """Picard's iteration of U = cos t − U/2."""
    start = fx.Inertialess(jnp.ones(2), jnp.ones(2))
    sol = fx.evolve(fx.Bundle(Balance(), FIBER), fx.Quasistatic(), start, t1=0.01, dt=0.0002)
    np.testing.assert_allclose(sol.macro.value[-1], np.cos(0.01) / 1.5, rtol=1e-6)


@pytest.mark.parametrize(
    "macro, start, stepper, word",
    [
        (Decay(2), jnp.ones(2), fx.IMEX(), "two parts"),
        (Decay(2), jnp.ones(2), fx.Extrapolation(), "without inertia"),
        (Balance(), fx.Inertialess(jnp.ones(2), jnp.ones(2)), fx.Heun(), "has no inertia"),
    ],
)
def test_schemes_refuse_models_that_they_cannot_advance(macro, start, stepper, word):
    with pytest.raises(fx.Mismatch, match=word):
        fx.evolve(fx.Bundle(macro, FIBER), fx.Seamless(), start, t1=1.0, dt=0.1, stepper=stepper)

"""Laws of noise: no two evaluations share it, and which sites share it is the fiber's to say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax.testing import Decay, OrnsteinUhlenbeck

SITES = 4000


class Fresh(fx.AbstractDynamic):
    """A fiber whose state is new noise at each step, and whose link is that noise."""

    def init(self, condition, key):
        return 0.0 * condition

    def step(self, state, condition, dt, key):
        return jax.random.normal(key)

    def link(self, state, condition):
        return state


class Drawn(fx.AbstractDriver):
    """One draw for each evaluation, as a sampled response whose statistical error is 1."""

    @property
    def slaved(self):
        return True

    def prepare(self, fiber):
        return fiber

    def begin(self, fiber, link, condition, key, samples):
        return fiber.init(condition, key), ()

    def advance(self, fiber, link, state, memory, condition, dt, key, attempt):
        state = fiber.step(state, condition, dt, key)
        return state, memory, fiber.link(state, condition), fx.Outcome(*_NONE)

    def respond(self, fiber, link, state, memory, condition):
        return fiber.link(state, condition)


_NONE = (jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32), jnp.zeros(()))


class Split(Decay, fx.AbstractSemiImplicit):
    """`Decay` with all of it explicit."""

    def explicit(self, t, macro, response):
        return self.rate(t, macro, response)

    def solve(self, t, known, shift, guess):
        return known / shift


def increments(stepper, key=0, driver=None, fiber=None):
    macro = Split(SITES) if isinstance(stepper, fx.IMEX) else Decay(SITES)
    sol = fx.evolve(
        fx.Bundle(macro, fiber or Fresh()), driver or Drawn(), jnp.zeros(SITES), t1=1.0, dt=1.0, stepper=stepper,
        key=jax.random.key(key),
    )  # fmt: skip
    return np.asarray(sol.macro[-1])


# Sums of squared weights of the two draws: Heun ½ + ½, and IMEX, whose weights are δ and 1 − δ, δ = 1 − 1/(2γ).
_DELTA = 1.0 - 0.5 / (1.0 - 0.5**0.5)
STEPPERS = {
    "euler": (fx.ForwardEuler(), 1.0),
    "heun": (fx.Heun(), 0.5),
    "imex": (fx.IMEX(), _DELTA**2 + (1.0 - _DELTA) ** 2),
}


@pytest.mark.filterwarnings("ignore::fiberax.core.stability.StepLimitWarning")
@pytest.mark.parametrize("case", STEPPERS)
def test_stages_draw_independently(case):
    """The variance of one step is what independent draws give; equal draws in both stages would give 1."""
    stepper, variance = STEPPERS[case]
    found = increments(stepper)
    assert abs(np.var(found) / variance - 1.0) < 4.0 * (2.0 / SITES) ** 0.5
    np.testing.assert_array_equal(found, increments(stepper))
    assert np.all(found != increments(stepper, key=1))
    assert len(np.unique(found)) == SITES


def test_a_sampled_fiber_draws_in_each_stage():
    """`Quasistatic` on a fiber with dynamics: one step of Heun has half the variance of one of Euler, up to round numbers."""
    driver = fx.Quasistatic(steps=128, replicas=1, dt=1.0)
    one, two = (increments(stepper, driver=driver) for stepper in (fx.ForwardEuler(), fx.Heun()))
    assert np.all(one != two)
    assert abs(np.var(one) * 128 - 1.0) < 4.0 * (2.0 / SITES) ** 0.5
    assert abs(np.var(two) * 256 - 1.0) < 4.0 * (2.0 / SITES) ** 0.5


class Copied(OrnsteinUhlenbeck):
    """States that may be averaged, as configuration fields may."""


class Alone(OrnsteinUhlenbeck):
    @property
    def mixing(self):
        return fx.Forbidden("they have an order of their own")


class Turned(OrnsteinUhlenbeck):
    @property
    def mixing(self):
        return fx.Within(lambda state, safe: state)


class Carrier(fx.AbstractCarrier):
    """A motion that is none, on six cells."""

    @property
    def grid(self):
        return fx.grids.Box(0.0, 1.0, 6)

    def conditions(self, macro):
        return macro

    def rate(self, t, macro, response):
        return jnp.zeros_like(macro)

    def face_velocity(self, t, macro):
        return (jnp.zeros(7),)

    def transport(self):
        return fx.Fixed()


CASES = {
    "linear": (Copied(), {}, True),
    "within": (Turned(), {}, True),
    "forbidden": (Alone(), {}, False),
    "forbidden, overridden": (Alone(), {"noise": "shared"}, True),
    "linear, overridden": (Copied(), {"noise": "independent"}, False),
    "wrapped": (fx.rescale(Alone(), time=2.0), {}, False),
    "replicas": (fx.replicas(Copied(), 2), {}, True),
}


@pytest.mark.parametrize("case", CASES)
def test_the_fiber_says_whether_sites_share_their_noise(case):
    fiber, options, shared = CASES[case]
    bundle = fx.Bundle(Carrier(), fiber, **options)
    sol = fx.evolve(bundle, fx.Seamless(separation=np.inf), jnp.full(6, 0.4), t1=0.2, dt=0.1, stepper=fx.ForwardEuler())
    assert len(np.unique(np.asarray(sol.response[-1]))) == (1 if shared else 6)
    assert fx.Bundle(Decay(6), fiber).noise == "independent"

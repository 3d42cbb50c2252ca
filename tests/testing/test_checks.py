"""The public checks pass good models, and each of them catches the model that breaks its promise."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax.numerics.result import outcome
from fiberax.testing import (
    CheckFailed,
    CubicFlow,
    Decay,
    OrnsteinUhlenbeck,
    check_bundle,
    check_fiber,
    check_link,
    observed_order,
)


class Base(fx.AbstractFlow):
    """A sound flow fiber with two unknowns, to be broken in one place at a time."""

    k: jax.Array = eqx.field(converter=jnp.asarray, default=2.0)

    def init(self, condition, key):
        return jnp.zeros(2)

    def rate(self, state, condition):
        return condition - self.k * state - state[::-1]

    def link(self, state, condition):
        return jnp.sum(state**2)


class Random(Base):
    def init(self, condition, key):
        return jnp.asarray(np.random.default_rng().standard_normal(2))


class Nan(Base):
    def init(self, condition, key):
        return jnp.full(2, jnp.nan)


class Half(Base):
    def init(self, condition, key):
        return jnp.zeros(2, jnp.float32)


class Whole(Base):
    def init(self, condition, key):
        return jnp.zeros(2, int)


class Short(Base):
    def rate(self, state, condition):
        return super().rate(state, condition)[:1]


class Lopsided(Base):
    @property
    def solver(self):
        return fx.Newton(symmetric=True)

    def rate(self, state, condition):
        return condition - self.k * state - jnp.asarray([0.5, 0.0]) * state[::-1]


class Growing(Base):
    @property
    def solver(self):
        return fx.Newton(symmetric=True)

    def rate(self, state, condition):
        return condition + self.k * state


class Crooked(Base):
    @property
    def solver(self):
        return fx.Newton(lambda residual, condition, shift: -residual * jnp.sum(residual**2))


class Upward(Base):
    @property
    def solver(self):
        return fx.Newton(lambda residual, condition, shift: residual, symmetric=True)


class Liar(Base):
    """A solver that says solved and is not."""

    @property
    def solver(self):
        return _Lies()


class _Lies(fx.Newton):
    def solve(self, fiber, state, condition, tolerance):
        return state + 0.3, outcome(0)


class Rootless(Base):
    def rate(self, state, condition):
        return state**2 + 1.0 + condition**2


class Deaf(Base):
    """Its derivatives do not see the condition."""

    def rate(self, state, condition):
        return super().rate(state, jax.lax.stop_gradient(condition))


class Rough(Base):
    """The parameter sits where the square root has no derivative."""

    def rate(self, state, condition):
        return super().rate(state, condition) - jnp.sqrt(self.k - 2.0)


class Steep(Base):
    def link(self, state, condition):
        return jnp.sqrt(jnp.sum(state**2))


class Strange(Base):
    def link(self, state, condition):
        return jnp.sum(state) / 0.0


@jax.custom_batching.custom_vmap
def moody(x):
    return x


@moody.def_vmap
def _moody_in_company(size, batched, x):
    return 1.01 * x, batched[0]


class Moody(Base):
    """Behaves differently in a batch."""

    def link(self, state, condition):
        return jnp.sum(moody(jax.lax.stop_gradient(state))) + jnp.sum(state)


BROKEN = {
    "init repeats itself": Random(),
    "init is finite": Nan(),
    "solve keeps the state's form|rate keeps the state's form": Half(),
    "init gives real numbers": Whole(),
    "rate keeps the state's form": Short(),
    "symmetric flag.*Jacobian J of rate is not": Lopsided(),
    "symmetric flag.*not negative definite": Growing(),
    "precondition is linear": Crooked(),
    "precondition is negative": Upward(),
    "solved state is at rest": Liar(),
    "equilibrium is found": Rootless(),
    "tangent is the derivative": Deaf(),
    "gradient in parameters": Rough(),
    "link is differentiable": Steep(),
    "link is finite": Strange(),
    "batch and single agree": Moody(),
}


def test_a_sound_fiber_passes():
    report = check_fiber(Base(), 0.7)
    assert report.entries == 2 and report.bytes == 16 and report.steps >= 1
    assert report.deviations["tangent is the derivative of the response"] < 1e-8
    assert len(report.checked) > 15


@pytest.mark.parametrize("message", BROKEN)
def test_a_broken_fiber_is_caught(message):
    with pytest.raises(CheckFailed, match=message) as caught:
        check_fiber(BROKEN[message], 0.7)
    assert isinstance(caught.value, AssertionError) and isinstance(caught.value, fx.FiberaxError)
    assert type(BROKEN[message]).__name__ in str(caught.value)


class Bowl(fx.AbstractEnergy):
    """A sound energy fiber."""

    def init(self, condition, key):
        return jnp.zeros(2)

    def energy(self, state, condition):
        return jnp.sum((state - condition) ** 2) + 0.5 * jnp.sum(state) ** 2 + 0.1 * condition**4

    def constraint(self, state, condition):
        return state[:1] - 0.3 * condition


class TwoNumbers(Bowl):
    def energy(self, state, condition):
        return state


class Scalar(Bowl):
    def constraint(self, state, condition):
        return state[0] - condition


class Massless(Bowl):
    def metric(self, state):
        return jnp.asarray([1.0, 0.0])


class Loose(Bowl):
    """Its solver forgets the constraint."""

    @property
    def solver(self):
        return _Freely()


class _Freely(fx.Minimise):
    def solve(self, fiber, state, condition, tolerance):
        return super().solve(fx.EnergyFiber(fiber.energy, lambda c: jnp.zeros(2)), state, condition, tolerance)


class Hidden(Bowl):
    """Part of the energy is out of reach of differentiation, by state and by condition alike."""

    def energy(self, state, condition):
        return super().energy(state, condition) + jax.lax.stop_gradient(condition**2)


BROKEN_ENERGIES = {
    "energy is a number": TwoNumbers(),
    "constraint is a vector": Scalar(),
    "metric is positive": Massless(),
    "constraints are kept|at rest": Loose(),
    "response is dW_CB/dU": Hidden(),
}


def test_a_sound_energy_passes():
    report = check_fiber(Bowl(), 0.7)
    assert report.deviations["response is dW_CB/dU"] < 1e-7


@pytest.mark.parametrize("message", BROKEN_ENERGIES)
def test_a_broken_energy_is_caught(message):
    with pytest.raises(CheckFailed, match=message):
        check_fiber(BROKEN_ENERGIES[message], 0.7)


class Changing(OrnsteinUhlenbeck):
    def step(self, state, condition, dt, key):
        return state[:-1]


class Forgetful(OrnsteinUhlenbeck):
    """Draws from somewhere else than its key."""

    def step(self, state, condition, dt, key):
        noise = jax.pure_callback(lambda: np.random.default_rng().standard_normal(16), jax.ShapeDtypeStruct((16,), float))
        return state + noise


def test_dynamic_fibers():
    assert "step repeats itself" in check_fiber(OrnsteinUhlenbeck(), 0.3).checked
    with pytest.raises(CheckFailed, match="step keeps the state's form"):
        check_fiber(Changing(), 0.3)
    with pytest.raises(CheckFailed, match="step repeats itself"):
        check_fiber(Forgetful(), 0.3)


def test_links_alone():
    np.testing.assert_allclose(check_link(None, OrnsteinUhlenbeck(), 0.3), 0.5, atol=0.5)
    with pytest.raises(CheckFailed, match="link of CubicFlow, link is finite"):
        check_link(lambda fiber, u, c: jnp.log(u - 1.0), CubicFlow(), 0.3)


def test_bad_conditions():
    with pytest.raises(CheckFailed, match=r"condition\['a'\] at index \[1\] is not finite"):
        check_fiber(CubicFlow(), {"a": jnp.asarray([0.0, jnp.inf])})


def test_bundles():
    bundle = fx.Bundle(Decay(3), CubicFlow())
    report = check_bundle(bundle, fx.Quasistatic(), jnp.ones(3), dt=0.1)
    assert report.sites == 3 and report.bytes == 24 and report.gradient > 0.1
    assert report.compile_seconds > report.seconds > 0.0
    with pytest.raises(fx.BadInput, match=r"macro0 at index \[2\] is not finite"):
        check_bundle(bundle, fx.Quasistatic(), jnp.asarray([1.0, 1.0, jnp.nan]), dt=0.1)
    with pytest.raises(fx.BadInput, match="OrnsteinUhlenbeck has no time step of its own"):
        check_bundle(fx.Bundle(Decay(3), OrnsteinUhlenbeck()), fx.Quasistatic(), jnp.ones(3), dt=0.1)


class Rooted(Decay):
    def rate(self, t, macro, response):
        return -jnp.sqrt(jnp.abs(macro)) * response


def test_a_bundle_without_a_gradient_is_caught():
    bundle = fx.Bundle(Rooted(3), CubicFlow())
    with pytest.raises(CheckFailed, match=r"gradient through one step of 0.1 is not finite in macro0 at index \[1\]"):
        check_bundle(bundle, fx.Quasistatic(), jnp.asarray([1.0, 0.0, 1.0]), dt=0.1)
    assert check_bundle(bundle, fx.Quasistatic(), jnp.asarray([1.0, 0.0, 1.0]), dt=0.1, gradient=False).gradient is None


def test_observed_order():
    np.testing.assert_allclose(observed_order([8.0, 2.0, 0.5], [0.4, 0.2, 0.1]), 2.0)
    with pytest.raises(fx.BadInput, match="at least two"):
        observed_order([1.0], [0.1])
    with pytest.raises(fx.BadInput, match="positive"):
        observed_order([1.0, 0.0], [0.2, 0.1])

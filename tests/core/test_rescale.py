"""`fx.rescale`: the same numbers as models whose units were converted by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax.testing import CubicFlow, Decay, LinearFlow, OrnsteinUhlenbeck, SharedLoad

C, R, T = 2.5, 0.4, 7.0  # micro condition per macro unit, macro response per micro unit, fiber time per macro time


def hand_flow(a=0.5):
    inner = CubicFlow(a)
    return fx.FlowFiber(lambda u, c: T * inner.rate(u, C * c), lambda c: jnp.zeros_like(c), lambda u, c: R * u)


class HandLoad(fx.AbstractEnergy):
    """SharedLoad in other units: time through the metric."""

    inner: SharedLoad

    def init(self, condition, key):
        return self.inner.init(C * condition, key)

    def energy(self, state, condition):
        return self.inner.energy(state, C * condition)

    def constraint(self, state, condition):
        return self.inner.constraint(state, C * condition)

    def metric(self, state):
        return 1.0 / (3.0 * T)

    def link(self, state, condition):
        return R / C * super().link(state, condition)  # the chain rule brings a C of its own


LOAD = SharedLoad(jnp.asarray([1.0, 2.0, 5.0]))
START = jnp.asarray([0.4, 0.9])


@pytest.mark.parametrize(
    "fiber, hand, driver",
    [
        (CubicFlow(0.5), hand_flow(), fx.Quasistatic(1e-10)),
        (LOAD, HandLoad(LOAD), fx.Seamless(separation=np.inf)),
    ],
    ids=["flow", "energy"],
)
def test_same_as_by_hand(fiber, hand, driver):
    scaled = fx.rescale(fiber, condition=C, response=R, time=T)
    one, other = (fx.response(f, 0.7, tangent=True) for f in (scaled, hand))
    np.testing.assert_allclose([one.value, one.tangent], [other.value, other.tangent], rtol=1e-8)
    assert abs(float(one.value)) > 0.1
    dress = (lambda f: f) if driver.slaved else (lambda f: fx.relax(f, friction=10.0, scheme=fx.Explicit()))
    runs = [fx.evolve(fx.Bundle(Decay(2), dress(f)), driver, START, t1=0.3, dt=0.1).macro for f in (scaled, hand)]
    np.testing.assert_allclose(*runs, rtol=1e-8)


def test_dynamic_fibers_and_relaxations():
    """Time is the fiber's own; a relaxation may be rescaled inside or outside."""
    walker = OrnsteinUhlenbeck(members=4)
    scaled = fx.rescale(walker, condition=C, response=R, time=T)
    state, key = walker.init(C * 0.3, jax.random.key(0)), jax.random.key(1)
    np.testing.assert_array_equal(scaled.step(state, 0.3, 0.1, key), walker.step(state, C * 0.3, T * 0.1, key))
    go = lambda fiber: fx.evolve(fx.Bundle(Decay(2), fiber), fx.Seamless(separation=np.inf), START, t1=0.2, dt=0.05).macro
    inside = go(fx.relax(fx.rescale(CubicFlow(), C, R, T), friction=2.0))
    outside = go(fx.rescale(fx.relax(CubicFlow(), friction=2.0), C, R, T))
    np.testing.assert_allclose(inside, outside, rtol=1e-9)


def test_trees_of_factors_and_links_in_fiber_units():
    fiber = LinearFlow([[2.0]], [1.0], [1.0])
    two = fx.FlowFiber(lambda u, c: c["a"] + c["b"] - u, lambda c: jnp.zeros(()), lambda u, c: {"p": u, "q": c["a"]})
    scaled = fx.rescale(two, condition={"a": 2.0, "b": 3.0}, response={"p": 10.0, "q": 100.0})
    value = fx.response(scaled, {"a": 1.0, "b": 1.0}).value
    np.testing.assert_allclose([value["p"], value["q"]], [50.0, 200.0])
    seen = fx.response(fx.rescale(fiber, condition=C, response=R), 0.3, link=lambda f, u, c: c).value
    np.testing.assert_allclose(seen, R * C * 0.3)


def test_large_states_keep_their_preconditioner():
    """220 unknowns: the Krylov path with the rescaled preconditioner."""
    fiber = LinearFlow(np.diag(np.linspace(1.0, 3.0, 220)), np.ones(220), np.ones(220) / 220, True)
    np.testing.assert_allclose(fx.response(fx.rescale(fiber, C, R, T), 0.3).value, R * C * 0.3 * fiber.slope(), rtol=1e-8)


def test_rescaling_inside_a_traced_function():
    value = jax.jit(lambda c: fx.response(fx.rescale(CubicFlow(a=0.0), C, R, T), c).value)(0.3)
    np.testing.assert_allclose(value, R * C * 0.3)


def test_time_must_be_positive():
    with pytest.raises(fx.BadInput, match="time must be a positive"):
        fx.rescale(CubicFlow(), time=0.0)

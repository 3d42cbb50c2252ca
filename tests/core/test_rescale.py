"""`fx.rescale`: the same numbers as models whose units were converted by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax.testing import CubicFlow, Decay, ElasticPlastic, LinearFlow, OrnsteinUhlenbeck, SharedLoad, Spring, check_fiber

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


@pytest.mark.parametrize("factors", [(2.0, 3.0), (C, R), pytest.param((2.0, 2.0), marks=pytest.mark.slow), (-2.0, -3.0)])
@pytest.mark.parametrize("fiber", [Spring(), LOAD], ids=["spring", "load"])
def test_the_response_is_the_derivative_of_the_energy(fiber, factors):
    """`rescale(Spring, 2, 3)` had the value 1.868 and dE/dc = 1.246."""
    scaled, step = fx.rescale(fiber, *factors, time=T), 1e-3
    at = 0.4 + step * np.asarray([-2.0, -1.0, 1.0, 2.0])
    energies = np.asarray(fx.responses(scaled, at, tolerance=1e-12).energy)
    slope = np.asarray([1.0, -8.0, 8.0, -1.0]) @ energies / (12.0 * step)
    answer = fx.response(scaled, 0.4, tolerance=1e-12)
    np.testing.assert_allclose(answer.value, slope, rtol=1e-8)
    np.testing.assert_allclose(answer.energy, factors[1] / factors[0] * fx.response(fiber, factors[0] * 0.4).energy, rtol=1e-9)
    assert "response is dW_CB/dU" in check_fiber(scaled, 0.4).checked


def test_energies_of_a_run_are_in_the_units_of_its_responses():
    """dU/dt = −A at rest gives dE/dt = −A², in the units of the macro model; also of a relaxation with inertia."""
    for fiber, driver in ((Spring(), fx.Quasistatic(1e-12)), (fx.relax(Spring(), 1e-3, 0.1), fx.Seamless(separation=np.inf))):
        bundle = fx.Bundle(Decay(2), fx.rescale(fiber, 2.0, 3.0))
        times = np.linspace(0.0, 1e-3, 5) if driver.slaved else [0.0, 1e-3]
        sol = fx.evolve(bundle, driver, 0.5 * START, t1=1e-3, dt=1e-5, saveat=times)
        plain = fx.Fibers(fiber, driver, START)
        begun = plain.begin(START)
        if driver.slaved:
            begun, answer = plain.advance(begun, START)
        else:
            answer = plain.respond(begun, START)
        np.testing.assert_allclose(sol.energy[0], 1.5 * answer.energy, rtol=1e-9)
        if driver.slaved:
            slope = (sol.energy[3] - sol.energy[1]) / (sol.ts[3] - sol.ts[1])
            np.testing.assert_allclose(slope, -(sol.response[2] ** 2), rtol=1e-4)


def test_dissipation_is_an_energy():
    fiber = ElasticPlastic()
    scaled = fx.rescale(fiber, 2.0, 3.0)
    history = fiber.begin(jnp.asarray(0.0))._replace(dissipated=jnp.asarray(0.7))
    np.testing.assert_allclose(scaled.dissipated(history), 1.5 * 0.7)
    at = jnp.asarray(0.8)
    steps = [f.increment(fiber.begin(at), jnp.asarray(0.1)) for f in (scaled, fiber)]
    np.testing.assert_allclose(steps[0].energy(jnp.asarray(0.2), at), 1.5 * steps[1].energy(jnp.asarray(0.2), 2.0 * at))


class OnCircle(fx.AbstractEnergy):
    """Drawn to (U, 2), on the circle |u| = 1: the curvature of the constraint counts with the multiplier."""

    def init(self, condition, key):
        return jnp.asarray([0.8, 0.6])

    def energy(self, state, condition):
        return 1.5 * jnp.sum((state - jnp.stack([condition, 2.0 + 0.0 * condition])) ** 2)

    def constraint(self, state, condition):
        return jnp.sum(state**2)[None] - 1.0


def test_multipliers_are_rescaled_with_the_energy():
    """Implicit relaxation under a constraint: the derivative of a step goes through its multipliers."""
    fiber = OnCircle()
    scaled, plain = (fx.relax(f, friction=0.5) for f in (fx.rescale(fiber, 2.0, 3.0), fiber))
    state, dt = jnp.asarray([0.8, 0.6]), jnp.asarray(0.2)
    step = lambda fiber, c: fiber.step(state, c, dt, jax.random.key(0))
    np.testing.assert_allclose(step(scaled, jnp.asarray(0.4)), step(plain, jnp.asarray(0.8)), rtol=1e-9)
    slopes = jax.jacfwd(lambda c: step(scaled, c))(0.4), jax.jacfwd(lambda c: step(plain, c))(0.8)
    np.testing.assert_allclose(slopes[0], 2.0 * slopes[1], rtol=1e-8)


def test_factors_that_leave_no_energy_are_refused():
    fiber = TwoLoads()
    same = {"a": 2.0, "b": 4.0}, {"a": 3.0, "b": 6.0}
    np.testing.assert_allclose(fx.rescale(fiber, *same).energy_factor, 1.5)
    with pytest.raises(fx.BadInput, match=r"response/condition is not one number.* Give energy="):
        fx.rescale(fiber, {"a": 2.0, "b": 4.0}, 3.0)
    with pytest.raises(fx.BadInput, match="response/condition is not one number"):
        fx.rescale(fiber, jnp.asarray([2.0, 3.0]))
    assert fx.rescale(fiber, {"a": 2.0, "b": 4.0}, 3.0, energy=1.0).energy_factor is None
    with pytest.raises(fx.BadInput, match="energy must be a positive number"):
        fx.rescale(fiber, energy=-1.0)
    assert fx.rescale(CubicFlow(), {"a": 2.0, "b": 4.0}, 3.0).energy_factor is None  # a flow has none


class TwoLoads(fx.AbstractEnergy):
    def init(self, condition, key):
        return jnp.zeros(())

    def energy(self, state, condition):
        return 0.5 * (state - condition["a"]) ** 2 + 0.5 * (state - condition["b"]) ** 2

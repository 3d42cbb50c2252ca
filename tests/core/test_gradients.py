"""jax.grad through response, steady and evolve, in parameters of fiber and macro model, as module fields and as closures."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax.testing import CubicFlow, Decay, Heat, SharedLoad, Spring

START = jnp.asarray([0.6, 1.1, 1.7])
DIRECTION = jnp.asarray([0.5, -0.8, 0.3])
ALL = Decay(3)


def by_fields(p):
    """Parameters in the fields of fiber and macro model."""
    return fx.Bundle(Decay(3, source=p[0]), CubicFlow(a=p[1], speed=p[2]))


def by_closures(p):
    """The same model with parameters in closures of plain functions, macro model aside."""
    fiber = fx.FlowFiber(lambda u, c: p[2] * (c - u - p[1] * u**3), lambda c: jnp.zeros_like(c), lambda u, c: u - p[0])
    return fx.Bundle(ALL, fiber)


def constrained(p):
    """An energy fiber whose constraint moves with the macrostate; response h(p)·U."""
    return fx.Bundle(Decay(3, source=p[0]), SharedLoad(jnp.stack([1.0, 2.0 + p[1], 3.0 * p[2]])))


def total(bundle, driver, **options):
    options = {"t1": 0.2, "dt": 0.05} | options
    sol = fx.evolve(bundle, driver, START, **options)
    return jnp.sum(sol.macro**2) + jnp.sum(jnp.sin(sol.response))


def agrees_with_differences(function, p, rtol=1e-6):
    """Value and gradient in one compiled program, the gradient against central differences of the value."""
    both = jax.jit(jax.value_and_grad(function))
    value, slope = both(p)
    h = 1e-4
    difference = (both(p + h * DIRECTION)[0] - both(p - h * DIRECTION)[0]) / (2 * h)
    assert np.all(np.isfinite(slope)) and abs(float(difference)) > 1e-4  # not 0 against 0
    np.testing.assert_allclose(slope @ DIRECTION, difference, rtol=rtol)
    return value


P = jnp.asarray([0.3, 0.5, 1.2])
SEAMLESS = fx.Seamless(clock=0.1)

CASES = {
    "quasistatic-heun-fields": (by_fields, lambda f: f, fx.Quasistatic(1e-11), fx.Heun()),
    "quasistatic-heun-closures": (by_closures, lambda f: f, fx.Quasistatic(1e-11), fx.Heun()),
    "quasistatic-sdirk2-fields": (by_fields, lambda f: f, fx.Quasistatic(1e-11), fx.SDIRK2(1e-11)),
    "quasistatic-euler-closures": (by_closures, lambda f: f, fx.Quasistatic(1e-11), fx.BackwardEuler(1e-11)),
    "quasistatic-constrained": (constrained, lambda f: f, fx.Quasistatic(1e-11), fx.ForwardEuler()),
    "seamless-implicit-fields": (by_fields, lambda f: fx.relax(f), SEAMLESS, fx.Heun()),
    "seamless-implicit-closures": (by_closures, lambda f: fx.relax(f), SEAMLESS, fx.Heun()),
    "seamless-explicit-constrained": (constrained, lambda f: fx.relax(f, scheme=fx.Explicit()), SEAMLESS, fx.ForwardEuler()),
    "seamless-inertial-constrained": (constrained, lambda f: fx.relax(f, 0.5, 0.3), SEAMLESS, fx.Heun()),
    "seamless-implicit-macro-implicit": (by_fields, lambda f: fx.relax(f), SEAMLESS, fx.BackwardEuler(1e-11)),
}


# Each takes long to compile; the slow ones have relatives among the others.
SLOW = (
    "quasistatic-heun-closures",
    "quasistatic-sdirk2-fields",
    "quasistatic-constrained",
    "seamless-implicit-closures",
    "seamless-inertial-constrained",
    "seamless-implicit-macro-implicit",
)


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in CASES])
def test_evolve(name):
    make, dress, driver, stepper = CASES[name]

    def function(p):
        bundle = make(p)
        return total(fx.Bundle(bundle.macro, dress(bundle.fiber)), driver, stepper=stepper)

    value = agrees_with_differences(function, P)
    if name == "quasistatic-heun-fields":  # the differentiable scan takes the same steps as the loop
        np.testing.assert_allclose(value, total(make(P), driver, stepper=stepper), rtol=1e-10)


def test_relaxation_parameters_and_clock():
    """Mass, friction and clock are parameters like others."""

    def function(p):
        fiber = fx.relax(Spring(), mass=p[0], friction=p[1])
        return total(fx.Bundle(ALL, fiber), fx.Seamless(clock=p[2] / 10.0))

    agrees_with_differences(function, P)


def test_response():
    def function(p):
        linked = fx.response(CubicFlow(a=p[1], speed=p[2]), p[0]).value
        closed = fx.response(by_closures(p).fiber, 0.7, tangent=True)
        return linked + closed.value + 2.0 * closed.tangent + fx.response(Spring(k=p[0]), p[1]).energy

    agrees_with_differences(function, P)


def test_second_derivatives():
    fiber = CubicFlow(a=0.5)
    condition = fiber.condition_of(0.8)
    value = lambda c: fx.response(fiber, c, tolerance=1e-12).value
    curvature = -6.0 * 0.5 * 0.8 * fiber.slope_at(0.8) ** 3  # of the inverse function
    np.testing.assert_allclose(jax.grad(jax.grad(value))(condition), curvature, rtol=1e-8)


@pytest.mark.parametrize("make", [by_fields, by_closures])
def test_steady(make):
    """source = A(U): U = s + a s³ in closed form."""

    def function(p):
        return jnp.sum(fx.steady(make(p), fx.Quasistatic(1e-12), START).macro)

    slope = jax.jit(jax.grad(function))(P)
    np.testing.assert_allclose(slope, [3.0 * (1.0 + 3.0 * 0.5 * 0.09), 3.0 * 0.027, 0.0], rtol=1e-7, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(("make", "source"), [(by_fields, 3.0), (by_closures, 0.0)])
def test_responses_of_a_steady_state_follow_the_macrostate(make, source):
    """At rest the response is the source, whatever the fiber; the closures have none and put the parameter into the link."""

    def function(p):
        return jnp.sum(fx.steady(make(p), fx.Quasistatic(1e-12), START).response)

    np.testing.assert_allclose(jax.jit(jax.grad(function))(P), [source, 0.0, 0.0], rtol=1e-7, atol=1e-7)


def test_gradient_in_the_initial_macrostate():
    bundle = fx.Bundle(Heat(6, 6.0), CubicFlow(a=0.5))
    start = 1.0 + 0.3 * jnp.cos(jnp.arange(6.0))

    @eqx.filter_jit
    def both(start):
        return jax.value_and_grad(lambda u: jnp.sum(fx.evolve(bundle, fx.Quasistatic(1e-11), u, t1=0.4, dt=0.2).macro ** 3))(
            start
        )

    _, slope = both(start)
    direction = jnp.sin(jnp.arange(6.0) + 1.0)
    difference = (both(start + 1e-4 * direction)[0] - both(start - 1e-4 * direction)[0]) / 2e-4
    np.testing.assert_allclose(slope @ direction, difference, rtol=1e-7)

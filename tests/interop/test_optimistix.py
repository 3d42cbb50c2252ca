"""Solvers of optimistix on flows and energies: right states, and no maximum or saddle that is called solved."""

import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax.testing import CubicFlow, SharedLoad

optimistix = pytest.importorskip("optimistix")
U = np.asarray([0.3, 0.8])


def solver(kind):
    return fx.interop.optimistix.Solver(kind(rtol=1e-10, atol=1e-10))


def answer(fiber, kind, conditions=U):
    fibers = fx.Fibers(fiber, fx.Quasistatic(1e-8, solver=solver(kind)), conditions)
    return fibers.advance(fibers.begin(conditions), conditions)


class Well(fx.AbstractEnergy):
    """A double well beside a spring. The start is near the maximum in u₀, which root finders go to."""

    start: float = 0.01

    def init(self, condition, key):
        return jnp.stack([self.start + 0.0 * condition, condition])

    def energy(self, state, condition):
        return 0.25 * state[0] ** 4 - 0.5 * state[0] ** 2 + 0.5 * (state[1] - condition) ** 2


class Circle(fx.AbstractEnergy):
    """On the circle |u| = 1, W = sign u₀: a minimum or a maximum along it at (1, 0)."""

    sign: float = 1.0

    def init(self, condition, key):
        return jnp.stack([1.0 + 0.0 * condition, 0.01 + 0.0 * condition])

    def energy(self, state, condition):
        return self.sign * state[0] + 0.5 * condition**2

    def constraint(self, state, condition):
        return jnp.sum(state**2)[None] - 1.0


def test_a_flow_is_solved():
    fiber = CubicFlow(a=0.5)
    _, found = answer(fiber, optimistix.Newton)
    assert not np.any(found.result)
    np.testing.assert_allclose(fiber.condition_of(found.response), U, rtol=1e-8)


@pytest.mark.parametrize("fiber", [Well(), Well(start=0.0), Circle(1.0)], ids=["near", "at", "circle"])
def test_a_root_finder_at_a_maximum_is_unstable(fiber):
    _, found = answer(fiber, optimistix.Newton)
    np.testing.assert_array_equal(found.result, fx.Result.UNSTABLE)


@pytest.mark.parametrize(
    "fiber", [Well(start=0.9), Circle(-1.0), SharedLoad(jnp.asarray([1.0, 2.0]))], ids=["well", "circle", "load"]
)
def test_a_root_finder_at_a_minimum_is_solved(fiber):
    assert not np.any(answer(fiber, optimistix.Newton)[1].result)


def test_a_minimiser_leaves_the_maximum():
    section, found = answer(Well(), optimistix.BFGS)
    assert not np.any(found.result)
    np.testing.assert_allclose(section.sites.state[:, 0], 1.0, rtol=1e-6)


def test_the_residual_is_relative_to_that_of_the_start():
    fiber, factor = CubicFlow(a=0.5), 100.0
    flow = fx.FlowFiber(lambda u, c: factor * fiber.rate(u, c), lambda c: fiber.init(c, None), lambda u, c: u)
    rough, start = fx.interop.optimistix.Solver(optimistix.Newton(rtol=0.1, atol=0.1)), fiber.init(0.8, None)
    state, out = rough.solve(flow, start, jnp.asarray(0.8), 0.5)
    expected = abs(float(flow.rate(state, 0.8) / flow.rate(start, 0.8)))
    assert 1e-9 < expected < 1.0
    np.testing.assert_allclose(out.residual, expected, rtol=1e-6)


def test_the_tolerance_of_the_driver_decides():
    """A minimiser that ends far from the minimum has not solved it, whatever it says; one with closer tolerances has."""
    fiber = fx.EnergyFiber(lambda u, U: jnp.sum((u - U) ** 4) + jnp.sum(u**2), lambda U: jnp.zeros(3))
    for bound, expected in ((0.1, fx.Result.STALLED), (1e-12, fx.Result.SUCCESS)):
        rough = fx.interop.optimistix.Solver(optimistix.BFGS(rtol=bound, atol=bound))
        fibers = fx.Fibers(fiber, fx.Quasistatic(1e-8, solver=rough), U)
        found = fibers.advance(fibers.begin(U), U)[1]
        np.testing.assert_array_equal(found.result, expected)
        assert np.all((found.residual > 1e-8) == (expected == fx.Result.STALLED))


def test_steps_that_are_used_up_count_where_the_residual_is_large():
    fiber = CubicFlow(a=0.5)
    for steps, expected in ((1, fx.Result.MAX_STEPS), (256, fx.Result.SUCCESS)):
        one = fx.interop.optimistix.Solver(optimistix.Newton(rtol=1e-10, atol=1e-10), max_steps=steps)
        fibers = fx.Fibers(fiber, fx.Quasistatic(1e-8, solver=one), U)
        np.testing.assert_array_equal(fibers.advance(fibers.begin(U), U)[1].result, expected)


def test_a_start_that_is_solved_to_round_off_is_solved():
    """The residual at `init` is round-off itself, and no part of it can be reached."""
    conditions = np.linspace(0.1, 3.0, 20)
    fiber = fx.FlowFiber(lambda u, U: 1e3 * (U - u**2), lambda U: jnp.sqrt(U), lambda u, U: u)
    fibers = fx.Fibers(fiber, fx.Quasistatic(1e-8, solver=solver(optimistix.Newton)), conditions)
    found = fibers.advance(fibers.begin(conditions), conditions)[1]
    assert np.any(found.residual > 1e-8) and not np.any(found.result)

"""`fx.response` and `fx.responses` against closed forms: values, tangents, energies, trees, large states, zero modes."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax.testing import CubicFlow, DoubleWell, GroundState, LinearFlow, SharedLoad, Spring


def test_flow_fiber():
    fiber = CubicFlow(a=0.5)
    r = fx.response(fiber, fiber.condition_of(0.8), tangent=True)
    assert int(r.result) == fx.Result.SUCCESS and int(r.steps) > 1 and float(r.residual) < 1e-10
    np.testing.assert_allclose([r.value, r.state], 0.8, rtol=1e-10)
    np.testing.assert_allclose(r.tangent, fiber.slope_at(0.8), rtol=1e-9)
    assert r.energy is None


def test_energy_fiber():
    fiber = Spring(k=3.0, c=1.0)
    r = fx.response(fiber, 1.3, tangent=True)
    np.testing.assert_allclose([r.state, r.energy, r.value, r.tangent], fiber.truth(1.3), rtol=1e-10)
    assert fx.response(fiber, 1.3).tangent is None


def test_link_given_by_the_caller_and_warm_start():
    fiber = Spring()
    r = fx.response(fiber, 1.3, link=lambda fiber, u, c: fiber.k * u + c, tangent=True)
    np.testing.assert_allclose(r.value, 3.0 * 0.75 * 1.69 + 1.3, rtol=1e-10)
    np.testing.assert_allclose(r.tangent, 3.0 * 0.75 * 2.6 + 1.0, rtol=1e-10)
    explicit = fx.response(fiber, 1.3, link=fx.EnergyDerivative()).value
    np.testing.assert_allclose(explicit, fiber.truth(1.3)[2], rtol=1e-10)
    again = fx.response(fiber, 1.3, state=r.state)
    assert int(again.steps) <= 1
    np.testing.assert_allclose(again.value, fiber.truth(1.3)[2], rtol=1e-10)


class Strain(NamedTuple):
    normal: jax.Array
    shear: jax.Array


def tree_energy(state, condition):
    """Quadratic, with two coupled blocks of state and two of condition."""
    u, (v,) = state["u"], state["rest"]
    pull = jnp.sum(u * condition.normal[0]) + jnp.sum(v * condition.normal[1]) * condition.shear
    return jnp.sum(u**2) + 1.5 * jnp.sum(v**2) + 0.5 * jnp.sum(u) * jnp.sum(v) - pull + 0.1 * condition.shear**2


def test_trees_everywhere():
    """State, condition and response are nested trees; the tangent has response axes first, condition axes last."""
    init = lambda c: {"u": jnp.zeros(2), "rest": (jnp.zeros((1, 3)),)}
    fiber = fx.EnergyFiber(tree_energy, init)
    condition = Strain(jnp.asarray([0.7, -0.4]), jnp.asarray(1.3))
    r = fx.response(fiber, condition, tangent=True)
    assert isinstance(r.value, Strain) and isinstance(r.tangent, Strain)
    assert r.tangent.normal.normal.shape == (2, 2) and r.tangent.normal.shear.shape == (2,)
    assert r.tangent.shear.normal.shape == (2,) and r.tangent.shear.shear.shape == ()

    def closed(c):  # minimum of a quadratic form, by hand
        b = jnp.concatenate([jnp.full(2, c.normal[0]), jnp.full(3, c.normal[1] * c.shear)])
        cross = jnp.outer(jnp.asarray([1.0, 1, 0, 0, 0]), jnp.asarray([0.0, 0, 1, 1, 1]))
        hessian = jnp.diag(jnp.asarray([2.0, 2, 3, 3, 3])) + 0.5 * (cross + cross.T)
        return -0.5 * b @ jnp.linalg.solve(hessian, b) + 0.1 * c.shear**2

    close = lambda got, expected: jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9), got, expected)
    truth = jax.jit(lambda c: (closed(c), jax.grad(closed)(c), jax.hessian(closed)(c)))(condition)
    close((r.energy, r.value, r.tangent), truth)


def test_responses_is_response_over_a_batch():
    fiber = CubicFlow(a=0.5)
    values = np.linspace(-1.0, 1.0, 7)
    r = fx.responses(fiber, fiber.condition_of(values), tangent=True, placement=fx.Placement(chunk=3))
    np.testing.assert_allclose(r.value, values, atol=1e-10)
    np.testing.assert_allclose(r.tangent, fiber.slope_at(values), rtol=1e-8)
    assert r.value.shape == r.tangent.shape == r.result.shape == r.steps.shape == (7,) and not np.any(r.result)
    spring = fx.responses(Spring(), jnp.linspace(0.5, 1.5, 4), tangent=True)
    np.testing.assert_allclose(
        [spring.state, spring.energy, spring.value, spring.tangent], Spring().truth(np.linspace(0.5, 1.5, 4))
    )


def test_constraint_that_moves_with_the_condition():
    """W does not contain U at all: the whole response comes from −λ ∂_U g (4.6)."""
    fiber = SharedLoad(jnp.asarray([1.0, 2.0, 5.0]))
    r = fx.response(fiber, 0.4, tangent=True)
    h = float(fiber.stiffness())
    np.testing.assert_allclose(r.state, h * 0.4 / np.asarray([1.0, 2.0, 5.0]), rtol=1e-10)
    np.testing.assert_allclose([r.energy, r.value, r.tangent], [0.5 * h * 0.16, h * 0.4, h], rtol=1e-9)


def test_nonlinear_constraint():
    rng = np.random.default_rng(2)
    base, change = rng.standard_normal((2, 5, 5))
    fiber = GroundState(base + base.T, change + change.T)
    r = fx.response(fiber, 0.3, tangent=True)
    np.testing.assert_allclose([r.energy, r.value], fiber.truth(0.3), rtol=1e-9)
    slope = (fiber.truth(0.301)[1] - fiber.truth(0.299)[1]) / 0.002
    np.testing.assert_allclose(r.tangent, slope, rtol=1e-4)
    np.testing.assert_allclose(r.state @ r.state, 1.0, rtol=1e-14)


def test_double_well_is_left_from_its_top():
    r = fx.response(DoubleWell(), 0.0, link=lambda f, u, c: u)
    assert int(r.result) == 0
    np.testing.assert_allclose(np.abs(r.value), 1.0, rtol=1e-9)


def ring(state, condition):
    """A ring of springs whose sum is free: constants cost no energy."""
    misfit = condition * (0.3 + jnp.sin(2.0 * jnp.pi * jnp.arange(state.size) / state.size))
    stretch = jnp.roll(state, -1) - state - misfit
    return 0.5 * jnp.sum((1.0 + 0.5 * jnp.cos(jnp.arange(state.size))) * stretch**2)


@pytest.mark.parametrize("n", [24, 200])
def test_zero_modes_are_left_alone(n):
    """Dense and Krylov: the state keeps the mean of its start, and the energy is that of the quotient."""
    r = fx.response(fx.EnergyFiber(ring, lambda c: jnp.zeros(n)), 0.7, tangent=n < 100)
    assert int(r.result) == 0
    np.testing.assert_allclose(jnp.mean(r.state), 0.0, atol=1e-9)
    compliance = 1.0 / (1.0 + 0.5 * np.cos(np.arange(n)))
    tension = -0.7 * 0.3 * n / np.sum(compliance)  # the same in all springs, whose stretches sum to minus the misfits
    np.testing.assert_allclose(r.energy, 0.5 * tension**2 * np.sum(compliance), rtol=1e-9)


def test_tangent_with_zero_modes():
    """The pull c·(u₀ − u₁) cannot shift the ring: a linear response, W = ½AU."""
    n = 24
    pulled = fx.EnergyFiber(lambda u, c: ring(u, c) + 0.3 * c * (u[0] - u[1]), lambda c: jnp.zeros(n))
    r = fx.response(pulled, 0.7, tangent=True)
    np.testing.assert_allclose(r.value / 0.7, r.tangent, rtol=1e-8)
    np.testing.assert_allclose(2.0 * r.energy, 0.7 * r.value, rtol=1e-8)
    assert abs(float(r.value)) > 1e-3


def matrices(n, symmetric):
    rng = np.random.default_rng(n)
    noise = rng.standard_normal((n, n)) / n**0.5
    matrix = noise @ noise.T + np.eye(n) if symmetric else np.eye(n) * 2.0 + noise
    return matrix, rng.standard_normal(n), rng.standard_normal(n)


@pytest.mark.parametrize("symmetric", [True, False])
def test_large_flows_through_krylov_solvers(symmetric):
    matrix, load, reading = matrices(220, symmetric)
    fiber = LinearFlow(matrix, load, reading, symmetric)
    truth = reading @ np.linalg.solve(matrix, load)
    r = fx.response(fiber, 0.6, tangent=symmetric)
    assert int(r.result) == 0
    np.testing.assert_allclose(r.value, 0.6 * truth, rtol=1e-8)
    if symmetric:
        np.testing.assert_allclose(r.tangent, truth, rtol=1e-8)
        return
    slope = jax.grad(lambda f: fx.response(f, 0.6).value)(fiber).matrix  # through the transposed system
    exact = -0.6 * np.outer(np.linalg.solve(matrix.T, reading), np.linalg.solve(matrix, load))
    np.testing.assert_allclose(slope, exact, atol=1e-8 * np.abs(exact).max())


def test_large_energies_through_krylov_solvers():
    """Without constraints (nonlinear, against its own dense twin) and with a moving one (closed form)."""
    n = 210
    weights = 1.0 + 0.5 * np.cos(np.arange(n))
    stiff = lambda u, c: jnp.mean(weights * (0.5 * (u - c * jnp.sin(jnp.arange(u.size))) ** 2 + 0.25 * u**4))

    class Field(fx.AbstractEnergy):
        def init(self, condition, key):
            return jnp.zeros(n)

        def energy(self, state, condition):
            return stiff(state, condition)

        def metric(self, state):
            return 1.0 / n

    r = fx.response(Field(), 0.8, tangent=True)
    u = np.linspace(-2, 2, 40001)
    nodes = np.interp(0.8 * np.sin(np.arange(n)), u + u**3, u)  # u + u³ = c sin, node by node
    np.testing.assert_allclose(r.state, nodes, atol=1e-8)
    sine = np.sin(np.arange(n))
    np.testing.assert_allclose(r.value, np.mean(weights * sine * (0.8 * sine - nodes)), rtol=1e-8)
    np.testing.assert_allclose(r.tangent, np.mean(weights * sine**2 * (1.0 - 1.0 / (1.0 + 3.0 * nodes**2))), rtol=1e-6)


def test_large_constrained_energy():
    weights = 1.0 + 0.9 * np.cos(np.arange(230))
    fiber = SharedLoad(weights)
    r = fx.response(fiber, 0.4, tangent=True)
    h = float(fiber.stiffness())
    assert int(r.result) == 0
    np.testing.assert_allclose(r.state, h * 0.4 / weights, rtol=1e-7)
    np.testing.assert_allclose([r.value, 0.4 * r.tangent], 0.4 * h, rtol=1e-7)


def test_empty_state():
    """A simple lattice has no inner freedom: nothing to solve, the response is the plain derivative."""
    fiber = fx.EnergyFiber(lambda u, c: 0.5 * c**2 + jnp.sum(u), lambda c: jnp.zeros((0,)))
    r = fx.response(fiber, 0.3, tangent=True)
    np.testing.assert_allclose([r.value, r.tangent, r.energy], [0.3, 1.0, 0.045])


def test_bad_conditions_and_hopeless_fibers_are_named():
    with pytest.raises(fx.BadInput, match=r"condition at index \[1\] is nan"):
        fx.response(CubicFlow(), jnp.asarray([1.0, jnp.nan]))
    rootless = fx.FlowFiber(lambda u, c: u**2 + c, lambda c: jnp.asarray(0.7), lambda u, c: u)
    assert int(fx.response(rootless, 1.0).result) != 0
    r = fx.responses(rootless, jnp.asarray([-1.0, 1.0]))
    assert r.result[0] == 0 and r.result[1] != 0
    np.testing.assert_allclose(r.value[0], 1.0, rtol=1e-9)
    assert np.isnan(r.value[1])
    with pytest.raises(fx.BadInput, match=r"OrnsteinUhlenbeck has no time step of its own\. Give dt"):
        fx.response(fx.testing.OrnsteinUhlenbeck(), 0.3)
    with pytest.raises(fx.Mismatch, match="has no link of its own"):
        fx.response(fx.FlowFiber(lambda u, c: c - u, lambda c: c), 0.3)


def test_one_small_response_inside_of_other_programs():
    """Its program has options of its own, which no part of another program may have."""
    fiber = fx.FlowFiber(lambda u, c: c**3 - u, lambda c: c, lambda u, c: u)
    alone = fx.response(fiber, 0.5).value
    inside = jax.jit(lambda x: x * fx.response(fiber, 0.5).value)(1.0)
    mapped = jax.vmap(lambda c: fx.response(fiber, c).value)(jnp.array([0.5, 2.0]))
    slope = jax.grad(lambda c: fx.response(fiber, c).value)(0.5)
    np.testing.assert_allclose([alone, inside, *mapped, slope], [0.125, 0.125, 0.125, 8.0, 0.75], rtol=1e-12)

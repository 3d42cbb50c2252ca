"""Relaxation (4.1) of single fibers: order, limits, decay rates, energies, constraints."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax.testing import CubicFlow, GroundState, LinearFlow, OrnsteinUhlenbeck, SharedLoad, Spring, observed_order

KEY = jax.random.key(0)


def march(fiber, state, condition, dt, steps):
    """States after each of `steps` equal steps under a held condition."""

    @jax.jit
    def run(state):
        def body(state, _):
            state = fiber.step(state, condition, jnp.asarray(dt), KEY)
            return state, state

        return jax.lax.scan(body, state, None, length=steps)[1]

    return run(state)


def errors_against_finest(fiber, state, condition, time, counts):
    @jax.jit
    def last_of(count):
        return jax.lax.fori_loop(0, count, lambda _, u: fiber.step(u, condition, time / count, KEY), state)

    finest, found = last_of(512), []
    for count in counts:
        last = last_of(count)
        found.append(
            sum(float(jnp.sum(jnp.abs(a - b))) for a, b in zip(jax.tree.leaves(last), jax.tree.leaves(finest), strict=True))
        )
    return found


BASE = np.diag([0.0, 1.0, 3.0]) + 0.2
GROUND = GroundState(BASE, np.ones((3, 3)))
SPHERE = jnp.asarray([0.6, 0.0, 0.8])


@pytest.mark.parametrize(
    "fiber, state",
    [
        (fx.relax(CubicFlow(a=2.0)), jnp.asarray(1.5)),
        (fx.relax(CubicFlow(a=2.0), scheme=fx.Explicit()), jnp.asarray(1.5)),
        (fx.relax(CubicFlow(a=2.0), mass=0.3, friction=0.2), fx.Moving(jnp.asarray(1.5), jnp.asarray(0.1))),
        (fx.relax(GROUND), SPHERE),
        (fx.relax(GROUND, scheme=fx.Explicit()), SPHERE),
        (fx.relax(GROUND, mass=0.3, friction=0.2), fx.Moving(SPHERE, jnp.asarray([0.0, 1.0, 0.0]))),
    ],
    ids=[f"{scheme}-{kind}" for kind in ("flow", "constrained") for scheme in ("implicit", "explicit", "inertial")],
)
def test_second_order_in_time(fiber, state):
    errors = errors_against_finest(fiber, state, jnp.asarray(0.3), 1.0, (16, 32, 64))
    assert 1.8 < observed_order(errors, [1 / 16, 1 / 32, 1 / 64]) < 2.4, errors


def test_implicit_steps_land_on_the_equilibrium():
    """L-stable: a step 1e6 relaxation times long, and friction as small as 1e-9."""
    state = march(fx.relax(CubicFlow(a=2.0), friction=1e-9), jnp.asarray(5.0), 0.3, 1.0, 1)[0]
    np.testing.assert_allclose(CubicFlow(a=2.0).condition_of(state), 0.3, rtol=1e-6)
    fiber = SharedLoad(jnp.asarray([1.0, 2.0, 5.0]))
    state = march(fx.relax(fiber), jnp.asarray([3.0, -1.0, 0.0]), 0.4, 1e6, 1)[0]
    np.testing.assert_allclose(state, fiber.stiffness() * 0.4 / fiber.weights, rtol=1e-4)


@pytest.mark.parametrize("mass, friction", [(0.0, 0.7), (0.5, 0.4), (0.5, 4.0)])
def test_decay_rates(mass, friction):
    """Deviations of a linear fiber go like exp(st) with m s² + η s + κ = 0 (first, under- and overdamped second order)."""
    kappa = 2.0
    fiber = LinearFlow([[kappa]], [kappa], [1.0], True)
    relaxation = fx.relax(fiber, mass, friction)
    state = fx.Moving(jnp.ones(1), jnp.zeros(1)) if mass else jnp.ones(1)
    found = march(relaxation, state, 0.0, 0.005, 200)
    position = np.asarray(found.position if mass else found)[:, 0]
    t = 0.005 * np.arange(1, 201)
    s1, s2 = np.roots([mass, friction, kappa]) if mass else (-kappa / friction, 1.0)
    truth = ((s2 * np.exp(s1 * t) - s1 * np.exp(s2 * t)) / (s2 - s1)).real if mass else np.exp(s1 * t)
    np.testing.assert_allclose(position, truth, atol=1e-4)


def drift(fiber, dt, friction):
    relaxation = fx.relax(fiber, 0.3, friction)
    states = march(relaxation, fx.Moving(SPHERE, jnp.asarray([0.0, 1.0, 0.0])), 0.3, dt, round(4.0 / dt))
    energy = jax.vmap(fiber.energy, (0, None))(states.position, 0.3)
    return np.asarray(energy + 0.15 * jnp.sum(states.velocity**2, axis=1)), states


def test_energy_is_conserved_without_friction_and_falls_with_it():
    """Constrained second order: the error of the energy is O(dt²) and does not grow; with friction it goes down."""
    waves = [np.ptp(drift(GROUND, dt, 0.0)[0]) for dt in (0.1, 0.05, 0.025)]
    assert 1.7 < observed_order(waves, [4, 2, 1]) < 2.4 and waves[-1] < 1e-2, waves
    falling, states = drift(GROUND, 0.025, 0.5)
    assert np.all(np.diff(falling) < 1e-6) and falling[-1] < falling[0] - 0.1
    np.testing.assert_allclose(jnp.sum(states.position**2, axis=1), 1.0, atol=1e-13)  # constraint
    np.testing.assert_allclose(jnp.sum(states.position * states.velocity, axis=1), 0.0, atol=1e-13)  # its derivative


@pytest.mark.parametrize("scheme", [fx.Implicit(), fx.Explicit()])
def test_constraints_are_kept_to_round_off(scheme):
    states = march(fx.relax(GROUND, scheme=scheme), SPHERE * 1.1, 0.3, 0.1, 20)
    np.testing.assert_allclose(jnp.sum(states**2, axis=1), 1.0, atol=1e-12)
    assert np.all(np.diff(jax.vmap(GROUND.energy, (0, None))(states, 0.3)) <= 1e-13)


def test_friction_has_the_meaning_of_the_metric():
    """Sum and mean of the same energies relax alike where the metric says what an entry weighs."""
    weights = jnp.linspace(1.0, 2.0, 7)
    coarse, fine = SharedLoad(weights), SharedLoad(jnp.repeat(weights, 3))
    start = jnp.linspace(-1.0, 1.0, 7)
    one = march(fx.relax(coarse), start, 0.0, 0.1, 5)
    three = march(fx.relax(fine), jnp.repeat(start, 3), 0.0, 0.1, 5)
    np.testing.assert_allclose(three[:, ::3], one, rtol=1e-9, atol=1e-12)


def test_misuse_is_named():
    with pytest.raises(fx.BadInput, match="both zero"):
        fx.relax(Spring(), 0.0, 0.0)
    with pytest.raises(fx.BadInput, match="friction must be a number >= 0"):
        fx.relax(Spring(), 1.0, -1.0)
    with pytest.raises(fx.Mismatch, match="dynamics of its own"):
        fx.relax(OrnsteinUhlenbeck())

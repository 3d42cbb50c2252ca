"""Inertial macro models: central differences, Newmark, equilibria in the position alone, energies of microstates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax.testing import TwoSpringChain, observed_order


class Ring(fx.AbstractInertial):
    """∂_tt A = ∂_xx F on a ring of n points, A the strain; `load` is subtracted from F's second difference."""

    spacing: float
    load: jax.Array | float = 0.0

    def conditions(self, macro):
        return macro.position

    def acceleration(self, t, macro, response):
        return (jnp.roll(response, 1) - 2 * response + jnp.roll(response, -1)) / self.spacing**2 - self.load


class Anchored(Ring):
    """A spring holds each point as well, so that an equilibrium is unique."""

    def acceleration(self, t, macro, response):
        return super().acceleration(t, macro, response) - macro.position


class Oscillator(fx.AbstractInertial):
    """x'' = −x − x³ by its response; no fiber state at all."""

    def conditions(self, macro):
        return macro.position

    def acceleration(self, t, macro, response):
        return -response


NOTHING = fx.EnergyFiber(lambda state, x: 0.5 * x**2 + 0.25 * x**4, lambda x: jnp.zeros((0,)))
START = fx.Moving(jnp.asarray([0.8]), jnp.asarray([0.3]))
CHAIN = TwoSpringChain(k=1.0, q=0.0)


def reference():
    """The oscillator at t = 2 by a method of order 5 with a step of its own."""
    from scipy.integrate import solve_ivp

    found = solve_ivp(lambda t, y: [y[1], -y[0] - y[0] ** 3], (0, 2.0), [0.8, 0.3], rtol=1e-12, atol=1e-12)
    return found.y[:, -1]


@pytest.mark.parametrize("stepper", [fx.Verlet(), fx.Newmark(tolerance=1e-12)], ids=["verlet", "newmark"])
def test_second_order(stepper):
    bundle, exact, steps, errors = fx.Bundle(Oscillator(), NOTHING), reference(), (0.1, 0.05, 0.025), []
    for dt in steps:
        end = fx.evolve(bundle, fx.Quasistatic(), START, t1=2.0, dt=dt, stepper=stepper).macro
        errors.append(np.hypot(end.position[-1, 0] - exact[0], end.velocity[-1, 0] - exact[1]))
    assert 1.9 < observed_order(errors, steps) < 2.1, errors


def test_verlet_keeps_the_energy():
    bundle = fx.Bundle(Oscillator(), NOTHING)
    sol = fx.evolve(bundle, fx.Quasistatic(), START, t1=60.0, dt=0.05, stepper=fx.Verlet(), saveat=np.linspace(0, 60, 61))
    total = 0.5 * sol.macro.velocity[:, 0] ** 2 + sol.energy[:, 0]
    assert np.abs(total - total[0]).max() < 1e-3 * total[0]
    assert abs(total[-10:].mean() - total[:10].mean()) < 2e-5 * total[0]  # bounded, without drift


def test_standing_wave_of_the_relaxed_chain():
    n = 32
    x = np.arange(n) / n
    start = fx.Moving(jnp.asarray(1e-3 * np.sin(2 * np.pi * x)), jnp.zeros(n))
    speed = np.sqrt(CHAIN.k / 2)  # c² = V''/2 at equilibrium (docs: mathematics, section 6)
    omega = speed * 2 * n * np.sin(np.pi / n)
    t1 = float(np.pi / omega)  # half a period
    sol = fx.evolve(fx.Bundle(Ring(1 / n), CHAIN), fx.Quasistatic(), start, t1=t1, dt=t1 / 400, stepper=fx.Verlet())
    np.testing.assert_allclose(sol.macro.position[-1], -start.position, atol=1e-7)


def test_energy_of_microstates_with_inertia():
    """The total of macro kinetic energy, W and ½ m p'² stays, and its error falls with the square of the step."""
    n, m = 16, 0.02
    x = (np.arange(n) + 0.5) / n
    fiber = fx.relax(TwoSpringChain(k=1.0, q=6.0), mass=m, friction=1e-12)

    class Bar(Ring):
        """The displacement form: A = Δu/h, so that the kinetic energy is that of u."""

        def conditions(self, macro):
            return (jnp.roll(macro.position, -1) - macro.position) / self.spacing

        def acceleration(self, t, macro, response):
            return (response - jnp.roll(response, 1)) / self.spacing

    start = fx.Moving(jnp.asarray(0.05 * np.sin(2 * np.pi * x)), jnp.zeros(n))
    errors, steps = [], (4e-3, 2e-3, 1e-3)
    for dt in steps:
        sol = fx.evolve(
            fx.Bundle(Bar(1 / n), fiber),
            fx.Seamless(separation=np.inf),
            start,
            t1=1.0,
            dt=dt,
            stepper=fx.Verlet(),
            saveat=np.linspace(0, 1, 6),
        )
        total = np.mean(0.5 * sol.macro.velocity**2 + sol.energy, axis=1)
        errors.append(np.abs(total - total[0]).max())
    assert 1e-9 < errors[-1] < 1e-3 * total[0]
    assert 1.8 < observed_order(errors, steps) < 2.2, errors


def test_equilibrium_in_the_position_alone():
    bundle = fx.Bundle(Anchored(1.0, jnp.asarray([0.1, -0.2, 0.3])), CHAIN)
    rest = fx.steady(bundle, fx.Quasistatic(), jnp.zeros(3))
    moving = fx.steady(bundle, fx.Quasistatic(), fx.Moving(jnp.zeros(3), jnp.ones(3)))
    matrix = 0.5 * (np.roll(np.eye(3), 1, 0) + np.roll(np.eye(3), -1, 0) - 2 * np.eye(3)) - np.eye(3)
    np.testing.assert_allclose(rest.macro[0], np.linalg.solve(matrix, [0.1, -0.2, 0.3]), atol=1e-12)
    np.testing.assert_array_equal(moving.macro.position, rest.macro)
    assert not np.any(moving.macro.velocity)
    assert rest.energy.shape == (1, 3)


def test_steppers_name_what_they_need():
    bundle = fx.Bundle(fx.homogenization.Diffusion(fx.grids.Box((0.0,), (1.0,), cells=(4,), periodic=True)), NOTHING)
    with pytest.raises(fx.Mismatch, match="Verlet needs an inertial model"):
        fx.evolve(bundle, fx.Quasistatic(), jnp.ones(4), t1=1.0, dt=0.1, stepper=fx.Verlet(), key=None)
    with pytest.raises(fx.BadInput, match="not stable for every step"):
        fx.Newmark(beta=0.1)
    fx.Newmark(beta=0.3025, gamma=0.6)  # the least beta, in decimal digits

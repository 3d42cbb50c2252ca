"""Bursts of HMM against exact means and variances of a linear fiber, their standard errors, macro order, misuse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax.testing import CubicFlow, Decay, ElasticPlastic, observed_order

EPS, STEP, RATE = 0.02, 0.005, 1.5
START = jnp.asarray([0.6, 1.7])


class Linear(fx.AbstractStochastic):
    """dz = −(z − U)/ε dτ + √(1/ε) dW, stepped exactly: mean U, variance 1/2, relaxation time ε; response z."""

    def init(self, condition, key):
        return condition

    def step(self, state, condition, dt, key):
        decay = jnp.exp(-dt / EPS)
        return condition + decay * (state - condition) + jnp.sqrt(0.5 * (1.0 - decay**2)) * jax.random.normal(key, ())

    def link(self, state, condition):
        return state

    def timestep(self, condition):
        return jnp.asarray(STEP)


class Relaxing(fx.AbstractMacro):
    """dU/dt = −RATE·A."""

    def conditions(self, macro):
        return macro

    def rate(self, t, macro, response):
        return -RATE * response


def burst(relax, average):
    """How the mean response and the last state of a burst come from (U, z), and the covariance of their noise."""
    a = np.exp(-STEP / EPS)
    steps = relax + average
    # Row k: state after k steps as a function of (U, z, the noise of each step).
    rows = [np.concatenate([[0.0, 1.0], np.zeros(steps)])]
    for k in range(steps):
        new = a * rows[-1]
        new[0] += 1.0 - a
        new[2 + k] += np.sqrt(0.5 * (1.0 - a**2))
        rows.append(new)
    found = np.stack([np.mean(rows[relax + 1 :], axis=0), rows[-1]])
    return found[:, :2], found[:, 2:] @ found[:, 2:].T


def exact(driver, dt, steps, heun):
    """Mean and variance of U at the end, from U = z = 1, by the exact recursion of (U, z)."""
    maps, noise = burst(driver.relax, driver.average)
    noise = noise / driver.replicas
    mean, cov = np.ones(2), np.zeros((2, 2))
    # With R copies z stands for their mean: means and variances of sums are the same.
    for _ in range(steps):

        def one(matrix):  # (U0, U, z) -> (U0, U, z, A), with A under the condition U
            new = np.zeros((4, 3))
            new[:2, :2] = np.eye(2)
            new[2, 1:], new[3, 1:] = maps[1], maps[0]
            return new @ matrix

        now = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        first = one(now)
        lift = np.zeros((4, 2))
        lift[3, 0] = lift[2, 1] = 1.0
        spread = lift @ noise @ lift.T
        if not heun:
            step = np.array([[1.0, 0.0, 0.0, -RATE * dt], [0.0, 0.0, 1.0, 0.0]])
            total, extra = step @ first, step @ spread @ step.T
        else:
            # U* = U0 − λ dt A; then A* from (U*, z); U = U0 − λ dt (A + A*)/2.
            move = np.array([[1.0, 0, 0, 0], [1.0, 0, 0, -RATE * dt], [0, 0, 1.0, 0]])
            second = one(move)  # (U0, U*, z, A*) from (U0, U, z, A)
            keep = np.array([[0, 0, 0, 1.0]])
            last = np.array([[1.0, 0, 0, -0.5 * RATE * dt], [0, 0, 1.0, 0]]) @ second
            last = last + np.array([[-0.5 * RATE * dt], [0.0]]) @ keep
            end = np.array([[1.0, 0, 0, -0.5 * RATE * dt], [0, 0, 1.0, 0]])
            total = last @ first
            extra = last @ spread @ last.T + end @ spread @ end.T
        mean, cov = total @ mean, total @ cov @ total.T + extra
    return mean[0], cov[0, 0]


@pytest.mark.parametrize(
    ("driver", "stepper"),
    [
        (fx.HeterogeneousMultiscale(relax=4, average=12), fx.ForwardEuler()),
        (fx.HeterogeneousMultiscale(relax=4, average=12), fx.Heun()),
        (fx.HeterogeneousMultiscale(relax=0, average=5, replicas=3), fx.ForwardEuler()),
    ],
    ids=["euler", "heun", "parallel"],
)
def test_mean_and_variance_are_exact(driver, stepper):
    n, dt, steps = 20_000, 0.1, 4
    sol = fx.evolve(fx.Bundle(Relaxing(), Linear()), driver, jnp.ones(n), t1=dt * steps, dt=dt, stepper=stepper)
    found, stages = sol.macro[-1], 1 + isinstance(stepper, fx.Heun)
    assert sol.stats["fiber_steps"] == n * steps * stages * driver.replicas * (driver.relax + driver.average)
    mean, variance = exact(driver, dt, steps, isinstance(stepper, fx.Heun))
    assert abs(found.mean() - mean) < 4.0 * np.sqrt(variance / n)
    assert abs(found.var() / variance - 1.0) < 0.05  # the estimate itself has a relative error of 0.01


@pytest.mark.parametrize(("average", "replicas"), [(100, 1), (30, 4), (10, 8)])
def test_standard_errors_are_right(average, replicas):
    """Windows of 2.5 to 25 relaxation times; root mean square of what is stated, over the true spread."""
    driver = fx.HeterogeneousMultiscale(relax=20, average=average, replicas=replicas)
    found = fx.evolve(fx.Bundle(Relaxing(), Linear()), driver, jnp.ones(3000), t1=0.01, dt=0.01, stepper=fx.ForwardEuler())
    stated = np.sqrt(np.mean(found.stderr[-1] ** 2))
    assert abs(stated / np.std(found.response[-1] - found.macro[-1]) - 1.0) < 0.25
    few = fx.evolve(fx.Bundle(Relaxing(), Linear()), fx.HeterogeneousMultiscale(0, 4), jnp.ones(3), t1=0.1, dt=0.1)
    assert np.all(np.isnan(few.stderr))  # too few values for an estimate


@pytest.mark.slow
def test_a_burst_in_every_stage_keeps_the_order():
    """A deterministic fiber whose bursts reach equilibrium: HMM with Heun is of second order, as `Quasistatic` is."""
    fiber = fx.relax(CubicFlow(a=0.5, speed=50.0))
    driver = fx.HeterogeneousMultiscale(relax=40, average=1, dt=0.05)
    truth = fx.evolve(fx.Bundle(Decay(2, source=1.0), CubicFlow(a=0.5)), fx.Quasistatic(1e-12), START, t1=1.0, dt=1 / 256)
    errors = []
    for dt in (0.1, 0.05, 0.025):
        found = fx.evolve(fx.Bundle(Decay(2, source=1.0), fiber), driver, START, t1=1.0, dt=dt)
        assert found.stderr is None
        errors.append(np.abs(found.macro - truth.macro).max())
    assert 1.8 < observed_order(errors, (0.1, 0.05, 0.025)) < 2.2, errors


def test_fresh_bursts_begin_from_init():
    """Without relaxation a fresh burst averages what `init` gives: exactly the condition, for one step of no length."""
    bundle = fx.Bundle(Relaxing(), Linear())
    carried, fresh = (
        fx.evolve(bundle, fx.HeterogeneousMultiscale(0, 1, fresh=fresh), 1.0 * jnp.ones(4000), t1=2.0, dt=0.5).response[-1]
        for fresh in (False, True)
    )
    assert np.var(fresh) < 0.75 * np.var(carried)


def test_energy_and_margin_are_those_of_the_replicas():
    """A bond of a diatomic chain, relaxed in one long step: W, and the stiffness of the shift, at the condition."""
    V = lambda r: 2.0 * (r - 0.5) ** 2 + (r - 0.5) ** 4
    chain = fx.solids.DiatomicChain(V, lambda r: 3.0 * (r - 0.5) ** 2)
    A = jnp.linspace(0.05, 0.2, 2)
    driver = fx.HeterogeneousMultiscale(relax=6, average=1, replicas=2, dt=1.0)
    _, answer = (fibers := fx.Fibers(fx.relax(chain), driver, A)).advance(fibers.begin(A), A)
    truth = fx.responses(chain, A)
    np.testing.assert_allclose(answer.energy, truth.energy, rtol=1e-8)
    np.testing.assert_allclose(answer.response, truth.value, rtol=1e-5)
    found = fx.evolve(fx.Bundle(Relaxing(), fx.relax(chain)), driver, A, t1=1e-3, dt=1e-3)
    margins = jax.vmap(chain.stability_margin)(truth.state, A)
    np.testing.assert_allclose(found.stability_margin[-1], margins, rtol=1e-2)


@pytest.mark.slow
def test_gradients_go_through_bursts():
    def end(rate):
        driver = fx.HeterogeneousMultiscale(relax=3, average=4, dt=0.01)
        fiber = fx.relax(CubicFlow(a=0.5, speed=rate))
        return fx.evolve(fx.Bundle(Decay(2, source=1.0), fiber), driver, START, t1=0.2, dt=0.1).macro[-1].sum()

    difference = (end(20.0 + 1e-4) - end(20.0 - 1e-4)) / 2e-4
    np.testing.assert_allclose(jax.grad(end)(20.0), difference, rtol=1e-6)


def test_misuse_is_told():
    for options, told in (
        ({"relax": -1, "average": 4}, "relax"),
        ({"relax": 1, "average": 0}, "average"),
        ({"relax": 1, "average": 4, "replicas": 0}, "replicas"),
        ({"relax": 1, "average": 4, "dt": 0.0}, "dt"),
    ):
        with pytest.raises(fx.BadInput, match=told):
            fx.HeterogeneousMultiscale(**options)
    driver = fx.HeterogeneousMultiscale(1, 4)
    with pytest.raises(fx.Mismatch, match="history"):
        fx.evolve(fx.Bundle(Decay(2), ElasticPlastic()), driver, jnp.ones(2), t1=0.1, dt=0.1)
    with pytest.raises(fx.BadInput, match="no time step of its own"):
        fx.evolve(fx.Bundle(Decay(2), CubicFlow()), driver, jnp.ones(2), t1=0.1, dt=0.1)
    with pytest.raises(fx.Mismatch, match="no tangent"):
        fx.evolve(fx.Bundle(Decay(2), Linear()), driver, jnp.ones(2), t1=0.1, dt=0.1, stepper=fx.SDIRK2())

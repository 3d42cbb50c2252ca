"""Realisations: each is the run of its own noise, spread as exact variances say, and refused where they are not made."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax.core.capabilities import AbstractEnsemble
from fiberax.core.link import AbstractWrapper

COUNT = 3


class _One(AbstractWrapper, AbstractEnsemble, fx.AbstractStochastic):
    """The fiber with the noise of one realisation of several."""

    inner: fx.AbstractStochastic
    number: int

    def init(self, condition, key):
        return self.inner.init(condition, jax.random.split(key, COUNT)[self.number])

    def step(self, state, condition, dt, key):
        return self.inner.step(state, condition, dt, jax.random.split(key, COUNT)[self.number])

    def timestep(self, condition):
        return self.inner.timestep(condition)

    def standard_error(self, state, condition):
        return self.inner.standard_error(state, condition)

    @property
    def mixing(self):
        return self.inner.mixing


def channel(dumbbell):
    grid = fx.grids.Box(0.0, 1.0, cells=4, periodic=False)
    flow = fx.fluids.Flow(grid, Re=0.5, viscosity_ratio=0.3, force=8.0)
    return fx.Bundle(flow, dumbbell), flow.start()


def creeping(dumbbell):
    grid = fx.grids.Box((0.0, 0.0), (1.0, 1.0), (4, 4))
    force = lambda x, t: jnp.stack([jnp.sin(2 * jnp.pi * x[..., 1]), 0.0 * x[..., 0]], -1)
    flow = fx.fluids.Flow(grid, Re=0.0, viscosity_ratio=0.3, force=force, dim=2, De=1.0)
    return fx.Bundle(flow, dumbbell), flow.start()


@pytest.mark.parametrize("make", [channel, creeping])
def test_each_is_the_run_of_its_own_noise(make):
    dumbbell, driver = fx.fluids.Dumbbell(fx.fluids.Hookean(), dim=2, members=6, De=1.0), fx.Seamless(separation=np.inf)
    run = lambda bundle, start: fx.evolve(bundle, driver, start, t1=0.1, dt=0.02, saveat=[0.06, 0.1], key=jax.random.key(4))
    bundle, start = make(dumbbell)
    wide = jax.tree.map(lambda x: jnp.broadcast_to(x, (COUNT, *x.shape)), start)
    many = run(fx.realisations(bundle, COUNT), wide)
    for k in range(COUNT):
        one = run(make(_One(dumbbell, k))[0], start)
        pairs = ((many.macro, one.macro, 1), (many.response, one.response, 2), (many.stderr, one.stderr, 2))
        for found, right, axis in pairs:
            mine = jax.tree.map(lambda x, axis=axis, k=k: jnp.take(x, k, axis), found)
            jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12), mine, right)


class _Follows(fx.AbstractMacro):
    """U' = A − U at one site."""

    def conditions(self, macro):
        return macro[None]

    def rate(self, t, macro, response):
        return response[0] - macro


def test_spread_is_that_of_a_linear_system():
    """Euler steps of s' = −s + noise and U' = s − U: the covariance follows a recursion."""
    count, dt, steps = 4000, 0.1, 20
    step = lambda s, U, dt, key: s - dt * s + jnp.sqrt(2.0 * dt) * jax.random.normal(key)
    fiber = fx.StochasticFiber(step, init=lambda U, key: jnp.zeros(()), link=lambda s, U: s)
    many = fx.realisations(fx.Bundle(_Follows(), fiber), count)
    driver = fx.Seamless(separation=np.inf)
    found = fx.evolve(
        many,
        driver,
        jnp.ones(count),
        t1=steps * dt,
        dt=dt,
        stepper=fx.ForwardEuler(),
        saveat=[steps * dt],
        key=jax.random.key(0),
    )
    # The fibers are advanced first, then the macrostate by what they answer.
    move, noise = np.array([[1.0 - dt, 0.0], [dt * (1.0 - dt), 1.0 - dt]]), np.array([1.0, dt]) * np.sqrt(2.0 * dt)
    covariance = np.zeros((2, 2))
    for _ in range(steps):
        covariance = move @ covariance @ move.T + np.outer(noise, noise)
    U = np.asarray(found.macro[-1])
    assert np.var(U, ddof=1) == pytest.approx(covariance[1, 1], rel=4.0 * np.sqrt(2.0 / count))
    assert abs(U.mean() - (1.0 - dt) ** steps) < 4.0 * np.std(U, ddof=1) / np.sqrt(count)
    data = found.to_xarray()
    assert data["macro"].shape == (1, count)


def test_refusals():
    still = fx.FlowFiber(rate=lambda s, U: U - s, init=lambda U: jnp.zeros(()), link=lambda s, U: s)
    with pytest.raises(fx.Mismatch, match="FlowFiber is no AbstractStochastic; without noise"):
        fx.realisations(fx.Bundle(_Follows(), still), 2)
    bundle, _ = channel(fx.fluids.Dumbbell(fx.fluids.Hookean(), dim=2, members=6, De=1.0))
    for count in (1, 2.0, "3"):
        with pytest.raises(fx.BadInput, match="count must be a whole number, at least 2"):
            fx.realisations(bundle, count)

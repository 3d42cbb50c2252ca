"""Regression over bursts: weighted least squares, its standard errors, cells that are halved, the driver, misuse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from keeper import Keeper

import fiberax as fx
from fiberax.drivers.regression_cells import PooledTable
from fiberax.testing import CubicFlow, Decay, ElasticPlastic, OrnsteinUhlenbeck

SITES = 12
FIBER = OrnsteinUhlenbeck(k=100.0, diffusion=50.0, members=8)  # A = U² + 1/2
BURST = fx.HeterogeneousMultiscale(relax=8, average=24, dt=5e-3)
CONDITIONS = jnp.linspace(0.4, 1.6, SITES)


class Held(fx.AbstractMacro):
    """Conditions that do not move."""

    def conditions(self, macro):
        return macro

    def rate(self, t, macro, response):
        return 0.0 * response


def learnt(table, points, values, errors):
    """A table after responses one after the other; points (n, d), values and errors (n, m)."""
    cells = table.empty(points, values.shape[1])
    return jax.lax.fori_loop(0, len(points), lambda k, c: table.learn(c, points[k], values[k], errors[k]), cells)


@pytest.mark.parametrize("entries", [1, 2])
def test_one_cell_is_weighted_least_squares(entries):
    """Value and standard error of cubics with noise, against NumPy's solution with the true variance."""
    rng = np.random.default_rng(0)
    x, at = rng.uniform(-1.0, 1.0, (400, entries)), rng.uniform(-0.9, 0.9, (7, entries))
    powers = [p for p in np.ndindex(*(4,) * entries) if sum(p) <= 3]
    columns = lambda x: np.stack([np.prod(x**p, axis=1) for p in powers], 1)
    truth = rng.normal(size=columns(x).shape[1])
    s = 0.05
    y = columns(x) @ truth + s * rng.normal(size=len(x))
    table = PooledTable(tolerance=0.05, capacity=4, entries=entries)
    cells = learnt(table, jnp.asarray(x), jnp.asarray(y)[:, None], jnp.full((400, 1), s))
    assert int(cells.count) == 1 and float(cells.samples[0]) == 400
    found = table.find(cells, jnp.asarray(at))
    fit = np.linalg.lstsq(columns(x), y, rcond=None)[0]
    np.testing.assert_allclose(found.value[:, 0], columns(at) @ fit, atol=1e-3 * s)
    covariance = s**2 * np.linalg.inv(columns(x).T @ columns(x))
    told = np.sqrt(np.einsum("ri,ij,rj->r", columns(at), covariance, columns(at)))
    np.testing.assert_allclose(found.error[:, 0], told, rtol=0.15)  # the scatter is that of 400
    assert np.all(found.sure) and not table.find(cells, 3.0 + jnp.asarray(at)).there.any()


@pytest.mark.parametrize("stated", [1.0, 0.5, 2.0])
def test_standard_errors_are_right(stated):
    """Within a quarter, also where every burst states half or twice its error: the scatter tells."""
    s, n, seeds = 0.1, 300, 60
    at = jnp.asarray([[-0.8], [0.0], [0.7]])
    table = PooledTable(tolerance=0.5, capacity=4, entries=1)

    def one(key):
        where, noise = jax.random.split(key)
        x = jax.random.uniform(where, (n, 1), minval=-1.0)
        y = 1.0 + x - 0.5 * x**2 + s * jax.random.normal(noise, (n, 1))
        found = table.find(learnt(table, x, y, jnp.full((n, 1), stated * s)), at)
        return (found.value - (1.0 + at - 0.5 * at**2))[:, 0], found.error[:, 0]

    off, error = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(3), seeds))
    ratio = np.sqrt(np.mean(np.asarray(off) ** 2, axis=0) / np.mean(np.asarray(error) ** 2, axis=0))
    np.testing.assert_array_less(np.abs(np.sqrt(np.mean(ratio**2)) - 1.0), 0.25)


def test_cells_are_halved_where_a_fit_misses_and_no_further():
    """A wave, which is odd in the first cell, needs several; with four times the noise and the tolerance no more."""
    n, wave = 8000, lambda x: jnp.sin(6.0 * x)
    x = jax.random.uniform(jax.random.key(0), (n, 1), minval=-1.0)
    noise = jax.random.normal(jax.random.key(1), (n, 1))
    at = jnp.linspace(-0.95, 0.95, 39)[:, None]
    counts = []
    for tolerance in (0.01, 0.04):
        table = PooledTable(tolerance=tolerance, capacity=32, entries=1)
        s = 4.0 * tolerance
        cells = jax.jit(lambda x, y, e, table=table: learnt(table, x, y, e))(x, wave(x) + s * noise, jnp.full((n, 1), s))
        found = table.find(cells, at)
        off, sure = np.asarray(found.value - wave(at))[:, 0], np.asarray(found.sure)
        assert np.sqrt(np.mean((off / np.asarray(found.error[:, 0])) ** 2)) < 2.0
        assert np.sqrt(np.mean(off[sure] ** 2)) < 1.5 * tolerance and np.mean(sure) > 0.8 and not cells.full
        counts.append(int(cells.count))
    assert 2 <= counts[0] <= 12 and counts[1] <= counts[0]


def test_a_full_table_says_so_and_goes_on():
    table = PooledTable(tolerance=1e-3, capacity=1, entries=1)
    x = jnp.linspace(-1.0, 1.0, 200)[:, None]
    cells = learnt(table, x, jnp.sin(6.0 * x), jnp.full((200, 1), 1e-3))
    assert bool(cells.full) and int(cells.count) == 1 and np.all(np.isfinite(table.find(cells, x).value))


def test_bursts_are_pooled_and_errors_stated():
    """Twelve held sites, 32 seeds: errors are right within a quarter, and far smaller than those of a burst at each site."""
    bundle = fx.Bundle(Held(), FIBER)
    driver, options = fx.Regression(BURST, tolerance=0.02, check=0.2, batch=12), {"t1": 1.0, "dt": 0.1}
    off, stated = [], []
    alone = fx.evolve(bundle, BURST, CONDITIONS, **options).stderr[-1]
    for seed in range(32):
        found = fx.evolve(bundle, driver, CONDITIONS, key=jax.random.key(seed), **options)
        off.append(found.response[-1] - FIBER.mean(CONDITIONS))
        stated.append(found.stderr[-1])
    off, stated, alone = (np.sqrt(np.mean(np.square(x))) for x in (off, stated, alone))
    assert abs(off / stated - 1.0) < 0.25 and off < 0.5 * alone
    made = found.stats["regression"]
    assert made["live"] + made["retrieved"] == SITES * made["evaluations"]
    assert made["live"] < 0.9 * SITES * made["evaluations"]
    assert made["checked"] > 5 and 0.6 < made["deviation"] < 1.6


def test_a_run_that_goes_on_has_the_same_digits():
    bundle, driver = fx.Bundle(Decay(SITES, source=1.0), FIBER), fx.Regression(BURST, tolerance=0.05)
    options, keeper = {"t1": 0.4, "dt": 0.1}, Keeper()
    whole = fx.evolve(bundle, driver, CONDITIONS, checkpoint=keeper, **options)
    middle = next(s for s in keeper.snapshots if 0 < s.step < 4)
    rest = fx.evolve(bundle, driver, CONDITIONS, start=middle, **options)
    np.testing.assert_array_equal(rest.macro[-1], whole.macro[-1])
    np.testing.assert_equal(rest.stats["regression"], whole.stats["regression"])


@pytest.mark.slow
def test_nothing_depends_on_the_chunk():
    bundle, driver = fx.Bundle(Decay(SITES, source=1.0), FIBER), fx.Regression(BURST, tolerance=0.05)
    first, second = (
        fx.evolve(bundle, driver, CONDITIONS, t1=0.4, dt=0.1, placement=fx.Placement(chunk=chunk)) for chunk in (SITES, 5)
    )
    np.testing.assert_allclose(first.macro, second.macro, rtol=1e-12)


class Tensor(Held):
    """Conditions of four entries."""

    def conditions(self, macro):
        return jnp.broadcast_to(macro[:, None], (macro.size, 4))


MANY = fx.StochasticFiber(lambda s, U, dt, key: s, lambda U, key: jnp.zeros(()), lambda s, U: s)


@pytest.mark.parametrize(
    ("bundle", "why"),
    [
        (fx.Bundle(Held(), fx.relax(CubicFlow())), "draws no noise"),
        (fx.Bundle(Held(), ElasticPlastic()), "history"),
        (fx.Bundle(Held(), FIBER, noise="shared"), 'noise="independent"'),
        (fx.Bundle(Tensor(), MANY), "4 entries, more than 3"),
    ],
    ids=["no noise", "history", "shared noise", "entries"],
)
def test_what_does_not_fit_is_refused(bundle, why):
    with pytest.raises(fx.Mismatch, match=why):
        fx.evolve(bundle, fx.Regression(BURST), CONDITIONS, t1=0.1, dt=0.1)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"inner": fx.Seamless()}, "makes bursts"),
        ({"inner": fx.HeterogeneousMultiscale(1, 7)}, "at least 8"),
        ({"tolerance": 0.0}, "between 0 and 1"),
        ({"capacity": 0}, "capacity must be a whole number"),
        ({"batch": True}, "batch must be a whole number"),
        ({"check": 1.5}, "check is a share"),
    ],
    ids=lambda x: next(iter(x)) if isinstance(x, dict) else "",
)
def test_numbers_out_of_range(options, why):
    with pytest.raises(fx.BadInput, match=why):
        fx.Regression(**({"inner": BURST} | options))


def test_tangents_and_derivatives_are_refused():
    bundle, driver = fx.Bundle(Decay(SITES), FIBER), fx.Regression(BURST)
    with pytest.raises(fx.Mismatch, match="explicit macro step"):
        fx.evolve(bundle, driver, CONDITIONS, t1=0.1, dt=0.1, stepper=fx.SDIRK2())
    with pytest.raises(fx.BadInput, match=r"jax\.grad"):
        jax.grad(lambda U: fx.evolve(bundle, driver, U, t1=0.1, dt=0.1).macro.sum())(CONDITIONS)

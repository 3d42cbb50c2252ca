"""`Quasistatic(keep_states=False)`: the same responses, without a state in the section."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax.physics.homogenization import Cell, Diffusion, Dirichlet
from fiberax.testing import Spring

LABELS = (np.random.default_rng(0).random((6, 6)) < 0.4).astype(int)
CELL = Cell.from_image(LABELS, {0: lambda U: 1.0 + 0.1 * U, 1: 5.0}, symmetric=True)
GRID = fx.grids.Box((0.0, 0.0), (1.0, 1.0), cells=(5, 4), periodic=False)
BUNDLE = fx.Bundle(Diffusion(GRID, boundary=Dirichlet(0.0)), CELL)
START = 3.0 + jnp.cos(3.0 * jnp.arange(20.0)).reshape(5, 4)
KEPT, ANEW = fx.Quasistatic(1e-9), fx.Quasistatic(1e-9, keep_states=False)


@pytest.mark.parametrize(
    ("stepper", "chunk"),
    [
        (fx.Heun(), 3),
        (fx.SDIRK2(tolerance=1e-8), None),
        pytest.param(fx.Heun(), None, marks=pytest.mark.slow),
        pytest.param(fx.SDIRK2(tolerance=1e-8), 3, marks=pytest.mark.slow),
    ],
    ids=lambda x: type(x).__name__,
)
def test_runs_are_the_same(stepper, chunk):
    go = lambda driver: fx.evolve(BUNDLE, driver, START, t1=2e-3, dt=1e-3, stepper=stepper, placement=fx.Placement(chunk=chunk))
    kept, anew = go(KEPT), go(ANEW)
    assert jax.tree.leaves(anew.section.state) == [] and jax.tree.leaves(kept.section.state)
    np.testing.assert_allclose(anew.macro, kept.macro, rtol=1e-8)
    np.testing.assert_allclose(anew.response, kept.response, rtol=1e-8)


def test_steady_states_and_tangents_are_the_same():
    source = fx.Bundle(Diffusion(GRID, source=30.0, boundary=Dirichlet(0.0)), CELL)
    kept, anew = (fx.steady(source, driver, START) for driver in (KEPT, ANEW))
    assert float(jnp.max(kept.macro[-1])) > 0.5
    np.testing.assert_allclose(anew.macro, kept.macro, rtol=1e-7)


def test_gradients_are_the_same():
    def end(driver, start):
        return jnp.sum(fx.evolve(BUNDLE, driver, start, t1=2e-3, dt=1e-3, stepper=fx.Heun()).macro[-1] ** 2)

    kept, anew = (jax.grad(lambda u, driver=driver: end(driver, u))(START) for driver in (KEPT, ANEW))
    assert float(jnp.abs(kept).max()) > 0.1
    np.testing.assert_allclose(anew, kept, rtol=1e-6, atol=1e-9)


def test_failures_are_found():
    cell = Cell.from_image(LABELS, {0: lambda U: 1.0 - U, 1: 5.0}, symmetric=True)
    found = fx.Fibers(cell, ANEW, jnp.zeros(3)).advance(
        fx.Fibers(cell, ANEW, jnp.zeros(3)).begin(jnp.zeros(3)), jnp.array([0.0, 0.5, 2.0])
    )
    assert found[1].result.tolist() == [0, 0, fx.Result.NONFINITE]


def test_states_that_are_read_elsewhere_are_kept():
    with pytest.raises(fx.BadInput, match=r"keep_states=False is for flows; those of Spring"):
        fx.Fibers(Spring(), ANEW, jnp.zeros(3))

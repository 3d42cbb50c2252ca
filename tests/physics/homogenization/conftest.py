"""One cell for many coefficients: the coefficient is the condition, so that each kind of cell is compiled once."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax.physics.homogenization import Cell


def _lookup(U, z):
    """The coefficient handed in as the condition, (*shape) or (d, d, *shape), at the grid point z."""
    d = z.shape[0]
    place = tuple(jnp.floor(z * jnp.asarray(U.shape[-d:]) + 1e-6).astype(int))
    return U[place] if U.ndim == d else U[(slice(None), slice(None), *place)]


@eqx.filter_jit
def _solve(cell, U, tolerance):
    state, out = cell.solver.solve(cell, cell.init(U, None), U, tolerance)
    return cell.link(state, U), state, out


@pytest.fixture(scope="session")
def effective():
    """effective(discretisation, a, shape) -> A, with a(z) a function, or an array of labels or values on the grid."""

    def run(discretisation, a, shape=(16, 16), tolerance=1e-11, **options):
        if callable(a):
            points = jnp.asarray(discretisation.points(shape).reshape(-1, len(shape)))
            values = jax.vmap(lambda z: jnp.asarray(a(z), dtype=float))(points)
            a = jnp.moveaxis(values, 0, -1).reshape(*values.shape[1:], *shape)
        value, _, out = _solve(Cell(_lookup, shape, discretisation, **options), jnp.asarray(a, dtype=float), tolerance)
        assert int(out.result) == fx.Result.SUCCESS
        return np.asarray(value)

    return run

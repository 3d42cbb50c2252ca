"""A fiber that fails has NaN for its response and for every derivative of it, and spoils nothing beside it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx

LINE = np.array([0, 1, 1])
LABELS = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 1]])


def root(p):
    """u² = U p, which has no solution at negative U."""
    return fx.FlowFiber(lambda u, U: U * p - u**2, lambda U: 1.0 + 0.0 * U, lambda u, U: p * u)


def well(p):
    """A minimum where U is positive; else the energy has no bound."""
    return fx.EnergyFiber(lambda u, U: p * (0.5 * U * u**2 - u), lambda U: 0.0 * U)


def cell(p):
    """Conductivities that are negative at negative U."""
    return fx.homogenization.Cell.from_image(LINE, {0: p, 1: lambda U: U}, closed_form=False)


def steps(p):
    """A cell that is allowed no step."""
    return fx.homogenization.Cell.from_image(LABELS, {0: p, 1: lambda U: 3.0 + U}, max_steps=0)


def law(p):
    """A flux that is not finite at negative U."""
    return fx.homogenization.FluxCell(lambda U, g, z: jnp.sqrt(U) * g, (3, 3), fx.homogenization.FiniteElement())


def single(make, p, U):
    condition = (U, p * jnp.array([1.0, 0.5])) if make is law else U
    return fx.response(make(p), condition)


def number(value):
    return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(value))


def slow(make):
    """Its relatives run in the gate."""
    return pytest.param(make, marks=pytest.mark.slow)


@pytest.mark.parametrize("make", [root, well, slow(cell), slow(steps), slow(law)])
def test_a_failed_response_has_no_derivatives(make):
    def value(p, U):
        found = single(make, p, U)
        return number(found.value), found.result

    both = {"argnums": (0, 1), "has_aux": True}
    backward = jax.jit(jax.value_and_grad(value, **both))
    (found, result), slopes = backward(1.5, -1.0)
    assert int(result) != 0 and np.isnan(found) and np.isnan(slopes).all()
    assert np.isnan(jax.jit(jax.jacfwd(value, **both))(1.5, -1.0)[0]).all()
    (found, result), slopes = backward(1.5, 0.7)
    assert (int(result) == 0) == (make is not steps) == np.isfinite([found, *slopes]).all()


@pytest.mark.parametrize("make", [root, slow(well), slow(cell)])
def test_neighbours_of_a_failed_response_keep_their_derivatives(make):
    U = jnp.array([0.7, -1.0, 2.0])

    def rows(p, U):
        found = fx.responses(make(p), U)
        return found.value.reshape(3, -1).sum(axis=1), found.result

    def chosen(p, U):
        value, result = rows(p, U)
        return jnp.sum(jnp.where(result == 0, value, 0.0))

    one = jax.jit(jax.grad(lambda p, u: number(single(make, p, u).value), argnums=(0, 1)))
    alone = np.array([one(1.5, u) for u in (0.7, 2.0)])
    slope = jax.jit(jax.jacfwd(lambda U: rows(1.5, U)[0]))(U)
    np.testing.assert_allclose([slope[0, 0], slope[2, 2]], alone[:, 1], rtol=1e-9)
    assert np.isnan(slope[1, 1])
    p_slope, U_slope = jax.jit(jax.grad(chosen, argnums=(0, 1)))(1.5, U)
    np.testing.assert_allclose(U_slope, [alone[0, 1], 0.0, alone[1, 1]], rtol=1e-9)
    np.testing.assert_allclose(p_slope, alone[:, 0].sum(), rtol=1e-9)


def test_fibers_that_fail_while_they_are_differentiated():
    def answer(p):
        U = jnp.array([2.0, -1.0])
        fibers = fx.Fibers(root(p), fx.Quasistatic(), U)
        return fibers.advance(fibers.begin(U), U)[1].response

    value, slope = answer(1.5), jax.jit(jax.jacrev(answer))(1.5)
    np.testing.assert_allclose(slope[0], 1.5 * np.sqrt(3.0), rtol=1e-8)  # d(p √(2 p))/dp = 3/2 √(2 p)
    assert np.isnan(slope[1]) and np.isnan(value[1])

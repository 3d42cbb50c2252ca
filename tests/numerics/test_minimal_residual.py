"""Minimal residuals with a window of directions: the answer, the number of steps, and when they end."""

import jax
import jax.numpy as jnp
import numpy as np

from fiberax.numerics.conjugate_gradients import conjugate_gradients
from fiberax.numerics.minimal_residual import WINDOW, minimal_residual

RNG = np.random.default_rng(0)
SIZE = 40
TURN = np.linalg.qr(RNG.standard_normal((SIZE, SIZE)))[0]
SYMMETRIC = (TURN * np.linspace(1.0, 20.0, SIZE)) @ TURN.T
SKEW = RNG.standard_normal((SIZE, SIZE))
RIGHT = jnp.asarray(RNG.standard_normal((8, 5)))


def solve(matrix, tolerance=1e-10, most=200, weights=None):
    apply = lambda x: (matrix @ x.ravel()).reshape(x.shape)
    weights = jnp.ones(RIGHT.shape) if weights is None else weights
    return jax.jit(lambda t: minimal_residual(apply, lambda r: weights * r, RIGHT, t, most))(tolerance)


def test_unsymmetric_systems_are_solved_to_the_tolerance():
    matrix = SYMMETRIC + (SKEW - SKEW.T)
    for tolerance in (1e-3, 1e-10):
        found = solve(matrix, tolerance, weights=jnp.asarray(RNG.uniform(0.5, 2.0, RIGHT.shape)))
        left = np.linalg.norm(np.asarray(RIGHT).ravel() - matrix @ np.asarray(found.correction).ravel())
        assert 1e-3 * tolerance < left / np.linalg.norm(RIGHT) <= 1.01 * tolerance
        assert int(found.steps) > WINDOW or tolerance == 1e-3
    np.testing.assert_allclose(found.correction.ravel(), np.linalg.solve(matrix, np.asarray(RIGHT).ravel()), atol=1e-8)


def test_older_directions_are_hardly_missed_where_a_matrix_is_nearly_symmetric():
    """Steps beside those of conjugate gradients for the symmetric part."""
    apply, dot = (lambda x: (SYMMETRIC @ x.ravel()).reshape(x.shape)), jnp.vdot
    truth = conjugate_gradients(apply, lambda r: r, dot, RIGHT, dot(RIGHT, RIGHT), 1e-10, 200, "residual").steps
    assert int(truth) > WINDOW and abs(int(solve(SYMMETRIC).steps) - int(truth)) <= 2
    assert int(solve(SYMMETRIC + 1e-4 * SKEW).steps) <= int(truth) + 4


def test_bounds_end_it():
    assert int(solve(SYMMETRIC, most=3).steps) == 3
    assert int(solve(SYMMETRIC * np.nan).steps) == 1
    nothing = minimal_residual(lambda x: x, lambda r: r, jnp.zeros(4), 1e-10, 9)
    assert int(nothing.steps) == 0 and np.all(np.asarray(nothing.correction) == 0.0)

"""Conjugate gradients for several systems at once: the answer, the norms, and when they end."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fiberax.numerics.conjugate_gradients import PATIENCE, conjugate_gradients

RNG = np.random.default_rng(0)
SIZE = 12


def spread(values):
    q = np.linalg.qr(RNG.standard_normal((SIZE, SIZE)))[0]
    return (q * values) @ q.T


MATRICES = jnp.asarray(np.stack([spread(np.geomspace(1.0, 1e3, SIZE)), spread(np.linspace(1.0, 2.0, SIZE)), np.eye(SIZE)]))
RIGHT = jnp.asarray(RNG.standard_normal((3, SIZE))).at[2].set(0.0)
WEIGHTS = jnp.asarray(RNG.uniform(0.5, 2.0, SIZE))


def dot(a, b):
    return jnp.sum(a * b, axis=-1)


def apply(x):
    return jnp.einsum("mij,mj->mi", MATRICES, x)


def precondition(r):
    return WEIGHTS * r


@pytest.mark.parametrize("norm", ["preconditioner", "residual"])
def test_systems_are_solved_in_the_norm_asked_for(norm):
    """Each to its tolerance, in at most as many steps as there are unknowns but for round-off; a zero one stays zero."""
    size = (lambda r: dot(r, WEIGHTS * r)) if norm == "preconditioner" else (lambda r: dot(r, r))
    for tolerance in (1e-3, 1e-10):
        found = jax.jit(lambda t: conjugate_gradients(apply, precondition, dot, RIGHT, size(RIGHT), t, 100, norm))(tolerance)
        left = np.sqrt(size(RIGHT - apply(found.correction)))
        assert np.all(left <= 1.01 * tolerance * np.sqrt(size(RIGHT)))
        assert left.max() > 1e-4 * tolerance * np.sqrt(size(RIGHT)).max()  # it stops where it is told to
        assert 3 <= int(found.steps) <= 2 * SIZE
        assert np.all(np.asarray(found.correction[2]) == 0.0)
    exact = np.linalg.solve(np.asarray(MATRICES), np.asarray(RIGHT)[..., None])[..., 0]
    np.testing.assert_allclose(found.correction, exact, atol=1e-8)


def test_systems_do_not_see_one_another():
    """A system that is solved stands still while others go on: the answer is that of the system alone."""
    scale = dot(RIGHT, WEIGHTS * RIGHT)
    together = conjugate_gradients(apply, precondition, dot, RIGHT, scale, 1e-6, 100)
    alone = conjugate_gradients(lambda x: x @ MATRICES[1], precondition, dot, RIGHT[1], scale[1], 1e-6, 100)
    assert int(alone.steps) < int(together.steps)
    np.testing.assert_allclose(together.correction[1], alone.correction, rtol=1e-12)


def test_falling_energy_is_the_scale():
    """With an energy as its scale that the solution takes to nothing, the residual must go to nothing with it."""
    matrix, right = MATRICES[1], RIGHT[1]
    energy = right @ jnp.linalg.solve(matrix, right)
    steps = [
        int(conjugate_gradients(lambda x: matrix @ x, lambda r: r, jnp.vdot, right, energy, 1e-3, 50, least=least).steps)
        for least in (None, 0.0, 0.5 * energy)
    ]
    assert steps[1] > steps[0]
    assert steps[0] <= steps[2] < steps[1]  # down to a bound alone


def test_bounds_end_it():
    """By the number of steps; where there is no progress; and with numbers that are not finite."""
    scale = dot(RIGHT, WEIGHTS * RIGHT)
    assert int(conjugate_gradients(apply, precondition, dot, RIGHT, scale, 1e-10, 4).steps) == 4
    stuck = conjugate_gradients(lambda x: 0.0 * x, lambda r: r, jnp.vdot, RIGHT[0], jnp.ones(()), 1e-10, 10_000)
    assert int(stuck.steps) == PATIENCE + 1 and np.all(np.asarray(stuck.correction) == 0.0)
    assert int(conjugate_gradients(lambda x: jnp.nan * x, lambda r: r, jnp.vdot, RIGHT[0], jnp.ones(()), 1e-10, 99).steps) == 1

"""Newton, constrained minimisation and linear solves against dense or closed-form truth, and their honesty about failure."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fiberax.numerics import linear
from fiberax.numerics.minimise import Problem, minimise
from fiberax.numerics.newton import newton
from fiberax.numerics.result import Result


def dense_newton(residual, guess, reference=1.0, tolerance=1e-10):
    def linearise(v):
        return linear.linearised(lambda w: jax.jvp(residual, (v,), (w,))[1], v)

    return newton(residual, guess, linearise, reference, tolerance)


def test_newton_finds_a_root_from_far_away():
    """arctan makes undamped Newton diverge from |v| > 1.39."""
    value, out = dense_newton(lambda v: jnp.arctan(v - 1.0), jnp.asarray([20.0]))
    assert int(out.result) == Result.SUCCESS
    np.testing.assert_allclose(value, 1.0, atol=1e-9)


def test_newton_admits_that_it_is_stuck():
    """Backtracking on the norm alone cannot reach this root; what it must not do is to claim it."""
    value, out = dense_newton(lambda v: jnp.arctan(v - 1.0), jnp.asarray([20.0, -30.0]))
    assert int(out.result) != Result.SUCCESS or np.allclose(value, 1.0)


def test_newton_does_not_call_a_minimum_of_the_residual_a_root():
    """v² + 1 has no root; the iteration ends where it cannot descend, and must say so."""
    _, out = dense_newton(lambda v: v**2 + 1.0, jnp.asarray([0.7]))
    assert int(out.result) != Result.SUCCESS


def test_newton_stops_at_round_off_as_a_success():
    """A residual with round-off far above the tolerance asked for."""
    value, out = dense_newton(lambda v: 1e8 * (v - jnp.pi) + 1e8 - 1e8, jnp.asarray([3.0]), reference=1e-12, tolerance=1e-10)
    assert int(out.result) == Result.SUCCESS
    np.testing.assert_allclose(value, np.pi, rtol=1e-12)


def test_newton_marks_nan_and_singular_jacobians():
    _, out = dense_newton(lambda v: jnp.sqrt(v), jnp.asarray([-1.0]))
    assert int(out.result) == Result.NONFINITE
    matrix = jnp.asarray([[1.0, 1.0], [1.0, 1.0]])
    _, out = dense_newton(lambda v: matrix @ v - jnp.asarray([1.0, 2.0]), jnp.zeros(2))
    assert int(out.result) in (Result.STALLED, Result.NONFINITE)


def rosenbrock(y):
    return jnp.sum(100.0 * (y[1:] - y[:-1] ** 2) ** 2 + (1.0 - y[:-1]) ** 2)


def no_constraint(y):
    return jnp.zeros((0,))


@pytest.mark.parametrize("dense", [True, False])
def test_minimise_walks_the_rosenbrock_valley(dense):
    problem = Problem(rosenbrock, no_constraint, lambda y, r: r, 0, dense)
    y, out, *_ = jax.jit(lambda g: minimise(problem, g, 1.0, 1e-9))(jnp.asarray([-1.2, 1.0, 0.5]))
    assert int(out.result) == Result.SUCCESS
    np.testing.assert_allclose(y, 1.0, atol=1e-7)


@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("stiff", [1e6, 1e9])
def test_minimise_where_large_terms_cancel_to_zero(dense, stiff):
    """The energy is zero at its minimum, its round-off that of terms of size `stiff`: nothing in the sum tells."""
    rng = np.random.default_rng(0)
    minimum, mixed = rng.uniform(-3, 3, 6), jnp.asarray(rng.normal(size=(6, 6)))

    def energy(y):
        z = y - minimum
        return stiff * 3 - stiff * jnp.sum(jnp.cos(z[::2])) + jnp.sum(jnp.cosh(z[1::2]) - 1.0) + 0.1 * jnp.sum((mixed @ z) ** 2)

    problem = Problem(energy, no_constraint, lambda y, r: r, 0, dense)
    guesses = minimum + rng.uniform(-0.5, 0.5, (100, 6)) * 10.0 ** rng.uniform(-7, 0, (100, 1))
    y, out, *_ = jax.jit(jax.vmap(lambda g: minimise(problem, g, 1.0, 1e-10)))(jnp.asarray(guesses))
    assert np.all(np.asarray(out.result) == Result.SUCCESS)
    np.testing.assert_allclose(y, np.broadcast_to(minimum, y.shape), rtol=0, atol=1e-9)


def test_minimise_leaves_a_saddle():
    """¼(y₀² − 1)² + ½|y₁...|² from exactly y₀ = 0, where the gradient vanishes and the curvature is negative."""
    energy = lambda y: 0.25 * (y[0] ** 2 - 1.0) ** 2 + 0.5 * jnp.sum(y[1:] ** 2)
    problem = Problem(energy, no_constraint, lambda y, r: r, 0, True)
    y, out, *_ = jax.jit(lambda g: minimise(problem, g, 1.0, 1e-9))(jnp.asarray([0.0, 0.3, 0.2]))
    assert int(out.result) == Result.SUCCESS
    np.testing.assert_allclose(jnp.abs(y), [1.0, 0.0, 0.0], atol=1e-7)


@pytest.mark.parametrize("dense", [True, False])
def test_minimise_on_a_sphere_finds_the_lowest_eigenvector(dense):
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((6, 6))
    matrix = jnp.asarray(matrix + matrix.T)
    problem = Problem(lambda y: 0.5 * y @ matrix @ y, lambda y: jnp.atleast_1d(y @ y - 1.0), lambda y, r: r, 1, dense)
    y, out, *_ = jax.jit(lambda g: minimise(problem, g, 1.0, 1e-9))(jnp.ones(6))
    assert int(out.result) == Result.SUCCESS
    lowest = np.linalg.eigvalsh(matrix)[0]
    np.testing.assert_allclose(y @ matrix @ y, lowest, rtol=1e-12)
    np.testing.assert_allclose(y @ y, 1.0, rtol=1e-14)


def test_minimise_says_when_there_is_no_minimum():
    problem = Problem(lambda y: jnp.sum(y), no_constraint, lambda y, r: r, 0, True)
    _, out, *_ = jax.jit(lambda g: minimise(problem, g, 1.0, 1e-9))(jnp.zeros(2))
    assert int(out.result) != Result.SUCCESS
    problem = Problem(lambda y: jnp.sum(jnp.log(y)), no_constraint, lambda y, r: r, 0, True)
    _, out, *_ = jax.jit(lambda g: minimise(problem, g, 1.0, 1e-9))(-jnp.ones(2))
    assert int(out.result) == Result.NONFINITE


def system(n, symmetric, seed=1):
    rng = np.random.default_rng(seed)
    matrix = rng.standard_normal((n, n)) / n**0.5
    matrix = -(matrix @ matrix.T) if symmetric else 0.5 * matrix
    return jnp.asarray(matrix - np.eye(n) * (1.0 if symmetric else 2.0)), jnp.asarray(rng.standard_normal(n))


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("n", [7, 250])
def test_linear_solve_and_its_derivatives(n, symmetric):
    """Dense (7) and Krylov (250) solves, forward and reverse derivatives, against numpy."""
    matrix, rhs = system(n, symmetric)
    other = jnp.asarray(np.random.default_rng(3).standard_normal(n))
    tree = lambda v: {"a": v[:3], "b": (v[3:],)}
    flat = lambda t: jnp.concatenate([t["a"], t["b"][0]])

    @jax.jit
    def solve(shift, rhs):
        matvec = lambda w: tree(matrix @ flat(w) - shift * flat(w))
        precondition = lambda r: jax.tree.map(lambda x: -x / 2.0, r)
        return flat(linear.solve(matvec, tree(rhs), symmetric=symmetric, precondition=precondition, tolerance=1e-13))

    truth = np.linalg.solve(matrix - 0.3 * np.eye(n), rhs)
    np.testing.assert_allclose(solve(0.3, rhs), truth, rtol=1e-9, atol=1e-11)
    slope = np.linalg.solve(matrix - 0.3 * np.eye(n), truth)  # d/ds (A − s)⁻¹ b = (A − s)⁻² b
    forward = jax.jvp(lambda s: solve(s, rhs), (0.3,), (1.0,))[1]
    np.testing.assert_allclose(forward, slope, rtol=1e-8, atol=1e-10)
    reverse = jax.grad(lambda s, b: solve(s, b) @ other, argnums=(0, 1))(0.3, rhs)
    np.testing.assert_allclose(reverse[0], other @ slope, rtol=1e-8)
    np.testing.assert_allclose(reverse[1], np.linalg.solve((matrix - 0.3 * np.eye(n)).T, other), rtol=1e-8, atol=1e-10)


def test_linear_solve_leaves_zero_modes_out():
    """Periodic second differences, singular for constants: the answer of smallest norm."""
    n = 24
    matrix = np.roll(np.eye(n), 1, axis=0) + np.roll(np.eye(n), -1, axis=0) - 2.0 * np.eye(n)
    rhs = np.random.default_rng(0).standard_normal(n)
    rhs -= rhs.mean()
    found = linear.solve(lambda w: jnp.asarray(matrix) @ w, jnp.asarray(rhs), symmetric=True, zero_modes=True)
    np.testing.assert_allclose(found, np.linalg.pinv(matrix) @ rhs, atol=1e-12)

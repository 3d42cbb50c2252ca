"""Gradients, their adjoints and their symbols, in one to three dimensions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fiberax.physics.homogenization import Cell, FiniteDifference, FiniteElement, FiniteVolume, Spectral
from fiberax.physics.homogenization.discretisation import fourier_filter
from fiberax.physics.homogenization.media import medium

ALL = [Spectral(), FiniteElement(), FiniteDifference(), FiniteVolume()]
SHAPES = [(5,), (4, 6), (4, 3, 2)]
both = pytest.mark.parametrize("discretisation", ALL, ids=lambda d: type(d).__name__)
shapes = pytest.mark.parametrize("shape", SHAPES, ids=str)


def random(key, shape):
    return jax.random.normal(jax.random.key(key), shape)


def positive_tensor(key, d, symmetric):
    m = random(key, (d, d))
    out = m @ m.T + jnp.eye(d)
    return out if symmetric else out + (random(key + 1, (d, d)) - random(key + 1, (d, d)).T)


@both
@shapes
def test_divergence_is_minus_the_adjoint_of_the_gradient(discretisation, shape):
    v = random(0, shape)
    g = discretisation.gradient(v)
    q = random(1, g.shape)
    left = jnp.sum(g * q) / g.shape[0]
    assert abs(left) > 1e-3
    assert np.allclose(left, -jnp.sum(v * discretisation.divergence(q)), rtol=1e-12)


@both
@shapes
def test_unseen_fields_are_the_kernel_of_the_gradient(discretisation, shape):
    d, size = len(shape), int(np.prod(shape))
    project = jax.jacfwd(lambda u: discretisation.unseen(u.reshape(shape), d).reshape(-1))(jnp.zeros(size))
    gradient = jax.jacfwd(lambda u: discretisation.gradient(u.reshape(shape)).reshape(-1))(jnp.zeros(size))
    assert np.allclose(project, project.T, atol=1e-13) and np.allclose(project @ project, project, atol=1e-13)
    assert np.allclose(gradient @ project, 0.0, atol=1e-10)
    assert size - np.linalg.matrix_rank(gradient, tol=1e-8) == round(float(jnp.trace(project)))


@pytest.mark.parametrize("discretisation", ALL[:3], ids=lambda d: type(d).__name__)
@shapes
@pytest.mark.parametrize("isotropic", [True, False])
def test_the_fast_operator_is_the_plain_one(discretisation, shape, isotropic):
    """The mode-by-mode operator of pixels, and the one on half spectra, against gradient, law and divergence."""
    d = len(shape)
    a = jnp.exp(random(3, shape)) if isotropic else random(3, (d, d, *shape))
    u = discretisation.gradient(random(4, shape))[0, 0]  # any field; for Spectral one without the modes at n/2
    u = u - discretisation.unseen(u, d)
    tensor = jnp.einsum("kl,...->kl...", jnp.eye(d), a) if isotropic else a
    flux = jnp.einsum("kl...,ql...->qk...", tensor, discretisation.gradient(u))
    plain = -discretisation.divergence(flux)
    problem = medium(discretisation, a, d)
    fast = problem.decode(problem.system().apply(problem.encode(u[None])))[0]
    assert np.linalg.norm(plain) > 1e-2
    assert np.allclose(fast, plain, rtol=1e-11, atol=1e-10 * float(jnp.abs(plain).max()))


@both
@shapes
def test_the_spectral_inner_product_is_the_mean(discretisation, shape):
    problem = medium(discretisation, jnp.ones(shape), len(shape))
    u, v = random(5, (2, *shape)), random(6, (2, *shape))
    expected = jnp.mean((u * v).reshape(2, -1), axis=1)
    assert np.allclose(problem.system().dot(problem.encode(u), problem.encode(v)), expected, rtol=1e-12)


@both
@shapes
@pytest.mark.parametrize("shift", [0.0, 7.0])
def test_preconditioner_is_the_inverse_for_a_constant_tensor(discretisation, shape, shift):
    d = len(shape)
    tensor = positive_tensor(7, d, symmetric=True)
    cell = Cell(lambda U, z: tensor, shape, discretisation)
    state = random(8, (d, *shape))
    still = jnp.zeros_like(state)
    through = cell.rate(state, 0.0) - cell.rate(still, 0.0) - shift * state
    assert np.allclose(cell.approximate_inverse(through, 0.0, jnp.asarray(shift)), state, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_fields_share_transforms_without_mixing(count):
    u = random(9, (count, 4, 6))
    factor = jnp.abs(jnp.fft.fftn(random(10, (4, 6))))
    expected = jnp.fft.ifftn(factor * jnp.fft.fftn(u, axes=(1, 2)), axes=(1, 2)).real
    assert np.allclose(fourier_filter(u, factor), expected, atol=1e-13)

"""Canaries for the compiler under us: small programs with exact answers, compiled against not compiled.

Compiled twice: as users compile, with the compiler's own settings, and as tests do, with those of conftest.py.
jax 0.10.2 gave wrong numbers on the CPU, in silence (jax-ml/jax issue 39103). Each program here has the shape of something the
library does at every step, and an answer known without a computer.
"""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

GENERATOR = "xla_cpu_use_fusion_emitters"
USERS = {"xla_backend_optimization_level": 3} | ({GENERATOR: True} if GENERATOR in os.environ["XLA_FLAGS"] else {})
CHOICES = [USERS, {}]
EXCLUDED = {"0.10.1", "0.10.2", "0.11.0"}


def every(function, *arguments):
    """The function compiled in each way, and run operation by operation."""
    compiled = [jax.jit(function, compiler_options=options)(*arguments) for options in CHOICES]
    with jax.disable_jit():
        plain = function(*arguments)
    return [np.asarray(result) for result in (*compiled, plain)]


def agree(function, arguments, exact, rtol):
    """Compiled, uncompiled and exact results coincide; the exact one must not be zero everywhere."""
    exact = np.asarray(exact)
    assert np.abs(exact).max() > 0
    for result in every(function, *arguments):
        assert result.dtype == exact.dtype
        np.testing.assert_allclose(result, exact, rtol=rtol, atol=rtol * np.abs(exact).max())


def test_version_is_not_an_excluded_one():
    assert jax.__version__ not in EXCLUDED
    assert jax.lib.__version__ not in EXCLUDED


@pytest.mark.parametrize("n", [16_384, 16_385, 40_000])
def test_vmapped_product_followed_by_reduction(n):
    """The program of issue 39103: with 0.10.2 the rows past the 16384th were wrong."""
    i = jnp.arange(n, dtype=jnp.float64)
    x = jnp.stack([i, jnp.zeros_like(i), jnp.zeros_like(i)], axis=1)

    def squares(x):
        return jax.vmap(lambda row: jnp.sum((jnp.eye(3) @ row) ** 2))(x)

    agree(squares, (x,), np.arange(n, dtype=float) ** 2, rtol=0)


@pytest.mark.parametrize("n", [16_385, 40_000])
def test_vmapped_quadratic_form(n):
    """The same family with a full matrix and two contractions: x.(A x) for integer data, exact in binary."""
    a = np.array([[4.0, 1.0, -2.0], [0.0, 3.0, 1.0], [5.0, -1.0, 2.0]])
    x = np.stack([np.arange(n) % 7, np.arange(n) % 11, np.arange(n) % 13], axis=1).astype(float)

    def forms(x):
        return jax.vmap(lambda row: row @ (jnp.asarray(a) @ row))(x)

    agree(forms, (jnp.asarray(x),), np.einsum("ni,ij,nj->n", x, a, x), rtol=0)


def test_scan_of_fourier_heat_steps():
    """Fifty steps of the heat equation, diagonal in Fourier space: each mode decays as exp(-k^2 t)."""
    n, steps, dt = 64, 50, 1e-3
    z = 2 * np.pi * np.arange(n) / n
    k = jnp.asarray(np.fft.rfftfreq(n, 1 / n))
    start = np.sin(z) + 0.5 * np.cos(3 * z)
    exact = np.exp(-steps * dt) * np.sin(z) + 0.5 * np.exp(-9 * steps * dt) * np.cos(3 * z)

    def heat(u):
        step = lambda u, _: (jnp.fft.irfft(jnp.exp(-(k**2) * dt) * jnp.fft.rfft(u), n), None)
        return lax.scan(step, u, None, length=steps)[0]

    agree(heat, (jnp.asarray(start),), exact, rtol=1e-13)


def poisson(f):
    """CG for -u'' = f with u = 0 at both ends, second differences on n inner points, h = 1/(n+1)."""
    h2 = (1.0 / (f.size + 1)) ** 2

    def apply(u):
        padded = jnp.pad(u, 1)
        return (2 * u - padded[:-2] - padded[2:]) / h2

    def step(carry):
        u, r, p, rr, count = carry
        ap = apply(p)
        alpha = rr / (p @ ap)
        u, r = u + alpha * p, r - alpha * ap
        new = r @ r
        return u, r, r + new / rr * p, new, count + 1

    def going(carry):
        return (carry[3] > 1e-26 * (f @ f)) & (carry[4] < 200)

    start = (jnp.zeros_like(f), f, f, f @ f, 0)
    return lax.while_loop(going, step, start)[0]


def test_while_loop_conjugate_gradients():
    """The scheme is exact for quadratics: f = 1 gives u = x(1 - x)/2 at every point."""
    x = np.arange(1, 64) / 64
    agree(poisson, (jnp.ones(63),), x * (1 - x) / 2, rtol=1e-11)


def test_vmapped_while_loop():
    """Lanes that stop at different times: each keeps its own result."""
    modes = np.arange(1, 6)
    x = np.arange(1, 32) / 32
    f = np.sin(np.pi * modes[:, None] * x)
    eigenvalues = (2 * np.sin(np.pi * modes / 64) * 32) ** 2
    f[3] += 2 * f[0]
    exact = np.sin(np.pi * modes[:, None] * x) / eigenvalues[:, None]
    exact[3] += 2 * exact[0]
    agree(jax.vmap(poisson), (jnp.asarray(f),), exact, rtol=1e-11)


def second_difference(n):
    return 2 * np.eye(n) - np.eye(n, k=1) - np.eye(n, k=-1)


def test_batched_cholesky():
    """The factor of the second difference is known: L_ii = sqrt((i+1)/i), L_{i+1,i} = -sqrt(i/(i+1))."""
    i = np.arange(1, 13)
    factor = np.diag(np.sqrt((i + 1) / i)) + np.diag(-np.sqrt(i[:-1] / (i[:-1] + 1)), k=-1)
    scales = np.array([1.0, 4.0, 9.0])
    matrices = jnp.asarray(scales[:, None, None] * second_difference(12))
    agree(jnp.linalg.cholesky, (matrices,), np.sqrt(scales)[:, None, None] * factor, rtol=1e-14)


def test_batched_eigenvalues():
    """Eigenvalues of the second difference: 4 sin^2(k pi / (2 (n + 1)))."""
    n = 12
    exact = 4 * np.sin(np.arange(1, n + 1) * np.pi / (2 * (n + 1))) ** 2
    scales = np.array([1.0, 4.0, 9.0])
    matrices = jnp.asarray(scales[:, None, None] * second_difference(n))
    agree(lambda a: jnp.linalg.eigh(a)[0], (matrices,), scales[:, None] * exact, rtol=1e-13)


def test_batched_linear_solve():
    """The inverse of the second difference: min(i, j) - ij/(n + 1)."""
    n = 12
    i = np.arange(1, n + 1.0)
    exact = np.minimum(i[:, None], i) - np.outer(i, i) / (n + 1)
    matrices = jnp.asarray(np.stack([second_difference(n), 2 * second_difference(n)]))
    identities = jnp.broadcast_to(jnp.eye(n), (2, n, n))
    agree(jnp.linalg.solve, (matrices, identities), np.stack([exact, exact / 2]), rtol=1e-12)


@pytest.mark.parametrize("chunk", [1, 4, 7, 64])
def test_mapped_in_chunks(chunk):
    """lax.map in chunks that do not divide the number of lanes: sums of squares in closed form."""
    n = np.arange(1.0, 31.0)

    def sums(n):
        upto = lambda last: lax.fori_loop(0, 30, lambda j, s: s + jnp.where(j < last, (j + 1.0) ** 2, 0.0), 0.0)
        return lax.map(upto, n, batch_size=chunk)

    agree(sums, (jnp.asarray(n),), n * (n + 1) * (2 * n + 1) / 6, rtol=0)


@pytest.mark.parametrize("chunk", [3, 8, 16])
def test_slices_updated_in_place(chunk):
    """A section updated chunk by chunk in a donated buffer, many times over: every site counts its own updates."""
    sites, rounds = 48, 20
    start = np.outer(np.arange(sites), np.ones(5))

    def update(section):
        def one(j, section):
            at = (j % (sites // chunk)) * chunk
            part = lax.dynamic_slice_in_dim(section, at, chunk)
            part = jax.vmap(lambda row: 2 * row + 1)(part)
            return lax.dynamic_update_slice_in_dim(section, part, at, axis=0)

        return lax.fori_loop(0, rounds * (sites // chunk), one, section)

    exact = 2.0**rounds * start + 2.0**rounds - 1
    agree(update, (jnp.asarray(start),), exact, rtol=0)
    for options in CHOICES:
        donated = jax.jit(update, donate_argnums=0, compiler_options=options)(jnp.array(start))
        np.testing.assert_array_equal(donated, exact)


def test_gradient_through_scan():
    """d/da of (1 + a/n)^n by reverse mode through a loop: (1 + a/n)^(n - 1)."""
    n = 40

    def compound(a):
        return lax.scan(lambda u, _: (u * (1 + a / n), None), jnp.ones_like(a), None, length=n)[0].sum()

    a = np.linspace(-1.0, 2.0, 7)
    agree(jax.grad(compound), (jnp.asarray(a),), (1 + a / n) ** (n - 1), rtol=1e-13)


@pytest.mark.parametrize("shape", [(24,), (16, 20), (8, 6, 10)])
def test_fourier_derivatives_in_several_dimensions(shape):
    """The Laplacian of a product of sines, by FFTs of a batch, in one to three dimensions."""
    axes = tuple(range(-len(shape), 0))
    z = np.meshgrid(*[2 * np.pi * np.arange(n) / n for n in shape], indexing="ij")
    k = np.meshgrid(*[np.fft.fftfreq(n, 1 / n) for n in shape], indexing="ij")
    k2 = jnp.asarray(sum(component**2 for component in k))
    wave = np.prod([np.sin((axis + 1) * component) for axis, component in enumerate(z)], axis=0)
    batch = np.stack([wave, -3 * wave])
    square = sum((axis + 1) ** 2 for axis in range(len(shape)))

    def laplacian(u):
        return jnp.fft.ifftn(-k2 * jnp.fft.fftn(u, axes=axes), axes=axes).real

    agree(laplacian, (jnp.asarray(batch),), -square * batch, rtol=1e-13)

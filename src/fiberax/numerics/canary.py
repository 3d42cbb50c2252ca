"""Small programs with exact answers, which test whether the compiler of JAX gives right numbers.

jax 0.10.2 gave wrong numbers on the CPU, without any sign of it (https://github.com/jax-ml/jax/issues/39103). Each program here
has the form of an operation that the library does at every step, and an answer in closed form.

`python -P canary.py` runs all of them as users compile and prints the names of those that are wrong, as a JSON list; it imports
nothing of fiberax, so that it can run in a process of its own, which a crash of the compiler may end.
"""

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


@dataclass(frozen=True)
class Program:
    """A function, its arguments and its exact result; `rtol` 0 where every number on the way is exact in binary."""

    name: str
    function: Callable
    arguments: tuple[np.ndarray, ...]
    exact: np.ndarray
    rtol: float = 0.0

    def fault(self, result) -> str:
        """What is wrong with a result, or an empty text."""
        result = np.asarray(result)
        if result.dtype != self.exact.dtype or result.shape != self.exact.shape:
            return f"{self.name}: {result.dtype}{result.shape} instead of {self.exact.dtype}{self.exact.shape}"
        off = np.abs(result - self.exact)
        # Not-a-number is wrong, too, so that the good are counted.
        good = off <= self.rtol * (np.abs(self.exact) + np.abs(self.exact).max())
        if good.all():
            return ""
        return f"{self.name}: {np.count_nonzero(~good)} of {good.size} numbers are wrong, by up to {np.max(off):.3g}"


def programs() -> Iterator[Program]:
    """All programs. They need double precision."""
    for n in (16_384, 16_385, 40_000):
        yield _product_and_sum(n)
    for n in (16_385, 40_000):
        yield _quadratic_forms(n)
    yield _heat_steps()
    yield _conjugate_gradients()
    yield _lanes_of_conjugate_gradients()
    yield from _dense()
    for chunk in (1, 4, 7, 64):
        yield _mapped_in_chunks(chunk)
    for chunk in (3, 8, 16):
        yield _updated_in_place(chunk)
    yield _gradient_through_scan()
    for shape in ((24,), (16, 20), (8, 6, 10)):
        yield _fourier_derivatives(shape)


def faults() -> list[str]:
    """What is wrong in this process, one line for each program: empty where all is well. Needs double precision."""
    found = []
    for program in programs():
        result = jax.jit(program.function)(*map(jnp.asarray, program.arguments))
        if fault := program.fault(result):
            found.append(fault)
    return found


def _product_and_sum(n: int) -> Program:
    """The program of issue 39103: with 0.10.2 the rows past the 16384th were wrong."""
    i = np.arange(n, dtype=float)
    x = np.stack([i, np.zeros(n), np.zeros(n)], axis=1)

    def squares(x):
        return jax.vmap(lambda row: jnp.sum((jnp.eye(3) @ row) ** 2))(x)

    return Program(f"product and sum of {n} rows", squares, (x,), i**2)


def _quadratic_forms(n: int) -> Program:
    """The same family with a full matrix and two contractions: x.(A x) for integer data."""
    a = np.array([[4.0, 1.0, -2.0], [0.0, 3.0, 1.0], [5.0, -1.0, 2.0]])
    x = np.stack([np.arange(n) % 7, np.arange(n) % 11, np.arange(n) % 13], axis=1).astype(float)

    def forms(x):
        return jax.vmap(lambda row: row @ (jnp.asarray(a) @ row))(x)

    return Program(f"{n} quadratic forms", forms, (x,), np.einsum("ni,ij,nj->n", x, a, x))


def _heat_steps() -> Program:
    """Fifty steps of the heat equation, diagonal in Fourier space: each mode decays as exp(-k^2 t)."""
    n, steps, dt = 64, 50, 1e-3
    z = 2 * np.pi * np.arange(n) / n
    k = np.fft.rfftfreq(n, 1 / n)
    start = np.sin(z) + 0.5 * np.cos(3 * z)
    exact = np.exp(-steps * dt) * np.sin(z) + 0.5 * np.exp(-9 * steps * dt) * np.cos(3 * z)

    def heat(u):
        step = lambda u, _: (jnp.fft.irfft(jnp.exp(-(k**2) * dt) * jnp.fft.rfft(u), n), None)
        return lax.scan(step, u, None, length=steps)[0]

    return Program("scan of heat steps", heat, (start,), exact, rtol=1e-13)


def _poisson(f):
    """Conjugate gradients for -u'' = f with u = 0 at both ends, second differences on n inner points, h = 1/(n+1)."""
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


def _conjugate_gradients() -> Program:
    """The scheme is exact for quadratics: f = 1 gives u = x(1 - x)/2 at every point."""
    x = np.arange(1, 64) / 64
    return Program("conjugate gradients", _poisson, (np.ones(63),), x * (1 - x) / 2, rtol=1e-11)


def _lanes_of_conjugate_gradients() -> Program:
    """Lanes that stop at different times: each keeps its own result."""
    modes = np.arange(1, 6)
    x = np.arange(1, 32) / 32
    f = np.sin(np.pi * modes[:, None] * x)
    eigenvalues = (2 * np.sin(np.pi * modes / 64) * 32) ** 2
    exact = f / eigenvalues[:, None]
    f[3] += 2 * f[0]
    exact[3] += 2 * exact[0]
    return Program("conjugate gradients in lanes", jax.vmap(_poisson), (f,), exact, rtol=1e-11)


def _dense() -> Iterator[Program]:
    """Factor, eigenvalues and inverse of the second difference T, which are known, in batches.

    L_ii = sqrt((i+1)/i) and L_{i+1,i} = -sqrt(i/(i+1)); 4 sin^2(k pi / (2 (n + 1))); min(i, j) - ij/(n + 1).
    """
    n = 12
    i = np.arange(1, n + 1.0)
    second = 2 * np.eye(n) - np.eye(n, k=1) - np.eye(n, k=-1)
    scales = np.array([1.0, 4.0, 9.0])
    matrices = scales[:, None, None] * second
    factor = np.diag(np.sqrt((i + 1) / i)) + np.diag(-np.sqrt(i[:-1] / (i[:-1] + 1)), k=-1)
    yield Program("Cholesky factors", jnp.linalg.cholesky, (matrices,), np.sqrt(scales)[:, None, None] * factor, rtol=1e-14)
    values = scales[:, None] * 4 * np.sin(i * np.pi / (2 * (n + 1))) ** 2
    yield Program("eigenvalues", lambda a: jnp.linalg.eigh(a)[0], (matrices,), values, rtol=1e-13)
    inverse = np.minimum(i[:, None], i) - np.outer(i, i) / (n + 1)
    pair = np.stack([second, 2 * second]), np.broadcast_to(np.eye(n), (2, n, n))
    yield Program("linear systems", jnp.linalg.solve, pair, np.stack([inverse, inverse / 2]), rtol=1e-12)


def _mapped_in_chunks(chunk: int) -> Program:
    """lax.map in chunks that do not divide the number of lanes: sums of squares in closed form."""
    n = np.arange(1.0, 31.0)

    def sums(n):
        upto = lambda last: lax.fori_loop(0, 30, lambda j, s: s + jnp.where(j < last, (j + 1.0) ** 2, 0.0), 0.0)
        return lax.map(upto, n, batch_size=chunk)

    return Program(f"map in chunks of {chunk}", sums, (n,), n * (n + 1) * (2 * n + 1) / 6)


def _updated_in_place(chunk: int) -> Program:
    """A section updated chunk by chunk, many times over: every site counts its own updates."""
    sites, rounds = 48, 20
    start = np.outer(np.arange(sites), np.ones(5))

    def update(section):
        def one(j, section):
            at = (j % (sites // chunk)) * chunk
            part = lax.dynamic_slice_in_dim(section, at, chunk)
            part = jax.vmap(lambda row: 2 * row + 1)(part)
            return lax.dynamic_update_slice_in_dim(section, part, at, axis=0)

        return lax.fori_loop(0, rounds * (sites // chunk), one, section)

    return Program(f"slices of {chunk} updated in place", update, (start,), 2.0**rounds * start + 2.0**rounds - 1)


def _gradient_through_scan() -> Program:
    """d/da of (1 + a/n)^n by reverse mode through a loop: (1 + a/n)^(n - 1)."""
    n = 40

    def compound(a):
        return lax.scan(lambda u, _: (u * (1 + a / n), None), jnp.ones_like(a), None, length=n)[0].sum()

    a = np.linspace(-1.0, 2.0, 7)
    return Program("gradient through a scan", jax.grad(compound), (a,), (1 + a / n) ** (n - 1), rtol=1e-13)


def _fourier_derivatives(shape: tuple[int, ...]) -> Program:
    """The Laplacian of a product of sines, by Fourier transforms of a batch, in one to three dimensions."""
    axes = tuple(range(-len(shape), 0))
    z = np.meshgrid(*[2 * np.pi * np.arange(n) / n for n in shape], indexing="ij")
    k = np.meshgrid(*[np.fft.fftfreq(n, 1 / n) for n in shape], indexing="ij")
    k2 = sum(component**2 for component in k)
    wave = np.prod([np.sin((axis + 1) * component) for axis, component in enumerate(z)], axis=0)
    batch = np.stack([wave, -3 * wave])
    square = sum((axis + 1) ** 2 for axis in range(len(shape)))

    def laplacian(u):
        return jnp.fft.ifftn(-k2 * jnp.fft.fftn(u, axes=axes), axes=axes).real

    return Program(f"Laplacian by transforms, {len(shape)}D", laplacian, (batch,), -square * batch, rtol=1e-13)


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    json.dump(faults(), sys.stdout)

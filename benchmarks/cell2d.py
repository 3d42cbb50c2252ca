"""The 64 x 64 cell problem against hand-written C with FFTW and against numpy with pyfftw.

Tensor coefficient of contrast about 25, forward differences, both right-hand sides, conjugate gradients preconditioned by the
stencil's Laplacian, to 1e-8. Run: python benchmarks/cell2d.py (gcc, libfftw3-dev and pyfftw needed). Prints CPU time per grid
point, right-hand side and iteration, in turns in one process on one core, and the ratios.
"""

import ctypes
import subprocess
import tempfile
from pathlib import Path

from common import interleave, pin

pin()

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import pyfftw  # noqa: E402

import fiberax as fx  # noqa: E402

jax.config.update("jax_enable_x64", True)
N, FIBERS, TOLERANCE, LIMIT = 64, 256, 1e-8, 200
BATCH = 8  # fibers at a time in numpy, so that its arrays stay in the cache


def tensor(phases, z):
    """A smooth random symmetric tensor field: two eigenvalues and an angle from a few waves with random phases."""
    waves = jnp.asarray([[1.0, 2.0], [2.0, -1.0], [3.0, 1.0], [-1.0, 3.0]])
    fields = jnp.sin(2 * jnp.pi * (waves @ z) + phases).sum(axis=1)
    large, small, angle = jnp.exp(0.43 * fields[0]), jnp.exp(0.43 * fields[1]), fields[2]
    c, s = jnp.cos(angle), jnp.sin(angle)
    turn = jnp.array([[c, -s], [s, c]])
    return turn @ jnp.diag(jnp.array([large, small])) @ turn.T


def inverse_symbol() -> np.ndarray:
    """1 over the symbol of the five-point Laplacian in the layout of the real transform; 0 for the mean."""
    row = 4.0 * np.sin(np.pi * np.arange(N) / N) ** 2
    symbol = row[:, None] + row[None, : N // 2 + 1]
    symbol[0, 0] = np.inf
    return 1.0 / symbol


def by_c(fields: np.ndarray):
    """Responses (fibers, 2) on the diagonal, and the mean number of iterations."""
    folder = Path(tempfile.mkdtemp())
    source = Path(__file__).with_suffix(".c")
    # fast-math only in compiling: linked, it would set flush-to-zero for the whole process.
    flags = ["-O3", "-march=native", "-ffast-math", "-fPIC", "-c", str(source), "-o", str(folder / "cell.o")]
    subprocess.run(["gcc", *flags], check=True)
    subprocess.run(["gcc", "-shared", str(folder / "cell.o"), "-o", str(folder / "cell.so"), "-lfftw3", "-lm"], check=True)
    library = ctypes.CDLL(str(folder / "cell.so"))
    library.plan_make.restype = ctypes.c_void_p
    plan = ctypes.c_void_p(library.plan_make(N))
    symbol = np.ascontiguousarray(inverse_symbol() / N**2)
    packed = np.ascontiguousarray(np.stack([fields[:, 0, 0], fields[:, 0, 1], fields[:, 1, 1]], axis=1))
    pointer = lambda array: array.ctypes.data_as(ctypes.c_void_p)
    real = ctypes.c_double

    def solve():
        answers, steps = np.zeros((len(packed), 2)), 0
        for k, a in enumerate(packed):
            for j in range(2):
                slot = pointer(answers[k, j : j + 1])
                steps += library.cell_solve(
                    plan, pointer(a), pointer(symbol), real(j == 0), real(j == 1), real(TOLERANCE), LIMIT, slot
                )
        return answers, steps / (2 * len(packed))

    return solve


def by_numpy(fields: np.ndarray):
    """The same in numpy with pyfftw, in small batches, each until its last fiber has converged."""
    solvers = [numpy_batch(fields[k : k + BATCH]) for k in range(0, len(fields), BATCH)]

    def solve():
        answers, steps = zip(*(solver() for solver in solvers), strict=True)
        return np.concatenate(answers), float(np.mean(steps))

    return solve


def numpy_batch(fields: np.ndarray):
    """One batch: a function that gives its responses (fibers, 2) on the diagonal and its iterations."""
    a11, a12, a22 = fields[:, None, 0, 0], fields[:, None, 0, 1], fields[:, None, 1, 1]
    e = np.eye(2)[None, :, :, None, None]
    shape, axes, symbol = (len(fields), 2, N, N), (2, 3), inverse_symbol()
    space = pyfftw.empty_aligned(shape)
    modes = pyfftw.empty_aligned((*shape[:3], N // 2 + 1), "complex128")
    forward = pyfftw.FFTW(space, modes, axes)
    backward = pyfftw.FFTW(modes, space, axes, direction="FFTW_BACKWARD")

    def apply(u, load):
        gx = np.roll(u, -1, 2) - u + load * e[:, :, 0]
        gy = np.roll(u, -1, 3) - u + load * e[:, :, 1]
        qx, qy = a11 * gx + a12 * gy, a12 * gx + a22 * gy
        return np.roll(qx, 1, 2) - qx + np.roll(qy, 1, 3) - qy, qx, qy

    def precondition(r):
        space[:] = r
        forward()
        np.multiply(modes, symbol, out=modes)
        backward()
        return space.copy()

    def dot(x, y):
        return np.einsum("fjxy,fjxy->fj", x, y)[..., None, None]

    def solve():
        u = np.zeros(shape)
        r = -apply(u, 1.0)[0]
        z = precondition(r)
        p, rz, first, steps = z, dot(r, z), dot(r, r), 0
        while np.any(dot(r, r) > TOLERANCE**2 * first) and steps < LIMIT:
            q = apply(p, 0.0)[0]
            alpha = rz / dot(p, q)
            u, r = u + alpha * p, r - alpha * q
            z = precondition(r)
            new = dot(r, z)
            p, rz, steps = z + new / rz * p, new, steps + 1
        _, qx, qy = apply(u, 1.0)
        return np.stack([qx[:, 0].mean((1, 2)), qy[:, 1].mean((1, 2))], 1), steps

    return solve


def main():
    """Three solvers of the same discrete problems."""
    phases = 2 * np.pi * np.random.default_rng(0).random((FIBERS, 3, 4))
    discretisation = fx.homogenization.FiniteDifference()
    cell = fx.homogenization.Cell(tensor, (N, N), discretisation, symmetric=True)
    fields = np.asarray(jax.vmap(cell.coefficient)(jnp.asarray(phases)))
    values = np.linalg.eigvalsh(np.moveaxis(fields, (1, 2), (3, 4)))
    print(f"{FIBERS} fibers, {N} x {N}, eigenvalues from {values.min():.2f} to {values.max():.2f}")

    # The field is handed in, so that all three begin from the same arrays.
    given = fx.homogenization.Cell(lambda field, z: field[index(z)], (N, N), discretisation, symmetric=True)
    rows = jnp.asarray(np.moveaxis(fields, (1, 2), (3, 4)))
    ours = lambda: jax.block_until_ready(fx.responses(given, rows, tolerance=TOLERANCE))
    c, numpy = by_c(fields), by_numpy(fields)
    answer = ours()
    diagonal = np.asarray(answer.value)[:, [0, 1], [0, 1]]
    for name, other in (("C", c()), ("numpy", numpy())):
        print(f"largest difference from {name}: {np.abs(diagonal - other[0]).max():.1e}, its iterations {other[1]:.1f}")
    iterations = {"C with FFTW": c()[1], "numpy with pyfftw": numpy()[1], "fiberax": float(np.mean(answer.steps))}
    times = interleave({"C with FFTW": c, "numpy with pyfftw": numpy, "fiberax": ours}, repeats=5)
    cost = {name: seconds / (FIBERS * 2 * N * N * iterations[name]) * 1e9 for name, seconds in times.items()}
    for name, value in cost.items():
        print(
            f"{name:18s} {value:7.2f} ns per point, right-hand side and iteration ({iterations[name]:.1f} iterations), "
            f"{times[name] / FIBERS * 1e3:7.2f} ms per fiber"
        )
    print(f"per iteration: fiberax / C = {cost['fiberax'] / cost['C with FFTW']:.2f} (aim: at most 2.5)")
    print(f"whole solve:   fiberax / C = {times['fiberax'] / times['C with FFTW']:.2f}")
    print(f"whole solve:   numpy / fiberax = {times['numpy with pyfftw'] / times['fiberax']:.2f} (aim: at least 2)")


def index(z):
    """Grid index of a point of the finite-difference grid."""
    nearest = jnp.floor(z * N + 1e-6).astype(int)
    return nearest[0], nearest[1]


if __name__ == "__main__":
    main()

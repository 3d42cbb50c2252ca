"""A porous volume against hand-written C with FFTW, the same finite volumes, and against taufactor where it is installed.

The diagonal of A of a periodic n³ volume, about half of it pores without conductivity, conjugate gradients with the Fourier
preconditioner to 1e-5 (energy error 1e-10). Run: python benchmarks/cell3d.py [n] (gcc and libfftw3-dev needed; 64 by default).
Prints CPU time per voxel, right-hand side and iteration, in turns in one process on one core, the ratios, and the largest
memory of each as its own process.
"""

import ctypes
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from common import interleave, pin

pin()

import jax  # noqa: E402
import numpy as np  # noqa: E402

import fiberax as fx  # noqa: E402
from fiberax.cases.homogenization.microstructure import gaussian_level_set  # noqa: E402

jax.config.update("jax_enable_x64", True)
TOLERANCE, LIMIT = 1e-5, 500


def by_c(labels: np.ndarray):
    """Responses (3,) on the diagonal, and the mean number of iterations."""
    folder, source, n = Path(tempfile.mkdtemp()), Path(__file__).with_suffix(".c"), len(labels)
    flags = ["-O3", "-march=native", "-ffast-math", "-fPIC", "-c", str(source), "-o", str(folder / "cell.o")]
    subprocess.run(["gcc", *flags], check=True)
    subprocess.run(["gcc", "-shared", str(folder / "cell.o"), "-o", str(folder / "cell.so"), "-lfftw3", "-lm"], check=True)
    library = ctypes.CDLL(str(folder / "cell.so"))
    library.plan_make.restype = ctypes.c_void_p
    a = np.ascontiguousarray(labels, dtype=float)
    pointer = lambda array: array.ctypes.data_as(ctypes.c_void_p)
    plan, real = ctypes.c_void_p(library.plan_make(n, pointer(a))), ctypes.c_double
    row = 4.0 * np.sin(np.pi * np.arange(n) / n) ** 2
    symbol = a.mean() * (row[:, None, None] + row[None, :, None] + row[None, None, : n // 2 + 1])
    symbol[0, 0, 0] = np.inf
    inverse = np.ascontiguousarray(1.0 / symbol / n**3)

    def solve():
        answers, steps = np.zeros(3), 0
        for j, e in enumerate(np.eye(3)):
            slot = pointer(answers[j : j + 1])
            steps += library.cell_solve(plan, pointer(inverse), *map(real, e), real(TOLERANCE), LIMIT, slot)
        return answers, steps / 3

    return solve


def volume(n: int) -> np.ndarray:
    """Labels of a seeded porous volume."""
    return gaussian_level_set(1, (n, n, n), spacing=0.2, fraction=0.5)


def ours(labels: np.ndarray):
    """The diagonal of A and the iterations."""
    cell = fx.homogenization.Cell.from_image(labels, [0.0, 1.0])

    def solve():
        found = fx.responses(cell, np.zeros(1), tolerance=TOLERANCE)
        assert int(found.result[0]) == 0
        return np.diagonal(np.asarray(found.value[0])), int(found.steps[0])

    return solve


def memory(labels: np.ndarray, who: str) -> float:
    """Largest resident memory of a process that solves once, GB."""
    with tempfile.NamedTemporaryFile(suffix=".npy") as file:
        np.save(file, labels)
        file.flush()
        done = subprocess.run([sys.executable, __file__, file.name, who], check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def by_taufactor(labels: np.ndarray) -> None:
    """The effective diffusivity along the first axis with held ends, from both, where taufactor is installed."""
    try:
        import taufactor
    except ImportError:
        print("taufactor is not installed")
        return
    held = fx.homogenization.Cell.from_image(labels, [0.0, 1.0], borders=fx.homogenization.Borders.HELD)
    mine = lambda: jax.block_until_ready(fx.responses(held, np.zeros(1), tolerance=TOLERANCE).value)

    def theirs():  # a solver begins its next solve where the last one ended
        solver = taufactor.Solver(labels, device="cpu")
        solver.solve(verbose=False, conv_crit=1e-4, iter_limit=20000)
        return solver

    times = interleave({"taufactor": theirs, "fiberax": mine}, repeats=1)
    print(f"held ends: taufactor {float(np.ravel(theirs().D_eff)[0]):.7f}, fiberax {float(mine()[0, 0, 0]):.7f} along x")
    print(f"taufactor / fiberax: {3 * times['taufactor'] / times['fiberax']:.1f} for all three axes")


def main(n: int):
    """Both solvers of the same discrete problem."""
    labels = volume(n)
    c, fiberax = by_c(labels), ours(labels)
    (exact, c_steps), (found, steps) = c(), fiberax()
    print(f"{n}^3 voxels, largest difference from C {np.abs(exact - found).max():.1e}")
    times = interleave({"C with FFTW": c, "fiberax": fiberax}, repeats=3)
    cost = {name: times[name] / (3 * n**3 * count) * 1e9 for name, count in (("C with FFTW", c_steps), ("fiberax", steps))}
    for name, count in (("C with FFTW", c_steps), ("fiberax", steps)):
        print(f"{name:12s} {cost[name]:6.1f} ns per voxel, right-hand side and iteration ({count:.1f}), {times[name]:.2f} s")
    print(f"per iteration: fiberax / C = {cost['fiberax'] / cost['C with FFTW']:.2f} (at most 3)")
    print(f"whole solve:   fiberax / C = {times['fiberax'] / times['C with FFTW']:.2f}")
    print(f"memory: C {memory(labels, 'C'):.2f} GB, fiberax {memory(labels, 'fiberax'):.2f} GB")
    by_taufactor(labels)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        {"C": by_c, "fiberax": ours}[sys.argv[2]](np.load(sys.argv[1]))()
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9)
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 64)

"""One macro step of two-scale diffusion in 1D, 256 sites with 64-point cells, against the plain NumPy loop.

u_t = ∂_x F with F the effective flux of a periodic cell, k(y, U) = (1 + U²/2)(1.1 + sin 2πy). NumPy assembles and solves one
cell after the other by LAPACK, as a first script does. fiberax uses its general solver, not the closed form of 1D; its steps
are timed warm (inside a run, from the carried correctors) and cold (every corrector from zero).
Run: python benchmarks/diffusion1d.py.
"""

from common import interleave, pin

pin()

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

import fiberax as fx  # noqa: E402

jax.config.update("jax_enable_x64", True)
SITES, POINTS, STEPS, DT = 256, 64, 400, 1e-6


def conductivity(u, z):
    """k(y, U)."""
    return (1 + u**2 / 2) * (1.1 + jnp.sin(2 * jnp.pi * z[0]))


def numpy_response(u: float) -> float:
    """A(U) of one cell by forward differences and a dense solve; the mean of the corrector is pinned."""
    n = POINTS
    y = (np.arange(n) + 0.5) / n
    k = (1 + u**2 / 2) * (1.1 + np.sin(2 * np.pi * y))
    matrix, load = np.full((n, n), 1.0 / n), np.zeros(n)
    for i in range(n):
        before = (i - 1) % n
        matrix[i, (i + 1) % n] += k[i] * n * n
        matrix[i, i] -= (k[i] + k[before]) * n * n
        matrix[i, before] += k[before] * n * n
        load[i] = -(k[i] - k[before]) * n
    chi = np.linalg.solve(matrix, load)
    return float(np.mean(k * (1 + (np.roll(chi, -1) - chi) * n)))


def numpy_step(u: np.ndarray) -> np.ndarray:
    """One forward Euler step of the periodic macro problem."""
    a = np.array([numpy_response(value) for value in u])
    face = 0.5 * (a + np.roll(a, -1)) * (np.roll(u, -1) - u) * SITES
    return u + DT * (face - np.roll(face, 1)) * SITES


def main():
    """Agreement first, then the times."""
    x = (np.arange(SITES) + 0.5) / SITES
    start = 1.0 + 0.5 * np.sin(2 * np.pi * x)
    grid = fx.grids.Box((0.0,), (1.0,), cells=(SITES,), periodic=True)
    kind = fx.homogenization.FiniteDifference()
    cell = fx.homogenization.Cell(conductivity, (POINTS,), kind, closed_form=False)
    bundle = fx.Bundle(fx.homogenization.Diffusion(grid), cell)
    driver, stepper = fx.Quasistatic(1e-10), fx.ForwardEuler()

    def run(steps=STEPS):
        return fx.evolve(bundle, driver, start, t1=steps * DT, dt=DT, stepper=stepper).macro[-1]

    conditions = jnp.asarray(np.tile(start, 64))
    cold = lambda: jax.block_until_ready(fx.responses(cell, conditions, tolerance=1e-10).value)
    error = np.abs(numpy_step(numpy_step(start)) - run(2)).max()
    print(f"two steps agree to {error:.1e}")
    times = interleave({"numpy": lambda: numpy_step(start), "one step": lambda: run(1), "run": run, "cold": cold}, repeats=5)
    warm = (times["run"] - times["one step"]) / (STEPS - 1)
    fresh = times["cold"] / 64
    print(f"numpy loop          {times['numpy'] * 1e3:8.3f} ms of CPU per macro step")
    print(f"fiberax, warm step  {warm * 1e3:8.3f} ms, numpy / fiberax = {times['numpy'] / warm:.0f} (aim: at least 20)")
    print(f"fiberax, cold cells {fresh * 1e3:8.3f} ms, numpy / fiberax = {times['numpy'] / fresh:.0f}")


if __name__ == "__main__":
    main()

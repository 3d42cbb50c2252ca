"""Two-scale diffusion on an interval, against the macroscale equation in closed form.

With a(U, z) = (1 + U) / (1 + sin(2 pi z) / 2) the harmonic mean over the cell is A(U) = 1 + U, so
the two-scale problem (2.2)-(2.4) must give the solution of dU/dt = d/dx((1 + U) dU/dx), which is
computed here independently, by scipy on a finer grid.
"""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.integrate import solve_ivp

import fiberax as fx

jax.config.update("jax_enable_x64", True)

T = 0.02


def initial(x):
    return 1 + 0.5 * np.sin(2 * np.pi * x)


def two_scale(cells):
    """U(T) at the cell centres, with one corrector problem per site and time step."""
    grid = fx.grids.Box((0.0,), (1.0,), cells=(cells,), periodic=True)
    cell = fx.homogenization.Cell(
        lambda U, z: (1 + U) / (1 + jnp.sin(2 * jnp.pi * z[0]) / 2), shape=(32,)
    )
    bundle = fx.Bundle(fx.homogenization.Diffusion(grid), cell)
    start = jnp.asarray(initial(grid.centres[:, 0]))
    sol = fx.evolve(bundle, fx.Quasistatic(), start, t1=T, dt=0.1 / cells**2)
    return np.asarray(sol.macro[-1])


def closed_form(cells):
    """U(T) of the macroscale equation on a grid of its own, to 1e-10 in time."""

    def rate(t, u):
        right = np.roll(u, -1)
        flux = (1 + (u + right) / 2) * (right - u) * cells
        return (flux - np.roll(flux, 1)) * cells

    x = (np.arange(cells) + 0.5) / cells
    return solve_ivp(rate, (0, T), initial(x), method="BDF", rtol=1e-10, atol=1e-12).y[:, -1]


reference = closed_form(480)
errors = []
for cells in (16, 32):
    # A coarse cell covers a whole number of fine ones; its value is their mean.
    exact = reference.reshape(cells, -1).mean(axis=1)
    errors.append(np.abs(two_scale(cells) - exact).max())
    print(f"{cells:3d} cells: largest error {errors[-1]:.2e}")
order = np.log2(errors[0] / errors[1])
print(f"order in dx: {order:.2f}")
assert errors[1] < 2e-3
assert abs(order - 2) < 0.2

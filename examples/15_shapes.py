"""Two-scale heat conduction in an L of a composite that conducts better when it is warmer.

At every quadrature point of the finite elements lives a periodic cell, solved at the temperature
there. With V = ∫ A(U) dU the problem becomes linear, and conformal mapping gives its answer: the
corner of an L counts as 0.5594 squares (Hall, Thin Solid Films 1, 1968), each arm of length 2 and
width 1 as two, so the flow is ∫ A(U) dU / 4.5594.
"""

import jax
import jax.numpy as jnp
import numpy as np

import fiberax as fx

jax.config.update("jax_enable_x64", True)


def conductivity(U, z):
    """The same along both axes of the cell, so that A is a multiple of the unit tensor."""
    return 1.5 + U + jnp.cos(2 * jnp.pi * z[0]) * jnp.cos(2 * jnp.pi * z[1])


cell = fx.homogenization.Cell(conductivity, (12, 12))
mesh = fx.grids.triangles((0.0, 0.0), (3.0, 3.0), cells=(9, 9), order=2)
mesh = fx.grids.carved(mesh, lambda x: np.all(x > 1.0, axis=1), name="inner")
sides = {
    "top": fx.homogenization.Dirichlet(1.0),
    "right": fx.homogenization.Dirichlet(0.0),
}  # all others are insulated
macro = fx.homogenization.MeshDiffusion(mesh, boundary=sides)
sol = fx.steady(fx.Bundle(macro, cell), fx.Quasistatic(), macro.start(0.5))
flow = float(macro.inflow(sol.macro[0], sol.response[0], "top"))

points, weights = np.polynomial.legendre.leggauss(5)
A = fx.responses(cell, 0.5 + 0.5 * points).value[:, 0, 0]
exact = float(0.5 * weights @ A) / 4.5594
print(
    f"{len(sol.response[0])} cells on {len(mesh.cells)} triangles, "
    f"{sol.stats['steps']} Newton steps"
)
print(f"flow {flow:.5f}, conformal mapping {exact:.5f}")
assert abs(flow / exact - 1.0) < 5e-3

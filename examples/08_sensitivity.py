"""Sensitivity of a macroscopic force to a parameter of the atoms: one jax.grad through both scales.

A strip of a triangular Lennard-Jones crystal, clamped below, is sheared by 3 % along its top. The
force on the top follows from the equilibrium of the body, whose stress comes from the atoms; its
derivative with respect to the well depth ε and the length σ of the potential goes through
Newton's method for the body by the implicit function theorem. Doubling ε doubles every force, so
dT/dε = T/ε exactly; dT/dσ is compared with finite differences.
"""

import equinox as eqx
import jax
import numpy as np

import fiberax as fx

jax.config.update("jax_enable_x64", True)

a = 2 ** (1 / 6)
potential = fx.solids.potentials.LennardJones(
    cutoff=1.6, scheme="smooth", onset=1.3
)  # nearest neighbours
crystal = fx.solids.Crystal(
    a * np.array([[1, 0], [0.5, np.sqrt(0.75)]]), [[0, 0]], ["X"], potential
)
mesh = fx.grids.quads((0.0, 0.0), (40.0, 20.0), cells=(6, 3))
body = fx.solids.Elasticity(mesh, fixed={"bottom": True}, displacement={"top": (0.6, 0.0)})


def force(parameters):
    """The shear force on the top for a well depth and a length of the potential."""
    where = lambda crystal: (crystal.potential.epsilon, crystal.potential.sigma)
    changed = eqx.tree_at(where, crystal, (parameters["epsilon"], parameters["sigma"]))
    sol = fx.steady(fx.Bundle(body, changed), fx.Quasistatic(), body.start())
    return body.reaction(sol.response[0], "top")[0]


at = {"epsilon": 1.0, "sigma": 1.0}
force_and_slopes = jax.jit(jax.value_and_grad(force))
value, slope = force_and_slopes(at)
print(
    f"force {value:.8f}; dT/d epsilon = {slope['epsilon']:.8f}, dT/d sigma = {slope['sigma']:.8f}"
)
assert abs(slope["epsilon"] - value) < 1e-8 * abs(value)

h = 1e-5
differences = (
    force_and_slopes(at | {"sigma": 1.0 + h})[0] - force_and_slopes(at | {"sigma": 1.0 - h})[0]
) / (2 * h)
print(f"finite differences in sigma: {differences:.8f}")
assert abs(slope["sigma"] - differences) < 1e-6 * abs(differences)

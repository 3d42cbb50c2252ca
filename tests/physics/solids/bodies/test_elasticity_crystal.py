import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx

P = fx.solids.potentials
FCC = np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]]) / 2
TRIANGULAR = np.array([[1.0, 0.0], [0.5, np.sqrt(3) / 2]])


def triangular():
    """Triangular Lennard-Jones crystal, cut off smoothly, near its spacing at rest."""
    return fx.solids.Crystal(1.115 * TRIANGULAR, [[0.0, 0.0]], ["A"], P.LennardJones(cutoff=2.6, scheme="smooth", onset=2.0))


def silicon():
    """Two atoms to a cell: the fibers have a shift to relax; deformed little, so that there is one short list to compile."""
    potential = P.StillingerWeber("Si")
    return fx.solids.Crystal(5.431 * FCC, [[0.0] * 3, [0.25] * 3], ["Si", "Si"], potential, stretch=0.95, shift=0.06)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "driver"), [(triangular, fx.Quasistatic()), (silicon, fx.Quasistatic()), (silicon, fx.Monolithic())]
)
def test_a_patch_of_a_crystal_carries_an_affine_deformation(make, driver):
    crystal = make()
    dim = len(crystal.lattice)
    mesh = (fx.grids.triangles if dim == 2 else fx.grids.tets)(cells=(2,) * dim)
    middle = np.all(mesh.points == 0.5, axis=1)
    mesh = mesh.mapped(lambda x: x + 0.12 * middle[:, None])
    gradient = 0.02 * jnp.asarray(np.random.default_rng(3).standard_normal((dim, dim)))
    body = fx.solids.Elasticity(mesh, displacement={name: lambda x, t: t * gradient @ x for name in mesh.boundaries})
    sol = fx.steady(fx.Bundle(body, crystal), driver, body.start(), t=1.0)
    np.testing.assert_allclose(sol.macro.position[0], mesh.points @ gradient.T, atol=1e-10)
    exact = fx.response(crystal, gradient)
    np.testing.assert_allclose(sol.response[0], np.broadcast_to(exact.value, sol.response[0].shape), atol=1e-9)
    np.testing.assert_allclose(sol.energy[0], float(exact.energy), rtol=1e-10)
    assert sol.stats["steps"] <= 6

"""Exchange and correlation against libxc (values of LDA_X and LDA_C_* printed by PySCF 2.14)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fiberax.physics.solids.electrons import lda

DENSITY = jnp.asarray([1e-4, 1e-2, 0.3, 20.0])
LIBXC = {  # ε_xc and v_xc
    "lda_pw": (
        [-0.049597090609, -0.196815365981, -0.555955973169, -2.102183072097],
        [-0.064504723923, -0.256032945643, -0.728542141596, -2.779624998431],
    ),
    "lda_pz": (
        [-0.049573512286, -0.197098319102, -0.555674347417, -2.101987744154],
        [-0.064495851838, -0.25640006088, -0.727833785355, -2.779650504792],
    ),
    "lda_vwn": (
        [-0.0495941976, -0.196762852954, -0.556226330532, -2.102712461659],
        [-0.064477372969, -0.256029540037, -0.728923258384, -2.780156726913],
    ),
}


@pytest.mark.parametrize("functional", LIBXC)
def test_energies_and_potentials_are_those_of_libxc(functional):
    per_volume = lambda rho: jnp.sum(rho * lda.energy(rho, functional))
    energy, potential = LIBXC[functional]
    np.testing.assert_allclose(lda.energy(DENSITY, functional), energy, rtol=2e-10)
    np.testing.assert_allclose(jax.grad(per_volume)(DENSITY), potential, rtol=2e-10)
    nothing = jax.value_and_grad(per_volume)(jnp.zeros(2))
    assert nothing[0] == 0.0 and np.all(np.isfinite(nothing[1]))

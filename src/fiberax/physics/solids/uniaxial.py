"""Crystals under uniaxial strain as one-dimensional fibers: what a plane wave sees of a crystal (spec section 3).

A longitudinal plane wave in the direction n strains every cell by A = ε n ⊗ n; the cells beside it hold it in place. More than
five methods: the crystal's own solver, link, tangent and soundness are passed through.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fiberax.core.errors import BadInput
from fiberax.core.fiber import AbstractEnergy
from fiberax.physics.solids.calculator import CalculatorCrystal
from fiberax.physics.solids.crystal import Crystal
from fiberax.physics.solids.ellipticity import check_crystal


class Uniaxial(AbstractEnergy):
    """A crystal held at A = ε n ⊗ n; condition the strain ε, response n · P n, both numbers, the state its shifts.

    Args:
        crystal: `fx.solids.Crystal` or `CalculatorCrystal`.
        direction: n (d,), of any length but zero, in the frame of the crystal; the first axis by default.

    Together with `fx.solids.Wave` it makes a longitudinal plane wave, which a crystal carries where n is a direction of pure
    longitudinal waves, as its axes of symmetry are. Transverse stresses do no work. Raises `BadInput`.
    """

    crystal: Crystal | CalculatorCrystal
    direction: Float[Array, " d"]

    def __init__(self, crystal: Crystal | CalculatorCrystal, direction=None):
        check_crystal("Uniaxial", crystal)
        d = crystal.lattice.shape[0]
        given = np.eye(d)[0] if direction is None else np.asarray(direction, float)
        if given.shape != (d,) or not np.all(np.isfinite(given)) or not np.any(given):
            raise BadInput(f"Uniaxial: direction must be {d} numbers, not all zero; it is {given.tolist()}.")
        self.crystal, self.direction = crystal, jnp.asarray(given / np.linalg.norm(given))

    def _gradient(self, strain):
        return strain * jnp.outer(self.direction, self.direction)

    def _along(self, tensor):
        """T contracted with n twice, over its last two axes."""
        return tensor @ self.direction @ self.direction

    def init(self, condition, key):
        return self.crystal.init(self._gradient(condition), key)

    def energy(self, state, condition):
        """W(ε n ⊗ n, ξ) per reference volume."""
        return self.crystal.energy(state, self._gradient(condition))

    @property
    def conjugate(self):
        return True

    def link(self, state, condition):
        """The stress n · P n = dW/dε."""
        return self._along(self.crystal.link(state, self._gradient(condition)))

    def energy_and_link(self, state, condition):
        """W and n · P n in one pass."""
        energy, stress = self.crystal.energy_and_link(state, self._gradient(condition))
        return energy, self._along(stress)

    def tangent(self, state, condition):
        """The relaxed modulus n_i n_J C_iJkL n_k n_L."""
        return self._along(self._along(self.crystal.tangent(state, self._gradient(condition))))

    def solve(self, condition, state, tolerance):
        """See `Crystal.solve`."""
        return self.crystal.solve(self._gradient(condition), state, tolerance)

    def solve_step(self, condition, state):
        """See `Crystal.solve_step`."""
        return self.crystal.solve_step(self._gradient(condition), state)

    def soundness(self, state, condition):
        """That of the crystal, against waves in all directions."""
        return self.crystal.soundness(state, self._gradient(condition))

    def diagnose(self, state, condition):
        return self.crystal.diagnose(state, self._gradient(condition))

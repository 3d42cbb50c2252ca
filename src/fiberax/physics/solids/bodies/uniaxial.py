"""Crystals under uniaxial strain as one-dimensional fibers, for plane waves.

A longitudinal plane wave in the direction n strains every cell by A = ε n ⊗ n; the neighbouring cells prevent transverse
strain. It has more than five methods: all that the crystal or its electrons do in a way of their own is passed through.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fiberax.core.errors import BadInput
from fiberax.core.fiber import AbstractEnergy
from fiberax.physics.solids.calculators.calculator import CalculatorCrystal
from fiberax.physics.solids.crystal.crystal import Crystal
from fiberax.physics.solids.electrons.kohn_sham import KohnSham
from fiberax.physics.solids.electrons.thomas_fermi import ThomasFermi

Solid = Crystal | CalculatorCrystal | ThomasFermi | KohnSham


class Uniaxial(AbstractEnergy):
    """A crystal held at A = ε n ⊗ n; condition the strain ε, response n · P n, both numbers, the state that of the crystal.

    Args:
        crystal: `fx.solids.Crystal`, `CalculatorCrystal`, `ThomasFermi` or `KohnSham`.
        direction: n (d,), of any length but zero, in the frame of the crystal; the first axis by default.

    Together with `fx.solids.Wave` it makes a longitudinal plane wave, which a crystal carries where n is a direction of pure
    longitudinal waves, as its axes of symmetry are. Transverse stresses do no work.

    Raises:
        BadInput: No crystal, or a direction that is none.
    """

    crystal: Solid
    direction: Float[Array, " d"]

    def __init__(self, crystal: Solid, direction=None):
        if not isinstance(crystal, Solid):
            raise BadInput(
                f"Uniaxial: a fx.solids.Crystal, CalculatorCrystal, ThomasFermi or KohnSham is needed; this is a "
                f"{type(crystal).__name__}."
            )
        d = len(crystal.lattice)
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
        """The relaxed modulus n_i n_J C_iJkL n_k n_L; None where the crystal has none of its own."""
        found = self.crystal.tangent(state, self._gradient(condition))
        return None if found is None else self._along(self._along(found))

    def constraint(self, state, condition):
        return self.crystal.constraint(state, self._gradient(condition))

    def metric(self, state):
        return self.crystal.metric(state)

    @property
    def dense_limit(self):
        return self.crystal.dense_limit

    @property
    def unmixable(self):
        return self.crystal.unmixable

    def precondition(self, residual, condition, shift):
        return self.crystal.precondition(residual, self._gradient(condition), shift)

    def restrain(self, state, condition, normal_at):
        return self.crystal.restrain(state, self._gradient(condition), normal_at)

    def restrain_velocity(self, state, velocity, condition):
        return self.crystal.restrain_velocity(state, velocity, self._gradient(condition))

    def solve_stage(self, condition, base, shift, state, tolerance):
        return self.crystal.solve_stage(self._gradient(condition), base, shift, state, tolerance)

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

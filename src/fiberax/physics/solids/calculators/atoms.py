"""Crystals from ASE Atoms, with potentials of ours or with ASE calculators."""

from concurrent.futures import Executor
from typing import Any

from fiberax.core.errors import BadInput
from fiberax.physics.solids.calculators.calculator import CalculatorCrystal, checked
from fiberax.physics.solids.crystal.crystal import Crystal
from fiberax.physics.solids.potentials.base import AbstractPotential


def from_ase(
    atoms: Any, potential: Any, executor: Executor | None = None, step: float = 1e-5, allow_unstable: bool = False
) -> Crystal | CalculatorCrystal:
    """A crystal from periodic ASE Atoms.

    Args:
        atoms: The undeformed cell, periodic in three directions.
        potential: One of `fx.solids.potentials`, which makes a `Crystal`; or any ASE calculator, or a function that makes one,
            which makes a `CalculatorCrystal`.
        executor: For ASE calculators, see there.
        step: For ASE calculators, see there.
        allow_unstable: Go on at a saddle of the energy in the shifts.

    Returns:
        The crystal, with lattice and basis of `atoms`, in Å and eV.

    Raises:
        BadInput: Atoms that are no crystal, or a potential that is none.
        MissingExtra: ase is absent.
    """
    if not isinstance(potential, AbstractPotential):
        return CalculatorCrystal(atoms, potential, executor, step, allow_unstable)
    if executor is not None:
        raise BadInput(f"from_ase: executor is for ASE calculators; {type(potential).__name__} works inside JAX. Leave it out.")
    atoms = checked(atoms)
    basis, species = atoms.get_scaled_positions(wrap=False), atoms.get_chemical_symbols()
    return Crystal(atoms.cell.array, basis, species, potential, allow_unstable=allow_unstable)

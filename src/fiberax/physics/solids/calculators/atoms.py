"""Crystals from ASE Atoms, with potentials of ours or with ASE calculators."""

from concurrent.futures import Executor
from typing import Any

import numpy as np

from fiberax.core.errors import BadInput
from fiberax.physics.solids.calculators.calculator import CalculatorCrystal, checked
from fiberax.physics.solids.crystal.crystal import Crystal
from fiberax.physics.solids.crystal.layer import Layer
from fiberax.physics.solids.potentials.base import AbstractPotential

_LEAN = 1e-9  # of the longest: how far lattice vectors of a layer may leave its plane
_VACUUM = 2.0  # cutoffs between a layer and its images


def from_ase(
    atoms: Any,
    potential: Any,
    executor: Executor | None = None,
    step: float = 1e-5,
    allow_unstable: bool = False,
    thickness: float | None = None,
) -> Crystal | CalculatorCrystal | Layer:
    """A crystal from periodic ASE Atoms.

    Args:
        atoms: The undeformed cell, periodic in three directions, or in the first two (`pbc=(True, True, False)`): then a layer
            in vacuum. The third lattice vector of a layer is only its box; for potentials it is made long enough.
        potential: One of `fx.solids.potentials`, which makes a `Crystal`; or any ASE calculator, or a function that makes one,
            which makes a `CalculatorCrystal`.
        executor: For ASE calculators, see there.
        step: For ASE calculators, see there.
        allow_unstable: Go on at a saddle of the energy in the shifts.
        thickness: Of a layer in Å, as for `Layer`.

    Returns:
        The crystal, with lattice and basis of `atoms`, in Å and eV; a `Layer` for layers.

    Raises:
        BadInput: Atoms that are no crystal, or a potential that is none.
        MissingExtra: ase is absent.
    """
    if _is_layer(atoms):
        inner = from_ase(_boxed(atoms, potential), potential, executor, step, allow_unstable)
        assert not isinstance(inner, Layer)
        return Layer(inner, thickness)
    if thickness is not None:
        raise BadInput(
            f"from_ase: thickness={thickness!r} is that of a layer; atoms is periodic in three directions. Leave it out."
        )
    if not isinstance(potential, AbstractPotential):
        return CalculatorCrystal(atoms, potential, executor, step, allow_unstable)
    if executor is not None:
        raise BadInput(f"from_ase: executor is for ASE calculators; {type(potential).__name__} works inside JAX. Leave it out.")
    atoms = checked(atoms)
    basis, species = atoms.get_scaled_positions(wrap=False), atoms.get_chemical_symbols()
    return Crystal(atoms.cell.array, basis, species, potential, allow_unstable=allow_unstable)


def _is_layer(atoms: Any) -> bool:
    """Whether these are ASE Atoms, periodic in their first two directions alone."""
    try:
        from ase import Atoms
    except ImportError:
        return False
    return isinstance(atoms, Atoms) and atoms.pbc.tolist() == [True, True, False]


def _boxed(atoms, potential):
    """A copy in a box along z, for potentials as high as keeps images apart at any deformation that the lists allow."""
    lean = np.abs(atoms.cell.array[:2, 2]).max()
    if lean > _LEAN * np.abs(atoms.cell.array).max():
        raise BadInput(
            f"from_ase: the lattice vectors of a layer lie in the x-y plane; they are {atoms.cell.array[:2].tolist()}."
        )
    boxed, extent = atoms.copy(), float(np.ptp(atoms.positions[:, 2]))
    height = float(atoms.cell.array[2, 2])
    if isinstance(potential, AbstractPotential):
        if potential.cutoff is None:
            raise BadInput(
                f"from_ase: a layer of {type(potential).__name__} without a cutoff sums over all images. Give it a cutoff."
            )
        height = extent + _VACUUM * potential.cutoff
    elif height <= extent:
        raise BadInput(
            f"from_ase: the box of a layer for an ASE calculator must be higher than its atoms, {extent:.4g} Å, by the vacuum "
            "that the calculator needs: set atoms.center(vacuum=..., axis=2)."
        )
    boxed.cell[2] = (0.0, 0.0, height)
    boxed.pbc = True
    return boxed

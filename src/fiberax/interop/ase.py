"""From fiberax to ASE: potentials as an ASE calculator, crystals and boxes of molecules as ASE Atoms.

The other direction is `fx.solids.from_ase`.

ASE's conventions: energies in eV and lengths in Å (potentials in reduced units keep their own), cell rows are lattice vectors,
stress is (1/V) ∂E/∂ε as a Voigt vector (xx, yy, zz, yz, xz, xy), positive in tension.
"""

from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from fiberax.core.errors import BadInput, MissingExtra
from fiberax.core.platform import need_double
from fiberax.physics.molecules.box import Molecules
from fiberax.physics.molecules.solid import Atoms as SolidAtoms
from fiberax.physics.molecules.solid import Solid
from fiberax.physics.solids.potentials.base import AbstractPotential

try:
    from ase import Atoms
    from ase.calculators import calculator as _ase
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.data import atomic_numbers
    from ase.neighborlist import primitive_neighbor_list
except ImportError as error:
    raise MissingExtra("fx.interop.ase needs ase: install `fiberax[atoms]`.") from error

_SLACK = 1.3  # capacity for more neighbours than there are now, so that a moving cell does not compile again
_VOIGT = ((0, 1, 2, 1, 0, 0), (0, 1, 2, 2, 2, 1))


class Calculator(_ase.Calculator):
    """A potential of fiberax as an ASE calculator: energy, free_energy, energies, forces, stress.

    Args:
        potential: One of `fx.solids.potentials`, or a crystal, whose potential is taken.

    For any Atoms of its species, periodic or not, of any size: the neighbours are found again in the actual cell, images
    included, so that none is missed. Cell and positions are traced; a new list of species, or a third more neighbours,
    compiles again. Stress needs three lattice vectors.

    Raises:
        BadInput: A potential without cutoff, or unknown species.
    """

    implemented_properties = ["energy", "free_energy", "energies", "forces", "stress"]  # noqa: RUF012

    def __init__(self, potential: Any):
        super().__init__()
        if not isinstance(potential, AbstractPotential):
            from fiberax.physics.solids.crystal.crystal import Crystal

            potential = potential.potential if isinstance(potential, Crystal) else potential
        if not isinstance(potential, AbstractPotential):
            raise BadInput(f"Calculator: potential must be one of fx.solids.potentials or a Crystal; it is {potential!r}.")
        if potential.cutoff is None:
            raise BadInput(f"Calculator: {type(potential).__name__} has no cutoff (lattice sums). Give it one for use in ASE.")
        need_double("fx.interop.ase.Calculator", 0.0)
        self.potential = potential
        self._capacity: dict[tuple[str, str], int] = {}

    def calculate(self, atoms=None, properties=("energy",), system_changes=_ase.all_changes):
        """Fill `results`; see ASE."""
        super().calculate(atoms, properties, system_changes)
        atoms = self.atoms
        assert atoms is not None
        names = tuple(atoms.get_chemical_symbols())
        known = self.potential.elements
        foreign = sorted(set(names) - set(names if known is None else known))
        if foreign:
            raise BadInput(
                f"Calculator: {type(self.potential).__name__} has parameters for {known}, not for {', '.join(foreign)}."
            )
        shells = self._neighbours(atoms, names)
        energies, forces, virial = _evaluate(
            self.potential, names, jnp.asarray(atoms.positions), jnp.asarray(atoms.cell.array), shells
        )
        energy = float(jnp.sum(energies))
        self.results = {
            "energy": energy,
            "free_energy": energy,
            "energies": np.asarray(energies),
            "forces": np.asarray(forces),
        }
        if atoms.cell.rank == 3:
            self.results["stress"] = np.asarray(virial)[_VOIGT] / atoms.get_volume()

    def _neighbours(self, atoms, names) -> dict[tuple[str, str], tuple[jax.Array, jax.Array, jax.Array]]:
        """For each pair of species: neighbours (N, centres), their cells (N, centres, 3), and which entries are neighbours."""
        i, j, cells = primitive_neighbor_list(
            "ijS", atoms.pbc, atoms.cell.array, atoms.positions, self.potential.cutoff, self_interaction=False
        )
        kinds, shells = np.array(names), {}
        for centre in sorted(set(names)):
            of = np.flatnonzero(kinds == centre)
            for other in sorted(set(names)):
                rows = [np.flatnonzero((i == atom) & (kinds[j] == other)) for atom in of]
                most = max(map(len, rows))
                if most > self._capacity.get((centre, other), -1):
                    self._capacity[centre, other] = int(np.ceil(_SLACK * most)) + 4
                size = self._capacity[centre, other]
                index, shift = np.zeros((size, of.size), np.int32), np.zeros((size, of.size, 3))
                there = np.zeros((size, of.size), bool)
                for column, row in enumerate(rows):
                    index[: len(row), column], shift[: len(row), column] = j[row], cells[row]
                    there[: len(row), column] = True
                shells[centre, other] = tuple(map(jnp.asarray, (index, shift, there)))
        return shells


@partial(eqx.filter_jit, donate="none")
def _evaluate(potential, names: tuple[str, ...], positions, cell, shells):
    """Energies of the atoms, forces, and Σ r ⊗ ∂E/∂r, the virial of the stress."""
    kinds, away = sorted(set(names)), jnp.array([[2.0 * potential.cutoff], [0.0], [0.0]])
    energies, forces, virial = jnp.zeros(len(names)), jnp.zeros_like(positions), jnp.zeros((3, 3))
    for centre in kinds:
        of = np.array([k for k, name in enumerate(names) if name == centre])
        index, shift, there = (jnp.concatenate([shells[centre, other][k] for other in kinds]) for k in range(3))
        around = tuple(other for other in kinds for _ in range(shells[centre, other][0].shape[0]))
        vectors = jnp.moveaxis(positions[index] + shift @ cell - positions[of], -1, 0)
        # Places without a neighbour are filled beyond the cutoff, where the potential is exactly zero.
        vectors = jnp.where(there, vectors, away[:, :, None])
        value, pull = jax.vjp(lambda r, centre=centre, around=around: potential.site_energy(centre, around, r), vectors)
        slope = jnp.where(there, pull(jnp.ones_like(value))[0], 0.0)
        energies = energies.at[of].set(value)
        forces = forces.at[of].add(jnp.sum(slope, axis=1).T).at[index].add(-jnp.moveaxis(slope, 0, -1))
        virial = virial + jnp.einsum("anb,cnb->ac", slope, vectors)
    return energies, forces, virial


def atoms(crystal: Any, state: Any, condition: Any) -> Atoms:
    """The deformed cell of a crystal as ASE Atoms.

    Args:
        crystal: The fiber.
        state: Shifts of one site, (n − 1, dim).
        condition: Displacement gradient A of that site, (dim, dim); lattice vectors and atoms are moved by F = I + A.

    Returns:
        Atoms with n positions in the unit of the crystal. A plane crystal lies in z = 0, periodic in its own two directions.

    Raises:
        BadInput: State or condition of another shape.
    """
    lattice, basis = np.asarray(crystal.lattice, float), np.asarray(crystal.basis, float)
    dim = lattice.shape[0]
    deformation, shifts = np.eye(dim) + np.asarray(condition, float), np.asarray(state, float)
    if deformation.shape != (dim, dim) or shifts.shape != (len(basis) - 1, dim):
        raise BadInput(
            f"atoms: this crystal takes a condition {dim}x{dim} and a state {len(basis) - 1}x{dim}; they are "
            f"{'x'.join(map(str, np.shape(condition)))} and {'x'.join(map(str, shifts.shape))}. Give one site at a time."
        )
    reference = basis @ lattice
    reference[1:] += shifts
    cell, positions = np.zeros((3, 3)), np.zeros((len(basis), 3))
    cell[:dim, :dim], positions[:, :dim] = lattice @ deformation.T, reference @ deformation.T
    return Atoms(list(crystal.species), positions, cell=cell, pbc=[k < dim for k in range(3)])


def molecules(state: Molecules, symbols: str | list[str] = "Ar") -> Atoms:
    """A box of molecules as ASE Atoms, for viewers and, by `ase.io.write(..., format="extxyz")`, as extended XYZ.

    Args:
        state: Of one box.
        symbols: A chemical symbol for all particles, or one for each.

    Returns:
        Atoms with positions inside of the cell, in the units of the potential, peculiar momenta, masses 1, and the potential
        energy, the forces and the stress of the last sample.

    Raises:
        BadInput: States of several boxes, or another number of symbols.
    """
    if np.ndim(state.positions) != 2:
        raise BadInput(f"molecules: positions have the shape {np.shape(state.positions)}. Give one box at a time.")
    s, h = np.asarray(state.positions, float), np.asarray(state.box, float)
    names = [symbols] * s.shape[1] if isinstance(symbols, str) else list(symbols)
    if len(names) != s.shape[1]:
        raise BadInput(f"molecules: symbols must be one, or one for each of {s.shape[1]} particles; there are {len(names)}.")
    found = Atoms(names, (h @ (s - np.floor(s))).T, cell=h.T, pbc=True, masses=np.ones(s.shape[1]))
    found.set_momenta(np.asarray(state.momenta, float).T)
    energy, stress = float(state.potential), np.asarray(state.stress, float)[_VOIGT]
    found.calc = SinglePointCalculator(found, energy=energy, forces=np.asarray(state.forces, float).T, stress=stress)
    return found


def solid(fiber: Solid, state: SolidAtoms, condition: Any) -> Atoms:
    """A piece of a crystal in thermal motion as ASE Atoms.

    Args:
        fiber: The `fx.molecules.Solid`.
        state: Of one piece.
        condition: The displacement gradient A (3, 3) that it is held at.

    Returns:
        Atoms in the deformed cell, in the units of the potential, with momenta, masses, and the potential energy and the forces
        of the last sample. A species that is no chemical symbol becomes "X".

    Raises:
        BadInput: States of several pieces.
    """
    if np.ndim(state.positions) != 2:
        raise BadInput(f"solid: positions have the shape {np.shape(state.positions)}. Give one piece at a time.")
    h = (np.eye(3) + np.asarray(condition, float)) @ np.asarray(fiber.lattice, float)
    s = np.asarray(state.positions, float)
    symbol = fiber.species if fiber.species in atomic_numbers else "X"
    masses = np.full(s.shape[1], float(fiber.mass))
    found = Atoms([symbol] * s.shape[1], (h @ (s - np.floor(s))).T, cell=h.T, pbc=True, masses=masses)
    found.set_momenta(np.asarray(state.momenta, float).T)
    energy = float(state.potential)
    found.calc = SinglePointCalculator(found, energy=energy, forces=np.asarray(state.forces, float).T)
    return found

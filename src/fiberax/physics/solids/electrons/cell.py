"""A deformed cell with its ions, as it enters the equations of the density (3.11)."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fiberax.physics.solids.electrons import ewald, fourier
from fiberax.physics.solids.electrons.ion import Ion, kinds


class Cell(NamedTuple):
    """What depends on A and the ions: volume, |G|², 4π/|G|², waves of the ions' charge density, mean of their potential.

    `core`: waves of the density of core electrons that exchange and correlation see as well; None for none.
    """

    volume: Any
    g2: Any
    coulomb: Any
    ions: Any
    mean: Any
    core: Any = None


def deformed(lattice: np.ndarray, shape: tuple[int, int, int], ions: Sequence[Ion], positions: Any, condition: Any) -> Cell:
    """The cell at displacement gradient `condition`, ions at fractional `positions` (n, 3)."""
    F, J = fourier.deformation(condition)
    volume = float(abs(np.linalg.det(lattice))) * J
    g2 = fourier.squares(shape, fourier.metric(lattice, F))
    charge, mean, core = 0.0, 0.0, None
    places = jnp.asarray(positions)
    for group in kinds(ions):
        ion = ions[group[0]]
        phases = fourier.phases(shape, places[np.array(group)])
        charge = charge + ion.density(g2) * phases
        mean = mean + len(group) * ion.at_zero / volume
        shell = ion.core(g2)
        if shell is not None:
            core = shell * phases / volume + (0.0 if core is None else core)
    return Cell(volume, g2, fourier.coulomb(shape, g2), charge / volume, mean, core)


def electrostatic(cell: Cell, shape: tuple[int, int, int], density: Float[Array, "n1 n2 n3"]) -> Float[Array, ""]:
    """Hartree energy of a density and its energy in the ions' potential, averages at G = 0 included; hartree per cell."""
    rho = fourier.forward(density)
    weight = cell.volume * fourier.weights(shape) * cell.coulomb
    electrons = cell.volume * rho[0, 0, 0].real
    return jnp.sum(weight * (rho.conj() * (0.5 * rho - cell.ions)).real) + electrons * cell.mean


def of_ions(cell: Cell, shape: tuple[int, int, int]) -> Float[Array, "n1 n2 n3"]:
    """Potential of the ions."""
    return cell.mean - fourier.backward(shape, cell.coulomb * cell.ions)


def hartree(cell: Cell, shape: tuple[int, int, int], density: Float[Array, "n1 n2 n3"]) -> Float[Array, "n1 n2 n3"]:
    """Potential of a density."""
    return fourier.backward(shape, cell.coulomb * fourier.forward(density))


def points(lattice: np.ndarray, ions: Sequence[Ion], at_first: np.ndarray, positions: Any, condition: Any) -> Float[Array, ""]:
    """Ewald energy per cell of the ions as points; `at_first`: their positions in the undeformed cell, as numbers."""
    charges = jnp.asarray([ion.charge for ion in ions])
    return ewald.energy(ewald.tables(lattice, at_first), lattice, jnp.eye(3) + condition, jnp.asarray(positions), charges)

"""What a fiber has that is a crystal, wherever its energy comes from."""

import abc

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float


class AbstractCrystal(eqx.Module):
    """A periodic arrangement of atoms, for `stability` and `equilibrium`, which ask a fiber for this besides its energy.

    `lattice` (d, d): lattice vectors of the undeformed cell as rows. `basis` (n, d): its atoms in fractions of them. `species`:
    n symbols. `volume`: of the cell.
    """

    lattice: eqx.AbstractVar[Float[Array, "d d"] | np.ndarray]
    basis: eqx.AbstractVar[Float[Array, "n d"] | np.ndarray]
    species: eqx.AbstractVar[tuple[str, ...]]
    volume: eqx.AbstractVar[Float[Array, ""] | float]

    @abc.abstractmethod
    def second_derivatives(self, state, condition) -> tuple[np.ndarray, np.ndarray]:
        """∂²W over (A, shifts) flattened, a symmetric (q, q), and the relaxed moduli (d, d, d, d)."""

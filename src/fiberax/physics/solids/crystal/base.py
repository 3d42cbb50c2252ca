"""What a fiber has that is a crystal, wherever its energy comes from."""

import abc

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fiberax.core.errors import BadInput
from fiberax.physics.solids.crystal.unit_cell import all_shifts, gradient_of


class AbstractCrystal(eqx.Module):
    """A periodic arrangement of atoms, for `stability` and `equilibrium`, which ask a fiber for this besides its energy.

    `lattice` (d, d): lattice vectors of the undeformed cell as rows. `basis` (n, d): its atoms in fractions of them. `species`:
    n symbols. `volume`: of the cell.
    """

    lattice: eqx.AbstractVar[Float[Array, "d d"] | np.ndarray]
    basis: eqx.AbstractVar[Float[Array, "n d"] | np.ndarray]
    species: eqx.AbstractVar[tuple[str, ...]]
    volume: eqx.AbstractVar[Float[Array, ""] | float]

    def places(self, state, A):
        """Positions of the atoms of the deformed cell."""
        A, state = jnp.asarray(A, float), jnp.asarray(state, float)
        return (self.basis @ self.lattice + all_shifts(state)) @ gradient_of(A).T

    @property
    def written_out(self) -> bool:
        """Whether its energy is a sum over the bonds of few atoms: cheap to evaluate, and long to compile."""
        return False

    @property
    def small(self) -> bool:
        """Whether a program of one fiber takes longer to compile than to run."""
        return False

    @abc.abstractmethod
    def second_derivatives(self, state, condition) -> tuple[np.ndarray, np.ndarray]:
        """∂²W over (A, shifts) flattened, a symmetric (q, q), and the relaxed moduli (d, d, d, d)."""


def rotation_of(what: str, given, d: int) -> np.ndarray:
    """`given` as a proper rotation (d, d), to round-off. Raises `BadInput` for a matrix that is none to six digits."""
    R = np.asarray(given, float)
    if R.shape != (d, d) or not np.all(np.isfinite(R)):
        raise BadInput(f"{what}: rotation must be a matrix ({d}, {d}) of finite numbers; its shape is {R.shape}.")
    off = float(np.abs(R @ R.T - np.eye(d)).max())
    if off > 1e-6 or np.linalg.det(R) < 0.0:
        fault = f"R Rᵀ is off the unit matrix by {off:.2g}" if off > 1e-6 else "it mirrors, det R = -1"
        raise BadInput(f"{what}: {R.tolist()} is no rotation: {fault}.")
    left, _, right = np.linalg.svd(R)
    return left @ right

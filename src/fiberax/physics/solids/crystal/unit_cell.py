"""The unit cell of a crystal: its atoms, what they interact by, and which of their neighbours are known.

It knows no fiber: energies and their derivatives (`assembly`, `central`, `moments`), equilibria in the shifts (`relaxation`)
and stability (`ellipticity`) are functions of a cell, and `Crystal` is the fiber on top of them. Conditions A (d, d, *batch)
and shifts (n − 1, d, *batch) carry a batch of fibers in trailing axes.
"""

import functools
import math
from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fiberax.core.errors import BadInput
from fiberax.numerics.result import Result
from fiberax.numerics.small import determinant, smallest_eigenvalue
from fiberax.physics.solids.crystal.neighbours import Neighbours, nearest_distance, neighbours
from fiberax.physics.solids.crystal.shells import Shells, shells
from fiberax.physics.solids.potentials.base import AbstractMomentPotential, AbstractPotential
from fiberax.physics.solids.potentials.lattice_sum import Cells, cells_for

# Atoms up to which sums are written out, for potentials of distances alone and for others, which take longer to compile. The
# programs of larger cells are the same for any number of atoms.
_FEW_CENTRAL, _FEW = 4, 2
_SMALL = 8  # atoms up to which a program of one fiber takes longer to compile than to run


def gradient_of(A):
    """F = I + A, for A (d, d, *batch)."""
    d = A.shape[0]
    return A + jnp.eye(d, dtype=A.dtype).reshape((d, d) + (1,) * (A.ndim - 2))


def all_shifts(shifts):
    """Shifts of all atoms: atom 0 has none."""
    return jnp.concatenate([jnp.zeros((1, *shifts.shape[1:]), shifts.dtype), shifts])


class UnitCell(eqx.Module):
    """Atoms of one cell, their potential and the lists of their neighbours; the arguments are those of `Crystal`.

    `nearest`: distance of the closest two atoms. One of three is not None. `shells`: neighbours within the cutoff, of few
    atoms, whose sums are written out group by group; `neighbours`: those of more; `cells`: points of the
    lattice sums of a potential without cutoff. A potential of several parts has these in one cell for each, see `parts`.

    Raises:
        BadInput: Shapes and values that make no crystal, species that the potential does not know.
    """

    lattice: Float[Array, "d d"]
    basis: Float[Array, "n d"]
    species: tuple[str, ...] = eqx.field(static=True)
    potential: AbstractPotential
    stretch: float = eqx.field(static=True)
    shift: float = eqx.field(static=True)
    nearest: Float[Array, ""]
    shells: Shells | None
    neighbours: Neighbours | None
    cells: Cells | None
    lists: tuple["UnitCell", ...]

    def __init__(self, lattice, basis, species: Sequence[str], potential: AbstractPotential, stretch: float, shift: float):
        lattice, basis, species = _checked(lattice, basis, species, potential)
        if not 0.0 < stretch <= 1.0 or not 0.0 < shift < 1.0:
            raise BadInput(f"Crystal: stretch={stretch!r} and shift={shift!r} must lie between 0 and 1.")
        nearest = nearest_distance(lattice, basis)
        # An array, so that crystals that differ in the lattice constant share their programs.
        self.nearest = jnp.asarray(nearest, jnp.result_type(float))
        self.lattice, self.basis = jnp.asarray(lattice), jnp.asarray(basis)
        self.species, self.potential = species, potential
        self.stretch, self.shift = float(stretch), float(shift)
        self.shells = self.neighbours = self.cells = None
        parts = potential.parts if len(potential.parts) > 1 else ()
        self.lists = tuple(UnitCell(lattice, basis, species, part, stretch, shift) for part in parts)
        if parts:
            return
        length = shift * nearest
        if potential.cutoff is None:
            self.cells = cells_for(lattice, basis, stretch, length)
            # Only to hear now from a potential that has no lattice sums.
            jax.eval_shape(lambda: potential.lattice_energy(self.lattice, self.basis @ self.lattice, species, self.cells))
            return
        lists = (lattice, basis, species, float(potential.cutoff), stretch, length, nearest)
        central = isinstance(potential, AbstractMomentPotential) and not any(potential.ranks)
        if len(basis) > (_FEW_CENTRAL if central else _FEW):
            self.neighbours = neighbours(*lists)
        else:
            self.shells = shells(*lists, potential.pairwise)

    @property
    def volume(self) -> Float[Array, ""]:
        """Volume of the reference cell (an area in two dimensions)."""
        return jnp.abs(determinant(self.lattice))

    def valid(self, A, shifts):
        """Result code of condition and shifts (batch last): SUCCESS, NONFINITE where det F ≤ 0, or OUT_OF_RANGE."""
        if self.lists:
            codes = [part.valid(A, shifts) for part in self.lists]
            return functools.reduce(lambda a, b: jnp.where(a == 0, b, a), codes)
        F = gradient_of(A)
        moved = all_shifts(shifts)
        if self.bonds is not None:
            good = self.bonds.holds(F, moved, False)
        else:
            square = jnp.sum(F[:, :, None] * F[:, None, :], axis=0)
            low, high = smallest_eigenvalue(square), -smallest_eigenvalue(-square)
            good = (low >= self.stretch**2) & (high <= self.stretch**-2)
            good = good & jnp.all(jnp.sum(moved**2, axis=1) <= (self.shift * self.nearest) ** 2, axis=0)
        code = jnp.where(good, jnp.int32(Result.SUCCESS), jnp.int32(Result.OUT_OF_RANGE))
        return jnp.where(determinant(F) > 0.0, code, jnp.int32(Result.NONFINITE))

    @property
    def written_out(self) -> bool:
        """Whether the sums over bonds are those of few atoms, written out: cheap to evaluate, and long to compile."""
        return all(part.written_out for part in self.lists) if self.lists else self.neighbours is None

    @property
    def small(self) -> bool:
        """Whether a program of one fiber takes longer to compile than to run."""
        return self.written_out or len(self.species) <= _SMALL

    @property
    def share(self) -> int:
        """How many small cells would be as large, at least one."""
        if self.lists:
            return max(part.share for part in self.lists)
        if self.cells is not None:
            return len(self.species) ** 2
        return len(self.species) if self.shells is None else len(self.shells.centres)

    @property
    def bonds(self) -> Shells | Neighbours | None:
        """The lists of bonds, in one form or the other; None for lattice sums."""
        return self.neighbours if self.shells is None else self.shells

    @property
    def parts(self) -> tuple["UnitCell", ...]:
        """The same cell with each part of the potential alone, of whose energies its own is the sum; empty where it is one."""
        own = lambda cell: (cell.lattice, cell.basis, cell.potential)
        return tuple(
            eqx.tree_at(own, cell, (self.lattice, self.basis, part))
            for cell, part in zip(self.lists, self.potential.parts if self.lists else (), strict=True)
        )

    def shortlisted(self, function: Callable, A, shifts, near):
        """`function(cell, A, shifts, near)` with the short lists where they hold for the whole batch.

        A cell of several parts leaves the choice to them: then `near` stays None. One small fiber alone takes the long lists,
        since programs with both take twice as long to compile.
        """
        if self.lists:
            return function(self, A, shifts, near)
        alone = self.small and math.prod(A.shape[2:]) == 1
        if near is not None or alone or self.bonds is None or not self.bonds.differ:
            return function(self, A, shifts, bool(near))
        enough = jnp.all(self.bonds.holds(gradient_of(A), all_shifts(shifts), True))
        return jax.lax.cond(enough, lambda: function(self, A, shifts, True), lambda: function(self, A, shifts, False))


def _checked(lattice, basis, species, potential):
    lattice, basis = np.asarray(lattice, float), np.atleast_2d(np.asarray(basis, float))
    if lattice.shape not in ((2, 2), (3, 3)):
        raise BadInput(
            f"Crystal: lattice must hold 2 or 3 lattice vectors as rows, (2, 2) or (3, 3); its shape is {lattice.shape}."
        )
    d = lattice.shape[0]
    if basis.ndim != 2 or basis.shape[1] != d or basis.shape[0] == 0:
        raise BadInput(f"Crystal: basis must be (atoms, {d}), fractions of the lattice vectors; its shape is {basis.shape}.")
    for name, array in (("lattice", lattice), ("basis", basis)):
        if not np.all(np.isfinite(array)):
            raise BadInput(f"Crystal: {name} is not finite at index {np.argwhere(~np.isfinite(array))[0].tolist()}.")
    if abs(np.linalg.det(lattice)) <= 1e-9 * np.prod(np.linalg.norm(lattice, axis=1)):
        raise BadInput(f"Crystal: the lattice vectors {lattice.tolist()} are linearly dependent.")
    if isinstance(species, str) or not all(isinstance(s, str) for s in species) or len(species) != len(basis):
        raise BadInput(
            f"Crystal: species must be a list of {len(basis)} symbols, one for each atom of the basis; it is {species!r}."
        )
    if not isinstance(potential, AbstractPotential):
        raise BadInput(f"Crystal: potential must be one of fx.solids.potentials; it is {potential!r}.")
    known = potential.elements
    for s in species:
        if known is not None and s not in known:
            raise BadInput(f"Crystal: species {s!r} is unknown to {type(potential).__name__}, which knows {', '.join(known)}.")
    gaps = basis[:, None] - basis[None]
    distance = np.linalg.norm((gaps - np.round(gaps)) @ lattice, axis=-1)
    np.fill_diagonal(distance, np.inf)
    if len(basis) > 1 and distance.min() < 1e-6 * np.linalg.norm(lattice, axis=1).min():
        i, j = np.unravel_index(np.argmin(distance), distance.shape)
        raise BadInput(f"Crystal: atoms {i} and {j} of the basis are at the same place, {basis[i].tolist()}. Leave one out.")
    return lattice, basis, tuple(species)

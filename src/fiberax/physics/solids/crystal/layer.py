"""Crystals that are periodic in two directions: a sheet of atoms in vacuum, held at a deformation of its plane.

The third lattice vector of the crystal inside only keeps images apart. Nothing holds the layer across its plane, where atoms
find their places as shifts. Energy and stress count per area of the undeformed layer, or per volume where it has a thickness.

More than five methods: a fiber's own solver, moduli and stability margin come on top of its definition.
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from fiberax.core.capabilities import AbstractAssembled, AbstractMonitored
from fiberax.core.errors import BadInput
from fiberax.core.solvers import Minimise, solver_of
from fiberax.numerics import trees
from fiberax.numerics.result import Outcome
from fiberax.physics.solids.calculators.calculator import CalculatorCrystal
from fiberax.physics.solids.crystal import assembly, crystal, ellipticity
from fiberax.physics.solids.crystal.base import AbstractCrystal, rotation_of
from fiberax.physics.solids.crystal.crystal import Crystal
from fiberax.physics.solids.potentials.base import AbstractPotential

_SQUARE = 1e-9  # of its length: by how much the third lattice vector may lean
_PLANE = np.array([0, 1, 3, 4])  # entries of a displacement gradient (3, 3), row by row, that lie in the plane


class Layer(AbstractAssembled, AbstractMonitored, AbstractCrystal):
    """A crystal in vacuum, periodic along its first two lattice vectors.

    Condition: displacement gradient A (2, 2) of the plane; state: shifts (n − 1, 3), as those of the crystal inside; response P
    (2, 2), force per length of the undeformed layer (eV/Å² for energies in eV), or per area with a thickness.

    Args:
        inner: The crystal in three dimensions, its third lattice vector along z, the others across; `fx.solids.from_ase` makes
            it from Atoms with `pbc=(True, True, False)`.
        thickness: A length, by which energy and stress per area are divided; None for none.

    Raises:
        BadInput: A crystal of another kind or shape, layers that reach each other, or a thickness that is not positive.
    """

    inner: Crystal | CalculatorCrystal
    thickness: float | None = eqx.field(static=True)

    def __init__(self, inner: Crystal | CalculatorCrystal, thickness: float | None = None):
        _check(inner, thickness)
        self.inner, self.thickness = inner, thickness

    @property
    def lattice(self):
        """The two lattice vectors of the undeformed layer, rows (2, 2)."""
        return self.inner.lattice[:2, :2]

    @property
    def basis(self):
        """Atoms in fractions of them (n, 2); their heights are with the crystal inside."""
        return self.inner.basis[:, :2]

    @property
    def species(self) -> tuple[str, ...]:
        """Symbols of the atoms."""
        return self.inner.species

    @property
    def potential(self) -> AbstractPotential:
        """That of the crystal inside. Raises `BadInput` for one of an ASE calculator, which has none."""
        if isinstance(self.inner, CalculatorCrystal):
            raise BadInput("Layer: its energy is that of an ASE calculator, and no potential of fiberax.")
        return self.inner.potential

    @property
    def written_out(self) -> bool:
        return self.inner.written_out

    @property
    def small(self) -> bool:
        return self.inner.small

    def rotated(self, rotation) -> "Layer":
        """The same layer turned in its plane, v ↦ R v for a proper rotation R (2, 2). Raises `BadInput` for another matrix."""
        R = np.eye(3)
        R[:2, :2] = rotation_of("Layer.rotated", rotation, 2)
        return Layer(self.inner.rotated(R), self.thickness)

    @property
    def volume(self):
        """Area of the undeformed cell, times the thickness where there is one."""
        return self.inner.volume / self._density

    @property
    def _density(self):
        """Energy per area or volume of the layer over that of the box."""
        height = self.inner.lattice[2, 2]
        return height if self.thickness is None else height / self.thickness

    def whole(self, A):
        """The displacement gradient (3, 3) of the crystal inside."""
        return jnp.zeros((3, 3), jnp.result_type(A)).at[:2, :2].set(A)

    def places(self, state, A):
        return self.inner.places(state, self.whole(jnp.asarray(A, float)))

    def init(self, condition, key):
        assembly.check_gradient("Layer", condition, 2)
        return self.inner.init(None, key)

    def energy(self, state, condition):
        return self._density * self.inner.energy(state, self.whole(condition))

    def link(self, state, condition):
        return self._density * self.inner.link(state, self.whole(condition))[:2, :2]

    def assemble(self, state, condition, order):
        """W, P and, at order 2, dP/dA with relaxed shifts, all in the plane."""
        energy, stress, *moduli = self.inner.assemble(state, self.whole(condition), order)
        found = self._density * energy, self._density * stress[:2, :2]
        return (*found, self._density * moduli[0][:2, :2, :2, :2]) if moduli else found

    @property
    def solver(self):
        return _Inside()

    def remedy(self, result):
        return self.inner.remedy(result)

    def stability_margin(self, state, condition):
        """The smallest acoustic eigenvalue in the plane over the largest modulus, or the margin of W_ξξ where that is smaller.

        Of an ASE calculator the first alone.
        """
        if isinstance(self.inner, Crystal):
            return crystal.run(self.inner, _margin, (self.whole(condition), state))
        *_, moduli = self.assemble(state, condition, 2)
        return ellipticity.acoustic_margin(moduli)

    def explain(self, state, condition):
        return ellipticity.stability(self, condition, state).in_words()

    def second_derivatives(self, state, condition):
        matrix, moduli = self.inner.second_derivatives(state, self.whole(jnp.asarray(condition)))
        kept = np.concatenate([_PLANE, np.arange(9, len(matrix))])
        density = float(self._density)
        return density * matrix[np.ix_(kept, kept)], density * moduli[:2, :2, :2, :2]


class _Inside(Minimise):
    """The solver of the crystal inside."""

    def solve(self, fiber: Layer, state, condition, tolerance) -> tuple[Any, Outcome]:
        return solver_of(fiber.inner).solve(fiber.inner, state, fiber.whole(condition), tolerance)

    def step(self, fiber: Layer, state, condition) -> tuple[Any, Outcome]:
        return solver_of(fiber.inner).step(fiber.inner, state, fiber.whole(condition))


def _margin(crystal, A, shifts):
    """Kernel of `Layer.stability_margin` over trailing batch axes."""
    cell = crystal.unit_cell
    moduli = cell.shortlisted(assembly.moduli, A, shifts, None)[:2, :2, :2, :2]
    found = jnp.minimum(ellipticity.acoustic_margin(moduli), ellipticity.internal_margin(cell, A, shifts))
    return jnp.where(cell.valid(A, shifts) == 0, found, jnp.nan)


def _check(inner, thickness) -> None:
    if not isinstance(inner, Crystal | CalculatorCrystal):
        raise BadInput(f"Layer: inner must be a Crystal or CalculatorCrystal; it is a {type(inner).__name__}.")
    if trees.is_tracer(inner.lattice):
        return
    lattice = np.asarray(inner.lattice)
    if lattice.shape != (3, 3):
        raise BadInput(f"Layer: the crystal inside has three lattice vectors; the shape of these is {lattice.shape}.")
    lean = max(np.abs(lattice[2, :2]).max(), np.abs(lattice[:2, 2]).max())
    if lean > _SQUARE * np.abs(lattice).max() or lattice[2, 2] <= 0.0:
        raise BadInput(
            f"Layer: the third lattice vector must lie along z, and the others across; the lattice is {lattice.tolist()}."
        )
    if thickness is not None and not 0.0 < thickness < float("inf"):
        raise BadInput(f"Layer: thickness={thickness!r} must be a positive length, or None.")
    if isinstance(inner, Crystal) and inner.potential.cutoff is not None:
        heights = np.asarray(inner.basis)[:, 2] * lattice[2, 2]
        gap = lattice[2, 2] - np.ptp(heights)
        if gap < inner.potential.cutoff:
            raise BadInput(
                f"Layer: layers {gap:.4g} apart feel each other; the cutoff is {inner.potential.cutoff:.4g}. Make the third "
                "lattice vector longer."
            )

"""Point charges: their energy in a crystal by Ewald's sums, alone or added to a potential of short range.

The energy of a neutral periodic crystal, ½ k Σ_{i≠j} q_i q_j / r_ij over all its atoms, is that of a crystal surrounded by a
conductor (no surface charges, no macroscopic field), as in LAMMPS's `kspace_style ewald`, which sums it to an accuracy of its
own; here the sums are complete to round-off, so that no accuracy has to be chosen.
"""

from collections.abc import Mapping

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fiberax.core.errors import BadInput
from fiberax.numerics import trees
from fiberax.physics.solids.potentials.base import UNITS, AbstractPotential, check_units
from fiberax.physics.solids.potentials.lattice_sum import charge_sum

COULOMB = 14.3996454784  # e²/4πε₀ in eV Å, CODATA 2018
_NEUTRAL = 1e-8  # of the largest charge: a sum that is round-off


class Coulomb(AbstractPotential):
    """Point charges and nothing else; nothing keeps their crystals from collapsing, see `Charged`.

    Args:
        charges: Charge by species, in elementary charges ("metal") or any unit.
        coulomb: k of k q q'/r, by default 14.3996454784 eV Å for "metal" and 1 for "reduced".
        units: "metal" or "reduced".

    For crystals in three dimensions whose charges add up to zero. Derivatives exist with respect to the charges.
    """

    charges: Float[Array, " species"]
    coulomb: Float[Array, ""]
    species: tuple[str, ...] = eqx.field(static=True)
    cutoff: float | None = eqx.field(static=True)
    units: str = eqx.field(static=True)

    def __init__(self, charges: Mapping[str, float], coulomb=None, units: str = "metal"):
        check_units("Coulomb", units)
        if not isinstance(charges, Mapping) or not charges or not all(isinstance(name, str) for name in charges):
            raise BadInput(f"Coulomb: charges maps species to numbers, such as {{'Na': 1.0, 'Cl': -1.0}}; it is {charges!r}.")
        for name, value in charges.items():
            if not trees.is_tracer(value) and (jnp.ndim(value) != 0 or not np.isfinite(float(value))):
                raise BadInput(f"Coulomb: the charge of {name} must be a finite number; it is {value!r}.")
        real = jnp.result_type(float)
        self.species, self.cutoff, self.units = tuple(charges), None, units
        self.charges = jnp.stack([jnp.asarray(value, real) for value in charges.values()])
        self.coulomb = jnp.asarray((COULOMB if units == "metal" else 1.0) if coulomb is None else coulomb, real)

    @property
    def elements(self) -> tuple[str, ...] | None:
        """The species that have a charge."""
        return self.species

    def site_energy(self, centre, neighbours, r):
        """Charges have no energy by site within a cutoff."""
        raise BadInput("Coulomb: charges are summed over the whole crystal, by lattice_energy.")

    def lattice_energy(self, lattice, positions, species, cells):
        """By Ewald's sums."""
        if lattice.shape[0] != 3:
            raise BadInput("Coulomb: charges need a crystal in three dimensions; this one has two.")
        own = [self.species.index(name) for name in species]
        if not trees.is_tracer(self.charges):
            charges = np.asarray(self.charges)[own]
            if abs(charges.sum()) > _NEUTRAL * np.abs(charges).max():
                listed = ", ".join(f"{name} {float(q):+g}" for name, q in zip(species, charges, strict=True))
                raise BadInput(
                    f"Coulomb: the charges of a cell must add up to zero; those of this one add up to {charges.sum():+g} "
                    f"({listed}). The energy of a charged crystal is infinite."
                )
        return 0.5 * self.coulomb * charge_sum(lattice, positions, cells, self.charges[jnp.asarray(own)])


class Charged(AbstractPotential):
    """A potential of short range with point charges on its atoms: Buckingham and Born-Mayer crystals.

    Args:
        short: What acts besides the charges, such as `Pairs`.
        charges: Charge by species, in elementary charges for units "metal".
        coulomb: k of k q q'/r, by default 14.3996454784 eV Å. A `short` in units "reduced" needs it: its unit of energy and of
            length are unknown.

    For crystals in three dimensions whose charges add up to zero. Every two atoms of a cell are a sum of some thousand terms:
    cost grows with the square of the atoms: cells of up to 8 or so.
    """

    short: AbstractPotential
    far: Coulomb
    cutoff: float | None = eqx.field(static=True)
    units: str = eqx.field(static=True)

    def __init__(self, short: AbstractPotential, charges: Mapping[str, float], coulomb=None):
        if not isinstance(short, AbstractPotential):
            raise BadInput(f"Charged: short must be one of fx.solids.potentials; it is {short!r}.")
        if len(short.parts) > 1:
            raise BadInput("Charged: the potential of short range has charges already. Give all charges at once.")
        if short.units == "reduced" and coulomb is None:
            raise BadInput(
                f"Charged: {type(short).__name__} has units 'reduced' ({UNITS['reduced']}), in which the strength of charges "
                "is unknown. Give it units='metal', or give coulomb= (14.3996454784 for eV and Å)."
            )
        self.short, self.far = short, Coulomb(charges, coulomb, short.units)
        self.cutoff, self.units = short.cutoff, short.units

    @property
    def elements(self) -> tuple[str, ...] | None:
        """The species that both parts know."""
        known = self.short.elements
        return tuple(name for name in self.far.species if known is None or name in known)

    @property
    def parts(self):
        """The two potentials."""
        return (self.short, self.far)

    def site_energy(self, centre, neighbours, r):
        """Charges have no energy by site."""
        raise BadInput("Charged: a crystal sums the potential's parts, each in its own way.")

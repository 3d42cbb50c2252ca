"""Pair potentials by pair of species, E = ½ Σ_{i≠j} φ_ab(r_ij), a and b the species of i and j."""

from collections.abc import Mapping

import equinox as eqx
import jax.numpy as jnp

from fiberax.core.errors import BadInput
from fiberax.physics.solids.potentials.base import AbstractMomentPotential
from fiberax.physics.solids.potentials.pair import AbstractPair


class Pairs(AbstractMomentPotential):
    """A pair potential for each pair of species.

    Args:
        table: From pairs of species, in either order, to pair potentials (`LennardJones`, `Morse`, `Buckingham`, `Pair`), each
            with its own cutoff and scheme; None for two species that do not interact. Every pair of the species named must be
            there: a forgotten one would be a wrong number.

    Raises:
        BadInput: A pair is missing or there twice, an entry is no pair potential or has no cutoff, or units differ.
    """

    entries: tuple[AbstractPair | None, ...]
    pairs: tuple[tuple[str, str], ...] = eqx.field(static=True)
    cutoff: float = eqx.field(static=True)
    units: str = eqx.field(static=True)

    def __init__(self, table: Mapping[tuple[str, str], AbstractPair | None]):
        if not isinstance(table, Mapping) or not all(_is_pair(key) for key in table):
            raise BadInput(f"Pairs: the table maps pairs of species, such as ('Mg', 'O'), to potentials; it is {table!r}.")
        for (a, b), entry in table.items():
            if a != b and (b, a) in table:
                raise BadInput(f"Pairs: {a}-{b} is there twice, as ({a!r}, {b!r}) and as ({b!r}, {a!r}). Give it once.")
            if entry is not None and not isinstance(entry, AbstractPair):
                raise BadInput(
                    f"Pairs: the entry {a}-{b} must be a pair potential, or None for no interaction; it is {entry!r}."
                )
            if entry is not None and entry.cutoff is None:
                raise BadInput(f"Pairs: the entry {a}-{b} has no cutoff. Give it one.")
        found = {(min(key), max(key)): entry for key, entry in table.items()}
        names = sorted({name for key in found for name in key})
        for a, b in ((a, b) for a in names for b in names if a <= b):
            if (a, b) not in found:
                raise BadInput(f"Pairs: no entry for {a}-{b}. Give ({a!r}, {b!r}): None if these do not interact.")
        acting = [entry for entry in found.values() if entry is not None]
        if not acting:
            raise BadInput("Pairs: no two species interact. Give at least one pair potential.")
        units = sorted({entry.units for entry in acting})
        if len(units) > 1:
            raise BadInput(f"Pairs: the entries have different units, {' and '.join(units)}. Give all of them the same.")
        self.pairs, self.entries = tuple(found), tuple(found.values())
        self.cutoff, self.units = max(float(entry.cutoff) for entry in acting if entry.cutoff is not None), units[0]

    @property
    def elements(self) -> tuple[str, ...] | None:
        """The species of the table."""
        return tuple(sorted({name for pair in self.pairs for name in pair}))

    @property
    def ranks(self):
        """The pair energy."""
        return (0,)

    @property
    def pairwise(self):
        """True."""
        return True

    def radial(self, centre, neighbour, r):
        """φ of the two species."""
        entry = self.entries[self.pairs.index((min(centre, neighbour), max(centre, neighbour)))]
        return (jnp.zeros_like(r) if entry is None else entry.pair(r),)

    def embed(self, centre, moments):
        """Half of it."""
        return 0.5 * moments[0]


def _is_pair(key) -> bool:
    return isinstance(key, tuple) and len(key) == 2 and all(isinstance(name, str) for name in key)

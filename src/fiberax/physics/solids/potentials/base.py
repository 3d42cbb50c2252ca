"""What an interatomic potential is to a crystal: a sum of site energies, at best in moment form.

Arrays are structures of arrays: components first, neighbours second, any batch of fibers LAST, since sums over leading axes
vectorise over the fibers. The energy of a crystal is the sum of the site energies of its basis atoms.
"""

import abc

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from fiberax.core.errors import BadInput

UNITS = {
    "metal": "eV, Å, eV/Å³ (1 eV/Å³ = 160.21766208 GPa)",
    "reduced": "the units of the potential's own parameters",
}


class AbstractPotential(eqx.Module):
    """An interatomic potential.

    Attributes:
        cutoff: A Python number; a neighbour at this distance or further contributes exactly nothing. The potential masks them
            itself, see `within`. None: no cutoff, then `lattice_energy` is asked.
        units: A key of `UNITS`.
    """

    cutoff: eqx.AbstractVar[float | None]
    units: eqx.AbstractVar[str]

    @property
    def elements(self) -> tuple[str, ...] | None:
        """The species that the potential has parameters for; None for any."""
        return None

    @property
    def parts(self) -> tuple["AbstractPotential", ...]:
        """Potentials that add up to this one; a crystal sums each over its own bonds, or by its lattice sums."""
        return (self,)

    @property
    def pairwise(self) -> bool:
        """True for a pair potential in moment form: one moment of rank 0, the same seen from both ends, and Ψ = ½ S."""
        return False

    @abc.abstractmethod
    def site_energy(self, centre: str, neighbours: tuple[str, ...], r: Float[Array, "d n *batch"]) -> Float[Array, "*batch"]:
        """Energy of one atom of species `centre`; `r`: the vectors to its neighbours. Pair terms carry the factor ½.

        Invariant under rotations and inversion of all `r` together.
        """

    def lattice_energy(self, lattice, positions, species, cells) -> Float[Array, ""]:
        """Energy of a cell with lattice vectors `lattice` (rows) and atoms at `positions` (n, d), for a cutoff of None.

        `cells`: lattice points to sum over, see `lattice_sum.Cells`.
        """
        raise BadInput(f"{type(self).__name__} has no lattice sums. Give it a cutoff.")


class AbstractMomentPotential(AbstractPotential):
    """Site energy Ψ(S_1 .. S_K) of moments S_k = Σ_n f_k(r_n) T_k(u_n): T = 1, u or u⊗u, u the unit vector to a neighbour.

    Derivatives of such a potential are assembled from scalar ones of f_k and Ψ: the cost is linear in the neighbours.
    """

    @property
    @abc.abstractmethod
    def ranks(self) -> tuple[int, ...]:
        """Rank 0, 1 or 2 of every T_k."""

    @abc.abstractmethod
    def radial(self, centre: str, neighbour: str, r: Float[Array, "*any"]) -> tuple[Float[Array, "*any"] | None, ...]:
        """f_1 .. f_K, elementwise in the distances `r`, exactly zero beyond the cutoff, with finite derivatives everywhere.

        None stands for a moment of rank 1 or 2, or one beside such, in which neighbours of that species have no part.
        """

    @abc.abstractmethod
    def embed(self, centre: str, moments: tuple[Array, ...]) -> Float[Array, "*batch"]:
        """Ψ; `moments`: S_k of shape (*batch), (d, *batch) or (d, d, *batch)."""

    def site_energy(self, centre, neighbours, r):
        """Final: Ψ of the moments."""
        length = jnp.sqrt(jnp.sum(r**2, axis=0))
        unit = r / length
        totals = [jnp.zeros((r.shape[0],) * rank + r.shape[2:], r.dtype) for rank in self.ranks]
        for name in sorted(set(neighbours)):
            here = [k for k, other in enumerate(neighbours) if other == name]
            pick = slice(None) if len(here) == len(neighbours) else jnp.asarray(here)
            values = self.radial(centre, name, length[pick])
            for k, (f, rank) in enumerate(zip(values, self.ranks, strict=True)):
                totals[k] = totals[k] if f is None else totals[k] + moment(f, unit[:, pick], rank)
        return self.embed(centre, tuple(totals))


def moment(f: Float[Array, "n *batch"], unit: Float[Array, "d n *batch"], rank: int) -> Array:
    """Σ_n f T(u), T of the given rank."""
    if rank == 0:
        return jnp.sum(f, axis=0)
    if rank == 1:
        return jnp.sum(f * unit, axis=1)
    return jnp.sum(f * unit[:, None] * unit[None], axis=2)


def within(function, r: Float[Array, "*any"], cutoff) -> Float[Array, "*any"]:
    """`function(r)` for r < cutoff and 0 beyond, free of NaN in every derivative, even if the function is singular there."""
    inside = r < cutoff
    return jnp.where(inside, function(jnp.where(inside, r, 0.75 * cutoff)), 0.0)


def check_units(name: str, units: str) -> None:
    """Raise `BadInput` for unknown units."""
    if units not in UNITS:
        raise BadInput(f"{name}: units={units!r} is not one of {', '.join(map(repr, UNITS))}.")

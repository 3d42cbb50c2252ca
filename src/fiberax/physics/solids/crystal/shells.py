"""Neighbour shells of a crystal: a static list of reference bonds that holds every neighbour of the deformed crystal.

Bond b from atom i to atom j in another cell has the reference vector R_b and the deformed one r_b = F (R_b + ξ_j − ξ_i).
With σ the smallest singular value of F, |r_b| ≥ σ (|R_b| − |ξ_j − ξ_i|): where that bound, taken at the shortest bond left
out of the list, is at least the cutoff, no neighbour is missing. The check is made at every evaluation; a shorter list
with the same check serves small deformations.
"""

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fiberax.core.errors import BadInput
from fiberax.numerics.small import smallest_eigenvalue

_LIMIT = 20_000  # bonds from one atom
_NEAR_STRETCH, _NEAR_SHIFT = 0.9, 0.06


class Group(NamedTuple):
    """Bonds from atom `centre` to atoms of sublattice `neighbour`, sorted by length; the first `near` make the short list."""

    centre: int
    neighbour: int
    near: int
    count: int


class Shells(eqx.Module):
    """The bonds of a crystal.

    `centres`: atoms whose site energy is computed, and how often it counts (symmetry). `bonds[g]` (d, count): reference
    vectors of group g. `outside` (2, groups): length of the shortest bond left out of the short and of the long list.
    """

    centres: tuple[tuple[int, float], ...] = eqx.field(static=True)
    groups: tuple[Group, ...] = eqx.field(static=True)
    cutoff: float = eqx.field(static=True)
    bonds: tuple[Float[Array, "d _"], ...]
    outside: Float[Array, "2 g"]

    @property
    def differ(self) -> bool:
        """Whether the short list is shorter than the long one."""
        return any(g.near != g.count for g in self.groups)

    @property
    def undivided(self) -> "Shells":
        """The same bonds without a short list: programs are half as long, and slower at small deformations."""
        groups = tuple(g._replace(near=g.count) for g in self.groups)
        return Shells(self.centres, groups, self.cutoff, self.bonds, jnp.stack([self.outside[1]] * 2))

    def of(self, centre: int) -> list[tuple[int, Group]]:
        """Numbers and groups of the bonds that begin at `centre`."""
        return [(k, g) for k, g in enumerate(self.groups) if g.centre == centre]

    def vectors(self, group: int, near: bool) -> Float[Array, "d n"]:
        """Reference bonds of one group, of the short or of the long list."""
        return self.bonds[group][:, : self.groups[group].near] if near else self.bonds[group]

    def holds(self, F: Float[Array, "d d *b"], shifts: Float[Array, "n d *b"], near: bool):
        """True where no neighbour of the deformed crystal is missing from the list; `shifts` of all atoms."""
        stretch = smallest_stretch(F)
        good = jnp.ones(stretch.shape, bool)
        row = self.outside[0 if near else 1]
        for k, group in enumerate(self.groups):
            length = row[k]
            if group.centre != group.neighbour:
                length = length - jnp.sqrt(jnp.sum((shifts[group.neighbour] - shifts[group.centre]) ** 2, axis=0))
            good = good & (stretch * length >= self.cutoff)
        return good


def smallest_stretch(F: Float[Array, "d d *b"]) -> Float[Array, "*b"]:
    """Smallest singular value of F, or a little less."""
    square = jnp.sum(F[:, :, None] * F[:, None, :], axis=0)
    # The closed form of an eigenvalue is good to half the digits: hence the margin.
    return jnp.sqrt(jnp.maximum(smallest_eigenvalue(square), 0.0)) * (1.0 - 1e-6)


def list_lengths(cutoff: float, stretch: float, shift: float, nearest: float) -> tuple[float, float]:
    """Length up to which bonds belong to the long and to the short list; `shift`: a length."""
    return cutoff / stretch + shift, cutoff / max(stretch, _NEAR_STRETCH) + min(shift, _NEAR_SHIFT * nearest)


def check_density(lattice: np.ndarray, atoms: int, radius: float) -> None:
    """Raise `BadInput` where an atom has far too many neighbours within `radius`, which units of length cause as a rule."""
    ball = np.pi * radius**2 * (4 / 3 * radius if len(lattice) == 3 else 1.0)
    if atoms * ball / abs(np.linalg.det(lattice)) > _LIMIT:
        raise BadInput(
            f"An atom would have more than {_LIMIT} neighbours within {radius:.4g}. Check that lattice and potential "
            "have the same unit of length, or use a shorter cutoff or a larger stretch."
        )


def _all_bonds(lattice, offset, radius) -> np.ndarray:
    """All vectors (offset + n) · lattice, n whole numbers, not longer than `radius`, zero left out, shortest first."""
    check_density(lattice, 1, radius)
    reach = radius * np.linalg.norm(np.linalg.inv(lattice), axis=0)
    axes = [np.arange(np.floor(-r - o), np.ceil(r - o) + 1) for r, o in zip(reach, offset, strict=True)]
    cells = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(lattice))
    bonds = (cells + offset) @ lattice
    lengths = np.linalg.norm(bonds, axis=1)
    keep = (lengths <= radius) & (lengths > 1e-10 * radius)
    bonds, lengths = bonds[keep], lengths[keep]
    return bonds[np.lexsort((*bonds.T, np.round(lengths / radius, 9)))]


def _tier(lengths: np.ndarray, needed: float) -> tuple[int, float]:
    """The bonds to keep so that all shorter than `needed` are in, and the length of the first that is not."""
    count = int(np.searchsorted(lengths, needed))
    # a shell is kept whole: bonds of one length differ by round-off
    while count < len(lengths) and count > 0 and lengths[count] - lengths[count - 1] < 1e-8 * needed:
        count += 1
    return count, float(lengths[count])


def _halved(bonds: np.ndarray) -> np.ndarray:
    """One of each pair ±R."""
    scale = np.max(np.abs(bonds), initial=1e-300)
    digits = np.round(bonds / scale, 9) + 0.0
    lead = np.argmax(digits != 0.0, axis=1)
    return bonds[digits[np.arange(len(digits)), lead] > 0.0]


def shells(lattice, basis, species, cutoff: float, stretch: float, shift: float, nearest: float, pairwise: bool) -> Shells:
    """The bonds of a crystal (lattice rows, fractional basis, species), good for σ ≥ `stretch` and shifts up to `shift`.

    `shift`: a length, bounding |ξ_j − ξ_i|. `nearest`: distance of the closest two atoms. `pairwise`: each pair
    of atoms once, counted twice.
    """
    lattice, basis = np.asarray(lattice, float), np.asarray(basis, float)
    within, between = (list_lengths(cutoff, stretch, x, nearest) for x in (0.0, shift))
    longest = float(np.linalg.norm(lattice, axis=1).max())
    if pairwise:
        centres = tuple((i, 2.0) for i in range(len(basis)))
    elif len(basis) == 2 and species[0] == species[1]:
        centres = ((0, 2.0),)  # the other atom has the same neighbours inverted, at every F and shift
    else:
        centres = tuple((i, 1.0) for i in range(len(basis)))
    groups, bonds, outside = [], [], []
    for i, _ in centres:
        for j in range(i if pairwise else 0, len(basis)):
            same = i == j
            far, near = within if same else between
            found = _all_bonds(lattice, basis[j] - basis[i], far + 2.0 * longest)
            lengths = np.linalg.norm(found, axis=1)
            long, long_out = _tier(lengths, far)
            short, short_out = _tier(lengths, near)
            found = found[:long]
            if pairwise and same:
                short, found = len(_halved(found[:short])), _halved(found)
            groups.append(Group(i, j, short, len(found)))
            bonds.append(jnp.asarray(found.T.reshape(len(lattice), -1), jnp.result_type(float)))
            outside.append((short_out, long_out))
    return Shells(centres, tuple(groups), cutoff, tuple(bonds), jnp.asarray(np.asarray(outside).T, jnp.result_type(float)))

"""Neighbours of the atoms of large cells, as index arrays of one shape for each species: compilation does not grow with them.

As in `shells` the lists are those of the reference crystal, with every bond that the deformed one can need, and a check. Each
bond is in the list of both its ends. Short rows are filled up with bonds that are absent, and every bond knows where the same
bond seen from its other end is, so that forces are gathered, never scattered.
"""

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int
from scipy.spatial import cKDTree

from fiberax.physics.solids.crystal.shells import check_density, list_lengths, smallest_stretch


class Sites(eqx.Module):
    """The c atoms of one species, and m bonds from each.

    Attributes:
        name: The species.
        names: Species of the m neighbours.
        atoms: Their numbers in the cell.
        neighbour: Numbers of the neighbours.
        bonds: Reference vectors.
        present: Whether there is such a bond.
        reverse: Place of the bond seen from its other end, where those of all species stand one after the other, row by row.
    """

    name: str = eqx.field(static=True)
    names: tuple[str, ...] = eqx.field(static=True)
    atoms: Int[Array, " c"]
    neighbour: Int[Array, "m c"]
    bonds: Float[Array, "d m c"]
    present: Bool[Array, "m c"]
    reverse: Int[Array, "m c"]


class Neighbours(eqx.Module):
    """Short and long lists of a cell.

    Attributes:
        near: The short lists, by species.
        far: The long ones.
        order: Place of each atom where those of all species stand one after the other.
        outside: Length of the shortest bond left out of the short and of the long lists.
        cutoff: Of the potential.
    """

    near: tuple[Sites, ...]
    far: tuple[Sites, ...]
    order: Int[Array, " n"]
    outside: Float[Array, " 2"]
    cutoff: float = eqx.field(static=True)

    @property
    def differ(self) -> bool:
        """Whether the short lists are shorter than the long ones."""
        return any(len(a.names) < len(b.names) for a, b in zip(self.near, self.far, strict=True))

    @property
    def undivided(self) -> "Neighbours":
        """The long lists alone: programs are half as long, and slower at small deformations."""
        return Neighbours(self.far, self.far, self.order, self.outside[jnp.asarray([1, 1])], self.cutoff)

    def holds(self, F: Float[Array, "d d *b"], shifts: Float[Array, "n d *b"], near: bool):
        """True where no neighbour of the deformed crystal is missing from the list; `shifts` of all atoms."""
        lengths = jnp.sqrt(jnp.sum((shifts - jnp.mean(shifts, axis=0)) ** 2, axis=1))
        first = jnp.argmax(lengths, axis=0)
        rows = jnp.arange(lengths.shape[0]).reshape(-1, *(1,) * first.ndim)
        # No two atoms move against each other by more than the two largest shifts together.
        spread = jnp.max(lengths, axis=0) + jnp.max(jnp.where(rows == first, 0.0, lengths), axis=0)
        return smallest_stretch(F) * (self.outside[0 if near else 1] - spread) >= self.cutoff


class _Bonds(NamedTuple):
    """Bonds from atom i to atom j with reference vectors R (n, d), and the numbers of the same bonds from j to i."""

    i: np.ndarray
    j: np.ndarray
    R: np.ndarray
    reverse: np.ndarray


def _all_bonds(lattice: np.ndarray, basis: np.ndarray, radius: float) -> _Bonds:
    check_density(lattice, len(basis), radius)
    n, d = basis.shape
    whole = np.floor(basis).astype(int)
    home = basis - whole
    reach = np.ceil(radius * np.linalg.norm(np.linalg.inv(lattice), axis=0)).astype(int)
    cells = np.stack(np.meshgrid(*(np.arange(-m, m + 1) for m in reach), indexing="ij"), axis=-1).reshape(-1, d)
    images = cKDTree((home[None] + cells[:, None]).reshape(-1, d) @ lattice)
    found = cKDTree(home @ lattice).sparse_distance_matrix(images, radius, output_type="ndarray")
    found = found[found["v"] > 1e-10 * radius]
    i, j = found["i"], found["j"] % n
    offset = cells[found["j"] // n] - whole[j] + whole[i]
    largest = np.abs(offset).max(initial=0)
    code = lambda i, j, cell: np.ravel_multi_index((i, j, *(cell + largest).T), (n, n, *(2 * largest + 1,) * d))
    here, there = code(i, j, offset), code(j, i, -offset)
    order = np.argsort(here)
    return _Bonds(i, j, (basis[j] - basis[i] + offset) @ lattice, order[np.searchsorted(here, there, sorter=order)])


def _tier(lengths: np.ndarray, needed: float, radius: float) -> tuple[float, float]:
    """A length between those of the bonds to keep and those of the others, and the length of the first of the others."""
    lengths = np.append(np.sort(lengths), radius)
    count = int(np.searchsorted(lengths[:-1], needed))
    while 0 < count < len(lengths) - 1 and lengths[count] - lengths[count - 1] < 1e-8 * needed:
        count += 1  # a shell is kept whole: bonds of one length differ by round-off
    inside = lengths[count - 1] if count else 0.0
    return 0.5 * (inside + lengths[count]), float(lengths[count])


def _sites(bonds: _Bonds, species: np.ndarray, kept: np.ndarray) -> tuple[Sites, ...]:
    """The lists with the bonds `kept`."""
    names = sorted(set(species.tolist()))
    kind = np.searchsorted(names, species)
    length = np.linalg.norm(bonds.R, axis=1)
    order = np.lexsort((*bonds.R.T, np.round(length / length.max(initial=1.0), 9), kind[bonds.j], bonds.i))
    order = order[kept[order]]
    i, group = bonds.i[order], bonds.i[order] * len(names) + kind[bonds.j[order]]
    counts = np.bincount(group, minlength=len(species) * len(names)).reshape(-1, len(names))
    starts = np.concatenate([[0], np.cumsum(counts.ravel())[:-1]])
    rank = np.arange(len(order)) - starts[group]
    column = np.zeros(len(species), int)
    place, blocks, begin = np.full(len(bonds.i), -1), [], 0
    for k, name in enumerate(names):
        atoms = np.flatnonzero(kind == k)
        column[atoms] = np.arange(len(atoms))
        width = counts[atoms].max(axis=0)
        first = np.concatenate([[0], np.cumsum(width)])
        own = kind[i] == k
        row = first[kind[bonds.j[order[own]]]] + rank[own]
        shape = (int(first[-1]), len(atoms))
        where = (row, column[i[own]])
        place[order[own]] = begin + np.ravel_multi_index(where, shape)
        blocks.append((name, tuple(np.repeat(names, width).tolist()), atoms, shape, where, order[own], begin))
        begin += shape[0] * shape[1]
    return tuple(_filled(bonds, place, *block) for block in blocks)


def _filled(bonds: _Bonds, place, name: str, names, atoms, shape, where, chosen, begin) -> Sites:
    """The arrays of one species; an absent bond is its own reverse, so that it cancels."""
    neighbour, present = np.broadcast_to(atoms, shape).copy(), np.zeros(shape, bool)
    vectors, reverse = np.zeros((bonds.R.shape[1], *shape)), begin + np.arange(shape[0] * shape[1]).reshape(shape)
    neighbour[where], present[where] = bonds.j[chosen], True
    vectors[:, *where] = bonds.R[chosen].T
    reverse[where] = place[bonds.reverse[chosen]]
    kind = jnp.result_type(float)
    atoms, neighbour, reverse = (jnp.asarray(x, jnp.int32) for x in (atoms, neighbour, reverse))
    return Sites(name, names, atoms, neighbour, jnp.asarray(vectors, kind), jnp.asarray(present), reverse)


def neighbours(lattice, basis, species, cutoff: float, stretch: float, shift: float, nearest: float) -> Neighbours:
    """The lists of a cell (lattice rows, fractional basis, species), good for singular values from `stretch` on.

    `shift` bounds |ξ_j − ξ_i|; `nearest` is the distance of the closest two atoms, both lengths.
    """
    lattice, basis = np.asarray(lattice, float), np.asarray(basis, float)
    far, near = list_lengths(cutoff, stretch, shift, nearest)
    radius = far + nearest
    bonds = _all_bonds(lattice, basis, radius)
    lengths = np.linalg.norm(bonds.R, axis=1)
    (short, short_out), (long, long_out) = _tier(lengths, near, radius), _tier(lengths, far, radius)
    names = np.asarray(species)
    near_sites, far_sites = (_sites(bonds, names, lengths < end) for end in (short, long))
    order = np.argsort(np.concatenate([np.asarray(s.atoms) for s in far_sites]))
    outside = jnp.asarray([short_out, long_out], jnp.result_type(float))
    return Neighbours(near_sites, far_sites, jnp.asarray(order, jnp.int32), outside, cutoff)


def nearest_distance(lattice: np.ndarray, basis: np.ndarray) -> float:
    """Distance of the closest two atoms of the crystal."""
    reach = float(np.min(np.linalg.norm(lattice, axis=1)))
    density = len(basis) / abs(np.linalg.det(lattice))
    # No crystal is so open that a ball with 64 times the volume of an atom holds a single one.
    radius = min(1.0001 * reach, 4.0 * density ** (-1.0 / len(lattice)))
    found = _all_bonds(lattice, basis, radius)
    if not len(found.R):
        found = _all_bonds(lattice, basis, 1.0001 * reach)
    return float(np.linalg.norm(found.R, axis=1).min())

"""Neighbour lists without sort or scatter, and the sums over pairs.

An entry of a list is a particle and one of its images, written as a row of a table of positions that holds every particle in
27 cells. So the loop over time steps neither rounds nor multiplies by the box for a pair: it subtracts two rows.

A list holds all pairs within a radius if every pair of particles is looked at in enough images. With scaled coordinates in
[0, 1) the nearest image along an axis is enough where the box is wider than 2 radii, and two images, n = 0 and n = sign(d),
where it is wider than one.

Distances and what depends on them have the precision of the scaled coordinates; sums have that of the box.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from fiberax.physics.molecules.potentials import AbstractPair

_CELLS = np.stack(np.meshgrid(*[[-1.0, 0.0, 1.0]] * 3, indexing="ij"), axis=-1).reshape(27, 3).T
_FAR = 1e6  # where places of a list without a neighbour lie
_BITS = 32


class Neighbours(NamedTuple):
    """A list.

    Args:
        index: Rows of the table of `images` (n, capacity); places without a neighbour hold its last row.
        most: The largest number of neighbours of a particle, which may exceed the capacity.
        near: Number of ordered pairs within the cutoff.
    """

    index: Int[Array, "n capacity"]
    most: Int[Array, ""]
    near: Int[Array, ""]


class Sums(NamedTuple):
    """Sums over pairs.

    Args:
        forces: (3, n).
        virial: Σ over pairs of r ⊗ f, (3, 3).
        energy: Σ over pairs of φ.
        near: Number of ordered pairs within the cutoff.
    """

    forces: Float[Array, "3 n"]
    virial: Float[Array, "3 3"]
    energy: Float[Array, ""]
    near: Int[Array, ""]


def neighbours(
    s: Float[Array, "3 n"],
    h: Float[Array, "3 3"],
    radius: float,
    cutoff: float,
    double: tuple[bool, ...],
    capacity: int,
    time: Float[Array, ""],
) -> Neighbours:
    """All pairs within `radius`.

    A bit for each pair and image goes into words of 32 bits. The k-th neighbour is found by counting the words before it, and
    its bit by halving. The work is that of all pairs, in programs without branches.

    Args:
        s: Scaled coordinates in [0, 1).
        h: The box.
        radius: Of the list.
        cutoff: Below `radius`; pairs within it are counted.
        double: Axes along which two images are looked at.
        capacity: Places for each particle.
        time: Any number that is not known when the program is compiled, see `_apart`.
    """
    n, axes = s.shape[1], [a for a in range(3) if double[a]]
    per = _BITS >> len(axes)  # partners in one word
    words = -(-n // per)
    both = _apart(time, lambda: _words(s, h, radius, cutoff, axes, per, words))
    near = jnp.sum(jax.lax.population_count((both >> _BITS).astype(jnp.uint32)), dtype=jnp.uint32).astype(jnp.int32)
    bits = both.astype(jnp.uint32)
    counts = jax.lax.population_count(bits)
    until = (np.tril(np.ones((words, words), np.float32)) @ counts.astype(jnp.float32)).astype(jnp.int32)
    k = jnp.arange(capacity, dtype=jnp.int32)[None, :]
    word = _apart(time, lambda: sum(((until[w][:, None] <= k).astype(jnp.int32) for w in range(words)), start=0 * k))

    def place():
        bit = _bit(word, bits, until, k)
        return jnp.where(word < words, word * per + (bit >> len(axes)), 0), bit & ((1 << len(axes)) - 1)

    j, image = _apart(time, place)
    code = jnp.zeros_like(j)
    for a in range(3):
        d = s[a][:, None] - _at(s[a], j)
        if double[a]:
            on = (image >> axes.index(a)) & 1
            shift = jnp.where(d >= 0.0, on, -on)
        else:
            shift = jnp.round(d).astype(jnp.int32)
        code = 3 * code + shift + 1
    return Neighbours(jnp.where(word < words, code * n + j, 27 * n), jnp.max(until[-1]), near)


def _words(s, h, radius, cutoff, axes, per, words):
    """Words (words, n): bit b of the lower half says whether a pair is within `radius`, of the upper half within `cutoff`."""
    n, images, h = s.shape[1], 1 << len(axes), h.astype(s.dtype)
    # Partners beyond the last one compare as false.
    partners = jnp.pad(s, ((0, 0), (0, per * words - n)), constant_values=jnp.nan).reshape(3, words, per)
    found = jnp.zeros((words, n), jnp.uint64)
    for b in range(per):
        d = [s[a][None] - partners[a, :, b][:, None] for a in range(3)]
        d = [x if a in axes else x - jnp.round(x) for a, x in enumerate(d)]
        r = [h[c, 0] * d[0] + h[c, 1] * d[1] + h[c, 2] * d[2] for c in range(3)]
        step = [[jnp.where(d[a] >= 0.0, h[c, a], -h[c, a]) for c in range(3)] for a in axes]
        for image in range(images):
            at = r
            for q in range(len(axes)):
                at = [x - y for x, y in zip(at, step[q])] if image >> q & 1 else at
            square = at[0] * at[0] + at[1] * at[1] + at[2] * at[2]
            bit = b * images + image
            value = jnp.where(square < cutoff**2, jnp.uint64((2**_BITS + 1) << bit), jnp.uint64(1 << bit))
            # A particle is no neighbour of itself.
            found = found | jnp.where((square < radius**2) & (square > 0.0), value, jnp.uint64(0))
    return found


def _bit(word, bits, until, k):
    """The bit of the k-th neighbour in its word, (n, capacity)."""
    n = word.shape[0]
    at = jnp.minimum(word, bits.shape[0] - 1) * n + jnp.arange(n, dtype=jnp.int32)[:, None]
    left = _at(bits.reshape(-1), at)
    rank = k - _at(until.reshape(-1), at) + jax.lax.population_count(left).astype(jnp.int32)
    bit = jnp.zeros_like(rank)
    for half in (16, 8, 4, 2, 1):
        low = jax.lax.population_count(left & jnp.uint32((1 << half) - 1)).astype(jnp.int32)
        up = rank >= low
        rank, bit = jnp.where(up, rank - low, rank), jnp.where(up, bit + half, bit)
        left = jnp.where(up, left >> half, left)
    return bit


def images(s: Float[Array, "3 n"], h: Float[Array, "3 3"]) -> tuple[Float[Array, "n 4"], Float[Array, "rows 4"]]:
    """Positions (n, 4), and those of all images cell by cell (27 n + 1, 4) with a far one at the end; the fourth column is 0.

    Rows of four numbers are read at once.
    """
    x = h @ s
    table = (x[:, None, :] + (h @ _CELLS.astype(h.dtype))[:, :, None]).reshape(3, -1)
    table = jnp.concatenate([table, jnp.full((3, 1), _FAR, h.dtype)], axis=1)
    rows = lambda y: jnp.pad(y, ((0, 1), (0, 0))).T.astype(s.dtype)
    return rows(x), rows(table)


def _distances(s, h, index):
    """r_i − r_j (n, capacity, 4) and their squares (n, capacity)."""
    x, table = images(s, h)
    r = x[:, None, :] - _at(table, index)
    return r, r[..., 0] ** 2 + r[..., 1] ** 2 + r[..., 2] ** 2


def forces(potential: AbstractPair, s: Float[Array, "3 n"], h: Float[Array, "3 3"], index: Int[Array, "n capacity"]):
    """Forces (3, n) on the particles."""
    r, square = _distances(s, h, index)
    return _pulled(potential.factor(square), r, h)


def sums(potential: AbstractPair, s: Float[Array, "3 n"], h: Float[Array, "3 3"], index: Int[Array, "n capacity"]) -> Sums:
    """All sums over the pairs of a list; the virial by one matrix product."""
    r, square = _distances(s, h, index)
    factor = potential.factor(square)
    pull = (factor[..., None] * r).reshape(-1, 4)
    virial = 0.5 * jnp.matmul(r.reshape(-1, 4).T, pull, preferred_element_type=h.dtype)[:3, :3]
    near = jnp.sum(square < potential.cutoff**2, dtype=jnp.int32)
    return Sums(_pulled(factor, r, h), virial, 0.5 * jnp.sum(potential.energy(square), dtype=h.dtype), near)


def _pulled(factor, r, h):
    """Forces (3, n), sums over the places of a list."""
    return jnp.einsum("nk,nkc->cn", factor, r, preferred_element_type=h.dtype)[:3]


def _at(x, index):
    return x.at[index].get(mode="promise_in_bounds")


def _apart(time: Float[Array, ""], function: Callable[[], Any]) -> Any:
    """`function()`, computed by itself.

    A compiler that fuses it into what reads its result would compute it anew for every element that is read, which makes a
    list five times as dear. A loop of one turn, whose number of turns is not known at compilation, prevents this.
    """
    empty = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(function))
    first = jnp.isnan(time).astype(jnp.int32)
    return jax.lax.fori_loop(first, 1, lambda _, carry: function(), empty)

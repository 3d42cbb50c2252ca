"""Bloch orbitals in plane waves of a fixed table of integers (3.17)-(3.22).

ψ_k(y) = Ω^{−1/2} Σ_m c_m e^{2πi (k + m)·y} in reference coordinates y: orthonormal orbitals have orthonormal coefficients in
every deformed cell, the kinetic energy is ½|q|², q = 2π F^{−T} L^{−1}(k + m), and nΩ = Σ_k w_k Σ_b f_b |ψ|² does not contain A.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from fiberax.core.errors import BadInput
from fiberax.physics.solids.electrons.ion import AbstractChannel, kinds

Coefficients = Complex[Array, "k bands g"]


class Table(NamedTuple):
    """Points k (n, 3) and weights, and for each the integers m (n, g, 3), which are there (n, g), their place in a box.

    The box, of `sizes` along m_3, m_2, m_1 from the integers `low`, holds all of them.
    """

    k: np.ndarray
    weights: np.ndarray
    m: np.ndarray
    there: np.ndarray
    place: np.ndarray
    low: tuple[int, int, int]
    sizes: tuple[int, int, int]
    shape: tuple[int, int, int]


def kpoints(grid: tuple[int, int, int], shift: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Points (i + shift)/n in [−½, ½]³ and their weights, one of each pair k, −k (time reversal)."""
    axes = [(np.arange(n) + s) / n for n, s in zip(grid, shift)]
    points = np.array(list(itertools.product(*axes)))
    points -= np.round(points - 1e-9)
    kept, weights = [], []
    for point in points:
        for j, other in enumerate(kept):
            both = point + other
            if np.linalg.norm(both - np.round(both)) < 1e-9:
                weights[j] += 1.0
                break
        else:
            kept.append(point)
            weights.append(1.0)
    return np.array(kept), np.array(weights) / len(points)


def table(lattice: np.ndarray, k: np.ndarray, weights: np.ndarray, cutoff: float) -> Table:
    """All plane waves with ½|q|² ≤ `cutoff` hartree in the undeformed cell, and a grid on which products of two are exact."""
    rows = 2.0 * np.pi * np.linalg.inv(lattice).T
    most = np.floor(np.sqrt(2.0 * cutoff) * np.linalg.norm(np.linalg.inv(rows), axis=0)).astype(int) + 1
    integers = np.array(list(itertools.product(*(range(-n, n + 1) for n in most))))
    spheres = [integers[0.5 * np.sum(((point + integers) @ rows) ** 2, axis=1) <= cutoff] for point in k]
    largest = max(map(len, spheres))
    m = np.zeros((len(k), largest, 3), int)
    there = np.zeros((len(k), largest), bool)
    for i, sphere in enumerate(spheres):
        order = np.argsort(np.sum(((k[i] + sphere) @ rows) ** 2, axis=1), kind="stable")
        m[i, : len(sphere)], there[i, : len(sphere)] = sphere[order], True
    low, high = m[there].min(axis=0), m[there].max(axis=0)
    n1, n2, n3 = (_good_size(int(4 * r + 1)) for r in np.maximum(-low, high))
    sizes = tuple((high - low + 1)[::-1].tolist())
    inside = np.where(there[..., None], m - low, 0)[..., ::-1]
    place = np.where(there, np.ravel_multi_index(tuple(np.moveaxis(inside, -1, 0)), sizes), math.prod(sizes))
    return Table(k, weights, m, there, place.astype(np.int32), tuple(low.tolist()), sizes, (n1, n2, n3))


def _good_size(least: int) -> int:
    """The next number that has no prime factors but 2, 3 and 5."""
    n = least
    while True:
        rest = n
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return n
        n += 1


def waves(points: Table, lattice: np.ndarray, F: Float[Array, "3 3"]) -> Float[Array, "k g 3"]:
    """Wave vectors q, 1/bohr; zero where there is no plane wave."""
    reciprocal = 2.0 * jnp.pi * jnp.linalg.inv(jnp.asarray(lattice) @ F.T)
    return jnp.where(points.there[..., None], (points.k[:, None] + points.m) @ reciprocal.T, 0.0)


def to_grid(points: Table, c: Coefficients) -> Complex[Array, "k bands n"]:
    """√Ω ψ e^{−2πi k·y} at all grid points, flat; one k after another, so that each stays in the cache."""
    return jax.lax.map(lambda x: spread(points, *x), (c, jnp.asarray(points.place)))


def from_grid(points: Table, values: Complex[Array, "k bands n"]) -> Coefficients:
    """Coefficients of functions on the grid."""
    return jax.lax.map(lambda x: collect(points, *x), (values, jnp.asarray(points.place)))


def spread(points: Table, c: Complex[Array, "bands g"], place: Any) -> Complex[Array, "bands n"]:
    """`to_grid` of one k.

    By products with the matrices e^{2πi m j/n} of one axis after another: most amplitudes of a whole transform would be zero,
    and up to some 60 points along an axis this takes less time.
    """
    (s3, s2, s1), (n1, n2, _) = points.sizes, points.shape
    x1, x2, x3 = _phases(points)
    pairs = jnp.stack([c.real, c.imag], axis=-1)
    x = jnp.zeros((len(c), s1 * s2 * s3, 2)).at[:, place].set(pairs, mode="drop").reshape(-1, 2 * s1) @ x1
    x = x.reshape(-1, s2, n1, 2).swapaxes(1, 2).reshape(-1, 2 * s2) @ x2
    x = x.reshape(-1, s3, n1 * n2, 2).swapaxes(1, 2).reshape(-1, 2 * s3) @ x3
    x = x.reshape(len(c), -1, 2)
    return jax.lax.complex(x[..., 0], x[..., 1])


def collect(points: Table, values: Complex[Array, "bands n"], place: Any) -> Complex[Array, "bands g"]:
    """`from_grid` of one k."""
    (s3, s2, _), (n1, n2, n3) = points.sizes, points.shape
    x1, x2, x3 = (matrix.T / n for matrix, n in zip(_phases(points), points.shape))
    x = jnp.stack([values.real, values.imag], axis=-1).reshape(-1, 2 * n3) @ x3
    x = x.reshape(-1, n1 * n2, s3, 2).swapaxes(1, 2).reshape(-1, 2 * n2) @ x2
    x = x.reshape(-1, n1, s2, 2).swapaxes(1, 2).reshape(-1, 2 * n1) @ x1
    x = x.reshape(len(values), -1, 2)
    return jax.lax.complex(x[..., 0], x[..., 1]).at[:, place].get(mode="fill", fill_value=0.0)


def _phases(points: Table) -> list[np.ndarray]:
    """e^{2πi m j/n} of each axis as real matrices between pairs of real and imaginary parts, (2 m, 2 n)."""
    found = []
    for low, size, n in zip(points.low, points.sizes[::-1], points.shape):
        angle = 2.0 * np.pi / n * np.outer(np.arange(low, low + size), np.arange(n))
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        found.append(turn.transpose(2, 0, 3, 1).reshape(2 * size, 2 * n))
    return found


def count(points: Table, psi: Complex[Array, "k bands n"], share: Float[Array, "k bands"]) -> Float[Array, "n1 n2 n3"]:
    """Σ_kb share |ψ|²: nΩ, with share = w f."""
    return jnp.einsum("kb,kbn->n", share, psi.real**2 + psi.imag**2).reshape(points.shape)


def projectors(
    points: Table, q: Float[Array, "k g 3"], volume, separable: Sequence[tuple[AbstractChannel, ...]], positions
) -> tuple[Complex[Array, "k p g"], np.ndarray]:
    """Projectors of all ions, and the matrix h (p, p) between them; hartree. Ions of one kind are computed together."""
    square, rows, blocks = jnp.sum(q**2, axis=-1), [], []
    for group in kinds(separable):
        channels = separable[group[0]]
        if not channels:
            continue
        parts = []
        for channel in channels:
            waves = jnp.stack(_harmonics(channel.l, q))[:, None] * channel.radial(square)
            parts.append(waves.reshape(-1, *square.shape))
            blocks.append(np.kron(np.eye(2 * channel.l + 1), np.asarray(channel.strength)))
        blocks += blocks[-len(channels) :] * (len(group) - 1)
        where = jnp.stack([jnp.asarray(positions[k]) for k in group])
        phase = jnp.exp(-2j * jnp.pi * jnp.einsum("kgi,ai->akg", points.m, where)) * (points.there / jnp.sqrt(volume))
        made = phase[:, None] * jnp.concatenate(parts)
        rows.append(jnp.moveaxis(made.reshape(-1, *square.shape), 0, 1))
    if not rows:
        return jnp.zeros((len(points.k), 0, points.m.shape[1]), complex), np.zeros((0, 0))
    matrix, begin = np.zeros((sum(map(len, blocks)),) * 2), 0
    for block in blocks:
        matrix[begin : begin + len(block), begin : begin + len(block)] = block
        begin += len(block)
    return jnp.concatenate(rows, axis=1), matrix


def _harmonics(l: int, q) -> list:
    """q^l Y_lm, real."""
    x, y, z = q[..., 0], q[..., 1], q[..., 2]
    if l == 0:
        return [jnp.full_like(x, math.sqrt(0.25 / math.pi))]
    if l == 1:
        return [math.sqrt(0.75 / math.pi) * part for part in (x, y, z)]
    if l == 2:
        mixed, zonal, last = (math.sqrt(part / math.pi) for part in (3.75, 0.3125, 0.9375))
        square = x**2 + y**2 + z**2
        return [mixed * x * y, mixed * y * z, mixed * z * x, zonal * (3.0 * z**2 - square), last * (x**2 - y**2)]
    raise BadInput(f"There are no projectors for l = {l} here: l goes to 2.")


def energies_of_waves(q: Float[Array, "k g 3"]) -> Float[Array, "k g"]:
    """½|q|²."""
    return 0.5 * jnp.sum(q**2, axis=-1)

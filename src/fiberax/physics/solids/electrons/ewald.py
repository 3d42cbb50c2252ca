"""Energy of point charges in a uniform background, by Ewald's sums (P. P. Ewald, Ann. Phys. 369 (1921) 253).

The vectors that are summed are a table made for the undeformed cell, with a margin for strains: the sums are complete to 1e-13
for principal stretches between 0.6 and 1.7. Everything may be differentiated in the deformation and in the positions.
"""

import itertools
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.scipy.special import erfc
from jaxtyping import Array, Float

_REACH = 6.3  # erfc and exp(−x²) are below 1e-17 there
_SHRUNK, _GROWN = 0.6, 1.7


class Tables(NamedTuple):
    """Integers of lattice vectors (m, 3) and of waves (k, 3), one of each pair ±; η in 1/bohr."""

    vectors: np.ndarray
    waves: np.ndarray
    eta: float


def tables(lattice: np.ndarray, positions: np.ndarray) -> Tables:
    """What has to be summed for charges at fractional `positions` (n, 3), which may move by half a cell."""
    volume = abs(np.linalg.det(lattice))
    eta = float(np.sqrt(np.pi) * (len(positions) ** 0.5 / volume) ** (1.0 / 3.0))
    spread = np.linalg.norm(lattice, axis=1).sum()  # positions differ by no more than a cell
    near = _within(lattice, _REACH / eta / _SHRUNK + (spread if len(positions) > 1 else 0.0))
    waves = _within(2.0 * np.pi * np.linalg.inv(lattice).T, 2.0 * eta * _REACH * _GROWN)
    first = np.argmax(waves != 0, axis=1)
    leading = waves[np.arange(len(waves)), first]
    return Tables(near, waves[leading > 0], eta)


def _within(rows: np.ndarray, radius: float) -> np.ndarray:
    """Integers whose combinations of `rows` are no longer than `radius`."""
    most = np.floor(radius * np.linalg.norm(np.linalg.inv(rows), axis=0)).astype(int) + 1
    table = np.array(list(itertools.product(*(range(-m, m + 1) for m in most))))
    return table[np.linalg.norm(table @ rows, axis=1) <= radius]


def energy(
    table: Tables, lattice: np.ndarray, F: Float[Array, "3 3"], positions: Float[Array, "n 3"], charges: Float[Array, " n"]
) -> Float[Array, ""]:
    """Energy per cell in hartree of `charges` at fractional `positions` in the cell deformed by F."""
    rows = jnp.asarray(lattice) @ F.T
    volume, eta = jnp.abs(jnp.linalg.det(rows)), table.eta
    # Pairs at zero distance are each charge and itself.
    apart = positions[:, None] - positions[None]
    r = (apart[:, :, None] + table.vectors) @ rows
    square = jnp.sum(r**2, axis=-1)
    own = np.eye(len(positions), dtype=bool)[:, :, None] & ~table.vectors.any(axis=1)
    length = jnp.sqrt(jnp.where(own, 1.0, square))
    near = jnp.sum(jnp.where(own, 0.0, erfc(eta * length) / length), axis=-1)
    waves = 2.0 * jnp.pi * table.waves @ jnp.linalg.inv(rows).T
    g2 = jnp.sum(waves**2, axis=1)
    angle = 2.0 * jnp.pi * table.waves @ positions.T
    factor = (jnp.cos(angle) @ charges) ** 2 + (jnp.sin(angle) @ charges) ** 2
    far = 4.0 * jnp.pi / volume * jnp.sum(jnp.exp(-g2 / (4.0 * eta**2)) / g2 * factor)
    smeared = eta / jnp.sqrt(jnp.pi) * jnp.sum(charges**2) + jnp.pi * jnp.sum(charges) ** 2 / (2.0 * eta**2 * volume)
    return 0.5 * charges @ near @ charges + far - smeared

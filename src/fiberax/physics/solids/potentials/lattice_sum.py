"""Sums of inverse powers and of charges over a whole crystal (B. R. A. Nijboer and F. W. de Wette, Physica 23 (1957) 309).

1/rⁿ = ∫₀^∞ t^{n/2−1} exp(−t r²) dt / Γ(n/2), divided at t₀: the upper part is summed over the lattice, the lower one, by
Poisson's formula, over the reciprocal lattice. Both are incomplete gamma functions and converge like Gaussians.
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import erfc, exp1
from jaxtyping import Array, Float

_REACH = 42.0  # exponent of the terms left out: e⁻⁴² is far below round-off


class Cells(eqx.Module):
    """Lattice and reciprocal lattice points (whole numbers) that matter, and the point of division t₀ (an inverse area)."""

    real: Float[Array, "m d"]
    reciprocal: Float[Array, "k d"]
    division: float = eqx.field(static=True)


def _points(lattice: np.ndarray, radius: float) -> np.ndarray:
    reach = np.floor(radius * np.linalg.norm(np.linalg.inv(lattice), axis=0)).astype(int)
    cells = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in reach), indexing="ij"), axis=-1).reshape(-1, len(lattice))
    return cells[np.linalg.norm(cells @ lattice, axis=1) <= radius].astype(float)


def cells_for(lattice: np.ndarray, basis: np.ndarray, stretch: float, shift: float) -> Cells:
    """Points for every deformation with singular values between `stretch` and 1/stretch, and shifts up to `shift`."""
    division = math.pi / abs(float(np.linalg.det(lattice))) ** (2 / len(lattice))
    spread = max(float(np.linalg.norm((b - a) @ lattice)) for a in basis for b in basis)
    real = _points(lattice, math.sqrt(_REACH / division) / stretch + spread + shift)
    waves = _points(2.0 * np.pi * np.linalg.inv(lattice).T, math.sqrt(4.0 * division * _REACH) / stretch)
    waves = waves[np.any(waves != 0.0, axis=1)]
    kind = jnp.result_type(float)
    return Cells(jnp.asarray(real, kind), jnp.asarray(waves, kind), division)


@jax.custom_jvp
def _exponential_integral(x):
    """E₁(x); JAX's own can be differentiated only once."""
    return exp1(x)


@_exponential_integral.defjvp
def _exponential_integral_jvp(primals, tangents):
    (x,), (moved,) = primals, tangents
    return _exponential_integral(x), -jnp.exp(-x) / x * moved


def _upper(a: float, x):
    """Incomplete gamma function Γ(a, x) for whole or half whole a, positive or not."""
    if a == 0.5:
        return math.sqrt(math.pi) * erfc(jnp.sqrt(x))
    if a == 0.0:
        return _exponential_integral(x)
    if a == 1.0:
        return jnp.exp(-x)
    if a > 1.0:
        return (a - 1.0) * _upper(a - 1.0, x) + x ** (a - 1.0) * jnp.exp(-x)
    return (_upper(a + 1.0, x) - x**a * jnp.exp(-x)) / a


def power_sum(lattice: Float[Array, "d d"], positions: Float[Array, "n d"], cells: Cells, power: int) -> Float[Array, ""]:
    """Σ 1/|r_j − r_i + L|ᵖ over ordered pairs of basis atoms and all lattice vectors L, self terms left out; p > d."""
    d, t = lattice.shape[0], cells.division
    half, order = power / 2, (power - d) / 2
    found = _sum(lattice, positions, cells, power, jnp.ones(positions.shape[0], positions.dtype))
    # The wave of length zero, which the sum over the others leaves out.
    uniform = jnp.pi ** (d / 2) / jnp.abs(jnp.linalg.det(lattice)) * positions.shape[0] ** 2 * t**order / order
    return found + uniform / math.gamma(half)


def charge_sum(
    lattice: Float[Array, "3 3"], positions: Float[Array, "n 3"], cells: Cells, charges: Float[Array, " n"]
) -> Float[Array, ""]:
    """Σ q_i q_j/|r_j − r_i + L| over ordered pairs and all L, self terms left out, for charges that add up to zero.

    P. P. Ewald, Ann. Phys. 369, 253 (1921). The limit in which the crystal is surrounded by a conductor.
    """
    return _sum(lattice, positions, cells, 1, charges)


def _sum(lattice, positions, cells: Cells, power: int, weights):
    """Σ w_i w_j/|r_j − r_i + L|ᵖ without the wave of length zero."""
    d, count, t = lattice.shape[0], positions.shape[0], cells.division
    half, order = power / 2, (power - d) / 2
    first, second = np.triu_indices(count, 1)
    # Row 0: an atom and its own images, which are alike for all atoms; then every two atoms once.
    strength = jnp.concatenate([jnp.sum(weights**2)[None], 2.0 * weights[first] * weights[second]])
    between = jnp.concatenate([jnp.zeros((1, d), positions.dtype), positions[second] - positions[first]])
    square = jnp.sum((between[:, None] + cells.real @ lattice) ** 2, axis=-1)
    itself = (np.arange(len(between)) == 0)[:, None] & jnp.all(cells.real == 0.0, axis=1)
    square = jnp.where(itself, 1.0, square)
    near = strength @ jnp.sum(jnp.where(itself, 0.0, _upper(half, t * square) / square**half), axis=1)
    near = near - strength[0] * t**half / half
    waves = 2.0 * jnp.pi * cells.reciprocal @ jnp.linalg.inv(lattice).T
    quarter = jnp.sum(waves**2, axis=1) / 4.0
    phase = positions @ waves.T
    structure = (weights @ jnp.cos(phase)) ** 2 + (weights @ jnp.sin(phase)) ** 2
    far = jnp.sum(structure * quarter**order * _upper(-order, quarter / t))
    return (near + jnp.pi ** (d / 2) / jnp.abs(jnp.linalg.det(lattice)) * far) / math.gamma(half)

"""Periodic fields on a grid that is fixed in reference coordinates, deformed by F = I + A through the metric alone.

A field has its values at y = j/n in [0, 1)³, at z = Lᵀy of the reference cell (rows of L: lattice vectors), and its waves
are e^{2πi m·y} with the integers m of a fixed table. The deformed cell has the wave vectors G = 2π F^{−T} L^{−1} m. Fields are
real, so that half of the table suffices; the Nyquist waves of even grids, which have no derivative, are left out of it. They
must be left out of the unknowns as well (`within`): an unknown without kinetic and Coulomb energy lowers any energy.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from fiberax.core.errors import BadInput

LEAST = 3


def checked_lattice(who: str, lattice) -> np.ndarray:
    """Rows of a lattice (3, 3) in bohr. Raises `BadInput`."""
    rows = np.asarray(lattice, float)
    if rows.shape != (3, 3) or not np.all(np.isfinite(rows)):
        raise BadInput(f"{who}: lattice must be three rows of three finite numbers, in bohr; it is {np.shape(lattice)}.")
    volume = abs(np.linalg.det(rows))
    if not volume > 1e-6 * np.prod(np.linalg.norm(rows, axis=1)):
        raise BadInput(f"{who}: the rows of lattice lie in a plane (volume {volume:.3g} bohr³). Give independent vectors.")
    return rows


def checked_grid(who: str, grid) -> tuple[int, int, int]:
    """Numbers of grid points. Raises `BadInput`."""
    shape = (grid,) * 3 if isinstance(grid, int | np.integer) else tuple(grid)
    if len(shape) != 3 or not all(isinstance(n, int | np.integer) and n >= LEAST for n in shape):
        raise BadInput(f"{who}: grid must be three whole numbers of points, each at least {LEAST}; it is {grid!r}.")
    n1, n2, n3 = (int(n) for n in shape)
    return n1, n2, n3


def deformation(condition: Float[Array, "3 3"]) -> tuple[Float[Array, "3 3"], Float[Array, ""]]:
    """F = I + A and J = det F; NaN where J ≤ 0."""
    F = jnp.eye(3) + condition
    J = jnp.linalg.det(F)
    return F, jnp.where(J > 0.0, J, jnp.nan)


def metric(lattice: np.ndarray, F: Float[Array, "3 3"]) -> Float[Array, "3 3"]:
    """M with |G|² = m·Mm, in 1/bohr²."""
    reciprocal = 2.0 * jnp.pi * jnp.linalg.inv(jnp.asarray(lattice) @ F.T)  # columns
    return reciprocal.T @ reciprocal


def integers(shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Integers m of the waves of a real transform, one array for each axis, which broadcast."""
    n1, n2, n3 = shape
    axes = np.fft.fftfreq(n1, 1.0 / n1), np.fft.fftfreq(n2, 1.0 / n2), np.fft.rfftfreq(n3, 1.0 / n3)
    a, b, c = (np.rint(x) for x in axes)
    return a[:, None, None], b[None, :, None], c[None, None, :]


def kept(shape: tuple[int, int, int]) -> np.ndarray:
    """Which of the waves are not Nyquist waves."""
    good = [2 * np.abs(m) != n for m, n in zip(integers(shape), shape)]
    return good[0] & good[1] & good[2]


def weights(shape: tuple[int, int, int]) -> np.ndarray:
    """How often each wave of the half table is in the whole one, 0 for Nyquist waves: mean(a b) = Σ w Re(a* b)."""
    return np.where(kept(shape), _counts(shape), 0.0)


def lost_weights(shape: tuple[int, int, int]) -> np.ndarray:
    """How often each Nyquist wave of the half table is in the whole one, 0 for the others."""
    return np.where(kept(shape), 0.0, _counts(shape))


def _counts(shape: tuple[int, int, int]) -> np.ndarray:
    found = np.full((1, 1, shape[2] // 2 + 1), 2.0)
    found[..., 0] = 1.0
    if shape[2] % 2 == 0:
        found[..., -1] = 1.0
    return found


def squares(shape: tuple[int, int, int], M: Float[Array, "3 3"]) -> Float[Array, "n1 n2 k"]:
    """|G|² of all waves."""
    a, b, c = integers(shape)
    mixed = 2.0 * (M[0, 1] * (a * b) + M[0, 2] * (a * c) + M[1, 2] * (b * c))
    return M[0, 0] * a**2 + M[1, 1] * b**2 + M[2, 2] * c**2 + mixed


def coulomb(shape: tuple[int, int, int], g2: Float[Array, "n1 n2 k"]) -> Float[Array, "n1 n2 k"]:
    """4π/|G|², 0 for the mean and for Nyquist waves."""
    there = kept(shape).copy()
    there[0, 0, 0] = False
    return jnp.where(there, 4.0 * jnp.pi / jnp.where(there, g2, 1.0), 0.0)


def forward(field: Float[Array, "n1 n2 n3"]) -> Complex[Array, "n1 n2 k"]:
    """Amplitudes f_m of f(y) = Σ f_m e^{2πi m·y}."""
    return jnp.fft.rfftn(field, norm="forward")


def backward(shape: tuple[int, int, int], waves: Complex[Array, "n1 n2 k"]) -> Float[Array, "n1 n2 n3"]:
    """The field of these amplitudes."""
    return jnp.fft.irfftn(waves, s=shape, norm="forward")


def odd(shape: tuple[int, int, int]) -> bool:
    """Whether a grid has no Nyquist waves."""
    return all(n % 2 for n in shape)


def within(field: Float[Array, "n1 n2 n3"]) -> Float[Array, "n1 n2 n3"]:
    """The field without its Nyquist waves."""
    n1, n2, n3 = field.shape
    shape = (n1, n2, n3)
    return field if odd(shape) else backward(shape, jnp.where(kept(shape), forward(field), 0.0))


def phases(shape: tuple[int, int, int], positions: Float[Array, "ions 3"]) -> Complex[Array, "n1 n2 k"]:
    """Σ_s e^{−2πi m·s} of ions at fractional positions s."""
    a, b, c = (jnp.exp(-2j * jnp.pi * positions[:, k, None] * m.reshape(-1)) for k, m in enumerate(integers(shape)))
    if len(positions) == 1:
        return a[0][:, None, None] * b[0][:, None] * c[0]
    return jnp.einsum("ai,aj,ak->ijk", a, b, c)

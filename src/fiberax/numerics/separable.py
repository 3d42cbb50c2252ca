"""Fast diagonalisation: sums of one-dimensional operators on a rectangle, inverted exactly by dense products.

R. E. Lynch, J. R. Rice, D. H. Thomas, Numer. Math. 6 (1964) 185. A second difference along an axis is −V Λ V⁻¹; on a rectangle
that is one product with a matrix on either side and a division. At 64 x 64 that beats fast transforms, and it takes any ends.
"""

from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

End = Literal["fixed", "open"]  # a side where the value is given, or one where the derivative is zero
Ends = tuple[End, End] | None  # at the lower and the upper end of an axis; None: the axis is periodic


class Modes(NamedTuple):
    """The second difference along an axis is −backwardᵀ · diag(values) · forwardᵀ. Entries that are given are left out."""

    forward: Array  # (n, modes)
    backward: Array  # (modes, n)
    values: Array  # (modes,)


def _modes(stiffness: np.ndarray, mass: np.ndarray, spread: np.ndarray, gather: np.ndarray) -> Modes:
    root = np.sqrt(mass)
    values, vectors = np.linalg.eigh(stiffness / root[:, None] / root)
    values = np.where(values < 1e-12 * values[-1], 0.0, values)
    real = lambda x: jnp.asarray(x, jnp.result_type(float))
    return Modes(real(gather.T @ (vectors * root[:, None])), real((spread @ (vectors / root[:, None])).T), real(values))


def _chain(n: int, spacing: float, periodic: bool) -> np.ndarray:
    """Dᵀ D of the differences between neighbours."""
    difference = (np.roll(np.eye(n), 1, 1) - np.eye(n)) / spacing
    difference = difference if periodic else difference[:-1]
    return difference.T @ difference


def cell_modes(cells: int, spacing: float, ends: Ends, quadratic: bool = False) -> Modes:
    """For values at cell centres; a fixed end lies half a cell beyond the last of them.

    The slope there is that of a straight line to the nearest value, or of the parabola through the two nearest. The second
    difference at a wall w is then (8 w − 12 u₀ + 4 u₁)/(3h²), the other one, (2 w − 3 u₀ + u₁)/h², over 3/4.
    """
    stiffness, mass = _chain(cells, spacing, ends is None), np.ones(cells)
    for row, end in zip((0, -1), ends or ()):
        if end == "fixed":
            stiffness[row, row] += 2.0 / spacing**2
            mass[row] = 0.75 if quadratic else 1.0
    return _modes(stiffness, mass, np.eye(cells), np.eye(cells))


def in_modes_of(outer: Modes, inner: Modes) -> Modes:
    """`inner` for functions given by their coefficients in the modes `outer` of the same entries."""
    return Modes(outer.backward @ inner.forward, inner.backward @ outer.forward, inner.values)


def face_modes(cells: int, spacing: float, ends: Ends) -> Modes:
    """For values on the cells + 1 faces; an open end has half a cell. Along a periodic axis the last is the first once more."""
    if ends is None:
        spread = np.vstack([np.eye(cells), np.eye(cells)[:1]])
        return _modes(_chain(cells, spacing, True), np.ones(cells), spread, np.eye(cells, cells + 1))
    mass = np.ones(cells + 1)
    keep = np.ones(cells + 1, bool)
    for row, end in zip((0, -1), ends):
        mass[row], keep[row] = 0.5, end == "open"
    spread = np.eye(cells + 1)[:, keep]
    return _modes(_chain(cells + 1, spacing, False)[np.ix_(keep, keep)], mass[keep], spread, spread.T)


class Separable(eqx.Module):
    """The Laplacian L on a rectangle, one set of modes for each axis."""

    x: Modes
    y: Modes

    def solve(self, known: Float[Array, "nx ny"], shift: Any = 0.0, factor: Any = 1.0) -> Float[Array, "nx ny"]:
        """The u with shift u − factor L u = known; a constant mode without a solution is left out."""
        return self.fields(divided(self.modes(known), shift + factor * self.symbol))

    @property
    def symbol(self) -> Float[Array, "mx my"]:
        """−L of the modes."""
        return self.x.values[:, None] + self.y.values

    def modes(self, fields: Float[Array, "nx ny"]) -> Float[Array, "mx my"]:
        """Coefficients of the modes."""
        return self.x.forward.T @ fields @ self.y.forward

    def fields(self, modes: Float[Array, "mx my"]) -> Float[Array, "nx ny"]:
        """The sum of the modes with these coefficients."""
        return self.x.backward.T @ modes @ self.y.backward


def divided(a: Any, symbol: Float[Array, "mx my"]) -> Float[Array, "mx my"]:
    """a/symbol for `a` that broadcasts to it, and 0 for a mode whose symbol is 0."""
    gone = symbol == 0.0
    return jnp.where(gone, 0.0, a / jnp.where(gone, 1.0, symbol))

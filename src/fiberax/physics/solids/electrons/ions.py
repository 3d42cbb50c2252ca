"""Ions as local charges that attract electrons: m^a of (3.11), never deformed.

An ion is given by the Fourier transform m(|G|) of its charge density, m(0) = Z; the potential of one electron in it is
v(|G|) = −4π m(|G|)/|G|². What is left of v at G = 0 without the Coulomb tail, lim (v + 4πZ/|G|²), is `at_zero`.
"""

import abc
from pathlib import Path
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fiberax.core.errors import BadInput
from fiberax.physics.solids.electrons.gth import Parameters, parameters

Projectors = tuple[tuple[float, tuple[tuple[float, ...], ...]], ...]


class Ion(eqx.Module):
    """A local ion of charge `charge` (electrons)."""

    charge: eqx.AbstractVar[float]

    @abc.abstractmethod
    def density(self, g2: Float[Array, "..."]) -> Float[Array, "..."]:
        """Fourier transform of its charge density at |G|² (1/bohr²), positive as it attracts electrons."""

    @property
    @abc.abstractmethod
    def at_zero(self) -> float:
        """Limit of v(G) + 4πZ/|G|² for G to 0, in hartree bohr³."""

    @property
    def farthest(self) -> float:
        """Largest |G| (1/bohr) at which the density is known."""
        return float("inf")

    @property
    def projectors(self) -> Projectors:
        """For l = 0, 1, ... a radius and the matrix h of a separable potential; none for a charge."""
        return ()


class Gaussian(Ion):
    """The charge density Z (α/π)^{3/2} exp(−α r²).

    Args:
        Z: Charge, in electrons.
        alpha: α in 1/bohr².
    """

    charge: float
    alpha: float

    def __init__(self, Z: float, alpha: float):
        for name, value in (("Z", Z), ("alpha", alpha)):
            if not (isinstance(value, int | float | np.number) and 0.0 < float(value) < float("inf")):
                raise BadInput(f"Gaussian: {name} must be a positive number; it is {value!r}.")
        self.charge, self.alpha = float(Z), float(alpha)

    def density(self, g2):
        return self.charge * jnp.exp(-g2 / (4.0 * self.alpha))

    @property
    def at_zero(self):
        return float(np.pi * self.charge / self.alpha)


class GTHLocal(Ion):
    """Local part of the pseudopotential of Goedecker, Teter and Hutter for LDA (Phys. Rev. B 54, 1996, 1703, eq. 1).

    Args:
        symbol: An element ("Al"), or an element with its valence charge ("Ga-q13"), or an `ions.Parameters` of your own.

    Raises:
        BadInput: An element that is not in the table, or parameters that are none.
    """

    charge: float
    radius: float
    coefficients: tuple[float, ...]

    def __init__(self, symbol: str | Parameters):
        found = _checked(type(self).__name__, parameters(symbol) if isinstance(symbol, str) else symbol)
        self.charge, self.radius = float(found.valence), float(found.r_loc)
        self.coefficients = tuple(float(c) for c in found.c)

    def density(self, g2):
        x = g2 * self.radius**2
        c1, c2, c3, c4 = (*self.coefficients, 0.0, 0.0, 0.0, 0.0)[:4]
        polynomial = c1 + c2 * (3.0 - x) + c3 * (15.0 - 10.0 * x + x**2) + c4 * (105.0 - 105.0 * x + 21.0 * x**2 - x**3)
        core = (0.5 * jnp.pi) ** 0.5 * self.radius**3 * g2 * polynomial
        return jnp.exp(-0.5 * x) * (self.charge - core)

    @property
    def at_zero(self):
        c1, c2, c3, c4 = (*self.coefficients, 0.0, 0.0, 0.0, 0.0)[:4]
        moments = c1 + 3.0 * c2 + 15.0 * c3 + 105.0 * c4
        r = self.radius
        return float(2.0 * np.pi * self.charge * r**2 + (2.0 * np.pi) ** 1.5 * r**3 * moments)


class GTH(GTHLocal):
    """The whole pseudopotential, with its separable part, for `fx.solids.KohnSham`.

    Args:
        symbol: As for `GTHLocal`.
    """

    separable: Projectors = eqx.field(static=True)

    def __init__(self, symbol: str | Parameters):
        super().__init__(symbol)
        found = parameters(symbol) if isinstance(symbol, str) else symbol
        self.separable = tuple((float(r), tuple(map(tuple, np.asarray(h, float).tolist()))) for r, h in found.projectors)

    @property
    def projectors(self):
        return self.separable


class Tabulated(Ion):
    """A charge density from a text file of two columns, |G| (1/bohr) from 0 on and m(G) (electrons); # begins a comment.

    Args:
        file: The file. Values between its rows are those of a natural cubic spline in |G| that is level at 0.

    Raises:
        BadInput: The file is missing, or holds something else.
    """

    charge: float
    knots: Float[Array, " n"]
    pieces: Float[Array, "4 n"]
    curvature: float

    def __init__(self, file: str | Path):
        from scipy.interpolate import CubicSpline

        g, m = _columns(Path(file)).T
        spline = CubicSpline(g, m, bc_type=((1, 0.0), (2, 0.0)))
        self.charge, self.knots, self.pieces = float(m[0]), jnp.asarray(g), jnp.asarray(spline.c)
        self.curvature = float(spline.c[1, 0])

    def density(self, g2):
        g = jnp.sqrt(jnp.where(g2 > 0.0, g2, 1.0))
        place = jnp.clip(jnp.searchsorted(self.knots, g, side="right") - 1, 0, len(self.knots) - 2)
        a, b, c, d = self.pieces[:, place]
        x = g - self.knots[place]
        inside = jnp.where(g <= self.knots[-1], d + x * (c + x * (b + x * a)), jnp.nan)
        return jnp.where(g2 > 0.0, inside, self.charge)

    @property
    def at_zero(self):
        return -4.0 * np.pi * self.curvature

    @property
    def farthest(self):
        return float(self.knots[-1])


def _checked(who: str, found: Any) -> Parameters:
    if not isinstance(found, Parameters):
        raise BadInput(f"{who}: give a symbol, or ions.Parameters(valence, r_loc, c, projectors); this is {found!r}.")
    if not found.valence > 0 or not found.r_loc > 0.0 or len(found.c) > 4:
        raise BadInput(f"{who}: valence and r_loc must be positive, and c at most four numbers; they are {found[:3]!r}.")
    for l, (radius, h) in enumerate(found.projectors):
        matrix = np.asarray(h, float)
        if l > 2 or not radius > 0.0 or matrix.shape != (len(matrix),) * 2 or len(matrix) > 3 or np.any(matrix != matrix.T):
            raise BadInput(
                f"{who}: projectors[{l}] must be a positive radius and a symmetric matrix of at most 3 × 3, for l up to 2; "
                f"it is {(radius, h)!r}."
            )
    return found


def _columns(file: Path) -> np.ndarray:
    if not file.is_file():
        raise BadInput(f"Tabulated: there is no file {file}.")
    try:
        rows = np.loadtxt(file, ndmin=2)
    except ValueError as error:
        raise BadInput(f"Tabulated: {file} is no table of numbers: {error}.") from error
    if rows.ndim != 2 or rows.shape[1] != 2 or len(rows) < 4:
        raise BadInput(f"Tabulated: {file} must have two columns, |G| and m(G), and four rows or more; it has {rows.shape}.")
    bad = np.argwhere(~np.isfinite(rows))
    if len(bad):
        raise BadInput(f"Tabulated: {file} holds {rows[tuple(bad[0])]} in row {bad[0][0] + 1} of its numbers.")
    if rows[0, 0] != 0.0 or not np.all(np.diff(rows[:, 0]) > 0.0) or not rows[0, 1] > 0.0:
        raise BadInput(f"Tabulated: in {file} |G| must begin with 0 and grow, and m(0), the charge, must be positive.")
    return rows


def placed(who: str, ions: Any) -> list[tuple[Ion, np.ndarray]]:
    """Ions with their fractional positions, from one ion at the origin or a list. Raises `BadInput`."""
    rows = [(ions, (0.0, 0.0, 0.0))] if isinstance(ions, Ion) else list(ions)
    if not rows:
        raise BadInput(f"{who}: there is no ion. Give one, or a list of (ion, fractional position).")
    found = []
    for k, row in enumerate(rows):
        if not (isinstance(row, tuple | list) and len(row) == 2 and isinstance(row[0], Ion)):
            raise BadInput(f"{who}: ions[{k}] must be a pair (ion, fractional position); it is {row!r}.")
        position = np.asarray(row[1], float)
        if position.shape != (3,) or not np.all(np.isfinite(position)):
            raise BadInput(f"{who}: the position of ions[{k}] must be three finite fractions of the lattice; it is {row[1]!r}.")
        for other, (_, before) in enumerate(found):
            apart = position - before
            if np.linalg.norm(apart - np.round(apart)) < 1e-6:
                raise BadInput(f"{who}: ions[{other}] and ions[{k}] are at the same place {row[1]!r}.")
        found.append((row[0], position))
    return found

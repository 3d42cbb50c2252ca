"""Ions as local charges that attract electrons: m^a of (3.11), never deformed. Those of `KohnSham` may have projectors.

Pseudopotentials of Goedecker, Teter and Hutter have the projectors of S. Goedecker, M. Teter, J. Hutter, Phys. Rev. B 54 (1996)
1703 and C. Hartwigsen, S. Goedecker, J. Hutter, Phys. Rev. B 58 (1998) 3641, transformed by

    ∫ r^{l+2n+2} j_l(qr) e^{−r²/2s²} dr = (π/2)^{1/2} 2ⁿ n! s^{2l+2n+3} q^l L_n^{l+1/2}(q²s²/2) e^{−q²s²/2}.
"""

import functools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fiberax.core.errors import BadInput
from fiberax.physics.solids.electrons import fourier
from fiberax.physics.solids.electrons.gth import Parameters, parameters, read_cp2k
from fiberax.physics.solids.electrons.ion import AbstractChannel, Ion, Matrix
from fiberax.physics.solids.electrons.upf import UPF, is_upf

__all__ = ["GTH", "UPF", "GTHLocal", "Gaussian", "Ion", "Parameters", "Tabulated", "from_file", "parameters", "placed"]

_LDA = ("PADE", "LDA")
_WIDEST = 1.25  # stretch of the wave vectors for which a tabulated ion must be known


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


class Gaussians(AbstractChannel):
    """Projectors p(r) ~ r^{l+2n} e^{−r²/2s²}, n = 0, 1, 2, normalised."""

    l: int = eqx.field(static=True)
    strength: Matrix = eqx.field(static=True)
    radius: float = eqx.field(static=True)

    def radial(self, square):
        return jnp.stack([self._radial(n, square) for n in range(len(self.strength))])

    def _radial(self, n: int, square):
        l, s = self.l, self.radius
        x, a = 0.5 * square * s**2, l + 0.5
        laguerre = (1.0, 1.0 + a - x, 0.5 * (a + 1.0) * (a + 2.0) - (a + 2.0) * x + 0.5 * x**2)[n]
        norm = math.sqrt(2.0) / (s ** (a + 2.0 * n + 1.0) * math.sqrt(math.gamma(a + 2.0 * n + 1.0)))
        integral = math.sqrt(0.5 * math.pi) * 2.0**n * math.factorial(n) * s ** (2.0 * l + 2.0 * n + 3.0)
        return 4.0 * math.pi * norm * integral * laguerre * jnp.exp(-x)


class GTH(GTHLocal):
    """The whole pseudopotential, with its separable part, for `fx.solids.KohnSham`.

    Args:
        symbol: As for `GTHLocal`.
    """

    separable: tuple[Gaussians, ...]

    def __init__(self, symbol: str | Parameters):
        super().__init__(symbol)
        found = parameters(symbol) if isinstance(symbol, str) else symbol
        rows = [(l, float(r), tuple(map(tuple, np.asarray(h, float).tolist()))) for l, (r, h) in enumerate(found.projectors)]
        self.separable = tuple(Gaussians(l, h, r) for l, r, h in rows if h)

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


def from_file(file: str | Path, symbol: str, any_functional: bool = False) -> Ion:
    """A pseudopotential from a file: UPF (version 1 or 2, norm-conserving), or the data base of CP2K (GTH).

    Args:
        file: The file. One of CP2K's may hold many pseudopotentials.
        symbol: The element ("Si"), with its valence electrons ("Ti-q12") or the name in the file ("GTH-PADE-q12") where the
            file holds several of it.
        any_functional: Whether a pseudopotential made for another functional than the local density approximation is taken.

    Returns:
        The ion: a `UPF` or a `GTH`.

    Raises:
        BadInput: The file is missing or damaged, does not have the element, or has a kind or functional that is not supported.
    """
    path = Path(file)
    if not path.is_file():
        raise BadInput(f"There is no file {path} with a pseudopotential for {symbol}.")
    text = path.read_text(encoding="latin-1")
    if is_upf(text):
        return UPF(path, symbol.split("-")[0], any_functional)
    name, found = read_cp2k(text, str(path), symbol)
    kind = name.upper().split("-")
    if not any_functional and not any(word in kind for word in _LDA):
        raise BadInput(
            f"{path}: {name} of {symbol} is made for another functional than the local density approximation, which KohnSham "
            "has. Take one whose name has PADE or LDA, or any_functional=True if you accept the mismatch."
        )
    return GTH(found)


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


def of_atoms(who: str, atoms: Any, pseudopotentials: Any) -> list:
    """Pairs (ion, position), symbols looked up, each once."""
    own = isinstance(pseudopotentials, Mapping)
    if not own and pseudopotentials != "gth-lda" and not Path(str(pseudopotentials)).is_file():
        raise BadInput(
            f"{who}: pseudopotentials={pseudopotentials!r} is not 'gth-lda', nor a file that is there, nor ions or files by "
            "symbol, {'Si': ion}."
        )

    @functools.cache
    def known(symbol: str) -> Ion:
        source = pseudopotentials[symbol] if isinstance(pseudopotentials, Mapping) else pseudopotentials
        if isinstance(source, Ion):
            return source
        return GTH(symbol) if source == "gth-lda" else from_file(source, symbol)

    pairs = [atoms] if isinstance(atoms, tuple) else list(atoms)
    found = []
    for k, pair in enumerate(pairs):
        if not (isinstance(pair, tuple | list) and len(pair) == 2 and isinstance(pair[0], str | Ion)):
            raise BadInput(f"{who}: atoms[{k}] must be a pair (symbol or ion, fractional position); it is {pair!r}.")
        symbol, position = pair
        if isinstance(symbol, str) and own and symbol not in pseudopotentials:
            raise BadInput(f"{who}: atoms[{k}] is {symbol!r}; pseudopotentials has only {', '.join(pseudopotentials)}.")
        found.append((known(symbol) if isinstance(symbol, str) else symbol, position))
    return found


def check_reach(who: str, name: str, ions: tuple[Ion, ...], rows: np.ndarray, shape: tuple[int, int, int]) -> None:
    """Raise `BadInput` where the table of an ion ends before the waves of the grid do."""
    with jax.ensure_compile_time_eval():  # fibers are made inside of jit, too, with ions to differentiate by
        farthest = _WIDEST * float(np.sqrt(np.max(fourier.squares(shape, fourier.metric(rows, jnp.eye(3))))))
    for k, ion in enumerate(ions):
        if ion.farthest < farthest:
            raise BadInput(
                f"{who}: {name}[{k}] is known up to |G| = {ion.farthest:.4g}/bohr; this grid needs {farthest:.4g}, with room "
                "for strain. Give a longer table, or a coarser grid or lower cutoff."
            )

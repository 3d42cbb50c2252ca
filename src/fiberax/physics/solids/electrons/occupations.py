"""Fractional occupations and their entropy; spin is paired, 0 ≤ f ≤ 2.

Fermi and Dirac (N. D. Mermin, Phys. Rev. 137 (1965) A1441); Gaussian (C.-L. Fu, K.-M. Ho, Phys. Rev. B 28 (1983) 5480); cold
(N. Marzari, D. Vanderbilt, A. De Vita, M. C. Payne, Phys. Rev. Lett. 82 (1999) 3296), where f may pass 2 a little.
"""

from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
from jax.scipy.special import erf, xlogy
from jaxtyping import Array, Float

from fiberax.core.errors import BadInput

Kind = Literal["fermi", "gaussian", "cold"]

_HALVINGS = 70
_WIDE = 12.0  # widths beyond all levels in which the Fermi level is sought


class Smearing(NamedTuple):
    """Kind and width (hartree)."""

    kind: Kind
    width: float


def checked_smearing(who: str, given: Any) -> Smearing | None:
    """A smearing from a pair (kind, width). Raises `BadInput`."""
    if given is None:
        return None
    if not (isinstance(given, tuple) and len(given) == 2 and given[0] in get_args(Kind)):
        raise BadInput(f"{who}: smearing={given!r} is not None, ('fermi', kT), ('gaussian', s) or ('cold', s).")
    if not 1e-5 <= float(given[1]) <= 1.0:
        raise BadInput(f"{who}: the width of smearing must lie between 1e-5 and 1 hartree; it is {given[1]!r}.")
    return Smearing(given[0], float(given[1]))


def filling(kind: Kind, x: Float[Array, "..."]) -> Float[Array, "..."]:
    """F at x = (μ − ε)/s."""
    if kind == "fermi":
        return 2.0 * jax.nn.sigmoid(x)
    if kind == "gaussian":
        return 1.0 + erf(x)
    y = x - 0.5**0.5
    return 1.0 + erf(y) + (2.0 / jnp.pi) ** 0.5 * jnp.exp(-(y**2))


def heat(kind: Kind, x: Float[Array, "..."]) -> Float[Array, "..."]:
    """−T S of a level in widths."""
    if kind == "fermi":
        n = jax.nn.sigmoid(x)
        return 2.0 * (xlogy(n, n) + xlogy(1.0 - n, 1.0 - n))
    if kind == "gaussian":
        return -jnp.exp(-(x**2)) / jnp.pi**0.5
    y = x - 0.5**0.5
    return (2.0 / jnp.pi) ** 0.5 * y * jnp.exp(-(y**2))


def occupied(smearing: Smearing, levels: Float[Array, "k bands"], weights: Float[Array, " k"], electrons: float) -> Any:
    """Occupations (k, bands), −T S per cell and the Fermi level (hartree) of levels ε."""
    kind, width = smearing

    def halve(_, ends):
        low, high = ends
        middle = 0.5 * (low + high)
        few = jnp.sum(weights[:, None] * filling(kind, (middle - levels) / width)) < electrons
        return jnp.where(few, middle, low), jnp.where(few, high, middle)

    ends = jnp.min(levels) - _WIDE * width, jnp.max(levels) + _WIDE * width
    low, high = jax.lax.fori_loop(0, _HALVINGS, halve, ends)
    x = (0.5 * (low + high) - levels) / width
    return filling(kind, x), width * jnp.sum(weights[:, None] * heat(kind, x)), 0.5 * (low + high)

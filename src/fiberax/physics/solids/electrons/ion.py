"""What an ion is to the electrons: a local charge, and the radial functions of a separable potential."""

import abc
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Matrix = tuple[tuple[float, ...], ...]


class AbstractChannel(eqx.Module):
    """The part of a separable potential for one l: Σ_m Σ_ij |p_i Y_lm⟩ h_ij ⟨p_j Y_lm|."""

    l: eqx.AbstractVar[int]
    strength: eqx.AbstractVar[Matrix]  # h, hartree

    @abc.abstractmethod
    def radial(self, square: Float[Array, "..."]) -> Float[Array, "n ..."]:
        """4π ∫ r² j_l(qr) p_i(r) dr / q^l of all p_i, at q² = `square` (1/bohr²)."""


class Ion(eqx.Module):
    """A local ion of charge `charge` (electrons), with or without a separable potential.

    An ion is given by the Fourier transform m(|G|) of its charge density, m(0) = Z; the potential of one electron in it is
    v(|G|) = −4π m(|G|)/|G|². What is left of v at G = 0 without the Coulomb tail, lim (v + 4πZ/|G|²), is `at_zero`.
    """

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

    def core(self, g2: Float[Array, "..."]) -> Float[Array, "..."] | None:
        """Fourier transform of the density of core electrons that exchange and correlation see as well; None for none."""
        return None

    @property
    def projectors(self) -> tuple[AbstractChannel, ...]:
        """Parts of a separable potential; none for a charge."""
        return ()


class Spline(eqx.Module):
    """Even functions of q from a table at equal steps: cubic splines that are level at 0, and NaN beyond the table.

    Args:
        step: Of the table, 1/bohr.
        values: (n, points) from q = 0 on.
    """

    step: float = eqx.field(static=True)
    pieces: Float[Array, "4 points n"]

    def __init__(self, step: float, values: np.ndarray):
        from scipy.interpolate import CubicSpline

        at = step * np.arange(values.shape[-1])
        spline = CubicSpline(at, values, axis=-1, bc_type=((1, np.zeros(len(values))), (2, np.zeros(len(values)))))
        self.step, self.pieces = step, jnp.asarray(spline.c)

    @property
    def farthest(self) -> float:
        """The end of the table, 1/bohr."""
        return self.step * self.pieces.shape[1]

    def __call__(self, square: Float[Array, "..."]) -> Float[Array, "n ..."]:
        """Values (n, ...) at q² = `square`."""
        q = jnp.sqrt(jnp.where(square > 0.0, square, 1.0))
        place = jnp.clip((q / self.step).astype(int), 0, self.pieces.shape[1] - 1)
        a, b, c, d = jnp.moveaxis(self.pieces[:, place], -1, 1)
        x = q - self.step * place
        inside = jnp.where(q <= self.farthest, d + x * (c + x * (b + x * a)), jnp.nan)
        first = self.pieces[3, 0].reshape((-1,) + (1,) * square.ndim)
        return jnp.where(square > 0.0, inside, first)


def kinds(items: Sequence[Any]) -> list[list[int]]:
    """Places of items that are the same, parameters included: what they have in common is computed once."""
    found: list[list[int]] = []
    for k, item in enumerate(items):
        group = next((g for g in found if _same(items[g[0]], item)), None)
        if group is None:
            found.append([k])
        else:
            group.append(k)
    return found


def _same(a: Any, b: Any) -> bool:
    """Whether two trees are alike and their leaves the same objects or numbers."""
    (first, one), (second, other) = jax.tree.flatten(a), jax.tree.flatten(b)
    number = lambda x: isinstance(x, int | float)
    return one == other and all(x is y or (number(x) and number(y) and x == y) for x, y in zip(first, second))

"""Pair potentials of molecules: φ(r) cut off at r_c and shifted to φ(r_c) = 0, each pair counted once.

Forces, stress and energy come from this one function: the force is −φ' inside of r_c and nothing beyond, without corrections
for what is cut off. Lengths, energies and masses are in units of σ, ε and m, so that times are in τ = σ √(m/ε).
"""

import abc
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fiberax.core.errors import BadInput


class AbstractPair(eqx.Module):
    """A potential of distances alone. One of your own is a class with `cutoff` and `phi`, or `Pair(function, cutoff)`."""

    cutoff: eqx.AbstractVar[float]

    @abc.abstractmethod
    def phi(self, r: Float[Array, "*any"]) -> Float[Array, "*any"]:
        """The energy of a pair at the distance r > 0 before it is cut off, elementwise."""

    def slope(self, square: Float[Array, "*any"]) -> Float[Array, "*any"]:
        """−φ'(r)/r at r² = `square`: the force on i is this times r_i − r_j."""
        r = jnp.sqrt(square)
        return -jax.jvp(self.phi, (r,), (jnp.ones_like(r),))[1] / r

    def factor(self, square: Float[Array, "*any"]) -> Float[Array, "*any"]:
        """`slope` inside of the cutoff, zero beyond."""
        inside = square < self.cutoff**2
        return jnp.where(inside, self.slope(jnp.minimum(square, self.cutoff**2)), 0.0)

    def energy(self, square: Float[Array, "*any"]) -> Float[Array, "*any"]:
        """φ(r) − φ(r_c) inside of the cutoff, zero beyond."""
        end = jnp.asarray(self.cutoff, square.dtype)
        return self.phi(jnp.sqrt(jnp.minimum(square, end**2))) - self.phi(end)


class LennardJones(AbstractPair):
    """φ = 4 (r⁻¹² − r⁻⁶).

    Args:
        cutoff: r_c.

    Raises:
        BadInput: The cutoff is not a positive number.
    """

    cutoff: float = eqx.field(static=True, default=2.5)

    def __check_init__(self):
        _check("LennardJones", self.cutoff)

    def phi(self, r):
        return _phi(r)

    def slope(self, square):
        return _slope(square)


class WCA(AbstractPair):
    """The repulsion of Weeks, Chandler and Andersen: Lennard-Jones cut off in its minimum, 2^(1/6), and shifted by ε.

    See J. Chem. Phys. 54 (1971) 5237.
    """

    cutoff: float = eqx.field(static=True)

    def __init__(self):
        self.cutoff = 2.0 ** (1.0 / 6.0)

    def phi(self, r):
        return _phi(r)

    def slope(self, square):
        return _slope(square)


class Pair(AbstractPair):
    """A potential of your own.

    Args:
        function: φ(r), elementwise in JAX operations.
        cutoff: r_c.

    Raises:
        BadInput: `function` cannot be called, or the cutoff is not a positive number.
    """

    function: Callable
    cutoff: float = eqx.field(static=True)

    def __check_init__(self):
        if not callable(self.function):
            raise BadInput(f"Pair: function must be a function φ(r) of the distance; it is {self.function!r}.")
        _check("Pair", self.cutoff)

    def phi(self, r):
        return self.function(r)


def _phi(r):
    sixth = r**-6
    return 4.0 * sixth * (sixth - 1.0)


def _slope(square):
    """−φ'/r of Lennard-Jones, without roots."""
    inverse = 1.0 / square
    sixth = inverse * inverse * inverse
    return 24.0 * sixth * (2.0 * sixth - 1.0) * inverse


def _check(who: str, cutoff) -> None:
    if not isinstance(cutoff, int | float) or not 0.0 < cutoff < float("inf"):
        raise BadInput(
            f"{who}: cutoff={cutoff!r} must be a positive length, a Python number; neighbour lists are made with it."
        )

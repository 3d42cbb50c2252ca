"""The functions h_k(s) = f_k(r)/r^rank of the squared distance s = r², and their derivatives by s; see `moments`."""

import jax
import jax.numpy as jnp

from fiberax.physics.solids.potentials.base import AbstractMomentPotential


def by_square(potential: AbstractMomentPotential, centre: str, name: str, s, order: int) -> tuple[tuple, tuple, tuple]:
    """h_k(s), and its first and second derivatives as far as `order` asks.

    The functions of the distance are differentiated by it. The powers of s come afterwards, of one root and one division:
    differentiated with them they would take as long as the exponentials. None for moments without a part of such neighbours.
    """
    r = jnp.sqrt(s)
    inverse = 1.0 / s
    slope = lambda r: jax.jvp(lambda r: potential.radial(centre, name, r), (r,), (jnp.ones_like(r),))
    value, first = slope(r) if order == 1 else ((), ())
    second: tuple = (None,) * len(potential.ranks)
    if order != 1:
        (value, first), (_, second) = jax.jvp(slope, (r,), (jnp.ones_like(r),))
    parts = zip(potential.ranks, value, first, second, strict=True)
    found = [(None,) * 3 if at[1] is None else _in_squares(*at, r, inverse) for at in parts]
    h, h1, h2 = zip(*found, strict=True)
    return h, h1, () if order == 1 else h2


def _in_squares(rank: int, f, f1, f2, r, inverse):
    """The function h = f r^(−rank) and its derivatives by s = r², from those of f by r; `inverse`: 1/s."""
    power = (1.0, r * inverse, inverse)[rank]
    slope = 0.5 * f1 * (r * inverse)  # df/ds
    p = 0.5 * rank
    h, h1 = f * power, (slope - p * inverse * f if rank else slope) * power
    if f2 is None:
        return h, h1, None
    bend = (0.25 * f2 - 0.5 * slope) * inverse  # d²f/ds²
    return h, h1, (bend - inverse * (2.0 * p * slope - p * (p + 1.0) * inverse * f) if rank else bend) * power

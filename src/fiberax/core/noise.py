"""All noise of the library: unit variance, by name, from one key (sections 5 and 6 of the paper).

The field folds step, stage and global site into the key of an evaluation; shared noise leaves the site out. The members of a
fiber (replicas, configuration fields) are the entries of one draw. Noise does not depend on chunks or devices.

`gaussian`: normal numbers. `three-point`: ±√3 with probability 1/6 each, else 0. Its moments are Gaussian up to the fifth,
which is enough for weak order 2 (Kloeden and Platen, Numerical Solution of SDEs, 1992, section 14.1). It takes base-6 digits
of random words, 8 from each: the probabilities of the last are off by at most 6⁸/2³² = 4e-4 of themselves.
"""

import math
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from fiberax.core.errors import BadInput

Noise = Literal["gaussian", "three-point"]
_DIGITS = 8  # of base 6 from one word of 32 bits


def draw(key: PRNGKeyArray, shape: tuple[int, ...], noise: Noise = "gaussian", dtype: Any = None) -> Float[Array, "*shape"]:
    """Independent random numbers of mean 0 and variance 1.

    Args:
        key: A key of jax.random.
        shape: Shape of the result.
        noise: "gaussian" or "three-point" (enough for weak order 2).
        dtype: A floating-point type; None for the default of jax.

    Returns:
        An array of `shape`.

    Raises:
        BadInput: An unknown kind of noise.
    """
    dtype = jnp.result_type(float) if dtype is None else dtype
    check_noise("draw", noise)
    if noise == "gaussian":
        return jax.random.normal(key, shape, dtype)
    count = math.prod(shape)
    words = -(-count // _DIGITS)
    left = jax.random.bits(key, (words,), jnp.uint32)
    rows = []
    for _ in range(_DIGITS):
        rest = left // jnp.uint32(6)
        digit = left - jnp.uint32(6) * rest
        rows.append(jnp.where(digit == 0, -(3.0**0.5), jnp.where(digit == 5, 3.0**0.5, 0.0)).astype(dtype))
        left = rest
    return jnp.concatenate(rows)[:count].reshape(shape)


def check_noise(who: str, noise: Any) -> None:
    """Raise `BadInput` for a kind of noise that is unknown."""
    if noise not in get_args(Noise):
        raise BadInput(f"{who}: noise={noise!r} is not one of {', '.join(map(repr, get_args(Noise)))}.")

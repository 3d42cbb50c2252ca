"""Checks of the installation when the library first computes: the version of jax, and double precision."""

import functools
import warnings

import jax.numpy as jnp

from fiberax.core.errors import BadInput
from fiberax.numerics.versions import UnsoundJax, require_sound_jax

SINGLE_LIMIT = 1e-5


class SinglePrecisionWarning(UserWarning):
    """Double precision is off, so the library computes in single precision."""


def check_platform() -> None:
    """Refuse a jax that gives wrong numbers, and warn once that double precision is off. Every entry point calls this.

    Warns with `SinglePrecisionWarning`: fibers, constructors and runs use the precision of jax; solves refuse a tolerance that
    it cannot reach (`need_double`). Raises `BadInput` for a version of jax that is known to be wrong, or that
    fails the canary.
    """
    try:
        require_sound_jax()
    except UnsoundJax as error:
        raise BadInput(str(error)) from error
    if jnp.zeros(()).dtype != jnp.float64:
        _say_single()


@functools.cache
def _say_single() -> None:
    warnings.warn(
        "jax computes in single precision: states, parameters and results have about seven digits. Call "
        "jax.config.update('jax_enable_x64', True) before anything else for double precision.",
        SinglePrecisionWarning,
        stacklevel=4,
    )


def in_single() -> str:
    """What to add to a message on a solve that did not converge: that double precision is off, or nothing."""
    if jnp.zeros(()).dtype == jnp.float64:
        return ""
    return (
        " Double precision is off, and in single precision a tight tolerance may be out of reach: call "
        "jax.config.update('jax_enable_x64', True) before anything else."
    )


def need_double(what: str, tolerance: float) -> None:
    """Raise `BadInput` where a relative `tolerance` cannot be met in single precision."""
    if tolerance < SINGLE_LIMIT and jnp.zeros(()).dtype != jnp.float64:
        raise BadInput(
            f"{what}: a relative tolerance of {tolerance:g} needs double precision, and it is off. "
            f"Call jax.config.update('jax_enable_x64', True) first, or ask for a tolerance of {SINGLE_LIMIT:g} or more."
        )

"""Double precision is the user's switch; what needs it says so."""

import jax.numpy as jnp

from fiberax.core.errors import BadInput

SINGLE_LIMIT = 1e-5


def need_double(what: str, tolerance: float) -> None:
    """Raise `BadInput` where a relative `tolerance` cannot be met in single precision."""
    if tolerance < SINGLE_LIMIT and jnp.zeros(()).dtype != jnp.float64:
        raise BadInput(
            f"{what}: a relative tolerance of {tolerance:g} needs double precision, and it is off. "
            f"Call jax.config.update('jax_enable_x64', True) first, or ask for a tolerance of {SINGLE_LIMIT:g} or more."
        )

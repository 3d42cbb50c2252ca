"""Keys of jax.random as users give them."""

from typing import Any

import jax
import jax.numpy as jnp

from fiberax.core.errors import BadInput


def typed_key(who: str, key: Any) -> jax.Array:
    """A typed key from a typed or raw one; key 0 for None. Raises `BadInput`; the message begins with `who`."""
    if key is None:
        return jax.random.key(0)
    raw = not jnp.issubdtype(jnp.asarray(key).dtype, jax.dtypes.prng_key)
    if raw and (jnp.shape(key) != (2,) or jnp.asarray(key).dtype != jnp.uint32):
        raise BadInput(f"{who}: key must be a key of jax.random, such as jax.random.key(0); it is {key!r}.")
    return jax.random.wrap_key_data(key) if raw else key

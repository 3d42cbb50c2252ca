"""Averages over the members of an ensemble: their errors, and a second ensemble at rest as control variate.

With f⊗z = I known at rest, ⟨f⊗z⟩ is I + ⟨f⊗z − f₀⊗z₀⟩, z₀ being driven by the noise of z without the flow (parallel process
simulation; Öttinger, van den Brule and Hulsen, J. Non-Newton. Fluid Mech. 70, 255, 1997).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


class Controlled(NamedTuple):
    """State of an ensemble with a control.

    Args:
        members: Those in the flow, (dim, ..., members).
        rest: As many without a flow, driven by the same noise, of the same shape.
    """

    members: Float[Array, "..."]
    rest: Float[Array, "..."]


def moving(state) -> Float[Array | np.ndarray, "..."]:
    """The members in the flow, with or without others at rest."""
    return state.members if isinstance(state, Controlled) else state


def standard_errors(term: Callable, dim: int, members: int) -> Float[Array, "dim dim"] | None:
    """Standard errors of the means of `term(i, j)` (members,) over members; None for a single one."""
    if members == 1:
        return None
    error = lambda x: (jnp.std(x, ddof=1) / members**0.5).astype(jnp.result_type(float))
    return jnp.stack([jnp.stack([error(term(i, j)) for j in range(dim)]) for i in range(dim)])


def not_beyond(state: Float[Array, "dim ..."], safe: Float[Array, "dim ..."], limit) -> Float[Array, "dim ..."]:
    """`state` where |z|² is below `limit` by at least half of what `safe` is, else `safe`: forces are singular at `limit`."""
    square = lambda z: jnp.sum(z * z, axis=0)
    return jnp.where(square(state) <= 0.5 * (limit + square(safe)), state, safe)

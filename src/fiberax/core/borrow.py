"""Sites that fail before they have given a response use that of the nearest site that has one."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fiberax.core.driver import Section
from fiberax.core.sites import Sites
from fiberax.numerics.result import Result


def borrowed(sites: Sites, positions: np.ndarray | None, section: Section) -> Section:
    """The section with such responses filled in. Outcomes keep the reason of the failure.

    `positions` (sites, dim); None measures distance by site numbers. Where no site has a response of its own nothing changes.
    """
    # Positions that are a field of the model are traced here.
    place = np.arange(sites.count)[:, None] if positions is None else jnp.asarray(positions)
    failed, own = section.outcome.result != 0, section.own
    needy = failed & ~own

    def fill(section: Section) -> Section:
        response, lacking, have = sites.trim((section.response, needy, own))
        there = jnp.asarray(place)

        def body(carry):
            response, left = carry
            row = jnp.argmax(left)
            square = jnp.sum((there - there[row]) ** 2, axis=1)
            nearest = jnp.argmin(jnp.where(have, square, jnp.inf))
            return jax.tree.map(lambda x: x.at[row].set(x[nearest]), response), left.at[row].set(False)

        response, _ = jax.lax.while_loop(lambda c: jnp.any(c[1]), body, (response, lacking & jnp.any(have)))
        return section._replace(response=sites.pad(response))

    return jax.lax.cond(jnp.any(needy), fill, lambda section: section, section)


def marked(result: jax.Array, own: jax.Array) -> jax.Array:
    """Result codes with `Result.BORROWED` where a failed site never had a response of its own."""
    return jnp.where((result != 0) & ~own, jnp.int32(Result.BORROWED), result)


def count_failures(result: Any) -> jax.Array:
    """How many of the codes (sites,) are failures."""
    return jnp.sum(result != 0, dtype=jnp.int32)

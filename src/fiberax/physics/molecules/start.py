"""Boxes to begin with: a lattice that is filled along a path, molten by the fiber's own steps."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from fiberax.core.fiber import AbstractDynamic


def packed(particles: int) -> np.ndarray:
    """Scaled coordinates (3, particles) on a cubic lattice, along a path on which each is the neighbour of the one before."""
    edge = int(np.ceil(particles ** (1.0 / 3.0) - 1e-9))
    k = np.arange(edge**3)
    z, y, x = k // edge**2, k // edge % edge, k % edge
    # Every other row runs backwards, and every other layer.
    y = np.where(z % 2 == 0, y, edge - 1 - y)
    x = np.where((k // edge) % 2 == 0, x, edge - 1 - x)
    return (np.stack([x, y, z])[:, :particles] + 0.5) / edge


@eqx.filter_jit
def melted(fiber: AbstractDynamic, duration: Float[Array, ""], dt: Float[Array, ""], key: PRNGKeyArray) -> Any:
    """The state of the fiber at rest after `duration`, in steps `dt`, from its own start."""
    rest = jnp.zeros((3, 3))
    begin, run = jax.random.split(key)
    steps = jnp.ceil(duration / dt).astype(jnp.int32)
    step = lambda k, state: fiber.step(state, rest, dt, jax.random.fold_in(run, k))
    return jax.lax.fori_loop(0, steps, step, fiber.init(rest, begin))

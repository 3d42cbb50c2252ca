"""Nonlinear conjugate gradients with steps from exact second derivatives: what they share on the sphere and on frames.

A direction is the preconditioned descent plus a share of the last one, never negative (Polak, Ribière, Rev. Fr. Inform. Rech.
Opér. 16 (1969) 35). The step comes from slope and curvature, bounded where the energy is not convex. A step that raises the
energy is taken back; the next ones are plain descent, each a quarter of the one before, until one is good.
"""

from typing import Any

import jax
import jax.numpy as jnp

from fiberax.numerics.result import Result

_SHARP = 1e-11  # energies are known to their last digits only


def verdict(norm, energy, step, shorter, tolerance, most: int, shortest: float):
    """A result code, or −1 to go on: after `most` steps, or `shorter` below `shortest`, there is no more to be had."""
    code = jnp.where(step >= most, jnp.int32(Result.MAX_STEPS), jnp.int32(-1))
    code = jnp.where(shorter < shortest, jnp.int32(Result.STALLED), code)
    code = jnp.where(norm <= tolerance, jnp.int32(Result.SUCCESS), code)
    finite = jnp.isfinite(norm) & jnp.isfinite(energy)
    return jnp.where(finite, code, jnp.int32(Result.NONFINITE))


def share_of_the_last(overlap, product, step, shorter, careful):
    """How much of the last direction to add: −⟨residual − residual before, down⟩ / ⟨residual, −down⟩ before.

    Args:
        overlap: ⟨residual − residual before, down⟩.
        product: −⟨residual, down⟩ one step before.
        step: Steps so far; the first has no direction before it.
        shorter: 1, or less after a step that was taken back.
        careful: Below 1 for plain descent.
    """
    conjugate = (step > 0) & (shorter == 1.0) & (careful == 1.0)
    return jnp.where(conjugate, jnp.maximum(0.0, -overlap / product), 0.0)


def length(slope, curve, widest, shorter):
    """Where a parabola of this slope and curvature is lowest, at most `widest`, times `shorter`."""
    step = jnp.where(curve > 0.0, -slope / jnp.where(curve > 0.0, curve, 1.0), widest)
    return jnp.minimum(step, widest) * shorter


def kept(new: Any, old: Any, expected, shorter, noise: Any = 0.0) -> tuple[Any, Any]:
    """The new point where its energy is not higher, or `expected` to fall by less than round-off; else the old one.

    And what the next step is shortened by.
    """
    good = (new.energy <= old.energy) | (expected < _SHARP * jnp.abs(old.energy) + noise)
    point = jax.tree.map(lambda a, b: jnp.where(good, a, b), new, old)
    return point, jnp.where(good, 1.0, 0.25 * shorter)

"""Solids under uniaxial strain as one-dimensional fibers: what a plane wave sees of a crystal.

A longitudinal plane wave in the direction n strains every cell by A = ε n ⊗ n; neighbouring cells hold it in place.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fiberax.core.bundle import check_site
from fiberax.core.errors import BadInput
from fiberax.core.fiber import AbstractEnergy
from fiberax.core.wrapper import AbstractMapped, Mapped


class _Strained(eqx.Module):
    """ε ↦ ε n ⊗ n."""

    direction: Float[Array, " d"]

    def __call__(self, strain):
        return strain * jnp.outer(self.direction, self.direction)


class _Along(eqx.Module):
    """T ↦ n · T n."""

    direction: Float[Array, " d"]

    def __call__(self, tensor):
        return tensor @ self.direction @ self.direction


def uniaxial(crystal: AbstractEnergy, direction: Any = None) -> AbstractMapped:
    """An energy fiber with a (d, d) condition, held at A = ε n ⊗ n: condition ε, response n · P n, both numbers.

    Args:
        crystal: Any energy fiber whose condition is a displacement gradient (d, d), such as those of `fx.solids`.
        direction: n (d,), of any length but zero, in the frame of the crystal; the first axis by default.

    Together with `fx.solids.Wave` it makes a longitudinal plane wave, which a crystal carries where n is a direction of pure
    longitudinal waves, as its axes of symmetry are. Transverse stresses do no work. State, stability margin and all else that
    the crystal can do are those of the crystal.

    Returns:
        An energy fiber with the condition ε, without unit, and the response n · P n, in the crystal's unit of stress.

    Raises:
        BadInput: A fiber that is no energy, a condition of another kind, or a direction that does not fit.
    """
    if not isinstance(crystal, AbstractEnergy):
        raise BadInput(f"uniaxial: an energy fiber is needed; this is a {type(crystal).__name__}.")
    d = _dimension(crystal, direction)
    given = np.eye(d)[0] if direction is None else np.asarray(direction, float)
    if given.shape != (d,) or not np.all(np.isfinite(given)) or not np.any(given):
        raise BadInput(f"uniaxial: direction must be {d} numbers, not all zero; it is {given.tolist()}.")
    n = jnp.asarray(given / np.linalg.norm(given))
    return Mapped(crystal, condition=_Strained(n), response=_Along(n))


def _dimension(crystal: AbstractEnergy, direction: Any) -> int:
    """The d for which the fiber takes a condition (d, d) and answers with a tensor like it."""
    fitting = []
    for d in (2, 3):
        like = jax.ShapeDtypeStruct((d, d), jnp.result_type(float))
        try:
            _, response = check_site(crystal, None, like)
        except BadInput:
            continue
        if jax.tree.structure(response) == jax.tree.structure(like) and response.shape == (d, d):
            fitting.append(d)
    if direction is not None and np.size(direction) in fitting:
        return int(np.size(direction))
    if len(fitting) != 1:
        kind = type(crystal).__name__
        text = "takes (2, 2) and (3, 3): give a direction" if fitting else "does not answer a displacement gradient"
        raise BadInput(f"uniaxial: the condition must be a displacement gradient (d, d), d = 2 or 3; {kind} {text}.")
    return fitting[0]

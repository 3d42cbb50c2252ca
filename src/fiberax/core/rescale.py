"""Units: macro model and fiber keep their own, and are converted here (section 7 of the paper)."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from fiberax.core.errors import BadInput
from fiberax.core.fiber import AbstractFiber
from fiberax.core.wrapper import Mapped
from fiberax.numerics import trees


class _Scale(eqx.Module):
    """`factor` times a tree; `factor` is a number or a tree like it."""

    factor: Any

    def __call__(self, tree):
        if jax.tree.structure(self.factor) == jax.tree.structure(tree):
            return jax.tree.map(lambda f, x: f * x, self.factor, tree)
        return jax.tree.map(lambda x: self.factor * x, tree)


def rescale(fiber: AbstractFiber, condition: Any = 1.0, response: Any = 1.0, time: Any = 1.0) -> AbstractFiber:
    """The fiber in the units of the macro model. A link of the bundle sees the fiber in its own units.

    Args:
        fiber: Any fiber.
        condition: Micro value of one macro unit of the condition (micro = factor × macro), a number or a tree like it.
        response: Macro value of one micro unit of the response, a number or a tree like it.
        time: Fiber time that passes in one macro unit of time.

    Returns:
        A fiber of the same kind, with the same capabilities and states. Energies stay in the fiber's units.

    Raises:
        BadInput: A time factor that is not positive, or another factor that is not finite or zero.
        Mismatch: A fiber with a capability that `fiberax.core.wrapper` does not list.
    """
    if not trees.is_tracer(time) and not float(time) > 0.0:
        raise BadInput(f"rescale: time must be a positive number of fiber time units per macro time unit; it is {time}.")
    condition, response = jax.tree.map(jnp.asarray, (condition, response))
    for name, factor in (("condition", condition), ("response", response)):
        for leaf in jax.tree.leaves(factor):
            if not trees.is_tracer(leaf) and not np.all(np.isfinite(np.asarray(leaf)) & (np.asarray(leaf) != 0)):
                raise BadInput(f"rescale: the factor of the {name} must be finite and not zero; it is {leaf}.")
    # Factors of one are left out: the program, and with it every digit, is that of the fiber.
    inside, outside = (None if _is_one(factor) else _Scale(factor) for factor in (condition, response))
    return Mapped(fiber, inside, outside, None if _is_one(time) else time)


def _is_one(factor: Any) -> bool:
    return all(not trees.is_tracer(x) and bool(np.all(np.asarray(x) == 1.0)) for x in jax.tree.leaves(factor))

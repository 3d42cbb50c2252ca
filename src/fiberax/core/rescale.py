"""Units: macro model and fiber keep their own, and are converted here (section 7 of the paper)."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from fiberax.core.errors import BadInput
from fiberax.core.fiber import AbstractFiber
from fiberax.core.wrapper import Mapped, has_energy
from fiberax.numerics import trees


class _Scale(eqx.Module):
    """`factor` times a tree; `factor` is a number or a tree like it."""

    factor: Any

    def __call__(self, tree):
        if jax.tree.structure(self.factor) == jax.tree.structure(tree):
            return jax.tree.map(lambda f, x: f * x, self.factor, tree)
        return jax.tree.map(lambda x: self.factor * x, tree)


def rescale(
    fiber: AbstractFiber, condition: Any = 1.0, response: Any = 1.0, time: Any = 1.0, energy: Any = None
) -> AbstractFiber:
    """The fiber in the units of the macro model. A link of the bundle sees the fiber in its own units.

    The response of an energy fiber is the derivative of its energy by its condition. So that it stays that, energies are
    multiplied by |response/condition|.

    Args:
        fiber: Any fiber.
        condition: Micro value of one macro unit of the condition (micro = factor × macro), a number or a tree like it.
        response: Macro value of one micro unit of the response, a number or a tree like it.
        time: Fiber time that passes in one macro unit of time.
        energy: Macro value of one micro unit of energy, positive; None for |response/condition|. To be given where that is
            not one number, and for fibers whose response is no derivative of their energy.

    Returns:
        A fiber of the same kind, with the same capabilities and states.

    Raises:
        BadInput: A factor of time or energy that is not positive, or another factor that is not finite or zero; an energy
            whose factor has to be given; a factor of the energy of a fiber without one.
        Mismatch: A fiber with a capability that `fiberax.core.wrapper` does not list.
    """
    if not trees.is_tracer(time) and not float(time) > 0.0:
        raise BadInput(f"rescale: time must be a positive number of fiber time units per macro time unit; it is {time}.")
    condition, response = jax.tree.map(jnp.asarray, (condition, response))
    for name, factor in (("condition", condition), ("response", response)):
        for leaf in jax.tree.leaves(factor):
            if not trees.is_tracer(leaf) and not np.all(np.isfinite(np.asarray(leaf)) & (np.asarray(leaf) != 0)):
                raise BadInput(f"rescale: the factor of the {name} must be finite and not zero; it is {leaf}.")
    if energy is not None and not has_energy(fiber):
        raise BadInput(f"rescale: energy without effect: {type(fiber).__name__} has no energy. Leave it out.")
    if energy is None and has_energy(fiber):
        energy = _conjugate(fiber, condition, response)
    elif energy is not None and not trees.is_tracer(energy) and not 0.0 < float(energy) < float("inf"):
        raise BadInput(f"rescale: energy must be a positive number of macro units per micro unit; it is {energy}.")
    # Factors of one are left out: the program, and with it every digit, is that of the fiber.
    inside, outside = (None if _is_one(factor) else _Scale(factor) for factor in (condition, response))
    numbers = (None if factor is None or _is_one(factor) else factor for factor in (time, energy))
    return Mapped(fiber, inside, outside, next(numbers), energy=next(numbers))


def _conjugate(fiber: AbstractFiber, condition: Any, response: Any) -> Any:
    """|response/condition|, the factor of the energy whose derivative the rescaled response is."""
    numbers = [jax.tree.leaves(factor) for factor in (response, condition)]
    one = jax.tree.structure(0)
    if one not in (jax.tree.structure(condition), jax.tree.structure(response)):
        pairs = list(zip(*numbers, strict=False)) if len(numbers[0]) == len(numbers[1]) else []
    else:
        pairs = [(r, c) for r in numbers[0] for c in numbers[1]]
    ratios = [jnp.abs(r / c) for r, c in pairs]
    if len(ratios) == 1 and ratios[0].ndim == 0:
        return ratios[0]
    known = not any(map(trees.is_tracer, ratios))
    values = np.concatenate([np.ravel(x) for x in ratios]) if ratios and known else np.asarray([])
    if values.size and np.allclose(values, values[0], rtol=1e-12, atol=0.0):
        return jnp.asarray(values[0])
    raise BadInput(
        f"rescale: response/condition is not one number, so the response of {type(fiber).__name__} would not be the derivative "
        "of its energy. Give energy=, the macro value of one micro unit of energy (energy=1.0: energies stay as they are)."
    )


def _is_one(factor: Any) -> bool:
    return all(not trees.is_tracer(x) and bool(np.all(np.asarray(x) == 1.0)) for x in jax.tree.leaves(factor))

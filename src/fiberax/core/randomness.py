"""Whether a fiber draws anything from its key."""

import warnings
from typing import Any

import jax
import jax.numpy as jnp

from fiberax.core.fiber import AbstractDynamic, AbstractFiber


class NoEffectWarning(UserWarning):
    """Something was handed in that changes nothing."""


def warn_unused_key(who: str, fiber: AbstractFiber, condition: Any, key: Any) -> None:
    """Warn with `NoEffectWarning` where a `key` is given and the fiber draws nothing; `condition`: shapes of one site.

    A warning, since a program for fibers of several kinds may hand its key to all of them.
    """
    if key is not None and not is_random(fiber, condition):
        text = f"{who}: key without effect: {type(fiber).__name__} draws no noise, in init or in its steps. Leave it out."
        warnings.warn(text, NoEffectWarning, stacklevel=4)


def is_random(fiber: AbstractFiber, condition: Any) -> bool:
    """Whether `init` or `step` reads its key, found by tracing on shapes; `condition` is a tree of shapes of one site."""
    key = jax.eval_shape(lambda: jax.random.key(0))
    state = jax.eval_shape(fiber.init, condition, key)
    if _reads_first(lambda key, condition: fiber.init(condition, key), key, condition):
        return True
    if not isinstance(fiber, AbstractDynamic):
        return False
    time = jax.ShapeDtypeStruct((), jnp.result_type(float))
    return _reads_first(lambda key, state, condition, dt: fiber.step(state, condition, dt, key), key, state, condition, time)


def _reads_first(function, key, *rest) -> bool:
    """Whether the program of `function` uses its first argument, a key."""
    program = jax.make_jaxpr(function)(key, *rest).jaxpr
    first = program.invars[0]
    return any(x is first for equation in program.eqns for x in equation.invars) or any(x is first for x in program.outvars)

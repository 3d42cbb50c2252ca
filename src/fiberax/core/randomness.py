"""Whether a fiber draws anything from its key."""

from typing import Any

import jax
import jax.numpy as jnp

from fiberax.core.fiber import AbstractDynamic, AbstractFiber


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

"""Whether a computation is being traced or differentiated by JAX."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from fiberax.core.bundle import Bundle
from fiberax.core.driver import AbstractDriver
from fiberax.core.fiber import AbstractDynamic, AbstractEnergy, AbstractFiber, AbstractFlow, AbstractMemory
from fiberax.core.link import apply_link
from fiberax.numerics import trees


def _holds_tracer(tree: Any) -> bool:
    return any(trees.is_tracer(leaf) for leaf in jax.tree.leaves(tree))


def is_traced(bundle: Bundle, driver: AbstractDriver, macro0: Any, key) -> bool:
    """True where a tracer is in the arguments or in the closures of user functions."""
    if _holds_tracer((bundle, driver, macro0, key)):
        return True

    def probe(macro):
        conditions = bundle.macro.conditions(macro)
        one = jax.tree.map(lambda x: x[0], conditions)
        state = bundle.fiber.init(one, jax.random.key(0))
        response = apply_link(bundle.link, bundle.fiber, state, one)
        count = jax.tree.leaves(conditions)[0].shape[0]
        many = jax.tree.map(lambda x: jnp.broadcast_to(x, (count, *x.shape)), response)
        return bundle.macro.rate(jnp.zeros(()), macro, many), _motion(bundle.fiber, state, one)

    return _holds_tracer(eqx.filter_closure_convert(probe, macro0))


def _motion(fiber: AbstractFiber, state, condition):
    """Values of the functions that define the fiber."""
    if isinstance(fiber, AbstractFlow):
        return fiber.rate(state, condition)
    if isinstance(fiber, AbstractEnergy):
        return fiber.energy(state, condition), fiber.constraint(state, condition)
    if isinstance(fiber, AbstractMemory):
        return _motion(fiber.increment(fiber.begin(condition), jnp.ones(())), state, condition)
    if isinstance(fiber, AbstractDynamic):
        return fiber.step(state, condition, jnp.ones(()), jax.random.key(0))
    return ()

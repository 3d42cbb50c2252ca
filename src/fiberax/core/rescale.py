"""Units: macro and micro keep their own, and are converted in one place (spec section 10)."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from fiberax.core.errors import BadInput
from fiberax.core.fiber import AbstractDynamic, AbstractEnergy, AbstractFiber, AbstractFlow, AbstractWrapper
from fiberax.core.link import apply_link
from fiberax.numerics import trees


def _scaled(factor, tree):
    """`factor * tree`; `factor` is a number or a tree like `tree`."""
    if jax.tree.structure(factor) == jax.tree.structure(tree):
        return jax.tree.map(lambda f, x: f * x, factor, tree)
    return jax.tree.map(lambda x: factor * x, tree)


class _Units(AbstractWrapper):
    """What the three rescaled fibers share."""

    condition: eqx.AbstractVar[Any]
    response: eqx.AbstractVar[Any]
    time: eqx.AbstractVar[jax.Array]

    def _inside(self, condition):
        return _scaled(self.condition, condition)

    def init(self, condition, key):
        return self.inner.init(self._inside(condition), key)

    def apply_link(self, link, state, condition):
        return _scaled(self.response, apply_link(link, self.inner, state, self._inside(condition)))

    def variational_link(self, state, condition):
        value = self.inner.variational_link(state, self._inside(condition))
        return None if value is None else _scaled(self.response, value)

    def soundness(self, state, condition):
        return self.inner.soundness(state, self._inside(condition))

    def diagnose(self, state, condition):
        return self.inner.diagnose(state, self._inside(condition))

    def stderr(self, state, condition):
        error = self.inner.stderr(state, self._inside(condition))
        return None if error is None else jax.tree.map(jnp.abs, _scaled(self.response, error))

    @property
    def unmixable(self):
        return self.inner.unmixable

    def align(self, state, reference):
        return self.inner.align(state, reference)

    def restore(self, state, safe):
        return self.inner.restore(state, safe)


class _RescaledFlow(_Units, AbstractFlow):
    inner: AbstractFlow
    condition: Any
    response: Any
    time: jax.Array

    def rate(self, state, condition):
        return _scaled(self.time, self.inner.rate(state, self._inside(condition)))

    @property
    def symmetric(self):
        return self.inner.symmetric

    @property
    def dense_limit(self):
        return self.inner.dense_limit

    def precondition(self, residual, condition, shift):
        return _scaled(1.0 / self.time, self.inner.precondition(residual, self._inside(condition), shift / self.time))

    def solve(self, condition, state, tolerance):
        return self.inner.solve(self._inside(condition), state, tolerance)

    def solve_stage(self, condition, base, shift, state, tolerance):
        return self.inner.solve_stage(self._inside(condition), base, shift / self.time, state, tolerance)


class _RescaledEnergy(_Units, AbstractEnergy):
    inner: AbstractEnergy
    condition: Any
    response: Any
    time: jax.Array

    def energy(self, state, condition):
        return self.inner.energy(state, self._inside(condition))

    def constraint(self, state, condition):
        return self.inner.constraint(state, self._inside(condition))

    @property
    def dense_limit(self):
        return self.inner.dense_limit

    def metric(self, state):
        return jax.tree.map(lambda m: m / self.time, self.inner.metric(state))

    def precondition(self, residual, condition, shift):
        return _scaled(1.0 / self.time, self.inner.precondition(residual, self._inside(condition), shift / self.time))

    def solve(self, condition, state, tolerance):
        return self.inner.solve(self._inside(condition), state, tolerance)


class _RescaledDynamic(_Units, AbstractDynamic):
    inner: AbstractDynamic
    condition: Any
    response: Any
    time: jax.Array

    def step(self, state, condition, dt, key):
        return self.inner.step(state, self._inside(condition), self.time * dt, key)

    def timestep(self, condition):
        own = self.inner.timestep(self._inside(condition))
        return None if own is None else own / self.time


def rescale(fiber: AbstractFiber, condition: Any = 1.0, response: Any = 1.0, time: Any = 1.0) -> AbstractFiber:
    """The fiber in the units of the macro model.

    `condition`: the micro value of one macro unit of the condition (micro condition = factor × macro condition), a number or
    a tree like the condition. `response`: the macro value of one micro unit of the response. `time`: how much fiber time
    passes in one macro unit of time. A link handed to the bundle sees the fiber in its own units. Raises `BadInput` for a
    time factor that is not positive.
    """
    if not trees.is_tracer(time) and not float(time) > 0.0:
        raise BadInput(f"rescale: time must be a positive number of fiber time units per macro time unit; it is {time}.")
    condition, response = jax.tree.map(jnp.asarray, (condition, response))
    for name, factor in (("condition", condition), ("response", response)):
        for leaf in jax.tree.leaves(factor):
            if not trees.is_tracer(leaf) and not np.all(np.isfinite(np.asarray(leaf)) & (np.asarray(leaf) != 0)):
                raise BadInput(f"rescale: the factor of the {name} must be finite and not zero; it is {leaf}.")
    factors = (condition, response, jnp.asarray(time))
    if isinstance(fiber, AbstractFlow):
        return _RescaledFlow(fiber, *factors)
    if isinstance(fiber, AbstractEnergy):
        return _RescaledEnergy(fiber, *factors)
    if isinstance(fiber, AbstractDynamic):
        return _RescaledDynamic(fiber, *factors)
    raise BadInput(f"rescale: {type(fiber).__name__} is neither a flow, an energy nor a dynamic fiber.")

"""Scale separation made visible: the fibers' relaxation time against the time scale of the macrostate (spec section 10)."""

import warnings
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from fiberax.core.equilibrium import relaxed
from fiberax.core.field import Field
from fiberax.core.relax import Relaxation
from fiberax.core.schedule import Schedule, Stretch
from fiberax.numerics import trees

_LOOKS = 10
_SITES = 3
_STEPS = 64


class ScaleSeparationWarning(UserWarning):
    """The fibers do not relax much faster than the macrostate moves."""


class Separation(NamedTuple):
    """One look: macro time, slowest relaxation time found and macro time scale (macro time units), and their ratio."""

    t: float
    relaxation: float
    macro: float
    ratio: float


def _difference(x, y):
    return jax.tree.map(lambda a, b: a - b if jnp.issubdtype(a.dtype, jnp.inexact) else jnp.zeros(a.shape), x, y)


@eqx.filter_jit
def _look(field: Field, macro, states, before, dt):
    """Conditions now, their size and change since `before`, and relaxation times at a few sites (macro time)."""
    conditions = field.bundle.macro.conditions(macro)
    change = conditions if before is None else jax.tree.map(jnp.subtract, conditions, before)
    count = field.sites.count
    chosen = np.unique(np.linspace(0, count - 1, _SITES).astype(int))
    pick = lambda tree: jax.tree.map(lambda x: x[chosen], tree)
    pace, times = field.driver.pace, jnp.zeros(())
    if before is not None and pace is not None:
        times = _relaxation_time(field, pick(states), pick(conditions), dt / pace.substeps, pace.clock)
    return conditions, trees.norm(conditions), trees.norm(change), jnp.max(times)


def _relaxation_time(field: Field, states, conditions, dt, clock):
    """Decay time (macro time) of the distance to equilibrium under held conditions, at each of a few sites.

    A site that sits in its equilibrium is displaced from it first. Fibers with random dynamics have no equilibrium state:
    there two copies driven by the same noise approach each other.
    """
    fiber, key = field.fiber, jax.random.key(1)
    known = isinstance(fiber, Relaxation)

    def one(state, condition, key):
        fresh = fiber.init(condition, key)
        if known:
            position = fiber.position(state)
            rest, _ = relaxed(fiber.inner, condition, position, 1e-10)
            target = fresh._replace(position=rest) if fiber.second_order else rest
            near = trees.norm(_difference(position, rest)) <= 1e-6 * (trees.norm(rest) + trees.norm(fiber.position(fresh)))
            state = trees.where(near, _displaced(target, fresh, key), state)
        else:
            target = fresh

        def body(carry):
            k, state, other, _, time = carry
            noise = jax.random.fold_in(key, k)
            state = fiber.step(state, condition, dt / clock, noise)
            other = other if known else fiber.step(other, condition, dt / clock, noise)
            now = trees.norm(_difference(state, other))
            ratio = now / first
            time = (k + 1) * dt / jnp.where((ratio > 0.0) & (ratio < 1.0), -jnp.log(jnp.maximum(ratio, 1e-300)), 0.0)
            return k + 1, state, other, ratio, time

        first = trees.norm(_difference(state, target))
        start = (jnp.zeros((), jnp.int32), state, target, jnp.ones(()), jnp.asarray(jnp.inf))
        unfinished = lambda c: (c[0] < _STEPS) & (c[3] > jnp.exp(-3.0))
        *_, ratio, time = jax.lax.while_loop(unfinished, body, start)
        return jnp.where((first > 0.0) & ~jnp.isnan(ratio), time, 0.0)  # a failed fiber tells nothing

    keys = jax.random.split(key, jax.tree.leaves(states)[0].shape[0])
    return jax.vmap(one)(states, conditions, keys)


def _displaced(target, fresh, key):
    """`target` moved towards `fresh`, with some of every mode."""
    leaves, structure = jax.tree.flatten(target)
    others = jax.tree.leaves(fresh)
    size = 1e-3 * (trees.norm(target) + trees.norm(fresh) + 1e-30)
    count = max(trees.size(target), 1)

    def move(k, leaf, other):
        noise = jax.random.normal(jax.random.fold_in(key, k), leaf.shape, leaf.dtype)
        return leaf + 1e-3 * (other - leaf) + size / count**0.5 * noise

    return jax.tree.unflatten(structure, [move(k, a, b) for k, (a, b) in enumerate(zip(leaves, others, strict=True))])


class Monitor:
    """Looks at a `Seamless` run about ten times, at fixed steps, and warns once; a slaved driver needs no separation."""

    def __init__(self, field: Field, plan: Schedule):
        self.field = field
        self.every = max(1, plan.steps // _LOOKS)
        self.pace = field.driver.pace
        self.history: list[Separation] = []
        self.before: tuple[float, Any] | None = None
        self.next = 1

    @property
    def latest(self) -> float | None:
        """The last ratio found."""
        return self.history[-1].ratio if self.history else None

    def steps_left(self, done: int) -> int:
        """Steps until the next look."""
        return max(1, self.next - done) if self.pace is not None else 2**62

    def look(self, carry: Any, done: int, t: float, stretch: Stretch) -> None:
        """Measure, if a look is due after `done` steps, at the time `t`."""
        if self.pace is None or done < self.next:
            return
        self.next = done + self.every
        before, self.before = self.before, None
        held = None if before is None else before[1]
        conditions, size, change, time = _look(self.field, carry.macro, carry.section.state, held, jnp.asarray(stretch.dt))
        self.before = (t, conditions)
        if before is None:
            return
        moved = float(change)
        macro = float(size) * (t - before[0]) / moved if moved > 0.0 else float("inf")
        self._judge(Separation(t, float(time), macro, float(time) / macro), self.pace.separation)

    def _judge(self, found: Separation, limit: float) -> None:
        first = not any(s.ratio > limit for s in self.history)
        self.history.append(found)
        if found.ratio > limit and first:
            warnings.warn(
                f"No scale separation: the fibers relax in {found.relaxation:.3g}, the macrostate moves in {found.macro:.3g} "
                f"(macro time); ratio {found.ratio:.2g}, above {limit:g}. "
                "Lower the clock, the friction or the mass of the fibers.",
                ScaleSeparationWarning,
                stacklevel=2,
            )

"""Scale separation: the fibers' relaxation time against the time scale of the macrostate (section 7 of the paper).

The relaxation time is the fiber's own (`AbstractDynamic.relaxation_time`) where it gives one. Else it is measured from
present states: a relaxation is displaced from its equilibrium; of other dynamics two states of different sites, held at one
condition and driven by the same noise, approach each other. Where neither is possible it is not measured.
"""

import warnings
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from fiberax.core.capabilities import AbstractPropagated
from fiberax.core.equilibrium import implicit_stage
from fiberax.core.fiber import AbstractDynamic, AbstractFiber
from fiberax.core.field import Field
from fiberax.core.macro import Moving
from fiberax.core.relax import Relaxation
from fiberax.core.schedule import Schedule, Stretch
from fiberax.core.steppers import AbstractStepper
from fiberax.numerics import trees
from fiberax.numerics.result import Result

_LOOKS = 10
_SITES = 3
_STEPS = 64
_SHORTEST = 1e-9  # of a step of a run, in which a relaxation is measured
_LONG = 1e8  # steps of a run after which a relaxation is at rest


class ScaleSeparationWarning(UserWarning):
    """The fibers do not relax much faster than the macrostate moves."""


class DoubtfulFiberWarning(UserWarning):
    """A fiber with dynamics is held at a condition at which its model is doubtful."""


def warn_of_remarks(fiber: AbstractFiber, conditions: Any) -> str:
    """Warn with what the fiber remarks about these conditions, sites first, if it does; returns the text."""
    text = fiber.remark(conditions) if isinstance(fiber, AbstractDynamic) else ""
    if text:
        warnings.warn(text, DoubtfulFiberWarning, stacklevel=4)
    return text


class Separation(NamedTuple):
    """One measurement: macro time, slowest relaxation time found and macro time scale (macro time units), and their ratio.

    Relaxation time and ratio are NaN where they could not be measured.
    """

    t: float
    relaxation: float
    macro: float
    ratio: float


class Paced(NamedTuple):
    """The clock of a driver that paces itself, and time and conditions (sites first) of the last look at it."""

    clock: jax.Array
    t: jax.Array
    conditions: Any


def first_clock(field: Field, macro, dt: float) -> jax.Array:
    """Real time, or the smallest clock whose micro steps are no longer than the fiber's own."""
    return jnp.asarray(max(1.0, _least_clock(field, macro, dt)), jnp.result_type(float))


def next_clock(field: Field, macro, clock: Any, found: Separation, dt: float, span: float) -> jax.Array:
    """The largest clock that keeps the ratio of time scales that the driver states, from a measurement with `clock`.

    The macro time scale counts up to the length `span` of the run. Where nothing was measured the clock stays.
    """
    pace = field.driver.pace
    assert pace is not None
    relaxation = found.relaxation / float(clock)  # in real time
    if not 0.0 < relaxation < float("inf"):
        return clock
    largest = pace.separation * min(found.macro, span) / relaxation
    return jnp.asarray(max(largest, _least_clock(field, macro, dt)), jnp.result_type(float))


def _least_clock(field: Field, macro, dt: float) -> float:
    """The clock at which a micro step is the fiber's own; 0 where fibers do not know one."""
    conditions = field.bundle.macro.conditions(macro)
    one = jax.tree.map(lambda x: x[0], conditions)
    if jax.eval_shape(field.fiber.timestep, one) is None:
        return 0.0
    return float(dt / (field.driver.micro_steps * jnp.min(jax.vmap(field.fiber.timestep)(conditions))))


def _difference(x, y):
    return jax.tree.map(lambda a, b: a - b if jnp.issubdtype(a.dtype, jnp.inexact) else jnp.zeros(a.shape), x, y)


@eqx.filter_jit
def _look(field: Field, macro, states, before, dt):
    """Conditions now, their size and change since `before`, and the longest relaxation time of a few sites (macro time)."""
    conditions = field.bundle.macro.conditions(macro)
    change = jax.tree.map(jnp.subtract, conditions, before)
    count = field.sites.count
    chosen = np.unique(np.linspace(0, count - 1, _SITES).astype(int))
    pick = lambda tree: jax.tree.map(lambda x: x[chosen], tree)
    pace = field.driver.pace
    assert pace is not None
    times = _relaxation_times(field, pick(states), pick(conditions), dt / pace.substeps, pace.clock)
    times = jnp.where(jnp.all(jnp.isnan(times)), jnp.nan, jnp.nanmax(jnp.where(jnp.isnan(times), -jnp.inf, times)))
    return conditions, trees.norm(conditions), trees.norm(change), times


def _relaxation_times(field: Field, states, conditions, dt, clock):
    """Relaxation time (macro time) under held conditions at each of a few sites, NaN where it is not known."""
    fiber = field.fiber
    one = jax.tree.map(lambda x: x[0], conditions)
    if jax.eval_shape(fiber.relaxation_time, one) is not None:
        return clock * jax.vmap(fiber.relaxation_time)(conditions)
    keys = jax.random.split(jax.random.key(1), jax.tree.leaves(states)[0].shape[0])
    if isinstance(fiber, Relaxation):
        return jax.vmap(lambda s, c, k: _displaced_decay(fiber, s, c, k, dt, dt / clock))(states, conditions, keys)
    others = jax.tree.map(lambda x: jnp.roll(x, 1, axis=0), states)  # each the next of the chosen sites
    return jax.vmap(lambda s, o, c, k: _decay(fiber, s, o, c, k, dt, dt / clock, False))(states, others, conditions, keys)


def _displaced_decay(fiber: Relaxation, state, condition, key, dt, span):
    """Decay time of the distance to equilibrium; a site that is in equilibrium is displaced from it first."""
    position = fiber.position(state)
    rest = _rest_of(fiber, position, condition, span)
    still = Moving(rest, jax.tree.map(jnp.zeros_like, rest)) if fiber.second_order else rest
    near = trees.norm(_difference(position, rest)) <= 1e-6 * (trees.norm(rest) + trees.norm(position))
    state = trees.where(near, _displaced(still, key), state)
    return _decay(fiber, state, still, condition, key, dt, span, True)


def _rest_of(fiber: Relaxation, position, condition, span):
    """Where a relaxation ends, NaN where it is not found: one implicit step of the length of very many.

    A solve for the equilibrium would call `init` for its reference, which may cost more than the whole measurement.
    """
    if trees.size(position) == 0:
        return position
    length = _LONG * (span**2 / fiber.mass if fiber.second_order else span / fiber.friction)
    if isinstance(fiber.inner, AbstractPropagated):
        return fiber.inner.propagate(position, condition, length)
    found, out = implicit_stage(fiber.inner, position, condition, position, 1.0 / length, 1e-10)
    return jax.tree.map(lambda x: jnp.where(out.result == Result.SUCCESS, x, jnp.nan), found)


def _decay(fiber, state, other, condition, key, dt, span, fixed: bool):
    """Time (macro, `dt` a step of `span` fiber time) in which `state` approaches `other`, which is `fixed` or moves as well.

    A first step that leaves less than half is taken again, a quarter as long: what is left after a step much longer than the
    relaxation time is a property of the scheme.
    """

    def body(carry):
        k, part, state, other, _, time = carry
        noise = jax.random.fold_in(key, k)
        moved = fiber.step(state, condition, part * span, noise)
        met = other if fixed else fiber.step(other, condition, part * span, noise)
        ratio = (trees.norm(_difference(moved, met)) / first).astype(real)
        fallen = jnp.where((ratio > 0.0) & (ratio < 1.0), -jnp.log(jnp.maximum(ratio, 1e-300)), 0.0)
        time = ((k + 1) * part * dt / fallen).astype(real)
        again = (k == 0) & (ratio < 0.5) & (part > _SHORTEST)
        state, other = (trees.where(again, one, two) for one, two in ((state, moved), (other, met)))
        return jnp.where(again, 0, k + 1), jnp.where(again, 0.25 * part, part), state, other, jnp.where(again, 1.0, ratio), time

    first = trees.norm(_difference(state, other))
    real = first.dtype
    start = (jnp.zeros((), jnp.int32), jnp.ones((), real), state, other, jnp.ones((), real), jnp.asarray(jnp.inf, real))
    unfinished = lambda c: (c[0] < _STEPS) & (c[4] > jnp.exp(-3.0))
    *_, ratio, time = jax.lax.while_loop(unfinished, body, start)
    return jnp.where((first > 0.0) & ~jnp.isnan(ratio), time, jnp.nan)  # nothing can be measured from equal or failed states


def _displaced(target, key):
    """`target` with a small part of every mode added."""
    leaves, structure = jax.tree.flatten(target)
    size = 1e-3 * jnp.maximum(trees.norm(target), 1e-3)
    count = max(trees.size(target), 1)

    def move(k, leaf):
        return leaf + size / count**0.5 * jax.random.normal(jax.random.fold_in(key, k), leaf.shape, leaf.dtype)

    return jax.tree.unflatten(structure, [move(k, leaf) for k, leaf in enumerate(leaves)])


@eqx.filter_jit
def conditions_at(field: Field, macro) -> Any:
    """Conditions of all sites."""
    return field.bundle.macro.conditions(macro)


class Monitor:
    """Measures scale separation about ten times in a run that carries states, at fixed steps, and warns once."""

    def __init__(self, field: Field, stepper: AbstractStepper, plan: Schedule):
        self.field, self.stepper = field, stepper
        self.every = max(1, plan.steps // _LOOKS)
        self.pace, self.paces_itself = field.driver.pace, field.driver.paces_itself
        self.history: list[Separation] = []
        self.before: tuple[float, Any] | None = None
        self.next = 1
        self.advised = self.remarked = False

    @property
    def latest(self) -> float | None:
        """The last ratio found; NaN where it was not measured."""
        return self.history[-1].ratio if self.history else None

    def steps_left(self, done: int) -> int:
        """Steps until the next measurement."""
        return max(1, self.next - done) if self.pace is not None else 2**62

    def resume(self, done: int) -> None:
        """Look on at the steps at which a run that was not interrupted would."""
        self.next = 1 + self.every * max(0, -(-(done - 1) // self.every))

    def look(self, carry: Any, done: int, t: float, stretch: Stretch) -> "Separation | None":
        """Measure, if it is due after `done` steps, at the time `t`."""
        if self.pace is None or done < self.next:
            return None
        self.next = done + self.every
        before = (float(carry.paced.t), carry.paced.conditions) if carry.paced else self.before
        held = conditions_at(self.field, carry.macro) if before is None else before[1]
        span = jnp.asarray(self.stepper.fiber_step(stretch.dt))
        conditions, size, change, time = _look(self.field, carry.macro, carry.section.state, held, span)
        self.before = (t, conditions)
        self._advise(float(time), stretch.dt)
        relaxation = self.stepper.lag(float(time), stretch.dt)
        self.remarked = self.remarked or bool(warn_of_remarks(self.field.fiber, conditions))
        if before is None:
            return None
        moved = float(change)
        macro = float(size) * (t - before[0]) / moved if moved > 0.0 else float("inf")
        found = Separation(t, relaxation, macro, relaxation / macro)  # NaN: not measured
        self._judge(found, self.pace.separation)
        return found

    def _advise(self, relaxation: float, dt: float) -> None:
        """What the stepper says about these fibers, once."""
        text = self.stepper.advice(relaxation, dt) if 0.0 < relaxation < float("inf") and not self.advised else ""
        if text:
            self.advised = True
            warnings.warn(text, ScaleSeparationWarning, stacklevel=2)

    def _judge(self, found: Separation, limit: float) -> None:
        first = not any(s.ratio > limit for s in self.history)
        self.history.append(found)
        if found.ratio > limit and first:
            warnings.warn(
                f"No scale separation: the fibers relax in {found.relaxation:.3g}, the macrostate moves in {found.macro:.3g} "
                f"(macro time); ratio {found.ratio:.2g}, above {limit:g}. "
                f"{self._remedy()}",
                ScaleSeparationWarning,
                stacklevel=2,
            )

    def _remedy(self) -> str:
        if self.stepper.lag_remedy:
            return self.stepper.lag_remedy
        parts = "the friction or the mass" if isinstance(self.field.fiber, Relaxation) else "the relaxation time"
        if self.paces_itself:
            return f"The clock is revised at the next look; if it stays too large, lower separation or {parts} of the fibers."
        return f"Lower the clock, or {parts} of the fibers."

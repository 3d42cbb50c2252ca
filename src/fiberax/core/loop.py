"""The time loop: jitted stretches of steps, and between them progress, snapshots, signals and failures.

More than 400 lines: steps and what happens between them depend on one carry, and are read together.
"""

import dataclasses
import time
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from fiberax.core.borrow import count_failures, marked
from fiberax.core.driver import Section, map_rows
from fiberax.core.errors import BadInput
from fiberax.core.failure import FAILED, NONFINITE, NOT_CONVERGED, Begun, demand_stability, raise_failure
from fiberax.core.fiber import AbstractDynamic
from fiberax.core.field import Field
from fiberax.core.macro_solve import Step
from fiberax.core.parameters import brief
from fiberax.core.randomness import is_random
from fiberax.core.recorder import AbstractRecorder, Record, Report, Snapshot
from fiberax.core.schedule import Schedule, Stretch
from fiberax.core.separation import Monitor, Paced, conditions_at, first_clock, next_clock
from fiberax.core.signals import Interrupt, agree, anywhere
from fiberax.core.sites import to_host
from fiberax.core.snapshots import (
    check_bundle,
    check_key,
    check_origin,
    checksum,
    end_of,
    origin_leaves,
    restored,
    snapshot_leaves,
)
from fiberax.core.solution import Solution
from fiberax.core.stability import StepLimits, warn_unstable_rest
from fiberax.core.steppers import AbstractStepper
from fiberax.numerics import trees

BLOCK = 128  # steps taken on trial at a time
_TRIAL_BYTES = 2**26  # largest section of which a second copy is kept for that
_PAUSE = 0.3  # seconds of jitted work between progress reports, checkpoints and signals


class Watch(NamedTuple):
    """`progress`, called with reports, and `checkpoint`, which receives records and snapshots; either may be None."""

    progress: Any
    checkpoint: AbstractRecorder | None


class Carry(NamedTuple):
    """What the loop passes from step to step."""

    step: jax.Array
    last_dt: jax.Array
    macro: Any
    section: Section
    status: jax.Array  # 0, or why the run stopped before this step
    failures: jax.Array  # failed fibers of all accepted steps together
    work: jax.Array  # steps of the solves of all fibers so far, where the driver is slaved
    begun: jax.Array  # checksum of the macrostate that the run began with
    paced: Any = ()  # the clock of a driver that paces itself (`Paced`); else empty


def one_step(field: Field, stepper: AbstractStepper, limit: int, carry: Carry, t, dt) -> Carry:
    """One macro step of length `dt` from `t`; where more than `limit` sites fail the macrostate stays; see `status`."""
    section = carry.section
    if field.retry or field.driver.slaved:
        section = section._replace(outcome=jax.tree.map(jnp.zeros_like, section.outcome))
    if not (field.driver.slaved or stepper.moves_fibers):
        # Leapfrog: fibers are at half steps, so that fiber, link and macro model each use the others at their midpoint.
        span = 0.5 * (carry.last_dt + dt)
        # Transport before the fibers' own motion in one step, after it in the next: order 2 with one transport per step.
        late = carry.step % 2 == 1
        own = lambda section: field.advance(carry.step, carry.macro, section, span)
        carried = lambda section: field.carry(section, carry.macro, t, span)
        if field.bundle.transport is None:
            section = own(section)
        else:  # one copy of each in the program
            half = lambda k, section: jax.lax.cond((k == 1) == late, carried, own, section)
            section = jax.lax.fori_loop(0, 2, half, section)
    macro, section, converged = stepper.step(field, Step(carry.step, t, dt, carry.macro, section))
    macro = field.bundle.macro.prescribed(t + dt, macro)
    accepted = field.accept(carry.step, macro, section, dt)
    last_dt = jnp.asarray(dt, carry.last_dt.dtype)
    if not field.retry:
        return carry._replace(step=carry.step + 1, last_dt=last_dt, macro=macro, section=accepted)
    status = jnp.where(trees.isfinite(macro), jnp.where(converged, 0, NOT_CONVERGED), NONFINITE)
    failed = count_failures(field.outcomes(accepted).result)
    status = jnp.where(failed > limit, FAILED, status)
    macro = trees.where(status == 0, macro, carry.macro)
    # A refused step must not change histories.
    accepted = accepted._replace(history=trees.where(status == 0, accepted.history, carry.section.history))
    step = jnp.where(status == 0, carry.step + 1, carry.step).astype(carry.step.dtype)
    failures = carry.failures + jnp.where(status == 0, failed, 0)
    work = carry.work
    if field.driver.slaved:
        work = work + jnp.sum(field.outcomes(accepted).steps, dtype=work.dtype)
    return Carry(step, last_dt, macro, accepted, status.astype(jnp.int32), failures, work, carry.begun, carry.paced)


def _on_trial(field: Field, stepper: AbstractStepper, carry: Carry, start, first, count, dt) -> tuple[Carry, jax.Array]:
    """`count` steps without looking for failures, and whether all is finite after them and no fiber reports a failure."""
    bare = dataclasses.replace(field, retry=False)

    def body(k, carry):
        return one_step(bare, stepper, 0, carry, start + dt * (first + k), dt)

    carry = jax.lax.fori_loop(0, count, body, carry)
    response = bare.response(carry.macro, carry.section)
    section = carry.section
    carry = carry._replace(section=section._replace(response=field.sites.pad(response), own=jnp.ones_like(section.own)))
    good, codes = trees.isfinite((carry.macro, response)), field.verdicts(carry.macro, section)
    return carry, good if codes is None else good & jnp.all(codes == 0)


def _careful(field, stepper, limit, carry: Carry, start, first, count, dt) -> Carry:
    """`count` steps with failures isolated in each, fewer where the run has to stop."""

    def body(state):
        k, carry = state
        return k + 1, one_step(field, stepper, limit, carry, start + dt * (first + k), dt)

    unfinished = lambda state: (state[0] < count) & (state[1].status == 0)
    return jax.lax.while_loop(unfinished, body, (jnp.zeros_like(count), carry))[1]


@eqx.filter_jit(donate="all-except-first")
def _run(static, carry: Carry) -> Carry:
    """`count` steps from `start + first·dt`, fewer where the run has to stop.

    Where steps are so cheap that looking for failures would dominate, blocks of steps are taken on trial, until anything is not
    finite at the end of one; that block is left to the caller, to be repeated with care by a program of its own, which most
    runs never need to compile. Blocks begin at fixed step numbers, so that no digit depends on pauses.
    """
    field, stepper, limit, start, first, count, dt, on_trial = static
    if not on_trial:
        return _careful(field, stepper, limit, carry, start, first, count, dt)

    def body(state):
        k, carry, _ = state
        block = jnp.minimum(BLOCK - (carry.step % BLOCK).astype(k.dtype), count - k)
        clean = jnp.all(carry.section.outcome.result == 0)
        new, good = _on_trial(field, stepper, carry, start, first + k, block, dt)
        good = good & clean
        return jnp.where(good, k + block, k), jax.lax.cond(good, lambda: new, lambda: carry), good

    unfinished = lambda state: (state[0] < count) & state[2]
    return jax.lax.while_loop(unfinished, body, (jnp.zeros_like(count), carry, jnp.asarray(True)))[1]


def begin(field: Field, macro, response, samples) -> Carry:
    """The carry before the first step; `response` gives the shape of one response, `samples` the stored values of averages."""
    # NaN until the first good response, so that no response cannot be mistaken for zero.
    section = field.begin(macro, response, samples)
    empty = jax.tree.map(lambda x: jnp.full_like(x, jnp.nan) if jnp.issubdtype(x.dtype, jnp.inexact) else x, section.response)
    zero = jnp.zeros(())
    none = jnp.zeros((), jnp.int32)
    section = section._replace(response=empty)
    paced = Paced(zero, zero, field.bundle.macro.conditions(macro)) if field.driver.paces_itself else ()
    return Carry(jnp.zeros((), jnp.uint32), zero, macro, section, none, none, zero, jnp.zeros((), jnp.uint32), paced)


class Observed(NamedTuple):
    """What belongs to the present macrostate, sites first; all but the first two are None where there is none."""

    response: Any
    result: jax.Array
    energy: jax.Array | None
    stderr: Any
    stability_margin: jax.Array | None
    state: Any


def observe(field: Field, carry: Carry, t, dt, margins: bool = False, states: bool = False) -> Observed:
    """Responses, results, energies and, where asked for, stability margins and states, at the present macrostate."""
    macro = carry.macro
    if field.driver.slaved:
        # At the end of a step: no time has passed since.
        section = field.advance(carry.step, macro, carry.section, jnp.zeros_like(dt))
        response, result = field.sites.trim(section.response), field.results(section)
    else:
        section = _caught_up(field, carry, t)
        response = field.response(macro, section)
        result = field.codes(macro, section, response)
        result = marked(result, field.sites.trim(section.own)) if field.borrow and field.retry else result
    margin = field.stability_margin(macro, section) if margins else None
    state = field.states(carry.step, macro, section) if states else None
    return Observed(response, result, field.energy(macro, section), field.stderr(macro, section), margin, state)


def _caught_up(field: Field, carry: Carry, t) -> Section:
    """A copy with carried states advanced by half a step, to the time of the macrostate, for records.

    The next step begins from the states before that. Averages stay as they are: they lag by their kernel.
    """
    if carry.section.memory:
        return carry.section
    half, bare = 0.5 * carry.last_dt, dataclasses.replace(field, retry=False)

    def moved():
        section = bare.carry(carry.section, carry.macro, t - half, half)
        return section._replace(state=bare.advance(carry.step, carry.macro, section, half).state)

    return jax.lax.cond(half > 0.0, moved, lambda: carry.section)


_begin = eqx.filter_jit(begin)
_observe = eqx.filter_jit(observe)


def _cheap(field: Field, carry: Carry) -> bool:
    """Whether steps are taken on trial: no solves, and a section small enough to keep twice."""
    if field.driver.slaved or (isinstance(field.fiber, AbstractDynamic) and field.fiber.implicit):
        return False
    return sum(leaf.nbytes for leaf in jax.tree.leaves(carry.section)) <= _TRIAL_BYTES


class Loop:
    """One run of `evolve` outside of any JAX transformation."""

    def __init__(self, field: Field, stepper: AbstractStepper, plan: Schedule, watch: "Watch", fail_fraction, allow_unstable):
        if not 0.0 <= fail_fraction <= 1.0:
            raise BadInput(f"evolve: fail_fraction is a share of the sites, between 0 and 1; it is {fail_fraction}.")
        self.field, self.stepper, self.plan = field, stepper, plan
        self.progress, self.checkpoint = watch
        self.brief = brief(field.bundle)
        self.allow_unstable = allow_unstable
        self.limit = int(np.floor(fail_fraction * field.sites.count + 1e-9))
        self.monitor = Monitor(field, stepper, plan)
        self.limits = StepLimits(field, stepper, plan.steps)
        self.on_trial = False
        self.paces_itself = field.driver.paces_itself
        self.clocks: list[tuple[float, float]] = []  # macro time and clock, of a driver that paces itself
        self.records: list[Record] = []
        self.begun = time.perf_counter()
        self.saved = 0
        self.done = 0
        self.done_here = 0
        self.busy = self.first = 0.0  # seconds of steps; the first piece begins from nothing, and says little of others
        self.alone = 0  # steps of the first piece
        self.reported = 0.0

    def run(self, macro0, response, samples, start: Snapshot | None) -> Solution:
        """Steps, records and snapshots from the start, or from a snapshot, to the end."""
        sites = self.field.sites
        self.began = Begun(macro0, response, samples)
        macro = sites.replicated(jax.tree.map(np.asarray, macro0))
        carry = _begin(self.field, macro, response, samples)
        carry = carry._replace(begun=jnp.asarray(checksum(macro0), jnp.uint32))
        if start is not None:
            check_origin(self.plan, self.stepper, start)
            begun, carry = int(carry.begun), restored(sites, carry, start)
            if int(carry.begun) != begun:
                raise BadInput(
                    "evolve: start carries the macrostate to go on with, and macro0 is not the one that run began with. Hand "
                    "in the macro0 of that run; or leave start out to begin a new run from another macrostate."
                )
            check_bundle("evolve", self.brief, start)
            conditions = jax.eval_shape(self.field.bundle.macro.conditions, macro)
            one = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), conditions)
            if is_random(self.field.bundle.fiber, one):
                check_key(self.field.key, start)
            self.saved, self.done = start.saved, start.step
        elif self.plan.save_start:
            self._record(carry, self.plan.stretches[0].start, self.plan.stretches[0].dt)
        if self.paces_itself:
            first = self.plan.stretches[0]
            if start is None:
                carry = carry._replace(paced=carry.paced._replace(clock=first_clock(self.field, carry.macro, first.dt)))
            self.monitor.resume(self.done)
            self._pace(carry, first.start if start is None else start.t)
        self.on_trial = _cheap(self.field, carry)
        before = 0
        with Interrupt() as interrupt:
            for stretch in self.plan.stretches:
                carry = self._cross(carry, stretch, before, interrupt)
                before += stretch.steps
        if self.checkpoint is not None and self.done_here:  # from which the run can be made longer
            self._snapshot(carry, self.plan.stretches[-1].end)
        self._report(carry, final=True)
        return self._solution(carry)

    def _cross(self, carry: Carry, stretch: Stretch, before: int, interrupt: Interrupt) -> Carry:
        """One stretch, in jitted pieces of about `_PAUSE` seconds; the number of steps in a piece changes no digit."""
        after = before + stretch.steps
        if self.done >= after:
            # A snapshot at the end of a stretch is taken before its record.
            owed = self.plan.save_start + sum(s.save for s in self.plan.stretches if s.end <= stretch.end)
            if self.done == after and self.saved < owed:
                self._record(carry, stretch.end, stretch.dt)
            return carry
        piece = BLOCK - self.done % BLOCK if self.done_here else 1  # the first step is looked at before others follow
        carry = self._advance(carry, stretch, before, 0)  # compiles, so that the times of later pieces are right
        while self.done < after:
            carry = self._look(carry, stretch)
            first = self.done_here == 0
            count = int(agree(min(after - self.done, self.monitor.steps_left(self.done), piece))[0])
            clock = time.perf_counter()
            carry = self._advance(carry, stretch, before, count)
            spent = time.perf_counter() - clock
            self.busy += spent
            if first:
                self.first, self.alone = spent, self.done_here
                warn_unstable_rest(self.field, carry.macro, carry.section)
            self.limits.look(carry.macro, carry.section, self.done, self._time(stretch), stretch.dt)
            per_step = spent / count
            piece = int(np.clip(_PAUSE / max(per_step, 1e-9), 1, 64 * piece))
            piece += -(self.done + piece) % BLOCK
            self._pause(carry, stretch, interrupt)
        if stretch.save:
            self._record(carry, stretch.end, stretch.dt)
        return carry

    def _look(self, carry: Carry, stretch: Stretch) -> Carry:
        """Scale separation measured where it is due; a driver that paces itself gets its clock from it."""
        t = self._time(stretch)
        found = self.monitor.look(carry, self.done, t, stretch)
        if found is None or not self.paces_itself:
            return carry
        span = self.plan.stretches[-1].end - self.plan.stretches[0].start
        clock = next_clock(self.field, carry.macro, carry.paced.clock, found, stretch.dt, span)
        now = jnp.asarray(t, jnp.result_type(float))
        carry = carry._replace(paced=Paced(clock, now, conditions_at(self.field, carry.macro)))
        self._pace(carry, t)
        return carry

    def _pace(self, carry: Carry, t: float) -> None:
        """The clock in `carry` from now on."""
        clock = float(carry.paced.clock)
        self.clocks.append((t, clock))
        # A copy: the memory of the carry is given away in each piece.
        driver = self.field.driver.with_clock(jnp.asarray(clock, jnp.result_type(float)))
        self.field = self.monitor.field = self.limits.field = dataclasses.replace(self.field, driver=driver)

    def _advance(self, carry: Carry, stretch: Stretch, before: int, count: int) -> Carry:
        def run(carry, step, most, on_trial):
            numbers = [jnp.asarray(x) for x in (stretch.start, step - before, most, stretch.dt)]
            carry = jax.block_until_ready(_run((self.field, self.stepper, self.limit, *numbers, on_trial), carry))
            return carry, int(carry.status), int(carry.step)

        goal = self.done + count
        carry, status, step = run(carry, self.done, count, self.on_trial)
        while step < goal and not status:  # a block on trial has failed
            carry, status, step = run(carry, step, min(goal - step, BLOCK - step % BLOCK), False)
            if step < goal and not status:
                carry, status, step = run(carry, step, goal - step, True)
        self.done_here += step - self.done if count else 0
        self.done = step
        if status:
            t = stretch.start + stretch.dt * (step - before)
            if self.checkpoint is not None:
                self._snapshot(carry, t)
                self._record(carry, t, stretch.dt)
            raise_failure(status, self.field, carry, t, stretch.dt, self.limit, self.began)
        return carry

    def _pause(self, carry: Carry, stretch: Stretch, interrupt: Interrupt) -> None:
        t = self._time(stretch)
        asked = anywhere(interrupt.asked)
        if self.checkpoint is not None:
            due = bool(agree(float(self.checkpoint.due()))[0])
            if asked or due:
                self._snapshot(carry, t)
        if asked:
            raise KeyboardInterrupt
        self._report(carry)

    def _time(self, stretch: Stretch) -> float:
        before = sum(s.steps for s in self.plan.stretches if s.end <= stretch.start)
        return stretch.start + stretch.dt * (self.done - before)

    def _report(self, carry: Carry, final: bool = False) -> None:
        now = time.perf_counter()
        if self.progress is None or (now - self.reported < _PAUSE and not final):
            return
        self.reported = now
        left = self.plan.steps - self.done
        later = self.done_here - self.alone
        eta = left * (self.busy - self.first) / later if later else float("nan")
        failed = int(np.sum(to_host(self.field.outcomes(carry.section).result) != 0))
        t = next((self._time(s) for s in self.plan.stretches if self._time(s) <= s.end), self.plan.stretches[-1].end)
        count = self.field.sites.count
        end = self.plan.stretches[-1].end
        self.progress(Report(self.done, self.plan.steps, t, end, now - self.begun, eta, failed, count, self.monitor.latest))

    def _record(self, carry: Carry, t: float, dt: float) -> None:
        wanted = self.checkpoint is not None and self.checkpoint.wants_states
        seen = _observe(self.field, carry, jnp.asarray(t), jnp.asarray(dt), not self.allow_unstable, wanted)
        record = Record(self.saved, t, *to_host((carry.macro, *seen)))
        self.saved += 1
        if self.checkpoint is not None:
            self.checkpoint.record(record)
            if self.checkpoint.keeps_records:
                self.records.clear()
        self.records.append(record._replace(state=None))  # states are written, and need not stay in memory
        if seen.stability_margin is not None:
            demand_stability(self.field, carry.macro, carry.section, seen.stability_margin, f"at t = {t:.6g}")

    def _snapshot(self, carry: Carry, t: float) -> None:
        assert self.checkpoint is not None
        leaves = snapshot_leaves(self.field.sites, carry) | self._origin()
        self.checkpoint.save(Snapshot(self.done, t, self.saved, leaves))

    def _fiber_steps(self, carry: Carry) -> int:
        """Micro steps, or steps of solves, of all fibers together, without those for records."""
        if self.field.driver.slaved:
            return int(carry.work)
        return self.done * self.stepper.advances * self.field.driver.micro_steps * self.field.sites.count

    def _origin(self) -> dict[str, np.ndarray]:
        return origin_leaves(self.stepper, self.field.key) | self.brief.leaves()

    def _solution(self, carry: Carry) -> Solution:
        def stacked(values):
            return jax.tree.map(lambda *x: np.stack(x), *values) if values else None

        macro = stacked([r.macro for r in self.records])
        response = stacked([r.response for r in self.records])
        result = stacked([r.result for r in self.records])
        energy = stacked([r.energy for r in self.records])
        stderr = stacked([r.stderr for r in self.records])
        margin = stacked([r.stability_margin for r in self.records])
        ts = np.asarray([r.t for r in self.records])
        elapsed = time.perf_counter() - self.begun
        stats = {
            "steps": self.done,
            "elapsed": elapsed,
            "separation": self.monitor.history,
            "failures": int(carry.failures),
            "fiber_steps": self._fiber_steps(carry),
            "stability": self.limits.history,
        }
        stats |= self.field.driver.stats(carry.section) | ({"clock": self.clocks} if self.clocks else {})
        count, section = self.field.sites.count, carry.section
        if self.field.sites.padded > count:
            section = map_rows(lambda x: x[:count], section)
        end = end_of(self.plan, self.saved, carry._replace(section=None), self._origin())
        return Solution(ts, macro, response, result, section, stats, self.field.bundle.macro, energy, stderr, margin, end)

"""`evolve`: a bundle advanced in time, macrostate and fibers together."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from fiberax.core.arguments import check_run, check_unstable, finite, floats
from fiberax.core.bundle import Bundle, check_fit
from fiberax.core.driver import AbstractDriver, AbstractSectionDriver
from fiberax.core.errors import BadInput
from fiberax.core.fiber import workspace_of
from fiberax.core.field import Field
from fiberax.core.keys import typed_key
from fiberax.core.loop import Loop, Watch, begin, observe, one_step
from fiberax.core.platform import check_platform, need_double
from fiberax.core.progress import listener
from fiberax.core.randomness import warn_unused_key
from fiberax.core.recorder import AbstractRecorder, Snapshot
from fiberax.core.schedule import Schedule, lengthened, schedule
from fiberax.core.signals import agree
from fiberax.core.sites import Placement, lay_out
from fiberax.core.snapshots import schedule_of, snapshot_of
from fiberax.core.solution import Solution
from fiberax.core.steppers import AbstractStepper, default_stepper
from fiberax.core.traced import is_traced


def evolve(
    bundle: Bundle,
    driver: AbstractDriver,
    macro0: Any,
    *,
    t0: float = 0.0,
    t1: float,
    dt: float,
    saveat=None,
    key: jax.Array | None = None,
    stepper: AbstractStepper | None = None,
    placement: Placement | None = None,
    fail_fraction: float = 0.0,
    progress=None,
    checkpoint: AbstractRecorder | None = None,
    start: Snapshot | Solution | None = None,
    allow_unstable: bool = False,
) -> Solution:
    """Advance a bundle in time, macrostate and fibers together.

    Under jit, grad or vmap the same steps run as a differentiable scan, without retries, progress and checkpoints. Ctrl-C ends
    the run after a snapshot.

    Args:
        bundle: Macro model, fiber, link and transport.
        driver: How fibers follow their conditions.
        macro0: The macrostate at `t0`, a tree of finite arrays.
        t0: Start, macro time.
        t1: End, macro time.
        dt: Longest macro step. Between two save times steps are equal.
        saveat: Increasing save times from `t0` to `t1`; None for `t1` alone.
        key: Seed of all noise, default key 0.
        stepper: Macro scheme; None for `IMEX()` or `Extrapolation()` where the kind of model needs it, else `Heun()`.
        placement: Devices and chunks.
        fail_fraction: Share of the sites that may fail, 0 to 1. Failed sites keep their last good response; a site that never
            had one uses that of the nearest site.
        progress: Called with a `Report` from time to time; True prints lines on standard error.
        checkpoint: Receives records and snapshots.
        start: A snapshot to go on from. `bundle`, `macro0`, `t0`, `dt`, `stepper`, `key` and the save times before the snapshot
            are then those of its run; later save times, `t1`, and the accuracy of solves may change. Of a bundle its types and
            numbers are compared, and not what plain functions hold. Or the solution of an `evolve`, whose run is made longer:
            `t1` is later, `saveat` gives the times from then on, `bundle`, `macro0`, `stepper` and `key` are those of before.
            The result has all times, with the digits of one long run that saves at them.
        allow_unstable: Whether to go on where a stability margin (`AbstractMonitored`) is not positive at a save time.

    Returns:
        The solution at the save times.

    Raises:
        Mismatch: The pieces do not fit; before anything is computed.
        BadInput: Numbers that cannot be computed with, options without effect; before anything is computed.
        FiberFailure: More fibers failed than allowed.
        NonFiniteMacro: The macrostate is not finite.
        NotConverged: An implicit step did not converge.
        StabilityLost: A stability margin is not positive.

    Warns with `StepLimitWarning`, `UnstableRestWarning` and `ScaleSeparationWarning`; with `NoEffectWarning` where a `key` is
    given and the fibers draw nothing.
    """
    check_run("evolve", bundle, driver, macro0, stepper)
    plan = lengthened(schedule_of(start), t0, t1, dt, saveat) if isinstance(start, Solution) else schedule(t0, t1, dt, saveat)
    field, macro0, response, samples = assemble(bundle, driver, macro0, plan, key, placement, start)
    driver = field.driver
    check_unstable("evolve", field.fiber, allow_unstable)
    macro0 = field.bundle.macro.prescribed(jnp.asarray(plan.stretches[0].start, float), macro0)
    stepper = default_stepper(bundle.macro) if stepper is None else stepper
    stepper.check(bundle.macro)
    if stepper.accuracy is not None:
        need_double(f"evolve with {type(stepper).__name__}", stepper.accuracy.tolerance)
    if stepper.needs_tangents:
        driver.check_tangents(field.fiber)
    stepper.check_step(min(stretch.dt for stretch in plan.stretches))
    if not field.retry:
        driver.check_traced()
        if start is not None:
            raise BadInput("evolve: start cannot be used under jit, grad or vmap. Begin at macro0, or run outside of them.")
        return _traced_evolve(field, stepper, macro0, plan, response, samples)
    loop = Loop(field, stepper, plan, Watch(listener(progress), checkpoint), fail_fraction, allow_unstable)
    if isinstance(start, Solution):
        start, loop.records = snapshot_of(field.sites, start)
    return loop.run(macro0, response, samples, start)


def assemble(bundle, driver, macro0, plan: Schedule, key, placement, start=None) -> tuple[Field, Any, Any, int]:
    """The field of a run, its macrostate as arrays, the shape of one response, and the stored samples of averages.

    A driver over all sites that does not pay is replaced; a run that goes on from `start` keeps what it began with.
    """
    macro0 = floats("The macrostate macro0", macro0)
    finite("The macrostate macro0", macro0)
    conditions, state, response = check_fit(bundle, macro0)
    count = jax.tree.leaves(conditions)[0].shape[0]
    size = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state) if not jnp.issubdtype(x.dtype, jax.dtypes.prng_key))
    sites = lay_out(count, size, placement, driver.slaved, workspace_of(bundle.fiber))
    warn_unused_key("evolve", bundle.fiber, jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), conditions), key)
    key = typed_key("evolve", key)
    fiber = driver.prepare(bundle.fiber)
    check_platform()
    traced = is_traced(bundle, driver, macro0, key)
    field = Field(bundle, driver, fiber, sites, key, not traced, borrow=True)
    if isinstance(driver, AbstractSectionDriver) and not traced:
        driver = driver if _kept(driver, field, macro0, response, start) else driver.alone
        field = dataclasses.replace(field, driver=driver)
    shortest = min(stretch.dt for stretch in plan.stretches)
    return field, macro0, response, driver.samples(shortest)


def _kept(driver: AbstractSectionDriver, field: Field, macro, response, start: Any) -> bool:
    """Whether a run keeps its driver over all sites: as before where it goes on, else if it pays, on process 0."""
    if isinstance(start, Solution):
        return bool(jax.tree.leaves(start.section.shared))
    if start is not None:
        return any(name.startswith("section_shared") for name in start.leaves)
    return bool(agree(float(driver.pays(field, macro, response)))[0])


def _traced_evolve(field: Field, stepper, macro0, plan: Schedule, response, samples) -> Solution:
    carry = begin(field, macro0, response, samples)
    saved = []
    first = plan.stretches[0]
    if plan.save_start:
        saved.append((first.start, carry.macro, *observe(field, carry, first.start, first.dt)[:4]))
    for stretch in plan.stretches:
        step = jax.checkpoint(lambda carry, t, dt=stretch.dt: one_step(field, stepper, 0, carry, t, jnp.asarray(dt)))
        times = stretch.start + stretch.dt * jnp.arange(stretch.steps)
        carry, _ = jax.lax.scan(lambda c, t, step=step: (step(c, t), None), carry, times)
        if stretch.save:
            saved.append((stretch.end, carry.macro, *observe(field, carry, stretch.end, stretch.dt)[:4]))
    ts, macro, responses, results, energies, errors = zip(*saved, strict=True)
    stack = lambda trees_: jax.tree.map(lambda *x: jnp.stack(x), *trees_)
    stats = {"steps": plan.steps}
    model = field.bundle.macro
    macro, responses, results, energies, errors = map(stack, (macro, responses, results, energies, errors))
    return Solution(jnp.asarray(ts), macro, responses, results, carry.section, stats, model, energies, errors)

"""Steady states of a bundle: rate(U, A(U)) = 0 by Newton through the responses."""

import time
import warnings
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from fiberax.core.arguments import check_run, check_unstable
from fiberax.core.bundle import Bundle
from fiberax.core.driver import AbstractDriver, AbstractSectionDriver
from fiberax.core.errors import FiberFailure, Mismatch, NotConverged
from fiberax.core.evolve import assemble
from fiberax.core.failure import demand_stability, fiber_message
from fiberax.core.fiber import AbstractDynamic
from fiberax.core.field import Field
from fiberax.core.macro import AbstractInertial, AtRest, Moving
from fiberax.core.macro_solve import Accuracy, Iterate, Step, first_iterate, next_iterate, slopes, solve_macro
from fiberax.core.platform import in_single, need_double
from fiberax.core.progress import listener
from fiberax.core.recorder import Report
from fiberax.core.relax import at_rest as rest_of
from fiberax.core.schedule import schedule
from fiberax.core.sites import Placement, to_host
from fiberax.core.solution import Solution
from fiberax.core.stability import warn_unstable_rest

_first = eqx.filter_jit(first_iterate)
_next = eqx.filter_jit(next_iterate, donate="none")


@eqx.filter_jit
def begin_section(field: Field, macro, like, samples):
    """Fibers from their `init` under the conditions of `macro`."""
    return field.begin(macro, like, samples)


@eqx.filter_jit
def _states(field: Field, macro, section):
    return field.states(jnp.zeros((), jnp.uint32), macro, section)


@eqx.filter_jit
def judge(field: Field, macro, section):
    """Energies and stability margins of all sites; None for fibers that have none."""
    return field.energy(macro, section), field.stability_margin(macro, section)


@eqx.filter_jit
def _slopes(field: Field, t, at: Iterate):
    """`slopes` where the search begins, for a start that is steady already: no step has found them."""
    tangents = None if isinstance(field.bundle.macro, AtRest) else field.tangents(at.macro, at.section)
    return slopes(field, t, at.macro, at.section, tangents)


@eqx.filter_jit
def accept(field: Field, macro, section, dt):
    """`Field.accept` of a state that is kept, `dt` after the one before it."""
    return field.accept(jnp.zeros((), jnp.uint32), macro, section, dt)


def steady(
    bundle: Bundle,
    driver: AbstractDriver,
    macro0: Any,
    *,
    t: float = 0.0,
    tolerance: float = 1e-9,
    max_steps: int = 50,
    placement: Placement | None = None,
    fail_fraction: float = 0.0,
    progress=None,
    allow_unstable: bool = False,
) -> Solution:
    """The macrostate with rate zero, by Newton's method with the tangents of the fibers.

    Differentiable under jit and grad by the implicit function theorem.

    Args:
        bundle: Macro model, fiber and link.
        driver: `Quasistatic` or `Monolithic`.
        macro0: Where the search begins. For an inertial model a position, or a `Moving`.
        t: Macro time at which rates are taken.
        tolerance: Of the last Newton update, relative to the macrostate.
        max_steps: Largest number of Newton steps.
        placement: Devices and chunks.
        fail_fraction: Share of the sites that may fail, 0 to 1.
        progress: Called with a `Report` after each step; True prints lines on standard error.
        allow_unstable: Whether stability margins may be not positive, see `evolve`.

    Returns:
        A solution with one time (leading axes of length 1); its macrostate is like `macro0`, velocities are zero. `stats`
        holds the number of `steps`, and the `residuals` before each of them and after the last.

    Raises:
        Mismatch: The pieces do not fit, the driver carries states in time, or fibers have a history.
        BadInput: Numbers that cannot be computed with, options without effect.
        NotConverged: Newton's method did not converge.
        FiberFailure: More fibers failed than allowed.
        StabilityLost: A stability margin is not positive.
    """
    need_double("fx.steady", tolerance)
    field, macro, like, samples, moving = at_rest(bundle, driver, macro0, placement, "steady")
    check_unstable("steady", field.fiber, allow_unstable)
    macro = field.bundle.macro.prescribed(jnp.asarray(t, float), macro)
    if field.remembers:
        raise Mismatch(
            f"steady: the response of {type(field.fiber).__name__} depends on the way there. Use fx.continuation, or fx.evolve."
        )
    if not field.retry:
        driver.check_traced()
        section = field.begin(macro, like, samples)
        step, zero = jnp.zeros((), jnp.uint32), jnp.zeros(())
        at = Step(step, jnp.asarray(t, float), zero, macro, section)
        macro, section, good = solve_macro(field, at, macro, zero, Accuracy(tolerance, max_steps))
        # Responses anew, so that they carry the derivatives of the macrostate that was found.
        section = field.advance(step, macro, section, zero)
        return _solution(field, bundle, t, _given(macro, moving), section, {"converged": good}, field.energy(macro, section))
    macro = field.sites.replicated(to_host(macro))
    section = begin_section(field, macro, like, samples)
    newton = Newton(field, tolerance, max_steps, fail_fraction, listener(progress))
    at = newton.solve(t, macro, section)
    warn_unstable_rest(field, at.macro, at.section)
    energy, margins = judge(field, at.macro, at.section)
    if margins is not None and not allow_unstable:
        demand_stability(field, at.macro, at.section, margins, f"at the steady state (t = {t:.6g})")
    stats = {"steps": int(at.steps), "residuals": newton.residuals, "fiber_steps": newton.work}
    stats |= field.driver.stats(at.section)
    section = at.section
    if isinstance(field.driver, AbstractSectionDriver):
        section = section._replace(state=field.sites.pad(_states(field, at.macro, section)))
    found = _given(at.macro, moving)
    return jax.tree.map(np.asarray, _solution(field, bundle, t, found, section, stats, energy))


def at_rest(bundle, driver, macro0, placement, who: str) -> tuple[Field, Any, Any, int, bool]:
    """What `assemble` gives, with inertial models as functions of their position, and whether `macro0` had a velocity."""
    check_run(who, bundle, driver, macro0)
    if not driver.slaved:
        kind, only_dynamics = type(bundle.fiber).__name__, isinstance(rest_of(bundle.fiber), AbstractDynamic)
        remedy = f"{kind} has only dynamics: go there in time, by fx.evolve." if only_dynamics else "Use fx.Quasistatic()."
        raise Mismatch(f"{who} needs a response to every condition; {type(driver).__name__} carries states in time. {remedy}")
    moving = isinstance(bundle.macro, AbstractInertial) and isinstance(macro0, Moving)
    if isinstance(bundle.macro, AbstractInertial):
        bundle = eqx.tree_at(lambda b: b.macro, bundle, AtRest(bundle.macro, steady=True))
    plan = schedule(0.0, 1.0, 1.0, None)
    found = assemble(bundle, driver, macro0.position if moving else macro0, plan, None, placement)
    found[0].driver.check_tangents(found[0].fiber)
    return *found, moving


def _given(macro, moving: bool):
    return Moving(macro, jax.tree.map(jnp.zeros_like, macro)) if moving else macro


def _solution(field: Field, bundle, t: float, macro, section, stats, energy) -> Solution:
    response, result = field.sites.trim(section.response), field.results(section)
    lead = jax.tree.map(lambda x: jnp.asarray(x)[None], (float(t), macro, response, result, energy))
    ts, macro, response, result, energy = lead
    return Solution(ts, macro, response, result, section, stats, bundle.macro, energy)


class Newton:
    """Newton's method for steady states, and what happens between its jitted iterations: progress, failures, messages."""

    def __init__(self, field: Field, tolerance: float, max_steps: int, fail_fraction: float, progress):
        self.field, self.tolerance, self.max_steps, self.progress = field, tolerance, max_steps, progress
        self.limit = int(np.floor(fail_fraction * field.sites.count + 1e-9))
        self.residuals: list[float] = []
        self.work = 0  # steps of the solves of all fibers

    def solve(self, t: float, macro, section, since: float = 0.0) -> Iterate:
        """The last iterate from `macro`, the fibers beginning with the states of `section`.

        `since`: macro time since the last accepted state, for fibers with memory. Raises `FiberFailure` and `NotConverged`.
        """
        begun, time_, zero = time.perf_counter(), jnp.asarray(t, jnp.result_type(float)), jnp.zeros(())
        dt = jnp.asarray(since, jnp.result_type(float))
        at, found = _first(self.field, time_, macro, section, dt), None
        started = None  # how rates change at the start: where Newton's method ran away to, none may
        if int(at.steps) < 0:
            at, _ = _next(self.field, time_, zero, at, dt)
        self.residuals = [float(at.norm)]
        why = self.field.bundle.macro.no_steady_state(t, at.macro)
        if why:
            raise NotConverged(f"steady: {why}")
        while True:
            failed = self._failures(at)
            if not np.isfinite(float(at.norm)):
                raise NotConverged(
                    "steady: the residual of the macro model is not finite at the start. Check macro0 and the boundary values."
                )
            done = float(at.update) <= self.tolerance or (float(at.norm) == 0.0 and not self.field.driver.coupled)
            self._report(at, t, done, begun, failed)
            if done:
                self._warn_if_undetermined(time_, at, found)
                return at
            if int(at.steps) >= self.max_steps or not np.isfinite(float(at.update)):
                raise NotConverged(self._words(time_, at, started))
            at, found = _next(self.field, time_, zero, at, dt)
            started = found if started is None else started
            self.residuals.append(float(at.norm))

    def _failures(self, at: Iterate) -> int:
        out = to_host(self.field.outcomes(at.section))
        failed = int(np.sum(out.result != 0))
        self.work += int(np.sum(out.steps))
        if failed > self.limit:
            where = f"in Newton step {int(at.steps)}"
            raise FiberFailure(fiber_message(self.field, at.macro, at.section, where, self.limit))
        return failed

    def _words(self, t, at: Iterate, started) -> str:
        refused = int(at.refused)
        because = f", since {refused} fibers fail beyond" if refused else ""
        stopped = f"steady: Newton stopped after {int(at.steps)} steps with a residual of {float(at.norm):.3g}{because}."
        changes = started or _slopes(self.field, t, at)
        if changes is not None and changes[1] == 0.0:
            return (
                f"{stopped} No rate depends on the macrostate, as where nothing conducts: the responses are zero, and no "
                "macrostate balances the source and the sides. Look at the fibers (fx.response)."
            )
        return (
            f"{stopped} Start closer to the solution, or go there by fx.continuation, or by fx.evolve with an implicit "
            f"stepper.{in_single()}"
        )

    def _report(self, at: Iterate, t: float, done: bool, begun: float, failed: int) -> None:
        if self.progress is None:
            return
        steps = int(at.steps)
        elapsed, sites = time.perf_counter() - begun, self.field.sites.count
        self.progress(Report(steps, steps if done else self.max_steps, t, t, elapsed, float("nan"), failed, sites, None))

    def _warn_if_undetermined(self, t, at: Iterate, found) -> None:
        """Warn where no equation fixes a constant (all sides insulated or periodic) or nothing is fixed: it has been chosen."""
        changes = found or _slopes(self.field, t, at)
        if changes is None:
            return
        constant, wave = changes
        if wave == 0.0:
            warnings.warn(
                "steady: no rate depends on the macrostate, as where nothing conducts (responses of zero): every macrostate is "
                "steady apart from values that are given, and the one returned is that of the start. Look at the fibers "
                "(fx.response).",
                stacklevel=4,
            )
        elif constant <= 1e-9 * wave:
            warnings.warn(
                "steady: the macrostate is determined only up to a constant; the one returned has no meaning of its own. "
                "Fix it by a boundary value or a source, or use fx.evolve, which keeps the mean of the start.",
                stacklevel=4,
            )

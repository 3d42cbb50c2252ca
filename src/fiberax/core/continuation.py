"""Steady states along a load: rate(t, U, A(U)) = 0 for t from t0 to t1, by Newton from an extrapolated start.

The step is halved where Newton's method fails or fibers lose stability, and grows where Newton needs few steps.
"""

import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fiberax.core.arguments import check_unstable
from fiberax.core.bundle import Bundle
from fiberax.core.driver import AbstractDriver, Section
from fiberax.core.errors import BadInput, FiberFailure, NotConverged, StabilityLost
from fiberax.core.failure import demand_stability
from fiberax.core.field import Field
from fiberax.core.loop import Watch
from fiberax.core.macro import Moving
from fiberax.core.parameters import brief
from fiberax.core.platform import need_double
from fiberax.core.progress import listener
from fiberax.core.recorder import AbstractRecorder, Record, Report, Snapshot
from fiberax.core.signals import Interrupt
from fiberax.core.sites import Placement, to_host
from fiberax.core.snapshots import check_bundle, checksum, restored, snapshot_leaves
from fiberax.core.solution import Solution
from fiberax.core.stability import warn_unstable_rest
from fiberax.core.steady import Newton, accept, at_rest, begin_section, judge

_EASY = 5  # Newton steps up to which the next load step may be longer
_GROWTH = 1.5


class _Carry(NamedTuple):
    """The last two equilibria, and the load step to try next."""

    t: jax.Array
    macro: Any
    t_before: jax.Array
    before: Any
    dt: jax.Array
    section: Section


def continuation(
    bundle: Bundle,
    driver: AbstractDriver,
    macro0: Any,
    *,
    t0: float = 0.0,
    t1: float = 1.0,
    dt: float,
    dt_min: float | None = None,
    tolerance: float = 1e-9,
    max_steps: int = 15,
    placement: Placement | None = None,
    fail_fraction: float = 0.0,
    progress=None,
    checkpoint: AbstractRecorder | None = None,
    start: Snapshot | None = None,
    allow_unstable: bool = False,
) -> Solution:
    """Steady states at increasing loads: the macro model's `t` is the load.

    Where Newton does not converge within `max_steps`, or more fibers fail than allowed, or one loses stability, the step is
    halved. Below `dt_min` the path ends.

    Args:
        bundle: Macro model, fiber and link; fibers may have a history.
        driver: `Quasistatic` or `Monolithic`.
        macro0: A macrostate near the equilibrium at `t0`.
        t0: First load.
        t1: Last load.
        dt: Longest step.
        dt_min: Shortest step, default dt/64.
        tolerance: Of the last Newton update, relative to the macrostate.
        max_steps: Largest number of Newton steps for one state.
        placement: Devices and chunks.
        fail_fraction: Share of the sites that may fail, 0 to 1.
        progress: As in `evolve`.
        checkpoint: As in `evolve`.
        start: A snapshot to go on from, at a load between `t0` and `t1`. `bundle`, `macro0` and `t0` are then those of its
            path; `t1`, the steps and the accuracy may change.
        allow_unstable: Whether to go on where stability margins are not positive.

    Returns:
        A solution with every accepted state; its time axis is the load. `stats["stopped"]` says in words why the path ended
        early (None: `t1` was reached), `stats["newton"]` the Newton steps of each state.

    Raises:
        BadInput: Numbers that cannot be computed with, options without effect, or a call under a JAX transformation.
        Mismatch, NotConverged, FiberFailure, StabilityLost: As `steady`, where the state at `t0` cannot be found.
    """
    if not (np.isfinite(t0) and np.isfinite(t1) and t1 > t0):
        raise BadInput(f"continuation: t1 must be larger than t0; t0 = {t0}, t1 = {t1}.")
    if not (np.isfinite(dt) and dt > 0.0):
        raise BadInput(f"continuation: the load step dt must be positive; it is {dt}.")
    dt_min = dt / 64 if dt_min is None else dt_min
    if not 0.0 < dt_min <= dt:
        raise BadInput(f"continuation: dt_min must lie between 0 and dt = {dt}; it is {dt_min}.")
    need_double("fx.continuation", tolerance)
    field, macro, like, samples, moving = at_rest(bundle, driver, macro0, placement, "continuation")
    check_unstable("continuation", field.fiber, allow_unstable)
    if not field.retry:
        raise BadInput("continuation cannot be traced or differentiated: differentiate fx.steady at the load wanted.")
    macro = field.sites.replicated(to_host(macro))
    section = begin_section(field, macro, like, samples)
    path = _Path(field, Newton(field, tolerance, max_steps, fail_fraction, None), (t1, dt, dt_min), allow_unstable, moving)
    return path.run(t0, macro, section, Watch(listener(progress), checkpoint), start, bundle.macro)


def _check_start(start: Snapshot, origin: dict[str, np.ndarray]) -> None:
    """Raise `BadInput` where `start` is of a path with another first load, or another macrostate there."""
    t0, here = start.leaves.get("run_t0"), origin["run_t0"]
    if t0 is not None and abs(t0 - here) > 1e-12 * max(abs(t0), abs(here)):
        raise BadInput(
            f"continuation: the snapshot is of a path from t0 = {float(t0):.9g}, and this one has t0 = {float(here):.9g}. Hand "
            "in the t0 of that path; or leave start out and begin a new one."
        )
    if start.leaves.get("run_macro", origin["run_macro"]) != origin["run_macro"]:
        raise BadInput(
            "continuation: start carries the macrostate to go on with, and macro0 is not the one that path began with. Hand in "
            "the macro0 of that path; or leave start out to begin a new one from another macrostate."
        )


class _Path:
    """One run of `continuation`."""

    def __init__(self, field: Field, newton: Newton, span: tuple[float, float, float], allow_unstable: bool, moving: bool):
        self.field, self.newton, self.allow_unstable, self.moving = field, newton, allow_unstable, moving
        self.t1, self.dt, self.dt_min = span
        self.brief = brief(field.bundle)
        self.records: list[Record] = []
        self.counts: list[int] = []
        self.saved, self.reached, self.reached_at = 0, 0.0, 0.0
        self.pace: tuple[float, float] | None = None  # load, and time, after the first equilibrium here, which compiles

    def run(self, t0: float, macro, section, watch: Watch, start: Snapshot | None, model) -> Solution:
        """From `t0`, or from a snapshot, to the end."""
        begun, stopped = time.perf_counter(), None
        self.origin = {"run_t0": np.asarray(float(t0)), "run_macro": np.asarray(checksum(macro), np.uint32)}
        self.saved = 0 if start is None else start.saved
        self._tell(t0 if start is None else start.t, 0, watch, t0, begun)  # before the first compilation, which takes long
        self.newton.progress = lambda report: self._tell(self.reached, report.failed, watch, t0, begun)
        time0, step = jnp.asarray(float(t0)), jnp.asarray(float(self.dt))
        carry = _Carry(time0, macro, time0, macro, step, section)
        if start is not None:
            if not t0 <= start.t <= self.t1:
                raise BadInput(
                    f"continuation: the snapshot is at t = {start.t:.9g}, outside of this path from t0 = {t0:.9g} to t1 = "
                    f"{self.t1:.9g}. Hand in the t0 of its path, and a t1 beyond it."
                )
            carry = restored(self.field.sites, carry, start)
            check_bundle("continuation", self.brief, start)
            _check_start(start, self.origin)
        else:
            carry, judged = self._equilibrium(carry, t0, macro)
            carry = carry._replace(t_before=carry.t, before=carry.macro)
            self._record(carry, judged, watch)
            self.pace = float(carry.t), time.perf_counter()
        with Interrupt() as interrupt:
            while stopped is None and float(carry.t) < self.t1 - 1e-14 * abs(self.t1):
                self._pause(carry, watch, interrupt.asked, t0, begun)
                carry, stopped = self._advance(carry, watch)
                self.pace = self.pace or (float(carry.t), time.perf_counter())
        self._pause(carry, watch, False, t0, begun)
        stats = {"steps": self.saved - 1, "newton": self.counts, "stopped": stopped, "elapsed": time.perf_counter() - begun}
        stats |= {"fiber_steps": self.newton.work} | self.field.driver.stats(carry.section)
        stack = lambda values: jax.tree.map(lambda *x: np.stack(x), *values) if values else None
        names = ("t", "macro", "response", "result", "energy", "stability_margin")
        ts, macros, responses, results, energies, margins = (stack([getattr(r, name) for r in self.records]) for name in names)
        return Solution(ts, macros, responses, results, carry.section, stats, model, energies, stability_margin=margins)

    def _advance(self, carry: _Carry, watch: Watch) -> tuple[_Carry, str | None]:
        """The next equilibrium, and None; or the same one, and why there is none."""
        t, dt = float(carry.t), float(carry.dt)
        while True:
            # The last step may be a little longer, so that no very short one is left over.
            goal = self.t1 if t + 1.01 * dt >= self.t1 else t + dt
            try:
                new, judged = self._equilibrium(carry, goal, self._predicted(carry, goal))
            except (NotConverged, FiberFailure, StabilityLost) as error:
                dt = 0.5 * (goal - t)
                if dt < self.dt_min:
                    return carry, f"No step of {self.dt_min:.3g} beyond t = {t:.6g}: {error}"
                continue
            easy = self.counts[-1] <= _EASY
            dt = min(self.dt, _GROWTH * dt) if easy else dt
            new = new._replace(t_before=carry.t, before=carry.macro, dt=jnp.asarray(dt))
            self._record(new, judged, watch)
            return new, None

    def _predicted(self, carry: _Carry, goal: float):
        """Extrapolation of the last two equilibria; the last one where that is not admissible."""
        span = float(carry.t) - float(carry.t_before)
        if span <= 0.0:
            return carry.macro
        slope = (goal - float(carry.t)) / span
        guess = jax.tree.map(lambda u, b: u + slope * (u - b), carry.macro, carry.before)
        return guess if bool(self.field.bundle.macro.admissible(guess)) else carry.macro

    def _equilibrium(self, carry: _Carry, t: float, guess) -> tuple[_Carry, Any]:
        span = t - float(carry.t)
        at = self.newton.solve(t, guess, carry.section, span)
        energy, margins = judge(self.field, at.macro, at.section)
        if margins is not None and not self.allow_unstable:
            demand_stability(self.field, at.macro, at.section, margins, f"at t = {t:.6g}", remedy="")
        if not self.counts:
            warn_unstable_rest(self.field, at.macro, at.section)
        self.counts.append(int(at.steps))
        section = accept(self.field, at.macro, at.section, jnp.asarray(span, jnp.result_type(float)))
        return carry._replace(t=jnp.asarray(float(t)), macro=at.macro, section=section), (energy, None, margins)

    def _record(self, carry: _Carry, judged: tuple, watch: Watch) -> None:
        response, result = self.field.sites.trim(carry.section.response), self.field.results(carry.section)
        macro = Moving(carry.macro, jax.tree.map(jnp.zeros_like, carry.macro)) if self.moving else carry.macro
        wanted = watch.checkpoint is not None and watch.checkpoint.wants_states
        state = self.field.sites.trim(carry.section.state) if wanted else None
        record = Record(self.saved, float(carry.t), *to_host((macro, response, result, *judged, state)))
        self.saved += 1
        if watch.checkpoint is not None:
            watch.checkpoint.record(record)
            if watch.checkpoint.keeps_records:
                self.records.clear()
        self.records.append(record._replace(state=None))

    def _pause(self, carry: _Carry, watch: Watch, asked: bool, t0: float, begun: float) -> None:
        """Between two load steps: snapshot, progress, and the end of the run after an interrupt."""
        t, count = float(carry.t), self.saved - 1
        if watch.checkpoint is not None and (asked or watch.checkpoint.due()):
            leaves = snapshot_leaves(self.field.sites, carry) | self.origin | self.brief.leaves()
            watch.checkpoint.save(Snapshot(count, t, self.saved, leaves))
        if asked:
            raise KeyboardInterrupt
        if watch.progress is not None:
            failed = int(np.sum(to_host(self.field.outcomes(carry.section).result) != 0))
            self._tell(t, failed, watch, t0, begun)

    def _tell(self, t: float, failed: int, watch: Watch, t0: float, begun: float) -> None:
        """Progress: the last load that was reached, also while Newton's method works on the next."""
        now, count = time.perf_counter(), max(self.saved - 1, 0)
        if t != self.reached:
            self.reached, self.reached_at = t, now
        if watch.progress is None:
            return
        elapsed, share = now - begun, (t - t0) / (self.t1 - t0)
        planned = round(count / share) if share > 1e-3 else round((self.t1 - t0) / self.dt)
        total = count if t >= self.t1 else max(count + 1, planned)
        eta = float("nan")
        if self.pace is not None and t > self.pace[0]:
            rate = (self.reached_at - self.pace[1]) / (t - self.pace[0])
            eta = max(0.0, rate * (self.t1 - t) - (now - self.reached_at))
        watch.progress(Report(count, total, t, self.t1, elapsed, eta, failed, self.field.sites.count, None))

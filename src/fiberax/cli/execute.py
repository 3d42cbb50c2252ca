"""Computation of a problem in its folder: records, checkpoints, log and state meanwhile."""

import dataclasses
import json
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import fiberax as fx
from fiberax.cases.base import Case, Evolve, Loading, Problem, Steady, Table
from fiberax.cases.homogenization.shapes import with_shape
from fiberax.cases.solids.bodies import with_body
from fiberax.cli.display import Display, of_library
from fiberax.cli.finish import Ending, Outcome, finish
from fiberax.cli.memory import large_states
from fiberax.cli.table import compute_table
from fiberax.core.recorder import Record
from fiberax.core.solvers import solver_of
from fiberax.io import log
from fiberax.io.atomic import write_text
from fiberax.io.checkpoint import newest_checkpoint
from fiberax.io.dataset import grid_of
from fiberax.io.microstates import Microstate, write_microstates
from fiberax.io.recorder import FolderRecorder, named_leaves
from fiberax.io.records import drop_records, lost_records
from fiberax.io.results import Quantity
from fiberax.numerics.compilation import jit_once

STATE_INTERVAL = 0.5
LOG_INTERVAL = 10.0
_OUTCOME = {"words": str, "missing": str, "records": int}


@dataclass(frozen=True)
class Job:
    """One process's share of a run of a case: where it writes, where it computes, how it is shown."""

    case: Case
    folder: Path
    display: Display
    placement: Any
    checkpoint_every: float
    figures: bool
    origin: dict[str, Any]
    resumed: bool = False


class Pulse:
    """Passes each progress report to the display, and some of them to the state file and the log."""

    def __init__(self, job: Job, recorder: FolderRecorder, steady: bool = False):
        self._job, self._recorder, self._steady = job, recorder, steady
        self._state_at = self._log_at = -np.inf
        self._first = jax.process_index() == 0

    def __call__(self, report) -> None:
        """Pass on a `Report` of `fx.evolve`."""
        fields = {
            "step": int(report.step),
            "steps": int(report.steps),
            "t": float(report.t),
            "t1": float(report.t1),
            "elapsed": float(report.elapsed),
            "eta": float(report.eta) if np.isfinite(report.eta) else None,
            "failed": int(report.failed),
            "sites": int(report.sites),
            "separation": _separation(report.separation),
        }
        words = "Newton steps" if self._steady else f"t = {report.t:.4g}"
        if report.failed:
            words += f", {report.failed} of {report.sites} sites failed"
        self.beat(fields, words)

    def beat(self, fields: dict[str, Any], words: str) -> None:
        """Pass on the fields of a report and the text of the display."""
        if not self._first:
            return
        self._job.display.show(fields["step"], fields["steps"], words, fields["eta"])
        now, last = time.monotonic(), fields["step"] >= fields["steps"]
        fields = fields | {"saved": self._recorder.saved}
        logged = last or now - self._log_at >= LOG_INTERVAL
        if logged or now - self._state_at >= STATE_INTERVAL:
            self._state_at = now
            # To wait for the disk at each report would slow down what takes milliseconds; a damaged state is rebuilt.
            log.write_state(self._job.folder, "running", fields, durable=logged)
        if logged:
            self._log_at = now
            log.append_event(self._job.folder, "progress", fields)


def compute(problem: Problem, job: Job) -> tuple[str, str]:
    """Compute `problem` to its end and write everything.

    Returns one line on the result, and one on what is not in it, rows of a table that failed or records that are lost; empty
    where nothing is.

    Raises what `fx.evolve` and `fx.steady` raise, `SaveFailed` where a file cannot be written, and KeyboardInterrupt after a
    checkpoint where the user stopped it.
    """
    begun, problem = time.monotonic(), with_shape(with_body(problem))
    warnings.showwarning = _as_message(job)
    words = None if isinstance(problem, Table) else large_states(problem)
    if words is not None:
        job.display.say(f"Memory: {words}.")
    outcome = _computed_before(job) or _computed(problem, job)
    missing = outcome.missing
    if jax.process_index() == 0:
        job.display.close()
        # A run that is stopped from here on has only this end left to do.
        state = log.read_state(job.folder) | {"computed": outcome._asdict() | {"origin": job.origin}}
        log.write_state(job.folder, "running", state)
        lost = finish(problem, Ending(job.folder, job.case, job.figures, job.display.say), outcome.records)
        missing = " ".join(filter(None, (missing, lost)))
    return f"{outcome.words}, {time.monotonic() - begun:.1f} s", missing


def _computed_before(job: Job) -> Outcome | None:
    """The outcome of a run that was stopped after its computation, while results and figures were made."""
    computed = log.read_state(job.folder).get("computed", {}) if job.resumed else {}
    if computed.pop("origin", None) != job.origin or {name: type(value) for name, value in computed.items()} != _OUTCOME:
        return None
    return Outcome(**computed)


def _computed(problem: Problem, job: Job) -> Outcome:
    match problem:
        case Evolve():
            return _evolve(problem, job)
        case Steady():
            return _steady(problem, job)
        case Loading():
            return _loading(problem, job)
        case Table():
            return _table(problem, job)


def _as_message(job: Job):
    """Python's hook for warnings; prints and logs those of the library as one line."""
    usual = warnings.showwarning

    def show(message, category, filename, lineno, file=None, line=None):
        if not of_library(category, filename):
            usual(message, category, filename, lineno, file, line)
        elif jax.process_index() == 0:
            job.display.say(f"Warning: {message}")
            log.append_event(job.folder, "warning", {"message": str(message)})

    return show


def _recorder(job: Job, problem: Problem) -> FolderRecorder:
    """The recorder of a new or a resumed run."""
    output, body = problem.output, problem.output.body
    coords, places = ({}, None) if isinstance(problem, Table) else grid_of(problem.bundle.macro, body, problem.output)
    if body is not None:  # nodes of a mesh form no grid
        output = dataclasses.replace(output, states="written") if body.deforms else output
        if jax.process_index() == 0:
            body.save(job.folder)
    return FolderRecorder(job.folder, job.checkpoint_every, coords, problem.names, output, job.origin, places)


def _begun(problem: Evolve | Loading, job: Job) -> tuple[dict[str, Any], FolderRecorder]:
    """Arguments of all runs along a time or a load: progress, checkpoints, and the snapshot to go on from."""
    start = _take_up(job) if job.resumed else None
    recorder = _recorder(job, problem)
    recorder.saved = 0 if start is None else start.saved
    common = {"placement": job.placement, "progress": Pulse(job, recorder), "checkpoint": recorder, "start": start}
    return common, recorder


def _evolve(problem: Evolve, job: Job) -> Outcome:
    common, recorder = _begun(problem, job)
    solution = fx.evolve(
        problem.bundle,
        problem.driver,
        problem.macro0,
        t0=problem.t0,
        t1=problem.t1,
        dt=problem.dt,
        saveat=problem.saveat,
        key=jax.random.key(problem.seed) if problem.seed else None,  # 0 is the default, and says nothing of noise
        stepper=problem.stepper,
        fail_fraction=problem.fail_fraction,
        **common,
    )
    _save_microstates(problem, job, solution)
    failed = int(np.count_nonzero(np.asarray(solution.result[-1])))
    earlier = solution.stats.get("failures", 0)
    lost = f", {earlier} failures of fibers in all steps together" if earlier else ""
    words = f"{recorder.saved} records, {solution.result.shape[-1]} sites, {failed} failed{lost}"
    return Outcome(words, "", recorder.saved)


def _take_up(job: Job):
    """The newest valid checkpoint; records after it are deleted, and those before it that are lost are named."""
    start, complaints = newest_checkpoint(job.folder / "checkpoints")
    if jax.process_index() == 0:
        for complaint in complaints:
            rest = "the one before it is used" if start is not None else "the run starts again"
            job.display.say(f"{complaint} Going on: {rest}.")
            log.append_event(job.folder, "damaged checkpoint", {"message": complaint})
        keep = 0 if start is None else start.saved
        drop_records(job.folder, keep)
        for words in lost_records(job.folder, keep).values():
            job.display.say(f"{words} It will not be in the results; the run goes on.")
            log.append_event(job.folder, "lost record", {"message": words})
    return start


def _steady(problem: Steady, job: Job) -> Outcome:
    recorder = _recorder(job, problem)
    solution = fx.steady(
        problem.bundle, problem.driver, problem.macro0, placement=job.placement, progress=Pulse(job, recorder, steady=True)
    )
    saved = solution.macro, solution.response, solution.result, solution.energy
    first = jax.tree.map(lambda leaf: np.asarray(leaf[0]), saved)
    sites = solution.result.shape[-1]
    state = jax.tree.map(lambda leaf: np.asarray(leaf[:sites]), solution.section.state) if recorder.wants_states else None
    recorder.record(Record(0, 0.0, *first, state=state))
    _save_microstates(problem, job, solution)
    return Outcome(f"steady state of {sites} sites", "", 1)


def _loading(problem: Loading, job: Job) -> Outcome:
    common, recorder = _begun(problem, job)
    solution = fx.continuation(
        problem.bundle,
        problem.driver,
        problem.macro0,
        t0=problem.t0,
        t1=problem.t1,
        dt=problem.dt,
        dt_min=problem.dt_min,
        **common,
    )
    _save_microstates(problem, job, solution)
    why = solution.stats["stopped"]
    if why is not None and jax.process_index() == 0:
        body, name = problem.output.body, problem.names.axis.name
        last = common["start"].t if solution.ts is None else float(solution.ts[-1])
        reached, words = {name: last}, f"{name} = t = {last:.5g} of {problem.t1:g}"
        if body is not None and body.block is not None:
            reached["applied strain"] = body.strain * last
            words = f"the applied strain {body.strain * last:.5g}, {words}"
        job.display.say(f"The path ends at {words}. {why}")
        log.append_event(job.folder, "stopped", {"message": why} | reached)
        write_text(job.folder / "summary.json", json.dumps({"stopped": why, "reached": reached}, indent=1) + "\n")
    return Outcome(f"{recorder.saved} load steps of {solution.section.outcome.result.shape[0]} sites", "", recorder.saved)


def _table(problem: Table, job: Job) -> Outcome:
    recorder = _recorder(job, problem)
    words, missing = compute_table(problem, recorder, Pulse(job, recorder).beat, job.placement, job.folder, job.resumed)
    return Outcome(words, missing, recorder.saved)


def _save_microstates(problem: Evolve | Steady | Loading, job: Job, solution: Any) -> None:
    """States of the sites with the lowest, the middle and the highest condition, as arrays to draw."""
    if solution.macro is None:
        return
    macro = jax.tree.map(lambda leaf: jnp.asarray(leaf[-1]), solution.macro)
    conditions = jit_once(lambda model, macro: model.conditions(macro))(problem.bundle.macro, macro)
    leading = jax.tree.leaves(conditions)[0]
    size = np.asarray(leading)
    size = np.linalg.norm(size.reshape(len(size), -1), axis=1) if size.ndim > 1 else size
    # Sites that are equal by symmetry differ by round-off: the first of them is taken on every machine.
    order = np.argsort(np.round(size / (np.max(np.abs(size)) or 1.0), 9), kind="stable")
    positions = problem.bundle.macro.positions()
    shown = []
    for site in dict.fromkeys((int(order[0]), int(order[len(order) // 2]), int(order[-1]))):
        state, condition = jax.tree.map(lambda leaf, k=site: jnp.asarray(leaf[k]), (solution.section.state, conditions))
        if isinstance(problem.driver, fx.Quasistatic) and not problem.driver.keep_states:
            state = _solve(problem.bundle.fiber, problem.bundle.fiber.init(condition, jax.random.key(0)), condition)[0]
        else:
            state = _caught_up(problem, state, condition)
        draw = problem.output.microstate
        arrays = named_leaves("state", state) if draw is None else draw(state, condition)
        unit = problem.names.length_unit.replace("1", "")
        place = "" if positions is None else f" at ({', '.join(f'{x:.3g}' for x in positions[site])}) {unit}"
        known = problem.names.quantities.get("condition", Quantity("U"))
        held = ", ".join(
            f"{name.replace('condition', known.label or known.name)} = {_short(np.asarray(v))}"
            for name, v in named_leaves("condition", condition).items()
        )
        shown.append(Microstate(f"site {site}{place}\n{held}", {k: np.asarray(v) for k, v in arrays.items()}))
    if jax.process_index() == 0:
        write_microstates(job.folder, shown)


def _caught_up(problem: Evolve | Steady | Loading, state: Any, condition: Any) -> Any:
    """The state of a slaved fiber in equilibrium with the last condition; the run has that of the last step."""
    fiber = problem.bundle.fiber
    if not (isinstance(problem, Evolve) and problem.driver.slaved and isinstance(fiber, fx.AbstractFlow | fx.AbstractEnergy)):
        return state
    moved, out = _solve(fiber, state, condition)
    return moved if int(out.result) == 0 else state


@eqx.filter_jit
def _solve(fiber, state, condition):
    return solver_of(fiber).solve(fiber, state, condition, 1e-8)


def _separation(ratio: float | None) -> float | str | None:
    """The ratio of time scales for JSON, which has no NaN."""
    return "not measured" if ratio is not None and np.isnan(ratio) else ratio


def _short(value: np.ndarray) -> str:
    """Numbers with four digits."""
    return np.array2string(value, precision=4, separator=", ") if value.ndim else f"{value:.4g}"

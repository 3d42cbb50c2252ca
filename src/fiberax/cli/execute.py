"""Computation of a problem in its folder: records, checkpoints, log and state meanwhile, figures at the end."""

import contextlib
import dataclasses
import json
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import fiberax as fx
from fiberax.cases.base import Case, CaseWarning, Evolve, Loading, Problem, Steady, Table
from fiberax.cases.find import place_of
from fiberax.cases.homogenization.shapes import with_shape
from fiberax.cases.solids.bodies import with_body
from fiberax.cli.display import Display
from fiberax.cli.memory import large_states
from fiberax.cli.table import compute_table
from fiberax.core.errors import BadInput, MissingExtra
from fiberax.core.recorder import Record
from fiberax.core.solvers import solver_of
from fiberax.io import log, runfolder
from fiberax.io.atomic import SaveFailed, write_text
from fiberax.io.checkpoint import newest_checkpoint
from fiberax.io.microstates import Microstate, write_microstates
from fiberax.io.plots.draw import draw_all, figures_of
from fiberax.io.plots.figure import Figure
from fiberax.io.recorder import FolderRecorder, named_leaves
from fiberax.io.results import Quantity, assemble, count_records, drop_records, read_record, read_table, write_csv
from fiberax.io.run import Results
from fiberax.io.vtk import write_series
from fiberax.io.vtu import write_body

STATE_INTERVAL = 0.5
LOG_INTERVAL = 10.0


@dataclass(frozen=True)
class Job:
    """One process's share of a run of a case: where it writes, where it computes, how it is shown."""

    case: Case
    folder: Path
    display: Display
    placement: Any
    checkpoint_every: float
    figures: bool
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
        if last or now - self._state_at >= STATE_INTERVAL:
            self._state_at = now
            log.write_state(self._job.folder, "running", fields)
        if last or now - self._log_at >= LOG_INTERVAL:
            self._log_at = now
            log.append_event(self._job.folder, "progress", fields)


def compute(problem: Problem, job: Job) -> tuple[str, str]:
    """Compute `problem` to its end and write everything.

    Returns one line on the result, and one on the rows of a table that failed and why, empty where none did.

    Raises what `fx.evolve` and `fx.steady` raise, `SaveFailed` where a file cannot be written, and KeyboardInterrupt after a
    checkpoint where the user stopped it.
    """
    begun, problem = time.monotonic(), with_shape(with_body(problem))
    warnings.showwarning = _as_message(job)
    words, missing = None if isinstance(problem, Table) else large_states(problem), ""
    if words is not None:
        job.display.say(f"Memory: {words}.")
    match problem:
        case Evolve():
            words = _evolve(problem, job)
        case Steady():
            words = _steady(problem, job)
        case Loading():
            words = _loading(problem, job)
        case Table():
            words, missing = _table(problem, job)
    if jax.process_index() == 0:
        job.display.close()
        gather(job.folder)
        log.write_state(job.folder, "finished", log.read_state(job.folder))
        drop_records(job.folder, 0)
        _look_back(problem, job)
    return f"{words}, {time.monotonic() - begun:.1f} s", missing


def _summarise(problem: Table | Evolve, job: Job) -> None:
    """Print the summary of a table or a run, and write it to summary.json with the marks for the figures."""
    table = read_table(job.folder)
    if table is None or problem.summary is None:
        return
    columns = {v.key: table.arrays[v.quantity.name] for v in table.schema.variables}
    found = problem.summary(table.values, columns)
    write_text(job.folder / "summary.json", json.dumps(found.content | {"marks": found.marks}, indent=1) + "\n")
    for line in found.lines:
        job.display.say(line)


def _as_message(job: Job):
    """Python's hook for warnings; prints and logs those of the library as one line."""
    usual = warnings.showwarning

    def show(message, category, filename, lineno, file=None, line=None):
        if not issubclass(category, fx.ScaleSeparationWarning | CaseWarning):
            usual(message, category, filename, lineno, file, line)
        elif jax.process_index() == 0:
            job.display.say(f"Warning: {message}")
            log.append_event(job.folder, "warning", {"message": str(message)})

    return show


def _look_back(problem: Problem, job: Job) -> None:
    """Summary and figures of a finished run. Where they fail its results are kept, and it stays finished."""
    again = f"The results are complete; `fiberax plot {job.folder}` draws again."
    try:
        if isinstance(problem, Table | Evolve) and problem.summary is not None:
            _summarise(problem, job)
        if job.figures:
            for line in draw(job.folder, job.case).complaints:
                _complain(job, f"{line}. {again}")
    except MissingExtra as missing:
        job.display.say(str(missing))
    except KeyboardInterrupt:
        _complain(job, f"Stopped while drawing. {again}")
    except Exception as error:
        _complain(job, f"Summary and figures: {type(error).__name__}: {error}. {again}")


def _complain(job: Job, message: str) -> None:
    """Print a message, and log it if that is possible."""
    job.display.say(message)
    with contextlib.suppress(SaveFailed):
        log.append_event(job.folder, "not drawn", {"message": message})


def gather(folder: Path) -> None:
    """Assemble results.nc from the records there are. Raises `SaveFailed`, or `BadInput` for a damaged record."""
    versions = runfolder.versions()
    attributes = {
        "Conventions": "CF-1.11",
        "title": f"fiberax run {folder.resolve().name}",
        "source": f"fiberax {versions['fiberax']}, jax {versions['jax']}, Python {versions['python']}",
        "parameters": (folder / "parameters.json").read_text(),
    }
    assemble(folder, attributes)


class Drawn(NamedTuple):
    """Paths of the figures, and one line for each file or figure that could not be made."""

    paths: list[Path]
    complaints: list[str]


def draw(folder: Path, case: Case | None) -> Drawn:
    """ParaView files (or a CSV table) and figures from results.nc, those of the `case`, or of any results.

    Raises `MissingExtra` without matplotlib, after the ParaView files; `SaveFailed` where a file cannot be written.
    """
    results = Results.load(folder)
    table, body = results.table, results.body
    complaints = []
    try:
        if table is not None and table.schema.is_table:
            write_csv(folder, table)
        elif table is not None and body is not None:
            write_body(folder, table, body)
        elif table is not None:
            write_series(folder, table)
    except BadInput as error:
        complaints.append(f"No ParaView files: {error}".removesuffix("."))
    figures, why = _figures(case, results)
    drawn = draw_all(figures, folder / "figures")
    complaints += why
    return Drawn(drawn.paths, complaints + [f"The figure {name} failed: {why}" for name, why in drawn.failed.items()])


def _figures(case: Case | None, results: Results) -> tuple[list[Figure], list[str]]:
    """The figures of a case; where it fails to give them the default ones, and a message."""
    if case is None or results.table is None:
        return figures_of(results), []
    try:
        return list(case.figures(results)), []
    except Exception as error:  # code of users may raise anything
        why = f"{place_of(error)}: {type(error).__name__}: {error}".removesuffix(".")
        return figures_of(results), [f"The case gives no figures, the default ones are drawn: {why}"]


def _recorder(job: Job, problem: Problem) -> FolderRecorder:
    """The recorder of a new or a resumed run."""
    output, body, coords = problem.output, problem.output.body, {}
    layout = None if isinstance(problem, Table) else problem.bundle.macro.layout()
    if body is not None:  # nodes of a mesh form no grid
        output = dataclasses.replace(output, states="written") if body.deforms else output
        if jax.process_index() == 0:
            body.save(job.folder)
    elif layout is not None:
        coords = {dim: np.asarray(layout.coords[dim]) for dim in layout.dims}
    return FolderRecorder(job.folder, job.checkpoint_every, coords, problem.names, output)


def _begun(problem: Evolve | Loading, job: Job) -> tuple[dict[str, Any], FolderRecorder]:
    """Arguments of all runs along a time or a load: progress, checkpoints, and the snapshot to go on from."""
    start = _take_up(job) if job.resumed else None
    recorder = _recorder(job, problem)
    recorder.saved = 0 if start is None else start.saved
    common = {"placement": job.placement, "progress": Pulse(job, recorder), "checkpoint": recorder, "start": start}
    return common, recorder


def _evolve(problem: Evolve, job: Job) -> str:
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
    return f"{recorder.saved} records, {solution.result.shape[-1]} sites, {failed} failed{lost}"


def _take_up(job: Job):
    """The newest valid checkpoint; records after it are deleted."""
    start, complaints = newest_checkpoint(job.folder / "checkpoints")
    if jax.process_index() == 0:
        for complaint in complaints:
            rest = "the one before it is used" if start is not None else "the run starts again"
            job.display.say(f"{complaint} Going on: {rest}.")
            log.append_event(job.folder, "damaged checkpoint", {"message": complaint})
        keep = 0 if start is None else start.saved
        if count_records(job.folder) < keep:
            raise BadInput(
                f"{job.folder}/records has {count_records(job.folder)} records, the checkpoint needs {keep}: "
                "files are missing. Run the case again in a new folder."
            )
        drop_records(job.folder, keep)
    return start


def _steady(problem: Steady, job: Job) -> str:
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
    return f"steady state of {sites} sites"


def _loading(problem: Loading, job: Job) -> str:
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
        last, body, name = read_record(job.folder, recorder.saved - 1)[0], problem.output.body, problem.names.axis.name
        reached, words = {name: last}, f"{name} = t = {last:.5g} of {problem.t1:g}"
        if body is not None and body.block is not None:
            reached["applied strain"] = body.strain * last
            words = f"the applied strain {body.strain * last:.5g}, {words}"
        job.display.say(f"The path ends at {words}. {why}")
        log.append_event(job.folder, "stopped", {"message": why} | reached)
        write_text(job.folder / "summary.json", json.dumps({"stopped": why, "reached": reached}, indent=1) + "\n")
    return f"{recorder.saved} load steps of {solution.section.outcome.result.shape[0]} sites"


def _table(problem: Table, job: Job) -> tuple[str, str]:
    recorder = _recorder(job, problem)
    return compute_table(problem, recorder, Pulse(job, recorder).beat, job.placement, job.folder, job.resumed)


def _save_microstates(problem: Evolve | Steady | Loading, job: Job, solution: Any) -> None:
    """States of the sites with the lowest, the middle and the highest condition, as arrays to draw."""
    if solution.macro is None:
        return
    macro = jax.tree.map(lambda leaf: jnp.asarray(leaf[-1]), solution.macro)
    conditions = problem.bundle.macro.conditions(macro)
    leading = jax.tree.leaves(conditions)[0]
    size = np.linalg.norm(np.asarray(leading).reshape(len(leading), -1), axis=1) if np.ndim(leading) > 1 else leading
    order = np.argsort(np.asarray(size), kind="stable")
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

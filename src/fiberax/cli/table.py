"""Tables of responses: batch by batch, in equilibrium or sampled, with further columns and with states to draw."""

import math
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import fiberax as fx
from fiberax.cases.base import Table
from fiberax.core.errors import BadInput
from fiberax.core.fiber import code_in_words
from fiberax.io.microstates import Microstate, read_microstates, write_microstates
from fiberax.io.recorder import FolderRecorder, named_leaves, own_columns
from fiberax.io.records import DamagedRecord, read_record
from fiberax.numerics.result import ESTIMATES

FEWEST = 128  # steps of an average


def compute_table(
    problem: Table, recorder: FolderRecorder, beat: Callable, placement: Any, folder: Any, resumed: bool
) -> tuple[str, str]:
    """Compute a table. Each row is a record, so a resumed table goes on at the first row that is missing.

    `beat(fields, words)` is called after each batch. Returns one line on the result, and one on the rows that failed and why,
    empty where none did.
    """
    conditions = np.asarray(problem.conditions, float)
    values = conditions if problem.values is None else np.asarray(problem.values, float)
    total, batch, axis = len(conditions), problem.batch, problem.names.axis.name
    codes = _codes_so_far(folder, batch, total) if resumed else []
    first, begun = len(codes), time.monotonic()
    compiled = None  # rows and time after the first batch, which says little of the time of others
    recorder.saved = first
    for done in range(first, total, batch):
        rows = conditions[done : done + batch]
        arrays, states = _answers(problem, rows, done, placement)
        if problem.further is not None:
            arrays |= own_columns(_further(problem, states, rows), problem.output)
        if problem.derived is not None:
            arrays |= by_row(own_columns(problem.derived(values[done : done + batch], arrays), problem.output), len(rows))
        codes += arrays["result"].tolist()
        if jax.process_index() == 0:
            _keep_shown(problem, folder, values, done, (rows, states))  # first: a stop here loses nothing
            for row, value in enumerate(values[done : done + len(rows)]):
                recorder.row(done + row, value, {name: array[row] for name, array in arrays.items()})
        recorder.saved = done + len(rows)
        now, left = time.monotonic(), None
        if compiled is None:
            compiled = recorder.saved, now
        else:
            left = (now - compiled[1]) / (recorder.saved - compiled[0]) * (total - recorder.saved)
        counts = {"step": recorder.saved, "steps": total, "elapsed": now - begun, "eta": left}
        failed = int(np.count_nonzero(codes))
        beat(counts | {"failed": failed, "sites": total}, f"{axis} = {values[recorder.saved - 1]:.4g}")
    return f"{total} conditions, {np.count_nonzero(codes)} failed", _missing(problem, values, np.asarray(codes))


def _codes_so_far(folder: Any, batch: int, total: int) -> list[int]:
    """The result codes of the rows of whole batches before the first row that is missing or damaged."""
    codes: list[int] = []
    try:
        while len(codes) < total:
            codes.append(int(read_record(folder, len(codes))[1]["result"]))
    except DamagedRecord:
        codes = codes[: len(codes) // batch * batch]
    return codes


def _missing(problem: Table, values: np.ndarray, codes: np.ndarray) -> str:
    """How many rows failed, and for each reason the first of them; empty where none did."""
    if not codes.any():
        return ""
    axis, reasons = problem.names.axis.name, []
    for code in dict.fromkeys(codes[codes != 0].tolist()):
        rows = np.flatnonzero(codes == code)
        others = f" and {len(rows) - 1} more" if len(rows) > 1 else ""
        reasons.append(f"{axis} = {values[rows[0]]:.6g}{others}: {code_in_words(problem.fiber, code)}")
    count, doubtful = np.count_nonzero(codes), np.isin(codes[codes != 0], [int(code) for code in ESTIMATES])
    words = "failed and have no numbers" if not doubtful.any() else "are not to be trusted" if doubtful.all() else "failed"
    return f"{count} of {len(codes)} conditions {words}. {'. '.join(reasons)}."


def sampled(problem: Table, rows: np.ndarray, done: int, placement: Any) -> Any:
    """Averages over the rows that begin at number `done`, whose noise depends on that number alone."""
    chosen = problem.sampling
    assert chosen is not None
    key = jax.random.fold_in(jax.random.key(chosen.seed), done)
    dt, steps = chosen.dt, chosen.steps
    if chosen.span is not None:
        dt = problem.fiber.timestep(jnp.asarray(rows[0])) if dt is None else dt
        steps = max(FEWEST, math.ceil(chosen.span / float(dt)))
    return fx.samples(
        problem.fiber, rows, steps=steps, replicas=chosen.replicas, dt=dt, key=key, link=problem.link, placement=placement
    )


def _answers(problem: Table, rows: np.ndarray, done: int, placement: Any) -> tuple[dict[str, np.ndarray], Any]:
    """Columns by key, and the states."""
    if problem.sampling is not None:
        answer = sampled(problem, rows, done, placement)
        arrays = named_leaves("response", answer.value) | named_leaves("stderr", answer.stderr)
        return arrays | {"result": np.asarray(answer.result, np.int32)}, answer.state
    answer = fx.responses(
        problem.fiber, rows, problem.link, tangent=problem.tangent, tolerance=problem.tolerance, placement=placement
    )
    arrays = named_leaves("response", answer.value) | {"result": np.asarray(answer.result, np.int32)}
    if problem.tangent:
        arrays |= named_leaves("tangent", answer.tangent)
    if answer.energy is not None:
        arrays["energy"] = np.asarray(answer.energy)
    if answer.stderr is not None:
        arrays |= named_leaves("stderr", answer.stderr)
    return arrays, answer.state


def _further(problem: Table, states: Any, conditions: np.ndarray) -> dict[str, np.ndarray]:
    """The columns that the case itself computes, NaN where it cannot."""
    found = []
    for k in range(len(conditions)):
        state = jax.tree.map(lambda leaf, k=k: leaf[k], states)
        try:
            found.append(problem.further(state, conditions[k]))  # pyright: ignore[reportOptionalCall]
        except BadInput:
            found.append({})
    names = next((list(row) for row in found if row), [])
    return {name: np.array([row.get(name, np.nan) for row in found]) for name in names}


def by_row(columns: dict[str, np.ndarray], count: int) -> dict[str, np.ndarray]:
    """Columns of a batch of `count` rows. Raises `BadInput` for those without a row each."""
    for key, array in columns.items():
        if array.shape[:1] != (count,):
            raise BadInput(f"The column {key!r} must have {count} rows, as the batch; derived gives the shape {array.shape}.")
    return columns


def _keep_shown(problem: Table, folder: Any, values: np.ndarray, done: int, batch: tuple[np.ndarray, Any]) -> None:
    """Add the states of this batch that are to be drawn to those that are kept."""
    draw, (rows, states) = problem.output.microstate, batch
    here = [k for k in problem.shown if done <= k < done + len(rows)]
    if not here or draw is None:
        return
    axis = problem.names.axis
    kept = {m.caption: m for m in read_microstates(folder)} if done else {}
    for k in here:
        state, A = jax.tree.map(lambda leaf, k=k: jnp.asarray(leaf[k - done]), (states, rows))
        caption = f"{axis.label or axis.name} = {values[k]:.4g}"
        kept[caption] = Microstate(caption, {n: np.asarray(a) for n, a in draw(state, A).items()})
    write_microstates(folder, list(kept.values()))

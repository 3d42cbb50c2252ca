"""The end of a run: results assembled from its records, summary, figures, digests; also what `fiberax plot` does again."""

import contextlib
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from fiberax.cases.base import Case, Loading, Problem
from fiberax.cases.find import place_of
from fiberax.core.errors import BadInput, MissingExtra
from fiberax.io import digests, log, runfolder
from fiberax.io.atomic import SaveFailed, write_text
from fiberax.io.particles import write_boxes
from fiberax.io.plots.draw import USUAL, Look, draw_all, figures_of
from fiberax.io.plots.figure import Figure
from fiberax.io.reading import read_json
from fiberax.io.records import remove_records
from fiberax.io.results import Assembled, assemble, read_table
from fiberax.io.results import Table as Saved
from fiberax.io.run import Results
from fiberax.io.table_csv import write_csv
from fiberax.io.vtk import write_series
from fiberax.io.vtu import write_body

_NAMED = 3  # lost records of which a message gives the reason


class Outcome(NamedTuple):
    """A computation at its end: a line on it, one on failed rows (empty without any), and its number of records."""

    words: str
    missing: str
    records: int


class Ending(NamedTuple):
    """What the end of a run needs of it: its folder, its case, whether figures are wanted, and how a line is printed."""

    folder: Path
    case: Case
    figures: bool
    say: Callable[[str], None]


def finish(problem: Problem, ending: Ending, expected: int) -> str:
    """Assemble the results of a run that is computed, draw it, and call it finished. `expected` records were written.

    Returns one line on the records that are lost, empty where none is. Records that are not in the results are kept.
    """
    folder = ending.folder
    made = gather(folder, expected)
    _look_back(problem, ending)
    digests.seal(folder)
    state = log.read_state(folder)
    state.pop("computed", None)
    log.write_state(folder, "finished", state)
    remove_records(folder, made.numbers)
    return lost_words(folder, made)


def lost_words(folder: Path, made: Assembled) -> str:
    """Which records are not in the results and why, in words; empty where all are."""
    if not made.lost:
        return ""
    count = len(made.lost) + len(made.numbers)
    reasons = " ".join(list(made.lost.values())[:_NAMED])
    more = f" And {len(made.lost) - _NAMED} more." if len(made.lost) > _NAMED else ""
    where = "The others are in results.nc" if made.path is not None else "There is no results.nc"
    return (
        f"{len(made.lost)} of {count} records are not in the results: {reasons}{more} {where}; "
        f"to have all of them run the case again in a new folder."
    )


def _summarise(problem: Problem, ending: Ending) -> None:
    """Print the summary of a table or a run, and write it to summary.json with the marks for the figures.

    Of a load path the file may hold already why it ended, which is kept.
    """
    table = read_table(ending.folder)
    if table is None or problem.summary is None:
        return
    columns = {v.key: table.arrays[v.quantity.name] for v in table.schema.variables}
    found = problem.summary(table.values, columns)
    path = ending.folder / "summary.json"
    before = read_json(path) if isinstance(problem, Loading) and path.exists() else {}
    write_text(path, json.dumps(before | found.content | {"marks": found.marks}, indent=1) + "\n")
    for line in found.lines:
        ending.say(line)


def _look_back(problem: Problem, ending: Ending) -> None:
    """Summary and figures of a finished run. Where they fail its results are kept, and it stays finished."""
    again = f"The results are complete; `fiberax plot {ending.folder}` draws again."
    try:
        if problem.summary is not None:
            _summarise(problem, ending)
        for line in draw(ending.folder, ending.case, figures=ending.figures).complaints:
            _complain(ending, f"{line}. {again}")
    except MissingExtra as missing:
        ending.say(str(missing))
    except Exception as error:
        _complain(ending, f"Summary and figures: {type(error).__name__}: {error}. {again}")


def _complain(ending: Ending, message: str) -> None:
    """Print a message, and log it if that is possible."""
    ending.say(message)
    with contextlib.suppress(SaveFailed):
        log.append_event(ending.folder, "not drawn", {"message": message})


def gather(folder: Path, expected: int = 0) -> Assembled:
    """Assemble results.nc from the sound records. Raises `SaveFailed`, or `Unreadable` for a damaged schema."""
    versions = runfolder.versions()
    attributes = {
        "Conventions": "CF-1.11",
        "title": f"fiberax run {folder.resolve().name}",
        "source": f"fiberax {versions['fiberax']}, jax {versions['jax']}, Python {versions['python']}",
        "parameters": (folder / "parameters.json").read_text(),
    }
    return assemble(folder, attributes, expected)


class Drawn(NamedTuple):
    """Paths of the figures, and one line for each file or figure that could not be made."""

    paths: list[Path]
    complaints: list[str]


def draw(folder: Path, case: Case | None, look: Look = USUAL, times: tuple[float, ...] = (), figures: bool = True) -> Drawn:
    """ParaView files (or a CSV table) and `figures` from results.nc, those of the `case`, or of any results; fields at `times`.

    Files that cannot be read are complaints. Raises `MissingExtra` without matplotlib, after the ParaView files; `SaveFailed`
    where a file cannot be written; `BadInput` for times that were not saved.
    """
    complaints: list[str] = []
    results = Results.load(folder, complaints)
    if times and results.table is not None:
        results = dataclasses.replace(results, table=_at(results.table, times))
    table, body = results.table, results.body
    try:
        if table is not None and table.schema.is_table:
            write_csv(folder, table)
        elif table is not None and body is not None:
            write_body(folder, table, body)
        elif table is not None:
            write_series(folder, table)
    except BadInput as error:
        complaints.append(f"No ParaView files: {error}".removesuffix("."))
    write_boxes(folder, results.microstates)
    wanted, why = _figures(case, results) if figures else ([], [])
    complaints = [line.removesuffix(".") for line in complaints + why]
    if not figures:
        return Drawn([], complaints)
    drawn = draw_all(wanted, folder / "figures", look)
    return Drawn(drawn.paths, complaints + [f"The figure {name} failed: {why}" for name, why in drawn.failed.items()])


def _at(table: Saved, times: tuple[float, ...]) -> Saved:
    """The results, to be drawn at these times."""
    if table.schema.is_table:
        raise BadInput("--times has no effect: the run is a table, whose figures have all its rows. Leave --times out.")
    first, last = float(table.values.min()), float(table.values.max())
    for t in times:
        if not first <= t <= last:
            raise BadInput(f"--times = {t:g}: this run has saved from {first:g} to {last:g}. Give times between them.")
    return dataclasses.replace(table, wanted=times)


def _figures(case: Case | None, results: Results) -> tuple[list[Figure], list[str]]:
    """The figures of a case; where it fails to give them the default ones, and a message."""
    if case is None or results.table is None:
        return figures_of(results), []
    try:
        return list(case.figures(results)), []
    except Exception as error:  # code of users may raise anything
        why = f"{place_of(error)}: {type(error).__name__}: {error}".removesuffix(".")
        return figures_of(results), [f"The case gives no figures, the default ones are drawn: {why}"]

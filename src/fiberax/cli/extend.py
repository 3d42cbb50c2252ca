"""The command `fiberax extend`: a run in time, finished or stopped, made longer in its folder."""

import dataclasses
from pathlib import Path

from fiberax.cases.base import Evolve, Loading, Problem, Table
from fiberax.cases.times import longer
from fiberax.cli.memory import refuse_too_large
from fiberax.core.errors import BadInput
from fiberax.io import digests, log, runfolder
from fiberax.io.results import unpack


def with_ends(problem: Problem, ends: list[float]) -> Problem:
    """The problem of a case as it has been made longer, to each of `ends`."""
    return longer(problem, ends) if isinstance(problem, Evolve) else problem


def lengthened(problem: Problem, ends: list[float], t1: float | None, folder: Path) -> Evolve:
    """The run in `folder` with a later end. Raises `BadInput` where it has none, or cannot have this one."""
    if not isinstance(problem, Evolve):
        kind = "a table" if isinstance(problem, Table) else "a load path" if isinstance(problem, Loading) else "a steady state"
        raise BadInput(f"The run in {folder} is {kind} and has no end time: it cannot be made longer.")
    if t1 is None:
        end = ends[-1] if ends else problem.t1
        raise BadInput(f"`fiberax extend {folder}` needs --t1, a time after the end of the run, t = {end:g}.")
    made = longer(problem, [*ends, t1])
    refuse_too_large(made, folder)
    return made


def reopen(folder: Path, t1: float) -> None:
    """Let the run in `folder` go on to `t1`. A process that is killed here leaves a run that can be resumed or extended.

    Raises `BadInput` where the results of a finished run are not what was written, `SaveFailed` where a file cannot be written.
    """
    state = log.read_state(folder)
    if state.get("phase") == "finished":
        changed = digests.altered(folder)
        if changed:
            raise BadInput(f"{changed[0]} A longer run would not be one run: run the case again in a new folder.")
        unpack(folder)
    state.pop("computed", None)
    log.write_state(folder, "interrupted", state | {"message": ""})
    parameters = runfolder.read_parameters(folder)
    runfolder.write_parameters(folder, dataclasses.replace(parameters, ends=[*parameters.ends, t1]))

"""`fiberax status`: the state of a run."""

import time
from pathlib import Path

from fiberax.cli.display import duration
from fiberax.cli.options import Errors
from fiberax.io import digests, log, owner, runfolder
from fiberax.io.checkpoint import last_checkpoint
from fiberax.io.records import missing_records

SILENT_AFTER = 120.0


def status(directory: str, errors: Errors) -> None:
    """Print the state of a run (running, finished, interrupted, failed, dead), step, time left, failed sites."""
    folder = Path(directory)
    parameters = runfolder.read_parameters(folder)
    state = log.read_state(folder)
    name = parameters.case if parameters.source is None else f"{parameters.case} (from the file {parameters.source})"
    lines = {"case": name, "state": _phase(folder, state)}
    if state.get("rebuilt"):
        lines["note"] = f"{folder / log.STATE} is missing or damaged; this is what the log, checkpoints and records say"
    if {"step", "steps"} <= set(state):
        share = 100 * state["step"] // max(state["steps"], 1)
        lines["step"] = f"{state['step']} of {state['steps']} ({share} %)"
    if {"t", "t1"} <= set(state):
        lines["time"] = f"t = {state['t']:.6g} of {state['t1']:.6g}"
    if state.get("phase") == "running" and state.get("eta") is not None:
        lines["time left"] = duration(max(0.0, state["eta"] - (time.time() - state.get("written", time.time()))))
    if {"failed", "sites"} <= set(state):
        lines["failed sites"] = f"{state['failed']} of {state['sites']}"
    if state.get("separation") is not None:
        ratio, words = state["separation"], "relaxation time of the fibers / time scale of the macrostate"
        lines["scale separation"] = ratio if isinstance(ratio, str) else f"{words} = {ratio:.3g}"
    if "saved" in state:
        saved = state["saved"]
        gone = {} if state.get("phase") == "finished" else missing_records(folder, saved)
        lines["records"] = f"{saved - len(gone)} of {saved}: {' '.join(gone.values())}" if gone else str(saved)
    checkpoint = last_checkpoint(folder / "checkpoints")
    if checkpoint is not None:
        lines["last checkpoint"] = f"step {checkpoint[0]}, {duration(time.time() - checkpoint[1])} ago"
    changed = digests.altered(folder) if state.get("phase") == "finished" else []
    print(folder)
    for name, text in [*lines.items(), *(("changed", line) for line in changed)]:
        print(f"  {name:<17} {text}")


def _phase(folder: Path, state: dict) -> str:
    phase, holder = state.get("phase"), owner.read_owner(folder)
    resume = f"`fiberax resume {folder}` goes on"
    if phase == "finished":
        return "finished"
    if phase == "interrupted":
        return f"interrupted; {resume}"
    if holder is not None:
        alive = holder.alive()
        silence = time.time() - state.get("written", holder.since)
        where = f"process {holder.pid} on {holder.host}"
        if alive:
            return f"running ({where}, for {duration(time.time() - holder.since)})"
        if alive is None and silence < SILENT_AFTER:
            return f"running ({where}, last report {duration(silence)} ago)"
        if alive is None:
            return f"unknown: no report for {duration(silence)} from {where}; {resume} with --takeover, if it is dead"
        return f"dead: {where} is gone; {resume}"
    if phase == "failed":
        return f"failed: {state.get('message', '')} When that is corrected, {resume}"
    return f"dead: it ended without a message; {resume}"

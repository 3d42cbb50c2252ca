"""The log of a run: one JSON object a line, and the state file that `status` reads."""

import contextlib
import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fiberax.io.atomic import refused, write_text
from fiberax.io.checkpoint import last_checkpoint
from fiberax.io.reading import Unreadable, opened, read_json
from fiberax.io.records import count_records

LOG = "log.jsonl"
STATE = "state.json"
PHASES = ("running", "finished", "interrupted", "failed")
_ENDS = {"end": "finished", "interrupted": "interrupted", "failed": "failed"}
_NUMBER, _COUNT = (int, float), int
# Entries of the state file. `computed` is there from the end of the computation to that of the run.
_TYPES: dict[str, Any] = {
    "phase": str, "written": _NUMBER, "message": str, "computed": dict, "rebuilt": bool,
    "step": _COUNT, "steps": _COUNT, "t": _NUMBER, "t1": _NUMBER, "elapsed": _NUMBER, "eta": (*_NUMBER, type(None)),
    "failed": _COUNT, "sites": _COUNT, "saved": _COUNT, "separation": (*_NUMBER, str, type(None)),
}  # fmt: skip


def append_event(folder: Path, event: str, fields: Mapping[str, object]) -> None:
    """Append `{"time": ..., "event": event, **fields}` to the log in `folder`.

    A line that a killed process left incomplete is ended first. Raises `SaveFailed` where it cannot be written.
    """
    line = json.dumps({"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **fields})
    path = folder / LOG
    try:
        with open(path, "ab+") as stream:
            if stream.tell() > 0:
                stream.seek(-1, 2)
                if stream.read(1) != b"\n":
                    stream.write(b"\n")
            stream.write(line.encode() + b"\n")
    except OSError as error:
        raise refused(path, error) from error


def read_events(folder: Path) -> list[dict]:
    """All complete lines of the log in `folder`, oldest first; incomplete ones are left out."""
    events = []
    try:
        with opened(folder / LOG) as stream:
            lines = stream.read().decode(errors="replace").splitlines()
    except Unreadable:
        return events
    for line in lines:
        with contextlib.suppress(ValueError, RecursionError):
            event = json.loads(line)
            events += [event] if isinstance(event, dict) else []
    return events


def write_state(folder: Path, phase: str, fields: Mapping[str, object], *, durable: bool = True) -> None:
    """Replace the state file: `phase` is one of `PHASES`. Not `durable`, it may be empty after a power failure."""
    state = {**fields, "phase": phase, "written": time.time()}
    write_text(folder / STATE, json.dumps(state), durable=durable)


def read_state(folder: Path) -> dict[str, Any]:
    """The content of the state file; where it is missing or damaged what the log, checkpoints and records say, with `rebuilt`.

    Empty where nothing is known.
    """
    path = folder / STATE
    try:
        raw = read_json(path)
        found = _sound(raw)
        if "phase" not in found or any(name in _TYPES and name not in found for name in raw):
            raise Unreadable(f"{path} is damaged: entries are missing, or of another type than they are written with.")
        return found
    except Unreadable:
        found = _sound(_rebuilt(folder))
        return found | {"rebuilt": True} if found or path.exists() else {}


def _rebuilt(folder: Path) -> dict[str, Any]:
    state: dict[str, Any] = {}
    for event in read_events(folder):
        kind = event.get("event")
        if kind in ("start", "resume"):
            state.pop("phase", None)
        elif kind in ("progress", "checkpoint"):
            state |= event
        elif kind in _ENDS:
            state |= {"phase": _ENDS[kind], "message": event.get("message", "")}
    last = last_checkpoint(folder / "checkpoints")
    if last is not None and last[0] > state.get("step", -1):
        state["step"] = last[0]
    count = count_records(folder)
    return state | {"saved": count} if count else state


def _sound(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of a state that have the type they are written with."""
    found = {name: value for name, value in raw.items() if isinstance(value, _TYPES.get(name, ()))}
    if found.get("phase", PHASES[0]) not in PHASES:
        del found["phase"]
    return found

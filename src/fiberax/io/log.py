"""The log of a run: one JSON object a line, and the state file that `status` reads."""

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from fiberax.io.atomic import refused, write_text

LOG = "log.jsonl"
STATE = "state.json"


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
    path = folder / LOG
    if not path.exists():
        return events
    for line in path.read_text(errors="replace").splitlines():
        try:
            events.append(json.loads(line))
        except ValueError:
            continue
    return events


def write_state(folder: Path, phase: str, fields: Mapping[str, object]) -> None:
    """Replace the state file: `phase` is one of running, finished, interrupted, failed."""
    state = {**fields, "phase": phase, "written": time.time()}
    write_text(folder / STATE, json.dumps(state), durable=False)


def read_state(folder: Path) -> dict:
    """The content of the state file; empty where there is none yet."""
    path = folder / STATE
    return json.loads(path.read_text()) if path.exists() else {}

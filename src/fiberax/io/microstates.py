"""States of a few chosen sites for pictures: arrays over the cell, by title."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fiberax.io.atomic import write_file
from fiberax.io.reading import Unreadable, read_arrays

FILE = "microstates.npz"


@dataclass(frozen=True)
class Microstate:
    """The state of one site: a caption, and arrays over the cell by title."""

    caption: str
    arrays: dict[str, np.ndarray]


def write_microstates(folder: Path, microstates: list[Microstate]) -> None:
    """Write the states to `folder/microstates.npz`. Raises `SaveFailed`."""
    index = [{"caption": m.caption, "titles": list(m.arrays)} for m in microstates]
    arrays = {f"{i}_{j}": a for i, m in enumerate(microstates) for j, a in enumerate(m.arrays.values())}
    text = np.frombuffer(json.dumps(index).encode(), np.uint8)
    write_file(folder / FILE, lambda stream: np.savez(stream, allow_pickle=False, index=text, **arrays))


def read_microstates(folder: Path) -> list[Microstate]:
    """The states in a run's folder; none where the run has not finished. Raises `Unreadable`."""
    path = folder / FILE
    if not path.exists():
        return []
    arrays = read_arrays(path)
    try:
        index = json.loads(bytes(arrays["index"]))
        return [
            Microstate(entry["caption"], {title: arrays[f"{i}_{j}"] for j, title in enumerate(entry["titles"])})
            for i, entry in enumerate(index)
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise Unreadable(f"{path} is damaged: {type(error).__name__} {error}.") from error

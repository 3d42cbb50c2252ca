"""SHA-256 of the files that a run leaves, so that `status` and `plot` can say when one is not what was written."""

import json
from pathlib import Path

from fiberax.core.errors import BadInput
from fiberax.io.atomic import write_text
from fiberax.io.reading import Unreadable, digest_of, read_json

FILE = "digests.json"
SEALED = ("results.nc", "microstates.npz", "summary.json", "schema.json", "mesh.npz")


def seal(folder: Path) -> None:
    """Write `digests.json`, the digests of those files of a run that are there. Raises `SaveFailed`."""
    found = {name: digest_of(folder / name) for name in SEALED if (folder / name).exists()}
    write_text(folder / FILE, json.dumps(found, indent=1) + "\n")


def altered(folder: Path) -> list[str]:
    """One line for each file that is not what was written, or that is gone; none where nothing has been sealed."""
    if not (folder / FILE).exists():
        return []
    try:
        digests = read_json(folder / FILE)
    except Unreadable as error:
        return [f"Whether files have changed is not known: {error}"]
    lines = []
    for name, digest in digests.items():
        path = folder / name
        if name not in SEALED:
            continue
        if not path.exists():
            lines.append(f"{path} is gone.")
            continue
        try:
            if digest_of(path) != digest:
                lines.append(f"{path} is not what was written: its digest differs.")
        except BadInput as error:
            lines.append(str(error))
    return lines


def unchanged(folder: Path, name: str) -> bool:
    """Whether a file is there and is what was written."""
    try:
        return read_json(folder / FILE).get(name) == digest_of(folder / name)
    except Unreadable:
        return False

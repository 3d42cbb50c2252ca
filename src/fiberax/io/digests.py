"""Size and SHA-256 of the files that a run leaves, so that `status` and `plot` can say when one is not what was written."""

import json
from pathlib import Path
from typing import Any

from fiberax.core.errors import BadInput
from fiberax.io.atomic import write_text
from fiberax.io.reading import Unreadable, digest_of, read_json

FILE = "digests.json"
SEALED = ("results.nc", "microstates.npz", "summary.json", "schema.json", "mesh.npz")


def seal(folder: Path) -> None:
    """Write `digests.json`, size and digest of those files of a run that are there. Raises `SaveFailed`."""
    paths = {name: folder / name for name in SEALED if (folder / name).exists()}
    found = {name: {"bytes": path.stat().st_size, "sha256": digest_of(path)} for name, path in paths.items()}
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
    for name, entry in digests.items():
        path = folder / name
        if name not in SEALED:
            continue
        if not path.exists():
            lines.append(f"{path} is gone.")
            continue
        try:
            why = _difference(path, entry if isinstance(entry, dict) else {"sha256": entry})  # at first there was no size
        except BadInput as error:
            lines.append(str(error))
            continue
        if why:
            lines.append(f"{path} is not what was written: {why}.")
    return lines


def _difference(path: Path, entry: dict[str, Any]) -> str:
    """How a file differs from its entry, in words; empty where it does not. Files of another size are not read."""
    size, written = path.stat().st_size, entry.get("bytes")
    if path.is_file() and written is not None and size != written:
        return f"it has {size} bytes, not {written}"
    return "" if digest_of(path) == entry.get("sha256") else "its digest differs"

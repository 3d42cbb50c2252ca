"""Checkpoints: atomic, versioned, checksummed; the last two are kept.

A checkpoint is a plain `.npz` archive (numpy, or any zip tool, opens it): one array per leaf, `leaf_0` onwards, and
`manifest`, the UTF-8 bytes of a JSON object with the format's version, step, time, number of records, what the run comes from
(`origin.py`), and name, type, shape and SHA-256 of every leaf. The manifest carries its own SHA-256.
"""

import contextlib
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fiberax.core.errors import FiberaxError
from fiberax.io.atomic import write_file
from fiberax.io.reading import Unreadable, read_array, read_arrays

if TYPE_CHECKING:
    from fiberax.core.recorder import Snapshot

VERSION = 1
KEPT = 2


class DamagedCheckpoint(FiberaxError, ValueError):
    """A damaged checkpoint file; the message names the file and what is wrong with it."""


def write_checkpoint(folder: Path, snapshot: "Snapshot", origin: dict[str, Any] | None = None) -> Path:
    """Write `snapshot` to `folder/step-NNNNNNNNNN.npz` and delete all but the newest two. `origin`: what the run comes from.

    Raises `SaveFailed` where it cannot be written; earlier checkpoints are kept.
    """
    path = folder / f"step-{snapshot.step:010d}.npz"
    arrays = {f"leaf_{i}": np.asarray(leaf) for i, leaf in enumerate(snapshot.leaves.values())}
    manifest = {
        "format": "fiberax checkpoint",
        "version": VERSION,
        "step": int(snapshot.step),
        "t": float(snapshot.t),
        "saved": int(snapshot.saved),
        "origin": origin,
        "leaves": [
            {"name": name, "dtype": array.dtype.str, "shape": array.shape, "sha256": _digest(array)}
            for name, array in zip(snapshot.leaves, arrays.values(), strict=True)
        ],
    }
    manifest["sha256"] = _manifest_digest(manifest)
    text = np.frombuffer(json.dumps(manifest).encode(), np.uint8)
    write_file(path, lambda stream: np.savez(stream, allow_pickle=False, manifest=text, **arrays))
    for old in _files(folder)[:-KEPT]:
        with contextlib.suppress(OSError):  # a folder in place of an old checkpoint harms nobody
            old.unlink()
    return path


def read_checkpoint(path: Path) -> "Snapshot":
    """The snapshot in `path`. Raises `DamagedCheckpoint` where anything in it does not match its checksums."""
    from fiberax.core.recorder import Snapshot

    try:
        archive = read_arrays(path)
        manifest = json.loads(bytes(archive["manifest"]))
        _check_manifest(path, manifest)
        leaves = {entry["name"]: _checked_leaf(path, entry, archive[f"leaf_{i}"]) for i, entry in enumerate(manifest["leaves"])}
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, DamagedCheckpoint):
            raise
        whole = f"The checkpoint {path} is damaged: {error or type(error).__name__}."
        raise DamagedCheckpoint(f"The checkpoint {error}" if isinstance(error, Unreadable) else whole) from error
    return Snapshot(step=manifest["step"], t=manifest["t"], saved=manifest["saved"], leaves=leaves)


def newest_checkpoint(folder: Path) -> tuple["Snapshot | None", list[str]]:
    """The newest valid checkpoint in `folder`, or None, and one message for each damaged one that is newer."""
    complaints = []
    for path in reversed(_files(folder)):
        try:
            return read_checkpoint(path), complaints
        except DamagedCheckpoint as damage:
            complaints.append(str(damage))
    return None, complaints


def newest_origin(folder: Path) -> dict[str, Any] | None:
    """What the run of the newest checkpoint with a sound manifest comes from; None where there is none."""
    for path in reversed(_files(folder)):
        try:
            manifest = json.loads(bytes(read_array(path, "manifest")))
            _check_manifest(path, manifest)
            return manifest.get("origin")
        except (FiberaxError, ValueError, KeyError, TypeError):
            continue
    return None


def last_checkpoint(folder: Path) -> tuple[int, float] | None:
    """Step and modification time (seconds since the epoch) of the newest checkpoint, which is not read; None without one."""
    files = _files(folder)
    if not files:
        return None
    return int(files[-1].stem.removeprefix("step-")), files[-1].stat().st_mtime


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("step-*.npz") if path.stem.removeprefix("step-").isdecimal())


def _digest(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def _manifest_digest(manifest: dict) -> str:
    body = {key: value for key, value in manifest.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _check_manifest(path: Path, manifest: dict) -> None:
    if manifest["version"] > VERSION:
        raise DamagedCheckpoint(
            f"The checkpoint {path} has format {manifest['version']}, this fiberax reads up to {VERSION}: update fiberax."
        )
    if manifest["sha256"] != _manifest_digest(manifest):
        raise DamagedCheckpoint(f"The checkpoint {path} is damaged: its manifest does not match its checksum.")


def _checked_leaf(path: Path, entry: dict, array: np.ndarray) -> np.ndarray:
    if array.dtype.str != entry["dtype"] or list(array.shape) != entry["shape"] or _digest(array) != entry["sha256"]:
        raise DamagedCheckpoint(f"The checkpoint {path} is damaged: {entry['name']} does not match its checksum.")
    return array

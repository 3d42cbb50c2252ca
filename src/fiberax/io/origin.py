"""What the numbers of a run come from: case, options, files and versions; so that a run is continued as it was begun."""

from pathlib import Path
from typing import Any

from fiberax.io.checkpoint import newest_origin
from fiberax.io.reading import digest_of
from fiberax.io.results import Schema
from fiberax.io.runfolder import Parameters, versions

VERSIONS = ("fiberax", "jax")

Origin = dict[str, Any]


def origin_of(folder: Path, parameters: Parameters) -> Origin:
    """Case and options of a run, the digest of each of its input files, and the versions of this process, as JSON values."""
    inputs = sorted(path for path in (folder / "inputs").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    here = versions()
    return {
        "case": parameters.case,
        "options": parameters.options,
        "files": {path.relative_to(folder).as_posix(): digest_of(path) for path in inputs},
        "versions": {name: here[name] for name in VERSIONS},
    }


def recorded_origin(folder: Path) -> Origin | None:
    """That of the newest checkpoint, else of the records; None where there are none, or where they are of earlier versions.

    Raises `Unreadable` for a damaged schema.
    """
    found = newest_origin(folder / "checkpoints")
    if found is not None:
        return found
    schema = Schema.load(folder)
    return None if schema is None else schema.origin


def differences(before: Origin, now: Origin) -> list[str]:
    """What differs between two origins, in words."""
    lines = [f"the case was {before['case']}, is {now['case']}"] if before["case"] != now["case"] else []
    for name, was, is_ in _pairs(before["options"], now["options"]):
        lines.append(f"--{name.replace('_', '-')} was {was}, is {is_}")
    for name, was, is_ in _pairs(before["files"], now["files"]):
        lines.append(f"{name} is {'new' if was is None else 'gone' if is_ is None else 'not the same file'}")
    lines += [f"{name} was {was}, is {is_}" for name, was, is_ in _pairs(before["versions"], now["versions"])]
    return lines


def _pairs(before: dict[str, Any], now: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """Name and both values where they differ; None where there is none."""
    names = dict.fromkeys([*before, *now])
    return [(name, before.get(name), now.get(name)) for name in names if before.get(name) != now.get(name)]

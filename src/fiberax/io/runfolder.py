"""The folder of a run: its files, how it is made, and how another process continues in it.

parameters.json   case, options, copies of files that the case reads (in `inputs/`), settings of the run
versions.json     of fiberax, jax, numpy, Python, and the platform
log.jsonl         one JSON object a line
state.json        the last state; owner.json: the process that works there, if any
digests.json      size and SHA-256 of results.nc, microstates.npz, summary.json, schema.json and mesh.npz
records/          one file per save time, until the run is finished
checkpoints/      the last two
results.nc        netCDF-4, `xarray.open_dataset(path, engine="h5netcdf")` opens it
mesh.npz          of a body or shape; curve.csv its stress against the strain, where it is pulled
summary.json      the summary of a table or a run, and why a load path ended
figures/*.png, paraview/*.vti and series.pvd
"""

import json
import platform
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from importlib import metadata
from pathlib import Path

from fiberax.core.errors import BadInput
from fiberax.io import log, owner
from fiberax.io.atomic import refused, remove_partial_files, write_text
from fiberax.io.reading import read_json

VERSION = 2
_NONE = type(None)
_TYPES = {"case": str, "options": dict, "settings": dict, "source": (str, _NONE), "version": int}
_CODE = {"code": dict, "seal": str, "ends": list}
# bool is a kind of int, which does no harm here.
_SETTINGS: dict[str, tuple[type, ...]] = {
    "checkpoint_every": (int, float, _NONE), "devices": (int, _NONE), "chunk": (int, _NONE), "figures": (bool,),
}  # fmt: skip
_PARTS = ("records", "checkpoints", "figures", "inputs")
PACKAGES = ("fiberax", "jax", "jaxlib", "equinox", "numpy")


@dataclass(frozen=True)
class Parameters:
    """What is needed to run again.

    The case (a name, or `source`, a Python file under `inputs/`), its options as JSON values (paths relative to the
    run's folder), the settings of the command, and of a case from a file the digests of all its code and a seal (`trust.py`).
    `ends` are the later ends that a run was given, in order.
    """

    case: str
    options: dict[str, object]
    settings: dict[str, object]
    source: str | None = None
    code: dict[str, str] = field(default_factory=dict)
    seal: str = ""
    ends: list[float] = field(default_factory=list)
    version: int = field(default=VERSION)


def create(folder: Path, overwrite: bool = False) -> None:
    """Make the folder of a new run and claim it for this process.

    Raises `BadInput` where the folder exists (with `overwrite`: where it is no run, or its run is still running),
    `SaveFailed` where it cannot be written.
    """
    refuse_taken(folder, overwrite)
    if folder.is_dir() and any(folder.iterdir()):
        _clear(folder)
    try:
        for part in _PARTS:
            (folder / part).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise refused(folder, error) from error
    owner.claim(folder)


def adopt(folder: Path, takeover: bool = False) -> Parameters:
    """Claim the folder of an earlier run and read its parameters.

    Raises `BadInput` where the folder is no run, its parameters are damaged, or its run is still running.
    """
    parameters = read_parameters(folder)
    owner.claim(folder, takeover)
    remove_partial_files(folder)
    return parameters


def free_name(parent: Path, case: str) -> Path:
    """The first of `parent/case-1`, `parent/case-2`, ... that does not exist."""
    number = 1
    while (parent / f"{case}-{number}").exists():
        number += 1
    return parent / f"{case}-{number}"


def write_parameters(folder: Path, parameters: Parameters) -> None:
    """Write parameters and versions into a run's folder. Raises `SaveFailed`."""
    write_text(folder / "parameters.json", json.dumps(parameters.__dict__, indent=2) + "\n")
    write_text(folder / "versions.json", json.dumps(versions(), indent=2) + "\n")


def read_parameters(folder: Path) -> Parameters:
    """The parameters in a run's folder. Raises `BadInput` where it is none, or was made by a later fiberax."""
    path = folder / "parameters.json"
    if not folder.is_dir():
        raise BadInput(f"There is no folder {folder}. `fiberax run CASE --out {folder}` makes one.")
    if not path.exists():
        begun = is_unbegun(folder) and any(folder.iterdir())
        remedy = f" A run was stopped there before it began: `fiberax run CASE --out {folder}` begins it." if begun else ""
        raise BadInput(f"{folder} is no folder of a run: it has no parameters.json.{remedy}")
    raw = read_json(path)
    version = raw.get("version")
    if isinstance(version, int) and version > VERSION:
        raise BadInput(f"{path} was written by a later fiberax (format {version}): update fiberax.")
    raw.pop("search_path", None)  # of version 1; code is executed from `inputs/` alone
    wrong = [name for name, kinds in _TYPES.items() if not isinstance(raw.get(name), kinds)]
    wrong += [name for name, kinds in _CODE.items() if not isinstance(raw.get(name, kinds()), kinds)]
    if not wrong:
        raw["settings"].setdefault("figures", True)  # earlier versions did not write it
        wrong = [
            f"settings.{name}" for name, kinds in _SETTINGS.items() if not isinstance(raw["settings"].get(name, 0.5), kinds)
        ]
    wrong += [] if wrong or all(isinstance(end, int | float) for end in raw.get("ends", [])) else ["ends"]
    wrong += sorted(set(raw) - {entry.name for entry in fields(Parameters)})
    if wrong:
        raise BadInput(f"{path} is damaged: {wrong[0]} is not as it is written. Run the case again in a new folder.")
    return Parameters(**raw)


def copy_code(folder: Path, source: Path, root: Path) -> str:
    """Copy a module of a user's case to its place under `folder/inputs`, as it is imported from `root`; returns that path."""
    target = folder / "inputs" / source.relative_to(root)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    except OSError as error:
        raise refused(target, error) from error
    return target.relative_to(folder).as_posix()


def copy_input(folder: Path, source: Path) -> str:
    """Copy a file that the run reads to `folder/inputs`, and return its path relative to `folder`."""
    target = folder / "inputs" / source.name
    number = 1
    while target.exists():
        number += 1
        target = folder / "inputs" / f"{source.stem}-{number}{source.suffix}"
    try:
        shutil.copyfile(source, target)
    except OSError as error:
        raise refused(target, error) from error
    return str(target.relative_to(folder))


def versions() -> dict[str, str]:
    """Versions of Python, the platform and the packages on which the numbers depend."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed as a package"
    return found


def refuse_taken(folder: Path, overwrite: bool) -> None:
    """Raise `BadInput` where a new run cannot have this folder; nothing is changed."""
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"{folder} is a file. Choose another folder with --out.")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    if not (overwrite or is_unbegun(folder)):
        remedy = "add --overwrite, or choose another with --out"
        if (folder / "parameters.json").exists():
            remedy = f"`fiberax resume {folder}` goes on with the run in it; or {remedy}"
        raise BadInput(f"The folder {folder} exists and is not empty: {remedy}.")
    if not ((folder / "parameters.json").exists() or (folder / "checkpoints").is_dir() or is_unbegun(folder)):
        raise BadInput(f"{folder} holds something other than a run, and is not overwritten. Choose another with --out.")
    owner.refuse_living(folder)


def _clear(folder: Path) -> None:
    owner.claim(folder)
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def is_unbegun(folder: Path) -> bool:
    """Whether a run was stopped in a folder before it had parameters: there is nothing but what `create` makes.

    Files in `inputs` count as copies of this program only where a process has claimed the folder.
    """
    entries = {path.name for path in folder.iterdir() if not (path.name.startswith(".") and path.name.endswith(".part"))}
    if not entries <= {*_PARTS, owner.FILE}:
        return False
    empty = [part for part in _PARTS if part != "inputs" or owner.FILE not in entries]
    return not any(any((folder / part).glob("*")) for part in empty)


def log_start(folder: Path, event: str, fields: Mapping[str, object]) -> None:
    """Log that a process begins to work in `folder`, with its versions and the command that started it."""
    log.append_event(folder, event, {"command": sys.argv, "versions": versions(), **fields})

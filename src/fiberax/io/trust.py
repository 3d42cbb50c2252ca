"""Which Python code in a run's folder may be executed: what is under `inputs/`, as it was recorded, by this user.

A folder may come from anybody. `parameters.json` names the code with its digests, and carries a seal made with a key that only
this user has on this kind of machine. Without the seal a user has to say that the code is trusted.
"""

import hashlib
import hmac
import importlib.machinery
import json
import os
import secrets
import stat
from pathlib import Path

from fiberax.core.errors import BadInput
from fiberax.io.reading import digest_of, opened
from fiberax.io.runfolder import Parameters
from fiberax.numerics.machine import cache_folder

_BYTES = 32


def seal_of(case: str, source: str, code: dict[str, str]) -> str:
    """The seal of a case from a file with the digests of its code; empty where this user can have no key."""
    key = _key()
    text = json.dumps([case, source, code], sort_keys=True).encode()
    return "" if key is None else hmac.new(key, text, hashlib.sha256).hexdigest()


def check_code(folder: Path, parameters: Parameters, trusted: bool) -> Path:
    """The Python file of a run's case, when it may be executed; `trusted`: a user has said so.

    Raises `BadInput` for code outside of `inputs/`, or that is not what was recorded, and without the seal for all that is not
    `trusted`.
    """
    source, code = parameters.source, parameters.code
    assert source is not None
    inputs = (folder / "inputs").resolve()
    if not (folder / source).resolve().is_relative_to(inputs):
        raise BadInput(f"{folder / 'parameters.json'} names code outside of {inputs}: {source}. It is not executed.")
    suffixes = tuple(importlib.machinery.all_suffixes())
    there = {p.relative_to(folder).as_posix() for p in (folder / "inputs").rglob("*") if p.name.endswith(suffixes)}
    for name in sorted({source, *code, *there}):
        path = folder / name
        if not path.resolve().is_relative_to(inputs) or code.get(name) != digest_of(path):
            raise BadInput(
                f"{path} is not the code that was recorded with the run, and is not executed. Put that back, or run it as a "
                "case of its own: `fiberax run FILE.py`."
            )
    seal = seal_of(parameters.case, source, code)
    if not trusted and not (seal and hmac.compare_digest(seal, parameters.seal)):
        raise BadInput(
            f"{folder} holds Python code ({', '.join(sorted(code))}) that this user did not put there on this machine. "
            "Read it; if you trust it, add --trust."
        )
    return folder / source


def _key() -> bytes | None:
    """A random number that only this user can read, made at the first call; None where there is no place for it."""
    user = os.getuid() if hasattr(os, "getuid") else 0
    path = cache_folder() / f"run-key-{user}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            pass
        else:
            with os.fdopen(handle, "wb") as stream:
                stream.write(secrets.token_bytes(_BYTES))
        with opened(path) as stream:
            status, key = os.fstat(stream.fileno()), stream.read(_BYTES + 1)
    except (OSError, BadInput):
        return None
    private = os.name != "posix" or (status.st_uid == user and not stat.S_IMODE(status.st_mode) & 0o077)
    return key if private and len(key) == _BYTES else None

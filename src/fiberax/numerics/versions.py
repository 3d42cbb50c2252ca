"""Versions of jax: known bad ones are refused, unknown ones have to pass the canary once."""

import functools
import hashlib
import json
import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path

import jax
import jaxlib.version

from fiberax.numerics.machine import cache_folder

_ISSUES = "https://github.com/jax-ml/jax/issues"
# The same versions are excluded in pyproject.toml, which conda and `pip install --no-deps` do not read.
BAD = {
    "0.10.1": "It is reported to give wrong numbers",
    "0.10.2": f"It gives wrong numbers on the CPU, without any sign of it ({_ISSUES}/39103)",
    "0.11.0": f"It crashes in code that gave wrong numbers before ({_ISSUES}/39257)",
}
GOOD = frozenset({"0.10.0"})  # the whole test suite has passed with these
REMEDY = "pip install 'jax>=0.10" + "".join(f",!={version}" for version in BAD) + "'"
_CANARY = Path(__file__).with_name("canary.py")
_LIMIT = 600.0  # seconds; a few are usual


class UnsoundJax(RuntimeError):
    """The installed version of jax gives wrong numbers."""


@functools.cache
def require_sound_jax() -> None:
    """Refuse a jax that gives wrong numbers; looks once per process, and for known versions only at their names.

    A version that is neither known good nor known bad computes programs with known answers, in a process of its own, and the
    verdict is kept in the user's cache folder: some seconds once per version and kind of processor. Where that process cannot
    be started, a RuntimeWarning says so.

    Raises:
        UnsoundJax: The version is known to be bad, or the programs came out wrong. The message says what to install.
    """
    versions = {"jax": jax.__version__, "jaxlib": jaxlib.version.__version__}
    for name, version in versions.items():
        if version in BAD:
            raise UnsoundJax(f"{name} {version} is installed. {BAD[version]}, so fiberax does not use it. Run: {REMEDY}")
    if GOOD.issuperset(versions.values()):
        return
    faults = _verdict(versions)
    if faults:
        installed = " and ".join(f"{name} {version}" for name, version in versions.items())
        raise UnsoundJax(
            f"{installed} are installed, which fiberax does not know, and programs with known answers come out wrong "
            f"({'; '.join(faults)}). Use a version that is known to be right: pip install 'jax=={max(GOOD)}'"
        )


def _verdict(versions: dict[str, str]) -> list[str]:
    """What the canary found for these versions, from the cache folder or by running it."""
    edition = hashlib.sha256(_CANARY.read_bytes()).hexdigest()[:8]
    name = "-".join(f"{name}-{version}" for name, version in versions.items())
    try:
        file = cache_folder() / "canary" / f"{name}-{edition}.json"
    except RuntimeError:  # no home folder
        file = None
    faults = _remembered(file)
    if faults is None:
        logging.getLogger("fiberax").info("%s is new to fiberax: programs with known answers are computed once", name)
        faults = _run_canary()
        if faults is None:
            return []
        _remember(file, faults)
    return faults


def _remembered(file: Path | None) -> list[str] | None:
    """The verdict in a file; None where there is none, or none that can be read."""
    try:
        faults = json.loads(file.read_text())["faults"] if file is not None else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return faults if isinstance(faults, list) and all(isinstance(fault, str) for fault in faults) else None


def _remember(file: Path | None, faults: list[str]) -> None:
    """Write a verdict, if that is possible; else the next process runs the canary again."""
    if file is None:
        return
    partial = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps({"faults": faults}))
        os.replace(partial, file)
    except OSError:
        return


def _run_canary() -> list[str] | None:
    """What is wrong, one line each; None where the programs could not be run.

    In a process of its own: a faulty compiler may crash, and neither the precision nor the devices of this process are touched.
    """
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    try:
        done = subprocess.run(
            [sys.executable, "-P", str(_CANARY)], env=environment, capture_output=True, text=True, timeout=_LIMIT
        )
        if done.returncode < 0:
            return [f"they crash the compiler, signal {-done.returncode}"]
        if done.returncode > 0:
            raise ValueError((done.stderr.splitlines() or ["no message"])[-1])
        return json.loads(done.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        warnings.warn(
            f"jax {jax.__version__} is new to fiberax, and whether it gives right numbers could not be tested "
            f"({type(error).__name__}: {error}). Versions known to be right: {', '.join(sorted(GOOD))}.",
            RuntimeWarning,
            stacklevel=4,
        )
        return None

"""The cache folder of a user, one for each kind of processor."""

import hashlib
import os
import platform
from pathlib import Path


def cache_folder() -> Path:
    """Folder of compiled programs: FIBERAX_CACHE, or `fiberax` in the user's cache folder, one for each kind of processor.

    Home folders are shared between machines, and a program compiled for one processor need not run on another.
    """
    chosen = os.environ.get("FIBERAX_CACHE")
    parent = Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fiberax"
    return parent / _processor()


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    features = next((line for line in lines if line.lower().startswith(("flags", "features"))), None)
    if features is None:
        features = platform.processor()  # starts a process
    return f"{platform.machine()}-{hashlib.sha256(features.encode()).hexdigest()[:12]}"

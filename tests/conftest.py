"""Settings of every test: one thread per worker, double precision, a compilation cache that outlives the run."""

import hashlib
import os
import platform
import re
from pathlib import Path


def _machine() -> str:
    """A name for this kind of processor: programs compiled for one need not run on another."""
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text() if cpuinfo.exists() else ""
    found = re.search(r"^(?:flags|Features)\s*:\s*(.*)$", text, re.MULTILINE)
    flags = found[1] if found else platform.processor()
    return hashlib.sha256(f"{platform.machine()} {flags}".encode()).hexdigest()[:12]


# Before jax starts its backend, and inherited by the processes that tests start.
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    "JAX_PLATFORMS": "cpu",
    "JAX_COMPILATION_CACHE_DIR": str(Path(__file__).parents[1] / ".cache" / "jax" / _machine()),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.3",
    "MPLBACKEND": "Agg",
    "TF_CPP_MIN_LOG_LEVEL": "3",  # loading from the cache logs two lines of processor features each time
}
for _name, _value in _ENVIRONMENT.items():
    os.environ.setdefault(_name, _value)

import jax  # noqa: E402
import pytest  # noqa: E402

jax.config.update("jax_enable_x64", True)


@pytest.fixture(autouse=True, scope="module")
def _forget_programs():
    """Compiled programs are given up after each file: thousands of them exhaust a process's memory maps, and it aborts."""
    yield
    jax.clear_caches()

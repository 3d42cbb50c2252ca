"""Settings of every test: one thread per worker, double precision, a compilation cache that outlives the run."""

import gc
import hashlib
import importlib.util
import mmap
import os
import platform
import re
import resource
import sys
from pathlib import Path


def _machine() -> str:
    """A name for this kind of processor: programs compiled for one need not run on another."""
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text() if cpuinfo.exists() else ""
    found = re.search(r"^(?:flags|Features)\s*:\s*(.*)$", text, re.MULTILINE)
    flags = found[1] if found else platform.processor()
    return hashlib.sha256(f"{platform.machine()} {flags}".encode()).hexdigest()[:12]


def _compiler_flags() -> str:
    """One thread; no optimisation, and the older code generator for fused loops: programs compile in a quarter of the time.

    tests/numerics/test_canary.py compiles as users do, too. Unknown flags end the process, so that jaxlib is asked first.
    """
    flags = ["--xla_cpu_multi_thread_eigen=false", "--xla_backend_optimization_level=0"]
    wanted = {"xla_cpu_use_fusion_emitters": "false", "xla_cpu_parallel_codegen_split_count": "1"}
    spec = importlib.util.find_spec("jaxlib")
    for library in Path(spec.origin).parent.glob("libjax_common*") if spec and spec.origin else ():
        with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
            flags += [f"--{name}={value}" for name, value in wanted.items() if text.find(name.encode()) >= 0]
    return " ".join(flags)


# Before jax starts its backend, and inherited by the processes that tests start.
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "XLA_FLAGS": _compiler_flags(),
    "JAX_PLATFORMS": "cpu",
    "JAX_COMPILATION_CACHE_DIR": str(Path(__file__).parents[1] / ".cache" / "jax" / _machine()),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
    "MPLBACKEND": "Agg",
    "JAX_TRACEBACK_IN_LOCATIONS_LIMIT": "0",  # where in the source an operation comes from, which no test looks at
    "TF_CPP_MIN_LOG_LEVEL": "3",  # loading from the cache logs two lines of processor features each time
}
for _name, _value in _ENVIRONMENT.items():
    os.environ.setdefault(_name, _value)

import jax  # noqa: E402
import jaxtyping  # noqa: E402
import pytest  # noqa: E402

import shapes  # noqa: E402  # isort: skip

shapes.enforce("fiberax")
jax.config.update("jax_enable_x64", True)
gc.freeze()
gc.set_threshold(100_000, 20, 50)  # tracing makes many small objects; looking for garbage among them took 5 % of the time


_SLOW = Path(__file__).with_name("slow_rows.txt")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Rows of slow_rows.txt are marked; one that is no test any more ends a run of all tests."""
    slow = {line for line in _SLOW.read_text().splitlines() if not line.startswith("#")}
    for item in items:
        if item.nodeid in slow:
            item.add_marker(pytest.mark.slow)
    gone = slow - {item.nodeid for item in items}
    if gone and config.args == config.getini("testpaths"):
        raise pytest.UsageError(f"{_SLOW.name} names tests that are not there: {', '.join(sorted(gone))}")


@pytest.fixture
def unchecked(monkeypatch):
    """For tests that hand over a wrong shape on purpose: signatures are not enforced, the library's own messages are seen."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


_MAPS = 20_000  # of 65530 memory maps that a process may have on Linux
_BYTES = 1.5e9  # growth of memory since programs were given up the last time; little of what they took is returned


def _largest() -> int:
    """Largest memory of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _maps() -> int:
    path = Path("/proc/self/maps")
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.fixture(scope="session")
def _given_up() -> list[int]:
    """Largest memory when programs were given up the last time."""
    return [_largest()]


@pytest.fixture(autouse=True, scope="module")
def _forget_programs(_given_up):
    """Compiled programs are given up when they crowd the process: thousands of them exhaust its memory maps, and it aborts."""
    yield
    if _maps() > _MAPS or _largest() > _given_up[0] + _BYTES:
        jax.clear_caches()
        gc.collect()
        _given_up[:] = [_largest()]

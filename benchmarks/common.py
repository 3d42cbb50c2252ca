"""Shared by the benchmarks: one pinned core, and alternatives timed in turns. Import before jax."""

import os
import statistics
import time
from collections.abc import Callable


def pin(core: int = 0) -> None:
    """One core and one thread for this process, so that CPU time means the same for every alternative."""
    os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_cpu_multi_thread_eigen=false"
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    os.sched_setaffinity(0, [core % os.cpu_count()])


def interleave(alternatives: dict[str, Callable], repeats: int = 7) -> dict[str, float]:
    """Median CPU seconds of each alternative, called in turns after one call to warm up."""
    for function in alternatives.values():
        function()
    times: dict[str, list[float]] = {name: [] for name in alternatives}
    for _ in range(repeats):
        for name, function in alternatives.items():
            start = time.process_time()
            function()
            times[name].append(time.process_time() - start)
    return {name: statistics.median(values) for name, values in times.items()}

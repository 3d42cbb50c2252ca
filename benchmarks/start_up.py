"""Time from typing to the first step: `fiberax --help`, and `fiberax run diffusion` with a warm compilation cache.

Run: python benchmarks/start_up.py. CPU seconds of whole processes (user and system, children included); the run is one of a few
steps, so that what is measured is imports, tracing, loading of compiled programs and the first step. A cold cache comes first.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TINY = ["--cells", "8", "--t1", "0.1", "--records", "1", "--no-figures", "--plain"]


def cpu(arguments: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """CPU and wall seconds of one call of the command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "fiberax", *arguments], check=True, capture_output=True, env=environment)
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall


def main() -> None:
    """Medians of three for the help, cold and warm runs for the rest."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"FIBERAX_CACHE": str(Path(folder) / "cache")}
        helps = sorted(cpu(["--help"], environment)[0] for _ in range(3))
        print(f"fiberax --help                         {helps[1]:6.2f} s of CPU (aim: 0.5)")
        for number, words in enumerate(("cold cache", "warm cache (aim: 6)", "warm cache (aim: 6)")):
            out = str(Path(folder) / f"run{number}")
            seconds, wall = cpu(["run", "diffusion", *TINY, "--out", out], environment)
            print(f"fiberax run diffusion, {words:20s} {seconds:6.2f} s of CPU, {wall:6.2f} s of wall time")


if __name__ == "__main__":
    main()

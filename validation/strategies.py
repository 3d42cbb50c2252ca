"""What every strategy costs for the same error: `python validation/strategies.py [name ...]`, without a name everything.

Each problem prints the cheapest setting of every strategy that reaches 10, 3, 1, 0.3 and 0.1 %, and writes it with a
work-precision figure to runs/strategies. Of all problems that were measured there, strategies.md has the tables and
strategies.png the figures. Several problems are measured by two processes, each on one core; half an hour for everything.
"""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
from strategy_exact import exact
from strategy_problems import PROBLEMS
from strategy_scan import compare, figure
from table import run

jax.config.update("jax_enable_x64", True)

OUT = Path("runs/strategies")
WORKERS = 2


def case(problem):
    """A case of `table.run` from a function that gives a problem."""

    def measured(out):
        return compare(problem(), out)[1]

    measured.__name__ = problem.__name__
    return measured


CASES = (exact, *map(case, PROBLEMS))


def apart(names) -> int:
    """Each case in a process of its own, `WORKERS` at a time; the largest of their exit codes."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false"
    env = os.environ | {"XLA_FLAGS": flags, "OMP_NUM_THREADS": "1"}
    with ThreadPoolExecutor(WORKERS) as pool:
        return max(pool.map(lambda name: subprocess.run([sys.executable, __file__, name], env=env).returncode, names))


def page() -> None:
    """The tables and figures of all problems that were measured so far, on one page."""
    done = [problem.__name__ for problem in PROBLEMS if (OUT / f"{problem.__name__}.md").exists()]
    (OUT / "strategies.md").write_text("\n".join((OUT / f"{name}.md").read_text() for name in done))
    if done:
        figure([OUT / f"{name}_all.csv" for name in done], OUT / "strategies.png")


if __name__ == "__main__":
    names = sys.argv[1:] or [case.__name__ for case in CASES]
    if len(names) == 1:
        sys.exit(run(CASES, names, OUT))
    failed = apart(names)
    page()
    sys.exit(failed)

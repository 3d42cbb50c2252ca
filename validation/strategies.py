"""What every strategy costs for the same error: `python validation/strategies.py [name ...]`, without a name everything.

Each problem prints the cheapest setting of every strategy that reaches 10, 3, 1, 0.3 and 0.1 %, and writes it with a
work-precision figure to runs/strategies. Of all problems that were measured there, strategies.md has the tables and
strategies.png the figures. Half an hour on two cores.
"""

import sys
from pathlib import Path

import jax
from strategy_exact import exact
from strategy_problems import PROBLEMS
from strategy_scan import compare, figure
from table import run

jax.config.update("jax_enable_x64", True)

OUT = Path("runs/strategies")


def case(problem):
    """A case of `table.run` from a function that gives a problem."""

    def measured(out):
        return compare(problem(), out)[1]

    measured.__name__ = problem.__name__
    return measured


CASES = (exact, *map(case, PROBLEMS))


if __name__ == "__main__":
    failed = run(CASES, sys.argv[1:], OUT)
    done = [problem.__name__ for problem in PROBLEMS if (OUT / f"{problem.__name__}.md").exists()]
    (OUT / "strategies.md").write_text("\n".join((OUT / f"{name}.md").read_text() for name in done))
    if done:
        figure([OUT / f"{name}_all.csv" for name in done], OUT / "strategies.png")
    sys.exit(failed)

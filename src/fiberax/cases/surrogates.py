"""The option `--surrogate` of cases whose fibers may be tabulated."""

from typing import Any

from fiberax.cases.options import ALWAYS, When, option


def surrogate_option(applies: When = ALWAYS) -> Any:
    """The tolerance of a table of responses, a field of a case."""
    return option(
        None,
        help="answer from a table of responses up to this error, relative to the largest; default none",
        above=0,
        high=0.1,
        applies=applies,
    )


def tabulated(driver: Any, tolerance: float | None, one_entry: bool = True) -> Any:
    """`driver`, with a table of responses where there is a tolerance.

    Curves, for conditions of `one_entry`, need few records, and each keeps a state.
    """
    import fiberax as fx

    return driver if tolerance is None else fx.Surrogate(driver, tolerance, capacity=128 if one_entry else 1024)

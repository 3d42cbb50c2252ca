"""Save times of runs, exact in the numbers that a user writes."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np

from fiberax.cases.base import Evolve
from fiberax.cases.options import MOST_RECORDS
from fiberax.core.errors import BadInput

_EVEN = 1e-6  # relative difference of intervals that count as equal


def even_times(t1: float, count: int) -> tuple[float, ...]:
    """The times 0, t1/count, ..., t1.

    Each is the double nearest to the quotient of the decimal numbers: a run to 0.6 with 12 intervals and one to 0.9 with 18
    have the same times up to 0.6, to the last digit.

    Args:
        t1: The last time.
        count: Number of intervals.

    Returns:
        The times (count + 1,).
    """
    return _times(Fraction(0), _exact(t1) / count, range(count + 1))


def longer(problem: Evolve, ends: Sequence[float]) -> Evolve:
    """A run in time with later ends, which saves on at the interval of its last save times, and at its ends.

    Args:
        problem: The run.
        ends: Its new ends, one after the other; none for the run as it is.

    Returns:
        The longer run. Up to the end of `problem` it is that run, which also saves there.

    Raises:
        BadInput: An end is not later than the one before.
    """
    saves, t1 = [problem.t1] if problem.saveat is None else list(problem.saveat), problem.t1
    for end in ends:
        if not end > t1:
            raise BadInput(f"--t1 = {end:g}: the run ends at t = {t1:g} already. Give a later time.")
        t1 = end
    if not ends:
        return problem
    tiny = 1e-12 * max(abs(problem.t0), abs(t1), t1 - problem.t0)
    stops = [end for end in (problem.t1, *ends) if end > saves[-1] + tiny]
    later = [t for t in _going_on(saves, t1) if min(abs(t - end) for end in stops) > tiny]
    return replace(problem, t1=t1, saveat=(*saves, *sorted([*later, *stops])))


def _going_on(saves: list[float], t1: float) -> tuple[float, ...]:
    """Times after the last of `saves`, at the interval of the last of them, up to `t1`."""
    gaps = np.diff(saves)
    if not len(gaps) or not np.isfinite(t1):
        return ()
    uneven = np.flatnonzero(abs(gaps - gaps[-1]) > _EVEN * gaps[-1])
    first = int(uneven[-1]) + 1 if len(uneven) else 0
    count = len(saves) - 1 - first
    every = (_exact(saves[-1]) - _exact(saves[first])) / count
    more = min(int((_exact(t1) - _exact(saves[-1])) / every), MOST_RECORDS)  # more than that are refused later
    return _times(_exact(saves[first]), every, range(count + 1, count + 1 + more))


def _exact(number: float) -> Fraction:
    """The decimal number that a double is written as."""
    return Fraction(repr(float(number)))


def _times(begin: Fraction, every: Fraction, numbers: range) -> tuple[float, ...]:
    common = begin.denominator * every.denominator
    start, step = begin.numerator * every.denominator, every.numerator * begin.denominator
    return tuple((start + step * k) / common for k in numbers)  # quotients of whole numbers are rounded correctly

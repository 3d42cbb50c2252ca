"""Save times and the steps between them."""

import numbers
from typing import NamedTuple

import jax
import numpy as np

from fiberax.core.errors import BadInput

MOST_STEPS = 2**32 - 1  # steps are counted in 32 bits


class Stretch(NamedTuple):
    """Equal steps from `start` to `end`; `save` says whether `end` is a save time."""

    start: float
    end: float
    steps: int
    save: bool

    @property
    def dt(self) -> float:
        return (self.end - self.start) / self.steps


class Schedule(NamedTuple):
    """The whole run: whether t0 itself is saved, and the stretches in order."""

    save_start: bool
    stretches: tuple[Stretch, ...]

    @property
    def steps(self) -> int:
        return sum(stretch.steps for stretch in self.stretches)

    def time_of(self, step: int) -> float | None:
        """The time after that many steps; None behind the last one."""
        for stretch in self.stretches:
            if step <= stretch.steps:
                return stretch.start + stretch.dt * step
            step -= stretch.steps
        return None


def schedule(t0: float, t1: float, dt: float, saveat) -> Schedule:
    """Steps from t0 to t1, none longer than `dt`, that land on every save time. Raises `BadInput`."""
    for name, value in (("t0", t0), ("t1", t1), ("dt", dt)):
        if not isinstance(value, numbers.Real | np.ndarray | jax.Array) or not np.isfinite(value):
            raise BadInput(f"evolve: {name} must be a finite number; it is {value!r}.")
    if not t1 > t0:
        raise BadInput(f"evolve: t1 must be later than t0; t0 = {t0}, t1 = {t1}.")
    if not dt > 0.0:
        raise BadInput(f"evolve: the step dt must be positive; it is {dt}.")
    saves = np.asarray([t1] if saveat is None else saveat, float).ravel()
    tiny = 1e-12 * max(abs(t0), abs(t1), t1 - t0)
    if saves.size == 0 or not np.all(np.diff(saves) > 0.0):
        raise BadInput(f"evolve: saveat must be increasing times; it is {saves.tolist()}.")
    if not (saves[0] >= t0 - tiny and saves[-1] <= t1 + tiny):
        raise BadInput(f"evolve: saveat must lie within t0 = {t0} and t1 = {t1}; it spans {saves[0]} to {saves[-1]}.")
    save_start = bool(abs(saves[0] - t0) <= tiny)
    ends = [(float(t), True) for t in saves[int(save_start) :]]
    if not ends or ends[-1][0] < t1 - tiny:
        ends.append((float(t1), False))
    count = (t1 - t0) / dt if dt > (t1 - t0) / (2.0 * MOST_STEPS) else np.inf  # a quotient may overflow
    if not count <= MOST_STEPS:
        raise BadInput(
            f"evolve: with dt = {dt:.6g} the run from t0 = {t0:.6g} to t1 = {t1:.6g} takes more than {MOST_STEPS} steps, "
            "the most that are counted. Give a larger dt, or an earlier t1."
        )
    stretches, start = [], float(t0)
    for end, save in ends:
        steps = max(1, int(np.ceil((end - start) / dt * (1.0 - 1e-12) - 1e-9)))
        stretches.append(Stretch(start, end, steps, save))
        start = end
    return Schedule(save_start, tuple(stretches))


def lengthened(before: Schedule, t0: float, t1: float, dt: float, saveat) -> Schedule:
    """The schedule `before`, and steps from its end to t1 that land on the save times after that end. Raises `BadInput`."""
    begin, end = before.stretches[0].start, before.stretches[-1].end
    if t0 not in (0.0, begin):
        raise BadInput(f"evolve: start is the solution of a run from t0 = {begin}, and t0 is {t0}. Leave t0 out.")
    if np.isfinite(t1) and not t1 > end:
        raise BadInput(f"evolve: start is a solution up to t = {end}; t1 must be later, and is {t1}.")
    if saveat is not None:
        saves = np.asarray(saveat, float).ravel()
        tiny = 1e-12 * max(abs(begin), abs(t1), t1 - begin)
        known = [s.end for s in before.stretches if s.save] + [begin] * before.save_start
        for t in saves[saves <= end + tiny]:
            if not any(abs(t - other) <= tiny for other in known):
                raise BadInput(
                    f"evolve: saveat has t = {t:.9g}, which the run of start has passed without saving it. Leave it out; save "
                    f"times after t = {end:.9g} may be chosen."
                )
        saveat = [end, *saves[saves > end + tiny]]
    return Schedule(before.save_start, before.stretches + schedule(end, t1, dt, saveat).stretches)

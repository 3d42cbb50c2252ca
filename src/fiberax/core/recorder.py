"""What passes between the time loop and whoever watches or saves it; core itself knows no files and no terminal."""

import abc
from typing import Any, NamedTuple

import numpy as np


class Report(NamedTuple):
    """Progress of a run. Times in macro units, `elapsed` and `eta` in seconds of wall time."""

    step: int
    steps: int
    t: float
    t1: float
    elapsed: float
    eta: float
    failed: int
    sites: int
    separation: float | None


class Record(NamedTuple):
    """What is saved at one save time: numpy trees; all but `macro` have a leading site axis, or are None.

    `stderr`: standard errors, a tree like `response`. `stability_margin`: of fibers that have one, where it is looked
    at. `state`: for a recorder that `wants_states`.
    """

    index: int
    t: float
    macro: Any
    response: Any
    result: np.ndarray
    energy: np.ndarray | None = None
    stderr: Any = None
    stability_margin: np.ndarray | None = None
    state: Any = None


class Snapshot(NamedTuple):
    """All that a run needs to go on: step number, time, records given out so far, and the arrays by name.

    Arrays over sites have one row per site, whatever the number of devices, so that a run may go on with another number.
    """

    step: int
    t: float
    saved: int
    leaves: dict[str, np.ndarray]


class AbstractRecorder(abc.ABC):
    """Keeps records and snapshots of a run. With several processes every method but `due` is called on all of them."""

    wants_states: bool = False

    @abc.abstractmethod
    def due(self) -> bool:
        """Whether a snapshot should be taken now; asked between jitted stretches of the loop, on process 0."""

    @abc.abstractmethod
    def save(self, snapshot: Snapshot) -> None:
        """Keep a snapshot."""

    @abc.abstractmethod
    def record(self, record: Record) -> None:
        """Keep what belongs to one save time."""

"""What the time loop passes to progress reports and recorders. The core knows no files and no terminal."""

import abc
from typing import Any, NamedTuple

import numpy as np


class Report(NamedTuple):
    """Progress of a run.

    Args:
        step: Steps done.
        steps: Steps in all.
        t: Macro time, or load.
        t1: End of the run.
        elapsed: Wall time so far, s.
        eta: Wall time left, s; NaN where it is not known.
        failed: Sites that failed in the last step.
        sites: Number of sites.
        separation: Last ratio of time scales; None where it is not measured.
    """

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

    Args:
        index: Number of the record, from 0.
        t: Macro time, or load.
        macro: The macrostate.
        response: Responses.
        result: Codes of `fx.Result`.
        energy: Energies of the fibers, per unit reference volume.
        stderr: Standard errors, a tree like `response`.
        stability_margin: Of fibers that have one, where it is looked at.
        state: States, for a recorder that `wants_states`.
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
    """Everything that a run needs to go on, with any number of devices.

    Args:
        step: Steps done.
        t: Macro time, or load.
        saved: Records given out so far.
        leaves: Arrays by name; those over sites have one row per site.
    """

    step: int
    t: float
    saved: int
    leaves: dict[str, np.ndarray]


class AbstractRecorder(abc.ABC):
    """Keeps records and snapshots of a run. With several processes every method but `due` is called on all of them.

    Args:
        wants_states: Class attribute: whether records contain the states of all sites.
        keeps_records: Class attribute: whether records are kept here, so that the solution of the run holds the last one alone.
    """

    wants_states: bool = False
    keeps_records: bool = False

    @abc.abstractmethod
    def due(self) -> bool:
        """Whether a snapshot should be taken now; called between jitted stretches of the loop, on process 0."""

    @abc.abstractmethod
    def save(self, snapshot: Snapshot) -> None:
        """Keep a snapshot. `evolve` takes a last one at its end, from which the run can be made longer."""

    @abc.abstractmethod
    def record(self, record: Record) -> None:
        """Keep what belongs to one save time."""

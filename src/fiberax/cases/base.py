"""Cases: typed dataclasses whose fields are options, with `build()`, the problem to compute, and figures."""

import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from fiberax.cases.options import check_options
from fiberax.io.labels import Names, Output
from fiberax.io.plots.figure import Figure
from fiberax.io.results import Quantity
from fiberax.io.run import Results

AnyCase = TypeVar("AnyCase", bound="type[Case]")


class Case(abc.ABC):
    """A computation with a name, options, and a problem made from them.

    Subclasses are dataclasses; each field is made by `option`. The first line of the class docstring is its help.
    Field types: bool, int, float, str, pathlib.Path, Enum, tuples of numbers, and any of these or None.
    """

    def __post_init__(self) -> None:
        check_options(self)

    @abc.abstractmethod
    def build(self) -> "Problem":
        """The problem that these options describe. Raises `BadInput` for options that do not fit together."""

    def figures(self, results: Results) -> list[Figure]:
        """The figures of a run of this case, in the order in which they are drawn.

        By default those that any results have. A case with figures of its own returns them here, alone or together with
        `super().figures(results)`.

        Args:
            results: What the run has saved.

        Returns:
            Figures, each `Figure(name, draw)`.
        """
        from fiberax.io.plots.draw import figures_of

        return figures_of(results)


def listed(name: str, line: str, extras: str = "") -> Callable[[AnyCase], AnyCase]:
    """Decorator of a case in a file below `fiberax/cases`: its name on the command line, and one line for `fiberax list`.

    `extras` names the extras of the installation that it needs, such as "mesh"; with what needs them where not all of it does,
    such as "mesh for --shape and --mesh; image for pictures".

    All are read from the text of the file (`fiberax.cases.find`), so that nothing is imported for a list.
    """
    del name, line, extras
    return lambda case: case


class CaseWarning(UserWarning):
    """A warning of a case; the command prints it in one line and goes on."""


@dataclass(frozen=True)
class Evolve:
    """A run in time.

    Args:
        bundle: As in `fx.evolve`.
        driver: As in `fx.evolve`.
        macro0: As in `fx.evolve`.
        t1: As in `fx.evolve`.
        dt: As in `fx.evolve`.
        t0: As in `fx.evolve`.
        saveat: As in `fx.evolve`.
        stepper: As in `fx.evolve`.
        seed: Of the key of all noise.
        fail_fraction: As in `fx.evolve`.
        names: Names and units of results.
        output: What is written.
        summary: summary(times, columns), a `Summary` of the results, which are given by key.
        expected: What is known of the results beforehand, such as their noise; `fiberax check` prints it.
    """

    bundle: Any
    driver: Any
    macro0: Any
    t1: float
    dt: float
    t0: float = 0.0
    saveat: tuple[float, ...] | None = None
    stepper: Any = None
    seed: int = 0
    fail_fraction: float = 0.0
    names: Names = Names()
    output: Output = Output()
    summary: "Callable[[np.ndarray, dict[str, np.ndarray]], Summary] | None" = None
    expected: str = ""


@dataclass(frozen=True)
class Steady:
    """A steady state.

    Args:
        bundle: As in `fx.steady`.
        driver: As in `fx.steady`.
        macro0: As in `fx.steady`.
        names: Names and units of results.
        output: What is written.
        summary: summary(values, columns), a `Summary` of the results, which are given by key with a first axis of one record.
    """

    bundle: Any
    driver: Any
    macro0: Any
    names: Names = Names()
    output: Output = Output()
    summary: "Callable[[np.ndarray, dict[str, np.ndarray]], Summary] | None" = None


@dataclass(frozen=True)
class Loading:
    """Steady states along a load; the macro model's `t` is the load.

    Args:
        bundle: As in `fx.continuation`.
        driver: As in `fx.continuation`.
        macro0: As in `fx.continuation`.
        dt: As in `fx.continuation`.
        t0: As in `fx.continuation`.
        t1: As in `fx.continuation`.
        dt_min: As in `fx.continuation`.
        names: Names and units of results.
        output: What is written.
        summary: summary(loads, columns), a `Summary` of the results, which are given by key. Why the path ended is added.
    """

    bundle: Any
    driver: Any
    macro0: Any
    dt: float
    t0: float = 0.0
    t1: float = 1.0
    dt_min: float | None = None
    names: Names = Names(axis=Quantity("load", "1", "load"))
    output: Output = Output()
    summary: "Callable[[np.ndarray, dict[str, np.ndarray]], Summary] | None" = None


@dataclass(frozen=True)
class Summary:
    """Summary of a table or a run.

    Args:
        content: JSON values for `summary.json`.
        lines: Lines to print.
        marks: Values on the leading axis that figures mark.
    """

    content: dict[str, Any]
    lines: tuple[str, ...] = ()
    marks: tuple[float, ...] = ()


@dataclass(frozen=True)
class Sampling:
    """How the rows of a table are sampled, see `fx.samples`.

    Args:
        steps: Steps of each replica.
        replicas: Number of replicas.
        dt: Step, fiber time; None for the fiber's own at the first condition of each batch.
        seed: Of the noise.
        span: Fiber time to cover, in place of `steps`.
    """

    steps: int = 10_000
    replicas: int = 4
    dt: float | None = None
    seed: int = 0
    span: float | None = None


@dataclass(frozen=True)
class Table:
    """Responses (and tangents) of one fiber over a list of conditions, see `fx.responses`.

    Args:
        fiber: Any fiber.
        conditions: Conditions of the fiber (rows, ...).
        values: Values of the rows on the leading axis (rows,), which `names.axis` names; None for the conditions themselves.
        tangent: Whether there are tangents.
        tolerance: Relative tolerance of the solves; None for 1e-10.
        batch: Rows between two progress reports.
        names: Names and units of results.
        output: What is written.
        further: further(state, condition), more columns of a row, by key.
        summary: summary(values, columns), a `Summary` of the table.
        link: As in `fx.Bundle`.
        sampling: With it responses are long-time averages of a fiber with dynamics, with standard errors and no tangents.
        derived: derived(values, arrays), more columns of a batch, computed from others.
        shown: Rows whose states are drawn, by `output.microstate`.
    """

    fiber: Any
    conditions: np.ndarray
    values: np.ndarray | None = None
    tangent: bool = True
    tolerance: float | None = None
    batch: int = 16
    names: Names = Names()
    output: Output = Output()
    further: "Callable[[Any, Any], dict[str, np.ndarray]] | None" = None
    summary: "Callable[[np.ndarray, dict[str, np.ndarray]], Summary] | None" = None
    link: "Callable | None" = None
    sampling: Sampling | None = None
    derived: "Callable[[np.ndarray, dict[str, np.ndarray]], dict[str, np.ndarray]] | None" = None
    shown: tuple[int, ...] = ()


Problem = Evolve | Steady | Loading | Table

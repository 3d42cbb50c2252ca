"""What a case is: a typed dataclass whose fields are options, `build()`, the problem to compute, and its figures."""

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
        """The problem that these options describe. Raises `BadInput` where they describe none."""

    def figures(self, results: Results) -> list[Figure]:
        """The figures of a run of this case, in the order in which they are drawn.

        By default those that any results have. A case with figures of its own returns them here, `Figure(name, draw)`, alone
        or with `super().figures(results)`.
        """
        from fiberax.io.plots.draw import figures_of

        return figures_of(results)


def listed(name: str, line: str) -> Callable[[AnyCase], AnyCase]:
    """Decorator of a case in a file below `fiberax/cases`: its name on the command line, and one line for `fiberax list`.

    Both are read from the text of the file (`fiberax.cases.find`), so that nothing is imported for a list.
    """
    del name, line
    return lambda case: case


class CaseWarning(UserWarning):
    """Something that whoever runs a case should know; the command says it in one line and goes on."""


@dataclass(frozen=True)
class Evolve:
    """A run in time: the arguments of `fx.evolve`. `stepper` None: the default of `fx.evolve`.

    `summary(times, columns)`: what the run comes to, from its results by key.
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


@dataclass(frozen=True)
class Steady:
    """A steady state: the arguments of `fx.steady`."""

    bundle: Any
    driver: Any
    macro0: Any
    names: Names = Names()
    output: Output = Output()


@dataclass(frozen=True)
class Loading:
    """Steady states along a load: the arguments of `fx.continuation`. `t` of the model is the load."""

    bundle: Any
    driver: Any
    macro0: Any
    dt: float
    t0: float = 0.0
    t1: float = 1.0
    dt_min: float | None = None
    names: Names = Names(axis=Quantity("load", "1", "load"))
    output: Output = Output()


@dataclass(frozen=True)
class Summary:
    """What a table or a run comes to: `content` for `summary.json`, `lines` to say, `marks` on its axis for the figures."""

    content: dict[str, Any]
    lines: tuple[str, ...] = ()
    marks: tuple[float, ...] = ()


@dataclass(frozen=True)
class Sampling:
    """How the rows of a table are sampled: the arguments of `fx.samples`.

    `dt` None: the fiber's own step at the first condition of each batch; batches of one row have one each. With `span`, a time
    of the fiber, there are as many steps as it takes.
    """

    steps: int = 10_000
    replicas: int = 4
    dt: float | None = None
    seed: int = 0
    span: float | None = None


@dataclass(frozen=True)
class Table:
    """Responses (and tangents) of one fiber over a list of conditions: the arguments of `fx.responses`.

    `conditions` (rows, ...) are those of the fiber; `values` (rows,), by default the conditions themselves, stand for them on
    the axis, which `names.axis` names. `batch` rows are computed between two progress reports. `further(condition, state)`:
    more columns of a row. `derived(values, arrays)`: more columns of a batch, from those there are, by key. `summary(values,
    columns)`: what the whole table comes to. `shown`: rows whose states are drawn, by `output.microstate`.

    With `sampling` the responses are long-time averages of a fiber with dynamics, and have a column of standard errors; there
    are no tangents then. `link`: as in `fx.Bundle`.
    """

    fiber: Any
    conditions: np.ndarray
    values: np.ndarray | None = None
    tangent: bool = True
    tolerance: float = 1e-10
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

"""What a case is: a typed dataclass whose fields are options, and `build()`, which makes the problem to compute."""

import abc
import dataclasses
import math
import types
import typing
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fiberax.core.errors import BadInput
from fiberax.io.results import Quantity

if TYPE_CHECKING:
    from collections.abc import Callable

    from fiberax.io.body import Body

OPTION = "fiberax option"


@dataclass(frozen=True)
class Option:
    """Help line, unit and bounds of one field of a case."""

    help: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    above: float | None = None


def option(
    default: Any,
    *,
    help: str,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
) -> Any:
    """A field of a case that becomes an option of the command.

    `help` is one line; `unit` stands behind it. Numbers must lie in [`low`, `high`] and be larger than `above`,
    where these are given; NaN and infinity are always refused.
    """
    return field(default=default, metadata={OPTION: Option(help, unit, low, high, above)})


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


@dataclass(frozen=True)
class Labels:
    """Names and units for results and figures, and what to show of a fiber's state.

    `quantities`: for "macro", "response" and "result" (leaves of trees: "macro.u", ...) name, unit and text; for "condition"
    what captions call it.
    `microstate(state, condition)`: arrays over the cell to draw for one site, by title; the default draws the state.
    `factors`, `offsets`: by what results are multiplied and what is then added, for "response", "tangent", "energy", ...: a
    unit of the user's in place of the fiber's. `body`: the mesh on which the macrostate is drawn (`fiberax.io.body.Body`).
    `further(record)`: more arrays of a record of a run in time; numbers called "energies...." are drawn against time. With
    `macro` False the macrostate is not written as it is: `further` says what of it is, under keys that begin with "macro.".
    `states`: whether the states of all sites are "seen" by `further` (`record.state`), or "written" as well.
    """

    quantities: dict[str, Quantity] = field(default_factory=dict)
    length_unit: str = "1"
    axis: Quantity = Quantity("time", "1", "time")
    microstate: "Callable[[Any, Any], dict[str, Any]] | None" = None
    factors: dict[str, float] = field(default_factory=dict)
    offsets: dict[str, float] = field(default_factory=dict)
    body: "Body | None" = None
    further: "Callable[[Any], dict[str, np.ndarray]] | None" = None
    macro: bool = True
    states: Literal["no", "seen", "written"] = "no"


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
    labels: Labels = Labels()
    summary: "Callable[[np.ndarray, dict[str, np.ndarray]], Summary] | None" = None


@dataclass(frozen=True)
class Steady:
    """A steady state: the arguments of `fx.steady`."""

    bundle: Any
    driver: Any
    macro0: Any
    labels: Labels = Labels()


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
    labels: Labels = Labels(axis=Quantity("load", "1", "load"))


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
    the axis, which `labels.axis` names. `batch` rows are computed between two progress reports. `further(condition, state)`:
    more columns of a row. `derived(values, arrays)`: more columns of a batch, from those there are, by key. `summary(values,
    columns)`: what the whole table comes to. `shown`: rows whose states are drawn, by `labels.microstate`.

    With `sampling` the responses are long-time averages of a fiber with dynamics, and have a column of standard errors; there
    are no tangents then. `link`: as in `fx.Bundle`.
    """

    fiber: Any
    conditions: np.ndarray
    values: np.ndarray | None = None
    tangent: bool = True
    tolerance: float = 1e-10
    batch: int = 16
    labels: Labels = Labels()
    further: "Callable[[Any, Any], dict[str, np.ndarray]] | None" = None
    summary: "Callable[[np.ndarray, dict[str, np.ndarray]], Summary] | None" = None
    link: "Callable | None" = None
    sampling: Sampling | None = None
    derived: "Callable[[np.ndarray, dict[str, np.ndarray]], dict[str, np.ndarray]] | None" = None
    shown: tuple[int, ...] = ()


Problem = Evolve | Steady | Loading | Table


def fields_of(case: type) -> list[tuple[str, Any, Any, Option]]:
    """Name, type, default and option of every field of a case. Raises `BadInput` for a field that is no option."""
    if not dataclasses.is_dataclass(case):
        raise BadInput(f"The case {case.__name__} is not a dataclass: put @dataclass above its class line.")
    hints = typing.get_type_hints(case)
    found = []
    for entry in dataclasses.fields(case):
        if OPTION not in entry.metadata:
            raise BadInput(f"{case.__name__}.{entry.name}: make it an option, {entry.name}: type = option(default, help=...).")
        found.append((entry.name, hints[entry.name], entry.default, entry.metadata[OPTION]))
    return found


def flag(name: str) -> str:
    """The command-line flag of a field."""
    return "--" + name.replace("_", "-")


def check_options(case: object) -> None:
    """Raise `BadInput` for the first option whose number is not finite or out of bounds."""
    for name, _, _, opt in fields_of(type(case)):
        value = getattr(case, name)
        for number in value if isinstance(value, tuple | list) else (value,):
            if isinstance(number, int | float) and not isinstance(number, bool):
                _check_number(flag(name), number, opt)


def _check_number(name: str, value: float, opt: Option) -> None:
    unit = f" {opt.unit}" if opt.unit else ""
    if not math.isfinite(value):
        raise BadInput(f"{name} = {value}: give a finite number{unit and f' ({opt.unit})'}.")
    if opt.above is not None and value <= opt.above:
        raise BadInput(f"{name} = {value}{unit}: give a number larger than {opt.above:g}.")
    if opt.low is not None and value < opt.low:
        raise BadInput(f"{name} = {value}{unit}: give at least {opt.low:g}.")
    if opt.high is not None and value > opt.high:
        raise BadInput(f"{name} = {value}{unit}: give at most {opt.high:g}.")


def to_json(case: object) -> dict[str, Any]:
    """The options of a case as JSON values."""

    def encode(value):
        if isinstance(value, Enum):
            return value.value
        if isinstance(value, Path):
            return str(value)
        return [encode(v) for v in value] if isinstance(value, tuple | list) else value

    return {name: encode(getattr(case, name)) for name, _, _, _ in fields_of(type(case))}


def from_json(case: type, values: dict[str, Any], folder: Path) -> Any:
    """The case with options as `to_json` wrote them; relative paths are taken from `folder`. Raises `BadInput`."""
    known = {name: hint for name, hint, _, _ in fields_of(case)}
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise BadInput(
            f"The case {case.__name__} has no option {flag(unknown[0])}: its parameters were written for another version."
        )
    return case(**{name: _decode(value, known[name], folder) for name, value in values.items()})


def _decode(value: Any, hint: Any, folder: Path) -> Any:
    if value is None:
        return None
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        hint = next(arg for arg in typing.get_args(hint) if arg is not type(None))
    if hint is Path:
        return folder / value
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint(value)
    return tuple(value) if typing.get_origin(hint) is tuple else value

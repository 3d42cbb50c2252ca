"""Names and units of results, what is written of a run, and texts for axes and legends."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fiberax.io.results import Quantity, Table, Variable, component_names

if TYPE_CHECKING:
    from fiberax.io.body import Body

RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
# Names that the library uses; columns of a case must have others.
OWN = ("macro", "response", "stderr", "result", "energy", "energies", "stability_margin", "state", "tangent")

TIME = Quantity("time", "1", "time")


@dataclass(frozen=True)
class Names:
    """Names and units of results, for files and figures.

    Args:
        quantities: Name, unit and text of results by key: "macro", "response", "result" (leaves of trees: "macro.u", ...), and
            of further columns by their own key; "condition" is the name of the condition in captions.
        length_unit: Unit of the macroscopic coordinates.
        axis: The leading axis of the records: time, a load, or the variable of a table.
        factors: Results are multiplied by them, by key ("response", "tangent", "energy", ...), to convert the fiber's units.
        offsets: Added afterwards, by key.
    """

    quantities: dict[str, Quantity] = field(default_factory=dict)
    length_unit: str = "1"
    axis: Quantity = TIME
    factors: dict[str, float] = field(default_factory=dict)
    offsets: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Output:
    """What is written of a run besides macrostate and responses, and what is kept for figures.

    Args:
        columns: `columns(record)` gives more numbers or arrays of a record of a run in time, by key.
        energies: `energies(record)` gives numbers, by name, that are drawn together against time.
        microstate: `microstate(state, condition)` gives arrays over the cell to draw for one site, by title; the default
            draws the state.
        states: "seen" where `columns` needs the states of all sites (`record.state`), "written" to write them as well.
        macro: False to leave the macrostate out; `columns` may then give parts of it, with keys that begin with "macro.".
        averaged: True for a run of `fx.realisations`: means over them are written, with their standard errors. `columns` and
            `energies` get the record of all.
        along: Coordinates of the results besides times and positions, by key of a quantity: the dimension, "site" or "point",
            and its values, such as the rate at each site of a rheometer.
        body: The mesh on which the macrostate is drawn; a model on a mesh of the library gives it by itself.
    """

    columns: Callable[[Any], dict[str, np.ndarray]] | None = None
    energies: Callable[[Any], dict[str, Any]] | None = None
    microstate: Callable[[Any, Any], dict[str, Any]] | None = None
    states: Literal["no", "seen", "written"] = "no"
    macro: bool = True
    averaged: bool = False
    along: dict[str, tuple[str, np.ndarray]] = field(default_factory=dict)
    body: "Body | None" = None


def words_of(quantity: Quantity) -> str:
    """Text and unit for an axis."""
    text = quantity.label or quantity.name
    return text if quantity.unit in ("", "1") else f"{text} [{raised(quantity.unit)}]"


def raised(unit: str) -> str:
    """A unit with raised exponents."""
    return re.sub(r"\^(-?\d+)", lambda power: power[1].translate(RAISED), unit)


def value_words(quantity: Quantity, value: float) -> str:
    """A value of a quantity, as the title of a panel."""
    unit = "" if quantity.unit in ("", "1") else f" {raised(quantity.unit)}"
    return f"{quantity.label or quantity.name} {value:.4g}{unit}"


def axis_words(table: Table, dim: str) -> str:
    """Name and unit of a coordinate."""
    return words_of(Quantity(dim, table.schema.units.get(dim, "1")))


def broken(words: str, width: int = 20) -> str:
    """A long label on lines of about `width` characters."""
    lines = [""]
    for word in words.split(" "):
        if len(lines[-1]) + len(word) > width and lines[-1]:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)


def edges_of(centres: np.ndarray) -> tuple[float, float]:
    """Where the first cell begins and the last one ends."""
    half = (centres[1] - centres[0]) / 2 if len(centres) > 1 else 0.5
    return float(centres[0] - half), float(centres[-1] + half)


def macro_variables(table: Table) -> list[Variable]:
    """The scalar fields of the macrostate on a grid of one to three dimensions."""
    dims = tuple(table.schema.coords)
    return [v for v in table.schema.variables if v.key.split(".")[0] == "macro" and v.dims == dims and 1 <= len(dims) <= 3]


def nodal_variables(table: Table) -> list[Variable]:
    """The scalar fields of the macrostate at the nodes of a mesh."""
    return [v for v in table.schema.variables if v.key.split(".")[0] == "macro" and len(v.dims) == 1]


def component_labels(variable: Variable, values: np.ndarray, skip: int) -> list[tuple[str, tuple[int, ...]]]:
    """Label and index of each component to draw: at most nine, of a symmetric tensor one half."""
    found = []
    for suffix, index in component_names(variable, skip):
        twin = values[(..., *index[::-1])]
        if index > index[::-1] and np.allclose(values[(..., *index)], twin, rtol=1e-6, atol=1e-9 * np.abs(values).max()):
            continue
        found.append((f"${variable.quantity.name}_{{{suffix}}}$" if suffix else f"${variable.quantity.name}$", index))
    return found[:9]

"""Figures of runs in time: fields of one dimension over space and time, energies against time."""

from typing import Any

import numpy as np

from fiberax.io.labels import axis_words, edges_of, macro_variables, words_of
from fiberax.io.results import Table

RECORDS = 12  # with fewer records lines are drawn in place of a map over time
COLOURS = {"total": "black", "kinetic": "tab:blue", "fibers": "tab:orange", "elastic": "tab:orange", "loads": "tab:green"}


def draw_space_time(plt, table: Table) -> Any:
    """The first macro field over space and time; None unless it is one-dimensional and saved often enough."""
    variable = next(iter(macro_variables(table)), None)
    if variable is None or len(variable.dims) != 1 or len(table.values) < RECORDS:
        return None
    values = table.arrays[variable.quantity.name]
    (dim,) = variable.dims
    figure, panel = plt.subplots(figsize=(6.4, 4.6), layout="constrained")
    times = edges_of(np.asarray(table.values))
    extent = (*edges_of(np.asarray(table.schema.coords[dim])), *times)
    image = panel.imshow(values, origin="lower", extent=extent, aspect="auto", **_scale(values))
    panel.set(xlabel=axis_words(table, dim), ylabel=words_of(table.schema.axis), ylim=(max(times[0], 0.0), times[1]))
    figure.colorbar(image, ax=panel, label=words_of(variable.quantity))
    return figure


def _scale(values: np.ndarray) -> dict[str, Any]:
    """Colours about zero where the values have both signs, else from the lowest to the highest."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    if low < -0.1 * high and high > -0.1 * low:
        return {"cmap": "RdBu_r", "vmin": -max(-low, high), "vmax": max(-low, high)}
    return {"vmin": low, "vmax": high}


def draw_energies(plt, table: Table) -> Any:
    """Changes of the energies of a run since its start, against time; None where none were recorded."""
    shown = [v for v in table.schema.variables if v.key.startswith("energies.")]
    if not shown or len(table.values) < 2:
        return None
    figure, panel = plt.subplots(figsize=(6.4, 4.0), layout="constrained")
    for variable in shown:
        values = table.arrays[variable.quantity.name]
        name = variable.key.split(".")[1]
        panel.plot(table.values, values - values[0], color=COLOURS.get(name), label=words_of(variable.quantity))
    panel.axhline(0.0, color="0.8", linewidth=0.8, zorder=0)
    panel.set(xlabel=words_of(table.schema.axis), ylabel="energy, change since the start")
    panel.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure

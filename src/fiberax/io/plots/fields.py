"""Figures of fields on grids, and of responses against conditions."""

import numpy as np

from fiberax.io.labels import axis_words, component_labels, edges_of, macro_variables, value_words, words_of
from fiberax.io.results import Quantity, Table, Variable

LINES_SHOWN = 8


def draw_field(plt, table: Table, variable: Variable):
    """A scalar field in one dimension as lines, in two as maps, in three as slices."""
    draw = {1: _draw_lines, 2: _draw_maps, 3: _draw_slices}[len(variable.dims)]
    return draw(plt, table, variable)


def _draw_lines(plt, table: Table, variable: Variable):
    figure, axes = plt.subplots(figsize=(6.4, 4.0), layout="constrained")
    (dim,) = variable.dims
    values = table.arrays[variable.quantity.name]
    colours = plt.get_cmap("viridis")
    chosen = table.chosen(np.linspace(0, len(values) - 1, LINES_SHOWN).round().astype(int))
    for k in chosen:
        shade = colours(0.9 * k / max(len(values) - 1, 1))
        axes.plot(table.schema.coords[dim], values[k], color=shade, label=f"{table.values[k]:.3g}")
    if len(values) > 1:
        axes.legend(title=words_of(table.schema.axis), loc="center left", bbox_to_anchor=(1.0, 0.5))
    axes.set(xlabel=axis_words(table, dim), ylabel=words_of(variable.quantity))
    return figure


def _draw_maps(plt, table: Table, variable: Variable):
    """The field at the start, half way and at the end, on one scale."""
    values = table.arrays[variable.quantity.name]
    chosen = table.chosen((0, (len(values) - 1) // 2, len(values) - 1))
    figure, axes = plt.subplots(1, len(chosen), figsize=(4.3 * len(chosen), 3.7), layout="constrained", squeeze=False)
    low, high = np.nanmin(values[chosen]), np.nanmax(values[chosen])
    for panel, k in zip(axes[0], chosen, strict=True):
        image = _map(panel, table, variable.dims, values[k], low, high)
        panel.set_ylabel(axis_words(table, variable.dims[1]))
        if len(values) > 1:
            panel.set_title(value_words(table.schema.axis, table.values[k]))
    figure.colorbar(image, ax=axes[0], label=words_of(variable.quantity), shrink=0.9)
    return figure


def _draw_slices(plt, table: Table, variable: Variable):
    """Slices through the middle, at the end or at the last of the wanted times."""
    (*_, k) = table.chosen((len(table.values) - 1,))
    last = table.arrays[variable.quantity.name][k]
    figure, axes = plt.subplots(1, 3, figsize=(11.0, 3.9), layout="constrained")
    low, high = np.nanmin(last), np.nanmax(last)
    for normal, panel in zip((2, 1, 0), axes, strict=True):
        kept = tuple(d for i, d in enumerate(variable.dims) if i != normal)
        middle = last.shape[normal] // 2
        image = _map(panel, table, kept, np.take(last, middle, axis=normal), low, high)
        place = table.schema.coords[variable.dims[normal]][middle]
        panel.set(title=f"{variable.dims[normal]} = {place:.3g}", ylabel=axis_words(table, kept[1]))
    figure.colorbar(image, ax=axes, label=words_of(variable.quantity), shrink=0.86)
    return figure


def _map(panel, table: Table, dims: tuple[str, ...], values: np.ndarray, low: float, high: float):
    """A colour map of cell values (first index along x) with true lengths on the axes."""
    sides = [edges_of(np.asarray(table.schema.coords[dim])) for dim in dims]
    image = panel.imshow(values.T, origin="lower", extent=(*sides[0], *sides[1]), vmin=low, vmax=high, aspect="equal")
    panel.set_xlabel(axis_words(table, dims[0]))
    return image


def draw_response(plt, table: Table):
    """Response components against the condition: the leading axis of a table, else the macro field at the same sites."""
    response = next((v for v in table.schema.variables if v.key == "response"), None)
    if response is None:
        return None
    if table.schema.is_table:
        return _draw_table(plt, table)
    field = next(iter(macro_variables(table)), None)
    if field is None or response.dims[: len(field.dims)] != field.dims:
        return None
    condition = table.arrays[field.quantity.name].reshape(len(table.values), -1)
    return draw_scatter(plt, table, field.quantity, condition, response)


def draw_scatter(plt, table: Table, quantity: Quantity, condition: np.ndarray, response: Variable):
    """Response components of every record and site against the condition (records, sites) there."""
    values = table.arrays[response.quantity.name]
    sites = np.cumprod(values.shape[1:]).tolist().index(condition.shape[1]) + 1  # axes over the sites
    values = values.reshape(*condition.shape, *values.shape[1 + sites :])
    figure, axes = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
    for number, (name, index) in enumerate(component_labels(response, values, sites)):
        component = values[(..., *index)]
        axes.scatter(condition, component, s=7, alpha=0.35, linewidths=0, color=f"C{number}", label=name, rasterized=True)
    legend = axes.legend(markerscale=3, loc="center left", bbox_to_anchor=(1.0, 0.5))
    for handle in legend.legend_handles:
        handle.set_alpha(1.0)
    axes.set(
        xlabel=words_of(quantity),
        ylabel=words_of(response.quantity),
        title="response of every fiber at every save time",
    )
    return figure


def _draw_table(plt, table: Table):
    shown = [v for v in table.schema.variables if v.key in ("response", "tangent")]
    figure, axes = plt.subplots(
        len(shown), 1, figsize=(6.4, 1.2 + 2.7 * len(shown)), layout="constrained", sharex=True, squeeze=False
    )
    for panel, variable in zip(axes[:, 0], shown, strict=True):
        values = table.arrays[variable.quantity.name]
        for number, (name, index) in enumerate(component_labels(variable, values, 0)):
            panel.plot(table.values, values[(..., *index)], color=f"C{number}", label=name)
        panel.set_ylabel(words_of(variable.quantity))
        panel.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    axes[-1, 0].set_xlabel(words_of(table.schema.axis))
    return figure

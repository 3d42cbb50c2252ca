"""Figures of a run, drawn from its results: fields, response against condition, microstates at chosen sites."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fiberax.cases.diffusion.figures import spins_figures
from fiberax.cases.electrons.figures import electron_figures
from fiberax.cases.fluids.flow_figures import flow_figures
from fiberax.cases.fluids.rheometer_figures import rheometer_figures
from fiberax.core.errors import MissingExtra
from fiberax.io.atomic import SaveFailed, replacing
from fiberax.io.body import Body
from fiberax.io.microstates import Microstate, read_microstates
from fiberax.io.plots.bodies import draw_body, draw_crystal, draw_curve
from fiberax.io.plots.transients import draw_energies, draw_space_time
from fiberax.io.results import Quantity, Table, Variable, component_names, read_table

STYLE: Any = {
    "figure.dpi": 110,
    "savefig.dpi": 160,
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "image.cmap": "inferno",
}
PHASES = "Greys"
LINES_SHOWN = 8
FEW = 16  # points of a line that are marked one by one
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


class Drawn(NamedTuple):
    """The paths of the figures, and what could not be drawn: names and reasons."""

    paths: list[Path]
    failed: dict[str, str]


def draw_all(folder: Path) -> Drawn:
    """Draw every figure that the results in `folder` allow, into `folder/figures`; one that fails keeps none from being drawn.

    Raises `MissingExtra` without matplotlib, `SaveFailed` where the disk refuses.
    """
    plt = _pyplot()
    table, body, drawn = read_table(folder), Body.load(folder), Drawn([], {})
    with plt.rc_context(STYLE):
        for name, draw in _figures(plt, table, body, folder):
            try:
                figure = draw()
                if figure is not None:
                    drawn.paths.append(_save(plt, figure, folder / "figures" / f"{name}.png"))
            except SaveFailed:
                raise
            except Exception as error:  # whatever a user's states and numbers make matplotlib stumble over
                drawn.failed[f"{name}.png"] = f"{type(error).__name__}: {error}"
                plt.close("all")
    return drawn


def _figures(plt, table: Table | None, body: Body | None, folder: Path) -> list[tuple[str, Callable[[], Any]]]:
    """Names of the figures, and functions that draw them, or give None where there is nothing to draw."""
    found: list[tuple[str, Callable[[], Any]]] = []
    if table is not None and (own := rheometer_figures(plt, table, folder)) is not None:
        return own
    if table is not None and (own := flow_figures(plt, table, folder)) is not None:
        return own
    if table is not None and (own := electron_figures(plt, table, folder)) is not None:
        return own
    if table is not None and (own := spins_figures(plt, table)) is not None:
        found += own
    elif table is not None:
        for variable in macro_variables(table):
            found.append((variable.quantity.name, lambda v=variable: _draw_field(plt, table, v)))
        found += _further_figures(plt, table, body, folder)
    microstates = read_microstates(folder)
    if microstates and body is None:
        found.append(("microstates", lambda: _draw_microstates(plt, microstates)))
    return found


def _further_figures(plt, table: Table, body: Body | None, folder: Path) -> list[tuple[str, Callable[[], Any]]]:
    """What is no field on a grid."""
    keys = {variable.key for variable in table.schema.variables}
    energies = ("energy", lambda: draw_energies(plt, table))
    if body is not None and body.mesh.dim > 1:
        curve = [("stress-strain", lambda: draw_curve(plt, table, body, folder))] if body.block is not None else []
        return [("body", lambda: draw_body(plt, table, body)), *curve, energies]
    scalar_tangent = any(v.key == "tangent" and v.shape == () for v in table.schema.variables)
    if table.schema.is_table and "energy" in keys and ("acoustic" in keys or scalar_tangent):
        return [("path", lambda: draw_crystal(plt, table, folder))]
    return [
        ("response", lambda: _draw_response(plt, table)),
        energies,
        ("space-time", lambda: draw_space_time(plt, table)),
    ]


def _pyplot():
    try:
        import matplotlib
    except ImportError as error:
        raise MissingExtra("Figures need matplotlib: pip install 'fiberax[plot]', then `fiberax plot DIR`.") from error
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def _save(plt, figure, path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    with replacing(path) as partial:
        figure.savefig(partial, format="png")
    plt.close(figure)
    return path


def words_of(quantity: Quantity) -> str:
    """Text and unit for an axis."""
    text = quantity.label or quantity.name
    return text if quantity.unit in ("", "1") else f"{text} [{_unit(quantity)}]"


def _unit(quantity: Quantity) -> str:
    """The unit with raised exponents."""
    return re.sub(r"\^(-?\d+)", lambda power: power[1].translate(RAISED), quantity.unit)


def _value(quantity: Quantity, value: float) -> str:
    unit = "" if quantity.unit in ("", "1") else f" {_unit(quantity)}"
    return f"{quantity.label or quantity.name} {value:.4g}{unit}"


def axis_words(table: Table, dim: str) -> str:
    """Name and unit of a coordinate."""
    return words_of(Quantity(dim, table.schema.units.get(dim, "1")))


def macro_variables(table: Table) -> list[Variable]:
    """The scalar fields of the macrostate on a grid of one to three dimensions."""
    dims = tuple(table.schema.coords)
    return [v for v in table.schema.variables if v.key.split(".")[0] == "macro" and v.dims == dims and 1 <= len(dims) <= 3]


def _draw_field(plt, table: Table, variable: Variable):
    draw = {1: _draw_lines, 2: _draw_maps, 3: _draw_slices}[len(variable.dims)]
    return draw(plt, table, variable)


def _draw_lines(plt, table: Table, variable: Variable):
    figure, axes = plt.subplots(figsize=(6.4, 4.0), layout="constrained")
    (dim,) = variable.dims
    values = table.arrays[variable.quantity.name]
    colours = plt.get_cmap("viridis")
    chosen = np.unique(np.linspace(0, len(values) - 1, LINES_SHOWN).round().astype(int))
    for k in chosen:
        shade = colours(0.9 * k / max(len(values) - 1, 1))
        axes.plot(table.schema.coords[dim], values[k], color=shade, label=f"{table.values[k]:.3g}")
    if len(values) > 1:
        axes.legend(title=words_of(table.schema.axis), loc="center left", bbox_to_anchor=(1.0, 0.5))
    axes.set(xlabel=axis_words(table, dim), ylabel=words_of(variable.quantity))
    return figure


def _draw_maps(plt, table: Table, variable: Variable):
    """The field at the start, half way and at the end, each on its own scale: what spreads also fades."""
    values = table.arrays[variable.quantity.name]
    chosen = sorted({0, (len(values) - 1) // 2, len(values) - 1})
    figure, axes = plt.subplots(1, len(chosen), figsize=(4.3 * len(chosen), 3.7), layout="constrained", squeeze=False)
    for panel, k in zip(axes[0], chosen, strict=True):
        image = _map(panel, table, variable.dims, values[k], np.nanmin(values[k]), np.nanmax(values[k]))
        figure.colorbar(image, ax=panel, label=words_of(variable.quantity), shrink=0.9)
        panel.set_ylabel(axis_words(table, variable.dims[1]))
        if len(values) > 1:
            panel.set_title(_value(table.schema.axis, table.values[k]))
    return figure


def _draw_slices(plt, table: Table, variable: Variable):
    last = table.arrays[variable.quantity.name][-1]
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


def edges_of(centres: np.ndarray) -> tuple[float, float]:
    """Where the first cell begins and the last one ends."""
    half = (centres[1] - centres[0]) / 2 if len(centres) > 1 else 0.5
    return float(centres[0] - half), float(centres[-1] + half)


def _draw_response(plt, table: Table):
    """Response components against the condition: the leading axis of a table, else the macro field at the same sites."""
    response = next((v for v in table.schema.variables if v.key == "response"), None)
    if response is None:
        return None
    if table.schema.is_table:
        return _draw_table(plt, table)
    field = next(iter(macro_variables(table)), None)
    if field is None or response.dims[: len(field.dims)] != field.dims:
        return None
    return _draw_scatter(plt, table, field, response)


def component_labels(variable: Variable, values: np.ndarray, skip: int) -> list[tuple[str, tuple[int, ...]]]:
    """Label and index of each component worth a colour of its own: at most nine, a symmetric tensor's half."""
    found = []
    for suffix, index in component_names(variable, skip):
        twin = values[(..., *index[::-1])]
        if index > index[::-1] and np.allclose(values[(..., *index)], twin, rtol=1e-6, atol=1e-9 * np.abs(values).max()):
            continue
        found.append((f"${variable.quantity.name}_{{{suffix}}}$" if suffix else f"${variable.quantity.name}$", index))
    return found[:9]


def _draw_scatter(plt, table: Table, field: Variable, response: Variable):
    condition = table.arrays[field.quantity.name].reshape(len(table.values), -1)
    values = table.arrays[response.quantity.name]
    values = values.reshape(*condition.shape, *response.shape[len(field.dims) :])
    figure, axes = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
    for number, (name, index) in enumerate(component_labels(response, values, len(field.dims))):
        component = values[(..., *index)]
        axes.scatter(condition, component, s=7, alpha=0.35, linewidths=0, color=f"C{number}", label=name, rasterized=True)
    legend = axes.legend(markerscale=3, loc="center left", bbox_to_anchor=(1.0, 0.5))
    for handle in legend.legend_handles:
        handle.set_alpha(1.0)
    axes.set(
        xlabel=words_of(field.quantity),
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


def _draw_microstates(plt, microstates: list[Microstate]):
    """One column for each site, one row for each array; labels that all sites share stand once, and as outlines.

    None where no state has anything to show.
    """
    first = {title: array for title, array in microstates[0].arrays.items() if array.size}  # a simple lattice has no shifts
    if not first:
        return None
    shared = [
        title
        for title, array in first.items()
        if array.dtype.kind == "i" and all(np.array_equal(m.arrays[title], array) for m in microstates)
    ]
    titles = [title for title in first if title not in shared]
    rows, columns = max(len(titles), len(shared)), len(microstates) + bool(shared)
    figure, axes = plt.subplots(rows, columns, figsize=(3.3 * columns, 3.0 * rows + 0.5), layout="constrained", squeeze=False)
    for panel in axes.flat:
        panel.set_axis_off()
    outlines = first[shared[0]] if shared else None
    for row, title in enumerate(shared):
        _draw_state(axes[row, 0], title, first[title], None, None)
    for row, title in enumerate(titles):
        arrays = [m.arrays[title] for m in microstates]
        limits = (min(map(np.nanmin, arrays)), max(map(np.nanmax, arrays)))
        panels = axes[row, bool(shared) :]
        for panel, microstate in zip(panels, microstates, strict=True):
            heading = f"{microstate.caption}\n{title}" if row == 0 else title
            image = _draw_state(panel, heading, microstate.arrays[title], limits, outlines)
        if image is not None:
            figure.colorbar(image, ax=panels, shrink=0.86)
    return figure


def _draw_state(panel, title: str, array: np.ndarray, limits: tuple | None, outlines: np.ndarray | None):
    """Lines for one axis, an image for two, the middle slice for three, else a histogram; the image, if it is one."""
    panel.set_axis_on()
    panel.set_title(title)
    if array.ndim == 1:
        panel.plot(np.arange(array.size), array, marker="o" if array.size <= FEW else None)
        if limits is not None and limits[1] > limits[0]:
            margin = 0.05 * (limits[1] - limits[0])
            panel.set_ylim(limits[0] - margin, limits[1] + margin)
            panel.ticklabel_format(axis="y", useOffset=False)
        return None
    if array.ndim not in (2, 3):
        panel.hist(array.ravel(), bins=40)
        return None
    middle = (..., array.shape[-1] // 2) if array.ndim == 3 else ...
    low, high = limits or (None, None)
    look = {"origin": "lower", "extent": (0, 1, 0, 1)}
    image = panel.imshow(array[middle].T, cmap=None if limits else PHASES, vmin=low, vmax=high, **look)
    if outlines is not None and outlines.shape == array.shape:
        levels = np.unique(outlines)[:-1] + 0.5
        panel.contour(outlines[middle].T, levels=levels, colors="white", linewidths=0.6, **look)
    panel.set(xticks=(0, 1), yticks=(0, 1))
    return image

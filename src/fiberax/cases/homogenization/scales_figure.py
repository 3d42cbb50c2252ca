"""One picture of both scales: the field of the plate in time, and the cells at a few of its sites."""

import re
from typing import Any

import numpy as np

from fiberax.io.labels import edges_of, macro_variables, nodal_variables, value_words, words_of
from fiberax.io.plots.bodies import paint_nodal
from fiberax.io.plots.figure import Figure
from fiberax.io.plots.microstates import draw_outlines
from fiberax.io.run import Results


def scales_figures(results: Results) -> list[Figure]:
    """The figure, where a field in the plane, of a box or of a mesh, and states of cells in the plane have been saved."""
    table, body = results.table, results.body
    if table is None or not results.microstates:
        return []
    field = next(iter(macro_variables(table) if body is None else nodal_variables(table)), None)
    if field is None or (len(field.dims) if body is None else body.mesh.dim) != 2:
        return []
    arrays = results.microstates[0].arrays
    title = next((title for title, array in arrays.items() if array.dtype.kind == "f" and array.ndim == 2), None)
    return [] if title is None else [Figure("scales", lambda plt: _draw(plt, results, field, title))]


def _draw(plt, results: Results, field: Any, title: str) -> Any:
    """The field at the start, half way and at the end; below `title` in the cells that are marked in the last panel."""
    from matplotlib.patheffects import withStroke

    table, states = results.table, results.microstates
    assert table is not None
    body, dims = results.body, field.dims
    values = table.arrays[field.quantity.name]
    chosen = table.chosen((0, (len(values) - 1) // 2, len(values) - 1))
    rows = 2 if len(chosen) > 1 else 1  # a single field stands beside the cells
    columns = max(len(chosen), len(states)) if rows == 2 else 1 + len(states)
    figure = plt.figure(figsize=(3.1 * columns + 0.8 * (3 - rows), 6.4 if rows == 2 else 3.9), layout="constrained")
    grid = figure.add_gridspec(rows, columns)
    above = [figure.add_subplot(grid[0, k]) for k in range(len(chosen))]
    below = [figure.add_subplot(grid[-1, k + 2 - rows]) for k in range(len(states))]
    if body is None:
        extent = [end for dim in dims for end in edges_of(results.coords[dim])]
        names = [results.coord_words(dim) for dim in dims]
    else:
        extent = [end(body.mesh.points[:, k]) for k in range(2) for end in (np.min, np.max)]
        names = [f"{axis} [{body.unit}]" if body.unit not in ("", "1") else axis for axis in "xy"]
    limits = float(np.nanmin(values[chosen])), float(np.nanmax(values[chosen]))
    for number, (panel, k) in enumerate(zip(above, chosen, strict=True)):
        if body is None:
            upper = panel.imshow(values[k].T, origin="lower", extent=extent, vmin=limits[0], vmax=limits[1])
        else:
            upper = paint_nodal(panel, body, values[k][body.mesh.unknowns], limits)
        title_above = value_words(table.schema.axis, table.values[k]) if len(values) > 1 else ""
        panel.set(title=title_above, xlabel=names[0], aspect="equal")
        panel.set_ylabel(names[1] if number == 0 else "")
    figure.colorbar(upper, ax=above, label=words_of(field.quantity), shrink=0.85)
    pictures = [state.arrays[title] for state in states]
    shades = {"vmin": min(map(np.nanmin, pictures)), "vmax": max(map(np.nanmax, pictures))}
    for letter, panel, state, picture in zip("abcdefgh", below, states, pictures, strict=False):
        look = {"origin": "lower", "extent": (0, 1, 0, 1)}
        lower = panel.imshow(picture.T, cmap="viridis", **shades, **look)
        labels = next((a for a in state.arrays.values() if a.dtype.kind == "i" and a.shape == picture.shape), None)
        if labels is not None:
            draw_outlines(panel, labels, look)
        panel.set(title=f"cell at {letter}", xticks=(0, 1), yticks=(0, 1))
        place = re.search(r"at \((.*?)\)", state.caption)
        if place is not None:
            at = [float(x) for x in place[1].split(",")]
            above[-1].scatter(*at, s=16, color="white", edgecolors="black", linewidths=0.7)
            inwards = [1 if x < 0.5 * sum(extent[2 * k : 2 * k + 2]) else -1 for k, x in enumerate(at)]
            beside = {"textcoords": "offset points", "ha": "center", "va": "center", "color": "white", "weight": "bold"}
            outlined = {"path_effects": [withStroke(linewidth=1.5, foreground="black")]}  # a letter may lie beside the shape
            above[-1].annotate(letter, at, xytext=(9 * inwards[0], 7 * inwards[1]), **beside, **outlined)
    figure.colorbar(lower, ax=below, label=f"{title} in the cell", shrink=0.85)
    return figure

"""Figures of bodies on a mesh, deformed and in colour, and of scalars at the nodes of a mesh."""

import dataclasses
from typing import Any

import numpy as np

from fiberax.grids import elements
from fiberax.grids.mesh import boundary_facets
from fiberax.io.body import Body
from fiberax.io.labels import broken, value_words, words_of
from fiberax.io.results import Quantity, Table, Variable

# Corners and middle nodes of a cell's outline, in order around it; intervals and solids have none.
_OUTLINES = {("triangle", 1): (0, 1, 2), ("triangle", 2): (0, 3, 1, 4, 2, 5), ("quad", 1): (0, 1, 2, 3)}
_OUTLINES["quad", 2] = (0, 4, 1, 5, 2, 6, 3, 7)
# Triangles between the nodes of a plane cell.
_TRIANGLES = {("triangle", 1): ((0, 1, 2),), ("triangle", 2): ((0, 3, 5), (3, 1, 4), (5, 4, 2), (3, 4, 5))}
_TRIANGLES["quad", 1] = ((0, 1, 2), (0, 2, 3))
_TRIANGLES["quad", 2] = tuple((a, b, 8) for a, b in zip((0, 4, 1, 5, 2, 6, 3, 7), (4, 1, 5, 2, 6, 3, 7, 0), strict=True))
_MAPS = {"mises": "viridis", "energy": "inferno"}
_MARGINS = "cividis"  # colours of margins, which must stay positive


def body_fields(table: Table, body: Body) -> dict[str, tuple[str, np.ndarray]]:
    """Fields that colour the bodies: text with the unit, and values (records, cells)."""
    quantity = {variable.key: variable.quantity for variable in table.schema.variables}
    displacement = table.arrays[quantity["macro.position"].name]
    stress = table.arrays[quantity["response"].name]
    flow = [body.mises(u, P) for u, P in zip(displacement, stress, strict=True)]
    fields = {"mises": (_words("Mises stress", quantity["response"]), np.array(flow))}
    if "energy" in quantity:
        values = table.arrays[quantity["energy"].name]
        words = _words(quantity["energy"].label.split(",")[0] or "energy", quantity["energy"])
        fields["energy"] = (words, np.array([body.over_cells(W) for W in values]))
    margins = {key: quantity[key].label or key for key in body.margins if key in quantity}
    for key, words in (
        margins | ({"stability_margin": "margin of stability"} if "stability_margin" in quantity else {})
    ).items():
        fields[key] = (_words(words, quantity[key]), body.worst(table.arrays[quantity[key].name]))
    return fields


def _words(text: str, quantity: Quantity) -> str:
    return words_of(dataclasses.replace(quantity, label=text))


def draw_nodal(plt, table: Table, variable: Variable, body: Body) -> Any:
    """A scalar at the nodes at the start, half way and at the end, on one scale; solids as `draw_body` shows them."""
    values = table.arrays[variable.quantity.name]
    chosen = table.chosen((0, (len(values) - 1) // 2, len(values) - 1))
    points = body.mesh.points
    if body.mesh.dim == 1:
        return _draw_line(plt, table, variable, body, chosen)
    shown = values[chosen][:, body.mesh.unknowns]
    limits = np.nanmin(shown), np.nanmax(shown)
    low, high = points.min(axis=0)[:2], points.max(axis=0)[:2]
    width = 3.7
    height = min(max(width * (high[1] - low[1]) / (high[0] - low[0]), 1.6), 5.0) + 0.5
    figure, axes = plt.subplots(
        1, len(chosen), figsize=(width * len(chosen) + 1.0, height), layout="constrained", squeeze=False
    )
    for panel, k, nodal in zip(axes[0], chosen, shown, strict=True):
        painted = paint_nodal(panel, body, nodal, limits)
        _frame(panel, low, high, body.unit, first=k == chosen[0], last=True)
        if len(values) > 1:
            panel.set_title(value_words(table.schema.axis, table.values[k]))
    figure.colorbar(painted, ax=axes[0], label=words_of(variable.quantity), shrink=0.9)
    return figure


def paint_nodal(panel, body: Body, nodal: np.ndarray, limits: tuple[float, float]) -> Any:
    """Values (points,) over a plane mesh or on the surface of a solid one, in colour; what a colour bar takes."""
    mesh = body.mesh
    if mesh.dim == 3:
        return _paint(panel, body, mesh.points, nodal[mesh.cells].mean(axis=1), limits, "inferno")
    triangles = mesh.cells[:, np.array(_TRIANGLES[mesh.kind, mesh.order])].reshape(-1, 3)
    painted = panel.tripcolor(*mesh.points.T, triangles, nodal, shading="gouraud", cmap="inferno", rasterized=True)
    painted.set_clim(*limits)
    return painted


def _draw_line(plt, table: Table, variable: Variable, body: Body, chosen: list[int]) -> Any:
    figure, axes = plt.subplots(figsize=(6.4, 4.0), layout="constrained")
    place, unit = body.mesh.points[:, 0], "" if body.unit in ("", "1") else f" [{body.unit}]"
    order = np.argsort(place, kind="stable")
    for k in chosen:
        values = table.arrays[variable.quantity.name][k][body.mesh.unknowns]
        axes.plot(place[order], values[order], label=value_words(table.schema.axis, table.values[k]))
    if len(chosen) > 1:
        axes.legend()
    axes.set(xlabel=f"x{unit}", ylabel=words_of(variable.quantity))
    return figure


def draw_body(plt, table: Table, body: Body) -> Any:
    """The deformed body at the start, half way and at the end; a row of panels for each field, a scale for each row.

    Solids are seen from the front, along their third axis: the surface, what is nearest last.
    """
    quantity = {variable.key: variable.quantity for variable in table.schema.variables}
    displacement = table.arrays[quantity["macro.position"].name]
    half_way = int(np.argmin(np.abs(table.values - 0.5 * (table.values[0] + table.values[-1]))))
    chosen = table.chosen((0, half_way, len(displacement) - 1))
    fields = body_fields(table, body)
    # The same frame for all panels shows how the body grows.
    places = [body.mesh.points + displacement[k][body.mesh.unknowns] for k in chosen]
    low, high = (f([f(p, axis=0) for p in places], axis=0)[:2] for f in (np.min, np.max))
    width = 3.4
    height = min(max(width * (high[1] - low[1]) / (high[0] - low[0]), 1.4), 4.5) + 0.5
    size = (width * len(chosen) + 1.2, height * len(fields))
    figure, axes = plt.subplots(len(fields), len(chosen), figsize=size, layout="constrained", squeeze=False)
    for number, (name, (words, values)) in enumerate(fields.items()):
        limits = np.nanmin(values[chosen]), np.nanmax(values[chosen])
        for panel, k, place in zip(axes[number], chosen, places, strict=True):
            painted = _paint(panel, body, place, values[k], limits, _MAPS.get(name, _MARGINS))
            _frame(panel, low, high, body.unit, first=k == chosen[0], last=number == len(fields) - 1)
            if number == 0:
                panel.set_title(_caption(table, body, k))
        figure.colorbar(painted, ax=axes[number], label=broken(words), shrink=0.9)
        if name == "stability_margin":
            worst = places[-1][body.mesh.cells[int(np.nanargmin(values[chosen[-1]]))]].mean(axis=0)
            axes[number, -1].plot(*worst[:2], marker="x", color="red", markersize=9, markeredgewidth=2)
            axes[number, -1].set_title("red: the weakest crystal", color="red", fontsize=9)
    return figure


def _caption(table: Table, body: Body, k: int) -> str:
    value = table.values[k]
    if body.block is not None:
        return f"applied strain {body.strain * value:.3g}"
    return f"{table.schema.axis.label or table.schema.axis.name} {value:.3g}"


def _paint(panel, body: Body, place: np.ndarray, values: np.ndarray, limits, colours: str):
    """The cells of a plane body, or the surface of a solid one, in colour."""
    from matplotlib.collections import PolyCollection

    mesh = body.mesh
    if mesh.dim == 2:
        outlines, owners = mesh.cells[:, list(_OUTLINES[mesh.kind, mesh.order])], np.arange(len(mesh.cells))
    else:
        corners = mesh.cells[:, : len(elements.CORNERS[mesh.kind])]
        outlines, owners = boundary_facets(mesh.kind, corners)
        nearest_last = np.argsort(place[outlines, 2].mean(axis=1), kind="stable")
        outlines, owners = outlines[nearest_last], owners[nearest_last]
    found = PolyCollection(list(place[outlines][..., :2]), cmap=colours, linewidths=0.3, edgecolors=(0, 0, 0, 0.35))
    panel.add_collection(found)
    found.set_array(values[owners])
    found.set_clim(*limits)
    return found


def _frame(panel, low: np.ndarray, high: np.ndarray, unit: str, first: bool, last: bool) -> None:
    words = "" if unit in ("", "1") else f" [{unit}]"
    margin = 0.03 * (high - low).max()
    panel.set(xlim=(low[0] - margin, high[0] + margin), ylim=(low[1] - margin, high[1] + margin), aspect="equal")
    panel.tick_params(labelbottom=last, labelleft=first)
    panel.set(xlabel=f"x{words}" if last else None, ylabel=f"y{words}" if first else None)

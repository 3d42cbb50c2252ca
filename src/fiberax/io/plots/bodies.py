"""Figures of bodies on a mesh, and of a crystal along a path: deformed meshes in colour, stress against strain, stability."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from fiberax.grids import elements
from fiberax.grids.mesh import boundary_facets
from fiberax.io.body import Body, mises
from fiberax.io.results import Quantity, Table

# Corners and middle nodes of a cell's outline, in order around it; intervals and solids have none.
_OUTLINES = {("triangle", 1): (0, 1, 2), ("triangle", 2): (0, 3, 1, 4, 2, 5), ("quad", 1): (0, 1, 2, 3)}
_OUTLINES["quad", 2] = (0, 4, 1, 5, 2, 6, 3, 7)
_MAPS = {"mises": "viridis", "energy": "inferno", "acoustic": "cividis", "soundness": "cividis"}


def body_fields(table: Table, body: Body) -> dict[str, tuple[str, np.ndarray]]:
    """What the bodies are coloured by: words with the unit, and values (records, cells)."""
    quantity = {variable.key: variable.quantity for variable in table.schema.variables}
    displacement = table.arrays[quantity["macro.position"].name]
    stress = table.arrays[quantity["response"].name]
    flow = [body.over_cells(mises(body.gradients(u), P)) for u, P in zip(displacement, stress, strict=True)]
    fields = {"mises": (_words("Mises stress", quantity["response"]), np.array(flow))}
    if "energy" in quantity:
        values = table.arrays[quantity["energy"].name]
        words = _words(quantity["energy"].label.split(",")[0] or "energy", quantity["energy"])
        fields["energy"] = (words, np.array([body.over_cells(W) for W in values]))
    for key, words in (("acoustic", "smallest acoustic eigenvalue"), ("soundness", "margin of stability")):
        if key in quantity:
            fields[key] = (_words(words, quantity[key]), body.worst(table.arrays[quantity[key].name]))
    return fields


def _words(text: str, quantity: Quantity) -> str:
    from fiberax.io.plots.fields import words_of

    return words_of(dataclasses.replace(quantity, label=text))


def draw_body(plt, table: Table, body: Body) -> Any:
    """The deformed body at the start, half way and at the end; a row of panels for each field, a scale for each row.

    Solids are seen from the front, along their third axis: the surface, what is nearest last.
    """
    quantity = {variable.key: variable.quantity for variable in table.schema.variables}
    displacement = table.arrays[quantity["macro.position"].name]
    half_way = int(np.argmin(np.abs(table.values - 0.5 * (table.values[0] + table.values[-1]))))
    chosen = sorted({0, half_way, len(displacement) - 1})
    fields = body_fields(table, body)
    # With the same frame for all panels the growth of the body is seen.
    places = [body.mesh.points + displacement[k][body.mesh.unknowns] for k in chosen]
    low, high = (f([f(p, axis=0) for p in places], axis=0)[:2] for f in (np.min, np.max))
    width = 3.4
    height = min(max(width * (high[1] - low[1]) / (high[0] - low[0]), 1.4), 4.5) + 0.5
    size = (width * len(chosen) + 1.2, height * len(fields))
    figure, axes = plt.subplots(len(fields), len(chosen), figsize=size, layout="constrained", squeeze=False)
    for number, (name, (words, values)) in enumerate(fields.items()):
        limits = np.nanmin(values[chosen]), np.nanmax(values[chosen])
        for panel, k, place in zip(axes[number], chosen, places, strict=True):
            painted = _paint(panel, body, place, values[k], limits, _MAPS[name])
            _frame(panel, low, high, body.unit, first=k == chosen[0], last=number == len(fields) - 1)
            if number == 0:
                panel.set_title(_caption(table, body, k))
        figure.colorbar(painted, ax=axes[number], label=_broken(words), shrink=0.9)
        if name == "soundness":
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


def draw_curve(plt, table: Table, body: Body, folder: Path) -> Any:
    """Nominal stress against applied strain; a cross where the path ended before its time."""
    response = next(variable for variable in table.schema.variables if variable.key == "response")
    strain, stress = body.strain * table.values, body.nominal(table.arrays[response.quantity.name])
    figure, axes = plt.subplots(figsize=(6.0, 4.0), layout="constrained")
    axes.plot(strain, stress, marker="o", markersize=3.5)
    if read_summary(folder).get("stopped"):
        axes.plot(strain[-1], stress[-1], marker="x", color="red", markersize=10, markeredgewidth=2, linestyle="none",
                  label="end of the path: a crystal loses its stability,\nor no equilibrium is found beyond")  # fmt: skip
        axes.legend(loc="lower right")
    unit = response.quantity.unit
    axes.set(xlabel="applied strain", ylabel=f"force / cross-section{'' if unit in ('', '1') else f' [{unit}]'}")
    axes.set_xlim(left=min(0.0, strain.min()))
    axes.axhline(0.0, color="0.8", linewidth=0.8, zorder=0)
    return figure


def draw_crystal(plt, table: Table, folder: Path) -> Any:
    """Energy, stress and margins of stability along a path, with its limits marked."""
    from fiberax.io.plots.fields import component_labels, words_of

    quantity = {variable.key: variable for variable in table.schema.variables}
    margins = [key for key in ("internal", "acoustic" if "acoustic" in quantity else "tangent") if key in quantity]
    rows = 2 + len(margins)
    figure, axes = plt.subplots(rows, 1, figsize=(6.6, 1.0 + 2.0 * rows), layout="constrained", sharex=True)
    axes[0].plot(table.values, table.arrays[quantity["energy"].quantity.name], color="black")
    axes[0].set_ylabel(_broken(words_of(quantity["energy"].quantity)))
    stress = table.arrays[quantity["response"].quantity.name]
    size = np.nanmax(np.abs(stress))
    shown = [(name, index) for name, index in component_labels(quantity["response"], stress, 0)
             if np.nanmax(np.abs(stress[(..., *index)])) > 1e-6 * size]  # fmt: skip
    drawn: list[tuple[list[str], np.ndarray]] = []
    for name, index in shown:
        values = stress[(..., *index)]
        twin = next((names for names, other in drawn if np.allclose(values, other, rtol=0, atol=1e-6 * size)), None)
        if twin is None:
            drawn.append(([name], values))
        else:
            twin.append(name)
    for names, values in drawn:
        axes[1].plot(table.values, values, label=", ".join(names))
    axes[1].axhline(0.0, color="0.8", linewidth=0.8, zorder=0)
    axes[1].set_ylabel(_broken(words_of(quantity["response"].quantity)))
    if len(drawn) > 1 or stress.ndim > 1:
        axes[1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    for panel, key in zip(axes[2:], margins, strict=True):
        values = table.arrays[quantity[key].quantity.name]
        panel.plot(table.values, values, color="tab:green")
        panel.fill_between(table.values, values, 0.0, where=values < 0.0, color="tab:red", alpha=0.3, interpolate=True)
        panel.axhline(0.0, color="0.4", linewidth=0.8, zorder=0)
        # How far below zero it falls where nothing is stable any more is of no interest.
        top, bottom = np.nanmax(values), np.nanmin(values)
        panel.set_ylim(max(min(bottom, 0.0), -0.4 * top) - 0.05 * top, 1.05 * top) if top > 0.0 else None
        panel.set_ylabel(_broken(words_of(quantity[key].quantity)))
    for mark in read_summary(folder).get("marks", ()):
        for panel in axes:
            panel.axvline(mark, color="tab:red", linestyle="--", linewidth=1.2)
        place = {"xycoords": ("data", "axes fraction"), "xytext": (0, 3), "textcoords": "offset points", "ha": "center"}
        axes[0].annotate("limit of stability", (mark, 1.0), color="tab:red", fontsize=8, **place)
    axes[-1].set_xlabel(words_of(table.schema.axis))
    return figure


def _broken(words: str) -> str:
    """Long labels on two or three lines."""
    lines = [""]
    for word in words.split(" "):
        if len(lines[-1]) + len(word) > 20 and lines[-1]:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)


def read_summary(folder: Path) -> dict[str, Any]:
    """What `summary.json` says; nothing where there is none."""
    path = folder / "summary.json"
    return json.loads(path.read_text()) if path.exists() else {}

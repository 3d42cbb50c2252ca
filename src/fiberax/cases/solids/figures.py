"""Figures of solids: energy, stress and stability of a crystal or a chain along a path; the force on a body that is pulled."""

import dataclasses
from typing import Any

import numpy as np

from fiberax.io.body import Body
from fiberax.io.labels import broken, component_labels, words_of
from fiberax.io.plots.figure import Figure
from fiberax.io.run import Results


def curve_figure(results: Results) -> Figure:
    """Nominal stress of a body that is pulled against applied strain."""
    return Figure("stress-strain", lambda plt: None if results.body is None else _draw_curve(plt, results, results.body))


def titled(figure: Figure, words: str) -> Figure:
    """The figure under a line of words."""

    def draw(plt) -> Any:
        made = figure.draw(plt)
        made.suptitle(words, x=0.01, horizontalalignment="left", fontsize=10)
        return made

    return Figure(figure.name, draw)


def path_figure(results: Results, margins: tuple[str, ...]) -> Figure:
    """Energy, stress and margins of stability, those keys that there are, along a path."""
    return Figure("path", lambda plt: _draw_path(plt, results, [key for key in margins if results(key) is not None]))


def _draw_curve(plt, results: Results, body: Body) -> Any:
    """A cross where the path ended early."""
    strain, stress = body.strain * results.values, body.nominal(results("response"))
    figure, axes = plt.subplots(figsize=(6.0, 4.0), layout="constrained")
    axes.plot(strain, stress, marker="o", markersize=3.5)
    if results.summary.get("stopped"):
        axes.plot(strain[-1], stress[-1], marker="x", color="red", markersize=10, markeredgewidth=2, linestyle="none",
                  label="end of the path: a crystal loses its stability,\nor no equilibrium is found beyond")  # fmt: skip
        axes.legend(loc="lower right")
    force = dataclasses.replace(results.variables["response"].quantity, label="force / cross-section")
    axes.set(xlabel="applied strain", ylabel=words_of(force))
    axes.set_xlim(left=min(0.0, strain.min()))
    axes.axhline(0.0, color="0.8", linewidth=0.8, zorder=0)
    return figure


def _draw_path(plt, results: Results, margins: list[str]) -> Any:
    """The limits of the path are marked."""
    rows = 2 + len(margins)
    figure, axes = plt.subplots(rows, 1, figsize=(6.6, 1.0 + 2.0 * rows), layout="constrained", sharex=True)
    axes[0].plot(results.values, results("energy"), color="black")
    axes[0].set_ylabel(broken(results.words("energy")))
    _draw_stresses(axes[1], results)
    for panel, key in zip(axes[2:], margins, strict=True):
        values = results(key)
        panel.plot(results.values, values, color="tab:green")
        panel.fill_between(results.values, values, 0.0, where=values < 0.0, color="tab:red", alpha=0.3, interpolate=True)
        panel.axhline(0.0, color="0.4", linewidth=0.8, zorder=0)
        # Values far below zero, where nothing is stable, are cut off.
        top, bottom = np.nanmax(values), np.nanmin(values)
        panel.set_ylim(max(min(bottom, 0.0), -0.4 * top) - 0.05 * top, 1.05 * top) if top > 0.0 else None
        panel.set_ylabel(broken(results.words(key)))
    for mark in results.summary.get("marks", ()):
        for panel in axes:
            panel.axvline(mark, color="tab:red", linestyle="--", linewidth=1.2)
        place = {"xycoords": ("data", "axes fraction"), "xytext": (0, 3), "textcoords": "offset points", "ha": "center"}
        axes[0].annotate("limit of stability", (mark, 1.0), color="tab:red", fontsize=8, **place)
    axes[-1].set_xlabel(results.words())
    return figure


def _draw_stresses(panel, results: Results) -> None:
    """Components of the stress that are not zero, those that are alike as one line; dashed the Cauchy stress, if any."""
    stress, true = results("response"), results("cauchy")
    size = np.nanmax(np.abs(stress))
    shown = [(name, index) for name, index in component_labels(results.variables["response"], stress, 0)
             if np.nanmax(np.abs(stress[(..., *index)])) > 1e-6 * size]  # fmt: skip
    drawn: list[tuple[list[str], np.ndarray, tuple[int, ...]]] = []
    for name, index in shown:
        values = stress[(..., *index)]
        twin = next((names for names, other, _ in drawn if np.allclose(values, other, rtol=0, atol=1e-6 * size)), None)
        if twin is None:
            drawn.append(([name], values, index))
        else:
            twin.append(name)
    for names, values, index in drawn:
        (line,) = panel.plot(results.values, values, label=", ".join(names))
        if true is not None:
            symbols = ", ".join(name.replace("$P", r"$\sigma") for name in names) + " (Cauchy)"
            panel.plot(
                results.values, true[(..., *index)], color=line.get_color(), linestyle="--", linewidth=1.0, label=symbols
            )
    panel.axhline(0.0, color="0.8", linewidth=0.8, zorder=0)
    quantity = results.variables["response"].quantity
    panel.set_ylabel(broken(words_of(quantity if true is None else dataclasses.replace(quantity, label="stress"))))
    if len(drawn) > 1 or stress.ndim > 1:
        panel.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))

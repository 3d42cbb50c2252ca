"""Figures of interacting spins: A(U) and D(U) with errors and exact curves; a density in time beside the exact one."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fiberax.io.plots.transients import draw_space_time
from fiberax.io.results import Table

_PROFILES = 6


def spins_figures(plt, table: Table) -> list[tuple[str, Callable[[], Any]]] | None:
    """Names of the figures and functions that draw them; None for results of another kind."""
    arrays = {v.key: table.arrays[v.quantity.name] for v in table.schema.variables}
    if {"response.A", "response.D"} <= set(arrays):
        return [("diffusion-coefficient", lambda: _draw_table(plt, table, arrays))]
    if "exact.U" not in arrays:
        return None
    return [
        ("profiles", lambda: _draw_profiles(plt, table, arrays)),
        ("response", lambda: _draw_response(plt, table, arrays)),
        ("space-time", lambda: draw_space_time(plt, table)),
    ]


def _draw_table(plt, table: Table, arrays: dict[str, np.ndarray]) -> Any:
    from fiberax.io.plots.fields import words_of

    figure, axes = plt.subplots(2, 1, figsize=(6.4, 6.4), layout="constrained", sharex=True)
    good = arrays["result"] == 0
    for panel, name in zip(axes, ("A", "D"), strict=True):
        values, error = arrays[f"response.{name}"], arrays.get(f"stderr.{name}")
        if f"exact.{name}" in arrays:
            panel.plot(
                table.values, arrays[f"exact.{name}"], color="black", linewidth=1.2, label="exact, ring of as many spins"
            )
            infinite = {"color": "0.5", "linewidth": 1.2, "linestyle": "--", "label": "exact, infinite chain"}
            panel.plot(table.values, arrays[f"limit.{name}"], **infinite)
        look = {"linestyle": "none", "marker": "o", "markersize": 4.5, "capsize": 2.5, "color": "C0", "linewidth": 1.2}
        panel.errorbar(table.values, values, error, label="lattices, one standard error", **look)
        if not good.all():
            hollow = {"marker": "o", "markersize": 4.5, "color": "C0", "markerfacecolor": "white", "linestyle": "none"}
            panel.plot(table.values[~good], values[~good], label="not to be trusted", zorder=4, **hollow)
        panel.axhline(0.0, color="0.85", linewidth=0.8, zorder=0)
        panel.set_ylabel(words_of(next(v.quantity for v in table.schema.variables if v.key == f"response.{name}")))
    axes[0].legend(loc="upper left")
    axes[1].set_ylim(bottom=min(0.0, axes[1].get_ylim()[0]))
    axes[1].set_xlabel(words_of(table.schema.axis))
    return figure


def _draw_profiles(plt, table: Table, arrays: dict[str, np.ndarray]) -> Any:
    """The density at a few times, and that of the macro model with the exact A(U)."""
    from fiberax.io.plots.fields import axis_words

    (dim,) = table.schema.coords
    x = np.asarray(table.schema.coords[dim])
    figure, panel = plt.subplots(figsize=(7.2, 4.4), layout="constrained")
    chosen = np.unique(np.linspace(0, len(table.values) - 1, _PROFILES).round().astype(int))
    colours = plt.get_cmap("viridis")
    for k in chosen:
        colour = colours(0.9 * k / max(len(table.values) - 1, 1))
        panel.plot(x, arrays["macro"][k], color=colour, marker="o", markersize=3.5, linewidth=0, label=f"{table.values[k]:.4g}")
        panel.plot(x, arrays["exact.U"][k], color=colour, linewidth=1.3)
    panel.plot([], [], color="0.3", linewidth=1.3, label="exact A(U)")
    panel.set(xlabel=axis_words(table, dim), ylabel="density U")
    panel.legend(title="time", loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _draw_response(plt, table: Table, arrays: dict[str, np.ndarray]) -> Any:
    """The response of every lattice at every save time, about the exact A(U)."""
    U, A, exact = (arrays[key].ravel() for key in ("macro", "response", "exact.A"))
    figure, panel = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
    panel.scatter(U, A, s=7, alpha=0.4, linewidths=0, color="C0", label="lattices, at each save time", rasterized=True)
    order = np.argsort(U)
    panel.plot(U[order], exact[order], color="black", linewidth=1.2, label="exact, ring of as many spins")
    panel.set(xlabel="density U", ylabel="response A")
    panel.legend(markerscale=3)
    return figure

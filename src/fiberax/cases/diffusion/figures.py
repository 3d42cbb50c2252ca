"""Figures of interacting spins: A(U) and D(U) with errors and exact curves; a density in time and the exact one."""

from typing import Any

import numpy as np

from fiberax.io.plots.draw import space_time
from fiberax.io.plots.figure import Figure
from fiberax.io.run import Results

_PROFILES = 6


def coefficient_figure(results: Results) -> Figure:
    """A(U) and D(U) of a table."""
    return Figure("diffusion-coefficient", lambda plt: _draw_table(plt, results))


def coupled_figures(results: Results) -> list[Figure]:
    """The density in time and the responses, with the exact ones."""
    return [
        Figure("profiles", lambda plt: _draw_profiles(plt, results)),
        Figure("response", lambda plt: _draw_response(plt, results)),
        space_time(results),
    ]


def _draw_table(plt, results: Results) -> Any:
    figure, axes = plt.subplots(2, 1, figsize=(6.4, 6.4), layout="constrained", sharex=True)
    good = results("result") == 0
    for panel, name in zip(axes, ("A", "D"), strict=True):
        values, error = results(f"response.{name}"), results(f"stderr.{name}")
        if results(f"exact.{name}") is not None:
            ring = {"color": "black", "linewidth": 1.2, "label": "exact, ring of as many spins"}
            panel.plot(results.values, results(f"exact.{name}"), **ring)
            infinite = {"color": "0.5", "linewidth": 1.2, "linestyle": "--", "label": "exact, infinite chain"}
            panel.plot(results.values, results(f"limit.{name}"), **infinite)
        look = {"linestyle": "none", "marker": "o", "markersize": 4.5, "capsize": 2.5, "color": "C0", "linewidth": 1.2}
        panel.errorbar(results.values, values, error, label="lattices, one standard error", **look)
        if not good.all():
            hollow = {"marker": "o", "markersize": 4.5, "color": "C0", "markerfacecolor": "white", "linestyle": "none"}
            panel.plot(results.values[~good], values[~good], label="not to be trusted", zorder=4, **hollow)
        panel.axhline(0.0, color="0.85", linewidth=0.8, zorder=0)
        panel.set_ylabel(results.words(f"response.{name}"))
    axes[0].legend(loc="upper left")
    axes[1].set_ylim(bottom=min(0.0, axes[1].get_ylim()[0]))
    axes[1].set_xlabel(results.words())
    return figure


def _draw_profiles(plt, results: Results) -> Any:
    """The density at a few times, and that of the macro model with the exact A(U)."""
    (dim,) = results.coords
    x = results.coords[dim]
    figure, panel = plt.subplots(figsize=(7.2, 4.4), layout="constrained")
    chosen = results.chosen(np.linspace(0, len(results.values) - 1, _PROFILES).round().astype(int))
    colours = plt.get_cmap("viridis")
    for k in chosen:
        colour = colours(0.9 * k / max(len(results.values) - 1, 1))
        panel.plot(
            x, results("macro")[k], color=colour, marker="o", markersize=3.5, linewidth=0, label=f"{results.values[k]:.4g}"
        )
        panel.plot(x, results("exact.U")[k], color=colour, linewidth=1.3)
    panel.plot([], [], color="0.3", linewidth=1.3, label="exact A(U)")
    panel.set(xlabel=results.coord_words(dim), ylabel=results.words("macro"))
    panel.legend(title=results.words(), loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _draw_response(plt, results: Results) -> Any:
    """The response of every lattice at every save time, about the exact A(U)."""
    U, A, exact = (results(key).ravel() for key in ("macro", "response", "exact.A"))
    figure, panel = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
    panel.scatter(U, A, s=7, alpha=0.4, linewidths=0, color="C0", label="lattices, at each save time", rasterized=True)
    order = np.argsort(U)
    panel.plot(U[order], exact[order], color="black", linewidth=1.2, label="exact, ring of as many spins")
    panel.set(xlabel=results.words("macro"), ylabel=results.words("response"))
    panel.legend(markerscale=3)
    return figure

"""Figures of a crystal's electrons: stress and energy along a path, density in a plane, bands."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fiberax.io.microstates import read_microstates
from fiberax.io.results import Table

EV = 27.211386245988  # of one hartree, CODATA 2018
_HIGHEST = 0.85  # of the depth of the filled bands, above them, that is drawn


def electron_figures(plt, table: Table, folder: Path) -> list[tuple[str, Callable[[], Any]]] | None:
    """Names of the figures and functions that draw them; None for results of another kind."""
    arrays = {v.key: table.arrays[v.quantity.name] for v in table.schema.variables}
    if not table.schema.is_table or "electrons.chemical_potential" not in arrays:
        return None
    found = [("stress-strain", lambda: _draw_path(plt, table, arrays, folder))]
    states = read_microstates(folder)
    if states:
        found.append(("density", lambda: _draw_density(plt, states)))
    bands = next((m.arrays["bands"] for m in states if "bands" in m.arrays), None)
    if bands is not None:
        level = arrays["electrons.chemical_potential"][int(np.argmin(np.abs(table.values)))]
        found.append(("bands", lambda: _draw_bands(plt, bands, float(level), folder)))
    return found


def _draw_path(plt, table: Table, arrays: dict[str, np.ndarray], folder: Path) -> Any:
    """Energy and the components of P that are not zero; marks are another code's."""
    from fiberax.io.plots.bodies import read_summary
    from fiberax.io.plots.fields import component_labels, words_of

    quantity = {v.key: v for v in table.schema.variables}
    figure, axes = plt.subplots(2, 1, figsize=(6.6, 6.2), layout="constrained", sharex=True, height_ratios=(1, 1.6))
    low = np.nanmin(arrays["energy"])
    axes[0].plot(table.values, arrays["energy"] - low, color="black", marker="o", markersize=3.5)
    axes[0].set_ylabel("W above its\nlowest value [GPa]")
    stress = arrays["response"]
    size = np.nanmax(np.abs(stress))
    drawn: list[np.ndarray] = []
    for name, index in component_labels(quantity["response"], stress, 0):
        values = stress[(..., *index)]
        known = any(np.allclose(values, other, rtol=0, atol=1e-4 * size) for other in drawn)
        if np.nanmax(np.abs(values)) > 1e-4 * size and not known:
            axes[1].plot(table.values, values, label=name, marker="o", markersize=3.5)
            drawn.append(values)
    published = np.asarray(read_summary(folder).get("abinit", ()))
    if len(published):
        look = {"marker": "s", "markersize": 9, "markerfacecolor": "none", "color": "black", "linestyle": "none"}
        axes[1].plot(published[:, 0], published[:, 1], label="ABINIT", **look)
        axes[1].plot(published[:, 0], published[:, 2], **look)
    axes[1].axhline(0.0, color="0.8", linewidth=0.8, zorder=0)
    axes[1].set(xlabel=words_of(table.schema.axis), ylabel=words_of(quantity["response"].quantity))
    axes[1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _draw_density(plt, states: list) -> Any:
    """The same plane at each amplitude, on one scale; lattice vectors of the reference as axes."""
    planes = [m.arrays["density"] for m in states]
    low, high = min(map(np.min, planes)), max(map(np.max, planes))
    figure, axes = plt.subplots(1, len(planes), figsize=(4.4 * len(planes), 3.6), layout="constrained", squeeze=False)
    for panel, state, plane in zip(axes[0], states, planes, strict=True):
        side = np.array([-0.25, 1.25])
        extent = (*(2**0.5 * side), *side)
        image = panel.imshow(plane.T, origin="lower", extent=extent, vmin=low, vmax=high, aspect="equal")
        panel.contour(plane.T, levels=8, extent=extent, colors="white", linewidths=0.5, alpha=0.7)
        panel.set(title=state.caption, xlabel="along [110], lattice constants")
    axes[0, 0].set_ylabel("along [001]")
    figure.colorbar(image, ax=axes, label="density [electrons/bohr³]", shrink=0.9)
    return figure


def _draw_bands(plt, bands: np.ndarray, level: float, folder: Path) -> Any:
    """Bands in eV from the chemical potential, or the top of the filled ones."""
    from fiberax.io.plots.bodies import read_summary

    figure, panel = plt.subplots(figsize=(6.2, 4.6), layout="constrained")
    energies = (bands - level) * EV
    panel.plot(np.arange(len(bands)), energies, color="C0", linewidth=1.5)
    panel.axhline(0.0, color="0.5", linewidth=0.8, linestyle="--")
    corners = read_summary(folder).get("corners", ())
    for place, _ in corners:
        panel.axvline(place, color="0.8", linewidth=0.8, zorder=0)
    panel.set_xticks([place for place, _ in corners], [name for _, name in corners])
    panel.set(xlim=(0, len(bands) - 1), ylim=(1.05 * energies.min(), -_HIGHEST * energies.min()), ylabel="energy [eV]")
    return figure

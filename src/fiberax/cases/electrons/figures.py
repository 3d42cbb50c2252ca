"""Figures of a crystal's electrons: stress and energy along a path, density in a plane, bands."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fiberax.cases.electrons.units import EV
from fiberax.io.labels import broken, component_labels, words_of
from fiberax.io.plots.figure import Figure
from fiberax.io.run import Results

_HIGHEST = 0.85  # of the depth of the filled bands, above them, that is drawn


@dataclass(frozen=True)
class Plane:
    """A part of a plane in a cubic crystal: two directions at right angles, in Miller indices, from `low` to `high` of both."""

    first: tuple[int, int, int]
    second: tuple[int, int, int]
    low: float
    high: float
    points: int

    def places(self, constant: float) -> np.ndarray:
        """Points (points, points, 3) of the plane in a crystal of that lattice constant."""
        along = np.linspace(self.low, self.high, self.points)
        first, second = (np.linalg.norm(direction) for direction in (self.first, self.second))
        x, y = np.meshgrid(along * first * constant, along * second * constant, indexing="ij")
        return (x / first)[..., None] * np.array(self.first) + (y / second)[..., None] * np.array(self.second)

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Its ends in lattice constants, as images have them."""
        lengths = (np.linalg.norm(self.first), np.linalg.norm(self.second))
        first, second = ((float(n * self.low), float(n * self.high)) for n in lengths)
        return (*first, *second)

    @property
    def words(self) -> tuple[str, str]:
        """Its directions, for axes."""
        first, second = ("".join(map(str, direction)) for direction in (self.first, self.second))
        return f"along [{first}], lattice constants", f"along [{second}]"


def path_figure(results: Results) -> Figure:
    """Energy and stress along a path of deformation."""
    return Figure("stress-strain", lambda plt: _draw_path(plt, results))


def density_figure(results: Results, plane: Plane) -> list[Figure]:
    """The density in a plane at some amplitudes."""
    states = results.microstates
    return [Figure("density", lambda plt: _draw_density(plt, states, plane))] if states else []


def bands_figure(results: Results) -> list[Figure]:
    """Bands at the amplitude nearest to rest, where there are orbitals."""
    bands = next((m.arrays["bands"] for m in results.microstates if "bands" in m.arrays), None)
    if bands is None:
        return []
    level = results("electrons.chemical_potential")[int(np.argmin(np.abs(results.values)))]
    return [Figure("bands", lambda plt: _draw_bands(plt, bands, float(level), results.summary.get("corners", ())))]


def _draw_path(plt, results: Results) -> Any:
    """Energy and the components of P that are not zero; marks are another code's."""
    figure, axes = plt.subplots(2, 1, figsize=(6.6, 6.2), layout="constrained", sharex=True, height_ratios=(1, 1.6))
    energy, stress = results("energy"), results("response")
    axes[0].plot(results.values, energy - np.nanmin(energy), color="black", marker="o", markersize=3.5)
    known = results.variables["energy"].quantity
    axes[0].set_ylabel(broken(words_of(dataclasses.replace(known, label=f"{known.name} above its lowest value")), 14))
    size = np.nanmax(np.abs(stress))
    drawn: list[np.ndarray] = []
    for name, index in component_labels(results.variables["response"], stress, 0):
        values = stress[(..., *index)]
        seen = any(np.allclose(values, other, rtol=0, atol=1e-4 * size) for other in drawn)
        if np.nanmax(np.abs(values)) > 1e-4 * size and not seen:
            axes[1].plot(results.values, values, label=name, marker="o", markersize=3.5)
            drawn.append(values)
    published = np.asarray(results.summary.get("abinit", ()))
    if len(published):
        look = {"marker": "s", "markersize": 9, "markerfacecolor": "none", "color": "black", "linestyle": "none"}
        axes[1].plot(published[:, 0], published[:, 1], label="ABINIT", **look)
        axes[1].plot(published[:, 0], published[:, 2], **look)
    axes[1].axhline(0.0, color="0.8", linewidth=0.8, zorder=0)
    axes[1].set(xlabel=results.words(), ylabel=results.words("response"))
    axes[1].locator_params(axis="x", nbins=6)
    axes[1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _draw_density(plt, states: list, where: Plane) -> Any:
    """The same plane at each amplitude, on one scale; directions of the reference as axes."""
    planes = [m.arrays["density"] for m in states]
    low, high, extent = min(map(np.min, planes)), max(map(np.max, planes)), where.extent
    figure, axes = plt.subplots(1, len(planes), figsize=(4.4 * len(planes), 3.6), layout="constrained", squeeze=False)
    for panel, state, plane in zip(axes[0], states, planes, strict=True):
        image = panel.imshow(plane.T, origin="lower", extent=extent, vmin=low, vmax=high, aspect="equal")
        panel.contour(plane.T, levels=8, extent=extent, colors="white", linewidths=0.5, alpha=0.7)
        panel.set(title=state.caption, xlabel=where.words[0])
    axes[0, 0].set_ylabel(where.words[1])
    figure.colorbar(image, ax=axes, label="density [electrons/bohr³]", shrink=0.9)
    return figure


def _draw_bands(plt, bands: np.ndarray, level: float, corners: Sequence) -> Any:
    """Bands in eV from the chemical potential, or the top of the filled ones."""
    figure, panel = plt.subplots(figsize=(6.2, 4.6), layout="constrained")
    energies = (bands - level) * EV
    panel.plot(np.arange(len(bands)), energies, color="C0", linewidth=1.5)
    panel.axhline(0.0, color="0.5", linewidth=0.8, linestyle="--")
    for place, _ in corners:
        panel.axvline(place, color="0.8", linewidth=0.8, zorder=0)
    panel.set_xticks([place for place, _ in corners], [name for _, name in corners])
    panel.set(xlim=(0, len(bands) - 1), ylim=(1.05 * energies.min(), -_HIGHEST * energies.min()), ylabel="energy [eV]")
    return figure

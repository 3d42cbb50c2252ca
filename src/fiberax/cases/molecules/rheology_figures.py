"""Figures of molecules in a rheometer: material functions against the rate, modulus and viscosity against time."""

from typing import Any

import numpy as np

from fiberax.io.labels import broken
from fiberax.io.run import Results

_BARS = {"marker": "o", "markersize": 4, "linewidth": 1.2, "capsize": 2.5, "elinewidth": 1.0}
_PANELS = (("material.viscosity",), ("response.N1", "response.N2"), ("response.pressure",))


def draw_functions(plt, results: Results) -> Any:
    """Viscosity, normal stress differences and pressure against the rate, with two standard errors."""
    figure, axes = plt.subplots(len(_PANELS), 1, figsize=(6.6, 8.2), layout="constrained", sharex=True)
    rates, good = results.values, results("result") == 0
    for panel, keys in zip(axes, _PANELS, strict=True):
        for number, key in enumerate(keys):
            sign = -1.0 if key == "response.N2" else 1.0
            values, error, words = sign * results(key), _error(results, key), results.words(key)
            label = f"−{words}" if sign < 0.0 else words
            panel.errorbar(rates, values, 2.0 * error, color=f"C{number}", label=label, **_BARS)
            if not np.all(good):
                panel.plot(
                    rates[~good], values[~good], "o", markersize=4, color=f"C{number}", markerfacecolor="white", zorder=4
                )
        panel.set_xscale("log")
        if len(keys) == 1:
            panel.set_ylabel(broken(results.words(keys[0]), 22))
        else:
            panel.set_ylabel("normal stress\ndifferences")
            panel.axhline(0.0, color="0.7", linewidth=0.8, zorder=0)
            panel.legend(loc="best", fontsize=8)
    viscosity = results("material.viscosity")
    if np.all(viscosity > 0.0) and viscosity.max() > 2.0 * viscosity.min():
        axes[0].set_yscale("log")
    axes[0].set_title("bars: two standard errors", fontsize=10)
    axes[-1].set_xlabel(results.words())
    return figure


def _error(results: Results, key: str) -> np.ndarray:
    root, name = key.split(".", 1)
    return results(f"error.{name}" if root == "material" else f"stderr.{name}")


def draw_green_kubo(plt, results: Results) -> Any:
    """The relaxation modulus, and its integral, whose plateau is the viscosity, with bands of two standard errors."""
    figure, (upper, lower) = plt.subplots(2, 1, figsize=(6.6, 6.4), layout="constrained", sharex=True)
    time = results("response.time")[0]
    for panel, name, colour in ((upper, "modulus", "C0"), (lower, "viscosity", "C3")):
        values, wide = results(f"response.{name}")[0], 2.0 * results(f"stderr.{name}")[0]
        panel.fill_between(time, values - wide, values + wide, color=colour, alpha=0.25, linewidth=0.0)
        panel.plot(time, values, color=colour, linewidth=1.4)
        panel.set_ylabel(results.words(f"response.{name}"))
        panel.axhline(0.0, color="0.7", linewidth=0.8, zorder=0)
    first = results("response.modulus")[0, 0]
    upper.set_yscale("symlog", linthresh=0.01 * first)
    upper.set(xlim=(0.0, time[-1]), title="bands: two standard errors")
    lower.set_xlabel("time")
    return figure

"""Figures of a rheometer: material functions with error bars, transients with bands, oscillation, configurations."""

from typing import Any

import numpy as np

from fiberax.cases.fluids.oscillation import cycle
from fiberax.io.labels import broken, words_of
from fiberax.io.microstates import Microstate
from fiberax.io.plots.figure import Figure
from fiberax.io.run import Results

BANDS = "bands: two standard errors"
_NOISE = {"marker": "o", "markersize": 4, "linewidth": 1.2, "capsize": 2.5, "elinewidth": 1.0}


def steady_figures(results: Results) -> list[Figure]:
    """Material functions against the rate, and configurations."""
    return [Figure("material-functions", lambda plt: _draw_steady(plt, _Columns(results))), _configurations(results)]


def transient_figures(results: Results) -> list[Figure]:
    """Material functions against time, and configurations."""
    return [Figure("transient", lambda plt: _draw_transient(plt, _Columns(results))), _configurations(results)]


def oscillation_figures(results: Results) -> list[Figure]:
    """Moduli against the frequency; Lissajous curves and harmonics where they are measured."""
    drawn = {"oscillation": _draw_oscillation, "cycles": _draw_cycles}
    return [Figure(name, lambda plt, draw=draw: draw(plt, _Columns(results))) for name, draw in drawn.items()]


def _configurations(results: Results) -> Figure:
    return Figure("configurations", lambda plt: _draw_configurations(plt, results.microstates))


class _Columns:
    """Arrays and words of the results by key; None for what is not there."""

    def __init__(self, results: Results):
        self._results, self.words, self.values, self.summary = results, results.words, results.values, results.summary
        self.along = results.along

    def __call__(self, key: str) -> Any:
        return self._results(key)

    def error(self, key: str) -> Any:
        root, name = key.split(".", 1)
        return self(f"error.{name}" if root == "material" else f"stderr.{name}")


def _panels(plt, columns: _Columns, candidates: list[list[str]]):
    """Axes for the groups of keys that have values, one below the other."""
    groups = [[key for key in keys if columns(key) is not None] for keys in candidates]
    groups = [keys for keys in groups if keys]
    figure, axes = plt.subplots(
        len(groups), 1, figsize=(6.6, 0.8 + 2.5 * len(groups)), layout="constrained", sharex=True, squeeze=False
    )
    return figure, list(zip(axes[:, 0], groups, strict=True))


def _draw_steady(plt, columns: _Columns) -> Any:
    """Viscosity, normal stresses, and shape against the rate."""
    rate = columns.values
    normal = ["response.N1", "response.N2"]
    shapes = ["material.order", "material.stretch"]
    second = [key for key in normal[1:] if _significant(columns, key)]
    groups = [["material.viscosity"], [normal[0], *second], shapes, ["material.angle"]]
    figure, panels = _panels(plt, columns, groups)
    good = columns("result") == 0
    for panel, keys in panels:
        for number, key in enumerate(keys):
            values, sign = columns(key), 1.0
            if key in normal and np.nanmedian(values) < 0.0:
                sign = -1.0
            values, error = sign * values, columns.error(key)
            label = ("−" if sign < 0.0 else "") + columns.words(key)
            _steady_curve(panel, rate, (values, error), good, (f"C{number}", label))
            root = key.split(".", 1)[1]
            exact = columns(f"exact.{root}")
            if exact is not None and np.nanmax(np.abs(exact)) > 1e-9:
                panel.plot(rate, sign * exact, color="black", linewidth=1.0, linestyle="--", label="exact", zorder=3)
        panel.set_xscale("log")
        if keys[0] != "material.angle" and keys[0] != "material.order":
            _log_where_positive(panel, columns, keys)
        limit = columns.summary.get("zero-rate viscosity")
        if keys == ["material.viscosity"] and limit is not None:
            panel.axhline(limit, color="0.5", linewidth=1.0, linestyle=":", label="limit at vanishing rates, exact", zorder=1)
        if len(keys) == 1:
            panel.set_ylabel(broken(columns.words(keys[0]), 22))
        else:
            panel.set_ylabel("normal stress\ndifferences")
        if panel.get_legend_handles_labels()[0] and (len(keys) > 1 or len(panel.get_legend_handles_labels()[1]) > 1):
            panel.legend(loc="best", fontsize=8)
    panels[-1][0].set_xlabel(columns.words())
    return figure


def _significant(columns: _Columns, key: str) -> bool:
    """Whether a second normal stress difference is more than noise and round-off."""
    values, error = columns(key), columns.error(key)
    if values is None:
        return False
    size = 1e-3 * np.nanmax(np.abs(columns("response.N1")))
    return bool(np.any(np.abs(values) > size + (0.0 if error is None else 4.0 * error)))


def _steady_curve(panel, rate, data, good, look) -> None:
    """One curve with error bars; rows that are not to be trusted are hollow."""
    (values, error), (colour, label) = data, look
    panel.errorbar(rate, values, error, color=colour, label=label, **_NOISE)
    if not np.all(good):
        panel.plot(rate[~good], values[~good], "o", markersize=4, color=colour, markerfacecolor="white", zorder=4)


def _log_where_positive(panel, columns: _Columns, keys: list[str]) -> None:
    """A logarithmic axis where the leading quantity is positive everywhere; values below it are noise and are cut off."""
    values = columns(keys[0])
    finite = values[np.isfinite(values)]
    if len(finite) and np.all(finite > 0.0) and finite.max() > 20.0 * finite.min():
        panel.set_yscale("log", nonpositive="clip")
        low = finite.min()
        if len(keys) > 1:
            low = max(1e-4 * finite.max(), 0.3 * min(low, np.nanmedian(np.abs(columns(keys[1])))))
        panel.set_ylim(0.5 * low, 2.0 * finite.max())


def _draw_transient(plt, columns: _Columns) -> Any:
    """Viscosity and first normal stress, for each rate, with bands of standard errors."""
    time = columns.values
    (place,) = columns.along.values()  # the rate of each site, or its strain
    rates = np.asarray(place.values)
    shapes = ["material.order", "material.stretch"]
    leading = {"material.modulus": "material.normal_modulus", "material.viscosity": "material.Psi1"}
    main, first = ["response.stress"], ["response.N1"]
    for key, second in leading.items():
        if columns(key) is not None:
            main, first = [key], [second]
    difference = ["response.N1"] if first != ["response.N1"] else []
    figure, panels = _panels(plt, columns, [main, first, difference, shapes])
    colours = plt.get_cmap("viridis")
    for panel, (key,) in panels:
        values, error, exact = columns(key), columns.error(key), columns(f"exact.{key.split('.', 1)[1]}")
        if key in leading.values() and columns("exact.N1") is not None:  # Ψ₁, or N₁ over the square of the strain
            exact = columns("exact.N1") / rates**2
        for k, rate in enumerate(rates):
            colour = colours(k / max(len(rates) - 1, 1) * 0.88)
            label = f"{rate:.3g}" if len(rates) > 1 or rate != 1.0 else None
            panel.plot(time, values[:, k], color=colour, label=label, linewidth=1.6)
            if error is not None:
                low, high = values[:, k] - 2.0 * error[:, k], values[:, k] + 2.0 * error[:, k]
                panel.fill_between(time, low, high, color=colour, alpha=0.25, linewidth=0)
                panels[0][0].set_title(BANDS)
            if exact is not None:
                last = k == len(rates) - 1
                panel.plot(time, exact[:, k], color="black", linewidth=1.0, linestyle="--", label="exact" if last else None)
        _log_where_it_says_more(panel, values)
        panel.set_ylabel(broken(columns.words(key), 22))
    handles = panels[0][0].get_legend_handles_labels()
    if handles[0]:
        panels[0][0].legend(title=words_of(place.quantity), loc="center left", bbox_to_anchor=(1.0, 0.5))
    panels[-1][0].set_xlabel(columns.words())
    return figure


def _log_where_it_says_more(panel, values: np.ndarray) -> None:
    """A logarithmic axis where values fall by much, or where they end far apart from each other."""
    later = values[1:]
    if not np.all(np.isfinite(later)) or later.min() <= 0.0:
        return
    last = values[-1]
    if values[0].min() > 30.0 * last.max() or (last.max() > 20.0 * last.min() and last.min() > 0.2 * values.min()):
        panel.set_yscale("log", nonpositive="clip")
        panel.set_ylim(max(0.5 * later.min(), 1e-5 * values.max()), 2.0 * values.max())


def _draw_oscillation(plt, columns: _Columns) -> Any:
    """Both moduli and the size of the complex viscosity, with the exact ones where they are known."""
    figure, panel = plt.subplots(figsize=(6.4, 4.4), layout="constrained")
    looks = {"response.storage": ("C0", "o"), "response.loss": ("C3", "s"), "response.dynamic": ("0.6", "")}
    for key, (colour, marker) in looks.items():
        look = {"color": colour, "marker": marker or None, "markersize": 4, "capsize": 2.5, "label": columns.words(key)}
        panel.errorbar(columns.values, columns(key), columns.error(key), **look)
        exact = columns(key.replace("response", "exact"))
        if exact is not None:
            label = "exact" if key == "response.storage" else None
            panel.plot(columns.values, exact, color="black", linewidth=1.0, linestyle="--", label=label, zorder=3)
    panel.set_xscale("log")
    panel.set_yscale("log", nonpositive="clip")
    top = max(np.nanmax(columns(key)) for key in looks)
    panel.set_ylim(bottom=max(panel.get_ylim()[0], 1e-6 * top))
    panel.set(xlabel=columns.words(), ylabel="moduli $G'$, $G''$; complex viscosity $|\\eta^*|$")
    panel.legend()
    return figure


def _draw_cycles(plt, columns: _Columns) -> Any:
    """Lissajous curves, stress against strain, of some frequencies, and the odd harmonics against the frequency."""
    if columns("response.elastic") is None:
        return None
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.6, 4.2), layout="constrained")
    omega, colours = columns.values, plt.get_cmap("viridis")
    shown = np.unique(np.linspace(0, len(omega) - 1, 4).round().astype(int))
    for k in shown:
        strain, stress = cycle(columns("response.elastic")[k], columns("response.viscous")[k])
        colour = colours(k / max(len(omega) - 1, 1) * 0.88)
        left.plot(strain, stress / np.abs(stress).max(), color=colour, label=f"{omega[k]:.3g}")
    left.set(xlabel="strain / its amplitude", ylabel="stress / its largest value")
    left.legend(title=columns.words(), fontsize=8)
    for key, colour in (("response.third", "C0"), ("response.fifth", "C3")):
        right.errorbar(omega, columns(key), columns.error(key), color=colour, label=columns.words(key), **_NOISE)
    right.set(xscale="log", xlabel=columns.words(), ylabel="harmonics over the first")
    right.legend(fontsize=8)
    return figure


def _draw_configurations(plt, shown: list[Microstate]) -> Any:
    """Springs in the plane of the flow with the ellipse of their second moment, or rods on the half sphere."""
    if not shown:
        return None
    figure, axes = plt.subplots(1, len(shown), figsize=(3.5 * len(shown) + 0.4, 3.9), layout="constrained", squeeze=False)
    image, rods = None, any(name.startswith("rod") for name in shown[0].arrays)
    top = max((np.nanmax(m.arrays["rod map"]) for m in shown if "rod map" in m.arrays), default=None)
    for panel, microstate in zip(axes[0], shown, strict=True):
        image = draw_configuration(plt, panel, microstate.arrays, top) or image
        rate = float(microstate.arrays["rate"][0])
        title = microstate.caption if microstate.caption.count("=") == 1 and "\n" not in microstate.caption else None
        panel.set_title(title or (f"rate {rate:.3g}" if rate else "at rest"))
    if rods and image is not None:
        figure.colorbar(image, ax=axes, label="density of rods, 1 where all directions are alike", shrink=0.85)
    return figure


def draw_configuration(plt, panel, arrays: dict[str, np.ndarray], top: float | None) -> Any:
    """One portrait (`fiberax.cases.portraits`); the image, if it is one. `top`: of the scale of rods."""
    rods = any(name.startswith("rod") for name in arrays)
    return _rods(plt, panel, arrays, top) if rods else _springs(panel, arrays)


def _springs(panel, arrays: dict[str, np.ndarray]):
    moment, bound = arrays["moment"][:2, :2], arrays.get("bound")
    spread = 3.5 * np.sqrt(np.linalg.eigvalsh(moment)[-1])
    wide = spread if bound is None else min(spread, 1.04 * float(bound[0]))
    image = None
    if "spring map" in arrays:
        half = float(arrays["extent"][0])
        look = {"origin": "lower", "extent": (-half, half, -half, half), "cmap": "Blues"}
        image = panel.imshow(np.maximum(arrays["spring map"].T, 0.0), vmin=0.0, **look)
    else:
        x, y = arrays["springs"][:2]
        panel.scatter(np.r_[x, -x], np.r_[y, -y], s=2.5, alpha=0.25, linewidths=0, color="C0", rasterized=True)
    angles = np.linspace(0.0, 2.0 * np.pi, 200)
    circle = np.stack([np.cos(angles), np.sin(angles)])
    ellipse = np.linalg.cholesky(moment) @ circle
    panel.plot(*ellipse, color="C3", linewidth=1.6, label="root of the second moment")
    if bound is not None:
        panel.plot(*(float(bound[0]) * circle), color="0.4", linewidth=0.9, linestyle="--", label="reach of the springs")
    panel.set(xlim=(-wide, wide), ylim=(-wide, wide), aspect="equal", xlabel="$z_x$", ylabel="$z_y$")
    return image


def _rods(plt, panel, arrays: dict[str, np.ndarray], top: float | None):
    """The half sphere m_x > 0 seen along x, in an equal-area projection."""
    angles = np.linspace(0.0, 2.0 * np.pi, 200)
    panel.plot(np.cos(angles), np.sin(angles), color="0.3", linewidth=1.0)
    image = None
    if "rod map" in arrays:
        image = panel.imshow(arrays["rod map"].T, origin="lower", extent=(-1, 1, -1, 1), vmin=0.0, vmax=top, cmap="viridis")
        image.set_clip_path(plt.Circle((0, 0), 1.0, transform=panel.transData))
    else:
        m = arrays["rods"] * np.where(arrays["rods"][0] < 0.0, -1.0, 1.0)
        scale = 1.0 / np.sqrt(1.0 + m[0])
        panel.scatter(m[2] * scale, m[1] * scale, s=2.5, alpha=0.35, linewidths=0, color="C0", rasterized=True)
    panel.plot(0, 0, marker="+", color="C3", markersize=9)
    panel.annotate("flow", (0, 0), xytext=(5, 4), textcoords="offset points", color="C3", fontsize=8)
    panel.set(xlim=(-1.05, 1.05), ylim=(-1.05, 1.05), aspect="equal", xticks=(), yticks=())
    panel.set(xlabel="$m_z$", ylabel="$m_y$")
    for side in ("left", "bottom"):
        panel.spines[side].set_visible(False)
    return image

"""Figures of flows: profiles across a channel with error bars, fields of velocity and stress, ellipses, energies in time."""

import re
from typing import Any

import numpy as np

from fiberax.cases.fluids.flows import ERROR
from fiberax.cases.fluids.rheometer_figures import BANDS, draw_configuration
from fiberax.io.labels import edges_of
from fiberax.io.microstates import Microstate
from fiberax.io.plots.figure import Figure
from fiberax.io.run import Results

_PROFILES = 7
_ELLIPSES = 16  # along a side
_BARS_WORDS = "bars: two standard errors"
_BARS = {"capsize": 2.0, "elinewidth": 0.9, "linewidth": 1.3}


def channel_figures(results: Results) -> list[Figure]:
    """Figures of a flow between two walls."""
    flow = _Flow(results)
    return [
        Figure("velocity", lambda plt: _draw_profiles(plt, flow)),
        Figure("stress", lambda plt: _draw_stress(plt, flow)),
        Figure("centre", lambda plt: _draw_centre(plt, flow)),
        Figure("configurations", lambda plt: _draw_configurations(plt, results.microstates, channel=True)),
    ]


def box_figures(results: Results) -> list[Figure]:
    """Figures of a flow in a plane box, closed or periodic."""
    flow = _Flow(results)
    return [
        Figure("fields", lambda plt: _draw_fields(plt, flow)),
        Figure("ellipses", lambda plt: _draw_ellipses(plt, flow)),
        Figure("energy", lambda plt: _draw_energy(plt, flow)),
        Figure("configurations", lambda plt: _draw_configurations(plt, results.microstates, channel=False)),
    ]


class _Flow:
    """Arrays, words and places of the results by key."""

    def __init__(self, results: Results):
        self._results, self.words, self.times = results, results.words, results.values
        self.centres = list(results.coords.values())
        self.ends, self.chosen = [edges_of(values) for values in self.centres], results.chosen

    def __call__(self, key: str) -> Any:
        return self._results(key)

    def title(self, k: int) -> str:
        """The time of record `k`."""
        return f"time {self.times[k]:.3g}"

    def two_errors(self, k: int, i: int, j: int) -> np.ndarray | None:
        """Two standard errors of τ_ij at record `k`, where there are any."""
        error = self("stderr")
        return None if error is None else 2.0 * error[k, ..., i, j]

    def spread(self, key: str) -> np.ndarray | None:
        """Two standard errors of a column at all records, where there are any."""
        error = self(key + ERROR)
        return None if error is None else 2.0 * error

    def band(self, panel, key: str, colour: str) -> None:
        """A column against time, with two standard errors about it where there are any."""
        panel.plot(self.times, self(key), color=colour, label=self.words(key))
        if (spread := self.spread(key)) is not None:
            panel.fill_between(self.times, self(key) - spread, self(key) + spread, color=colour, alpha=0.25, linewidth=0.0)

    @property
    def bands(self) -> str:
        """What bands are."""
        return "" if self("kinetic" + ERROR) is None and self("centre" + ERROR) is None else BANDS


def _starting(flow: _Flow, every: int = 1) -> list[int]:
    """Records to draw of a flow that starts: more of them early."""
    last = len(flow.times) - 1
    return flow.chosen(np.unique(np.geomspace(1, max(last, 1), _PROFILES).round().astype(int)).clip(max=last)[::every])


def _draw_profiles(plt, flow: _Flow) -> Any:
    """U across the channel at some save times, early ones more densely, with two standard errors."""
    figure, panel = plt.subplots(figsize=(6.6, 4.6), layout="constrained")
    U, exact, y = flow("macro.U"), flow("macro.exact"), np.linspace(*flow.ends[0], flow("macro.U").shape[1])
    chosen, spread = _starting(flow), flow.spread("macro.U")
    for n, k in enumerate(chosen):
        colour = plt.get_cmap("viridis")(0.92 * n / max(len(chosen) - 1, 1))
        panel.plot(U[k], y, color=colour, label=f"{flow.times[k]:.3g}")
        if spread is not None:
            panel.fill_betweenx(y, U[k] - spread[k], U[k] + spread[k], color=colour, alpha=0.25, linewidth=0.0)
        if exact is not None:
            label = "exact" if n == len(chosen) - 1 else None
            panel.plot(exact[k], y, color="black", linestyle="--", linewidth=0.9, label=label, zorder=4)
    panel.set(xlabel="velocity along the channel", ylabel="y", ylim=flow.ends[0], title=flow.bands)
    panel.legend(title="time", loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _draw_stress(plt, flow: _Flow) -> Any:
    """Shear stress and first normal stress difference across the channel, with two standard errors."""
    figure, axes = plt.subplots(1, 2, figsize=(9.0, 4.4), layout="constrained", sharey=True)
    chosen = _starting(flow, 2)
    tau, N1, y, exact = flow("response"), flow("N1"), flow.centres[0], flow("exact.shear")
    look = _BARS | {"errorevery": max(1, len(y) // 20)}
    for n, k in enumerate(chosen):
        colour = plt.get_cmap("viridis")(0.92 * n / max(len(chosen) - 1, 1))
        label, (xx, xy, yy) = f"{flow.times[k]:.3g}", (flow.two_errors(k, i, j) for i, j in ((0, 0), (0, 1), (1, 1)))
        axes[0].errorbar(tau[k, :, 0, 1], y, xerr=xy, color=colour, label=label, **look)
        axes[1].errorbar(N1[k], y, xerr=None if xx is None else xx + yy, color=colour, label=label, **look)
        if exact is not None:
            axes[0].plot(exact[k], y, color="black", linestyle="--", linewidth=0.9, zorder=4)
    if exact is not None:
        axes[0].plot([], [], color="black", linestyle="--", linewidth=0.9, label="exact")
    bars = "" if flow("stderr") is None else _BARS_WORDS
    axes[0].set(xlabel="shear stress $\\tau_{xy}$ of the fibers", ylabel="y", ylim=flow.ends[0], title=bars)
    axes[1].set_xlabel("first normal stress difference $N_1$")
    handles, labels = axes[0].get_legend_handles_labels()
    axes[1].legend(handles, labels, title="time", loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _draw_centre(plt, flow: _Flow) -> Any:
    """U half way between the walls against time."""
    figure, panel = plt.subplots(figsize=(6.4, 4.0), layout="constrained")
    flow.band(panel, "centre", "C0")
    if flow("exact.centre") is not None:
        panel.plot(flow.times, flow("exact.centre"), color="black", linestyle="--", linewidth=1.1, label="exact")
        panel.legend()
    panel.set(xlabel="time", ylabel=flow.words("centre"), xlim=(0.0, flow.times[-1]), title=flow.bands)
    return figure


def _draw_fields(plt, flow: _Flow) -> Any:
    """Streamlines over the speed, the extension of springs or order of rods, and N1: a row for each of two times."""
    last = len(flow.times) - 1
    usual = np.clip([max(1, round(last / (8 if flow("budget.force") is None else 2))), last], None, last)
    chosen = flow.chosen(usual)
    figure, axes = plt.subplots(
        len(chosen), 3, figsize=(13.2, 3.9 * len(chosen) + 0.2), layout="constrained", squeeze=False, sharex=True, sharey=True
    )
    tau = flow("response")
    speed, N1 = np.linalg.norm(flow("macro.velocity"), axis=-1), tau[..., 0, 0] - tau[..., 1, 1]
    trace, top = flow("trace"), float(speed[chosen].max()) or 1.0
    columns = (
        (speed, "speed", {"cmap": "viridis", "vmin": 0.0, "vmax": top}),
        (trace, flow.words("trace"), {"cmap": "inferno", "norm": _positive(trace[chosen])}),
        (N1, "first normal stress difference $N_1$", {"cmap": "RdBu_r", "norm": _signed(N1[chosen])}),
    )
    look = {"origin": "lower", "extent": (*flow.ends[0], *flow.ends[1]), "interpolation": "bilinear", "aspect": "equal"}
    for panels, (values, words, scale) in zip(axes.T, columns, strict=True):
        images = [panel.imshow(values[k].T, **look, **scale) for k, panel in zip(chosen, panels, strict=True)]
        _mark(
            figure.colorbar(images[0], ax=panels, label=words, shrink=0.75, pad=0.02, aspect=15 * len(chosen)), images[0].norm
        )
    for k, panel in zip(chosen, axes[:, 0], strict=True):
        _streamlines(flow, panel, k)
        panel.set(ylabel="y", title=flow.title(k))
    for panel in axes[-1]:
        panel.set_xlabel("x")
    return figure


def _mark(bar, norm: Any) -> None:
    """Plain numbers on scales that are logarithmic."""
    from matplotlib.colors import LogNorm, SymLogNorm

    decades, low, high = 10.0 ** np.arange(-8, 9), float(norm.vmin), float(norm.vmax)
    if isinstance(norm, LogNorm):
        ticks = np.sort(np.concatenate([decades, 2.0 * decades, 5.0 * decades]))
    elif isinstance(norm, SymLogNorm):
        ticks = decades[decades > 0.99 * norm.linthresh]
        ticks = np.concatenate([-ticks[::-1], [0.0], ticks])
    else:
        return
    ticks = ticks[(ticks >= low) & (ticks <= high)]
    bar.set_ticks(ticks, labels=[f"{v:g}".replace("-", "−") for v in ticks])
    bar.minorticks_off()


def _positive(values: np.ndarray) -> Any:
    """A scale, logarithmic where values spread widely."""
    from matplotlib.colors import LogNorm, Normalize

    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    return LogNorm(low, high) if low > 0.0 and high > 8.0 * low else Normalize(low, high)


def _signed(values: np.ndarray) -> Any:
    """A scale about zero, logarithmic in its outer parts where a few cells hold by far the largest values."""
    from matplotlib.colors import Normalize, SymLogNorm

    high = float(np.nanmax(np.abs(values))) or 1.0
    typical = float(np.nanpercentile(np.abs(values), 90)) or high
    if high < 8.0 * typical:
        return Normalize(-high, high)
    return SymLogNorm(10.0 ** np.floor(np.log10(typical)), linscale=1.0, vmin=-high, vmax=high)


def _streamlines(flow: _Flow, panel, k: int) -> None:
    """Lines of equal ψ, closer where it is weak; in a cavity the walls, ψ = 0, go around, and a mark at the vortex."""
    psi, (x, y) = flow("macro.psi")[k], flow.centres
    if not np.any(psi):
        return
    if flow("vortex.centre") is None:
        low, high = float(psi.min()), float(psi.max())
        panel.contour(x, y, psi.T, levels=np.linspace(low, high, 18)[1:-1], colors="white", linewidths=0.7, linestyles="solid")
        return
    x, y = (np.r_[ends[0], c, ends[1]] for c, ends in zip((x, y), flow.ends, strict=True))
    psi = np.pad(psi, 1)
    low, high = float(psi.min()), float(psi.max())
    levels = [low * s for s in np.linspace(0.04, 0.97, 12)[::-1] ** 1.3]
    if high > 1e-7 * -low:  # the corners' own vortices
        levels += [high * s for s in (0.03, 0.3, 0.8)]
    panel.contour(x, y, psi.T, levels=sorted(levels), colors="white", linewidths=0.7, linestyles="solid")
    panel.plot(*flow("vortex.centre")[k], marker="+", color="white", markersize=9, markeredgewidth=1.4)


def _draw_ellipses(plt, flow: _Flow) -> Any:
    """At a coarse set of sites the ellipse with half axes along and proportional to the roots of the second moment's."""
    from matplotlib.collections import EllipseCollection

    figure, panel = plt.subplots(figsize=(6.9, 5.7), layout="constrained")
    (*_, k) = flow.chosen((len(flow.times) - 1,))
    moment = flow("conformation")[k, ..., :2, :2]
    every = [max(1, n // _ELLIPSES) for n in moment.shape[:2]]
    rows, columns = (np.arange(step // 2, n, step) for step, n in zip(every, moment.shape[:2], strict=True))
    x, y = np.meshgrid(flow.centres[0][rows], flow.centres[1][columns], indexing="ij")
    values, vectors = np.linalg.eigh(moment[np.ix_(rows, columns)].reshape(-1, 2, 2))
    axes, angle = np.sqrt(np.maximum(values, 0.0)), np.degrees(np.arctan2(vectors[:, 1, 1], vectors[:, 0, 1]))
    gap = min(step * (c[1] - c[0]) for step, c in zip(every, flow.centres, strict=True))
    size = 0.95 * gap / np.percentile(axes[:, 1], 75)  # long ones reach over their neighbours
    colour = flow("trace")[k][np.ix_(rows, columns)].ravel()
    ellipses = EllipseCollection(
        size * axes[:, 1], size * axes[:, 0], angle, units="xy", offsets=np.column_stack([x.ravel(), y.ravel()]),
        transOffset=panel.transData, cmap="plasma", norm=_positive(colour), alpha=0.9, linewidths=0.0,
    )  # fmt: skip
    ellipses.set_array(colour)
    panel.add_collection(ellipses)
    panel.set(xlim=flow.ends[0], ylim=flow.ends[1], aspect="equal", xlabel="x", ylabel="y", title=flow.title(k))
    _mark(figure.colorbar(ellipses, ax=panel, label=flow.words("trace"), shrink=0.9), ellipses.norm)
    return figure


def _draw_energy(plt, flow: _Flow) -> Any:
    """Kinetic energy in time, and the way of the vortex or the balance of powers and the driven wave."""
    box = flow("budget.force") is not None
    figure, axes = plt.subplots(3 if box else 2, 1, figsize=(6.6, 7.2 if box else 5.4), layout="constrained", sharex=True)
    flow.band(axes[0], "kinetic", "black")
    axes[0].set(ylabel="energy" if flow("elastic") is not None else flow.words("kinetic"), title=flow.bands)
    if flow("elastic") is not None:
        flow.band(axes[0], "elastic", "C1")
        axes[0].legend()
    if box:
        for key, colour in (("force", "black"), ("viscous", "C0"), ("fibers", "C1")):
            flow.band(axes[1], f"budget.{key}", colour)
        axes[1].set_ylabel("power")
        flow.band(axes[2], "amplitude", "C0")
        axes[2].set_ylabel("amplitude of\nthe driven wave")
        if flow("exact.amplitude") is not None:
            look = {"color": "black", "linestyle": "--", "linewidth": 1.1, "label": "laminar, exact"}
            axes[2].plot(flow.times, flow("exact.amplitude"), **look)
            axes[2].legend()
    else:
        centre, spread = flow("vortex.centre"), flow.spread("vortex.centre")
        for k, name in enumerate("xy"):
            axes[1].plot(flow.times, centre[:, k], color=f"C{k}", label=name)
            if spread is not None:
                low, high = centre[:, k] - spread[:, k], centre[:, k] + spread[:, k]
                axes[1].fill_between(flow.times, low, high, color=f"C{k}", alpha=0.25, linewidth=0.0)
        axes[1].set_ylabel("centre of the vortex")
    axes[1].legend()
    axes[-1].set(xlabel="time", xlim=(0.0, flow.times[-1]))
    return figure


def _draw_configurations(plt, shown: list[Microstate], channel: bool) -> Any:
    """Springs or rods at the sites of the weakest, the middle and the strongest velocity gradient."""
    if not shown:
        return None
    figure, axes = plt.subplots(1, len(shown), figsize=(3.5 * len(shown) + 0.4, 3.9), layout="constrained", squeeze=False)
    top = max((np.nanmax(m.arrays["rod map"]) for m in shown if "rod map" in m.arrays), default=None)
    image = None
    for panel, microstate in zip(axes[0], shown, strict=True):
        image = draw_configuration(plt, panel, microstate.arrays, top)
        place = re.search(r"at \((.*?)\)", microstate.caption)
        rate = f"{microstate.arrays['rate'][0]:.3g}".replace("-", "−")
        where = "" if place is None else f"y = {place[1].split(', ')[1]}, " if channel else f"at ({place[1]}), "
        panel.set_title(f"{where}shear rate {rate}" if channel else f"{where}$\\kappa_{{xy}}$ = {rate}")
    if image is not None and top is not None:
        figure.colorbar(image, ax=axes, label="density of rods, 1 where all directions are alike", shrink=0.85)
    return figure

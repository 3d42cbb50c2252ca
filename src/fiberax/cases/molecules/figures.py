"""Figures of flows of boxes: mean profiles with two standard errors beside Navier-Stokes, fields, boxes of molecules."""

import itertools
import re
from typing import Any

import numpy as np

from fiberax.cases.molecules.averages import Averages
from fiberax.io.labels import edges_of
from fiberax.io.microstates import Microstate
from fiberax.io.plots.figure import Figure
from fiberax.io.run import Results

_BARS = {"capsize": 2.0, "elinewidth": 0.9, "linestyle": "none", "marker": "o", "markersize": 3.5, "color": "C0"}
_PLAIN = {"color": "black", "linestyle": "--", "linewidth": 1.1}
_DIAMETER = 2.0 ** (1.0 / 6.0)  # where the potential of a pair is lowest
_BARS_WORDS = "bars: two standard errors"


def channel_figures(results: Results) -> list[Figure]:
    """Figures of a flow between two walls."""
    flow = _Flow(results)
    return [
        Figure("velocity", lambda plt: _draw_profile(plt, flow)),
        Figure("stress", lambda plt: _draw_stress(plt, flow)),
        Figure("centre", lambda plt: _draw_centre(plt, flow)),
        Figure("boxes", lambda plt: draw_boxes(plt, results.microstates, channel=True)),
    ]


def cavity_figures(results: Results) -> list[Figure]:
    """Figures of a flow in a cavity."""
    flow = _Flow(results)
    return [
        Figure("fields", lambda plt: _draw_fields(plt, flow)),
        Figure("profiles", lambda plt: _draw_lines(plt, flow)),
        Figure("boxes", lambda plt: draw_boxes(plt, results.microstates, channel=False)),
    ]


class _Flow:
    """Averages of the results by key, the flow by Navier and Stokes, and places."""

    def __init__(self, results: Results):
        self.results, self.summary = results, results.summary
        self.centres = list(results.coords.values())
        self.ends = [edges_of(values) for values in self.centres]
        self._averages = Averages(results.values, {}, self.summary.get("averages from", 0.0))

    def mean(self, values: np.ndarray) -> np.ndarray:
        """The average over time of an array with the axis of records."""
        return self._averages.mean_of(values)

    def spread(self, values: np.ndarray) -> np.ndarray:
        """Two standard errors of it."""
        return 2.0 * self._averages.error_of(values)

    def plain(self, key: str) -> np.ndarray | None:
        """The average of Navier and Stokes."""
        found = self.summary.get("Navier-Stokes")
        return None if found is None else np.asarray(found[key])

    @property
    def viscosity(self) -> float:
        """That of Navier and Stokes."""
        return self.summary["viscosity compared with"]

    @property
    def words(self) -> str:
        """What the curve of Navier and Stokes is."""
        return f"Navier-Stokes, viscosity {self.viscosity:.3g}"

    def nodes(self, axis: int, count: int) -> np.ndarray:
        """Coordinates from wall to wall."""
        return np.linspace(*self.ends[axis], count)


def _draw_profile(plt, flow: _Flow) -> Any:
    """The mean velocity across the channel, and that of the end."""
    figure, panel = plt.subplots(figsize=(6.4, 4.6), layout="constrained")
    U = flow.results("macro.U")
    y = flow.nodes(0, U.shape[1])
    panel.plot(U[-1], y, color="0.65", linewidth=1.0, label="at the end, no average")
    if (plain := flow.plain("macro.U")) is not None:
        panel.plot(plain, y, label=flow.words, **_PLAIN)
    panel.errorbar(flow.mean(U), y, xerr=flow.spread(U), label="molecules", **_BARS)
    panel.set(xlabel="velocity along the channel", ylabel="y", ylim=flow.ends[0], title=_BARS_WORDS)
    panel.legend()
    return figure


def _draw_stress(plt, flow: _Flow) -> Any:
    """Mean shear stress, first normal stress difference and pressure across the channel."""
    figure, axes = plt.subplots(1, 3, figsize=(11.0, 4.2), layout="constrained", sharey=True)
    sigma, y = flow.results("response"), flow.centres[0]
    difference = sigma[..., 0, 0] - sigma[..., 1, 1]
    for panel, values in zip(axes, (sigma[..., 0, 1], difference, flow.results("pressure")), strict=True):
        panel.errorbar(flow.mean(values), y, xerr=flow.spread(values), label="molecules", **_BARS)
    if (plain := flow.plain("kappa")) is not None:
        axes[0].plot(flow.viscosity * plain[:, 0, 1], y, label=flow.words, **_PLAIN)
    axes[0].set(xlabel="shear stress $\\sigma_{xy}$", ylabel="y", ylim=flow.ends[0], title=_BARS_WORDS)
    axes[0].legend(fontsize="small")
    axes[1].set_xlabel("first normal stress difference $N_1$")
    axes[2].set_xlabel("pressure")
    return figure


def _draw_centre(plt, flow: _Flow) -> Any:
    """The velocity half way between the walls in time, and the noise that is expected about Navier and Stokes."""
    figure, panel = plt.subplots(figsize=(6.8, 4.0), layout="constrained")
    times = flow.results.values
    panel.plot(times, flow.results("centre"), color="C0", linewidth=0.9, label="molecules")
    if (plain := flow.plain("centre")) is not None:
        wide = 2.0 * flow.summary["variance expected"] ** 0.5
        panel.plot(times, plain, label=flow.words, **_PLAIN)
        words = "two standard deviations expected"
        panel.fill_between(times, plain - wide, plain + wide, color="0.5", alpha=0.25, linewidth=0.0, label=words)
    panel.set(xlabel="time", ylabel=flow.results.words("centre"), xlim=(0.0, times[-1]))
    panel.legend(fontsize="small")
    return figure


def _draw_fields(plt, flow: _Flow) -> Any:
    """Mean velocity as arrows over the speed, mean shear stress and pressure."""
    figure, axes = plt.subplots(1, 3, figsize=(13.0, 4.0), layout="constrained", sharex=True, sharey=True)
    U, sigma, pressure = (flow.mean(flow.results(key)) for key in ("macro.velocity", "response", "pressure"))
    sigma = sigma[..., 0, 1]
    high = float(np.nanmax(np.abs(sigma)))
    shown = (
        (np.linalg.norm(U, axis=-1), "mean speed", {"cmap": "viridis", "vmin": 0.0}),
        (sigma, "mean shear stress $\\sigma_{xy}$", {"cmap": "RdBu_r", "vmin": -high, "vmax": high}),
        (pressure, "mean pressure", {"cmap": "cividis"}),
    )
    extent = (*flow.ends[0], *flow.ends[1])
    for panel, (values, words, scale) in zip(axes, shown, strict=True):
        image = panel.imshow(values.T, origin="lower", extent=extent, aspect="equal", **scale)
        figure.colorbar(image, ax=panel, label=words, shrink=0.85)
        panel.set_xlabel("x")
    axes[0].quiver(*flow.centres, U[..., 0].T, U[..., 1].T, color="white", width=0.005)
    axes[0].set_ylabel("y")
    return figure


def _draw_lines(plt, flow: _Flow) -> Any:
    """Mean velocities along the two middle lines, each across the line."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10.0, 4.4), layout="constrained")
    (u, du), (v, dv) = ((flow.mean(x), flow.spread(x)) for x in map(flow.results, ("macro.u", "macro.v")))
    plain_u, plain_v = flow.plain("macro.u"), flow.plain("macro.v")
    (x, y), k, m = flow.centres, u.shape[0] // 2, v.shape[1] // 2
    left.errorbar(u[k], y, xerr=du[k], label="molecules", **_BARS)
    right.errorbar(x, v[:, m], yerr=dv[:, m], label="molecules", **_BARS)
    if plain_u is not None and plain_v is not None:
        left.plot(plain_u[k], y, label=flow.words, **_PLAIN)
        right.plot(x, plain_v[:, m], label=flow.words, **_PLAIN)
    left.set(xlabel=f"velocity along x, at x = {flow.nodes(0, len(u))[k]:.3g}", ylabel="y", ylim=flow.ends[1])
    right.set(ylabel=f"velocity along y, at y = {flow.nodes(1, v.shape[1])[m]:.3g}", xlabel="x", xlim=flow.ends[0])
    left.set_title(_BARS_WORDS)
    left.legend(fontsize="small")
    return figure


def draw_boxes(plt, shown: list[Microstate], channel: bool) -> Any:
    """Boxes at the sites of the weakest, the middle and the strongest velocity gradient, seen along z."""
    if not shown:
        return None
    figure, axes = plt.subplots(1, len(shown), figsize=(3.8 * len(shown) + 0.8, 4.2), layout="constrained", squeeze=False)
    top, image = max(float(np.linalg.norm(m.arrays["momenta"], axis=0).max()) for m in shown), None
    for panel, microstate in zip(axes[0], shown, strict=True):
        image = _box(panel, microstate.arrays, top)
        place = re.search(r"at \((.*?)\)", microstate.caption)
        rate = f"{microstate.arrays['rate'][0]:.3g}"
        where = "" if place is None else f"y = {place[1].split(', ')[1]}, " if channel else f"at ({place[1]}), "
        panel.set(title=f"{where}rate {rate}", xlabel="x", aspect="equal")
    axes[0, 0].set_ylabel("y")
    figure.colorbar(image, ax=axes, label="speed beside the flow", shrink=0.85)
    return figure


def _box(panel, arrays: dict[str, np.ndarray], top: float) -> Any:
    """Molecules as discs, those in front over those behind, and the edges of their box; `top` of the scale of speeds."""
    from matplotlib.collections import EllipseCollection, LineCollection

    at, h = arrays["molecules"], arrays["box"]
    order = np.argsort(at[2])
    size = np.full(len(order), _DIAMETER)
    discs = EllipseCollection(
        size, size, np.zeros(len(order)), units="xy", offsets=at[:2, order].T, transOffset=panel.transData, cmap="plasma",
        edgecolors="black", linewidths=0.4,
    )  # fmt: skip
    discs.set_array(np.linalg.norm(arrays["momenta"], axis=0)[order])
    discs.set_clim(0.0, top)
    panel.add_collection(discs)
    corners = np.array(list(itertools.product((0.0, 1.0), repeat=3)))
    pairs = [(a, b) for a, b in itertools.combinations(corners, 2) if np.sum(np.abs(a - b)) == 1.0]
    panel.add_collection(LineCollection([np.stack([h @ a, h @ b])[:, :2] for a, b in pairs], colors="C2", linewidths=1.2))
    ends = (h @ corners.T)[:2]
    for limits, values in ((panel.set_xlim, ends[0]), (panel.set_ylim, ends[1])):
        limits(values.min() - _DIAMETER, values.max() + _DIAMETER)
    return discs

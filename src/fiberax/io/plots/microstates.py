"""Figures of the states of a few sites."""

import numpy as np

from fiberax.io.microstates import Microstate

PHASES = "Greys"
FEW = 16  # points of a line that are marked one by one
ROUND_OFF = 1e-12  # of the largest value of all arrays
MANY = 64  # labels beyond which outlines would hide the picture


def draw_microstates(plt, microstates: list[Microstate]):
    """One column for each site, one row for each array; labels that all sites share are drawn once, and as outlines.

    None where no state has an array to draw.
    """
    first = {title: array for title, array in microstates[0].arrays.items() if array.size}  # a simple lattice has no shifts
    if not first:
        return None
    shared = [
        title
        for title, array in first.items()
        if array.dtype.kind == "i" and all(np.array_equal(m.arrays[title], array) for m in microstates)
    ]
    titles = [title for title in first if title not in shared]
    rows, columns = max(len(titles), len(shared)), len(microstates) + bool(shared)
    figure, axes = plt.subplots(rows, columns, figsize=(3.3 * columns, 3.0 * rows + 0.5), layout="constrained", squeeze=False)
    for panel in axes.flat:
        panel.set_axis_off()
    outlines = first[shared[0]] if shared else None
    for row, title in enumerate(shared):
        _draw_state(axes[row, 0], title, first[title], None, None)
    size = max((np.nanmax(np.abs(m.arrays[title]), initial=0.0) for m in microstates for title in titles), default=0.0)
    for row, title in enumerate(titles):
        arrays = [m.arrays[title] for m in microstates]
        limits = (min(map(np.nanmin, arrays)), max(map(np.nanmax, arrays)))
        if max(map(abs, limits)) < ROUND_OFF * size:  # zero, such as a field where nothing passes
            limits = (0.0, 1.0)
        panels = axes[row, bool(shared) :]
        for panel, microstate in zip(panels, microstates, strict=True):
            heading = f"{microstate.caption}\n{title}" if row == 0 else title
            image = _draw_state(panel, heading, microstate.arrays[title], limits, outlines)
        if image is not None:
            figure.colorbar(image, ax=panels, shrink=0.86, label=title)
    return figure


def _draw_state(panel, title: str, array: np.ndarray, limits: tuple | None, outlines: np.ndarray | None):
    """Lines for one axis, an image for two, the middle slice for three, else a histogram; the image, if it is one."""
    panel.set_axis_on()
    panel.set_title(title)
    if array.ndim == 1:
        panel.plot(np.arange(array.size), array, marker="o" if array.size <= FEW else None)
        if limits is not None and limits[1] > limits[0]:
            margin = 0.05 * (limits[1] - limits[0])
            panel.set_ylim(limits[0] - margin, limits[1] + margin)
            panel.ticklabel_format(axis="y", useOffset=False)
        return None
    if array.ndim not in (2, 3):
        panel.hist(array.ravel(), bins=40)
        return None
    middle = (..., array.shape[-1] // 2) if array.ndim == 3 else ...
    low, high = limits or (None, None)
    look = {"origin": "lower", "extent": (0, 1, 0, 1)}
    image = panel.imshow(array[middle].T, cmap=None if limits else PHASES, vmin=low, vmax=high, **look)
    if outlines is not None and outlines.shape == array.shape:
        draw_outlines(panel, outlines[middle], look)
    panel.set(xticks=(0, 1), yticks=(0, 1))
    return image


def draw_outlines(panel, labels: np.ndarray, look: dict) -> None:
    """White lines half way between pixels of different labels, whatever the labels are; none where they are too many.

    Each phase but the lowest has a line of its own, so that all lie half way: levels of the labels would not.

    Args:
        panel: Where to draw.
        labels: Whole numbers (n, m), the first axis to the right.
        look: Keywords of the image below, `origin` and `extent`.
    """
    phases = np.unique(labels)[1:]
    if len(phases) < MANY:
        for phase in phases:
            inside = (labels == phase).astype(float)
            panel.contour(inside.T, levels=[0.5], colors="white", linewidths=0.6, **look)

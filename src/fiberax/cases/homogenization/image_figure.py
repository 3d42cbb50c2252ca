"""The figure of a thresholded image: grey values, their numbers with the levels, and the labels that were made."""

from typing import Any

import numpy as np

from fiberax.cases.homogenization.image_input import ImageChoice, levels_of, read_chosen
from fiberax.io.plots.figure import Figure
from fiberax.physics.homogenization import threshold

_BINS = 256


def threshold_figure(choice: ImageChoice) -> Figure:
    """What `--threshold` has made of the image; a volume is drawn by its middle slice."""
    return Figure("threshold", lambda plt: _draw(plt, choice))


def _draw(plt, choice: ImageChoice) -> Any:
    grey = np.asarray(read_chosen(choice).array)
    grey = grey.astype(np.uint8) if grey.dtype.kind == "b" else grey
    levels = levels_of(choice.threshold or "", grey)
    labels = threshold(grey, levels)
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(10.5, 3.4), layout="constrained")
    _panel(figure, left, grey, "grey values", "gray", {})
    numbers = np.bincount(labels.ravel())
    middle.hist(grey.ravel(), bins=min(_BINS, max(int(np.ptp(grey)) + 1, 2)) if grey.dtype.kind in "iu" else _BINS, color="0.6")
    middle.set(yscale="log", xlabel="grey value", ylabel="pixels" if grey.ndim < 3 else "voxels", title="histogram")
    for level in levels:
        middle.axvline(level, color="tab:red", linewidth=1.2)
        place = {"xytext": (3, -3), "textcoords": "offset points", "va": "top", "fontsize": 8, "color": "tab:red"}
        middle.annotate(f"{level:.6g}", (level, 1.0), xycoords=("data", "axes fraction"), **place)
    shares = ", ".join(f"{label}: {100.0 * n / labels.size:.3g} %" for label, n in enumerate(numbers))
    steps = plt.get_cmap("viridis").resampled(len(numbers))
    _panel(figure, right, labels, f"labels ({shares})", steps, {"vmin": -0.5, "vmax": len(numbers) - 0.5})
    return figure


def _panel(figure, panel, array: np.ndarray, title: str, colours: Any, limits: dict[str, float]) -> None:
    """A line, a picture or the middle slice of a volume, its first axis to the right, as in figures of microstates."""
    panel.set_title(title)
    if array.ndim == 1:
        panel.plot(np.arange(array.size), array, drawstyle="steps-mid", color="black")
        return
    shown = array[..., array.shape[-1] // 2] if array.ndim == 3 else array
    image = panel.imshow(shown.T, origin="lower", cmap=colours, **limits)
    figure.colorbar(image, ax=panel, shrink=0.86, ticks=np.arange(limits["vmax"]) if limits else None)
    panel.set(xlabel="first axis", ylabel="second axis")

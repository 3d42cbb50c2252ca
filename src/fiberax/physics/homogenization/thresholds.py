"""Labels from grey values: thresholds that are given, or found by Otsu's method.

Otsu, A threshold selection method from gray-level histograms, IEEE Trans. Syst. Man Cybern. 9 (1979) 62-66.
"""

from collections.abc import Sequence

import numpy as np

from fiberax.core.errors import BadInput

_BINS = 256  # of grey values that are no integers
_MOST_BINS = 2**20


def threshold(grey: np.ndarray, levels: float | Sequence[float]) -> np.ndarray:
    """Labels 0, 1, ... of grey values: how many of the levels a value exceeds.

    A value that is equal to a level belongs to the phase below it. Of values in floating point the levels are rounded to
    their type first, so that 0.1 in single precision is equal to the level 0.1.

    Args:
        grey: Grey values, (nx,), (nx, ny) or (nx, ny, nz).
        levels: One level or several, each larger than the one before, in the unit of the grey values.

    Returns:
        uint8 labels of the shape of `grey`.

    Raises:
        BadInput: Levels that do not grow, also in the type of the grey values, or are not finite; grey values that are no
            numbers or NaN.
    """
    grey = _checked(grey)
    given = np.atleast_1d(np.asarray(levels, dtype=float))
    kept = given
    if grey.dtype.kind == "f":
        with np.errstate(over="ignore"):  # a level beyond the type lies above all values
            kept = given.astype(grey.dtype)
    if given.ndim != 1 or not 1 <= given.size <= 255 or not np.all(np.isfinite(given)) or np.any(np.diff(given) <= 0):
        raise BadInput(f"levels = {levels}: give one to 255 numbers, each larger than the one before.")
    if np.any(np.diff(kept[np.isfinite(kept)]) <= 0):
        raise BadInput(f"levels = {levels}: two of them are the same number in the type of the grey values, {grey.dtype}.")
    labels = np.zeros(grey.shape, dtype=np.uint8)
    for level in kept:
        labels += grey > level
    return labels


def otsu(grey: np.ndarray) -> float:
    """The threshold of Otsu's method, for two phases: it makes the variance between them largest.

    Integers are counted one by one; other numbers, and integers that span a million values, in 256 bins from the lowest to
    the highest. The value is that of `skimage.filters.threshold_otsu`.

    Args:
        grey: Grey values of any shape.

    Returns:
        A level for `threshold`: values above it are the upper phase.

    Raises:
        BadInput: All values are equal, no numbers, or NaN.
    """
    counts, centres = histogram(grey)
    lower = np.cumsum(counts)
    total = lower[-1]
    moment = np.cumsum(counts * (centres - centres[0]))
    w, m = lower[:-1], moment[:-1]
    # With w and m the number and the sum below a level, the variance between is (N m − w M)² / (w (N − w)), up to a factor.
    between = (total * m - w * moment[-1]) ** 2 / (w * (total - w))
    return float(centres[np.argmax(between)])


def histogram(grey: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of pixels and the grey values at the middle of their bins, both float. Raises `BadInput` for equal values."""
    grey = _checked(grey)
    low, high = grey.min(), grey.max()
    if low == high:
        raise BadInput(f"all grey values are {low}: no threshold divides them.")
    if grey.dtype.kind in "iu" and int(high) - int(low) < _MOST_BINS:
        counts = np.bincount((grey.astype(np.int64) - int(low)).ravel())
        return counts.astype(float), int(low) + np.arange(len(counts), dtype=float)
    counts, edges = np.histogram(grey, bins=_BINS)
    return counts.astype(float), 0.5 * (edges[1:] + edges[:-1])


def _checked(grey: np.ndarray) -> np.ndarray:
    """Grey values as an array of numbers. Raises `BadInput`."""
    grey = np.asarray(grey)
    if grey.dtype.kind == "b":
        grey = grey.astype(np.uint8)
    if grey.dtype.kind not in "iuf" or grey.size == 0:
        raise BadInput(f"grey values of the type {grey.dtype} and shape {grey.shape}: an array of numbers is needed.")
    if grey.dtype.kind == "f" and not np.all(np.isfinite(grey)):
        bad = ~np.isfinite(grey)
        place = tuple(int(i) for i in np.argwhere(bad)[0])
        raise BadInput(f"{int(bad.sum())} of {grey.size} grey values are NaN or infinite, the first at {place}.")
    return grey

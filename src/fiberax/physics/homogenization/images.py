"""Labelled pixels and voxels: reading them, and giving each label its conductivity."""

import os
from pathlib import Path
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from fiberax.core.errors import BadInput, MissingExtra
from fiberax.numerics.trees import is_tracer

_MANY = 64
_SUFFIXES = ".npy, .png, .tif and .tiff"


def read_labels(labels) -> tuple[np.ndarray, str]:
    """Labels as an integer array of one to three axes, and a name for messages.

    `labels` is an array, or the path of a .npy, .png, .tif or .tiff file. A picture gives its grey values or palette
    indices; a picture in colour is refused.

    Raises:
        BadInput: No such file, an unknown ending, a file that cannot be read, NaN, values that are not whole, a wrong number
            of axes.
        MissingExtra: pillow or tifffile is not installed.
    """
    if isinstance(labels, str | os.PathLike):
        path = Path(labels)
        return _whole(_read(path), str(path)), str(path)
    return _whole(np.asarray(labels), "the label array"), "the label array"


def _read(path: Path) -> np.ndarray:
    readers = {".npy": _read_npy, ".png": _read_png, ".tif": _read_tif, ".tiff": _read_tif}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise BadInput(f"{path}: cannot read files ending in '{path.suffix}'. Known endings: {_SUFFIXES}.")
    if not path.is_file():
        raise BadInput(f"{path}: no such file (looked in {path.absolute().parent}).")
    try:
        return reader(path)
    except (BadInput, MissingExtra):
        raise
    # The readers raise errors of any type on a damaged file.
    except Exception as error:
        raise BadInput(f"{path}: the file is damaged or not what its ending says ({error}).") from error


def _read_npy(path: Path) -> np.ndarray:
    return np.load(path, allow_pickle=False)


def _read_png(path: Path) -> np.ndarray:
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtra(f"{path}: reading pictures needs pillow. Install it with: pip install 'fiberax[image]'") from error
    with Image.open(path) as picture:
        picture.load()
        array = np.asarray(picture)
        if array.ndim == 3 and picture.mode in ("LA", "RGB", "RGBA"):
            array = _grey(array, picture.mode, path)
    return array


def _grey(array: np.ndarray, mode: str, path: Path) -> np.ndarray:
    """Grey values of a picture stored with colour channels that are all equal."""
    colours = array[..., : 1 if mode == "LA" else 3]
    if np.any(colours != colours[..., :1]):
        raise BadInput(f"{path}: a picture in colour. Save it as greyscale or with a palette, one value for each phase.")
    if array.shape[-1] in (2, 4) and np.any(array[..., -1] != 255):
        raise BadInput(f"{path}: the picture has transparent pixels. Save it without an alpha channel.")
    return colours[..., 0]


def _read_tif(path: Path) -> np.ndarray:
    try:
        import tifffile
    except ImportError as error:
        raise MissingExtra(f"{path}: reading TIFF needs tifffile. Install it with: pip install 'fiberax[image]'") from error
    return tifffile.imread(path)


def _whole(array: np.ndarray, source: str) -> np.ndarray:
    if not 1 <= array.ndim <= 3:
        raise BadInput(f"{source}: {array.ndim} axes of lengths {array.shape}. Labels are lines, pictures or voxel blocks.")
    if array.size == 0:
        raise BadInput(f"{source}: no pixels (shape {array.shape}).")
    if array.dtype.kind not in "biuf":
        raise BadInput(f"{source}: entries of type {array.dtype}. Labels are whole numbers.")
    if array.dtype.kind == "f":
        bad = ~np.isfinite(array)
        if bad.any():
            place = tuple(int(i) for i in np.argwhere(bad)[0])
            raise BadInput(
                f"{source}: {int(bad.sum())} of {array.size} pixels are NaN or infinite, the first at {place}. "
                "Give every pixel a label."
            )
        broken = array != np.round(array)
        if broken.any():
            place = tuple(int(i) for i in np.argwhere(broken)[0])
            raise BadInput(f"{source}: {array[place]} at {place} is not a whole number. Labels name phases.")
    return array.astype(np.int64)


def _found(array: np.ndarray) -> str:
    values, counts = np.unique(array, return_counts=True)
    told = ", ".join(f"{v} ({c} pixels)" for v, c in zip(values[:10].tolist(), counts[:10].tolist()))
    more = f" and {len(values) - 10} more" if len(values) > 10 else ""
    return f"{told}{more}"


class Phases(eqx.Module):
    """A piecewise constant coefficient: the index of the phase of each pixel, and a value for each phase.

    Values are numbers, (d, d) arrays, or functions of U giving either; numbers and arrays are differentiable parameters.
    """

    index: Int[Array, " *shape"]
    values: tuple[Any, ...]
    known_symmetric: bool = eqx.field(static=True)

    def __init__(self, labels: np.ndarray, values: dict[int, Any], source: str = "the label array"):
        found = np.unique(labels)
        missing = [int(v) for v in found if int(v) not in values]
        if missing:
            advice = (
                "It looks like a photograph: threshold it into a few labels first."
                if len(found) > _MANY
                else f"Values were given for {sorted(values)}; give one for each label."
            )
            raise BadInput(f"{source}: no value for label {missing[0]}. Labels found: {_found(labels)}. {advice}")
        self.index = jnp.asarray(np.searchsorted(found, labels), dtype=jnp.int32)
        first = [tuple(int(i) for i in np.argwhere(labels == v)[0]) for v in found]
        self.values = tuple(_value(values[int(v)], int(v), p, labels.ndim, source) for v, p in zip(found, first))
        self.known_symmetric = all(
            not callable(v) and (jnp.ndim(v) == 0 or (not is_tracer(v) and bool(np.allclose(v, np.transpose(v), 0, 0))))
            for v in self.values
        )

    def __call__(self, condition, z):
        """The value at the point z (d,), by the pixel that holds it."""
        shape = jnp.asarray(self.index.shape)
        place = jnp.clip(jnp.floor(z * shape).astype(int), 0, shape - 1)
        return self._table(condition)[self.index[tuple(place)]]

    def field(self, condition) -> Float[Array, "..."]:
        """The coefficient on all pixels, (*shape) for numbers or (d, d, *shape)."""
        table = self._table(condition)
        if table.ndim == 1:
            return table[self.index]
        return jnp.moveaxis(table[self.index], (-2, -1), (0, 1))

    def _table(self, condition):
        d = self.index.ndim
        values = [jnp.asarray(v(condition) if callable(v) else v, dtype=float) for v in self.values]
        for v in values:
            if v.shape not in ((), (d, d)):
                raise BadInput(f"a value of shape {v.shape}: a number or a ({d}, {d}) array is needed for each label.")
        if any(v.ndim for v in values):
            values = [v if v.ndim else v * jnp.eye(d) for v in values]
        return jnp.stack(values)


def _value(value, label: int, place, d: int, source: str):
    """A value in the form in which it is stored. Raises `BadInput`."""
    if callable(value):
        return value
    if is_tracer(value) and value.shape in ((), (d, d)):
        return value  # a traced number has no value to check
    what = f"{source}: the value of label {label} (first pixel {place})"
    try:
        array = np.asarray(value, dtype=float)
    except (TypeError, ValueError) as error:
        raise BadInput(f"{what} is {value!r}. Give a number, a ({d}, {d}) array or a function of U.") from error
    if array.shape not in ((), (d, d)):
        raise BadInput(f"{what} has the shape {array.shape}. Give a number or a ({d}, {d}) array.")
    if not np.all(np.isfinite(array)):
        raise BadInput(f"{what} is {array.tolist()}, not finite.")
    smallest = array if array.ndim == 0 else np.linalg.eigvalsh(0.5 * (array + array.T)).min()
    if not smallest > 0:
        raise BadInput(
            f"{what} is {array.tolist()}; conductivities must be positive (definite). "
            "For voids take a small number such as 1e-4 of the largest."
        )
    return jnp.asarray(array)

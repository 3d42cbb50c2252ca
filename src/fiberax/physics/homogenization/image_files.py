"""Images in files: one function for all formats, and what a file is refused for.

The first axis of an array is the first direction of the effective tensor, whatever the format: rows of a picture counted from
the top, pages of a TIFF stack, x of VTK and DREAM.3D, the first axis of numpy's arrays, HDF5 datasets and raw data.
"""

import os
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from fiberax.core.errors import BadInput, MissingExtra
from fiberax.core.randomness import NoEffectWarning
from fiberax.physics.homogenization.file_kinds import kind_of, refuse_missing, refuse_other_kind
from fiberax.physics.homogenization.picture_files import Stored, grey, read_picture
from fiberax.physics.homogenization.tiff_files import read_tif
from fiberax.physics.homogenization.vtk_files import named, only, read_vti, read_vtk

_THIN = (3, 4)  # channels of a picture in colour
_CHANNELS = (2, 3, 4)  # the same, and of grey with opacity, where nothing says what an axis is
_UNNAMED = (".npy", ".npz")  # files that do not say it
_ALONE = (".npy", ".raw")  # files that hold one array and give it no name
_NO_FOLDER = "Give one file; save slices as one stack (.tif, .npy)"
_WIDE = 17  # voxels along the other axes from which on three or four along the last look like channels
_WIDE_BYTES = 8  # the same of bytes, of which most pictures are made


def read_image(
    path: str | os.PathLike,
    *,
    part: str | int | None = None,
    shape: tuple[int, ...] | None = None,
    dtype: str | np.dtype | None = None,
    volume: bool = False,
) -> np.ndarray:
    """The grey values, palette indices or labels of an image file, in the type in which they are stored.

    Formats: .npy, .npz; .png, .bmp, .gif, .jpg, .jpeg (with pillow); .tif, .tiff (with tifffile); .vti (VTK images), .vtk
    (legacy structured points); .h5, .hdf5, .dream3d (DREAM.3D, or one dataset); .raw.
    The first axis is the first direction of the effective tensor: rows of a picture, counted from the top; pages of a TIFF
    stack, then rows and columns; x, y and z of VTK and DREAM.3D.
    Palettes give their indices; those of .gif and .bmp that hold greys alone give greys. The numbers of a JPEG are not those
    that were saved: give them to `threshold`, they are no labels.

    Args:
        path: The file.
        part: Which of several: the name of an array or dataset (.npz, .vti, .vtk, .h5), the number, from 0, of a series of
            equal pages (.tif) or of a frame (.gif, .png).
        shape: Of .raw data, whose last axis runs fastest: voxels along one to three axes.
        dtype: Of .raw data: numpy's name of the type, such as "uint8", or ">u2" for two bytes with the higher first.
        volume: True where a first or last axis of 2 to 4 voxels is a direction in space and no colour, and where pages that a
            .tif file calls channels are layers. Pages that ImageJ calls slices are layers without it.

    Returns:
        An array of one to three axes. Values of a TIFF whose lowest value is white are inverted.

    Raises:
        BadInput: No such file; an unknown ending; a damaged file; a picture in colour; several arrays or series and no `part`,
            a `part` of .npy or .raw, `volume` of fewer than three axes; voxels that are not cubes; `shape` or `dtype` that do
            not fit.
        MissingExtra: pillow or tifffile is not installed.
    """
    return read_stored(path, part=part, shape=shape, dtype=dtype, volume=volume).array


def read_stored(path, *, part=None, shape=None, dtype=None, volume=False) -> Stored:
    """As `read_image`, with the knowledge of whether values have been changed by compression."""
    path, part = Path(path), None if part is None else str(part)
    ending = path.suffix.lower()
    if path.is_dir():
        refuse_missing(path, _NO_FOLDER)
    if ending not in _READERS:
        raise BadInput(f"{path}: cannot read files ending in '{path.suffix}'. Known endings: {', '.join(sorted(_READERS))}.")
    if part is not None and ending in _ALONE:
        raise BadInput(f"{path}: part = {part!r} (--part), but a file of this kind holds one array alone. Leave it out.")
    if ending != ".raw" and (shape is not None or dtype is not None):
        raise BadInput(f"{path}: shape and dtype are for .raw files; others say theirs themselves.")
    refuse_missing(path, _NO_FOLDER)
    try:
        if ending != ".raw":
            refuse_other_kind(path, [other for other, reader in _READERS.items() if reader is _READERS[ending]])
        found = _read_raw(path, shape, dtype) if ending == ".raw" else _READERS[ending](path, part)
        stored = found if isinstance(found, Stored) else Stored(found)
    except (BadInput, MissingExtra):
        raise
    except PermissionError as error:
        raise BadInput(f"{path}: may not be read ({error.strerror}).") from error
    except MemoryError as error:
        raise BadInput(f"{path}: too large for the memory of this machine.") from error
    # The readers raise errors of any type on a damaged file.
    except Exception as error:
        raise BadInput(f"{path}: the file is damaged or not what its ending says ({error}).") from error
    unnamed = ending in _UNNAMED
    array = _without_channels(stored, str(path), volume, unnamed)
    if volume:
        _judge_volume(path, stored, array, unnamed)
    return Stored(array, stored.lossy)


def _judge_volume(path: Path, stored: Stored, array: np.ndarray, unnamed: bool) -> None:
    """`BadInput` where `volume` is said of what is none, a warning where the file has said it or no axis is thin."""
    if array.ndim < 3:
        raise BadInput(
            f"{path}: volume=True (--volume), but the image has {array.ndim} axes (shape {array.shape}). Leave it out."
        )
    thin = _channels(stored.array, stored.array.dtype == np.uint8, unnamed) is not None
    if stored.spatial or not (thin or stored.channels):
        warnings.warn(
            f"{path}: volume=True (--volume) changes nothing: an array of shape {array.shape} is a volume in any case.",
            NoEffectWarning,
            stacklevel=4,
        )


def _without_channels(stored: Stored, source: str, volume: bool, unnamed: bool) -> np.ndarray:
    """The numbers of a file with one for each pixel. Raises `BadInput`."""
    array, axis = stored.array, stored.axis
    if stored.spatial:
        return array if _channels(array, True, True) is None else _as_volume(array)
    if not stored.channels:
        return without_colours(array, source, volume, unnamed=unnamed)
    if stored.separate:
        if volume and array.ndim == 3:
            return _as_volume(array)
        told = _IF_VOLUME if array.ndim == 3 else "Save one of them in a file of its own."
        raise BadInput(f"{source}: {array.shape[axis]} channels in an array of shape {array.shape}. {told}")
    moved = np.moveaxis(array, axis, -1)
    if not stored.guessed or array.ndim != 3:
        return grey(moved, source)
    small = array.dtype != np.uint8 and min(moved.shape[:2]) < _WIDE_BYTES
    return _as_volume(array) if volume or small else _grey_or_told(array, source, axis)


def without_colours(array: np.ndarray, source: str, volume: bool, wide: bool = True, unnamed: bool = False) -> np.ndarray:
    """The array, or its grey values where its last axis looks like colour channels.

    Bytes that are grey in all channels are reduced. `wide`: whether numbers other than bytes are looked at too. With
    `volume` the array is taken as it is, as integers of eight bytes, which no later look takes for colours. `unnamed`: whether
    nothing says what an axis is; then channels may also come first, and be two.
    Raises `BadInput` for colours, and where nothing tells a thin volume from them.
    """
    of_bytes = array.dtype == np.uint8
    axis = _channels(array, of_bytes, unnamed)
    if axis is None or not (of_bytes or wide):
        return array
    if volume:
        return _as_volume(array)
    if of_bytes:
        return _grey_or_told(array, source, axis)
    which = "first" if axis == 0 else "last"
    raise BadInput(f"{source}: an array of shape {array.shape}, whose {which} axis looks like colour channels. {_IF_VOLUME}")


def _channels(array: np.ndarray, of_bytes: bool, unnamed: bool) -> int | None:
    """The axis whose entries look like the channels of a picture."""
    if array.ndim != 3:
        return None
    wide = _WIDE_BYTES if of_bytes or unnamed else _WIDE
    for axis in (2, 0) if unnamed else (2,):
        others = array.shape[:axis] + array.shape[axis + 1 :]
        if array.shape[axis] in (_CHANNELS if unnamed else _THIN) and min(others) >= wide:
            return axis
    return None


_IF_VOLUME = (
    "If it is a picture, save one channel, one value for each phase; if it is a volume, say so: volume=True of "
    "fx.homogenization.read_image, or --volume, and labels.astype(int) for an array in memory."
)


def _as_volume(array: np.ndarray) -> np.ndarray:
    return array.astype(np.int64) if array.dtype == np.uint8 else array


def _grey_or_told(array: np.ndarray, source: str, axis: int = 2) -> np.ndarray:
    """Grey values of what looks like channels. Raises `BadInput`, also with the words for a volume."""
    try:
        return grey(np.moveaxis(array, axis, -1), source)
    except BadInput as error:
        raise BadInput(f"{error} (The shape is {array.shape}. {_IF_VOLUME})") from None


def _read_npy(path: Path, part: str | None) -> np.ndarray:
    if kind_of(path) is None:
        raise ValueError("the first bytes are not those of a NumPy array")
    return _numbers(path, lambda: np.load(path, allow_pickle=False))


def _numbers(path: Path, read: Callable[[], np.ndarray]) -> np.ndarray:
    """What `read` reads from a file of numpy. Raises `BadInput` for Python objects, which only code of the file can make."""
    try:
        return read()
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise
        raise BadInput(f"{path}: an array of Python objects (dtype object). Save numbers: array.astype(int).") from None


def _read_npz(path: Path, part: str | None) -> np.ndarray:
    if not zipfile.is_zipfile(path):
        raise ValueError("no archive of numpy")
    with np.load(path, allow_pickle=False) as file:
        names = list(file.files)
        name = only(path, names) if part is None else named(path, part, names)
        return _numbers(path, lambda: file[name])


def _read_raw(path: Path, shape, dtype) -> np.ndarray:
    """Numbers without a head, the last axis fastest. Raises `BadInput` where size, shape and type do not fit."""
    if shape is None or dtype is None:
        raise BadInput(
            f"{path}: raw data say neither shape nor type. Give shape=(pages, rows, columns) and dtype='uint8' "
            f"(--raw-shape and --raw-type); the file has {path.stat().st_size} bytes."
        )
    if not (1 <= len(shape) <= 3 and all(float(n).is_integer() and n >= 1 for n in shape)):
        raise BadInput(f"{path}: shape = {tuple(shape)}. Give one to three whole numbers of voxels.")
    lengths = tuple(int(n) for n in shape)
    try:
        kind = np.dtype(dtype)
    except TypeError:
        kind = np.dtype("V")
    if kind.kind not in "biuf":
        raise BadInput(f"{path}: dtype = {dtype!r}. Give the name of a type of numbers, such as uint8, uint16, >u2 or float32.")
    needed = int(np.prod(lengths, dtype=object)) * kind.itemsize
    size = path.stat().st_size
    if needed != size:
        raise BadInput(
            f"{path}: {'x'.join(map(str, lengths))} voxels of {kind} take {needed} bytes, the file has {size}. Change the "
            "shape or the type (--raw-shape, --raw-type); a file with a head has to be converted, for example to .npy."
        )
    return np.fromfile(path, kind).reshape(lengths).astype(kind.newbyteorder("="), copy=False)


def _read_hdf5(path: Path, part: str | None) -> np.ndarray:
    from fiberax.physics.homogenization.hdf5_files import read_hdf5  # h5py is slow to import

    return read_hdf5(path, part)


_READERS: dict[str, Callable] = {
    ".npy": _read_npy, ".npz": _read_npz, ".raw": _read_raw, ".tif": read_tif, ".tiff": read_tif, ".vti": read_vti,
    ".vtk": read_vtk, ".h5": _read_hdf5, ".hdf5": _read_hdf5, ".dream3d": _read_hdf5, ".png": read_picture,
    ".bmp": read_picture, ".gif": read_picture, ".jpg": read_picture, ".jpeg": read_picture,
}  # fmt: skip

"""TIFF: read by tifffile, and by pillow where a compression needs a codec that tifffile does not have.

A stack of equal pages is a volume, (pages, rows, columns). Values are those that are stored: indices of a palette, samples
of two and four bits as they are; where the file says that the lowest value is white they are inverted.
"""

import logging
from pathlib import Path

import numpy as np

from fiberax.core.errors import BadInput, MissingExtra
from fiberax.physics.homogenization.picture_files import Stored, chosen, pillow, pixels, seek

_MIN_IS_WHITE, _PALETTE = 0, 3
_LOSSY = (6, 7, 33003, 33005, 34712, 34892, 50001)  # JPEG, JPEG 2000 and WebP


def read_tif(path: Path, part: str | None) -> Stored:
    """A picture (rows, columns) or a stack (pages, rows, columns); `part` is the number of a series of equal pages.

    Raises:
        BadInput: Several series and none chosen; colours; a damaged file.
        MissingExtra: tifffile is not installed.
    """
    try:
        import tifffile
    except ImportError as error:
        raise MissingExtra(f"{path}: reading TIFF needs tifffile. Install it with: pip install 'fiberax[image]'") from error
    with _Complaints() as complaints, tifffile.TiffFile(path) as file:
        found = list(file.series)
        equal = len({(one.shape, one.axes, one.dtype.str, int(one.keyframe.photometric)) for one in found}) == 1
        stack = part is None and equal and found[0].ndim == 2  # pages written one after another form a series each
        wanted = found if stack else [found[chosen(path, part, [_words(one) for one in found])]]
        if complaints.said:  # pages that are cut off
            raise BadInput(f"{path}: the file is damaged ({complaints.said[0]}). Write it again.")
        page, axes = wanted[0].keyframe, wanted[0].axes
        read = [_array(path, series) for series in wanted]
    array = np.stack([one for one, _ in read]) if len(read) > 1 else read[0][0]
    inverted = read[0][1]
    if int(page.photometric) == _MIN_IS_WHITE and not inverted:
        array = _inverted(array, page.bitspersample, path)
    colour = next((axis for axis in "CS" if axis in axes), None)
    return Stored(
        array,
        int(page.compression) in _LOSSY,
        channels=colour is not None,
        guessed=wanted[0].kind == "shaped",
        axis=-1 if colour is None else axes.index(colour),
        separate=colour == "C",
        spatial=colour is None and "Z" in axes,
    )


def _array(path: Path, series) -> tuple[np.ndarray, bool]:
    """The array of a series, and whether "lowest is white" has been seen to. Raises `BadInput`, `MissingExtra`."""
    try:
        return series.asarray(), False
    except Exception as error:  # a missing codec, or damage; tifffile has no type of error for either
        return _by_pillow(path, series, error)


def _words(series) -> str:
    """A series, for a message."""
    count = len(series.pages)
    size = "x".join(str(n) for n in series.keyframe.shape)
    return f"{count} page{'s' if count > 1 else ''} of {size} {series.dtype}"


def _inverted(array: np.ndarray, bits: int, path: Path) -> np.ndarray:
    """Values of a file whose lowest value is white, with black as zero."""
    if array.dtype.kind == "b":
        return ~array
    if array.dtype.kind != "u":
        raise BadInput(f"{path}: MinIsWhite of the type {array.dtype} has no largest value. Save it with black as zero.")
    return array.dtype.type(2**bits - 1) - array


def _by_pillow(path: Path, series, error: Exception) -> tuple[np.ndarray, bool]:
    """The array of a series from pillow, and whether pillow has inverted it. Raises `BadInput` where that fails too."""
    page = series.keyframe
    name = getattr(page.compression, "name", str(page.compression))
    if page.samplesperpixel > 1 and page.bitspersample > 8:
        raise BadInput(
            f"{path}: colours of {page.bitspersample} bits with the compression {name}: tifffile cannot read them ({error}), "
            "and pillow keeps 8 bits. Save the file as greyscale, or without compression."
        ) from error
    try:
        with pillow(path).open(path) as picture:
            pages = [_page(picture, one.index, page, path) for one in series.pages]
            inverted = picture.mode in ("L", "1")
    except (BadInput, MissingExtra):
        raise
    except Exception as second:
        raise BadInput(
            f"{path}: the file is damaged, or its compression {name} cannot be read here (tifffile: {error}; pillow: "
            f"{second}). Save it without compression or with Deflate."
        ) from error
    shape = [n for n, axis in zip(series.shape, series.axes) if axis != "S"]
    array = np.stack(pages).reshape(shape)
    return (np.expand_dims(array, series.axes.index("S")) if "S" in series.axes else array), inverted


def _page(picture, index: int, page, path: Path) -> np.ndarray:
    seek(picture, index)
    array = pixels(picture, path)
    bits = page.bitspersample
    if picture.mode == "L" and bits < 8 and int(page.photometric) != _PALETTE:
        return array // (255 // (2**bits - 1))  # pillow spreads few bits over 0 to 255
    return array if picture.mode == "1" or page.samplesperpixel > 1 else array.astype(page.dtype)


class _Complaints(logging.Handler):
    """Collects what tifffile logs, in place of printing it: of pages that it cannot reach it says nothing else."""

    def __init__(self):
        super().__init__(logging.ERROR)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if any(words in message for words in ("page offset", "to page", "of page", "ImageJ series metadata invalid")):
            self.said.append(message)

    def __enter__(self):
        self._logger = logging.getLogger("tifffile")
        self._before = self._logger.propagate
        self._logger.addHandler(self)
        self._logger.propagate = False
        return self

    def __exit__(self, *error):
        self._logger.removeHandler(self)
        self._logger.propagate = self._before

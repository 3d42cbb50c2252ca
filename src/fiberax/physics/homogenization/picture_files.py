"""Pictures: png, jpg, bmp and gif, read by pillow, and what colours become.

A picture holds one number for each pixel: a grey value or the index of a palette. Colour channels that are all equal are such
a number; colours are refused, because no rule says which of them are one phase.
"""

import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fiberax.core.errors import BadInput, MissingExtra

_NUMBERS = ("1", "L", "P", "I", "I;16", "I;16L", "I;16B", "I;16N", "F")
_CHANNELS = ("LA", "PA", "RGB", "RGBA")
_WITHOUT_GREYS = ("GIF", "BMP")  # formats whose greys are a palette
_LOSSY = ("JPEG", "MPO", "JPEG2000", "WEBP", "AVIF")


class Stored(NamedTuple):
    """What a file holds.

    Attributes:
        array: Its numbers.
        lossy: Whether its compression has changed values (JPEG).
        channels: Whether it says that an axis holds channels.
        guessed: Whether it was written by a program that guesses this from the shape.
        axis: That axis.
        separate: Whether these channels are pictures of their own, and not the parts of a colour.
        spatial: Whether it says that all axes are directions in space.
    """

    array: np.ndarray
    lossy: bool = False
    channels: bool = False
    guessed: bool = False
    axis: int = -1
    separate: bool = False
    spatial: bool = False


def pillow(path: Path):
    """The module `PIL.Image`. Raises `MissingExtra`."""
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtra(f"{path}: reading pictures needs pillow. Install it with: pip install 'fiberax[image]'") from error
    return Image


def read_picture(path: Path, part: str | None) -> Stored:
    """A picture as rows and columns; `part` is the number of a frame. Raises `BadInput`, `MissingExtra`."""
    Image = pillow(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            opened = Image.open(path)
        except Image.DecompressionBombError as error:
            raise BadInput(f"{path}: more pixels than pillow reads. Save the picture as .tif or .npy.") from error
    with opened as picture:
        frames = getattr(picture, "n_frames", 1)
        lossy = picture.format in _LOSSY
        seek(picture, chosen(path, part, [f"a frame of {picture.size[0]}x{picture.size[1]}"] * frames))
        if picture.format == "PNG":
            _refuse_deep_colours(path)
        array = pixels(picture, path)
        if picture.mode == "P" and picture.format in _WITHOUT_GREYS:
            array = _of_palette(array, picture.getpalette("RGB") or [])
        return Stored(array, lossy)


def _of_palette(array: np.ndarray, palette: list[int]) -> np.ndarray:
    """The grey values behind the indices where all in use are grey, else the indices."""
    table = np.zeros((256, 3), np.uint8)
    table[: len(palette) // 3] = np.reshape(palette, (-1, 3))
    used = table[np.unique(array)]
    return table[array, 0] if np.all(used == used[:, :1]) else array


def seek(picture, frame: int) -> None:
    """Go to a frame and decode it; pillow's warning of large pictures is left out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        picture.seek(frame)
        picture.load()


def chosen(path: Path, part: str | None, parts: list[str]) -> int:
    """The number of the part to read: the only one, or the one that was asked for. Raises `BadInput` with all of them."""
    if part is None and len(parts) == 1:
        return 0
    told = "; ".join(f"{number}: {words}" for number, words in enumerate(parts[:10]))
    told += f"; and {len(parts) - 10} more" if len(parts) > 10 else ""
    if part is None:
        raise BadInput(f"{path}: the file has {len(parts)} parts ({told}). Choose one with part=NUMBER (--part NUMBER).")
    if not (str(part).isdecimal() and int(part) < len(parts)):
        raise BadInput(f"{path}: no part {part!r}. The file has {len(parts)}: {told}.")
    return int(part)


def _refuse_deep_colours(path: Path) -> None:
    """Of a colour pillow keeps 8 of 16 bits: two phases could become one."""
    with path.open("rb") as stream:
        header = stream.read(26)
    if header[24] == 16 and header[25] in (2, 4, 6):
        raise BadInput(f"{path}: a png in colour with 16 bits for each channel. Save it as greyscale with 16 bits.")


def pixels(picture, path: Path) -> np.ndarray:
    """Grey values or palette indices of a decoded picture of pillow, (rows, columns). Raises `BadInput`."""
    array = np.asarray(picture)
    if picture.mode in _NUMBERS:
        return array
    if picture.mode in _CHANNELS:
        return grey(array, path)
    raise BadInput(f"{path}: a picture in colour (mode {picture.mode}). {REMEDY}")


REMEDY = "Save it as greyscale or with a palette, one value for each phase."


def grey(array: np.ndarray, path: Path | str) -> np.ndarray:
    """Grey values of an array whose last axis holds two to four channels: grey or three colours, and opacity.

    Raises `BadInput` for colours that differ and for pixels that are transparent.
    """
    channels = array.shape[-1]
    if not 1 <= channels <= 4:
        raise BadInput(f"{path}: {channels} samples in each pixel. Save one of them, one value for each phase.")
    colours = array[..., : 1 if channels <= 2 else 3]
    if np.any(colours != colours[..., :1]):
        raise BadInput(f"{path}: a picture in colour. {REMEDY}")
    opaque = np.iinfo(array.dtype).max if array.dtype.kind in "iu" else 1
    if channels in (2, 4) and np.any(array[..., -1] != opaque):
        raise BadInput(f"{path}: the picture has transparent pixels. Save it without an alpha channel.")
    return colours[..., 0]

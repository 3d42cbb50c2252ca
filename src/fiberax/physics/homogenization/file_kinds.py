"""Kinds of files by their first bytes, so that a file with the ending of another kind is told by its true name."""

from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from fiberax.core.errors import BadInput

_HEAD = 512


class _Kind(NamedTuple):
    """A kind of file: its name, its endings (none where it is not read), and the bytes that it begins with."""

    name: str
    endings: tuple[str, ...]
    heads: tuple[bytes, ...]


_KINDS = (
    _Kind("a PNG picture", (".png",), (b"\x89PNG\r\n\x1a\n",)),
    _Kind("a JPEG picture", (".jpg", ".jpeg"), (b"\xff\xd8\xff",)),
    _Kind("a GIF picture", (".gif",), (b"GIF87a", b"GIF89a")),
    _Kind("a BMP picture", (".bmp",), (b"BM",)),
    _Kind("a TIFF file", (".tif", ".tiff"), (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    _Kind("a NumPy array", (".npy",), (b"\x93NUMPY",)),
    _Kind("a NumPy or other ZIP archive", (".npz",), (b"PK\x03\x04", b"PK\x05\x06")),
    _Kind("an HDF5 file", (".h5", ".hdf5", ".dream3d"), (b"\x89HDF\r\n\x1a\n",)),
    _Kind("a legacy VTK file", (".vtk",), (b"# vtk DataFile",)),
    _Kind("a VTK XML file", (".vti",), (b"<VTKFile",)),
    _Kind("a RIFF file (such as WebP)", (), (b"RIFF",)),
    _Kind("a JPEG 2000 picture", (), (b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51")),
    _Kind("a PDF document", (), (b"%PDF",)),
    _Kind("an NRRD file", (), (b"NRRD",)),
    _Kind("a file compressed by gzip", (), (b"\x1f\x8b",)),
    _Kind("a file compressed by bzip2", (), (b"BZh",)),
    _Kind("a file compressed by xz", (), (b"\xfd7zXZ\0",)),
)


def kind_of(path: Path) -> _Kind | None:
    """The kind of a file by its first bytes; None for one that is not known."""
    with path.open("rb") as stream:
        head = stream.read(_HEAD)
    if head.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"<") and b"<VTKFile" in head:
        head = b"<VTKFile"
    return next((kind for kind in _KINDS if head.startswith(kind.heads)), None)


def refuse_missing(path: Path, remedy: str) -> None:
    """`BadInput` where there is no file, with the `remedy` where there is a folder in its place."""
    if path.is_dir():
        raise BadInput(f"{path}: a folder and no file. {remedy}.")
    if not path.is_file():
        raise BadInput(f"{path}: no such file (looked in {path.absolute().parent}).")


def refuse_other_kind(path: Path, alike: Collection[str]) -> None:
    """`BadInput` for an empty file, and for one that is known to be of another kind than the endings `alike`.

    `alike`: the endings whose reader reads this file, such as all pictures; it does not matter which of them a file has.
    """
    if path.stat().st_size == 0:
        raise BadInput(f"{path}: the file is empty (0 bytes). Write it again.")
    kind = kind_of(path)
    if kind is None or set(kind.endings) & set(alike):
        return
    remedy = (
        f"Give it the ending {kind.endings[0]}" if kind.endings else "Save it in a format that is read, such as .png or .npy"
    )
    raise BadInput(f"{path}: {kind.name}, not what its ending {path.suffix} says. {remedy}.")

"""Files of a run read with care: regular files alone, and no array larger than the file that claims it.

Opening a named pipe waits for a writer, for ever where there is none; and a few bytes of header can claim an array of any size.
"""

import hashlib
import json
import os
import stat
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np

from fiberax.core.errors import BadInput

_HEADERS: dict[tuple[int, int], Callable] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


# What zipfile and numpy raise for damaged files.
_DAMAGE = (
    OSError, EOFError, ValueError, KeyError, TypeError, OverflowError, NotImplementedError, MemoryError, SyntaxError,
    RecursionError,
)  # fmt: skip


class Unreadable(BadInput):
    """A file that is missing, is no regular file, or does not hold what it should; the message names it."""


@contextmanager
def opened(path: Path) -> Iterator[BufferedReader]:
    """`path` open for reading, without waiting. Raises `Unreadable` where it is absent, or a folder, a pipe or a device."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        raise Unreadable(f"{path} cannot be read: {error.strerror or error}.") from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise Unreadable(f"{path} cannot be read: it is no regular file.")
    with os.fdopen(handle, "rb") as stream:
        yield stream


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in `path`. Raises `Unreadable`."""
    with opened(path) as stream:
        text = stream.read()
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"{path} is damaged: {error}.") from error
    if not isinstance(found, dict):
        raise Unreadable(f"{path} is damaged: it holds no JSON object.")
    return found


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an `.npz` archive by name. Raises `Unreadable`, before it takes memory that the file cannot fill."""
    with _archive(path) as arrays:
        return {key: arrays[key] for key in arrays.files}


def read_array(path: Path, name: str) -> np.ndarray:
    """One array of an `.npz` archive. Raises `Unreadable`."""
    with _archive(path) as arrays:
        return arrays[name]


@contextmanager
def _archive(path: Path) -> Iterator[Any]:
    try:
        with opened(path) as stream, zipfile.ZipFile(stream) as archive:
            _check_sizes(archive, os.fstat(stream.fileno()).st_size)
            stream.seek(0)
            with np.load(stream, allow_pickle=False) as arrays:
                yield arrays
    except Unreadable:
        raise
    except (*_DAMAGE, zipfile.BadZipFile) as error:
        raise Unreadable(f"{path} is damaged: {error or type(error).__name__}.") from error


def digest_of(path: Path) -> str:
    """SHA-256 of a file. Raises `Unreadable`."""
    with opened(path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _check_sizes(archive: zipfile.ZipFile, size: int) -> None:
    """Raise ValueError where a member is compressed, or claims more than the file has."""
    for member in archive.infolist():
        if member.compress_type != zipfile.ZIP_STORED or member.file_size > size:
            raise ValueError(f"{member.filename} claims {member.file_size} bytes, the file has {size}")
        with archive.open(member) as stream:
            version = np.lib.format.read_magic(stream)
            shape, _, dtype = _HEADERS[version](stream)
        count = dtype.itemsize
        for extent in shape:  # integers of Python, which do not overflow
            count *= extent
        if min(shape, default=0) < 0 or count > member.file_size:
            raise ValueError(f"{member.filename} claims {count} bytes, and has {member.file_size}")

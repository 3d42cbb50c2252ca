"""Files that are either complete or absent, and one message where a file cannot be written."""

import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from fiberax.core.errors import FiberaxError


class SaveFailed(FiberaxError, OSError):
    """A file could not be written: full disk, no permission, read-only file system."""


@contextlib.contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """A hidden file in the folder of `path` to write; at the end it is renamed to `path`.

    A reader, or the next process after a kill, sees the old content of `path` or the new, never a part. With
    `durable` the bytes are on the disk before that (fsync of file and folder), so a power failure loses nothing either.
    Raises `SaveFailed` where it cannot be written; `path` is then as it was.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield partial
        if durable:
            _sync(partial)
        os.replace(partial, path)
        if durable:
            _sync(path.parent)
    except OSError as error:
        raise refused(path, error) from error
    finally:
        partial.unlink(missing_ok=True)


def write_file(path: Path, writer: Callable[[BinaryIO], object], *, durable: bool = True) -> None:
    """Write `path` through `writer(stream)`, as `replacing` does. Raises `SaveFailed`."""
    with replacing(path, durable=durable) as partial, open(partial, "wb") as stream:
        writer(stream)


def write_text(path: Path, text: str, *, durable: bool = True) -> None:
    """`write_file` for a UTF-8 text."""
    write_file(path, lambda stream: stream.write(text.encode()), durable=durable)


def remove_partial_files(folder: Path) -> None:
    """Delete unfinished files of killed processes under `folder` (named `.NAME.PID.part`)."""
    for partial in folder.rglob(".*.part"):
        partial.unlink(missing_ok=True)


def refused(path: Path, error: OSError) -> SaveFailed:
    """The error for a file that cannot be written: what, why, and what to do."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        remedy = f"Free some space there ({_free_space(path.parent)} left)"
    else:
        remedy = "Make the folder writable, or choose another with --out"
    reason = error.strerror or str(error)
    return SaveFailed(f"Cannot write {path}: {reason}. {remedy}; what was saved before is kept.")


def _free_space(folder: Path) -> str:
    try:
        return f"{shutil.disk_usage(folder).free / 2**20:.0f} MiB"
    except OSError:
        return "unknown space"


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

"""Records: one small file per save time while a run lasts, complete or absent, with a digest of what is in it."""

import hashlib
from pathlib import Path

import numpy as np

from fiberax.io.atomic import refused, write_file
from fiberax.io.reading import Unreadable, read_arrays

_OWN = ("axis", "sha256")


class DamagedRecord(Unreadable):
    """A record that is missing or damaged: `index`, and a message that names the file."""

    def __init__(self, index: int, message: str):
        super().__init__(message)
        self.index = index


def write_record(folder: Path, index: int, value: float, arrays: dict[str, np.ndarray]) -> None:
    """Write record `index`, at `value` of the leading axis, to `folder/records`. Raises `SaveFailed`."""
    made = {key: np.asarray(array) for key, array in arrays.items()} | {"axis": np.asarray(value, np.float64)}
    made["sha256"] = np.frombuffer(_digest(index, made), np.uint8)
    write_file(_path(folder, index), lambda stream: np.savez(stream, allow_pickle=False, **made))


def read_record(folder: Path, index: int) -> tuple[float, dict[str, np.ndarray]]:
    """Value on the leading axis and arrays of a record. Raises `DamagedRecord` naming a file that is damaged or missing."""
    path = _path(folder, index)
    try:
        arrays = read_arrays(path)
    except Unreadable as error:
        raise DamagedRecord(index, str(error)) from error
    digest = arrays.get("sha256")
    # Records of earlier versions have no digest.
    if "axis" not in arrays or arrays["axis"].shape or (digest is not None and digest.tobytes() != _digest(index, arrays)):
        raise DamagedRecord(index, f"{path} is damaged: it does not match its digest.")
    return float(arrays["axis"]), {key: array for key, array in arrays.items() if key not in _OWN}


def lost_records(folder: Path, count: int) -> dict[int, str]:
    """Which of the first `count` records are missing or damaged, and why."""
    lost = dict(missing_records(folder, count))
    for number in sorted(set(range(count)) - set(lost)):
        try:
            read_record(folder, number)
        except DamagedRecord as damage:
            lost[number] = str(damage)
    return lost


def missing_records(folder: Path, count: int) -> dict[int, str]:
    """Which of the first `count` records are missing, in words that name their files."""
    return {number: f"{_path(folder, number)} is gone." for number in sorted(set(range(count)) - set(record_numbers(folder)))}


def record_numbers(folder: Path) -> list[int]:
    """The numbers of the records that are there, sound or not."""
    return sorted(int(path.stem) for path in (folder / "records").glob("*.npz") if path.stem.isdecimal())


def count_records(folder: Path) -> int:
    """How many records follow one another from the first without a gap."""
    present, count = set(record_numbers(folder)), 0
    while count in present:
        count += 1
    return count


def drop_records(folder: Path, keep: int) -> None:
    """Delete the records from index `keep` on: those that a resumed run will write again."""
    remove_records(folder, [number for number in record_numbers(folder) if number >= keep])


def remove_records(folder: Path, numbers: list[int]) -> None:
    """Delete these records. Raises `SaveFailed`."""
    for path in (_path(folder, number) for number in numbers):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise refused(path, error) from error


def _path(folder: Path, index: int) -> Path:
    return folder / "records" / f"{index:06d}.npz"


def _digest(index: int, arrays: dict[str, np.ndarray]) -> bytes:
    """SHA-256 of number, names, types, shapes and values of a record."""
    found = hashlib.sha256(str(index).encode())
    for key in sorted(set(arrays) - {"sha256"}):
        array = arrays[key]
        found.update(f"{key} {array.dtype.str} {array.shape}".encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.digest()

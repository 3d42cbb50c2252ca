"""Conductivities of many phases: symmetric tensors from a few numbers, orientations of crystals, and tables in text files.

Bunge, Texture Analysis in Materials Science, Butterworths 1982, chapter 2: the angles φ1, Φ, φ2.
"""

import csv
import math
import os
import re
from pathlib import Path

import numpy as np

from fiberax.core.errors import BadInput
from fiberax.physics.homogenization.file_kinds import refuse_missing

# The entries of a symmetric tensor, in the order of conventions.md (Solids), by dimension.
ENTRIES = {
    1: (("kxx", 0, 0),),
    2: (("kxx", 0, 0), ("kyy", 1, 1), ("kxy", 0, 1)),
    3: (("kxx", 0, 0), ("kyy", 1, 1), ("kzz", 2, 2), ("kyz", 1, 2), ("kxz", 0, 2), ("kxy", 0, 1)),
}
_WITH_COMMA = re.compile(r"[-+]?\d*,\d+")
_EULER = ("phi1", "phi", "phi2")


def symmetric_tensor(entries, d: int) -> np.ndarray:
    """A symmetric (d, d) tensor from its diagonal or from all its entries.

    Args:
        entries: d numbers, the diagonal; or all: kxx, kyy, kxy in two dimensions, kxx, kyy, kzz, kyz, kxz, kxy in three.
            Further axes come first: (..., count).
        d: Dimension.

    Returns:
        (..., d, d).

    Raises:
        BadInput: Another count of numbers.
    """
    numbers = np.asarray(entries, dtype=float)
    known = ENTRIES[d]
    count = numbers.shape[-1] if numbers.ndim else 0
    if count not in (d, len(known)):
        names = ",".join(name for name, _, _ in known)
        raise BadInput(f"{count} numbers for a tensor of {d} axes: give {d} (its diagonal) or {len(known)} ({names}).")
    tensor = np.zeros((*numbers.shape[:-1], d, d))
    for place, (_, i, j) in enumerate(known[:count]):
        tensor[..., i, j] = tensor[..., j, i] = numbers[..., place]
    return tensor


def orient(tensor, angles, *, degrees: bool = True) -> np.ndarray:
    """A crystal's tensor in the axes of the image, for one orientation or many.

    Args:
        tensor: Symmetric (d, d) in the axes of the crystal, or (n, d, d), one for each orientation.
        angles: In three dimensions Bunge's angles φ1, Φ, φ2 (n, 3) or (3,): turns of the axes of the image about z, about the
            new x, and about the new z, which bring them onto those of the crystal. In two dimensions one angle (n,) or (),
            by which the crystal is turned from the first towards the second axis.
        degrees: False for radians.

    Returns:
        R tensor Rᵀ, (n, d, d) or (d, d), exactly symmetric; the columns of R are the axes of the crystal.

    Raises:
        BadInput: Shapes that do not fit, angles or entries that are not finite.
    """
    tensor, angles = np.asarray(tensor, dtype=float), np.asarray(angles, dtype=float)
    d = tensor.shape[-1] if tensor.ndim else 0
    if tensor.ndim not in (2, 3) or tensor.shape[-2:] not in ((2, 2), (3, 3)) or (d == 3 and angles.shape[-1:] != (3,)):
        raise BadInput(
            f"a tensor of shape {tensor.shape} and angles of shape {angles.shape}: give (3, 3) and (n, 3), or (2, 2) and (n,)."
        )
    if not (np.all(np.isfinite(angles)) and np.all(np.isfinite(tensor))):
        raise BadInput("orient: angles and tensors must be finite; some are NaN or infinite.")
    angles = np.deg2rad(angles) if degrees else angles
    if d == 2:
        turn = _turn(angles, 2, 0, 1)
    else:
        turn = _turn(angles[..., 0], 3, 0, 1) @ _turn(angles[..., 1], 3, 1, 2) @ _turn(angles[..., 2], 3, 0, 1)
    turned = turn @ tensor @ np.swapaxes(turn, -1, -2)
    return 0.5 * (turned + np.swapaxes(turned, -1, -2))


def _turn(angle: np.ndarray, d: int, i: int, j: int) -> np.ndarray:
    """Rotations (..., d, d) by an angle from axis i towards axis j."""
    turn = np.broadcast_to(np.eye(d), (*angle.shape, d, d)).copy()
    turn[..., i, i] = turn[..., j, j] = np.cos(angle)
    turn[..., j, i] = np.sin(angle)
    turn[..., i, j] = -turn[..., j, i]
    return turn


def read_phases(path: str | os.PathLike, d: int, tensor=None, *, degrees: bool = True) -> dict[int, float | np.ndarray]:
    """The conductivity of each label from a table in a text file.

    The first line names the columns, which are parted by commas, semicolons or tabs. One is `label`. The others are one of

    - `conductivity`, a number;
    - `kxx`, `kyy`, ... : the diagonal of a symmetric tensor, or all its entries (two dimensions: kxx, kyy, kxy; three: kxx,
      kyy, kzz, kyz, kxz, kxy);
    - `phi1`, `Phi`, `phi2`: Bunge's angles of a crystal, see `orient`, with `tensor` or with the columns of a tensor in the
      axes of the crystal. For a picture the block in its plane is taken: the fields do not change across it;
    - `angle`: in two dimensions, the angle of the crystal, in the same way.

    Args:
        path: The file.
        d: Dimension of the image.
        tensor: Of a crystal in its own axes, symmetric (3, 3), or (2, 2) with `angle`; or its entries, as `symmetric_tensor`
            takes them.
        degrees: False where angles are in radians.

    Returns:
        For each label a number or a (d, d) array; labels may be more than the image has.

    Raises:
        BadInput: A missing file, unknown or missing columns, a cell that is no number, a label twice.
    """
    path = Path(path)
    columns, lines = _columns(path)
    if "label" not in columns:
        raise BadInput(f"{path}: no column 'label' in the first line, which has {', '.join(columns)}.")
    labels = columns.pop("label")
    rounded = np.round(labels)
    if np.any(labels != rounded):
        row = int(np.argmax(labels != rounded))
        raise BadInput(f"{path}, line {lines[row]}: the label {labels[row]:g} is not a whole number.")
    _, first = np.unique(rounded, return_index=True)
    if len(first) < len(labels):
        row = int(np.setdiff1d(np.arange(len(labels)), first)[0])
        raise BadInput(f"{path}, line {lines[row]}: the label {int(rounded[row])} comes twice.")
    values = _values(path, columns, d, tensor, degrees)
    return dict(zip(rounded.astype(int).tolist(), values.tolist() if values.ndim == 1 else values, strict=True))


def _values(path: Path, columns: dict[str, np.ndarray], d: int, tensor, degrees: bool) -> np.ndarray:
    """Values (n,) or (n, d, d) from the columns without `label`. Raises `BadInput`."""
    names = set(columns)
    if names == {"conductivity"} and tensor is None and degrees:
        return columns["conductivity"]
    angles = names & {*_EULER, "angle"}
    crystal = 3 if angles == set(_EULER) else 2
    if angles and not ((angles == set(_EULER) and d > 1) or (angles == {"angle"} and d == 2)):
        wanted = {1: "no angles", 2: "phi1, Phi, phi2 or angle", 3: "phi1, Phi, phi2"}[d]
        raise BadInput(f"{path}: the columns {', '.join(sorted(angles))}. In {d} dimensions give {wanted}.")
    size = crystal if angles else d
    known = [name for name, _, _ in ENTRIES[size]]
    if not (degrees or angles):
        raise BadInput(f"{path}: radians (--radians) without columns of angles; there are {', '.join(columns)}. Leave it out.")
    given = names - angles
    if tensor is not None and (given or not angles):
        raise BadInput(
            f"{path}: a tensor for all crystals (--tensor) goes with columns of angles alone; there are {', '.join(columns)}."
        )
    if tensor is None and given not in (set(known), set(known[:size])):
        raise BadInput(
            f"{path}: the columns {', '.join(columns) or 'beside label are missing'}. Beside label give conductivity; or "
            f"{', '.join(known)} (or the first {size}); or angles and a tensor (--tensor)."
        )
    if tensor is None:
        tensor = symmetric_tensor(np.stack([columns[name] for name in known[: len(given)]], axis=-1), size)
    elif np.ndim(tensor) == 1:
        tensor = symmetric_tensor(tensor, size)
    elif np.shape(tensor) != (size, size):
        raise BadInput(f"{path}: a tensor of shape {np.shape(tensor)} with the columns {', '.join(columns)}: ({size}, {size}).")
    if not angles:
        return np.asarray(tensor)
    turned = columns["angle"] if crystal == 2 else np.stack([columns[name] for name in _EULER], axis=-1)
    return orient(tensor, turned, degrees=degrees)[:, :d, :d]


def _columns(path: Path) -> tuple[dict[str, np.ndarray], list[int]]:
    """The columns of a table by their names in lower case, and the number of the line of each row. Raises `BadInput`."""
    refuse_missing(path, "Give a text file with a table")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (UnicodeDecodeError, PermissionError) as error:
        raise BadInput(
            f"{path}: no text that can be read ({error}). A table is a text file with commas between columns."
        ) from error
    numbered = [(k, line) for k, line in enumerate(text.splitlines(), 1) if line.strip() and not line.lstrip().startswith("#")]
    if len(numbered) < 2:
        raise BadInput(f"{path}: a table has a line with the names of the columns, and a line for each label.")
    separator = next((mark for mark in ";\t" if mark in numbered[0][1]), ",")
    names, *rows = csv.reader((line for _, line in numbered), delimiter=separator, skipinitialspace=True)
    names = [name.strip().lower() for name in names]
    if len(set(names)) < len(names):
        raise BadInput(f"{path}, line {numbered[0][0]}: two columns have the same name: {', '.join(names)}.")
    found = np.empty((len(rows), len(names)))
    for place, (row, (line, _)) in enumerate(zip(rows, numbered[1:], strict=True)):
        if len(row) != len(names):
            raise BadInput(f"{path}, line {line}: {len(row)} cells, the first line has {len(names)}.")
        for column, cell in enumerate(row):
            try:
                number = float(cell)
            except ValueError:
                number = math.nan
            if not math.isfinite(number):
                point = " Decimals have a point." if _WITH_COMMA.fullmatch(cell.strip()) else ""
                raise BadInput(
                    f"{path}, line {line}: {cell.strip()!r} in the column {names[column]} is no finite number.{point}"
                )
            found[place, column] = number
    return dict(zip(names, found.T, strict=True)), [line for line, _ in numbered[1:]]

"""Directions of a crystal by Miller indices, and the rotation that takes one of them to x."""

import re
from typing import NamedTuple

import numpy as np

from fiberax.core.errors import BadInput

_SHORT = re.compile(r"(?:-?\d)+")
_REACH = 4  # largest index of a direction that is looked for


class Orientation(NamedTuple):
    """A rotation R, v ↦ R v: its rows are the axes x, y, z in the frame of the crystal. `words`: what they are along."""

    rotation: np.ndarray
    words: str


def orientation(axis: str, lateral: str | None, conventional: np.ndarray) -> Orientation:
    """The rotation that takes the direction `axis` to x and `lateral`, or a lattice direction across it, to y.

    `conventional`: lattice vectors of the indices, rows (d, d). Raises `BadInput`.
    """
    d = len(conventional)
    x = _unit(direction(axis, conventional, "--axis"))
    if d == 2:
        if lateral is not None:
            raise BadInput("--lateral is for crystals in space: in the plane --axis decides all.")
        return Orientation(np.array([x, [-x[1], x[0]]]), f"x along {_bracketed(axis)}")
    if lateral is None:
        y, found = _across(x, conventional)
        words = "" if found is None else f", y along [{_written(found)}]"
    else:
        y, words = _unit(direction(lateral, conventional, "--lateral")), f", y along {_bracketed(lateral)}"
        if abs(x @ y) > 1e-3:
            angle = np.degrees(np.arccos(np.clip(abs(x @ y), 0.0, 1.0)))
            raise BadInput(
                f"--lateral {lateral} is at {angle:.4g} degrees to --axis {axis}; it must be across it. Give another "
                "direction, or leave --lateral out."
            )
        y = _unit(y - (x @ y) * x)
    return Orientation(np.array([x, y, np.cross(x, y)]), f"x along {_bracketed(axis)}{words}")


def direction(text: str, conventional: np.ndarray, flag: str) -> np.ndarray:
    """A direction (d,) from its indices: 110, 1-10, or numbers with commas; four indices for hexagonal lattices."""
    d = len(conventional)
    plain = text.strip().strip("[]()<>").strip()
    words = re.findall(r"-?\d", plain) if _SHORT.fullmatch(plain) else re.split(r"[,\s]+", plain)
    try:
        numbers = np.array([float(word) for word in words])
    except ValueError:
        numbers = np.array([])
    if len(numbers) == 4 and d == 3:
        return _of_four(text, numbers, conventional, flag)
    if len(numbers) != d or not np.all(np.isfinite(numbers)) or not np.any(numbers):
        example = "110 or 1,-1,0" if d == 3 else "10 or 1,1"
        raise BadInput(f"{flag} {text}: give the {d} indices of a direction, not all zero, such as {example}.")
    return numbers @ conventional


def _of_four(text: str, numbers: np.ndarray, conventional: np.ndarray, flag: str) -> np.ndarray:
    """[uvtw] of a hexagonal lattice: u a1 + v a2 + t a3 + w c, a3 = −a1 − a2."""
    a, b, c = conventional
    size = np.linalg.norm(a)
    hexagonal = abs(np.linalg.norm(b) - size) < 1e-4 * size and abs(a @ b + 0.5 * size**2) < 1e-4 * size**2
    if not hexagonal or max(abs(a @ c), abs(b @ c)) > 1e-4 * size * np.linalg.norm(c):
        raise BadInput(f"{flag} {text}: four indices are for hexagonal lattices. Give three.")
    if abs(numbers[:3].sum()) > 1e-9 or not np.any(numbers):
        raise BadInput(f"{flag} {text}: of four indices the first three add up to zero, as in 11-20, and not all are zero.")
    return numbers[0] * a + numbers[1] * b - numbers[2] * (a + b) + numbers[3] * c


def _across(x: np.ndarray, conventional: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """The shortest lattice direction across x with its indices; where there is none, the second lattice vector made so."""
    steps = np.arange(-_REACH, _REACH + 1)
    indices = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    vectors = indices @ conventional
    lengths = np.linalg.norm(vectors, axis=1)
    fits = (lengths > 0.0) & (np.abs(vectors @ x) < 1e-4 * lengths)
    if not np.any(fits):
        nearest = max(conventional[::-1], key=lambda v: np.linalg.norm(_unit(v) - (_unit(v) @ x) * x))
        return _unit(nearest - (nearest @ x) * x), None
    indices, vectors, lengths = indices[fits], vectors[fits], lengths[fits]
    # Of several as short the one nearest to y, then to z: cube axes stay cube axes.
    order = np.lexsort((-vectors[:, 0], -vectors[:, 2], -np.round(vectors[:, 1], 6), np.round(lengths, 6)))
    best = order[0]
    return _unit(vectors[best] - (vectors[best] @ x) * x), indices[best]


def _written(indices: np.ndarray) -> str:
    return "".join(str(int(index)) for index in indices)


def _bracketed(text: str) -> str:
    return f"[{text.strip().strip('[]()<>').strip()}]"


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)

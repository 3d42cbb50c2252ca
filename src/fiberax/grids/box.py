"""Boxes of equal cells: the interval, the rectangle and the rectangular block."""

import math
from collections.abc import Sequence
from functools import cached_property

import equinox as eqx
import numpy as np

from fiberax.core.errors import BadInput

_NAMES = "xyz"


def _tuple(value, kind) -> tuple:
    if isinstance(value, Sequence | np.ndarray):
        return tuple(kind(v) for v in value)
    return (kind(value),)


def _whole(value) -> int:
    number = float(value)
    if not number.is_integer():
        raise BadInput(f"Box: cells={value} is not a whole number. Give the number of cells along each axis.")
    return int(number)


class Box(eqx.Module):
    """A box cut into equal cells, in one, two or three dimensions.

    Args:
        lower: Lower corner, (dim,), in the user's unit of length. A number is an interval.
        upper: Upper corner, (dim,).
        cells: Number of cells along each axis, (dim,).
        periodic: Whether opposite sides are identified; one value for all axes, or one for each.

    Arrays over cells have the shape `cells`; flattened, the last axis runs fastest.

    Raises:
        BadInput: Lengths that differ, a side of no length, no cells, corners that are not finite.
    """

    lower: tuple[float, ...] = eqx.field(static=True)
    upper: tuple[float, ...] = eqx.field(static=True)
    cells: tuple[int, ...] = eqx.field(static=True)
    periodic: tuple[bool, ...] = eqx.field(static=True)

    def __init__(self, lower, upper, cells=(64, 64), periodic: bool | tuple[bool, ...] = True):
        self.lower, self.upper = _tuple(lower, float), _tuple(upper, float)
        self.cells = _tuple(cells, _whole)
        periodic = _tuple(periodic, bool)
        self.periodic = periodic * len(self.cells) if len(periodic) == 1 else periodic
        self._check()

    def _check(self):
        lengths = {
            "lower": len(self.lower),
            "upper": len(self.upper),
            "cells": len(self.cells),
            "periodic": len(self.periodic),
        }
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{name} {n}" for name, n in lengths.items())
            raise BadInput(f"Box: lengths differ ({told}). Give one entry for each axis.")
        if not 1 <= self.dim <= 3:
            raise BadInput(f"Box: {self.dim} axes. Boxes have one, two or three.")
        for name, low, up, n in zip(_NAMES, self.lower, self.upper, self.cells):
            if not (math.isfinite(low) and math.isfinite(up)):
                raise BadInput(f"Box: along {name} the corners are {low} and {up}; both must be finite.")
            if not up > low:
                raise BadInput(f"Box: along {name} upper = {up} is not above lower = {low}.")
            if n < 1:
                raise BadInput(f"Box: along {name} cells = {n}; at least one is needed.")

    @property
    def dim(self) -> int:
        """Number of axes."""
        return len(self.cells)

    @property
    def spacing(self) -> tuple[float, ...]:
        """Length of a cell along each axis."""
        return tuple((up - low) / n for low, up, n in zip(self.lower, self.upper, self.cells))

    @property
    def volume(self) -> float:
        """Volume of one cell (length in 1D, area in 2D)."""
        return math.prod(self.spacing)

    def axis(self, k: int) -> np.ndarray:
        """Coordinates of the cell centres along axis `k`, (cells[k],)."""
        return self.lower[k] + self.spacing[k] * (np.arange(self.cells[k]) + 0.5)

    @cached_property
    def centres(self) -> np.ndarray:
        """Cell centres, (*cells, dim)."""
        return np.stack(np.meshgrid(*(self.axis(k) for k in range(self.dim)), indexing="ij"), axis=-1)

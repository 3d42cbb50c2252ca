"""What lies beyond the borders of an image, and how long its pixels are."""

import dataclasses
import enum

import numpy as np

from fiberax.core.errors import BadInput
from fiberax.physics.homogenization.discretisation import AbstractDiscretisation, FiniteVolume


class Borders(enum.Enum):
    """What lies beyond the borders of an image.

    PERIODIC: The image again, along every axis.
    MIRRORED: Its mirror image, along every axis; A is diagonal.
    HELD: Nothing. For the gradient along an axis the two ends of that axis are held at values that differ by the mean
        gradient, and the other sides are sealed, as in an experiment on a sample; A is diagonal. Needs `FiniteVolume`, and
        gives the same as MIRRORED.
    """

    PERIODIC = "periodic"
    MIRRORED = "mirrored"
    HELD = "held"


def bordered(
    labels: np.ndarray, discretisation: AbstractDiscretisation, borders: Borders
) -> tuple[np.ndarray, AbstractDiscretisation]:
    """Labels and discretisation of the cell for an image with these borders.

    Finite volumes with held ends are half of the mirrored cell along each axis, so that they serve for both. Raises `BadInput`.
    """
    if not isinstance(borders, Borders):
        raise BadInput(f"Cell.from_image: borders={borders!r}. Give fx.homogenization.Borders.PERIODIC, MIRRORED or HELD.")
    if borders is Borders.PERIODIC:
        return labels, discretisation
    if isinstance(discretisation, FiniteVolume):
        return labels, dataclasses.replace(discretisation, held=True)
    if borders is Borders.HELD:
        raise BadInput(
            f"Cell.from_image: held ends need FiniteVolume() (--scheme volume); the discretisation is "
            f"{type(discretisation).__name__}. Take Borders.MIRRORED (--borders mirrored), which holds the ends by symmetry."
        )
    for axis in range(labels.ndim):
        labels = np.concatenate([labels, np.flip(labels, axis)], axis)
    return labels, discretisation


def with_spacing(
    discretisation: AbstractDiscretisation, shape: tuple[int, ...], spacing: tuple[float, ...] | None
) -> AbstractDiscretisation:
    """The discretisation with the lengths of an image, the longest 1; itself where they are equal. Raises `BadInput`."""
    sides = np.ones(len(shape)) if spacing is None else np.asarray(spacing, float)
    if sides.shape != (len(shape),) or not np.all(np.isfinite(sides) & (sides > 0)):
        raise BadInput(f"Cell.from_image: spacing={spacing}. Give a positive number for each of the {len(shape)} axes.")
    lengths = sides * np.asarray(shape)
    if np.all(lengths == lengths[0]):
        return discretisation
    return dataclasses.replace(discretisation, lengths=tuple((lengths / lengths.max()).tolist()))

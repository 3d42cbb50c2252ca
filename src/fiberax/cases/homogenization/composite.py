"""What the composite cases share: a cell from an image, with a conductivity of each phase that may grow with U."""

from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fiberax.cases.formula import read_numbers
from fiberax.cases.homogenization.microstructure import SHIPPED
from fiberax.cases.homogenization.options import CONDUCTIVITY, LENGTH, SLOPE, TEMPERATURE, TIME
from fiberax.core.errors import BadInput
from fiberax.io.labels import Names, Output
from fiberax.io.results import Quantity
from fiberax.physics.homogenization import Cell
from fiberax.physics.homogenization.images import read_labels

MANY_PHASES = 16


class Linear(eqx.Module):
    """A conductivity c + s·U."""

    constant: Float[Array, ""]
    slope: Float[Array, ""]

    def __call__(self, condition):
        return self.constant + self.slope * condition


def composite(image: Path | None, conductivities: str, slopes: str, low: float, high: float) -> tuple[Cell, np.ndarray]:
    """The cell of a composite, and its labels.

    `image`: None for the composite that ships with fiberax. `conductivities` and `slopes`: for each phase, from the
    lowest label to the highest, c and s in c + s·U. Raises `BadInput` where the image cannot be used, where the numbers
    do not match its phases, or where a conductivity is not positive for all U from `low` to `high`.
    """
    labels, source = read_labels(SHIPPED if image is None else image)
    found = [int(v) for v in np.unique(labels)]
    if len(found) > MANY_PHASES:
        raise BadInput(
            f"{source} has {len(found)} different labels, at most {MANY_PHASES} phases make sense: threshold the image."
        )
    constants, growths = read_numbers(conductivities, "--conductivities"), read_numbers(slopes, "--slopes")
    for name, numbers in (("--conductivities", constants), ("--slopes", growths)):
        if len(numbers) != len(found):
            raise BadInput(
                f"{name} gives {len(numbers)} numbers, {source} has {len(found)} phases (labels {found}): give one for each."
            )
    values: dict[int, Any] = {}
    for label, constant, slope in zip(found, constants, growths, strict=True):
        for condition in (low, high):
            if not constant + slope * condition > 0.0:
                raise BadInput(
                    f"The conductivity of label {label}, {constant:g} + {slope:g} U, is {constant + slope * condition:g} at "
                    f"U = {condition:g}; it must be positive. Change --conductivities or --slopes."
                )
        values[label] = Linear(jnp.asarray(constant), jnp.asarray(slope)) if slope else constant
    return Cell.from_image(labels, values, symmetric=True), labels


NAMES = Names(
    quantities={
        "macro": TEMPERATURE,
        "response": CONDUCTIVITY,
        "tangent": SLOPE,
        "result": Quantity("result", "1", "result of the cell problem"),
    },
    length_unit=LENGTH,
    axis=TIME,
)


def pictures(cell: Cell, labels: np.ndarray) -> Output:
    """What is kept to be drawn of a cell: its phases, and how much it concentrates a unit gradient."""

    def microstate(state, condition):
        found = {"phases": labels.astype(np.int32)}
        for direction in range(min(cell.d, 2)):
            found[f"$|e_{'xyz'[direction]} + \\nabla\\chi_{'xyz'[direction]}|$"] = _gradient(state[direction], direction)
        return found

    return Output(microstate=microstate)


def _gradient(corrector: np.ndarray, direction: int) -> np.ndarray:
    """|e + ∇χ| at the pixels: how much the cell concentrates a unit gradient; central differences."""
    total = 0.0
    for axis, points in enumerate(corrector.shape):
        slope = (np.roll(corrector, -1, axis) - np.roll(corrector, 1, axis)) * points / 2
        total = total + (slope + (axis == direction)) ** 2
    return np.sqrt(total)


def largest_conductivity(cell: Cell, *conditions: float) -> float:
    """The largest a(U, z) at the given U: a bound on A for explicit time steps."""
    return max(float(jnp.max(jax.jit(cell.coefficient)(jnp.asarray(c)))) for c in conditions)

"""From options to labels and values: the image of a composite, thresholds, and conductivities of its phases."""

from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fiberax.cases.formula import read_numbers
from fiberax.cases.homogenization.microstructure import SHIPPED
from fiberax.core.errors import BadInput
from fiberax.physics.homogenization import otsu, read_phases, symmetric_tensor, threshold
from fiberax.physics.homogenization.image_files import read_stored
from fiberax.physics.homogenization.images import is_semidefinite, read_labels, stored_labels
from fiberax.physics.homogenization.picture_files import Stored

MANY_PHASES = 16
OTSU = "otsu"
_CANCELLED = 4.0  # units of round-off of the terms of a conductivity, below which their sum is zero


class ImageChoice(NamedTuple):
    """The options that say which image, by the names of `CompositeOptions`; no path for the image that ships with fiberax."""

    image: Path | None
    threshold: str | None = None
    part: str | None = None
    raw_shape: str | None = None
    raw_type: str | None = None
    volume: bool = False


class PhaseChoice(NamedTuple):
    """The options that say which conductivities, by the names of `CompositeOptions`."""

    conductivities: str
    slopes: str | None  # None: conductivities do not depend on U
    phases: Path | None = None
    tensor: str | None = None
    radians: bool = False


class Linear(eqx.Module):
    """A conductivity c + s·U, a number or a tensor."""

    constant: Float[Array, "..."]
    slope: Float[Array, "..."]

    def __call__(self, condition):
        """Zero where the terms cancel but for round-off, which a compiled program has where plain numbers have none."""
        found = self.constant + self.slope * condition
        size = jnp.abs(self.constant) + jnp.abs(self.slope * condition)
        rest = jnp.abs(found) <= _CANCELLED * jnp.finfo(found.dtype).eps * size
        return jnp.where(rest, found - jax.lax.stop_gradient(found), found)


def read_chosen(choice: ImageChoice) -> Stored:
    """What the file holds. Raises `BadInput`, `MissingExtra`."""
    shape = None if choice.raw_shape is None else read_numbers(choice.raw_shape, "--raw-shape", "100,200,200")
    return read_stored(choice.image or SHIPPED, part=choice.part, shape=shape, dtype=choice.raw_type, volume=choice.volume)


def levels_of(text: str, grey: np.ndarray) -> tuple[float, ...]:
    """The thresholds that `--threshold` asks for. Raises `BadInput`."""
    return (otsu(grey),) if text.strip().lower() == OTSU else read_numbers(text, "--threshold", "128 or --threshold otsu")


def labels_of(choice: ImageChoice) -> tuple[np.ndarray, str]:
    """The labels of the image, and its name for messages. Raises `BadInput` for an image that gives none."""
    if choice.image is None:
        return read_labels(SHIPPED)
    source, stored = str(choice.image), read_chosen(choice)
    if choice.threshold is None:
        return stored_labels(stored, source), source
    place = source
    try:
        levels = levels_of(choice.threshold, stored.array)
        place = f"{source}, --threshold {choice.threshold}"
        labels = threshold(stored.array, levels)
    except BadInput as error:
        raise BadInput(f"{place}: {error}") from None
    counts = np.bincount(labels.ravel(), minlength=len(levels) + 1)
    if not counts.all():
        raise BadInput(
            f"{source}, --threshold {choice.threshold}: no pixel in phase {int(np.argmin(counts))}; grey values go from "
            f"{stored.array.min()!s} to {stored.array.max()!s}, and a value equal to a level belongs to the phase below."
        )
    return stored_labels(Stored(labels), source), source


def values_of(choice: PhaseChoice, labels: np.ndarray, source: str, low: float, high: float) -> dict[int, Any]:
    """The conductivity of each label, for all U from `low` to `high`. Raises `BadInput` where they do not fit the labels."""
    found, d = [int(v) for v in np.unique(labels)], labels.ndim
    if choice.phases is not None:
        tensor = None if choice.tensor is None else read_numbers(choice.tensor, "--tensor", "5,1,1")
        return read_phases(choice.phases, d, tensor, degrees=not choice.radians)
    if len(found) > MANY_PHASES:
        raise BadInput(
            f"{source} has {len(found)} different labels, at most {MANY_PHASES} phases make sense: make labels of grey values "
            "by --threshold T or --threshold otsu, or give each label its value by --phases TABLE."
        )
    constants = read_tensors(choice.conductivities, "--conductivities", d)
    slopes = [0.0] * len(constants) if choice.slopes is None else read_tensors(choice.slopes, "--slopes", d)
    phases = f"{len(found)} phases" if len(found) > 1 else "one phase"
    for name, numbers in (("--conductivities", constants), ("--slopes", slopes)):
        if len(numbers) != len(found):
            text = choice.conductivities if numbers is constants else choice.slopes
            parted = f"values of {len(numbers)} phase{'s' * (len(numbers) > 1)} (semicolons part them)"
            given = parted if ";" in str(text) else f"{len(numbers)} numbers"
            raise BadInput(f"{name} gives {given}, {source} has {phases} (labels {found}): give one for each.")
    return {
        label: _value(label, constant, slope, (low, high), d)
        for label, constant, slope in zip(found, constants, slopes, strict=True)
    }


def may_be_zero(values: dict[int, Any] | np.ndarray, low: float, high: float) -> bool | None:
    """False where all numbers are positive for U from `low` to `high`, else None."""
    rows = values.values() if isinstance(values, dict) else values
    found = [np.asarray(row(U) if callable(row) else row) for row in rows for U in (low, high)]
    return False if all(np.all(np.diagonal(v) > 0 if v.ndim else v > 0) for v in found) else None


def _value(label: int, constant, slope, conditions: tuple[float, float], d: int) -> Any:
    """One conductivity, as a number, a tensor or a function of U. Raises `BadInput` where it is negative."""
    if np.ndim(constant) or np.ndim(slope):
        constant, slope = (v if np.ndim(v) else v * np.eye(d) for v in (constant, slope))
    grows = Linear(jnp.asarray(constant), jnp.asarray(slope))
    for condition in conditions:
        value = np.asarray(grows(condition))
        if not (is_semidefinite(value[None])[0] if value.ndim else value >= 0.0):
            formula = f", {constant:g} + {slope:g} U," if value.ndim == 0 else ""
            what = f"{value:g}" if value.ndim == 0 else f"{value.tolist()}"
            raise BadInput(
                f"The conductivity of label {label}{formula} is {what} at U = {condition:g}; it must not be negative. Change "
                "--conductivities or --slopes."
            )
    return grows if np.any(slope) else constant


def read_tensors(text: str, name: str, d: int) -> list[float | np.ndarray]:
    """The numbers and symmetric tensors in an option.

    Without a semicolon all are numbers, with commas between them. With one, semicolons part the phases: a number, or the d
    entries of a diagonal, or all entries of a symmetric tensor, as `symmetric_tensor` takes them. Raises `BadInput`.
    """
    if ";" not in text:
        return list(read_numbers(text, name, "1,20"))
    parts = text.rstrip().removesuffix(";").split(";")
    entries = [read_numbers(part, name, "'1; 2,3,0.5'") for part in parts]
    try:
        return [numbers[0] if len(numbers) == 1 else symmetric_tensor(numbers, d) for numbers in entries]
    except BadInput as error:
        raise BadInput(f"{name} = {text}: {error}") from None

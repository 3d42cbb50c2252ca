"""What the composite cases share: a cell from an image, with a conductivity of each phase that may grow with U."""

import math
import os
import warnings
from typing import NamedTuple

import numpy as np

import fiberax as fx
from fiberax.cases.base import CaseWarning
from fiberax.cases.homogenization.image_input import labels_of, may_be_zero, values_of
from fiberax.cases.homogenization.options import CONDUCTIVITY, LENGTH, SLOPE, TEMPERATURE, TIME, CompositeOptions, Scheme
from fiberax.cases.homogenization.phases import Phase, phases_of
from fiberax.cases.homogenization.shapes import States
from fiberax.cases.surrogates import tabulated
from fiberax.io.labels import Names, Output
from fiberax.io.results import Quantity
from fiberax.physics.homogenization import Borders, Cell, FiniteDifference, FiniteElement, FiniteVolume
from fiberax.physics.homogenization.borders import bordered


class Composite(NamedTuple):
    """The cell of a composite, its labels, and its phases."""

    cell: Cell
    labels: np.ndarray
    phases: tuple[Phase, ...]


def composite(options: CompositeOptions, low: float, high: float) -> Composite:
    """The cell of a composite, its labels and its phases.

    Raises `BadInput` where the image cannot be used, where the values do not match its phases, or where a conductivity is
    negative for some U from `low` to `high`.
    """
    labels, source = labels_of(options.image_choice())
    values = values_of(options.phase_choice(), labels, source, low, high)
    schemes = {
        None: None,
        Scheme.VOLUME: FiniteVolume(),
        Scheme.ELEMENT: FiniteElement(),
        Scheme.DIFFERENCE: FiniteDifference(),
    }
    borders = Borders(options.borders.value)
    cell = Cell.from_image(
        labels, values, schemes[options.scheme], borders=borders, pores=may_be_zero(values, low, high), symmetric=True
    )
    return Composite(cell, bordered(labels, cell.discretisation, borders)[0], phases_of(labels, values))


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
        a = np.asarray(cell.coefficient(condition))
        conducts = a > 0 if a.ndim == cell.d else np.any(a != 0, axis=(0, 1))
        for direction in range(min(cell.d, 2)):
            title = f"$|e_{'xyz'[direction]} + \\nabla\\chi_{'xyz'[direction]}|$"
            found[title] = _gradient(np.asarray(state[direction]), direction, conducts, cell)
        return found

    return Output(microstate=microstate)


def _gradient(corrector: np.ndarray, direction: int, conducts: np.ndarray, cell: Cell) -> np.ndarray:
    """|e + ∇χ| at the pixels: how much the cell concentrates a unit gradient; NaN where nothing conducts.

    Means over the two faces of a pixel along each axis. Through a face to a pixel that does not conduct there is none.
    """
    held = isinstance(cell.discretisation, FiniteVolume) and cell.discretisation.held
    total = np.zeros(corrector.shape)
    for axis, rate in enumerate(cell.discretisation.inverse_spacing(cell.shape)):
        faces = (np.roll(corrector, -1, axis) - corrector) * rate + (axis == direction)
        faces = np.where(conducts & np.roll(conducts, -1, axis), faces, 0.0)
        if held:  # the ends are drawn by the faces next to them
            last = [slice(None)] * faces.ndim
            last[axis] = slice(-1, None)
            faces[tuple(last)] = 0.0 if axis != direction else np.take(faces, [-2], axis)
        total += (0.5 * (faces + np.roll(faces, 1, axis))) ** 2
    return np.where(conducts, np.round(np.sqrt(total), 9), np.nan)


def quasistatic(
    cell: Cell, sites: int, tolerance: float, states: States, surrogate: float | None = None
) -> fx.Quasistatic | fx.Surrogate:
    """The driver of a run, with a table of responses where `surrogate` gives its tolerance.

    Correctors are kept where those of all sites fit into half of the memory three times: a step holds those before it and after
    it, and a checkpoint copies them.
    """
    size = 8 * cell.d * math.prod(cell.shape) * sites
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    keep = states is States.KEPT or (states is States.AUTO and 3 * size <= memory / 2)
    if states is States.AUTO and not keep:
        warnings.warn(
            f"The correctors of {sites} sites take {size / 1e9:.3g} GB, too much to be kept: each solve begins from zero, and "
            "implicit steps solve twice. --states kept keeps them.",
            CaseWarning,
            stacklevel=2,
        )
    return tabulated(fx.Quasistatic(tolerance, keep_states=keep), surrogate)

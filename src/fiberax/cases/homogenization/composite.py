"""What the composite cases share: a cell from an image, with a conductivity of each phase that may grow with U."""

import math
import os
import warnings

import numpy as np

import fiberax as fx
from fiberax.cases.base import CaseWarning
from fiberax.cases.homogenization.image_input import labels_of, values_of
from fiberax.cases.homogenization.options import CONDUCTIVITY, LENGTH, SLOPE, TEMPERATURE, TIME, CompositeOptions, Scheme
from fiberax.cases.homogenization.shapes import States
from fiberax.io.labels import Names, Output
from fiberax.io.results import Quantity
from fiberax.physics.homogenization import Borders, Cell, FiniteDifference, FiniteElement, FiniteVolume
from fiberax.physics.homogenization.borders import bordered


def composite(options: CompositeOptions, low: float, high: float) -> tuple[Cell, np.ndarray]:
    """The cell of a composite, and its labels.

    Raises `BadInput` where the image cannot be used, where the values do not match its phases, or where a conductivity is
    negative for some U from `low` to `high`.
    """
    labels, source = labels_of(options.image_choice())
    values = values_of(options.phase_choice(), labels, source, low, high)
    scheme = {Scheme.VOLUME: FiniteVolume, Scheme.ELEMENT: FiniteElement, Scheme.DIFFERENCE: FiniteDifference}[options.scheme]
    borders = Borders(options.borders.value)
    cell = Cell.from_image(labels, values, scheme(), borders=borders, symmetric=True)
    return cell, bordered(labels, cell.discretisation, borders)[0]


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
            rates = cell.discretisation.inverse_spacing(cell.shape)
            found[f"$|e_{'xyz'[direction]} + \\nabla\\chi_{'xyz'[direction]}|$"] = _gradient(state[direction], direction, rates)
        return found

    return Output(microstate=microstate)


def _gradient(corrector: np.ndarray, direction: int, rates: tuple[float, ...]) -> np.ndarray:
    """|e + ∇χ| at the pixels: how much the cell concentrates a unit gradient.

    Central differences; `rates` are pixels over length, for each axis.
    """
    total = 0.0
    for axis, rate in enumerate(rates):
        slope = (np.roll(corrector, -1, axis) - np.roll(corrector, 1, axis)) * rate / 2
        total = total + (slope + (axis == direction)) ** 2
    return np.sqrt(total)


def quasistatic(cell: Cell, sites: int, tolerance: float, states: States) -> fx.Quasistatic:
    """The driver of a run: correctors are kept where those of all sites fit into half of the memory three times.

    Three times, since a step holds those before it and after it, and a checkpoint copies them.
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
    return fx.Quasistatic(tolerance, keep_states=keep)

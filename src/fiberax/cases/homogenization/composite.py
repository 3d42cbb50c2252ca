"""What the composite cases share: a cell from an image, with a conductivity of each phase that may grow with U."""

import numpy as np

from fiberax.cases.homogenization.image_input import labels_of, values_of
from fiberax.cases.homogenization.options import CONDUCTIVITY, LENGTH, SLOPE, TEMPERATURE, TIME, CompositeOptions, Scheme
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

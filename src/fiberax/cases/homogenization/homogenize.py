"""The table A(U), dA/dU of a cell (2.3), (2.4)."""

from dataclasses import dataclass
from pathlib import Path

from fiberax.cases.base import Table, listed
from fiberax.cases.homogenization.options import TEMPERATURE, CompositeOptions
from fiberax.cases.options import ABSENT, GIVEN, inherited, option, other_than, when


@listed("homogenize", "table of the effective conductivity A(U) and dA/dU of an image or a formula")
@dataclass(frozen=True)
class Homogenize(CompositeOptions):
    """Table of the effective conductivity A(U) and dA/dU of an image or a formula."""

    image: Path | None = inherited(CompositeOptions, "image", applies=when(formula=ABSENT))
    conductivities: str = inherited(CompositeOptions, "conductivities", applies=when(formula=ABSENT))
    slopes: str = inherited(CompositeOptions, "slopes", applies=when(formula=ABSENT))
    formula: str | None = option(None, help="a(U, z) in place of an image, such as '2 + sin(2*pi*x)*cos(2*pi*y) + U/50'")
    dim: int = option(2, help="dimension of the cell of a formula", low=1, high=3, applies=when(formula=GIVEN))
    points: int = option(64, help="grid points along each side of the cell of a formula", low=2, applies=when(formula=GIVEN))
    low: float = option(0.0, help="lowest U", unit=TEMPERATURE)
    high: float = option(100.0, help="highest U", unit=TEMPERATURE, applies=when(rows=other_than(1)))
    rows: int = option(41, help="values of U from the lowest to the highest", low=1)
    tolerance: float = option(1e-10, help="relative tolerance of the cell problems", above=0, high=0.1)
    batch: int = option(8, help="rows computed at once", low=1)

    def build(self) -> Table:
        """The rows to compute. Raises `BadInput` for an image, a formula or numbers that cannot be used."""
        import dataclasses

        import numpy as np

        from fiberax.cases.homogenization.composite import NAMES, composite, pictures
        from fiberax.core.errors import BadInput

        if self.rows > 1 and not self.high > self.low:
            raise BadInput(f"--high = {self.high:g} is not above --low = {self.low:g}.")
        conditions = np.linspace(self.low, self.high, self.rows)
        if self.formula is None:
            cell, labels = composite(self, self.low, self.high)
        else:
            cell = self._cell_of_formula()
            labels = np.zeros(cell.shape, np.int32)
        for condition in conditions[[0, -1]]:
            cell.validate(condition)
        return Table(
            fiber=cell,
            conditions=conditions,
            tolerance=self.tolerance,
            batch=self.batch,
            names=dataclasses.replace(NAMES, axis=TEMPERATURE),
            output=pictures(cell, labels),
        )

    def _cell_of_formula(self):
        from fiberax.cases.formula import formula
        from fiberax.physics.homogenization import Cell

        return Cell(formula(self.formula or "", self.dim), (self.points,) * self.dim)

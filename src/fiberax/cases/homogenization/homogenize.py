"""The table A(U), dA/dU of a cell (2.3), (2.4)."""

from dataclasses import dataclass
from pathlib import Path

from fiberax.cases.base import Case, Table, option


@dataclass(frozen=True)
class Homogenize(Case):
    """Table of the effective conductivity A(U) and dA/dU of an image or a formula."""

    image: Path | None = option(None, help="png, tif or npy of the microstructure; default the one that ships with fiberax")
    conductivities: str = option("1,20", help="of each phase at U = 0, from the lowest label to the highest", unit="mm^2/s")
    slopes: str = option("0.05,0", help="growth of each conductivity with the temperature", unit="mm^2/s per K")
    formula: str | None = option(None, help="a(U, z) in place of an image, such as '2 + sin(2*pi*x)*cos(2*pi*y) + U/50'")
    dim: int = option(2, help="dimension of the cell of a formula", low=1, high=3)
    points: int = option(64, help="grid points along each side of the cell of a formula", low=2)
    low: float = option(0.0, help="lowest U", unit="K")
    high: float = option(100.0, help="highest U", unit="K")
    rows: int = option(41, help="values of U from the lowest to the highest", low=1)
    tolerance: float = option(1e-10, help="relative tolerance of the cell problems", above=0, high=0.1)
    batch: int = option(8, help="rows computed at once", low=1)

    def build(self) -> Table:
        """The rows to compute. Raises `BadInput` for an image, a formula or numbers that cannot be used."""
        import dataclasses

        import numpy as np

        from fiberax.cases.homogenization.composite import composite, composite_labels
        from fiberax.core.errors import BadInput
        from fiberax.io.results import Quantity

        if self.rows > 1 and not self.high > self.low:
            raise BadInput(f"--high = {self.high:g} is not above --low = {self.low:g}.")
        conditions = np.linspace(self.low, self.high, self.rows)
        if self.formula is None:
            cell, labels = composite(self.image, self.conductivities, self.slopes, self.low, self.high)
        else:
            if self.image is not None:
                raise BadInput("--image and --formula exclude one another: give one of them.")
            cell = self._cell_of_formula()
            labels = np.zeros(cell.shape, np.int32)
        for condition in conditions[[0, -1]]:
            cell.validate(condition)
        named = composite_labels(cell, labels, "temperature")
        return Table(
            fiber=cell,
            conditions=conditions,
            tolerance=self.tolerance,
            batch=self.batch,
            labels=dataclasses.replace(named, axis=Quantity("U", "K", "temperature")),
        )

    def _cell_of_formula(self):
        from fiberax.cases.formula import formula
        from fiberax.physics.homogenization import Cell

        return Cell(formula(self.formula or "", self.dim), (self.points,) * self.dim)

"""Steady nonlinear conduction: ∇·(A(U)∇U) = 0 between hot and cold sides (2.2)-(2.4)."""

from dataclasses import dataclass
from pathlib import Path

from fiberax.cases.base import Case, Steady, option


@dataclass(frozen=True)
class SteadyConduction(Case):
    """Steady temperature between the hot and the cold sides of a composite plate.

    Hot is the lower side of the first axis; cold are its upper side and the upper side of the second axis. The others are
    insulated.
    """

    image: Path | None = option(None, help="png, tif or npy of the microstructure; default the one that ships with fiberax")
    conductivities: str = option("1,20", help="of each phase at U = 0, from the lowest label to the highest", unit="mm^2/s")
    slopes: str = option("0.05,0", help="growth of each conductivity with the temperature", unit="mm^2/s per K")
    cells: int = option(16, help="macro cells along each side", low=3)
    size: float = option(10.0, help="side of the plate", unit="mm", above=0)
    hot: float = option(100.0, help="temperature of the hot side", unit="K")
    cold: float = option(0.0, help="temperature of the cold side", unit="K")
    tolerance: float = option(1e-8, help="relative tolerance of the cell problems", above=0, high=0.1)

    def build(self) -> Steady:
        """The two-scale problem. Raises `BadInput` for an image or numbers that cannot be used."""
        import numpy as np

        import fiberax as fx
        from fiberax.cases.homogenization.composite import composite, composite_labels

        cell, labels = composite(
            self.image, self.conductivities, self.slopes, min(self.hot, self.cold), max(self.hot, self.cold)
        )
        grid = fx.grids.Box((0.0,) * cell.d, (self.size,) * cell.d, cells=(self.cells,) * cell.d, periodic=False)
        homogenization = fx.homogenization
        ends = (homogenization.Dirichlet(self.hot), homogenization.Dirichlet(self.cold))
        across = (homogenization.Neumann(), homogenization.Dirichlet(self.cold))
        sides = (ends, across, homogenization.Neumann())[: cell.d]
        macro = homogenization.Diffusion(grid, boundary=sides)
        linear = self.hot + (self.cold - self.hot) * grid.centres[..., 0] / self.size
        return Steady(
            bundle=fx.Bundle(macro, cell),
            driver=fx.Quasistatic(self.tolerance),
            macro0=np.asarray(linear),
            labels=composite_labels(cell, labels, "temperature"),
        )

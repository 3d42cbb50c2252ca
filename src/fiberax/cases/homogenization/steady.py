"""Steady nonlinear conduction: ∇·(A(U)∇U) = 0 between hot and cold sides (2.2)-(2.4)."""

from dataclasses import dataclass

from fiberax.cases.base import Steady, listed
from fiberax.cases.homogenization.options import LENGTH, TEMPERATURE, CompositeOptions
from fiberax.cases.options import option


@listed("steady", "steady temperature between the hot and the cold sides of a composite plate")
@dataclass(frozen=True)
class SteadyConduction(CompositeOptions):
    """Steady temperature between the hot and the cold sides of a composite plate.

    Hot is the lower side of the first axis; cold are its upper side and the upper side of the second axis. The others are
    insulated.
    """

    cells: int = option(16, help="macro cells along each side", low=3)
    size: float = option(10.0, help="side of the plate", unit=LENGTH, above=0)
    hot: float = option(100.0, help="temperature of the hot side", unit=TEMPERATURE)
    cold: float = option(0.0, help="temperature of the cold side", unit=TEMPERATURE)
    tolerance: float = option(1e-8, help="relative tolerance of the cell problems", above=0, high=0.1)

    def build(self) -> Steady:
        """The two-scale problem. Raises `BadInput` for an image or numbers that cannot be used."""
        import numpy as np

        import fiberax as fx
        from fiberax.cases.homogenization.composite import NAMES, composite, pictures

        cell, labels = composite(self, min(self.hot, self.cold), max(self.hot, self.cold))
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
            names=NAMES,
            output=pictures(cell, labels),
        )

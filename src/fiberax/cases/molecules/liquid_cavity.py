"""A square cavity of molecules under a moving lid, without a constitutive law.

The lid moves at 16 x²(1 − x)² times its speed, x from 0 to 1: at rest in the corners, where a plain lid has no stress.
"""

from dataclasses import dataclass
from typing import Any

from fiberax.cases.base import Evolve, Figure, Results, listed
from fiberax.cases.molecules.figures import cavity_figures
from fiberax.cases.molecules.liquids import LiquidOptions, Parts
from fiberax.cases.options import MOST_CELLS_A_SIDE, inherited, option
from fiberax.io.results import Quantity


@listed("liquid-cavity", "flow of a Lennard-Jones liquid in a square cavity under a lid, a box of molecules in every cell")
@dataclass(frozen=True)
class LiquidCavity(LiquidOptions):
    """Flow of a Lennard-Jones liquid in a square cavity under a lid, a box of molecules in every cell.

    There is no constitutive law: the stress of the flow is that of the boxes, which live at the velocity gradient of their
    cell and stay there. The lid moves towards positive x, slower towards the corners. Results are velocity, stress and
    pressure, and averages over time with standard errors, beside the flow by Navier and Stokes with the viscosity of the boxes.
    """

    particles: int = inherited(LiquidOptions, "particles", 64)
    boxes: int = inherited(LiquidOptions, "boxes", 1)
    clock: float = inherited(LiquidOptions, "clock", 4.0)
    speed: float = option(1.0, help="of the lid in its middle")
    width: float = option(40.0, help="of the cavity", above=0)
    cells: int = option(16, help="cells along each side", low=4, high=MOST_CELLS_A_SIDE)
    t1: float = inherited(LiquidOptions, "t1", 160.0)
    records: int = inherited(LiquidOptions, "records", 200)

    def build(self) -> Evolve:
        """The coupled run. Raises `BadInput`."""
        import fiberax as fx

        grid = fx.grids.Box((0.0, 0.0), (self.width, self.width), 2 * (self.cells,), periodic=False)
        wall = {"top": fx.fluids.Wall(lambda x, t: 16.0 * self.speed * (x / self.width) ** 2 * (1.0 - x / self.width) ** 2)}
        liquid: Any = {"stress": "total", "density": self.density, "viscosity": self.split_viscosity, "dim": 3}
        flow: Any = fx.fluids.Flow(grid, boundary=wall, **liquid)
        fields = lambda macro: {"macro.u": macro.u, "macro.v": macro.v, "macro.velocity": flow.centred(macro)}
        names = {
            "macro.u": Quantity("u", "1", "velocity along x on the faces normal to x"),
            "macro.v": Quantity("v", "1", "velocity along y on the faces normal to y"),
        }
        # Free of divergence: as many as there are values of a stream function inside.
        return self.evolve(flow, fields, Parts(names, ("macro.u", "macro.v"), (self.cells - 1) ** 2, self.speed))

    def figures(self, results: Results) -> list[Figure]:
        """Mean fields, profiles along the middle lines, and boxes at three sites."""
        return cavity_figures(results)

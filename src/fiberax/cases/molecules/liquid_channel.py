"""A channel of molecules between two walls, driven by a force or by the upper wall, without a constitutive law."""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from fiberax.cases.base import Evolve, Figure, Results, listed
from fiberax.cases.fluids.channel import Drive
from fiberax.cases.molecules.figures import channel_figures
from fiberax.cases.molecules.liquids import LIKELY, LiquidOptions, Parts
from fiberax.cases.options import MOST_CELLS, option, when
from fiberax.io.results import Quantity


@listed("liquid-channel", "flow of a Lennard-Jones liquid along a channel, a box of molecules in every cell")
@dataclass(frozen=True)
class LiquidChannel(LiquidOptions):
    """Flow of a Lennard-Jones liquid along a channel, a box of molecules in every cell.

    There is no constitutive law: the stress of the flow is that of the boxes, which live at the velocity gradient of their
    cell. A force, or the upper wall, sets the liquid in motion at t = 0. Results are velocity, stress and pressure, and
    averages over time with standard errors, beside the flow by Navier and Stokes with the viscosity of the boxes.
    """

    drive: Drive = option(Drive.PRESSURE, help="a pressure gradient, or the upper wall")
    gradient: float = option(0.06, help="minus the pressure gradient", applies=when(drive=Drive.PRESSURE))
    speed: float = option(1.5, help="of the upper wall", applies=when(drive=Drive.WALL))
    width: float = option(20.0, help="from wall to wall", above=0)
    cells: int = option(8, help="cells from wall to wall", low=4, high=MOST_CELLS)

    def build(self) -> Evolve:
        """The coupled run. Raises `BadInput`."""
        import fiberax as fx

        grid = fx.grids.Box(0.0, self.width, cells=self.cells, periodic=False)
        pressure = self.drive is Drive.PRESSURE
        force, speed = (self.gradient, 0.0) if pressure else (0.0, self.speed)
        wall = {"top": fx.fluids.Wall(speed)}
        liquid: Any = {"stress": "total", "density": self.density, "viscosity": self.split_viscosity, "dim": 3}
        flow: Any = fx.fluids.Flow(grid, boundary=wall, force=force, **liquid)

        def fields(U) -> dict:
            return {"macro.U": U, "macro.velocity": flow.centred(U), "centre": jnp.interp(0.5 * self.width, flow.nodes, U)}

        names = {
            "macro.U": Quantity("U", "1", "velocity along the channel at the nodes, walls among them"),
            "centre": Quantity("U_centre", "1", "velocity half way between the walls"),
        }
        speed += self.gradient * self.width**2 / (8.0 * LIKELY) if pressure else 0.0
        return self.evolve(flow, fields, Parts(names, ("macro.U",), self.cells - 1, speed, ("centre",)))

    def figures(self, results: Results) -> list[Figure]:
        """Profiles of velocity, stress and pressure, the velocity in the middle, and boxes at three sites."""
        return channel_figures(results)

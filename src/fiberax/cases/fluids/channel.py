"""A channel: dumbbells, chains, rods or closures between two walls, driven by pressure or by the upper wall, from rest.

For Hookean springs and for Newtonian fluids the exact profile is written as well: with y from wall to wall, U = V y + Σ u_k(t)
sin(πky), V the speed of the wall, and the modes of `fiberax.cases.fluids.flows`.
"""

import enum
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fiberax.cases.base import Evolve, Figure, Results, Summary, listed
from fiberax.cases.fluids.flow_figures import channel_figures
from fiberax.cases.fluids.flows import (
    Conformation,
    FlowOptions,
    Parts,
    StiffWatch,
    at_end,
    linear_modes,
    noise_summary,
    velocity_of,
)
from fiberax.cases.fluids.fluids_common import Model
from fiberax.cases.options import MOST_CELLS, inherited, option, when
from fiberax.io.results import Quantity

_MODES = np.arange(1, 1500)
_SPREADING = 0.01  # step over the time in which motion spreads across the channel
_MOST = 2000  # steps that are taken for that


class Drive(enum.Enum):
    """What moves the fluid."""

    PRESSURE = "pressure"
    WALL = "wall"


@listed("channel", "flow of dumbbells, chains, rods or closures along a channel, from rest")
@dataclass(frozen=True)
class Channel(FlowOptions):
    """Flow of dumbbells, chains, rods or closures along a channel, from rest.

    The width is 1. A pressure gradient, or the upper wall, sets the fluid in motion at t = 0; each cell across the
    channel has an ensemble, whose stress acts on the flow. Results are the profiles of velocity and stress, with standard
    errors for fluids of members; for hookean springs and without polymers also the exact velocity.
    """

    spring: str = inherited(FlowOptions, "spring", "hookean")
    members: int = inherited(FlowOptions, "members", 5000, help="springs, chains or rods in each cell")
    control: bool = inherited(FlowOptions, "control", True)
    replicas: int = inherited(FlowOptions, "replicas", 8)
    viscosity_ratio: float = inherited(FlowOptions, "viscosity_ratio", 0.1)
    drive: Drive = option(Drive.PRESSURE, help="a pressure gradient, or the upper wall")
    gradient: float = option(
        8.0, help="minus the pressure gradient; 8 moves a fluid of viscosity 1 at speed 1", applies=when(drive=Drive.PRESSURE)
    )
    speed: float = option(1.0, help="of the upper wall", applies=when(drive=Drive.WALL))
    cells: int = option(64, help="cells from wall to wall", low=4, high=MOST_CELLS)
    t1: float = inherited(FlowOptions, "t1", 8.0)
    records: int = inherited(FlowOptions, "records", 80)

    def build(self) -> Evolve:
        """The coupled run. Raises `BadInput`."""
        import fiberax as fx

        grid = fx.grids.Box(0.0, 1.0, cells=self.cells, periodic=False)
        pressure = self.drive is Drive.PRESSURE
        shear = abs(0.5 * self.gradient if pressure else self.speed)
        dt = self.step(grid, self.rest_modulus(), shear / (self.total_viscosity() or 1.0))
        if self.dt is None and self.Re > 0.0:
            dt = min(dt, max(_SPREADING * self.Re, self.t1 / _MOST))
        flow = fx.fluids.Flow(
            grid,
            Re=self.Re,
            viscosity_ratio=self.viscosity_ratio,
            boundary=None if pressure else {"top": fx.fluids.Wall(self.speed)},
            force=self.gradient if pressure else None,
            De=self.De,
            dim=self.dim,
        )
        fiber = self.fiber()
        exact = _Exact(self) if self.is_linear else None
        # Only τ_yy stiffens a flow along x, and shear leaves it about as it is.
        conformation, watch, velocity = Conformation(self, fiber), StiffWatch(self, grid, dt), velocity_of(flow)

        def further(record: Any) -> dict[str, np.ndarray]:
            nodes = np.asarray(record.macro.value if self.Re == 0.0 else record.macro)
            stress = np.asarray(record.response)
            watch(record.t, float(stress[:, 1, 1].max()))
            found = {"macro.U": nodes, "macro.velocity": velocity(record.macro), "centre": np.interp(0.5, self.nodes, nodes)}
            found |= {"N1": stress[:, 0, 0] - stress[:, 1, 1]} | conformation(record)
            return found if exact is None else found | exact.columns(record.t)

        names = {
            "macro.U": Quantity("U", "1", "velocity along the channel at the nodes, walls among them"),
            "nodes": Quantity("y_node", "1", "y of the nodes"),
            "centre": Quantity("U_centre", "1", "velocity half way between the walls"),
            "N1": Quantity("N1", "1", "first normal stress difference N₁"),
            "macro.exact": Quantity("U_exact", "1", "velocity along the channel at the nodes, exact"),
            "exact.centre": Quantity("U_centre_exact", "1", "velocity half way between the walls, exact"),
            "exact.shear": Quantity("tau_xy_exact", "1", "shear stress of the fibers, exact"),
        }
        return self.evolve(Parts(flow, fiber, further, names, along={"nodes": ("point", self.nodes)}), dt, self._summary)

    def figures(self, results: Results) -> list[Figure]:
        """Profiles across the channel, the velocity in its middle, and configurations."""
        return channel_figures(results)

    @property
    def nodes(self) -> np.ndarray:
        """Coordinates of the velocities."""
        return np.linspace(0.0, 1.0, self.cells + 1)

    def _summary(self, times: np.ndarray, columns: dict[str, np.ndarray]) -> Summary:
        noise, U = noise_summary(columns), columns["macro.U"]
        content, lines = {"centre velocity at the end": float(columns["centre"][-1])}, []
        lines.append(f"velocity half way between the walls: {at_end(columns, 'centre')} at t = {times[-1]:.4g}")
        if "macro.exact" in columns:
            off = float(np.abs(U[1:] - columns["macro.exact"][1:]).max())
            content["largest deviation from the exact velocity"] = off
            lines.append(f"it is at most {off:.2g} away from the exact one, anywhere and at any time after the start")
        return Summary(content | noise.content, (*lines, *noise.lines))


class _Exact:
    """Velocity and shear stress of linear viscoelasticity."""

    def __init__(self, options: Channel):
        self._options = options

    @functools.cached_property
    def _solved(self) -> Callable:
        """Of time."""
        o, q = self._options, np.pi * _MODES
        pressure = o.drive is Drive.PRESSURE
        constant, height = 4.0 / q * (_MODES % 2), -2.0 * (-1.0) ** _MODES / q  # 1 and y in sines
        V = 0.0 if pressure else o.speed
        force, start = (o.gradient * constant if pressure else 0.0), (0.0 if o.Re == 0.0 else -V * height)
        modes = linear_modes(q, o, force, start)
        centres = 0.5 * (o.nodes[1:] + o.nodes[:-1])
        De = o.relaxation_times()
        at_nodes, at_centres = np.sin(np.outer(q, o.nodes)), np.cos(np.outer(q, centres))

        def solved(t: float) -> tuple[np.ndarray, np.ndarray]:
            u, s = modes(t)
            U = V * o.nodes + u @ at_nodes
            U[-1] = V  # where the series of y does not converge
            return U, V * np.sum(De * (1.0 - np.exp(-t / De))) + s @ at_centres

        return solved

    def columns(self, t: float) -> dict[str, np.ndarray]:
        """Those of the time `t`."""
        o, (U, shear) = self._options, self._solved(t)
        if t <= 0.0 and o.Re > 0.0:
            U = np.where(o.nodes < 1.0, 0.0, U)
        found = {"macro.exact": U, "exact.centre": np.interp(0.5, o.nodes, U)}
        springs = o.model is not Model.ROD and o.is_hookean
        return found | ({"exact.shear": shear} if springs else {})

"""Heat flow through a composite: macro ∂_t U = ∇·(A(U)∇U), fiber the cell problem on an image (2.2)-(2.4)."""

import enum
import warnings
from dataclasses import dataclass

from fiberax.cases.base import CaseWarning, Evolve, listed
from fiberax.cases.homogenization.options import LENGTH, TEMPERATURE, TIME
from fiberax.cases.homogenization.shapes import ON_MESH, ShapeOptions, States, mesh_of
from fiberax.cases.mesh_files import sides_of
from fiberax.cases.options import ABSENT, MOST_CELLS_A_SIDE, MOST_RECORDS, inherited, option, when
from fiberax.cases.times import even_times


class Method(enum.Enum):
    """How the cells follow the temperature."""

    QUASISTATIC = "quasistatic"
    SEAMLESS = "seamless"


class Stepping(enum.Enum):
    """How the temperature is advanced in time."""

    IMPLICIT = "implicit"
    EXPLICIT = "explicit"


@listed(
    "diffusion",
    "heat flow in time through a composite whose cell is an image",
    extras="image for --image (.png, .tif and the like); mesh for --shape and --mesh",
)
@dataclass(frozen=True)
class Diffusion(ShapeOptions):
    """Heat flow in time through a composite whose cell is an image.

    A hot spot spreads in a square plate (a bar or a block for images in one or three dimensions) whose sides are held at
    zero. At every macro cell lives the microstructure of the image, with conductivities that depend on the temperature there.
    On other shapes and on meshes from files it lives at every quadrature point of the finite elements.
    """

    cells: int = option(20, help="macro cells along each side", low=4, high=MOST_CELLS_A_SIDE, applies=when(mesh=ABSENT))
    size: float = option(10.0, help="side of the plate", unit=LENGTH, above=0, applies=when(mesh=ABSENT))
    cold_sides: str | None = option(
        None, help="names of the sides held at zero, with commas; default all; others are insulated", applies=ON_MESH
    )
    peak: float = option(100.0, help="temperature of the hot spot at the start", unit=TEMPERATURE, low=0)
    width: float = option(0.15, help="radius of the hot spot", unit="sides of the plate", above=0)
    t1: float = option(0.6, help="end of the run", unit=TIME, above=0)
    dt: float = option(0.05, help="time step", unit=TIME, above=0)
    records: int = option(12, help="times at which the fields are saved, after the start", low=1, high=MOST_RECORDS)
    stepping: Stepping = option(Stepping.IMPLICIT, help="implicit (order 2, long steps) or explicit (bound by dx^2)")
    method: Method = option(Method.QUASISTATIC, help="cells solved at every step, or carried along seamlessly")
    friction: float = option(
        1e-3,
        help="of the cells when carried along: how slowly they follow the temperature",
        unit=TIME,
        above=0,
        applies=when(method=Method.SEAMLESS),
    )
    tolerance: float = option(
        1e-4, help="relative tolerance of the cell problems", above=0, high=0.1, applies=when(method=Method.QUASISTATIC)
    )
    states: States = inherited(ShapeOptions, "states", applies=when(method=Method.QUASISTATIC))
    surrogate: float | None = inherited(ShapeOptions, "surrogate", applies=when(method=Method.QUASISTATIC))
    fail_fraction: float = option(0.0, help="share of the cells that may fail before the run stops", low=0, high=1)

    def build(self) -> Evolve:
        """The two-scale problem. Raises `BadInput` for an image or numbers that cannot be used."""
        import numpy as np

        import fiberax as fx
        from fiberax.cases.homogenization.composite import NAMES, composite, pictures, quasistatic

        cell, labels, _ = composite(self, 0.0, self.peak)
        mesh, zero = mesh_of(self, cell.d), fx.homogenization.Dirichlet(0.0)
        if mesh is None:
            grid = fx.grids.Box((0.0,) * cell.d, (self.size,) * cell.d, cells=(self.cells,) * cell.d, periodic=False)
            macro = fx.homogenization.Diffusion(grid, boundary=zero)
            places, corner, side = grid.centres, 0.0, self.size
        else:
            held = zero if self.cold_sides is None else dict.fromkeys(sides_of(mesh, self.cold_sides, "--cold-sides"), zero)
            macro = fx.homogenization.MeshDiffusion(mesh, boundary=held)
            places, corner, side = mesh.points, mesh.points.min(axis=0), np.ptp(mesh.points, axis=0)
        spot = corner + np.array([0.35, 0.42, 0.5])[: cell.d] * side
        distance = np.sum((places - spot) ** 2, axis=-1) / (self.width * np.max(side)) ** 2
        start = self.peak * np.exp(-0.5 * distance)
        if start.max() < 0.5 * self.peak:
            warnings.warn(
                f"The hot spot of --width {self.width:g} lies between the points of the plate: the highest temperature at the "
                f"start is {start.max():.3g}, not {self.peak:g}. Give a larger --width, or finer cells.",
                CaseWarning,
                stacklevel=2,
            )
        if self.method is Method.QUASISTATIC:
            fiber, driver = cell, quasistatic(cell, len(macro.positions()), self.tolerance, self.states, self.surrogate)
        else:
            fiber, driver = fx.relax(cell, friction=self.friction), fx.Seamless()
        return Evolve(
            bundle=fx.Bundle(macro, fiber),
            driver=driver,
            macro0=start,
            t1=self.t1,
            dt=self.dt,
            saveat=even_times(self.t1, self.records),
            stepper=fx.SDIRK2(tolerance=1e-4) if self.stepping is Stepping.IMPLICIT else fx.Heun(),
            fail_fraction=self.fail_fraction,
            names=NAMES,
            output=pictures(cell, labels),
        )

"""Steady nonlinear conduction: ∇·(A(U)∇U) = 0 between hot and cold sides (2.2)-(2.4)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fiberax.cases.base import Steady, Summary, listed
from fiberax.cases.homogenization.options import LENGTH, TEMPERATURE
from fiberax.cases.homogenization.shapes import ON_MESH, ShapeOptions, mesh_of
from fiberax.cases.mesh_files import sides_of
from fiberax.cases.options import ABSENT, MOST_CELLS_A_SIDE, option, when
from fiberax.core.errors import BadInput

if TYPE_CHECKING:
    import numpy as np


@listed(
    "steady",
    "steady temperature between the hot and the cold sides of a composite plate",
    extras="image for --image (.png, .tif and the like); mesh for --shape and --mesh",
)
@dataclass(frozen=True)
class SteadyConduction(ShapeOptions):
    """Steady temperature between the hot and the cold sides of a composite plate.

    Hot is the lower side of the first axis; cold are its upper side and the upper side of the second axis. The others are
    insulated. On other shapes and on meshes from files `--hot-sides` and `--cold-sides` choose them by name.

    Given fluxes, exchange with a surrounding and sources are for Python or a case in a file of your own: see "Sides" on the
    page "Homogenization" of the documentation.
    """

    cells: int = option(16, help="macro cells along each side", low=3, high=MOST_CELLS_A_SIDE, applies=when(mesh=ABSENT))
    size: float = option(10.0, help="side of the plate", unit=LENGTH, above=0, applies=when(mesh=ABSENT))
    hot_sides: str | None = option(None, help="names of the hot sides, with commas; default left", applies=ON_MESH)
    cold_sides: str | None = option(None, help="names of the cold sides, with commas; default right,top", applies=ON_MESH)
    hot: float = option(100.0, help="temperature of the hot side", unit=TEMPERATURE)
    cold: float = option(0.0, help="temperature of the cold side", unit=TEMPERATURE)
    tolerance: float = option(1e-8, help="relative tolerance of the cell problems", above=0, high=0.1)

    def build(self) -> Steady:
        """The two-scale problem. Raises `BadInput` for an image or numbers that cannot be used."""
        import numpy as np

        import fiberax as fx
        from fiberax.cases.homogenization.composite import NAMES, composite, pictures, quasistatic

        cell, labels, _ = composite(self, min(self.hot, self.cold), max(self.hot, self.cold))
        mesh = mesh_of(self, cell.d)
        if mesh is not None:
            return self._on_mesh(mesh, cell, pictures(cell, labels))
        grid = fx.grids.Box((0.0,) * cell.d, (self.size,) * cell.d, cells=(self.cells,) * cell.d, periodic=False)
        homogenization = fx.homogenization
        ends = (homogenization.Dirichlet(self.hot), homogenization.Dirichlet(self.cold))
        across = (homogenization.Neumann(), homogenization.Dirichlet(self.cold))
        sides = (ends, across, homogenization.Neumann())[: cell.d]
        macro = homogenization.Diffusion(grid, boundary=sides)
        linear = self.hot + (self.cold - self.hot) * grid.centres[..., 0] / self.size
        return Steady(
            bundle=fx.Bundle(macro, cell),
            driver=quasistatic(cell, len(macro.positions()), self.tolerance, self.states, self.surrogate),
            macro0=np.asarray(linear),
            names=NAMES,
            output=pictures(cell, labels),
        )

    def _on_mesh(self, mesh, cell, output) -> Steady:
        import fiberax as fx
        from fiberax.cases.homogenization.composite import NAMES, quasistatic

        hot = sides_of(mesh, "left" if self.hot_sides is None else self.hot_sides, "--hot-sides")
        cold = sides_of(mesh, "right,top" if self.cold_sides is None else self.cold_sides, "--cold-sides")
        both = sorted(set(hot) & set(cold))
        if both:
            raise BadInput(f"--hot-sides and --cold-sides both name {', '.join(both)}: give every side once.")
        held = dict.fromkeys(hot, fx.homogenization.Dirichlet(self.hot))
        held |= dict.fromkeys(cold, fx.homogenization.Dirichlet(self.cold))
        macro = fx.homogenization.MeshDiffusion(mesh, boundary=held)
        return Steady(
            bundle=fx.Bundle(macro, cell),
            driver=quasistatic(cell, len(macro.positions()), self.tolerance, self.states, self.surrogate),
            macro0=macro.start(0.5 * (self.hot + self.cold)),
            names=NAMES,
            output=output,
            summary=lambda values, columns: flows(macro, columns, (*hot, *cold)),
        )


def flows(macro: Any, columns: dict[str, "np.ndarray"], sides: tuple[str, ...]) -> Summary:
    """What flows into the body through the sides with a given temperature, per unit of time."""
    state, response = columns["macro"][0], columns["response"][0]
    found = {name: float(macro.inflow(state, response, name)) for name in sides}
    unit = f"K {LENGTH}^{macro.mesh.dim}/s"
    words = ", ".join(f"{name}: {flow:.6g}" for name, flow in found.items())
    return Summary({"inflow": found, "unit of inflow": unit}, (f"flow into the body [{unit}] through {words}",))

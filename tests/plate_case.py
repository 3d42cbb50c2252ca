"""A case as a user writes it, without labels: a plane plate of a simple crystal that swings. `fiberax run plate_case.py`."""

from dataclasses import dataclass

import numpy as np

import fiberax as fx
from fiberax.cases import Case, Evolve, option


@dataclass(frozen=True)
class Plate(Case):
    """A plate of triangular Lennard-Jones, clamped on the left, moving at first."""

    cells: int = option(2, help="cells through the height", low=1)

    def build(self):
        """The problem, as short as can be."""
        potential = fx.solids.potentials.LennardJones(cutoff=1.6, scheme="smooth", onset=1.3)
        lattice = 2 ** (1 / 6) * np.array([[1, 0], [0.5, 0.75**0.5]])
        crystal = fx.solids.Crystal(lattice, [[0, 0]], ["X"], potential)
        mesh = fx.grids.quads((0.0, 0.0), (4.0, 2.0), cells=(2 * self.cells, self.cells))
        body = fx.solids.Elasticity(mesh, fixed={"left": True}, traction={"right": (0.0, 0.1)})
        return Evolve(
            bundle=fx.Bundle(body, crystal),
            driver=fx.Quasistatic(),
            macro0=body.start(velocity=lambda x: np.array([0.0, 0.0125]) * x[0]),
            t1=1.2,
            dt=0.02,
            saveat=tuple(np.linspace(0.0, 1.2, 7)),
            stepper=fx.Verlet(),
        )

"""Shapes of the body in the composite cases: boxes, generated meshes, and meshes from files, with names of their sides."""

import dataclasses
import enum
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fiberax.cases.base import Evolve, Figure, Loading, Problem, Results, Steady
from fiberax.cases.homogenization.options import CompositeOptions
from fiberax.cases.mesh_files import mesh_from
from fiberax.cases.options import ABSENT, GIVEN, option, other_than, when
from fiberax.cases.surrogates import surrogate_option
from fiberax.core.errors import BadInput

if TYPE_CHECKING:
    from fiberax.grids.mesh import Mesh


class Shape(enum.Enum):
    """Shape of the body."""

    BOX = "box"
    L_SHAPE = "l-shape"
    PLATE_WITH_HOLE = "plate-with-hole"
    NOTCHED = "notched"


class States(enum.Enum):
    """Whether the correctors of all macro cells are kept, for the next solve to begin from."""

    AUTO = "auto"
    KEPT = "kept"
    ANEW = "anew"


ON_MESH = when(mesh=GIVEN) | when(shape=other_than(Shape.BOX))


@dataclass(frozen=True)
class ShapeOptions(CompositeOptions):
    """Options of the body; for cases to build on."""

    shape: Shape = option(
        Shape.BOX, help="shape of the plate or block; all but box are finite elements", applies=when(mesh=ABSENT)
    )
    mesh: Path | None = option(None, help="mesh file of the body, in the unit of length; its groups name the sides")
    order: int | None = option(
        None, help="order of the elements, 1 or 2; default that of the file, else 1", low=1, high=2, applies=ON_MESH
    )
    states: States = option(
        States.AUTO, help="correctors of all macro cells: kept, or solved anew each time; auto keeps them where they fit"
    )
    surrogate: float | None = surrogate_option()

    def figures(self, results: Results) -> list[Figure]:
        """The figures that any results have, and both scales in one picture."""
        from fiberax.cases.homogenization.scales_figure import scales_figures

        return super().figures(results) + scales_figures(results)


def mesh_of(options: Any, dim: int) -> "Mesh | None":
    """The mesh of a case, for cells of dimension `dim`; None for a box. Raises `BadInput`."""
    from fiberax import grids

    if options.mesh is not None:
        return mesh_from(options.mesh, dim, options.order, "the image of the cell", "--image")
    if options.shape is Shape.BOX:
        return None
    if dim == 1:
        raise BadInput(f"--shape {options.shape.value} needs a cell of two or three dimensions; the image has one.")
    size, n, order = options.size, options.cells, options.order or 1
    if options.shape is Shape.L_SHAPE:
        return grids.l_shape((size,) * dim, (n + n % 2,) * dim, order=order)
    if options.shape is Shape.NOTCHED:
        return grids.notched((0.0,) * dim, (size,) * dim, (n,) * dim, size / 4, size / 2, order=order)
    sizes, counts = (size, size, size / 4)[:dim], (max(n // 2, 2), max(n // 2, 2), max(n // 4, 1))[:dim]
    plate = grids.holed(sizes, size / 8, counts, order=order, grading=1.5)
    return plate.mapped(lambda x: x + [size / 2, size / 2, 0.0][:dim])


def with_shape(problem: Problem) -> Problem:
    """The problem with the mesh of its macro model to draw on, where that is diffusion on a mesh."""
    from fiberax.io.body import Body
    from fiberax.physics.homogenization.shapes import AbstractMeshDiffusion

    if not isinstance(problem, Evolve | Steady | Loading) or not isinstance(problem.bundle.macro, AbstractMeshDiffusion):
        return problem
    body = problem.output.body or Body(problem.bundle.macro.mesh, problem.names.length_unit, deforms=False)
    return dataclasses.replace(problem, output=dataclasses.replace(problem.output, body=body))

"""A block of crystal with a hole or a notch under tension: steady states along the load (3.1)-(3.7)."""

import enum
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fiberax.cases.base import Figure, Loading, Results, Summary, listed
from fiberax.cases.mesh_files import mesh_from
from fiberax.cases.options import ABSENT, GIVEN, MOST_CELLS_A_SIDE, inherited, option, other_than, when
from fiberax.cases.solids.atoms import LENGTH, CrystalOptions, Material, factor, stiffness_unit
from fiberax.cases.solids.figures import curve_figure, titled
from fiberax.cases.solids.grips import Grips, grips_of
from fiberax.cases.solids.report import pulled_of
from fiberax.cases.solids.structures import Structure
from fiberax.cases.surrogates import surrogate_option, tabulated
from fiberax.core.errors import BadInput
from fiberax.io.labels import Names, Output
from fiberax.io.results import Quantity


class Shape(enum.Enum):
    """Shape of the hole or notch."""

    HOLE = "hole"
    NOTCH = "notch"


class Faces(enum.Enum):
    """Boundary conditions of the two large faces."""

    FREE = "free"
    HELD = "held"


class Axis(enum.Enum):
    """Direction of the pull."""

    X = "x"
    Y = "y"
    Z = "z"


class Hold(enum.Enum):
    """What the grips hold."""

    SLIDING = "sliding"
    CLAMPED = "clamped"


class Driver(enum.Enum):
    """How displacement and shifts of the atoms are solved for."""

    NESTED = "nested"
    MONOLITHIC = "monolithic"


MADE, READ = when(mesh=ABSENT), when(mesh=GIVEN)
# Of bodies in space: a triangular lattice is plane.
SOLID = when(potential=ABSENT, material=other_than(Material.LJ_PLANE)) | when(
    potential=GIVEN, structure=other_than(Structure.TRIANGULAR)
)


@listed(
    "pull",
    "a block of crystal with a hole or a notch under tension, until it loses ellipticity",
    extras="mesh; atoms for --atoms",
)
@dataclass(frozen=True)
class Pull(CrystalOptions):
    """A block of crystal with a hole or a notch under tension, at rest at every load, until it loses ellipticity.

    The side at x = −width/2 is held along x and the one at x = width/2 is moved along x; both are free to slide. At every
    quadrature point lives a crystal whose atoms relax; its stress is the only constitutive law. The cube axes of the crystal
    are those of the block, or it is turned by --axis and --lateral. Where a crystal is about to lose its stability the load
    step is halved, and at last the path ends there. With --mesh the body is that of a file, and its sides that are held and
    pulled are chosen by name.
    """

    material: str | None = inherited(
        CrystalOptions, "material", help="crystal with a published potential; lj-triangular for a plane body"
    )
    mesh: Path | None = option(None, help="mesh file of the body, in nm; its groups name the sides")
    held_sides: str = option("left", help="names of the sides that are held, with commas", applies=READ)
    pulled_sides: str = option("right", help="names of the sides that are moved, with commas", applies=READ)
    mirror_sides: str | None = option(
        None, help="names of sides that are planes of symmetry, across one of the axes, with commas", applies=READ
    )
    along: Axis = option(Axis.X, help="direction of the pull", applies=READ)
    hold: Hold = option(Hold.SLIDING, help="grips hold along the pull alone (sliding) or in all directions (clamped)")
    shape: Shape = option(
        Shape.HOLE, help="round hole in the middle, or smooth notch across the middle of the top", applies=MADE
    )
    width: float = option(
        80.0, help="length of the block along x, the direction of tension", unit=LENGTH, above=0, applies=MADE
    )
    height: float = option(80.0, help="side along y", unit=LENGTH, above=0, applies=MADE)
    depth: float = option(10.0, help="side along z, the axis of the hole", unit=LENGTH, above=0, applies=SOLID & MADE)
    radius: float = option(16.0, help="radius of the hole, or depth of the notch", unit=LENGTH, above=0, applies=MADE)
    faces: Faces = option(
        Faces.FREE, help="z = depth is free and z = 0 a plane of symmetry, or both are held in z", applies=SOLID & MADE
    )
    cells: int = option(
        6, help="cells along a quarter of the hole, and from there to the side", low=1, high=MOST_CELLS_A_SIDE, applies=MADE
    )
    through: int = option(1, help="cells through the depth", low=1, high=MOST_CELLS_A_SIDE, applies=SOLID & MADE)
    order: int | None = option(None, help="order of the elements, 1 or 2; default that of the file, else 1", low=1, high=2)
    strain: float = option(0.4, help="strain at the end of the path, if the body is stable up to it", above=0)
    step: float = option(0.02, help="longest step in strain", above=0)
    driver: Driver = option(Driver.MONOLITHIC, help="nested solves the atoms at every trial; monolithic takes all together")
    surrogate: float | None = surrogate_option(when(driver=Driver.NESTED))

    def build(self) -> Loading:
        """The body and its load path. Raises `BadInput` for sizes, materials and files that cannot be used."""
        import fiberax as fx
        from fiberax.io.body import Body

        plain = self.choice.found()
        d = len(plain.crystal.lattice)
        if self.step > self.strain:
            raise BadInput(f"--step = {self.step:g} is longer than the whole path, --strain = {self.strain:g}.")
        grips = self._grips(d)
        still = self.choice.at_rest(plain)
        crystal = still.turned
        # A function of the load, so that a step begins with the body at rest.
        moved = lambda x, t: self.strain * grips.length * t
        displacement = {name: {grips.axis: moved} for name in grips.pulled}
        macro = fx.solids.Elasticity(grips.mesh, fixed=grips.fixed, displacement=displacement)
        nested = tabulated(fx.Quasistatic(), self.surrogate, one_entry=False)
        driver = fx.Monolithic() if self.driver is Driver.MONOLITHIC else nested
        scale, unit = factor(crystal)
        length = "Å" if crystal.potential.units == "metal" else "1"
        rest = -scale * still.equilibrium.energy / float(crystal.volume)
        body = Body(macro.mesh, LENGTH, grips.block, grips.axis, self.strain)
        axes = {} if still.orientation is None else {"axes": still.orientation.words}

        def summary(loads, columns) -> Summary:
            found = pulled_of(body, np.asarray(macro.positions()), loads, columns, unit)
            return Summary(axes | found.content, found.lines)

        return Loading(
            bundle=fx.Bundle(macro, crystal),
            driver=driver,
            macro0=macro.start(),
            dt=self.step / self.strain,
            names=Names(
                quantities={
                    "macro.position": Quantity("u", LENGTH, "displacement"),
                    "macro.velocity": Quantity("velocity", "1", "velocity, zero at rest"),
                    "response": Quantity("P", unit, "first Piola-Kirchhoff stress"),
                    "energy": Quantity("W", unit, "energy per reference volume, above rest"),
                    "stability_margin": Quantity("stability_margin", "1", "margin of stability, relative"),
                    "state": Quantity("shifts", length, "shifts of the atoms, reference frame"),
                    "internal": Quantity("internal", stiffness_unit(crystal), "smallest eigenvalue of W_pp"),
                    "result": Quantity("result", "1", "result of the fibers"),
                },
                length_unit=LENGTH,
                axis=Quantity("load", "1", f"part of the final strain {self.strain:g}"),
                factors={"response": scale, "energy": scale},
                offsets={"energy": rest},
            ),
            output=Output(body=body),
            summary=summary,
        )

    def figures(self, results: Results) -> list[Figure]:
        """The body under load, and the force on its grips."""
        body, *others = super().figures(results)
        pulled = results.body is not None and results.body.block is not None
        if "axes" in results.summary:
            body = titled(body, results.summary["axes"])
        return [body, *([curve_figure(results)] if pulled else []), *others]

    def _grips(self, d: int) -> Grips:
        """The mesh and how it is held: of a block that is made here, or of a file."""
        clamped = self.hold is Hold.CLAMPED
        if self.mesh is not None:
            mesh = mesh_from(self.mesh, d, self.order, "the crystal", "--material or --potential")
            axis = list(Axis).index(self.along)
            return grips_of(mesh, self.held_sides, self.pulled_sides, self.mirror_sides, axis, clamped)
        block = self.width * self.height * (self.depth if d == 3 else 1.0)
        fixed = {"left": list(range(d)), "right": list(range(1, d))} if clamped else {"left": [0]}
        if d == 3:
            fixed |= {name: [2] for name in (("front", "back") if self.faces is Faces.HELD else ("front",))}
        return Grips(self._block(d), fixed, ["right"], 0, self.width, block)

    def _block(self, d: int):
        from fiberax.grids.generators import holed, notched

        sizes, order = (self.width, self.height, self.depth)[:d], self.order or 1
        if self.shape is Shape.HOLE:
            if 2 * self.radius >= min(self.width, self.height):
                raise BadInput(f"--radius = {self.radius:g} nm: the hole must be smaller than the block.")
            return holed(sizes, self.radius, (self.cells, self.cells, self.through)[:d], order=order, grading=1.5)
        if self.radius >= self.height or 3 * self.radius > self.width:
            raise BadInput(
                f"--radius = {self.radius:g} nm: a notch that deep and three times as wide does not fit into the block."
            )
        counts = (4 * self.cells, 2 * self.cells, self.through)[:d]
        upper = (self.width / 2, self.height / 2, self.depth)[:d]
        lower = (-self.width / 2, -self.height / 2, 0.0)[:d]
        return notched(lower, upper, counts, self.radius, 3 * self.radius, order=order)

"""A crystal at rest, its elastic constants, and how it answers to a growing deformation or load (3.1)-(3.6)."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from fiberax.cases.base import Figure, Results, Summary, Table, listed
from fiberax.cases.options import ABSENT, MOST_RECORDS, option, other_than, when
from fiberax.cases.solids.atoms import AtRest, CrystalOptions, factor, stiffness_unit
from fiberax.cases.solids.figures import path_figure
from fiberax.cases.solids.paths import (
    OF_STRESS,
    Course,
    StrainPath,
    StressPath,
    axis_words,
    direction_of,
    strain_path,
    stress_path,
    stretch_of,
)
from fiberax.cases.solids.report import at_rest_of, course_of
from fiberax.core.errors import BadInput
from fiberax.io.labels import Names
from fiberax.io.results import Quantity

STRAINS = (-0.1, 0.7)  # default ends of a path
_SQUEEZED = 0.2  # default end of a pressure, over the bulk modulus


@listed(
    "crystal",
    "elastic constants of a crystal, and W and P along a deformation up to its limit of stability",
    extras="atoms for --atoms",
)
@dataclass(frozen=True)
class CrystalCase(CrystalOptions):
    """Elastic constants of a crystal, and W and P along a path of deformation up to its limit of stability.

    The cell is brought to rest first. Then come energy W, first Piola-Kirchhoff stress P, Cauchy stress and relaxed moduli
    dP/dA along a path, with the smallest eigenvalue of W_pp (shifts between atoms) and of the acoustic tensor over all
    directions. Either the deformation is given, F = I + s D, s from the lowest to the highest amplitude: uniaxial, shear,
    volumetric, or D of your own. Or one stress is driven and all others vanish: uniaxial-stress (A_xx = s), shear-stress
    (A_xy = s), pressure (s is the pressure); of biaxial-stress (A_xx = A_yy = s, A_xy = 0) those across z. x, y, z are
    those of the crystal, or as --axis and --lateral say.
    """

    path: Course = option(
        Course.UNIAXIAL, help="strain with its sides held, or stress with its sides free", applies=when(direction=ABSENT)
    )
    direction: str | None = option(None, help="D of your own, its rows one after another: 1,0,0,0,-0.3,0,0,0,-0.3")
    low: float | None = option(None, help="lowest amplitude s; default -0.1, of a pressure 0")
    high: float | None = option(
        None,
        help="highest amplitude s; default 0.7, of a pressure a fifth of the bulk modulus",
        applies=when(rows=other_than(1)),
    )
    rows: int = option(41, help="amplitudes from the lowest to the highest", low=1, high=MOST_RECORDS)
    batch: int = option(64, help="rows computed at once", low=1)

    def build(self) -> Table:
        """The rows to compute. Raises `BadInput` for a potential or a path that cannot be used."""
        import fiberax as fx
        from fiberax.physics.solids.crystal.reference import undivided
        from fiberax.physics.solids.crystal.under_stress import cauchy_stress

        chosen = self.choice
        plain = chosen.found()
        # Lists of neighbours that reach along the whole path, from the start on: programs are compiled once.
        strains = self._strains(len(plain.crystal.lattice))
        rest = chosen.at_rest(plain._replace(crystal=_reaching(plain.crystal, self._stretch(strains))))
        # A path has some ten states: what takes long is compilation.
        rest = rest._replace(turned=undivided(rest.turned))
        crystal = rest.turned
        course = self._course(rest) if strains is None else strains
        scale, unit = factor(crystal)
        found = rest.equilibrium

        def eigenvalues(state, condition) -> dict[str, np.ndarray]:
            looked = fx.solids.stability(crystal, condition, state)
            inner = {"internal": np.asarray(looked.internal)} if state.size else {}
            return inner | {"acoustic": np.asarray(looked.acoustic)}

        def derived(values, arrays) -> dict[str, np.ndarray]:
            A = course.gradients(values)
            given = isinstance(course, StressPath)
            return {"cauchy": cauchy_stress(A, arrays["response"])} | ({"gradient": A} if given else {})

        def summary(values, arrays) -> Summary:
            content, lines = at_rest_of(rest, chosen.label, scale, unit)
            more = course_of(crystal, course, (values, arrays), (self.path, self.direction), unit)
            return Summary(content | more.content, tuple(lines) + more.lines, more.marks)

        names = Names(
            quantities={
                "response": Quantity("P", unit, "first Piola-Kirchhoff stress", ("i", "J")),
                "tangent": Quantity("C", unit, "relaxed moduli dP/dA", ("i", "J", "k", "L")),
                "energy": Quantity("W", unit, "energy per reference volume, above rest"),
                "cauchy": Quantity("sigma", unit, "Cauchy stress"),
                "gradient": Quantity("A", "1", "displacement gradient", ("i", "J")),
                "internal": Quantity("internal", stiffness_unit(crystal), "smallest eigenvalue of W_pp"),
                "acoustic": Quantity("acoustic", unit, "smallest acoustic eigenvalue"),
                "result": Quantity("result", "1", "result of the relaxation"),
            },
            axis=self._axis(unit, rest),
            factors=dict.fromkeys(("response", "tangent", "energy", "acoustic", "cauchy"), scale),
            offsets={"energy": -scale * found.energy / float(found.crystal.volume)},
        )
        return Table(
            crystal,
            course.gradients(course.values),
            values=course.values,
            batch=self.batch,
            names=names,
            further=eigenvalues,
            derived=derived,
            summary=summary,
        )

    def figures(self, results: Results) -> list[Figure]:
        """Energy, stresses and margins of stability along the path."""
        return [path_figure(results, ("internal", "acoustic"))]

    def _values(self, low: float, high: float) -> np.ndarray:
        low, high = low if self.low is None else self.low, high if self.high is None else self.high
        if self.rows > 1 and not high > low:
            raise BadInput(f"--high = {high:g} is not above --low = {low:g}.")
        # A row at rest is at 0, not at 1e-17.
        return np.round(np.linspace(low, high, self.rows), 14) + 0.0

    def _strains(self, d: int) -> StrainPath | None:
        """The path, where deformations are given; None for stresses."""
        if self.direction is None and self.path in OF_STRESS:
            return None
        return strain_path(direction_of(self.path, self.direction, d), self._values(*STRAINS))

    def _stretch(self, strains: StrainPath | None) -> float:
        if strains is not None:
            return strains.stretch
        return stretch_of(self.path, np.zeros(1) if self.path is Course.PRESSURE else self._values(*STRAINS))

    def _course(self, rest: AtRest) -> StressPath:
        """States under stress, found one from the next."""
        scale, _ = factor(rest.turned)
        bulk = scale * rest.equilibrium.constants.bulk.hill
        ends = (0.0, float(f"{_SQUEEZED * bulk:.2g}")) if self.path is Course.PRESSURE else STRAINS
        return stress_path(rest.turned, self.path, self._values(*ends), scale, bulk)

    def _axis(self, unit: str, rest: AtRest) -> Quantity:
        """Name and words of the amplitude."""
        words = axis_words(self.path, self.direction)
        if self.direction is not None:
            return Quantity("amplitude", "1", words)
        if self.path is Course.PRESSURE:
            return Quantity("pressure", unit, words)
        along = f", {rest.orientation.words}" if rest.orientation is not None and self.path is not Course.VOLUMETRIC else ""
        return Quantity("shear" if self.path in (Course.SHEAR, Course.SHEAR_STRESS) else "strain", "1", words + along)


def _reaching(crystal: Any, stretch: float):
    """The crystal with lists of neighbours down to that stretch, also beyond the limit of stability."""
    import fiberax as fx

    if isinstance(crystal, fx.solids.Layer):
        return fx.solids.Layer(_reaching(crystal.inner, stretch), crystal.thickness)
    return fx.solids.Crystal(
        crystal.lattice, crystal.basis, crystal.species, crystal.potential, stretch=stretch, allow_unstable=True
    )

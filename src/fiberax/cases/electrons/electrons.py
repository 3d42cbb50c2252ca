"""A crystal whose stress comes from its electrons, orbital-free or in orbitals, along a deformation (3.8)-(3.22)."""

import dataclasses
import enum
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fiberax.cases.base import Case, Figure, Results, Summary, Table, listed
from fiberax.cases.electrons.figures import Plane, bands_figure, density_figure, path_figure
from fiberax.cases.electrons.units import BOHR, GPA, HARTREE
from fiberax.cases.options import ABSENT, MOST_RECORDS, option, other_than, when
from fiberax.cases.solids.atoms import Structure, cell
from fiberax.cases.solids.paths import Path_, axis_words, direction_of
from fiberax.core.errors import BadInput
from fiberax.io.labels import Names, Output
from fiberax.io.results import Quantity

_STEP = 1e-3  # of the strains whose stresses make the elastic constants
# In which the density is drawn: through the atoms of a cubic crystal.
_PLANE = Plane((1, 1, 0), (0, 0, 1), low=-0.25, high=1.25, points=61)
_ENERGY = Quantity("W", "GPa", "energy per reference volume")
_STRESS = Quantity("P", "GPa", "first Piola-Kirchhoff stress", ("i", "J"))


class Crystal_(enum.Enum):
    """Crystals by name."""

    SILICON = "silicon"
    ALUMINIUM = "aluminium"
    SODIUM = "sodium"


class Model(enum.Enum):
    """Kohn-Sham orbitals, or the density of Thomas, Fermi and von Weizsäcker."""

    KS = "ks"
    TFW = "tfw"


class Basis(enum.Enum):
    """Which plane waves a deformed cell has."""

    FIXED = "fixed"
    CUTOFF = "cutoff"


class Known(NamedTuple):
    """A crystal: structure, symbol of the pseudopotential, defaults of the Kohn-Sham model, and of the orbital-free one.

    `fine`: points k along each axis, shifted by half a step, and kT for elastic constants of metals. They are within 5 % of
    those of more points. With `points` and `width`, which serve for energies and stresses, a shear modulus may have the wrong
    sign.
    """

    structure: Structure
    symbol: str
    constant: float  # bohr, near rest at the cutoff and points below
    cutoff: float
    points: int
    width: float | None
    fine: tuple[int, float] | None
    gaussian: tuple[float, float, float] | None  # charge, exponent and lattice constant of an ion


# Ions of the orbital-free model are Gaussian charges; their width gives equilibrium at the measured lattice constant.
KNOWN = {
    Crystal_.SILICON: Known(Structure.DIAMOND, "Si", 10.23, 15.0, 3, None, None, None),
    Crystal_.ALUMINIUM: Known(Structure.FCC, "Al", 7.54, 12.0, 4, 0.01, (8, 0.02), (3.0, 0.4754907726, 7.653)),
    Crystal_.SODIUM: Known(Structure.BCC, "Na-q1", 7.67, 8.0, 4, 0.01, (8, 0.02), (1.0, 0.1668225136, 8.107)),
}
# Corners of the Brillouin zones in the order of a path, in fractions of the reciprocal lattice vectors of `cell`.
_FCC = (
    ("L", (0.5, 0.5, 0.5)), ("Γ", (0.0, 0.0, 0.0)), ("X", (0.5, 0.0, 0.5)), ("W", (0.5, 0.25, 0.75)), ("L", (0.5, 0.5, 0.5))
)  # fmt: skip
_BCC = (
    ("N", (0.0, 0.0, 0.5)), ("Γ", (0.0, 0.0, 0.0)), ("H", (0.5, -0.5, 0.5)), ("P", (0.25, 0.25, 0.25)), ("Γ", (0.0, 0.0, 0.0))
)  # fmt: skip
CORNERS = {Structure.DIAMOND: _FCC, Structure.FCC: _FCC, Structure.BCC: _BCC}


ORBITALS = when(model=Model.KS)


@listed("electrons", "energy, stress, elastic constants and bands of a crystal from its electrons, along a deformation")
@dataclass(frozen=True)
class Electrons(Case):
    """Energy, stress and elastic constants of a crystal from its electrons, along a path of deformation.

    At F = I + s D, s from the lowest to the highest amplitude, the electrons are brought to their ground state: orbitals in
    plane waves (ks: local density approximation, separable pseudopotentials), or the density alone (tfw). Elastic constants
    dP/dA come from stresses at small strains about s = 0, those of metals with many points k; atoms within the cell relax.
    Lengths in bohr, stresses in GPa.
    """

    crystal: Crystal_ = option(Crystal_.SILICON, help="crystal")
    model: Model = option(Model.KS, help="orbitals (ks), or without them (tfw; not for silicon)")
    lattice_constant: float | None = option(None, help="default near rest", unit=BOHR, above=0)
    rest: bool = option(False, help="begin from the lattice constant without pressure, found from the one given")
    cutoff: float | None = option(
        None, help="of plane waves, default by the crystal", unit=HARTREE, low=0.5, high=200, applies=ORBITALS
    )
    pseudopotential: str | None = option(
        None, help="file of the pseudopotential, UPF or CP2K's GTH, in place of the one by symbol", applies=ORBITALS
    )
    points: int | None = option(None, help="points k along each axis, default by the crystal", low=1, high=16, applies=ORBITALS)
    width: float | None = option(None, help="kT of the electrons of metals", unit=HARTREE, low=1e-4, high=0.2, applies=ORBITALS)
    basis: Basis = option(
        Basis.FIXED, help="plane waves of the undeformed cell, or of each cell up to the cutoff", applies=ORBITALS
    )
    grid: int = option(
        24, help="points of the orbital-free density along each axis", low=6, high=128, applies=when(model=Model.TFW)
    )
    relax: bool = option(
        True, help="bring the atoms within the cell to rest", applies=ORBITALS & when(crystal=Crystal_.SILICON)
    )
    path: Path_ = option(Path_.UNIAXIAL, help="D = e_x e_x, e_x e_y or the unit matrix", applies=when(direction=ABSENT))
    direction: str | None = option(None, help="D of your own, its rows one after another: 1,0,0,0,-0.3,0,0,0,-0.3")
    low: float = option(-0.04, help="lowest amplitude s")
    high: float = option(0.04, help="highest amplitude s", applies=when(rows=other_than(1)))
    rows: int = option(9, help="amplitudes from the lowest to the highest", low=1, high=MOST_RECORDS)
    moduli: bool = option(False, help="elastic constants at every amplitude, not only at s = 0")
    tolerance: float = option(1e-7, help="residual of the electrons (ks: hartree)", above=0, high=1e-3)
    batch: int = option(1, help="rows computed at once", low=1)

    def build(self) -> Table:
        """The rows to compute. Raises `BadInput` for options that do not fit together."""
        if self.rows > 1 and not self.high > self.low:
            raise BadInput(f"--high = {self.high:g} is not above --low = {self.low:g}.")
        direction = direction_of(self.path, self.direction, 3)
        values = np.linspace(self.low, self.high, self.rows)
        for s, det in zip(values, np.linalg.det(np.eye(3) + values[:, None, None] * direction), strict=True):
            if not det > 0.0:
                raise BadInput(
                    f"At the amplitude {s:g} the crystal collapses: det(I + s D) = {det:.3g}. Change --low or --high."
                )
        fiber, constant = self.fiber()
        if self.rest:
            constant *= self._scale_at_rest(fiber)
            fiber, _ = dataclasses.replace(self, lattice_constant=constant).fiber()
        nearest = int(np.argmin(np.abs(values)))
        middle = values[nearest] * direction
        shown = tuple(sorted({0, nearest, len(values) - 1}))
        name = "strain" if self.direction is None and self.path is not Path_.SHEAR else "shear"
        quantities = {
            "response": _STRESS,
            "energy": _ENERGY,
            "tangent": Quantity("C", _STRESS.unit, "moduli dP/dA", ("i", "J", "k", "L")),
            "electrons.chemical_potential": Quantity("mu", HARTREE, "chemical potential"),
            "result": Quantity("result", "1", "result of the electrons"),
        }
        axis = Quantity("amplitude" if self.direction else name, "1", axis_words(self.path, self.direction))
        return Table(
            fiber,
            values[:, None, None] * direction,
            values=values,
            tangent=self.moduli,
            tolerance=self.tolerance,
            batch=self.batch,
            names=Names(quantities, axis=axis, factors={"response": GPA, "energy": GPA, "tangent": GPA}),
            output=Output(microstate=lambda state, A: self._picture(fiber, constant, state, A, bool(np.all(middle == A)))),
            further=lambda state, A: self._columns(fiber, state, A),
            summary=lambda values, arrays: self._summary(fiber, constant, values, arrays),
            shown=shown,
        )

    def figures(self, results: Results) -> list[Figure]:
        """Energy and stress along the path, the density in a plane, and bands where there are some."""
        return [path_figure(results), *density_figure(results, _PLANE), *bands_figure(results)]

    def fiber(self, moduli: bool = False) -> tuple[Any, float]:
        """The fiber and its lattice constant (bohr), that of elastic constants if asked for. Raises `BadInput` for misfits."""
        import fiberax as fx

        known = KNOWN[self.crystal]
        if self.model is Model.KS:
            constant = self.lattice_constant or known.constant
            lattice, basis = cell(known.structure, constant)
            if self.width is not None and known.width is None:
                raise BadInput(f"--width = {self.width:g} is for metals; {self.crystal.value} has a gap.")
            width, points, shift = self.width or known.width, self.points or known.points, 0.0
            if (moduli or self.moduli) and known.fine and self.points is None and self.width is None:
                (points, width), shift = known.fine, 0.5
            return fx.solids.KohnSham(
                lattice,
                [(known.symbol, place) for place in basis],
                pseudopotentials=self.pseudopotential or "gth-lda",
                cutoff=self.cutoff or known.cutoff,
                kgrid=points,
                shift=(shift,) * 3,
                smearing=None if width is None else ("fermi", width),
                basis=self.basis.value,
                relax_positions=self.relax and len(basis) > 1,
            ), constant
        if known.gaussian is None:
            raise BadInput(
                f"--model tfw: bonds of {self.crystal.value} need orbitals. Take --model ks, or aluminium or sodium."
            )
        charge, alpha, measured = known.gaussian
        constant = self.lattice_constant or measured
        lattice, _ = cell(known.structure, constant)
        ion = fx.solids.ions.Gaussian(charge, alpha)
        return fx.solids.ThomasFermi(lattice, ion, charge, grid=(self.grid,) * 3, xc="lda_pw"), constant

    def _scale_at_rest(self, fiber) -> float:
        """Factor of the lattice at which the pressure is zero, by the secant method. Raises `BadInput`."""
        scales, pressures = [1.0, 0.99], []
        for step in range(12):
            if step >= 2:
                (s0, s1), (p0, p1) = scales[-2:], pressures[-2:]
                scales.append(s1 - np.clip(p1 * (s1 - s0) / (p1 - p0), -0.05, 0.05))
            pressures.append(np.trace(_stresses(fiber, [(scales[step] - 1.0) * np.eye(3)], self.tolerance, 1)[0]))
            if abs(pressures[-1]) * GPA < 1e-3 and step:
                return scales[step]
        raise BadInput(
            f"--rest: no lattice constant near {self.fiber()[1]:g} bohr is without pressure. Change --lattice-constant."
        )

    def _columns(self, fiber, state, A) -> dict[str, np.ndarray]:
        import fiberax as fx

        return {"electrons.chemical_potential": np.asarray(fx.solids.chemical_potential(fiber, A, state))}

    def _picture(self, fiber, constant: float, state, A, bands: bool) -> dict[str, np.ndarray]:
        """The density in a plane through the atoms; `bands` of orbitals along a path."""
        from scipy.ndimage import map_coordinates

        import fiberax as fx

        density = np.asarray(fx.solids.density(fiber, state, A))
        lattice = np.asarray(fiber.lattice)
        plane = _PLANE.places(constant) @ np.linalg.inv(lattice)
        places = np.moveaxis(plane * density.shape, -1, 0)
        found = {"density": map_coordinates(density, places, order=3, mode="grid-wrap")}
        if bands and self.model is Model.KS:
            found["bands"] = np.asarray(fx.solids.bands(fiber, A, path_of(self.crystal)[0], state=state))
        return found

    def _summary(self, fiber, constant: float, values, arrays) -> Summary:
        fine, _ = dataclasses.replace(self, lattice_constant=constant).fiber(moduli=True)
        C = _elastic(fine, self.tolerance, self.batch) * GPA
        nearest = int(np.argmin(np.abs(values)))
        words = f"{self.crystal.value}, {self.model.value}, lattice constant {constant:.5g} bohr"
        per_cell = float(arrays["energy"][nearest]) / GPA * float(fiber.volume)
        pressure = -np.trace(arrays["response"][nearest]) / 3.0
        lines = [
            f"{words}: {per_cell:.8f} hartree per cell at s = {values[nearest]:g}, pressure {pressure:.3g} GPa",
            f"C11 = {C[0, 0]:.4g}, C12 = {C[0, 1]:.4g}, C44 = {C[3, 3]:.4g} GPa at s = 0{self._with_what(fine)}",
        ]
        content = {
            "crystal": words,
            "energy per cell (hartree)": per_cell,
            "elastic constants (GPa)": C.tolist(),
            "order": "xx, yy, zz, yz, xz, xy",
            "abinit": self._published(),
        }
        if self.model is Model.KS:
            content["corners"] = path_of(self.crystal)[1]
        return Summary(content, tuple(lines))

    def _with_what(self, fiber) -> str:
        """Points and width of the elastic constants of a metal, in words."""
        if self.model is not Model.KS or fiber.smearing is None:
            return ""
        return f", with {fiber.kgrid[0]}³ points k and kT = {fiber.smearing.width:g} hartree"

    def _published(self) -> list[list[float]]:
        """Strains and stresses P_xx, P_yy (GPa) of ABINIT for the same options, where there are some."""
        import csv
        from importlib.resources import files

        usual = Electrons(crystal=self.crystal)
        free = {"low": usual.low, "high": usual.high, "rows": usual.rows, "moduli": usual.moduli, "basis": usual.basis}
        free |= {"tolerance": usual.tolerance, "batch": usual.batch, "relax": usual.relax}
        if dataclasses.replace(self, **free) != usual:
            return []
        text = files("fiberax.cases.electrons").joinpath("data/abinit.csv").read_text()
        rows = csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))
        return [[float(r[k]) for k in ("strain", "Pxx", "Pyy")] for r in rows if r["crystal"] == self.crystal.value]


def path_of(crystal: Crystal_) -> tuple[np.ndarray, list[tuple[int, str]]]:
    """Points along the usual path through the Brillouin zone, and where on it the corners are."""
    corners = CORNERS[KNOWN[crystal].structure]
    points, marks = [np.asarray(corners[0][1])], [(0, corners[0][0])]
    for name, corner in corners[1:]:
        begin, end = points[-1], np.asarray(corner)
        count = max(2, round(20 * np.linalg.norm(end - begin)))
        points += [begin + (end - begin) * (n + 1) / count for n in range(count)]
        marks.append((len(points) - 1, name))
    return np.array(points), marks


def _stresses(fiber, gradients: Any, tolerance: float, batch: int) -> np.ndarray:
    """P (n, 3, 3) in hartree/bohr³, `batch` at a time. Raises `BadInput` where electrons find no equilibrium."""
    import fiberax as fx

    found = []
    for begin in range(0, len(gradients), batch):
        rows = np.asarray(gradients[begin : begin + batch])
        padded = np.concatenate([rows, np.repeat(rows[-1:], batch - len(rows), axis=0)])
        answer = fx.responses(fiber, padded, tolerance=tolerance)
        if np.any(answer.result != 0):
            raise BadInput(
                f"The electrons find no equilibrium at A = {rows[0].tolist()}. Change --cutoff or --lattice-constant."
            )
        found.append(np.asarray(answer.value)[: len(rows)])
    return np.concatenate(found)


def _elastic(fiber, tolerance: float, batch: int) -> np.ndarray:
    """Elastic constants dP/dA of a cubic crystal at A = 0 (6, 6), hartree/bohr³, by central differences along xx and yz."""
    strains = []
    for i, j in ((0, 0), (1, 2)):
        strain = np.zeros((3, 3))
        strain[i, j] += 0.5 * _STEP
        strain[j, i] += 0.5 * _STEP
        strains += [strain, -strain]
    P = _stresses(fiber, strains, min(tolerance, 1e-7), batch)
    stretch, shear = (P[0::2] - P[1::2]) / (2.0 * _STEP)
    C = np.zeros((6, 6))
    C[:3, :3] = 0.5 * (stretch[1, 1] + stretch[2, 2])
    C[[0, 1, 2], [0, 1, 2]] = stretch[0, 0]
    C[[3, 4, 5], [3, 4, 5]] = 0.5 * (shear[1, 2] + shear[2, 1])
    return C

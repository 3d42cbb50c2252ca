"""A crystal at rest, its elastic constants, and how it answers to a growing deformation (3.1)-(3.6)."""

import enum
from dataclasses import dataclass
from typing import Any

import numpy as np

from fiberax.cases.base import Figure, Results, Summary, Table, listed
from fiberax.cases.options import ABSENT, option, other_than, when
from fiberax.cases.solids.atoms import CrystalOptions, Structure, factor, stiffness_unit
from fiberax.cases.solids.figures import path_figure
from fiberax.core.errors import BadInput
from fiberax.io.labels import Names
from fiberax.io.results import Quantity

NARROW = 0.4  # smallest stretch along a path: below it neighbour lists grow out of proportion


class Path_(enum.Enum):
    """Families of deformations."""

    UNIAXIAL = "uniaxial"
    SHEAR = "shear"
    VOLUMETRIC = "volumetric"


@listed("crystal", "elastic constants of a crystal, and W and P along a deformation up to its limit of stability")
@dataclass(frozen=True)
class CrystalCase(CrystalOptions):
    """Elastic constants of a crystal, and W and P along a path of deformation up to its limit of stability.

    The lattice is brought to rest first. Then come energy W, first Piola-Kirchhoff stress P and relaxed moduli dP/dA for
    F = I + s D, s from the lowest to the highest amplitude, with the smallest eigenvalue of W_pp (shifts between atoms) and
    of the acoustic tensor over all directions.
    """

    path: Path_ = option(Path_.UNIAXIAL, help="D = e_x e_x, e_x e_y or the unit matrix", applies=when(direction=ABSENT))
    direction: str | None = option(None, help="D of your own, its rows one after another: 1,0,0,0,-0.3,0,0,0,-0.3")
    low: float = option(-0.1, help="lowest amplitude s")
    high: float = option(0.7, help="highest amplitude s", applies=when(rows=other_than(1)))
    rows: int = option(51, help="amplitudes from the lowest to the highest", low=1)
    full: bool = option(False, help="relax the shape of the cell too, not only its volume (hcp and the like)")
    batch: int = option(64, help="rows computed at once", low=1)

    def build(self) -> Table:
        """The rows to compute. Raises `BadInput` for a potential or a path that cannot be used."""
        import fiberax as fx

        if self.rows > 1 and not self.high > self.low:
            raise BadInput(f"--high = {self.high:g} is not above --low = {self.low:g}.")
        chosen = self.choice
        plain, constant = chosen.crystal()
        direction = direction_of(self.path, self.direction, plain.lattice.shape[0])
        values = np.linspace(self.low, self.high, self.rows)
        stretch = _narrowest(direction, values)
        found = fx.solids.equilibrium(plain, full=self.full or self.structure is Structure.HCP)
        at_rest = found.crystal
        crystal = fx.solids.Crystal(
            at_rest.lattice, at_rest.basis, at_rest.species, at_rest.potential, stretch=stretch, allow_unstable=True
        )
        scale, unit = factor(crystal)

        def eigenvalues(condition, state) -> dict[str, np.ndarray]:
            looked = fx.solids.stability(crystal, condition, state)
            inner = {"internal": np.asarray(looked.internal)} if state.size else {}
            return inner | {"acoustic": np.asarray(looked.acoustic)}

        def summary(values, arrays) -> Summary:
            words = f"{chosen.label} at rest: lattice constant {constant * found.scale:.6g}"
            return _summary(found, words, crystal, direction, (values, arrays), (scale, unit))

        name = "strain" if self.direction is None and self.path is not Path_.SHEAR else "shear"
        names = Names(
            quantities={
                "response": Quantity("P", unit, "first Piola-Kirchhoff stress"),
                "tangent": Quantity("C", unit, "relaxed moduli dP/dA"),
                "energy": Quantity("W", unit, "energy per reference volume, above rest"),
                "internal": Quantity("internal", stiffness_unit(crystal), "smallest eigenvalue of W_pp"),
                "acoustic": Quantity("acoustic", unit, "smallest acoustic eigenvalue"),
                "result": Quantity("result", "1", "result of the relaxation"),
            },
            axis=Quantity("amplitude" if self.direction else name, "1", axis_words(self.path, self.direction)),
            factors={"response": scale, "tangent": scale, "energy": scale, "acoustic": scale},
            offsets={"energy": -scale * found.energy / float(crystal.volume)},
        )
        conditions = values[:, None, None] * direction
        return Table(crystal, conditions, values=values, batch=self.batch, names=names, further=eigenvalues, summary=summary)

    def figures(self, results: Results) -> list[Figure]:
        """Energy, stress and margins of stability along the path."""
        return [path_figure(results, ("internal", "acoustic"))]


def axis_words(path: Path_, own: str | None) -> str:
    """What the amplitude means."""
    if own is not None:
        return "amplitude s, F = I + s D"
    return {"uniaxial": "uniaxial strain", "shear": "simple shear", "volumetric": "strain in every direction"}[path.value]


def direction_of(path: Path_, own: str | None, d: int) -> np.ndarray:
    """D of F = I + s D, (d, d). Raises `BadInput` for numbers that are none."""
    if own is None:
        unit = np.eye(d)
        return {Path_.UNIAXIAL: np.outer(unit[0], unit[0]), Path_.SHEAR: np.outer(unit[0], unit[1])}.get(path, unit)
    from fiberax.cases.formula import read_numbers

    numbers = read_numbers(own, "--direction")
    if len(numbers) != d * d or not any(numbers):
        raise BadInput(f"--direction = {own}: give {d * d} numbers, not all zero.")
    return np.reshape(numbers, (d, d))


def _narrowest(direction: np.ndarray, values: np.ndarray) -> float:
    """The smallest stretch that the neighbour lists must cover. Raises `BadInput` for a path that collapses the crystal."""
    gradients = np.eye(len(direction)) + values[:, None, None] * direction
    for s, det in zip(values, np.linalg.det(gradients), strict=True):
        if not det > 0.0:
            raise BadInput(f"At the amplitude {s:g} the crystal collapses: det(I + s D) = {det:.3g}. Change --low or --high.")
    stretches = np.linalg.svd(gradients, compute_uv=False)[:, -1]
    worst = int(np.argmin(stretches))
    if stretches[worst] < NARROW:
        raise BadInput(
            f"At the amplitude {values[worst]:g} the crystal is pressed to {stretches[worst]:.3g} of its length; "
            f"at least {NARROW:g} must be left. Change --low or --high."
        )
    return min(0.7, 0.97 * float(stretches[worst]))


def _summary(found, words: str, crystal, direction, results, units) -> Summary:
    """Elastic constants and the limits of stability, in words and as data."""
    scale, unit = units
    d = len(direction)
    atoms = len(crystal.species)
    content: dict[str, Any] = {
        "crystal": words,
        "species": list(crystal.species),
        "lattice": np.asarray(crystal.lattice).tolist(),
        "basis": np.asarray(crystal.basis).tolist(),
        "energy per atom": found.energy_per_atom,
        "unit of the elastic constants": unit,
        "elastic constants, relaxed": (scale * found.voigt).tolist(),
        "elastic constants, shifts fixed": (scale * found.voigt_unrelaxed).tolist(),
        "order": "xx, yy, xy" if d == 2 else "xx, yy, zz, yz, xz, xy",
    }
    energy = "eV" if unit == "GPa" else "eps"
    lines = [f"{words}, {found.energy_per_atom:.6g} {energy} per atom"]
    for name, matrix in (("relaxed", scale * found.voigt), ("shifts fixed", scale * found.voigt_unrelaxed)):
        if name == "relaxed" or atoms > 1:
            last = matrix[2, 2] if d == 2 else matrix[3, 3]
            shear = "C66" if d == 2 else "C44"
            lines.append(f"{name}: C11 = {matrix[0, 0]:.5g}, C12 = {matrix[0, 1]:.5g}, {shear} = {last:.5g} {unit}")
    content["limits"] = marks = _limits(crystal, direction, *results)
    lines += [mark["text"] for mark in marks] or ["stable all along the path"]
    return Summary(content, tuple(lines), tuple(mark["at"] for mark in marks))


def _limits(crystal, direction, values, arrays) -> list[dict[str, Any]]:
    """Where stability ends on either side of the amplitude nearest to rest, found by bisection."""
    margin = np.minimum(arrays["acoustic"], arrays.get("internal", np.inf))
    stable = (margin > 0.0) & (arrays["result"] == 0)
    begin = int(np.argmin(np.abs(values)))
    if not stable[begin]:
        text = f"the crystal is not stable at the amplitude {values[begin]:.4g}, the nearest to rest"
        return [{"at": float(values[begin]), "text": text}]
    found = []
    for side in (range(begin + 1, len(values)), range(begin - 1, -1, -1)):
        inside = values[begin]
        for k in side:
            if not stable[k]:
                found.append(_bisected(crystal, direction, float(inside), float(values[k])))
                break
            inside = values[k]
    return found


def _bisected(crystal, direction, inside: float, outside: float) -> dict[str, Any]:
    from fiberax.physics.solids.crystal.ellipticity import stability

    reason = "no relaxed state"
    while abs(outside - inside) > 1e-6 * max(1.0, abs(outside)):
        middle = 0.5 * (inside + outside)
        try:
            looked = stability(crystal, middle * direction)
            good, reason = looked.stable, looked.in_words() if not looked.stable else reason
        except BadInput as error:
            good, reason = False, str(error)
        inside, outside = (middle, outside) if good else (inside, middle)
    return {"at": outside, "text": f"limit of stability at s = {outside:.5f}: {reason}"}

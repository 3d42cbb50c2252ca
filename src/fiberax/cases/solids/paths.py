"""Paths of deformation of a crystal: F = I + s D, or loads under which all other stresses vanish."""

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fiberax.core.errors import BadInput, FiberaxError, NotConverged

if TYPE_CHECKING:
    from fiberax.physics.solids.crystal.crystal import Crystal
    from fiberax.physics.solids.crystal.under_stress import Loaded

NARROW = 0.4  # smallest stretch along a path: below it neighbour lists grow out of proportion
_LATERAL = 0.55  # that neighbour lists cover where lateral strains are not known before
_FURTHEST = 0.02  # strain from one state of a path to the next
_HALVINGS = 6


class Path_(enum.Enum):
    """Families of deformations."""

    UNIAXIAL = "uniaxial"
    SHEAR = "shear"
    VOLUMETRIC = "volumetric"


class Course(enum.Enum):
    """Those, and loads under which all other stresses vanish."""

    UNIAXIAL = "uniaxial"
    SHEAR = "shear"
    VOLUMETRIC = "volumetric"
    UNIAXIAL_STRESS = "uniaxial-stress"
    BIAXIAL_STRESS = "biaxial-stress"
    SHEAR_STRESS = "shear-stress"
    PRESSURE = "pressure"


OF_STRESS = (Course.UNIAXIAL_STRESS, Course.BIAXIAL_STRESS, Course.SHEAR_STRESS, Course.PRESSURE)

_WORDS = {
    Course.UNIAXIAL: "uniaxial strain",
    Course.SHEAR: "simple shear",
    Course.VOLUMETRIC: "strain in every direction",
    Course.UNIAXIAL_STRESS: "strain of a bar with free sides",
    Course.BIAXIAL_STRESS: "strain of a film with free faces",
    Course.SHEAR_STRESS: "shear under shear stress alone",
    Course.PRESSURE: "pressure",
}


def axis_words(path: Path_ | Course, own: str | None) -> str:
    """What the amplitude means."""
    return "amplitude s, F = I + s D" if own is not None else _WORDS[Course(path.value)]


def direction_of(path: Path_ | Course, own: str | None, d: int) -> np.ndarray:
    """D of F = I + s D, (d, d). Raises `BadInput` for numbers that are none."""
    if own is None:
        unit = np.eye(d)
        along = {Course.UNIAXIAL: np.outer(unit[0], unit[0]), Course.SHEAR: np.outer(unit[0], unit[1])}
        return along.get(Course(path.value), unit)
    from fiberax.cases.formula import read_numbers

    numbers = read_numbers(own, "--direction")
    if len(numbers) != d * d or not any(numbers):
        raise BadInput(f"--direction = {own}: give {d * d} numbers, not all zero.")
    return np.reshape(numbers, (d, d))


@dataclass(frozen=True)
class StrainPath:
    """F = I + s D."""

    direction: np.ndarray
    values: np.ndarray
    stretch: float
    ended: tuple[str, ...] = ()

    def at(self, s: float) -> np.ndarray:
        """A at an amplitude."""
        return s * self.direction

    def gradients(self, values: np.ndarray) -> np.ndarray:
        """A at amplitudes of the path (rows, d, d)."""
        return np.asarray(values)[:, None, None] * self.direction


@dataclass(frozen=True)
class StressPath:
    """Loads with all other stresses zero: states found one from the next, outward from rest.

    `values`: the amplitudes at which there is one. `ended`: why there are no others, in words.
    """

    load: "Load"
    values: np.ndarray
    states: dict[float, "Loaded"]
    ended: tuple[str, ...]

    def at(self, s: float) -> np.ndarray:
        """A at an amplitude within the path, from the nearest state that is known. Raises `NotConverged`."""
        near = min(self.states, key=lambda known: abs(known - s))
        state, there, fault = self.load.reach(s, near, self.states[near])
        if there != s:
            raise NotConverged(fault)
        return state.gradient

    def gradients(self, values: np.ndarray) -> np.ndarray:
        """A at amplitudes of the path (rows, d, d)."""
        return np.array([self.states[float(value)].gradient for value in values])


@dataclass(frozen=True)
class Load:
    """One kind of load on a crystal. `scale`: by what its stresses are multiplied for the unit of the amplitude."""

    crystal: "Crystal"
    path: Course
    scale: float
    size: float  # change of the amplitude that strains by one

    def solve(self, s: float, start: "Loaded") -> "Loaded":
        """The state at an amplitude, from one nearby. Raises `NotConverged`."""
        from fiberax.physics.solids.crystal.under_stress import under_stress

        d = len(self.crystal.lattice)
        if self.path is Course.PRESSURE:
            return under_stress(self.crystal, {}, -s / self.scale * np.eye(d), start)
        held = {
            Course.UNIAXIAL_STRESS: {(0, 0): s},
            Course.BIAXIAL_STRESS: {(0, 0): s, (1, 1): s, (0, 1): 0.0},
            Course.SHEAR_STRESS: {(0, 1): s},
        }[self.path]
        return under_stress(self.crystal, held, None, start)

    def reach(self, s: float, begin: float, start: "Loaded") -> tuple["Loaded", float, str]:
        """The state at s from that at `begin`, in steps that are halved where they fail.

        Or the last state on the way, its amplitude, and why there is no other.
        """
        step = _FURTHEST * self.size * np.sign(s - begin)
        here, state, halvings = begin, start, 0
        while here != s:
            there = s if abs(s - here) <= abs(step) else here + step
            try:
                state, here = self.solve(there, state), there
            except FiberaxError as error:
                halvings += 1
                if halvings > _HALVINGS:
                    return state, here, str(error)
                step *= 0.5
        return state, here, ""


def strain_path(direction: np.ndarray, values: np.ndarray) -> StrainPath:
    """Raises `BadInput` for a path that collapses the crystal."""
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
    return StrainPath(direction, values, min(0.7, 0.97 * float(stretches[worst])))


def stretch_of(path: Course, values: np.ndarray) -> float:
    """The smallest stretch that neighbour lists of a path under stress must cover. Raises `BadInput` for one beyond all."""
    if path is Course.PRESSURE:
        return _LATERAL
    if 1.0 + values.min() < NARROW and path is not Course.SHEAR_STRESS:
        raise BadInput(
            f"At the amplitude {values.min():g} the crystal is pressed to {1.0 + values.min():.3g} of its length; "
            f"at least {NARROW:g} must be left. Change --low or --high."
        )
    return min(_LATERAL, 0.97 * float(1.0 + values.min())) if path is not Course.SHEAR_STRESS else _LATERAL


def stress_path(crystal: Any, path: Course, values: np.ndarray, scale: float, bulk: float) -> StressPath:
    """The states at `values`, as far as there are any, of a crystal at rest. `bulk`: its modulus, in the unit of pressures."""
    from fiberax.physics.solids.crystal.under_stress import under_stress

    if path is Course.BIAXIAL_STRESS and len(crystal.lattice) == 2:
        raise BadInput("--path biaxial-stress is for crystals in space: a plane crystal has no free faces.")
    size = bulk if path is Course.PRESSURE else 1.0
    rest = under_stress(crystal, {})
    load = Load(crystal, path, scale, size)
    states, ended = {}, []
    outward = [values[values >= 0.0], values[values < 0.0][::-1]]
    for side in outward:
        here, state = 0.0, rest
        for s in side:
            state, here, fault = load.reach(float(s), here, state)
            if here != s:
                ended.append(f"the path ends at s = {here:.5g}: no state is found beyond ({fault.removesuffix('.')})")
                break
            states[float(s)] = state
    if not states:
        raise BadInput(f"--path {path.value}: {ended[0]}. Change --low, --high or --rows.")
    return StressPath(load, np.array(sorted(states)), states, tuple(ended))


def main_stress(path: Course, own: str | None, tensor: np.ndarray) -> np.ndarray | None:
    """The component of stresses (rows, d, d) that the path drives: along the axis, the shear, the mean; None for others."""
    if own is not None or path is Course.PRESSURE:
        return None
    if path in (Course.SHEAR, Course.SHEAR_STRESS):
        return tensor[:, 0, 1]
    return np.trace(tensor, axis1=1, axis2=2) / tensor.shape[-1] if path is Course.VOLUMETRIC else tensor[:, 0, 0]


def peaks(values: np.ndarray, stress: np.ndarray) -> list[tuple[float, float]]:
    """Amplitude and value of the largest tension and the largest compression within the path, by parabolas through three rows.

    From rest outward, the first on either side; none where the stress rises to the end.
    """
    found = []
    for sign in (1.0, -1.0):
        side = np.flatnonzero(sign * values >= 0.0)[:: int(sign)]
        height = sign * stress[side]
        for k in range(1, len(side) - 1):
            if not np.all(np.isfinite(height[k - 1 : k + 2])):
                break
            if height[k] > 0.0 and height[k - 1] <= height[k] > height[k + 1]:
                x, y = values[side[k - 1 : k + 2]], stress[side[k - 1 : k + 2]]
                curve = np.polynomial.Polynomial.fit(x, y, 2)
                (at,) = curve.deriv().roots()
                found.append((float(at), float(curve(at))))
                break
    return found

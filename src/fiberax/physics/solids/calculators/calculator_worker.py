"""Worker process of `calculator.py`: one crystal cell under an ASE calculator, evaluated and relaxed.

Nothing here imports jax, so that a spawned worker loads only numpy and ASE. With F = I + A, reference volume V0, Cauchy
stress σ and forces f (ASE's; cell rows are lattice vectors, so the deformed cell is cell0 Fᵀ), shifts s pulled back by F:
W = E/V0, ∂W/∂s_j = −Fᵀ f_j / V0, and P = ∂W/∂A at fixed s = J σ F⁻ᵀ, since pulled-back shifts move with the cell.
"""

import copy
import os
import threading
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

SUCCESS, MAX_STEPS, NONFINITE, STALLED, UNSTABLE = 0, 1, 2, 3, 5  # as fiberax.numerics.result.Result, whose module imports jax
MAX_ITERATIONS = 100
_DENSE = 24  # unknowns up to which the Hessian is differenced at the start of a relaxation
FREE = 1e-6  # of the largest curvature: noise of finite differences about a direction without stiffness
_LARGEST_MOVE = 0.2  # of one atom in one step, relative to the length per atom: the branch must not be left


@dataclass(frozen=True)
class Recipe:
    """How to make one cell: ASE `atoms` without calculator, and a calculator or a function without arguments that makes one.

    `step` is that of finite differences, relative to `length`, the edge of the reference volume per atom.
    """

    atoms: Any
    calculator: Any
    step: float
    allow_unstable: bool = False
    token: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def volume(self) -> float:
        """Reference volume of the cell."""
        return abs(float(np.linalg.det(self.atoms.cell.array)))

    @property
    def length(self) -> float:
        """Edge of the cube that is as large as the reference volume per atom."""
        return float(np.cbrt(self.volume / len(self.atoms)))


class Point(NamedTuple):
    """Energy density W, its gradients by shifts (n-1, 3) and displacement gradient P (3, 3), and why they are NaN, if so."""

    energy: float
    gradient: np.ndarray
    stress: np.ndarray
    error: str = ""


class Relaxed(NamedTuple):
    """Relaxed shifts, the evaluation there, result code, steps and the length of the last Newton step over the atoms' own."""

    shifts: np.ndarray
    point: Point
    result: int
    steps: int
    residual: float


class _Cell:
    """The atoms with a calculator of their own; one for each thread of each process."""

    def __init__(self, recipe: Recipe):
        self.recipe, self.atoms = recipe, recipe.atoms.copy()
        self.lattice, self.positions = recipe.atoms.cell.array.copy(), recipe.atoms.positions.copy()
        self.atoms.calc = _calculator(recipe)

    def evaluate(self, shifts, condition) -> Point:
        """W and its gradients; NaN, with the reason, where the calculator fails."""
        try:
            point = self._evaluate(np.asarray(shifts, float), np.asarray(condition, float))
            if not all(np.all(np.isfinite(x)) for x in point[:3]):
                raise FloatingPointError("energy, forces or stress are not finite")
            return point
        except Exception as error:  # an error of a calculator, of any type, is a failure of this fiber only
            shape = (len(self.atoms) - 1, 3)
            return Point(np.nan, np.full(shape, np.nan), np.full((3, 3), np.nan), f"{type(error).__name__}: {error}")

    def _evaluate(self, shifts, condition) -> Point:
        from ase.calculators.calculator import PropertyNotImplementedError

        deformation = np.eye(3) + condition
        jacobian = np.linalg.det(deformation)
        if not jacobian > 0.0:
            raise ValueError(f"det(I + A) = {jacobian:.3g} is not positive")
        reference = self.positions.copy()
        reference[1:] += shifts
        self.atoms.set_cell(self.lattice @ deformation.T)
        self.atoms.positions = reference @ deformation.T
        try:  # with smeared electrons the forces belong to the free energy
            energy = self.atoms.get_potential_energy(force_consistent=True)
        except PropertyNotImplementedError:
            energy = self.atoms.get_potential_energy()
        forces, stress = self.atoms.get_forces(), self.atoms.get_stress(voigt=False)
        volume = self.recipe.volume
        first_piola = jacobian * stress @ np.linalg.inv(deformation).T
        return Point(float(energy) / volume, -forces[1:] @ deformation / volume, first_piola)


def _calculator(recipe: Recipe):
    """A calculator for this thread only; one that works with files gets a folder of its own."""
    from ase.calculators.calculator import BaseCalculator, FileIOCalculator
    from ase.calculators.genericfileio import GenericFileIOCalculator

    made = recipe.calculator
    made = copy.deepcopy(made) if isinstance(made, BaseCalculator) or not callable(made) else made()
    if isinstance(made, FileIOCalculator | GenericFileIOCalculator):
        made.directory = Path(made.directory) / f"fiber-{os.getpid()}-{threading.get_ident()}"
    return made


_recipes: dict[str, Recipe] = {}
_cells = threading.local()


def prepare(recipe: Recipe) -> None:
    """Start of a worker: the recipe is sent once, and tasks refer to it."""
    _recipes[recipe.token] = recipe


def work(recipe: "Recipe | str", kind: str, tasks: list[tuple]) -> list:
    """`kind` "evaluate": a `Point` for each (shifts, A); "relax": a `Relaxed` for each (shifts, A, tolerance)."""
    recipe = _recipes[recipe] if isinstance(recipe, str) else recipe
    cells = _cells.__dict__
    if recipe.token not in cells:
        cells.clear()  # one calculator at a time: they may be large
        cells[recipe.token] = _Cell(recipe)
    cell = cells[recipe.token]
    return [cell.evaluate(*task) if kind == "evaluate" else relax(cell, *task) for task in tasks]


def relax(cell: _Cell, shifts, condition, tolerance: float) -> Relaxed:
    """Shifts of least energy near `shifts`: Newton with a differenced Hessian, kept up by BFGS (Nocedal, Wright 6.1).

    Ends with the first full step shorter than `tolerance` times the length per atom, which is still taken. Neither forces nor
    energies enter the criterion, so that their unit, their size in the undeformed crystal and a symmetric start do not matter.
    """
    x, length = np.array(shifts, float), cell.recipe.length
    here = cell.evaluate(x, condition)
    if here.error or x.size == 0:
        return Relaxed(x, here, NONFINITE if here.error else SUCCESS, 0, 0.0)
    hessian, fresh, best = _hessian(cell, x, condition, here), True, np.inf
    for steps in range(1, MAX_ITERATIONS + 1):
        step = _direction(hessian, here.gradient)
        largest = float(np.linalg.norm(step, axis=1).max()) / length
        residual = float(np.linalg.norm(step)) / length
        best = min(best, residual)
        last = residual <= tolerance
        moved = _search(cell, x, condition, here, step * min(1.0, _LARGEST_MOVE / max(largest, 1e-300)), last)
        if moved is not None:
            hessian, kept = _updated(hessian, moved[0] - x, moved[1].gradient - here.gradient)
            (x, here), fresh = moved, False
            if not kept and not last:
                hessian, fresh = _hessian(cell, x, condition, here), True
        if last:
            code = UNSTABLE if not cell.recipe.allow_unstable and _saddle(cell, x, condition, here, hessian) else SUCCESS
            return Relaxed(x, here, code, steps, residual)
        if moved is None and fresh:
            return Relaxed(x, here, STALLED, steps, best)
        if moved is None:
            hessian, fresh = _hessian(cell, x, condition, here), True
    return Relaxed(x, here, MAX_STEPS, MAX_ITERATIONS, best)


def _hessian(cell: _Cell, x, condition, here: Point) -> np.ndarray:
    """∂²W/∂s² by central differences of forces; for many atoms the curvature along the force, the same in all directions."""
    step = cell.recipe.step * cell.recipe.length
    if x.size > _DENSE:
        direction = here.gradient / max(np.linalg.norm(here.gradient), 1e-300)
        ahead, behind = (cell.evaluate(x + sign * step * direction, condition).gradient for sign in (1, -1))
        curvature = abs(np.vdot(direction, ahead - behind)) / (2 * step)
        return (curvature if curvature > 0 and np.isfinite(curvature) else 1.0) * np.eye(x.size)
    columns = []
    for unit in np.eye(x.size).reshape(-1, *x.shape):
        ahead, behind = (cell.evaluate(x + sign * step * unit, condition).gradient for sign in (1, -1))
        columns.append((ahead - behind).ravel() / (2 * step))
    matrix = np.array(columns)
    return 0.5 * (matrix + matrix.T) if np.all(np.isfinite(matrix)) else np.eye(x.size)


def _saddle(cell: _Cell, x, condition, here: Point, hessian) -> bool:
    """Whether W falls in some direction from its rest point; looked at for the sizes at which the Hessian is differenced."""
    if x.size > _DENSE or _positive(hessian):
        return False
    return not _positive(_hessian(cell, x, condition, here))


def _positive(hessian) -> bool:
    values = np.linalg.eigvalsh(hessian)
    return bool(values[0] > -FREE * np.abs(values).max())


def _direction(hessian, gradient) -> np.ndarray:
    """Newton step, downhill also where the Hessian is not positive; directions without stiffness are left out."""
    values, vectors = np.linalg.eigh(hessian)
    components = vectors.T @ gradient.ravel()
    stiff = np.abs(values) > 1e-10 * np.abs(values).max()
    return (-vectors @ np.where(stiff, components / np.where(stiff, np.abs(values), 1.0), 0.0)).reshape(gradient.shape)


def _search(cell: _Cell, x, condition, here: Point, step, last: bool):
    """The first of the step and its halves that lowers energy or forces; None if none does. The last step is not judged."""
    slope, scale = float(np.vdot(here.gradient, step)), 1.0
    for _ in range(12):
        trial = cell.evaluate(x + scale * step, condition)
        if not trial.error:
            lower = trial.energy <= here.energy + 1e-4 * scale * slope
            calmer = np.linalg.norm(trial.gradient) < np.linalg.norm(here.gradient) and abs(
                trial.energy - here.energy
            ) <= 1e-9 * max(abs(here.energy), abs(trial.energy))
            if last or lower or calmer:
                return x + scale * step, trial
        scale *= 0.5
    return None


def _updated(hessian, move, change) -> tuple[np.ndarray, bool]:
    """BFGS update; False where the curvature along the move is not positive, or lost in round-off, and it is left out."""
    s, y = move.ravel(), change.ravel()
    curvature, hs = s @ y, hessian @ s
    bent = s @ hs
    if not curvature > 1e-8 * np.linalg.norm(s) * np.linalg.norm(y) or not bent > 0.0:
        return hessian, False
    return hessian + np.outer(y, y) / curvature - np.outer(hs, hs) / bent, True

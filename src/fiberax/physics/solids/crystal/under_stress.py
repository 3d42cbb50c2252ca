"""A crystal under mixed control: some components of its deformation are held, stress is prescribed in the others.

F = I + A is an upper triangular matrix, so that the first axis keeps its direction and the plane of the first two its normal;
every deformation is of that form but for a rotation of the whole. To each component A_ij that is free (i ≤ j) belongs the
component σ_ij of the Cauchy stress σ = P Fᵀ / det F.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from fiberax.core.errors import BadInput, NotConverged
from fiberax.core.fiber import code_in_words
from fiberax.core.platform import SINGLE_LIMIT, need_double
from fiberax.numerics.result import Result
from fiberax.physics.solids.crystal.ellipticity import check_crystal
from fiberax.physics.solids.crystal.reference import INNER, is_foreign, look

_STEPS = 40
_LONGEST = 0.05  # longest step in strain


class Loaded(NamedTuple):
    """A crystal in equilibrium under a load.

    Attributes:
        gradient: A (d, d), upper triangular.
        shifts: The state, (n − 1, d).
        piola: First Piola-Kirchhoff stress P (d, d).
        cauchy: Cauchy stress σ (d, d).
    """

    gradient: np.ndarray
    shifts: np.ndarray
    piola: np.ndarray
    cauchy: np.ndarray


def under_stress(
    crystal: Any,
    held: Mapping[tuple[int, int], float],
    stress: ArrayLike | None = None,
    start: Loaded | None = None,
    tolerance: float | None = None,
) -> Loaded:
    """The deformation with some components held and the Cauchy stress given in all others, atoms relaxed.

    Uniaxial stress: `held={(0, 0): 0.05}`. Equal stretch in a plane, free across it: `{(0, 0): s, (1, 1): s, (0, 1): 0.0}`.
    Shear stress: `{(0, 1): s}`. Pressure p: `{}` with `stress=-p * np.eye(3)`.

    Args:
        crystal: A `Crystal`, `CalculatorCrystal` or `Layer`. Where shifts may be a saddle, made with `allow_unstable=True`.
        held: Components of A by their places (i, j), i ≤ j.
        stress: σ (d, d), symmetric, in the crystal's unit; its components where A is held do not count. Zero by default.
        start: The answer for a load nearby, where the search begins; else the undeformed crystal. Load in steps of a few
            percent.
        tolerance: Largest strain by which the answer may be off, by default 1e-10, and 1e-8 for ASE calculators.

    Returns:
        A `Loaded`.

    Raises:
        NotConverged: No such deformation is found near the start: the load is beyond what the crystal bears.
        BadInput: A fiber, places or a stress that do not fit, or double precision is off.
    """
    check_crystal("under_stress", crystal)
    foreign = is_foreign(crystal)
    tolerance = (1e-8 if foreign else 1e-10) if tolerance is None else tolerance
    need_double("fx.solids.under_stress", tolerance)
    inner = tolerance if foreign or tolerance >= SINGLE_LIMIT else INNER
    d = len(crystal.lattice)
    free, target = _free(held, d), _target(stress, d)
    A = np.zeros((d, d)) if start is None else np.array(start.gradient, float)
    state = crystal.init(None, jax.random.key(0)) if start is None else start.shifts
    for place, value in held.items():
        A[place] = value
    rows, columns = (list(axis) for axis in zip(*free, strict=True)) if free else ([], [])
    found = False
    for _ in range(_STEPS):
        state, code, _, P, C = jax.tree.map(np.asarray, look(crystal, jnp.asarray(A), jnp.asarray(state), inner, often=True))
        if code not in (Result.SUCCESS, Result.UNSTABLE):
            raise NotConverged(f"under_stress: {code_in_words(crystal, int(code))}, at A = {np.round(A, 6).tolist()}.")
        sigma, slope = _cauchy(A, P, C)
        if found:
            return Loaded(A, state, P, sigma)
        left = (sigma - target)[rows, columns]
        try:
            move = np.linalg.solve(slope[rows, columns][:, rows, columns], -left)
        except np.linalg.LinAlgError:
            break
        length = float(np.linalg.norm(move))
        found = length <= tolerance  # the step is taken, and the stress looked at once more
        A[rows, columns] += move * min(1.0, _LONGEST / max(length, 1e-300))
        if not np.all(np.isfinite(A)):
            break
    raise NotConverged(f"under_stress: no deformation with that stress is found from the start, at {_in_words(held, target)}.")


def cauchy_stress(gradient: ArrayLike, piola: ArrayLike) -> np.ndarray:
    """σ = P Fᵀ / det F, for A and P (..., d, d)."""
    F = np.asarray(gradient) + np.eye(np.shape(gradient)[-1])
    return np.asarray(piola) @ np.swapaxes(F, -1, -2) / np.linalg.det(F)[..., None, None]


def _cauchy(A: np.ndarray, P: np.ndarray, C: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """σ and its derivative by A (d, d, d, d)."""
    d = len(A)
    F, sigma = A + np.eye(d), cauchy_stress(A, P)
    J, inverse = np.linalg.det(F), np.linalg.inv(F)
    slope = np.einsum("iJkL,jJ->ijkL", C, F) + np.einsum("iL,jk->ijkL", P, np.eye(d))
    return sigma, slope / J - np.einsum("ij,Lk->ijkL", sigma, inverse)


def _free(held: Mapping[tuple[int, int], float], d: int) -> list[tuple[int, int]]:
    pairs = [(i, j) for i in range(d) for j in range(i, d)]
    for place, value in held.items():
        if place not in pairs:
            raise BadInput(f"under_stress: held: {place!r} is no place (i, j) with i ≤ j < {d}.")
        if not np.isfinite(value):
            raise BadInput(f"under_stress: held: A{list(place)} = {value!r} is not finite.")
    return [pair for pair in pairs if pair not in held]


def _target(stress: ArrayLike | None, d: int) -> np.ndarray:
    if stress is None:
        return np.zeros((d, d))
    target = np.asarray(stress, float)
    if target.shape != (d, d) or not np.all(np.isfinite(target)) or not np.allclose(target, target.T):
        raise BadInput(f"under_stress: stress must be a symmetric matrix ({d}, {d}); it is {target.tolist()}.")
    return target


def _in_words(held: Mapping[tuple[int, int], float], target: np.ndarray) -> str:
    strains = ", ".join(f"A{list(place)} = {value:.6g}" for place, value in held.items())
    return strains or f"the stress {np.round(target, 6).tolist()}"

"""Validity of the Cauchy-Born rule: W_ξξ positive definite, and the acoustic tensor for every direction.

Λ(k)_ij = C_iJjL k_J k_L, C the relaxed moduli dP/dA in the reference frame, k a unit vector; a mode m with m·Λ(k) m ≤ 0 is a
loss of ellipticity (docs: mathematics, Elastic solids from atoms).
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from fiberax.core.errors import BadInput
from fiberax.core.fiber import code_in_words
from fiberax.core.platform import need_double
from fiberax.core.solvers import solver_of
from fiberax.numerics.compilation import jit_once
from fiberax.numerics.result import Result
from fiberax.numerics.small import smallest_eigenvalue, solve_positive
from fiberax.physics.solids.crystal import assembly, large_cell
from fiberax.physics.solids.crystal.base import AbstractCrystal
from fiberax.physics.solids.crystal.batching import trailing
from fiberax.physics.solids.crystal.unit_cell import UnitCell

_COARSE = {2: 24, 3: 96}
_FINE = {2: 360, 3: 2000}
_ROUNDS = 4
_RELAXED = 1e-10  # tolerance of the shifts


class Stability(NamedTuple):
    """Smallest eigenvalues, and the modes they belong to, in the reference frame.

    Args:
        internal: Smallest eigenvalue of W_ξξ (infinite for a simple lattice).
        shift_mode: Its eigenvector, (n − 1, d).
        acoustic: Smallest eigenvalue of Λ(k) over all unit k.
        direction: That k, (d,).
        mode: Its eigenvector m, (d,).
        shifts: The state that was looked at, (n − 1, d).
    """

    internal: float
    shift_mode: np.ndarray
    acoustic: float
    direction: np.ndarray
    mode: np.ndarray
    shifts: np.ndarray

    @property
    def stable(self) -> bool:
        """Whether both eigenvalues are positive."""
        return self.internal > 0.0 and self.acoustic > 0.0

    def in_words(self) -> str:
        """Ellipticity, and W_pp for crystals with shifts, in words; directions and modes in x, y, z."""
        verdict = "is lost" if not self.acoustic > 0.0 else "holds"
        axes = f"in {', '.join('xyz'[: len(self.mode)])}"  # and not by the indices of the crystal, which may be turned
        words = (
            f"Ellipticity {verdict}: smallest acoustic eigenvalue {self.acoustic:.3g} in direction "
            f"{np.round(self.direction, 4).tolist()} with mode {np.round(self.mode, 4).tolist()}, {axes}."
        )
        if self.internal == np.inf:
            return words
        if self.internal > 0.0:
            return f"{words} W_pp is positive definite (smallest eigenvalue {self.internal:.3g})."
        mode = np.round(self.shift_mode, 4).tolist()
        return f"W_pp is not positive definite (smallest eigenvalue {self.internal:.3g}, shift mode {mode} {axes}). {words}"


def directions(d: int, count: int) -> np.ndarray:
    """`count` unit vectors (d, count) spread over one half of the circle or sphere (Fibonacci lattice)."""
    k = np.arange(count) + 0.5
    if d == 2:
        return np.stack([np.cos(np.pi * k / count), np.sin(np.pi * k / count)])
    z, angle = k / count, np.pi * (1.0 + 5.0**0.5) * k
    return np.stack([np.sqrt(1.0 - z**2) * np.cos(angle), np.sqrt(1.0 - z**2) * np.sin(angle), z])


def _acoustic(moduli, k):
    """Smallest eigenvalue of Λ(k) (n, *batch) for moduli (d, d, d, d, *batch) and k (d, n, *batch)."""
    d = k.shape[0]
    tensor = [[0.0] * d for _ in range(d)]
    for i in range(d):
        for j in range(i, d):
            tensor[i][j] = tensor[j][i] = sum(
                0.5 * (moduli[i, a, j, b] + moduli[j, a, i, b])[None] * (k[a] * k[b]) for a in range(d) for b in range(d)
            )
    return smallest_eigenvalue(jnp.stack([jnp.stack(row) for row in tensor]))


def _smallest(moduli, rounds: int):
    """Smallest eigenvalue of Λ(k) over all k (*batch): coarse directions, then a pattern search around the best one."""
    d, batch = moduli.shape[0], moduli.shape[4:]
    grid = jnp.asarray(directions(d, _COARSE[d])).reshape((d, _COARSE[d]) + (1,) * len(batch))
    turns = jnp.asarray(np.random.default_rng(0).standard_normal((d, 8 * (d - 1))))
    turns = (turns / jnp.linalg.norm(turns, axis=0)).reshape((d, -1) + (1,) * len(batch))

    def best(grid):
        values = _acoustic(moduli, grid)
        number = jnp.argmin(values, axis=0)[None]
        grid = jnp.broadcast_to(grid, (d, *values.shape))
        return jnp.take_along_axis(grid, jnp.broadcast_to(number[None], (d, *number.shape)), axis=1), jnp.min(values, axis=0)

    def closer(carry):
        k, radius, centre, _ = carry
        star = centre + radius * turns
        return k + 1, 0.4 * radius, *best(jnp.concatenate([centre, star / jnp.sqrt(jnp.sum(star**2, axis=0))], axis=1))

    # A loop, since this is long to compile.
    start = (jnp.zeros((), jnp.int32), jnp.asarray(2.0 / _COARSE[d] ** (1.0 / (d - 1)), moduli.dtype), *best(grid))
    return jax.lax.while_loop(lambda carry: carry[0] < rounds, closer, start)[-1]


def acoustic_margin(moduli: Float[Array, "d d d d *batch"]) -> Float[Array, "*batch"]:
    """Smallest eigenvalue of Λ(k) over the largest modulus; 0 for C = 0."""
    largest = jnp.max(jnp.abs(moduli), axis=(0, 1, 2, 3))
    return _smallest(moduli, _ROUNDS) / jnp.where(largest == 0.0, 1.0, largest)


def stability_margin(cell: UnitCell, A, shifts):
    """The smaller of the smallest pivot of W_ξξ and the smallest acoustic eigenvalue, each over the largest entry; (*batch).

    For cells of many atoms the smallest eigenvalue over the largest one, in place of the pivot.
    """
    if cell.neighbours is not None:
        moduli, softest = (cell.shortlisted(f, A, shifts, None) for f in (assembly.moduli, large_cell.softest))
        return jnp.where(cell.valid(A, shifts) == 0, jnp.minimum(acoustic_margin(moduli), softest), jnp.nan)
    d = A.shape[0]
    matrix = cell.shortlisted(assembly.hessian, A, shifts, None)
    result = acoustic_margin(assembly.relaxed_moduli(matrix, A))
    result = jnp.minimum(result, _pivot(matrix, d))
    # Where W_ξξ is singular, as where no bond is left, the rule does not hold.
    result = jnp.where(jnp.isnan(result) & jnp.isfinite(jnp.sum(matrix, axis=(0, 1))), 0.0, result)
    return jnp.where(cell.valid(A, shifts) == 0, result, jnp.nan)


def internal_margin(cell: UnitCell, A, shifts):
    """What `stability_margin` says of W_ξξ (*batch); infinite for a simple lattice."""
    if cell.neighbours is not None:
        return cell.shortlisted(large_cell.softest, A, shifts, None)
    return _pivot(cell.shortlisted(assembly.hessian, A, shifts, None), A.shape[0])


def _pivot(matrix, d: int):
    """Smallest pivot of W_ξξ over its largest entry."""
    inner = matrix[d * d :, d * d :]
    if not inner.shape[0]:
        return jnp.full(matrix.shape[2:], jnp.inf)
    return solve_positive(inner, inner[:, 0])[1] / jnp.max(jnp.abs(inner), axis=(0, 1))


def _eigenvalues(cell: UnitCell, A, shifts):
    d = A.shape[0]
    matrix = cell.shortlisted(assembly.hessian, A, shifts, None)
    acoustic = _smallest(assembly.relaxed_moduli(matrix, A), 2 * _ROUNDS)
    inner = jnp.moveaxis(matrix[d * d :, d * d :], (0, 1), (-2, -1))
    internal = jnp.linalg.eigvalsh(inner)[..., 0] if inner.shape[-1] else jnp.full_like(acoustic, jnp.inf)
    good = cell.valid(A, shifts) == 0
    return jnp.where(good, internal, jnp.nan), jnp.where(good, acoustic, jnp.nan)


def eigenvalues(
    cell: UnitCell, A: Float[ArrayLike, "sites d d"], states: Float[ArrayLike, "sites m d"]
) -> tuple[Float[Array, " sites"], Float[Array, " sites"]]:
    """`internal` and `acoustic` of `stability` at many A and their shifts at once, to 1e-4 of the largest modulus.

    NaN where the crystal is not defined.
    """
    return (_all_once if cell.written_out else _all)(cell, jnp.asarray(A), jnp.asarray(states))


def _everywhere(cell: UnitCell, A, states):
    parameters, rest = eqx.partition(cell, eqx.is_array)
    whole = trailing(lambda parameters, arrays: _eigenvalues(eqx.combine(parameters, rest), *arrays), cell.share)
    return jax.vmap(lambda A, state: whole(parameters, (A, state)))(A, states)


_all, _all_once = eqx.filter_jit(_everywhere), jit_once(_everywhere)


def _lowest(moduli: np.ndarray, k: np.ndarray, m: np.ndarray):
    """Local minimum of the biquadratic form C_iJkL m_i k_J m_k k_L over unit vectors, alternately in m and k, never rising."""
    value = np.inf
    for _ in range(2000):
        by_k = np.einsum("iJkL,J,L->ik", moduli, k, k)
        values, vectors = np.linalg.eigh(0.5 * (by_k + by_k.T))
        m = vectors[:, 0]
        by_m = np.einsum("iJkL,i,k->JL", moduli, m, m)
        values, vectors = np.linalg.eigh(0.5 * (by_m + by_m.T))
        k = vectors[:, 0]
        if abs(value - values[0]) <= 1e-15 * np.abs(moduli).max():
            break
        value = values[0]
    return values[0], k, m


def _derived(cell: UnitCell, A, state):
    matrix = assembly.hessian(cell, A, state, False)
    return matrix, assembly.relaxed_moduli(matrix, A)


_derivatives, _derivatives_once = eqx.filter_jit(_derived), jit_once(_derived)


def second_derivatives(cell: UnitCell, A, state) -> tuple[np.ndarray, np.ndarray]:
    """∂²W over (A, shifts), flattened, and the relaxed moduli (d, d, d, d)."""
    derivatives = _derivatives_once if cell.small else _derivatives
    matrix, moduli = map(np.asarray, derivatives(cell, jnp.asarray(A), jnp.asarray(state)))
    k = A.size
    if np.all(np.isfinite(matrix)) and not np.all(np.isfinite(moduli)):  # W_ξξ is singular: free atoms do not follow
        followed = matrix[:k, k:] @ np.linalg.pinv(matrix[k:, k:], hermitian=True) @ matrix[k:, :k]
        moduli = (matrix[:k, :k] - followed).reshape(moduli.shape)
    return matrix, moduli


def check_crystal(what: str, crystal) -> None:
    """Raise `BadInput` for a fiber that is no crystal."""
    if not isinstance(crystal, AbstractCrystal):
        raise BadInput(f"{what}: a fx.solids.Crystal or CalculatorCrystal is needed; this is a {type(crystal).__name__}.")


def _relaxed(crystal, begin, A):
    return solver_of(crystal).solve(crystal, begin, A, _RELAXED)


_relaxed_once = jit_once(_relaxed)


def stability(crystal: Any, A: Float[ArrayLike, "d d"], state: Array | None = None) -> Stability:
    """Smallest eigenvalue of W_ξξ and of the acoustic tensor over all directions.

    Args:
        crystal: The fiber.
        A: Displacement gradient, (d, d).
        state: Shifts to look at, relaxed or not, (n − 1, d); by default the relaxed ones.

    Returns:
        A `Stability`. The directions are searched on a fine grid, and the best are refined to round-off. For an ASE calculator
        the accuracy is that of its finite differences.

    Raises:
        BadInput: The crystal has no state at A, the fiber is no crystal, or double precision is off.
    """
    check_crystal("stability", crystal)
    need_double("fx.solids.stability", _RELAXED)
    A = jnp.asarray(A, float)
    if A.shape != crystal.lattice.shape:
        raise BadInput(f"stability: A must be {crystal.lattice.shape}; its shape is {A.shape}.")
    if state is not None:
        shifts = jnp.asarray(state, float)
    else:
        begin = crystal.init(A, jax.random.key(0))
        shifts, out = (_relaxed_once if crystal.small else _relaxed)(crystal, begin, A)
        code = int(out.result)
        if code not in (Result.SUCCESS, Result.UNSTABLE):
            raise BadInput(
                f"stability: the crystal has no relaxed state at A = {np.asarray(A).tolist()}: {code_in_words(crystal, code)}."
            )
    d = A.shape[0]
    matrix, moduli = crystal.second_derivatives(shifts, A)
    if not np.all(np.isfinite(matrix)):
        raise BadInput(f"stability: the energy of the crystal is not finite near A = {np.asarray(A).tolist()}.")
    internal, shift_mode = np.inf, np.zeros(shifts.shape)
    if shifts.size:
        values, vectors = np.linalg.eigh(matrix[d * d :, d * d :])
        internal, shift_mode = float(values[0]), vectors[:, 0].reshape(shifts.shape)
    grid = directions(d, _FINE[d])
    tensors = np.einsum("iJkL,Jn,Ln->nik", moduli, grid, grid)
    values, vectors = np.linalg.eigh(0.5 * (tensors + np.swapaxes(tensors, 1, 2)))
    first = np.argsort(values[:, 0])[:8]
    value, k, m = min((_lowest(moduli, grid[:, n], vectors[n, :, 0]) for n in first), key=lambda found: found[0])
    return Stability(internal, shift_mode, float(value), _signed(k), _signed(m), np.asarray(shifts))


def _signed(vector: np.ndarray) -> np.ndarray:
    """±v with its largest entry positive."""
    return vector * np.sign(vector[np.argmax(np.abs(vector))])

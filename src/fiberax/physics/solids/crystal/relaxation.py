"""Newton for the shifts of a crystal, on the branch that begins at the undeformed state (3.6).

Plain Newton from the carried shifts, its steps bounded, finds the branch in four or five steps; where it does not converge, the
deformation is applied in parts from the undeformed crystal on. Near a solution the error after a step is about the square of it
(in nearest distances): the iteration ends with a step of the square root of what the tolerance asks for.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from fiberax.numerics.result import Result
from fiberax.numerics.small import solve_symmetric
from fiberax.physics.solids.crystal import assembly
from fiberax.physics.solids.crystal.unit_cell import UnitCell

_PARTS = 8
_TRIES = 20  # Newton steps for one part of the deformation
_BOUND = 0.1  # of the nearest distance: longest Newton step
_UNROLLED = 15


class Step(NamedTuple):
    """One Newton step: new shifts (n, d, *batch), its length in nearest distances, whether W_pp was positive definite.

    `singular`: whether no step exists, as where no bond is left within the cutoff.
    """

    shifts: Array
    length: Array
    definite: Array
    singular: Array


def newton_step(cell: UnitCell, A, shifts, near) -> Step:
    """One bounded Newton step for ∂W/∂ξ = 0."""
    slope, matrix = cell.shortlisted(assembly.shift_hessian, A, shifts, near)
    if slope.shape[0] <= _UNROLLED:
        move, pivot = solve_symmetric(matrix, slope)
    else:
        front = lambda x, n: jnp.moveaxis(x, range(n), range(-n, 0))
        move = jnp.linalg.solve(front(matrix, 2), front(slope, 1)[..., None])[..., 0]
        pivot = jnp.linalg.eigvalsh(front(matrix, 2))[..., 0]
        move = jnp.moveaxis(move, -1, 0)
    move = -move.reshape(shifts.shape)
    length = jnp.sqrt(jnp.max(jnp.sum(move**2, axis=1), axis=0)) / cell.nearest
    singular = ~jnp.isfinite(length) & jnp.isfinite(jnp.sum(matrix, axis=(0, 1)))
    return Step(shifts + move * jnp.minimum(1.0, _BOUND / jnp.where(length > 0.0, length, 1.0)), length, pivot > 0.0, singular)


class _Carry(NamedTuple):
    shifts: Array
    part: Array  # how many eighths of the deformation are on
    tries: Array  # steps since the last part was added
    steps: Array
    length: Array
    definite: Array
    torn: Array  # W_pp was singular once
    result: Array  # -1 while running


def relax(cell: UnitCell, A, shifts, tolerance: float, allow_unstable: bool):
    """Shifts at ∂W/∂ξ = 0, result code, steps, and the last step's length squared, all over the batch."""
    batch = A.shape[2:]
    small = max(min(1e-2 * tolerance**0.5, 1e-6), 10.0 * float(jnp.finfo(A.dtype).eps) ** 0.5)

    def body(c: _Carry):
        load = A * (c.part / _PARTS)
        step = newton_step(cell, load, c.shifts, None)
        finite = jnp.isfinite(step.length)
        there = finite & (step.length <= small)
        done = there & (c.part == _PARTS)
        lost = ~there & ((c.tries >= _TRIES) | ~finite)
        restart = lost & (c.part == _PARTS) & (c.steps == c.tries)  # the first attempt, with the whole deformation at once
        code = jnp.where(done, jnp.int32(Result.SUCCESS), jnp.int32(-1))
        torn = c.torn | step.singular
        failure = jnp.where(torn, jnp.int32(Result.UNSTABLE), jnp.int32(Result.STALLED))
        code = jnp.where(lost & ~restart, failure, code)
        part = jnp.where(restart, 1, jnp.where(there & ~done, c.part + 1, c.part))
        shifts = jnp.where(restart, 0.0, jnp.where(finite, step.shifts, c.shifts))
        tries = jnp.where(restart | there, 0, c.tries + 1)
        new = _Carry(shifts, part, tries, c.steps + 1, step.length, step.definite, torn, code)
        running = c.result < 0
        return jax.tree.map(lambda a, b: jnp.where(running, a, b), new, c)

    whole = jnp.zeros(batch, jnp.int32)
    valid = cell.valid(A, jnp.zeros_like(shifts))
    start = _Carry(
        shifts,
        whole + _PARTS,
        whole,
        whole,
        jnp.zeros(batch, A.dtype),
        jnp.zeros(batch, bool),
        jnp.zeros(batch, bool),
        jnp.where(valid == 0, jnp.int32(-1), valid),
    )
    end = jax.lax.while_loop(lambda c: jnp.any(c.result < 0), body, start)
    valid = cell.valid(A, end.shifts)
    code = jnp.where(valid != 0, valid, end.result)
    if not allow_unstable:
        code = jnp.where((code == 0) & ~end.definite, jnp.int32(Result.UNSTABLE), code)
    return end.shifts, code, end.steps, end.length**2

"""Newton for the shifts of a crystal, on the branch that begins at the undeformed state (3.6).

Plain Newton from the carried shifts, its steps bounded, finds the branch in four or five steps; where it does not converge, the
deformation is applied in parts from the undeformed crystal on. Near a solution the error after a step is about the square of it
(in nearest distances): the iteration ends with a step of the square root of what the tolerance asks for. The equations of large
cells are solved by iteration, to a residual that falls with the steps.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from fiberax.numerics.result import Result
from fiberax.numerics.small import solve_positive
from fiberax.physics.solids.crystal import assembly, large_cell
from fiberax.physics.solids.crystal.unit_cell import UnitCell

_PARTS = 8
_TRIES = 20  # Newton steps for one part of the deformation
_BOUND = 0.1  # of the nearest distance: longest Newton step
_LOOSE = 0.03  # relative residual of the first steps of large cells, that are solved by iteration


class Step(NamedTuple):
    """One Newton step: new shifts (n, d, *batch), its length in nearest distances, whether W_pp was positive definite.

    `singular`: whether no step exists, as where no bond is left within the cutoff. `products`: with W_pp, where it is not made.
    `looked`: see `large_cell.newton_direction`.
    """

    shifts: Array
    length: Array
    definite: Array
    singular: Array
    products: Array | int
    looked: Array | bool


def newton_step(cell: UnitCell, A, shifts, near, tolerance: Any = _LOOSE, look: large_cell.Look | None = None) -> Step:
    """One bounded Newton step for ∂W/∂ξ = 0.

    `tolerance`: relative residual of its equations where they are iterated upon; `look`: fibers of such cells that do not move.
    """
    if cell.neighbours is not None:
        direction = lambda cell, A, shifts, near: large_cell.newton_direction(cell, A, shifts, tolerance, look, near)
        move, definite, products, looked = cell.shortlisted(direction, A, shifts, near)
        finite = True
    else:
        slope, matrix = cell.shortlisted(assembly.shift_hessian, A, shifts, near)
        move, pivot = solve_positive(matrix, slope)
        move, definite = -move.reshape(shifts.shape), pivot > 0.0
        finite, products, looked = jnp.isfinite(jnp.sum(matrix, axis=(0, 1))), 0, False
    length = jnp.sqrt(jnp.max(jnp.sum(move**2, axis=1), axis=0)) / cell.nearest
    singular = ~jnp.isfinite(length) & finite
    bounded = move * jnp.minimum(1.0, _BOUND / jnp.where(length > 0.0, length, 1.0))
    return Step(shifts + bounded, length, definite, singular, products, looked)


class _Carry(NamedTuple):
    shifts: Array
    part: Array  # how many eighths of the deformation are on
    tries: Array  # steps since the last part was added
    steps: Array
    length: Array
    definite: Array
    torn: Array  # W_pp was singular once
    looking: Array  # converged, and looking for a direction in which W falls
    products: Array  # with W_pp, by the whole batch
    result: Array  # -1 while running


def relax(cell: UnitCell, A, shifts, tolerance: float, allow_unstable: bool):
    """Shifts at ∂W/∂ξ = 0, result code, steps, and the last step's length squared, all over the batch."""
    batch = A.shape[2:]
    small = max(min(1e-2 * tolerance**0.5, 1e-6), 10.0 * float(jnp.finfo(A.dtype).eps) ** 0.5)
    # The solves of large cells meet few curvatures; those of small ones have the whole matrix.
    looks = not allow_unstable and cell.neighbours is not None

    def body(c: _Carry):
        load = A * (c.part / _PARTS)
        loose = jnp.where(c.steps == 0, _LOOSE, jnp.clip(c.length, 0.1 * tolerance / small, _LOOSE))
        step = newton_step(cell, load, c.shifts, None, loose, large_cell.Look(c.looking, c.products) if looks else None)
        finite = jnp.isfinite(step.length)
        there = finite & (step.length <= small) & ~c.looking
        if cell.neighbours is not None:
            there &= loose * step.length <= tolerance
        done = there & (c.part == _PARTS)
        lost = ~there & ~c.looking & ((c.tries >= _TRIES) | ~finite)
        restart = lost & (c.part == _PARTS) & (c.steps == c.tries)  # the first attempt, with the whole deformation at once
        seen = c.looking | (done & step.looked) if looks else done
        code = jnp.where(seen, jnp.int32(Result.SUCCESS), jnp.int32(-1))
        torn = c.torn | step.singular
        failure = jnp.where(torn, jnp.int32(Result.UNSTABLE), jnp.int32(Result.STALLED))
        code = jnp.where(lost & ~restart, failure, code)
        part = jnp.where(restart, 1, jnp.where(there & ~done, c.part + 1, c.part))
        shifts = jnp.where(restart, 0.0, jnp.where(finite, step.shifts, c.shifts))
        tries = jnp.where(restart | there, 0, c.tries + 1)
        length, steps = jnp.where(c.looking, c.length, step.length), c.steps + ~c.looking
        definite = step.definite & (c.definite | ~c.looking)
        new = _Carry(shifts, part, tries, steps, length, definite, torn, done & ~seen, c.products, code)
        running = c.result < 0
        new = jax.tree.map(lambda a, b: jnp.where(running, a, b), new, c)
        return new._replace(products=c.products + step.products)

    whole, none = jnp.zeros(batch, jnp.int32), jnp.zeros(batch, bool)
    valid = cell.valid(A, jnp.zeros_like(shifts))
    start = _Carry(
        shifts,
        whole + _PARTS,
        whole,
        whole,
        jnp.zeros(batch, A.dtype),
        none,
        none,
        none,
        jnp.zeros((), jnp.int32),
        jnp.where(valid == 0, jnp.int32(-1), valid),
    )
    end = jax.lax.while_loop(lambda c: jnp.any(c.result < 0), body, start)
    valid = cell.valid(A, end.shifts)
    code = jnp.where(valid != 0, valid, end.result)
    if not allow_unstable:
        code = jnp.where((code == 0) & ~end.definite, jnp.int32(Result.UNSTABLE), code)
    return end.shifts, code, end.steps, end.length**2

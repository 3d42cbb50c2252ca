"""Damped Newton iteration for residual(v) = 0 on a tree v, every equation and every unknown judged on its own scale.

The fastest equation dominates a norm over all of them, which is small long before the slow ones are solved. Therefore, as in
codes for differential-algebraic equations (Hairer and Wanner, Solving Ordinary Differential Equations II, sections IV.8 and
VI.1; Deuflhard, Newton Methods for Nonlinear Problems, section 2.1):

- The line search compares residuals after division of each by its row scale Σ_j |J_ij| (|v_j| + |δ_j|), the size of its terms.
- The iteration has converged when the correction J⁻¹ r, what the next Newton step would change, is below the tolerance
  relative to each entry of v. After a step it is computed with the factors of the last Jacobian, by one substitution, and
  taken as a step of the simplified iteration where it descends.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fiberax.numerics import trees
from fiberax.numerics.result import Outcome, Result, outcome

_HALVINGS = 24
_FLOOR = 1e-6  # entries smaller than this part of the largest of their array are compared with that part
_NOISE = 1e4  # times eps: changes of the state below that part of its largest entry are round-off of solves
_NEAR = 1e-5  # of the largest entry: a step as short as that, which no halving mends, ends an iteration that has converged
_REUSES = 2  # of the factors of one Jacobian
_CONTRACTION = 0.1  # from one step to the next, below which the factors are used again
_DESCENDING = 0.5  # correction over the step before it, above which it is not taken: it may lead back
_BALANCED = 1e-6  # of the size of the terms in a row: the residual of an equation that is solved
_FURTHER = 60  # steps for entries below the floors whose equations are not solved yet; each may bring half of the way only
_MOVING = 1e-3  # relative correction above which a state without convergence counts as running away
_FIRST = 1e-2  # change of the largest entry in the first step of pseudo-time, relative, as if the rate were constant
_RATIO = 10.0  # largest change of the step of pseudo-time from one to the next
_LEAST = 1e-4  # of the largest row sum of J: first shift of pseudo-time where J is singular
_SURE = 1e-6  # of the same: smallest shift there
_ROUNDED = 16.0  # times eps: the residual of a row over its terms that is round-off
_LONGER = 0.5  # factor of the shift where J is singular: the residual of slow modes alone hardly falls
_DETERMINED = 1e-6  # relative change of the state by round-off of the terms, above which J counts as singular
_FOLLOWED = 1e-6  # part of the first residual at which Newton's method takes over again


class Linearised(NamedTuple):
    """The residual near one v: `solve(r)` gives J⁻¹ r, `scale(w)` the row sums Σ_j |J_ij| w_j, w ≥ 0, a tree like r.

    Where only the action of J is known `scale` is None: residuals are then compared as they are. `doubtful`: whether J may be
    singular to round-off, as where the residual conserves a sum.
    """

    solve: Callable
    scale: Callable | None
    doubtful: jax.Array | bool = False


class _Carry(NamedTuple):
    value: Any
    residual: Any
    size: Any  # largest modulus so far of each array of the state
    step: jax.Array
    correction: jax.Array  # the last one, relative to the state
    result: jax.Array  # -1 while running
    shift: jax.Array  # inverse step of pseudo-time, 0 in Newton's method
    limit: jax.Array  # largest number of steps, larger once pseudo-time has begun
    floored: jax.Array  # whether it has converged but for equations of entries below the floors
    bound: jax.Array  # whether J is singular along the way, so that pseudo-time is kept to the end


def backtrack(attempt: Callable, accepts: Callable, halvings: int, whole: Any = None) -> tuple[jax.Array, Any]:
    """The largest step length s = 2^-k, k up to `halvings`, that is accepted, and what `attempt(s)` gave there.

    `accepts(s, outcome)` is a boolean; `whole` is `attempt(1)` where it is known. Where no length is accepted the last one
    is returned: call `accepts` again.
    """

    def rejected(carry):
        k, scale, found = carry
        return ~accepts(scale, found) & (k < halvings)

    def shrink(carry):
        k, scale, _ = carry
        return k + 1, 0.5 * scale, attempt(0.5 * scale)

    one = jnp.ones(())
    start = (jnp.zeros((), jnp.int32), one, attempt(one) if whole is None else whole)
    _, scale, found = jax.lax.while_loop(rejected, shrink, start)
    return scale, found


def relative(change: Any, value: Any, size: Any, tolerance: float) -> jax.Array:
    """Largest entry of `change` relative to that of `value`; small entries count against a part of the largest, `size`.

    The floor is `_FLOOR` times the size, and not below what round-off of the largest entry makes of the tolerance.
    """

    def worst(d, v, s):
        if d.size == 0:
            return jnp.zeros(())
        floor = max(_FLOOR, _NOISE * float(jnp.finfo(d.dtype).eps) / tolerance)
        weight = jnp.maximum(jnp.abs(v), floor * s)
        return jnp.max(jnp.where(d == 0, 0.0, jnp.abs(d) / jnp.where(weight > 0, weight, jnp.finfo(d.dtype).tiny)))

    return jnp.max(jnp.stack(jax.tree.leaves(jax.tree.map(worst, change, value, size))))


def _largest(tree: Any) -> Any:
    return jax.tree.map(lambda x: jnp.max(jnp.abs(x), initial=0.0), tree)


def newton(
    residual: Callable,
    guess: Any,
    linearise: Callable,
    reference: Any,
    tolerance: float,
    max_steps: int = 50,
    judged: Callable = lambda v: v,
    follow: bool = False,
) -> tuple[Any, Outcome]:
    """Find v with residual(v) = 0.

    Converged when the correction J⁻¹ r is below `tolerance` relative to each entry of v (see the top of this module) and the
    norm of the residual is below `tolerance` times `reference`, or when a full Newton step as short as that has been taken and
    the residual has fallen with it. If no step down to 2^-24 of the Newton step descends, a small residual has reached its
    round-off (`SUCCESS`); a large one has no root nearby (`STALLED`). Where the Jacobian is singular at the guess the first
    step goes along the residual; later that is a failure. A state that still moves when the steps are used up, while its
    residual has fallen, is a `RUNAWAY`.

    With `follow` an iteration that stalls for the first time goes back to the guess and follows v' = residual(v) from there, by
    linearised implicit Euler steps that grow as the residual falls (switched evolution relaxation: W. Mulder and B. van Leer,
    J. Comput. Phys. 59 (1985) 232; C. T. Kelley and D. E. Keyes, SIAM J. Numer. Anal. 35 (1998) 508). No such step has to
    descend: a term that is absent at the guess, such as c² at c = 0, makes the residual rise before it falls, and bars the
    line search. Where the residual is small Newton's method takes over. Where a solution that was found hangs on round-off, as
    that of a flow that conserves a sum, pseudo-time begins at the guess and is kept to the end: linear sums do not change.

    Args:
        residual: Function of v, a tree like v.
        guess: Where the iteration begins.
        linearise: linearise(v) gives a `Linearised`; with `follow` linearise(v, shift) that of residual(v) − shift v.
        reference: Norm of the residual that counts as 1, a scalar.
        tolerance: Relative.
        max_steps: Largest number of steps.
        judged: judged(v) is the part of v whose entries are tested; multipliers need not be.
        follow: Whether the residual is the rate of a flow, which may be followed.

    Returns:
        v, and the outcome, with the norm of the residual over `reference`.
    """
    first = residual(guess)
    first_norm = trees.norm(first)

    size = _largest(judged(guess))
    whole = _maximum(size)
    begun = _maximum(_largest(first)) / (_FIRST * jnp.where(whole > 0.0, whole, 1.0))

    def body(c: _Carry):
        at = linearise(c.value, c.shift) if follow else linearise(c.value)
        timed, running = c.shift > 0.0, c.result < 0  # in a batch sites that have ended are computed, too
        direction, singular = _direction(at.solve(c.residual), c.residual, c.value, c.step == 0)
        weights = jax.tree.map(_weights, c.value, direction)
        terms = None if at.scale is None else at.scale(weights)
        if terms is not None:  # an infinite slope, as that of a square root at 0, makes a step of zero, which tells nothing
            endless = ~trees.isfinite(terms)
            singular |= endless & (c.step == 0)
            direction = _along(singular, direction, c.residual, c.value)
            direction = jax.tree.map(lambda d: jnp.where(endless & (c.step > 0), jnp.nan, d), direction)
        terms = jax.tree.map(lambda t: jnp.where(singular, 1.0, t), terms)
        factors = jax.tree.map(_inverse, terms)

        def merit(r):
            return trees.norm(r if terms is None else jax.tree.map(jnp.multiply, r, factors))

        before, norm = merit(c.residual), trees.norm(c.residual)
        eps = float(jnp.finfo(norm.dtype).eps)
        length = relative(judged(direction), judged(c.value), c.size, tolerance)
        short = length <= tolerance
        share = _share(judged(direction), c.size)
        # Entries below the floors may be far from their roots, those of a^2 = 1e-20 say, or on their way to zero.
        nothing = share <= eps
        near = short & (norm <= tolerance * reference) & ~singular & ~timed
        arrived = near & (nothing | _balanced(at, c.value, c.residual, near & running))
        # Where J is singular a residual of round-off ends the iteration: any step would add round-off to a conserved sum.
        last = (c.bound | ((c.step == 0) & at.doubtful & (norm <= tolerance * reference))) & running
        exact = _balanced(at, c.value, c.residual, last, _ROUNDED * eps)
        arrived |= exact
        # Compared with the present state: on the way from 1 to 1e-9 such a step is half of the way.
        tiny = _share(judged(direction), _largest(judged(c.value))) <= eps**0.5

        def attempt_from(value, step, scale=1.0):
            candidate = trees.axpy(scale, step, value)
            r = residual(candidate)
            return candidate, r, merit(r)

        def attempt(scale):
            return attempt_from(c.value, direction, scale)

        def accepts(scale, found):
            # Halving a step that is lost in the round-off of the largest entries makes nothing better.
            return arrived | tiny | timed | (found[2] <= (1.0 - 1e-4 * scale) * before)

        scale, (value, r, after) = backtrack(attempt, accepts, _HALVINGS)
        accepted = jnp.where(timed, trees.isfinite((value, r)) & ~arrived, (after < before) & ~arrived)
        value, r = trees.where(accepted, (value, r), (c.value, c.residual))
        size = jax.tree.map(jnp.maximum, c.size, _largest(judged(value)))
        settled = accepted & ~singular & ~timed & running
        go = settled & (scale >= 1.0)
        value, r, left = _simplified(at, attempt_from, (value, r, after), direction, size, judged, tolerance, go)
        # Beside a kink a step may be as short, and the residual stays: a curve's slope there tells nothing of where it leads.
        rest = trees.norm(r)
        fell = (rest <= _CONTRACTION * norm) | (rest <= _NEAR * jnp.maximum(reference, first_norm)) | (after <= _NOISE * eps)
        settled &= (left <= tolerance) & (rest <= tolerance * reference) | short & (scale >= 1.0) & fell
        stuck = ~accepted & ~arrived & ~timed
        small = (share <= _NEAR) & (norm <= tolerance * reference)
        small |= _round_off(before, direction, None if terms is not None else jnp.maximum(reference, first_norm))
        small &= ~singular
        solved = nothing | _balanced(at, value, r, (near | settled) & running)
        done = arrived | (settled & solved) | (stuck & small)
        lost = jnp.asarray(False)
        if follow:
            # A conserved sum leaves its value open: Newton's method chooses one, and pseudo-time keeps that of the guess.
            ends = done | (c.step + 1 >= c.limit) | ~trees.isfinite(direction)
            ends &= ~timed & ~c.bound & running
            lost = _undetermined(at, c.value, judged, tolerance, ends & at.doubtful)
            done &= ~lost
        code = jnp.where(done, jnp.int32(Result.SUCCESS), jnp.int32(-1))
        floored = (near | settled) & ~solved
        code = jnp.where((stuck & ~small) | (lost & ~done), jnp.int32(Result.STALLED), code)
        shift, limit = c.shift, jnp.where(floored & (c.limit == max_steps), c.step + _FURTHER, c.limit)
        if follow:
            again = (code == Result.STALLED) & ~timed & ((c.limit == max_steps) | lost)
            bound = c.bound | (lost & ~done)
            code = jnp.where(again, jnp.int32(-1), code)
            value, r, size = trees.where(again, (guess, first, _largest(judged(guess))), (value, r, size))
            fallen = trees.norm(r)
            ratio = jnp.where(accepted, jnp.clip(fallen / norm, 1.0 / _RATIO, _RATIO), _RATIO)
            ratio = jnp.where(bound & (fallen <= norm), jnp.minimum(ratio, _LONGER), ratio)
            shift = jnp.where(timed & (bound | (fallen > _FOLLOWED * first_norm)), ratio * c.shift, 0.0)
            # Round-off of the residual over the shift is what a step changes a conserved sum by.
            stiff = jnp.zeros(()) if terms is None else _maximum(_largest(terms)) / _maximum(_largest(weights))
            stiff = jnp.where(jnp.isfinite(stiff), stiff, 0.0)  # no Newton step was found
            shift = jnp.where(bound & timed, jnp.maximum(shift, _SURE * stiff), shift)
            begin = jnp.maximum(begun, jnp.where(lost, _LEAST * stiff, 0.0))
            shift, limit = jnp.where(again, begin, shift), jnp.where(again, c.step + 3 * max_steps, limit)
            # Where a residual that is small already falls that much the shift is small beside the eigenvalues that are not
            # zero: what was large has gone before, and only slow modes are left.
            there = timed & c.bound & accepted & short & (norm <= tolerance * reference) & (fallen <= _CONTRACTION * norm)
            code = jnp.where(there & (code < 0), jnp.int32(Result.SUCCESS), code)
        else:
            bound, again = c.bound, jnp.asarray(False)
        # A direction that is not finite (singular Jacobian) is a failure, not round-off.
        code = jnp.where(trees.isfinite(direction) | again, code, jnp.int32(Result.STALLED))
        code = jnp.where(trees.isfinite((value, r)), code, jnp.int32(Result.NONFINITE))
        return _Carry(value, r, size, c.step + jnp.where(arrived, 0, 1), left, code, shift, limit, floored, bound)

    start = jnp.where(first_norm == 0.0, jnp.int32(Result.SUCCESS), jnp.int32(-1))
    start = jnp.where(jnp.isfinite(first_norm), start, jnp.int32(Result.NONFINITE))
    end = jax.lax.while_loop(
        lambda c: (c.result < 0) & (c.step < c.limit),
        body,
        _Carry(
            guess,
            first,
            size,
            jnp.zeros((), jnp.int32),
            jnp.zeros(()),
            start,
            jnp.zeros(()),
            jnp.int32(max_steps),
            start == 0,
            jnp.asarray(False),
        ),
    )
    norm = trees.norm(end.residual)
    moving = (end.correction > _MOVING) & (norm <= 1e-2 * first_norm) & ~end.bound
    result = jnp.where((end.result < 0) & end.floored, jnp.int32(Result.SUCCESS), end.result)
    without = jnp.where(end.bound & (norm > 1e-2 * first_norm), jnp.int32(Result.STALLED), jnp.int32(Result.MAX_STEPS))
    result = jnp.where(result < 0, jnp.where(moving, jnp.int32(Result.RUNAWAY), without), result)
    return end.value, outcome(result, end.step, norm / jnp.where(reference > 0, reference, 1.0))


def _simplified(at, attempt_from, found, direction, size, judged, tolerance, go):
    """Further steps with the factors of the last Jacobian, while each is a small part of the one before.

    Args:
        at: The `Linearised` residual.
        attempt_from: attempt_from(value, step) gives value + step, its residual and its merit.
        found: Value, residual and merit after the Newton step.
        direction: The Newton step.
        size: As for `relative`.
        judged: As for `newton`.
        tolerance: As for `newton`.
        go: Whether the Newton step was whole and descended.

    Returns:
        Value, residual, and the last correction relative to the state, taken or not; `direction` where there was none.
    """
    limit = 1 if at.scale is None else _REUSES  # a Krylov method saves nothing

    def body(carry):
        k, (value, r, merit), before, _ = carry
        correction = jax.tree.map(jnp.negative, at.solve(r))
        left = relative(judged(correction), judged(value), size, tolerance)
        further = attempt_from(value, correction)
        taken = (further[2] < merit) & (left < _DESCENDING * before)
        go = taken & (left < _CONTRACTION * before) & (left > tolerance)
        return k + 1, trees.where(taken, further, (value, r, merit)), left, go

    # Relative to where the step leads: where it began, often zero, any correction is small beside it.
    length = relative(judged(direction), judged(found[0]), size, tolerance)
    start = (jnp.zeros((), jnp.int32), found, length, go)
    _, (value, r, _), left, _ = jax.lax.while_loop(lambda carry: carry[-1] & (carry[0] < limit), body, start)
    return value, r, left


def _direction(correction, residual, value, first) -> tuple[Any, jax.Array]:
    """The Newton step −J⁻¹ r, and whether there is none; then, at the first step, r with the size of v, or with size one.

    The guess is often a point of symmetry where J is singular, such as 0 for U − v³.
    """
    singular = first & ~trees.isfinite(correction)
    return _along(singular, jax.tree.map(jnp.negative, correction), residual, value), singular


def _along(singular, direction, residual, value) -> Any:
    """The residual with the size of v, or with size one, where `singular`, else `direction`."""
    size, first = _maximum(_largest(value)), _maximum(_largest(residual))
    length = jnp.where(size > 0, size, 1.0) / jnp.maximum(first, jnp.finfo(float).tiny)
    return jax.tree.map(lambda d, r: jnp.where(singular, length * r, d), direction, residual)


def _balanced(at: Linearised, value, residual, asked, part: float = _BALANCED) -> jax.Array:
    """Whether every equation is solved on the scale of its own terms Σ_j |J_ij| |v_j|, without floors; False unless `asked`.

    A loop of at most one turn: in a batch a branch would read all Jacobians in every step, a loop does where any site asks.
    Its turn changes the value, since XLA takes what is constant out of loops.
    """
    scale = at.scale
    if scale is None:
        return asked

    def look(carry):
        terms = scale(jax.tree.map(jnp.abs, carry[2]))
        rows = jax.tree.map(lambda r, t: jnp.all(jnp.abs(r) <= part * t), residual, terms)
        return jnp.asarray(False), jnp.all(jnp.stack(jax.tree.leaves(rows))), jax.tree.map(jnp.zeros_like, value)

    return jax.lax.while_loop(lambda carry: carry[0], look, (asked, jnp.asarray(False), value))[1]


def _undetermined(at: Linearised, value, judged: Callable, tolerance, asked) -> jax.Array:
    """Whether round-off of the terms of the equations changes the state by more than `_DETERMINED`; False unless `asked`.

    That is a condition number that does not depend on the units of rows and columns (R. Skeel, J. ACM 26 (1979) 494).
    """
    scale = at.scale
    if scale is None:
        return jnp.asarray(False)

    def look(carry):
        weights = jax.tree.map(_weights, carry[2], carry[2])
        # Fixed parts of the terms between −1 and 1, which no conserved sum makes zero.
        noise = jax.tree.map(lambda t: t * jnp.cos(1.0 + jnp.arange(t.size) ** 2.0).reshape(t.shape), scale(weights))
        change = jax.tree.map(lambda x: jnp.finfo(x.dtype).eps * x, judged(at.solve(noise)))
        loose = ~(relative(change, judged(value), _largest(judged(value)), tolerance) <= _DETERMINED)
        return jnp.asarray(False), loose, jax.tree.map(jnp.zeros_like, value)

    return jax.lax.while_loop(lambda carry: carry[0], look, (asked, jnp.asarray(False), value))[1]


def _maximum(tree: Any) -> jax.Array:
    return jnp.max(jnp.stack(jax.tree.leaves(tree)))


def _share(change, size) -> jax.Array:
    """Largest entry of each array of `change` over that of the state; the largest of these."""
    parts = jax.tree.map(lambda d, s: d / jnp.where(s > 0, s, jnp.finfo(d.dtype).tiny), _largest(change), size)
    return jnp.max(jnp.stack(jax.tree.leaves(parts)))


def _round_off(merit, direction, unscaled) -> jax.Array:
    """Whether a residual that no step makes smaller is round-off; `unscaled`: what its norm is compared with, None for rows.

    Scaled rows are relative to the size of their terms, an unscaled norm is compared with its first value. The bounds are
    roots of eps, since an ill-conditioned Jacobian enlarges the round-off. A state that is zero by symmetry has no size to
    compare with: then the step itself must be below eps.
    """
    eps = jnp.finfo(merit.dtype).eps
    small = merit <= (eps**0.5 if unscaled is None else eps ** (1 / 3) * unscaled)
    return small | (jnp.max(jnp.stack(jax.tree.leaves(_largest(direction)))) <= eps)


def _weights(value, direction):
    """|v| + |δ| for the row scale, at least `_FLOOR` of the largest.

    Without the floor the round-off in rows of tiny entries would count as much as the residual of others.
    """
    size = jnp.abs(value) + jnp.abs(direction)
    return jnp.maximum(size, _FLOOR * jnp.max(size, initial=0.0))


def _inverse(terms):
    """1 / terms, finite where a row has none."""
    return 1.0 / jnp.maximum(terms, jnp.finfo(terms.dtype).tiny)

"""Damped Newton iteration for residual(v) = 0 on a tree v."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fiberax.numerics import trees
from fiberax.numerics.result import Outcome, Result, outcome

_HALVINGS = 24


class _Carry(NamedTuple):
    value: Any
    residual: Any
    norm: jax.Array
    step: jax.Array
    result: jax.Array  # -1 while running


def _backtrack(residual, value, direction, norm):
    """Largest step 2^-k along the Newton direction that shrinks the residual; returns step length, value, residual, norm."""

    def attempt(scale):
        candidate = trees.axpy(scale, direction, value)
        r = residual(candidate)
        return candidate, r, trees.norm(r)

    def shrink(carry):
        k, scale, _, _, _ = carry
        candidate, r, new = attempt(0.5 * scale)
        return k + 1, 0.5 * scale, candidate, r, new

    def rejected(carry):
        k, scale, _, _, new = carry
        return ~(new <= (1.0 - 1e-4 * scale) * norm) & (k < _HALVINGS)

    one = jnp.ones_like(norm)
    return jax.lax.while_loop(rejected, shrink, (jnp.zeros((), jnp.int32), one, *attempt(one)))


def newton(
    residual: Callable,
    guess: Any,
    linear_solve: Callable,
    reference: Any,
    tolerance: float,
    max_steps: int = 50,
) -> tuple[Any, Outcome]:
    """Find v with residual(v) = 0 from `guess`.

    `linear_solve(v, r)` solves J(v) w = r. Converged when the norm of the residual is below `tolerance` times `reference`
    (a scalar: the residual of the unrelaxed state), or the Newton step below `tolerance` times the norm of v. A full Newton
    step that no halving down to 2^-24 can make a descent step means that the residual has reached its round-off, if either is
    small by then; else the iteration is stuck where there is no root.
    """

    def classify(value, norm, step_norm, full, accepted):
        small = full & (step_norm <= tolerance * trees.norm(value))
        eps = jnp.finfo(norm.dtype).eps
        slack = eps ** (1 / 3)
        close = (norm <= slack * jnp.maximum(reference, first_norm)) | (step_norm <= slack * trees.norm(value))
        close |= step_norm <= eps  # what is zero by symmetry has no size of its own to be compared with
        done = (norm <= tolerance * reference) | small | (~accepted & close)
        code = jnp.where(done, jnp.int32(Result.SUCCESS), jnp.int32(-1))
        code = jnp.where(~accepted & ~close, jnp.int32(Result.STALLED), code)
        return jnp.where(jnp.isfinite(norm), code, jnp.int32(Result.NONFINITE))

    def body(carry: _Carry):
        direction = jax.tree.map(jnp.negative, linear_solve(carry.value, carry.residual))
        _, scale, value, r, norm = _backtrack(residual, carry.value, direction, carry.norm)
        accepted = norm < carry.norm
        value, r, norm = trees.where(accepted, (value, r, norm), (carry.value, carry.residual, carry.norm))
        result = classify(value, norm, trees.norm(direction), scale >= 1.0, accepted)
        # A direction that is not finite (singular Jacobian) is a failure, not round-off.
        result = jnp.where(trees.isfinite(direction), result, jnp.int32(Result.STALLED))
        return _Carry(value, r, norm, carry.step + 1, result)

    first = residual(guess)
    norm = first_norm = trees.norm(first)
    start = jnp.where(norm <= tolerance * reference, jnp.int32(Result.SUCCESS), jnp.int32(-1))
    start = jnp.where(jnp.isfinite(norm), start, jnp.int32(Result.NONFINITE))
    carry = jax.lax.while_loop(
        lambda c: (c.result < 0) & (c.step < max_steps),
        body,
        _Carry(guess, first, norm, jnp.zeros((), jnp.int32), start),
    )
    result = jnp.where(carry.result < 0, jnp.int32(Result.MAX_STEPS), carry.result)
    return carry.value, outcome(result, carry.step, carry.norm / jnp.where(reference > 0, reference, 1.0))

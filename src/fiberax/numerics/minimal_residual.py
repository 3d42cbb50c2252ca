"""Generalised conjugate residuals for one system that need not be symmetric, with a window of search directions.

S. C. Eisenstat, H. C. Elman, M. H. Schultz, SIAM J. Numer. Anal. 20 (1983) 345 (Orthomin). Each step takes one product with the
matrix and makes the residual least along the new direction and those kept. Where the matrix is nearly symmetric older
directions hardly matter: the number of steps is that of conjugate gradients.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from fiberax.numerics.conjugate_gradients import Progress, Watch, ratio

WINDOW = 8  # directions that are kept


class _Carry(NamedTuple):
    x: Array
    r: Array
    p: Float[Array, "window *vector"]  # directions
    q: Float[Array, "window *vector"]  # the matrix times them, orthonormal
    size: Float[Array, ""]  # squared residual
    step: Int[Array, ""]
    watch: Watch


def minimal_residual(apply: Callable, precondition: Callable, r: Array, tolerance: Any, max_steps: Any) -> Progress:
    """Solve K x = r from x = 0 until the residual is at most tolerance·|r|.

    Args:
        apply: K, with a positive symmetric part after `precondition`.
        precondition: Near the inverse of K.
        r: Right-hand side, an array of any shape.
        tolerance: Of the residual over |r|.
        max_steps: Bound of the iterations.

    Returns:
        x and the number of iterations. The method also ends where it makes no progress, or with numbers that are not finite.
    """
    scale = jnp.vdot(r, r)

    def go_on(c: _Carry):
        return (c.size > tolerance**2 * scale) & (c.step < max_steps) & c.watch.fruitful() & jnp.isfinite(c.size)

    def body(c: _Carry):
        p = precondition(c.r)
        q = apply(p)
        along = jnp.tensordot(c.q, q, q.ndim)
        p, q = p - jnp.tensordot(along, c.p, 1), q - jnp.tensordot(along, c.q, 1)
        length = jnp.sqrt(jnp.vdot(q, q))
        p, q = ratio(p, length), ratio(q, length)
        alpha = jnp.vdot(q, c.r)
        r = c.r - alpha * q
        size, place = jnp.vdot(r, r), c.step % WINDOW
        kept = c.p.at[place].set(p), c.q.at[place].set(q)
        return _Carry(c.x + alpha * p, r, *kept, size, c.step + 1, c.watch.after(ratio(size, scale)))

    none = jnp.zeros((WINDOW, *r.shape), r.dtype)
    start = _Carry(jnp.zeros_like(r), r, none, none, scale, jnp.zeros((), jnp.int32), Watch.start())
    end = jax.lax.while_loop(go_on, body, start)
    return Progress(end.x, end.step)

"""Preconditioned conjugate gradients for several symmetric systems at once (Hestenes, Stiefel, J. Res. NBS 49 (1952) 409).

Each system has its own iterates. They end together, when the last system is solved; solved systems do not change meanwhile.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

PATIENCE = 150  # iterations without a smaller residual before the method gives up
RUNAWAY = 1e8  # growth of the squared residual over its smallest value at which the iteration ends


class Progress(NamedTuple):
    """Result of a Krylov method: the correction, and the number of applications of the matrix."""

    correction: Array
    steps: Int[Array, ""]


class Watch(NamedTuple):
    """Squared relative residual: the smallest so far, the steps since then, and the last."""

    best: Float[Array, ""]
    since: Int[Array, ""]
    last: Float[Array, ""]

    @staticmethod
    def start() -> "Watch":
        """Before the first residual."""
        return Watch(jnp.asarray(jnp.inf), jnp.zeros((), jnp.int32), jnp.zeros(()))

    def after(self, level) -> "Watch":
        """With one more squared residual."""
        better = level < self.best
        return Watch(jnp.where(better, level, self.best), jnp.where(better, 0, self.since + 1), level)

    def fruitful(self):
        """Whether to go on: the residual still falls, and round-off has not made it grow."""
        return (self.since < PATIENCE) & ~(self.last > RUNAWAY * self.best)


def ratio(a, b):
    """Quotient a / b, and 0 where b is 0."""
    safe = jnp.where(b == 0, 1.0, b)
    return jnp.where(b == 0, 0.0, a / safe)


def over(scalars, like):
    """One number for each system, shaped to multiply the systems' vectors `like`."""
    return scalars.reshape(scalars.shape + (1,) * (like.ndim - scalars.ndim))


class _Carry(NamedTuple):
    x: Array
    r: Array
    p: Array  # the next direction, where the norm has needed P r already; else the last one
    rz: Array  # ⟨r, P r⟩ of that direction
    size: Array  # squared residual in the chosen norm
    scale: Array
    step: Int[Array, ""]
    watch: Watch


def conjugate_gradients(
    apply: Callable,
    precondition: Callable,
    dot: Callable,
    r: Array,
    scale: Array,
    tolerance: Any,
    max_steps: Any,
    norm: Literal["preconditioner", "residual"] = "preconditioner",
    least: Any = None,
) -> Progress:
    """Solve K x = r from x = 0 for symmetric K, until the residual of each system is at most tolerance·√scale.

    Args:
        apply: K, symmetric and semidefinite.
        precondition: P, symmetric and positive, near the inverse of K.
        dot: The inner product of each system: (..., *vector) twice -> (...).
        r: Right-hand sides (..., *vector).
        scale: Squared size (...) that counts as 1.
        tolerance: Of the residual in the norm, over √scale.
        max_steps: Bound of the iterations.
        norm: "preconditioner": ‖r‖_P = √⟨r, P r⟩, the energy norm of the correction that P would make; "residual": √⟨r, r⟩,
            which spares the last application of P.
        least: Where it is given `scale` is an energy, which falls by α⟨r, P r⟩ in each step, and counts as `least` below that.

    Returns:
        x and the number of iterations. The method also ends where it makes no progress, or with numbers that are not finite.
    """
    early = norm == "preconditioner"

    def turned(r, p, before):
        """The direction after p, and ⟨r, P r⟩."""
        z = precondition(r)
        rz = dot(r, z)
        return z + over(ratio(rz, before), z) * p, rz

    def go_on(c: _Carry):
        open_ = jnp.any(c.size > tolerance**2 * c.scale)
        return open_ & (c.step < max_steps) & c.watch.fruitful() & jnp.all(jnp.isfinite(c.size))

    def body(c: _Carry):
        p, rz = (c.p, c.rz) if early else turned(c.r, c.p, c.rz)
        q = apply(p)
        # A step of length zero keeps a system that is solved while others go on.
        alpha = jnp.where(c.size > tolerance**2 * c.scale, ratio(rz, dot(p, q)), 0.0)
        x = c.x + over(alpha, p) * p
        r = c.r - over(alpha, p) * q
        scale = c.scale if least is None else jnp.maximum(c.scale - alpha * rz, least)
        p, rz = turned(r, p, rz) if early else (p, rz)
        size = rz if early else dot(r, r)
        return _Carry(x, r, p, rz, size, scale, c.step + 1, c.watch.after(jnp.max(ratio(size, scale))))

    zero = jnp.zeros_like(r)
    first = jnp.full_like(dot(r, r), jnp.inf)
    p, rz = turned(r, zero, first) if early else (zero, first)
    size = rz if early else dot(r, r)
    start = _Carry(zero, r, p, rz, size, scale, jnp.zeros((), jnp.int32), Watch.start())
    end = jax.lax.while_loop(go_on, body, start)
    return Progress(end.x, end.step)

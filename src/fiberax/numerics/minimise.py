"""Minimum of an energy on a constraint set, by projected Newton steps on flat vectors.

The iterates stay on the constraint set, so the energy itself is the merit function and the iteration ends in a minimum: in the
dense form the modulus of the projected Hessian is inverted and a saddle is left along its most negative mode; in the large form
conjugate gradients stop at negative curvature, which a guess exactly on a saddle never shows them (Nocedal and Wright,
Numerical Optimization, chapters 7 and 18).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from fiberax.numerics.result import Result, outcome

_HALVINGS = 30
_ZERO_MODE = 1e-9
_NOISE = 1e-11
_SHORT = 1e-3  # part of a step that descends by chance, in round-off


class Problem(NamedTuple):
    """energy(y) -> scalar; constraint(y) -> (k,); precondition(y, r) ~ inverse Hessian of the energy; all on flat y (n,)."""

    energy: Callable
    constraint: Callable
    precondition: Callable
    constraints: int
    dense: bool


class _Point(NamedTuple):
    y: jax.Array
    energy: jax.Array
    gradient: jax.Array  # projected on the tangent space of the constraints
    jacobian: jax.Array  # (k, n)
    multipliers: jax.Array  # (k,)


def _normal_coordinates(jacobian, vector):
    """Least-squares multipliers: (G Gᵀ)⁻¹ G vector."""
    return jnp.linalg.solve(jacobian @ jacobian.T, jacobian @ vector)


def _project(jacobian, vector):
    if jacobian.shape[0] == 0:
        return vector
    return vector - jacobian.T @ _normal_coordinates(jacobian, vector)


def _retract(problem: Problem, y):
    """Back to the constraint set by Gauss-Newton steps along the normal space."""
    if problem.constraints == 0:
        return y

    def step(_, y):
        jacobian = jax.jacrev(problem.constraint)(y)
        return y - jacobian.T @ jnp.linalg.solve(jacobian @ jacobian.T, problem.constraint(y))

    return jax.lax.fori_loop(0, 6, step, y)


def _point(problem: Problem, y) -> _Point:
    energy, gradient = jax.value_and_grad(problem.energy)(y)
    if problem.constraints == 0:
        return _Point(y, energy, gradient, jnp.zeros((0, y.size), y.dtype), jnp.zeros((0,), y.dtype))
    jacobian = jax.jacrev(problem.constraint)(y)
    multipliers = _normal_coordinates(jacobian, gradient)
    return _Point(y, energy, gradient - jacobian.T @ multipliers, jacobian, multipliers)


def _lagrangian_hessian(problem: Problem, point: _Point) -> Callable:
    def gradient(y):
        def lagrangian(y):
            return problem.energy(y) - jnp.sum(point.multipliers * problem.constraint(y))

        return jax.grad(lagrangian)(y)

    return lambda v: jax.jvp(gradient, (point.y,), (v,))[1]


def _dense_direction(problem: Problem, point: _Point, tolerance):
    """Newton direction with the modulus of the Hessian; at a stationary saddle, its most negative mode."""
    hessian = _lagrangian_hessian(problem, point)

    def projected(v):
        return _project(point.jacobian, hessian(_project(point.jacobian, v)))

    matrix = jax.vmap(projected, out_axes=1)(jnp.eye(point.y.size, dtype=point.y.dtype))
    values, vectors = jnp.linalg.eigh(0.5 * (matrix + matrix.T))
    size = jnp.abs(values)
    largest = jnp.max(size)
    # Zero modes follow what gradient they have; in an invariant direction that is none.
    inverse = 1.0 / jnp.where(size > _ZERO_MODE * largest, size, jnp.where(largest > 0.0, largest, 1.0))
    newton = -vectors @ (inverse * (vectors.T @ point.gradient))
    unstable = values[0] < -1e-7 * largest
    stationary = jnp.linalg.norm(point.gradient) <= tolerance
    escape = unstable & stationary
    away = 0.1 * jnp.maximum(jnp.linalg.norm(point.y), 1e-3) * vectors[:, 0]
    return jnp.where(escape, away, newton), escape


def _krylov_direction(problem: Problem, point: _Point, tolerance):
    """Truncated preconditioned conjugate gradients for the projected Newton system."""
    del tolerance
    hessian = _lagrangian_hessian(problem, point)
    jacobian = point.jacobian

    def apply(v):
        return _project(jacobian, hessian(v))

    def approximate(r):
        return problem.precondition(point.y, r)

    if problem.constraints:
        spread = jax.vmap(approximate)(jacobian)  # (k, n)
        gram = jacobian @ spread.T

        def precondition(r):
            z = approximate(r)
            return z - spread.T @ jnp.linalg.solve(gram, jacobian @ z)
    else:
        precondition = approximate

    rhs = -point.gradient
    size = jnp.linalg.norm(rhs)
    target = jnp.minimum(0.1, jnp.sqrt(size / (1.0 + size))) * size

    def body(carry):
        w, r, z, p, k, _ = carry
        q = apply(p)
        curvature = p @ q
        rz = r @ z
        bad = curvature <= 0.0
        alpha = jnp.where(bad, 0.0, rz / jnp.where(bad, 1.0, curvature))
        first = jnp.where(bad & (k == 0), 1.0, 0.0)  # steepest descent where the very first curvature is negative
        w = w + (alpha + first) * p
        r = r - alpha * q
        z = precondition(r)
        p = z + (r @ z) / jnp.where(rz == 0, 1.0, rz) * p
        return w, r, z, p, k + 1, bad

    z = precondition(rhs)
    start = (jnp.zeros_like(rhs), rhs, z, z, jnp.zeros((), jnp.int32), jnp.asarray(False))
    limit = min(2 * rhs.size, 500)
    w, *_ = jax.lax.while_loop(lambda c: (jnp.linalg.norm(c[1]) > target) & (c[4] < limit) & ~c[5], body, start)
    return w, jnp.asarray(False)


def _search(problem: Problem, point: _Point, direction, escape):
    """Armijo backtracking on the energy; at its round-off, on the projected gradient.

    Round-off is that of the terms of the energy, which may be much larger than their sum. Where the sum does not show it, the
    search does, by finding no descent, or next to none, along a direction of descent: then the whole step is taken if it halves
    the projected gradient and the energy does not rise by much more than it changed over the shortest step.
    """
    slope = jnp.where(escape, 0.0, point.gradient @ direction)
    noisy = ~escape & (jnp.abs(slope) <= _NOISE * jnp.abs(point.energy))
    size = jnp.linalg.norm(point.gradient)

    def attempt(scale):
        return _point(problem, _retract(problem, point.y + scale * direction))

    def good(scale, new: _Point):
        descends = new.energy <= point.energy + 1e-4 * scale * slope
        descends = jnp.where(escape, new.energy < point.energy, descends)
        return jnp.where(noisy, jnp.linalg.norm(new.gradient) < size, descends)

    def shrink(carry):
        k, scale, _ = carry
        return k + 1, 0.5 * scale, attempt(0.5 * scale)

    whole = attempt(1.0)
    start = (jnp.zeros((), jnp.int32), jnp.ones_like(size), whole)
    _, scale, new = jax.lax.while_loop(lambda c: ~good(c[1], c[2]) & (c[0] < _HALVINGS), shrink, start)
    found = good(scale, new)
    noisy = noisy | (~found & ~escape)
    rescued = (~found | (scale < _SHORT)) & ~escape & (jnp.linalg.norm(whole.gradient) < 0.5 * size)
    change = jnp.abs(new.energy - point.energy)
    wobble = 10.0 * change + jnp.where(found & (change > 0.0), 0.0, jnp.abs(slope))
    rescued = rescued & (whole.energy - point.energy <= wobble)
    return found | rescued, noisy, jax.tree.map(lambda a, b: jnp.where(rescued, a, b), whole, new)


def minimise(problem: Problem, guess, reference, tolerance: float, max_steps: int = 100):
    """Minimum near `guess` (n,): returns y, multipliers (k,) and the `Outcome`.

    Converged when the projected gradient is below `tolerance` times `reference` (a scalar), or when it has reached round-off.
    """
    find_direction = _dense_direction if problem.dense else _krylov_direction

    def body(carry):
        point, step, _ = carry
        direction, escape = find_direction(problem, point, tolerance * reference)
        size = jnp.linalg.norm(point.gradient)
        stationary = (size <= tolerance * reference) & ~escape
        accepted, noisy, new = _search(problem, point, direction, escape)
        small = jnp.linalg.norm(new.y - point.y) <= tolerance * jnp.linalg.norm(new.y)
        slack = jnp.finfo(size.dtype).eps ** (1 / 3)
        close = (size <= slack * scale) | (jnp.linalg.norm(direction) <= slack * jnp.linalg.norm(point.y))
        done = stationary | (~accepted & ((noisy & close) | escape)) | (accepted & small & noisy)
        code = jnp.where(done, jnp.int32(Result.SUCCESS), jnp.int32(-1))
        code = jnp.where(~done & ~accepted, jnp.int32(Result.STALLED), code)
        code = jnp.where(jnp.all(jnp.isfinite(direction)) & jnp.isfinite(point.energy), code, jnp.int32(Result.NONFINITE))
        keep = accepted & ~stationary
        point = jax.tree.map(lambda a, b: jnp.where(keep, a, b), new, point)
        return point, step + 1, code

    start = _point(problem, _retract(problem, guess))
    scale = jnp.maximum(reference, jnp.linalg.norm(start.gradient))
    first = jnp.where(jnp.isfinite(start.energy), jnp.int32(-1), jnp.int32(Result.NONFINITE))
    point, steps, code = jax.lax.while_loop(
        lambda c: (c[2] < 0) & (c[1] < max_steps), body, (start, jnp.zeros((), jnp.int32), first)
    )
    code = jnp.where(code < 0, jnp.int32(Result.MAX_STEPS), code)
    left = jnp.linalg.norm(point.gradient) / jnp.where(reference > 0, reference, 1.0)
    return point.y, point.multipliers, outcome(code, steps, left)

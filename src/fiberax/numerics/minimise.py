"""Minimum of an energy on a constraint set, by projected Newton steps on flat vectors.

The iterates stay on the constraint set, so the energy is the merit function and the iteration ends in a minimum. In the dense
form the modulus of the projected Hessian is inverted, and a saddle is left along its most negative mode. In the large form
conjugate gradients stop at negative curvature (Nocedal and Wright, Numerical Optimization, chapters 7 and 18). At a stationary
point the gradient does not tell whether it is a minimum. So the point that was found is tested once more, along directions
that do not depend on the gradient.

The test of a large point is conjugate gradients for H x = b with a random b. While all curvatures so far are positive, the
part of the residual along an eigenvector of negative curvature is at least that of b. So a residual far below the size of
such parts says that there is none, of any size. Where the products are used up first, those of at least about
(ln(2.75 n/δ²) / 2k)² of the largest have been found, after k products and with probability 1 − δ (Royer, O'Neill and Wright,
Math. Program. 180, 451 (2020), section 2; both after preconditioning).

More than 400 lines: the search and the tests of the point that it found share one carry, and are read together.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fiberax.numerics.linear import dense_solve
from fiberax.numerics.newton import backtrack, relative
from fiberax.numerics.result import Outcome, Result, outcome

_HALVINGS = 30
_MOVING = 1e-3  # relative Newton step above which an energy that still falls counts as running away
_PROBES = 3  # directions, each tested in both senses, for stationary points with flat directions
_CURVATURES = 200  # products with the Hessian in the test of a large point, or a tenth of those of the solve
_RESOLVED = 1e-4  # relative residual of that test: parts of a random vector are some 1/√n
_ZERO_MODE = 1e-9  # relative curvature below which the energy itself is looked at
_SPREAD = 1e-6  # of the diagonal of the Hessian, smallest over largest, below which unknowns have units of their own
_ROUNDED = 100.0  # times n eps: round-off of the eigenvalues of a matrix, relative to the largest
_NOISE = 1e-11
_LOST = 1e-5  # relative step along a mode hidden by round-off, above which the point that was found is no minimum
_SHORT = 1e-3  # shortest part of a step whose descent is not taken for round-off


class Problem(NamedTuple):
    """energy(y) -> scalar; constraint(y) -> (k,); precondition(y, r) ~ inverse Hessian of the energy; all on flat y (n,)."""

    energy: Callable
    constraint: Callable
    precondition: Callable
    constraints: int
    dense: bool
    units: Any = 1.0  # of the entries of y: what is relative to them is relative to units * y
    zero_mode: Any = _ZERO_MODE  # relative curvature below which modes take no Newton step


class _Point(NamedTuple):
    y: jax.Array
    energy: jax.Array
    gradient: jax.Array  # projected on the tangent space of the constraints
    jacobian: jax.Array  # (k, n)
    multipliers: jax.Array  # (k,)


def _normal_coordinates(jacobian, vector):
    """Least-squares multipliers: (G Gᵀ)⁻¹ G vector."""
    return dense_solve(jacobian @ jacobian.T, jacobian @ vector)


def _project(jacobian, vector):
    if jacobian.shape[0] == 0:
        return vector
    return vector - jacobian.T @ _normal_coordinates(jacobian, vector)


def _retract(problem: Problem, y):
    """Return to the constraint set by Gauss-Newton steps along the normal space."""
    if problem.constraints == 0:
        return y

    def step(_, y):
        jacobian = jax.jacrev(problem.constraint)(y)
        return y - jacobian.T @ dense_solve(jacobian @ jacobian.T, problem.constraint(y))

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


def _relative(problem: Problem, change, y, size_of_y, tolerance) -> jax.Array:
    units = problem.units
    if not isinstance(units, float):
        so_far = jnp.where(jnp.all(units == 1.0), size_of_y, 0.0)
        change, y, size_of_y = units * change, units * y, jnp.maximum(so_far, jnp.max(jnp.abs(units * y)))
    return relative(change, y, size_of_y, tolerance)


class _Step(NamedTuple):
    """A search direction (n,), and what its computation told about the point."""

    direction: jax.Array
    escape: jax.Array  # whether it is a way out of a stationary saddle
    negative: jax.Array  # whether there is a negative eigenvalue that is no round-off
    probes: jax.Array  # (_PROBES, n): random directions without curvature
    products: jax.Array  # with the Hessian, of the large form
    stiffest: jax.Array  # largest curvature so far
    drift: jax.Array  # Newton's step along modes that take none and have a curvature
    slide: jax.Array  # the same along all modes that take none, with at least the curvature of round-off
    diagonal: jax.Array  # (n,): of the Hessian, where it is dense


def round_off(count: int, largest, gradient, size_of_y) -> jax.Array:
    """How far below zero an eigenvalue of a Hessian may be that is zero.

    A gradient also lends curvature to an invariance: along y(t) = exp(tA) y it is −∇W·A²y / |Ay|², some |∇W| / |y|.

    Args:
        count: Of the unknowns.
        largest: Modulus of the largest eigenvalue, a scalar.
        gradient: Norm of the gradient ∇W, a scalar.
        size_of_y: Largest modulus of an unknown y, a scalar.
    """
    return _ROUNDED * count * jnp.finfo(jnp.result_type(largest)).eps * largest + _bend(gradient, size_of_y)


def _bend(gradient, size_of_y) -> jax.Array:
    return 10.0 * gradient / jnp.where(gradient > 0.0, jnp.maximum(size_of_y, jnp.finfo(gradient.dtype).tiny), 1.0)


def _eigenvectors(matrix):
    """Eigenvalues, rising, and eigenvectors of a symmetric matrix; a single number is its own."""
    return (matrix[0], jnp.ones_like(matrix)) if matrix.shape[0] == 1 else jnp.linalg.eigh(matrix)


def _dense_direction(problem: Problem, point: _Point, tolerance, size_of_y, stiffest) -> _Step:
    """Newton direction with the modulus of the Hessian; at a stationary saddle, its most negative mode.

    Modes with less than `problem.zero_mode` of the largest curvature take no Newton step: they may be invariances, if only
    nearly, as of a lobe on a grid. So a saddle with less is not left, which ends the iteration. Whether the energy falls along
    modes without curvature is looked at separately; there the measure is the largest curvature met on the way, `stiffest`:
    at an inflection the curvatures themselves vanish.
    """
    hessian = _lagrangian_hessian(problem, point)

    def projected(v):
        return _project(point.jacobian, hessian(_project(point.jacobian, v)))

    matrix = jax.vmap(projected, out_axes=1)(jnp.eye(point.y.size, dtype=point.y.dtype))
    values, vectors = _eigenvectors(0.5 * (matrix + matrix.T))
    size = jnp.abs(values)
    largest = jnp.max(size)
    stiffest = jnp.maximum(stiffest, largest)
    slope = jnp.linalg.norm(point.gradient)
    noise = round_off(point.y.size, largest, slope, size_of_y)
    zero = jnp.maximum(problem.zero_mode, _ROUNDED * point.y.size * jnp.finfo(size.dtype).eps) * largest
    # Along zero modes: steepest descent with the largest curvature. An invariance has no gradient, so it does not move.
    inverse = 1.0 / jnp.where(size > zero, size, jnp.where(largest > 0.0, largest, 1.0))
    newton = -vectors @ (inverse * (vectors.T @ point.gradient))
    negative = values[0] < -noise
    escape = negative & (values[0] < -zero) & (slope <= tolerance)
    away = 0.1 * jnp.maximum(jnp.linalg.norm(point.y), 1e-3) * vectors[:, 0]
    flat = jnp.where(size > jnp.maximum(zero, _ZERO_MODE * stiffest), 0.0, 1.0)
    probes = _random(_PROBES, point.y) @ (vectors * flat) @ vectors.T
    direction = jnp.where(escape, away, newton)
    least = round_off(point.y.size, largest, 0.0 * slope, size_of_y)

    def along(modes):
        return -vectors @ (jnp.where(modes, 1.0 / jnp.maximum(size, least), 0.0) * (vectors.T @ point.gradient))

    drift, slide = along((size > least) & (size <= zero)), along((size <= zero) & (largest > 0.0))
    return _Step(direction, escape, negative, probes, jnp.zeros((), jnp.int32), stiffest, drift, slide, jnp.diagonal(matrix))


def _random(count: int, like):
    """Fixed directions (count, n)."""
    return jax.random.normal(jax.random.key(0), (count, like.size), like.dtype)


def _krylov_direction(problem: Problem, point: _Point, tolerance, size_of_y, stiffest) -> _Step:
    """Truncated preconditioned conjugate gradients for the projected Newton system."""
    del tolerance, size_of_y
    rhs = -point.gradient
    size = jnp.linalg.norm(rhs)
    target = jnp.minimum(0.1, jnp.sqrt(size / (1.0 + size))) * size
    w, steps, _, _ = _conjugate_gradients(problem, point, rhs, target, min(2 * rhs.size, 500))
    no = jnp.asarray(False)  # the test of the point that was found looks for it
    probes, nothing = jnp.zeros((_PROBES, rhs.size), rhs.dtype), jnp.zeros_like(rhs)
    return _Step(w, no, no, probes, steps, stiffest, nothing, nothing, jnp.ones_like(rhs))


def _conjugate_gradients(problem: Problem, point: _Point, rhs, target, limit, flat: float = 0.0, bend: Any = 0.0):
    """The solution so far, the steps taken, the curvature that ended them (else positive), and the last direction.

    They end at a direction whose curvature is at most `flat` times the largest so far, plus `bend`.

    The preconditioner is projected: its results stay in the tangent space of the constraints, so the iteration needs no
    multipliers.
    """
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
            return z - spread.T @ dense_solve(gram, jacobian @ z)
    else:
        precondition = approximate

    def body(carry):
        w, r, z, p, k, _, largest = carry
        q = apply(p)
        curvature = p @ q
        rz = r @ z
        largest = jnp.maximum(largest, jnp.abs(curvature) / jnp.where(rz == 0, 1.0, p @ p))
        zero = (flat * largest + bend) * (p @ p)
        bad = curvature <= zero
        alpha = jnp.where(bad, 0.0, rz / jnp.where(bad, 1.0, curvature))
        first = jnp.where(bad & (k == 0), 1.0, 0.0)  # steepest descent where already the first curvature is negative
        w = w + (alpha + first) * p
        r = r - alpha * q
        z = precondition(r)
        p = jnp.where(bad, p, z + (r @ z) / jnp.where(rz == 0, 1.0, rz) * p)
        return w, r, z, p, k + 1, jnp.where(bad, curvature + zero, jnp.inf), largest

    z = precondition(rhs)
    zero = jnp.zeros_like(rhs[0])
    start = (jnp.zeros_like(rhs), rhs, z, z, jnp.zeros((), jnp.int32), zero + jnp.inf, zero)
    unfinished = lambda c: (jnp.linalg.norm(c[1]) > target) & (c[4] < limit) & jnp.isinf(c[5])
    w, _, _, p, steps, curvature, _ = jax.lax.while_loop(unfinished, body, start)
    return w, steps, curvature, p


def _round_off(problem: Problem, point: _Point) -> jax.Array:
    """Size of the round-off of a gradient, whose terms have the size of H y and of the forces of the constraints."""
    terms = jnp.linalg.norm(_lagrangian_hessian(problem, point)(point.y)) + jnp.linalg.norm(
        point.jacobian.T @ point.multipliers
    )
    return 100.0 * jnp.finfo(terms.dtype).eps * terms


def _falls(problem: Problem, point: _Point, direction, size_of_y) -> jax.Array:
    """Whether the energy falls along a direction (n,) without curvature, in either sense.

    A fall of third order or more is eight times as large at twice the distance, unlike the round-off of an invariance. The
    distance is a tenth of the size that the state has had: near an inflection at zero its own size is small.
    """
    far = 0.1 * jnp.maximum(jnp.maximum(jnp.linalg.norm(point.y), size_of_y), 1e-3)
    length = jnp.linalg.norm(direction)
    unit = direction / jnp.where(length > 0.0, length, 1.0)

    def one_way(direction):
        def lower(distance):
            return point.energy - problem.energy(_retract(problem, point.y + distance * direction))

        half, whole = lower(0.5 * far), lower(far)
        return (half > 0.0) & (whole > 3.0 * half) & (whole > 1e-10 * jnp.abs(point.energy))

    return jnp.any(jax.lax.map(one_way, jnp.stack([unit, -unit])))


def _degenerate(problem: Problem, point: _Point, probes, size_of_y) -> jax.Array:
    """Whether the energy falls along one of `probes`, directions without curvature: a stationary point that is no minimum."""
    probes = jax.vmap(lambda p: _project(point.jacobian, p))(probes)
    there = jnp.linalg.norm(probes, axis=1) > 1e-6 * point.y.size**0.5

    def body(carry):
        k, _ = carry
        return k + 1, _falls(problem, point, probes[k], size_of_y)

    # In a batch the loop ends at once if no member has a flat direction.
    unfinished = lambda c: jnp.any(there) & (c[0] < _PROBES) & ~c[1]
    return jax.lax.while_loop(unfinished, body, (jnp.zeros((), jnp.int32), jnp.asarray(False)))[1]


def _indefinite(problem: Problem, point: _Point, used, size_of_y) -> jax.Array:
    """Whether conjugate gradients from a fixed random direction find that a large stationary point is no minimum.

    They end at negative curvature, at a direction without curvature, along which the energy is then compared, or when the
    residual says that there is none. They take at most `_CURVATURES` products with the Hessian, or a tenth of those that the
    solve has `used`.
    """
    rhs = _project(point.jacobian, _random(1, point.y)[0])
    limit = jnp.maximum(used // 10, min(2 * rhs.size, _CURVATURES))
    target = _RESOLVED * jnp.linalg.norm(rhs)
    flat = max(_ZERO_MODE, _ROUNDED * float(jnp.finfo(rhs.dtype).eps))
    bend = _bend(jnp.linalg.norm(point.gradient), size_of_y)
    _, _, curvature, direction = _conjugate_gradients(problem, point, rhs, target, limit, flat, bend)
    level = jnp.isfinite(curvature) & (curvature >= 0.0)
    return (curvature < 0.0) | jax.lax.cond(
        level, lambda: _falls(problem, point, direction, size_of_y), lambda: jnp.asarray(False)
    )


def _search(problem: Problem, point: _Point, direction, escape):
    """Armijo backtracking on the energy; at its round-off, on the projected gradient.

    The round-off is that of the terms of the energy, which may be much larger than their sum. It is then found by the search:
    along a direction of descent there is no descent, or only over very short steps. Then the whole step is taken if it halves
    the projected gradient, and if the energy does not rise by much more than it changed over the shortest step.
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

    whole = attempt(1.0)
    scale, new = backtrack(attempt, good, _HALVINGS, whole)
    found = good(scale, new)
    noisy = noisy | (~found & ~escape)
    rescued = (~found | (scale < _SHORT)) & ~escape & (jnp.linalg.norm(whole.gradient) < 0.5 * size)
    change = jnp.abs(new.energy - point.energy)
    wobble = 10.0 * change + jnp.where(found & (change > 0.0), 0.0, jnp.abs(slope))
    rescued = rescued & (whole.energy - point.energy <= wobble)
    return found | rescued, noisy, jax.tree.map(lambda a, b: jnp.where(rescued, a, b), whole, new)


class _Carry(NamedTuple):
    point: _Point
    step: jax.Array
    code: jax.Array  # -1 while running
    size_of_y: jax.Array  # largest modulus so far of an entry of y
    probes: jax.Array
    used: jax.Array  # products with the Hessian
    change: jax.Array  # last step relative to y
    stiffest: jax.Array  # largest curvature so far
    drift: jax.Array
    slide: jax.Array
    diagonal: jax.Array


def _runs_away(problem: Problem, point: _Point, drift, size_of_y) -> jax.Array:
    """Whether the energy still falls far along `drift` (n,), Newton's step along modes of little curvature.

    At a degenerate minimum, such as that of u^6, it rises before that; along a near invariance it changes by round-off.
    """
    moving = _relative(problem, drift, point.y, size_of_y, _MOVING) > _MOVING

    def body(carry):
        k, _ = carry
        far = jax.lax.map(lambda s: problem.energy(_retract(problem, point.y + s * drift)), jnp.asarray([10.0, 100.0]))
        return k + 1, jnp.all(point.energy - far > 1e-10 * jnp.abs(point.energy))

    # In a batch the loop ends at once if no member moves.
    return jax.lax.while_loop(lambda c: moving & (c[0] < 1), body, (jnp.zeros((), jnp.int32), jnp.asarray(False)))[1]


def _sinks(problem: Problem, point: _Point, slide, size_of_y, tolerance) -> jax.Array:
    """Relative length of `slide` (n,) where the energy falls along it, as its gradient says and by more than round-off, else 0.

    Modes of little curvature are no invariances then.
    """
    length = _relative(problem, slide, point.y, size_of_y, tolerance)
    slope = -point.gradient @ slide

    def body(carry):
        lower = lambda s: point.energy - problem.energy(_retract(problem, point.y + s * slide))
        begun, all_of_it = lower(0.25), lower(1.0)
        told = (begun > 0.5 * 0.25 * slope) & (begun < 1.5 * 0.25 * slope)
        return carry[0] + 1, told & (all_of_it > 1e-10 * jnp.abs(point.energy))

    start = (jnp.zeros((), jnp.int32), jnp.asarray(False))
    falls = jax.lax.while_loop(lambda c: (length > tolerance) & (c[0] < 1), body, start)[1]
    return jnp.where(falls, length, 0.0)


def _lower(problem: Problem, point: _Point, probes, used, size_of_y) -> jax.Array:
    if problem.dense:
        return _degenerate(problem, point, probes, size_of_y)
    return _indefinite(problem, point, used, size_of_y)


def is_minimum(problem: Problem, y, size_of_y) -> jax.Array:
    """Whether a stationary point `y` (n,) that another method has found is a minimum, by the tests of `minimise`."""
    point = _point(problem, y)
    if not problem.dense:
        return ~_indefinite(problem, point, jnp.zeros((), jnp.int32), size_of_y)
    found = _dense_direction(problem, point, jnp.inf, size_of_y, jnp.zeros(()))
    return ~found.negative & ~_degenerate(problem, point, found.probes, size_of_y)


def minimise(problem: Problem, guess, reference, tolerance: float, max_steps: int = 100):
    """Minimum near `guess` (n,).

    Args:
        problem: Energy, constraints and preconditioner.
        guess: Where the iteration begins (n,).
        reference: Norm of the projected gradient that counts as 1, a scalar.
        tolerance: Relative.
        max_steps: Largest number of steps.

    Returns:
        y (n,), the outcome, the diagonal of the last dense Hessian (n,), and the relative length of the step along modes that
        took none where the energy falls along it, else 0.

    Converged when the projected gradient is below `tolerance` times `reference` (a scalar) and the Newton step below
    `tolerance` relative to each entry of y (`newton.relative`), or when the gradient has reached round-off. A stationary
    point along which the energy can fall is `UNSTABLE`; an energy that still falls, in steps that do not shrink, when the
    steps are used up is a `RUNAWAY`.
    """
    find_direction = _dense_direction if problem.dense else _krylov_direction

    def body(carry: _Carry):
        point, size_of_y = carry.point, carry.size_of_y
        found = find_direction(problem, point, tolerance * reference, size_of_y, carry.stiffest)
        direction, escape = found.direction, found.escape
        size = jnp.linalg.norm(point.gradient)
        change = _relative(problem, direction, point.y, size_of_y, tolerance)
        short = change <= tolerance
        if not problem.dense:  # a gradient of round-off gives a step of round-off
            short |= size <= _round_off(problem, point)
        stationary = (size <= tolerance * reference) & short & ~escape
        accepted, noisy, new = _search(problem, point, direction, escape)
        small = _relative(problem, new.y - point.y, new.y, size_of_y, tolerance) <= tolerance
        slack, left = jnp.finfo(size.dtype).eps ** (1 / 3), jnp.linalg.norm(new.gradient)
        small &= (left <= slack * scale) | (left <= 0.1 * size)  # beside a kink a step may be short while the gradient stays
        close = (size <= slack * scale) | (jnp.linalg.norm(direction) <= slack * jnp.linalg.norm(point.y))
        done = stationary | (~accepted & ((noisy & close) | escape)) | (accepted & small & noisy)
        code = jnp.where(done, jnp.where(found.negative, jnp.int32(Result.UNSTABLE), jnp.int32(Result.SUCCESS)), -1)
        code = jnp.where(~done & ~accepted, jnp.int32(Result.STALLED), code)
        code = jnp.where(jnp.all(jnp.isfinite(direction)) & jnp.isfinite(point.energy), code, jnp.int32(Result.NONFINITE))
        keep = accepted & ~stationary
        point = jax.tree.map(lambda a, b: jnp.where(keep, a, b), new, point)
        size_of_y = jnp.maximum(size_of_y, jnp.max(jnp.abs(point.y), initial=0.0))
        used = carry.used + found.products
        last = (found.stiffest, found.drift, found.slide, found.diagonal)
        return _Carry(point, carry.step + 1, code, size_of_y, found.probes, used, change, *last)

    start = _point(problem, _retract(problem, guess))
    scale = jnp.maximum(reference, jnp.linalg.norm(start.gradient))
    first = jnp.where(jnp.isfinite(start.energy), jnp.int32(-1), jnp.int32(Result.NONFINITE))
    zero = jnp.zeros((), jnp.int32)
    largest = jnp.max(jnp.abs(start.y), initial=0.0)
    probes = jnp.zeros((_PROBES, guess.size), guess.dtype)
    nothing, ones = jnp.zeros_like(start.y), jnp.ones_like(start.y)
    begin = _Carry(start, zero, first, largest, probes, zero, jnp.zeros(()), jnp.zeros_like(scale), nothing, nothing, ones)
    end = jax.lax.while_loop(lambda c: (c.code < 0) & (c.step < max_steps), body, begin)
    point, code = end.point, end.code
    left = jnp.linalg.norm(point.gradient)
    moving = (end.change > _MOVING) & (left <= 1e-2 * scale)
    code = jnp.where(code < 0, jnp.where(moving, jnp.int32(Result.RUNAWAY), jnp.int32(Result.MAX_STEPS)), code)
    lower = _lower(problem, point, end.probes, end.used, end.size_of_y)
    code = jnp.where((code == Result.SUCCESS) & lower, jnp.int32(Result.UNSTABLE), code)
    fall = jnp.zeros_like(scale)
    if guess.size > 1:  # the mode of a single unknown has the largest curvature
        away = _runs_away(problem, point, end.drift, end.size_of_y)
        code = jnp.where(((code == Result.SUCCESS) | (code == Result.MAX_STEPS)) & away, jnp.int32(Result.RUNAWAY), code)
        fall = _sinks(problem, point, end.slide, end.size_of_y, tolerance)
    out = outcome(code, end.step, left / jnp.where(reference > 0, reference, 1.0))
    return point.y, out, end.diagonal, fall


def minimise_thoroughly(problem: Problem, guess, first, tolerance: float) -> tuple[jax.Array, Outcome]:
    """`minimise`, and once more in units of its own for each unknown, or with steps along every mode, where curvatures differ.

    Curvatures below `_ZERO_MODE` of the largest count as zero, which is right for unknowns of one kind alone. Where the
    diagonal of the Hessian spreads by more than `_SPREAD` the search goes on with unknowns over √|H_ii|, without constraints.
    Where the energy falls along such modes, as that of stiff springs between soft ones, they take Newton's step.

    Args:
        problem: As for `minimise`.
        guess: Where the iteration begins (n,).
        first: Gradient of the energy that counts as 1 (n,).
        tolerance: Relative.

    Returns:
        y (n,) and the outcome.
    """
    if not problem.dense or guess.size == 1:
        y, out, _, _ = minimise(problem, guess, jnp.linalg.norm(first), tolerance)
        return y, out

    def search(carry):
        number, units, zero_mode, y, steps, _, _ = carry
        scaled = problem._replace(zero_mode=zero_mode)
        if not problem.constraints:
            scaled = scaled._replace(energy=lambda z: problem.energy(units * z), units=units)
        z, out, diagonal, fall = minimise(scaled, y / units, jnp.linalg.norm(units * first), tolerance)
        size = jnp.abs(diagonal)
        largest = jnp.max(size)
        there = size > 8.0 * jnp.finfo(size.dtype).eps * largest  # less is round-off of a flat unknown
        apart = jnp.any(there & (size < _SPREAD * largest)) & (number == 0) & (problem.constraints == 0)
        further = jnp.where(there, jnp.sqrt(largest / jnp.where(there, size, 1.0)), 1.0)
        # Modes that round-off hides take no step in any search. A minimum without curvature is reached up to a small one.
        lost = (fall > _LOST) & (zero_mode == 0.0) & (out.result == Result.SUCCESS)
        out = out._replace(result=jnp.where(lost, jnp.int32(Result.STALLED), out.result))
        sinks = (fall > tolerance) & (zero_mode > 0.0)
        may = (out.result != Result.NONFINITE) & (out.result != Result.RUNAWAY) & (out.result != Result.UNSTABLE)
        zero_mode = jnp.where(sinks & ~apart, 0.0, zero_mode)
        return number + 1, jnp.where(apart, further, units), zero_mode, units * z, steps + out.steps, out, (apart | sinks) & may

    nothing = outcome(jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32), jnp.zeros_like(guess[0]))
    zero = jnp.zeros((), jnp.int32)
    start = (zero, jnp.ones_like(guess), jnp.full((), _ZERO_MODE, guess.dtype), guess, zero, nothing, jnp.asarray(True))
    _, _, _, y, steps, out, _ = jax.lax.while_loop(lambda carry: carry[-1], search, start)
    return y, out._replace(steps=steps)

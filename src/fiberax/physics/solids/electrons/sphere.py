"""Ground states ϕ of (−½λ_W ∇² + V(ϕ²)) ϕ = μ ϕ with a norm that is held: conjugate gradients on the sphere mean(u²) = 1.

Directions are preconditioned waves by waves, the step along a great circle comes from the exact second derivative, bounded
where the energy is not convex, and a step that raises the energy is taken back. −½λ_W∇²u is updated together with u, so that an
iteration costs seven transforms. u and its directions have no Nyquist waves; residuals are fields that may have some, which no
product with a direction sees, and their norm leaves them out.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from fiberax.core.strategies import AbstractManifold
from fiberax.numerics.result import Outcome, Result, outcome
from fiberax.physics.solids.electrons import descent, fourier
from fiberax.physics.solids.electrons.rest import electrons_of, with_electrons

_MOST = 300
_WIDEST = 0.5  # radians of a step
_SHORTEST = 1e-6  # of what a step should be
_NODE = -1e-3


class Sphere(NamedTuple):
    """The problem, in energies per electron; fields (n1, n2, n3).

    Attributes:
        laplace: w -> −½λ_W ∇²w.
        precondition: Waves of w -> the preconditioned w, and −½λ_W ∇² of it; both without Nyquist waves.
        repel: Change of density -> the Hartree potential of it.
        local: (u, hartree) -> the rest of H u over u, V, and its energy per electron, both fields.
        bend: (u, change of density) -> the change of V without Hartree's.
        density: Mean density ρ₀: the density is ρ₀ u².
        scale: The residual of H u − μu that counts as 1.
    """

    laplace: Callable
    precondition: Callable
    repel: Callable
    local: Callable
    bend: Callable
    density: Any
    scale: Any


class _Point(NamedTuple):
    u: Float[Array, "n1 n2 n3"]
    bent: Float[Array, "n1 n2 n3"]  # −½λ_W ∇²u
    potential: Float[Array, "n1 n2 n3"]
    energy: Float[Array, ""]
    residual: Float[Array, "n1 n2 n3"]
    waves: Complex[Array, "n1 n2 k"]  # of the residual
    norm: Float[Array, ""]


class _Carry(NamedTuple):
    point: _Point
    way: Float[Array, "n1 n2 n3"]  # the direction before, and −½λ_W ∇² of it
    bent_way: Float[Array, "n1 n2 n3"]
    before: Float[Array, "n1 n2 n3"]  # the residual before
    product: Float[Array, ""]
    shorter: Float[Array, ""]  # of the step, after steps that were taken back
    step: Any
    result: Any


class Normalised(AbstractManifold):
    """mean(u²) = 1 without Nyquist waves: what a state has of them is dropped when a step begins."""

    def retract(self, fiber, state, condition, normal_at=None):
        u = electrons_of(state)
        if normal_at is None:
            return with_electrons(state, _normalised(fourier.within(u)))
        normal = electrons_of(normal_at)
        along, square = _dot(u, normal), _dot(normal, normal)
        back = (along - jnp.sqrt(along**2 - square * (_dot(u, u) - 1.0))) / square
        return with_electrons(state, u - back * normal)

    def project(self, fiber, state, velocity, condition):
        u, v = electrons_of(state), fourier.within(electrons_of(velocity))
        return with_electrons(velocity, v - (_dot(u, v) / _dot(u, u)) * u)


def _dot(a, b):
    return jnp.mean(a * b)


def _normalised(u):
    return u / jnp.sqrt(_dot(u, u))


def _at(problem: Sphere, u, bent, hartree) -> _Point:
    potential, share = problem.local(u, hartree)
    applied = bent + potential * u
    residual = applied - _dot(u, applied) * u
    energy = jnp.mean(u * bent + share * u**2)
    waves = fourier.forward(residual)
    norm = jnp.sqrt(jnp.sum(fourier.weights(u.shape) * (waves.real**2 + waves.imag**2))) / problem.scale
    return _Point(u, bent, potential, energy, residual, waves, norm)


def ground_state(problem: Sphere, guess: Float[Array, "n1 n2 n3"], tolerance: float, careful: Any = 1.0) -> tuple[Any, Outcome]:
    """The u near `guess` with a residual below `tolerance`; STALLED where it has nodes, which no ground state has.

    With `careful` below 1 steps are bounded more tightly, and are plain preconditioned descent.
    """
    u = _normalised(fourier.within(guess))
    start = _at(problem, u, problem.laplace(u), problem.repel(problem.density * u * u))
    none, one = jnp.zeros_like(u), jnp.ones(())
    carry = _Carry(start, none, none, none, one, one, jnp.zeros((), jnp.int32), _verdict(start, 0, one, tolerance))
    carry = jax.lax.while_loop(lambda c: c.result < 0, lambda c: _iteration(problem, c, tolerance, careful), carry)
    point = carry.point
    nodes = jnp.min(point.u) < _NODE
    result = jnp.where((carry.result == 0) & nodes, jnp.int32(Result.STALLED), carry.result)
    return point.u, outcome(result, carry.step, point.norm)


def curvature(problem: Sphere, u: Float[Array, "n1 n2 n3"]) -> Callable:
    """The map p -> (H − μ) p + δV u without its part along u: second derivatives on the sphere."""
    point = _at(problem, u, problem.laplace(u), problem.repel(problem.density * u * u))
    level = _dot(u, point.bent + point.potential * u)

    def apply(p):
        bent = problem.laplace(p)
        applied = fourier.within(_bent(problem, point, p, bent) - level * p)
        return applied - _dot(u, applied) * u

    return apply


def _bent(problem: Sphere, point: _Point, p, bent_p):
    """H p + δV u for a change p of u."""
    change = 2.0 * problem.density * point.u * p
    return bent_p + point.potential * p + (problem.repel(change) + problem.bend(point.u, change)) * point.u


def _verdict(point: _Point, step, shorter, tolerance):
    """A result code, or −1 to go on."""
    return descent.verdict(point.norm, point.energy, step, shorter, tolerance, _MOST, _SHORTEST)


def _iteration(problem: Sphere, c: _Carry, tolerance, careful) -> _Carry:
    u, bent, potential, _, residual, waves, _ = c.point
    raw, bent_raw = problem.precondition(waves)
    along = _dot(u, raw)
    down, bent_down = along * u - raw, along * bent - bent_raw
    product = -_dot(residual, down)
    more = descent.share_of_the_last(_dot(residual - c.before, down), c.product, c.step, c.shorter, careful)
    along = _dot(u, c.way)
    way, bent_way = down + more * (c.way - along * u), bent_down + more * (c.bent_way - along * bent)
    uphill = _dot(residual, way) >= 0.0
    way, bent_way = jnp.where(uphill, down, way), jnp.where(uphill, bent_down, bent_way)
    length = jnp.sqrt(_dot(way, way))
    p, bent_p = way / length, bent_way / length

    slope = _dot(residual, p)
    curve = _dot(p, _bent(problem, c.point, p, bent_p)) - _dot(u, bent + potential * u)
    angle = descent.length(slope, curve, careful * _WIDEST, c.shorter)

    cos, sin = jnp.cos(angle), jnp.sin(angle)
    turned = _normalised(cos * u + sin * p)
    new = _at(problem, turned, cos * bent + sin * bent_p, problem.repel(problem.density * turned**2))
    point, shorter = descent.kept(new, c.point, -slope * angle, c.shorter, 1e-13 * problem.scale)
    # The direction at the new point: turned along with it.
    carried, bent_carried = length * (cos * p - sin * u), length * (cos * bent_p - sin * bent)
    step = c.step + 1
    result = _verdict(point, step, shorter, tolerance)
    return _Carry(point, carried, bent_carried, residual, product, shorter, step, result)

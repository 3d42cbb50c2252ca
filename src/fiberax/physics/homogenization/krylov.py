"""Krylov methods for several cell problems side by side, preconditioned by a Fourier multiplier.

The residual is measured in the norm ‖r‖_P = √⟨r, P r⟩ of the preconditioner P, that is, as the energy of the corrector
that would balance it in a homogeneous reference medium. It does not change with the resolution.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from fiberax.physics.homogenization.medium import System

PATIENCE = 150  # iterations without a smaller residual before the method gives up


class Progress(NamedTuple):
    """What a Krylov method found: the correction, and the applications of K it took."""

    correction: Array
    steps: Int[Array, ""]


class _Watch(NamedTuple):
    best: Float[Array, ""]
    since: Int[Array, ""]


def _watched(watch: _Watch, level) -> _Watch:
    better = level < watch.best
    return _Watch(jnp.where(better, level, watch.best), jnp.where(better, 0, watch.since + 1))


def _start_watch() -> _Watch:
    return _Watch(jnp.asarray(jnp.inf), jnp.zeros((), jnp.int32))


def ratio(a, b):
    """a / b, and 0 where b is 0."""
    safe = jnp.where(b == 0, 1.0, b)
    return jnp.where(b == 0, 0.0, a / safe)


def _over(scalars, like):
    return scalars.reshape(scalars.shape + (1,) * (like.ndim - 1))


def conjugate_gradients(system: System, r, scale, tolerance, max_steps, falling: bool = False) -> Progress:
    """Solve K x = r from x = 0 for symmetric K, until ‖residual_j‖_P ≤ tolerance·√scale_j for each j.

    With `falling`, `scale` is the energy ⟨(e+∇χ)·a(e+∇χ)⟩ of each system, and goes down as the method lowers it.
    """

    def go_on(carry):
        _, _, _, rz, scale, step, watch = carry
        open_ = jnp.any(rz > tolerance**2 * scale)
        return open_ & (step < max_steps) & (watch.since < PATIENCE) & jnp.all(jnp.isfinite(rz))

    def body(carry):
        x, r, p, rz, scale, step, watch = carry
        q = system.apply(p)
        alpha = jnp.where(rz > tolerance**2 * scale, ratio(rz, system.dot(p, q)), 0.0)
        x = x + _over(alpha, x) * p
        r = r - _over(alpha, r) * q
        z = system.precondition(r)
        new = system.dot(r, z)
        p = z + _over(ratio(new, rz), z) * p
        scale = scale - alpha * rz if falling else scale
        return x, r, p, new, scale, step + 1, _watched(watch, jnp.max(ratio(new, scale)))

    z = system.precondition(r)
    start = (jnp.zeros_like(r), r, z, system.dot(r, z), scale, jnp.zeros((), jnp.int32), _start_watch())
    x, *_, step, _ = jax.lax.while_loop(go_on, body, start)
    return Progress(x, step)


class _Bi(NamedTuple):
    x: Array
    r: Array
    u: Array
    rho: Float[Array, " m"]
    alpha: Float[Array, " m"]
    omega: Float[Array, " m"]
    step: Int[Array, ""]
    watch: _Watch


def bicgstab2(system: System, r, scale, tolerance, max_steps) -> Progress:
    """Solve K x = r from x = 0 for non-symmetric K by BiCGstab(2), stopping as `conjugate_gradients` does.

    G. L. G. Sleijpen and D. R. Fokkema, ETNA 1 (1993) 11, on P^½ K P^½, whose plain inner product is the one of the norm
    above. One step counts two applications of K for each of its two halves.
    """
    dot, over = system.dot, _over
    limit = tolerance**2 * scale

    def apply(v):
        return system.root(system.apply(system.root(v)))

    shadow = system.root(r)

    def go_on(c: _Bi):
        size = dot(c.r, c.r)
        return jnp.any(size > limit) & (c.step < max_steps) & (c.watch.since < PATIENCE) & jnp.all(jnp.isfinite(size))

    def body(c: _Bi):
        active = dot(c.r, c.r) > limit

        def share(a, b):
            return jnp.where(active, ratio(a, b), 0.0)

        x, r, rho = c.x, c.r, -c.omega * c.rho
        rho_new = dot(shadow, r)
        beta, rho = share(c.alpha * rho_new, rho), rho_new
        u = r - over(beta, r) * c.u
        v = apply(u)
        alpha = share(rho, dot(v, shadow))
        r = r - over(alpha, r) * v
        s = apply(r)
        x = x + over(alpha, x) * u
        rho_new = dot(shadow, s)
        beta, rho = share(alpha * rho_new, rho), rho_new
        v = s - over(beta, s) * v
        w = apply(v)
        alpha = share(rho, dot(w, shadow))
        u = r - over(beta, r) * u
        r = r - over(alpha, r) * v
        s = s - over(alpha, s) * w
        t = apply(s)
        # Minimise ‖r − ω₁ s − ω₂ t‖.
        rs, mu, nu, tau, rt = dot(r, s), dot(s, s), dot(s, t), dot(t, t), dot(r, t)
        tau = tau - ratio(nu * nu, mu)
        two = share(rt - ratio(nu * rs, mu), tau)
        one = share(rs - nu * two, mu)
        x = x + over(one, x) * r + over(two, x) * s + over(alpha, x) * u
        r = r - over(one, r) * s - over(two, r) * t
        u = u - over(one, u) * v - over(two, u) * w
        level = jnp.max(ratio(dot(r, r), scale))
        return _Bi(x, r, u, rho, alpha, two, c.step + 4, _watched(c.watch, level))

    ones = jnp.ones_like(scale)
    zero = jnp.zeros_like(r)
    start = _Bi(zero, shadow, zero, ones, 0.0 * ones, ones, jnp.zeros((), jnp.int32), _start_watch())
    end = jax.lax.while_loop(go_on, body, start)
    return Progress(system.root(end.x), end.step)

"""Krylov methods for several cell problems at once, preconditioned by a Fourier multiplier.

The residual is measured in the norm ‖r‖_P = √⟨r, P r⟩ of the preconditioner P, that is, as the energy of the corrector
that would balance it in a homogeneous reference medium. It does not change with the resolution.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from fiberax.numerics import conjugate_gradients as cg
from fiberax.numerics.conjugate_gradients import Progress, Watch, over, ratio
from fiberax.physics.homogenization.medium import System

FLOOR = 1e-16  # relative residuals below round-off are not attempted


def conjugate_gradients(system: System, r, scale, tolerance, max_steps, least=None) -> Progress:
    """Solve K x = r from x = 0 for symmetric K, until ‖residual_j‖_P ≤ tolerance·√scale_j for each j.

    With `least`, `scale` is the energy ⟨(e+∇χ)·a(e+∇χ)⟩ of each system, and falls down to that as the method lowers it.
    """
    tolerance = jnp.maximum(tolerance, FLOOR)
    return cg.conjugate_gradients(system.apply, system.precondition, system.dot, r, scale, tolerance, max_steps, least=least)


class _Bi(NamedTuple):
    x: Array
    r: Array  # (3, m, ...): r, B r, B² r
    u: Array  # (3, m, ...)
    rho: Float[Array, " m"]
    alpha: Float[Array, " m"]
    omega: Float[Array, " m"]
    step: Int[Array, ""]
    watch: Watch


def bicgstab2(system: System, r, scale, tolerance, max_steps) -> Progress:
    """Solve K x = r from x = 0 for non-symmetric K by BiCGstab(2), stopping as `conjugate_gradients` does.

    G. L. G. Sleijpen and D. R. Fokkema, ETNA 1 (1993) 11, with B = P^½ K P^½, whose plain inner product is the one of the norm
    above. Steps count applications of K, four at a time.
    """
    dot = system.dot
    limit = jnp.maximum(tolerance, FLOOR) ** 2 * scale
    shadow = system.root(r)

    def apply(v):
        return system.root(system.apply(system.root(v)))

    def go_on(c: _Bi):
        size = dot(c.r[0], c.r[0])
        return jnp.any(size > limit) & (c.step < max_steps) & c.watch.fruitful() & jnp.all(jnp.isfinite(size))

    def body(c: _Bi):
        active = dot(c.r[0], c.r[0]) > limit

        def share(a, b):
            return jnp.where(active, ratio(a, b), 0.0)

        def half(j, carry):
            """One BiCG step; rows of r and u beyond j + 1 are not set yet."""
            x, r, u, rho, alpha = carry
            rho_new = dot(r[j], shadow)
            u = r - over(share(alpha * rho_new, rho), x) * u
            u = u.at[j + 1].set(apply(u[j]))
            alpha = share(rho_new, dot(u[j + 1], shadow))
            r = r.at[:2].add(-over(alpha, x) * u[1:])
            r = r.at[j + 1].set(apply(r[j]))
            return x + over(alpha, x) * u[0], r, u, rho_new, alpha

        x, r, u, rho, alpha = jax.lax.fori_loop(0, 2, half, (c.x, c.r, c.u, -c.omega * c.rho, c.alpha))
        # Minimise |r₀ − ω₁ r₁ − ω₂ r₂|.
        rs, mu, nu, tau, rt = dot(r[0], r[1]), dot(r[1], r[1]), dot(r[1], r[2]), dot(r[2], r[2]), dot(r[0], r[2])
        two = share(rt - ratio(nu * rs, mu), tau - ratio(nu * nu, mu))
        one = share(rs - nu * two, mu)
        x = x + over(one, x) * r[0] + over(two, x) * r[1]
        r = r.at[0].add(-over(one, x) * r[1] - over(two, x) * r[2])
        u = u.at[0].add(-over(one, x) * u[1] - over(two, x) * u[2])
        level = jnp.max(ratio(dot(r[0], r[0]), scale))
        return _Bi(x, r, u, rho, alpha, two, c.step + 4, c.watch.after(level))

    ones, zero = jnp.ones_like(scale), jnp.zeros_like(r)
    rows = jnp.stack([shadow, zero, zero])
    start = _Bi(zero, rows, jnp.zeros_like(rows), ones, 0.0 * ones, ones, jnp.zeros((), jnp.int32), Watch.start())
    end = jax.lax.while_loop(go_on, body, start)
    return Progress(system.root(end.x), end.step)

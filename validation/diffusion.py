"""Validation of interacting diffusion: `python validation/diffusion.py [name ...]`, without a name everything.

The truth is the macroscopic equation ∂_t U = ΔA(U) with the A of the transfer operator, solved by scipy, the whole lattice of
Guo, Papanicolaou and Varadhan (5.2), written here anew, and Gaussian lattices in closed form. Each case prints a table, writes
it to runs/validation/NAME.csv, and fails where a number misses its bound.
"""

import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from scipy.integrate import solve_ivp
from scipy.interpolate import CubicSpline
from table import Table, run

import fiberax as fx
from fiberax.physics.diffusion import ginzburg_landau_chain

jax.config.update("jax_enable_x64", True)

SIGMAS = 4.0
COUPLING = 1.0
T = 0.02


def quartic(x):
    return 0.25 * x**4 + 0.5 * x**2


def start(x):
    return 0.4 + 0.8 * np.sin(2.0 * np.pi * x)


def exact_response(sites=None):
    """A(U) by a spline through values of the transfer operator; of a ring of `sites`, or of the infinite chain."""
    U = np.linspace(-0.7, 1.5, 45)
    return CubicSpline(U, [ginzburg_landau_chain(quartic, u, coupling=COUPLING, sites=sites).response for u in U])


def macroscopic(A, cells):
    """U(T) of ∂_t U = ΔA(U) on the unit circle by finite volumes of second order."""
    rate = lambda t, u: (np.roll(A(u), 1) + np.roll(A(u), -1) - 2.0 * A(u)) * cells**2
    x = (np.arange(cells) + 0.5) / cells
    return solve_ivp(rate, (0.0, T), start(x), method="LSODA", rtol=1e-8, atol=1e-9).y[:, -1]


def waves(U):
    """Fourier coefficients 1 to 3 (real: sine and cosine) over the last axis; cells or sites at (k + 1/2)/n."""
    n = U.shape[-1]
    x = (np.arange(n) + 0.5) / n
    return np.stack([2.0 * np.mean(U * f(2.0 * np.pi * k * x), axis=-1) for k in (1, 2, 3) for f in (np.sin, np.cos)], axis=-1)


NAMES = ("sin x", "cos x", "sin 2x", "cos 2x", "sin 3x", "cos 3x")


def coupled(out):
    """Fibers carried along beside the density, against the density with the exact A of their finite rings."""
    table = Table("coupled_spins", "coupled run against its exact limit, T = 0.02", ("what", "exact", "mean", "standard error"))
    cells, sites, seeds = 16, 16, 16
    exact = waves(macroscopic(exact_response(sites), cells))
    fiber = fx.diffusion.GinzburgLandau(quartic, sites=sites, replicas=32, coupling=COUPLING)
    grid = fx.grids.Box(0.0, 1.0, cells=cells)
    bundle = fx.Bundle(fx.diffusion.Density(grid), fiber)
    # A macro step is 0.8 of fiber time, close to its relaxation time; the density moves in 200 of them: scales are apart.
    driver = fx.Seamless(substeps=8, clock=1.25e-4, separation=np.inf)
    run = lambda seed: fx.evolve(bundle, driver, start(grid.axis(0)), t1=T, dt=1e-4, key=jax.random.key(seed)).macro[-1]
    found = waves(np.stack([np.asarray(run(seed)) for seed in range(seeds)]))
    mean, error = found.mean(axis=0), found.std(axis=0, ddof=1) / seeds**0.5
    for k, name in enumerate(NAMES):
        table.below(
            abs(mean[k] - exact[k]) / error[k], SIGMAS, f"{name}: deviation in standard errors", exact[k], mean[k], error[k]
        )
    plain = waves(macroscopic(lambda u: 0.5 * (u**3 + u), cells))[0]
    table.below(50.0 * error[0], abs(plain - exact[0]), "50 standard errors against ½V'(U) for A", exact[0], plain, error[0])
    return table.close(out)


@partial(jax.jit, static_argnames=("N", "V"))
def lattice(key, phi, N, V, coupling, dt, steps):
    """Equation (5.2) in the time of the density, by Euler and Maruyama, η = β = 1: bonds exchange φ, (replicas, N)."""

    def step(k, phi):
        slope = jax.vmap(jax.vmap(jax.grad(V)))(phi)
        force = slope + coupling * (2.0 * phi - jnp.roll(phi, 1, axis=1) - jnp.roll(phi, -1, axis=1))
        noise = jax.random.normal(jax.random.fold_in(key, k), phi.shape)
        current = 0.5 * N**2 * dt * (jnp.roll(force, -1, axis=1) - force) + N * jnp.sqrt(dt) * noise  # from i + 1 to i
        return phi + current - jnp.roll(current, 1, axis=1)

    return jax.lax.fori_loop(0, steps, step, phi)


def many_spins(out):
    """The whole lattice, its N spins in the time N² t, against the density with the exact A."""
    table = Table("many_spins", "all spins against the density, T = 0.02", ("what", "spins", "exact", "mean", "standard error"))
    fine = waves(macroscopic(exact_response(), 256))
    off = []
    for N, replicas in ((16, 12_000), (32, 6000), (64, 1500)):
        steps = int(np.ceil(T * N**2 * 2.0 * (4.0 * COUPLING + 4.0) / 0.12))
        begin = jnp.broadcast_to(jnp.asarray(start((np.arange(N) + 0.5) / N)), (replicas, N))
        found = waves(np.asarray(lattice(jax.random.key(N), begin, N, quartic, COUPLING, T / steps, steps)))
        mean, error = found.mean(axis=0), found.std(axis=0, ddof=1) / replicas**0.5
        for k in range(len(NAMES)):
            # Fluctuations shift the mean of a nonlinear equation by O(1/N).
            bound = SIGMAS * error[k] + 0.5 / N * abs(fine[0])
            table.below(abs(mean[k] - fine[k]), bound, f"{NAMES[k]}: deviation", N, fine[k], mean[k], error[k])
        off.append((mean[0] - fine[0], error[0]))
    table.note("sin x: deviations", "", "", *(f"{a:.2e} ± {b:.0e}" for a, b in off[-2:]))
    return table.close(out)


def gaussian_modes(out):
    """V = αφ²: the mean of every mode decays, and its variance grows, at a known rate, in the lattice and in the fiber."""
    table = Table("gaussian_modes", "modes of Gaussian lattices against closed forms", ("what", "mode", "exact", "value"))
    alpha, N, replicas, amplitude = 0.7, 16, 10_000, 2.0
    x = (np.arange(N) + 0.5) / N
    lam = 2.0 - 2.0 * np.cos(2.0 * np.pi * np.arange(1, 4) / N)
    begin = np.broadcast_to(0.3 + amplitude * sum(np.sin(2.0 * np.pi * k * x) for k in (1, 2, 3)), (replicas, N))
    stiffness = 2.0 * alpha + COUPLING * lam
    rate = 0.5 * lam * stiffness  # of a mode, in the lattice's own time
    time, steps = 6.0, 1200
    dt = time / steps

    def rows(name, field, variance):
        found = waves(field)[:, ::2]
        mean, error = found.mean(axis=0), found.std(axis=0, ddof=1) / replicas**0.5
        power = found.var(axis=0, ddof=1)
        for k in range(3):
            exact = amplitude * np.exp(-rate[k] * time)
            table.below(
                abs(mean[k] - exact),
                SIGMAS * error[k] + rate[k] ** 2 * time * dt * exact,
                f"{name}: mean",
                k + 1,
                exact,
                mean[k],
            )
            spread = SIGMAS * (2.0 / replicas) ** 0.5 * variance[k] + rate[k] * dt * variance[k]
            table.below(abs(power[k] - variance[k]), spread, f"{name}: variance", k + 1, variance[k], power[k])

    variance = 2.0 / N * (1.0 - np.exp(-2.0 * rate * time)) / stiffness
    quadratic = lambda phi: alpha * phi**2
    field = lattice(jax.random.key(0), jnp.asarray(begin), N, quadratic, COUPLING, dt / N**2, steps)
    rows("equation (5.2)", np.asarray(field), variance)
    options = {"sites": N, "coupling": COUPLING, "replicas": replicas, "dynamics": "exchange"}
    fiber = fx.diffusion.GinzburgLandau(quadratic, **options)
    state = fx.diffusion.Lattice(jnp.asarray(begin.T), jnp.zeros((N, replicas)))
    step = lambda k, s: fiber.step(s, jnp.asarray(0.3), jnp.asarray(dt), jax.random.fold_in(jax.random.key(1), k))
    state = jax.jit(lambda s: jax.lax.fori_loop(0, steps, step, s))(state)
    rows("GinzburgLandau, exchange", np.asarray(state.field).T, variance)
    return table.close(out)


CASES = (gaussian_modes, coupled, many_spins)


if __name__ == "__main__":
    sys.exit(run(CASES, sys.argv[1:]))

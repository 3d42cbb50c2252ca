"""The problems of `strategies.py`, each with settings of every strategy that fits; `tiny` leaves a few of them."""

import jax.numpy as jnp
import numpy as np
from scipy.integrate import solve_ivp
from scipy.special import iv
from strategy_scan import Problem, scan

import fiberax as fx
from fiberax.testing import Decay, OrnsteinUhlenbeck

UNWATCHED = float("inf")  # no measurement of scale separation: it costs, and clocks are chosen here


def mean_of(fiber, state, condition):
    return jnp.mean(state)


def linear(tiny: bool = False) -> Problem:
    """dU/dt = −⟨z⟩, z an Ornstein-Uhlenbeck process around U that is 10⁴ times faster: U = exp(−t)."""
    eps, members, sites = 1e-4, 64, 4
    fiber = OrnsteinUhlenbeck(k=1.0 / eps, diffusion=0.5 / eps, members=members)
    bundle = fx.Bundle(Decay(sites), fiber, link=mean_of)
    micro = 0.5 * eps
    heun, midpoint = fx.Heun(), fx.Outer.PRK2
    clocks, dts = ((100.0,), (0.1,)) if tiny else ((2.0, 10.0, 40.0, 100.0, 400.0, 1000.0), (0.2, 0.1, 0.05))
    windows = (16,) if tiny else (4, 16, 64, 256)
    hmm = lambda dt, relax, average, replicas: (
        bundle, fx.HeterogeneousMultiscale(relax, average, replicas, dt=micro), dt, heun
    )  # fmt: skip
    settings = (
        *scan("nested, sampled", lambda dt, steps: (bundle, fx.Quasistatic(steps=steps, replicas=1, dt=micro), dt, heun),
              dt=dts, steps=(128, 512)[: 1 if tiny else 2]),
        *scan("seamless", lambda clock, ratio: (bundle, fx.Seamless(clock=clock, separation=UNWATCHED), ratio * clock * eps, heun),
              clock=clocks, ratio=(0.5, 2.0)[: 1 if tiny else 2]),
        *scan("HMM", hmm, dt=dts, relax=(0, 4)[tiny:], average=windows, replicas=(1,)),
        *scan("HMM, parallel", hmm, dt=dts[:1], relax=(4,), average=windows[:2], replicas=(8,)),
        *scan("projective", lambda dt, inner, steps: (bundle, fx.Seamless(separation=UNWATCHED), dt, fx.Projective(inner, steps, midpoint)),
              dt=dts if tiny else (0.1, 0.02, 0.004), inner=(eps,) if tiny else (eps, 4.0 * eps), steps=(4,)),
        *scan("surrogate", lambda dt: (bundle, fx.Surrogate(), dt, heun), dt=dts[:1]),
    )  # fmt: skip
    times = (0.5, 1.0)
    truth = lambda: np.exp(-np.asarray(times))[:, None] * np.ones(sites)
    return Problem("linear", "a linear Ornstein-Uhlenbeck fiber", jnp.ones(sites), times, truth, settings, 4 if tiny else 16)


def layers(points: int = 24) -> fx.FlowFiber:
    """The cell problem of a = exp(U sin 2πz) in one dimension: the flux is constant, with the harmonic mean 1/I₀(U)."""
    face = np.sin(2.0 * np.pi * (np.arange(points) + 0.5) / points)

    def flux(chi, U):
        return jnp.exp(U * face) * (1.0 + points * (jnp.roll(chi, -1) - chi))

    rate = lambda chi, U: points * (flux(chi, U) - jnp.roll(flux(chi, U), 1)) - jnp.mean(chi)
    return fx.FlowFiber(rate, lambda U: jnp.zeros(points), lambda chi, U: jnp.mean(flux(chi, U)).reshape(1, 1))


def homogenization(tiny: bool = False) -> Problem:
    """Diffusion in one dimension through a layered medium, whose harmonic mean is known."""
    n, eta = 32, (0.05, 0.01, 2e-3, 4e-4)
    grid = fx.grids.Box((0.0,), (1.0,), cells=(n,), periodic=True)
    macro = fx.homogenization.Diffusion(grid)
    cell = layers()
    bundle = fx.Bundle(macro, cell)
    relaxed = {friction: fx.Bundle(macro, fx.relax(cell, friction=friction)) for friction in eta}
    fast = fx.Bundle(macro, fx.relax(cell))
    start = 1.2 + 1.2 * np.sin(2.0 * np.pi * grid.centres[:, 0])
    dts, heun, implicit = (4e-4, 2e-4), fx.Heun(), fx.SDIRK2()
    if tiny:
        eta, dts = eta[2:3], dts[:1]
    settings = (
        *scan("nested", lambda dt, tolerance: (bundle, fx.Quasistatic(tolerance), dt, heun),
              dt=dts, tolerance=(1e-2,) if tiny else (1e-1, 1e-2, 1e-4)),
        *scan("nested, implicit", lambda dt, tolerance: (bundle, fx.Quasistatic(tolerance), dt, implicit),
              dt=() if tiny else (5e-3, 2.5e-3, 1e-3), tolerance=(1e-2,)),
        *scan("monolithic, implicit", lambda dt: (bundle, fx.Monolithic(), dt, implicit), dt=() if tiny else (5e-3, 2.5e-3, 1e-3)),
        *scan("seamless", lambda friction, dt: (relaxed[friction], fx.Seamless(separation=UNWATCHED), dt, heun),
              friction=eta, dt=dts),
        *scan("HMM", lambda relax, step, dt: (fast, fx.HeterogeneousMultiscale(relax, 1, dt=step), dt, heun),
              relax=(1,) if tiny else (0, 1, 3), step=(0.1,) if tiny else (0.02, 0.1), dt=dts),
        *scan("projective", lambda inner, steps, dt: (relaxed[eta[-1]], fx.Seamless(separation=UNWATCHED), dt,
                                                      fx.Projective(inner, steps, fx.Outer.PRK2)),
              inner=(2e-5,), steps=(1,) if tiny else (1, 3), dt=dts),
        *scan("surrogate", lambda tolerance, dt: (bundle, fx.Surrogate(fx.Quasistatic(1e-6), tolerance, check=0.0), dt, heun),
              tolerance=(1e-2,) if tiny else (1e-1, 1e-2, 1e-3), dt=dts),
        *scan("surrogate, implicit", lambda tolerance, dt: (bundle, fx.Surrogate(fx.Quasistatic(1e-6), tolerance, check=0.0), dt, implicit),
              tolerance=() if tiny else (1e-1, 1e-2), dt=(5e-3, 2.5e-3, 1e-3)),
    )  # fmt: skip
    times = (0.01, 0.02)

    def truth():
        """The same finite volumes with the exact harmonic mean, by scipy."""

        def rate(t, U):
            A = 1.0 / iv(0, U)
            flux = 0.5 * (A + np.roll(A, -1)) * (np.roll(U, -1) - U) * n
            return (flux - np.roll(flux, 1)) * n

        return solve_ivp(rate, (0.0, times[-1]), start, method="LSODA", rtol=1e-9, atol=1e-10, t_eval=times).y.T

    return Problem("homogenization", "diffusion through a layered medium", jnp.asarray(start), times, truth, settings)


PROBLEMS = (linear, homogenization)

"""Means and variances of runs with a linear Ornstein-Uhlenbeck fiber, against the exact recursion of their moments."""

import jax
import jax.numpy as jnp
import numpy as np
from table import Table

import fiberax as fx
from fiberax.testing import Decay, OrnsteinUhlenbeck

EPS, SITES, SIGMAS = 0.02, 20_000, 4.0


class Moments:
    """Mean and covariance of the variables (U at the start of the step, U, z, sum of z over a window, first slope)."""

    NAMES = ("start", "U", "z", "sum", "slope")

    def __init__(self):
        self.mean, self.covariance = np.array([1.0, 1.0, 1.0, 0.0, 0.0]), np.zeros((5, 5))

    def put(self, name: str, noise: float = 0.0, **terms: float) -> None:
        """The variable `name` becomes the sum of the variables times the numbers given, and noise of a variance."""
        map_, k = np.eye(5), self.NAMES.index(name)
        map_[k] = 0.0
        for other, factor in terms.items():
            map_[k, self.NAMES.index(other)] = factor
        self.mean, self.covariance = map_ @ self.mean, map_ @ self.covariance @ map_.T
        self.covariance[k, k] += noise

    def relax(self, time: float, copies: int = 1) -> None:
        """Move z under a held U for a time in relaxation times; the mean of `copies` independent ones."""
        decay = np.exp(-time)
        self.put("z", 0.5 * (1.0 - decay**2) / copies, z=decay, U=1.0 - decay)


def _hmm(moments, driver, dt, heun):
    def burst():
        moments.put("sum")
        for k in range(driver.relax + driver.average):
            moments.relax(driver.dt / EPS, driver.replicas)
            if k >= driver.relax:
                moments.put("sum", sum=1.0, z=1.0 / driver.average)

    moments.put("start", U=1.0)
    burst()
    moments.put("slope", sum=1.0)
    moments.put("U", start=1.0, slope=-dt)
    if heun:
        burst()
        moments.put("U", start=1.0, slope=-0.5 * dt, sum=-0.5 * dt)


def _seamless(moments, clock, dt, first):
    moments.relax((0.5 if first else 1.0) * dt / clock / EPS)  # fibers are at half steps
    moments.put("U", U=1.0, z=-dt)


def exact(out):
    """HMM with one and two stages and with replicas, and seamless: mean within 4 standard errors, variance within 15 %."""
    table = Table("exact", "mean and variance of U against the exact recursion", ("strategy", "what", "exact", "measured"))
    fiber = OrnsteinUhlenbeck(k=1.0 / EPS, diffusion=0.5 / EPS, members=1)
    held = lambda U, key: U * jnp.ones(1)  # every run begins with z = U
    bundle = fx.Bundle(Decay(SITES), fx.StochasticFiber(fiber.step, held, lambda z, U: jnp.mean(z)))
    dt, steps = 0.1, 5
    burst = fx.HeterogeneousMultiscale
    rows = {
        "HMM, forward Euler": (burst(4, 12, dt=0.005), fx.ForwardEuler()),
        "HMM, Heun": (burst(4, 12, dt=0.005), fx.Heun()),
        "HMM, parallel": (burst(0, 5, replicas=3, dt=0.005), fx.Heun()),
        "seamless, clock 4": (fx.Seamless(clock=4.0, separation=np.inf), fx.Heun()),
    }
    for k, (name, (driver, stepper)) in enumerate(rows.items()):
        moments = Moments()
        for step in range(steps):
            if isinstance(driver, fx.Seamless):
                _seamless(moments, 4.0, dt, step == 0)
            else:
                _hmm(moments, driver, dt, isinstance(stepper, fx.Heun))
        found = fx.evolve(bundle, driver, jnp.ones(SITES), t1=steps * dt, dt=dt, stepper=stepper, key=jax.random.key(k)).macro[
            -1
        ]
        mean, variance = moments.mean[1], moments.covariance[1, 1]
        off = abs(found.mean() - mean) / np.sqrt(variance / SITES)
        table.below(off, SIGMAS, name, "mean: deviation in standard errors", mean, found.mean())
        table.between(found.var() / variance, 0.85, 1.15, name, "variance over the exact one", variance, found.var())
    return table.close(out)

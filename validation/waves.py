"""Chains of atoms in full, by Newton's equations, against the wave equation over fibers: order 2 in the lattice spacing.

`.venv/bin/python validation/waves.py`; prints two tables and writes them to runs/validation.

The atoms are advanced by a numpy code that shares nothing with fiberax. A cell of length ε holds two atoms of mass ε/2 bound
by unlike bonds, or one atom of mass ε bound to its nearest and next nearest neighbours. The displacements of the continuum
are those of the middles of the first bonds, about which the chain is symmetric: displacements of the atoms themselves
are first order in ε away.
"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from table import Table, fitted_order

import fiberax as fx

jax.config.update("jax_enable_x64", True)

T1, CONTINUUM, CELLS = 0.12, 256, (16, 32, 64, 128)
OUT = Path(__file__).parents[1] / "runs" / "validation"


def start(x):
    """Displacement at rest, a smooth wave of strains up to 4 %."""
    return 0.04 / (2 * np.pi) * np.sin(2 * np.pi * x) + 0.005 / (4 * np.pi) * np.cos(4 * np.pi * x)


def strain(x):
    return 0.04 * np.cos(2 * np.pi * x) - 0.005 * np.sin(4 * np.pi * x)


def morse(alpha, bond, np=np):
    """V(r) of depth 1, and V'(r)."""
    return (
        lambda r: (1 - np.exp(-alpha * (r - bond))) ** 2,
        lambda r: 2 * alpha * np.exp(-alpha * (r - bond)) * (1 - np.exp(-alpha * (r - bond))),
    )


def lennard_jones(np=np):
    """V(r) with its minimum 1/72 deep at 1.01, so that next neighbours press a chain of spacing 1 about to rest, and V'(r)."""
    s = 1.01
    return (
        lambda r: ((s / r) ** 12 - 2 * (s / r) ** 6) / 72,
        lambda r: (-12 * (s / r) ** 12 + 12 * (s / r) ** 6) / r / 72,
    )


def newton(force, mass, y, steps):
    """Positions at T1 of atoms at rest at first, by velocity Verlet."""
    dt, v, f = T1 / steps, np.zeros_like(y), force(y)
    for _ in range(steps):
        v = v + 0.5 * dt * f / mass
        y = y + dt * v
        f = force(y)
        v = v + 0.5 * dt * f / mass
    return y


def diatomic(n, slope, second, rest, steps):
    """Displacements of the middles of the first bonds, where they were at first, and those of their left atoms."""
    eps = 1.0 / n
    x = (np.arange(n) + 0.25) * eps
    stretch = rest(strain(x))

    def force(y):
        first = slope((y[1] - y[0]) / eps)
        other = second((np.roll(y[0], -1) + (np.arange(n) == n - 1) - y[1]) / eps)
        return np.stack([first - np.roll(other, 1), other - first])

    middle = x + start(x)
    y = newton(force, 0.5 * eps, np.stack([middle - 0.5 * eps * stretch, middle + 0.5 * eps * stretch]), steps)
    return x, y.mean(axis=0) - x, y[0] + 0.5 * eps * rest(0.0) - x


def monatomic(n, slope, steps):
    """Displacements of the atoms of a chain with nearest and next nearest neighbours, and where they were."""
    eps = 1.0 / n
    x = np.arange(n) * eps

    def force(y):
        total = 0.0
        for k in (1, 2):
            pull = slope((np.roll(y, -k) + (np.arange(n) >= n - k) - y) / eps)
            total = total + pull - np.roll(pull, k)
        return total

    return x, newton(force, eps, x + start(x), steps) - x


def continuum(fiber):
    """u(x) at T1 by the displacement form of order 4 over quasistatic fibers, as a function by its Fourier series."""
    wave = fx.solids.Wave(fx.grids.Box(0.0, 1.0, cells=CONTINUUM), form="displacement", order=4)
    nodes = wave.layout().coords["x"]
    macro0 = fx.Moving(jnp.asarray(start(nodes)), jnp.zeros(CONTINUUM))
    bundle = fx.Bundle(wave, fiber)
    dt = 0.2 * fx.stiffness(bundle, macro0).step
    found = fx.evolve(bundle, fx.Quasistatic(1e-12), macro0, t1=T1, dt=dt, stepper=fx.Verlet())
    series = np.fft.rfft(np.asarray(found.macro.position[-1])) / CONTINUUM
    weights = np.where(np.arange(len(series)) > 0, 2.0, 1.0) * series
    weights[-1] = 0.0
    return lambda x: (np.exp(2j * np.pi * np.outer(x, np.arange(len(series)))) @ weights).real


def diatomic_chain():
    """Unlike Morse bonds; the order, in the middles of bonds and (lower) at the atoms."""
    table = Table(
        "diatomic_dynamics", f"atoms by Newton's equations against Wave over DiatomicChain, t = {T1}", ("what", "cells")
    )
    (V, _), (W, _) = morse(3.0, 0.45, jnp), morse(5.0, 0.55, jnp)
    chain = fx.solids.DiatomicChain(V, second=W)
    u = continuum(chain)
    middles, atoms = [], []
    for n in CELLS:
        rest = lambda A: np.asarray(fx.responses(chain, np.atleast_1d(A), tolerance=1e-12).state)
        x, middle, atom = diatomic(n, morse(3.0, 0.45)[1], morse(5.0, 0.55)[1], rest, 64 * n)
        middles.append(np.abs(middle - u(x)).max())
        atoms.append(np.abs(atom - u(x)).max())
        table.note(f"error in the middles of bonds {middles[-1]:.3e}, at the atoms {atoms[-1]:.3e}", n)
    table.between(fitted_order(1 / np.array(CELLS), middles), 1.9, 2.1, "order, middles of bonds", "")
    table.between(fitted_order(1 / np.array(CELLS), atoms), 0.9, 1.2, "order, atoms", "")
    return table


class NextNearest(fx.AbstractEnergy):
    """W = V(1 + A) + V(2(1 + A)): a simple lattice has no microstate."""

    def init(self, condition, key):
        return jnp.zeros((0,))

    def energy(self, state, condition):
        V = lennard_jones(jnp)[0]
        return V(1.0 + condition) + V(2.0 * (1.0 + condition))


def lennard_jones_chain():
    """Lennard-Jones with nearest and next nearest neighbours."""
    table = Table(
        "lennard_jones_dynamics", f"atoms by Newton's equations against Wave, Lennard-Jones, t = {T1}", ("what", "cells")
    )
    u, errors = continuum(NextNearest()), []
    for n in CELLS:
        x, found = monatomic(n, lennard_jones()[1], 64 * n)
        errors.append(np.abs(found - u(x)).max())
        table.note(f"error {errors[-1]:.3e}", n)
    table.between(fitted_order(1 / np.array(CELLS), errors), 1.9, 2.1, "order", "")
    return table


if __name__ == "__main__":
    failures = [line for case in (diatomic_chain, lennard_jones_chain) for line in case().close(OUT)]
    print("\n".join(["", *failures]) if failures else "\nall within bounds")
    sys.exit(bool(failures))

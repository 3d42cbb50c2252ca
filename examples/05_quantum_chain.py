"""A vibrating chain whose electrons relax as it moves, after Car and Parrinello, (4.13)-(4.20).

Every point of the chain has electrons, one wave function with inertia m. The chain and its
electrons are advanced together; the electrons are never relaxed to their ground state. As m goes
to zero the chain moves as if they were in it, with an error of the order of m, while the total
energy is constant at all times.
"""

import jax
import jax.numpy as jnp
import numpy as np

import fiberax as fx

jax.config.update("jax_enable_x64", True)


class Chain(fx.solids.QuantumChain):
    """V(s) = 10 s² in the potential v(y) of the ions, started from its ground state."""

    def __init__(self):
        super().__init__(
            lambda s: 10.0 * s**2, external=lambda y: -20.0 * jnp.cos(2.0 * jnp.pi * y), n=7
        )

    def init(self, condition, key):
        return fx.response(GROUND, condition).state


GROUND = fx.solids.QuantumChain(
    lambda s: 10.0 * s**2, external=lambda y: -20.0 * jnp.cos(2.0 * jnp.pi * y), n=7
)
CHAIN = Chain()  # one for all masses: a program is compiled for each V
wave = fx.solids.Wave(fx.grids.Box(0.0, 1.0, cells=8))
x = wave.positions()[:, 0]
start = wave.start(0.05 * np.cos(2.0 * np.pi * x))
times = np.linspace(0.0, 0.1, 11)


def run(fiber, driver, dt):
    """Strain at the end, and by how much the total energy strays, in parts of what is exchanged."""
    solution = fx.evolve(
        fx.Bundle(wave, fiber),
        driver,
        start,
        t1=times[-1],
        dt=dt,
        saveat=times,
        stepper=fx.Verlet(),
    )
    energy = jax.vmap(wave.energy)(solution.macro, jnp.asarray(solution.energy))
    exchanged = np.ptp(solution.energy.sum(axis=1)) * wave.grid.volume
    return solution.macro.position[-1], np.ptp(energy) / exchanged


exact, _ = run(GROUND, fx.Quasistatic(), 5e-4)
masses, errors = np.array([4e-3, 2e-3, 1e-3]), []
print("    mass      error of the strain   energy astray")
for mass in masses:
    strain, astray = run(fx.relax(CHAIN, mass, 0.0), fx.Seamless(separation=np.inf), 2.5e-4)
    errors.append(np.abs(strain - exact).max())
    print(f"{mass:8.0e}   {errors[-1]:.3e}             {astray:.1e}")
    assert astray < 0.02

order = np.polyfit(np.log(masses), np.log(errors), 1)[0]
print(f"order of the error in the mass: {order:.2f}")
assert 0.7 < order < 1.3

"""A strip of atoms that swings: motion of a finite body whose stress comes from a potential.

A strip of a triangular Lennard-Jones crystal is clamped on the left and set in motion. Its period
is compared with that of a slender cantilever (Euler and Bernoulli), from which a strip of 6 to 1
differs by a few per cent because of its shear. Kinetic and elastic energy add up to a constant.
Explicit central differences (`fx.Verlet`) need one stress per step and crystal, and no
constitutive law.
"""

import jax
import numpy as np

import fiberax as fx

jax.config.update("jax_enable_x64", True)

a = 2 ** (1 / 6)
potential = fx.solids.potentials.LennardJones(
    cutoff=1.6, scheme="smooth", onset=1.3
)  # nearest neighbours
crystal = fx.solids.Crystal(a * np.array([[1, 0], [0.5, 0.75**0.5]]), [[0, 0]], ["X"], potential)
density = 1.0 / float(crystal.volume)  # atoms of mass 1
length, height = 60.0, 10.0
mesh = fx.grids.quads((0.0, 0.0), (length, height), cells=(6, 1), order=2)

body = fx.solids.Elasticity(mesh, density, fixed={"left": True})
shape = lambda s: s**2 * (6 - 4 * s + s**2) / 3  # close to the first mode of a beam
start = body.start(velocity=lambda x: np.array([0.0, 5e-3]) * shape(x[0] / length))
bundle = fx.Bundle(body, crystal)

E = 2 / 3**0.5 * 72 * 2 ** (-1 / 3)  # Young's modulus in the plane of bonds of stiffness k: 2k/√3
omega = 1.8751**2 * (E * height**2 / (12 * density)) ** 0.5 / length**2
dt = 0.8 * fx.stiffness(bundle, start).step
times = np.linspace(0.0, 1.1 * 2 * np.pi / omega, 45)
sol = fx.evolve(
    bundle, fx.Quasistatic(), start, t1=times[-1], dt=dt, saveat=times, stepper=fx.Verlet()
)

tip = np.argmax(mesh.points @ [1.0, 1e-3])
deflection = np.asarray(sol.macro.position)[:, tip, 1]
k = np.flatnonzero(deflection[:-1] * deflection[1:] < 0)  # half a period apart
crossings = times[k] + (times[k + 1] - times[k]) * deflection[k] / (
    deflection[k] - deflection[k + 1]
)
period = 2 * np.mean(np.diff(crossings))
print(
    f"{len(sol.section.outcome.result)} crystals, {sol.stats['steps']} steps; "
    f"the tip swings by {deflection.max():.3f}"
)
print(f"period {period:.3f}, slender beam {2 * np.pi / omega:.3f}")
assert 1.0 < period * omega / (2 * np.pi) < 1.05

moving = [fx.Moving(x, v) for x, v in zip(*sol.macro)]
total = np.array([float(body.energy(macro, W)) for macro, W in zip(moving, sol.energy)])
kinetic = np.array(
    [0.5 * np.sum(np.asarray(body.mass)[:, None] * macro.velocity**2) for macro in moving]
)
print(f"kinetic energy up to {kinetic.max():.3e}, total constant to {np.ptp(total):.1e}")
assert np.ptp(total) < 1e-2 * kinetic.max()

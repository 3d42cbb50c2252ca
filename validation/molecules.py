"""Validation of boxes of molecules: `python validation/molecules.py [name ...]`, without a name everything.

Needs `pip install --group peers`. Each case prints a table, writes it to runs/validation/NAME.csv, and fails where a number
misses its bound.
"""

import sys

import lammps_cell

if __name__ == "__main__":
    lammps_cell.library_path()

import jax
import jax.numpy as jnp
import lammps_liquid
import numpy as np
from table import Table, run

import fiberax as fx

jax.config.update("jax_enable_x64", True)

m = fx.molecules
REST = np.zeros((3, 3))
SIGMAS, LAW_SIGMAS = 3.0, 4.0
# Kolafa and Nezbeda, Fluid Phase Equilib. 100 (1994) 1, less the mean-field tails beyond 2.5: density, T, P, U/N.
STATES = ((0.81, 1.0, 1.876, -5.160), (0.8442, 0.722, 0.925, -5.631), (0.6, 1.0, 0.125, -3.906))
EDGE = 4.0 * (2.5**-12 - 2.5**-6)  # φ at the cutoff, by which energies of pairs are shifted


def shear(rate):
    """κ of U = (rate y, 0, 0)."""
    kappa = REST.copy()
    kappa[0, 1] = rate
    return kappa


def equation_of_state(out):
    """Pressure and energy of the liquid at rest."""
    table = Table("equation_of_state", "Lennard-Jones, cutoff 2.5, against Kolafa and Nezbeda",
                  ("density", "T", "quantity", "value", "standard error", "theirs"))  # fmt: skip
    at_rest = lambda box, s, kappa: jnp.stack(
        [-jnp.trace(s.stress) / 3.0, (s.potential + 0.5 * EDGE * s.near) / box.particles]
    )
    for density, T, pressure, energy in STATES:
        box = m.Box(m.LennardJones(), 500, density, T, images=0)
        found = fx.sample(box, REST, steps=1280, replicas=1, link=at_rest)
        rows = zip(("P", "U/N"), found.value, found.stderr, (pressure, energy), (0.04, 0.015), strict=True)
        for name, value, error, theirs, bound in rows:
            table.below(abs(float(value) - theirs), bound, density, T, name, value, error, theirs)
    return table.close(out)


def rheology(box, state, kappa):
    """`lammps_liquid.NAMES` of a state in a shear flow."""
    s = state.stress
    return jnp.stack([s[0, 1] / kappa[0, 1], s[0, 0] - s[1, 1], s[1, 1] - s[2, 2], -jnp.trace(s) / 3.0])


def beside_lammps(table, name, box, rates, time, blocks=16):
    """Rows of a fluid at some rates, for runs of `time` by both programs after a fifth of it."""
    steps = round(time / float(box.timestep(REST)))
    found = fx.samples(box, np.stack([shear(r) for r in rates]), steps=steps, replicas=1, link=rheology)
    for k, rate in enumerate(rates):
        theirs, their_error = lammps_liquid.sheared(box, rate, time, time / 5.0, blocks)
        ours, error = np.asarray(found.value[k]), np.asarray(found.stderr[k])
        for q, quantity in enumerate(lammps_liquid.NAMES):
            cells = (name, rate, quantity, ours[q], error[q], theirs[q], their_error[q])
            table.below(abs(ours[q] - theirs[q]) / np.hypot(error[q], their_error[q]), SIGMAS, *cells)
        table.below(error[0] / ours[0], 0.015, name, rate, "error of the viscosity", ours[0], error[0], "", "")
        T = float(box.temperature)
        table.below(abs(theirs[4] / T - 1.0), 0.005, name, rate, "temperature", T, "", theirs[4], their_error[4])


SHEAR = ("fluid", "rate", "quantity", "ours", "its standard error", "LAMMPS", "its standard error")


def lennard_jones_lammps(out):
    """The Lennard-Jones liquid in shear flow."""
    table = Table("lennard_jones_lammps", "Lennard-Jones, cutoff 2.5, in shear: standard errors apart", SHEAR)
    box = m.Box(m.LennardJones(), 500, 0.8442, 0.722, images=0)
    beside_lammps(table, "Lennard-Jones", box, (0.5, 1.0), 200.0)
    beside_lammps(table, "Lennard-Jones", box, (0.1,), 400.0)
    return table.close(out)


def wca_lammps(out):
    """The WCA liquid in shear flow."""
    table = Table("wca_lammps", "WCA in shear: standard errors apart", SHEAR)
    box = m.Box(m.WCA(), 500, 0.8442, 0.722, images=0)
    beside_lammps(table, "WCA", box, (0.5, 1.0), 200.0)
    beside_lammps(table, "WCA", box, (0.1,), 600.0)
    return table.close(out)


CASES = (equation_of_state, lennard_jones_lammps, wca_lammps)


if __name__ == "__main__":
    sys.exit(run(CASES, sys.argv[1:]))

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
from fiberax.cases.molecules.averages import newtonian
from fiberax.cases.molecules.liquid_cavity import LiquidCavity
from fiberax.cases.molecules.liquids import Potential

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
    at_rest = lambda box, s, kappa: jnp.stack([-jnp.trace(s.stress) / 3.0, (s.potential + 0.5 * EDGE * s.near) / box.particles])
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


def beside_lammps(table, name, box, rates, duration, blocks=16):
    """Rows of a fluid at some rates, for runs of `duration` by both programs after a fifth of it."""
    steps = round(duration / float(box.timestep(REST)))
    found = fx.samples(box, np.stack([shear(r) for r in rates]), steps=steps, replicas=1, link=rheology)
    for k, rate in enumerate(rates):
        theirs, their_error = lammps_liquid.sheared(box, rate, duration, duration / 5.0, blocks)
        ours, error = np.asarray(found.value[k]), np.asarray(found.stderr[k])
        for q, quantity in enumerate(lammps_liquid.NAMES):
            cells = (name, rate, quantity, ours[q], error[q], theirs[q], their_error[q])
            table.below(abs(ours[q] - theirs[q]) / np.hypot(error[q], their_error[q]), SIGMAS, *cells)
        table.below(error[0] / ours[0], 0.015, name, rate, "error of the viscosity", ours[0], error[0], "", "")
        T = float(box.temperature)
        table.below(abs(theirs[4] / T - 1.0), 0.005, name, rate, "temperature", T, "", theirs[4], their_error[4])


SHEAR = ("fluid", "rate", "quantity", "ours", "its standard error", "LAMMPS", "its standard error")


def liquids_lammps(out):
    """The Lennard-Jones liquid at its triple point, and the WCA liquid of that density and temperature."""
    table = Table("liquids_lammps", "simple liquids in shear: standard errors apart", SHEAR)
    for name, potential, duration in (("Lennard-Jones", m.LennardJones(), 400.0), ("WCA", m.WCA(), 520.0)):
        box = m.Box(potential, 500, 0.8442, 0.722, images=0)
        beside_lammps(table, name, box, (0.5, 1.0), 80.0)
        beside_lammps(table, name, box, (0.1,), duration)
    return table.close(out)


def chains_lammps(out):
    """A melt of chains of 12 beads; a bond that breaks, or a list that is too short, makes all numbers NaN."""
    table = Table("chains_lammps", "chains of 12 beads in shear: standard errors apart", SHEAR)
    box = m.chains(beads=12, count=42)
    beside_lammps(table, "chains", box, (0.5,), 480.0)
    beside_lammps(table, "chains", box, (0.1,), 1600.0)  # of blocks of 100 τ, in which these chains relax
    return table.close(out)


def green_kubo(out):
    """The liquid at its triple point at rest, beside LAMMPS, and beside Ferrario et al., Phys. Rev. A 44 (1991) 6936.

    Theirs has a longer cutoff, and 2048 particles. The window holds 5 τ; both runs 8000 τ. The relative error of the integral,
    √(2·5/(5·8000)) times a factor near 1, does not depend on the number of particles.
    """
    table = Table("green_kubo", "viscosity of Lennard-Jones at rest: standard errors apart",
                  ("of", "viscosity", "its standard error", "other", "its standard error"))  # fmt: skip
    box, window, duration = m.Box(m.LennardJones(), 256, 0.8442, 0.722, images=0), 5.0, 8000.0
    found = fx.sample(m.GreenKubo(box, window), REST, steps=round(duration / 0.04), replicas=1)
    eta, error = (float(x["viscosity"][-1]) for x in (found.value, found.stderr))
    others = {"LAMMPS": lammps_liquid.green_kubo(box, duration, 20.0, window), "published": (3.24, 0.04)}
    for name, (theirs, their_error) in others.items():
        table.below(abs(eta - theirs) / np.hypot(error, their_error), SIGMAS, name, eta, error, theirs, their_error)
    table.below(error / eta, 0.03, "relative error", eta, error, "", "")
    return table.close(out)


def thermal_solid(out):
    """A crystal of Lennard-Jones at half of its melting temperature, strained, beside LAMMPS with Langevin's equation."""
    table = Table("thermal_solid", "Cauchy stress of an fcc crystal at T = 0.3: standard errors apart",
                  ("strain", "entry", "ours", "its standard error", "LAMMPS", "its standard error"))  # fmt: skip
    places = [[0.0, 0.0, 0.0], [0.0, 0.5, 0.5], [0.5, 0.0, 0.5], [0.5, 0.5, 0.0]]
    crystal = fx.solids.Crystal(1.58 * np.eye(3), places, ["Ar"] * 4, fx.solids.potentials.LennardJones(cutoff=2.5))
    solid, duration = m.Solid(crystal, (4, 4, 4), temperature=0.3), 400.0
    steps = round(duration / float(solid.timestep(REST)))
    strains = {"none": REST, "stretched, sheared": np.array([[0.02, 0.03, 0.0], [0.0, -0.01, 0.01], [0.0, 0.0, 0.005]])}
    cauchy = lambda s, state, A: s.link(state, A) @ (jnp.eye(3) + A).T / jnp.linalg.det(jnp.eye(3) + A)
    found = fx.samples(solid, np.stack(list(strains.values())), steps=steps, replicas=1, link=cauchy)
    for k, (name, A) in enumerate(strains.items()):
        theirs, their_error = lammps_liquid.thermal_stress(solid, A, duration, duration / 5.0)
        for i, j in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)):
            ours, error = float(found.value[k, i, j]), float(found.stderr[k, i, j])
            cells = (name, "xyz"[i] + "xyz"[j], ours, error, theirs[i, j], their_error[i, j])
            table.below(abs(ours - theirs[i, j]) / np.hypot(error, their_error[i, j]), LAW_SIGMAS, *cells)
    return table.close(out)


def both(kappa):
    """Twice the rate of strain, κ + κᵀ."""
    return kappa + np.swapaxes(kappa, -1, -2)


def followed(box, flow, count, dt, steps, every, driver, start=None):
    """Velocities (times, count, nodes) of `count` realisations, at every `every` steps."""
    bundle = fx.realisations(fx.Bundle(flow, box), count)
    start = flow.start() if start is None else start
    times = dt * every * np.arange(1, steps // every + 1)
    begin = jnp.broadcast_to(start, (count, *start.shape))
    sol = fx.evolve(bundle, driver, begin, t1=float(times[-1]), dt=dt, saveat=times)
    assert not np.any(np.asarray(sol.result)), sol.result
    return np.asarray(sol.macro)


def resting_channel(out):
    """The variance of each mode of the velocity at rest, T M/(ϱ V R) whatever the spacing and the step."""
    columns = ("clock", "boxes", "mode", "variance", "its standard error", "the law")
    table = Table("resting_channel", "fluctuations of a channel at rest: standard errors from the law", columns)
    particles, density, cells, dt = 27, 0.7, 4, 0.02
    box = m.Box(m.WCA(), particles, density, dt=dt / 8, images=0)
    k = np.arange(1, cells)
    modes = np.sqrt(2.0 / cells) * np.sin(np.pi * np.outer(k, k) / cells)
    for clock in (1, 8):
        # The kinematic viscosity is about 1.7: the fastest mode decays by 0.03 in a step, the slowest by 0.006.
        width = cells * (1.7 * clock * dt / 0.01) ** 0.5
        flow = fx.fluids.Flow(fx.grids.Box(0.0, width, cells, periodic=False), stress="total", density=density, viscosity=1.0)
        for boxes, count in ((1, 32), (4, 12)):
            fiber, driver = fx.replicas(box, boxes), fx.Seamless(clock=clock, separation=np.inf)
            U = followed(fiber, flow, count, clock * dt, 2400, 8, driver)
            squares = np.mean((U[60:, :, 1:-1] @ modes) ** 2, axis=0)
            law = clock / (particles * boxes)
            for mode, values in zip(k, squares.T, strict=True):
                value, error = values.mean(), values.std(ddof=1) / count**0.5
                table.below(abs(value - law) / error, LAW_SIGMAS, clock, boxes, mode, value, error, law)
                table.below(error / law, 0.2, clock, boxes, f"{mode}: relative error", value, error, law)
    return table.close(out)


def chains_macro_step(out):
    """Chains of 12 beads at density 0.81 (E, Principles of Multiscale Modeling, 2011, section 6.7): half the macro step.

    A macro step is one step of the boxes: the clock M is halved with it, and so is the noise.
    """
    columns = ("macro step", "clock", "mode", "variance", "its standard error", "the law")
    table = Table("chains_macro_step", "a channel of chains at rest: standard errors from the law", columns)
    cells, count, particles = 4, 16, 60
    box = m.chains(beads=12, count=particles // 12, dt=0.002)
    k, found = np.arange(1, cells), {}
    modes = np.sqrt(2.0 / cells) * np.sin(np.pi * np.outer(k, k) / cells)
    flow = fx.fluids.Flow(fx.grids.Box(0.0, 60.0, cells, periodic=False), stress="total", density=0.81, viscosity=5.0)
    for dt in (0.5, 0.25):
        clock = dt / float(box.timestep(REST))
        driver = fx.Seamless(clock=clock, separation=np.inf)
        U = followed(box, flow, count, dt, round(2400.0 / dt), round(4.0 / dt), driver)
        squares = np.mean((U[150:, :, 1:-1] @ modes) ** 2, axis=0)
        law = clock / particles
        for mode, values in zip(k, squares.T, strict=True):
            value, error = values.mean(), values.std(ddof=1) / count**0.5
            table.below(abs(value - law) / error, LAW_SIGMAS, dt, clock, mode, value, error, law)
        whole = squares.mean(axis=1)
        found[dt] = whole.mean(), whole.std(ddof=1) / count**0.5
    (a, da), (b, db) = found[0.5], found[0.25]
    error = a / b * np.hypot(da / a, db / b)
    table.below(abs(a / b - 2.0) / error, SIGMAS, "ratio", "", "", a / b, error, 2.0)
    return table.close(out)


def poiseuille(out):
    """A driven channel against the parabola of Navier and Stokes with the viscosity of the same boxes in shear."""
    table = Table("poiseuille", "channel of boxes of WCA particles: deviation over max(3 standard errors, 3 %)",
                  ("y", "U", "its standard error", "Navier-Stokes", "its standard error"))  # fmt: skip
    force, width, cells, count, density = 0.06, 10.0, 6, 8, 0.7
    box = m.Box(m.WCA(), 64, density, images=0)
    found = fx.sample(box, shear(0.2), steps=25_600, replicas=4)
    eta, its_error = float(found.value[0, 1]) / 0.2, float(found.stderr[0, 1]) / 0.2
    grid = fx.grids.Box(0.0, width, cells, periodic=False)
    flow = fx.fluids.Flow(grid, stress="total", density=density, viscosity=1.0, force=force)
    y = np.linspace(0.0, width, cells + 1)
    exact = 0.5 * force * y * (width - y) / eta
    driver = fx.Seamless(separation=np.inf)
    U = followed(box, flow, count, 0.04, 6000, 10, driver, jnp.asarray(exact))[100:].mean(axis=0)
    for k in range(1, cells):
        value, error, exact_error = U[:, k].mean(), U[:, k].std(ddof=1) / count**0.5, exact[k] * its_error / eta
        allowed = max(3.0 * np.hypot(error, exact_error), 0.03 * exact[k])
        table.below(abs(value - exact[k]) / allowed, 1.0, y[k], value, error, exact[k], exact_error)
        table.below(error / exact[k], 0.05, y[k], "relative error", error, exact[k], exact_error)
    return table.close(out)


def cavity(out):
    """The case `liquid-cavity` of WCA on 8 × 8 cells, against Navier and Stokes with the viscosity of the same boxes in shear.

    Velocities along the two middle lines, averaged over the times of the case. Noise does not know where the lid is, and so
    standard errors of the realisations are averaged over the places that the symmetry of the square makes alike.
    """
    table = Table("liquid_cavity", "8x8 cells of WCA boxes under a lid: standard errors from Navier-Stokes",
                  ("of", "at", "value", "its standard error", "Navier-Stokes"))  # fmt: skip
    case, count, rate = LiquidCavity(cells=8, potential=Potential.WCA, t1=60.0, records=100), 6, 0.2
    problem, box = case.build(), case.fiber()
    found = fx.sample(box, shear(rate), steps=6400, replicas=4)
    eta, its_error = float(found.value[0, 1]) / rate, float(found.stderr[0, 1]) / rate
    table.below(its_error / eta, 0.03, "viscosity in shear: relative error", rate, eta, its_error, "")
    start = jax.tree.map(lambda x: jnp.broadcast_to(x, (count, *x.shape)), problem.macro0)
    bundle, saveat = fx.realisations(problem.bundle, count), np.asarray(problem.saveat)
    sol = fx.evolve(bundle, problem.driver, start, t1=problem.t1, dt=problem.dt, saveat=saveat)
    assert not np.any(np.asarray(sol.result)), sol.result
    kept, flow = saveat >= case.begin(problem.t1), problem.bundle.macro
    faces = lambda macro: {"u": np.asarray(macro.u), "v": np.asarray(macro.v)}
    fields = lambda macro: faces(macro) | {"kappa": np.asarray(flow.conditions(macro))}
    beside = {k: x[kept].mean(axis=0) for k, x in newtonian(flow, eta, fields, saveat, problem.dt).items()}
    means = {k: x[kept].mean(axis=0) for k, x in faces(sol.macro).items()}  # (count, faces)
    # Along the strain of Navier-Stokes, which has no noise.
    strain = both(beside["kappa"])
    rates = both(np.asarray(jax.vmap(jax.vmap(flow.conditions))(jax.tree.map(lambda x: jnp.asarray(x[kept]), sol.macro))))
    work = np.einsum("tsrij,sij->r", np.asarray(sol.response)[kept], strain)
    rates = np.einsum("trsij,sij->r", rates, strain)
    inside = work.sum() / rates.sum()
    inside_error = np.std(work - inside * rates, ddof=1) / rates.mean() / count**0.5
    apart = abs(inside - eta) / np.hypot(inside_error, its_error)  # six realisations know their spread to a third
    table.below(apart, SIGMAS, "viscosity under the lid, and in shear", rate, inside, inside_error, eta)
    off = {k: x.mean(axis=0) - beside[k] for k, x in means.items()}
    square = 0.5 * sum(np.var(x, axis=0, ddof=1) / count for x in (means["u"], np.swapaxes(means["v"], 1, 2)))
    square = 0.25 * (square + square[::-1] + square[:, ::-1] + square[::-1, ::-1])
    errors = {"u": square**0.5, "v": square.T**0.5}
    centres, half = case.width * (np.arange(case.cells) + 0.5) / case.cells, case.cells // 2
    for key, line in (("u", np.s_[half]), ("v", np.s_[:, half])):
        rows = zip(centres, means[key].mean(axis=0)[line], errors[key][line], beside[key][line], strict=True)
        for place, value, error, theirs in rows:
            table.below(abs(value - theirs) / error, SIGMAS, key, place, value, error, theirs)
    largest = max(float(x.max()) for x in errors.values())
    table.below(largest / case.speed, 0.05, "largest standard error over the lid's speed", "", "", largest, "")
    whole, sure = (float(np.sqrt(np.mean(np.concatenate([x.ravel() for x in y.values()]) ** 2))) for y in (off, errors))
    table.below(whole / sure, 2.0, "all faces: rms difference in rms standard errors", "", whole, sure, "")
    return table.close(out)


CASES = (
    equation_of_state,
    green_kubo,
    liquids_lammps,
    chains_lammps,
    thermal_solid,
    resting_channel,
    chains_macro_step,
    poiseuille,
    cavity,
)


if __name__ == "__main__":
    sys.exit(run(CASES, sys.argv[1:]))

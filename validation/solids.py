"""Validation of the solids package: `python validation/solids.py [name ...]`, without a name everything.

Needs `pip install --group peers`. Each case prints a table, writes it to runs/validation/NAME.csv, and fails where a number
misses its bound.
"""

import sys

import lammps_cell

if __name__ == "__main__":
    lammps_cell.library_path()

import crystals
import elasticity
import ionic
import jax
import layers
import potential_files
from table import run

jax.config.update("jax_enable_x64", True)

CASES = (
    crystals.pairs_lammps,
    ionic.ionic_lammps,
    crystals.bonds_lammps,
    crystals.tables_lammps,
    crystals.sutton_chen_lammps,
    potential_files.files_lammps,
    crystals.matscipy,
    crystals.elastic_constants,
    crystals.stress_lammps,
    layers.layers_lammps,
    elasticity.atoms_2d,
    elasticity.chain_1d,
)


if __name__ == "__main__":
    sys.exit(run(CASES, sys.argv[1:]))

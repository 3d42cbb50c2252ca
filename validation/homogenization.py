"""Validation of the homogenization package: `python validation/homogenization.py [name ...]`, without a name everything.

Each case prints a table, writes it to runs/validation/NAME.csv, and fails where a number misses its bound.
"""

import sys

import arrays
import cells
import evolution
import jax
import macro_steps
import volumes
from table import run

jax.config.update("jax_enable_x64", True)

CASES = (
    cells.harmonic_mean,
    cells.laminates,
    cells.duality,
    cells.non_symmetric,
    cells.derivative,
    arrays.truth_of_arrays,
    arrays.disks,
    arrays.spheres,
    volumes.taufactor_held,
    volumes.pores,
    volumes.corners,
    evolution.full_resolution_1d,
    evolution.full_resolution_2d,
    macro_steps.macro_order,
    macro_steps.seamless_limit,
)


if __name__ == "__main__":
    sys.exit(run(CASES, sys.argv[1:]))

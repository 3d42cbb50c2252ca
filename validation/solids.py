"""Validation of the solids package: `python validation/solids.py [name ...]`, without a name everything.

Needs `pip install --group peers`. Each case prints a table, writes it to runs/validation/NAME.csv, and fails where a number
misses its bound.
"""

import sys
import time
from pathlib import Path

import lammps_cell

if __name__ == "__main__":
    lammps_cell.library_path()

import crystals
import elasticity
import jax

jax.config.update("jax_enable_x64", True)

OUT = Path("runs/validation")
CASES = (
    crystals.pairs_lammps,
    crystals.bonds_lammps,
    crystals.tables_lammps,
    crystals.sutton_chen_lammps,
    crystals.matscipy,
    crystals.elastic_constants,
    elasticity.atoms_2d,
    elasticity.chain_1d,
)


def main(names):
    """Run the named cases; 0 where all rows keep their bounds, 1 where not, 2 for an unknown name."""
    cases = {case.__name__: case for case in CASES}
    unknown = [name for name in names if name not in cases]
    if unknown:
        print(f"unknown: {', '.join(unknown)}. Cases: {', '.join(cases)}", file=sys.stderr)
        return 2
    failures = []
    for name in names or cases:
        start = time.process_time()
        failures += cases[name](OUT)
        print(f"  {time.process_time() - start:.0f} s of CPU time", flush=True)
    print("\n" + ("\n".join(failures) if failures else f"All rows keep their bounds. Tables: {OUT}"))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

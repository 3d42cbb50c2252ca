"""Thomas-Fermi-von Weizsäcker cells against DFTpy in one run on one core: energy and stress at 16 gradients of low symmetry.

Aluminium's local pseudopotential on 24³ points, without and with exchange and correlation, residual 1e-8, all 16 at once; DFTpy
takes them one by one, which is how it is used, to 1e-10 hartree.

Run: python benchmarks/thomas_fermi.py (pip install --group peers). CPU time, medians of calls in turns.
"""

import os
import sys
from pathlib import Path

from common import interleave, pin

pin(int(os.environ.get("CORE", "0")))
sys.path.insert(0, str(Path(__file__).parents[1] / "validation"))

import jax  # noqa: E402
import numpy as np  # noqa: E402
from dftpy_cell import Solver  # noqa: E402

import fiberax as fx  # noqa: E402

jax.config.update("jax_enable_x64", True)
FCC = 0.5 * np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]])
FIBERS, BY_PEER = 16, 2
LATTICE = 7.6 * FCC


def main():
    """Print times and ratios."""
    gradients = np.random.default_rng(0).uniform(-0.03, 0.03, (FIBERS, 3, 3))
    ion = fx.solids.ions.GTHLocal("Al")
    for xc in (False, True):
        fiber = fx.solids.ThomasFermi(LATTICE, ion, 3, xc="lda_pz" if xc else None)
        peer = Solver(ion, [[0, 0, 0]], fiber.grid, xc)
        ours = lambda fiber=fiber: jax.block_until_ready(fx.responses(fiber, gradients, tolerance=1e-8))
        theirs = lambda peer=peer: [peer(LATTICE @ (np.eye(3) + A).T, 1e-10) for A in gradients[:BY_PEER]]
        energies = np.asarray(ours().energy)[:BY_PEER] * fiber.volume
        apart = np.abs(energies - [energy for energy, _ in theirs()]).max()
        times = interleave({"fiberax": ours, "DFTpy": theirs}, repeats=3)
        a, b = times["fiberax"] / FIBERS, times["DFTpy"] / BY_PEER
        words = "with exchange and correlation" if xc else "without"
        print(f"{words}: {a * 1e3:.1f} and {b * 1e3:.0f} ms of CPU per energy and stress; energies {apart:.0e} hartree apart")
        print(f"  DFTpy / fiberax = {b / a:.1f} (at least 10, aim 20)")


if __name__ == "__main__":
    main()

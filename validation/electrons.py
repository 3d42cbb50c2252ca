"""Validation of electrons: `python validation/electrons.py [name ...]`, without a name everything.

Needs `pip install --group peers`, and the Debian packages abinit and quantum-espresso. Each case prints a table, writes it to
runs/validation/NAME.csv, and fails where a number misses its bound.
"""

import csv
import sys

import jax
import jax.numpy as jnp
import numpy as np
import plane_wave_codes as codes
from dftpy_cell import Solver
from electron_motion import coupled
from table import Table, run

import fiberax as fx
from fiberax.physics.solids.electrons import ewald

jax.config.update("jax_enable_x64", True)

FCC = 0.5 * np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]])
BCC = 0.5 * np.array([[-1.0, 1.0, 1.0], [1.0, -1.0, 1.0], [1.0, 1.0, -1.0]])
SKEW = np.array([[0.01, 0.02, 0.0], [0.0, -0.01, 0.013], [0.004, 0.0, 0.006]])
SILICON = 10.263141334305942 * FCC  # of case a, DFTK's test/silicon_lda.jl
DIAMOND = np.array([[0.125] * 3, [-0.125] * 3])
ZERO = np.zeros((3, 3))


def cauchy(P, A) -> np.ndarray:
    """σ = P Fᵀ / J."""
    F = np.eye(3) + A
    return np.asarray(P) @ F.T / np.linalg.det(F)


def orbital_free(out):
    """Thomas-Fermi-von Weizsäcker cells against DFTpy: 1e-8 hartree per cell."""
    table = Table("orbital_free", "TFW against DFTpy: energy per cell, largest entry of σ", ("cell", "A", "what"))
    ions = fx.solids.ions
    cells = {
        "Gaussian, fcc": (8.0 * FCC, ions.Gaussian(3.0, 1.0), [[0, 0, 0]], False),
        "aluminium, fcc, xc": (7.6 * FCC, ions.GTHLocal("Al"), [[0, 0, 0]], True),
        "two sodium, skew, xc": (8.1 * np.eye(3) + SKEW, ions.GTHLocal("Na-q1"), [[0, 0, 0], [0.45, 0.5, 0.52]], True),
    }
    for name, (lattice, ion, places, xc) in cells.items():
        peer = Solver(ion, places, (25, 25, 25), xc)
        pairs, n = [(ion, tuple(place)) for place in places], ion.charge * len(places)
        fiber = fx.solids.ThomasFermi(lattice, pairs, n, grid=(25,) * 3, xc="lda_pz" if xc else None)
        for words, A in (("0", ZERO), ("skew", 3.0 * SKEW)):
            energy, stress = peer(lattice @ (np.eye(3) + A).T)
            found = fx.response(fiber, A, tolerance=1e-10)
            table.below(abs(float(found.energy) * fiber.volume - energy), 1e-8, name, words, "energy")
            table.below(np.abs(cauchy(found.value, A) - stress).max(), 1e-8, name, words, "stress")
    return table.close(out)


def plane_waves(out):
    """Kohn-Sham cells against ABINIT and Quantum ESPRESSO, plane waves up to the cutoff of each cell: 1e-6 hartree."""
    table = Table(
        "plane_waves", "Kohn-Sham against other codes: energy per cell, largest entry of σ", ("cell", "A", "peer", "what")
    )
    if codes.missing():
        raise SystemExit(codes.missing())
    cells = {
        "silicon, 15 Ha": codes.Crystal(SILICON, "Si", DIAMOND, 15.0, 3),
        "aluminium, 12 Ha, kT": codes.Crystal(7.5 * FCC, "Al", np.zeros((1, 3)), 12.0, 3, 0.01, 6),
        "sodium, 8 Ha, kT": codes.Crystal(7.7 * BCC, "Na-q1", np.zeros((1, 3)), 8.0, 4, 0.01, 5),
    }
    for name, cell in cells.items():
        fiber = fx.solids.KohnSham(
            cell.lattice,
            [(cell.symbol, tuple(place)) for place in cell.positions],
            cutoff=cell.cutoff,
            kgrid=cell.points,
            smearing=None if cell.width is None else ("fermi", cell.width),
            bands=cell.bands,
            basis="cutoff",
        )
        for words, A in (("0", ZERO), ("skew", SKEW)):
            found = fx.response(fiber, A, tolerance=1e-8)
            there = cell._replace(lattice=cell.lattice @ (np.eye(3) + A).T)
            for peer in (codes.abinit, codes.quantum_espresso):
                answer = peer(there, out / "codes" / peer.__name__)
                label = (name, words, peer.__name__)
                table.below(abs(float(found.energy) * fiber.volume - answer.energy), 1e-6, *label, "energy")
                table.below(np.abs(cauchy(found.value, A) - answer.stress).max(), 2e-8, *label, "stress")
    return table.close(out)


def published(out):
    """Public numbers: DFTK's tests of silicon, lattice sums, a TFW cell of an independent code."""
    table = Table("published", "public values", ("case", "what"))
    atoms = [("Si", tuple(place)) for place in DIAMOND]
    lda = fx.solids.KohnSham(SILICON, atoms, cutoff=25.0, kgrid=3, xc="lda_vwn")
    found = fx.response(lda, ZERO, tolerance=1e-7)
    table.below(abs(float(found.energy) * lda.volume + 7.911817522631488), 1e-5, "silicon, LDA", "energy, DFTK")
    table.below(abs(float(found.energy) * lda.volume + 7.911813071947), 2e-7, "silicon, LDA", "energy, ABINIT 9.6.2")
    level = fx.solids.bands(lda, ZERO, np.zeros((1, 3)), 5, found.state)[0]
    mean = sum(ion.at_zero for ion in lda.ions) / lda.volume  # of the ions' potential, which DFTK leaves out
    table.below(abs(level[0] - mean + 0.178566465714968), 1e-5, "silicon, LDA", "lowest level, DFTK")
    options = {"xc": None, "smearing": ("fermi", 0.05), "bands": 10}
    hartree = fx.solids.KohnSham(SILICON, atoms, cutoff=25.0, kgrid=3, **options)
    found = fx.response(hartree, ZERO, tolerance=1e-7)
    energy = float(found.energy) * hartree.volume - float(found.state.heat)
    table.below(abs(energy + 5.440593269861395), 1e-5, "silicon without xc", "energy, DFTK")

    def sum_of(lattice, places, charges):
        places = np.asarray(places, float)
        tables = ewald.tables(np.asarray(lattice), places)
        return float(ewald.energy(tables, np.asarray(lattice), jnp.eye(3), jnp.asarray(places), jnp.asarray(charges)))

    table.below(abs(sum_of(SILICON, DIAMOND, [14.0, 14.0]) + 102.8741963352893), 1e-8, "Ewald, silicon", "energy, DFTK")
    table.below(
        abs(sum_of(np.eye(3), [[0, 0, 0]], [1.0]) + 0.5 * 2.837297479480619), 1e-11, "simple cubic", "Wigner's constant"
    )
    salt = sum_of(2.0 * FCC, [[0, 0, 0], [0.5, 0.5, 0.5]], [1.0, -1.0])
    table.below(abs(salt + 1.747564594633), 1e-11, "rock salt", "Madelung's constant")

    fiber = fx.solids.ThomasFermi(8.0 * FCC, fx.solids.ions.Gaussian(3.0, 1.0), 3, grid=(28,) * 3)
    A = np.array([[0.0, 0.03, 0.0], [0.0, 0.0, 0.01], [0.0, 0.0, 0.02]])
    expected = np.array(
        [[-2.28879e-5, 3.25578e-5, 4.420e-7], [3.32811e-5, -2.39626e-5, 9.4413e-6], [1.586e-7, 9.7392e-6, -1.09082e-5]]
    )
    found = fx.response(fiber, A)
    table.below(abs(float(found.energy) * fiber.volume + 1.871559909), 1e-9, "TFW, sheared", "energy")
    table.below(np.abs(np.asarray(found.value) - expected).max(), 1e-9, "TFW, sheared", "stress")
    return table.close(out)


def pulay(out):
    """What basis="cutoff" leaves out of P: slopes of W at constant cutoff against P, for compressed silicon; without bounds."""
    table = Table(
        "pulay", 'pressure (GPa) of silicon at F = 0.97: basis="cutoff", P and −dE/dV', ("cutoff (Ha)", "from P", "from dE/dV")
    )
    from fiberax.cases.electrons.units import GPA

    for cutoff in (10.0, 15.0, 30.0):
        fiber = fx.solids.KohnSham(SILICON, [("Si", tuple(p)) for p in DIAMOND], cutoff=cutoff, kgrid=2, basis="cutoff")
        scales = 0.97 + np.array([-0.01, 0.0, 0.01])
        found = fx.responses(fiber, (scales - 1.0)[:, None, None] * np.eye(3), tolerance=1e-7)
        volumes = fiber.volume * scales**3
        energies = np.asarray(found.energy) * fiber.volume
        slope = -(energies[2] - energies[0]) / (volumes[2] - volumes[0]) * GPA
        direct = -np.trace(cauchy(found.value[1], (scales[1] - 1.0) * np.eye(3))) / 3.0 * GPA
        table.note(cutoff, direct, slope)
    return table.close(out)


def abinit_path(out):
    """The stresses that the case `electrons` draws beside its own, computed again by ABINIT."""
    from importlib.resources import files

    from fiberax.cases.electrons.electrons import KNOWN, Crystal_
    from fiberax.cases.electrons.units import GPA
    from fiberax.cases.solids.atoms import cell

    table = Table("abinit_path", "cases/electrons/data/abinit.csv, P in GPa", ("crystal", "strain"))
    lines = files("fiberax.cases.electrons").joinpath("data/abinit.csv").read_text().splitlines()
    for row in csv.DictReader(line for line in lines if not line.startswith("#")):
        known = KNOWN[Crystal_(row["crystal"])]
        lattice, basis = cell(known.structure, known.constant)
        F = np.diag([1.0 + float(row["strain"]), 1.0, 1.0])
        bands = None if known.width is None else 6
        there = codes.Crystal(lattice @ F.T, known.symbol, basis, known.cutoff, known.points, known.width, bands)
        P = np.linalg.det(F) * codes.abinit(there, out / "codes/abinit").stress @ np.linalg.inv(F).T * GPA
        table.below(
            np.abs(P[[0, 1], [0, 1]] - [float(row["Pxx"]), float(row["Pyy"])]).max(), 1e-4, row["crystal"], row["strain"]
        )
    return table.close(out)


CASES = (orbital_free, plane_waves, published, pulay, abinit_path, coupled)


if __name__ == "__main__":
    sys.exit(run(CASES, sys.argv[1:]))

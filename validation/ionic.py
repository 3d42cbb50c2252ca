"""Pair potentials by pair of species, and charges, against LAMMPS."""

import jax.numpy as jnp
import lammps_cell
import numpy as np
from crystals import EXACT, FCC, GPA, ROCK_SALT, _compare
from table import Table

import fiberax as fx

P = fx.solids.potentials
# e²/4πε₀ in eV Å as LAMMPS has it in units metal.
COULOMB = 14.399645
EWALD = 1e-9
# LAMMPS has erfc by a fit good to 1e-7, or by a table. With so large an exponent (1/Å) nothing is left for it to do.
SUMS = ["kspace_style ewald 1e-12", "kspace_modify gewald 2.6 kmax/ewald 24 24 24", "pair_modify table 0"]
BLENDE = np.array([[0.0, 0, 0], [0.25, 0.25, 0.25]])
CUT = 8.0
# G. V. Lewis, C. R. A. Catlow, J. Phys. C 18, 1149 (1985), rounded.
MG_O, O_O = (1428.5, 0.2945, 0.0), (22764.3, 0.149, 27.88)
CHARGES = {"Mg": 2.0, "O": -2.0}


def _short(scheme="truncated"):
    buckingham = lambda values: P.Buckingham(*values, cutoff=CUT, scheme=scheme, units="metal")
    return P.Pairs({("Mg", "O"): buckingham(MG_O), ("O", "O"): buckingham(O_O), ("Mg", "Mg"): None})


def _commands(style):
    rows = [
        f"pair_coeff {k} {' '.join(map(repr, values))}" for k, values in (("1 2", MG_O), ("2 2", O_O), ("1 1", (0.0, 1.0, 0.0)))
    ]
    return [f"pair_style {style} {CUT}", *rows]


def ionic_lammps(out):
    """Buckingham MgO with and without charges, other forms by pair, and elastic constants with charges."""
    table = Table("ionic_lammps", "largest relative difference to LAMMPS", ("potential", "state", "quantity"))
    types = ["Mg", "O"]
    bare = fx.solids.Crystal(FCC * 4.2, ROCK_SALT, types, _short())
    _compare(table, "Buckingham by pair", bare, lammps_cell.Peer(_commands("buck"), types), EXACT, relaxed=False)
    mixed = P.Pairs(
        {
            ("Mg", "O"): P.Buckingham(*MG_O, cutoff=CUT, units="metal"),
            ("O", "O"): P.Morse(0.3, 1.4, 3.1, 6.0, units="metal"),
            ("Mg", "Mg"): P.LennardJones(0.2, 2.4, 5.0, units="metal"),
        }
    )
    commands = [
        f"pair_style hybrid/overlay buck {CUT} morse 6.0 lj/cut 5.0",
        "pair_coeff 1 2 buck 1428.5 0.2945 0.0",
        "pair_coeff 2 2 morse 0.3 1.4 3.1",
        "pair_coeff 1 1 lj/cut 0.2 2.4",
    ]
    crystal = fx.solids.Crystal(FCC * 4.2, BLENDE, types, mixed)
    _compare(table, "three forms by pair", crystal, lammps_cell.Peer(commands, types), EXACT, relaxed=False)
    charged = P.Charged(_short(), CHARGES, COULOMB)
    peer = lammps_cell.Peer([*_commands("buck/coul/long"), *SUMS], types, charges=CHARGES)
    crystal = fx.solids.Crystal(FCC * 4.2, ROCK_SALT, types, charged)
    _compare(table, "Buckingham and charges", crystal, peer, EWALD, relaxed=False)
    _constants(table, crystal, peer)
    return table.close(out)


def _constants(table, crystal, peer):
    """C11, C12, C44 in GPa by differences of LAMMPS's stress; the shifts of rock salt are zero by symmetry."""
    h, lattice, still = 1e-4, np.asarray(crystal.lattice), jnp.zeros((1, 3))
    found = np.asarray(fx.response(crystal, jnp.zeros((3, 3)), tangent=True).tangent) * GPA

    def stress(A):
        atoms = np.asarray(fx.solids.positions(crystal, still, jnp.asarray(A)))
        return peer.evaluate(lattice, atoms, crystal.species, np.eye(3) + A)[1]

    for name, (i, j, k, n) in (("C11", (0, 0, 0, 0)), ("C12", (0, 0, 1, 1)), ("C44", (0, 1, 0, 1))):
        A = np.zeros((3, 3))
        A[k, n] = h
        want = (stress(A)[i, j] - stress(-A)[i, j]) / (2 * h) * GPA
        table.between(found[i, j, k, n], want - 1e-3, want + 1e-3, "Buckingham and charges, MgO", "GPa", name)

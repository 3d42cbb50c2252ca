"""Layers in vacuum, graphene and MoS2, against LAMMPS: energy and stress per area, and elastic constants."""

import shutil
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import lammps_cell
import numpy as np
from crystals import COUNT, EXACT, SIZE, folder
from table import Table

import fiberax as fx

NEWTON_PER_METRE = 16.021766208  # of one eV/Å²
STEP = 1e-4  # of strain, of the differences of LAMMPS's stress
# LAMMPS relaxes atoms to about 1e-10 eV, so to forces of some 1e-6 eV/Å; differences divide that by the strain.
RELAXED = 1e-5


def layers_lammps(out):
    """Tersoff's graphene; MoS2 by a Stillinger-Weber file that both programs read, and by LAMMPS's sw/mod as calculator."""
    from ase.build import graphene, mx2

    title = f"relative difference to LAMMPS, {COUNT} random A up to {SIZE:g}"
    table = Table("layers_lammps", title, ("layer", "state", "quantity"))
    sheet, file = graphene(a=2.52, vacuum=8.0), folder() / "SiC.tersoff"
    sheet.pbc = (True, True, False)
    commands = ["pair_style tersoff", f"pair_coeff * * {file} C"]
    layer, peer = fx.solids.from_ase(sheet, fx.solids.potentials.Tersoff(file)), lammps_cell.Peer(commands, ["C"])
    _held(table, "graphene", layer, peer)
    _constants(table, "graphene", fx.solids.equilibrium(layer, full=True), peer)
    disulfide = mx2("MoS2", a=3.2, thickness=3.2, vacuum=8.0)
    disulfide.pbc = (True, True, False)
    with tempfile.TemporaryDirectory() as name:
        plain = Path(shutil.copy(folder() / "tmd.sw.mod", Path(name) / "MoS2.sw"))
        commands = ["pair_style sw", f"pair_coeff * * {plain} Mo S"]
        layer = fx.solids.from_ase(disulfide, fx.solids.potentials.StillingerWeber(plain, ("Mo", "S")))
        # Its angles of more distant bonds make the layer give way: it is compared as it is.
        _held(table, "MoS2, sw", layer, lammps_cell.Peer(commands, ["Mo", "S"]), relaxed=False)
    rest = fx.solids.equilibrium(fx.solids.from_ase(disulfide, _calculator), full=True)
    _constants(table, "MoS2, sw/mod as calculator", rest, lammps_cell.Peer(_modified(), ["Mo", "S"]))
    return table.close(out)


def _modified():
    """Stillinger-Weber's form without the angles of more distant bonds, which fiberax does not have."""
    return ["pair_style sw/mod", f"pair_coeff * * {folder() / 'tmd.sw.mod'} Mo S"]


def _calculator():
    """ASE's calculator of it; at the top level, so that worker processes find it."""
    from ase.calculators.lammpslib import LAMMPSlib

    return LAMMPSlib(lmpcmds=_modified(), atom_types={"Mo": 1, "S": 2}, keep_alive=True)


def _held(table, label, layer, peer, relaxed=True):
    """W and P at given shifts, and relaxed."""
    rng = np.random.default_rng(len(label))
    A = SIZE * rng.uniform(-1, 1, (COUNT, 2, 2))
    states = {"given shifts": 0.05 * rng.uniform(-1, 1, (COUNT, len(layer.species) - 1, 3))}
    if relaxed:
        solve = jax.jit(jax.vmap(lambda A, s: layer.solver.solve(layer, s, A, 1e-10)))
        found, out = solve(jnp.asarray(A), jnp.zeros(states["given shifts"].shape))
        table.below(float(jnp.sum(out.result != 0)), 0, label, "relaxed", "failures")
        states["relaxed"] = np.asarray(found)
    both = jax.jit(jax.vmap(lambda A, s: (layer.energy(s, A), layer.link(s, A))))
    for words, shifts in states.items():
        energy, stress = map(np.asarray, both(jnp.asarray(A), jnp.asarray(shifts)))
        there = [_of_lammps(layer, peer, A[k], shifts[k]) for k in range(COUNT)]
        table.below(max(abs(energy[k] / W - 1) for k, (W, _) in enumerate(there)), EXACT, label, words, "W")
        errors = [np.abs(stress[k] - P).max() / np.abs(P).max() for k, (_, P) in enumerate(there)]
        table.below(max(errors), EXACT, label, words, "P")
        if words == "relaxed":
            least = [_of_lammps(layer, peer, A[k], shifts[k], minimize=True)[0] for k in range(COUNT)]
            table.below(max(abs(energy[k] / least[k] - 1) for k in range(COUNT)), 1e-10, label, "minimized by LAMMPS", "W")


def _of_lammps(layer, peer, A, shifts, minimize=False):
    """W and P per area of the undeformed layer."""
    F = np.eye(3)
    F[:2, :2] += A
    box = np.asarray(layer.inner.lattice)
    atoms = np.asarray(fx.solids.positions(layer, jnp.asarray(shifts), jnp.asarray(A)))
    energy, stress = peer.evaluate(box, atoms, layer.species, F, minimize=minimize)
    return box[2, 2] * energy, box[2, 2] * stress[:2, :2]


def _constants(table, label, rest, peer):
    """C11, C12 and C66 of a layer at rest against differences of the stress of cells that LAMMPS relaxes."""
    layer, C = rest.crystal, rest.voigt
    still = np.zeros((len(layer.species) - 1, 3))
    stress = lambda A: _of_lammps(layer, peer, A, still, minimize=True)[1]
    table.below(np.abs(stress(np.zeros((2, 2)))).max() / C[0, 0], 1e-5, label, "at rest", "P over C11")
    along, across = np.diag([STEP, 0.0]), np.array([[0.0, STEP], [STEP, 0.0]])
    pulled, sheared = ((stress(A) - stress(-A)) / (2 * STEP) for A in (along, across))
    found = {"C11": (C[0, 0], pulled[0, 0]), "C12": (C[0, 1], pulled[1, 1]), "C66": (C[2, 2], 0.5 * sheared[0, 1])}
    for name, (ours, theirs) in found.items():
        table.below(abs(ours / theirs - 1), RELAXED, label, f"{ours * NEWTON_PER_METRE:.2f} N/m", name)

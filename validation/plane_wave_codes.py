"""ABINIT and Quantum ESPRESSO on the parameters of Goedecker, Teter and Hutter that fiberax has, run in a folder of their own.

Debian packages abinit and quantum-espresso. Both have all points k up to time reversal and no other symmetry, and the plane
waves up to a cutoff of each cell. ABINIT reads the parameters (its format 10), Quantum ESPRESSO tables of the functions (UPF).
"""

import os
import re
import resource
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.special import erf, gamma

from fiberax.physics.solids.electrons import gth

_NUMBERS = {"H": 1, "C": 6, "Na": 11, "Mg": 12, "Al": 13, "Si": 14}
_SIGMA = re.compile(r"sigma\((\d) (\d)\)=\s*(\S+)")


class Crystal(NamedTuple):
    """What is computed: lattice rows (bohr), symbol, fractional positions, cutoff (hartree), points k, kT or None."""

    lattice: np.ndarray
    symbol: str
    positions: np.ndarray
    cutoff: float
    points: int
    width: float | None = None
    bands: int | None = None


class Answer(NamedTuple):
    """Energy (hartree per cell), Cauchy stress (hartree/bohr³), user CPU seconds."""

    energy: float
    stress: np.ndarray
    seconds: float


def missing() -> str:
    """What to install, in words; empty where both are there."""
    packages = {"abinit": "abinit", "pw.x": "quantum-espresso"}
    absent = [package for program, package in packages.items() if shutil.which(program) is None]
    return f"Install {' and '.join(absent)}: apt-get install -y --no-install-recommends {' '.join(absent)}" if absent else ""


def _run(command: list[str], folder: Path, log: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    with open(folder / log, "w") as out:
        done = subprocess.run(command, cwd=folder, stdout=out, stderr=subprocess.STDOUT, env=environment)
    if done.returncode != 0:
        raise SystemExit(f"{command[0]} ended with {done.returncode}; see {folder / log}.")
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before


def _rows(values) -> str:
    return "\n".join(" ".join(f"{x:.15g}" for x in row) for row in np.atleast_2d(values))


def abinit(crystal: Crystal, folder: Path) -> Answer:
    """By ABINIT, densities to a residual of 1e-12 (tolvrs)."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    element = crystal.symbol.split("-")[0]
    found = gth.parameters(crystal.symbol)
    lines = [f"{crystal.symbol} of Goedecker, Teter, Hutter", f"{_NUMBERS[element]} {found.valence} 0"]
    l_max = max(len(found.projectors) - 1, 0)
    lines += [f"10 1 {l_max} 0 2001 0", " ".join(map(repr, (found.r_loc, len(found.c), *found.c))), f"{len(found.projectors)}"]
    for l, (radius, h) in enumerate(found.projectors):
        rows = [" ".join(repr(float(x)) for x in h[i, i:]) for i in range(len(h))]
        lines.append(f"{radius!r} {len(h)} {rows[0] if rows else ''}")
        lines += rows[1:]
        lines += [" ".join(["0.0"] * (len(h) - i)) for i in range(len(h))] if l else []
    (folder / "ion.psp").write_text("\n".join(lines) + "\n")
    bands = crystal.bands or len(crystal.positions) * found.valence // 2
    filling = "occopt 1" if crystal.width is None else f"occopt 3\ntsmear {crystal.width}"
    n = crystal.points
    (folder / "run.abi").write_text(
        f"acell 3*1.0\nrprim\n{_rows(crystal.lattice)}\nntypat 1\nznucl {_NUMBERS[element]}\nnatom {len(crystal.positions)}\n"
        f"typat {len(crystal.positions)}*1\nxred\n{_rows(crystal.positions)}\necut {crystal.cutoff}\necutsm 0\nboxcutmin 2.0\n"
        f"kptopt 2\nnsym 1\nchksymbreak 0\nngkpt {n} {n} {n}\nnshiftk 1\nshiftk 0 0 0\nixc -001012\ntolvrs 1e-12\nnstep 100\n"
        f"nband {bands}\n{filling}\nprtwf 0\nprtden 0\nprteig 0\nprtebands 0\nprtgsr 0\n"
        'pp_dirpath "."\npseudos "ion.psp"\n'
    )
    seconds = _run(["abinit", "run.abi"], folder, "log")
    text = (folder / "run.abo").read_text()
    energy = float(re.findall(r"^\s*etotal1?\s+(-?\d\.\d{10}E\S+)", text, re.MULTILINE)[-1])
    stress = np.zeros((3, 3))
    for i, j, value in _SIGMA.findall(text.split("(hartree/bohr^3)")[1])[:6]:
        stress[int(i) - 1, int(j) - 1] = stress[int(j) - 1, int(i) - 1] = float(value)
    return Answer(energy, stress, seconds)


def quantum_espresso(crystal: Crystal, folder: Path) -> Answer:
    """By Quantum ESPRESSO, energies to 1e-12 Ry."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    element = crystal.symbol.split("-")[0]
    (folder / "ion.upf").write_text(_upf(crystal.symbol))
    atoms = "\n".join(f"{element} {_rows(row)}" for row in crystal.positions)
    smear = "" if crystal.width is None else f"occupations='smearing', smearing='fd', degauss={2.0 * crystal.width},"
    bands = "" if crystal.bands is None else f"nbnd={crystal.bands},"
    n = crystal.points
    (folder / "run.in").write_text(
        "&control calculation='scf', prefix='x', outdir='.', pseudo_dir='.', tstress=.true., disk_io='none' /\n"
        f"&system ibrav=0, nat={len(crystal.positions)}, ntyp=1, ecutwfc={2.0 * crystal.cutoff}, nosym=.true., noinv=.false.,"
        f" {smear} {bands} input_dft='sla+pw' /\n&electrons conv_thr=1e-12, diago_thr_init=1e-6 /\nATOMIC_SPECIES\n"
        f"{element} 1.0 ion.upf\nCELL_PARAMETERS bohr\n{_rows(crystal.lattice)}\nATOMIC_POSITIONS crystal\n{atoms}\n"
        f"K_POINTS automatic\n{n} {n} {n} 0 0 0\n"
    )
    seconds = _run(["pw.x", "-in", "run.in"], folder, "log")
    text = (folder / "log").read_text()
    energy = 0.5 * float(re.findall(r"^!\s+total energy\s+=\s+(\S+)", text, re.MULTILINE)[-1])
    block = text.split("total   stress")[-1].splitlines()[1:4]
    stress = -0.5 * np.array([[float(x) for x in line.split()[:3]] for line in block])
    return Answer(energy, stress, seconds)


def _upf(symbol: str) -> str:
    """The pseudopotential in tables of radial functions, rydberg and bohr."""
    found = gth.parameters(symbol)
    r = np.linspace(0.0, 12.0, 3001)
    s = r / found.r_loc
    local = -found.valence * np.append((2.0 / np.pi) ** 0.5 / found.r_loc, erf(s[1:] / 2**0.5) / r[1:])
    local += np.exp(-0.5 * s**2) * sum(c * s ** (2 * k) for k, c in enumerate(found.c))
    rows, matrix, labels = [], [], []
    for l, (radius, h) in enumerate(found.projectors):
        for n in range(len(h)):
            a = l + 2 * n + 1.5
            p = 2**0.5 * r ** (l + 2 * n) * np.exp(-0.5 * (r / radius) ** 2) / (radius**a * gamma(a) ** 0.5)
            rows.append(r * p)
            labels.append(l)
        matrix.append(2.0 * h)
    size = len(rows)
    D = np.zeros((size, size))
    begin = 0
    for block in matrix:
        D[begin : begin + len(block), begin : begin + len(block)] = block
        begin += len(block)
    field = lambda values: "\n".join(f"{x:.16e}" for x in values)
    wide = 4.0 * np.pi * r**2 * found.valence * (np.pi * 1.5**2) ** -1.5 * np.exp(-((r / 1.5) ** 2))
    betas = "\n".join(
        f'<PP_BETA.{k + 1} type="real" size="{len(r)}" columns="1" index="{k + 1}" angular_momentum="{l}"'
        f' cutoff_radius_index="{len(r)}" cutoff_radius="{r[-1]}">\n{field(row)}\n</PP_BETA.{k + 1}>'
        for k, (l, row) in enumerate(zip(labels, rows))
    )
    name, column = symbol.split("-")[0], f'type="real" size="{len(r)}" columns="1"'
    flags = " ".join(f'{word}="F"' for word in ("is_ultrasoft", "is_paw", "is_coulomb", "has_so", "has_wfc", "has_gipaw"))
    sizes = f'l_max="{max(labels, default=0)}" l_local="-1" mesh_size="{len(r)}" number_of_wfc="0" number_of_proj="{size}"'
    header = (
        f'generated="" author="" date="" comment="" element="{name}" pseudo_type="NC" relativistic="no" {flags} '
        f'core_correction="F" functional="SLA PW NOGX NOGC" z_valence="{found.valence}.0" total_psenergy="0.0" '
        f'rho_cutoff="0.0" {sizes}'
    )
    mesh = f'mesh="{len(r)}" dx="0.0" xmin="0.0" rmax="{r[-1]}" zmesh="1.0"'
    spacing = np.full(len(r), r[1] - r[0])
    return "\n".join(
        [
            f'<UPF version="2.0.1">\n<PP_INFO>\n</PP_INFO>\n<PP_HEADER {header}/>\n<PP_MESH {mesh}>',
            f"<PP_R {column}>\n{field(r)}\n</PP_R>\n<PP_RAB {column}>\n{field(spacing)}\n</PP_RAB>\n</PP_MESH>",
            f"<PP_LOCAL {column}>\n{field(2.0 * local)}\n</PP_LOCAL>\n<PP_NONLOCAL>\n{betas}",
            f'<PP_DIJ type="real" size="{size * size}" columns="{size}">\n{field(D.ravel())}\n</PP_DIJ>\n</PP_NONLOCAL>',
            f"<PP_PSWFC>\n</PP_PSWFC>\n<PP_RHOATOM {column}>\n{field(wide)}\n</PP_RHOATOM>\n</UPF>\n",
        ]
    )

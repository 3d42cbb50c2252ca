"""Digests of every number of small runs of all built-in cases and of all examples, to compare two states of the library.

    python validation/digests.py OUT.json [--only NAME ...] [--tree FOLDER]
    python validation/digests.py --compare BEFORE.json AFTER.json [--bound 1e-12] [--only NAME ...]

The first form runs each case in a process of its own through the command line, and takes the variables of `results.nc`, the
numbers of `summary.json` and the arrays of `microstates.npz` from the folder of the run; of an example it takes the numbers
that it prints. OUT.json gets a digest of the bytes of each array, OUT.npz the arrays themselves. NAME is that of a run, as
wave-seamless, or what it begins with, as wave. The second form prints one line an array, and fails where one deviates, relative
to the largest absolute value of the array before, by more than the bound; with the bound 0 all bytes must be the same.
"""

import argparse
import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import h5py
import numpy as np

RUNS = """
homogenize-image         homogenize --rows 2 --batch 2
homogenize-formula       homogenize --formula "2 + sin(2*pi*x)*cos(2*pi*y) + U/50" --points 16 --rows 3
steady                   steady --cells 5
diffusion-qs-implicit    diffusion --cells 5 --t1 0.1 --records 2
diffusion-qs-explicit    diffusion --cells 5 --t1 0.1 --dt 0.02 --records 2 --stepping explicit
diffusion-sl-implicit    diffusion --cells 5 --t1 0.1 --records 2 --method seamless --friction 0.1
diffusion-sl-explicit    diffusion --cells 5 --t1 0.1 --dt 0.02 --records 2 --stepping explicit --method seamless
diffusion-two-devices    diffusion --cells 5 --t1 0.1 --records 2 --devices 2 --chunk 4
chain-morse              chain --rows 13
chain-lennard-jones      chain --model lennard-jones --low -0.02 --high 0.1 --rows 7 --batch 4
chain-quantum            chain --model quantum --points 16 --low -0.05 --high 0.05 --rows 5
wave-quasistatic         wave --cells 32 --width 0.1 --records 4
wave-seamless            wave --cells 32 --width 0.1 --records 4 --method seamless
wave-quantum-seamless    wave --model quantum --points 7 --cells 16 --width 0.15 --records 4 --method seamless --mass 0.02 --friction 0
wave-crystal             wave --material si-sw --cells 16 --width 0.1 --peak 0.001 --records 2 --length 2
crystal-si-sw            crystal --low -0.02 --high 0.02 --rows 3
crystal-c-tersoff        crystal --material c-tersoff --path shear --low 0.01 --rows 1
crystal-cu-suttonchen    crystal --material cu-suttonchen --path volumetric --low -0.01 --high 0.01 --rows 2
crystal-lj               crystal --material lj --direction 1,0,0,0,-0.3,0,0,0,-0.3 --low 0 --high 0.14 --rows 5
pull-monolithic          pull --material lj-triangular --cells 2 --strain 0.02 --step 0.01
pull-nested              pull --material lj-triangular --cells 2 --strain 0.02 --step 0.01 --driver nested
electrons-tfw            electrons --crystal sodium --model tfw --grid 8 --low -0.01 --high 0.01 --rows 2
electrons-silicon        electrons --cutoff 3 --points 1 --path shear --low 0 --high 0.01 --rows 2
electrons-aluminium      electrons --crystal aluminium --cutoff 3 --points 2 --basis cutoff --low 0 --high 0.01 --rows 2
electron-wave-seamless   electron-wave --crystal sodium --cells 8 --grid 6 --width 0.15 --records 2
electron-wave-qs         electron-wave --crystal sodium --cells 8 --grid 6 --width 0.15 --records 2 --method quasistatic
rheometer-fene           rheometer --members 40 --replicas 2 --average 60 --rows 2
rheometer-hookean        rheometer --spring hookean --dim 2 --rates 0.5,2 --members 40 --replicas 3 --average 200 --noise gaussian --no-control
rheometer-formula        rheometer --spring "1 + 0.2*s" --history history.txt --mode startup --dim 2 --dt 0.1 --records 5 --members 20
rheometer-fene-density   rheometer --form density --dim 2 --b 20 --flow planar --low 0.2 --high 0.6 --rows 2
rheometer-chain-startup  rheometer --model chain --springs 3 --mode startup --rates 0.3,3 --span 1 --records 4 --members 30 --replicas 3
rheometer-relaxation     rheometer --mode relaxation --rates 2 --span 1 --before 1 --records 4 --members 30 --replicas 3
rheometer-rods           rheometer --model rod --potential maier-saupe --flow uniaxial --rates 3 --members 40 --replicas 2 --average 60
rheometer-rod-density    rheometer --model rod --potential onsager --form density --degree 8 --rates 3 --director 1,0,0
rheometer-oscillation    rheometer --model rod --form density --mode oscillation --degree 6 --rows 5
channel-hookean          channel --cells 8 --members 64 --t1 0.4 --records 2
channel-wall             channel --cells 6 --members 64 --t1 0.4 --records 2 --drive wall --dim 2 --Re 0 --viscosity-ratio 0.7 --noise gaussian --control --save-states
channel-density          channel --form density --dim 2 --cells 8 --t1 0.4 --records 2
channel-rod-density      channel --model rod --potential maier-saupe --form density --degree 6 --cells 6 --t1 0.2 --records 2
cavity-density           cavity --cells 8 --t1 0.2 --records 2
cavity-weno              cavity --cells 8 --t1 0.2 --records 2 --scheme weno --lid plain --spring fene --degree 8 --Re 1
cavity-brownian          cavity --cells 8 --t1 0.2 --records 2 --form brownian --members 10 --scheme upwind
kolmogorov-density       kolmogorov --cells 8 --t1 0.5 --records 2
kolmogorov-brownian      kolmogorov --cells 8 --t1 0.2 --records 2 --form brownian --spring fene --members 10 --scheme semi-lagrangian --forcing four-roll --waves 1
spins-table              spins --sites 16 --replicas 4 --rows 3 --average 10
spins-plane-exchange     spins --sites 4 --dim 2 --replicas 4 --rows 2 --average 10 --dynamics exchange --noise gaussian
spins-diffusion          spins --mode diffusion --sites 16 --replicas 4 --cells 8 --length 40 --records 2
spins-sampled            spins --mode diffusion --method sampled --dim 2 --sites 4 --replicas 4 --samples 128 --potential "0.5*phi**2" --cells 4 --length 20 --dt 2 --t1 4 --records 1
"""  # noqa: E501
OPTIONS = ("--no-figures", "--plain", "--overwrite")
NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d+\.?\d*(?:e[-+]?\d+)?|nan|inf)(?!\w)", re.IGNORECASE)
CLOCK = re.compile(r"\bsec|\d m?s\b|\bmin\b|elapsed|Figure:")  # lines with times on the clock, or with paths


def chosen(name, only):
    """Whether `name` is, or begins with, one of the names in `only`; all are where there are none."""
    return not only or any(name == begin or name.startswith((f"{begin}-", f"{begin}/", f"{begin}_")) for begin in only)


def numbers_of(value):
    """All numbers in what json.loads gives, in order."""
    if isinstance(value, dict | list):
        return [number for part in (value.values() if isinstance(value, dict) else value) for number in numbers_of(part)]
    return [float(value)] if isinstance(value, int | float) else []


def arrays_of(folder):
    """All numbers that a run left in its folder, by name."""
    found, results, summary, states = {}, folder / "results.nc", folder / "summary.json", folder / "microstates.npz"
    if results.exists():
        with h5py.File(results) as file:
            bare = [name for name in file if b"This is a netCDF dimension" in bytes(file[name].attrs.get("NAME", b""))]
            found |= {name: file[name][...] for name in file if name not in bare}
    if summary.exists():
        found |= {f"summary/{key}": np.array(numbers_of(value)) for key, value in json.loads(summary.read_text()).items()}
    if states.exists():
        with np.load(states, allow_pickle=False) as archive:
            found |= {f"microstates/{key}": archive[key] for key in archive.files if key != "index"}
    return {name: array for name, array in found.items() if array.dtype.kind in "biuf" and array.size}


def printed(text):
    """All numbers in the lines of a text that do not speak of time on the clock."""
    lines = [line for line in text.splitlines() if not CLOCK.search(line)]
    return np.array([float(number) for line in lines for number in NUMBER.findall(line)])


def compute(out, only, tree):
    """Run what is chosen, write the digests and arrays; whether any run failed, or none was chosen."""
    usual = {"JAX_PLATFORMS": "cpu", "OMP_NUM_THREADS": "1"}
    environment = usual | os.environ | {"PYTHONPATH": str(tree / "src"), "MPLBACKEND": "Agg"}
    jobs = {line.split()[0]: ["-m", "fiberax", "run", *shlex.split(line)[1:]] for line in RUNS.strip().splitlines()}
    jobs |= {f"example-{path.stem}": [str(path)] for path in sorted((tree / "examples").glob("*.py"))}
    arrays, failed = {}, []
    for name, arguments in jobs.items():
        if not chosen(name, only):
            continue
        with tempfile.TemporaryDirectory() as place:
            folder, spent = Path(place) / "run", sum(os.times()[2:4])
            (Path(place) / "history.txt").write_text("0 0 1 0 0\n1 0 3 0 0\n")
            further = [] if name.startswith("example-") else [*OPTIONS, "--out", str(folder)]
            command = [sys.executable, *arguments, *further]
            done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True)
            found = arrays_of(folder) if further else {"printed": printed(done.stdout)}
        arrays |= {f"{name}/{key}": array for key, array in found.items()}
        arrays[f"{name}/exit"] = np.array(done.returncode)
        print(f"{name}: {len(found)} arrays, {sum(os.times()[2:4]) - spent:.1f} s of CPU time", flush=True)
        if done.returncode or not found:
            failed.append(name)
            print(f"  exit code {done.returncode}\n{done.stderr[-2000:]}", flush=True)
    table = {name: {"dtype": a.dtype.str, "shape": a.shape, "sha256": digest(a)} for name, a in sorted(arrays.items())}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(table, indent=1) + "\n")
    np.savez_compressed(out.with_suffix(".npz"), **arrays)
    print(f"{len(table)} arrays; failed: {', '.join(failed) or 'none'}")
    return bool(failed) or not table


def digest(array):
    """Of the type, the shape and the bytes."""
    return hashlib.sha256(f"{array.dtype.str} {array.shape} ".encode() + array.tobytes()).hexdigest()


def deviation(before, after):
    """The largest absolute deviation over the largest absolute value before; infinite where NaN or infinity moved."""
    a, b = before.astype(float), after.astype(float)
    differ = ~((a == b) | (np.isnan(a) & np.isnan(b)))
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.abs(a - b)[differ].max(initial=0.0) / np.abs(a[np.isfinite(a)]).max(initial=0.0)
    return 0.0 if not differ.any() else np.inf if np.isnan(found) else float(found)


def compare(paths, bound, only):
    """Print one line an array; whether any deviates by more than the bound or is in one table alone, or none is there."""
    (first, before), (second, after) = ((json.loads(p.read_text()), np.load(p.with_suffix(".npz"))) for p in paths)
    names, bad = [name for name in sorted(first | second) if chosen(name, only)], 0
    for name in names:
        fine, a, b = False, first.get(name), second.get(name)
        if a is None or b is None:
            words = f"only {'after' if a is None else 'before'}"
        elif a["shape"] != b["shape"]:
            words = f"shape {a['shape']} became {b['shape']}"
        elif a["sha256"] == b["sha256"]:
            words, fine = "identical", True
        else:
            found = deviation(before[name], after[name])
            words, fine = f"{found:.2e} ({a['dtype']}, {b['dtype']})", bound > 0.0 and found <= bound
        bad += not fine
        print(f"{name}: {words}{'' if fine else '  <--'}")
    print(f"{len(names)} arrays, {bad} beyond the bound {bound:g}")
    return bad > 0 or not names


def main():
    """Compute or compare; 0 where all went well."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, nargs="?", help="table of digests to write, .json; the arrays go beside it, .npz")
    parser.add_argument("--compare", type=Path, nargs=2, metavar=("BEFORE", "AFTER"), help="two such tables")
    parser.add_argument("--bound", type=float, default=0.0, help="largest relative deviation; 0: the same bytes")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="these runs alone")
    parser.add_argument("--tree", type=Path, default=Path(__file__).parents[1], help="checkout to run; default this one")
    options = parser.parse_args()
    if (options.out is None) == (options.compare is None):
        parser.error("give the table to write, or --compare and two tables")
    if options.compare is None:
        return int(compute(options.out.resolve(), options.only, options.tree.resolve()))
    return int(compare(options.compare, options.bound, options.only))


if __name__ == "__main__":
    sys.exit(main())

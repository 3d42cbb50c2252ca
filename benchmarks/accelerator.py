"""What an accelerator gives: seven subjects at 1 to 10 000 sites in single and double precision, in at most 8 minutes.

Dumbbells, spins, conduction cells, crystals, densities of Thomas and Fermi, orbitals of Kohn and Sham, boxes of 512 molecules:
the steps of what moves by itself (sites times steps per second), and `fx.responses` of what is solved (sites per second). The
rows say besides: the share of the memory bandwidth, from the bytes of the states that a step reads and writes and a copy of a
large array measured in the same process; the relative difference from the CPU; and the seconds of the first call beyond a later
one, which are mostly compilation. Each precision has a process of its own. What does not fit into the time or the memory is
said so in its row.

Run: python benchmarks/accelerator.py [--small] [--only dumbbells,...] [--seconds 480] [--out runs/accelerator]
It writes accelerator.json and accelerator.md, the table for the docs. `--small` takes a few sites of small fibers: a test that
every subject computes, on any machine.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

SITES, FEW = (1, 100, 1000, 10_000), (1, 3)
LEAST = 0.2  # seconds that a run is timed
SINGLE = 1e-4  # tolerance of solves in single precision
CHUNK = {"cpu": 2**21, "other": 2**33}  # bytes of states and workspaces that are computed at once
CHECKED = 4  # sites that are compared with the CPU
COPIED = {False: 2**28, True: 2**22}  # bytes of the array that measures the bandwidth
COLUMNS = ("subject", "precision", "sites", "per second", "bandwidth", "off the CPU", "first call, s", "note")


class Subject(NamedTuple):
    """A fiber, its conditions (sites, ...), whether it moves by itself, and options of `fx.responses`."""

    fiber: Any
    conditions: Callable
    moves: bool
    options: dict


def _shear(sites, dim):
    import numpy as np

    kappa = np.zeros((sites, dim, dim))
    kappa[:, 0, 1] = np.linspace(0.1, 1.0, sites)
    return kappa


def _strain(sites):
    import numpy as np

    A = np.zeros((sites, 3, 3))
    A[:, 0, 1] = np.linspace(0.0, 0.02, sites)
    return A


def _fcc(constant):
    import numpy as np

    return 0.5 * constant * np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]])


def dumbbells(small):
    """FENE dumbbells."""
    import fiberax as fx

    fiber = fx.fluids.Dumbbell(members=20 if small else 500, dim=2)
    return Subject(fiber, lambda sites: _shear(sites, 2), True, {})


def spins(small):
    """A lattice of spins with noise."""
    import numpy as np

    import fiberax as fx

    fiber = fx.diffusion.GinzburgLandau(lambda x: 0.25 * x**4, sites=8 if small else 256, replicas=2 if small else 16)
    return Subject(fiber, lambda sites: np.linspace(-0.5, 0.5, sites), True, {})


def conduction(small):
    """A periodic cell of a conductor."""
    import jax.numpy as jnp
    import numpy as np

    import fiberax as fx

    wave = lambda z: jnp.sin(2.0 * jnp.pi * z[0]) * jnp.cos(2.0 * jnp.pi * z[1])
    cell = fx.homogenization.Cell(lambda U, z: 1.0 + U**2 + 0.5 * wave(z), (8, 8) if small else (64, 64))
    return Subject(cell, lambda sites: np.linspace(0.2, 1.0, sites), False, {})


def crystals(small):
    """Silicon, with tangents."""
    import fiberax as fx

    basis = [(0.0, 0.0, 0.0), (0.25, 0.25, 0.25)]
    crystal = fx.solids.Crystal(_fcc(5.43095), basis, ["Si", "Si"], fx.solids.potentials.StillingerWeber("Si"))
    return Subject(crystal, _strain, False, {"tangent": not small})


def densities(small):
    """Electrons of aluminium as a density."""
    import fiberax as fx

    ion = fx.solids.ions.Gaussian(3.0, 0.4754907726)
    points = 6 if small else 12
    return Subject(
        fx.solids.ThomasFermi(_fcc(7.65), ion, 3, grid=(points,) * 3, xc="lda_pw"), _strain, False, {"tolerance": 1e-6}
    )


def orbitals(small):
    """Electrons of silicon as orbitals."""
    import fiberax as fx

    atoms = [("Si", (0.0, 0.0, 0.0)), ("Si", (0.25, 0.25, 0.25))]
    cutoff, points = (2.0, (1, 1, 1)) if small else (6.0, (2, 2, 2))
    return Subject(fx.solids.KohnSham(_fcc(10.23), atoms, cutoff=cutoff, kgrid=points), _strain, False, {"tolerance": 1e-6})


def molecules(small):
    """A Lennard-Jones liquid in shear."""
    import fiberax as fx

    m = fx.molecules
    options = {"images": 0, "equilibration": 1.0}
    box = m.Box(m.WCA(), 27, 0.6, **options) if small else m.Box(m.LennardJones(), 512, **options)
    return Subject(box, lambda sites: _shear(sites, 3), True, {})


SUBJECTS = {f.__name__: f for f in (dumbbells, spins, conduction, crystals, densities, orbitals, molecules)}


def bandwidth(small) -> float:
    """Bytes per second that are read and written where a large array is copied with a factor."""
    import jax
    import jax.numpy as jnp

    x = jnp.ones(COPIED[small] // 4, jnp.float32)
    scale = jax.jit(lambda x: 1.0001 * x)
    x = jax.block_until_ready(scale(x))
    begun = time.monotonic()
    for _ in range(10):
        x = scale(x)
    jax.block_until_ready(x)
    return 10 * 2 * x.nbytes / (time.monotonic() - begun)


def rows(name: str, small: bool, left: Callable[[], float], peak: float):
    """Yields the rows of a subject at growing numbers of sites; stops where the time or the memory ends."""
    import jax

    precision = "double" if jax.config.read("jax_enable_x64") else "single"
    row = lambda sites, **found: {"subject": name, "precision": precision, "sites": sites, **found}
    try:
        subject = SUBJECTS[name](small)
    except Exception as error:
        yield row(None, note=_brief(error))
        return
    spent = 0.0
    for sites in FEW if small else SITES:
        if left() < 4.0 * spent:
            yield row(sites, note="left out: no time")
            return
        begun = time.monotonic()
        try:
            found = (moving if subject.moves else solved)(subject, sites, peak)
            if sites <= CHECKED and jax.default_backend() != "cpu":
                found["off the CPU"] = from_cpu(subject, sites)
        except Exception as error:
            yield row(sites, note=_brief(error))
            return
        spent = time.monotonic() - begun
        yield row(sites, **found)


def advance(subject: Subject, sites: int) -> tuple[Callable, Any]:
    """run(states, steps), jitted, and the states to begin with; sites are computed in chunks that fit into the memory."""
    import jax
    import jax.numpy as jnp

    fiber, conditions = subject.fiber, jnp.asarray(subject.conditions(sites), jnp.result_type(float))
    keys = jax.random.split(jax.random.key(0), sites)
    one = jax.eval_shape(fiber.init, conditions[0], keys[0])
    each = fiber.workspace + sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(one))
    chunk = max(1, min(sites, CHUNK["cpu" if jax.default_backend() == "cpu" else "other"] // each))

    def step(entry):
        state, condition, key = entry
        return fiber.step(state, condition, jnp.asarray(fiber.timestep(condition)), key)

    @jax.jit
    def run(states, steps):
        def body(k, states):
            now = jax.vmap(lambda key: jax.random.fold_in(key, k))(keys)
            return jax.lax.map(step, (states, conditions, now), batch_size=chunk)

        return jax.lax.fori_loop(0, steps, body, states)

    begin = jax.jit(lambda: jax.lax.map(lambda x: fiber.init(*x), (conditions, keys), batch_size=chunk))
    return run, jax.block_until_ready(begin())


def moving(subject: Subject, sites: int, peak: float) -> dict:
    """Rates of a fiber that moves by itself, over a run of a fifth of a second at least."""
    import jax
    import numpy as np

    run, states = advance(subject, sites)
    begun = time.monotonic()
    states = jax.block_until_ready(run(states, 1))
    first, steps, spent = time.monotonic() - begun, 1, 0.0
    while spent < LEAST:
        steps = 2 * steps if spent == 0.0 else int(steps * max(2.0, 1.2 * LEAST / spent))
        begun = time.monotonic()
        states = jax.block_until_ready(run(states, steps))
        spent = time.monotonic() - begun
    each = spent / steps
    moved = 2 * sum(x.nbytes for x in jax.tree.leaves(states))
    bad = int(np.count_nonzero(np.asarray(jax.vmap(subject.fiber.verdict)(states))))
    return _found(sites / each, first - each, moved / each / peak, f"{bad} failed" if bad else "")


def solved(subject: Subject, sites: int, peak: float) -> dict:
    """Rates of a fiber that is solved."""
    import jax
    import numpy as np

    import fiberax as fx

    conditions, clock, answer = subject.conditions(sites), [time.monotonic()], None
    for _ in range(2):
        answer = jax.block_until_ready(fx.responses(subject.fiber, conditions, **options_of(subject)))
        clock.append(time.monotonic())
    assert answer is not None
    first, later = np.diff(clock)
    bad = int(np.count_nonzero(np.asarray(answer.result)))
    return _found(sites / later, first - later, None, f"{bad} failed" if bad else "")


def _found(rate, compiled, share, note) -> dict:
    numbers = {"per second": float(rate), "first call, s": float(compiled), "bandwidth": share and float(share)}
    return numbers | ({"note": note} if note else {})


def from_cpu(subject: Subject, sites: int) -> float:
    """How far the answer is from that of the CPU, relative; of what moves by itself after two steps in the same noise."""
    import jax
    import numpy as np

    import fiberax as fx

    def answer():
        if subject.moves:
            run, states = advance(subject, sites)
            found = jax.vmap(subject.fiber.link)(run(states, 2), subject.conditions(sites))
        else:
            found = fx.responses(subject.fiber, subject.conditions(sites), **options_of(subject)).value
        return [np.asarray(x) for x in jax.tree.leaves(found)]

    here = answer()
    with jax.default_device(jax.devices("cpu")[0]):
        there = answer()
    return float(max(np.max(np.abs(a - b)) / max(np.max(np.abs(b)), 1e-30) for a, b in zip(here, there, strict=True)))


def options_of(subject: Subject) -> dict:
    """Those of `fx.responses`, with a tolerance that single precision reaches."""
    import jax

    return subject.options if jax.config.read("jax_enable_x64") else subject.options | {"tolerance": SINGLE}


def _brief(error: Exception) -> str:
    words = " ".join(str(error).split())
    return f"{type(error).__name__}: {words[:120]}"


def measure(names: list[str], small: bool, double: bool, seconds: float) -> None:
    """Print the rows of one precision, each as a line of JSON; every subject has its share of the time that is left."""
    import jax

    jax.config.update("jax_enable_x64", double)
    end, peak = time.monotonic() + seconds, bandwidth(small)
    device = jax.devices()[0]
    print(json.dumps({"device": f"{device.platform} {device.device_kind}", "bytes per second": peak}), flush=True)
    for number, name in enumerate(names):
        share = time.monotonic() + (end - time.monotonic()) / (len(names) - number)
        for row in rows(name, small, lambda share=share: share - time.monotonic(), peak):
            print(json.dumps(row), flush=True)


def table(found: dict) -> str:
    """In Markdown."""
    lines = [f"{found['device']}, {found['bytes per second'] / 1e9:.0f} GB/s for a copy.", ""]
    lines += ["| " + " | ".join(COLUMNS) + " |", "|" + " --- |" * len(COLUMNS)]
    for row in found["rows"]:
        lines.append("| " + " | ".join(_cell(row.get(name), name) for name in COLUMNS) + " |")
    return "\n".join(lines) + "\n"


def _cell(value, name: str) -> str:
    if value is None:
        return ""
    if name == "bandwidth":
        return f"{100.0 * value:.0f} %"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def main(arguments: list[str] | None = None) -> int:
    """Both precisions, one after the other; 1 where a subject gave no number at all."""
    parser = argparse.ArgumentParser(description="What an accelerator gives.")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--only", default=",".join(SUBJECTS))
    parser.add_argument("--seconds", type=float, default=480.0)
    parser.add_argument("--out", type=Path, default=Path("runs/accelerator"))
    parser.add_argument("--precision", choices=("single", "double"))  # of a process of its own
    options = parser.parse_args(arguments)
    names = options.only.split(",")
    if unknown := sorted(set(names) - set(SUBJECTS)):
        parser.error(f"no subject {unknown[0]}; there are {', '.join(SUBJECTS)}")
    if options.precision:
        measure(names, options.small, options.precision == "double", options.seconds)
        return 0
    found: dict = {"rows": []}
    begun = time.monotonic()
    for number, precision in enumerate(("double", "single")):
        left = (options.seconds - (time.monotonic() - begun)) / (2 - number)
        command = [sys.executable, __file__, "--precision", precision, "--only", options.only, "--seconds", f"{left:.0f}"]
        with subprocess.Popen(command + ["--small"] * options.small, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                row = json.loads(line)
                if "device" in row:
                    found = {**row, **found}
                    continue
                found["rows"].append(row)
                print("  ".join(_cell(row.get(name), name) for name in COLUMNS), flush=True)
        if process.returncode:
            return process.returncode
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "accelerator.json").write_text(json.dumps(found, indent=1))
    (options.out / "accelerator.md").write_text(table(found))
    measured = {row["subject"] for row in found["rows"] if row.get("per second")}
    return int(measured != set(names))


if __name__ == "__main__":
    sys.exit(main())

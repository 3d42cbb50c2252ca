"""What a table saves beside solving every fiber at every evaluation: solves, CPU time without compilation, and its error."""

import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from table import Table

import fiberax as fx


class Pair(NamedTuple):
    """A run with every fiber solved, one with a table, and what must hold.

    `run(driver, part)`: the problem, or a first part of it. `tight`: the driver that gives the error of both; that of the
    nested run may be it.
    """

    name: str
    run: Callable
    nested: Any
    table: Any
    tight: Any
    fewer: float
    faster: float


def evolving(problem, macro0, t1, dt, stepper) -> Callable:
    def run(driver, part):
        return fx.evolve(problem, driver, macro0, t1=dt if part else t1, dt=dt, stepper=stepper)

    return run


def plate() -> Pair:
    """400 cells of 64 x 64 pixels, 12 implicit steps of order 2."""
    from fiberax.cases.homogenization.diffusion import Diffusion

    case = Diffusion(tolerance=1e-6).build()
    run = evolving(case.bundle, case.macro0, case.t1, case.dt, fx.SDIRK2(tolerance=1e-7))
    table = fx.Surrogate(fx.Quasistatic(1e-7), 1e-5, check=1e-3)
    nested = fx.Quasistatic(1e-6)
    return Pair("plate", run, nested, table, nested, 200.0, 10.0)


def bar(cells: int, faster: float) -> Pair:
    """A bar of aluminium in Thomas-Fermi densities through which a pulse runs. Of few cells what a run begins with counts."""
    from fiberax.cases.electrons.electron_wave import ElectronWave
    from fiberax.cases.solids.wave import Method

    case = ElectronWave(cells=cells, method=Method.QUASISTATIC).build()
    run = evolving(case.bundle, case.macro0, case.t1, case.dt, case.stepper)
    # Solves to 1e-7 are themselves off by 3e-6 of the response, which no table can undercut.
    table = fx.Surrogate(fx.Quasistatic(1e-9), 1e-6, check=1e-3)
    nested = fx.Quasistatic(1e-9)
    return Pair(f"aluminium, {cells} cells", run, nested, table, nested, 0.0, faster)


def orbitals(cells: int) -> Pair:
    """A bar of silicon in Kohn-Sham orbitals, at a low cutoff, through which a pulse runs."""
    lattice = 0.5 * 10.23 * (np.ones((3, 3)) - np.eye(3))
    atoms = [("Si", (0.0, 0.0, 0.0)), ("Si", (0.25, 0.25, 0.25))]
    fiber = fx.solids.uniaxial(fx.solids.KohnSham(lattice, atoms, cutoff=3.0, kgrid=(2, 1, 1)))
    macro = fx.solids.Wave(fx.grids.Box(0.0, 1.0, cells=cells), density=1.0)
    pair = fx.responses(fiber, np.array([-1e-3, 1e-3]), tolerance=1e-8)
    speed = float(np.sqrt((pair.value[1] - pair.value[0]) / 2e-3))
    distance = (macro.positions()[:, 0] - 0.5) / 0.08
    start = macro.start(0.02 * np.exp(-0.5 * distance**2))
    run = evolving(fx.Bundle(macro, fiber), start, 0.5 / speed, 0.4 / cells / speed, fx.Verlet())
    # At this cutoff the stress without strain is much larger than its change, to which the error of the bar is relative.
    table = fx.Surrogate(fx.Quasistatic(1e-9), 1e-8, check=1e-3)
    nested = fx.Quasistatic(1e-9)
    return Pair(f"orbitals, {cells} cells", run, nested, table, nested, 0.0, 20.0)


def crystal() -> Pair:
    """A block of silicon under tension: its crystals are cheap, and the table must not make it slower."""
    from fiberax.cases.solids.pull import Pull

    case = Pull(cells=6, strain=0.05).build()

    def run(driver, part):
        return fx.continuation(case.bundle, driver, case.macro0, t1=0.3 if part else 1.0, dt=0.1, tolerance=1e-8)

    return Pair("silicon body", run, fx.Quasistatic(), fx.Surrogate(fx.Quasistatic(), 1e-4), fx.Quasistatic(), 0.0, 1.0 / 1.1)


PAIRS = {
    "plate": plate,
    "bar": lambda: bar(200, 20.0),
    "small_bar": lambda: bar(32, 1.0),
    "orbitals": lambda: orbitals(64),
    "crystal": crystal,
}


def compare(pair: Pair, table: Table, error: float = 1e-5) -> None:
    """Rows of one pair."""
    found, seconds = {}, {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in ("nested", "table", "tight"):
            driver = getattr(pair, name)
            if name == "tight" and driver == pair.nested:
                found[name] = found["nested"]
                continue
            pair.run(driver, True)  # compiles
            begun = time.process_time()
            found[name] = pair.run(driver, False)
            seconds[name] = time.process_time() - begun
    last = lambda name: np.concatenate([np.ravel(np.asarray(x[-1])) for x in jax.tree.leaves(found[name].macro)[:1]])
    off = {name: np.linalg.norm(last(name) - last("tight")) / np.linalg.norm(last("tight")) for name in ("nested", "table")}
    made = found["table"].stats.get("surrogate")
    told = "without a table, which would not pay" if made is None else f"{made['records']} records"
    table.note(pair.name, told, "", "")
    ratio = seconds["nested"] / seconds["table"]
    table.between(ratio, pair.faster, np.inf, pair.name, "CPU time, nested over table", seconds["nested"], seconds["table"])
    table.below(off["table"], error, pair.name, "error of the macrostate, relative", off["nested"], off["table"])
    if made is not None:
        asked = made["live"] + made["retrieved"]
        table.between(asked / made["live"], pair.fewer, np.inf, pair.name, "fewer solves by", asked, made["live"])
        table.below(made["worst"], 2.0 * pair.table.tolerance, pair.name, "worst checked error", made["checked"], made["worst"])


def savings(out):
    """Composite plate, bars of aluminium, orbitals, and a body of crystals: what a table saves."""
    table = Table("savings", "runs with a table beside runs without", ("problem", "what", "nested", "table"))
    for make in PAIRS.values():
        compare(make(), table)
    return table.close(out)


if __name__ == "__main__":
    import sys
    from pathlib import Path

    jax.config.update("jax_enable_x64", True)
    for name in sys.argv[1:] or PAIRS:
        table = Table(f"savings_{name}", "a run with a table beside one without", ("problem", "what", "nested", "table"))
        compare(PAIRS[name](), table)
        table.close(Path("runs/strategies"))

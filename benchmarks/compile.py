"""CPU seconds of compilation of documented calls, each in a process of its own on one core: at most 15.

The first call of a process less the second one of the same arguments; compiled programs are neither read from disk nor kept.
Sizes are small: programs do not depend on them. A subject adds its calls as functions below, each of which prepares its
arguments and returns the call; so the file is long, and each part of it short.
Run: python benchmarks/compile.py [part of a name ...]
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable

from common import pin

LIMIT = 15.0
CALLS: dict[str, Callable[[], Callable]] = {}


def documented(prepare: Callable[[], Callable]) -> Callable[[], Callable]:
    """Enter a call under the name of the function that prepares it."""
    CALLS[prepare.__name__] = prepare
    return prepare


def _fcc(constant):
    import numpy as np

    return 0.5 * constant * np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]])


def _gradient():
    import numpy as np

    return np.array([[0.0, 0.02, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.01]])


def _density():
    import fiberax as fx

    ion = fx.solids.ions.Gaussian(3.0, 0.4754907726)
    return fx.solids.ThomasFermi(_fcc(7.65), ion, 3, grid=(10, 10, 10), xc="lda_pw")


def _silicon(**options):
    import fiberax as fx

    atoms = [("Si", (0.0, 0.0, 0.0)), ("Si", (0.25, 0.25, 0.25))]
    return fx.solids.KohnSham(_fcc(10.23), atoms, **({"cutoff": 3.0, "kgrid": (2, 1, 1)} | options))


def _aluminium():
    import fiberax as fx

    return fx.solids.KohnSham(_fcc(7.54), [("Al", (0, 0, 0))], cutoff=3.0, kgrid=(2, 2, 1), smearing=("fermi", 0.02))


def _response(fiber, **options) -> Callable:
    import fiberax as fx

    return lambda: fx.response(fiber, _gradient(), tolerance=1e-6, **options)


@documented
def electrons_density_response():
    return _response(_density())


@documented
def electrons_density_tangent():
    return _response(_density(), tangent=True)


@documented
def electrons_density_level():
    import fiberax as fx

    fiber = _density()
    state = fx.response(fiber, _gradient(), tolerance=1e-6).state
    return lambda: fx.solids.chemical_potential(fiber, _gradient(), state)


@documented
def electrons_orbitals_response():
    return _response(_silicon())


@documented
def electrons_orbitals_of_many_atoms():
    import fiberax as fx

    places = [(x, y, z) for x in (0.0, 0.5) for y in (0.0, 0.5) for z in (0.0, 0.5)]
    atoms = [("Al", place) for place in places]
    lattice = 2.0 * _fcc(7.54)
    return _response(fx.solids.KohnSham(lattice, atoms, cutoff=3.0, kgrid=1, smearing=("fermi", 0.02)))


@documented
def electrons_orbitals_tangent():
    return _response(_silicon(), tangent=True)


@documented
def electrons_orbitals_and_atoms_response():
    return _response(_silicon(relax_positions=True))


@documented
def electrons_orbitals_and_atoms_tangent():
    return _response(_silicon(relax_positions=True), tangent=True)


@documented
def electrons_metal_response():
    return _response(_aluminium())


@documented
def electrons_metal_tangent():
    return _response(_aluminium(), tangent=True)


@documented
def electrons_orbitals_levels():
    import fiberax as fx

    fiber = _silicon()
    state = fx.response(fiber, _gradient(), tolerance=1e-6).state
    return lambda: fx.solids.levels(fiber, _gradient(), state)


@documented
def electrons_orbitals_bands():
    import fiberax as fx

    fiber = _silicon()
    state = fx.response(fiber, _gradient(), tolerance=1e-6).state
    path = [(0.0, 0.0, 0.0), (0.25, 0.0, 0.25), (0.5, 0.0, 0.5)]
    return lambda: fx.solids.bands(fiber, _gradient(), path, state=state)


@documented
def electrons_orbitals_wannier():
    import fiberax as fx

    fiber = _silicon()
    state = fx.response(fiber, _gradient(), tolerance=1e-6).state
    return lambda: fx.solids.wannier(fiber, state)


FOUR = ((0.0, 0.0, 0.0), (0.0, 0.5, 0.5), (0.5, 0.0, 0.5), (0.5, 0.5, 0.0))
DIAMOND = ((0.0, 0.0, 0.0), (0.25, 0.25, 0.25))


def _crystal(potential, constant, places=DIAMOND, species=None, cells=0, **options):
    """A cubic crystal: the primitive cell of fcc, or `cells`³ cubes of four fcc sites each."""
    import numpy as np

    import fiberax as fx

    if cells:
        corners = np.stack(np.meshgrid(*(np.arange(cells),) * 3, indexing="ij"), -1).reshape(-1, 1, 1, 3)
        fine = [np.array(FOUR)[:, None], np.array(places)]  # sites of a cube, atoms of a site in the cubic frame
        basis = ((corners + fine[0] + fine[1]) / cells).reshape(-1, 3)
        lattice = cells * constant * np.eye(3)
    else:
        lattice, basis = _fcc(constant), places
    named = species or ["Si"] * len(basis)
    return fx.solids.Crystal(lattice, basis, named, potential, **options)


def _cube_of_four(potential, constant, species):
    import numpy as np

    import fiberax as fx

    return fx.solids.Crystal(constant * np.eye(3), FOUR, species, potential)


def _stillinger_weber(**options):
    import fiberax as fx

    return _crystal(fx.solids.potentials.StillingerWeber("Si"), 5.43095, **options)


def _tersoff():
    import fiberax as fx

    return _crystal(fx.solids.potentials.Tersoff("Si(D)"), 5.432)


def _copper():
    import fiberax as fx

    return _cube_of_four(fx.solids.potentials.SuttonChen.named("Cu", "2a"), 3.61, ["Cu"] * 4)


def _oxide():
    import numpy as np

    import fiberax as fx

    pairs = fx.solids.potentials
    short = pairs.Pairs(
        {
            ("Mg", "O"): pairs.Buckingham(1428.5, 0.2945, 0.0, cutoff=8.0, scheme="smooth", units="metal"),
            ("O", "O"): pairs.Buckingham(22764.3, 0.149, 27.88, cutoff=8.0, scheme="smooth", units="metal"),
            ("Mg", "Mg"): None,
        }
    )
    metal = np.array(FOUR)
    basis = np.concatenate([metal, metal + np.array([0.5, 0.0, 0.0])])
    oxide = pairs.Charged(short, charges={"Mg": 2.0, "O": -2.0})
    return fx.solids.Crystal(4.2 * np.eye(3), basis, ["Mg"] * 4 + ["O"] * 4, oxide, stretch=0.9, shift=0.1)


@documented
def crystals_response():
    return _response(_stillinger_weber())


@documented
def crystals_tangent():
    return _response(_stillinger_weber(), tangent=True)


@documented
def crystals_tersoff_tangent():
    return _response(_tersoff(), tangent=True)


@documented
def crystals_of_four_response():
    return _response(_copper())


@documented
def crystals_of_four_tangent():
    return _response(_copper(), tangent=True)


@documented
def crystals_of_64_response():
    return _response(_stillinger_weber(cells=2))


@documented
def crystals_of_64_tangent():
    return _response(_stillinger_weber(cells=2), tangent=True)


@documented
def crystals_of_charges_response():
    return _response(_oxide())


def _wurtzite():
    import numpy as np

    import fiberax as fx

    hexagon = np.array([[1.0, 0.0, 0.0], [-0.5, 0.75**0.5, 0.0], [0.0, 0.0, (8.0 / 3.0) ** 0.5]])
    basis = [[1 / 3, 2 / 3, 0.0], [2 / 3, 1 / 3, 0.5], [1 / 3, 2 / 3, 0.375], [2 / 3, 1 / 3, 0.875]]
    return fx.solids.Crystal(3.08 * hexagon, basis, ["Si", "Si", "C", "C"], fx.solids.potentials.Tersoff("SiC"))


@documented
def crystals_of_two_species_tangent():
    return _response(_wurtzite(), tangent=True)


@documented
def crystals_of_two_species_equilibrium():
    import fiberax as fx

    return lambda: fx.solids.equilibrium(_wurtzite(), full=True)


@documented
def crystals_of_three_species_tangent():
    import itertools

    import fiberax as fx
    from fiberax.physics.solids.potentials.stillinger_weber import NAMED

    triples = dict.fromkeys(itertools.product("XYZ", repeat=3), NAMED["Si"][1])
    potential = fx.solids.potentials.StillingerWeber(triples)
    return _response(_crystal(potential, 5.43095, species=list("XYZZYXXX"), cells=1), tangent=True)


@documented
def crystals_equilibrium():
    import fiberax as fx

    return lambda: fx.solids.equilibrium(_tersoff())


@documented
def crystals_stability():
    import fiberax as fx

    return lambda: fx.solids.stability(_tersoff(), _gradient())


@documented
def crystals_body():
    import fiberax as fx

    mesh = fx.grids.tets((0, 0, 0), (1, 1, 1), cells=(2, 2, 2))
    sides = {"left": 0, "front": 2, "bottom": 1}
    body = fx.solids.Elasticity(mesh, fixed=sides, displacement={"right": {0: lambda x, t: 0.01 * t}})
    rest = fx.solids.equilibrium(_tersoff()).crystal
    return lambda: fx.continuation(fx.Bundle(body, rest), fx.Quasistatic(1e-8), body.start(), dt=1.0)


def _wave(cell, driver, moving=None) -> Callable:
    import jax
    import numpy as np

    import fiberax as fx

    fiber = fx.solids.uniaxial(cell)
    macro = fx.solids.Wave(fx.grids.Box(0.0, 1.0, cells=4), density=1.0)
    start = macro.start(1e-3 * np.cos(2.0 * np.pi * macro.positions()[:, 0]))
    bundle = fx.Bundle(macro, fiber if moving is None else moving(fx.Mapped(fiber, state=fx.AtRest(1e-8))))
    return lambda: jax.block_until_ready(
        fx.evolve(bundle, driver, start, t1=4e-3, dt=1e-3, stepper=fx.Verlet(), saveat=[4e-3]).macro.position
    )


@documented
def electrons_wave_over_densities():
    import fiberax as fx

    return _wave(_density(), fx.Quasistatic(1e-6))


@documented
def electrons_wave_over_orbitals_in_motion():
    import math

    import fiberax as fx

    return _wave(_silicon(), fx.Seamless(separation=math.inf), lambda cell: fx.relax(cell, mass=1e-4))


@documented
def electrons_body_over_densities():
    import fiberax as fx

    mesh = fx.grids.tets((0, 0, 0), (1, 1, 1), cells=(1, 1, 1))
    sides = {"left": 0, "front": 2, "bottom": 1}
    body = fx.solids.Elasticity(mesh, fixed=sides, displacement={"right": {0: lambda x, t: 0.01}})
    bundle = fx.Bundle(body, _density())
    return lambda: fx.steady(bundle, fx.Quasistatic(1e-8), body.start(), tolerance=1e-6)


@documented
def fluids_cavity():
    import math

    import fiberax as fx

    grid = fx.grids.Box((0, 0), (1, 1), (8, 8), periodic=False)
    flow = fx.fluids.Flow(grid, 0.0, 0.5, {"top": fx.fluids.Wall(lambda x, t: 16.0 * x**2 * (1.0 - x) ** 2)})
    bundle = fx.Bundle(flow, fx.fluids.GaussianDensity(2, 0.5))
    start = flow.start()
    return lambda: fx.evolve(bundle, fx.Seamless(separation=math.inf), start, t1=0.02, dt=0.01, saveat=[0.0, 0.02]).macro


def _one(name: str) -> None:
    pin(int(os.environ.get("CORE", "0")))
    import jax

    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_enable_compilation_cache", False)
    call = CALLS[name]()
    times = []
    for _ in range(2):
        begin = time.process_time()
        jax.block_until_ready(jax.tree.leaves(call()))
        times.append(time.process_time() - begin)
    print(f"{times[0] - times[1]:.2f} {times[1]:.2f}")


def main() -> int:
    """Print a table; 1 where a call compiles for longer than the limit."""
    wanted = sys.argv[1:]
    over = []
    print(f"{'call':45s} {'compilation':>12s} {'run':>8s}   (s of CPU)", flush=True)
    for name in CALLS:
        if wanted and not any(part in name for part in wanted):
            continue
        done = subprocess.run([sys.executable, __file__, "--call", name], capture_output=True, text=True)
        if done.returncode:
            print(done.stderr[-2000:])
            return 1
        compiled, run = map(float, done.stdout.split()[-2:])
        over += [name] if compiled > LIMIT else []
        print(f"{name:45s} {compiled:12.1f} {run:8.2f}{'   above ' + str(LIMIT) if compiled > LIMIT else ''}", flush=True)
    return int(bool(over))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--call"]:
        _one(sys.argv[2])
    else:
        sys.exit(main())

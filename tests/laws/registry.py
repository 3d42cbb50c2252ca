"""All models that the laws of docs/architecture.md are tested on: a fiber, conditions for five sites, and what it can do.

A new model becomes subject to every law by one entry here; random fibers and fibers with memory have laws of their own.
tests/laws/test_registry.py fails for a public fiber that is not here.
"""

from concurrent.futures import Executor, Future
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import fiberax as fx
from fiberax.grids.patches import Edges
from fiberax.testing import (
    CubicFlow,
    Damped,
    DoubleWell,
    ElasticPlastic,
    GroundState,
    LinearFlow,
    Maxwell,
    OrnsteinUhlenbeck,
    SharedLoad,
    Spring,
    TwoSpringChain,
)


class Model(NamedTuple):
    """`conditions`: a tree with a leading axis of five sites. `slow`: the friction that makes its slowest relaxation time 1.

    `carried` False spares a model that takes long to compile the laws of carried states, which its relatives obey; `driven`
    False those of drivers as well.
    """

    fiber: Any
    conditions: Any
    slow: float
    carried: bool = True
    driven: bool = True


class Random(NamedTuple):
    """A fiber with noise and a condition under which the mean of its response, from its own `init` on, is `exact`."""

    fiber: Any
    condition: Any
    exact: Any


class Memory(NamedTuple):
    """A fiber with memory, and conditions for five sites."""

    fiber: Any
    conditions: Any


class Inline(Executor):
    """Computes at once, where it is asked."""

    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        future.set_result(fn(*args, **kwargs))
        return future


def _random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def _gradients(dim):
    return 0.2 * np.sign(_random(5, dim, dim, seed=7)) + 0.05 * np.tanh(_random(5, dim, dim, seed=8))


_SYMMETRIC = _random(4, 4, seed=1)
_SYMMETRIC = _SYMMETRIC + _SYMMETRIC.T


def _conductivity(U, z):
    """Smooth, anisotropic, not symmetric, and nonlinear in U."""
    wave = 1.0 + 0.4 * jnp.sin(2 * jnp.pi * z[0]) * jnp.cos(2 * jnp.pi * z[1])
    return (1.0 + U**2) * wave * jnp.asarray([[1.2, 0.3], [-0.1, 0.9]]) + 0.3 * jnp.eye(2) * jnp.cos(2 * jnp.pi * z[0])


def _flux(U, g, z):
    return (1.0 + 0.5 * U**2 + 0.4 * jnp.sin(2 * jnp.pi * z[0])) * g * (1.0 + 0.2 * jnp.sum(g**2))


_FCC = 0.5 * np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]])


def _copper():
    from ase.build import bulk
    from ase.calculators.emt import EMT

    atoms = bulk("Cu", "fcc", a=3.7) * (2, 1, 1)
    return fx.solids.CalculatorCrystal(atoms, EMT(), executor=Inline())


# Honeycomb whose springs rest at first and second neighbours: pairs compile in half the time of bonds. As short as the short
# lists: half the compilation.
_HONEYCOMB = fx.solids.Crystal(
    [[3.0**0.5, 0.0], [0.75**0.5, 1.5]],
    [[0.0, 0.0], [1 / 3, 1 / 3]],
    ["C", "C"],
    fx.solids.potentials.Pair(lambda r: 20.0 * (r - 1.0) ** 2 * (r - 3.0**0.5) ** 2, 1.85, "smooth", onset=1.8),
    stretch=0.9,
    shift=0.06,
)

# The same out of its plane, its two sublattices half a bond apart in height.
_SHEET = fx.solids.Layer(
    fx.solids.Crystal(
        [[3.0**0.5, 0.0, 0.0], [0.75**0.5, 1.5, 0.0], [0.0, 0.0, 4.2]],
        [[0.0, 0.0, 0.0], [1 / 3, 1 / 3, 0.5 / 4.2]],
        ["C", "C"],
        fx.solids.potentials.Pair(lambda r: 20.0 * (r - 1.25**0.5) ** 2 * (r - 3.0**0.5) ** 2, 1.85, "smooth", onset=1.8),
        stretch=0.9,
        shift=0.06,
    )
)

MODELS = {
    "linear-flow": Model(
        LinearFlow(2.0 * np.eye(3) + 0.3 * _random(3, 3), _random(3, seed=2), _random(3, seed=3)),
        jnp.linspace(0.5, 1.5, 5),
        2.0,
    ),
    "cubic-flow": Model(CubicFlow(a=0.5), jnp.linspace(0.5, 1.5, 5), 1.0),
    "spring": Model(Spring(), jnp.linspace(0.5, 0.9, 5), 4.0),
    "diatomic-chain": Model(TwoSpringChain(k=1.0, q=6.0), jnp.linspace(0.1, 0.4, 5), 2.0),
    "quantum-chain": Model(
        fx.solids.QuantumChain(lambda s: 3.0 * s**2, lambda y: -20.0 * jnp.cos(2 * jnp.pi * y), n=5),
        jnp.linspace(0.1, 0.4, 5),
        80.0,
    ),
    "shared-load": Model(SharedLoad(jnp.asarray([1.0, 2.0, 5.0])), jnp.linspace(0.5, 1.5, 5), 1.0),
    "ground-state": Model(GroundState(np.diag([0.0, 2.0, 3.0, 5.0]), 0.3 * _SYMMETRIC), jnp.linspace(0.5, 1.5, 5), 1.0),
    "crystal": Model(
        _HONEYCOMB,
        0.012 * np.sign(_random(5, 2, 2, seed=5)) + 0.002 * np.tanh(_random(5, 2, 2, seed=6)),
        0.4,
        carried=False,
    ),
    "layer": Model(
        _SHEET,
        0.012 * np.sign(_random(5, 2, 2, seed=5)) + 0.002 * np.tanh(_random(5, 2, 2, seed=6)),
        0.4,
        carried=False,
        driven=False,
    ),
    "uniaxial": Model(
        fx.solids.uniaxial(_HONEYCOMB, [1.0, 0.4]), jnp.linspace(0.01, 0.02, 5), 0.4, carried=False, driven=False
    ),
    "calculator-crystal": Model(_copper(), 0.5 * _gradients(3) / 10.0, 1.0, carried=False, driven=False),
    "diatomic": Model(
        fx.solids.DiatomicChain(lambda r: 2.0 * (r - 0.5) ** 2 + (r - 0.5) ** 4, lambda r: 3.0 * (r - 0.5) ** 2),
        jnp.linspace(0.1, 0.4, 5),
        5.0,
        carried=False,
    ),
    "double-well": Model(DoubleWell(), jnp.linspace(0.5, 0.9, 5), 3.5, carried=False, driven=False),
    "thomas-fermi": Model(
        fx.solids.ThomasFermi(3.0 * _FCC, fx.solids.ions.Gaussian(3.0, 1.0), 3, grid=(5, 5, 5)),
        0.1 * _gradients(3),
        1.0,
        carried=False,
        driven=False,
    ),
    "kohn-sham": Model(
        fx.solids.KohnSham(
            4.0 * _FCC, [(fx.solids.ions.Gaussian(2.0, 0.8), (0.0, 0.0, 0.0))], cutoff=4.5, kgrid=(1, 1, 1), xc=None
        ),
        0.1 * _gradients(3),
        1.0,
        carried=False,
        driven=False,
    ),
    "plain-flow": Model(
        fx.FlowFiber(lambda u, c: c - u - u[::-1] * jnp.asarray([0.5, 0.0]), lambda c: jnp.zeros(2), lambda u, c: u @ u),
        jnp.linspace(0.5, 1.5, 5),
        1.0,
        carried=False,
        driven=False,
    ),
    "patch": Model(
        fx.Patch(lambda v, x: jnp.diff((1.0 + v[1:] * v[:-1]) * jnp.diff(v)) / 0.5**2, 3, 0.5),
        Edges(jnp.linspace(0.5, 1.5, 5), jnp.linspace(0.3, 1.2, 5), jnp.linspace(0.6, 2.0, 5)),
        2.0,
        carried=False,
        driven=False,
    ),
    "plain-energy": Model(
        fx.EnergyFiber(lambda u, c: jnp.sum((u - c) ** 2) + 0.1 * c**4, lambda c: jnp.zeros(2), lambda u, c: u[0] - 0.3 * c),
        jnp.linspace(0.5, 1.5, 5),
        2.0,
        carried=False,
        driven=False,
    ),
    "cell-1d": Model(
        fx.homogenization.Cell(lambda U, z: 1.0 + U**2 + 0.5 * jnp.cos(2 * jnp.pi * z[0]), (8,)),
        jnp.linspace(0.5, 0.9, 5),
        40.0,
    ),
    "cell-pores": Model(
        fx.homogenization.Cell.from_image(
            np.array([[0, 0, 1], [2, 0, 1], [2, 0, 0]]), {0: lambda U: 1.0 + U, 1: 0.0, 2: 3.0}, symmetric=True
        ),
        jnp.linspace(0.5, 0.9, 5),
        40.0,
    ),
    "cell-held": Model(
        fx.homogenization.Cell(
            lambda U, z: (1.0 + U**2) * (1.5 + jnp.sin(6.0 * z[0]) * z[1]), (6, 5), fx.homogenization.FiniteVolume(held=True)
        ),
        jnp.linspace(0.5, 0.9, 5),
        40.0,
    ),
    "cell-2d": Model(fx.homogenization.Cell(_conductivity, (8, 8)), jnp.linspace(0.5, 0.9, 5), 40.0),
    "flux-cell": Model(
        fx.homogenization.FluxCell(_flux, (8, 8)),
        (jnp.linspace(0.5, 0.9, 5), jnp.stack([jnp.linspace(0.4, 0.8, 5), jnp.full(5, 0.3)], axis=1)),
        40.0,
        carried=False,
    ),
    "conformation": Model(fx.fluids.GaussianDensity(2), _gradients(2), 1.0),
    "fene-p": Model(fx.fluids.FENEP(10.0), _gradients(2), 1.0, driven=False, carried=False),
    "fene-cr": Model(fx.fluids.FENECR(10.0), _gradients(2), 1.0, driven=False, carried=False),
    "giesekus": Model(fx.fluids.Giesekus(0.3), _gradients(2), 1.0, driven=False, carried=False),
    "ptt": Model(fx.fluids.PTT(0.3), _gradients(2), 1.0, driven=False, carried=False),
    "rolie-poly": Model(fx.fluids.RoliePoly(5.0, 2, beta=0.5), _gradients(2), 1.0, driven=False, carried=False),
    "dumbbell-density": Model(fx.fluids.DumbbellDensity(fx.fluids.FENE(20.0), degree=4), _gradients(2), 1.0, carried=False),
    "rod-density": Model(fx.fluids.RodDensity(fx.fluids.MaierSaupe(2.0), degree=4), _gradients(3), 3.0, carried=False),
}

# Rows that take long to compile and whose relatives obey the same law in the gate; they run with the slow tests.
_CELLS = ("cell-2d", "cell-held", "cell-pores")
_CLOSURES = ("fene-p", "fene-cr", "giesekus", "ptt", "rolie-poly")
SLOW = {
    "test_fiber_keeps_its_promises": ("kohn-sham", "thomas-fermi", "cell-held", "uniaxial", *_CLOSURES),
    "test_without_maps_the_program_is_the_same": ("kohn-sham", "layer", *_CLOSURES[1:]),
    "test_factors_of_one_change_nothing_but_round_off": (
        "kohn-sham",
        "cell-held",
        "cell-2d",
        "flux-cell",
        "layer",
        *_CLOSURES[1:],
    ),
    "test_chunks_restarts_and_constraints": (*_CELLS, "flux-cell", "crystal", "diatomic", "dumbbell-density"),
    "test_seamless_becomes_quasistatic": (*_CELLS, "quantum-chain", "dumbbell-density"),
}

RANDOM = {
    "dumbbell": Random(fx.fluids.Dumbbell(members=20), jnp.zeros((2, 2)), np.eye(2)),
    "chain": Random(fx.fluids.Chain(springs=2, members=20), jnp.zeros((2, 2)), 2.0 * np.eye(2)),
    "rod": Random(fx.fluids.Rod(members=20), jnp.zeros((3, 3)), np.zeros((3, 3))),
    "spins": Random(
        fx.diffusion.GinzburgLandau(lambda x: 0.25 * x**4, sites=4, replicas=20), jnp.asarray(0.0), np.asarray(0.0)
    ),
}

STEPPED = {  # random fibers that cannot tell a step or an error at an instant, or are no model of their own
    "molecules": Random(
        fx.molecules.Box(
            fx.molecules.WCA(),
            27,
            0.6,
            thermostat=fx.molecules.StochasticRescaling(),
            start=np.indices((3, 3, 3)).reshape(3, 27) / 3.0,
        ),
        jnp.zeros((3, 3)),
        np.zeros((3, 3)),
    ),
    "molecules-at-rest": Random(
        fx.molecules.GreenKubo(
            fx.molecules.Box(fx.molecules.WCA(), 27, 0.6, start=np.indices((3, 3, 3)).reshape(3, 27) / 3.0), window=0.08
        ),
        jnp.zeros((3, 3)),
        np.zeros((3, 3)),
    ),
    "solid": Random(
        fx.molecules.Solid(
            fx.solids.Crystal(1.6 * _FCC, [[0.0] * 3], ["X"], fx.solids.potentials.LennardJones(cutoff=1.4, scheme="smooth")),
            (3, 3, 3),
            dt=0.005,
            friction=5.0,
        ),
        jnp.zeros((3, 3)),
        np.zeros((3, 3)),
    ),
    "walker": Random(OrnsteinUhlenbeck(members=3), jnp.asarray(0.4), np.asarray(0.66)),
    "plain-stochastic": Random(
        fx.StochasticFiber(
            lambda u, c, dt, key: u + dt * (c - u) + dt**0.5 * jax.random.normal(key),
            lambda c, key: 0.1 * jax.random.normal(key),
            lambda u, c: u,
        ),
        jnp.asarray(0.4),
        np.asarray(0.0),
    ),
}

MEMORIES = {
    "plastic": Memory(ElasticPlastic(), jnp.linspace(0.3, 1.5, 5)),
    "maxwell": Memory(Maxwell(), jnp.linspace(0.3, 1.5, 5)),
    "damped": Memory(Damped(Spring(), 0.7), jnp.linspace(0.3, 1.5, 5)),
}

FACTORIES = {
    "uniaxial": "uniaxial",
    "from_ase": "crystal",
    "chains": "molecules",
}  # public functions that make fibers, and the entry of each


class Follow(fx.AbstractMacro):
    """A macro model for any condition and response: each U is pulled towards zero at a rate that its response sets."""

    def conditions(self, macro):
        return macro

    def rate(self, t, macro, response):
        sites = jax.tree.leaves(macro)[0].shape[0]
        pull = sum(jnp.sum(leaf.reshape(sites, -1) ** 2, axis=1) for leaf in jax.tree.leaves(response))
        pull = 1.0 + pull / (1.0 + pull)
        return jax.tree.map(lambda u: -u * pull.reshape(sites, *[1] * (u.ndim - 1)), macro)

"""Options that change nothing for the fiber at hand are refused, or said once."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax.core.bundle import check_fit
from fiberax.core.randomness import is_random
from fiberax.testing import CubicFlow, Decay, Maxwell, OrnsteinUhlenbeck, Spring

CONDITIONS = np.linspace(0.4, 1.2, 5)
WALKER = OrnsteinUhlenbeck(members=4)
SOLVED = {"flow": CubicFlow(), "energy": Spring(), "memory": Maxwell(), "relaxed": fx.relax(CubicFlow(), friction=0.1)}


@pytest.mark.parametrize("fiber", SOLVED)
@pytest.mark.parametrize("options", [{"steps": 500}, {"replicas": 7}, {"dt": 0.1}, {"steps": 2560}])
def test_options_of_sampling_for_solved_fibers(fiber, options):
    (name,) = options
    with pytest.raises(fx.BadInput, match=f"Quasistatic: {name} without effect: .* is solved.* Leave it out"):
        fx.Fibers(SOLVED[fiber], fx.Quasistatic(**options), CONDITIONS)
    with pytest.raises(fx.BadInput, match=f"Quasistatic: {name} without effect"):
        fx.evolve(fx.Bundle(Decay(5), SOLVED[fiber]), fx.Quasistatic(**options), CONDITIONS, t1=0.1, dt=0.1)


@pytest.mark.parametrize(
    "options, names",
    [
        ({"solver": fx.Newton()}, "solver"),
        ({"require_stable": True}, "require_stable"),
        ({"tolerance": 1e-8}, "tolerance"),
        ({"tolerance": 1e-6, "solver": fx.Newton()}, "tolerance, solver"),
    ],
)
def test_options_of_solves_for_sampled_fibers(options, names):
    with pytest.raises(fx.BadInput, match=f"Quasistatic: {names} without effect: OrnsteinUhlenbeck has only dynamics"):
        fx.Fibers(WALKER, fx.Quasistatic(dt=0.1, **options), CONDITIONS)


def test_a_tolerance_of_a_sampled_response():
    with pytest.raises(fx.BadInput, match="tolerance without effect"):
        fx.responses(WALKER, CONDITIONS, tolerance=1e-8)
    with pytest.raises(fx.BadInput, match="no time step of its own"):  # without it the fiber is sampled
        fx.responses(WALKER, CONDITIONS)


@pytest.mark.parametrize("fiber", ["energy", "memory"])
def test_stability_of_rest_points_is_asked_of_flows(fiber):
    with pytest.raises(fx.BadInput, match=r"require_stable without effect: .* is no flow"):
        fx.Fibers(SOLVED[fiber], fx.Quasistatic(require_stable=True), CONDITIONS)


@pytest.mark.parametrize("noise", ["shared", "independent"])
@pytest.mark.parametrize("fiber", SOLVED)
def test_noise_of_fibers_that_draw_none(fiber, noise):
    with pytest.raises(fx.BadInput, match=rf"noise='{noise}' without effect: .* draws no noise"):
        fx.Fibers(SOLVED[fiber], fx.Quasistatic(), CONDITIONS, noise=noise)


def test_noise_of_fibers_that_a_flow_carries():
    """There shared noise is the default, which says nothing; who asks for it is told."""
    flow = fx.fluids.Flow(fx.grids.Box(0.0, 1.0, cells=4, periodic=False), Re=0.0, viscosity_ratio=0.5, force=1.0)
    fiber = fx.relax(fx.fluids.GaussianDensity())
    start = flow.with_fiber(fiber).start()
    check_fit(fx.Bundle(flow, fiber), start)
    with pytest.raises(fx.BadInput, match="noise='shared' without effect"):
        check_fit(fx.Bundle(flow, fiber, noise="shared"), start)


def test_an_energy_factor_of_fibers_without_energy():
    with pytest.raises(fx.BadInput, match="rescale: energy without effect: CubicFlow has no energy"):
        fx.rescale(CubicFlow(), energy=5.0)
    fx.rescale(Maxwell(), energy=5.0)
    fx.rescale(fx.relax(Spring()), energy=5.0)


def test_instability_allowed_to_fibers_that_are_not_asked():
    bundle, driver = fx.Bundle(Decay(5), CubicFlow()), fx.Quasistatic()
    runs = {
        "evolve": lambda: fx.evolve(bundle, driver, CONDITIONS, t1=0.1, dt=0.1, allow_unstable=True),
        "steady": lambda: fx.steady(bundle, driver, CONDITIONS, allow_unstable=True),
        "continuation": lambda: fx.continuation(bundle, driver, CONDITIONS, t1=0.1, dt=0.1, allow_unstable=True),
    }
    for name, run in runs.items():
        with pytest.raises(fx.BadInput, match=f"{name}: allow_unstable without effect: CubicFlow gives no stability margin"):
            run()


def test_symmetry_promised_of_energies():
    with pytest.raises(fx.BadInput, match="Minimise: symmetric without effect"):
        fx.Minimise(symmetric=True)
    with pytest.raises(fx.BadInput, match=r"Newton\(symmetric=True\) without effect: Spring is no flow"):
        fx.Fibers(Spring(), fx.Quasistatic(solver=fx.Newton(symmetric=True)), CONDITIONS)
    fx.Fibers(CubicFlow(), fx.Quasistatic(solver=fx.Newton(symmetric=True)), CONDITIONS)


def test_a_key_that_nothing_is_drawn_from():
    key = jax.random.key(1)
    with pytest.warns(fx.NoEffectWarning, match="Fibers: key without effect: CubicFlow draws no noise"):
        fx.Fibers(CubicFlow(), fx.Quasistatic(), CONDITIONS, key=key)
    with pytest.warns(fx.NoEffectWarning, match="evolve: key without effect"):
        fx.evolve(fx.Bundle(Decay(5), CubicFlow()), fx.Quasistatic(), CONDITIONS, t1=0.1, dt=0.1, key=key)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fx.Fibers(WALKER, fx.Seamless(), CONDITIONS, key=key)


class Scattered(fx.AbstractFlow):
    """A flow that begins at random."""

    def init(self, condition, key):
        return jax.random.normal(key)

    def rate(self, state, condition):
        return condition - state


@pytest.mark.parametrize(
    "fiber, expected",
    [
        (WALKER, True),
        (fx.rescale(WALKER, time=2.0), True),
        (fx.replicas(WALKER, 3), True),
        (Scattered(), True),
        (fx.relax(Scattered()), True),
        (CubicFlow(), False),
        (fx.relax(CubicFlow()), False),
        (Maxwell(), False),
    ],
)
def test_what_draws_from_its_key(fiber, expected):
    assert is_random(fiber, jax.ShapeDtypeStruct((), jnp.zeros(()).dtype)) is expected


def test_schemes_beside_a_mass():
    with pytest.raises(fx.BadInput, match="relax: Explicit without effect"):
        fx.relax(Spring(), mass=1.0, scheme=fx.Explicit())


@pytest.mark.parametrize("solver", [fx.Newton, fx.Minimise])
def test_states_with_less_than_no_entries(solver):
    with pytest.raises(fx.BadInput, match=f"{solver.__name__}: dense_limit -3"):
        solver(dense_limit=-3)

"""Options that change nothing for the fiber at hand are refused, or said once."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
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


@pytest.mark.parametrize("fiber", SOLVED)
def test_shared_noise_of_fibers_that_draw_none(fiber):
    with pytest.raises(fx.BadInput, match=r"noise='shared' without effect: .* draws no noise"):
        fx.Fibers(SOLVED[fiber], fx.Quasistatic(), CONDITIONS, noise="shared")


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

"""Pieces that do not fit are named when they are put together; precision is asked for in words."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax.core.platform import _say_single
from fiberax.testing import CubicFlow, Decay, ElasticWave, Heat, LinearFlow, OrnsteinUhlenbeck

TWO = fx.FlowFiber(lambda u, c: c - u, lambda c: jnp.zeros(()), lambda u, c: jnp.stack([u, u]))


def test_response_of_the_wrong_shape():
    with pytest.raises(fx.Mismatch) as caught:
        fx.Bundle(Heat(8), TWO)
    for word in ("Heat.rate", "response 2 per site", "8 sites", "link of Flow"):
        assert word in str(caught.value)


class Lopsided(Decay):
    """A rate that is not like the macrostate."""

    def rate(self, t, macro, response):
        return response[:-1]


class Ragged(Decay):
    """Conditions without a common site axis."""

    def conditions(self, macro):
        return {"a": macro, "b": macro[1:]}


def test_rate_and_conditions_of_the_wrong_shape():
    with pytest.raises(
        fx.Mismatch, match=r"Lopsided.rate must give a tree like the macrostate, 5; it gives 4\. The response was scalar"
    ):
        fx.Bundle(Lopsided(5), CubicFlow())
    with pytest.raises(fx.Mismatch, match="one common leading axis over sites"):
        fx.Bundle(Ragged(5), CubicFlow())


def test_code_that_cannot_run_is_placed():
    fiber = fx.FlowFiber(lambda u, c: c - u, lambda c: jnp.zeros(3) @ jnp.zeros(4), lambda u, c: u)
    with pytest.raises(fx.Mismatch, match=r"FlowFiber.init\(condition scalar, key\) cannot be computed"):
        fx.Bundle(Decay(5), fiber)
    with pytest.raises(
        fx.Mismatch, match=r"link\(fiber, state, condition\) for CubicFlow on state scalar and condition scalar cannot be"
    ):
        fx.Bundle(Decay(5), CubicFlow(), link=lambda fiber, u, c: u @ c)
    with pytest.raises(fx.Mismatch, match="has no link of its own"):
        fx.Bundle(Decay(5), fx.FlowFiber(lambda u, c: c - u, lambda c: c))


def test_rates_are_traced_too():
    """A rate of another shape than the state is found before anything runs."""
    wrong = fx.FlowFiber(lambda u, c: jnp.zeros(3), lambda c: jnp.zeros(2), lambda u, c: jnp.sum(u))
    with pytest.raises(fx.Mismatch, match=r"FlowFiber.rate.* must give a tree like the state, 2; it gives 3"):
        fx.Bundle(Decay(2), wrong)
    with pytest.raises(fx.Mismatch, match=r"energy.* must give .*scalar; it gives 2"):
        fx.Bundle(Decay(2), fx.relax(fx.EnergyFiber(lambda u, c: u**2, lambda c: jnp.zeros(2))), link=lambda f, u, c: c)
    with pytest.raises(fx.Mismatch, match=r"init must give real floating-point arrays.*int"):
        fx.Bundle(Decay(2), fx.FlowFiber(lambda u, c: c - u, lambda c: jnp.zeros((), int), lambda u, c: c))


def test_wrong_kinds_are_named():
    with pytest.raises(fx.Mismatch, match=r"macro model must derive from fx\.AbstractMacro; it is a CubicFlow"):
        fx.Bundle(CubicFlow(), Decay(3))
    with pytest.raises(fx.BadInput, match="noise is 'independent' or 'shared'"):
        fx.Bundle(Decay(3), CubicFlow(), noise="none")
    with pytest.raises(fx.BadInput, match=r"OrnsteinUhlenbeck has no time step of its own. Give dt"):
        fx.evolve(fx.Bundle(Decay(3), OrnsteinUhlenbeck()), fx.Quasistatic(), jnp.ones(3), t1=0.1, dt=0.1)
    with pytest.raises(fx.Mismatch, match="Seamless carries states in time"):
        fx.steady(fx.Bundle(Decay(3), CubicFlow()), fx.Seamless(), jnp.ones(3))


def test_macrostate_of_another_shape():
    with pytest.raises(fx.FiberaxError):
        fx.evolve(fx.Bundle(ElasticWave(4), CubicFlow()), fx.Quasistatic(), jnp.ones(4), t1=0.1, dt=0.1)


def test_missing_methods_are_errors_at_once():
    class Nameless(fx.AbstractFlow):
        def init(self, condition, key):
            return condition

    with pytest.raises(TypeError, match="rate"):
        Nameless()


def test_single_precision_is_told_what_it_cannot_do():
    bundle = fx.Bundle(Decay(2), CubicFlow())
    with jax.enable_x64(False):
        with pytest.raises(fx.BadInput, match=r"fx.response: .* needs double precision.*jax_enable_x64"):
            fx.response(LinearFlow([[2.0]], [1.0], [1.0]), 0.5)
        with pytest.raises(fx.BadInput, match="double precision"):
            fx.evolve(bundle, fx.Quasistatic(1e-8), jnp.ones(2), t1=0.1, dt=0.1)
        _say_single.cache_clear()
        with pytest.warns(fx.SinglePrecisionWarning, match="jax_enable_x64"):
            single = fx.response(CubicFlow(a=0.0), jnp.float32(0.5), tolerance=1e-5)
        bundle = fx.Bundle(Decay(2), CubicFlow())
        fx.evolve(bundle, fx.Seamless(separation=float("inf")), jnp.ones(2), t1=0.1, dt=0.1)  # said once, and no more
    np.testing.assert_allclose(single.value, 0.5, rtol=1e-5)


SINGLE = {  # what is used with a tolerance that single precision cannot reach, and the same with one that it can
    "SDIRK2": lambda tol: _evolved(stepper=fx.SDIRK2(*tol)),
    "BackwardEuler": lambda tol: _evolved(stepper=fx.BackwardEuler(*tol)),
    "Newmark": lambda tol: _evolved(fx.Bundle(Swinging(), CubicFlow()), stepper=fx.Newmark(0.25, 0.5, *tol)),
    "fx.steady": lambda tol: fx.steady(_PULLED, fx.Quasistatic(1e-5), jnp.ones(2), **_option(tol)),
    "fx.continuation": lambda tol: fx.continuation(_PULLED, fx.Quasistatic(1e-5), jnp.ones(2), dt=0.5, **_option(tol)),
    "fx.Surrogate": lambda tol: _evolved(driver=fx.Surrogate(fx.Quasistatic(1e-5), *(tol or (1e-6,)), always=True)),
}


class Swinging(fx.AbstractInertial):
    """Masses, each held by its fiber."""

    def conditions(self, macro):
        return macro.position

    def acceleration(self, t, macro, response):
        return -response


_PULLED = fx.Bundle(Decay(2), CubicFlow())
_CARRIED = fx.Seamless(separation=float("inf"))


def _option(tol):
    return {"tolerance": tol[0]} if tol else {}


def _evolved(bundle=None, driver=None, **options):
    bundle = _PULLED if bundle is None else bundle
    start = fx.Moving(jnp.ones(2), jnp.zeros(2)) if isinstance(bundle.macro, Swinging) else jnp.ones(2)
    return fx.evolve(bundle, driver or fx.Quasistatic(1e-5), start, t1=0.1, dt=0.1, **options)


@pytest.mark.filterwarnings("ignore::fiberax.SinglePrecisionWarning")
@pytest.mark.parametrize("name", SINGLE)
def test_single_precision_refuses_tolerances_that_are_defaults(name):
    """Where they are used, and under the rule of conventions.md; 1e-5 goes on."""
    with jax.enable_x64(False):
        with pytest.raises(fx.BadInput, match=rf"{name}\b.*: a relative tolerance of 1e-\d+ needs double precision"):
            SINGLE[name](())
        SINGLE[name]((1e-4,))


class Masked(Decay):
    """Reads a mask in one of its methods."""

    mask: Any = None
    where: str = ""

    def conditions(self, macro):
        if self.where == "branch" and self.mask[0]:
            return macro
        if self.where == "positions":
            return macro
        return macro[self.mask] if self.where == "entries" else macro[np.flatnonzero(self.mask)]

    def positions(self):
        return np.asarray(self.mask, float)[:, None] if self.where == "positions" else None

    def example(self):
        return None


@pytest.mark.parametrize("where", ["branch", "entries", "indices", "positions"])
def test_a_mask_as_a_field_is_one_message_with_the_remedy(where):
    bundle = fx.Bundle(Masked(3, mask=np.array([True, False, True]), where=where), CubicFlow())
    for run in (lambda: fx.evolve(bundle, fx.Quasistatic(), jnp.ones(3), t1=0.1, dt=0.1),
                lambda: fx.steady(bundle, fx.Quasistatic(), jnp.ones(3))):  # fmt: skip
        with pytest.raises(fx.Mismatch, match=r"values of an array that is traced, in .*test_bundle\.py, line \d+\.") as caught:
            run()
        said = str(caught.value)
        assert "(here: mask)" in said and "jnp.where(mask, a, b)" in said and "np.flatnonzero(mask)" in said
        assert caught.value.__suppress_context__  # no pages of traceback
    method = "positions()" if where == "positions" else "conditions(macrostate 3)"
    assert said.startswith(f"Masked.{method} needs")


class Chosen(Decay):
    """The remedy: indices as an array field; positions as a field too."""

    inside: Any = None
    places: Any = None

    def conditions(self, macro):
        return macro[self.inside]

    def rate(self, t, macro, response):
        return jnp.zeros_like(macro).at[self.inside].set(response)

    def positions(self):
        return self.places


def test_the_remedy_works():
    mask = np.array([True, False, True])
    macro = Chosen(3, inside=jnp.asarray(np.flatnonzero(mask)), places=jnp.arange(2.0)[:, None])
    half = fx.FlowFiber(lambda u, c: c - u, lambda c: jnp.zeros(()), lambda u, c: -u)
    sol = fx.evolve(fx.Bundle(macro, half), fx.Quasistatic(), jnp.ones(3), t1=1.0, dt=0.01)
    np.testing.assert_allclose(sol.macro[-1], np.where(mask, np.exp(-1.0), 1.0), rtol=1e-4)


class Static(Decay):
    """An array where only hashable values may be."""

    mask: Any = eqx.field(static=True, default=None)


@pytest.mark.filterwarnings("ignore:A JAX array is being set as static")
def test_two_models_with_static_arrays_are_one_message():
    models = [Static(3, mask=np.array([True, False, True])) for _ in range(2)]
    with pytest.raises(fx.Mismatch, match=r"the static field Static\.mask holds an array, and two models cannot"):
        for model in models:
            fx.evolve(fx.Bundle(model, CubicFlow()), fx.Quasistatic(), jnp.ones(3), t1=0.1, dt=0.1)

"""Results as text: numbers, codes in words, and shapes of what is large."""

import jax
import jax.numpy as jnp
import numpy as np

import fiberax as fx


def test_a_response_shows_its_numbers():
    flow = fx.FlowFiber(rate=lambda c, U: U - c, init=lambda U: jnp.zeros(()), link=lambda c, U: 2.0 * c)
    r = fx.response(flow, 0.75, tangent=True)
    assert "value: 1.5" in repr(r) and "tangent: 2." in repr(r) and "result: 0 (" in repr(r)
    assert "energy" not in repr(r) and repr(r) == str(r)
    many = fx.responses(flow, jnp.linspace(0.0, 1.0, 50))
    assert "array 50, from 0 to 2" in repr(many) and "50 x 0 (" in repr(many)
    assert "<table>" in many._repr_html_() and "array 50, from 0 to 2" in many._repr_html_()


def test_a_failed_response_is_told():
    runaway = fx.EnergyFiber(energy=lambda u, U: jnp.exp(-u), init=lambda U: jnp.zeros(()))
    said = repr(fx.response(runaway, 0.0))
    assert "value: nan" in said and "result: 0" not in said


def test_a_solution_shows_times_and_fields():
    flow = fx.FlowFiber(rate=lambda c, U: U - c, init=lambda U: jnp.zeros(()), link=lambda c, U: 1.0 + c)
    grid = fx.grids.Box((0.0,), (1.0,), cells=(32,), periodic=True)
    bundle = fx.Bundle(fx.homogenization.Diffusion(grid), flow)
    sol = fx.evolve(bundle, fx.Quasistatic(), jnp.ones(32), t1=1e-3, dt=1e-4, saveat=[0.0, 1e-3])
    said = repr(sol)
    assert "ts: [0.   , 0.001]" in said and "macro: array 2 x 32, from 1 to 1" in said and "64 x 0 (" in said


def test_inside_a_transformation_shapes_are_shown():
    seen = []

    def f(U):
        r = fx.response(fx.FlowFiber(rate=lambda c, U: U - c, init=lambda U: jnp.zeros(()), link=lambda c, U: c), U)
        seen.append(repr(r))
        return r.value

    assert jax.grad(f)(1.0) == np.float64(1.0)
    assert "value: float64[]" in seen[0]

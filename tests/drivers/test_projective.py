"""Projective integration against the amplification factors of its schemes, with fibers, its warning and misuse."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from keeper import Keeper

import fiberax as fx
from fiberax.testing import CubicFlow, LinearFlow, observed_order

NODES = {
    fx.Outer.PFE: ((0.0,), (1.0,)),
    fx.Outer.PRK2: ((0.0, 0.5), (0.0, 1.0)),
    fx.Outer.PRK4: ((0.0, 0.5, 0.5, 1.0), (1 / 6, 1 / 3, 1 / 3, 1 / 6)),
}
D, K, DT = 0.01, 2, 0.12


class Coupled(fx.AbstractMacro):
    """dU/dt = −own·U − coupling·A + source."""

    own: float = 3.0
    coupling: float = 0.0
    source: float = 0.0

    def conditions(self, macro):
        return macro

    def rate(self, t, macro, response):
        return -self.own * macro - self.coupling * response + self.source


def truth(outer, matrix_of_inner, U, state, steps, slope):
    """The scheme on (U, z), z advanced by inner steps alone; `slope` gives dU/dt after the fibers have moved."""
    nodes, weights = NODES[outer]
    for _ in range(steps):
        after, slopes, start = None, [], U
        for node in nodes:
            now = start if after is None else after + (node * DT - (K + 1) * D) * slopes[-1]
            for _ in range(K + 1):
                state = matrix_of_inner(now, state)
                rate = slope(now, state)
                now = now + D * rate
            slopes.append(rate)
            after = now if after is None else after
        U = after + (DT - (K + 1) * D) * sum(b * s for b, s in zip(weights, slopes))
    return U


@pytest.mark.parametrize("outer", list(fx.Outer))
@pytest.mark.parametrize("coupling", [0.0, 2.0])
def test_schemes_are_exact_on_linear_problems(outer, coupling):
    """A fiber of two entries, stepped exactly, and a linear macro model: every step is known."""
    fiber = fx.relax(LinearFlow([[80.0]], [80.0], [1.0]), scheme=fx.Implicit())
    gamma = 1.0 - np.sqrt(0.5)

    def inner(U, z):  # SDIRK2 on dz/dt = 80 (U − z)
        x = -80.0 * D
        factor = (1.0 + (1.0 - 2.0 * gamma) * x) / (1.0 - gamma * x) ** 2
        return U + factor * (z - U)

    found = fx.evolve(
        fx.Bundle(Coupled(coupling=coupling), fiber),
        fx.Seamless(separation=np.inf),
        jnp.asarray([1.0]),
        t1=3 * DT,
        dt=DT,
        stepper=fx.Projective(D, K, outer),
    ).macro[-1]
    expected = truth(outer, inner, 1.0, 0.0, 3, lambda U, z: -3.0 * U - coupling * z)
    np.testing.assert_allclose(found, [expected], rtol=1e-10)


@pytest.mark.parametrize(("outer", "order"), [(fx.Outer.PFE, 1), (fx.Outer.PRK2, 2), (fx.Outer.PRK4, 4)])
def test_macro_order_with_a_fast_fiber(outer, order):
    """Inner steps are so short that the outer scheme alone decides."""
    steps = (0.2, 0.1, 0.05)
    errors = []
    for dt in steps:
        bundle = fx.Bundle(Coupled(own=0.0, coupling=1.0), fx.relax(LinearFlow([[1e13]], [1e13], [1.0])))
        stepper = fx.Projective(1e-9, 2, outer)
        found = fx.evolve(bundle, fx.Seamless(separation=np.inf), jnp.asarray([1.0]), t1=1.0, dt=dt, stepper=stepper)
        errors.append(abs(float(found.macro[-1][0]) - np.exp(-1.0)))
    assert abs(observed_order(errors, steps) - order) < 0.25, errors


def relaxing(k, separation=1e9):
    """With e^(−d/τ) = e^(−1/2) and dt = 40 d."""
    bundle = fx.Bundle(Coupled(own=0.1), fx.relax(CubicFlow(a=0.0, speed=50.0)))
    driver, stepper = fx.Seamless(separation=separation), fx.Projective(0.01, k)
    return fx.evolve(bundle, driver, jnp.asarray([1.0, 0.5]), t1=1.6, dt=0.4, stepper=stepper)


def test_an_amplified_mode_is_warned_of_and_the_number_of_inner_steps_named():
    """ρ^k (ρ − (dt/d − k − 1)(1 − ρ))."""
    rho = np.exp(-0.5)
    factor = lambda k: abs(rho**k * (rho - (39 - k) * (1.0 - rho)))
    enough = next(k for k in range(1, 39) if factor(k) <= 1.0)
    with pytest.warns(fx.ScaleSeparationWarning, match=f"with steps={enough} .* The fibers themselves") as told:
        run = relaxing(enough - 1)
    assert len(told) == 1 and np.all(np.isfinite(run.macro))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        relaxing(enough + 1)


def test_fibers_that_follow_late_are_warned_of():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        look = relaxing(8).stats["separation"][0]
    assert look.relaxation == pytest.approx(0.02 + (0.4 - 0.09) / np.expm1(4.5), rel=0.02)
    with pytest.warns(fx.ScaleSeparationWarning, match="Take more inner steps, or longer ones") as told:
        relaxing(8, 0.9 * look.ratio)
    assert len(told) == 1


@pytest.mark.parametrize(("outer", "jump"), [(fx.Outer.PFE, 0.1), (fx.Outer.PRK2, 0.05)])
def test_a_fiber_is_late_by_what_is_said(outer, jump):
    """Behind a macrostate that grows evenly: by that and what the last extrapolation adds, to the order of inner steps."""
    tau, d, k = 0.02, 0.002, 4
    bundle = fx.Bundle(Coupled(own=0.0, source=1.0), fx.relax(LinearFlow([[1.0 / tau]], [1.0 / tau], [1.0])))
    stepper = fx.Projective(d, k, outer)
    found = fx.evolve(bundle, fx.Seamless(separation=np.inf), jnp.zeros(1), t1=4.0, dt=0.1, stepper=stepper)
    behind = float(found.macro[-1][0] - jnp.ravel(jax.tree.leaves(found.section.state)[0])[0])
    assert abs(behind - (jump - (k + 1) * d) - stepper.lag(tau, 0.1)) < 0.6 * d


def test_resume_in_the_middle_is_bit_identical(tmp_path):
    bundle, keeper = fx.Bundle(Coupled(coupling=1.0), fx.relax(CubicFlow(a=0.5, speed=80.0))), Keeper()
    options = {"t1": 4 * DT, "dt": DT, "stepper": fx.Projective(D, K, fx.Outer.PRK2)}
    whole = fx.evolve(bundle, fx.Seamless(), jnp.asarray([1.0, 0.3]), checkpoint=keeper, **options)
    middle = next(s for s in keeper.snapshots if 0 < s.step < 4)
    rest = fx.evolve(bundle, fx.Seamless(), jnp.asarray([1.0, 0.3]), start=middle, **options)
    np.testing.assert_array_equal(rest.macro[-1], whole.macro[-1])


def test_misuse_is_told():
    for arguments, told in (((0.0, 2), "inner"), ((0.1, 0), "steps"), ((0.1, 2, "PFE"), "outer")):
        with pytest.raises(fx.BadInput, match=told):
            fx.Projective(*arguments)
    bundle = fx.Bundle(Coupled(), fx.relax(CubicFlow()))
    for outer, dt in ((fx.Outer.PFE, 0.02), (fx.Outer.PRK2, 0.05)):
        with pytest.raises(fx.BadInput, match="longer than the shortest stage"):
            fx.evolve(bundle, fx.Seamless(), jnp.ones(2), t1=1.0, dt=dt, stepper=fx.Projective(0.01, 2, outer))

"""Natural mistakes in arguments and in functions of users end in one message that names them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax.testing import CubicFlow, Decay, Maxwell, Spring, check_fiber

U = np.linspace(0.4, 1.2, 4)
CUBIC = CubicFlow(a=0.5)
BUNDLE = fx.Bundle(Decay(4), CUBIC)


def flow(**parts):
    parts = {"rate": lambda c, U: U - c, "init": lambda U: jnp.zeros(()), "link": lambda c, U: c} | parts
    return fx.FlowFiber(**parts)


@pytest.mark.parametrize("start", [0.0, 0], ids=["float", "int"])
def test_plain_numbers_are_states(start):
    fibers = (
        flow(init=lambda U: start),
        fx.EnergyFiber(lambda u, U: 0.5 * (u - U) ** 2 + 0.5 * u**2, lambda U: start),
        fx.StochasticFiber(lambda u, U, dt, key: u + dt * (U - u), lambda U, key: 0.0, lambda u, U: u),
    )
    np.testing.assert_allclose(fx.responses(fibers[0], U).value, U, rtol=1e-12)
    np.testing.assert_allclose(fx.responses(fibers[1], U).value, 0.5 * U, rtol=1e-9)
    check_fiber(fibers[0], 0.3)
    section = fx.Fibers(fibers[2], fx.Seamless(), U)
    np.testing.assert_allclose(section.advance(section.begin(U), U, dt=0.1)[1].response, 0.1 * U)


def test_a_constant_rate_has_no_equilibrium():
    answer = fx.responses(flow(rate=lambda c, U: 1), U)
    assert np.all(np.asarray(answer.result) != 0)


@pytest.mark.parametrize(
    "fiber, message",
    [
        (flow(rate=lambda c, U: jnp.asarray(1)), "FlowFiber.rate must give real floating-point numbers; it gives int"),
        (flow(link=lambda c, U: None), "the link of FlowFiber .* must give arrays of jax.*; it is None"),
        (flow(link=lambda c, U: "c"), "must give arrays of jax.*; it is 'c'"),
        (flow(link=lambda c, U: {"a": c, "b": 1.0}), r"must give arrays of jax.*; \['b'\] is 1.0"),
        (flow(init=lambda U: "c"), "FlowFiber.init must give arrays of jax.*; it is 'c'"),
        (
            fx.StochasticFiber(lambda u, U, dt, key: u + 0.5, lambda U, key: jnp.asarray(0), lambda u, U: u),
            "StochasticFiber.step must keep the types of the state, int.*; it gives float",
        ),
    ],
)
def test_what_functions_of_users_give(fiber, message):
    with pytest.raises(fx.Mismatch, match=message):
        fx.responses(fiber, U) if isinstance(fiber, fx.FlowFiber) else fx.Fibers(fiber, fx.Seamless(), U)


def test_a_link_that_gives_nothing():
    with pytest.raises(fx.Mismatch, match=r"link.* for CubicFlow .* must give arrays of jax.*; it is None"):
        fx.evolve(fx.Bundle(Decay(4), CUBIC, link=lambda f, s, c: None), fx.Quasistatic(), U, t1=1.0, dt=0.1)


@pytest.mark.parametrize(
    "solver, message",
    [
        ("newton", "solver must be a solver such as .*; it is 'newton'"),
        (fx.Newton, "solver must be a solver such as .*; it is the class Newton"),
        (fx.Minimise(), "fx.Minimise finds minima of energies, and CubicFlow is a flow. Use fx.Newton()"),
    ],
)
def test_solvers_that_are_none(solver, message):
    with pytest.raises(fx.BadInput, match=message):
        fx.Fibers(CUBIC, fx.Quasistatic(solver=solver), U)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: fx.responses(CUBIC, U, state=jnp.ones(3)), r"responses: state, .* must have the shapes .*\(4,\).*\(3,\)"),
        (lambda: fx.response(CUBIC, 0.3, state=jnp.ones(3)), r"response: state must have the shapes .*\(\); it has .*\(3,\)"),
        (lambda: fx.responses(CUBIC, U, state={"a": U}), r"state, .* it has \['a'\] \(4,\)"),
        (lambda: fx.responses(CUBIC, U, state="a"), "state must be an array or a tree of arrays; it is 'a'"),
        (lambda: fx.responses(CUBIC, "abc"), "condition must be numbers, .*; it is 'abc'"),
        (lambda: fx.response(CUBIC, {"a": "x"}), r"condition must be numbers, .*; \['a'\] is 'x'"),
        (lambda: fx.responses(CUBIC, 1.0), r"conditions must have one common leading axis.* shapes are \[\(\)\]"),
        (lambda: fx.responses(CUBIC, None), r"conditions must have one common leading axis.* shapes are \[\]"),
        (lambda: fx.Fibers(CUBIC, fx.Quasistatic(), 1.0), "Fibers: conditions must have one common leading axis"),
        (lambda: fx.Fibers(CUBIC, fx.Quasistatic(), "abc"), "Fibers: conditions must be numbers"),
        (lambda: fx.Fibers(CUBIC, U, fx.Quasistatic()), "Fibers: the driver must be an object such as .* it is an array"),
        (lambda: fx.evolve(BUNDLE, fx.Quasistatic(), "abc", t1=1.0, dt=0.1), "macro0 must be numbers"),
        (lambda: fx.evolve(BUNDLE, fx.Quasistatic(), U, t1="1", dt=0.1), "t1 must be a finite number; it is '1'"),
        (lambda: fx.evolve(BUNDLE, fx.Quasistatic, U, t1=1.0, dt=0.1), "driver must be .* it is the class Quasistatic"),
        (
            lambda: fx.evolve(BUNDLE, fx.Quasistatic(), U, t1=1.0, dt=0.1, stepper=fx.Heun),
            "stepper must be an object such as .* it is the class Heun",
        ),
        (lambda: fx.stiffness(BUNDLE, fx.Quasistatic(), U), "stiffness: the driver must be .* it is an array"),
        (lambda: fx.relax(3), "relax needs a flow or an energy fiber; a int is no fiber"),
        (lambda: fx.relax(Maxwell()), "Maxwell has a history"),
        (lambda: fx.Mapped(Spring(), condition=3), r"condition must be a function; it is 3. .* fx.rescale"),
        (lambda: fx.Mapped(Spring(), response=3), "response must be a function"),
        (lambda: fx.Mapped(Spring(), state=3), "state must be fx.Copies"),
        (lambda: fx.Mapped(Spring(), time="a"), "time must be a number"),
    ],
)
def test_arguments(call, message):
    with pytest.raises(fx.BadInput, match=message):
        call()


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("run", [fx.steady, fx.continuation, fx.evolve])
def test_swapped_arguments(run):
    times = {fx.steady: {}, fx.continuation: {"dt": 0.1}, fx.evolve: {"t1": 1.0, "dt": 0.1}}[run]
    for arguments in ((BUNDLE, U, fx.Quasistatic()), (fx.Quasistatic(), BUNDLE, U)):
        with pytest.raises(fx.Mismatch, match="arguments are in the wrong order; they are bundle, driver, macrostate"):
            run(*arguments, **times)


def test_a_state_of_an_answer_is_one_to_begin_with():
    """The check takes what an answer gave, also under vmap and for one fiber."""
    cold = fx.responses(CUBIC, U)
    one = fx.response(CUBIC, U[1], state=cold.state[1])
    many = jax.vmap(lambda c, s: fx.response(CUBIC, c, state=s).value)(jnp.asarray(U), cold.state)
    np.testing.assert_allclose(one.value, cold.value[1], rtol=1e-12)
    np.testing.assert_allclose(many, cold.value, rtol=1e-9)

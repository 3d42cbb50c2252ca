"""Tables of fibers with memory whose history is summed up by a few numbers: closed forms of paths, few solves, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax.drivers.ellipsoids import Ellipsoids
from fiberax.testing import CheckFailed, Damped, Decay, Maxwell, Spring, check_fiber
from fiberax.testing.memories import Flowed

N = 40
REACH = jnp.linspace(0.4, 1.6, N)  # how far each site is strained
MAXWELL = Maxwell(spring=0.5, modulus=2.0, viscosity=1.5)


def strains(times):
    """Two cycles of a strain at each site, (T, sites)."""
    return np.sin(4.0 * np.pi * np.asarray(times))[:, None] * np.asarray(REACH)


def walked(fiber, driver, path, lengths):
    """Sections and answers along a path of strains (T, sites), in steps of these lengths."""
    fibers = fx.Fibers(fiber, driver, jnp.zeros(N))
    section, answers = fibers.begin(jnp.zeros(N)), []
    for strain, dt in zip(path, np.broadcast_to(lengths, len(path)), strict=True):
        section, answer = fibers.advance(section, jnp.asarray(strain), float(dt))
        answers.append(np.asarray(answer.response))
    return section, np.stack(answers)


class Kept(Maxwell):
    """Its history is the state of the step, which is an old one where a table answers."""

    def accept(self, history, state, condition, dt):
        return Flowed(state, history.dissipated)


@pytest.mark.parametrize("wrapped", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_viscous_fiber_is_answered_along_its_path(wrapped):
    """Stress of a Maxwell element, linear in strain and viscous strain: a few records answer all; against its closed form.

    Steps have three lengths, one of them none, as the stages of a macro step have: each needs records of its own.
    """
    fiber = Kept(MAXWELL.spring, MAXWELL.modulus, MAXWELL.viscosity)
    fiber = fx.rescale(fiber, 1.0, 2.0, 1.0) if wrapped else fiber
    path, lengths, tolerance = strains(np.linspace(0.0, 1.0, 41)[1:]), np.resize([0.0, 0.05, 0.025], 40), 1e-6
    driver = fx.Surrogate(fx.Quasistatic(), tolerance, check=0.02, always=True)
    section, found = walked(fiber, driver, path, lengths)
    truth = np.stack([MAXWELL.truth(site, lengths) for site in path.T], axis=1) * (2.0 if wrapped else 1.0)
    size, made = np.abs(truth).max(), driver.stats(section.sites)["surrogate"]
    assert made["live"] < 0.2 * found.size and made["checked"] > 5 and made["worst"] < 2.0 * tolerance
    # Errors of the viscous strain are handed on from step to step, where a part of 1/(1 + r) is left of each.
    assert np.abs(found - truth).max() < 20.0 * tolerance * size


class Softening(fx.AbstractSummarised):
    """A spring whose stress falls with what it has borne: W = ½A²/(1 + q), q' = q + |stress work|; independent of the rate.

    Its step has no unknown: the state is empty.
    """

    @property
    def rate_independent(self):
        return True

    def begin(self, condition):
        return jnp.zeros((2,))  # q, and the number of steps, which nothing depends on

    def increment(self, history, dt):
        return fx.EnergyFiber(lambda state, A: 0.5 * A**2 / (1.0 + history[0]), lambda A: jnp.zeros((0,)))

    def accept(self, history, state, condition, dt):
        return history + jnp.stack([0.1 * condition**2 / (1.0 + history[0]), jnp.ones(())])

    def summary(self, history):
        return history[:1]

    def recover(self, summary):
        return jnp.stack([summary[0], jnp.nan])


def test_a_nonlinear_history_without_a_rate():
    """Stress and history after many steps against the recursion, with errors that add up step by step.

    No two steps have one length, and records serve them all.
    """
    path, tolerance = strains(np.linspace(0.0, 1.0, 31)[1:]), 1e-3
    driver = fx.Surrogate(fx.Quasistatic(), tolerance, check=0.05, always=True)
    section, found = walked(Softening(), driver, path, np.linspace(0.1, 3.0, 30))
    q, truth = np.zeros(N), []
    for strain in path:
        truth.append(strain / (1.0 + q))
        q = q + 0.1 * strain**2 / (1.0 + q)
    made = driver.stats(section.sites)["surrogate"]
    assert made["live"] < 0.5 * found.size and made["checked"] > 3 and made["worst"] < 2.0 * tolerance
    np.testing.assert_allclose(found, truth, atol=10.0 * tolerance * np.abs(truth).max())
    np.testing.assert_allclose(section.sites.history[:, 0], q, atol=len(path) * tolerance * q.max())
    assert np.isnan(section.sites.history[:, 1]).any()  # what is not in the summary is lost


def test_an_error_of_any_part_of_an_answer_counts():
    """Of response, energy and summary each over its own scale; an ellipsoid in which one of them is wrong gets smaller."""
    table, value = Ellipsoids(tolerance=1e-3, capacity=8, measured=1, more=1), jnp.asarray([2.0, 10.0, 0.5])
    learn = jax.jit(lambda records, x, value: table.learn(records, x, value, jnp.zeros((3, 2)), ()))
    records, inside = learn(table.empty(2, 3, ()), jnp.zeros(2), value), jnp.asarray([5e-10, 0.0])
    assert table.find(records, -inside[None]).sure[0]
    for part in range(3):
        wrong = value.at[part].multiply(0.9)
        np.testing.assert_allclose(table.error(records, inside, wrong), 0.1, rtol=1e-12)
        assert not table.find(learn(records, inside, wrong), -inside[None]).sure[0]


class Pulled(fx.AbstractMacro):
    """Sites pulled by springs whose ends move: dU/dt = 8 (reach · load(t) − U − A)."""

    def conditions(self, macro):
        return macro

    def rate(self, t, macro, response):
        return 8.0 * (REACH * jnp.sin(4.0 * jnp.pi * t) - macro - response)


@pytest.mark.slow
@pytest.mark.parametrize("stepper", [fx.Heun(), fx.SDIRK2()], ids=["explicit", "implicit"])
def test_runs_with_a_history(stepper):
    """Histories move once in a step, and the tangent is that of the strain; records of each length of stage are exact here."""
    bundle, options = fx.Bundle(Pulled(), MAXWELL), {"t1": 0.5, "dt": 0.0125, "stepper": stepper}
    truth = fx.evolve(bundle, fx.Quasistatic(), jnp.zeros(N), **options)
    found = fx.evolve(bundle, fx.Surrogate(fx.Quasistatic(), 1e-6, always=True), jnp.zeros(N), **options)
    assert found.stats["surrogate"]["live"] < 0.4 * found.stats["surrogate"]["retrieved"]
    size = np.abs(truth.macro).max()
    np.testing.assert_allclose(found.macro, truth.macro, atol=1e-9 * size)
    np.testing.assert_allclose(found.section.history.strain, truth.section.history.strain, atol=1e-9 * size)


def test_the_derivative_is_that_of_a_step_with_its_history():
    """Before and after a step, against differences of the closed form, of a live solve and of the table."""
    path, dt = strains(np.linspace(0.0, 0.2, 9)[1:]), 0.025
    driver = fx.Surrogate(fx.Quasistatic(), 1e-7, check=0.0, always=True)
    fibers = fx.Fibers(MAXWELL, driver, jnp.zeros(N))
    section = fibers.begin(jnp.zeros(N))
    for strain in path:
        section, answer = fibers.advance(section, jnp.asarray(strain), dt, tangent=True)
    ratio = 2.0 * dt / 1.5
    np.testing.assert_allclose(answer.tangent, 0.5 + 2.0 / (1.0 + ratio), rtol=1e-6)
    assert not np.all(section.sites.memory.live)


class Forgets(Maxwell):
    """Its summary leaves out what its response depends on."""

    def summary(self, history):
        return history.strain[None] * 0.0


class Flat(Maxwell):
    def summary(self, history):
        return history.strain


@pytest.mark.parametrize(("fiber", "told"), [(Forgets(), "one summary differ"), (Flat(), r"array \(k,\)")])
def test_a_summary_that_is_none_is_found(fiber, told):
    with pytest.raises(CheckFailed, match=told):
        check_fiber(fiber, 1.0)


def test_other_histories_are_refused():
    with pytest.raises(fx.Mismatch, match="AbstractSummarised"):
        fx.Fibers(Damped(Spring(), 0.4), fx.Surrogate(), jnp.zeros(3))
    with pytest.raises(fx.Mismatch, match="entries"):
        many = fx.Bundle(Decay(3), Many())
        fx.evolve(many, fx.Surrogate(always=True), jnp.zeros(3), t1=0.1, dt=0.1)


class Many(Maxwell):
    """A summary of nine numbers, which makes eleven with the strain and the length of the step."""

    def summary(self, history):
        return jnp.broadcast_to(history.strain, (9,))


def test_records_belong_to_the_history():
    """The same strain after another past is another answer."""
    driver = fx.Surrogate(fx.Quasistatic(), 1e-6, check=0.0, always=True)
    fibers = fx.Fibers(MAXWELL, driver, jnp.zeros(N))
    once, _ = fibers.advance(fibers.begin(jnp.zeros(N)), REACH, 0.1)
    _, second = fibers.advance(once, REACH, 0.1)
    first = fibers.advance(fibers.begin(jnp.zeros(N)), REACH, 0.1)[1]
    truth = np.asarray([MAXWELL.truth([x, x], 0.1) for x in np.asarray(REACH)]).T
    np.testing.assert_allclose(np.stack([first.response, second.response]), truth, rtol=1e-5)

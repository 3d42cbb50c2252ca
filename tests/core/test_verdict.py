"""Dynamic fibers that say themselves that they failed: codes of their own, their words, the right step, and counts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax.numerics.result import effort
from fiberax.testing import CheckFailed, Decay, check_fiber


class Breaking(fx.AbstractDynamic):
    """A bond that breaks for good at age `life`; its numbers stay finite. State: age, and whether it broke."""

    life: float = 0.2999

    def init(self, condition, key):
        return jnp.zeros_like(condition), jnp.zeros((), jnp.int32)

    def step(self, state, condition, dt, key):
        age, broken = state
        age = age + dt * condition
        return age, jnp.where(age > self.life, 101, broken).astype(jnp.int32)

    def verdict(self, state):
        return state[1]

    def remedy(self, result):
        return "a bond broke; lower the load" if result == 101 else ""

    def link(self, state, condition):
        return 0.0 * state[0]


class Forgets(Breaking):
    """The same, but what it says holds for one step alone: it is lost where nobody looks at that step."""

    def step(self, state, condition, dt, key):
        age = state[0] + dt * condition
        return age, jnp.where((age > self.life) & (age < self.life + 1.5 * dt), 101, 0).astype(jnp.int32)


SEAMLESS = fx.Seamless(separation=np.inf)
START = jnp.asarray([0.1, 1.0, 0.2])


@pytest.mark.parametrize("steps", [40, 700], ids=["one block", "several blocks"])
def test_a_run_ends_in_the_words_of_the_fiber(steps):
    """Site 1 breaks when its age passes `life`, in mid-block; the message names that step."""
    dt = 0.9 / steps
    with pytest.raises(fx.FiberFailure, match=r"1 of 3 fibers failed in step (\d+)") as caught:
        fx.evolve(fx.Bundle(Decay(3), Breaking()), SEAMLESS, START, t1=0.9, dt=dt, stepper=fx.ForwardEuler())
    message = str(caught.value)
    for words in ("Worst site 1", "its own code 101", "a bond broke; lower the load"):
        assert words in message, message
    # states live at half steps: in step n they reach the age (n − ½) dt
    step = int(message.split("failed in step ")[1].split(",")[0])
    assert step == int(np.ceil(0.2999 / dt + 0.5))
    assert "finite" not in message


def test_failures_are_counted_where_they_are_allowed():
    dt, steps = 0.01, 90
    sol = fx.evolve(
        fx.Bundle(Decay(3), Breaking()), SEAMLESS, START, t1=0.9, dt=dt, stepper=fx.ForwardEuler(), fail_fraction=0.4
    )
    first = int(np.ceil(0.2999 / dt + 0.5))
    assert sol.stats["failures"] == steps - first + 1
    np.testing.assert_array_equal(sol.result[-1], [0, 101, 0])
    np.testing.assert_allclose(sol.macro[-1], START)


def test_wrappers_hand_verdicts_on():
    for fiber in (fx.rescale(Breaking(), time=2.0), fx.replicas(Breaking(), 3)):
        with pytest.raises(fx.FiberFailure, match="its own code 101; a bond broke; lower the load"):
            fx.evolve(fx.Bundle(Decay(3), fiber), SEAMLESS, START, t1=0.9, dt=0.01, stepper=fx.ForwardEuler())


def test_sections_driven_from_outside():
    fibers = fx.Fibers(Breaking(), SEAMLESS, START)
    section, answer = fibers.advance(fibers.begin(START), START, dt=0.2)
    assert not np.any(answer.result)
    section, answer = fibers.advance(section, START, dt=0.2)
    np.testing.assert_array_equal(answer.result, [0, 101, 0])
    (row,) = fibers.describe(section)["failed"]
    assert row["row"] == 1 and "lower the load" in row["text"]


def test_sections_and_runs_that_are_traced():
    """Nothing is tried again there, but codes are those of the same calls outside, and responses NaN."""
    fibers = fx.Fibers(Breaking(), SEAMLESS, START)
    section = fibers.begin(START)
    answer = jax.jit(lambda s: fibers.advance(s, START, dt=0.4)[1])(section)
    np.testing.assert_array_equal(answer.result, [0, 101, 0])
    np.testing.assert_array_equal(np.isnan(answer.response), [False, True, False])
    bundle = fx.Bundle(Decay(3), Breaking())
    traced = jax.jit(lambda m: fx.evolve(bundle, SEAMLESS, m, t1=0.9, dt=0.1, stepper=fx.ForwardEuler()).result)(START)
    np.testing.assert_array_equal(traced[-1], [0, 101, 0])


class Ring(fx.AbstractMacro):
    """Grows by its responses."""

    def conditions(self, macro):
        return macro

    def rate(self, t, macro, response):
        return 1.0 + response


def test_a_run_from_zero_ends_in_the_words_of_the_fiber():
    with pytest.raises(fx.FiberFailure, match="a bond broke; lower the load"):
        fx.evolve(fx.Bundle(Ring(), Breaking()), SEAMLESS, jnp.zeros(3), t1=2.0, dt=0.01, stepper=fx.ForwardEuler())


def test_a_sampled_fiber_fails_by_its_verdict():
    driver = fx.Quasistatic(steps=128, replicas=2, dt=0.01)
    fibers = fx.Fibers(Breaking(), driver, START)
    answer = fibers.advance(fibers.begin(START), START)[1]
    np.testing.assert_array_equal(answer.result, [0, 101, 0])


class Mistaken(Breaking):
    """A code that is neither one of the library's nor one that a fiber may have."""

    code: int = 50

    def verdict(self, state):
        return jnp.asarray(self.code, jnp.int32)


def test_codes_that_nobody_has_are_said():
    fibers = fx.Fibers(Mistaken(), SEAMLESS, START)
    answer = fibers.advance(fibers.begin(START), START, dt=0.01)[1]
    with pytest.raises(fx.FiberFailure, match=r"the code 50, which is none of fx.Result; codes of its own begin at 100"):
        answer.raise_if_failed()
    with pytest.raises(CheckFailed, match="verdict is a code: verdict gives 50"):
        check_fiber(Mistaken(), 0.3)
    check_fiber(Breaking(), 0.3)
    check_fiber(Mistaken(code=fx.Result.UNSTABLE), 0.3)


def test_answers_have_the_words_of_the_fiber():
    fibers = fx.Fibers(Breaking(), SEAMLESS, START)
    _, answer = fibers.advance(fibers.begin(START), START, dt=0.5)
    with pytest.raises(fx.FiberFailure, match="row 1: the fiber reports its own code 101; a bond broke; lower the load"):
        answer.raise_if_failed()
    with pytest.raises(fx.FiberFailure, match="a bond broke; lower the load"):
        jax.tree.map(lambda x: x[1:], answer).raise_if_failed()
    other = fx.Fibers(Breaking(life=0.1), SEAMLESS, START)
    jax.tree.map(lambda a, b: None, answer, other.respond(other.begin(START), START))  # trees of one form


@pytest.mark.parametrize(
    "residual, words",
    [(np.nan, "(after 3 steps)"), (np.inf, "(after 3 steps)"), (0.5, "(relative residual 0.5 after 3 steps)")],
)
def test_residuals_that_are_no_numbers_are_left_out(residual, words):
    assert effort(residual, 3) == words


def test_a_rest_point_that_is_refused_has_no_residual_that_is_no_number():
    fiber = fx.FlowFiber(lambda c, U: c - U, lambda U: jnp.zeros(()), lambda c, U: c)
    with pytest.raises(fx.FiberFailure, match="not stable") as caught:
        fx.evolve(fx.Bundle(Decay(3), fiber), fx.Quasistatic(require_stable=True), START, t1=0.1, dt=0.1)
    assert "nan" not in str(caught.value)


def test_a_sample_shows_the_words_of_the_fiber():
    """One sample, a batch, and a sample made again by a map of its arrays."""
    one = fx.sample(Breaking(), 1.0, steps=128, replicas=1, dt=0.01)
    many = fx.samples(Breaking(), jnp.asarray([1.0, 1e-9]), steps=128, replicas=1, dt=0.01)
    for text in (repr(one), repr(jax.tree.map(lambda x: x, one)), repr(many), many._repr_html_()):
        assert "101 (the fiber reports its own code 101; a bond broke; lower the load)" in text, text
    answer = fx.Fibers(Breaking(life=-1.0), SEAMLESS, START)
    section, _ = answer.advance(answer.begin(START), START, 0.1)
    assert "lower the load" in repr(answer.advance(section, START, 0.1)[1])

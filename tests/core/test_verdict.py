"""Dynamic fibers that say themselves that they failed: codes of their own, their words, the right step, and counts."""

import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax.testing import Decay


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


def test_a_sampled_fiber_fails_by_its_verdict():
    driver = fx.Quasistatic(steps=128, replicas=2, dt=0.01)
    fibers = fx.Fibers(Breaking(), driver, START)
    answer = fibers.advance(fibers.begin(START), START)[1]
    np.testing.assert_array_equal(answer.result, [0, 101, 0])

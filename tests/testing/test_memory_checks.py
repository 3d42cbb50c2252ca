"""`check_fiber` of fibers with memory and of energies with saddles: good ones pass, each broken promise is found and named."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax.numerics.result import outcome
from fiberax.testing import CheckFailed, Damped, ElasticPlastic, Maxwell, Spring, check_fiber
from fiberax.testing.memories import Flowed, MaxwellStep


@pytest.mark.parametrize(
    "condition", [0.3, pytest.param(2.0, marks=pytest.mark.slow), pytest.param(-1.0, marks=pytest.mark.slow), 0.0]
)
@pytest.mark.parametrize("fiber", [ElasticPlastic(), Maxwell(), fx.rescale(Maxwell(), 0.5, 2.0, 3.0), Damped(Spring(), 0.4)])
def test_good_memories_pass(fiber, condition):
    found = check_fiber(fiber, condition)
    expected = {
        "increment has a minimum",
        "dissipation does not fall",
        "trials repeat themselves",
        "accept keeps the history's form",
    }
    assert expected <= set(found.checked)


class Gains(Maxwell):
    def dissipated(self, history):
        return -history.dissipated


class Recovers(Maxwell):
    """Its dissipated energy is a stored one, and comes back."""

    def dissipated(self, history):
        return history.strain**2


class Vector(Maxwell):
    def dissipated(self, history):
        return jnp.stack([history.dissipated, history.dissipated])


class Widens(Maxwell):
    def accept(self, history, state, condition, dt):
        new = super().accept(history, state, condition, dt)
        return Flowed(jnp.stack([new.strain, new.strain]), new.dissipated)


class Narrows(Maxwell):
    def accept(self, history, state, condition, dt):
        return jax.tree.map(lambda x: x.astype(jnp.float32), super().accept(history, state, condition, dt))


class Unbounded(Maxwell):
    """The incremental energy of one step falls without end."""

    def increment(self, history, dt):
        return Falling(self.spring, self.modulus, self.viscosity, history.strain, dt)


class Falling(MaxwellStep):
    def energy(self, state, condition):
        return jnp.exp(-state) + condition**2

    def link(self, state, condition):
        return condition

    @property
    def solver(self):
        return None


class Beside(Maxwell):
    """The closed form of its solve is not the minimum of its energy."""

    def increment(self, history, dt):
        return Wrong(self.spring, self.modulus, 1.1 * self.viscosity, history.strain, dt)


class Wrong(MaxwellStep):
    def flowed(self, condition):
        ratio = self.modulus * self.dt / (0.5 * self.viscosity)
        return (self.before + ratio * condition) / (1.0 + ratio)


class Counts(Maxwell):
    """Every call of increment moves something that is not in the history."""

    calls: list = eqx.field(static=True, default_factory=list)

    def init(self, condition, key):
        return jnp.zeros(())

    def increment(self, history, dt):
        self.calls.append(1)
        return MaxwellStep(self.spring, self.modulus, self.viscosity, history.strain + 1e-3 * len(self.calls), dt)

    def accept(self, history, state, condition, dt):
        return Flowed(state, history.dissipated)


class Drawn(Maxwell):
    def init(self, condition, key):
        return jnp.zeros(())

    def begin(self, condition):
        return Flowed(jnp.asarray(np.random.default_rng().standard_normal()), jnp.zeros(()))


class Plain(Maxwell):
    def begin(self, condition):
        return Flowed(jnp.zeros(()), 0.0)


class Lost(Maxwell):
    def accept(self, history, state, condition, dt):
        return Flowed(jnp.where(dt > 0.5, jnp.nan, state), history.dissipated)


BROKEN = {
    "dissipated is not negative: the dissipated energy is -.* in step 1": Gains(),
    "dissipation does not fall: the dissipated energy falls from .* in step": Recovers(),
    "dissipated must give a scalar": Vector(),
    "accept keeps the history's form: .* must be a tree like .*; it is .*2 float64": Widens(),
    "accept keeps the history's form: .* it is .*float32": Narrows(),
    "increment has a minimum: the residual falls but the state does not settle.* in step 1": Unbounded(),
    "increment has a minimum: the energy of the increment is .* close to it, in step 1": Beside(),
    "two trials from one history differ": Counts(),
    "two histories at the start differ": Drawn(),
    "begin must give a tree of jax arrays": Plain(),
    "accept is finite: the history after accept, in step 2": Lost(),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("message", BROKEN)
def test_a_broken_memory_is_caught(message):
    with pytest.raises(CheckFailed, match=message):
        check_fiber(BROKEN[message], 2.0)


class Unjudged(fx.Newton):
    """Newton's method that takes any stationary point for solved, as a solver of users may."""

    def solve(self, fiber, state, condition, tolerance):
        state, out = super().solve(fiber, state, condition, tolerance)
        return state, out._replace(result=jnp.where(out.result == fx.Result.UNSTABLE, 0, out.result))


class Stays(fx.AbstractEnergy):
    """A double well in u₀ beside a spring; Newton's method stays at the saddle where it begins."""

    def init(self, condition, key):
        return jnp.zeros(2)

    def energy(self, state, condition):
        well = 0.25 * state[0] ** 4 - 0.5 * state[0] ** 2
        return well + 0.5 * (state[1] - condition) ** 2 + 0.3 * state[0] ** 2 * condition + condition**2

    @property
    def solver(self):
        return Unjudged()


class Leaves(Stays):
    @property
    def solver(self):
        return fx.Minimise()


class OnCircle(Stays):
    """A saddle along a constraint: on the circle |u| = 1 the energy is highest at (1, 0)."""

    def init(self, condition, key):
        return jnp.asarray([1.0, 0.0])

    def energy(self, state, condition):
        return state[0] + 0.5 * condition**2

    def constraint(self, state, condition):
        return jnp.sum(state**2)[None] - 1.0


@pytest.mark.parametrize("fiber", [Stays(), OnCircle()])
def test_a_saddle_is_called_that(fiber):
    with pytest.raises(
        CheckFailed, match=r"state is a minimum: .* eigenvalue -.* a saddle of the energy or a maximum, which is uns"
    ):
        check_fiber(fiber, 0.3)


def test_a_minimum_beside_a_saddle_passes():
    assert "state is a minimum" in check_fiber(Leaves(), 0.3).checked


class Monkey(fx.AbstractEnergy):
    """u₀³ − 3u₀u₁² times the condition: at 0 every state rests, close to it the start is a saddle that no step leaves."""

    def init(self, condition, key):
        return jnp.zeros(2)

    def energy(self, state, condition):
        return (state[0] ** 3 - 3.0 * state[0] * state[1] ** 2) * condition


def test_a_saddle_close_to_the_condition_is_called_that():
    with pytest.raises(CheckFailed, match=r"a batch is solved: the microstate is stationary but not stable.* 4 of 4"):
        check_fiber(Monkey(), 0.0)


class _Branch(fx.Minimise):
    """The well of the sign of the condition, from wherever the solve begins."""

    def solve(self, fiber, state, condition, tolerance):
        return jnp.where(condition >= 0.0, fiber.well, -fiber.well) + 0.0 * state, outcome(0, 1)


class Jumps(fx.AbstractEnergy):
    """Wells at ±well."""

    well: float

    def init(self, condition, key):
        return jnp.zeros(())

    def energy(self, state, condition):
        return 0.25 * state**4 - 0.5 * (self.well * state) ** 2 + condition**2

    @property
    def solver(self):
        return _Branch()


@pytest.mark.parametrize(("well", "apart"), [(1.0, "2"), (1e-4, "0.0002")])
def test_a_jump_between_equilibria_is_called_that(well, apart):
    with pytest.raises(
        CheckFailed, match=rf"very close to the condition the solve ends in another state, {apart} away: .* saddle"
    ):
        check_fiber(Jumps(well), 0.0, link=lambda fiber, state, condition: state + condition)


def test_an_energy_that_vanishes_with_its_response_passes():
    """Nothing but round-off is left of both at the condition 0."""
    check_fiber(fx.EnergyFiber(lambda u, U: 0.5 * (u - U) ** 2 + U**2, lambda U: jnp.zeros(())), 0.0)

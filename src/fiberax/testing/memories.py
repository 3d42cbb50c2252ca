"""Scalar fibers with memory whose responses along any path are known in closed form (docs: mathematics, section 13)."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fiberax.core.capabilities import AbstractSummarised
from fiberax.core.fiber import AbstractEnergy, AbstractMemory
from fiberax.core.solvers import Minimise
from fiberax.numerics.result import outcome

_RIGID = 1e12  # what holds the viscous strain in a step without length, over the modulus


class Plastic(NamedTuple):
    """History of `ElasticPlastic`: plastic strain, accumulated plastic strain, and the energy dissipated so far."""

    strain: Float[Array, ""]
    accumulated: Float[Array, ""]
    dissipated: Float[Array, ""]


class ElasticPlastic(AbstractMemory):
    """Rate-independent plasticity with linear isotropic hardening; condition the strain A, response the stress σ.

        W(A, e) = ½E (A − e)² + ½H p²,   R(ė) = σ_y |ė|,   ṗ = |ė|

    The state is the plastic strain e at the end of the step, found by radial return; strains and stresses are numbers.

    Args:
        modulus: E > 0, stress.
        hardening: H > 0, stress.
        yield_stress: σ_y > 0, stress.
    """

    modulus: Float[Array, ""] = eqx.field(converter=jnp.asarray, default=2.0)
    hardening: Float[Array, ""] = eqx.field(converter=jnp.asarray, default=0.5)
    yield_stress: Float[Array, ""] = eqx.field(converter=jnp.asarray, default=1.0)

    def begin(self, condition):
        zero = jnp.zeros_like(condition)
        return Plastic(zero, zero, zero)

    def increment(self, history, dt):
        return _PlasticStep(self.modulus, self.hardening, self.yield_stress, history)

    def accept(self, history, state, condition, dt):
        # The state by its closed form: in an elastic step it is at the kink of R, where the implicit function theorem does
        # not hold, and derivatives of the solve are those of neither side.
        state = ElasticPlastic.increment(self, history, dt).returned(condition)
        moved = jnp.abs(state - history.strain)
        return Plastic(state, history.accumulated + moved, history.dissipated + self.yield_stress * moved)

    def dissipated(self, history):
        return history.dissipated

    def truth(self, strains: np.ndarray) -> np.ndarray:
        """Stresses along a path of strains that begins at rest, by the closed form of each step."""
        E, H, limit = (float(x) for x in (self.modulus, self.hardening, self.yield_stress))
        plastic, accumulated, found = 0.0, 0.0, []
        for strain in np.asarray(strains, float):
            trial = E * (strain - plastic)
            flow = max(0.0, abs(trial) - limit - H * accumulated) / (E + H)
            plastic, accumulated = plastic + np.sign(trial) * flow, accumulated + flow
            found.append(E * (strain - plastic))
        return np.asarray(found)


class _PlasticStep(AbstractEnergy):
    """One step of `ElasticPlastic`: its incremental energy, whose minimum is the radial return."""

    modulus: Float[Array, ""]
    hardening: Float[Array, ""]
    yield_stress: Float[Array, ""]
    history: Plastic

    def init(self, condition, key):
        return self.history.strain + 0.0 * condition

    def energy(self, state, condition):
        moved = jnp.abs(state - self.history.strain)
        stored = 0.5 * self.modulus * (condition - state) ** 2
        return stored + 0.5 * self.hardening * (self.history.accumulated + moved) ** 2 + self.yield_stress * moved

    def link(self, state, condition):
        """∂W/∂A at fixed plastic strain, taken after the step."""
        return self.modulus * (condition - self.returned(condition))

    def returned(self, condition) -> Float[Array, ""]:
        """Plastic strain after the step; its derivative is that of the active side of the yield surface."""
        trial = self.modulus * (condition - self.history.strain)
        beyond = jnp.abs(trial) - self.yield_stress - self.hardening * self.history.accumulated
        return self.history.strain + jnp.sign(trial) * jnp.maximum(beyond, 0.0) / (self.modulus + self.hardening)

    @property
    def solver(self):
        return _Return()


class _Return(Minimise):
    def solve(self, fiber: _PlasticStep, state, condition, tolerance):
        return fiber.returned(condition), outcome(0, 1)


class Flowed(NamedTuple):
    """History of `Maxwell`: viscous strain, and the energy dissipated so far."""

    strain: Float[Array, ""]
    dissipated: Float[Array, ""]


class Maxwell(AbstractSummarised):
    """A Maxwell element in parallel with a spring; condition the strain A, response the stress σ.

        W(A, e) = ½E₀A² + ½E (A − e)²,   R(ė) = ½η ė²

    The state is the viscous strain e at the end of the step, by implicit Euler; dt = 0 is elastic.

    Args:
        spring: E₀ > 0, stress.
        modulus: E > 0, stress.
        viscosity: η > 0, stress·time.
    """

    spring: Float[Array, ""] = eqx.field(converter=jnp.asarray, default=0.5)
    modulus: Float[Array, ""] = eqx.field(converter=jnp.asarray, default=2.0)
    viscosity: Float[Array, ""] = eqx.field(converter=jnp.asarray, default=1.0)

    def begin(self, condition):
        return Flowed(jnp.zeros_like(condition), jnp.zeros_like(condition))

    def increment(self, history, dt):
        return MaxwellStep(self.spring, self.modulus, self.viscosity, history.strain, dt)

    def accept(self, history, state, condition, dt):
        # The state by its closed form, whose derivatives are right at dt = 0 too, where the energy is singular.
        state = Maxwell.increment(self, history, dt).flowed(condition)
        moved = state - history.strain
        # ∫ η ė² dt of the step; zero for dt = 0.
        lost = jnp.where(dt > 0.0, self.viscosity * moved**2 / jnp.where(dt > 0.0, dt, 1.0), 0.0)
        return Flowed(state, history.dissipated + lost)

    def dissipated(self, history):
        return history.dissipated

    def summary(self, history):
        return history.strain[None]

    def recover(self, summary):
        return Flowed(summary[0], jnp.zeros_like(summary[0]))

    def truth(self, strains: np.ndarray, dt: float | np.ndarray) -> np.ndarray:
        """Stresses along a path of strains from rest, in steps of `dt` or of one each: e = (e_n + r A)/(1 + r), r = E dt/η."""
        spring, E, eta = (float(x) for x in (self.spring, self.modulus, self.viscosity))
        viscous, found = 0.0, []
        for strain, step in zip(np.asarray(strains, float), np.broadcast_to(dt, len(strains))):
            ratio = E * step / eta
            viscous = (viscous + ratio * strain) / (1.0 + ratio)
            found.append(spring * strain + E * (strain - viscous))
        return np.asarray(found)


class MaxwellStep(AbstractEnergy):
    """One step of `Maxwell`. The incremental energy W + (η/2dt)(e − e_n)² is singular at dt = 0, its minimum is not.

    There a stiff spring holds e, so that derivatives of the minimum are right as well.
    """

    spring: Float[Array, ""]
    modulus: Float[Array, ""]
    viscosity: Float[Array, ""]
    before: Float[Array, ""]
    dt: Float[Array, ""]

    def init(self, condition, key):
        return self.before + 0.0 * condition

    def energy(self, state, condition):
        moved, rigid = state - self.before, self.dt <= 0.0
        held = jnp.where(rigid, _RIGID * self.modulus, self.viscosity / jnp.where(rigid, 1.0, self.dt))
        return 0.5 * self.spring * condition**2 + 0.5 * self.modulus * (condition - state) ** 2 + 0.5 * held * moved**2

    def link(self, state, condition):
        """∂W/∂A at fixed viscous strain, taken after the step."""
        return self.spring * condition + self.modulus * (condition - self.flowed(condition))

    def flowed(self, condition) -> Float[Array, ""]:
        """Viscous strain after the step."""
        ratio = self.modulus * self.dt / self.viscosity
        return (self.before + ratio * condition) / (1.0 + ratio)

    @property
    def solver(self):
        return _Flow()


class _Flow(Minimise):
    def solve(self, fiber: MaxwellStep, state, condition, tolerance):
        return fiber.flowed(condition), outcome(0, 1)


class Damped(AbstractMemory):
    """An energy fiber with the dissipation R = ½η|u̇|² in its metric; the history is its last accepted state, an array.

    A step is one of implicit Euler of the relaxation (4.1) with m = 0 and friction η; it needs dt > 0.

    Args:
        inner: An energy fiber whose state is one array.
        friction: η > 0, force·time/state.
    """

    inner: AbstractEnergy
    friction: Float[Array, ""] = eqx.field(converter=jnp.asarray)

    def begin(self, condition):
        return self.inner.init(condition, jax.random.key(0))

    def increment(self, history, dt):
        return _DampedStep(self.inner, self.friction, history, dt)

    def accept(self, history, state, condition, dt):
        return state


class _DampedStep(AbstractEnergy):
    inner: AbstractEnergy
    friction: Float[Array, ""]
    before: Float[Array, "..."]
    dt: Float[Array, ""]

    def init(self, condition, key):
        return self.before

    def energy(self, state, condition):
        lost = 0.5 * self.friction * jnp.sum(self.inner.metric(state) * (state - self.before) ** 2) / self.dt
        return self.inner.energy(state, condition) + lost

    def metric(self, state):
        return self.inner.metric(state)

"""Relaxation on the fibers: m ∂_tt u + η ∂_t u = −∂W/∂u + λ ∂g/∂u (4.1), and the same for a flow's rate."""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fiberax.core import equilibrium, lagrangian
from fiberax.core.capabilities import AbstractEnergetic, AbstractEnsemble, AbstractMonitored, AbstractPropagated
from fiberax.core.errors import BadInput, Mismatch
from fiberax.core.fiber import AbstractDynamic, AbstractEnergy, AbstractFiber, AbstractFlow, AbstractMemory
from fiberax.core.link import AbstractWrapper
from fiberax.core.macro import Moving
from fiberax.core.mapped import AbstractMapped
from fiberax.core.solvers import onto_constraint, tangent_velocity
from fiberax.core.strategies import Forbidden
from fiberax.core.wrapper import EnsemblePart, Mapped, MonitoredPart, composed
from fiberax.numerics import sdirk, trees
from fiberax.numerics.result import Result


class AbstractRelaxationScheme(eqx.Module):
    """Time integrator for first-order relaxation η u' = rate."""

    @abc.abstractmethod
    def step(self, fiber, friction, state, condition, dt) -> Any:
        """The state after the time `dt`.

        Args:
            fiber: A flow or energy fiber.
            friction: η, force·time/state.
            state: The state at the start.
            condition: What the fiber is held at.
            dt: Fiber time.
        """


class Implicit(AbstractRelaxationScheme):
    """Two-stage diagonally implicit Runge-Kutta scheme, order 2, L-stable (Alexander, SIAM J. Numer. Anal. 14, 1977).

    Steps much longer than the relaxation time end at the equilibrium, so friction may go to zero at a fixed step. Flows that
    compute their own motion (`AbstractPropagated`) use that instead.

    Args:
        tolerance: Relative tolerance of the solves, as in docs/conventions.md.
    """

    tolerance: float = eqx.field(static=True, default=1e-10)

    def step(self, fiber, friction, state, condition, dt):
        if isinstance(fiber, AbstractPropagated):
            return fiber.propagate(state, condition, dt / friction)

        shift = sdirk.shift(dt, friction)

        def stage(before, _):
            base = sdirk.base(state, before)
            new, out = equilibrium.implicit_stage(fiber, before, condition, base, shift, self.tolerance)
            # A step returns no outcome: NaN tells the driver that a stage could not be solved.
            return jax.tree.map(lambda u: jnp.where(out.result == Result.SUCCESS, u, jnp.nan), new), None

        return jax.lax.scan(stage, state, None, length=2)[0]


class Explicit(AbstractRelaxationScheme):
    """Heun's scheme, order 2, with a return to the constraints after each stage; for steps below the relaxation time."""

    def step(self, fiber, friction, state, condition, dt):
        def velocity(u):
            return jax.tree.map(lambda r: r / friction, force(fiber, u, condition))

        def restored(u):
            return onto_constraint(fiber, u, condition)

        start = restored(state)
        first = velocity(start)
        second = velocity(restored(trees.axpy(dt, first, start)))
        return restored(jax.tree.map(lambda u, a, b: u + 0.5 * dt * (a + b), start, first, second))


def force(fiber: AbstractFlow | AbstractEnergy, state, condition):
    """Right-hand side of (4.1) in the fiber's metric, with the static multipliers: rate(u) or −metric⁻¹(∂W − λ∂g)."""
    if isinstance(fiber, AbstractFlow):
        return fiber.rate(state, condition)
    unknowns = (state, lagrangian.multipliers(fiber, state, condition))
    return lagrangian.energy_rest(fiber, unknowns, condition)[0]


class Relaxation(AbstractDynamic, AbstractWrapper):
    """Dynamics (4.1) for an energy or flow fiber; made by `relax`.

    The state is the inner fiber's state for mass = 0, and `Moving(position, velocity)` otherwise.
    """

    inner: AbstractFlow | AbstractEnergy
    mass: Float[Array, ""]
    friction: Float[Array, ""]
    scheme: AbstractRelaxationScheme
    second_order: bool = eqx.field(static=True)

    def init(self, condition, key):
        state = self.inner.init(condition, key)
        if not self.second_order:
            return state
        return Moving(state, jax.tree.map(jnp.zeros_like, state))

    def read(self, function, state, combine=None):
        return function(self.position(state))

    @property
    def implicit(self):
        return not self.second_order and isinstance(self.scheme, Implicit)

    @property
    def mixing(self):
        if self.second_order and not self.inner.mixing.refusal:
            return Forbidden("velocities of states may not be averaged apart")
        return self.inner.mixing

    def position(self, state) -> Any:
        """The inner fiber's state."""
        return state.position if self.second_order else state

    def step(self, state, condition, dt, key):
        if self.second_order:
            return self._inertial_step(state, condition, dt)
        return self.scheme.step(self.inner, self.friction, state, condition, dt)

    def _inertial_step(self, state: Moving, condition, dt) -> Moving:
        """Velocity Verlet with RATTLE constraints, friction applied exactly in two halves; order 2, symplectic for η = 0."""
        fiber = self.inner
        decay = jnp.exp(-0.5 * dt * self.friction / self.mass)

        def tangent(position, velocity):
            return tangent_velocity(fiber, position, velocity, condition)

        def kicked(position, velocity):
            return trees.axpy(0.5 * dt / self.mass, force(fiber, position, condition), velocity)

        position = onto_constraint(fiber, state.position, condition)
        velocity = jax.tree.map(lambda v: decay * v, tangent(position, state.velocity))
        drifted = trees.axpy(dt, kicked(position, velocity), position)
        moved = onto_constraint(fiber, drifted, condition, normal_at=position)
        velocity = jax.tree.map(lambda a, b: (a - b) / dt, moved, position)
        velocity = tangent(moved, kicked(moved, velocity))
        return Moving(moved, jax.tree.map(lambda v: decay * v, velocity))


class _EnergeticPart(Relaxation, AbstractEnergetic):
    """The energy of a relaxation: W, and the kinetic energy ½ m |u_t|² in the fiber's metric where there is mass."""

    def total_energy(self, state, condition):
        fiber = self.inner
        assert isinstance(fiber, AbstractEnergy)
        stored = fiber.energy(self.position(state), condition)
        if not self.second_order:
            return stored
        metric = lagrangian.metric_tree(fiber, state.position)
        squares = jax.tree.map(lambda m, v: jnp.sum(m * v**2), metric, state.velocity)
        return stored + 0.5 * self.mass * sum(jax.tree.leaves(squares), start=jnp.zeros(()))


_PARTS = {AbstractMonitored: MonitoredPart, AbstractEnsemble: EnsemblePart}  # the others are about rest states, see `at_rest`


def relax(
    fiber: AbstractFlow | AbstractEnergy,
    mass: float = 0.0,
    friction: float = 1.0,
    scheme: AbstractRelaxationScheme | None = None,
) -> Relaxation:
    """The relaxation dynamics (4.1) of an energy or flow fiber, constraints kept.

    Args:
        fiber: A flow or energy fiber.
        mass: m ≥ 0, in units of force·time²/state, force in the fiber's metric. 0 gives first order in time; otherwise the
            scheme is explicit, and its steps must resolve the fastest oscillation.
        friction: η ≥ 0, in units of force·time/state. Not zero where mass is.
        scheme: Of first-order relaxation; None for `Implicit()`, which is stable for any step.

    Returns:
        A fiber with dynamics. Its state is that of `fiber`, or `Moving(position, velocity)` where there is mass.

    Raises:
        Mismatch: A fiber that is neither a flow nor an energy.
        BadInput: A negative mass or friction, or both zero; a scheme beside a mass, which has its own.
    """
    if not isinstance(fiber, AbstractFiber):
        raise Mismatch(f"relax needs a flow or an energy fiber; a {type(fiber).__name__} is no fiber.")
    if not isinstance(fiber, AbstractFlow | AbstractEnergy):
        own = "has dynamics of its own. Use it with Seamless as it is"
        past = "has a history, whose steps are solved. Use it with Quasistatic as it is"
        kind = past if isinstance(fiber, AbstractMemory) else own
        raise Mismatch(f"relax needs a flow or an energy fiber; {type(fiber).__name__} {kind}.")
    zero_mass, zero_friction = _known_zero("mass", mass), _known_zero("friction", friction)
    if zero_mass and zero_friction:
        raise BadInput("relax: mass and friction are both zero, which is no dynamics. Use Quasistatic, or give one of them.")
    if scheme is not None and not zero_mass:
        raise BadInput(f"relax: {type(scheme).__name__} without effect: with a mass the scheme is explicit. Leave it out.")
    base = _EnergeticPart if isinstance(fiber, AbstractEnergy) else Relaxation
    made = composed(base, fiber, _PARTS)
    return made(fiber, jnp.asarray(mass), jnp.asarray(friction), scheme or Implicit(), not zero_mass)


def _known_zero(name: str, value) -> bool:
    if trees.is_tracer(value):
        return False
    if not float(value) >= 0.0:
        raise BadInput(f"relax: {name} must be a number >= 0; it is {value}.")
    return float(value) == 0.0


def dynamic(fiber: Any) -> AbstractDynamic:
    """The fiber itself where it has dynamics, else its first-order relaxation with friction 1."""
    return fiber if isinstance(fiber, AbstractDynamic) else relax(fiber)


def at_rest(fiber: AbstractFiber) -> AbstractFiber:
    """The flow or energy fiber inside a relaxation, with the maps around it kept; else the fiber itself."""
    if isinstance(fiber, Relaxation):
        return fiber.inner
    if isinstance(fiber, AbstractMapped) and fiber.states is None:
        rest = at_rest(fiber.inner)
        if rest is not fiber.inner:
            # Rest states do not depend on time; its unit is still that of the metric and of rates.
            return Mapped(rest, fiber.condition_map, fiber.response_map, fiber.time, energy=fiber.energy_factor)
    return fiber

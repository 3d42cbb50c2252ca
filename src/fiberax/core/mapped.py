"""Fibers with maps of condition, response, time and states, one class for each kind; `Mapped` composes them (`wrapper`)."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from fiberax.core.fiber import AbstractDynamic, AbstractEnergy, AbstractFiber, AbstractFlow, AbstractStochastic
from fiberax.core.link import AbstractWrapper
from fiberax.core.sites import together
from fiberax.core.solvers import manifold_of, solver_of
from fiberax.core.strategies import AbstractManifold, AbstractMixing, AbstractSolver


class Copies(eqx.Module):
    """Option of `Mapped`: independent copies of the inner fiber. States have a leading axis (count,), responses are averaged.

    Args:
        count: Number of copies, at least 1.
    """

    count: int = eqx.field(static=True)


class AtRest(eqx.Module):
    """Option of `Mapped`: states begin at rest, with the inner `init` solved.

    Args:
        tolerance: Relative tolerance of the solve.
    """

    tolerance: float = eqx.field(static=True, default=1e-10)


class AbstractMapped(AbstractWrapper):
    """What all mapped fibers share; made by `Mapped`."""

    inner: AbstractFiber
    condition_map: Callable | None
    response_map: Callable | None
    time: jax.Array | None
    states: Copies | AtRest | None
    energy_factor: jax.Array | None = None

    def inside(self, condition):
        return condition if self.condition_map is None else self.condition_map(condition)

    def outside(self, response):
        return response if self.response_map is None else self.response_map(response)

    def outside_energy(self, energy):
        return energy if self.energy_factor is None else self.energy_factor * energy

    def read(self, function, state, combine=None):
        if not isinstance(self.states, Copies):
            return function(state)
        combine = (lambda x: jnp.mean(x, axis=0)) if combine is None else combine
        return jax.tree.map(combine, jax.vmap(function)(state))

    def init(self, condition, key):
        held = self.inside(condition)
        if isinstance(self.states, Copies):
            return jax.vmap(lambda k: self.inner.init(held, k))(jax.random.split(key, self.states.count))
        begun = self.inner.init(held, key)
        if self.states is None:
            return begun
        assert isinstance(self.inner, AbstractFlow | AbstractEnergy)
        return solver_of(self.inner).solve(self.inner, begun, held, self.states.tolerance)[0]

    @property
    def mixing(self):
        return CopiedMixing(self.inner.mixing) if isinstance(self.states, Copies) else self.inner.mixing

    def inner_time(self, span: Any) -> Any:
        """Inner time that passes in `span` of the wrapper's time."""
        return span if self.time is None else self.time * span

    def outer_time(self, span: Any) -> Any:
        """The wrapper's time that passes in `span` of the inner fiber's."""
        return span if self.time is None or span is None else span / self.time


class CopiedMixing(AbstractMixing):
    """The mixing of copies, each with its own."""

    inner: AbstractMixing

    @property
    def refusal(self):
        return self.inner.refusal

    @property
    def memory(self):
        return self.inner.memory

    def align(self, state, reference):
        return jax.vmap(self.inner.align)(state, reference)

    def limit(self, state, safe):
        return jax.vmap(self.inner.limit)(state, safe)


class _MappedSolver(AbstractSolver):
    """The inner fiber's solver, at the inner condition and in inner time."""

    inner: AbstractSolver

    def check(self, fiber: AbstractMapped):
        self.inner.check(fiber.inner)

    def approximate_inverse(self, fiber: AbstractMapped, residual, condition, shift):
        found = self.inner.approximate_inverse(fiber.inner, residual, fiber.inside(condition), fiber.outer_time(shift))
        return jax.tree.map(fiber.outer_time, found)

    def solve(self, fiber: AbstractMapped, state, condition, tolerance):
        return self.inner.solve(fiber.inner, state, fiber.inside(condition), tolerance)

    def step(self, fiber: AbstractMapped, state, condition):
        return self.inner.step(fiber.inner, state, fiber.inside(condition))

    def stage(self, fiber: AbstractMapped, state, condition, base, shift, tolerance):
        # A rate per unit of outer time is `time` times the inner one, and shift counts per unit of outer time.
        held, rate = fiber.inside(condition), fiber.outer_time(shift)
        found, out = self.inner.stage(fiber.inner, state, held, base, rate, tolerance)
        # The unknowns of an energy have multipliers, which are energies per unit of the constraints.
        return ((found[0], fiber.outside_energy(found[1])) if isinstance(fiber, AbstractEnergy) else found), out


def _mapped_solver(inner: AbstractSolver) -> _MappedSolver:
    return _MappedSolver(inner, symmetric=inner.symmetric, dense_limit=inner.dense_limit)


class _MappedManifold(AbstractManifold):
    inner: AbstractManifold

    def retract(self, fiber: AbstractMapped, state, condition, normal_at=None):
        return self.inner.retract(fiber.inner, state, fiber.inside(condition), normal_at)

    def project(self, fiber: AbstractMapped, state, velocity, condition):
        return self.inner.project(fiber.inner, state, velocity, fiber.inside(condition))


class MappedFlow(AbstractMapped, AbstractFlow):
    """A flow seen through maps."""

    inner: AbstractFlow

    def rate(self, state, condition):
        return jax.tree.map(self.inner_time, self.inner.rate(state, self.inside(condition)))

    @property
    def solver(self):
        return _mapped_solver(solver_of(self.inner))


class MappedEnergy(AbstractMapped, AbstractEnergy):
    """An energy seen through maps."""

    inner: AbstractEnergy

    def energy(self, state, condition):
        return self.outside_energy(self.inner.energy(state, self.inside(condition)))

    def constraint(self, state, condition):
        return self.inner.constraint(state, self.inside(condition))

    def metric(self, state):
        # Energies and metric have the same factor, so that rates do not depend on it.
        return jax.tree.map(lambda m: self.outside_energy(self.outer_time(m)), self.inner.metric(state))

    @property
    def solver(self):
        return _mapped_solver(solver_of(self.inner))

    @property
    def manifold(self):
        return _MappedManifold(manifold_of(self.inner))


class MappedDynamic(AbstractMapped, AbstractDynamic):
    """Dynamics seen through maps, of one fiber or of copies."""

    inner: AbstractDynamic

    @property
    def implicit(self):
        return self.inner.implicit

    @property
    def workspace(self):
        return self.inner.workspace * (self.states.count if isinstance(self.states, Copies) else 1)

    def step(self, state, condition, dt, key):
        held, span = self.inside(condition), self.inner_time(dt)
        if not isinstance(self.states, Copies):
            return self.inner.step(state, held, span, key)
        keys = jax.random.split(key, self.states.count)
        return together(lambda s, k: self.inner.step(s, held, span, k), self.inner.workspace, state, keys)

    def timestep(self, condition):
        return self.outer_time(self.inner.timestep(self.inside(condition)))

    def verdict(self, state):
        return self.read(self.inner.verdict, state, lambda codes: jnp.max(codes, axis=0))

    def remark(self, conditions):
        return self.inner.remark(jax.vmap(self.inside)(conditions))

    def relaxation_time(self, condition):
        return self.outer_time(self.inner.relaxation_time(self.inside(condition)))


class MappedStochastic(MappedDynamic, AbstractStochastic):
    """Random dynamics seen through maps."""

    inner: AbstractStochastic

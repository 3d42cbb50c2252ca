"""The wrapper of fibers: `Mapped` forwards kinds, capabilities and strategies of a fiber from one table.

The types of a fiber say what it is and what it can do. The type of the wrapper is composed from them: one class for each
kind, one part for each capability. A capability that is not in the table is refused: a wrapper that dropped it would give
other numbers without a message.

More than 400 lines, so that everything that wrappers forward is in one table.
"""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from fiberax.core import capabilities as can
from fiberax.core.errors import BadInput, Mismatch
from fiberax.core.fiber import (
    AbstractDynamic,
    AbstractEnergy,
    AbstractFiber,
    AbstractFlow,
    AbstractMemory,
    AbstractStochastic,
)
from fiberax.core.link import AbstractWrapper, apply_link
from fiberax.core.solvers import manifold_of, solver_of
from fiberax.core.strategies import AbstractManifold, AbstractMixing, AbstractSolver
from fiberax.numerics.linear import jacobian
from fiberax.numerics.trees import contract


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

    def inside(self, condition):
        return condition if self.condition_map is None else self.condition_map(condition)

    def outside(self, response):
        return response if self.response_map is None else self.response_map(response)

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
        return _CopiedMixing(self.inner.mixing) if isinstance(self.states, Copies) else self.inner.mixing

    def inner_time(self, span: Any) -> Any:
        """Inner time that passes in `span` of the wrapper's time."""
        return span if self.time is None else self.time * span

    def outer_time(self, span: Any) -> Any:
        """The wrapper's time that passes in `span` of the inner fiber's."""
        return span if self.time is None or span is None else span / self.time


class _CopiedMixing(AbstractMixing):
    inner: AbstractMixing

    @property
    def refusal(self):
        return self.inner.refusal

    def align(self, state, reference):
        return jax.vmap(self.inner.align)(state, reference)

    def limit(self, state, safe):
        return jax.vmap(self.inner.limit)(state, safe)


class _MappedSolver(AbstractSolver):
    """The inner fiber's solver, at the inner condition and in inner time."""

    inner: AbstractSolver

    def approximate_inverse(self, fiber: AbstractMapped, residual, condition, shift):
        found = self.inner.approximate_inverse(fiber.inner, residual, fiber.inside(condition), fiber.outer_time(shift))
        return jax.tree.map(fiber.outer_time, found)

    def solve(self, fiber: AbstractMapped, state, condition, tolerance):
        return self.inner.solve(fiber.inner, state, fiber.inside(condition), tolerance)

    def step(self, fiber: AbstractMapped, state, condition):
        return self.inner.step(fiber.inner, state, fiber.inside(condition))

    def stage(self, fiber: AbstractMapped, state, condition, base, shift, tolerance):
        # A rate per unit of outer time is `time` times the inner one, and shift counts per unit of outer time.
        return self.inner.stage(fiber.inner, state, fiber.inside(condition), base, fiber.outer_time(shift), tolerance)


def _mapped_solver(inner: AbstractSolver) -> _MappedSolver:
    return _MappedSolver(inner, symmetric=inner.symmetric, dense_limit=inner.dense_limit)


class _MappedManifold(AbstractManifold):
    inner: AbstractManifold

    def retract(self, fiber: AbstractMapped, state, condition, normal_at=None):
        return self.inner.retract(fiber.inner, state, fiber.inside(condition), normal_at)

    def project(self, fiber: AbstractMapped, state, velocity, condition):
        return self.inner.project(fiber.inner, state, velocity, fiber.inside(condition))


class _MappedFlow(AbstractMapped, AbstractFlow):
    inner: AbstractFlow

    def rate(self, state, condition):
        return jax.tree.map(self.inner_time, self.inner.rate(state, self.inside(condition)))

    @property
    def solver(self):
        return _mapped_solver(solver_of(self.inner))


class _MappedEnergy(AbstractMapped, AbstractEnergy):
    inner: AbstractEnergy

    def energy(self, state, condition):
        return self.inner.energy(state, self.inside(condition))

    def constraint(self, state, condition):
        return self.inner.constraint(state, self.inside(condition))

    def metric(self, state):
        return jax.tree.map(self.outer_time, self.inner.metric(state))

    @property
    def solver(self):
        return _mapped_solver(solver_of(self.inner))

    @property
    def manifold(self):
        return _MappedManifold(manifold_of(self.inner))


class _MappedMemory(AbstractMapped, AbstractMemory):
    inner: AbstractMemory

    def begin(self, condition):
        return self.inner.begin(self.inside(condition))

    def increment(self, history, dt):
        found = self.inner.increment(history, self.inner_time(dt))
        return Mapped(found, self.condition_map, self.response_map)

    def accept(self, history, state, condition, dt):
        return self.inner.accept(history, state, self.inside(condition), self.inner_time(dt))

    def dissipated(self, history):
        return self.inner.dissipated(history)


class _MappedDynamic(AbstractMapped, AbstractDynamic):
    inner: AbstractDynamic

    @property
    def implicit(self):
        return self.inner.implicit

    def step(self, state, condition, dt, key):
        held, span = self.inside(condition), self.inner_time(dt)
        if not isinstance(self.states, Copies):
            return self.inner.step(state, held, span, key)
        keys = jax.random.split(key, self.states.count)
        return jax.vmap(lambda s, k: self.inner.step(s, held, span, k))(state, keys)

    def timestep(self, condition):
        return self.outer_time(self.inner.timestep(self.inside(condition)))

    def verdict(self, state):
        return self.read(self.inner.verdict, state, lambda codes: jnp.max(codes, axis=0))

    def relaxation_time(self, condition):
        return self.outer_time(self.inner.relaxation_time(self.inside(condition)))


class _MappedStochastic(_MappedDynamic, AbstractStochastic):
    inner: AbstractStochastic


class MonitoredPart(AbstractWrapper, can.AbstractMonitored):
    """Forwards `AbstractMonitored`; of several copies the least margin counts."""

    def stability_margin(self, state, condition):
        fiber, held = self.inner, self.inside(condition)
        assert isinstance(fiber, can.AbstractMonitored)
        return self.read(lambda s: fiber.stability_margin(s, held), state, lambda x: jnp.min(x, axis=0))

    def explain(self, state, condition):
        fiber, held = self.inner, self.inside(condition)
        assert isinstance(fiber, can.AbstractMonitored)
        margins = self.read(lambda s: fiber.stability_margin(s, held), state, jnp.atleast_1d)
        worst = int(jnp.argmin(margins))
        return fiber.explain(self.read(lambda s: s, state, lambda x: x[worst]), held)


class EnsemblePart(AbstractWrapper, can.AbstractEnsemble):
    """Forwards `AbstractEnsemble` of one copy."""

    def standard_error(self, state, condition):
        fiber, held = self.inner, self.inside(condition)
        assert isinstance(fiber, can.AbstractEnsemble)
        error = self.read(lambda s: fiber.standard_error(s, held), state)
        return None if error is None else jax.tree.map(jnp.abs, self.outside(error))


class _SpreadPart(AbstractMapped, can.AbstractEnsemble):
    """The standard error of several copies, from their spread."""

    def standard_error(self, state, condition):
        assert isinstance(self.states, Copies)
        if self.states.count == 1:
            return can.standard_error_of(self.inner, jax.tree.map(lambda x: x[0], state), self.inside(condition))
        held, root = self.inside(condition), self.states.count**0.5
        value = lambda s: self.outside(apply_link(None, self.inner, s, held))
        return self.read(value, state, lambda x: jnp.std(x, axis=0, ddof=1) / root)


class EnergeticPart(AbstractWrapper, can.AbstractEnergetic):
    """Forwards `AbstractEnergetic`."""

    def total_energy(self, state, condition):
        fiber, held = self.inner, self.inside(condition)
        assert isinstance(fiber, can.AbstractEnergetic)
        return self.read(lambda s: fiber.total_energy(s, held), state)


class _AssembledPart(AbstractMapped, can.AbstractAssembled):
    inner: can.AbstractAssembled

    @property
    def highest_order(self):
        return self.inner.highest_order

    def assemble(self, state, condition, order):
        energy, response, *tangent = self.inner.assemble(state, self.inside(condition), order)
        found = (energy, self.outside(response))
        return (*found, _tangent(self, tangent[0], response, condition)) if tangent else found


class _TangentPart(AbstractMapped, can.AbstractTangent):
    inner: can.AbstractTangent

    def tangent(self, state, condition):
        held = self.inside(condition)
        like = jax.eval_shape(lambda s: apply_link(None, self.inner, s, held), state)
        return _tangent(self, self.inner.tangent(state, held), like, condition)


class _StationaryPart(AbstractMapped, can.AbstractStationary):
    inner: can.AbstractStationary

    def stationary_link(self, state, condition):
        return self.outside(self.inner.stationary_link(state, self.inside(condition)))


class _PropagatedPart(AbstractMapped, can.AbstractPropagated):
    inner: can.AbstractPropagated

    def propagate(self, state, condition, time):
        return self.inner.propagate(state, self.inside(condition), self.inner_time(time))


def _tangent(fiber: AbstractMapped, found, response, condition):
    """The inner tangent `found` as a derivative of the outer response by the outer condition."""
    if fiber.condition_map is None and fiber.response_map is None:
        return found

    def along(direction):
        moved = jax.jvp(fiber.inside, (condition,), (direction,))[1]
        return fiber.outside(contract(found, moved, response))

    return jacobian(along, jax.tree.map(jnp.zeros_like, condition))


# The most specific kinds first: the first line that fits decides.
_KINDS = (
    (AbstractMemory, _MappedMemory),
    (AbstractFlow, _MappedFlow),
    (AbstractEnergy, _MappedEnergy),
    (AbstractStochastic, _MappedStochastic),
    (AbstractDynamic, _MappedDynamic),
)
_PARTS = {
    can.AbstractMonitored: MonitoredPart,
    can.AbstractEnsemble: EnsemblePart,
    can.AbstractEnergetic: EnergeticPart,
    can.AbstractAssembled: _AssembledPart,
    can.AbstractTangent: _TangentPart,
    can.AbstractStationary: _StationaryPart,
    can.AbstractPropagated: _PropagatedPart,
}


def capabilities_of(fiber: AbstractFiber) -> list[type]:
    """The capabilities among the types of a fiber: the direct descendants of `AbstractCapability`."""
    return [
        kind
        for kind in type(fiber).__mro__
        if can.AbstractCapability in kind.__bases__ and not issubclass(kind, AbstractWrapper)
    ]


def composed(base: type, fiber: AbstractFiber, parts: dict[type, type]) -> type:
    """`base` with the part of each capability of `fiber` that `parts` holds. Raises `Mismatch` for an unknown capability."""
    wanted = capabilities_of(fiber)
    for kind in wanted:
        if kind not in _PARTS:
            raise Mismatch(
                f"{type(fiber).__name__} cannot be wrapped: fiberax.core.wrapper does not list its capability {kind.__name__}."
            )
    return _class(base, tuple(parts[kind] for kind in wanted if kind in parts))


@functools.cache
def _class(base: type, parts: tuple[type, ...]) -> type:
    if not parts:
        return base
    space = {"__module__": base.__module__, "__doc__": base.__doc__, "__qualname__": base.__qualname__}
    return type(base)(base.__name__, (*parts, base), space)


def Mapped(
    inner: AbstractFiber,
    condition: Callable | None = None,
    response: Callable | None = None,
    time: Any = None,
    state: Copies | AtRest | None = None,
) -> AbstractMapped:
    """A fiber with mapped condition, response, time or states, of the same kind and with the same capabilities.

    Args:
        inner: Any fiber, wrapped ones too.
        condition: Function that gives the inner condition of an outer one; None for the same.
        response: Function that gives the outer response of an inner one, linear; None for the same.
        time: Inner time per unit of outer time, positive; None for the same.
        state: `Copies(n)` for n independent copies of a fiber with dynamics, whose links are averaged; `AtRest(tolerance)` for
            states of a flow or an energy that begin at rest; None for the inner fiber's own.

    Returns:
        The wrapped fiber. Its energies are those of `inner`, its times and rates count in outer time.

    Raises:
        Mismatch: A kind or capability that this module does not list, or a `state` that does not fit the kind.
        BadInput: A number of copies below 1.
    """
    base = next((mapped for kind, mapped in _KINDS if isinstance(inner, kind)), None)
    if base is None:
        raise Mismatch(f"Mapped: {type(inner).__name__} is neither a flow, an energy, a memory nor a dynamic fiber.")
    parts = dict(_PARTS)
    if isinstance(state, AtRest) and not isinstance(inner, AbstractFlow | AbstractEnergy):
        raise Mismatch(f"Mapped: only flows and energies can begin at rest; {type(inner).__name__} is neither.")
    if isinstance(state, Copies):
        if not isinstance(inner, AbstractDynamic):
            raise Mismatch(f"Mapped: copies are for fibers with dynamics; {type(inner).__name__} has none.")
        if not isinstance(state.count, int) or state.count < 1:
            raise BadInput(f"Mapped: the number of copies must be a whole number, at least 1; it is {state.count!r}.")
        parts.pop(can.AbstractEnsemble)
    found = composed(base, inner, parts)
    found = _class(found, (_SpreadPart,)) if isinstance(state, Copies) else found
    return found(inner, condition, response, None if time is None else jnp.asarray(time), state)


def replicas(fiber: AbstractDynamic, count: int) -> AbstractMapped:
    """Independent copies of a fiber with dynamics at each site; the response is their mean, with its standard error.

    Args:
        fiber: A fiber with dynamics.
        count: Number of copies, at least 1. States have a leading axis (count,).

    Raises:
        Mismatch: A fiber without dynamics.
        BadInput: A number of copies below 1.
    """
    return Mapped(fiber, state=Copies(count))

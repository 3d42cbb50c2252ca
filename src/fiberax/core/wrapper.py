"""The wrapper of fibers: `Mapped` forwards kinds, capabilities and strategies of a fiber from one table.

The types of a fiber say what it is and what it can do. The type of the wrapper is composed from them: one class for each
kind, one part for each capability. A capability that is not in the table is refused: a wrapper that dropped it would give
other numbers without a message.
"""

import functools
from collections.abc import Callable
from typing import Any

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
from fiberax.core.mapped import AbstractMapped, AtRest, Copies, MappedDynamic, MappedEnergy, MappedFlow, MappedStochastic
from fiberax.numerics.linear import jacobian
from fiberax.numerics.trees import contract, is_tracer


class _MappedMemory(AbstractMapped, AbstractMemory):
    inner: AbstractMemory

    def begin(self, condition):
        return self.inner.begin(self.inside(condition))

    def increment(self, history, dt):
        found = self.inner.increment(history, self.inner_time(dt))
        return Mapped(found, self.condition_map, self.response_map, energy=self.energy_factor)

    def accept(self, history, state, condition, dt):
        return self.inner.accept(history, state, self.inside(condition), self.inner_time(dt))

    def dissipated(self, history):
        return self.outside_energy(self.inner.dissipated(history))


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
        return self.outside_energy(self.read(lambda s: fiber.total_energy(s, held), state))


class _AssembledPart(AbstractMapped, can.AbstractAssembled):
    inner: can.AbstractAssembled

    @property
    def highest_order(self):
        return self.inner.highest_order

    @property
    def tangent_is_cheap(self):
        return self.inner.tangent_is_cheap

    def assemble(self, state, condition, order):
        energy, response, *tangent = self.inner.assemble(state, self.inside(condition), order)
        found = (self.outside_energy(energy), self.outside(response))
        return (*found, _tangent(self, tangent[0], response, condition)) if tangent else found

    def assemble_all(self, state, condition):
        held, back = jax.vjp(self.inside, condition)
        energy, response, tangent, slope = self.inner.assemble_all(state, held)
        found = _tangent(self, tangent, response, condition)
        return self.outside_energy(energy), self.outside(response), found, self.outside_energy(back(slope)[0])


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


class _ObjectivePart(AbstractMapped, can.AbstractObjective):
    """Forwards `AbstractObjective` where condition and response are those of the inner fiber."""


class _SummarisedPart(AbstractMapped, can.AbstractSummarised):
    inner: can.AbstractSummarised

    @property
    def rate_independent(self):
        return self.inner.rate_independent

    def summary(self, history):
        return self.inner.summary(history)

    def recover(self, summary):
        return self.inner.recover(summary)


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
    (AbstractFlow, MappedFlow),
    (AbstractEnergy, MappedEnergy),
    (AbstractStochastic, MappedStochastic),
    (AbstractDynamic, MappedDynamic),
)
_PARTS = {
    can.AbstractMonitored: MonitoredPart,
    can.AbstractEnsemble: EnsemblePart,
    can.AbstractEnergetic: EnergeticPart,
    can.AbstractAssembled: _AssembledPart,
    can.AbstractTangent: _TangentPart,
    can.AbstractStationary: _StationaryPart,
    can.AbstractPropagated: _PropagatedPart,
    can.AbstractObjective: _ObjectivePart,
    can.AbstractSummarised: _SummarisedPart,
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
    energy: Any = None,
) -> AbstractMapped:
    """A fiber with mapped condition, response, time or states, of the same kind and with the same capabilities.

    Args:
        inner: Any fiber, wrapped ones too.
        condition: Function that gives the inner condition of an outer one; None for the same. The response of an energy stays
            the derivative by the inner condition unless `response` and `energy` are mapped with it, as `fx.rescale` does.
        response: Function that gives the outer response of an inner one, linear; None for the same. It leaves energies as
            they are.
        time: Inner time per unit of outer time, positive; None for the same.
        state: `Copies(n)` for n independent copies of a fiber with dynamics, whose links are averaged; `AtRest(tolerance)` for
            states of a flow or an energy that begin at rest; None for the inner fiber's own.
        energy: Outer energy per unit of inner energy, positive; None for the same. Only for fibers with an energy.

    Returns:
        The wrapped fiber. Its times and rates count in outer time.

    Raises:
        Mismatch: A kind or capability that this module does not list, or a `state` that does not fit the kind.
        BadInput: A number of copies below 1, a time or an energy that is not positive, an energy of a fiber without one.
    """
    for name, value in (("condition", condition), ("response", response)):
        if value is not None and not callable(value):
            raise BadInput(
                f"Mapped: {name} must be a function; it is {value!r}. For a factor use fx.rescale(fiber, {name}=...)."
            )
    if not isinstance(state, Copies | AtRest | None):
        raise BadInput(f"Mapped: state must be fx.Copies(n), fx.AtRest() or None; it is {state!r}.")
    if isinstance(time, str) or callable(time):
        raise BadInput(f"Mapped: time must be a number, inner time per unit of outer time; it is {time!r}.")
    for name, value in (("time", time), ("energy", energy)):
        if value is not None and not is_tracer(value) and not 0.0 < float(value) < float("inf"):
            raise BadInput(f"Mapped: {name} must be a positive number; it is {value}.")
    if energy is not None and not has_energy(inner):
        raise BadInput(f"Mapped: energy without effect: {type(inner).__name__} has no energy. Leave it out.")
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
    if condition is not None or response is not None:
        parts.pop(can.AbstractObjective)  # a mapped response need not turn with the material
    found = composed(base, inner, parts)
    found = _class(found, (_SpreadPart,)) if isinstance(state, Copies) else found
    numbers = (None if x is None else jnp.asarray(x) for x in (time, energy))
    return found(inner, condition, response, next(numbers), state, next(numbers))


def has_energy(fiber: AbstractFiber) -> bool:
    """Whether a fiber says what energy it has."""
    return isinstance(fiber, AbstractEnergy | can.AbstractEnergetic | AbstractMemory)


def replicas(fiber: AbstractDynamic, count: int) -> AbstractMapped:
    """Independent copies of a fiber with dynamics at each site; the response is their mean, with its standard error.

    Args:
        fiber: A fiber with dynamics.
        count: Number of copies, at least 1. States have a leading axis (count,).

    Returns:
        The wrapped fiber, with conditions and responses like those of `fiber`.

    Raises:
        Mismatch: A fiber without dynamics.
        BadInput: A number of copies below 1.
    """
    return Mapped(fiber, state=Copies(count))

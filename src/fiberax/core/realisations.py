"""Independent realisations of a coupled system with noise, advanced together: standard errors of everything that it computes.

The error of an ensemble at a site says how sure its own stress is. A velocity, a kinetic energy or the place of a vortex
depends on the ensembles of all sites and times, through the macro model. So the members are divided among realisations, each
with a macrostate of its own; means over these have the standard error s/√count, s being their standard deviation.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from fiberax.core.bundle import Bundle
from fiberax.core.capabilities import AbstractEnsemble, standard_error_of
from fiberax.core.errors import BadInput, Mismatch
from fiberax.core.fiber import AbstractStochastic
from fiberax.core.link import apply_link
from fiberax.core.macro import AbstractInertial, AbstractInertialess, AbstractMacro, AbstractSemiImplicit, Layout
from fiberax.core.mapped import CopiedMixing
from fiberax.core.recorder import Record
from fiberax.core.sites import together
from fiberax.core.transport import AbstractTransport

_AXIS = "realisation"


def realisations(bundle: Bundle, count: int) -> Bundle:
    """A bundle that runs `count` realisations of `bundle` at once, each with its own macrostate and its own noise.

    Sites are those of `bundle`; conditions, states and responses of a site have a leading axis (count,), and so has every leaf
    of the macrostate: begin with `jax.tree.map(lambda x: jnp.broadcast_to(x, (count, *jnp.shape(x))), macro0)`. Means over
    that axis have the standard error of their spread over √count. Fibers with an ensemble of `members` need only members/count
    of them for the same error of the mean, but for what is not linear in the noise, whose bias grows with 1/members.

    Args:
        bundle: A bundle with a stochastic fiber; its macro model has no second time derivative.
        count: Number of realisations, at least 2.

    Returns:
        The bundle.

    Raises:
        BadInput: A count below 2.
        Mismatch: A fiber without noise, whose realisations would all be the same, or an inertial macro model.
    """
    if not isinstance(count, int) or count < 2:
        raise BadInput(f"realisations: count must be a whole number, at least 2; it is {count!r}.")
    macro, fiber = bundle.macro, bundle.fiber
    if not isinstance(fiber, AbstractStochastic):
        raise Mismatch(f"realisations: {type(fiber).__name__} is no AbstractStochastic; without noise all would be the same.")
    if isinstance(macro, AbstractInertial):
        raise Mismatch(f"realisations: {type(macro).__name__} is of second order in time, for which they are not made.")
    beside = _EnsembleBeside if isinstance(fiber, AbstractEnsemble) else _Beside
    carried = None if bundle.transport is None else _Carried(bundle.transport, macro, fiber)
    return Bundle(_realised(macro, count), beside(fiber, bundle.link, count), transport=carried, noise=bundle.noise)


def _realised(macro: AbstractMacro, count: int) -> "_AbstractRealised":
    if isinstance(macro, AbstractSemiImplicit):
        return _SemiImplicit(macro, count)
    return _Massless(macro, count) if isinstance(macro, AbstractInertialess) else _Explicit(macro, count)


def _sites_first(tree: Any) -> Any:
    """Realisations and sites change places."""
    return jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), tree)


def mean_record(record: Record) -> Record:
    """A record of a run of `realisations`, averaged over them, with their spread over √count as error of the responses."""
    count = jax.tree.leaves(record.macro)[0].shape[0]
    return record._replace(
        macro=jax.tree.map(lambda x: np.mean(x, axis=0), record.macro),
        response=jax.tree.map(lambda x: np.mean(x, axis=1), record.response),
        stderr=jax.tree.map(lambda x: np.std(x, axis=1, ddof=1) / count**0.5, record.response),
    )


def single_records(record: Record) -> list[Record]:
    """The record of every realisation in a record of a run of `realisations`."""
    count = jax.tree.leaves(record.macro)[0].shape[0]
    of_site = lambda tree, k: jax.tree.map(lambda x: x[:, k], tree)
    return [
        record._replace(
            macro=jax.tree.map(lambda x, k=k: x[k], record.macro),
            response=of_site(record.response, k),
            stderr=of_site(record.stderr, k),
            state=of_site(record.state, k),
        )
        for k in range(count)
    ]


class _AbstractRealised(AbstractMacro):
    """What the macro models of all kinds share."""

    inner: AbstractMacro
    count: int = eqx.field(static=True)

    def conditions(self, macro):
        return _sites_first(jax.vmap(self.inner.conditions)(macro))

    def rate(self, t, macro, response):
        return jax.vmap(self.inner.rate, (None, 0, 0))(t, macro, _sites_first(response))

    def prescribed(self, t, macro):
        return jax.vmap(self.inner.prescribed, (None, 0))(t, macro)

    def precondition(self, residual, macro, response, shift):
        return jax.vmap(self.inner.precondition, (0, 0, 0, None))(residual, macro, _sites_first(response), shift)

    def admissible(self, macro):
        return jnp.all(jax.vmap(self.inner.admissible)(macro))

    def magnitude(self):
        return self.inner.magnitude() * self.count**0.5

    def positions(self):
        return self.inner.positions()

    def layout(self):
        """That of one realisation, behind an axis of all."""
        layout = self.inner.layout()
        return None if layout is None else Layout((_AXIS, *layout.dims), {_AXIS: np.arange(self.count), **layout.coords})

    def example(self):
        stacked = lambda x: jax.ShapeDtypeStruct((self.count, *x.shape), x.dtype)
        example = self.inner.example()
        return None if example is None else jax.tree.map(stacked, example)


class _Explicit(_AbstractRealised):
    """Realisations of a model in one part."""


class _SemiImplicit(_AbstractRealised, AbstractSemiImplicit):
    """Realisations of a model in two parts."""

    inner: AbstractSemiImplicit

    def explicit(self, t, macro, response):
        return jax.vmap(self.inner.explicit, (None, 0, 0))(t, macro, _sites_first(response))

    def solve(self, t, known, shift, guess):
        return jax.vmap(self.inner.solve, (None, 0, None, 0))(t, known, shift, guess)


class _Massless(_AbstractRealised, AbstractInertialess):
    """Realisations of a model without inertia."""

    inner: AbstractInertialess

    def balance(self, t, macro, response):
        return jax.vmap(self.inner.balance, (None, 0, 0))(t, macro, _sites_first(response))


class _AbstractBeside(AbstractStochastic):
    """The fibers of all realisations at one site."""

    inner: AbstractStochastic
    by: Any  # the link of the bundle
    count: int = eqx.field(static=True)

    def init(self, condition, key):
        return jax.vmap(self.inner.init)(condition, jax.random.split(key, self.count))

    def step(self, state, condition, dt, key):
        one, keys = lambda s, c, k: self.inner.step(s, c, dt, k), jax.random.split(key, self.count)
        return together(one, self.inner.workspace, state, condition, keys)

    @property
    def workspace(self):
        return self.count * self.inner.workspace

    def remark(self, conditions):
        return self.inner.remark(jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), conditions))

    def link(self, state, condition):
        return jax.vmap(lambda s, c: apply_link(self.by, self.inner, s, c))(state, condition)

    @property
    def mixing(self):
        return CopiedMixing(self.inner.mixing)

    @property
    def implicit(self):
        return self.inner.implicit

    def timestep(self, condition):
        return self._extreme(self.inner.timestep, condition, jnp.min)

    def relaxation_time(self, condition):
        return self._extreme(self.inner.relaxation_time, condition, jnp.max)

    def _extreme(self, of: Any, condition: Any, which: Any) -> Any:
        found = jax.vmap(of)(condition)
        return None if found is None else which(found)

    def verdict(self, state):
        return jnp.max(jax.vmap(self.inner.verdict)(state))

    def remedy(self, result):
        return self.inner.remedy(result)


class _Beside(_AbstractBeside):
    """Fibers without errors of their own."""


class _EnsembleBeside(_AbstractBeside, AbstractEnsemble):
    """Fibers with ensembles: the error of each realisation's own response."""

    def standard_error(self, state, condition):
        return jax.vmap(lambda s, c: standard_error_of(self.inner, s, c))(state, condition)


class _Carried(AbstractTransport):
    """Each realisation carries its own states."""

    inner: AbstractTransport
    macro: AbstractMacro
    fiber: AbstractStochastic

    def apply(self, model, fiber, state, macro, t, dt):
        move = lambda state, macro: self.inner.apply(self.macro, self.fiber, state, macro, t, dt)
        return jax.vmap(move, (1, 0), 1)(state, macro)

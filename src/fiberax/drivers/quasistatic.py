"""The fiber in equilibrium at every evaluation of the macro model: 𝓛(u; U) = 0 (2.6), (3.6), (3.15), (3.21).

Fibers that have only dynamics, random ones above all, are sampled instead: the response is the mean of the link over their
long-time behaviour under the held condition (section 5 of the paper), with its standard error.
"""

import dataclasses
import numbers
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from fiberax.core.capabilities import AbstractStationary, tangent_of
from fiberax.core.driver import AbstractDriver, check_finite
from fiberax.core.equilibrium import following, relaxed
from fiberax.core.errors import BadInput, Mismatch
from fiberax.core.fiber import AbstractDynamic, AbstractEnergy, AbstractFlow
from fiberax.core.link import apply_link
from fiberax.core.platform import need_double
from fiberax.core.relax import at_rest
from fiberax.core.solvers import check_solver, solver_of
from fiberax.core.strategies import AbstractSolver
from fiberax.drivers.sampling import BLOCKS, follow, judged
from fiberax.numerics import trees
from fiberax.numerics.linear import DENSE_LIMIT
from fiberax.numerics.result import Outcome, Result, outcome

_POSITIVE = 1e-6  # real part over the largest modulus from which an eigenvalue counts as unstable


class Quasistatic(AbstractDriver):
    """The fiber in equilibrium at every macro evaluation, solved from the carried state.

    Differentiable by the implicit function theorem. A fiber that does not converge is tried once more from its own `init`.

    A fiber that has only dynamics is sampled: at each macro evaluation `replicas` copies take about `steps` steps from where
    they were, and as many before the first. Such responses have a standard error and no tangent. Whether replicas mix is not
    tested here, see `fx.sample`.

    Args:
        tolerance: Relative; docs/conventions.md says what `SUCCESS` promises. None for 1e-8.
        solver: Replaces the fiber's own solver.
        require_stable: Whether a rest point of a flow that a relaxation would leave is a failure, `UNSTABLE`. Each solve then
            computes the eigenvalues of the Jacobian.
        steps: Steps of each replica of a sampled fiber; None for 2560.
        replicas: Number of replicas of a sampled fiber; None for 4.
        dt: Step of a sampled fiber, fiber time; None for the fiber's own `timestep`.
        keep_states: Whether the state of every site is kept, for the next solve to begin from. Without, the memory is that of
            one chunk of sites; every solve begins from the fiber's `init`, and is repeated where a tangent is asked for. For
            flows only.

    Raises:
        BadInput: Numbers out of their range; a tolerance that single precision cannot reach; when a run begins, options that
            have no effect on its fibers: `steps`, `replicas` and `dt` belong to fibers that are sampled, `tolerance` and
            `solver` to those that are solved, `require_stable` to flows.
    """

    tolerance: float | None = eqx.field(static=True, default=None)
    solver: AbstractSolver | None = None
    require_stable: bool = eqx.field(static=True, default=False)
    steps: int | None = eqx.field(static=True, default=None)
    replicas: int | None = eqx.field(static=True, default=None)
    dt: float | None = eqx.field(static=True, default=None)
    keep_states: bool = eqx.field(static=True, default=True)

    def __check_init__(self):
        if not isinstance(self.tolerance, numbers.Real | None) or not 0.0 < self._accuracy < 1.0:
            raise BadInput(f"Quasistatic: tolerance must be a number between 0 and 1; it is {self.tolerance!r}.")
        check_solver("Quasistatic", self.solver)
        for name, value, least in (("steps", self._length, BLOCKS), ("replicas", self._copies, 1)):
            if not isinstance(value, int) or value < least:
                raise BadInput(f"Quasistatic: {name} must be a whole number, at least {least}; it is {value!r}.")
        if self.dt is not None and not 0.0 < self.dt < float("inf"):
            raise BadInput(f"Quasistatic: dt must be positive (fiber time); it is {self.dt}.")

    @property
    def slaved(self):
        return True

    @property
    def _accuracy(self) -> float:
        return 1e-8 if self.tolerance is None else self.tolerance

    @property
    def _length(self) -> int:
        return 2560 if self.steps is None else self.steps

    @property
    def _copies(self) -> int:
        return 4 if self.replicas is None else self.replicas

    def prepare(self, fiber):
        need_double("fx.Quasistatic", self._accuracy)
        rest = at_rest(fiber)
        self._refuse_without_effect(rest)
        if not (self.keep_states or isinstance(rest, AbstractFlow)):
            raise BadInput(
                f"Quasistatic: keep_states=False is for flows; those of {type(rest).__name__} are read beside the responses."
            )
        if isinstance(rest, AbstractFlow | AbstractEnergy):
            (solver_of(rest) if self.solver is None else self.solver).check(rest)
        return rest

    def check_tangents(self, fiber):
        if isinstance(fiber, AbstractDynamic):
            raise Mismatch(
                f"{type(fiber).__name__} is sampled, and a sampled response has no tangent, as Newton's method and implicit "
                "steps need it. Take explicit steps, fx.Heun() or, of a body, fx.Verlet(); go to a steady state in time, by "
                "fx.evolve. A slope is the difference of two fx.sample."
            )

    def _refuse_without_effect(self, fiber) -> None:
        """Options that the kind of fiber does not use."""
        kind = type(fiber).__name__
        sampled = {"steps": self.steps, "replicas": self.replicas, "dt": self.dt}
        solved = {"tolerance": self.tolerance, "solver": self.solver, "require_stable": self.require_stable or None}
        dynamic = isinstance(fiber, AbstractDynamic)
        given = [name for name, value in (solved if dynamic else sampled).items() if value is not None]
        if given:
            why = (
                f"{kind} has only dynamics and is sampled, and these belong to fibers that are solved"
                if dynamic
                else f"{kind} is solved, and these belong to fibers that are sampled"
            )
            raise BadInput(f"Quasistatic: {', '.join(given)} without effect: {why}. Leave {'them' if given[1:] else 'it'} out.")
        if self.solver is not None and self.solver.symmetric and not isinstance(fiber, AbstractFlow):
            raise BadInput(
                f"Quasistatic: {type(self.solver).__name__}(symmetric=True) without effect: {kind} is no flow. Second "
                "derivatives of energies are symmetric in any case. Leave it out."
            )
        if self.require_stable and not isinstance(fiber, AbstractFlow):
            raise BadInput(
                f"Quasistatic: require_stable without effect: {kind} is no flow. The minimisers of energies report a "
                "stationary point that is no minimum as UNSTABLE in any case. Leave it out."
            )

    def begin(self, fiber, link, condition, key, samples):
        fresh = self._fresh(fiber, condition, key)
        if not self.keep_states:
            return (), _linked(fiber, link, fresh, condition)
        return self._sampled(fiber, link, fresh, condition, key) if isinstance(fiber, AbstractDynamic) else (fresh, ())

    def advance(self, fiber, link, state, memory, condition, dt, key, attempt):
        if not self.keep_states:
            state, out = self._solved_anew(fiber, condition, key)
            response = _linked(fiber, link, state, condition)
            return (), response, response, check_finite(response, out)
        guess = state
        if isinstance(attempt, jax.Array):
            guess = trees.where(attempt == 0, state, self._fresh(fiber, condition, key))
        if isinstance(fiber, AbstractDynamic):
            state, memory = self._sampled(fiber, link, guess, condition, key)
            out = outcome(jnp.max(jax.vmap(fiber.verdict)(state)), self._length * self._copies)
        else:
            state, out = relaxed(fiber, guess, condition, self._accuracy, self.solver)
            out = self._judged(fiber, state, condition, out)
        response = self.respond(fiber, link, state, memory, condition)
        return state, memory, response, check_finite(response, out)

    def _solved_anew(self, fiber, condition, key=None) -> tuple[Any, Outcome]:
        fresh = fiber.init(condition, jax.random.key(0) if key is None else key)
        state, out = relaxed(fiber, fresh, condition, self._accuracy, self.solver)
        return state, self._judged(fiber, state, condition, out)

    def _judged(self, fiber, state, condition, out: Outcome) -> Outcome:
        if not (self.require_stable and isinstance(fiber, AbstractFlow)):
            return out
        solver = solver_of(fiber) if self.solver is None else self.solver
        return _stable(fiber, state, condition, out, solver.symmetric)

    def _fresh(self, fiber, condition, key) -> Any:
        if not isinstance(fiber, AbstractDynamic):
            return fiber.init(condition, key)
        return jax.vmap(lambda k: fiber.init(condition, k))(jax.random.split(key, self._copies))

    def _sampled(self, fiber: AbstractDynamic, link, states, condition, key) -> tuple[Any, Any]:
        """Replicas after their steps, and as memory the mean of the link and its standard error."""
        span, length = fiber.timestep(condition) if self.dt is None else self.dt, jnp.asarray(-(-self._length // BLOCKS))
        if span is None:
            raise BadInput(f"Quasistatic: {type(fiber).__name__} has no time step of its own. Give dt, in fiber time.")
        states, series = follow(fiber, link, states, condition, span, length, jnp.zeros((), jnp.uint32), key)
        one_site = judged(jax.tree.map(lambda x: x[None], series), span, length)
        return states, jax.tree.map(lambda x: x[0], one_site[:2])

    def respond(self, fiber, link, state, memory, condition):
        """Response at an equilibrium state; in the stationary form, where there is one, the state is held for derivatives."""
        if isinstance(fiber, AbstractDynamic):
            return memory[0]
        return _linked(fiber, link, state, condition) if self.keep_states else memory

    def stderr(self, fiber, link, state, memory, condition):
        """That of the average of a fiber with dynamics; of an ensemble at rest its own."""
        return memory[1] if isinstance(fiber, AbstractDynamic) else super().stderr(fiber, link, state, memory, condition)

    def follow(self, fiber, link, state, memory, condition):
        self.check_tangents(fiber)
        if not self.keep_states:
            state = trees.frozen(self._solved_anew(fiber, trees.frozen(condition))[0])
        if _has_stationary(fiber, link):
            return _stationary(fiber, state, condition)
        return apply_link(link, fiber, following(fiber, state, condition, self.solver), condition)

    def tangent(self, fiber, link, state, memory, condition):
        if not self.keep_states:
            return dataclasses.replace(self, keep_states=True).tangent(
                fiber, link, self._solved_anew(fiber, condition)[0], (), condition
            )
        found = tangent_of(fiber, state, condition) if link is None else None
        return super().tangent(fiber, link, state, memory, condition) if found is None else found


def _linked(fiber, link, state, condition):
    """The response at an equilibrium state, in the stationary form where there is one."""
    stationary = _has_stationary(fiber, link)
    return _stationary(fiber, state, condition) if stationary else apply_link(link, fiber, state, condition)


def _has_stationary(fiber, link) -> bool:
    return link is None and isinstance(fiber, AbstractStationary)


class _Held(eqx.Module):
    """A stationary link, and the state at rest as a function of what the link depends on, without closures over values."""

    link: Any  # (state, condition) -> response
    follow: Any  # (state, condition) -> state


def _stationary(fiber: Any, state, condition):
    """The stationary link: the state does not count in its first derivatives, and moves in the second ones."""
    held, convert = trees.frozen(state), eqx.filter_closure_convert
    link = convert(lambda s, c: fiber.stationary_link(s, c), held, condition)
    return _at_rest(_Held(link, convert(lambda s, c: following(fiber, s, c), held, condition)), held, condition)


@eqx.filter_custom_jvp
def _at_rest(held: _Held, state, condition):
    return held.link(state, condition)


@_at_rest.def_jvp
def _at_rest_jvp(primals, tangents):
    held, state, condition = primals
    t_held, _, t_condition = tangents
    value, moved = _at_rest(held, state, condition), held.follow(state, condition)
    t_value = eqx.filter_jvp(lambda link, c: link(moved, c), (held.link, condition), (t_held.link, t_condition))[1]
    return value, t_value


def _stable(fiber: AbstractFlow, state, condition, out: Outcome, symmetric: bool) -> Outcome:
    """`out`, `UNSTABLE` where an eigenvalue of ∂rate/∂u has a positive real part; a `symmetric` one takes less work."""
    if trees.size(state) == 0:
        return out
    flat, unravel = ravel_pytree(jax.lax.stop_gradient(state))
    if flat.size > DENSE_LIMIT:
        raise BadInput(
            f"Quasistatic: require_stable needs the eigenvalues of ∂rate/∂u, and states of {type(fiber).__name__} have "
            f"{flat.size} entries, more than {DENSE_LIMIT}. Leave it out; runs look at a few sites."
        )
    held, now = trees.frozen((fiber, condition))
    jacobian = jax.jacfwd(lambda u: ravel_pytree(held.rate(unravel(u), now))[0])(flat)
    values = jnp.linalg.eigvalsh(jacobian) if symmetric else jnp.linalg.eigvals(jacobian)
    lost = jnp.max(values.real) > _POSITIVE * jnp.max(jnp.abs(values))
    return out._replace(result=jnp.where((out.result == 0) & lost, jnp.int32(Result.UNSTABLE), out.result))

"""Fibers: the microstructure at one site, written once, without a word about space, batches or devices (spec section 1)."""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from fiberax.core import equilibrium
from fiberax.core.errors import Mismatch
from fiberax.numerics.linear import DENSE_LIMIT
from fiberax.numerics.result import Outcome

State = Any
Condition = Any
Response = Any


class AbstractFiber(eqx.Module):
    """One microstructure model. Its state and its condition are any pytrees of arrays."""

    @abc.abstractmethod
    def init(self, condition: Condition, key: PRNGKeyArray) -> State:
        """A state to begin with under `condition`; it need not be in equilibrium."""

    def link(self, state: State, condition: Condition) -> Response:
        """The response A = 𝒜(U, u) of (2.7) that this fiber gives by itself; used where no other link is handed in."""
        raise Mismatch(
            f"{type(self).__name__} has no link of its own. Define {type(self).__name__}.link(state, condition), "
            "or pass link=function(fiber, state, condition)."
        )

    def variational_link(self, state: State, condition: Condition) -> Response | None:
        """The response at equilibrium, stationary in the state, so that its derivative at fixed state is the whole derivative.

        None where no such form is known; then tangents come from the implicit function theorem.
        """
        return None

    def tangent(self, state: State, condition: Condition) -> Any:
        """dA/dU at equilibrium, axes of the response first, for fibers that assemble it themselves; else None."""
        return None

    def soundness(self, state: State, condition: Condition) -> Float[Array, ""] | None:
        """A number that is positive as long as the model stands on its ground (a stable microstate, an elliptic response).

        None where there is nothing to lose. Runs look at it at the macrostates that they accept.
        """
        return None

    def stderr(self, state: State, condition: Condition) -> Response | None:
        """Standard error of the link over the members or replicas that it averages at this instant, a tree like the response.

        None where the link is no such average.
        """
        return None

    @property
    def unmixable(self) -> str:
        """Why states of neighbouring sites may not be averaged, so that transport refuses them; empty where they may."""
        return ""

    def align(self, state: State, reference: State) -> State:
        """The state nearest to `reference` of those that mean the same as `state`, for averages over neighbours."""
        return state

    def restore(self, state: State, safe: State) -> State:
        """What to go on with after an interpolation of high order gave `state`, and a mean of neighbours `safe`.

        For states that live on less than the whole space: of unit length, within a bound, positive definite.
        """
        return state

    def diagnose(self, state: State, condition: Condition) -> str:
        """In words for a message, on the host: what was lost where `soundness` is not positive, in which direction."""
        return ""


class AbstractFlow(AbstractFiber):
    """A fiber with du/dτ = rate(u, U); its rest points solve 𝓛(u; U) = 0 of (2.6)."""

    @abc.abstractmethod
    def rate(self, state: State, condition: Condition) -> State:
        """du/dτ, a tree like `state`, in state units per unit of fiber time."""

    @property
    def symmetric(self) -> bool:
        """True where the Jacobian of `rate` is symmetric and negative definite; conjugate gradients are then used."""
        return False

    @property
    def dense_limit(self) -> int:
        """States with up to this many entries are solved densely, larger ones by Krylov methods with `precondition`."""
        return DENSE_LIMIT

    def precondition(self, residual: State, condition: Condition, shift: Float[Array, ""]) -> State:
        """Approximation of (J − shift)⁻¹ residual, linear in `residual`, J the Jacobian of `rate`, shift ≥ 0.

        Used for states too large for dense algebra; negative definite where J is. The default stands for J = −1.
        """
        return jax.tree.map(lambda r: -r / (1.0 + shift), residual)

    def solve(self, condition: Condition, state: State, tolerance: float) -> tuple[State, Outcome]:
        """Equilibrium near `state`, to the relative `tolerance`: damped Newton, dense or Krylov by the size of the state."""
        return equilibrium.solve_flow(self, condition, state, tolerance)

    def solve_step(self, condition: Condition, state: State) -> tuple[State, Outcome]:
        """One Newton step from `state` towards equilibrium; the outcome's residual is that before the step."""
        return equilibrium.newton_step(self, condition, state)

    def solve_stage(self, condition: Condition, base: State, shift, state: State, tolerance: float) -> tuple[State, Outcome]:
        """Solve rate(u, U) = shift (u − base) for u, from `state`: one stage of an implicit step of length 1/shift."""
        return equilibrium.solve_stage(self, condition, base, shift, state, tolerance)

    def propagate(self, state: State, condition: Condition, time: Float[Array, ""]) -> State | None:
        """The state after `time` under a held condition, for flows that know it; `fx.Implicit()` then takes it as its step."""
        return None


class AbstractEnergy(AbstractFiber):
    """A fiber at the minimum of an energy under constraints g(u, U) = 0 (spec section 6)."""

    @abc.abstractmethod
    def energy(self, state: State, condition: Condition) -> Float[Array, ""]:
        """W(U, u), per unit reference volume."""

    def constraint(self, state: State, condition: Condition) -> Float[Array, " k"]:
        """g(u, U), a vector that must vanish; none by default."""
        return jnp.zeros((0,))

    def restrain(self, state: State, condition: Condition, normal_at: State | None) -> State | None:
        """`state` moved along metric⁻¹ times normals taken at `normal_at` (None: any way) to where states live; else None.

        For fibers that hold many constraints themselves, with an energy that does not change along the normals.
        """
        return None

    def restrain_velocity(self, state: State, velocity: State, condition: Condition) -> State | None:
        """`velocity` without its part along the normals at `state`, for such fibers; else None."""
        return None

    def metric(self, state: State) -> State | float:
        """Mass of each entry of the state (a number, or a tree like `state`), so that friction and norms have a meaning.

        Grid fields give the cell volume: then the relaxation (4.1) does not change with the resolution.
        """
        return 1.0

    @property
    def dense_limit(self) -> int:
        """See `AbstractFlow.dense_limit`; multipliers count as entries."""
        return DENSE_LIMIT

    def precondition(self, residual: State, condition: Condition, shift: Float[Array, ""]) -> State:
        """Approximation of (J − shift)⁻¹ residual with J = −metric⁻¹ ∂²W/∂u²; see `AbstractFlow.precondition`."""
        return jax.tree.map(lambda r: -r / (1.0 + shift), residual)

    def solve(self, condition: Condition, state: State, tolerance: float) -> tuple[State, Outcome]:
        """Minimum of the energy near `state` under the constraints, to the relative `tolerance`."""
        return equilibrium.solve_energy(self, condition, state, tolerance)

    def solve_step(self, condition: Condition, state: State) -> tuple[State, Outcome]:
        """One Newton step from `state` towards equilibrium; the outcome's residual is that before the step."""
        return equilibrium.newton_step(self, condition, state)

    def solve_stage(self, condition: Condition, base: State, shift, state: State, tolerance: float) -> tuple[Any, Outcome]:
        """(u, λ) of one stage of an implicit time step, constraints kept; see `AbstractFlow.solve_stage`."""
        return equilibrium.solve_stage(self, condition, base, shift, state, tolerance)

    @property
    def conjugate(self) -> bool:
        """True where `link` is ∂W_CB/∂U; a fiber that assembles this itself says so, and `check_fiber` then holds it to it."""
        return type(self).link is AbstractEnergy.link

    def link(self, state: State, condition: Condition) -> Response:
        """The generalised Hellmann-Feynman force ∂_U W − λ·∂_U g at fixed state (4.6)."""
        return hellmann_feynman(self, state, condition)

    def energy_and_link(self, state: State, condition: Condition) -> tuple[Float[Array, ""], Response]:
        """W and the own response together, for fibers to which both cost little more than one."""
        return self.energy(state, condition), self.link(state, condition)


class AbstractDynamic(AbstractFiber):
    """A fiber with dynamics of its own, deterministic or random, advanced step by step."""

    @abc.abstractmethod
    def step(self, state: State, condition: Condition, dt: Float[Array, ""], key: PRNGKeyArray) -> State:
        """The state after the time `dt` (fiber time) under a held condition."""

    def timestep(self, condition: Condition) -> Float[Array, ""] | None:
        """A step (fiber time) that the fiber's scheme bears and resolves under `condition`; None where it cannot tell."""
        return None


class AbstractStochastic(AbstractDynamic):
    """A dynamic fiber that draws noise in `step`; it owns its weak scheme. All its randomness comes from `key`."""


class AbstractWrapper(AbstractFiber):
    """A fiber around another one, `inner`, that changes its dynamics or its units and passes links on to it."""

    inner: eqx.AbstractVar[AbstractFiber]

    def link(self, state, condition):
        return self.apply_link(None, state, condition)

    @abc.abstractmethod
    def apply_link(self, link: Callable | None, state: State, condition: Condition) -> Response:
        """The response of the wrapped fiber through `link` (None: its own)."""


def hellmann_feynman(fiber: AbstractEnergy, state: State, condition: Condition) -> Response:
    """∂_U W − λ·∂_U g at fixed state, a tree like `condition` (4.6), with the static multipliers (section 12)."""
    multipliers = equilibrium.multipliers(fiber, state, condition)

    def lagrangian(condition):
        return fiber.energy(state, condition) - jnp.sum(multipliers * fiber.constraint(state, condition))

    return jax.grad(lagrangian)(condition)


class Flow(AbstractFlow):
    """A flow fiber from plain functions: rate(u, U), init(U) and, if wanted, link(u, U)."""

    rate_function: Callable
    init_function: Callable
    link_function: Callable | None = None

    def __init__(self, rate: Callable, init: Callable, link: Callable | None = None):
        self.rate_function, self.init_function, self.link_function = rate, init, link

    def init(self, condition, key):
        return self.init_function(condition)

    def rate(self, state, condition):
        return self.rate_function(state, condition)

    def link(self, state, condition):
        return super().link(state, condition) if self.link_function is None else self.link_function(state, condition)


class Energy(AbstractEnergy):
    """An energy fiber from plain functions: energy(u, U), init(U) and, if wanted, constraint(u, U)."""

    energy_function: Callable
    init_function: Callable
    constraint_function: Callable | None = None

    def __init__(self, energy: Callable, init: Callable, constraint: Callable | None = None):
        self.energy_function, self.init_function, self.constraint_function = energy, init, constraint

    def init(self, condition, key):
        return self.init_function(condition)

    def energy(self, state, condition):
        return self.energy_function(state, condition)

    def constraint(self, state, condition):
        if self.constraint_function is None:
            return super().constraint(state, condition)
        return jnp.atleast_1d(self.constraint_function(state, condition))


class Stochastic(AbstractStochastic):
    """A stochastic fiber from plain functions: step(u, U, dt, key), init(U, key) and, if wanted, link(u, U)."""

    step_function: Callable
    init_function: Callable
    link_function: Callable | None = None

    def __init__(self, step: Callable, init: Callable, link: Callable | None = None):
        self.step_function, self.init_function, self.link_function = step, init, link

    def init(self, condition, key):
        return self.init_function(condition, key)

    def step(self, state, condition, dt, key):
        return self.step_function(state, condition, dt, key)

    def link(self, state, condition):
        return super().link(state, condition) if self.link_function is None else self.link_function(state, condition)

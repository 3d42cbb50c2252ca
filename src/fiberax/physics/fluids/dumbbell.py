"""Dumbbells in a homogeneous flow, the Brownian form (6.3).

    dz = (κz − f(z)/(2De)) dt + √(1/De) dW,      τ = ⟨f(z)⊗z⟩

The scheme is Öttinger's semi-implicit predictor-corrector of weak order 2 (Stochastic Processes in Polymeric Fluids, 1996,
section 4.3.2): half of the spring is implicit in the corrector, so that z stays below the maximal length of the
spring at any step. The predictor, which enters only the flow term, has its spring linearly implicit here: the same order, and
bounded at any step.

It has more than five public methods: those of a stochastic fiber that a flow carries.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fiberax.core.capabilities import AbstractEnsemble
from fiberax.core.errors import BadInput
from fiberax.core.fiber import AbstractStochastic
from fiberax.core.noise import Noise, check_noise, draw
from fiberax.core.strategies import Within
from fiberax.numerics import trees
from fiberax.physics.fluids.members import Controlled, moving, not_beyond, standard_errors
from fiberax.physics.fluids.springs import AbstractSpring, Hookean
from fiberax.physics.fluids.suspended import AbstractSuspended

_RESOLVED = 0.2  # time step times the fastest rate of spring and flow


class Dumbbell(AbstractStochastic, AbstractEnsemble, AbstractSuspended):
    """Dumbbells by an ensemble of Brownian members (6.3).

    Condition κ (dim, dim), κ_ij = ∂U_i/∂x_j; state: springs (dim, members); response τ = ⟨f⊗z⟩ (dim, dim), I at rest.

    Args:
        spring: `Hookean()`, `FENE(b)` or an `AbstractSpring` of your own; default Hookean.
        dim: Dimension of the springs, 2 or 3.
        members: Size of the ensemble.
        De: Relaxation time in units of the flow's time.
        noise: "three-point" (weak order 2, the default) or "gaussian".
        dtype: Type of the springs. `jnp.float32` halves time and memory; the response has full precision in any case.
        control: Carry as many springs at rest, driven by the same noise, whose stress is I, as control variates. The state is
            then a pair. The standard error of the shear stress falls by the factor √(1 + 1/(3 Wi²)) for Hookean springs (6 at
            Wi = 0.1) and similarly for others. Nothing is gained beyond Wi = 1, while a step costs more.

    Raises:
        BadInput: A number out of range.
    """

    spring: AbstractSpring
    dim: int = eqx.field(static=True)
    members: int = eqx.field(static=True)
    De: Float[Array, ""]
    noise: Noise = eqx.field(static=True)
    dtype: Any = eqx.field(static=True)
    control: bool = eqx.field(static=True)

    def __init__(
        self,
        spring: AbstractSpring | None = None,
        dim: int = 2,
        members: int = 1000,
        De=1.0,
        noise: Noise = "three-point",
        dtype: Any = None,
        control: bool = False,
    ):
        check_ensemble("Dumbbell", dim, members, De, noise)
        self.spring, self.dim, self.members = Hookean() if spring is None else spring, dim, members
        self.De, self.noise, self.dtype = jnp.asarray(De, jnp.result_type(float)), noise, dtype
        self.control = control

    def init(self, condition, key) -> Float[Array, "dim members"] | Controlled:
        """Springs in equilibrium at rest."""
        check_condition("Dumbbell", condition, self.dim)
        springs = self.spring.sample(key, self.dim, (self.members,), self._type)
        return Controlled(springs, springs) if self.control else springs

    def timestep(self, condition):
        """A fifth of 1/(1/De + |κ| + 2 √tr κ²), tr κ² being 0 in shear and at least 0.

        For FENE at Wi = 10 its bias is below 1e-3 of the stress, in extension below 1e-4.
        """
        return own_step(condition, self.De)

    def step(self, state, condition, dt, key):
        return self.advance(state, condition, dt, draw(key, moving(state).shape, self.noise, self._type))

    def advance(self, state, condition, dt, noise: Float[Array, "dim members"]) -> Float[Array, "dim members"] | Controlled:
        """The step with given numbers of variance 1."""
        kappa, dt, De = (jnp.asarray(x).astype(self._type) for x in (condition, dt, self.De))
        xi, weight = jnp.sqrt(dt / De) * noise, 0.25 * dt / De

        def moved(z, flow):
            factor, first = self.spring.factor(square(z)), flow(z)
            predicted = (z + first + xi) / (1.0 + 2.0 * weight * factor)
            right = z + 0.5 * (first + flow(predicted)) - weight * factor * z + xi
            return self.spring.shorten(square(right), weight) * right

        new = moved(moving(state), lambda z: dt * carried(kappa, z))
        return Controlled(new, moved(state.rest, lambda z: 0.0)) if self.control else new

    def link(self, state, condition):
        stress = lambda z: kramers(self.spring.factor(square(z)), z)
        if not self.control:
            return stress(state)
        return jnp.eye(self.dim) + stress(state.members) - stress(state.rest)

    def standard_error(self, state, condition):
        """Standard error of the stress over the members, which are independent of one another."""
        factors = jax.tree.map(lambda z: self.spring.factor(square(z)), state)

        def term(i, j):
            terms = jax.tree.map(lambda h, z: h * z[i] * z[j], factors, state)
            return terms.members - terms.rest if self.control else terms

        return standard_errors(term, self.dim, self.members)

    @property
    def mixing(self):
        """Springs of an interpolation only where they keep away from their limit."""
        return Within(lambda state, safe: jax.tree.map(lambda z, mean: not_beyond(z, mean, self.spring.limit), state, safe))

    def relaxation_time(self, condition):
        """De, that of a single mode of Hookean springs; finite ones relax faster."""
        return self.De

    @property
    def _type(self):
        return jnp.result_type(float) if self.dtype is None else self.dtype


def own_step(kappa: Float[Array, "dim dim"], De: Any) -> Float[Array, ""]:
    """The time step of springs: shorter where the flow draws them out, since the bias of a step grows with its square."""
    drawn = jnp.sum(kappa * kappa.T)
    drawn = jnp.where(drawn > 0.0, jnp.sqrt(jnp.where(drawn > 0.0, drawn, 1.0)), 0.0)
    return _RESOLVED / (1.0 / De + jnp.sqrt(jnp.sum(kappa**2)) + 2.0 * drawn)


def square(z: Float[Array, "dim ..."]) -> Float[Array, "..."]:
    """|z|², written out: XLA would not fuse a reduction with its surroundings."""
    return sum((z[k] * z[k] for k in range(1, z.shape[0])), start=z[0] * z[0])


def carried(kappa: Float[Array, "dim dim"], z: Float[Array, "dim ..."]) -> Float[Array, "dim ..."]:
    """κz over components first, written out for the same reason."""
    column = lambda j: kappa[:, j].reshape(-1, *[1] * (z.ndim - 1)) * z[j]
    return sum((column(j) for j in range(1, z.shape[0])), start=column(0))


def kramers(factor: Float[Array, "..."], z: Float[Array, "dim ..."]) -> Float[Array, "dim dim"]:
    """⟨h z⊗z⟩ over the last axis, summed over those between, in full precision; symmetric, since springs are central."""
    dim, full = z.shape[0], jnp.result_type(float)
    rows = [[jnp.sum(jnp.mean(factor * z[i] * z[j], axis=-1)).astype(full) for j in range(i + 1)] for i in range(dim)]
    return jnp.stack([jnp.stack([rows[max(i, j)][min(i, j)] for j in range(dim)]) for i in range(dim)])


def check_ensemble(who: str, dim: Any, members: Any, De: Any, noise: Any) -> None:
    """Raise `BadInput` for an impossible ensemble."""
    if dim not in (2, 3):
        raise BadInput(f"{who}: dim must be 2 or 3; it is {dim!r}.")
    if not isinstance(members, int) or members < 1:
        raise BadInput(f"{who}: members must be a whole number, at least 1; it is {members!r}.")
    if not trees.is_tracer(De) and not 0.0 < float(De) < float("inf"):
        raise BadInput(f"{who}: De must be positive and finite; it is {De!r}.")
    check_noise(who, noise)


def check_condition(who: str, condition: Any, dim: int) -> None:
    """Raise `BadInput` where the condition is no velocity gradient of `dim` dimensions."""
    if jnp.shape(condition) != (dim, dim):
        raise BadInput(
            f"{who}: the condition is the velocity gradient κ ({dim}, {dim}), κ_ij = ∂U_i/∂x_j; it is {jnp.shape(condition)}."
        )

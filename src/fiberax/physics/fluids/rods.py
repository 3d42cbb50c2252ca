"""Rods in a homogeneous flow, the Brownian form (6.4), mended (docs: mathematics, Brownian form), Stratonovich.

    dm = (I − mm)(κm − f/De) dt + √(2/De) (I − mm)∘dW,      f = ∇_m Φ of the own ensemble
    τ = ⟨3mm − I⟩ + ⟨((I − mm)f) m⟩ + (De/2) ⟨mmmm⟩:κ

One step is half a step of the drift (midpoint rule), a step of Brownian motion on the sphere, and again half a step of the
drift: weak order 2. The Brownian step h = dt/De is along a great circle in the direction of v = √(2h) (I − mm)ξ by the angle θ
with cos θ = (1 − y − y²/2)/(1 + y + y²/2), y = |v|²/4. Every spherical harmonic of degree l must lose the factor
exp(−l(l+1)h); with t = (1 − cos θ)/2, P_l(cos θ) = 1 − l(l+1) t + l(l+1)(l(l+1) − 2) t²/4 − ... shows that this holds up to h²
if ⟨t⟩ = h − h² and ⟨t²⟩ = 2h², which t = y − y²/2 + O(y³) with ⟨y⟩ = h, ⟨y²⟩ = 2h² satisfies.

It has more than five public methods: those of a stochastic fiber that a flow carries.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fiberax.core.capabilities import AbstractEnsemble
from fiberax.core.fiber import AbstractStochastic
from fiberax.core.noise import Noise, draw
from fiberax.core.strategies import Headless
from fiberax.physics.fluids.dumbbell import carried, check_condition, check_ensemble, square
from fiberax.physics.fluids.members import Controlled, moving, standard_errors
from fiberax.physics.fluids.potentials import AbstractMeanField, second_moment
from fiberax.physics.fluids.suspended import AbstractSuspended

_RESOLVED = 0.15  # time step times the fastest rate of rotation, mean field and flow


class Rod(AbstractStochastic, AbstractEnsemble, AbstractSuspended):
    """Rods by an ensemble of Brownian members (6.4).

    Condition κ (3, 3), κ_ij = ∂U_i/∂x_j; state: unit vectors (3, members); response the full stress τ (3, 3), 0 at rest.

    Args:
        potential: `MaierSaupe(N)`, `Onsager(N)`, an `AbstractMeanField` of your own, or None for a dilute suspension. The mean
            field of a finite ensemble has a bias of order 1/members.
        members: Size of the ensemble.
        De: 1/De is the rotational diffusion in units of the flow's time.
        noise: "three-point" (weak order 2, the default) or "gaussian".
        dtype: Type of the rods; the response has full precision.
        control: Carry as many rods at rest, driven by the same noise, whose stress is known by symmetry, as control variates.
            The state is then a pair. The standard error of the stress of dilute rods falls by about the factor De κ √(log
            1/(De κ)). Two rods in the same noise approach each other only slowly in the mean square, so nothing is gained
            beyond De κ = 5.

    Raises:
        BadInput: A number out of range.
    """

    potential: AbstractMeanField | None
    members: int = eqx.field(static=True)
    De: Float[Array, ""]
    noise: Noise = eqx.field(static=True)
    dtype: Any = eqx.field(static=True)
    control: bool = eqx.field(static=True)

    def __init__(
        self,
        potential: AbstractMeanField | None = None,
        members: int = 1000,
        De=1.0,
        noise: Noise = "three-point",
        dtype: Any = None,
        control: bool = False,
    ):
        check_ensemble("Rod", 3, members, De, noise)
        self.potential, self.members, self.noise = potential, members, noise
        self.De, self.dtype, self.control = jnp.asarray(De, jnp.result_type(float)), dtype, control

    @property
    def dim(self):
        return 3

    def init(self, condition, key) -> Float[Array, "3 members"] | Controlled:
        """Rods uniformly in all directions."""
        check_condition("Rod", condition, 3)
        rods = _unit(jax.random.normal(key, (3, self.members))).astype(self._type)
        return Controlled(rods, rods) if self.control else rods

    def timestep(self, condition):
        """A fraction of 1/(6/De + |κ| + 2 times the rate at which one rod turns another at most)."""
        x = jnp.linspace(0.0, 0.999, 100)
        turn = 0.0 if self.potential is None else jnp.max(jnp.abs(self.potential.slope(x)) * jnp.sqrt(1.0 - x * x))
        return _RESOLVED / ((6.0 + 2.0 * turn) / self.De + jnp.sqrt(jnp.sum(condition**2)))

    def step(self, state, condition, dt, key):
        return self.advance(state, condition, dt, draw(key, (3, self.members), self.noise, self._type))

    def advance(self, state, condition, dt, noise: Float[Array, "3 members"]) -> Float[Array, "3 members"] | Controlled:
        """The step with given numbers of variance 1."""
        kappa, dt, De = (jnp.asarray(x).astype(self._type) for x in (condition, dt, self.De))

        def moved(m, flow):
            m = self._drift(m, flow, 0.5 * dt, De)
            v = jnp.sqrt(2.0 * dt / De) * _across(m, noise)
            y = 0.25 * square(v)
            m = ((1.0 - y - 0.5 * y * y) * m + jnp.sqrt(1.0 + 0.5 * y) * v) / (1.0 + y + 0.5 * y * y)
            return self._drift(m, flow, 0.5 * dt, De)

        new = moved(moving(state), lambda m: carried(kappa, m))
        return Controlled(new, moved(state.rest, None)) if self.control else new

    def link(self, state, condition):
        if not self.control:
            return self._stress(state, condition)
        # At rest ⟨mm⟩ = I/3 and ⟨mmmm⟩:κ = (κ + κᵀ + tr κ I)/15, and mean fields of no direction exert no torque.
        fourth = (condition + condition.T + jnp.trace(condition) * jnp.eye(3)) / 15.0
        return self._stress(state.members, condition) - self._stress(state.rest, condition) + 0.5 * self.De * fourth

    def standard_error(self, state, condition):
        """Standard error of the stress over the members, as if these were independent: their mean field correlates them.

        This is exact for dilute rods, and too small near the transition to order; averages over time give the full error.
        """
        parts = jax.tree.map(
            lambda m: (m, *self._torques(m, condition)), state, is_leaf=lambda x: not isinstance(x, Controlled)
        )

        def term(i, j):
            each = lambda m, flow, pull: (3.0 * m[i] + 0.5 * self.De.astype(self._type) * flow * m[i] + pull[i]) * m[j]
            return each(*parts.members) - each(*parts.rest) if self.control else each(*parts)

        return standard_errors(term, 3, self.members)

    @property
    def mixing(self):
        """Rods are the same head to tail, and unit vectors."""
        return Headless(_turned, _kept)

    def _torques(self, m, condition):
        """m·κm (members,) and (I − mm)f (3, members)."""
        pull = jnp.zeros_like(m) if self.potential is None else _across(m, self.potential.force(m).astype(m.dtype))
        return square_form(condition.astype(m.dtype), m), pull

    def _stress(self, m, condition):
        flow, pull = self._torques(m, condition)
        stress = 3.0 * second_moment(m).astype(self.De.dtype) - jnp.eye(3) + 0.5 * self.De * _mean(flow * m, m)
        return stress if self.potential is None else stress + _mean(pull, m)

    def _drift(self, m, flow, dt, De):
        """The midpoint rule; `flow` None means no flow."""
        if flow is None and self.potential is None:
            return m

        def velocity(m):
            drift = jnp.zeros_like(m) if flow is None else flow(m)
            if self.potential is not None:
                drift = drift - self.potential.force(m).astype(m.dtype) / De
            return _across(m, drift)

        middle = _unit(m + 0.5 * dt * velocity(m))
        return _unit(m + dt * velocity(middle))

    @property
    def _type(self):
        return jnp.result_type(float) if self.dtype is None else self.dtype


def square_form(kappa: Float[Array, "3 3"], m: Float[Array, "3 members"]) -> Float[Array, " members"]:
    """m·κm."""
    return _dot(m, carried(kappa, m))


def _dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _across(m, a):
    """(I − mm) a."""
    return a - _dot(m, a) * m


def _unit(m):
    return m / jnp.sqrt(square(m))


def _mean(a, b):
    """⟨a⊗b⟩ over the members."""
    return a @ b.T / a.shape[1]


def _turned(state, reference):
    """Each rod in the sense that is nearer to that of its reference."""
    return jax.tree.map(lambda m, other: jnp.where(_dot(m, other) < 0.0, -m, m), state, reference)


def _kept(state, safe):
    """Unit vectors, along `safe` where an interpolation has nearly lost its direction."""
    return jax.tree.map(lambda m, mean: _unit(jnp.where(_dot(m, mean) > 0.25 * square(mean), m, mean)), state, safe)

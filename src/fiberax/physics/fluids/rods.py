"""Rods in a homogeneous flow, the Brownian form (6.4) as mended in spec sections 9 and 12 (Stratonovich).

    dm = (I − mm)(κm − f/De) dt + √(2/De) (I − mm)∘dW,      f = ∇_m Φ of the own ensemble
    τ = ⟨3mm − I⟩ + ⟨((I − mm)f) m⟩ + (De/2) ⟨mmmm⟩:κ

One step is half a step of the drift (midpoint rule), a step of Brownian motion on the sphere, and again half a step of the
drift: weak order 2. The Brownian step h = dt/De is along a great circle in the direction of v = √(2h) (I − mm)ξ by the angle θ
with cos θ = (1 − y − y²/2)/(1 + y + y²/2), y = |v|²/4. Every spherical harmonic of degree l must lose the factor
exp(−l(l+1)h); with t = (1 − cos θ)/2, P_l(cos θ) = 1 − l(l+1) t + l(l+1)(l(l+1) − 2) t²/4 − ... shows that this holds up to h²
if ⟨t⟩ = h − h² and ⟨t²⟩ = 2h², and t = y − y²/2 + O(y³) with ⟨y⟩ = h, ⟨y²⟩ = 2h² does it.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fiberax.core.fiber import AbstractStochastic
from fiberax.core.noise import Noise, draw
from fiberax.physics.fluids.dumbbell import carried, check_condition, check_ensemble, square
from fiberax.physics.fluids.potentials import AbstractMeanField, second_moment
from fiberax.physics.fluids.suspended import AbstractSuspended

_RESOLVED = 0.15  # time step times the fastest rate of rotation, mean field and flow


class Rod(AbstractStochastic, AbstractSuspended):
    """`members` unit vectors (3, members); condition κ (3, 3), κ_ij = ∂U_i/∂x_j; response the full stress τ (3, 3), 0 at rest.

    `potential`: `MaierSaupe(N)`, `Onsager(N)`, one's own, or None for a dilute suspension. `De`: 1/De is the rotational
    diffusion in units of the flow's time. The mean field of a finite ensemble has a bias of order 1/members. `noise`:
    "three-point" (weak order 2, the default) or "gaussian". Raises `BadInput`.
    """

    potential: AbstractMeanField | None
    members: int = eqx.field(static=True)
    De: Float[Array, ""]
    noise: Noise = eqx.field(static=True)

    def __init__(self, potential: AbstractMeanField | None = None, members: int = 1000, De=1.0, noise: Noise = "three-point"):
        check_ensemble("Rod", 3, members, De, noise)
        self.potential, self.members, self.noise = potential, members, noise
        self.De = jnp.asarray(De, jnp.result_type(float))

    @property
    def dim(self):
        return 3

    def init(self, condition, key) -> Float[Array, "3 members"]:
        """Rods in all directions alike."""
        check_condition("Rod", condition, 3)
        return _unit(jax.random.normal(key, (3, self.members)))

    def timestep(self, condition):
        """A fraction of 1/(6/De + |κ| + 2 times the rate at which one rod turns another at most)."""
        x = jnp.linspace(0.0, 0.999, 100)
        turn = 0.0 if self.potential is None else jnp.max(jnp.abs(self.potential.slope(x)) * jnp.sqrt(1.0 - x * x))
        return _RESOLVED / ((6.0 + 2.0 * turn) / self.De + jnp.sqrt(jnp.sum(condition**2)))

    def step(self, state, condition, dt, key):
        return self.advance(state, condition, dt, draw(key, state.shape, self.noise, state.dtype))

    def advance(self, state, condition, dt, noise: Float[Array, "3 members"]) -> Float[Array, "3 members"]:
        """The step with given numbers of variance 1."""
        m = self._drift(state, condition, 0.5 * dt)
        v = jnp.sqrt(2.0 * dt / self.De) * _across(m, noise)
        y = 0.25 * square(v)
        m = ((1.0 - y - 0.5 * y * y) * m + jnp.sqrt(1.0 + 0.5 * y) * v) / (1.0 + y + 0.5 * y * y)
        return self._drift(m, condition, 0.5 * dt)

    def link(self, state, condition):
        m, flow = state, square_form(condition, state)
        stress = 3.0 * second_moment(m) - jnp.eye(3) + 0.5 * self.De * _mean(flow * m, m)
        if self.potential is None:
            return stress
        return stress + _mean(_across(m, self.potential.force(m)), m)

    def _velocity(self, m, kappa):
        drift = carried(kappa, m)
        if self.potential is not None:
            drift = drift - self.potential.force(m) / self.De
        return _across(m, drift)

    def _drift(self, m, kappa, dt):
        middle = _unit(m + 0.5 * dt * self._velocity(m, kappa))
        return _unit(m + dt * self._velocity(middle, kappa))


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

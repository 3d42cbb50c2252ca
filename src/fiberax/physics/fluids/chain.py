"""Bead-spring chains in a homogeneous flow (6.1), (6.3), with the Rouse matrix R = tridiag(−1, 2, −1).

    dz_j = (κz_j − (1/4De) Σ_k R_jk f_k) dt + √(1/2De) (dB_{j+1} − dB_j),      τ = Σ_j ⟨f_j⊗z_j⟩

B is the noise of the beads. The scheme is that of `dumbbell`, with the spring itself implicit, and its neighbours taken
from the last guess (Somasi et al., J. Non-Newton. Fluid Mech. 108, 227, 2002): a first-order predictor, then two sweeps of the
corrector. One sweep has weak order 2 already; with two, errors of long steps do not grow either: in the limit of stiff springs
they multiply a mode by −1 + A² + A³, A = 1 − λ/2 between −1 and 1 for the eigenvalues λ of R, one sweep by −1 + A + A².

It has more than five public methods: those of a stochastic fiber that a flow carries.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fiberax.core.capabilities import AbstractEnsemble
from fiberax.core.errors import BadInput
from fiberax.core.fiber import AbstractStochastic
from fiberax.core.noise import Noise, draw
from fiberax.core.strategies import Within
from fiberax.physics.fluids.dumbbell import carried, check_condition, check_ensemble, kramers, own_step, square
from fiberax.physics.fluids.members import Controlled, moving, not_beyond, standard_errors
from fiberax.physics.fluids.springs import AbstractSpring, Hookean
from fiberax.physics.fluids.suspended import AbstractSuspended

_SWEEPS = 2


class Chain(AbstractStochastic, AbstractEnsemble, AbstractSuspended):
    """Bead-spring chains by an ensemble of Brownian members.

    Condition κ (dim, dim); state: springs (springs, dim, members); response τ (dim, dim), springs·I at rest.

    Args:
        spring: `Hookean()` (Rouse chains), `FENE(b)` or an `AbstractSpring` of your own; b is that of each spring.
        springs: Springs of a chain.
        dim: Dimension of the springs, 2 or 3.
        members: Size of the ensemble.
        De: Relaxation time of a single spring in units of the flow's time. The longest time of the stress is De/(2 sin²(π/(2
            springs + 2))).
        noise: As for `Dumbbell`.
        dtype: As for `Dumbbell`.
        control: As for `Dumbbell`.

    Raises:
        BadInput: A number out of range.
    """

    spring: AbstractSpring
    springs: int = eqx.field(static=True)
    dim: int = eqx.field(static=True)
    members: int = eqx.field(static=True)
    De: Float[Array, ""]
    noise: Noise = eqx.field(static=True)
    dtype: Any = eqx.field(static=True)
    control: bool = eqx.field(static=True)

    def __init__(
        self,
        spring: AbstractSpring | None = None,
        springs: int = 5,
        dim: int = 2,
        members: int = 1000,
        De=1.0,
        noise: Noise = "three-point",
        dtype: Any = None,
        control: bool = False,
    ):
        check_ensemble("Chain", dim, members, De, noise)
        if not isinstance(springs, int) or springs < 1:
            raise BadInput(f"Chain: springs must be a whole number, at least 1; it is {springs!r}.")
        self.spring, self.springs, self.dim, self.members = Hookean() if spring is None else spring, springs, dim, members
        self.De, self.noise, self.dtype = jnp.asarray(De, jnp.result_type(float)), noise, dtype
        self.control = control

    def init(self, condition, key) -> Float[Array, "springs dim members"] | Controlled:
        """Springs in equilibrium at rest."""
        check_condition("Chain", condition, self.dim)
        springs = jnp.swapaxes(self.spring.sample(key, self.dim, (self.springs, self.members), self._type), 0, 1)
        return Controlled(springs, springs) if self.control else springs

    def timestep(self, condition):
        """As of dumbbells, 1/De being a bound of all Rouse rates."""
        return own_step(condition, self.De)

    def step(self, state, condition, dt, key):
        beads = (self.springs + 1, self.dim, self.members)
        return self.advance(state, condition, dt, draw(key, beads, self.noise, self._type))

    def advance(self, state, condition, dt, noise: Float[Array, "beads dim members"]):
        """The step with given numbers of variance 1, those of the beads."""
        kappa, dt, De = (jnp.asarray(x).astype(self._type) for x in (condition, dt, self.De))
        weight = 0.25 * dt / De
        xi = jnp.sqrt(0.5 * dt / De) * jnp.swapaxes(noise[1:] - noise[:-1], 0, 1)

        def moved(springs, flow):
            z = jnp.swapaxes(springs, 0, 1)  # components first
            own, first = self.spring.factor(square(z)) * z, flow(z)
            beside = weight * _beside(own)
            guess = self._solve(z + first + beside + xi, 2.0 * weight)
            known = z + 0.5 * (first + flow(guess)) - weight * own + 0.5 * beside + xi
            for _ in range(_SWEEPS):
                others = _beside(self.spring.factor(square(guess)) * guess)
                guess = self._solve(known + 0.5 * weight * others, weight)
            return jnp.swapaxes(guess, 0, 1)

        new = moved(moving(state), lambda z: dt * carried(kappa, z))
        return Controlled(new, moved(state.rest, lambda z: 0.0)) if self.control else new

    def link(self, state, condition):
        def stress(springs):
            z = jnp.swapaxes(springs, 0, 1)
            return kramers(self.spring.factor(square(z)), z)

        if not self.control:
            return stress(state)
        return self.springs * jnp.eye(self.dim) + stress(state.members) - stress(state.rest)

    def standard_error(self, state, condition):
        """Standard error of the stress over the members, which are independent of one another."""
        first = jax.tree.map(lambda springs: jnp.swapaxes(springs, 0, 1), state)
        factors = jax.tree.map(lambda z: self.spring.factor(square(z)), first)

        def term(i, j):
            terms = jax.tree.map(lambda h, z: jnp.sum(h * z[i] * z[j], axis=0), factors, first)
            return terms.members - terms.rest if self.control else terms

        return standard_errors(term, self.dim, self.members)

    @property
    def mixing(self):
        return Within(self._kept)

    def relaxation_time(self, condition):
        """The longest Rouse time De/(2 sin²(π/(2 springs + 2)))."""
        return self.De / (2.0 * np.sin(0.5 * np.pi / (self.springs + 1)) ** 2)

    def _kept(self, state, safe):
        """Springs of an interpolation only where they keep away from their limit."""
        one = lambda z, mean: not_beyond(jnp.swapaxes(z, 0, 1), jnp.swapaxes(mean, 0, 1), self.spring.limit)
        return jax.tree.map(lambda z, mean: jnp.swapaxes(one(z, mean), 0, 1), state, safe)

    def _solve(self, right, weight):
        return self.spring.shorten(square(right), weight) * right

    @property
    def _type(self):
        return jnp.result_type(float) if self.dtype is None else self.dtype


def _beside(force: Float[Array, "dim springs members"]) -> Float[Array, "dim springs members"]:
    """f_{j−1} + f_{j+1}, zero beyond the ends."""
    zero = jnp.zeros_like(force[:, :1])
    return jnp.concatenate([force[:, 1:], zero], axis=1) + jnp.concatenate([zero, force[:, :-1]], axis=1)

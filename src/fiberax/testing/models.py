"""Small fibers and macro models whose responses, spectra or averages are known in closed form."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fiberax.core.fiber import AbstractEnergy, AbstractFlow, AbstractStochastic
from fiberax.core.macro import AbstractMacro, Layout
from fiberax.core.solvers import Minimise, Newton


class LinearFlow(AbstractFlow):
    """du/dτ = −K u + b U with a matrix K (n, n), a load b (n,) and a number U; response c·u, c (n,).

    Truth: A(U) = (c·K⁻¹b) U, and deviations from equilibrium decay with the eigenvalues of K.

    Args:
        matrix: K (n, n).
        load: b (n,).
        reading: c (n,).
        symmetric: Whether K is symmetric and positive definite.
    """

    matrix: Float[Array, "n n"] = eqx.field(converter=jnp.asarray)
    load: Float[Array, " n"] = eqx.field(converter=jnp.asarray)
    reading: Float[Array, " n"] = eqx.field(converter=jnp.asarray)
    symmetric: bool = eqx.field(static=True, default=False)

    @property
    def solver(self):
        return Newton(symmetric=self.symmetric)

    def init(self, condition, key):
        return jnp.zeros_like(self.load) * condition

    def rate(self, state, condition):
        return self.load * condition - self.matrix @ state

    def link(self, state, condition):
        return self.reading @ state

    def slope(self) -> Array:
        """dA/dU, the same at every U."""
        return self.reading @ jnp.linalg.solve(self.matrix, self.load)


class CubicFlow(AbstractFlow):
    """du/dτ = speed·(U − u − a u³), U, u and the response u numbers. Truth: u is the inverse of U = u + a u³.

    Args:
        a: a ≥ 0.
        speed: Rate of relaxation at u = 0, positive, per fiber time.
    """

    a: Float[Array, ""] = eqx.field(converter=jnp.asarray, default=1.0)
    speed: Float[Array, ""] = eqx.field(converter=jnp.asarray, default=1.0)

    @property
    def solver(self):
        return Newton(symmetric=True)

    def init(self, condition, key):
        return jnp.zeros_like(condition)

    def rate(self, state, condition):
        return self.speed * (condition - state - self.a * state**3)

    def link(self, state, condition):
        return state

    def condition_of(self, response):
        """U for a given response."""
        return response + self.a * response**3

    def slope_at(self, response):
        """dA/dU for a given response."""
        return 1.0 / (1.0 + 3.0 * self.a * response**2)


class Spring(AbstractEnergy):
    """W = ½k(u − U²)² + ½c u², u and U numbers. Truth: u = kU²/(k+c), W_CB = ½ kc/(k+c) U⁴, A = 2 kc/(k+c) U³.

    Args:
        k: k > 0.
        c: c > 0.
    """

    k: Float[Array, ""] = eqx.field(converter=jnp.asarray, default=3.0)
    c: Float[Array, ""] = eqx.field(converter=jnp.asarray, default=1.0)

    def init(self, condition, key):
        return jnp.zeros_like(condition)

    def energy(self, state, condition):
        return 0.5 * self.k * (state - condition**2) ** 2 + 0.5 * self.c * state**2

    def truth(self, condition):
        """State, energy, response and tangent at equilibrium."""
        joint = self.k * self.c / (self.k + self.c)
        state = self.k / (self.k + self.c) * condition**2
        return state, 0.5 * joint * condition**4, 2.0 * joint * condition**3, 6.0 * joint * condition**2


class DoubleWell(AbstractEnergy):
    """W = ¼(u² − 1)² − U u, u and U numbers: two minima where |U| < 2/(3√3), and `init` on the maximum for U = 0."""

    def init(self, condition, key):
        return jnp.zeros_like(condition)

    def energy(self, state, condition):
        return 0.25 * (state**2 - 1.0) ** 2 - condition * state


class TwoSpringChain(AbstractEnergy):
    """W(A, p) = V(p) + V(1 + A − p) (4.9), V(r) = ½k(r − ½)² + ¼q(r − ½)⁴, p the shift, A the strain.

    Truth: p = (1 + A)/2, F(A) = V'((1 + A)/2); with frozen p the wave speed is c² = V'', at equilibrium c² = V''/2.

    Args:
        k: Stiffness of a spring, positive.
        q: Quartic coefficient, at least 0.
    """

    k: Float[Array, ""] = eqx.field(converter=jnp.asarray, default=1.0)
    q: Float[Array, ""] = eqx.field(converter=jnp.asarray, default=0.0)

    def init(self, condition, key):
        return 0.5 + 0.0 * condition

    def potential(self, r):
        """V(r)."""
        return 0.5 * self.k * (r - 0.5) ** 2 + 0.25 * self.q * (r - 0.5) ** 4

    def energy(self, state, condition):
        return self.potential(state) + self.potential(1.0 + condition - state)

    def truth(self, condition):
        """State, energy and response at equilibrium."""
        r = 0.5 * (1.0 + condition)
        return r, 2.0 * self.potential(r), jax.vmap(jax.grad(self.potential))(jnp.atleast_1d(r)).reshape(jnp.shape(r))


class SharedLoad(AbstractEnergy):
    """W = ½ mean(w u²) under mean(u) = U, u and w of shape (n,): a constraint that moves with the condition U, a number.

    The metric is the cell volume 1/n. Truth with h = 1/mean(1/w): u = hU/w, W_CB = ½hU², A = λ = hU.

    Args:
        weights: w (n,), positive.
    """

    weights: Float[Array, " n"] = eqx.field(converter=jnp.asarray)

    def init(self, condition, key):
        return condition + jnp.zeros_like(self.weights)

    def energy(self, state, condition):
        return 0.5 * jnp.mean(self.weights * state**2)

    def constraint(self, state, condition):
        return jnp.mean(state, keepdims=True) - condition

    def metric(self, state):
        return 1.0 / state.size

    @property
    def solver(self):
        return Minimise(lambda residual, condition, shift: -residual / (jnp.mean(self.weights) + shift))

    def stiffness(self) -> Array:
        """h, the harmonic mean of the weights."""
        return 1.0 / jnp.mean(1.0 / self.weights)


class GroundState(AbstractEnergy):
    """W = ½ uᵀ(H + U·V)u under |u|² = 1 with symmetric H, V (n, n) and a number U. Truth: W_CB = ½ smallest eigenvalue.

    Args:
        base: H (n, n).
        change: V (n, n).
    """

    base: Float[Array, "n n"] = eqx.field(converter=jnp.asarray)
    change: Float[Array, "n n"] = eqx.field(converter=jnp.asarray)

    def init(self, condition, key):
        size = self.base.shape[0]
        return jnp.ones((size,)) / size**0.5

    def energy(self, state, condition):
        return 0.5 * state @ (self.base + condition * self.change) @ state

    def constraint(self, state, condition):
        return state @ state - jnp.ones((1,))

    def truth(self, condition):
        """Energy and response."""
        values, vectors = np.linalg.eigh(np.asarray(self.base + condition * self.change))
        return 0.5 * values[0], 0.5 * vectors[:, 0] @ np.asarray(self.change) @ vectors[:, 0]


class OrnsteinUhlenbeck(AbstractStochastic):
    """dz = −k(z − U)dτ + √(2D) dW for `members` independent copies, stepped exactly; response mean(z²).

    Truth in the long run: ⟨z²⟩ = U² + D/k, with variance (4U²D/k + 2(D/k)²)/members and correlation time ≤ 1/k.

    Args:
        k: k > 0, per fiber time.
        diffusion: D > 0.
        members: Number of copies; states are (members,).
    """

    k: Float[Array, ""] = eqx.field(converter=jnp.asarray, default=1.0)
    diffusion: Float[Array, ""] = eqx.field(converter=jnp.asarray, default=0.5)
    members: int = eqx.field(static=True, default=16)

    def init(self, condition, key):
        return condition + jnp.sqrt(self.diffusion / self.k) * jax.random.normal(key, (self.members,))

    def step(self, state, condition, dt, key):
        decay = jnp.exp(-self.k * dt)
        spread = jnp.sqrt(self.diffusion / self.k * (1.0 - decay**2))
        return condition + decay * (state - condition) + spread * jax.random.normal(key, state.shape, state.dtype)

    def link(self, state, condition):
        return jnp.mean(state**2)

    def mean(self, condition):
        """⟨z²⟩ in the long run."""
        return condition**2 + self.diffusion / self.k

    def variance(self, condition):
        """Variance of one response in the long run."""
        spread = self.diffusion / self.k
        return (4.0 * condition**2 * spread + 2.0 * spread**2) / self.members


class Decay(AbstractMacro):
    """dU/dt = source − A at independent sites; U and A of shape (sites,).

    Args:
        sites: Number of sites.
        source: A number or (sites,).
    """

    sites: int = eqx.field(static=True)
    source: Float[Array, ""] = eqx.field(converter=jnp.asarray, default=0.0)

    def conditions(self, macro):
        return macro

    def rate(self, t, macro, response):
        return self.source - response

    def positions(self):
        return np.arange(self.sites, dtype=float)[:, None]

    def layout(self):
        return Layout(("x",), {"x": np.arange(self.sites, dtype=float)})

    def example(self):
        return jax.ShapeDtypeStruct((self.sites,), jnp.result_type(float))


class Heat(AbstractMacro):
    """∂U/∂t = ∂_x(D ∂_x U) on a periodic interval of the given length, D the response in each of `cells` cells.

    For constant D the eigenvalues are −(4D/dx²) sin²(πj/cells).

    Args:
        cells: Number of cells.
        length: Length of the interval.
    """

    cells: int = eqx.field(static=True)
    length: float = eqx.field(static=True, default=1.0)

    def conditions(self, macro):
        return macro

    def rate(self, t, macro, response):
        dx = self.length / self.cells
        face = 0.5 * (response + jnp.roll(response, -1))
        flux = face * (jnp.roll(macro, -1) - macro) / dx
        return (flux - jnp.roll(flux, 1)) / dx

    def example(self):
        return jax.ShapeDtypeStruct((self.cells,), jnp.result_type(float))


class Motion(NamedTuple):
    """Macrostate of `ElasticWave`.

    Args:
        strain: A (cells,).
        velocity: v (cells,).
    """

    strain: Array
    velocity: Array


class ElasticWave(AbstractMacro):
    """density·∂v/∂t = ∂_x F(A), ∂A/∂t = ∂_x v on a periodic staggered grid; conditions are the strains A (cells,).

    The scheme conserves dx Σ (½ density v² + W(A)) in time, exactly where F is a function of A alone.

    Args:
        cells: Number of cells.
        length: Length of the interval.
        density: Mass density, positive.
    """

    cells: int = eqx.field(static=True)
    length: float = eqx.field(static=True, default=1.0)
    density: Float[Array, ""] = eqx.field(converter=jnp.asarray, default=1.0)

    def conditions(self, macro):
        return macro.strain

    def rate(self, t, macro, response):
        dx = self.length / self.cells
        force = (response - jnp.roll(response, 1)) / dx
        return Motion((jnp.roll(macro.velocity, -1) - macro.velocity) / dx, force / self.density)

    def example(self):
        return jax.eval_shape(lambda: Motion(jnp.zeros(self.cells), jnp.zeros(self.cells)))

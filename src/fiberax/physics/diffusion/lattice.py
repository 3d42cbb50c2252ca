"""The Ginzburg-Landau lattice of Guo, Papanicolaou and Varadhan as a fiber, (5.1)-(5.7).

The equations are the mended ones (docs: mathematics, Interacting diffusion).

H = (κ/2) Σ_bonds |φ_i − φ_j|² + Σ_i V(φ_i) on a periodic lattice, held at the mean φ̄ = U. With μ = ∂H/∂φ, mobility 1/(2η):

    exchange:  dφ_i = Σ_{j~i} { (μ_j − μ_i)/(2η) dt + dW_ij/√(ηβ) },  W_ij = −W_ji      (5.6); slowest mode ~ N² steps
    global:    dφ_i = −(μ_i − μ̄)/(2η) dt + (dW_i − dW̄)/√(ηβ)                           the same invariant measure, faster

Both are dφ = −M∇H dt + √(2M/β) dW with a constant M = B Bᵀ. The scheme of Leimkuhler and Matthews (Appl. Math. Res. Express
2013, 34), φ' = φ − M∇H dt + √(2dt/β) B (R + R')/2, then has a bias of O(dt²) in the invariant measure at one force a step.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fiberax.core.capabilities import AbstractEnsemble
from fiberax.core.errors import BadInput
from fiberax.core.fiber import AbstractStochastic
from fiberax.core.noise import Noise, check_noise, draw
from fiberax.core.strategies import Forbidden
from fiberax.numerics import trees

Dynamics = Literal["exchange", "global"]
_RESOLVED = 0.25  # time step times the fastest rate


class Lattice(NamedTuple):
    """State of `GinzburgLandau`.

    Args:
        field: φ (*sites, replicas).
        noise: B R of the last step, of the same shape.
    """

    field: Float[Array, "*sites replicas"]
    noise: Float[Array, "*sites replicas"]


class GinzburgLandau(AbstractStochastic, AbstractEnsemble):
    """Lattices of `sites`^`dim` continuous spins (5.1)-(5.7).

    Condition U (), the mean of every replica at all times; state `Lattice`; response A(U) ().

    Args:
        V: Energy of one site, any elementwise function of φ that JAX can differentiate.
        sites: Sites along each axis.
        dim: Number of axes.
        beta: Inverse temperature, in units of 1/H.
        coupling: κ; 2 is the paper's sum over ordered pairs.
        friction: η; time is in units of η.
        replicas: Independent lattices, over which the response ½⟨∂H/∂φ⟩ = ½⟨V'(φ)⟩ is averaged.
        dynamics: "global" (default) or "exchange", see the top of this module; A is the same.
        noise: "gaussian" or "three-point".

    At low temperature in a V of two wells the lattice may not mix within any affordable time; `fx.sample` reports this.

    Raises:
        BadInput: A number out of range.
    """

    V: Callable
    sites: int = eqx.field(static=True)
    dim: int = eqx.field(static=True)
    beta: Float[Array, ""]
    coupling: Float[Array, ""]
    friction: Float[Array, ""]
    replicas: int = eqx.field(static=True)
    dynamics: Dynamics = eqx.field(static=True)
    noise: Noise = eqx.field(static=True)

    def __init__(
        self,
        V: Callable,
        sites: int = 64,
        dim: int = 1,
        beta=1.0,
        coupling=2.0,
        friction=1.0,
        replicas: int = 16,
        dynamics: Dynamics = "global",
        noise: Noise = "three-point",
    ):
        for name, value, low in (("sites", sites, 3), ("dim", dim, 1), ("replicas", replicas, 1)):
            if not isinstance(value, int) or value < low:
                raise BadInput(f"GinzburgLandau: {name} must be a whole number, at least {low}; it is {value!r}.")
        if dim > 3:
            raise BadInput(f"GinzburgLandau: dim = {dim}; lattices have one, two or three dimensions.")
        if dynamics not in get_args(Dynamics):
            raise BadInput(f"GinzburgLandau: dynamics={dynamics!r} is not one of 'exchange', 'global'.")
        for name, value in (("beta", beta), ("friction", friction)):
            if not trees.is_tracer(value) and not 0.0 < float(value) < float("inf"):
                raise BadInput(f"GinzburgLandau: {name} must be positive and finite; it is {value!r}.")
        if not trees.is_tracer(coupling) and not 0.0 <= float(coupling) < float("inf"):
            raise BadInput(f"GinzburgLandau: coupling must not be negative; it is {coupling!r}.")
        check_noise("GinzburgLandau", noise)
        real = lambda x: jnp.asarray(x, jnp.result_type(float))
        self.V, self.sites, self.dim, self.replicas = V, sites, dim, replicas
        self.beta, self.coupling, self.friction = real(beta), real(coupling), real(friction)
        self.dynamics, self.noise = dynamics, noise

    def init(self, condition, key) -> Lattice:
        """Spins of the Gaussian spread of the coupled lattice at its site energy's curvature, around U."""
        first, second = jax.random.split(key)
        shape = (*(self.sites,) * self.dim, self.replicas)
        spread = 1.0 / jnp.sqrt(self.beta * (2 * self.dim * self.coupling + jnp.abs(self.curvature(condition)) + 1e-6))
        field = condition + spread * self._projected(draw(first, shape, "gaussian", condition.dtype))
        return Lattice(field, self._spread_out(second, shape, condition.dtype))

    def timestep(self, condition):
        """A quarter of the inverse of the fastest rate at U."""
        stiffness = 4 * self.dim * self.coupling + jnp.abs(self.curvature(condition))
        rate = stiffness * (4 * self.dim if self.dynamics == "exchange" else 1.0) / (2.0 * self.friction)
        return _RESOLVED / rate

    def step(self, state: Lattice, condition, dt, key) -> Lattice:
        field = state.field + (condition - self._mean(state.field))  # the mean follows U (λ = dU/dt)
        slope = self._slope(field)
        drift = self._laplacian(slope) if self.dynamics == "exchange" else self._mean(slope) - slope
        noise = self._spread_out(key, field.shape, field.dtype)
        kick = jnp.sqrt(dt / (self.beta * self.friction))
        field = field + 0.5 * dt / self.friction * drift + 0.5 * kick * (state.noise + noise)
        return Lattice(field + (condition - self._mean(field)), noise)

    def link(self, state: Lattice, condition):
        """A = ½ (1/N) Σ ∂H/∂φ_i: the coupling sums to zero."""
        held = state.field + (condition - self._mean(state.field))
        return 0.5 * jnp.mean(self._force(held))

    def standard_error(self, state: Lattice, condition):
        """Standard error of A over the replicas; None for a single one, whose sites are correlated."""
        if self.replicas == 1:
            return None
        held = state.field + (condition - self._mean(state.field))
        each = 0.5 * jnp.mean(self._force(held), axis=self._axes())
        return jnp.std(each, ddof=1) / self.replicas**0.5

    @property
    def mixing(self):
        return Forbidden("means of the spins of several sites fluctuate less than the spins of any, and are in no equilibrium")

    def _force(self, field):
        """V'(φ), elementwise."""
        return jax.jvp(self.V, (field,), (jnp.ones_like(field),))[1]

    def _slope(self, field):
        return self._force(field) - self.coupling * self._laplacian(field)

    def curvature(self, condition):
        """V''(U), of one site by itself."""
        slope = lambda x: jax.jvp(self.V, (x,), (jnp.ones_like(x),))[1]
        return jax.jvp(slope, (condition,), (jnp.ones_like(condition),))[1]

    def _axes(self) -> tuple[int, ...]:
        return tuple(range(self.dim))

    def _mean(self, field):
        return jnp.mean(field, axis=self._axes(), keepdims=True)

    def _projected(self, field):
        return field - self._mean(field)

    def _laplacian(self, field):
        around = sum(jnp.roll(field, 1, axis=k) + jnp.roll(field, -1, axis=k) for k in self._axes())
        return around - 2 * self.dim * field

    def _spread_out(self, key, shape, dtype):
        """B R: noise of the bonds with opposite signs at their ends, or of the sites without its mean."""
        if self.dynamics == "global":
            return self._projected(draw(key, shape, self.noise, dtype))
        bonds = draw(key, (self.dim, *shape), self.noise, dtype)
        ends = [bonds[k] - jnp.roll(bonds[k], 1, axis=axis) for k, axis in enumerate(self._axes())]
        return sum(ends[1:], start=ends[0])

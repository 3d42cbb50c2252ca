"""The steady density of FENE dumbbells in flows without vorticity, which is known (H. A. Kramers, Physica 11 (1944) 1).

    ψ ∝ (1 − |z|²/b)^{b/2} exp(De z·κz)    where κ = κᵀ

(R. B. Bird et al., Dynamics of Polymeric Liquids 2 (1987), 13.2.) Integrals are by quadrature in the frame of κ, with nodes
that are dense where strong flows draw springs out.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.special import roots_jacobi

from fiberax.core.errors import BadInput
from fiberax.core.fiber import AbstractFlow
from fiberax.numerics.result import Result
from fiberax.physics.fluids.conformation import check_dim, check_number
from fiberax.physics.fluids.density import check_gradient
from fiberax.physics.fluids.springs import FENE
from fiberax.physics.fluids.suspended import AbstractSuspended

_RADII, _POLAR, _TURNS = 128, 64, 40
_SYMMETRIC = 1e-9  # vorticity over the rate of strain that counts as none


class ExtensionDensity(AbstractFlow, AbstractSuspended):
    """FENE dumbbells in steady extension, planar, uniaxial, biaxial or any other, exactly and at any rate.

    Condition κ (dim, dim), symmetric; state De κ; response τ = ⟨f⊗z⟩ (dim, dim), I at rest. With vorticity the density is not
    known, and the response NaN: use `DumbbellDensity` or `Dumbbell` there, and for flows that change in time.

    Args:
        spring: `FENE(b)`.
        dim: 2 or 3.
        De: Relaxation time in units of the flow's time, which is also the fiber's.

    Stresses are exact to 1e-6 or better up to De times rate = 100 with b = 50. Derivatives are those among symmetric κ.

    Raises:
        BadInput: A spring that is not FENE, or a number out of range.
    """

    b: float = eqx.field(static=True)
    dim: int = eqx.field(static=True)
    De: Float[Array, ""]
    square: Float[Array, " radii"]  # |z|²/b
    weight: Float[Array, " radii"]  # of ∫ (1 − s²)^{b/2 − 1} s^{dim − 1} ds
    directions: Float[Array, "directions dim"]  # on half the sphere
    area: Float[Array, " directions"]

    def __init__(self, spring: FENE, dim: int = 3, De=1.0):
        who = "ExtensionDensity"
        if not isinstance(spring, FENE):
            raise BadInput(f"{who}: the density is known for FENE(b); the spring is {spring!r}. Use Dumbbell for others.")
        self.b, self.dim, self.De = float(spring.b), check_dim(who, dim), check_number(who, "De", De, 0.0)
        square, weight = _radii(self.b, dim)
        real = lambda x: jnp.asarray(x, jnp.result_type(float))
        self.square, self.weight = real(square), real(weight)
        directions, area = _half_circle() if dim == 2 else _half_sphere()
        self.directions, self.area = real(directions), real(2.0 * area)

    def init(self, condition, key):
        """The equilibrium at rest."""
        check_gradient("ExtensionDensity", condition, self.dim)
        return jnp.zeros((self.dim, self.dim))

    def rate(self, state, condition):
        return condition - state / self.De

    def link(self, state, condition):
        frame, _, drawn = self._drawn(state)
        along = self.b * (self.weight * self.square) @ drawn
        stress = self._moved(frame, along) / jnp.sum((self.weight * (1.0 - self.square)) @ drawn)
        turning = jnp.sum((state - state.T) ** 2) > _SYMMETRIC**2 * jnp.sum(state**2)
        return jnp.where(turning, jnp.nan, stress)

    def moment(self, state) -> Float[Array, "dim dim"]:
        """⟨zz⟩."""
        frame, _, drawn = self._drawn(state)
        weight = self.weight * (1.0 - self.square)
        return self._moved(frame, self.b * (weight * self.square) @ drawn) / jnp.sum(weight @ drawn)

    def density(self, state, points) -> Float[Array, " points"]:
        """ψ at `points` (points, dim)."""
        points = jnp.asarray(points, jnp.result_type(float))
        _, top, drawn = self._drawn(state)
        total = self.b ** (0.5 * self.dim) * jnp.sum((self.weight * (1.0 - self.square)) @ drawn)
        inside = jnp.maximum(1.0 - jnp.sum(points**2, axis=1) / self.b, 0.0)
        return inside ** (0.5 * self.b) * jnp.exp(jnp.sum(points * (points @ state), axis=1) - top) / total

    def remedy(self, result):
        return "only for symmetric κ: else take DumbbellDensity, or members" if result == Result.NONFINITE else ""

    def _drawn(self, state):
        """The frame, the largest exponent, and exp(z·Sz) over it times areas (radii, directions)."""
        strain = 0.5 * (state + state.T)
        # Integrals do not depend on where the nodes are, so that the frame is a constant in derivatives.
        values, frame = jnp.linalg.eigh(jax.lax.stop_gradient(strain))
        if self.dim == 3:  # the third axis is that which differs most from the others
            frame = jnp.where(values[2] - values[1] < values[1] - values[0], frame[:, ::-1], frame)
        growth = jnp.sum(self.directions * (self.directions @ (frame.T @ strain @ frame)), axis=1)
        exponent = self.b * self.square[:, None] * growth
        top = jax.lax.stop_gradient(jnp.max(exponent))
        return frame, top, self.area * jnp.exp(exponent - top)

    def _moved(self, frame, weight):
        """∑ weight d⊗d of the directions, out of the frame."""
        return frame @ (weight * self.directions.T @ self.directions) @ frame.T


def _radii(b: float, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """s² and weights of ∫ (1 − s²)^{b/2 − 1} s^{dim − 1} ds, by Gauss's rule in q = √(1 − s²): dense where s is near 1."""
    part = (b - 1.0) % 1.0
    node, weight = roots_jacobi(_RADII, 0.5 * dim - 1.0, part)
    q = 0.5 * (1.0 + node)
    weight = weight * 0.5 ** (0.5 * dim + part) * q ** (b - 1.0 - part) * (1.0 + q) ** (0.5 * dim - 1.0)
    return 1.0 - q**2, weight


def _half_circle() -> tuple[np.ndarray, np.ndarray]:
    """Directions and arcs; dense about the second axis, along which springs are drawn out."""
    angle, weight = _interval(2 * _POLAR, 0.5 * np.pi)
    angle, weight = np.concatenate([angle, -angle]), np.concatenate([weight, weight])
    return np.stack([np.sin(angle), np.cos(angle)], axis=1), weight


def _half_sphere() -> tuple[np.ndarray, np.ndarray]:
    """Directions and areas; dense about the third axis and about the plane across it."""
    v, weight = _interval(_POLAR, 1.0)
    height, weight = v**2 * (3.0 - 2.0 * v), 6.0 * v * (1.0 - v) * weight
    turn, arc = _interval(_TURNS, 0.5 * np.pi)
    turn, arc = np.concatenate([turn, np.pi - turn, np.pi + turn, -turn]), np.tile(arc, 4)
    flat = np.sqrt(1.0 - height**2)
    points = [np.outer(flat, np.sin(turn)), np.outer(flat, np.cos(turn)), np.outer(height, np.ones_like(turn))]
    return np.stack(points, axis=-1).reshape(-1, 3), np.outer(weight, arc).ravel()


def _interval(points: int, length: float) -> tuple[np.ndarray, np.ndarray]:
    """Gauss's rule from 0 to `length`."""
    node, weight = np.polynomial.legendre.leggauss(points)
    return 0.5 * length * (1.0 + node), 0.5 * length * weight

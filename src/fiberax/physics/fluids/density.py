"""Base of the Fokker-Planck fibers of dumbbells and rods: ψ as a sum of basis functions of which the first has all the mass.

The state holds the other coefficients, so that the mass is 1 exactly, at all times. A spectral density that is not resolved
turns negative somewhere; how much of it does is the fiber's `stability_margin`, and `explain` says where.
"""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fiberax.core.capabilities import AbstractMonitored
from fiberax.core.errors import BadInput
from fiberax.core.fiber import AbstractFlow
from fiberax.core.solvers import solver_of
from fiberax.numerics import trees
from fiberax.numerics.result import Result
from fiberax.physics.fluids.suspended import AbstractSuspended

_LEAST = 1e-3  # of the largest rate, below which no reach is looked for
NEGATIVE = 0.25  # negative mass at which a density is rejected; below it stresses were within 0.1 % in trials


class Grid(eqx.Module):
    """Points (points, dim) over one half of an even density, weights for the whole, and basis functions (points, n)."""

    points: Float[Array, "points dim"]
    weights: Float[Array, " points"]
    values: Float[Array, "points n"]


class AbstractDensity(AbstractFlow, AbstractMonitored, AbstractSuspended):
    """An even probability density; the state (n − 1,) holds its coefficients except the first, which is `constant`.

    It has more than five public methods: those of a flow fiber, `density`, and `reach`.
    """

    grid: eqx.AbstractVar[Grid]
    constant: eqx.AbstractVar[float]
    degree: eqx.AbstractVar[int]

    @property
    @abc.abstractmethod
    def largest(self) -> int:
        """The largest degree that can be made."""

    @abc.abstractmethod
    def basis(self, points: np.ndarray) -> np.ndarray:
        """Basis functions (points, n) at `points` (points, dim)."""

    def density(self, state, points) -> Float[Array, " points"]:
        """The density of a state.

        Args:
            state: Coefficients, (n − 1,).
            points: Where to take it, (points, dim).

        Returns:
            ψ, (points,).

        Raises:
            BadInput: Points of another shape.
        """
        points = np.asarray(points, float)
        dim = self.grid.points.shape[1]
        if points.ndim != 2 or points.shape[1] != dim:
            raise BadInput(f"{type(self).__name__}.density: points are rows of {dim} numbers; their shape is {points.shape}.")
        return jnp.asarray(self.basis(points)) @ self.full(state)

    def full(self, state) -> Float[Array, " n"]:
        """All coefficients."""
        return jnp.concatenate([jnp.full((1,), self.constant, state.dtype), state])

    def negative(self, state) -> Float[Array, ""]:
        """∫ max(−ψ, 0), zero for a true density."""
        return -jnp.sum(self.grid.weights * jnp.minimum(self.grid.values @ self.full(state), 0.0))

    def stability_margin(self, state, condition):
        """1/4 less the negative mass: beyond it the degree is too low for the flow."""
        return NEGATIVE - self.negative(state)

    def reach(self, gradient: Any, most: float) -> float:
        """The largest rate up to `most`, to 2 %, at which the steady density in the flow rate × `gradient` is resolved.

        Args:
            gradient: G (dim, dim), of which κ is a multiple.
            most: Largest rate to look at.

        Returns:
            The rate, 0 where none is found above 1e-3 times `most`.
        """
        start = self.init(jnp.asarray(gradient, jnp.result_type(float)), jax.random.key(0))
        solve = jax.jit(lambda kappa: solver_of(self).solve(self, start, kappa, 1e-8)[1].result)
        resolved = lambda rate: int(solve(rate * jnp.asarray(gradient, start.dtype))) == Result.SUCCESS
        low, high = most, most
        while not resolved(low):
            low, high = 0.5 * low, low
            if low < _LEAST * most:
                return 0.0
        while high > 1.02 * low:
            middle = (low * high) ** 0.5
            low, high = (middle, high) if resolved(middle) else (low, middle)
        return low

    def remedy(self, result):
        if result not in (Result.OUT_OF_RANGE, Result.TRUNCATED):
            return ""
        if self.degree >= self.largest:
            return f"lower rates, or an ensemble of members: no degree is possible above {self.largest}"
        return f"a larger degree, up to {self.largest}" + (
            ", if there is a steady state" if result == Result.OUT_OF_RANGE else ""
        )

    def explain(self, state, condition):
        psi = np.asarray(self.grid.values @ self.full(state))
        worst = int(np.argmin(psi))
        return (
            f"The density is negative (mass {float(self.negative(state)):.2g}; at worst {psi[worst]:.3g} at "
            f"{np.array2string(np.asarray(self.grid.points[worst]), precision=3)}, its maximum being {psi.max():.3g}): "
            f"{type(self).__name__} of degree {self.degree} does not resolve it. "
            + (f"Raise degree, up to {self.largest}." if self.degree < self.largest else "No larger degree is possible.")
        )


def check_density(who: str, De: Any, degree: Any) -> None:
    """Raise `BadInput` for impossible numbers."""
    if not isinstance(degree, int) or degree < 4 or degree % 2:
        raise BadInput(f"{who}: degree must be an even whole number, at least 4; it is {degree!r}.")
    if not trees.is_tracer(De) and not 0.0 < float(De) < float("inf"):
        raise BadInput(f"{who}: De must be positive and finite; it is {De!r}.")


def check_gradient(who: str, condition: Any, dim: int) -> None:
    """Raise `BadInput` where the condition is no velocity gradient of `dim` dimensions."""
    if jnp.shape(condition) != (dim, dim):
        raise BadInput(
            f"{who}: the condition is the velocity gradient κ ({dim}, {dim}), κ_ij = ∂U_i/∂x_j; "
            f"its shape is {jnp.shape(condition)}."
        )

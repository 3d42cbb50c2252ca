"""Dumbbells by their Fokker-Planck equation (6.1), in a homogeneous flow.

    ∂_t ψ = −∇·((κz − f/(2De)) ψ) + Δψ/(2De),      τ = ∫ f⊗z ψ dz

FENE densities in ball polynomials (`ball.py`). A Gaussian density of Hookean dumbbells stays Gaussian: its
covariance is the whole state.
"""

import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fiberax.core.capabilities import AbstractTangent
from fiberax.core.errors import BadInput
from fiberax.core.solvers import Newton
from fiberax.numerics import trees
from fiberax.numerics.result import Result, outcome
from fiberax.physics.fluids import ball
from fiberax.physics.fluids.conformation import AbstractConformation, check_dim, check_number
from fiberax.physics.fluids.density import AbstractDensity, Grid, check_density, check_gradient
from fiberax.physics.fluids.springs import FENE, AbstractSpring, Hookean

_DOUBLINGS = 8  # of the time in which a conformation is known by its series
_TERMS = 5  # of that series
_SERIES = 18
_LARGEST = 2500  # basis functions; their matrices then take 1/2 GB


class DumbbellDensity(AbstractDensity, AbstractTangent):
    """FENE dumbbells by their density ψ(z) (6.1).

    Condition κ (dim, dim), κ_ij = ∂U_i/∂x_j; state: coefficients of ψ; response τ = ⟨f⊗z⟩ (dim, dim), I at rest.

    Args:
        spring: `FENE(b)`, with b a plain number.
        dim: 2 or 3.
        De: Relaxation time in units of the flow's time, which is also the fiber's.
        degree: Total degree of the polynomials, even; by default 24 in two dimensions (169 basis functions), 16 in three
            (525).

    In shear at Wi = 10 the default degrees give the shear stress of b = 10 to 1e-5, and that of b = 50 in two dimensions to
    1e-4. A density that is not resolved turns negative; solves end with `Result.OUT_OF_RANGE` where its negative mass exceeds
    1/4. With b = 50 the default degrees reach rates times De of 21 (9.5 in three dimensions) in shear and 1.2 (0.8) in
    extension, the largest possible ones 97 (17) and 4.9 (1.2); `reach` finds it for any flow. Steady
    extension at any rate has a density of its own, `ExtensionDensity`.

    Raises:
        BadInput: A number out of range.
    """

    b: float = eqx.field(static=True)
    dim: int = eqx.field(static=True)
    De: Float[Array, ""]
    degree: int = eqx.field(static=True)
    sigma: float = eqx.field(static=True)
    constant: float = eqx.field(static=True)
    flow: Float[Array, "dim dim n n"]
    diffusion: Float[Array, "n n"]
    stress: Float[Array, "dim dim n"]
    rest: Float[Array, " n-1"]
    grid: Grid

    def __init__(self, spring: AbstractSpring, dim: int = 2, De=1.0, degree: int | None = None):
        who = "DumbbellDensity"
        b = _reach(spring)
        if dim not in (2, 3):
            raise BadInput(f"{who}: dim must be 2 or 3; it is {dim!r}.")
        degree = (24 if dim == 2 else 16) if degree is None else degree
        check_density(who, De, degree)
        n = ball.size(dim, degree)
        if n > _LARGEST:
            raise BadInput(
                f"{who}: degree {degree} makes {n} basis functions; up to {_LARGEST} are stored. Lower degree to "
                f"{largest_degree(dim)} or less."
            )
        real = lambda x: jnp.asarray(x, jnp.result_type(float))
        self.b, self.dim, self.degree, self.De = b, dim, degree, real(De)
        self.sigma = ball.natural_weight(b)
        parts = ball.matrices(dim, b, self.sigma, degree)
        self.constant = float(parts.mass)
        self.flow, self.diffusion, self.stress = real(parts.flow), real(parts.diffusion), real(parts.stress)
        self.rest = real(-np.linalg.solve(parts.diffusion[1:, 1:], parts.diffusion[1:, 0] * parts.mass))
        points, weights = ball.points(dim, b, self.sigma, degree)
        self.grid = Grid(real(points), real(weights), real(self.basis(points)))

    def basis(self, points):
        return ball.evaluate(self.dim, self.b, self.sigma, self.degree, points)

    @property
    def largest(self):
        return largest_degree(self.dim)

    def init(self, condition, key):
        """The equilibrium at rest."""
        check_gradient("DumbbellDensity", condition, self.dim)
        return self.rest

    def rate(self, state, condition):
        full = self.full(state)
        carried = jnp.tensordot(condition, self.flow[:, :, 1:] @ full, 2)
        return carried + self.diffusion[1:] @ full / self.De

    def link(self, state, condition):
        return self.stress @ self.full(state)

    @property
    def solver(self):
        return _Dense(dense_limit=self.grid.values.shape[1])

    def tangent(self, state, condition):
        """∂τ_ij/∂κ_kl by one dense solve."""
        moved = self.flow[:, :, 1:] @ self.full(state)
        return -jnp.tensordot(self.stress[:, :, 1:], self._solved(condition, moved), 1)

    def _solved(self, condition, right):
        """Matrix⁻¹ right over the last axis of `right` (dim, dim, n − 1), which then comes first."""
        matrix = self.system(condition)[0]
        columns = jnp.linalg.solve(matrix, right.reshape(-1, matrix.shape[0]).T)
        return columns.reshape(-1, self.dim, self.dim)

    def system(self, condition):
        """Matrix and constant of the linear rate."""
        rows = jnp.tensordot(condition, self.flow[:, :, 1:], 2) + self.diffusion[1:] / self.De
        return rows[:, 1:], rows[:, 0] * self.constant


class _Dense(Newton):
    """The steady density, and stages of implicit steps, by one dense solve each, to round-off whatever the tolerance."""

    def solve(self, fiber: DumbbellDensity, state, condition, tolerance):
        matrix, source = fiber.system(condition)
        new = jnp.linalg.solve(matrix, -source)
        residual = trees.norm(matrix @ new + source) / jnp.maximum(trees.norm(matrix @ fiber.rest + source), trees.norm(source))
        code = jnp.where(fiber.stability_margin(new, condition) > 0.0, Result.SUCCESS, Result.OUT_OF_RANGE)
        return new, outcome(jnp.where(trees.isfinite(new), code, Result.NONFINITE), 1, residual)

    def stage(self, fiber: DumbbellDensity, state, condition, base, shift, tolerance):
        matrix, source = fiber.system(condition)
        new = jnp.linalg.solve(matrix - shift * jnp.eye(source.size), -source - shift * base)
        return new, outcome(jnp.where(trees.isfinite(new), Result.SUCCESS, Result.NONFINITE), 1)


class GaussianDensity(AbstractConformation):
    """Hookean dumbbells that start from a Gaussian, by their covariance c: exact, the Oldroyd-B fluid.

    Condition κ (dim, dim); state and response c (dim, dim).

    Args:
        dim: 2 or 3.
        De: Relaxation time in units of the flow's time, which is also the fiber's.

    There is no steady state for De ε ≥ 1/2 in extension: the c that a solve finds is then no covariance, and the result is
    `Result.OUT_OF_RANGE`.

    Raises:
        BadInput: A number out of range.
    """

    dim: int = eqx.field(static=True)
    De: Float[Array, ""]

    def __init__(self, dim: int = 2, De=1.0):
        self.dim, self.De = check_dim("GaussianDensity", dim), check_number("GaussianDensity", "De", De, 0.0)

    def rate(self, state, condition):
        return condition @ state + state @ condition.T - (state - jnp.eye(self.dim)) / self.De

    def propagate(self, state, condition, time):
        """Exact, by doubling a short time h: c' = g E c Eᵀ + m with E = exp(κh), g = exp(−h/De), m = ∫ g EEᵀ ds/De.

        So c stays positive up to steps of 50/|κ|; beyond, m is not.
        """
        h = time / 2.0**_DOUBLINGS
        x = h / self.De
        decay, power, spread, weights = jnp.exp(-x), jnp.eye(self.dim), jnp.eye(self.dim), _weights(x)
        stretch, source = power, weights[0] * spread
        for n in range(1, _TERMS):
            power = condition @ power * (h / n)
            spread = (condition @ spread + spread @ condition.T) * (h / n)
            stretch, source = stretch + power, source + weights[n] * spread
        for _ in range(_DOUBLINGS):
            source = source + decay * (stretch @ source @ stretch.T)
            stretch, decay = stretch @ stretch, decay**2
        new = decay * (stretch @ state @ stretch.T) + source
        return 0.5 * (new + new.T)

    def steady(self, condition):
        operator = jnp.kron(condition, jnp.eye(self.dim)) + jnp.kron(jnp.eye(self.dim), condition)
        unit = jnp.eye(self.dim).ravel()
        c = jnp.linalg.solve(jnp.eye(unit.size) - self.De * operator, unit).reshape(self.dim, self.dim)
        return c, jnp.all(jnp.isfinite(c))

    def remedy(self, result):
        return "there is no steady state at or beyond De·rate = 1/2 in extension" if result == Result.OUT_OF_RANGE else ""

    def density(self, state, points) -> Float[Array, " points"]:
        """ψ at `points` (points, dim)."""
        points = jnp.asarray(points, jnp.result_type(float))
        square = jnp.sum(points * jnp.linalg.solve(state, points.T).T, axis=1)
        return jnp.exp(-0.5 * square) / jnp.sqrt(jnp.linalg.det(2.0 * jnp.pi * state))


def largest_degree(dim: int) -> int:
    """The largest degree of a `DumbbellDensity`."""
    degree = 4
    while ball.size(dim, degree + 2) <= _LARGEST:
        degree += 2
    return degree


def _weights(x: Float[Array, ""]) -> Float[Array, " terms"]:
    """∫₀ˣ (s/x)ⁿ e^(−s) ds for n = 0, 1 ..: by its series where x < 1, else by partial integration."""
    n = np.arange(_TERMS)
    small, series = jnp.minimum(x, 1.0), jnp.zeros(_TERMS)
    for j in reversed(range(_SERIES)):
        # As floats: 13! is too large for the integers of single precision.
        series = 1.0 / (float(math.factorial(j)) * (n + 1 + j)) - small * series
    large = jnp.maximum(x, 1.0)
    parts = [-jnp.expm1(-large)]
    for k in n[1:]:
        parts.append(k / large * parts[-1] - jnp.exp(-large))
    return jnp.where(x < 1.0, small * series, jnp.stack(parts))


def _reach(spring) -> float:
    """The b of a FENE spring as a plain number; raise `BadInput` for what ball polynomials cannot express."""
    if isinstance(spring, Hookean):
        raise BadInput(
            "DumbbellDensity: the density of Hookean dumbbells is Gaussian. Use GaussianDensity(dim, De), which is exact."
        )
    if not isinstance(spring, FENE):
        raise BadInput(
            f"DumbbellDensity: ball polynomials are made for FENE(b); the spring is {spring!r}. Use Dumbbell for others."
        )
    if trees.is_tracer(spring.b):
        raise BadInput("DumbbellDensity: b must be a plain number: its basis is made before anything is traced.")
    return float(spring.b)

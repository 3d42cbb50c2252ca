"""Rods by their Fokker-Planck equation on the sphere (6.2), in a homogeneous flow (docs: mathematics, kinetic form).

    ∂_t ψ = (1/De) (Δ_S ψ + ∇_S·(ψ ∇_S Φ)) − ∇_S·(ψ (I − mm) κm),      Φ(m) = ∫ K(m·m') ψ(m') dm'

over even real harmonics; test functions are the same, integrals exact. The harmonics of Φ are those of ψ times one number for
each degree (Funk and Hecke), and 2 ∫ψ ∇φ·∇Φ = ∫ (φΦ Δψ − φψ ΔΦ − ψΦ Δφ). The exact equation of ⟨mm⟩ is kept.
"""

from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fiberax.core.errors import BadInput
from fiberax.core.solvers import Newton
from fiberax.numerics import trees
from fiberax.numerics.newton import Linearised, newton
from fiberax.numerics.result import Result, outcome
from fiberax.physics.fluids.density import AbstractDensity, Grid, check_density, check_gradient
from fiberax.physics.fluids.harmonics import angular, count, half_quadrature, harmonics
from fiberax.physics.fluids.potentials import AbstractMeanField

_QUADRATIC = 6  # harmonics up to degree 2
_ITERATIONS = 60  # of ψ ∝ exp(−Φ)
_AGAIN = -1  # code of a stage that is to be solved in another way
_SMALL = 1e-6  # part of the density below which residuals need not be known
_ACCURATE = 1e-3  # estimated relative error of the stress up to which a steady density counts as resolved
_SIMPLIFIED = 30  # steps of Newton's method with one Jacobian
_CONTRACTION = 0.5  # from one of them to the next
_COUPLED = 15  # harmonics up to degree 4, whose part in the mean field is in that Jacobian
_FLAT = 1e-12  # relative curvature below which a direction counts as free


class _LeastLength(Newton):
    """Newton's method with steps of least length: at rest any director will do. Residuals are in terms of diffusion."""

    def solve(self, fiber: "RodDensity", state, condition, tolerance):
        rest = lambda v: fiber.rate(v, condition)
        spread = fiber.laplacian[1:] / fiber.De

        def linearise(v):
            jacobian = jax.jacfwd(rest)(v) / spread[:, None]
            normal = jacobian.T @ jacobian + _FLAT * jnp.trace(jacobian.T @ jacobian) / spread.size * jnp.eye(spread.size)
            factors = jax.scipy.linalg.cho_factor(normal)
            return Linearised(lambda r: jax.scipy.linalg.cho_solve(factors, jacobian.T @ (r / spread)), None)

        isotropic = jnp.maximum(trees.norm(rest(jnp.zeros_like(state))), _SMALL * fiber.constant / fiber.De)
        reference = jnp.maximum(isotropic, trees.norm(spread * state))
        new, out = newton(rest, state, linearise, reference, tolerance)
        code = jnp.where(fiber.truncation(new) < _ACCURATE, Result.SUCCESS, Result.TRUNCATED)
        code = jnp.where(fiber.stability_margin(new, condition) > 0.0, code, Result.OUT_OF_RANGE)
        return new, out._replace(result=jnp.where(out.result == Result.SUCCESS, code.astype(jnp.int32), out.result))

    def stage(self, fiber: "RodDensity", state, condition, base, shift, tolerance):
        """By the factors of one Jacobian; as any other fiber where that does not converge."""
        factors = jax.scipy.linalg.lu_factor(fiber.jacobian(state, condition) - shift * jnp.eye(state.size))
        correction = lambda v: jax.scipy.linalg.lu_solve(factors, shift * (v - base) - fiber.rate(v, condition))
        if fiber.potential is None:
            new = state + correction(state)
            return new, outcome(jnp.where(trees.isfinite(new), Result.SUCCESS, Result.NONFINITE), 1)

        def body(c: _Simplified):
            change = correction(c.value)
            value = c.value + change
            size = jnp.max(jnp.abs(change)) / jnp.maximum(jnp.max(jnp.abs(value)), _SMALL)
            return _Simplified(value, size, c.step + 1, size < _CONTRACTION * c.size)

        running = lambda c: (c.size > tolerance) & (c.step < _SIMPLIFIED) & c.falls
        start = _Simplified(state, jnp.asarray(jnp.inf), jnp.zeros((), jnp.int32), jnp.asarray(True))
        end = jax.lax.while_loop(running, body, start)

        def again(c):
            # It begins at `state`; said in this way, or the compiler would take its Jacobian out of the loop.
            guess = jnp.where(c[1].steps > _SIMPLIFIED, c[0], state)
            return super(_LeastLength, self).stage(fiber, guess, condition, base, shift, tolerance)

        # A loop of one pass: in a batch it is left out unless a fiber needs it.
        done = end.value, outcome(jnp.where(end.size <= tolerance, Result.SUCCESS, _AGAIN), end.step)
        return jax.lax.while_loop(lambda c: c[1].result == _AGAIN, again, done)


class _Simplified(NamedTuple):
    """Newton's method with one Jacobian: the value, the last correction relative to it, and whether corrections fall."""

    value: Array
    size: Array
    step: Array
    falls: Array


class RodDensity(AbstractDensity):
    """Rods by their density ψ(m) on the sphere (6.2).

        τ = ⟨3mm − I⟩ + ⟨((I − mm) ∇Φ) m⟩ + (De/2) ⟨mmmm⟩:κ

    Condition κ (3, 3), κ_ij = ∂U_i/∂x_j; state: coefficients of ψ; response the full stress τ (3, 3), 0 at rest.

    Args:
        potential: `MaierSaupe(N)`, `Onsager(N)`, an `AbstractMeanField` of your own, or None for dilute rods.
        De: 1/De is the rotational diffusion in units of the flow's time, which is also the fiber's.
        degree: Degree of the harmonics, even; 16 makes 153 of them.
        director: None: `init` is isotropic. Three numbers: `init` is the equilibrium at rest that is ordered along them
            (isotropic where there is no order).

    Above N = 4.49 (Maier-Saupe) there are nematic states as well as the isotropic one, which is unstable above 5. A steady
    state that a solve finds need not be stable, and where rods tumble there is none: `fx.relax` follows them in time. A
    density that is not resolved turns negative; solves end with `Result.OUT_OF_RANGE` where its negative mass exceeds 1/4, and
    with `Result.TRUNCATED` where `truncation`, an estimate of the relative error of the stress, exceeds 0.1 %.

    Raises:
        BadInput: A number out of range.
    """

    LARGEST: ClassVar[int] = 40  # degree

    potential: AbstractMeanField | None
    De: Float[Array, ""]
    director: tuple[float, ...] | None = eqx.field(static=True)
    degree: int = eqx.field(static=True)
    constant: float = eqx.field(static=True)
    flow: Float[Array, "3 3 n n"]
    quadratic: Float[Array, "3 3 low"]
    moments: Float[Array, "3 3 low n"]
    laplacian: Float[Array, " n"]
    coupling: Float[Array, "few n n"]
    cosines: Float[Array, " nodes"]
    transform: Float[Array, "n nodes"]
    grid: Grid

    def __init__(self, potential: AbstractMeanField | None = None, De=1.0, degree: int = 16, director: Any = None):
        check_density("RodDensity", De, degree)
        if not (potential is None or isinstance(potential, AbstractMeanField)):
            raise BadInput(
                f"RodDensity: the potential must be MaierSaupe(N), Onsager(N), one of your own or None; it is {potential!r}."
            )
        if director is not None and not (np.shape(director) == (3,) and 0.0 < np.linalg.norm(director) < np.inf):
            raise BadInput(f"RodDensity: the director must be three numbers, not all zero, or None; it is {director!r}.")
        self.director = None if director is None else tuple(float(x) for x in np.divide(director, np.linalg.norm(director)))
        if degree > self.LARGEST:
            raise BadInput(f"RodDensity: degree {degree} makes {count(3, degree)} harmonics; up to {self.LARGEST} is possible.")
        real = lambda x: jnp.asarray(x, jnp.result_type(float))
        self.potential, self.degree, self.De = potential, degree, real(De)
        self.constant = float(np.sqrt(0.25 / np.pi))
        parts = angular(3, degree)
        self.flow = real(parts.turn)
        self.quadratic = real(parts.stretch[:, :, 0, :_QUADRATIC] / self.constant)
        self.moments = real(parts.stretch[:, :, :_QUADRATIC])
        self.laplacian = real(-parts.degrees * (parts.degrees + 1.0))
        self.cosines, self.transform = map(real, _funk_hecke(parts.degrees))
        points, weights = half_quadrature(3, 3 * degree)
        values = self.basis(points)
        self.grid = Grid(real(points), real(weights), real(values))
        free = np.zeros((0, 1, 1))
        self.coupling = real(free if potential is None else _coupling(parts.degrees, values, weights))

    @property
    def dim(self):
        return 3

    @property
    def largest(self):
        return self.LARGEST

    def truncation(self, state) -> Float[Array, ""]:
        """Estimate of the relative error of the stress, 2 |ψ_top|²/|ψ|² of the coefficients of the highest degree.

        The stress is linear in the density and the equation is solved by Galerkin's method, so that its error is of the second
        order in what is left out. In shear and extension from degree 8 to 20 the error was 0.3 to 6 times the estimate.
        """
        full = self.full(state)
        top = self.laplacian < 0.5 - self.degree * (self.degree + 1.0)
        return 2.0 * jnp.sum(jnp.where(top, full, 0.0) ** 2) / jnp.sum(full**2)

    def basis(self, points):
        lengths = np.linalg.norm(points, axis=1, keepdims=True)
        return harmonics(points / lengths, self.degree).values

    def init(self, condition, key):
        """The isotropic state, or the Boltzmann distribution ψ ∝ exp(−Φ) around the director, by iteration from near it."""
        check_gradient("RodDensity", condition, 3)
        if self.director is None:
            return jnp.zeros(self.laplacian.size - 1)

        def boltzmann(log):
            log = log - jnp.max(log)
            psi = self.grid.weights * jnp.exp(log)
            return (psi / jnp.sum(psi)) @ self.grid.values[:, 1:]

        towards = self.grid.points @ jnp.asarray(self.director)
        again = lambda _, state: boltzmann(-self.grid.values @ (self._field(self.full(state)) * jnp.ones_like(self.laplacian)))
        return jax.lax.fori_loop(0, _ITERATIONS, again, boltzmann(10.0 * towards**2))

    def rate(self, state, condition):
        full = self.full(state)
        carried = condition.ravel() @ (full @ self._flow_by_column).reshape(9, -1)
        return carried + (self.laplacian * full - self._torque(full))[1:] / self.De

    @property
    def _flow_by_column(self):
        """(n, 9 (n − 1)): states of a batch are then rows of a product, twice as fast as columns."""
        return self.flow[:, :, 1:].reshape(-1, self.flow.shape[-1]).T

    def jacobian(self, state, condition) -> Float[Array, "m m"]:
        """∂rate/∂state; of a mean field the part of its harmonics up to degree 4, which is all for Maier and Saupe."""
        matrix = jnp.tensordot(condition, self.flow[:, :, 1:, 1:], 2) + jnp.diag(self.laplacian[1:] / self.De)
        if self.potential is None:
            return matrix
        full, few = self.full(state), slice(1, _COUPLED)
        strength = jnp.broadcast_to(self._field(jnp.ones_like(full)), full.shape)[few]
        turned = jnp.tensordot(strength * full[few], self.coupling, 1)[1:, 1:]
        pulled = (self.coupling @ full)[:, 1:] * strength[:, None]
        return matrix - turned.at[:, : pulled.shape[0]].add(pulled.T) / self.De

    def link(self, state, condition):
        full = self.full(state)
        moments = self.moments @ full  # (3, 3, low): ∫ mm Y ψ
        second = moments[:, :, 0] / self.constant
        viscous = moments @ jnp.tensordot(condition, self.quadratic, 2)
        elastic = 3.0 * second - jnp.eye(3)
        if self.potential is not None:
            elastic = elastic + (self.flow @ full) @ self._field(full)
        return elastic + 0.5 * self.De * viscous

    @property
    def solver(self):
        return _LeastLength(dense_limit=self.grid.values.shape[1])

    def _field(self, full):
        """Coefficients of Φ."""
        return 0.0 if self.potential is None else self.transform @ self.potential.kernel(self.cosines) * full

    def _torque(self, full):
        """∫ψ ∇Y·∇Φ for every harmonic Y."""
        if self.potential is None:
            return 0.0
        field, values = self._field(full), self.grid.values
        on_grid = values @ jnp.stack([full, field, self.laplacian * full, self.laplacian * field], axis=1)
        psi, phi, psi_bent, phi_bent = on_grid.T * jnp.sqrt(self.grid.weights)
        products = jnp.stack([phi * psi_bent - psi * phi_bent, psi * phi], axis=1)
        even, bent = (values.T @ products).T
        return 0.5 * (even - self.laplacian * bent)


def _coupling(degrees: np.ndarray, values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """∫ Y_b ∇Y_a·∇Y_c for the first harmonics c of a field, (few, a, b)."""
    bent, first = -degrees * (degrees + 1.0), values[:, 1:_COUPLED]
    triple = np.stack([(weights * column)[:, None] * values for column in first.T])
    return 0.5 * (bent - bent[:, None] - bent[1 : first.shape[1] + 1, None, None]) * (values.T @ triple)


def _funk_hecke(degrees: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cosines (nodes,) and the matrix (n, nodes) that makes 2π ∫ K(t) P_l(t) dt of K there, by Gauss's rule in the angle."""
    node, weight = np.polynomial.legendre.leggauss(degrees.max() + 40)
    angle = 0.5 * np.pi * (1.0 + node)
    legendre = np.polynomial.legendre.legvander(np.cos(angle), degrees.max())
    return np.cos(angle), np.pi**2 * weight * np.sin(angle) * legendre[:, degrees].T

"""The one-dimensional quantum chain (4.13)-(4.20), mended (docs: mathematics, Relaxation and forces).

In the pulled-back coordinate y = z/(1 + A) and with ϕ = √(1 + A) ψ the constraint does not move with A:

    W(A, ϕ) = ∫₀¹ { |ϕ_y|²/(1 + A)² + (1 + A) V(ϕ²/(1 + A)) + v(y) ϕ² } dy,     ∫₀¹ ϕ² dy = 1

An external potential v is fixed to the chain: it is a function of y and moves with the deformation, as the potential of its
ions would. The response dW/dA comes from the library's Hellmann-Feynman link (4.6); it has no formula here. At
equilibrium it is (1/(1 + A)) ∫ {−|ψ_z|² + V(ψ²) + v ψ² − λψ²} dz, with v = 0 the constant integrand itself.

Relaxation: `fx.relax(chain, mass, friction)` is (4.1), m ϕ_tt + η ϕ_t = −δW/δϕ + λϕ, δW = ∫δW/δϕ δϕ dy, as for every fiber.
(4.15) has half of δW/δϕ, so its m and η are half of these. Small deviations from a constant ϕ decay as e^{st},
m s² + η s + 2κ_k = 0, κ_k = (2πk/(1+A))² + 2 V''(s)s at s = 1/(1+A).
"""

import functools
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from fiberax.core.errors import BadInput
from fiberax.core.fiber import AbstractEnergy
from fiberax.core.solvers import Minimise
from fiberax.numerics.result import Result
from fiberax.physics.solids.chains.diatomic import check_function, upright, where_upright

_DENSE = 514  # twice 256 grid points and their multiplier, see `equilibrium`
_SHARE = 0.5  # of the norm: largest in one grid cell
_SHARPNESS = (0.0, 0.01, 0.1, 0.5, 2.0, 8.0, 32.0)


class QuantumChain(AbstractEnergy):
    """Electrons in a chain, described by one wave function; condition the strain A, response the force dW/dA, both numbers.

    Args:
        V: Energy density V(s) of the density s = ψ², a function of one number.
        external: Potential v(y), a function of y in [0, 1), or its values (n,) at y = j/n; None for none.
        n: Number of grid points; Fourier series, so W converges faster than any power of 1/n where ϕ is smooth.

    The state is ϕ (n,) at y = j/n. Its metric is the cell volume 1/n, so that friction and mass mean the same on every grid.
    `init` is the lowest of the constant state and single lobes of several widths, centred in the middle of the cell (with an
    external potential: at its minimum); where the constant is stable and the lowest it is returned as it is. The equilibrium
    is the minimum below that start. Without an external potential a modulated state may be anywhere in the cell; response
    and tangent do not depend on the place. For A ≤ −1 the fiber is not defined: `NONFINITE`, and NaN. Where more than half of
    the norm is in one grid cell the wave function is not resolved, and with an energy that falls without bound as it narrows
    (V falling as s³ or faster) it never will be: `OUT_OF_RANGE`.

    Raises:
        BadInput: V or external is not a function of one number with one number as its value, values of another length, n < 3.
    """

    V: Callable
    external: Float[Array, " n"] | None
    n: int = eqx.field(static=True)

    def __init__(self, V: Callable, external: Callable | Float[ArrayLike, " n"] | None = None, n: int = 64):
        if not isinstance(n, int) or n < 3:
            raise BadInput(f"QuantumChain: n = {n!r}; give a whole number of grid points, 3 or more.")
        self.V = check_function("QuantumChain: V", V, "the density s")
        self.external = None if external is None else _on_grid(external, n)
        self.n = n

    @property
    def solver(self):
        return _Waves(self.approximate_inverse, dense_limit=_DENSE)

    def remedy(self, result):
        return "a larger n, if the energy is bounded below" if result == Result.OUT_OF_RANGE else ""

    def init(self, condition, key):
        energies = jax.vmap(self.energy, (0, None))(self._guesses(), condition)
        # A constant that is no minimum is a bad start, even where its energy is below that of all lobes.
        best = jnp.argmin(energies.at[0].set(jnp.where(self._softest(condition) >= 0.0, energies[0], jnp.inf)))
        return self._guesses()[best]

    def energy(self, state, condition):
        stretch = 1.0 + condition
        waves, angular = _waves(self.n)
        kinetic = jnp.sum((angular * (state @ waves)) ** 2) / self.n / stretch**2
        local = stretch * jnp.mean(jax.vmap(self.V)(state**2 / stretch))
        outer = 0.0 if self.external is None else jnp.mean(self.external * state**2)
        return where_upright(condition, kinetic + local + outer)

    def constraint(self, state, condition):
        """∫ϕ² − 1, (1,)."""
        return jnp.mean(state**2, keepdims=True) - 1.0

    def metric(self, state):
        """The cell volume 1/n."""
        return 1.0 / self.n

    def approximate_inverse(self, residual, condition, shift):
        """−(2|2πk|²/(1+A)² + c + shift)⁻¹ wave by wave, with c the kinetic term of the longest one."""
        waves, angular = _waves(self.n)
        stiffness = 2.0 * (angular / (1.0 + condition)) ** 2
        return -waves @ ((waves.T @ residual) / (stiffness + stiffness[1] + shift))

    def _softest(self, condition):
        """κ₁, the smallest κ_k of the constant state where V'' < 0 lowers it; −∞ with an external potential."""
        if self.external is not None:
            return -jnp.inf
        s = 1.0 / (1.0 + condition)
        return (2.0 * jnp.pi * s) ** 2 + 2.0 * s * jax.grad(jax.grad(self.V))(s)

    def _guesses(self):
        """The constant and lobes exp(a cos 2π(y − centre)) of several widths, normalised, (guesses, n)."""
        y = jnp.arange(self.n) / self.n
        centre = 0.5 if self.external is None else jnp.argmin(self.external) / self.n
        waves = jnp.cos(2.0 * jnp.pi * (y - centre)) - 1.0
        shapes = jnp.exp(jnp.asarray(_SHARPNESS)[:, None] * waves)
        return shapes / jnp.sqrt(jnp.mean(shapes**2, axis=1, keepdims=True))


class _Waves(Minimise):
    """Dense algebra, which knows zero modes, up to 256 grid points."""

    def solve(self, fiber: QuantumChain, state, condition, tolerance):
        found, out = super().solve(fiber, state, condition, tolerance)
        collapsed = (out.result == 0) & (jnp.max(found**2) > _SHARE * fiber.n)
        out = out._replace(result=jnp.where(collapsed, jnp.int32(Result.OUT_OF_RANGE), out.result))
        return found, upright(condition, out)


@functools.cache
def _waves(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Orthonormal sines and cosines on the grid as columns (n, n), and their 2πk (n,).

    The shortest wave of an even n counts in ∫|ϕ_y|² with its 2πk, else it would have no energy. Matrices and not FFTs: for so
    few points they are as fast, and jaxlib 0.10.0 fails on transforms that it has laid out transposed.
    """
    k = (np.arange(n) + 1) // 2
    phase = 2.0 * np.pi * np.outer(np.arange(n), k) / n
    waves = np.where(np.arange(n) % 2 == 0, np.cos(phase), np.sin(phase))
    if n % 2 == 0:
        waves[:, -1] = np.cos(np.pi * np.arange(n))
    return waves / np.linalg.norm(waves, axis=0), 2.0 * np.pi * k


def _on_grid(external, n: int) -> Array:
    """Values (n,) of an external potential at y = j/n. Raises `BadInput`."""
    if callable(external):
        return jax.vmap(check_function("QuantumChain: external", external, "y"))(jnp.arange(n) / n)
    values = jnp.asarray(external, float)
    if values.shape != (n,):
        raise BadInput(f"QuantumChain: external has the shape {values.shape}; give a function of y, or n = {n} values.")
    return values

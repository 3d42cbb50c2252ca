"""Mean fields of rods (6.2): Φ(m) = ∫ k(m·m') ψ(m') dm' in units of kT, force f = ∇_m Φ.

A kernel of your own is a class with `kernel`. The isotropic state is stable where every Legendre coefficient of even degree
½ ∫ k(x) P_l(x) dx is above −1.
"""

import abc
import functools
import itertools
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fiberax.core.errors import BadInput
from fiberax.numerics import trees

_HIGHEST = 16


class AbstractMeanField(eqx.Module):
    """An interaction of two rods that depends on the angle between them."""

    @abc.abstractmethod
    def kernel(self, cosine: Float[Array, "..."]) -> Float[Array, "..."]:
        """The energy k of two rods, in kT, elementwise in the cosine of their angle; even."""

    def slope(self, cosine: Float[Array, "..."]) -> Float[Array, "..."]:
        """The derivative k'."""
        return jax.jvp(self.kernel, (cosine,), (jnp.ones_like(cosine),))[1]

    def force(self, m: Float[Array, "3 members"]) -> Float[Array, "3 members"]:
        """The force ∇_m Φ on every rod, ψ being the ensemble itself; by default from all pairs, `members`² operations.

        Only its part normal to m has an effect.
        """
        cosine = m.T @ m
        pull = self.slope(cosine) / m.shape[1]
        return m @ pull - m * jnp.sum(pull * cosine, axis=0)


class MaierSaupe(AbstractMeanField):
    """Φ = −(3/2) N m·⟨mm⟩·m; the isotropic state is unstable above N = 5.

    Args:
        N: Strength, in kT.

    Raises:
        BadInput: N is negative or not finite.
    """

    N: Float[Array, ""]

    def __init__(self, N):
        self.N = _intensity("MaierSaupe", N)

    def kernel(self, cosine):
        return -1.5 * self.N * cosine**2

    def force(self, m):
        return -3.0 * self.N.astype(m.dtype) * (second_moment(m) @ m)


class Onsager(AbstractMeanField):
    """Φ = N ⟨|m×m'|⟩, hard rods; the isotropic state is unstable above N = 32/π.

    Args:
        N: Strength, in kT.

    A step of an ensemble takes `members`² operations; `Expanded` avoids this.

    Raises:
        BadInput: N is negative or not finite.
    """

    N: Float[Array, ""]

    def __init__(self, N):
        self.N = _intensity("Onsager", N)

    def kernel(self, cosine):
        return self.N * jnp.sqrt(jnp.maximum(1.0 - cosine**2, 0.0))

    def slope(self, cosine):
        # Parallel rods, and each one with itself, exert no force on each other: |m×m'| has a kink there.
        square = 1.0 - cosine**2
        apart = square > 1e-12
        return jnp.where(apart, -self.N.astype(cosine.dtype) * cosine / jnp.sqrt(jnp.where(apart, square, 1.0)), 0.0)


class Expanded(AbstractMeanField):
    """The kernel of `inner` by its Legendre polynomials up to an even degree, as a `RodDensity` of that degree has it.

    Args:
        inner: The mean field to expand.
        degree: Highest degree, even.

    Forces on an ensemble are computed from its moments, 36 of them at degree 8, and cost about 300 operations per member. The
    isotropic state loses stability at the same N as with `inner`.

    Raises:
        BadInput: The degree is odd or out of range, or `inner` is of a kind that has no expansion.
    """

    inner: AbstractMeanField
    degree: int = eqx.field(static=True)

    def __init__(self, inner: AbstractMeanField, degree: int = 8):
        if not isinstance(inner, AbstractMeanField):
            raise BadInput(f"Expanded: the mean field must be Onsager(N) or one of your own; it is {inner!r}.")
        if not isinstance(degree, int) or degree % 2 or not 2 <= degree <= _HIGHEST:
            raise BadInput(f"Expanded: degree must be an even whole number from 2 to {_HIGHEST}; it is {degree!r}.")
        self.inner, self.degree = inner, degree

    def kernel(self, cosine):
        return jnp.polyval(self._powers().astype(cosine.dtype), cosine)

    def force(self, m):
        powers = self._powers()[::-1]
        slopes = (jnp.arange(1, powers.size) * powers[1:])[1::2]  # of the powers 1, 3, ... of k'
        below, weights = _moments(self.degree - 1)
        table = jnp.stack([jnp.ones_like(m), *itertools.accumulate([m] * (self.degree - 1), jnp.multiply)])
        monomials = table[below[:, 0], 0] * table[below[:, 1], 1] * table[below[:, 2], 2]
        moments = monomials @ m.T / m.shape[1]
        return (jnp.tensordot(slopes, weights, 1).astype(m.dtype) @ moments).T @ monomials

    def _powers(self) -> Float[Array, " powers"]:
        """Coefficients of the kernel, the highest power first."""
        angles, matrix = _projection(self.degree)
        return jnp.asarray(matrix) @ self.inner.kernel(jnp.cos(jnp.asarray(angles)))


@functools.cache
def _projection(degree: int) -> tuple[np.ndarray, np.ndarray]:
    """Angles, and the matrix that makes of a kernel there the powers of its even Legendre series, the highest first."""
    node, weight = np.polynomial.legendre.leggauss(200)
    angle = 0.5 * np.pi * (1.0 + node)
    matrix = np.zeros((degree + 1, angle.size))
    for l in range(0, degree + 1, 2):
        series = np.eye(degree + 1)[l]
        power = np.pad(np.polynomial.legendre.leg2poly(series[: l + 1]), (0, degree - l))[::-1]
        values = np.polynomial.legendre.legval(np.cos(angle), series)
        matrix += np.outer(power, (l + 0.5) * 0.5 * np.pi * weight * np.sin(angle) * values)
    return angle, matrix


@functools.cache
def _moments(degree: int) -> tuple[np.ndarray, np.ndarray]:
    """Exponents (n, 3) of all monomials of an odd `degree`, and weights (powers, n, n).

    On the sphere (m·m')^p = Σ weights[(p − 1)/2]_ab m^a m'^b for p = 1, 3, ..., `degree`; |m|² |m'|² = 1 fills up the degree.
    """
    all_of = lambda d: [(i, j, d - i - j) for i in range(d, -1, -1) for j in range(d - i, -1, -1)]
    many = lambda a: math.factorial(sum(a)) / math.prod(map(math.factorial, a))
    exponents = all_of(degree)
    row = {a: k for k, a in enumerate(exponents)}
    weights = np.zeros((degree // 2 + 1, len(exponents), len(exponents)))
    for p in range(1, degree + 1, 2):
        for a in all_of(p):
            spread = np.zeros(len(exponents))
            for e in all_of((degree - p) // 2):
                spread[row[a[0] + 2 * e[0], a[1] + 2 * e[1], a[2] + 2 * e[2]]] += many(e)
            weights[p // 2] += many(a) * np.outer(spread, spread)
    return np.array(exponents), weights


def second_moment(m: Float[Array, "3 members"]) -> Float[Array, "3 3"]:
    """⟨mm⟩."""
    return m @ m.T / m.shape[1]


def _intensity(who: str, N) -> Float[Array, ""]:
    if not trees.is_tracer(N) and not 0.0 <= float(N) < float("inf"):
        raise BadInput(f"{who}: the intensity N must be finite and not negative; it is {N!r}.")
    return jnp.asarray(N, jnp.result_type(float))

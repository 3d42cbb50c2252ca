"""Mean fields of rods, spec section 8: Φ(m) = ∫ k(m·m') ψ(m') dm' in units of kT, force f = ∇_m Φ.

A kernel of one's own is a class with `kernel`; the isotropic state is stable where every Legendre coefficient of even degree
½ ∫ k(x) P_l(x) dx is above −1.
"""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fiberax.core.errors import BadInput
from fiberax.numerics import trees


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

        Only its part across m counts.
        """
        cosine = m.T @ m
        pull = self.slope(cosine) / m.shape[1]
        return m @ pull - m * jnp.sum(pull * cosine, axis=0)


class MaierSaupe(AbstractMeanField):
    """Φ = −(3/2) N m·⟨mm⟩·m; the isotropic state is unstable above N = 5. Raises `BadInput`."""

    N: Float[Array, ""]

    def __init__(self, N):
        self.N = _intensity("MaierSaupe", N)

    def kernel(self, cosine):
        return -1.5 * self.N * cosine**2

    def force(self, m):
        return -3.0 * self.N.astype(m.dtype) * (second_moment(m) @ m)


class Onsager(AbstractMeanField):
    """Φ = N ⟨|m×m'|⟩, hard rods; the isotropic state is unstable above N = 32/π. A step takes `members`² operations.

    Raises `BadInput`.
    """

    N: Float[Array, ""]

    def __init__(self, N):
        self.N = _intensity("Onsager", N)

    def kernel(self, cosine):
        return self.N * jnp.sqrt(jnp.maximum(1.0 - cosine**2, 0.0))

    def slope(self, cosine):
        # Parallel rods, and each one with itself, exert nothing on each other: |m×m'| has a kink there.
        square = 1.0 - cosine**2
        apart = square > 1e-12
        return jnp.where(apart, -self.N.astype(cosine.dtype) * cosine / jnp.sqrt(jnp.where(apart, square, 1.0)), 0.0)


def second_moment(m: Float[Array, "3 members"]) -> Float[Array, "3 3"]:
    """⟨mm⟩."""
    return m @ m.T / m.shape[1]


def _intensity(who: str, N) -> Float[Array, ""]:
    if not trees.is_tracer(N) and not 0.0 <= float(N) < float("inf"):
        raise BadInput(f"{who}: the intensity N must be finite and not negative; it is {N!r}.")
    return jnp.asarray(N, jnp.result_type(float))

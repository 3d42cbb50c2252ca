"""Springs of dumbbells and chains (6.1): the force is f(z) = h(|z|²) z, with h = 1 for short ones.

Equilibrium has the density exp(−V) with V = ½ ∫ h d|z|². A law of your own is a class with `factor`, and `limit` if bounded:

    class Cubic(fx.fluids.AbstractSpring):
        def factor(self, square):
            return 1.0 + 0.1 * square
"""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fiberax.core.errors import BadInput
from fiberax.numerics import trees

_NODES = 4096  # of the table of lengths in equilibrium
_ITERATIONS = 30  # halvings of the bracket, the fallback of Newton's method
_NEWTON = 3  # from a guess within 10 %: 5e-8 at worst over all inputs, 3e-11 at usual steps


class AbstractSpring(eqx.Module):
    """A law of central force h(|z|²) z. A law of your own defines `factor`, and `limit` where springs have a largest length.

    Arrays are elementwise; h must not be negative and must not fall faster than 1/|z|. `limit` bounds the square |z|²: it is b
    for FENE springs.
    """

    @abc.abstractmethod
    def factor(self, square: Float[Array, "..."]) -> Float[Array, "..."]:
        """The factor h at |z|²."""

    @property
    def limit(self) -> Float[Array, ""] | float:
        """Upper bound of |z|², never reached; infinity by default."""
        return float("inf")

    def shorten(self, square: Float[Array, "..."], weight: Float[Array, ""]) -> Float[Array, "..."]:
        """The factor q for which z = q r solves z + weight f(z) = r, where |r|² = `square`.

        By default Newton's method on the length, held in a bracket, a fixed number of times.
        """
        far = jnp.sqrt(square)
        safe = jnp.where(far > 0.0, far, 1.0)
        slope = lambda s: jax.jvp(lambda s: s * (1.0 + weight * self.factor(s * s)), (s,), (jnp.ones_like(s),))
        ceiling = jnp.sqrt(jnp.asarray(self.limit, square.dtype)) * (1.0 - 4.0 * jnp.finfo(square.dtype).eps)

        def body(_, carry):
            low, high, at = carry
            value, rise = slope(at)
            over = value > safe
            low, high = jnp.where(over, low, at), jnp.where(over, at, high)
            trial = at - (value - safe) / rise
            return low, high, jnp.where((trial >= low) & (trial <= high), trial, 0.5 * (low + high))

        high = jnp.minimum(safe, ceiling)
        length = jax.lax.fori_loop(0, _ITERATIONS, body, (jnp.zeros_like(high), high, 0.5 * high))[2]
        return length / safe

    def sample(self, key, dim: int, shape: tuple[int, ...], dtype) -> Float[Array, "dim *shape"]:
        """Springs in equilibrium, components first; by default lengths are interpolated in a table of their distribution."""
        first, second = jax.random.split(key)
        x = jnp.linspace(0.0, 1.0, _NODES + 1)[1:-1]
        bounded = np.isfinite(self.limit) if not trees.is_tracer(self.limit) else True
        s = jnp.sqrt(self.limit) * x if bounded else x / (1.0 - x)
        widen = jnp.sqrt(self.limit) if bounded else 1.0 / (1.0 - x) ** 2
        energy = _cumulative(s * self.factor(s * s) * widen)
        cumulative = _cumulative(s ** (dim - 1) * jnp.exp(-energy) * widen)
        length = jnp.interp(jax.random.uniform(first, shape) * cumulative[-1], cumulative, s)
        direction = jax.random.normal(second, (dim, *shape))
        return (length * direction / jnp.sqrt(jnp.sum(direction**2, axis=0))).astype(dtype)


class Hookean(AbstractSpring):
    """f = z: Hookean dumbbells are the Oldroyd-B fluid."""

    def factor(self, square):
        return jnp.ones_like(square)

    def shorten(self, square, weight):
        return jnp.broadcast_to(1.0 / (1.0 + weight), square.shape)

    def sample(self, key, dim, shape, dtype):
        return jax.random.normal(key, (dim, *shape), dtype)


class FENE(AbstractSpring):
    """f = z/(1 − |z|²/b), finitely extensible: |z|² < b.

    Args:
        b: Above 2; for smaller b the springs reach their maximal length.

    Raises:
        BadInput: b is 2 or less.
    """

    b: Float[Array, ""]

    def __init__(self, b):
        if not trees.is_tracer(b) and not 2.0 < float(b) < float("inf"):
            raise BadInput(f"FENE: b must be finite and above 2 (shorter springs reach their ends); it is {b!r}.")
        self.b = jnp.asarray(b, jnp.result_type(float))

    @property
    def limit(self):
        return self.b

    def factor(self, square):
        return 1.0 / (1.0 - square / self.b.astype(square.dtype))

    def shorten(self, square, weight):
        """Newton's method on q + weight q/(1 − q²) = ρ in units of √b, convex and increasing.

        It starts above the root, with 1 + q in (1 − q)(1 + q) replaced by 2, and decreases monotonically to it.
        """
        rho = jnp.sqrt(square / self.b.astype(square.dtype))
        double = 0.5 * (1.0 + 0.5 * weight + rho)
        q = rho / (double + jnp.sqrt(double * double - rho))
        for _ in range(_NEWTON):
            d = 1.0 - q * q
            q = q - d * ((q - rho) * d + weight * q) / (d * d + weight * (2.0 - d))
        d = 1.0 - q * q
        # Two forms of q/ρ: one for ρ = 0, the other for 1 − q² below round-off, where q must round downwards.
        q = jnp.minimum(q, 1.0 - 4.0 * jnp.finfo(q.dtype).eps)
        short = rho < 1.0
        return jnp.where(short, d, q) / jnp.where(short, d + weight, rho)

    def sample(self, key, dim, shape, dtype):
        """Exact: |z|²/b of the density (1 − |z|²/b)^(b/2) is a Beta(dim/2, b/2 + 1) number, a ratio of Gamma numbers."""
        first, second = jax.random.split(key)
        normal = jax.random.normal(first, (dim, *shape))
        rest = jax.random.gamma(second, 0.5 * self.b + 1.0, shape)
        return (jnp.sqrt(self.b / (jnp.sum(normal**2, axis=0) + 2.0 * rest)) * normal).astype(dtype)


class InverseLangevin(AbstractSpring):
    """Freely jointed segments by Cohen's approximant: f = z (1 − |z|²/3b)/(1 − |z|²/b) (Rheol. Acta 30 (1991) 270).

    Within 5 % of the inverse of Langevin's function.

    Args:
        b: Above 3, for springs that do not reach their maximal length √b; 3 times the number of Kuhn segments.

    Raises:
        BadInput: b is 3 or less.
    """

    b: Float[Array, ""]

    def __init__(self, b):
        self.b = _length("InverseLangevin", b, 3.0)

    @property
    def limit(self):
        return self.b

    def factor(self, square):
        x = square / self.b.astype(square.dtype)
        return (1.0 - x / 3.0) / (1.0 - x)


class WormLike(AbstractSpring):
    """A worm-like chain: f = (2/3) √b (1/(4(1 − x)²) − 1/4 + x) z/|z|, x = |z|/√b.

    The formula of Marko and Siggia (Macromolecules 28 (1995) 8759).

    Args:
        b: Above 0, the largest |z|²: 3L/(2P) for a chain of length L and persistence length P.

    Raises:
        BadInput: b is not positive.
    """

    b: Float[Array, ""]

    def __init__(self, b):
        self.b = _length("WormLike", b, 0.0)

    @property
    def limit(self):
        return self.b

    def factor(self, square):
        s = square / self.b.astype(square.dtype)
        x = jnp.where(s > 0.0, jnp.sqrt(jnp.where(s > 0.0, s, 1.0)), 0.0)
        return (2.0 - x) / (6.0 * (1.0 - x) ** 2) + 2.0 / 3.0


def _length(who: str, b, low: float):
    """`b` as an array. Raises `BadInput` where it is not above `low`."""
    if not trees.is_tracer(b) and not low < float(b) < float("inf"):
        raise BadInput(f"{who}: b must be finite and above {low:g}; it is {b!r}.")
    return jnp.asarray(b, jnp.result_type(float))


def _cumulative(values):
    """Integrals from 0 to each node k/_NODES, k ≥ 1, of values that vanish at 0."""
    return (jnp.cumsum(values) - 0.5 * values) / _NODES

"""The polar decomposition F = R U of a deformation gradient, and the entries of the right stretch U."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

_STEPS = 12  # quadratic from a ratio of stretches of 1e3 on


def polar(F: Float[Array, "d d"]) -> tuple[Float[Array, "d d"], Float[Array, "d d"]]:
    """R and U of F = R U, R a rotation and U symmetric and positive definite, where det F > 0.

    Newton's iteration for the orthogonal factor with the scaling of Higham (SIAM J. Sci. Stat. Comput. 7 (1986) 1160); it is
    differentiable, also where stretches coincide.
    """

    def step(X, _):
        Y = jnp.linalg.inv(X).T
        scale = jnp.sqrt(jnp.linalg.norm(Y) / jnp.linalg.norm(X))
        return 0.5 * (scale * X + Y / scale), None

    R = jax.lax.scan(step, F, None, length=_STEPS)[0]
    U = R.T @ F
    return R, 0.5 * (U + U.T)


def stretch_entries(U: Float[Array, "d d"]) -> Float[Array, " n"]:
    """The entries of a symmetric tensor on and above its diagonal, row by row."""
    return U[np.triu_indices(U.shape[-1])]


def symmetric_directions(d: int) -> np.ndarray:
    """The symmetric tensors (n, d, d) along which one of `stretch_entries` grows by 1."""
    rows, columns = np.triu_indices(d)
    found = np.zeros((len(rows), d, d))
    found[np.arange(len(rows)), rows, columns] = found[np.arange(len(rows)), columns, rows] = 1.0
    return found

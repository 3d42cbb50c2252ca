"""The limit of explicit macro steps that the fibers impose through their tangents."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from fiberax.core.field import Field

_DENSE = 256
_STEPS = 8  # of the power method in `modulus_of`


class Stiffness(NamedTuple):
    """Spectrum of d rate/dU with fibers that follow their conditions.

    Args:
        eigenvalue: The one of largest modulus, complex, per unit of macro time.
        step: The largest explicit step that it allows, 2/|eigenvalue| (Euler and Heun on the negative real axis), macro time.
        growth: The largest real part among the eigenvalues found. A positive one of the order of |eigenvalue| means that the
            macro model is ill-posed there (lost ellipticity, negative diffusion), unless `uniform` is of that order too.
        uniform: The rate at which a uniform change of the macrostate changes, |J 1|/|1|: of a reaction as large as `growth`, of
            short waves that grow far smaller.
    """

    eigenvalue: complex
    step: float
    growth: float
    uniform: float

    @property
    def ill_posed(self) -> bool:
        """Whether the fastest motion is a growth of short waves."""
        return self.growth > max(0.5 * abs(self.eigenvalue), 2.0 * self.uniform)


@eqx.filter_jit
def _apply(field: Field, t, macro, response, tangents, vector):
    unravel = ravel_pytree(macro)[1]
    return ravel_pytree(field.linear_rate(t, macro, response, tangents)(unravel(vector)))[0]


@eqx.filter_jit
def _tangents(field: Field, macro, section):
    return field.tangents(macro, section), field.response(macro, section)


@eqx.filter_jit
def _growth_factors(field: Field, t, macro, response, tangents, start):
    """Factors by which d rate/dU multiplies the norm of a vector in each of `_STEPS` applications."""

    def step(vector, _):
        image = _apply(field, t, macro, response, tangents, vector)
        size = jnp.linalg.norm(image)
        return image / jnp.where(size > 0.0, size, 1.0), size

    return jax.lax.scan(step, start / jnp.linalg.norm(start), length=_STEPS)[1]


def modulus_of(field: Field, macro: Any, section: Any, t: float) -> float:
    """Estimate of the largest modulus among the eigenvalues of d rate/dU, mostly from below; NaN as `stiffness_of`.

    A few steps of the power method with a random start, a small part of the cost of `stiffness_of`. Matrices that are not
    normal make it too large.
    """
    flat = ravel_pytree(macro)[0]
    tangents, response = _tangents(field, macro, section)
    start = jnp.asarray(np.random.default_rng(0).standard_normal(flat.size), flat.dtype)
    factors = _growth_factors(field, jnp.asarray(t, jnp.result_type(float)), macro, response, tangents, start)
    return float(jnp.max(factors[_STEPS // 2 :]))


def stiffness_of(field: Field, macro: Any, section: Any, t: float) -> Stiffness:
    """`Stiffness` of a field whose section belongs to `macro`; LAPACK up to 256 unknowns, then ARPACK.

    All of it is NaN where the rate has no finite derivative.
    """
    from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigs

    flat = ravel_pytree(macro)[0]
    tangents, response = _tangents(field, macro, section)
    time = jnp.asarray(t, jnp.result_type(float))

    def matvec(vector):
        return _apply(field, time, macro, response, tangents, vector)

    if flat.size <= _DENSE:
        matrix = np.asarray(jax.vmap(matvec, out_axes=1)(jnp.eye(flat.size, dtype=flat.dtype)))
        values = np.linalg.eigvals(matrix) if np.all(np.isfinite(matrix)) else np.asarray([np.nan])
    else:
        shape = (flat.size, flat.size)
        operator = LinearOperator(shape, matvec=lambda v: np.asarray(matvec(jnp.asarray(v.ravel()))), dtype=float)
        start = np.random.default_rng(0).standard_normal(flat.size)
        first = np.asarray(matvec(jnp.asarray(start)))
        if not np.any(first):
            return Stiffness(0j, float("inf"), 0.0, 0.0)
        try:
            finite = np.all(np.isfinite(first))
            values = eigs(operator, k=4, which="LM", v0=start, tol=1e-6, return_eigenvectors=False) if finite else [np.nan]
        except ArpackNoConvergence as error:
            values = error.eigenvalues if len(error.eigenvalues) else np.asarray([np.nan])
    largest = complex(values[np.argmax(np.abs(values))])
    step = 2.0 / abs(largest) if largest else float("inf")
    ones = jnp.ones_like(flat)
    uniform = float(jnp.linalg.norm(matvec(ones)) / jnp.linalg.norm(ones))
    return Stiffness(largest, step, float(np.max(np.real(values))), uniform)

"""Linear systems A w = b with A given by its action, differentiable in both by implicit rules.

Small systems are assembled and solved densely, large ones by the Krylov solvers of lineax. Both are called inside
`jax.lax.custom_linear_solve`, so derivatives of every order are further linear solves, and iterations are never unrolled.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import lineax as lx
from jax.flatten_util import ravel_pytree

from fiberax.numerics import trees
from fiberax.numerics.newton import Linearised

DENSE_LIMIT = 192
_RCOND = 1e-12
_PIVOT = 1e-8  # smallest pivot over the largest, below which a matrix may be singular: round-off leaves less
_WRITTEN_OUT = 8  # unknowns up to which substitutions are written out; more take long to compile


def dense_matrix(matvec: Callable, like: jax.Array) -> jax.Array:
    """Matrix (n, n) of a linear map of vectors shaped like `like` (n,)."""
    return jax.vmap(matvec, out_axes=1)(jnp.eye(like.size, dtype=like.dtype))


def jacobian(function: Callable, argument: Any) -> Any:
    """Derivative of a tree by a tree, axes of the value first; forward or reverse mode, the one with fewer directions."""
    value = jax.eval_shape(function, argument)
    mode = jax.jacfwd if trees.size(argument) <= trees.size(value) else jax.jacrev
    return mode(function)(argument)


def dense_solve(matrix: jax.Array, rhs: jax.Array) -> jax.Array:
    """A⁻¹ b of a dense matrix (n, n); in a batch, dividing by a number takes a thirtieth of the time of a call to LAPACK."""
    return rhs / matrix[0, 0] if matrix.shape == (1, 1) else jnp.linalg.solve(matrix, rhs)


def _assembled_solve(matvec, rhs, zero_modes):
    matrix = dense_matrix(matvec, rhs)
    if not zero_modes:
        return dense_solve(matrix, rhs)
    if rhs.size == 1:
        return jnp.where(matrix[0] == 0, 0.0, rhs / matrix[0])
    # Zero modes (a translation that costs no energy) are left out: the smallest-norm solution.
    values, vectors = jnp.linalg.eigh(0.5 * (matrix + matrix.T))
    size = jnp.abs(values)
    inverse = jnp.where(size > _RCOND * jnp.max(size), 1.0 / values, 0.0)
    return vectors @ (inverse * (vectors.T @ rhs))


def _krylov_solve(matvec, rhs, symmetric, precondition, tolerance, max_steps):
    structure = jax.eval_shape(lambda: rhs)
    tags = [lx.negative_semidefinite_tag] if symmetric else []
    operator = lx.FunctionLinearOperator(matvec, structure, tags)
    options = {}
    if precondition is not None:
        # For a negative operator lineax solves with −A, so its preconditioner must approximate (−A)⁻¹.
        approximate = (lambda r: -precondition(r)) if symmetric else precondition
        tags = [lx.positive_semidefinite_tag] if symmetric else []
        options["preconditioner"] = lx.FunctionLinearOperator(approximate, structure, tags)
    # lineax compares rtol with the iterate and atol with the residual: the right-hand side is scaled to norm 1 for both.
    scale = jnp.linalg.norm(rhs)
    scale = jnp.where(scale > 0, scale, 1.0)
    solver = (
        lx.CG(rtol=tolerance, atol=tolerance, max_steps=max_steps)
        if symmetric
        else lx.GMRES(rtol=tolerance, atol=tolerance, max_steps=max_steps, restart=40, stagnation_iters=40)
    )
    solution = lx.linear_solve(operator, rhs / scale, solver, options=options, throw=False)
    return solution.value * scale


def _substituted(factors, rhs):
    """Both substitutions with LU factors (n, n), entry by entry: in a batch a quarter of the time of calls to BLAS."""
    n, inner, found = rhs.size, [], {}
    for i in range(n):
        inner.append(rhs[i] - sum((factors[i, j] * inner[j] for j in range(i)), 0.0))
    for i in reversed(range(n)):
        found[i] = (inner[i] - sum((factors[i, j] * found[j] for j in range(i + 1, n)), 0.0)) / factors[i, i]
    return jnp.stack([found[i] for i in range(n)])


def linearised(
    matvec: Callable,
    like: Any,
    *,
    symmetric: bool = False,
    precondition: Callable | None = None,
    tolerance: float = 1e-12,
    max_steps: int = 500,
    dense_limit: int = DENSE_LIMIT,
) -> Linearised:
    """`matvec`, a linear map of trees like `like`, with its inverse for several right-hand sides; not for differentiation.

    Small maps are factorised once. Arguments as for `solve`.
    """
    flat, unravel = ravel_pytree(like)
    if flat.size > dense_limit:

        def krylov(rhs):
            return solve(matvec, rhs, symmetric=symmetric, precondition=precondition, tolerance=tolerance,
                         max_steps=max_steps, dense_limit=0)  # fmt: skip

        return Linearised(krylov, None)
    transposed = jax.vmap(lambda v: ravel_pytree(matvec(unravel(v)))[0])(jnp.eye(flat.size, dtype=flat.dtype))
    transposed = jax.lax.optimization_barrier(transposed)  # else XLA computes it anew for each of its uses
    matrix = transposed.T

    def scale(weights):  # sums over the first axis, which are faster
        return unravel(jnp.sum(jnp.abs(transposed) * ravel_pytree(weights)[0][:, None], axis=0))

    if flat.size == 1:
        return Linearised(lambda rhs: unravel(ravel_pytree(rhs)[0] / matrix[0, 0]), scale)
    factors, _, order = jax.lax.linalg.lu(matrix)

    def substitute(rhs):
        if flat.size <= _WRITTEN_OUT:
            return unravel(_substituted(factors, ravel_pytree(rhs)[0][order]))
        inner = jax.lax.linalg.triangular_solve(
            factors, ravel_pytree(rhs)[0][order][:, None], left_side=True, lower=True, unit_diagonal=True
        )
        return unravel(jax.lax.linalg.triangular_solve(factors, inner, left_side=True)[:, 0])

    pivots = jnp.abs(jnp.diagonal(factors))
    return Linearised(substitute, scale, jnp.min(pivots) <= _PIVOT * jnp.max(pivots))


def solve(
    matvec: Callable,
    rhs: Any,
    *,
    symmetric: bool = False,
    zero_modes: bool = False,
    precondition: Callable | None = None,
    tolerance: float = 1e-12,
    max_steps: int = 500,
    dense_limit: int = DENSE_LIMIT,
) -> Any:
    """Solve `matvec(w) = rhs` for a tree `w` shaped like `rhs`.

    Args:
        matvec: A linear map of such trees.
        rhs: The right-hand side.
        symmetric: Whether the map is symmetric; a large one must then be negative semidefinite (conjugate gradients).
        zero_modes: Whether a small symmetric map may be singular: then the solution of smallest norm is found.
        precondition: A linear approximation of the solution for a right-hand side; None for none.
        tolerance: Of Krylov methods, relative to the norm of `rhs`.
        max_steps: Largest number of Krylov steps.
        dense_limit: Systems with up to this many unknowns are solved densely.
    """
    flat, unravel = ravel_pytree(rhs)  # one array, since custom_linear_solve cannot transpose a tree with constant leaves
    if flat.size == 0:
        return rhs

    def on_flat(function):
        return lambda vector: ravel_pytree(function(unravel(vector)))[0]

    action = on_flat(matvec)
    approximate = None if precondition is None else on_flat(precondition)

    def run(action, vector, approximate):
        if flat.size <= dense_limit:
            return _assembled_solve(action, vector, zero_modes)
        return _krylov_solve(action, vector, symmetric, approximate, tolerance, max_steps)

    def forward(action, vector):
        return run(action, vector, approximate)

    def backward(action, vector):
        if approximate is None:
            return run(action, vector, None)
        transpose = jax.linear_transpose(approximate, flat)
        return run(action, vector, lambda v: transpose(v)[0])

    solution = jax.lax.custom_linear_solve(
        action, flat, solve=forward, transpose_solve=forward if symmetric else backward, symmetric=symmetric
    )
    return unravel(solution)

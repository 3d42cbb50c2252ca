"""Arithmetic on pytrees of arrays."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer


def axpy(scale, x, y):
    """`scale * x + y`, leaf by leaf; `scale` is a scalar."""
    return jax.tree.map(lambda xi, yi: scale * xi + yi, x, y)


def subtract(x, y):
    """`x - y`, leaf by leaf."""
    return jax.tree.map(jnp.subtract, x, y)


def where(condition, x, y):
    """`x` where the scalar `condition` holds, else `y`."""
    return jax.tree.map(lambda xi, yi: jnp.where(condition, xi, yi), x, y)


def where_site(mask, x, y):
    """The same with a leading site axis: `mask` has shape (sites,)."""

    def pick(xi, yi):
        return jnp.where(mask.reshape(mask.shape + (1,) * (xi.ndim - 1)), xi, yi)

    return jax.tree.map(pick, x, y)


def spoilt(good, tree):
    """`tree` with NaN in the rows that are not `good` (sites,), for values and for derivatives.

    A selection would give the derivative 0 there, which passes for one. Backwards, a row that no later function depends on
    (its cotangent is 0) stays without influence, so that a caller can select the good rows.
    """

    def one(x):
        if not jnp.issubdtype(x.dtype, jnp.inexact):
            return x
        kept = jax.lax.stop_gradient(good).reshape(good.shape + (1,) * (x.ndim - 1))
        return jax.lax.custom_linear_solve(  # a linear map whose transpose can be given
            lambda v: v,
            x,
            solve=lambda _, v: jnp.where(kept, v, jnp.nan),
            transpose_solve=lambda _, v: jnp.where(kept | (v == 0), v, jnp.nan),
        )

    return jax.tree.map(one, tree)


def norm(tree):
    """Euclidean norm over all leaves, a scalar."""
    squares = [jnp.sum(jnp.abs(leaf) ** 2) for leaf in jax.tree.leaves(tree)]
    return jnp.sqrt(sum(squares, start=jnp.zeros(())))


def isfinite(tree):
    """True where every floating-point entry of every leaf is finite, a scalar."""
    leaves = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]
    return jnp.all(jnp.asarray(leaves)) if leaves else jnp.asarray(True)


def frozen(tree):
    """`tree` cut off from differentiation; leaves that are no arrays stay as they are."""
    return jax.tree.map(lambda x: jax.lax.stop_gradient(x) if isinstance(x, jax.Array) else x, tree)


def size(tree) -> int:
    """Number of entries in all leaves together."""
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def is_tracer(value: Any) -> bool:
    """True for a value that JAX is tracing or differentiating."""
    return isinstance(value, Tracer)


def contract(tangent, direction, like):
    """Σ dA/dc · dc over the leaves of a `direction` of the condition: a tree like the response `like`.

    Blocks of `tangent` are nested response first, as `jacfwd` and `jacrev` nest them.
    """
    leaves, structure = jax.tree.flatten(like)
    moved, blocks = jax.tree.leaves(direction), jax.tree.leaves(tangent)
    rows = [blocks[k * len(moved) : (k + 1) * len(moved)] for k in range(len(leaves))]
    total = [sum((jnp.tensordot(b, m, axes=m.ndim) for b, m in zip(row, moved)), start=jnp.zeros(x.shape, x.dtype))
             for row, x in zip(rows, leaves)]  # fmt: skip
    return jax.tree.unflatten(structure, total)

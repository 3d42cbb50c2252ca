"""Arithmetic of the checks on trees, in numpy: JAX would compile each operation by itself."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def random_like(tree: Any, seed: int) -> Any:
    """Normal random numbers like `tree`."""
    random = np.random.default_rng(seed)
    return jax.tree.map(lambda x: random.standard_normal(x.shape).astype(x.dtype), tree)


def combine(scale: float, x: Any, y: Any) -> Any:
    """`scale * x + y`."""
    return jax.tree.map(lambda a, b: scale * np.asarray(a) + b, x, y)


def dot(x: Any, y: Any) -> float:
    """Sum of the products of all entries."""
    return sum(float(np.sum(np.asarray(a) * b)) for a, b in zip(jax.tree.leaves(x), jax.tree.leaves(y), strict=True))


def norm(tree: Any) -> float:
    """Euclidean norm over all leaves."""
    return sum(float(np.sum(np.abs(np.asarray(leaf)) ** 2)) for leaf in jax.tree.leaves(tree)) ** 0.5


def flat(tree: Any) -> np.ndarray:
    """All entries in one vector."""
    return np.concatenate([np.zeros(0), *(np.ravel(leaf) for leaf in jax.tree.leaves(tree))])


def same(x: Any, y: Any) -> bool:
    """Whether two trees have the same digits."""
    pairs = zip(jax.tree.leaves(x), jax.tree.leaves(y), strict=True)
    return all(bool(jnp.array_equal(a, b)) for a, b in pairs)


def pairs(value: Any, tangent: Any, condition: Any) -> list[tuple[Any, list]]:
    """Each leaf of the response with its blocks of the tangent, one for each leaf of the condition."""
    count = len(jax.tree.leaves(condition))
    blocks = jax.tree.leaves(tangent)
    return [(leaf, blocks[k * count : (k + 1) * count]) for k, leaf in enumerate(jax.tree.leaves(value))]


def rows(value: Any, blocks: list) -> np.ndarray:
    """The tangent of one response leaf as a matrix (response entries, condition entries)."""
    return np.concatenate([np.reshape(block, (value.size, -1)) for block in blocks], axis=1)

"""Sparse systems assembled from small dense blocks, solved on the host and differentiable by implicit rules.

Direct: SuperLU (Li, ACM Trans. Math. Softw. 31, 2005) in a nested-dissection order (George, SIAM J. Numer. Anal. 10, 1973),
which in 3D needs less memory than minimum degree. The call sits in `jax.lax.custom_linear_solve`: derivatives are solves.
"""

import abc
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
from jaxtyping import Array, Float

_LEAF = 32
_REFINED = 1e-12
_LARGE = 3000  # number of unknowns from which single precision is tried first
_PLAIN = {"permc_spec": "NATURAL", "diag_pivot_thresh": 0.0, "options": {"SymmetricMode": True}}
# Precision, options of SuperLU, refinements, and the relative residual that is accepted if refinement stops there.
_WAYS = ((np.float32, _PLAIN, 8, 1e-11), (np.float64, _PLAIN, 5, 1e-8), (np.float64, {}, 5, 1e-8))


class Pattern:
    """Places of the entries of blocks in a sparse matrix.

    Args:
        unknowns: The unknown of each row of a block (blocks, m); −1 for rows and columns that are left out.
        size: Number of unknowns.
        order: A permutation that keeps fill low; None for none.
        near_null: Vectors that the matrix nearly annihilates (size, modes), for multigrid.
    """

    def __init__(self, unknowns: np.ndarray, size: int, order: np.ndarray | None = None, near_null: np.ndarray | None = None):
        self.size, self.near_null = size, near_null
        self.order = np.arange(size) if order is None else np.asarray(order)
        self.place = np.empty(size, np.int64)
        self.place[self.order] = np.arange(size)
        self.padded = np.where(unknowns >= 0, unknowns, size)
        placed = np.where(unknowns >= 0, self.place[unknowns], -1)
        rows = np.broadcast_to(placed[:, :, None], (*placed.shape, placed.shape[1])).ravel()
        columns = np.broadcast_to(placed[:, None, :], (*placed.shape, placed.shape[1])).ravel()
        inside = np.flatnonzero((rows >= 0) & (columns >= 0))
        # The diagonal is always stored: shifts and held unknowns are added there.
        key = np.concatenate([rows[inside] * size + columns[inside], np.arange(size) * (size + 1)])
        entries, slot = np.unique(key, return_inverse=True)
        self.indices = (entries % size).astype(np.int32)
        self.indptr = np.searchsorted(entries // size, np.arange(size + 1)).astype(np.int32)
        self.diagonal = slot[len(inside) :]
        ones = np.ones(len(inside))
        self._gather = sp.csr_matrix((ones, (slot[: len(inside)], inside)), shape=(len(entries), rows.size))

    def matrix(self, blocks: Array | np.ndarray, diagonal: Array | np.ndarray) -> sp.csr_matrix:
        """Sum of the blocks plus a diagonal, rows and columns in `order`."""
        data = self._gather @ np.asarray(blocks).ravel()
        data[self.diagonal] += np.asarray(diagonal)[self.order]
        return sp.csr_matrix((data, self.indices, self.indptr), shape=(self.size, self.size))


class AbstractSparseSolver(eqx.Module):
    """How an assembled system is solved, on the host, with numpy alone."""

    @abc.abstractmethod
    def solve(self, pattern: Pattern, matrix: sp.csr_matrix, rhs: np.ndarray, transpose: bool) -> np.ndarray:
        """Solution of matrix x = rhs (or matrixᵀ x = rhs), in the order of `pattern`; NaN where there is none."""


class Direct(AbstractSparseSolver):
    """Sparse LU with symmetric scaling and iterative refinement; for 2D, and for 3D up to some ten thousand unknowns."""

    def solve(self, pattern, matrix, rhs, transpose):
        from scipy.sparse.linalg import splu

        if not np.all(np.isfinite(matrix.data)) or not np.all(np.isfinite(rhs)):
            return np.full_like(rhs, np.nan)
        scale = _scale(matrix)
        scaled = sp.csr_matrix(
            (matrix.data * np.repeat(scale, np.diff(matrix.indptr)) * scale[matrix.indices], matrix.indices, matrix.indptr),
            shape=matrix.shape,
        )
        # The same arrays read as CSC are the transpose, so nothing is copied.
        turned = sp.csc_matrix((scaled.data, scaled.indices, scaled.indptr), shape=matrix.shape)
        mode, apply = ("N", turned) if transpose else ("T", scaled)
        right = rhs * scale
        size = np.linalg.norm(right)
        # Single precision takes half the time, and definite matrices need no pivoting. If refinement does not reach the
        # tolerance, the matrix was too ill-conditioned or indefinite for that, and the next way is tried.
        for kind, options, repeats, good in _WAYS[0 if matrix.shape[0] > _LARGE else 1 :]:
            try:
                factors = splu(turned.astype(kind), **options)
            except RuntimeError:  # exactly singular
                continue
            x, best = np.zeros_like(right), size
            for _ in range(repeats):
                rest = right - apply @ x
                norm = np.linalg.norm(rest)
                if norm <= _REFINED * size:
                    return x * scale
                if not norm <= best:
                    break
                best = norm
                x = x + norm * factors.solve((rest / norm).astype(kind), trans=mode)
            if np.linalg.norm(right - apply @ x) <= good * size:
                return x * scale
        return np.full_like(rhs, np.nan)


def _scale(matrix: sp.csr_matrix) -> np.ndarray:
    """1/√|diagonal|; where the diagonal is below 1e-10 of the largest entry of the row, 1/√ of that entry."""
    largest = np.maximum.reduceat(np.abs(matrix.data), matrix.indptr[:-1])
    diagonal = np.abs(matrix.diagonal())
    size = np.where(diagonal > 1e-10 * largest, diagonal, largest)
    return 1.0 / np.sqrt(np.where(size > 0.0, size, 1.0))


def solve(
    pattern: Pattern,
    blocks: Float[Array, "blocks m m"],
    diagonal: Float[Array, " size"],
    rhs: Float[Array, " size"],
    solver: AbstractSparseSolver,
) -> Float[Array, " size"]:
    """Solution of (Σ blocks + diagonal) x = rhs. NaN where the matrix is singular."""
    if pattern.size == 0:
        return rhs
    rows = jnp.asarray(pattern.padded)

    def product(matrices, vector):
        spread = jnp.concatenate([vector, jnp.zeros((1,), vector.dtype)])[rows]
        parts = jnp.einsum("eab,eb->ea", matrices, spread)
        return jnp.zeros(pattern.size + 1, vector.dtype).at[rows].add(parts)[:-1] + diagonal * vector

    def on_host(transpose: bool) -> Callable:
        def run(blocks, diagonal, vector):
            matrix, order = pattern.matrix(blocks, diagonal), pattern.order
            found = np.empty(pattern.size)
            with np.errstate(all="ignore"):
                found[order] = solver.solve(pattern, matrix, np.asarray(vector)[order], transpose)
            return found.astype(vector.dtype)

        shape = jax.ShapeDtypeStruct(rhs.shape, rhs.dtype)
        return lambda _, vector: jax.pure_callback(run, shape, blocks, diagonal, vector, vmap_method="sequential")

    return jax.lax.custom_linear_solve(lambda v: product(blocks, v), rhs, solve=on_host(False), transpose_solve=on_host(True))


def dissection(neighbours: sp.csr_matrix, coordinates: np.ndarray) -> np.ndarray:
    """Nested-dissection order of the nodes of a graph in space: two halves along the longest axis, then their separator.

    Halves are no longer coupled once the separator is last, so elimination of one fills nothing in the other.
    """
    order = np.empty(len(coordinates), np.int64)
    side = np.zeros(len(coordinates), np.int8)
    indptr, indices = neighbours.indptr, neighbours.indices
    stack = [(np.arange(len(coordinates)), 0)]
    while stack:
        nodes, start = stack.pop()
        if len(nodes) <= _LEAF:
            order[start : start + len(nodes)] = nodes
            continue
        place = coordinates[nodes]
        axis = int(np.argmax(np.ptp(place, axis=0)))
        ranked = nodes[np.argsort(place[:, axis], kind="stable")]
        first, second = ranked[: len(nodes) // 2], ranked[len(nodes) // 2 :]
        side[second] = 1
        lengths = indptr[first + 1] - indptr[first]
        flat = np.repeat(indptr[first] - np.concatenate([[0], np.cumsum(lengths)[:-1]]), lengths) + np.arange(lengths.sum())
        touching = np.repeat(np.arange(len(first)), lengths)[side[indices[flat]] == 1]
        side[second] = 0
        parting = np.zeros(len(first), bool)
        parting[touching] = True
        inner, middle = first[~parting], first[parting]
        order[start + len(inner) + len(second) : start + len(nodes)] = middle
        stack += [(inner, start), (second, start + len(inner))]
    return order

"""Matrices of a few rows, batched in trailing axes: closed forms that vectorise over the batch."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def determinant(m: Float[Array, "d d *b"]) -> Float[Array, "*b"]:
    """Determinant for d = 1, 2, 3."""
    if m.shape[0] == 1:
        return m[0, 0]
    if m.shape[0] == 2:
        return m[0, 0] * m[1, 1] - m[0, 1] * m[1, 0]
    return (
        m[0, 0] * (m[1, 1] * m[2, 2] - m[1, 2] * m[2, 1])
        - m[0, 1] * (m[1, 0] * m[2, 2] - m[1, 2] * m[2, 0])
        + m[0, 2] * (m[1, 0] * m[2, 1] - m[1, 1] * m[2, 0])
    )


def smallest_eigenvalue(m: Float[Array, "d d *b"]) -> Float[Array, "*b"]:
    """Smallest eigenvalue of symmetric matrices for d = 1, 2, 3; for d = 3 to about half the digits of the largest one.

    For d = 3 by the trigonometric solution of the characteristic equation.
    """
    if m.shape[0] == 1:
        return m[0, 0]
    if m.shape[0] == 2:
        half, gap = 0.5 * (m[0, 0] + m[1, 1]), 0.5 * (m[0, 0] - m[1, 1])
        return half - jnp.sqrt(gap**2 + m[0, 1] ** 2)
    mean = (m[0, 0] + m[1, 1] + m[2, 2]) / 3.0
    deviator = jnp.stack([jnp.stack([m[i, j] - (mean if i == j else 0.0) for j in range(3)]) for i in range(3)])
    size = jnp.sqrt(jnp.sum(deviator**2, axis=(0, 1)) / 6.0)
    safe = jnp.where(size > 0.0, size, 1.0)
    cosine = jnp.clip(0.5 * determinant(deviator / safe), -1.0, 1.0)
    return mean + 2.0 * size * jnp.cos((jnp.arccos(cosine) + 2.0 * jnp.pi) / 3.0)


def solve_symmetric(matrix: Float[Array, "n n *b"], rhs: Array):
    """Solution of matrix x = rhs, rhs (n, *b) or (n, k, *b), by elimination without pivoting, and the smallest pivot (*b).

    All pivots are positive where the matrix is positive definite, and only there.
    """
    n, pivots, rows, right = rhs.shape[0], [], [], []
    several = rhs.ndim == matrix.ndim
    if several:
        matrix = matrix[:, :, None]
    for _ in range(n):
        pivot = matrix[0, 0]
        pivots.append(pivot)
        rows.append(matrix[0] / pivot)
        right.append(rhs[0] / pivot)
        column = matrix[1:, 0]
        rhs = rhs[1:] - column * right[-1]
        matrix = matrix[1:, 1:] - column[:, None] * rows[-1][None, 1:]
    found = []
    for k in reversed(range(n)):
        value = right[k]
        for j, x in enumerate(found):
            value = value - rows[k][n - k - 1 - j] * x
        found.append(value)
    smallest = jnp.min(jnp.stack(pivots), axis=0)
    return jnp.stack(found[::-1]), smallest[0] if several else smallest


_WRITTEN_OUT = 15  # rows up to which elimination is written out


def solve_positive(matrix: Float[Array, "n n *b"], rhs: Array):
    """As `solve_symmetric`, and by LAPACK for many rows; then the second result is the smallest eigenvalue, not a pivot."""
    n = matrix.shape[0]
    if n <= _WRITTEN_OUT:
        return solve_symmetric(matrix, rhs)
    front = lambda x, k: jnp.moveaxis(x, range(k), range(-k, 0))
    several = rhs.ndim == matrix.ndim
    square = front(matrix, 2)
    found = jnp.linalg.solve(square, front(rhs, 2) if several else front(rhs, 1)[..., None])
    found = jnp.moveaxis(found, (-2, -1), (0, 1)) if several else jnp.moveaxis(found[..., 0], -1, 0)
    return found, jnp.linalg.eigvalsh(square)[..., 0]

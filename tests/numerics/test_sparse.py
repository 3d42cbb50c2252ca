import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import splu

from fiberax.numerics.sparse import Direct, Pattern, dissection, solve


@pytest.fixture
def system():
    """Random blocks over a chain of pairs, some rows left out; the dense matrix is summed by loops."""
    rng = np.random.default_rng(0)
    unknowns = np.array([[0, 1, 2], [2, 3, -1], [3, 4, 0], [-1, 4, 1]])
    blocks = rng.standard_normal((4, 3, 3))
    diagonal = rng.standard_normal(5) + 4.0
    dense = np.diag(diagonal)
    for rows, block in zip(unknowns, blocks):
        for i, row in enumerate(rows):
            for j, column in enumerate(rows):
                if row >= 0 and column >= 0:
                    dense[row, column] += block[i, j]
    return unknowns, blocks, diagonal, dense, rng.standard_normal(5)


@pytest.mark.parametrize("order", [None, np.array([3, 1, 4, 0, 2])])
def test_blocks_are_summed_and_solved_also_without_symmetry(system, order):
    unknowns, blocks, diagonal, dense, rhs = system
    pattern = Pattern(unknowns, 5, order)
    x = jax.jit(lambda b, d, r: solve(pattern, b, d, r, Direct()))(blocks, diagonal, rhs)
    np.testing.assert_allclose(x, np.linalg.solve(dense, rhs), rtol=1e-12)


def test_derivatives_are_those_of_the_dense_solve(system):
    unknowns, blocks, diagonal, _, rhs = system
    pattern = Pattern(unknowns, 5, np.array([3, 1, 4, 0, 2]))
    rows = jnp.asarray(np.where(unknowns >= 0, unknowns, 5))

    def dense(blocks, diagonal, rhs):
        matrix = jnp.zeros((6, 6)).at[rows[:, :, None], rows[:, None, :]].add(blocks)[:5, :5] + jnp.diag(diagonal)
        return jnp.sum(jnp.sin(jnp.linalg.solve(matrix, rhs)))

    ours = jax.jit(jax.grad(lambda *a: jnp.sum(jnp.sin(solve(pattern, *a, Direct()))), (0, 1, 2)))(blocks, diagonal, rhs)
    truth = jax.grad(dense, (0, 1, 2))(jnp.asarray(blocks), jnp.asarray(diagonal), jnp.asarray(rhs))
    for one, other in zip(ours, truth):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)


def test_indefinite_matrices_are_solved_and_singular_ones_give_nan():
    pattern = Pattern(np.array([[0, 1], [1, 2]]), 3)
    saddle = jnp.array([[[1e-14, 1.0], [1.0, 0.0]], [[0.0, 2.0], [2.0, -1.0]]])
    x = solve(pattern, saddle, jnp.zeros(3), jnp.array([1.0, 2.0, 3.0]), Direct())
    dense = np.array([[1e-14, 1, 0], [1, 0, 2], [0, 2, -1]])
    np.testing.assert_allclose(x, np.linalg.solve(dense, [1, 2, 3]), rtol=1e-9)
    spring = jnp.array([[[1.0, -1.0], [-1.0, 1.0]]] * 2)
    assert np.all(np.isnan(solve(pattern, spring, jnp.zeros(3), jnp.array([1.0, 2.0, 3.0]), Direct())))
    for broken in (saddle * jnp.nan, saddle.at[1, 1, 1].set(jnp.inf)):  # all entries, and one
        assert np.all(np.isnan(solve(pattern, broken, jnp.zeros(3), jnp.ones(3), Direct())))
    assert np.all(np.isnan(solve(pattern, saddle, jnp.zeros(3), jnp.array([1.0, jnp.nan, 1.0]), Direct())))


def test_scales_that_differ_by_many_powers_of_ten_do_no_harm():
    pattern = Pattern(np.array([[0, 1], [1, 2]]), 3)
    blocks = jnp.array([[[2e12, -1e3], [-1e3, 1.0]], [[1.0, -1e-7], [-1e-7, 1e-10]]])
    x = jnp.array([1e-6, 2.0, 1e5])
    dense = np.array([[2e12, -1e3, 0], [-1e3, 2.0, -1e-7], [0, -1e-7, 1e-10]])
    np.testing.assert_allclose(solve(pattern, blocks, jnp.zeros(3), jnp.asarray(dense @ x), Direct()), x, rtol=1e-9)


def test_dissection_is_a_permutation_that_halves_the_fill_of_rows_in_sequence():
    n = 10
    line = sp.diags([np.ones(n - 1), 2 * np.ones(n), np.ones(n - 1)], [-1, 0, 1])
    eye = sp.identity(n)
    graph = sp.csr_matrix(
        sp.kron(sp.kron(line, eye), eye) + sp.kron(sp.kron(eye, line), eye) + sp.kron(eye, sp.kron(eye, line))
    )
    places = np.stack(np.meshgrid(*[np.arange(n)] * 3, indexing="ij"), -1).reshape(-1, 3).astype(float)
    order = dissection(graph, places)
    assert sorted(order) == list(range(n**3))

    def fill(order):
        matrix = sp.csc_matrix(graph[order][:, order])
        return splu(matrix, permc_spec="NATURAL", diag_pivot_thresh=0.0, options={"SymmetricMode": True}).L.nnz

    assert fill(order) < 0.6 * fill(np.arange(n**3))


@pytest.mark.parametrize("stretch", [1.0, 1e6])
def test_large_systems_in_single_precision_are_as_exact_as_others(stretch):
    """A chain of springs with 4000 unknowns, the stiff one beyond what single precision resolves."""
    n = 4000
    stiff = np.where(np.arange(n) % 2, 1.0, stretch)
    unknowns = np.stack([np.arange(n) - 1, np.arange(n)], axis=1)
    blocks = stiff[:, None, None] * np.array([[1.0, -1.0], [-1.0, 1.0]])
    x = np.sin(np.arange(n) / 50.0)
    matrix = sp.diags([-stiff[1:], np.append(stiff[:-1] + stiff[1:], stiff[-1]), -stiff[1:]], [-1, 0, 1])
    found = solve(Pattern(unknowns, n), jnp.asarray(blocks), jnp.zeros(n), jnp.asarray(matrix @ x), Direct())
    assert np.linalg.norm(matrix @ (np.asarray(found) - x)) <= 1e-10 * np.linalg.norm(matrix @ x)

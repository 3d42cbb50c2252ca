"""Stability of crystals: acoustic tensors in closed form, the cheap search against the fine one, what is lost first."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax.core.errors import BadInput
from fiberax.numerics.small import determinant, smallest_eigenvalue, solve_symmetric

P = fx.solids.potentials
HEXAGON = np.array([[1.0, 0], [0.5, 0.75**0.5]])
R0 = 2 ** (1 / 6)


@pytest.fixture(scope="module")
def triangles():
    return fx.solids.Crystal(R0 * HEXAGON, [[0, 0]], ["X"], P.LennardJones(cutoff=1.6), stretch=0.9)


@pytest.fixture(scope="module")
def two(triangles):
    """The same crystal as a rectangular cell with two atoms."""
    cell = R0 * np.array([[1, 0], [0, 3**0.5]])
    return fx.solids.Crystal(cell, [[0, 0], [0.5, 0.5]], ["X", "X"], triangles.potential, stretch=0.9)


def test_isotropic_at_rest(triangles):
    """NN triangular lattice: Λ has μ = √3/4 k across and 3μ along every direction."""
    found = fx.solids.stability(triangles, np.zeros((2, 2)))
    k = 72.0 * 2 ** (-1 / 3)
    assert found.acoustic == pytest.approx(3**0.5 / 4 * k, rel=1e-11)
    assert abs(found.direction @ found.mode) < 1e-6
    assert found.internal == np.inf
    assert found.stable


@pytest.mark.slow
def test_cheap_search_agrees(triangles, two):
    sound = jax.jit(jax.vmap(two.stability_margin))
    A = np.random.default_rng(0).uniform(-0.06, 0.06, (6, 2, 2))
    A[0] = 0.0
    r = fx.responses(two, A)
    cheap = sound(r.state, A)
    for k in range(6):
        fine = fx.solids.stability(triangles, A[k])
        moduli = fx.response(triangles, A[k], tangent=True).tangent
        acoustic = fine.acoustic / np.abs(moduli).max()
        alone = triangles.stability_margin(jnp.zeros((0, 2)), jnp.asarray(A[k]))
        assert float(alone) == pytest.approx(acoustic, abs=3e-4)
        assert np.sign(cheap[k]) == np.sign(acoustic)


def test_nothing_holds_a_crystal_that_is_torn_apart(triangles, two):
    for crystal, shifts in ((triangles, jnp.zeros((0, 2))), (two, jnp.zeros((1, 2)))):
        assert crystal.stability_margin(shifts, jnp.eye(2)) == 0.0
        assert "Ellipticity is lost" in crystal.explain(shifts, jnp.eye(2))
    assert "W_pp is not positive definite" in two.explain(jnp.zeros((1, 2)), jnp.eye(2))
    assert fx.response(two, jnp.eye(2)).result == fx.Result.UNSTABLE


def test_words_speak_of_the_shifts_where_there_are_any(triangles, two):
    words = [fx.solids.stability(crystal, np.zeros((2, 2))).in_words() for crystal in (triangles, two)]
    assert ["W_pp is positive definite" in text for text in words] == [False, True]
    assert all("Ellipticity holds" in text for text in words)


def test_ellipticity_is_lost_on_stretching(triangles):
    """Along x until it goes: the sign changes once, the words say so, k·Λ·m is what is claimed."""
    values = []
    for stretch in (0.0, 0.05, 0.15):
        A = np.diag([stretch, 0.0])
        s = fx.solids.stability(triangles, A)
        C = np.asarray(fx.response(triangles, A, tangent=True).tangent)
        assert np.einsum("iJkL,i,J,k,L", C, s.mode, s.direction, s.mode, s.direction) == pytest.approx(s.acoustic, abs=1e-9)
        values.append(s.acoustic)
    assert values[0] > values[1] > 0 > values[2]
    words = triangles.explain(jnp.zeros((0, 2)), jnp.diag(jnp.asarray([0.15, 0.0])))
    assert "Ellipticity is lost" in words
    assert re.search(r"in direction \[.*\] with mode \[.*\], in x, y\.", words)


def test_a_lost_minimum_in_the_shifts():
    push = P.Pair(lambda r: (r - 1.0) ** 2 * jnp.exp(-4.0 * (r - 1.0) ** 2), cutoff=2.4)
    crystal = fx.solids.Crystal([[2.9, 0.0], [0.0, 1.0]], [[0, 0], [0.5, 0.0]], ["X", "X"], push, stretch=0.95)
    s = fx.solids.stability(crystal, np.zeros((2, 2)))
    assert s.internal < 0
    assert not s.stable
    assert re.search(r"W_pp is not positive definite \(smallest eigenvalue .*, shift mode .* in x, y\)", s.in_words())
    assert "Ellipticity" in s.in_words()
    assert crystal.stability_margin(jnp.zeros((1, 2)), jnp.zeros((2, 2))) < 0


def test_refuses(triangles):
    with pytest.raises(BadInput, match="A must be"):
        fx.solids.stability(triangles, np.zeros((3, 3)))
    with pytest.raises(BadInput, match="no relaxed state"):
        fx.solids.stability(triangles, -2.0 * np.eye(2) + np.diag([1.5, 0.0]))


def test_small_matrices():
    rng = np.random.default_rng(0)
    for d in (1, 2, 3):
        m = rng.standard_normal((d, d, 50))
        m = m + np.swapaxes(m, 0, 1)
        front = np.moveaxis(m, -1, 0)
        np.testing.assert_allclose(determinant(jnp.asarray(m)), np.linalg.det(front), atol=1e-12)
        np.testing.assert_allclose(smallest_eigenvalue(jnp.asarray(m)), np.linalg.eigvalsh(front)[:, 0], atol=1e-7)
    assert smallest_eigenvalue(2.0 * jnp.eye(3)) == 2.0
    m, b = rng.standard_normal((5, 5, 4)), rng.standard_normal((5, 2, 4))
    m = np.einsum("ijb,kjb->ikb", m, m)
    x, pivot = solve_symmetric(jnp.asarray(m), jnp.asarray(b))
    np.testing.assert_allclose(np.einsum("ijb,jkb->ikb", m, x), b, atol=1e-9)
    assert np.all(pivot > 0)
    m[:, :, 0] -= 3.0 * np.eye(5)
    _, pivot = solve_symmetric(jnp.asarray(m), jnp.asarray(b[:, 0]))
    assert (pivot[0] > 0) == np.all(np.linalg.eigvalsh(m[:, :, 0]) > 0)


def test_other_fibers_are_refused_in_words():
    other = fx.testing.TwoSpringChain()
    for function, arguments in ((fx.solids.stability, (np.eye(3),)), (fx.solids.equilibrium, ())):
        with pytest.raises(fx.BadInput, match="this is a TwoSpringChain"):
            function(other, *arguments)

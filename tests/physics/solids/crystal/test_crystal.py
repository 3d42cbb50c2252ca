"""Crystals as fibers: closed forms, symmetries, derivatives, shells of the deformed crystal, failures."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax.core.errors import BadInput

P = fx.solids.potentials
Crystal = fx.solids.Crystal
FCC = np.array([[0.0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2
HCP = np.array([[1, 0, 0], [0.5, 0.75**0.5, 0], [0, 0, (8 / 3) ** 0.5]])
HEXAGON = np.array([[1.0, 0], [0.5, 0.75**0.5]])
FOUR = [[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]
LJ = P.LennardJones(cutoff=2.5, scheme="smooth")


def sizes(seed, d, largest=0.05):
    return np.random.default_rng(seed).uniform(-largest, largest, (d, d))


def brute(crystal, A, shifts, reach=4):
    """W by a plain sum over a block of cells, no lists: pair potentials only."""
    F = np.eye(len(A)) + A
    own = np.asarray(crystal.basis @ crystal.lattice) + np.concatenate([np.zeros((1, len(A))), np.asarray(shifts)])
    cells = np.array(list(itertools.product(range(-reach, reach + 1), repeat=len(A)))) @ np.asarray(crystal.lattice)
    r = np.linalg.norm((own[None, None] + cells[:, None, None] - own[None, :, None]) @ F.T, axis=-1)
    values = np.asarray(crystal.potential.pair(jnp.asarray(r[r > 1e-9])))
    return 0.5 * values.sum() / abs(np.linalg.det(crystal.lattice))


@pytest.fixture(scope="module")
def hcp():
    return Crystal(1.1 * HCP, [[0, 0, 0], [1 / 3, 1 / 3, 0.5]], ["Ar", "Ar"], LJ)


@pytest.fixture(scope="module")
def silicon():
    return Crystal(5.431 * FCC, [[0, 0, 0], [0.25] * 3], ["Si", "Si"], P.StillingerWeber("Si"))


def test_energy_is_the_plain_sum(hcp):
    for crystal, d in ((hcp, 3), (Crystal(1.1 * HEXAGON, [[0, 0]], ["X"], LJ), 2)):
        A = sizes(1, d)
        r = fx.response(crystal, A)
        np.testing.assert_allclose(r.energy, brute(crystal, A, r.state), rtol=1e-13)


def test_every_neighbour_that_enters_is_seen():
    crystal = Crystal(1.55 * FCC, [[0, 0, 0]], ["Ar"], P.LennardJones(cutoff=2.5))
    before = np.sum(np.linalg.norm(np.asarray(crystal.unit_cell.shells.bonds[0]), axis=0) < 2.5)
    for stretch in (0.72, 0.85, 0.93):
        A = (stretch - 1.0) * np.eye(3)
        now = np.sum(stretch * np.linalg.norm(np.asarray(crystal.unit_cell.shells.bonds[0]), axis=0) < 2.5)
        assert now > before  # a shell has come in
        np.testing.assert_allclose(fx.response(crystal, A).energy, brute(crystal, A, np.zeros((0, 3)), 6), rtol=1e-13)


def test_beyond_the_lists_is_a_failure(hcp, silicon):
    for crystal in (hcp, Crystal(1.55 * FCC, [[0, 0, 0]], ["Ar"], LJ)):
        r = fx.response(crystal, -0.4 * np.eye(3))
        assert r.result == fx.Result.OUT_OF_RANGE
        assert np.all(np.isnan(r.value))
        assert np.isnan(r.energy)
    wide = Crystal(1.55 * FCC, [[0, 0, 0]], ["Ar"], LJ, stretch=0.55)
    A = -0.4 * np.eye(3)
    np.testing.assert_allclose(fx.response(wide, A).energy, brute(wide, A, np.zeros((0, 3)), 7), rtol=1e-13)


def test_torn_apart_is_no_stalled_solver(silicon):
    """No neighbour within the cutoff: W = P = 0, and W_pp = 0 holds no atom."""
    shear = jnp.zeros((3, 3)).at[0, 1].set(0.3)
    got = fx.responses(silicon, jnp.stack([jnp.eye(3), jnp.eye(3) + shear, 0.01 * shear]))
    assert np.asarray(got.result).tolist() == [fx.Result.UNSTABLE, fx.Result.UNSTABLE, 0]
    assert "beyond the cutoff" in silicon.remedy(fx.Result.UNSTABLE)
    assert silicon.solver.step(silicon, jnp.zeros((1, 3)), jnp.eye(3))[1].result == fx.Result.UNSTABLE


def test_wrong_shapes_are_named(silicon):
    for A, words in (
        (0.1, r"displacement gradient A \(3, 3\); it has the shape \(\)"),
        (np.zeros((2, 2)), r"the shape \(2, 2\)\. A body in 2 dimensions needs a crystal in 2"),
        (np.zeros((5, 3, 3)), r"the shape \(5, 3, 3\)\. A batch is one array \(n, 3, 3\), for fx\.responses"),
        ([np.zeros(3), np.zeros(3), np.zeros(3)], r"the shape \[3, 3, 3\]"),
    ):
        with pytest.raises(fx.Mismatch, match=words):
            fx.response(silicon, A)
    with pytest.raises(fx.Mismatch, match=r"the shape \(3,\)"):
        fx.responses(silicon, np.zeros((3, 3)))


def test_lists_of_numbers_are_arrays(silicon):
    A = 0.01 * np.arange(9.0).reshape(3, 3)
    one = fx.response(silicon, A)
    np.testing.assert_array_equal(fx.response(silicon, A.tolist()).value, one.value)
    np.testing.assert_allclose(fx.responses(silicon, [A.tolist()] * 3).value[2], one.value, rtol=1e-10)


def test_turned_inside_out_is_not_finite(hcp):
    A = np.diag([-2.0, 0.0, 0.0])
    r = fx.response(hcp, A)
    assert r.result == fx.Result.NONFINITE
    assert np.isnan(hcp.energy(r.state, jnp.asarray(A)))


def test_mixed_batch_isolates_the_bad(hcp):
    A = np.stack([sizes(3, 3), -0.4 * np.eye(3), np.diag([-2.0, 0, 0]), np.zeros((3, 3))])
    r = fx.responses(hcp, A)
    assert r.result.tolist() == [0, fx.Result.OUT_OF_RANGE, fx.Result.NONFINITE, 0]
    np.testing.assert_allclose(r.value[0], fx.response(hcp, A[0]).value, rtol=1e-12)


@pytest.mark.slow
def test_four_atom_cell_is_the_simple_lattice():
    short = P.LennardJones(cutoff=1.7, scheme="smooth")
    simple = Crystal(1.55 * FCC, [[0, 0, 0]], ["Ar"], short, stretch=0.9, shift=0.05)
    cubic = Crystal(1.55 * np.eye(3), FOUR, ["Ar"] * 4, short, stretch=0.9, shift=0.05)
    A = sizes(4, 3, 0.03)
    one, four = fx.response(simple, A, tangent=True), fx.response(cubic, A, tangent=True)
    assert np.abs(four.state).max() < 1e-13  # by inversion symmetry
    for name in ("energy", "value", "tangent"):
        np.testing.assert_allclose(getattr(four, name), getattr(one, name), rtol=1e-11, atol=1e-11)


def test_objectivity(silicon):
    A = sizes(5, 3)
    Q, _ = np.linalg.qr(np.random.default_rng(6).standard_normal((3, 3)))
    Q *= np.sign(np.linalg.det(Q))
    r = fx.response(silicon, A)
    turned = fx.response(silicon, Q @ (np.eye(3) + A) - np.eye(3))
    np.testing.assert_allclose(turned.energy, r.energy, rtol=1e-13)
    np.testing.assert_allclose(turned.value, Q @ r.value, atol=1e-14)
    np.testing.assert_allclose(turned.state, r.state, atol=1e-13)


@pytest.mark.slow
def test_shifts_are_relaxed_to_round_off(hcp, silicon):
    for crystal in (hcp, silicon):
        A = jnp.asarray(sizes(8, 3, 0.1))
        r = fx.response(crystal, A)
        left = jax.grad(crystal.energy)(r.state, A)
        first = jax.grad(crystal.energy)(0.0 * r.state, A)
        assert r.result == 0
        assert r.steps <= 6
        assert np.linalg.norm(left) < 1e-12 * np.linalg.norm(first)


@pytest.mark.slow
def test_many_fibers_are_single_ones(silicon):
    A = np.random.default_rng(12).uniform(-0.05, 0.05, (300, 3, 3))
    many = fx.responses(silicon, A, tangent=True)
    for k in (0, 131, 299):
        one = fx.response(silicon, A[k], tangent=True)
        np.testing.assert_allclose(many.value[k], one.value, atol=1e-14)
        np.testing.assert_allclose(many.tangent[k], one.tangent, atol=1e-13)


def test_nested_maps_and_batched_parameters(hcp):
    A = jnp.asarray(np.random.default_rng(13).uniform(-0.05, 0.05, (2, 3, 3, 3)))
    shifts = jnp.zeros((1, 3))
    nested = jax.jit(jax.vmap(jax.vmap(hcp.link, (None, 0)), (None, 0)))(shifts, A)
    np.testing.assert_allclose(nested[1, 2], hcp.link(shifts, A[1, 2]), atol=1e-13)
    energies = jnp.asarray([1.0, 2.0])

    def scaled(epsilon):
        return eqx.tree_at(lambda c: c.potential.epsilon, hcp, epsilon).link(shifts, A[0, 0])

    np.testing.assert_allclose(jax.vmap(scaled)(energies)[1], 2.0 * hcp.link(shifts, A[0, 0]), rtol=1e-13)


def test_positions(hcp):
    A = sizes(14, 3)
    r = fx.response(hcp, A)
    x = fx.solids.positions(hcp, r.state, A)
    F = np.eye(3) + A
    np.testing.assert_allclose(x[0], np.zeros(3), atol=1e-15)
    np.testing.assert_allclose(x[1], F @ (np.array([1 / 3, 1 / 3, 0.5]) @ (1.1 * HCP) + np.asarray(r.state[0])), rtol=1e-14)


def test_a_saddle_is_reported():
    """A chain of pairs in the plane: an atom in the middle of a long bond is pushed off by either side."""
    stiff = P.Pair(lambda r: (r - 1.0) ** 2 * jnp.exp(-4.0 * (r - 1.0) ** 2), cutoff=2.4)
    lattice, basis = np.array([[2.9, 0.0], [0.0, 1.0]]), [[0, 0], [0.5, 0.0]]
    crystal = Crystal(lattice, basis, ["X", "X"], stiff)
    r = fx.response(crystal, np.zeros((2, 2)))
    assert r.result == fx.Result.UNSTABLE
    allowed = Crystal(lattice, basis, ["X", "X"], stiff, allow_unstable=True)
    assert fx.response(allowed, np.zeros((2, 2))).result == 0
    # One Newton step, as `fx.Monolithic` takes it, says the same.
    for fiber, code in ((crystal, fx.Result.UNSTABLE), (allowed, fx.Result.SUCCESS)):
        assert fiber.solver.step(fiber, jnp.zeros((1, 2)), jnp.zeros((2, 2)))[1].result == code


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"lattice": np.ones((2, 3))}, "shape is \\(2, 3\\)"),
        ({"lattice": np.diag([1.0, 1.0, 0.0])}, "linearly dependent"),
        ({"lattice": np.diag([1.0, 1.0, np.nan])}, "lattice is not finite at index \\[2, 2\\]"),
        ({"basis": [[0, 0, 0], [1, 0, 0]]}, "atoms 0 and 1 .* same place"),
        ({"basis": [[0, 0], [1, 0]]}, "basis must be \\(atoms, 3\\)"),
        ({"species": ["Si"]}, "list of 2 symbols"),
        ({"species": "Si"}, "list of 2 symbols"),
        ({"species": ["Si", "Xx"]}, "'Xx' is unknown to StillingerWeber"),
        ({"potential": 3.0}, "potential must be"),
        ({"stretch": 0.0}, "stretch=0.0"),
        ({"lattice": 0.001 * np.eye(3)}, "same unit of length"),
    ],
)
def test_bad_input(change, words):
    good = {
        "lattice": 5.0 * FCC,
        "basis": [[0, 0, 0], [0.25] * 3],
        "species": ["Si", "Si"],
        "potential": P.StillingerWeber("Si"),
    }
    with pytest.raises(BadInput, match=words):
        Crystal(**(good | change))

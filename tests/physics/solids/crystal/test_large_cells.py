"""Cells of many atoms: the same answers as small cells, plain sums, programs that do not grow, and what ends at a saddle."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax.core.solvers import solver_of
from fiberax.numerics.result import Result
from fiberax.physics.solids.potentials.stillinger_weber import NAMED

P = fx.solids.potentials
A = np.array([[0.02, 0.01, -0.005], [0.0, -0.015, 0.01], [0.008, 0.0, 0.012]])
FCC = np.array([[0.0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2
FCC_FOUR = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])


def repeated(lattice, basis, species, times):
    """The same crystal in a cell `times` as long along each lattice vector."""
    cells = np.stack(np.meshgrid(*(np.arange(n) for n in times), indexing="ij"), axis=-1).reshape(-1, 3)
    places = ((np.asarray(basis)[None] + cells[:, None]) / np.asarray(times)).reshape(-1, 3)
    return np.asarray(lattice) * np.asarray(times)[:, None], places, list(species) * len(cells)


SMALL = {
    "Stillinger-Weber": (5.43095 * FCC, [[0, 0, 0], [0.25] * 3], ["Si", "Si"], lambda: P.StillingerWeber("Si")),
    "Tersoff, two species": (4.32 * FCC, [[0, 0, 0], [0.25] * 3], ["Si", "C"], lambda: P.Tersoff("SiC")),
    "embedded atoms": (3.615 * FCC, [[0, 0, 0]], ["Cu"], lambda: P.SuttonChen.named("Cu", "2a")),
    "pairs": (1.56 * FCC, [[0, 0, 0]], ["X"], lambda: P.LennardJones(scheme="smooth")),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name.startswith(("Tersoff", "embedded")) else ()) for name in SMALL]
)
def test_a_repeated_cell_answers_as_the_small_one(name):
    lattice, basis, species, potential = SMALL[name]
    small = fx.solids.Crystal(lattice, basis, species, potential())
    large = fx.solids.Crystal(*repeated(lattice, basis, species, (3, 2, 2)), potential())
    expected, found = (fx.response(c, jnp.asarray(A), tolerance=1e-10, tangent=True) for c in (small, large))
    assert int(found.result) == 0
    size = np.abs(expected.tangent).max()
    np.testing.assert_allclose(found.energy, expected.energy, rtol=1e-12)
    np.testing.assert_allclose(found.value, expected.value, atol=1e-10 * size)
    np.testing.assert_allclose(found.tangent, expected.tangent, atol=1e-8 * size)


def shaken(crystal_of, amplitude=0.1, seed=0):
    """A crystal of 8 atoms that stand a little off their places."""
    lattice, basis, species = repeated(crystal_of[0], crystal_of[1], crystal_of[2], (2, 2, 2))
    off = np.random.default_rng(seed).uniform(-amplitude, amplitude, (len(basis), 3))
    return lattice, basis + off @ np.linalg.inv(lattice), species


def test_plain_sums_of_pairs():
    """Energy and forces of a disordered cell of 32 atoms against a sum over all images."""
    lattice, basis, species = repeated(1.6 * np.eye(3), FCC_FOUR, ["X"] * 4, (2, 2, 2))
    basis = basis + np.random.default_rng(1).uniform(-0.03, 0.03, basis.shape)
    potential = P.LennardJones(scheme="smooth")
    crystal = fx.solids.Crystal(lattice, basis, species, potential)
    shifts = np.random.default_rng(2).uniform(-0.03, 0.03, (len(basis) - 1, 3))
    n = np.arange(-2, 3)
    images = np.stack(np.meshgrid(n, n, n, indexing="ij"), axis=-1).reshape(-1, 3)

    def energy(A, shifts):
        F = jnp.eye(3) + A
        moved = basis @ lattice + jnp.concatenate([jnp.zeros((1, 3)), shifts])
        r = (moved[:, None, None] - moved[None, :, None] + images @ lattice) @ F.T
        square = jnp.sum(r**2, axis=-1)
        own = square == 0.0
        return 0.5 * jnp.sum(jnp.where(own, 0.0, potential.pair(jnp.sqrt(jnp.where(own, 1.0, square))))) / crystal.volume

    expected, (stress, force) = jax.value_and_grad(energy, argnums=(0, 1))(jnp.asarray(A), jnp.asarray(shifts))
    np.testing.assert_allclose(crystal.energy(jnp.asarray(shifts), jnp.asarray(A)), expected, rtol=1e-13)
    np.testing.assert_allclose(crystal.link(jnp.asarray(shifts), jnp.asarray(A)), stress, atol=1e-12 * np.abs(stress).max())
    found = jax.grad(crystal.energy)(jnp.asarray(shifts), jnp.asarray(A))
    np.testing.assert_allclose(found, force, atol=1e-12 * np.abs(force).max())
    matrix = crystal.second_derivatives(jnp.asarray(shifts), jnp.asarray(A))[0]
    direction = np.random.default_rng(4).standard_normal(102)
    turn, move = jnp.asarray(direction[:9].reshape(3, 3)), jnp.asarray(direction[9:].reshape(31, 3))
    slopes = lambda A, shifts: jax.grad(energy, argnums=(0, 1))(A, shifts)
    along = jax.jvp(slopes, (jnp.asarray(A), jnp.asarray(shifts)), (turn, move))[1]
    expected = np.concatenate([x.ravel() for x in along])
    np.testing.assert_allclose(matrix @ direction, expected, atol=1e-11 * np.abs(expected).max())


@pytest.mark.parametrize("name", ["Stillinger-Weber", pytest.param("Tersoff, two species", marks=pytest.mark.slow)])
def test_a_disordered_cell_is_in_equilibrium(name):
    """Relaxed shifts leave no force, P is the slope of the relaxed energy, and the tangent the slope of P."""
    lattice, basis, species, potential = SMALL[name]
    crystal = fx.solids.Crystal(*shaken((lattice, basis, species)), potential())
    found = fx.response(crystal, jnp.asarray(A), tolerance=1e-10, tangent=True)
    assert int(found.result) == 0
    force = jax.grad(crystal.energy)(found.state, jnp.asarray(A))
    start = jax.grad(crystal.energy)(jnp.zeros_like(found.state), jnp.asarray(A))
    assert np.abs(force).max() < 1e-8 * np.abs(start).max()
    step = 1e-5 * np.random.default_rng(3).standard_normal((3, 3))
    ends = [fx.response(crystal, jnp.asarray(A + sign * step), tolerance=1e-12) for sign in (1.0, -1.0)]
    slope = 0.5 * (ends[0].energy - ends[1].energy)
    np.testing.assert_allclose(slope, np.sum(found.value * step), rtol=1e-6)
    rise = 0.5 * (ends[0].value - ends[1].value)
    np.testing.assert_allclose(rise, np.einsum("ijkl,kl->ij", found.tangent, step), atol=1e-6 * np.abs(rise).max())


def test_a_vacancy():
    """Its energy falls as it relaxes, its stress has the symmetry of the vacancy, and it is the same in a chunk of three."""
    lattice, basis, species = repeated(5.43095 * np.eye(3), np.concatenate([FCC_FOUR, FCC_FOUR + 0.25]), ["Si"] * 8, (2, 2, 2))
    crystal = fx.solids.Crystal(lattice, basis[1:], species[1:], P.StillingerWeber("Si"))
    found = fx.responses(crystal, np.zeros((3, 3, 3)), tolerance=1e-9)
    assert not found.result.any()
    assert float(found.energy[0]) < float(crystal.energy(jnp.zeros_like(found.state[0]), jnp.zeros((3, 3))))
    np.testing.assert_allclose(found.value[1], found.value[0], atol=1e-14)
    stress = np.asarray(found.value[0])
    np.testing.assert_allclose(stress, stress[0, 0] * np.eye(3), atol=1e-8 * abs(stress[0, 0]))


def size(crystal):
    """Lines of the program that answers with W, P and relaxed shifts, and entries of the largest array in it."""

    def answer(A):
        state, out = solver_of(crystal).solve(crystal, crystal.init(A, jax.random.key(0)), A, 1e-8)
        return crystal.energy(state, A), crystal.link(state, A), out.result

    text = jax.jit(answer).lower(jnp.asarray(A)).as_text()
    shapes = {tuple(map(int, shape.split("x")[:-1])) for shape in re.findall(r"tensor<([0-9x]+x[a-z]\w+)>", text)}
    return text.count("\n"), max(np.prod(shape, dtype=int) for shape in shapes)


@pytest.mark.parametrize("name", ["Stillinger-Weber", "Tersoff, two species"])
def test_programs_do_not_grow_with_the_atoms(name):
    """The number of operations is the same for 12 and for 96 atoms or twice that; the largest array grows as the atoms do."""
    lattice, basis, species, potential = SMALL[name]
    cells = [
        fx.solids.Crystal(*repeated(lattice, basis, species, t), potential()) for t in ((3, 2, 2), (6, 4, 4))
    ]  # 24 and 192 sites, or half of a species
    (few, small), (many, large) = map(size, cells)
    assert 500 < many <= 1.01 * few
    assert large <= 8 * small * (192 + 16) / 192  # rows of many sites are up to 16 entries longer


def test_programs_grow_with_the_species_no_faster_than_their_pairs():
    """Atoms of one kind under three names have the energy that they have under one; each pair of species is looked at once."""
    triples = {(i, j, k): NAMED["Si"][1] for i in "XYZ" for j in "XYZ" for k in "XYZ"}
    lattice, basis, species = repeated(5.43095 * FCC, [[0, 0, 0], [0.25] * 3], ["Si", "Si"], (3, 1, 1))
    one = fx.solids.Crystal(lattice, basis, species, P.StillingerWeber("Si"))
    three = fx.solids.Crystal(lattice, basis, list("XYZZYX"), P.StillingerWeber(triples))
    assert size(three)[0] <= 6 * size(one)[0]  # 8 where bonds have moments of all species, not of their own alone
    found, expected = (fx.response(c, jnp.asarray(A), tangent=True) for c in (three, one))
    np.testing.assert_allclose(found.value, expected.value, atol=1e-12)
    np.testing.assert_allclose(found.tangent, expected.tangent, atol=1e-9)
    together = fx.responses(three, jnp.asarray([A, 0.5 * A, 0.3 * A]))  # by the short lists
    np.testing.assert_allclose(together.value[0], found.value, atol=1e-12)


def test_fibers_of_a_batch_do_not_see_each_other():
    """Some converge while others look for a way down, and one lies beyond the lists; each as when it is alone."""
    lattice, basis, species = repeated(*SMALL["Stillinger-Weber"][:3], (2, 2, 2))
    crystal = fx.solids.Crystal(lattice, basis, species, P.StillingerWeber("Si"))
    many = jnp.asarray(np.random.default_rng(3).uniform(-0.06, 0.06, (9, 3, 3))) * jnp.linspace(0.0, 1.0, 9)[:, None, None]
    many = many.at[4].set(-0.5 * jnp.eye(3))
    found = fx.responses(crystal, many, tolerance=1e-8)
    alone = [fx.response(crystal, A, tolerance=1e-8) for A in many]
    assert found.result.tolist() == [int(r.result) for r in alone] == [0] * 4 + [Result.OUT_OF_RANGE] + [0] * 4
    np.testing.assert_allclose(found.value, np.stack([r.value for r in alone]), atol=1e-12)


def without_translations(inner):
    """∂²W/∂ξ² of all atoms on shifts whose sum is zero, from that with atom 0 held."""
    n = len(inner) // 3 + 1
    held = np.concatenate([-np.ones((n - 1, 1)), np.eye(n - 1)], axis=1)  # shifts against atom 0
    basis = np.linalg.svd(np.ones((1, n)))[2][1:].T
    map_ = np.kron(held @ basis, np.eye(3))
    return map_.T @ inner @ map_


def test_a_saddle_is_no_success():
    """A simple cubic crystal of eight atoms rests by symmetry, and falls into another one when it is shaken."""
    lattice, basis, species = repeated(1.08 * np.eye(3), [[0, 0, 0]], ["X"], (2, 2, 2))
    crystal = fx.solids.Crystal(lattice, basis, species, P.LennardJones(scheme="smooth"))
    none = jnp.zeros((3, 3))
    assert np.abs(jax.grad(crystal.energy)(jnp.zeros((7, 3)), none)).max() < 1e-10
    assert fx.solids.stability(crystal, none, jnp.zeros((7, 3))).internal < 0.0
    assert int(fx.response(crystal, none).result) == Result.UNSTABLE
    values = np.linalg.eigvalsh(without_translations(crystal.second_derivatives(jnp.zeros((7, 3)), none)[0][9:, 9:]))
    np.testing.assert_allclose(crystal.stability_margin(jnp.zeros((7, 3)), none), values[0] / values[-1], rtol=1e-6)


def test_shifts_beyond_the_lists_are_refused():
    lattice, basis, species = repeated(1.56 * FCC, [[0, 0, 0]], ["X"], (2, 2, 2))
    crystal = fx.solids.Crystal(lattice, basis, species, P.LennardJones(scheme="smooth"), stretch=0.95, shift=0.02)
    assert int(fx.response(crystal, -0.2 * jnp.eye(3)).result) == Result.OUT_OF_RANGE
    assert int(fx.response(crystal, 0.02 * jnp.eye(3)).result) == 0

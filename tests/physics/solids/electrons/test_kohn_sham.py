"""Kohn-Sham electrons: other codes' numbers, derivatives, symmetries, metals, localised orbitals, motion, refusals."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax.core import equilibrium
from fiberax.core.macro import Moving
from fiberax.physics.solids.electrons import hamiltonian as h
from fiberax.physics.solids.electrons.rest import Relaxed
from fiberax.physics.solids.electrons.scf import Occupied

FCC = 0.5 * np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]])
SILICON = [("Si", (0.125, 0.125, 0.125)), ("Si", (-0.125, -0.125, -0.12))]
A = jnp.asarray([[0.01, 0.03, 0.0], [-0.01, 0.02, 0.01], [0.0, 0.02, -0.015]])
D = jnp.asarray([[0.3, -0.5, 0.2], [0.7, 0.1, -0.4], [-0.2, 0.6, 0.5]])
STEP = 1e-3


def silicon(atoms=SILICON, **options):
    return fx.solids.KohnSham(10.26 * FCC, atoms, **({"cutoff": 3.0, "kgrid": (2, 1, 1)} | options))


def aluminium(**options):
    return fx.solids.KohnSham(7.6 * FCC, [("Al", (0.0, 0.0, 0.0))], **({"cutoff": 3.0, "kgrid": (2, 2, 1)} | options))


@eqx.filter_jit
def solved(fiber, conditions, tolerance=1e-11):
    """State, outcome, W and P of a batch."""

    def one(A):
        state, out = fiber.solver.solve(fiber, fiber.init(A, jax.random.key(0)), A, tolerance)
        return state, out, *fiber.assemble(state, A, 1)

    return jax.vmap(one)(conditions)


def along(k):
    """A batch around A for central differences of fourth order along D."""
    return jnp.stack([A + n * STEP * D for n in (-2, -1, 1, 2, *k)])


def slope(values):
    return np.tensordot(np.array([1.0, -8.0, 8.0, -1.0]) / (12.0 * STEP), values[:4], axes=1)


@pytest.fixture(scope="module")
def silicon_at_rest():
    fiber = silicon()
    state, out, W, P = solved(fiber, along([0]))
    assert not np.any(out.result) and np.all(out.steps < 60)
    return fiber, jax.tree.map(lambda x: x[4], state), W, P


@pytest.mark.slow
def test_silicon_is_that_of_abinit():
    """Case a: ABINIT 9.6.2 with the same parameters, cutoff and points (-7.911008670936 Ha, 3.16472587e-5 Ha/bohr³)."""
    atoms = [("Si", (0.125,) * 3), ("Si", (-0.125,) * 3)]
    fiber = fx.solids.KohnSham(10.263141334305942 * FCC, atoms, cutoff=15.0, kgrid=(3, 3, 3), xc="lda_vwn")
    _, out, W, P = solved(fiber, jnp.zeros((1, 3, 3)), 1e-8)
    assert out.result[0] == 0 and len(fiber._table.k) == 14
    np.testing.assert_allclose(W[0] * fiber.volume, -7.911008670936, atol=5e-8)
    np.testing.assert_allclose(P[0], 3.16472587e-5 * np.eye(3), atol=2e-9)


def test_stress_is_the_slope_of_the_energy(silicon_at_rest):
    """P·D against differences of W at electrons solved anew, with projectors of two l, xc, and atoms at general places."""
    _, _, W, P = silicon_at_rest
    np.testing.assert_allclose(np.sum(P[4] * D), slope(W), rtol=2e-8)


def test_moduli_are_the_slope_of_the_stress(silicon_at_rest):
    fiber, state, _, P = silicon_at_rest
    at = fx.response(fiber, A, tangent=True, state=state, tolerance=1e-9)
    np.testing.assert_allclose(np.tensordot(at.tangent, D, axes=2), slope(P), rtol=1e-5, atol=1e-8)


@pytest.mark.slow
def test_moduli_of_a_cell_whose_atoms_relax():
    """Against stresses at rest, of atoms at general places."""
    free = silicon(kgrid=(1, 1, 1), relax_positions=True)
    found = fx.response(free, A, tangent=True, tolerance=1e-9)
    _, out, _, P = solved(free, along([0]), 1e-9)
    assert found.result == 0 and not np.any(out.result)
    np.testing.assert_allclose(np.tensordot(found.tangent, D, axes=2), slope(P), rtol=2e-5, atol=2e-7)
    np.testing.assert_allclose(found.value, P[4], atol=1e-9)


@pytest.mark.slow
def test_moduli_by_perturbation_are_those_of_automatic_derivatives(silicon_at_rest):
    """The implicit function theorem, whose derivatives are automatic."""
    fiber, state, _, _ = silicon_at_rest
    mine = fx.response(fiber, A, tangent=True, state=state, tolerance=1e-9)
    at = lambda A: fiber.link(equilibrium.following(fiber, mine.state, A), A)
    np.testing.assert_allclose(mine.tangent, eqx.filter_jit(jax.jacfwd(at))(A), rtol=1e-6, atol=1e-9)


def test_rotations_change_no_energy(silicon_at_rest):
    fiber, state, W, P = silicon_at_rest
    F = np.eye(3) + A
    np.testing.assert_allclose(P[4] @ F.T, F @ P[4].T, atol=1e-12)
    turn = np.linalg.qr(np.asarray(D))[0]
    turn = turn * np.sign(np.linalg.det(turn))
    turned = eqx.filter_jit(fiber.energy)(state, jnp.asarray(turn @ F - np.eye(3)))
    np.testing.assert_allclose(turned, W[4], rtol=1e-12)


@pytest.mark.slow
def test_two_cells_hold_twice_the_energy():
    """Two cells at one point are one cell at two: without xc the discrete problems are the same."""
    ion = fx.solids.ions.Gaussian(2.0, 0.7)
    lattice = np.diag([4.0, 4.5, 5.0])
    double = np.diag([8.0, 4.5, 5.0])
    two = [(ion, (0.1, 0.2, 0.3)), (ion, (0.6, 0.2, 0.3))]
    one = fx.solids.KohnSham(lattice, [(ion, (0.2, 0.2, 0.3))], cutoff=3.0, kgrid=(2, 1, 1), xc=None)
    other = fx.solids.KohnSham(double, two, cutoff=3.0, kgrid=(1, 1, 1), xc=None)
    for got, expected in zip(solved(other, A[None])[2:], solved(one, A[None])[2:]):
        np.testing.assert_allclose(got, expected, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize(
    "kind", ["fermi", pytest.param("gaussian", marks=pytest.mark.slow), pytest.param("cold", marks=pytest.mark.slow)]
)
def test_metals_have_a_free_energy(kind):
    """P·D against differences of the free energy; its electrons are all there."""
    fiber = aluminium(smearing=(kind, 0.02))
    state, out, W, P = solved(fiber, along([0]), 1e-10)
    assert not np.any(out.result) and np.all(out.steps < 25)
    np.testing.assert_allclose(np.sum(P[4] * D), slope(W), rtol=1e-6)
    np.testing.assert_allclose(np.einsum("k,nkb->n", fiber._table.weights, state.occupations), 3.0, rtol=1e-12)


def test_a_metal_of_one_ion():
    """Free energy of partly filled bands: P·D and moduli against differences, at a general gradient."""
    ion = fx.solids.ions.Gaussian(1.0, 0.7)
    place = [(ion, (0.1, 0.2, 0.3))]
    fiber = fx.solids.KohnSham(
        np.diag([5.0, 5.2, 5.5]), place, smearing=("fermi", 0.02), bands=4, cutoff=3.0, kgrid=(2, 2, 1), xc="lda_vwn"
    )
    state, out, W, P = solved(fiber, along([0]), 1e-10)
    assert not np.any(out.result) and np.all(out.steps < 25)
    np.testing.assert_allclose(np.sum(P[4] * D), slope(W), rtol=1e-8)
    np.testing.assert_allclose(np.einsum("k,nkb->n", fiber._table.weights, state.occupations), 1.0, rtol=1e-12)
    at = fx.response(fiber, A, tangent=True, state=jax.tree.map(lambda x: x[4], state), tolerance=1e-9)
    np.testing.assert_allclose(np.tensordot(at.tangent, D, axes=2), slope(P), rtol=1e-5, atol=1e-8)


@pytest.mark.slow
def test_cold_metals_are_insulators(silicon_at_rest):
    """Silicon by self-consistency with empty bands and by direct minimisation."""
    _, _, W, P = silicon_at_rest
    _, out, cold, stress = solved(silicon(smearing=("fermi", 1e-3), bands=6), A[None], 1e-10)
    assert out.result[0] == 0
    np.testing.assert_allclose(cold[0], W[4], rtol=1e-9)
    np.testing.assert_allclose(stress[0], P[4], atol=1e-10)


@pytest.mark.slow
def test_the_cutoff_of_the_deformed_cell_is_that_of_a_cell_built_so():
    built = fx.solids.KohnSham(10.26 * FCC @ np.asarray(jnp.eye(3) + A).T, SILICON, cutoff=3.0, kgrid=(2, 1, 1), xc=None)
    _, _, expected, _ = solved(built, jnp.zeros((1, 3, 3)))
    fiber = silicon(basis="cutoff", xc=None)
    _, out, W, _ = solved(fiber, A[None])
    assert out.result[0] == 0
    np.testing.assert_allclose(W[0] * fiber.volume, expected[0] * built.volume, rtol=1e-10)
    assert np.isnan(solved(fiber, 0.3 * jnp.eye(3)[None])[2][0])


def test_localised_orbitals_are_orthonormal_to_translates(silicon_at_rest):
    """(3.21) by sums over the grid of the two cells."""
    fiber, state, _, _ = silicon_at_rest
    w = np.asarray(fx.solids.wannier(fiber, state))
    moved = np.roll(w, fiber._table.shape[0], axis=1)
    for other, expected in ((w, np.eye(4)), (moved, np.zeros((4, 4)))):
        overlaps = np.einsum("anml,bnml->ab", w.conj(), other) / w[0].size
        np.testing.assert_allclose(overlaps, expected, atol=1e-12)


def test_energies_of_metals_and_insulators_have_one_gradient(silicon_at_rest):
    """The gradient of W of a span is that of W of orthonormal orbitals without its part along them."""
    fiber, state, _, _ = silicon_at_rest
    noise = jax.random.normal(jax.random.key(1), state.shape) * fiber._table.there[:, None, :, None]
    start = fiber.manifold.retract(fiber, state + 0.02 * noise, A)
    overlaps = h.inner(fiber.coefficients(start), fiber.coefficients(start))
    np.testing.assert_allclose(overlaps, np.broadcast_to(np.eye(4), (2, 4, 4)), atol=1e-13)
    occupied = Occupied(start * np.sqrt(1.0 / fiber._table.weights)[:, None, None, None], jnp.full((2, 4), 2.0), jnp.zeros(()))
    plain = jax.jit(jax.grad(lambda c: fiber.energy(occupied._replace(orbitals=c), A)))(occupied.orbitals)
    plain = plain * np.sqrt(1.0 / fiber._table.weights)[:, None, None, None]
    got = jax.jit(jax.grad(fiber.energy))(start, A)
    np.testing.assert_allclose(got, fiber.manifold.project(fiber, start, plain, A), atol=1e-14)
    near = fiber.coefficients(fiber.manifold.retract(fiber, start + 1e-3 * noise, A, start))
    np.testing.assert_allclose(h.inner(near, near), overlaps, atol=1e-12)
    along = h.inner(fiber.coefficients(start), near - fiber.coefficients(start + 1e-3 * noise))
    np.testing.assert_allclose(along, jnp.swapaxes(along.conj(), 1, 2), atol=1e-12)


@pytest.mark.slow
def test_orbitals_in_motion(silicon_at_rest):
    """Energy kept without friction, to second order in the step; with friction the ground state is where motion ends."""
    fiber, state, W, _ = silicon_at_rest
    noise = jax.random.normal(jax.random.key(2), state.shape) * fiber._table.there[:, None, :, None]
    start = fiber.manifold.retract(fiber, state + 0.01 * noise, A)

    @eqx.filter_jit
    def run(moving, steps, dt):
        first = Moving(start, jnp.zeros_like(start))
        step = lambda _, s: moving.step(s, A, dt, None)
        last = jax.lax.fori_loop(0, steps, step, first)
        return moving.total_energy(first, A), moving.total_energy(last, A), h.inner(*(fiber.coefficients(last.position),) * 2)

    whole = 4.0 / fiber.volume  # δW/δc over H c
    free = fx.relax(fiber, mass=whole, friction=0.0)
    errors = []
    for dt, steps in ((0.2, 20), (0.1, 40)):
        begin, end, off = run(free, steps, dt)
        errors.append(abs(end - begin))
        np.testing.assert_allclose(off, np.broadcast_to(np.eye(4), off.shape), atol=1e-12)
        assert begin - W[4] > 100.0 * errors[-1]
    assert errors[1] < 0.35 * errors[0]
    begin, end, _ = run(fx.relax(fiber, mass=whole, friction=whole), 300, 0.2)
    np.testing.assert_allclose(end, W[4], atol=1e-7 * (begin - W[4]))
    assert "phases" in fiber.mixing.refusal


@pytest.mark.slow
def test_atoms_come_to_rest_with_the_orbitals():
    """The second atom of silicon, from beside its place; the state of a failed solve does no harm."""
    atoms = [("Si", (0.0, 0.0, 0.0)), ("Si", (0.26, 0.25, 0.24))]
    free = silicon(atoms, kgrid=(1, 1, 1), relax_positions=True)
    spoilt = jax.tree.map(lambda x: jnp.full_like(x, jnp.nan), free.init(A, jax.random.key(0)).electrons)
    found = fx.response(free, jnp.zeros((3, 3)), tolerance=1e-8, state=Relaxed(spoilt, jnp.zeros((1, 3))))
    assert found.result == 0
    np.testing.assert_allclose(found.state.shifts, [[-0.01, 0.0, 0.01]], atol=1e-7)


def test_atoms_begin_at_their_places():
    begun = jax.eval_shape(silicon(kgrid=(1, 1, 1), relax_positions=True).init, A, jax.random.key(0))
    assert begun.shifts.shape == (1, 3)


def test_levels_density_and_bands(silicon_at_rest):
    """Levels are those of the dense problem at the same points; all electrons are in the density."""
    fiber, state, _, _ = silicon_at_rest
    found = fx.solids.levels(fiber, A, state)
    again = fx.solids.bands(fiber, A, found.k, count=4, state=state)
    np.testing.assert_allclose(again, found.energies, atol=1e-9)
    np.testing.assert_allclose(found.chemical_potential, np.max(again), atol=1e-9)
    np.testing.assert_array_equal(found.occupations, 2.0)
    assert fx.solids.bands(fiber, A, found.k[:1], state=state).shape == (1, 8)
    J = np.linalg.det(np.eye(3) + A)
    np.testing.assert_allclose(np.mean(fx.solids.density(fiber, state, A)) * fiber.volume * J, 8.0, rtol=1e-12)
    with pytest.raises(fx.BadInput, match="count = 1000"):
        fx.solids.bands(fiber, A, np.zeros((1, 3)), 1000, state)


def test_a_path_is_a_list_of_points(silicon_at_rest, unchecked):
    fiber, state, _, _ = silicon_at_rest
    with pytest.raises(fx.BadInput, match=r"they are \(3,\)"):
        fx.solids.bands(fiber, A, np.zeros(3), state=state)


@pytest.mark.slow
def test_bands_of_silicon():
    """Case a of DFTK's test/silicon_lda.jl: the lowest level at Γ, and the gap there."""
    atoms = [("Si", (0.125,) * 3), ("Si", (-0.125,) * 3)]
    fiber = fx.solids.KohnSham(10.263141334305942 * FCC, atoms, cutoff=25.0, kgrid=(3, 3, 3), xc="lda_vwn")
    found = fx.response(fiber, jnp.zeros((3, 3)), tolerance=1e-7)
    np.testing.assert_allclose(found.energy * fiber.volume, -7.911817522631488, atol=1e-5)
    at = fx.solids.bands(fiber, jnp.zeros((3, 3)), np.zeros((1, 3)), 8, found.state)[0]
    mean = sum(ion.at_zero for ion in fiber.ions) / fiber.volume  # of the ions' potential, which DFTK leaves out
    np.testing.assert_allclose(at[0] - mean, -0.178566465714968, atol=1e-5)
    np.testing.assert_allclose(np.diff(at)[1:3], 0.0, atol=1e-6)
    assert 0.09 < at[4] - at[3] < 0.1


@pytest.mark.slow
def test_silicon_without_exchange():
    """Case b, DFTK's test/silicon_redHF.jl: no exchange, occupations of kT = 0.05 Ha, ten bands."""
    atoms = [("Si", (0.125,) * 3), ("Si", (-0.125,) * 3)]
    options = {"cutoff": 25.0, "kgrid": (3, 3, 3), "xc": None, "smearing": ("fermi", 0.05), "bands": 10}
    fiber = fx.solids.KohnSham(10.263141334305942 * FCC, atoms, **options)
    found = fx.response(fiber, jnp.zeros((3, 3)), tolerance=1e-7)
    inner = found.energy * fiber.volume - found.state.heat
    np.testing.assert_allclose(inner, -5.440593269861395, atol=1e-5)


def test_pseudopotentials_of_ones_own():
    """Numbers of the table by hand give the fiber of the table."""
    numbers = fx.solids.ions.parameters("Si")
    mine = fx.solids.ions.GTH(numbers)
    fiber = silicon([("X", SILICON[0][1]), ("X", SILICON[1][1])], pseudopotentials={"X": mine}, kgrid=(1, 1, 1))
    usual = silicon(kgrid=(1, 1, 1))
    state = usual.init(A, jax.random.key(0))
    np.testing.assert_array_equal(fiber.energy(state, A), usual.energy(state, A))
    for change, message in (({"r_loc": -1.0}, "r_loc must be positive"), ({"projectors": ((0.4, [[1.0, 2.0]]),)}, "symmetric")):
        with pytest.raises(fx.BadInput, match=message):
            fx.solids.ions.GTH(numbers._replace(**change))


def test_memory_of_a_fiber():
    """What docs/electrons.md says of silicon at 15 hartree and 27 points."""
    fiber = silicon(cutoff=15.0, kgrid=(3, 3, 3))
    state = jax.eval_shape(lambda: fiber.init(A, jax.random.key(0)))
    assert state.shape[:2] == (14, 4) and state.size * state.dtype.itemsize == pytest.approx(0.65 * 2**20, rel=0.02)


@pytest.mark.slow
def test_moduli_of_metals_are_the_slope_of_the_stress():
    fiber = aluminium(kgrid=(1, 1, 1), smearing=("fermi", 0.05))
    at = fx.response(fiber, A, tangent=True, tolerance=1e-9)
    P = solved(fiber, along([0]), 1e-10)[3]
    np.testing.assert_allclose(np.tensordot(at.tangent, D, axes=2), slope(P), rtol=1e-4, atol=1e-6)


def test_occupations_that_move_are_refused():
    moving = fx.relax(aluminium(smearing=("fermi", 0.02)), mass=1.0)
    with pytest.raises(fx.Mismatch, match="fractional occupations"):
        eqx.filter_eval_shape(lambda: moving.step(moving.init(A, jax.random.key(0)), A, 0.1, None))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"cutoff": 0.1}, "cutoff must be"),
        ({"cutoff": 0.5, "kgrid": (1, 1, 1)}, "one plane wave"),
        ({"cutoff": 0.7, "kgrid": (1, 1, 1), "smearing": ("fermi", 0.01), "bands": 20}, "need as many plane waves"),
        ({"kgrid": (2, 0, 1)}, "kgrid must be"),
        ({"shift": (0.5, 0.5)}, "shift must be"),
        ({"xc": "pbe"}, "xc='pbe'"),
        ({"basis": "waves"}, "basis='waves'"),
        ({"smearing": ("fermi", 0.0)}, "width of smearing"),
        ({"smearing": "fermi"}, "smearing='fermi'"),
        ({"smearing": ("fermi", 0.01), "bands": 4}, "bands = 4"),
        ({"bands": 5}, "has 4 bands"),
        ({"pseudopotentials": "upf"}, "pseudopotentials='upf'"),
        ({"atoms": [("Si", (0.0, 0.0, 0.0)), ("Al", (0.25, 0.25, 0.25))]}, "do not fill bands"),
        ({"atoms": [("Xx", (0.0, 0.0, 0.0))]}, "Xx"),
        ({"atoms": [(14, (0.0, 0.0, 0.0))]}, r"atoms\[0\] must be a pair"),
        ({"pseudopotentials": {"Al": fx.solids.ions.GTH("Al")}}, "has only Al"),
        ({"atoms": [("Si", (0.0, 0.0, 0.0))], "relax_positions": True}, "two atoms or more"),
    ],
)
def test_refusals(change, message):
    with pytest.raises(fx.BadInput, match=message):
        silicon(**change)


def test_cells_turned_inside_out_fail():
    ion = fx.solids.ions.Gaussian(2.0, 0.7)
    fiber = fx.solids.KohnSham(5.0 * np.eye(3), (ion, (0.0, 0.0, 0.0)), cutoff=2.0, kgrid=1, xc=None)
    _, out, W, _ = solved(fiber, jnp.diag(jnp.asarray([-2.5, 0.0, 0.0]))[None])
    assert out.result[0] != 0 and not np.isfinite(W[0])

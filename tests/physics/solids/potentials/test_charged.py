"""Point charges: Madelung's constants, a second program for Ewald's sums, derivatives, and charges beside a short range."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax.core.errors import BadInput
from fiberax.physics.solids.electrons import ewald

P = fx.solids.potentials
FCC = np.array([[0.0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2
CORNERS = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
CHARGES = {"Mg": 2.0, "O": -2.0}
# G. V. Lewis, C. R. A. Catlow, J. Phys. C 18, 1149 (1985), rounded.
SHORT = P.Pairs(
    {
        ("Mg", "O"): P.Buckingham(1428.5, 0.2945, 0.0, cutoff=5.0, scheme="smooth", units="metal"),
        ("O", "O"): P.Buckingham(22764.3, 0.149, 27.88, cutoff=5.0, scheme="smooth", units="metal"),
        ("Mg", "Mg"): None,
    }
)
ZERO = jnp.zeros((3, 3))


@pytest.fixture(scope="module")
def periclase():
    return fx.solids.Crystal(4.2 * FCC, [[0.0] * 3, [0.5] * 3], ["Mg", "O"], P.Charged(SHORT, CHARGES), stretch=0.85)


@pytest.mark.parametrize(
    ("lattice", "second", "distance", "constant"),
    [
        # NaCl, CsCl and ZnS for the nearest distance; OEIS A085469, A181152, A182566.
        (FCC, 0.5, 0.5, 1.7475645946331822),
        (np.eye(3), 0.5, 3**0.5 / 2, 1.7626747730709884),
        (FCC, 0.25, 3**0.5 / 4, 1.6380550533887894),
    ],
)
def test_madelung(lattice, second, distance, constant):
    a = 3.7
    potential = P.Coulomb({"A": 1.5, "B": -1.5}, units="reduced")
    crystal = fx.solids.Crystal(a * lattice, [[0.0] * 3, [second] * 3], ["A", "B"], potential)
    energy = float(crystal.energy(jnp.zeros((1, 3)), ZERO) * crystal.volume)
    assert energy == pytest.approx(-(1.5**2) * constant / (a * distance), rel=1e-12)


def test_deformed_cells_by_another_program():
    """Four atoms of three species; the charges of electrons' ions are summed with another division and other code."""
    rng = np.random.default_rng(3)
    lattice, basis = rng.normal(size=(3, 3)) + 4.0 * np.eye(3), rng.uniform(0, 1, (4, 3))
    charges = {"A": 1.3, "B": -0.9, "C": 0.5}
    crystal = fx.solids.Crystal(lattice, basis, ["A", "B", "B", "C"], P.Coulomb(charges, 1.0), shift=0.6)
    A, shifts = 0.08 * rng.uniform(-1, 1, (3, 3)), 0.1 * rng.uniform(-1, 1, (3, 3))
    moved = basis + np.concatenate([np.zeros((1, 3)), shifts]) @ np.linalg.inv(lattice)
    want = ewald.energy(
        ewald.tables(lattice, basis),
        lattice,
        jnp.asarray(np.eye(3) + A),
        jnp.asarray(moved),
        jnp.asarray([1.3, -0.9, -0.9, 0.5]),
    )
    np.testing.assert_allclose(crystal.energy(jnp.asarray(shifts), jnp.asarray(A)) * crystal.volume, want, rtol=1e-12)


def test_both_parts_add_up(periclase):
    rng = np.random.default_rng(0)
    A, shifts = jnp.asarray(0.05 * rng.uniform(-1, 1, (3, 3))), jnp.asarray(0.1 * rng.uniform(-1, 1, (1, 3)))
    alone = [fx.solids.Crystal(4.2 * FCC, [[0.0] * 3, [0.5] * 3], ["Mg", "O"], V) for V in (SHORT, P.Coulomb(CHARGES))]
    found, parts = periclase.assemble(shifts, A, 1), [crystal.assemble(shifts, A, 1) for crystal in alone]
    np.testing.assert_allclose(found[0], parts[0][0] + parts[1][0], rtol=1e-13)
    np.testing.assert_allclose(found[1], parts[0][1] + parts[1][1], atol=1e-14)


def test_stress_tangent_and_shifts():
    """Of blende, whose atoms move, against differences of the energy and of the stress with shifts that follow."""
    blende = fx.solids.Crystal(4.6 * FCC, [[0.0] * 3, [0.25] * 3], ["Mg", "O"], P.Charged(SHORT, CHARGES), stretch=0.9)
    A, way, h = 0.03 * np.random.default_rng(1).uniform(-1, 1, (3, 3)), np.random.default_rng(2).uniform(-1, 1, (3, 3)), 1e-4
    found = fx.response(blende, A, tangent=True)
    assert np.abs(found.state).max() > 1e-3
    either = [fx.response(blende, A + sign * h * way) for sign in (1, -1)]
    slope = (either[0].energy - either[1].energy) / (2 * h)
    np.testing.assert_allclose(np.sum(found.value * way), slope, rtol=1e-6)
    turn = (np.asarray(either[0].value) - np.asarray(either[1].value)) / (2 * h)
    want = np.einsum("ijkl,kl->ij", found.tangent, way)
    np.testing.assert_allclose(turn, want, rtol=0, atol=1e-6 * np.abs(want).max())


@pytest.mark.slow
def test_eight_atoms_are_two(periclase):
    """The conventional cell, whose bonds are listed in another way, with its shifts relaxed."""
    basis = np.concatenate([CORNERS, CORNERS + 0.5])
    large = fx.solids.Crystal(4.2 * np.eye(3), basis, ["Mg"] * 4 + ["O"] * 4, P.Charged(SHORT, CHARGES), stretch=0.9, shift=0.1)
    A = 0.03 * np.random.default_rng(5).uniform(-1, 1, (3, 3))
    found, want = fx.response(large, A, tangent=True), fx.response(periclase, A, tangent=True)
    np.testing.assert_allclose(found.energy, want.energy, rtol=1e-12)
    np.testing.assert_allclose(found.value, want.value, atol=1e-9)
    np.testing.assert_allclose(found.tangent, want.tangent, atol=1e-7)


@pytest.mark.slow
def test_batches_and_equilibrium(periclase):
    """Many fibers at once are the single ones; at rest the virial theorem of the lattice holds, and Cauchy's relation."""
    A = 0.03 * np.random.default_rng(6).uniform(-1, 1, (5, 3, 3))
    many = fx.responses(periclase, A)
    for k in (0, 4):
        np.testing.assert_allclose(many.value[k], fx.response(periclase, A[k]).value, atol=1e-11)
    rest = fx.solids.equilibrium(periclase)
    C = rest.voigt
    assert 4.0 < 4.2 * rest.scale < 4.4 and np.abs(rest.stress).max() < 1e-10
    assert C[0, 1] == pytest.approx(C[3, 3], rel=1e-8)  # central forces, every atom a centre of symmetry
    assert C[0, 0] > C[0, 1] > 0


def test_charges_can_be_differentiated(periclase):
    """W of the charges is quadratic in them."""
    shifts, A = jnp.full((1, 3), 0.05), jnp.asarray(0.02 * np.eye(3))
    slope = eqx.filter_grad(lambda c: c.energy(shifts, A))(periclase).unit_cell.potential.far.charges
    alone = fx.solids.Crystal(4.2 * FCC, [[0.0] * 3, [0.5] * 3], ["Mg", "O"], P.Coulomb(CHARGES))
    np.testing.assert_allclose(slope @ jnp.asarray([2.0, -2.0]), 2.0 * alone.energy(shifts, A), rtol=1e-11)
    scaled = lambda q: fx.solids.Crystal(4.2 * FCC, [[0.0] * 3, [0.5] * 3], ["Mg", "O"], P.Coulomb({"Mg": q, "O": -q})).energy(
        shifts, A
    )
    np.testing.assert_allclose(jax.grad(scaled)(2.0), alone.energy(shifts, A), rtol=1e-11)


def test_too_far_is_out_of_range(periclase):
    assert np.all(np.isnan(periclase.link(jnp.zeros((1, 3)), -0.2 * jnp.eye(3))))
    assert np.all(np.isnan(periclase.link(jnp.full((1, 3), 1.0), ZERO)))


def test_what_they_refuse():
    make = lambda charges, lattice=4.2 * FCC, n=3: fx.solids.Crystal(
        lattice, [[0.0] * n, [0.5] * n], ["Mg", "O"], P.Charged(SHORT, charges)
    )
    with pytest.raises(BadInput, match=r"must add up to zero; those of this one add up to \+0.5 \(Mg \+2, O -1.5\)"):
        make({"Mg": 2.0, "O": -1.5})
    with pytest.raises(BadInput, match="three dimensions"):
        make(CHARGES, 4.2 * np.eye(2), 2)
    with pytest.raises(BadInput, match="species 'Mg' is unknown to Charged, which knows O"):
        make({"O": -2.0})
    with pytest.raises(BadInput, match=r"LennardJones has units 'reduced' .* or give coulomb="):
        P.Charged(P.LennardJones(), CHARGES)
    with pytest.raises(BadInput, match="has charges already"):
        P.Charged(P.Charged(SHORT, CHARGES), CHARGES)
    with pytest.raises(BadInput, match="charge of Mg must be a finite number"):
        P.Coulomb({"Mg": np.nan})
    with pytest.raises(BadInput, match="maps species to numbers"):
        P.Coulomb([2.0, -2.0])
    with pytest.raises(BadInput, match="short must be one of"):
        P.Charged("MgO", CHARGES)

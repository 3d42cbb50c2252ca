"""Pair potentials by pair of species, against sums over pairs of atoms."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax.core.errors import BadInput

P = fx.solids.potentials
FCC = np.array([[0.0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2
BUCKINGHAM = (1428.5, 0.2945, 3.0)
MORSE = (0.3, 1.4, 3.1)
# Three species, three cutoffs, one pair that does not interact.
TABLE = {
    ("Mg", "O"): P.Buckingham(*BUCKINGHAM, cutoff=5.0, units="metal"),
    ("O", "O"): P.Morse(*MORSE, cutoff=3.4, scheme="energy-shifted", units="metal"),
    ("Mg", "Mg"): None,
}


def phi(a, b, r):
    """The table, written down a second time."""
    A, rho, C = BUCKINGHAM
    D, alpha, r0 = MORSE
    morse = lambda r: D * (np.exp(-2 * alpha * (r - r0)) - 2 * np.exp(-alpha * (r - r0)))
    if {a, b} == {"Mg", "O"}:
        return np.where(r < 5.0, A * np.exp(-r / rho) - C / r**6, 0.0)
    return np.where(r < 3.4, morse(r) - morse(3.4), 0.0) if a == b == "O" else np.zeros_like(r)


def by_sums(lattice, positions, species):
    """Energy of a cell: every pair of atoms, every image near enough."""
    images = np.array(list(itertools.product(range(-4, 5), repeat=3))) @ lattice
    total = 0.0
    for (i, a), (j, b) in itertools.product(enumerate(species), repeat=2):
        r = np.linalg.norm(positions[j] - positions[i] + images, axis=1)
        total += 0.5 * np.sum(phi(a, b, r[r > 1e-9]))
    return total


@pytest.mark.parametrize("atoms", [2, 8])
def test_a_crystal_is_the_sum_over_its_pairs(atoms):
    rng = np.random.default_rng(4)
    lattice, basis, species = 4.2 * FCC, np.array([[0.0] * 3, [0.5] * 3]), ["Mg", "O"]
    if atoms == 8:
        corners = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
        lattice, basis, species = 4.2 * np.eye(3), np.concatenate([corners, corners + 0.5]), ["Mg"] * 4 + ["O"] * 4
    crystal = fx.solids.Crystal(lattice, basis, species, P.Pairs(TABLE), stretch=0.85)
    A, shifts = 0.05 * rng.uniform(-1, 1, (3, 3)), 0.1 * rng.uniform(-1, 1, (atoms - 1, 3))

    def W(A, shifts):
        F = np.eye(3) + A
        moved = basis @ lattice + np.concatenate([np.zeros((1, 3)), shifts])
        return by_sums(lattice @ F.T, moved @ F.T, species) / abs(np.linalg.det(lattice))

    energy, stress = crystal.assemble(jnp.asarray(shifts), jnp.asarray(A), 1)
    np.testing.assert_allclose(energy, W(A, shifts), rtol=1e-12)
    way, h = rng.uniform(-1, 1, (3, 3)), 1e-5
    slope = (W(A + h * way, shifts) - W(A - h * way, shifts)) / (2 * h)
    np.testing.assert_allclose(np.sum(stress * way), slope, rtol=1e-7)


def test_one_potential_for_all_pairs_is_that_potential():
    lj = P.LennardJones(0.4, 2.3, 5.0, "smooth", units="metal")
    both = P.Pairs({("A", "A"): lj, ("B", "A"): lj, ("B", "B"): lj})
    make = lambda V: fx.solids.Crystal(3.0 * np.eye(3), [[0.0] * 3, [0.45, 0.5, 0.55]], ["A", "B"], V, stretch=0.9)
    A = 0.03 * np.random.default_rng(1).uniform(-1, 1, (3, 3))
    got, want = (fx.response(make(V), A, tangent=True) for V in (both, lj))
    np.testing.assert_allclose(got.energy, want.energy, rtol=1e-13)
    np.testing.assert_allclose(got.value, want.value, rtol=0, atol=1e-12 * np.abs(want.value).max())
    np.testing.assert_allclose(got.tangent, want.tangent, rtol=0, atol=1e-12 * np.abs(want.tangent).max())
    assert both.pairwise and both.elements == ("A", "B") and both.cutoff == 5.0


def test_parameters_can_be_differentiated():
    crystal = fx.solids.Crystal(4.2 * FCC, [[0.0] * 3, [0.5] * 3], ["Mg", "O"], P.Pairs(TABLE))
    slope = eqx.filter_grad(lambda c: c.energy(jnp.zeros((1, 3)), jnp.zeros((3, 3))))(crystal).unit_cell.potential.entries[0].A
    # Three shells of the other species: 6, 8 and 24 neighbours at 1, √3 and √5 of half a lattice constant.
    shells = ((6, 1.0), (8, 3**0.5), (24, 5**0.5))
    want = sum(count * np.exp(-2.1 * x / 0.2945) for count, x in shells) / (4.2**3 / 4)
    np.testing.assert_allclose(slope, want, rtol=1e-10)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({("Mg", "O"): TABLE["Mg", "O"]}, r"no entry for Mg-Mg. Give \('Mg', 'Mg'\): None if these do not interact"),
        (TABLE | {("O", "Mg"): None}, "Mg-O is there twice"),
        (TABLE | {("O", "O"): P.Tersoff("C")}, "O-O must be a pair potential, or None"),
        (TABLE | {("O", "O"): P.LennardJones(cutoff=None)}, "O-O has no cutoff"),
        (TABLE | {("O", "O"): P.LennardJones()}, "different units, metal and reduced"),
        ({("X", "X"): None}, "no two species interact"),
        ({"Mg": None}, "maps pairs of species"),
        ({}, "no two species interact"),
    ],
)
def test_what_it_refuses(table, message):
    with pytest.raises(BadInput, match=message):
        P.Pairs(table)


def test_a_species_that_is_not_in_the_table():
    with pytest.raises(BadInput, match="species 'Ca' is unknown to Pairs, which knows Mg, O"):
        fx.solids.Crystal(4.2 * FCC, [[0.0] * 3, [0.5] * 3], ["Ca", "O"], P.Pairs(TABLE))
    assert jax.tree.leaves(P.Pairs(TABLE))

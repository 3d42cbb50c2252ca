"""Layers in vacuum: graphene, and silicon whose atoms leave the plane, against ASE and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms
from ase.build import graphene
from ase.optimize import BFGS

import fiberax as fx
from fiberax.core.errors import BadInput

P = fx.solids.potentials
A = np.array([[0.02, 0.01], [-0.005, -0.015]])


@pytest.fixture(scope="module")
def sheet():
    """Graphene at rest."""
    return fx.solids.equilibrium(fx.solids.from_ase(graphene(a=2.5), P.Tersoff("C")), full=True)


@pytest.fixture(scope="module")
def buckled():
    """A honeycomb of silicon whose two sublattices stand at different heights."""
    atoms = Atoms("Si2", cell=[[3.84, 0, 0], [-1.92, 1.92 * 3**0.5, 0], [0, 0, 0]], pbc=(True, True, False))
    atoms.set_positions([[0, 0, 0], [1.92, 1.92 / 3**0.5, 0.6]])
    return atoms


def test_graphene_at_rest_is_a_stable_isotropic_sheet(sheet):
    """Bond and energy of Tersoff's carbon (Phys. Rev. B 39 (1989) 5566; 1.46 Å), shear (C11 - C12)/2, and no stress left."""
    crystal = sheet.crystal
    assert isinstance(crystal, fx.solids.Layer)
    bond = np.linalg.norm(np.asarray(crystal.lattice)[0]) / 3**0.5
    assert bond == pytest.approx(1.46, abs=5e-3)
    C = sheet.voigt
    np.testing.assert_allclose([C[1, 1], C[2, 2]], [C[0, 0], 0.5 * (C[0, 0] - C[0, 1])], rtol=1e-6)
    assert np.abs(sheet.stress).max() < 1e-8 * C[0, 0]
    looked = fx.solids.stability(crystal, np.zeros((2, 2)))
    assert looked.stable and looked.direction.shape == (2,)
    # What nothing holds across the layer made the crystal in its box seem unstable.
    assert not fx.solids.stability(crystal.inner, np.zeros((3, 3))).acoustic > 1e-6 * C[0, 0]
    assert float(crystal.stability_margin(jnp.zeros((1, 3)), jnp.zeros((2, 2)))) > 0.01


@pytest.mark.slow
def test_stress_and_tangent_are_slopes(sheet):
    at = lambda A: fx.response(sheet.crystal, jnp.asarray(A), tolerance=1e-11, tangent=True)
    found, step = at(A), 1e-5 * np.array([[0.3, -1.0], [0.7, 0.4]])
    ends = [at(A + sign * step) for sign in (1.0, -1.0)]
    np.testing.assert_allclose(0.5 * (ends[0].energy - ends[1].energy), np.sum(found.value * step), rtol=1e-6)
    rise = 0.5 * (ends[0].value - ends[1].value)
    np.testing.assert_allclose(rise, np.einsum("ijkl,kl->ij", found.tangent, step), atol=1e-7 * np.abs(rise).max())
    doubled = jax.grad(lambda A: sheet.crystal.energy(found.state, A))(jnp.asarray(A))
    np.testing.assert_allclose(doubled, found.value, atol=1e-9)


@pytest.mark.slow
def test_a_thickness_makes_stresses_of_a_volume(sheet):
    thick = fx.solids.Layer(sheet.crystal.inner, thickness=3.35)
    per_length, per_area = (fx.response(layer, jnp.asarray(A)) for layer in (sheet.crystal, thick))
    np.testing.assert_allclose(per_area.value, per_length.value / 3.35, rtol=1e-12)
    assert float(thick.volume) == pytest.approx(3.35 * float(sheet.crystal.volume))


def test_heights_are_shifts(buckled):
    """Energy, heights and stress of a strained layer whose atoms leave the plane, against ASE's optimiser."""
    layer = fx.solids.from_ase(buckled, P.StillingerWeber("Si"))
    F = np.eye(2) + A
    strained = buckled.copy()
    cell = np.zeros((3, 3))
    cell[:2, :2] = buckled.cell.array[:2, :2] @ F.T
    cell[2, 2] = 30.0
    strained.set_cell(cell)
    strained.set_positions(np.column_stack([buckled.positions[:, :2] @ F.T, buckled.positions[:, 2]]))
    strained.calc = fx.interop.ase.Calculator(P.StillingerWeber("Si"))
    assert BFGS(strained, logfile=None).run(fmax=1e-8, steps=300)
    found = fx.response(layer, jnp.asarray(A), tolerance=1e-10)
    assert int(found.result) == 0
    np.testing.assert_allclose(found.energy * layer.volume, strained.get_potential_energy(), rtol=1e-11)
    places = np.asarray(fx.solids.positions(layer, found.state, A))
    np.testing.assert_allclose(np.diff(places[:, 2]), np.diff(strained.positions[:, 2]), atol=1e-7)
    stress = strained.get_stress(voigt=False)[:2, :2] * 30.0  # of the deformed layer, per length
    np.testing.assert_allclose(found.value @ F.T / np.linalg.det(F), stress, atol=1e-7 * np.abs(stress).max())


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda atoms: fx.solids.from_ase(atoms, P.LennardJones(cutoff=None)), "without a cutoff sums over all images"),
        (lambda atoms: fx.solids.Layer(fx.solids.from_ase(atoms, P.StillingerWeber("Si")).inner, -1.0), "thickness=-1.0"),
        (lambda atoms: fx.solids.Layer(P.StillingerWeber("Si")), "inner must be a Crystal"),
        (
            lambda atoms: fx.solids.Layer(fx.solids.Crystal(4.0 * np.eye(3), [[0, 0, 0]], ["Si"], P.LennardJones(cutoff=5.0))),
            "layers 4 apart feel each other",
        ),
    ],
)
def test_refusals(buckled, make, words):
    with pytest.raises(BadInput, match=words):
        make(buckled)

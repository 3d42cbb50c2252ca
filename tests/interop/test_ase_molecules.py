"""Boxes of molecules as ASE Atoms and as extended XYZ, against ASE's own distances and Lennard-Jones energies."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("ase")

from ase.calculators.lj import LennardJones
from ase.io import read, write

import fiberax as fx
from fiberax.interop.ase import Calculator, molecules, solid
from fiberax.physics.molecules.start import packed


def test_a_box_becomes_atoms_and_a_file(tmp_path):
    box = fx.molecules.Box(fx.molecules.LennardJones(1.8), 64, 0.8, start=packed(64) + 0.4)
    kappa = jnp.zeros((3, 3)).at[0, 1].set(1.0)
    shaken = box.start + 0.02 * np.random.default_rng(0).standard_normal((3, 64))
    state = box.init(kappa, jax.random.key(0))._replace(positions=shaken)
    state = eqx.filter_jit(box.step)(state, kappa, jnp.asarray(0.04), jax.random.key(1))
    made = molecules(state)
    assert np.all(made.get_scaled_positions(wrap=False) < 1.0)
    np.testing.assert_allclose(made.get_volume(), 80.0, rtol=1e-12)
    # The same energies, forces and stress by ASE, which shifts the energy as we do and has no kinetic part.
    theirs = made.copy()
    theirs.calc = LennardJones(sigma=1.0, epsilon=1.0, rc=1.8, smooth=False)
    np.testing.assert_allclose(theirs.get_potential_energy(), made.get_potential_energy(), rtol=1e-10)
    np.testing.assert_allclose(theirs.get_forces(), made.get_forces(), atol=1e-8)
    p = made.get_momenta()
    kinetic = p.T @ p / 80.0
    np.testing.assert_allclose(theirs.get_stress(voigt=False) - kinetic, made.get_stress(voigt=False), atol=1e-9)
    write(tmp_path / "box.xyz", made, format="extxyz")
    back = read(tmp_path / "box.xyz")
    np.testing.assert_allclose(back.positions, made.positions, atol=1e-7)
    np.testing.assert_allclose(back.get_momenta(), p, atol=1e-7)
    np.testing.assert_allclose(back.get_stress(), made.get_stress(), atol=1e-7)
    assert np.abs(kinetic - np.eye(3) * 0.8).max() > 1e-3


def test_refusals():
    box = fx.molecules.Box(fx.molecules.WCA(), 27, 0.6, start=packed(27))
    state = box.init(jnp.zeros((3, 3)), jax.random.key(0))
    assert molecules(state, ["H"] * 27).symbols[3] == "H"
    with pytest.raises(fx.BadInput, match="one for each of 27 particles; there are 2"):
        molecules(state, ["H", "He"])
    with pytest.raises(fx.BadInput, match="one box at a time"):
        molecules(jax.tree.map(lambda x: x[None], state))


def test_a_crystal_in_thermal_motion_becomes_atoms():
    """The cell is deformed; the potential of the crystal gives the same energy and forces."""
    lattice = 0.5 * 1.55 * np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]])
    potential = fx.solids.potentials.LennardJones(cutoff=1.7, scheme="smooth")
    crystal = fx.solids.Crystal(lattice, [[0.0] * 3], ["Ar"], potential)
    piece, A = fx.molecules.Solid(crystal, (3, 3, 3), mass=2.0, dt=0.005, friction=1.0), np.diag([0.02, 0.0, -0.01])
    state = eqx.filter_jit(piece.init)(jnp.asarray(A), jax.random.key(0))
    state = eqx.filter_jit(piece.step)(state, jnp.asarray(A), piece.timestep(A), jax.random.key(1))
    atoms = solid(piece, state, A)
    assert len(atoms) == 27 and atoms.get_volume() == pytest.approx(27 * 1.55**3 / 4 * 1.02 * 0.99)
    assert atoms.get_masses()[0] == 2.0
    np.testing.assert_allclose(atoms.get_momenta(), np.asarray(state.momenta).T)
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    atoms.calc = Calculator(potential)
    assert atoms.get_potential_energy() == pytest.approx(energy, rel=1e-9)
    np.testing.assert_allclose(atoms.get_forces(), forces, atol=1e-8)
    with pytest.raises(fx.BadInput, match="one piece at a time"):
        solid(piece, jax.tree.map(lambda x: x[None], state), A)

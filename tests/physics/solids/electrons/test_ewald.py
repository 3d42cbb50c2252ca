"""Ewald sums against published Madelung constants and energies."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fiberax.physics.solids.electrons import ewald

FCC = np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]])
DIAMOND = np.array([[1, 1, 1], [-1, -1, -1]]) / 8


def energy(lattice, positions, charges, F=None):
    positions = np.asarray(positions, float)
    table, F = ewald.tables(lattice, positions), jnp.asarray(np.eye(3) if F is None else F)
    return ewald.energy(table, lattice, F, jnp.asarray(positions), jnp.asarray(charges))


@pytest.mark.parametrize(
    ("lattice", "positions", "charges", "exact"),
    [
        (FCC, [[0, 0, 0], [0.5, 0.5, 0.5]], [1.0, -1.0], -1.747564594633),  # NaCl, neighbours 1 apart
        (16.0 * np.eye(3), [[0, 0, 0]], [1.0], -2.8372974794806 / 32),  # G. Makov, M. C. Payne (1995)
        (10.263141334305942 / 2 * FCC, DIAMOND, [14.0, 14.0], -102.8741963363),
    ],
)
def test_published_energies(lattice, positions, charges, exact):
    np.testing.assert_allclose(energy(lattice, positions, charges), exact, rtol=2e-10)


@pytest.mark.parametrize("stretch", [0.62, 1.6])
def test_strained_cells_are_cells_of_their_own(stretch):
    F = np.array([[stretch, 0.2, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.05]])
    found = energy(6.0 * FCC, DIAMOND, [4.0, 3.0], F)
    np.testing.assert_allclose(found, energy(6.0 * FCC @ F.T, DIAMOND, [4.0, 3.0]), rtol=1e-13)


def test_virial_and_forces():
    """E is homogeneous of degree −1 in lengths; forces add up to nothing and are those of differences."""
    value = jax.jit(lambda F, p: ewald.energy(table, 5.0 * FCC, F, p, jnp.asarray([3.0, 1.0])))
    positions = jnp.asarray([[0.0, 0.0, 0.0], [0.3, 0.2, 0.4]])
    table = ewald.tables(5.0 * FCC, np.asarray(positions))
    F = jnp.eye(3)
    P, force = jax.grad(value, (0, 1))(F, positions)
    np.testing.assert_allclose(jnp.trace(P), -value(F, positions), rtol=1e-12)
    np.testing.assert_allclose(force.sum(axis=0), 0.0, atol=1e-12)
    step = jnp.zeros((2, 3)).at[1, 2].set(1e-5)
    np.testing.assert_allclose(force[1, 2], (value(F, positions + step) - value(F, positions - step)) / 2e-5, rtol=1e-8)

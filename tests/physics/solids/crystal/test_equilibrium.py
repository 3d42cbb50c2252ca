"""The stress-free reference of crystals."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax.core.errors import NotConverged

P = fx.solids.potentials
HEXAGON = np.array([[1.0, 0], [0.5, 0.75**0.5]])
SHORT = P.LennardJones(cutoff=1.6, scheme="smooth", onset=1.4)  # nearest neighbours, untouched by the switch
R0 = 2 ** (1 / 6)


def test_scaled():
    start = fx.solids.Crystal(1.3 * R0 * HEXAGON, [[0, 0]], ["X"], SHORT, stretch=0.65)
    e = fx.solids.equilibrium(start)
    assert e.scale == pytest.approx(1 / 1.3, rel=1e-11)
    np.testing.assert_allclose(e.crystal.lattice, R0 * HEXAGON, rtol=1e-10, atol=1e-12)
    assert e.energy == pytest.approx(-3.0, rel=1e-12)
    np.testing.assert_allclose(e.deformation, np.eye(2) / 1.3, atol=1e-10)
    said = str(e)
    assert said == repr(e) and "reduced units" in said and "1.12246, 1.12246" in said and "60 degrees" in said
    assert "-3 per atom" in said and f"{e.voigt[0, 0]:.6g}" in said and "f64" not in said
    assert jax.jit(lambda k: jnp.asarray(len(repr(eqx.tree_at(lambda e: e.energy, e, k)))))(1.0) > 0  # traced too


@pytest.mark.slow
def test_fully_relaxed():
    """A sheared two-atom cell with its atoms off their places comes back to the triangular lattice."""
    cell = R0 * np.array([[1.0, 0], [0.03, 1.05 * 3**0.5]])
    start = fx.solids.Crystal(cell, [[0, 0], [0.52, 0.49]], ["X", "X"], SHORT, stretch=0.8)
    scaled, full = fx.solids.equilibrium(start), fx.solids.equilibrium(start, full=True)
    assert abs(np.trace(scaled.stress)) < 1e-9
    assert np.abs(scaled.stress).max() > 1e-2
    assert np.abs(full.stress).max() < 1e-8
    assert full.energy_per_atom == pytest.approx(-3.0, rel=1e-10)
    np.testing.assert_allclose(np.linalg.norm(full.crystal.lattice, axis=1), R0 * np.array([1, 3**0.5]), rtol=1e-9)
    k = 72.0 * 2 ** (-1 / 3)
    expected = 3**0.5 / 4 * k * np.array([[3, 1, 0], [1, 3, 0], [0, 0, 1]])
    turned = full.elastic  # isotropic: the same in every frame
    np.testing.assert_allclose(fx.response(full.crystal, np.zeros((2, 2)), tangent=True).tangent, turned, atol=1e-9)
    np.testing.assert_allclose(full.voigt, expected, atol=1e-6)
    assert np.all(np.linalg.eigvalsh(full.voigt_unrelaxed - full.voigt) > -1e-6)  # relaxation only softens


def test_what_is_told_of_the_rest_is_that_of_its_crystal():
    """Stress and moduli are carried to the new reference; another look at it finds the same. Some stress is left."""
    cell = 1.05 * R0 * np.array([[1.0, 0], [0.03, 1.05 * 3**0.5]])
    rest = fx.solids.equilibrium(fx.solids.Crystal(cell, [[0, 0], [0.52, 0.49]], ["X", "X"], SHORT, stretch=0.8))
    looked = fx.response(rest.crystal, np.zeros((2, 2)), tangent=True, tolerance=1e-12)
    fixed = rest.crystal.second_derivatives(looked.state, jnp.zeros((2, 2)))[0][:4, :4].reshape(2, 2, 2, 2)
    size = np.abs(looked.tangent).max()
    assert abs(rest.scale - 1.0) > 0.02 and np.abs(rest.stress).max() > 1e-4 * size and abs(np.trace(rest.stress)) < 1e-9 * size
    np.testing.assert_allclose(rest.stress, looked.value, atol=1e-9 * size)
    np.testing.assert_allclose(rest.elastic, looked.tangent, atol=1e-9 * size)
    np.testing.assert_allclose(rest.elastic_unrelaxed, fixed, atol=1e-9 * size)
    assert rest.energy == pytest.approx(float(looked.energy * rest.crystal.volume), rel=1e-12)


def test_nothing_to_find():
    repulsive = P.Pair(lambda r: 1 / r**2, cutoff=1.6, scheme="smooth")
    with pytest.raises(NotConverged, match="equilibrium"):
        fx.solids.equilibrium(fx.solids.Crystal(HEXAGON, [[0, 0]], ["X"], repulsive))


def test_lattice_constants_share_their_programs(caplog):
    """Numbers of a crystal are arguments of its programs: the second search for the rest compiles nothing."""
    energies, compiled = [], []
    for a in (1.02 * R0, 1.03 * R0):
        with jax.log_compiles(), caplog.at_level("WARNING"):
            energies.append(fx.solids.equilibrium(fx.solids.Crystal(a * HEXAGON, [[0, 0]], ["Y"], SHORT)).energy)
        compiled.append(sum("Compiling" in line and "looked" in line for line in caplog.messages))
        caplog.clear()
    assert energies == pytest.approx([-3.0, -3.0], rel=1e-12)
    assert compiled[0] >= 1 and compiled[1] == 0

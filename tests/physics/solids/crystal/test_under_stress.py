"""Crystals turned, and under prescribed stress: closed forms, other routes to the same numbers, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.spatial.transform import Rotation

import fiberax as fx
from fiberax.core.errors import BadInput, NotConverged

P = fx.solids.potentials
TURN = Rotation.from_euler("xyz", [0.4, -0.9, 1.7]).as_matrix()
A = jnp.asarray([[0.02, 0.01, 0.0], [-0.015, -0.01, 0.02], [0.005, 0.0, 0.03]])


@pytest.fixture(scope="module")
def silicon():
    fcc = 5.431 / 2 * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
    crystal = fx.solids.Crystal(fcc, [[0, 0, 0], [0.25] * 3], ["Si", "Si"], P.StillingerWeber("Si"), allow_unstable=True)
    return fx.solids.equilibrium(crystal)


def test_a_turned_crystal_answers_in_the_turned_frame(silicon):
    turned = silicon.crystal.rotated(TURN)
    here = fx.response(silicon.crystal, A)
    there = fx.response(turned, jnp.asarray(TURN @ A @ TURN.T))
    np.testing.assert_allclose(there.value, TURN @ here.value @ TURN.T, atol=1e-10)
    assert float(there.energy) == pytest.approx(float(here.energy), rel=1e-12)
    np.testing.assert_allclose(there.state, here.state @ TURN.T, atol=1e-8)
    with pytest.raises(BadInput, match=r"it mirrors, det R = -1"):
        silicon.crystal.rotated(-np.eye(3))
    with pytest.raises(BadInput, match="off the unit matrix by 3"):
        silicon.crystal.rotated(2 * np.eye(3))
    with pytest.raises(BadInput, match=r"must be a matrix \(3, 3\)"):
        silicon.crystal.rotated(np.eye(2))


@pytest.mark.parametrize("direction", [(1, 0, 0), (1, 1, 0), (1, 1, 1)])
def test_a_bar_begins_with_youngs_modulus(silicon, direction):
    x = np.array(direction) / np.linalg.norm(direction)
    y = np.cross(x, [0.3, -0.2, 0.9])
    y /= np.linalg.norm(y)
    turned = silicon.crystal.rotated(np.array([x, y, np.cross(x, y)]))
    h = 1e-4
    ends = [fx.solids.under_stress(turned, {(0, 0): s}) for s in (-h, h)]
    slope = (ends[1].piola[0, 0] - ends[0].piola[0, 0]) / (2 * h)
    assert slope == pytest.approx(silicon.constants.young(direction), rel=1e-6)
    lateral = -(ends[1].gradient[1, 1] - ends[0].gradient[1, 1]) / (2 * h)
    assert lateral == pytest.approx(silicon.constants.poisson(direction, y), rel=1e-6)
    np.testing.assert_allclose(ends[1].cauchy[1:], 0.0, atol=1e-10)


def test_large_uniaxial_stress_without_newton(silicon):
    """Along a cube axis one lateral stretch is unknown: a root of one function, found by bisection."""
    crystal, s = silicon.crystal, 0.12
    lateral = lambda t: float(fx.response(crystal, jnp.diag(jnp.asarray([s, t, t]))).value[1, 1])
    t = brentq(lateral, -0.1, 0.0, xtol=1e-13)
    middle = fx.solids.under_stress(crystal, {(0, 0): s / 2})
    found = fx.solids.under_stress(crystal, {(0, 0): s}, start=middle)
    np.testing.assert_allclose(found.gradient, np.diag([s, t, t]), atol=1e-9)
    axial = float(fx.response(crystal, jnp.diag(jnp.asarray([s, t, t]))).value[0, 0])
    assert found.piola[0, 0] == pytest.approx(axial, rel=1e-8)
    assert found.cauchy[0, 0] == pytest.approx(axial / (1 + t) ** 2, rel=1e-8)


def test_pressure_shear_and_equal_stretch(silicon):
    crystal = silicon.crystal.rotated(TURN)
    p = 0.05
    squeezed = fx.solids.under_stress(crystal, {}, -p * np.eye(3))
    # The slope of the energy by the volume is the pressure.
    t, h = np.linalg.det(squeezed.gradient + np.eye(3)) ** (1 / 3) - 1, 1e-4
    W = [float(fx.response(silicon.crystal, jnp.eye(3) * (t + k)).energy) for k in (-h, h)]
    assert -(W[1] - W[0]) / ((1 + t + h) ** 3 - (1 + t - h) ** 3) == pytest.approx(p, rel=1e-6)
    sheared = fx.solids.under_stress(crystal, {(0, 1): 0.04})
    zero = sheared.cauchy.copy()
    zero[0, 1] = zero[1, 0] = 0.0
    np.testing.assert_allclose(zero, 0.0, atol=1e-10)
    assert sheared.gradient[0, 1] == 0.04 and sheared.cauchy[0, 1] > 1e-3
    film = fx.solids.under_stress(silicon.crystal, {(0, 0): 0.02, (1, 1): 0.02, (0, 1): 0.0})
    assert film.cauchy[0, 0] == pytest.approx(film.cauchy[1, 1]) and abs(film.cauchy[2, 2]) < 1e-10
    assert film.gradient[2, 2] < -0.01


def test_loads_that_are_too_large_or_make_no_sense(silicon):
    with pytest.raises(NotConverged, match="under_stress"):
        fx.solids.under_stress(silicon.crystal, {}, 1.0 * np.eye(3))
    with pytest.raises(BadInput, match=r"\(1, 0\) is no place"):
        fx.solids.under_stress(silicon.crystal, {(1, 0): 0.1})
    with pytest.raises(BadInput, match="is not finite"):
        fx.solids.under_stress(silicon.crystal, {(0, 0): np.nan})
    with pytest.raises(BadInput, match="must be a symmetric matrix"):
        fx.solids.under_stress(silicon.crystal, {}, np.triu(np.ones((3, 3))))
    with pytest.raises(BadInput, match=r"under_stress: a fx\.solids\.Crystal"):
        fx.solids.under_stress(fx.solids.DiatomicChain(lambda r: r**2), {})


@pytest.mark.filterwarnings("ignore:jax computes in single precision")
def test_what_needs_double_precision_says_so():
    fcc = 2 ** (1 / 6) / 2**0.5 * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
    with jax.enable_x64(False):
        crystal = fx.solids.Crystal(fcc, [[0, 0, 0]], ["X"], P.LennardJones(cutoff=1.4, scheme="smooth", onset=1.3))
        for call in (
            lambda: fx.solids.equilibrium(crystal),
            lambda: fx.solids.stability(crystal, jnp.zeros((3, 3))),
            lambda: fx.solids.under_stress(crystal, {(0, 0): 0.01}),
        ):
            with pytest.raises(BadInput, match="needs double precision, and it is off"):
                call()
        rest = fx.solids.equilibrium(crystal, tolerance=1e-4)
        assert np.linalg.norm(rest.crystal.lattice[0]) == pytest.approx(2 ** (1 / 6), rel=1e-4)

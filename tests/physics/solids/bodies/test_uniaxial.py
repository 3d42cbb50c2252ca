"""A crystal seen along one direction: against the crystal itself, and elastic constants."""

import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax.core.errors import BadInput

SW = fx.solids.potentials.StillingerWeber("Si")
DIAMOND = 0.5 * 5.43095 * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])


@pytest.fixture(scope="module")
def silicon():
    return fx.solids.Crystal(DIAMOND, [[0, 0, 0], [0.25, 0.25, 0.25]], ["Si", "Si"], SW)


@pytest.mark.slow
@pytest.mark.parametrize("n", [[1.0, 0.0, 0.0], [1.0, 2.0, -1.0]])
def test_it_is_the_crystal_along_one_direction(silicon, n):
    unit = np.array(n) / np.linalg.norm(n)
    fiber, A = fx.solids.uniaxial(silicon, n), 0.06 * np.outer(unit, unit)
    got, whole = fx.response(fiber, 0.06, tangent=True), fx.response(silicon, A, tangent=True)
    assert got.value == pytest.approx(float(unit @ whole.value @ unit), rel=1e-12)
    assert got.energy == pytest.approx(float(whole.energy), rel=1e-14)
    assert got.tangent == pytest.approx(np.einsum("i,J,iJkL,k,L", unit, unit, whole.tangent, unit, unit), rel=1e-12)
    np.testing.assert_allclose(got.state, whole.state, atol=1e-12)
    assert fiber.stability_margin(got.state, jnp.asarray(0.06)) == silicon.stability_margin(whole.state, jnp.asarray(A))
    # The response is the slope of the relaxed energy, and the tangent that of the response.
    h = 1e-4
    up, down = (fx.response(fiber, 0.06 + s) for s in (h, -h))
    assert got.value == pytest.approx(float(up.energy - down.energy) / (2 * h), rel=1e-6)
    assert got.tangent == pytest.approx(float(up.value - down.value) / (2 * h), rel=1e-6)


def test_elastic_constants_along_an_axis_and_a_diagonal(silicon):
    """C11 = 151.4 GPa, C12 = 76.4, C44 = 56.4 (Balamane, Halicioglu and Tiller, Phys. Rev. B 46, 1992)."""
    modulus = lambda n: 160.21766208 * float(fx.response(fx.solids.uniaxial(silicon, n), 0.0, tangent=True).tangent)
    assert modulus(None) == pytest.approx(151.4, abs=0.1)
    assert modulus([1, 1, 1]) == pytest.approx((151.4 + 2 * 76.4 + 4 * 56.4) / 3, abs=0.2)


def test_misuse_is_named(silicon):
    with pytest.raises(BadInput, match="direction must be 3 numbers"):
        fx.solids.uniaxial(silicon, [1, 0])
    with pytest.raises(BadInput, match="displacement gradient"):
        fx.solids.uniaxial(fx.solids.DiatomicChain(lambda r: r**2))


def test_a_single_step_is_that_of_the_crystal(silicon):
    fiber, begin = fx.solids.uniaxial(silicon, [1, 1, 1]), jnp.zeros((1, 3))
    stepped = fiber.solver.step(fiber, begin, jnp.asarray(0.05))[0]
    np.testing.assert_allclose(stepped, silicon.solver.step(silicon, begin, jnp.full((3, 3), 0.05 / 3))[0], atol=1e-12)
    assert np.abs(stepped).max() > 0.01

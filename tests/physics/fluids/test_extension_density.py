"""The steady density in extension by quadratures of its own, identities of steady flow, and where it ends."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import roots_jacobi

import fiberax as fx
from fiberax.numerics.result import Result
from fiberax.physics.fluids import FENE, DumbbellDensity
from fiberax.physics.fluids.extension_density import ExtensionDensity

UNIAXIAL, PLANAR = np.diag([1.0, -0.5, -0.5]), np.diag([1.0, -1.0])


def first_difference(b, rate):
    """N1 in uniaxial extension, in spherical coordinates about the axis."""
    node, weight = roots_jacobi(400, 0.5 * b - 1.0, 0.5)
    t = 0.5 * (1.0 + node)
    v, across = np.polynomial.legendre.leggauss(400)
    v = 0.5 * (1.0 + v)
    u, across = 1.0 - v**2, v * across
    exponent = b * rate * t[:, None] * (1.5 * u**2 - 0.5)
    psi = np.outer(weight, across) * np.exp(exponent - exponent.max())
    return b * np.sum(psi * t[:, None] * (1.5 * u**2 - 0.5)) / np.sum(psi * (1.0 - t)[:, None])


@pytest.mark.parametrize("rate", [0.3, 1.0, 10.0])
def test_uniaxial_extension(rate):
    found = fx.response(ExtensionDensity(FENE(50.0), De=2.0), 0.5 * rate * UNIAXIAL)
    assert int(found.result) == Result.SUCCESS
    np.testing.assert_allclose(found.value[0, 0] - found.value[1, 1], first_difference(50.0, rate), rtol=1e-9)
    if rate == 10.0:
        np.testing.assert_allclose(found.value[0, 0] - found.value[1, 1], 946.944, rtol=1e-6)


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("rate", [0.5, 40.0])
def test_any_extension_in_any_frame_obeys_the_moment_equation(dim, rate):
    """κ⟨zz⟩ + ⟨zz⟩κ = (τ − I)/De, which no quadrature knows; b with a fraction, and two directions alike."""
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((dim, dim)))[0]
    for growth in ([1.0, 0.2, -1.2], [1.0, 1.0, -2.0], [1.0, -0.5, -0.5]) if dim == 3 else ([1.0, -1.0],):
        fiber = ExtensionDensity(FENE(20.7), dim, De=0.7)
        kappa = rate * turn @ np.diag(growth) @ turn.T
        found = fx.response(fiber, kappa)
        moment = np.asarray(fiber.moment(found.state))
        np.testing.assert_allclose(
            found.value - np.eye(dim), 0.7 * (kappa @ moment + moment @ kappa), rtol=1e-5, atol=1e-5 * rate
        )


def test_the_density_is_that_of_polynomials_where_these_resolve_it():
    kappa, exact = jnp.asarray(0.4 * PLANAR), ExtensionDensity(FENE(10.0), 2)
    ball = DumbbellDensity(FENE(10.0), degree=32)
    first, second = fx.response(exact, kappa), fx.response(ball, kappa, tangent=True)
    points = np.array([[0.0, 0.0], [2.5, 0.3], [0.4, -1.0], [3.0, 0.0], [4.0, 0.0]])
    np.testing.assert_allclose(exact.density(first.state, points), ball.density(second.state, points), atol=1e-8)
    strains = jnp.array([[[1.0, 0.0], [0.0, -1.0]], [[0.0, 1.0], [1.0, 0.0]]])
    slopes = [jax.jvp(lambda k: fx.response(exact, k).value, (kappa,), (e,))[1] for e in strains]
    np.testing.assert_allclose(slopes, jnp.einsum("ijkl,nkl->nij", second.tangent, strains), atol=1e-8)


def test_vorticity_is_refused():
    found = fx.response(ExtensionDensity(FENE(50.0), 2), jnp.array([[1.0, 1e-3], [0.0, -1.0]]))
    assert int(found.result) == Result.NONFINITE and np.all(np.isnan(found.value))
    with pytest.raises(fx.BadInput, match="known for FENE"):
        ExtensionDensity(fx.fluids.Hookean())


def test_reach_is_the_rate_at_which_polynomials_end():
    """Up to 2 %; no further than asked for."""
    fiber = DumbbellDensity(FENE(50.0), De=0.5)
    reach = fiber.reach(PLANAR, 10.0)
    assert int(fx.response(fiber, reach * PLANAR).result) == Result.SUCCESS
    above = fx.response(fiber, 1.03 * reach * PLANAR)
    assert int(above.result) == Result.OUT_OF_RANGE and np.all(np.isnan(above.value))
    assert fiber.reach(PLANAR, 0.5) == 0.5 and 2.0 < reach < 2.6

"""Springs by name against the functions that they approximate, and the virial of equilibrium."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq

import fiberax as fx
from fiberax.physics.fluids import FENE, InverseLangevin, WormLike


def test_cohen_is_near_the_inverse_of_langevins_function():
    """Within 5 %, and no better than 4 % somewhere; exact at both ends."""
    x = np.array([1e-3, 0.2, 0.5, 0.8, 0.9, 0.999])
    exact = np.array([brentq(lambda f, y=y: 1.0 / np.tanh(f) - 1.0 / f - y, 1e-6, 1e4) for y in x])
    b = 30.0
    force = np.asarray(InverseLangevin(b).factor(jnp.asarray(b * x**2))) * 3.0 * x  # 3x for short springs
    off = np.abs(force / exact - 1.0)
    assert off[0] < 1e-5 and 0.04 < off.max() < 0.05 and off[-1] < 2e-3


def test_marko_and_siggia():
    """The force in units of kT/P: 1/(4(1 − x)²) − 1/4 + x, here 1.25 at half of the length; 3x/2 for short chains."""
    b, x = 24.0, np.array([0.0, 0.5, 0.9])
    force = np.asarray(WormLike(b).factor(jnp.asarray(b * x**2))) * 1.5 * x
    np.testing.assert_allclose(force, [0.0, 1.25, 25.65], rtol=1e-12)
    slope = jax.grad(lambda s: WormLike(b).factor(s))(0.0)
    assert np.isfinite(slope) and float(WormLike(b).factor(jnp.asarray(0.0))) == pytest.approx(1.0)


@pytest.mark.parametrize("spring", [FENE(9.0), InverseLangevin(9.0), WormLike(9.0)], ids=lambda s: type(s).__name__)
def test_steps_and_equilibrium(spring):
    """z + w f(z) = r is solved; lengths in equilibrium are those of r² exp(−V), by quadrature."""
    r, w = jnp.asarray([1e-6, 0.3, 3.0, 50.0]), jnp.asarray(0.4)
    z = np.asarray(jax.jit(lambda s: spring.shorten(s, w))(r**2) * r)
    np.testing.assert_allclose(z * (1.0 + 0.4 * np.asarray(spring.factor(jnp.asarray(z**2)))), r, rtol=1e-6)
    assert np.all(z < 3.0)
    drawn = np.sum(np.asarray(spring.sample(jax.random.key(1), 3, (20_000,), jnp.float64)) ** 2, axis=0)
    if isinstance(spring, WormLike):
        x = lambda s: s / 3.0
        energy = lambda s: 6.0 * (0.25 / (1.0 - x(s)) - 0.25 - 0.25 * x(s) + 0.5 * x(s) ** 2)
    else:
        power, part = (4.5, 0.0) if isinstance(spring, FENE) else (3.0, 1.0 / 6.0)
        energy = lambda s: -power * np.log(1.0 - s**2 / 9.0) + part * s**2
    weight = lambda s, k: s**k * np.exp(-energy(s))
    mean = quad(weight, 0.0, 3.0, (4,))[0] / quad(weight, 0.0, 3.0, (2,))[0]
    assert abs(drawn.mean() - mean) < 4.0 * drawn.std() / 20_000**0.5


@pytest.mark.parametrize(("kind", "b"), [(InverseLangevin, 3.0), (WormLike, 0.0), (WormLike, float("inf"))])
def test_bad_input(kind, b):
    with pytest.raises(fx.BadInput, match=f"{kind.__name__}: b must be finite and above"):
        kind(b)

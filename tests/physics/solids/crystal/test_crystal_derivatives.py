"""Derivatives of crystals: stress and moduli of relaxed states, third derivatives, derivatives in parameters."""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx

P = fx.solids.potentials
Crystal = fx.solids.Crystal
FCC = np.array([[0.0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2
HCP = np.array([[1, 0, 0], [0.5, 0.75**0.5, 0], [0, 0, (8 / 3) ** 0.5]])
HEXAGON = np.array([[1.0, 0], [0.5, 0.75**0.5]])
LJ = P.LennardJones(cutoff=2.5, scheme="smooth")


class Axilrod(P.AbstractPotential):
    """Three-body terms by plain sums: a potential without moment form."""

    cutoff: float = eqx.field(static=True, default=1.9)
    units: str = eqx.field(static=True, default="reduced")

    def site_energy(self, centre, neighbours, r):
        length = jnp.sqrt(jnp.sum(r**2, axis=0))
        inside = length < self.cutoff
        weight = jnp.where(inside, (1.0 - jnp.where(inside, length, 0.0) / self.cutoff) ** 4, 0.0)
        cosine = jnp.sum(r[:, :, None] * r[:, None], axis=0) / (length[:, None] * length[None])
        three = 0.1 * jnp.sum(weight[:, None] * weight[None] * (cosine + 0.3) ** 2, axis=(0, 1))
        return three + jnp.sum(weight, axis=0)


def sizes(seed, d, largest=0.05):
    return np.random.default_rng(seed).uniform(-largest, largest, (d, d))


SLOW = partial(pytest.param, marks=pytest.mark.slow)


@pytest.fixture(scope="module")
def hcp():
    return Crystal(1.1 * HCP, [[0, 0, 0], [1 / 3, 1 / 3, 0.5]], ["Ar", "Ar"], LJ)


@pytest.fixture(scope="module")
def silicon():
    return Crystal(5.431 * FCC, [[0, 0, 0], [0.25] * 3], ["Si", "Si"], P.StillingerWeber("Si"))


@pytest.mark.parametrize("kind", [SLOW("hcp"), "silicon", SLOW("own")])
def test_stress_and_moduli_are_derivatives(kind, hcp, silicon):
    own = Crystal(1.7 * HEXAGON, [[0, 0], [1 / 3, 1 / 3]], ["X", "Y"], Axilrod(), stretch=0.9)
    crystal = {"hcp": hcp, "silicon": silicon, "own": own}[kind]
    d, h = crystal.lattice.shape[0], 1e-3
    A, steps = sizes(7, d), np.array([1, -1, 2, -2]) * h
    moved = A + steps[:, None, None, None] * np.eye(d * d).reshape(1, d * d, d, d)
    r, many = fx.response(crystal, A, tangent=True), fx.responses(crystal, moved.reshape(-1, d, d))
    assert np.all(many.result == 0)
    assert np.abs(r.state).max() > 1e-3
    rule = np.array([8, -8, -1, 1]) / (12 * h)
    P = np.tensordot(rule, np.asarray(many.energy).reshape(4, -1), 1).reshape(d, d)
    C = np.tensordot(rule, np.asarray(many.value).reshape(4, -1, d, d), 1).reshape(d, d, d, d)
    np.testing.assert_allclose(r.value, P, atol=2e-8 * np.abs(r.value).max())
    np.testing.assert_allclose(r.tangent, np.moveaxis(C, (0, 1), (2, 3)), atol=2e-8 * np.abs(r.tangent).max())


def comb(potential):
    """A honeycomb lattice."""
    return Crystal(1.9 * HEXAGON, [[0, 0], [1 / 3, 1 / 3]], ["Ar", "Ar"], potential, stretch=0.9)


@pytest.mark.slow
def test_parameters_can_be_differentiated_in():
    A = sizes(9, 2)

    def stress(epsilon, sigma):
        return fx.response(comb(P.LennardJones(epsilon, sigma, cutoff=2.5, scheme="smooth")), A).value[0, 1]

    h = 1e-4
    by_epsilon, by_sigma = jax.grad(stress, argnums=(0, 1))(1.0, 1.0)
    np.testing.assert_allclose(by_epsilon, stress(1.0, 1.0), rtol=1e-11)  # linear in ε
    np.testing.assert_allclose(by_sigma, (stress(1.0, 1 + h) - stress(1.0, 1 - h)) / (2 * h), rtol=1e-5)


@pytest.mark.slow
def test_third_derivative():
    """The derivative of the tangent, against finite differences, at relaxed shifts."""
    crystal = comb(LJ)
    A, B, h = jnp.asarray(sizes(10, 2)), jnp.asarray(sizes(11, 2, 1.0)), 1e-4

    def moduli(t):
        return fx.response(crystal, A + t * B, tangent=True).tangent

    slope = jax.jvp(moduli, (0.0,), (1.0,))[1]
    np.testing.assert_allclose(slope, (moduli(h) - moduli(-h)) / (2 * h), atol=1e-6 * np.abs(slope).max())

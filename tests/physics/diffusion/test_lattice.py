"""Ginzburg-Landau lattices against the transfer operator, exact Gaussian modes, and their own conservation law."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import digamma, polygamma

import fiberax as fx
from fiberax.physics.diffusion import ginzburg_landau_chain

QUARTIC = lambda x: 0.25 * x**4 + 0.5 * x**2
Chain = fx.diffusion.GinzburgLandau


def finite(V, U, sites, beta=1.0, coupling=2.0):
    """A(U) of N sites: F_N = F − log F''/(2βN), so that A_N = A − (log D)'/(4βN), up to O(1/N²)."""
    truth = lambda U: ginzburg_landau_chain(V, U, beta, coupling)
    slope = (np.log(truth(U + 1e-3).diffusion) - np.log(truth(U - 1e-3).diffusion)) / 2e-3
    return truth(U).response - slope / (4.0 * beta * sites)


def test_a_potential_that_confines_with_a_field():
    """V = exp(−a) falls on one side, but the mean is given: ∫ exp(−β(V − ha)) da = Γ(−βh) β^(βh) for h < 0."""
    beta = 1.3
    mean = lambda h: np.log(beta) - digamma(-beta * h)
    for U in (-1.5, 0.3, 2.0):
        h = brentq(lambda h, U=U: mean(h) - U, -50.0, -1e-3)
        truth = ginzburg_landau_chain(lambda a: np.exp(-a), U, beta=beta, coupling=0.0)
        assert truth.response == pytest.approx(0.5 * h, rel=1e-8)
        assert truth.diffusion == pytest.approx(0.5 / (beta * polygamma(1, -beta * h)), rel=1e-6)


@pytest.mark.parametrize("coupling", [0.0, 2.0])
def test_gaussian_truth_is_exact(coupling):
    truth = ginzburg_landau_chain(lambda x: 0.7 * x**2, 0.3, beta=1.7, coupling=coupling)
    np.testing.assert_allclose([truth.response, truth.diffusion], [0.21, 0.7], rtol=1e-11)


def test_truth_agrees_with_its_own_derivatives():
    step, at = 1e-3, [ginzburg_landau_chain(QUARTIC, 0.5 + k * 1e-3) for k in (-2, -1, 1, 2)]
    slope = lambda name: np.dot([1, -8, 8, -1], [getattr(x, name) for x in at]) / (12 * step)
    truth = ginzburg_landau_chain(QUARTIC, 0.5)
    np.testing.assert_allclose(slope("energy"), 2.0 * truth.response, rtol=1e-9)
    np.testing.assert_allclose(slope("response"), truth.diffusion, rtol=1e-9)


def test_truth_of_a_single_site():
    # No coupling: the Legendre transform of one site, by another quadrature.
    x, w = np.polynomial.legendre.leggauss(400)
    x, w = 8.0 * x, 8.0 * w
    truth = ginzburg_landau_chain(QUARTIC, 0.8, beta=1.3, coupling=0.0)
    weight = w * np.exp(-1.3 * (QUARTIC(x) - 2.0 * truth.response * x))
    mean = (weight @ x) / weight.sum()
    np.testing.assert_allclose(mean, 0.8, rtol=1e-10)
    np.testing.assert_allclose(0.5 / (1.3 * ((weight @ x**2) / weight.sum() - mean**2)), truth.diffusion, rtol=1e-10)


@pytest.mark.parametrize("dynamics", ["global", "exchange"])
def test_response(dynamics):
    fiber = Chain(QUARTIC, sites=32, replicas=16, dynamics=dynamics)
    found = fx.sample(fiber, 0.5, steps=6000 if dynamics == "global" else 12_000, replicas=2)
    assert int(found.result) == 0 and float(found.stderr) < 2e-3
    # The time step's bias is of second order and below the error here.
    assert abs(float(found.value) - finite(QUARTIC, 0.5, 32)) < 4.0 * float(found.stderr) + 2e-4
    assert abs(float(found.value) - ginzburg_landau_chain(QUARTIC, 0.5).response) > 4.0 * float(found.stderr)


@pytest.mark.parametrize("dynamics", ["global", "exchange"])
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_mean_is_the_condition(dynamics, dim):
    fiber = Chain(QUARTIC, sites=6, dim=dim, replicas=3, dynamics=dynamics)
    state = fiber.init(jnp.asarray(0.4), jax.random.key(0))
    step = eqx.filter_jit(fiber.step)
    for k, U in enumerate((0.4, 0.4, 0.9, -0.3)):
        state = step(state, jnp.asarray(U), 0.01, jax.random.key(k))
        np.testing.assert_allclose(np.mean(state.field.reshape(-1, 3), axis=0), U, atol=4e-16)


def test_gaussian_link_is_exact_without_averaging():
    fiber = Chain(lambda x: 0.7 * x**2, sites=16)
    state = fiber.init(jnp.asarray(0.3), jax.random.key(0))
    np.testing.assert_allclose(fiber.link(state, jnp.asarray(0.3)), 0.21, rtol=1e-14)


@pytest.mark.parametrize("dynamics", ["global", "exchange"])
def test_modes_of_the_gaussian_lattice(dynamics):
    """⟨|φ_k|²⟩ = 1/(β(2α + 2κ(1 − cos k))) of unitary modes, exact for the scheme of Leimkuhler and Matthews at any step."""
    alpha, kappa, beta, sites = 0.4, 2.0, 1.5, 8
    fiber = Chain(lambda x: alpha * x**2, sites=sites, beta=beta, coupling=kappa, replicas=64, dynamics=dynamics)
    power = lambda fiber, state, U: jnp.mean(jnp.abs(jnp.fft.fft(state.field, axis=0)) ** 2, axis=1)[1:] / sites
    found = fx.sample(fiber, 0.3, steps=4000, replicas=2, link=power)
    wave = 2.0 * np.pi * np.arange(1, sites) / sites
    exact = 1.0 / (beta * (2.0 * alpha + 2.0 * kappa * (1.0 - np.cos(wave))))
    np.testing.assert_array_less(np.abs(found.value - exact), 4.5 * np.asarray(found.stderr))


def test_error_over_replicas_is_the_spread_between_fibers():
    fiber, U = Chain(QUARTIC, sites=4, replicas=20), jnp.asarray(0.5)

    def one(key):
        move = lambda k, state: fiber.step(state, U, 0.05, jax.random.fold_in(key, k))
        state = jax.lax.fori_loop(0, 40, move, fiber.init(U, jax.random.fold_in(key, 40)))
        return fiber.link(state, U), fiber.standard_error(state, U)

    link, error = (np.asarray(x) for x in jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), 400)))
    np.testing.assert_allclose(np.sqrt(np.mean(error**2)), link.std(), rtol=4.0 * (2.0 / 400) ** 0.5)
    assert Chain(QUARTIC, sites=4, replicas=1).standard_error(fiber.init(U, jax.random.key(0)), U) is None


def test_low_temperature_in_two_wells_does_not_mix():
    wells = lambda x: 4.0 * (x**2 - 1.0) ** 2
    fiber = Chain(wells, sites=16, beta=12.0, coupling=0.5, replicas=1)
    found = fx.sample(fiber, 0.3, steps=1000, replicas=8)
    assert fx.Result(int(found.result)) in (fx.Result.NOT_MIXED, fx.Result.TOO_SHORT)


def test_coupled_run_follows_the_density_equation():
    grid = fx.grids.Box(0.0, 1.0, cells=8)
    macro0 = 0.5 + 0.3 * np.sin(2.0 * np.pi * grid.axis(0))
    bundle = fx.Bundle(fx.diffusion.Density(grid), Chain(lambda x: 0.7 * x**2, sites=8, replicas=2))
    found = fx.evolve(bundle, fx.Seamless(separation=np.inf), macro0, t1=0.02, dt=1e-4)
    # Gaussian V: A = αU exactly, so this is the heat equation of the grid, whatever the noise.
    rate = 0.7 * (2.0 - 2.0 * np.cos(2.0 * np.pi / 8)) * 64
    exact = 0.5 + 0.3 * np.exp(-rate * 0.02) * np.sin(2.0 * np.pi * grid.axis(0))
    np.testing.assert_allclose(found.macro[-1], exact, rtol=1e-4)
    assert abs(found.macro[-1].sum() - macro0.sum()) < 1e-13


def test_nothing_passes_through_closed_sides():
    grid = fx.grids.Box((0.0, 0.0), (1.0, 2.0), cells=(3, 4), periodic=(False, True))
    density, A = fx.diffusion.Density(grid), np.arange(12.0) ** 2
    rate = np.asarray(density.rate(0.0, jnp.zeros(grid.cells), jnp.asarray(A)))
    assert abs(rate.sum()) < 1e-10
    A, expected = A.reshape(3, 4), np.zeros((3, 4))
    expected[:-1] += (A[1:] - A[:-1]) * 9.0
    expected[1:] -= (A[1:] - A[:-1]) * 9.0
    expected += (np.roll(A, -1, axis=1) + np.roll(A, 1, axis=1) - 2.0 * A) * 4.0
    np.testing.assert_allclose(rate, expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("options", "words"),
    [({"sites": 2}, "sites must be"), ({"dim": 4}, "dim = 4"), ({"beta": 0.0}, "beta must be positive"),
     ({"coupling": -1.0}, "coupling must not be negative"), ({"dynamics": "glauber"}, "is not one of 'exchange', 'global'"),
     ({"noise": "white"}, "noise='white'")],
)  # fmt: skip
def test_refusals(options, words):
    with pytest.raises(fx.BadInput, match=words):
        Chain(QUARTIC, **options)

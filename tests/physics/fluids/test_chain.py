"""Chains against Rouse's theory, exact identities, their own reach, and the weak order of their scheme."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax.testing import observed_order

Chain, FENE, Hookean = fx.fluids.Chain, fx.fluids.FENE, fx.fluids.Hookean


def shear(rate, dim=2):
    kappa = np.zeros((dim, dim))
    kappa[0, 1] = rate
    return jnp.asarray(kappa)


def rouse_times(n, De):
    """Relaxation times of the stress, 2De/λ_j with the eigenvalues of the Rouse matrix."""
    return 2.0 * De / np.linalg.eigvalsh(2.0 * np.eye(n) - np.eye(n, k=1) - np.eye(n, k=-1))


def test_rouse_in_steady_shear():
    n, De, rate = 3, 0.4, 1.2
    found = fx.sample(Chain(Hookean(), springs=n, members=40, De=De), shear(rate), steps=12_800)
    assert int(found.result) == 0
    xy, normal = De * n * (n + 2) / 3 * rate, 2.0 * np.sum(rouse_times(n, De) ** 2) * rate**2
    exact = np.array([[n + normal, xy], [xy, n]])
    error = np.abs(found.value - exact) - 1e-3 * exact  # the time step's
    np.testing.assert_array_less(error, 4.0 * np.asarray(found.stderr))


@pytest.mark.parametrize("n", [1, 4])
def test_relaxation_after_a_sudden_strain(n):
    """G(t) = Σ exp(−t/λ_j): half the difference of chains strained both ways, with the same noise."""
    De, strain, dt, members = 0.5, 0.5, 0.02, 4000
    fiber = Chain(Hookean(), springs=n, members=members, De=De)

    @jax.jit
    def run(key):
        rest = fiber.init(jnp.zeros((2, 2)), key)
        pair = [rest.at[:, 0].add(sign * strain * rest[:, 1]) for sign in (1.0, -1.0)]

        def step(pair, key):
            pair = [fiber.step(z, jnp.zeros((2, 2)), dt, key) for z in pair]
            xy = [jnp.sum(jnp.prod(z, axis=1), axis=0) for z in pair]
            half = 0.5 * (xy[0] - xy[1])
            return pair, (jnp.mean(half), jnp.std(half) / np.sqrt(members))

        return jax.lax.scan(step, pair, jax.random.split(key, 100))[1]

    found, error = run(jax.random.key(0))
    times = dt * np.arange(1, 101)[:, None]
    exact = strain * np.exp(-times / rouse_times(n, De)).sum(axis=1)
    np.testing.assert_array_less(np.abs(found - exact), 4.0 * np.asarray(error) + 2e-3)
    assert float(found[0]) > 0.4 * n


def test_transverse_stress_of_fene_chains_is_their_number():
    found = fx.sample(Chain(FENE(30.0), springs=3, members=40, De=0.5), shear(8.0), steps=12_800)
    assert int(found.result) == 0
    assert abs(float(found.value[1, 1]) - 3.0) < 4.0 * float(found.stderr[1, 1])
    assert float(found.value[0, 0]) > 10.0


def test_one_spring_is_a_dumbbell():
    # The schemes differ within their order; the noise of two beads is not that of one spring.
    kappa = jnp.diag(jnp.asarray([1.0, -1.0]))
    a = fx.sample(Chain(FENE(20.0), springs=1, members=40), kappa, steps=6400, dt=0.05)
    b = fx.sample(fx.fluids.Dumbbell(FENE(20.0), members=40), kappa, steps=6400, dt=0.05, key=jax.random.key(5))
    np.testing.assert_array_less(np.abs(a.value - b.value), 4.0 * np.hypot(a.stderr, b.stderr) + 1e-12)


def test_weak_order_is_two():
    fiber = Chain(FENE(30.0), springs=2, members=1)
    one = np.array(list(itertools.product((-np.sqrt(3.0), 0.0, np.sqrt(3.0)), repeat=6))).T.reshape(3, 2, -1)
    chance = np.array(list(itertools.product((1 / 6, 2 / 3, 1 / 6), repeat=6))).prod(axis=1)
    kappa, start = jnp.asarray([[0.7, 1.3], [-0.4, -0.7]]), np.array([[2.0, 1.0], [-1.5, 0.5]])[:, :, None]
    advance = eqx.filter_jit(fiber.advance)

    def means(dt, steps):
        state, weight = start, np.ones(1)
        for _ in range(steps):
            state, noise = np.repeat(state, 729, axis=2), np.tile(one, state.shape[2])
            weight = (weight[:, None] * chance).ravel()
            state = np.asarray(advance(jnp.asarray(state), kappa, dt / steps, jnp.asarray(noise)))
        (a, b), (c, d) = state
        force = 1.0 / (1.0 - (a**2 + b**2) / 30.0)
        return np.array([np.sum(weight * value) for value in (a, d, a * a, a * c, b * d, force * a * b)])

    steps = np.array([0.04, 0.02, 0.01])
    errors = np.array([np.abs(means(dt, 1) - means(dt, 2)) for dt in steps])
    for column in errors.T:
        assert observed_order(column, steps) > 2.8, column


@pytest.mark.parametrize("spring", [FENE(12.0), Hookean()])
@pytest.mark.parametrize("dt", [1.0, 1e6])
def test_long_steps(spring, dt):
    fiber = Chain(spring, springs=6, members=50, dim=3)
    kappa = jnp.zeros((3, 3)) if isinstance(spring, Hookean) else 20.0 * shear(1.0, 3)
    step, state = eqx.filter_jit(fiber.step), fiber.init(kappa, jax.random.key(0))
    for k in range(200):
        state = step(state, kappa, dt, jax.random.key(k))
    # Hookean springs keep their size, FENE springs their reach.
    assert np.all(np.sum(np.asarray(state) ** 2, axis=1) < (12.0 if isinstance(spring, FENE) else 1e3))
    assert np.all(np.isfinite(fiber.link(state, kappa)))


def test_refusals():
    with pytest.raises(fx.BadInput, match="springs must be"):
        Chain(springs=0)
    with pytest.raises(fx.BadInput, match=r"velocity gradient κ \(2, 2\)"):
        Chain().init(jnp.zeros((3, 3)), jax.random.key(0))

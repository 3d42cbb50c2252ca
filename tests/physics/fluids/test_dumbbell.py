"""Dumbbells against Oldroyd-B, closed forms of FENE, their own reach, and the weak order of their scheme."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax.testing import observed_order

FENE, Hookean, Dumbbell = fx.fluids.FENE, fx.fluids.Hookean, fx.fluids.Dumbbell


def shear(rate, dim=2):
    kappa = np.zeros((dim, dim))
    kappa[0, 1] = rate
    return jnp.asarray(kappa)


def oldroyd_b(kappa, De):
    """Steady conformation: κc + cκᵀ = (c − I)/De."""
    n, eye = len(kappa), np.eye(len(kappa))
    matrix = np.kron(kappa, eye) + np.kron(eye, kappa) - np.eye(n * n) / De
    return np.linalg.solve(matrix, -eye.ravel() / De).reshape(n, n)


def within(found, exact, times=4.0):
    error = np.abs(np.asarray(found.value) - exact)
    np.testing.assert_array_less(error, times * np.asarray(found.stderr) + 1e-12)


@pytest.mark.parametrize("noise", ["three-point", "gaussian"])
def test_hookean_in_steady_shear(noise):
    # The trapezoidal rule at rest has no bias, so that only that of the flow remains, of order dt².
    kappa = shear(1.5)
    found = fx.sample(Dumbbell(Hookean(), members=200, De=0.8, noise=noise), kappa, steps=12_800, dt=0.04)
    assert int(found.result) == 0
    within(found, oldroyd_b(np.asarray(kappa), 0.8))


def test_hookean_in_general_flow_3d():
    kappa = 0.2 * np.random.default_rng(0).standard_normal((3, 3))
    kappa -= np.trace(kappa) / 3 * np.eye(3)
    found = fx.sample(Dumbbell(dim=3, members=100, De=0.9), kappa, steps=12_800, dt=0.05)
    within(found, oldroyd_b(kappa, 0.9))


def test_hookean_start_up():
    times, members, De, rate = np.linspace(0.25, 2.0, 8), 20_000, 0.7, 2.0
    bundle = fx.Bundle(fx.fluids.Homogeneous(shear(rate)), Dumbbell(Hookean(), members=members, De=De))
    found = fx.evolve(bundle, fx.Seamless(separation=np.inf), 0.0, t1=2.0, dt=0.02, saveat=times).response[:, 0]
    wi, fade = De * rate, np.exp(-times / De)
    xy, xx = wi * (1.0 - fade), 1.0 + 2.0 * wi**2 * (1.0 - fade * (1.0 + times / De))
    # Fourth moments of Gaussian springs are products of second ones.
    for value, exact, variance in (
        (found[:, 0, 1], xy, xx + xy**2),
        (found[:, 0, 0], xx, 2.0 * xx**2),
        (found[:, 1, 1], np.ones(8), 2.0 * np.ones(8)),
    ):
        np.testing.assert_array_less(np.abs(value - exact), 4.0 * np.sqrt(variance / members))


def test_flow_that_changes_in_time():
    # A rate that grows from zero: c_xy' = γ(t) − c_xy/De, solved by hand for γ = t.
    bundle = fx.Bundle(fx.fluids.Homogeneous(lambda t: shear(1.0) * t), Dumbbell(members=20_000))
    found = float(fx.evolve(bundle, fx.Seamless(separation=np.inf), 0.0, t1=1.5, dt=0.025).response[0, 0, 0, 1])
    exact = 1.5 - 1.0 + np.exp(-1.5)
    assert abs(found - exact) < 4.0 * np.sqrt(3.0 / 20_000)


def extension(b, De, rate):
    """⟨f_x z_x⟩ and ⟨f_y z_y⟩ of (1 − |z|²/b)^{b/2} exp(De z·κz), κ = diag(rate, −rate), by quadrature in polar coordinates."""
    x, w = np.polynomial.legendre.leggauss(300)
    r, angle = 0.5 * np.sqrt(b) * (x + 1.0), 2.0 * np.pi * np.arange(300) / 300
    r, angle, w = r[:, None], angle[None], w[:, None]
    zx, zy, d = r * np.cos(angle), r * np.sin(angle), 1.0 - r**2 / b
    weight = w * r * d ** (b / 2) * np.exp(De * rate * (zx**2 - zy**2))
    return np.array([(weight / d * zx**2).sum(), (weight / d * zy**2).sum()]) / weight.sum()


def test_fene_in_planar_extension():
    kappa = jnp.diag(jnp.asarray([1.0, -1.0]))
    found = fx.sample(Dumbbell(FENE(20.0), members=100), kappa, steps=12_800, dt=0.05)
    within(found, np.diag(extension(20.0, 1.0, 1.0)))
    # The identity that follows by partial integration: ⟨f_x z_x⟩ = 1 + 2 De ε ⟨z_x²⟩.
    assert 2.0 < extension(20.0, 1.0, 1.0)[0] < 2.0 * 20.0 + 1.0


@pytest.mark.parametrize(("rate", "dim"), [(1.0, 2), (10.0, 2), (4.0, 3)])
def test_transverse_stress_of_fene_in_shear_is_one(rate, dim):
    found = fx.sample(Dumbbell(FENE(50.0), dim=dim, members=200), shear(rate, dim), steps=12_800)
    assert int(found.result) == 0
    for k in range(1, dim):
        assert abs(float(found.value[k, k]) - 1.0) < 4.0 * float(found.stderr[k, k])
    assert float(found.value[0, 0]) > 2.0


def expectations(fiber, z, kappa, dt, steps):
    """Means of polynomials and of the stress after `steps` equal steps, over all outcomes of three-point noise, from `z`."""
    one = np.array(list(itertools.product((-np.sqrt(3.0), 0.0, np.sqrt(3.0)), repeat=2))).T
    chance = np.array(list(itertools.product((1 / 6, 2 / 3, 1 / 6), repeat=2))).prod(axis=1)
    state, weight = np.asarray(z)[:, None], np.ones(1)
    for _ in range(steps):
        state, noise = np.repeat(state, 9, axis=1), np.tile(one, state.shape[1])
        weight = (weight[:, None] * chance).ravel()
        state = np.asarray(fiber.advance(jnp.asarray(state), kappa, dt / steps, jnp.asarray(noise)))
    x, y = state
    stress = 1.0 / (1.0 - (x**2 + y**2) / float(fiber.spring.limit))
    return np.array([np.sum(weight * value) for value in (x, y, x * x, x * y, y * y, stress * x * y)])


def test_weak_order_is_two():
    """One step and two half steps differ by O(dt³) in every mean: with consistency (closed forms test it) that is order 2."""
    fiber, z = Dumbbell(FENE(30.0), members=1), [2.0, 1.0]
    kappa = jnp.asarray([[0.7, 1.3], [-0.4, -0.7]])
    steps = np.array([0.04, 0.02, 0.01])
    errors = [np.abs(expectations(fiber, z, kappa, dt, 1) - expectations(fiber, z, kappa, dt, 2)) for dt in steps]
    for column in np.array(errors).T:
        assert observed_order(column, steps) > 2.85, column


@pytest.mark.parametrize("dtype", [jnp.float64, jnp.float32])
@pytest.mark.parametrize("dt", [1.0, 1e3, 1e8])
def test_fene_stays_within_its_reach(dtype, dt):
    fiber = Dumbbell(FENE(12.0), dim=3, members=200, dtype=dtype)
    kappa = jnp.asarray([[3.0, 20.0, 0.0], [0.0, -1.0, 7.0], [5.0, 0.0, -2.0]])
    step = eqx.filter_jit(fiber.step)
    state = fiber.init(kappa, jax.random.key(0))
    assert state.dtype == dtype
    for k in range(30):
        state = step(state, kappa, dt, jax.random.key(k))
        assert np.all(np.sum(np.asarray(state, np.float64) ** 2, axis=0) < 12.0)  # false for NaN
        assert np.all(np.isfinite(fiber.link(state, kappa)))


def test_shortening_solves_its_equation():
    spring, rng = FENE(7.0), np.random.default_rng(0)
    length, weight = 10.0 ** rng.uniform(-6, 3, 100_000), 10.0 ** rng.uniform(-5, 3, 100_000)
    z = length * np.asarray(spring.shorten(jnp.asarray(length**2), jnp.asarray(weight)))
    left = z * (1.0 + weight / (1.0 - z**2 / 7.0))
    inner = 1.0 - z**2 / 7.0 > 1e-6  # else round-off in z decides
    np.testing.assert_allclose(left[inner], length[inner], rtol=1e-6)
    assert float(spring.shorten(jnp.zeros(()), jnp.asarray(0.5))) == 1.0 / 1.5


class Own(fx.fluids.AbstractSpring):
    """The FENE law as a user would write it, all else by default."""

    def factor(self, square):
        return 1.0 / (1.0 - square / 7.0)

    @property
    def limit(self):
        return 7.0


class Stiffening(fx.fluids.AbstractSpring):
    def factor(self, square):
        return 1.0 + 0.1 * square


def test_own_spring():
    rng = np.random.default_rng(1)
    square, weight = jnp.asarray(10.0 ** rng.uniform(-4, 4, 1000)), jnp.asarray(0.03)
    np.testing.assert_allclose(Own().shorten(square, weight), FENE(7.0).shorten(square, weight), rtol=1e-7)
    # The identity ⟨f⊗z⟩ = I at rest holds for any law; the start is drawn from its own equilibrium.
    for spring in (Own(), FENE(7.0), Stiffening()):
        fiber = Dumbbell(spring, members=40_000)
        state = fiber.init(jnp.zeros((2, 2)), jax.random.key(0))
        for _ in range(2):
            z = np.asarray(state)
            terms = np.asarray(spring.factor(jnp.sum(state**2, axis=0))) * z * z
            error = terms.std(axis=1) / np.sqrt(z.shape[1])
            np.testing.assert_array_less(np.abs(terms.mean(axis=1) - 1.0), 4.0 * error)
            state = eqx.filter_jit(fiber.step)(state, jnp.zeros((2, 2)), 0.1, jax.random.key(3))
    found = fx.sample(Dumbbell(Stiffening(), members=100), shear(2.0), steps=1280)
    assert abs(float(found.value[1, 1]) - 1.0) < 4.0 * float(found.stderr[1, 1])


def test_equilibrium_of_fene_is_exact():
    z = np.asarray(FENE(9.0).sample(jax.random.key(0), 3, (40_000,), jnp.float64))
    u = np.sum(z**2, axis=0) / 9.0
    p, q = 1.5, 5.5  # of the Beta distribution
    mean, variance = p / (p + q), p * q / ((p + q) ** 2 * (p + q + 1))
    assert abs(u.mean() - mean) < 4.0 * np.sqrt(variance / 40_000)
    assert abs(u.var() - variance) < 4.0 * variance * np.sqrt(3.0 / 40_000)


def test_single_precision_gives_the_same_averages():
    kappa, fiber = shear(3.0), Dumbbell(FENE(20.0), members=200)
    double = fx.sample(fiber, kappa, steps=2560)
    single = fx.sample(Dumbbell(FENE(20.0), members=200, dtype=jnp.float32), kappa, steps=2560)
    assert single.value.dtype == jnp.float64
    np.testing.assert_allclose(single.value, double.value, rtol=1e-2)  # the same noise
    within(single, double.value)


@pytest.mark.parametrize(
    ("make", "words"),
    [(lambda: Dumbbell(dim=4), "dim must be 2 or 3"), (lambda: Dumbbell(members=0), "members must be"),
     (lambda: Dumbbell(De=0.0), "De must be positive"), (lambda: Dumbbell(noise="white"), "noise='white'"),
     (lambda: FENE(1.5), "b must be"), (lambda: fx.fluids.Homogeneous(jnp.zeros(3)), "kappa must be"),
     (lambda: fx.sample(Dumbbell(dim=3), jnp.zeros((2, 2)), dt=0.1), r"velocity gradient κ \(3, 3\)")],
)  # fmt: skip
def test_refusals(make, words):
    with pytest.raises(fx.BadInput, match=words):
        make()


def test_own_step_in_strong_extension():
    """N1 = 4946.989 at De·rate 50 and b = 50 (quadrature of the known density); with |κ| alone the step was 2.0 off, 17 errors.

    In shear the step is that of |κ| alone.
    """
    fiber = fx.fluids.Dumbbell(fx.fluids.FENE(50.0), dim=3, members=2000)
    kappa = 50.0 * jnp.diag(jnp.array([1.0, -0.5, -0.5]))
    first = lambda fiber, state, condition: jnp.sum(jnp.array([1.0, -0.5, -0.5]) * jnp.diag(fiber.link(state, condition)))
    found = fx.sample(fiber, kappa, steps=2500, replicas=4, link=first, key=jax.random.key(1))
    assert abs(float(found.value) - 4946.989) < 4.0 * float(found.stderr) < 0.6
    np.testing.assert_allclose(fiber.timestep(jnp.zeros((3, 3)).at[0, 1].set(3.0)), 0.2 / 4.0, rtol=1e-12)

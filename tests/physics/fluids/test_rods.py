"""Rods: on the sphere, the Fokker-Planck equation (6.2), weak order, linear viscosity, and where the isotropic state ends."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax.testing import observed_order

Rod, MaierSaupe, Onsager = fx.fluids.Rod, fx.fluids.MaierSaupe, fx.fluids.Onsager
KAPPA = np.array([[0.5, 1.2, -0.3], [0.1, -0.9, 0.7], [0.4, 0.0, 0.4]])
# All outcomes of three-point noise in three dimensions, as often as they are likely: 216 equal members.
OUTCOMES = np.sqrt(3.0) * np.array(list(itertools.product((-1, 0, 0, 0, 0, 1), repeat=3))).T


class Quartic(fx.fluids.AbstractMeanField):
    """A kernel of one's own, smooth."""

    def kernel(self, cosine):
        return -2.0 * cosine**4


def directions(members, seed=0):
    m = np.random.default_rng(seed).standard_normal((3, members))
    return m / np.linalg.norm(m, axis=0)


def functions(m):
    """Some functions on the sphere, polynomials of degree 1 to 4."""
    x, y, z = m
    return jnp.stack([x, y * z, x * x, x * y * z, x**2 * y**2, z**4 - x * y])


@pytest.mark.parametrize(
    ("potential", "energy"),
    [(MaierSaupe(2.5), lambda m, other: -1.5 * 2.5 * jnp.mean((m @ other) ** 2)),
     (Onsager(3.0), lambda m, other: 3.0 * jnp.mean(jnp.linalg.norm(jnp.cross(m, other.T), axis=1)))],
)  # fmt: skip
def test_force_is_the_gradient_of_its_energy(potential, energy):
    m = directions(9)
    found = np.asarray(potential.force(jnp.asarray(m)))
    for k in range(9):
        others = np.delete(m, k, axis=1)  # a rod does not turn itself
        exact = 8.0 / 9.0 * np.asarray(jax.grad(energy)(jnp.asarray(m[:, k]), jnp.asarray(others)))
        across = np.eye(3) - np.outer(m[:, k], m[:, k])
        np.testing.assert_allclose(across @ found[:, k], across @ exact, atol=1e-12)


def outcomes(fiber, m, dt, steps):
    """Members after `steps` equal steps from `m`, each with all outcomes of the noise, so that the mean field is exact."""
    state = np.asarray(m)
    for _ in range(steps):
        state, noise = np.repeat(state, 216, axis=1), np.tile(OUTCOMES, state.shape[1])
        state = fiber.advance(jnp.asarray(state), jnp.asarray(KAPPA), dt / steps, jnp.asarray(noise))
    return state


@pytest.mark.parametrize("potential", [None, MaierSaupe(2.5)])
def test_weak_order_is_two(potential):
    fiber, m = Rod(potential, De=0.8), directions(1)
    steps = np.array([0.01, 0.005, 0.0025])
    once = [np.asarray(functions(outcomes(fiber, m, dt, 1))).mean(axis=1) for dt in steps]
    twice = [np.asarray(functions(outcomes(fiber, m, dt, 2))).mean(axis=1) for dt in steps]
    for column in np.abs(np.subtract(once, twice)).T:
        assert observed_order(column, steps) > 2.8, column


@pytest.mark.parametrize("potential", [None, MaierSaupe(2.5), Quartic()])
def test_mended_dynamics_are_the_fokker_planck_equation(potential):
    """The generator of (6.2), (1/De)(𝓡² φ − (m×f)·𝓡φ) + (m×κm)·𝓡φ with 𝓡 = m×∇, against the mean growth of φ in short steps."""
    fiber, start, De = Rod(potential, De=0.8), directions(5), 0.8
    force = np.zeros((3, 5)) if potential is None else np.asarray(potential.force(jnp.asarray(start)))

    def generator(m, f):
        turn = lambda g: lambda x: jnp.cross(x, jax.jacfwd(g)(x))  # 𝓡 of functions with any leading axes
        first, second = turn(functions)(m), turn(turn(functions))(m)
        spin = jnp.cross(m, KAPPA @ m) - jnp.cross(m, f) / De
        return jnp.trace(second, axis1=-2, axis2=-1) / De + first @ spin

    exact = np.mean([generator(jnp.asarray(m), jnp.asarray(f)) for m, f in zip(start.T, force.T)], axis=0)
    before = np.asarray(functions(start)).mean(axis=1)
    growth = lambda dt: (np.asarray(functions(outcomes(fiber, start, dt, 1))).mean(axis=1) - before) / dt
    # Extrapolated twice to dt = 0.
    a, b, c = growth(2e-3), growth(1e-3), growth(5e-4)
    np.testing.assert_allclose((8.0 * c - 6.0 * b + a) / 3.0, exact, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("potential", [MaierSaupe(2.5), Quartic()])
def test_moment_equation(potential):
    """d⟨mm⟩/dt = κ⟨mm⟩ + ⟨mm⟩κᵀ − 2κ:⟨mmmm⟩ + (2/De)(I − 3⟨mm⟩) − (1/De)⟨(I − mm)f m + m f(I − mm)⟩, elastic stress in it."""
    De, m = 0.8, directions(7, seed=1)
    fiber = Rod(potential, De=De)
    tau = np.asarray(fiber.link(jnp.asarray(m), jnp.asarray(KAPPA)))
    fourth = np.einsum("im,jm,km,lm,kl->ij", m, m, m, m, KAPPA) / 7
    second = m @ m.T / 7
    elastic = tau - 0.5 * De * fourth  # 3⟨mm⟩ − I + ⟨(I − mm)f m⟩
    np.testing.assert_allclose(elastic, elastic.T, atol=1e-14)
    exact = KAPPA @ second + second @ KAPPA.T - 2.0 * fourth - 2.0 / De * elastic
    moment = lambda dt: (lambda s: np.asarray(s @ s.T) / s.shape[1])(outcomes(fiber, m, dt, 1))
    a, b, c = ((moment(dt) - second) / dt for dt in (2e-3, 1e-3, 5e-4))
    np.testing.assert_allclose((8.0 * c - 6.0 * b + a) / 3.0, exact, atol=2e-4)


@pytest.mark.parametrize("dt", [0.02, 5.0])
def test_rods_stay_on_the_sphere(dt):
    fiber = Rod(MaierSaupe(6.0), members=200)
    step, state = eqx.filter_jit(fiber.step), fiber.init(jnp.asarray(KAPPA), jax.random.key(0))
    for k in range(100):
        state = step(state, jnp.asarray(KAPPA), dt, jax.random.key(k))
    np.testing.assert_allclose(np.linalg.norm(state, axis=0), 1.0, atol=5e-16)


def test_dilute_viscosity():
    """τ_xy = (1/10 + 1/30) De γ for small γ: half the difference of two flows, driven by the same noise."""
    De, rate, members = 0.7, 0.05, 4000
    fiber = Rod(members=members, De=De)
    kappa = jnp.zeros((3, 3)).at[0, 1].set(rate)

    @jax.jit
    def run(key):
        def step(pair, key):
            pair = [fiber.step(m, sign * kappa, 0.02, key) for m, sign in zip(pair, (1.0, -1.0))]
            return pair, 0.5 * (fiber.link(pair[0], kappa) - fiber.link(pair[1], -kappa))[0, 1]

        m = fiber.init(kappa, key)
        return jax.lax.scan(step, [m, m], jax.random.split(key, 240))[1]

    found = np.array([np.asarray(run(jax.random.key(k)))[80:].mean() for k in range(6)]) / (De * rate)
    assert found.std(ddof=1) / np.sqrt(6) < 2e-3
    assert abs(found.mean() - 2.0 / 15.0) < 4.0 * found.std(ddof=1) / np.sqrt(6)
    # Frozen rods give the viscous part alone.
    viscous = fiber.link(fiber.init(kappa, jax.random.key(9)), kappa) - fiber.link(
        fiber.init(kappa, jax.random.key(9)), 0.0 * kappa
    )
    np.testing.assert_allclose(viscous[0, 1] / (De * rate), 1.0 / 30.0, rtol=0.1)


@pytest.mark.parametrize("N", [3.0, 5.0, 8.0])
def test_critical_intensity(N):
    """A small order s decays at the rate 6/De (1 − N/5): the elastic stress, which is −De/2 of d⟨mm⟩/dt, is 3(1 − N/5) s."""
    g = 0.5 * (1.0 + np.sqrt(5.0))  # the icosahedron has an isotropic fourth moment
    corners = np.array([[0, a, b * g] for a in (1, -1) for b in (1, -1)], float)
    m = np.concatenate([np.roll(corners, k, axis=1) for k in range(3)]).T * np.array([[1.0], [1.0], [1.0 + 1e-5]])
    m /= np.linalg.norm(m, axis=0)
    small = m @ m.T / 12 - np.eye(3) / 3
    found = np.asarray(Rod(MaierSaupe(N), members=12).link(jnp.asarray(m), jnp.zeros((3, 3))))
    np.testing.assert_allclose(found, 3.0 * (1.0 - N / 5.0) * small, atol=1e-9)
    assert small[2, 2] > 1e-6


def order(fiber, state, condition):
    """The largest eigenvalue of (3⟨mm⟩ − I)/2."""
    return 1.5 * jnp.linalg.eigvalsh(state @ state.T / state.shape[1])[-1] - 0.5


def nematic(N):
    """⟨P₂⟩ of the aligned Maier-Saupe state, from its self-consistency."""
    x, w = np.polynomial.legendre.leggauss(100)
    s = 0.9
    for _ in range(300):
        weight = w * np.exp(1.5 * N * s * x * x)
        s = (weight * (1.5 * x * x - 0.5)).sum() / weight.sum()
    return s


@pytest.mark.slow
def test_isotropic_state_is_lost():
    rest = jnp.zeros((3, 3))
    found = fx.sample(Rod(MaierSaupe(6.0), members=1000), rest, steps=384, replicas=2, link=order)
    # The ensemble is its own mean field: a bias of order 1/members.
    assert abs(float(found.value) - nematic(6.0)) < 4.0 * float(found.stderr) + 2.0 / 1000
    for potential, ordered in ((MaierSaupe(4.0), False), (Onsager(6.0), False), (Onsager(12.0), True)):
        found = fx.sample(Rod(potential, members=200), rest, steps=256, replicas=1, link=order, dt=0.03)
        assert (float(found.value) > 0.6) == ordered, (potential, found.value)
        assert ordered or float(found.value) < 0.3, (potential, found.value)


@pytest.mark.parametrize(
    ("make", "words"),
    [(lambda: Rod(members=-1), "members must be"), (lambda: Rod(De=-1.0), "De must be positive"),
     (lambda: MaierSaupe(-1.0), "intensity N must be"), (lambda: Onsager(np.inf), "intensity N must be"),
     (lambda: fx.sample(Rod(), jnp.zeros((2, 2)), dt=0.1), r"velocity gradient κ \(3, 3\)")],
)  # fmt: skip
def test_refusals(make, words):
    with pytest.raises(fx.BadInput, match=words):
        make()


@pytest.mark.slow
def test_expanded_kernels():
    """Moments give the forces of all pairs, exactly where the kernel is a polynomial; the series is that of the density."""
    m = jnp.asarray(directions(40))
    across = lambda f: np.asarray(f - m * jnp.sum(m * f, axis=0))
    for potential in (fx.fluids.Expanded(Quartic(), 4), fx.fluids.Expanded(Onsager(9.0), 12)):
        pairs = fx.fluids.AbstractMeanField.force(potential, m)
        np.testing.assert_allclose(across(potential.force(m)), across(pairs), atol=1e-12)
    np.testing.assert_allclose(across(fx.fluids.Expanded(Quartic(), 8).force(m)), across(Quartic().force(m)), atol=1e-12)
    x, w = np.polynomial.legendre.leggauss(2000)
    left = fx.fluids.Expanded(Onsager(1.0), 8).kernel(jnp.asarray(x)) - Onsager(1.0).kernel(jnp.asarray(x))
    for l in range(0, 11):  # nothing is left of degrees up to 8; that of degree 10 is
        part = abs(np.sum(w * np.asarray(left) * np.polynomial.legendre.legval(x, np.eye(11)[l])))
        assert part > 1e-3 if l == 10 else part < 1e-7, (l, part)
    with pytest.raises(fx.BadInput, match="even whole number"):
        fx.fluids.Expanded(Onsager(1.0), 5)


@pytest.mark.parametrize("potential", [MaierSaupe(2.5), fx.fluids.Expanded(Onsager(3.0), 4)])
def test_single_precision(potential):
    found = []
    for dtype in (jnp.float64, jnp.float32):
        fiber = Rod(potential, members=200, dtype=dtype)
        state = fiber.init(jnp.asarray(KAPPA), jax.random.key(0))
        step = eqx.filter_jit(fiber.step)
        for k in range(20):
            state = step(state, jnp.asarray(KAPPA), 0.01, jax.random.key(k))
        assert state.dtype == dtype
        np.testing.assert_allclose(np.sum(np.asarray(state) ** 2, axis=0), 1.0, atol=4e-7)
        found.append(fiber.link(state, jnp.asarray(KAPPA)))
    assert found[1].dtype == jnp.float64
    np.testing.assert_allclose(found[1], found[0], atol=1e-5)  # the same noise

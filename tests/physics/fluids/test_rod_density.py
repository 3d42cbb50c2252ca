"""Fokker-Planck rods against linear theory, the known phase diagram, and their own exact laws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm, solve_banded
from scipy.optimize import minimize_scalar
from scipy.spatial.transform import Rotation

import fiberax as fx
from fiberax.numerics.result import Result
from fiberax.physics.fluids.harmonics import quadrature
from fiberax.physics.fluids.potentials import MaierSaupe, Onsager
from fiberax.physics.fluids.rod_density import RodDensity
from fiberax.testing import check_fiber

STILL = jnp.zeros((3, 3))


def shear(rate):
    return STILL.at[0, 1].set(rate)


def random_flow(seed):
    kappa = np.random.default_rng(seed).normal(size=(3, 3))
    return kappa - np.trace(kappa) / 3 * np.eye(3)


def newton(fiber, condition, state):
    """A rest state; the directions of a nematic state at rest, all alike, stay as they are."""
    rate = jax.jit(lambda state: fiber.rate(state, condition))
    jacobian = jax.jit(jax.jacfwd(rate))
    for _ in range(20):
        if np.linalg.norm(rate(state)) < 1e-11:
            return state
        state = state - np.linalg.lstsq(jacobian(state), rate(state), rcond=1e-9)[0]
    raise AssertionError("no rest state was found")


@pytest.mark.parametrize("potential", [None, Onsager(7.0)], ids=["dilute", "crowded"])
def test_viscosity(potential):
    # 1/10 elastic and 1/30 viscous, whatever the intensity in the isotropic phase.
    fiber = RodDensity(potential, De=0.6, degree=6)
    state = newton(fiber, shear(1e-4), fiber.init(STILL, None))
    np.testing.assert_allclose(fiber.link(state, shear(1e-4))[0, 1], 2.0 / 15.0 * 0.6e-4, rtol=1e-6)


def test_start_up_of_a_weak_shear():
    """Elastic 1/10 and viscous 1/30 of De γ̇; the elastic part sets in at the rate 6 (1 − N/5)/De."""
    De, rate, dt, slow = 0.6, 1e-4, 0.01, 1.0 - 4.0 / 5.0
    fiber = RodDensity(MaierSaupe(4.0), De=De, degree=4)
    rods = fx.relax(fiber)
    step = lambda state, _: (rods.step(state, shear(rate), dt, jax.random.key(0)),) * 2
    states = jax.lax.scan(step, fiber.init(STILL, None), None, length=30)[1]
    stress = jax.vmap(lambda state: fiber.link(state, shear(rate)))(states)[:, 0, 1]
    grown = 1 - np.exp(-6 * slow / De * dt * np.arange(1, 31))
    np.testing.assert_allclose(stress, De * rate * (1 / 30 + grown / 10), rtol=1e-3)
    # At rest nothing but round-off is left for Newton's method to solve.
    assert np.all(np.abs(rods.step(fiber.init(STILL, None), STILL, dt, jax.random.key(0))) < 1e-14)


@pytest.mark.parametrize("potential", [MaierSaupe(7.0), Onsager(9.0)], ids=["MaierSaupe", "Onsager"])
def test_exact_law_of_the_second_moment(potential):
    """d⟨mm⟩/dt and τ by quadrature of the density itself, the force by quadrature of pairs, for any state and gradient."""
    fiber = RodDensity(potential, De=0.7, degree=8)
    kappa = random_flow(0)
    state = 0.05 * np.random.default_rng(1).normal(size=fiber.laplacian.size - 1)
    m, weight = quadrature(3, 34)
    basis = fiber.basis(m)
    psi, change = weight * (basis @ fiber.full(state)), weight * (basis[:, 1:] @ fiber.rate(state, kappa))
    if isinstance(potential, MaierSaupe):
        force = -3.0 * potential.N * m @ np.einsum("p,pi,pj->ij", psi, m, m)
    else:
        fine, dense = quadrature(3, 200)
        pair = np.asarray(potential.slope(jnp.asarray(m @ fine.T)))
        force = (pair * (dense * (fiber.basis(fine) @ fiber.full(state)))) @ fine
    across = force - m * np.sum(m * force, axis=1, keepdims=True)
    second, pulled = np.einsum("p,pi,pj->ij", psi, m, m), np.einsum("p,pi,pj->ij", psi, across, m)
    fourth = np.einsum("p,pi,pj->ij", psi * np.sum(m * (m @ kappa.T), axis=1), m, m)
    carried = kappa @ second + second @ kappa.T - 2 * fourth
    law = carried + (2 * (np.eye(3) - 3 * second) - pulled - pulled.T) / 0.7
    exact = 1e-9 if isinstance(potential, MaierSaupe) else 2e-4  # pairs have a kink where they are parallel
    np.testing.assert_allclose(np.einsum("p,pi,pj->ij", change, m, m), law, atol=exact)
    np.testing.assert_allclose(fiber.link(state, kappa), 3 * second - np.eye(3) + pulled + 0.35 * fourth, atol=exact)
    np.testing.assert_allclose([psi.sum(), change.sum()], [1.0, 0.0], atol=1e-11)


@pytest.mark.parametrize(("potential", "critical"), [(MaierSaupe, 5.0), (Onsager, 32.0 / np.pi)])
def test_isotropic_state_becomes_unstable(potential, critical):
    # 7.5 in the form −U⟨mm⟩:mm, U = (3/2) N.
    def jacobian(N):
        fiber = RodDensity(potential(N), degree=6)
        return jax.jacfwd(fiber.rate)(fiber.init(STILL, None), STILL)

    linear = jax.jit(jacobian)
    for sign in (-1, 1):
        assert np.sign(np.linalg.eigvals(linear(critical * (1 + sign * 1e-7))).real.max()) == sign


def test_nematic_branch_begins():
    """Rest states are ψ ∝ exp(r m_z²): the N that belongs to r has the minimum (2/3) 6.7314864."""
    free, crowded = RodDensity(degree=20), RodDensity(MaierSaupe(1.0), degree=20)
    m, weight = quadrature(3, 64)
    basis = free.basis(m)
    without, with_one = (jax.jit(lambda state, fiber=fiber: fiber.rate(state, STILL)) for fiber in (free, crowded))

    def intensity(r):
        psi = weight * np.exp(r * (m[:, 2] ** 2 - 1))
        state = (psi / psi.sum()) @ basis[:, 1:]
        spread = np.asarray(without(state))
        drawn = np.asarray(with_one(state)) - spread
        found = -spread @ drawn / (drawn @ drawn)
        assert np.linalg.norm(spread + found * drawn) < 1e-7
        return found

    least = minimize_scalar(intensity, bounds=(1.0, 3.0), method="bounded", options={"xatol": 1e-6})
    np.testing.assert_allclose(1.5 * least.fun, 6.7314864, rtol=1e-7)


@pytest.mark.parametrize("potential", [MaierSaupe(5.0), Onsager(9.0)], ids=["MaierSaupe", "Onsager"])
def test_nematic_state_is_boltzmann(potential):
    """ψ ∝ exp(−Φ), Φ by quadrature around each m, where the kernel depends on the polar angle alone."""
    m, weight = quadrature(3, 40)
    fine, dense = quadrature(3, 150)
    pair = dense * potential.kernel(jnp.asarray(fine[:, 2]))
    turns = [Rotation.random(random_state=seed).as_matrix() for seed in range(4)]

    def error(degree):
        fiber = RodDensity(potential, degree=degree)
        begin = np.exp(4 * m[:, 0] ** 2) * weight
        state = newton(fiber, STILL, jnp.asarray(begin / begin.sum() @ fiber.basis(m)[:, 1:]))
        assert (weight * fiber.density(state, m)) @ m[:, 0] ** 2 > 0.6
        field = np.array([pair @ fiber.density(state, fine @ turn.T) for turn in turns])
        return np.ptp(np.log(fiber.density(state, np.array([turn[:, 2] for turn in turns]))) + field)

    assert error(14) < 0.03 * error(8) < 0.01


@pytest.mark.parametrize(("N", "ordered"), [(6.0, True), (4.6, True), (3.0, False)])
def test_nematic_state_at_rest(N, ordered):
    """From a director the solve finds the order of Maier and Saupe, s = ⟨P₂⟩ of exp((3/2) N s x²), in that direction."""
    director = np.array([1.0, -2.0, 0.5])
    fiber = RodDensity(MaierSaupe(N), director=director)
    found = fx.response(fiber, STILL)
    assert int(found.result) == 0
    np.testing.assert_allclose(found.value, 0.0, atol=1e-11)
    x, w = np.polynomial.legendre.leggauss(60)
    order = lambda s: (w @ ((1.5 * x**2 - 0.5) * np.exp(1.5 * N * s * x**2))) / (w @ np.exp(1.5 * N * s * x**2))
    s = 1.0
    for _ in range(500):
        s = order(s)
    m, weight = quadrature(3, 40)
    second = np.einsum("p,pi,pj->ij", weight * fiber.density(found.state, m), m, m)
    n = director / np.linalg.norm(director)
    np.testing.assert_allclose(second, np.eye(3) / 3 + s * (np.outer(n, n) - np.eye(3) / 3), atol=1e-6)
    assert (s > 0.4) == ordered


@pytest.fixture(scope="module")
def rods():
    return RodDensity(MaierSaupe(3.0), De=0.8, degree=6)


def test_rotation(rods):
    kappa = 2 * random_flow(3)
    turn = expm(kappa - kappa.T)
    first, second = (fx.response(rods, k).value for k in (kappa, turn @ kappa @ turn.T))
    np.testing.assert_allclose(second, turn @ first @ turn.T, atol=1e-8)
    np.testing.assert_allclose(first, first.T, atol=1e-8)


def test_contract(rods):
    check_fiber(rods, shear(1.5) + 0.1)


def test_convergence_is_spectral():
    def at(degree):
        fiber = RodDensity(MaierSaupe(4.8), degree=degree)
        state = newton(fiber, shear(5.0), fiber.init(STILL, None))
        return float(fiber.link(state, shear(5.0))[0, 1])

    values = [at(degree) for degree in (6, 10, 14, 18)]
    errors = np.abs(np.array(values[:-1]) - values[-1])
    assert np.all(errors[1:] < 0.05 * errors[:-1]) and errors[-1] < 1e-7


def test_what_is_not_resolved_is_said():
    fiber, strong = RodDensity(De=100.0, degree=4), 10.0 * jnp.diag(jnp.array([1.0, -0.5, -0.5]))
    found = fx.response(fiber, strong)
    assert int(found.result) == Result.OUT_OF_RANGE
    assert float(fiber.stability_margin(found.state, strong)) < 0
    assert "degree 4" in fiber.explain(found.state, strong)


def test_truncation_is_said():
    """The estimate is within a factor of ten of the error against a large degree, and what is beyond 0.1 % is no success."""
    coarse, fine, kappa = RodDensity(degree=8), RodDensity(degree=16), shear(30.0)
    state = newton(coarse, kappa, coarse.init(STILL, None))
    truth = np.asarray(fine.link(newton(fine, kappa, fine.init(STILL, None)), kappa))
    error = np.abs(np.asarray(coarse.link(state, kappa)) - truth).max() / np.abs(truth).max()
    estimate = float(coarse.truncation(state))
    assert 1e-3 < error < 10.0 * estimate and estimate < 10.0 * error
    solve = jax.jit(lambda kappa: coarse.solver.solve(coarse, state, kappa, 1e-8)[1].result)
    assert int(solve(kappa)) == Result.TRUNCATED and int(solve(shear(5.0))) == Result.SUCCESS
    assert coarse.remedy(Result.TRUNCATED) == "a larger degree, up to 40"


@pytest.mark.parametrize("potential", [None, MaierSaupe(7.0)], ids=["dilute", "MaierSaupe"])
def test_jacobian(potential):
    """Whole for the mean field of Maier and Saupe, which has no harmonics above degree 4."""
    fiber, kappa = RodDensity(potential, De=0.7, degree=8), random_flow(1)
    state = 0.05 * np.random.default_rng(2).normal(size=fiber.laplacian.size - 1)
    truth = jax.jit(jax.jacfwd(fiber.rate))(jnp.asarray(state), kappa)
    np.testing.assert_allclose(fiber.jacobian(state, kappa), truth, atol=1e-11 * np.abs(truth).max())


@pytest.mark.parametrize("dt", [0.05, 20.0])
@pytest.mark.parametrize("potential", [None, MaierSaupe(4.0), Onsager(12.0)], ids=["dilute", "MaierSaupe", "Onsager"])
def test_stages_of_steps_are_solved(potential, dt):
    """rate(u) = shift (u − base), with the factors of one Jacobian or, where these do not do, with others."""
    fiber, kappa = RodDensity(potential, degree=8), shear(4.0)
    base = np.asarray(fiber.init(STILL, None)) + 0.01
    shift = 1.0 / (0.3 * dt)
    state, out = jax.jit(lambda base: fiber.solver.stage(fiber, base, kappa, base, shift, 1e-10))(jnp.asarray(base))
    left = np.asarray(fiber.rate(state, kappa)) - shift * (np.asarray(state) - base)
    scale = np.abs(fiber.laplacian[1:] * state).max() + shift * np.abs(base).max()
    assert int(out.result) == Result.SUCCESS and np.abs(left).max() < 1e-8 * scale


def tumbling_parameter(N, cells=4000):
    """λ of Ericksen and Leslie (N. Kuzuu, M. Doi, J. Phys. Soc. Japan 52 (1983) 3486), by differences in the polar angle θ.

    With ψ₀ ∝ exp((3/2) N s cos² θ) and ∇·(ψ₀ ∇(g cos φ)) = −ψ₀' cos φ the director follows a strain E with λ En,
    λ = −∫ψ₀ (g' sin θ cos 2θ + g cos θ) dθ / ∫ψ₀ (g'² sin θ + g²/sin θ) dθ.
    """
    x, w = np.polynomial.legendre.leggauss(60)
    s = 1.0
    for _ in range(500):
        boltzmann = w * np.exp(1.5 * N * s * x**2)
        s = (boltzmann @ (1.5 * x**2 - 0.5)) / boltzmann.sum()
    h, r = np.pi / cells, 1.5 * N * s
    edge, theta = h * np.arange(1, cells), h * (np.arange(cells) + 0.5)
    psi = lambda angle: np.exp(-r * np.sin(angle) ** 2)
    flow = np.sin(edge) * psi(edge) / h**2
    main = -(np.r_[flow, 0.0] + np.r_[0.0, flow]) - psi(theta) / np.sin(theta)
    right = 2.0 * r * psi(theta) * np.cos(theta) * np.sin(theta) ** 2
    g = solve_banded((1, 1), np.array([np.r_[0.0, flow], main, np.r_[flow, 0.0]]), right)
    slope = np.diff(g) / h
    turned = np.sum(psi(edge) * slope * np.sin(edge) * np.cos(2 * edge)) + np.sum(psi(theta) * g * np.cos(theta))
    return -turned / (np.sum(psi(edge) * slope**2 * np.sin(edge)) + np.sum(psi(theta) * g**2 / np.sin(theta)))


@pytest.mark.slow
def test_tumbling_period():
    """The strain of half a turn is 2π/√(1 − λ²) in slow shear, and grows with the square of the rate until tumbling ends."""
    fiber = RodDensity(MaierSaupe(8.0), director=(1.0, 0.0, 0.0))
    m, weight = quadrature(3, 40)
    basis = jnp.asarray(fiber.basis(m) * weight[:, None])

    def moment(fiber, state, condition):
        return jnp.einsum("p,pi,pj->ij", basis @ fiber.full(state), m, m)

    def strain(rate):
        bundle = fx.Bundle(fx.fluids.Homogeneous(shear(rate)[None]), fiber, link=moment)
        times = np.linspace(0.0, 34.0 / rate, 350)
        sol = fx.evolve(bundle, fx.Seamless(separation=np.inf), np.asarray(0.0), t1=times[-1], dt=0.07 / rate, saveat=times)
        M = np.asarray(sol.response)[:, 0]
        turns = -np.unwrap(np.arctan2(2.0 * M[:, 0, 1], M[:, 0, 0] - M[:, 1, 1])) / (2.0 * np.pi)
        assert np.abs(M[:, 2, :2]).max() < 1e-6  # it stays in the plane of the flow
        return rate * np.diff(np.interp([0.9, 1.9], turns, times))[0] if turns.max() > 1.9 else np.inf

    slow, middle, fast = (strain(rate) for rate in (2.5, 5.0, 20.0))
    limit = 2.0 * np.pi / np.sqrt(1.0 - tumbling_parameter(8.0) ** 2)
    np.testing.assert_allclose((4.0 * slow - middle) / 3.0, limit, rtol=1e-3)
    assert 1.005 < middle / limit < 1.01 and fast == np.inf


def test_no_advice_beyond_the_limit():
    last = RodDensity(degree=6)
    object.__setattr__(last, "degree", 40)
    assert "no degree is possible above 40" in last.remedy(Result.TRUNCATED)
    assert "No larger degree is possible" in last.explain(last.init(STILL, None), STILL)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: RodDensity("MaierSaupe"), "MaierSaupe\\(N\\)"),
        (lambda: RodDensity(degree=5), "even whole number"),
        (lambda: RodDensity(degree=60), "up to 40"),
        (lambda: RodDensity(De=-1.0), "De must be positive"),
        (lambda: RodDensity(director=(0.0, 0.0, 0.0)), "director must be three numbers"),
        (lambda: RodDensity(degree=4).init(jnp.zeros((2, 2)), None), r"\(3, 3\)"),
    ],
)
def test_bad_input(make, said):
    with pytest.raises(fx.BadInput, match=said):
        make()

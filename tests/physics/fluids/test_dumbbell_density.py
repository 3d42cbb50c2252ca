"""Fokker-Planck dumbbells against closed forms, a one-dimensional linear problem, and their own exact laws."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm
from scipy.special import gamma, gammainc

import fiberax as fx
from fiberax.numerics.result import Result
from fiberax.physics.fluids.dumbbell_density import DumbbellDensity, GaussianDensity, _weights
from fiberax.physics.fluids.springs import FENE, Hookean
from fiberax.testing import check_fiber


def shear(rate, dim=2):
    return jnp.zeros((dim, dim)).at[0, 1].set(rate)


def steady(fiber, condition):
    """Stress and state without `fx.response`, which compiles anew for every fiber."""
    state, out = fiber.solver.solve(fiber, fiber.rest, condition, 1e-10)
    return np.asarray(fiber.link(state, condition)), state, int(out.result)


@pytest.fixture(scope="module")
def plane():
    return DumbbellDensity(FENE(12.5), De=0.7, degree=20)


@pytest.fixture(scope="module")
def space():
    return DumbbellDensity(FENE(12.5), dim=3, De=0.7, degree=10)


@pytest.mark.parametrize("n", [0, 1, 3])
def test_weights_of_a_step_in_single_precision(n):
    """∫₀ˣ (s/x)ⁿ e^(−s) ds = γ(n + 1, x)/xⁿ; the factorials of its series are beyond the integers of single precision."""
    x = np.array([1e-3, 0.4, 0.99, 1.01, 5.0])
    with jax.enable_x64(False):
        found = [_weights(jnp.asarray(value))[n] for value in x]
        assert found[0].dtype == jnp.float32
    np.testing.assert_allclose(found, gammainc(n + 1.0, x) * gamma(n + 1.0) / x**n, rtol=2e-6)


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("b", [2.5, 10.0, 50.0])
def test_rest(b, dim):
    fiber = DumbbellDensity(FENE(b), dim=dim, degree=8)
    still = jnp.zeros((dim, dim))
    np.testing.assert_allclose(fiber.link(fiber.init(still, None), still), np.eye(dim), atol=1e-12)
    assert np.linalg.norm(fiber.rate(fiber.rest, still)) < 1e-10


@pytest.mark.parametrize("rate", [1.0, 10.0])
@pytest.mark.parametrize("b", [10.0, 50.0])
def test_transverse_stress_in_shear_is_one(b, rate):
    stress, _, result = steady(DumbbellDensity(FENE(b), De=2.0, degree=20), shear(0.5 * rate))
    assert result == Result.SUCCESS
    np.testing.assert_allclose(stress[1, 1], 1.0, rtol=1e-11)


def test_transverse_stresses_in_space(space):
    stress, _, _ = steady(space, shear(3.0, 3))
    np.testing.assert_allclose([stress[1, 1], stress[2, 2], stress[1, 2]], [1.0, 1.0, 0.0], atol=1e-11)


def test_planar_extension():
    # ψ ∝ (1 − s²)^{b/2} exp(De z·κz), by quadrature in Cartesian coordinates.
    b, De, rate = 10.0, 2.0, 0.35
    x, w = np.polynomial.legendre.leggauss(300)
    y = np.sqrt(b - b * x**2)[:, None] * x
    z = np.sqrt(b) * x[:, None]
    s = (z**2 + y**2) / b
    weight = np.outer(np.sqrt(b) * w, w) * np.sqrt(b - b * x**2)[:, None]
    psi = (1 - s) ** (b / 2) * np.exp(De * rate * (z**2 - y**2))
    total = np.sum(weight * psi)
    exact = [np.sum(weight * psi * q / (1 - s)) / total for q in (z**2, y**2)]
    fiber = DumbbellDensity(FENE(b), De=De, degree=32)  # values at points converge half as fast as stresses
    stress, state, _ = steady(fiber, jnp.diag(jnp.array([rate, -rate])))
    np.testing.assert_allclose(np.diag(stress), exact, rtol=1e-9)
    points = np.array([[0.0, 0.0], [2.5, 0.3], [0.4, -1.0], [4.0, 0.0]])
    s = np.sum(points**2, axis=1) / b
    closed = np.maximum(1 - s, 0) ** (b / 2) * np.exp(De * rate * (points[:, 0] ** 2 - points[:, 1] ** 2)) / total
    np.testing.assert_allclose(fiber.density(state, points), closed, atol=1e-7)


def test_uniaxial_extension():
    b, rate = 10.0, 0.5
    r, w = np.polynomial.legendre.leggauss(200)
    s, h = 0.5 * (1 + r)[:, None], r[None, :]
    psi = np.outer(w, w) * s**2 * (1 - s**2) ** (b / 2) * np.exp(b * rate * s**2 * (1.5 * h**2 - 0.5))
    along, across = (np.sum(psi * b * s**2 / (1 - s**2) * q) / psi.sum() for q in (h**2, 0.5 * (1 - h**2)))
    stress, _, _ = steady(DumbbellDensity(FENE(b), dim=3, degree=12), jnp.diag(rate * jnp.array([1.0, -0.5, -0.5])))
    np.testing.assert_allclose(np.diag(stress), [along, across, across], rtol=1e-6)


def test_convergence_is_spectral():
    def at(degree):
        return steady(DumbbellDensity(FENE(13.0), degree=degree), shear(5.0))[0][0, 1]

    exact = at(28)
    errors = [abs(at(degree) - exact) for degree in (8, 12, 16, 20)]
    assert all(new < 0.2 * old for old, new in itertools.pairwise(errors)), errors
    assert errors[-1] < 1e-5 * exact


@pytest.mark.parametrize("dim", [2, 3])
def test_zero_shear_viscosity(dim):
    # To first order a shear is half a strain, whose steady state is known: η = De ⟨z_y²⟩ at rest = De b/(b + d + 2).
    stress, _, _ = steady(DumbbellDensity(FENE(7.0), dim=dim, De=0.8, degree=12), shear(1e-4, dim))
    np.testing.assert_allclose(stress[0, 1], 1e-4 * 0.8 * 7.0 / (7.0 + dim + 2), rtol=1e-6)


def test_start_up_of_a_weak_shear(plane):
    """ψ = M (1 + γ̇ xy q(r, t)), q_t = h + (r⁵M q')'/(2 De r⁵ M) − h q/De: by finite volumes in r."""
    b, De, rate, cells, dt, steps = 12.5, 0.7, 1e-4, 1500, 0.02, 20
    r = np.sqrt(b) * (np.arange(cells) + 0.5) / cells
    edge = np.sqrt(b) * np.arange(1, cells) / cells
    weight = lambda r: r**5 * (1 - r**2 / b) ** (b / 2)
    h = 1 / (1 - r**2 / b)
    width = np.sqrt(b) / cells
    jump = weight(edge) / width**2 / (2 * De)
    upper, lower = jump / weight(r[:-1]), jump / weight(r[1:])
    matrix = np.diag(upper, 1) + np.diag(lower, -1) - np.diag(np.r_[upper, 0] + np.r_[0, lower] + h / De)
    rest = -np.linalg.solve(matrix, h)
    stress = weight(r) * h / (8 * np.sum(weight(r) / r**4))  # ⟨f_x y xy q⟩: the mean of (xy)²/r⁴ over angles is 1/8
    times = dt * np.arange(1, steps + 1)
    values, left, right = _modes(matrix, weight(r))
    exact = [stress @ rest - (stress @ right) @ (np.exp(values * t) * (left @ rest)) for t in times]
    dumbbells = fx.relax(plane)
    step = jax.jit(lambda state: dumbbells.step(state, shear(rate), dt / 4, jax.random.key(0)))
    state, found = plane.rest, []
    for _ in range(steps):
        for _ in range(4):
            state = step(state)
        found.append(float(plane.link(state, None)[0, 1]) / rate)
    np.testing.assert_allclose(found, exact, rtol=2e-4)


def _modes(matrix, weight):
    """Eigenvalues and left and right eigenvectors of a matrix that is symmetric in `weight`."""
    root = np.sqrt(weight)
    values, vectors = np.linalg.eigh(root[:, None] * matrix / root)
    return values, (vectors * root[:, None]).T, vectors / root[:, None]


@pytest.mark.parametrize("name", ["plane", "space"])
def test_exact_law_of_the_conformation(name, request):
    """d⟨zz⟩/dt = κ⟨zz⟩ + ⟨zz⟩κᵀ + (I − ⟨f⊗z⟩)/De for any state and gradient, moments by quadrature of the density itself."""
    fiber = request.getfixturevalue(name)
    dim, random = fiber.dim, np.random.default_rng(1)
    kappa = random.normal(size=(dim, dim))
    state = fiber.rest + 0.1 * random.normal(size=fiber.rest.shape)
    z, weight = np.asarray(fiber.grid.points), np.asarray(fiber.grid.weights)
    basis = fiber.basis(z)
    psi, change = basis @ fiber.full(state), basis[:, 1:] @ fiber.rate(state, kappa)
    second = lambda psi: np.einsum("p,pi,pj->ij", weight * psi, z, z)
    force = second(psi / (1 - np.sum(z**2, axis=1) / fiber.b))
    c = second(psi)
    np.testing.assert_allclose(second(change), kappa @ c + c @ kappa.T + (np.eye(dim) - force) / 0.7, atol=1e-9)
    np.testing.assert_allclose(fiber.link(state, kappa), force, atol=1e-10)
    np.testing.assert_allclose([weight @ psi, weight @ change], [1.0, 0.0], atol=1e-10)


@pytest.mark.parametrize("name", ["plane", "space"])
def test_rotation(name, request):
    fiber = request.getfixturevalue(name)
    random = np.random.default_rng(2)
    kappa = random.normal(size=(fiber.dim, fiber.dim))
    kappa -= np.trace(kappa) / fiber.dim * np.eye(fiber.dim)
    turn = expm(kappa - kappa.T)
    first, second = steady(fiber, kappa)[0], steady(fiber, turn @ kappa @ turn.T)[0]
    np.testing.assert_allclose(second, turn @ first @ turn.T, atol=1e-9)


def test_response_and_tangent(plane):
    check_fiber(plane, shear(2.0) + 0.1)
    condition = shear(2.0)
    found = fx.response(plane, condition, tangent=True)
    assert int(found.result) == Result.SUCCESS
    move = jnp.array([[0.3, -0.2], [0.5, 0.1]]) * 1e-4
    slope = (steady(plane, condition + move)[0] - steady(plane, condition - move)[0]) / 2
    np.testing.assert_allclose(jnp.tensordot(found.tangent, move, 2), slope, rtol=1e-6)


def test_what_is_not_resolved_is_said():
    fiber = DumbbellDensity(FENE(50.0), degree=12)
    strong = jnp.diag(jnp.array([3.0, -3.0]))
    _, state, result = steady(fiber, strong)
    assert result == Result.OUT_OF_RANGE
    assert float(fiber.stability_margin(state, strong)) < 0 < float(fiber.stability_margin(fiber.rest, strong))
    assert "degree 12" in fiber.explain(state, strong)


def test_gaussian():
    fiber, condition = GaussianDensity(De=0.5), shear(4.0)
    np.testing.assert_allclose(fx.response(fiber, condition).value, [[9.0, 2.0], [2.0, 1.0]], atol=1e-9)
    dumbbells = fx.relax(fiber)
    step = lambda state, _: (dumbbells.step(state, condition, 0.005, jax.random.key(0)), None)
    state = jax.lax.scan(step, fiber.init(condition, None), None, length=100)[0]
    np.testing.assert_allclose(state[0, 1], 2.0 * (1 - np.exp(-1.0)), rtol=1e-4)
    assert int(fx.response(fiber, jnp.diag(jnp.array([1.2, -1.2]))).result) == Result.OUT_OF_RANGE
    x = np.linspace(-14.0, 14.0, 141)
    points = np.stack(np.meshgrid(x, x), axis=-1).reshape(-1, 2)
    np.testing.assert_allclose(0.04 * np.sum(fiber.density(state, points)), 1.0, rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: DumbbellDensity(Hookean()), "GaussianDensity"),
        (lambda: DumbbellDensity(FENE(10.0), dim=4), "dim must be 2 or 3; it is 4"),
        (lambda: DumbbellDensity(FENE(10.0), degree=7), "even whole number"),
        (lambda: DumbbellDensity(FENE(10.0), dim=3, degree=40), "Lower degree"),
        (lambda: DumbbellDensity(FENE(10.0), De=0.0), "De must be positive"),
        (lambda: DumbbellDensity(FENE(10.0), degree=4).init(jnp.zeros((3, 3)), None), r"\(2, 2\)"),
        (lambda: DumbbellDensity(FENE(10.0), degree=4).density(jnp.zeros(8), np.zeros((2, 3))), "rows of 2"),
        (lambda: GaussianDensity(dim=1), "dim must be 2 or 3; it is 1"),
    ],
)
def test_bad_input(make, said):
    with pytest.raises(fx.BadInput, match=said):
        make()


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("De", [1e-4, 1.0, 50.0])
def test_conformations_are_followed_exactly(dim, De):
    """One long step is the exponential of the linear equation, and stays positive where implicit stages would not."""
    fiber, rng = GaussianDensity(dim, De), np.random.default_rng(dim)
    root, kappa = rng.standard_normal((2, dim, dim))
    kappa -= np.trace(kappa) / dim * np.eye(dim)
    eye, n = np.eye(dim), dim * dim
    whole = np.zeros((n + 1, n + 1))
    whole[:n, :n] = np.kron(kappa, eye) + np.kron(eye, kappa) - np.eye(n) / De
    whole[:n, n] = eye.ravel() / De
    step = jax.jit(lambda state, kappa, dt: fx.relax(fiber).step(state, kappa, dt, jax.random.key(0)))
    for dt in (1e-3, 0.3, 2.0):
        exact = (expm(whole * dt) @ np.append((root @ root.T).ravel(), 1.0))[:n].reshape(dim, dim)
        np.testing.assert_allclose(step(root @ root.T, kappa, dt), exact, atol=1e-9 * np.abs(exact).max())
    stretched = np.diag([1e4, 1e-4, 1.0][:dim])
    for flow, dt in ((0.0 * kappa, 4.0 * De), (kappa, 1.0)):  # longer: beyond double precision
        assert np.linalg.eigvalsh(step(stretched, flow, dt)).min() > 0.0

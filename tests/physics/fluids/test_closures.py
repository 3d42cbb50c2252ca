"""Closures against closed forms, scalar equations solved by scipy, and integration of the tensor equations in numpy."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

import fiberax as fx
from fiberax.numerics.result import Result
from fiberax.physics.fluids import FENECR, FENEP, PTT, GaussianDensity, Giesekus, RoliePoly

B, ALPHA, EPSILON, Z, BETA, DELTA, DE = 20.0, 0.3, 0.25, 7.0, 0.6, -0.4, 1.3
FIBERS = {
    "fene-p": lambda dim: FENEP(B, dim, DE),
    "fene-cr": lambda dim: FENECR(B, dim, DE),
    "ptt": lambda dim: PTT(EPSILON, dim, DE),
    "ptt-exp": lambda dim: PTT(EPSILON, dim, DE, exponential=True),
    "rolie-poly": lambda dim: RoliePoly(Z, dim, DE, BETA, DELTA),
    "giesekus": lambda dim: Giesekus(ALPHA, dim, DE),
}
SCALAR = [name for name in FIBERS if name != "giesekus"]
WI = np.array([0.1, 1.0, 10.0, 100.0])


def numbers(name, s, dim):
    """Coefficients of c and I of De dc/dt at tr c = s, written anew from the papers."""
    if name.startswith("fene"):
        f = 1.0 / (1.0 - s / B)
        return (f, 1.0) if name == "fene-p" else (f, f)
    if name.startswith("ptt"):
        Y = 1.0 + EPSILON * (s - dim) if name == "ptt" else np.exp(EPSILON * (s - dim))
        return Y, Y
    pull = 2.0 * 3.0 * Z * (1.0 - np.sqrt(dim / s))
    return 1.0 + pull * (1.0 + BETA * (s / dim) ** DELTA), 1.0 + pull * BETA * (s / dim) ** DELTA


def slope(name, c, kappa):
    """dc/dt in numpy."""
    unit, flow = np.eye(len(c)), kappa @ c + c @ kappa.T
    if name == "giesekus":
        return flow - ((c - unit) + ALPHA * (c - unit) @ (c - unit)) / DE
    a, g = numbers(name, np.trace(c), len(c))
    return flow - (a * c - g * unit) / DE


def stress(name, c):
    if name == "fene-p":
        return c / (1.0 - np.trace(c) / B)
    return np.eye(len(c)) + (c - np.eye(len(c))) / (1.0 - np.trace(c) / B) if name == "fene-cr" else c


def shear(rate, dim=3):
    kappa = np.zeros((dim, dim))
    kappa[0, 1] = rate
    return kappa


def exact_shear(name, wi):
    """τ_xy, N1 and N2 in steady shear, three dimensions."""
    real = lambda *p: max(r.real for r in np.roots(p) if abs(r.imag) < 1e-6 * abs(r))
    if name == "fene-p":  # Bird et al. (1987): a cubic for the factor of the spring
        f = real(B, -(B + 3.0), 0.0, -2.0 * wi**2)
        return wi / f, 2.0 * (wi / f) ** 2, 0.0
    if name == "fene-cr":  # a quadratic; the viscosity is constant
        f = (B + np.sqrt(B**2 + 8.0 * (B - 3.0) * wi**2)) / (2.0 * (B - 3.0))
        return wi, 2.0 * wi**2 / f, 0.0
    if name == "ptt":
        Y = real(1.0, -1.0, 0.0, -2.0 * EPSILON * wi**2)
        return wi / Y, 2.0 * (wi / Y) ** 2, 0.0
    if name == "ptt-exp":
        Y = np.exp(brentq(lambda y: y - 2.0 * EPSILON * wi**2 * np.exp(-2.0 * y), 0.0, 50.0, xtol=1e-14))
        return wi / Y, 2.0 * (wi / Y) ** 2, 0.0
    if name == "giesekus":  # Giesekus (1982)
        x = 16.0 * ALPHA * (1.0 - ALPHA) * wi**2
        chi = np.sqrt(2.0 * (np.sqrt(1.0 + x) - 1.0) / x)
        f = (1.0 - chi) / (1.0 + (1.0 - 2.0 * ALPHA) * chi)
        return wi * (1.0 - f) ** 2 / (1.0 + (1.0 - 2.0 * ALPHA) * f), 2.0 * f * (1.0 - ALPHA * f) / (ALPHA * (1.0 - f)), -f
    s = brentq(lambda s: sheared(name, s, wi)[2] - s, 3.0, 1e5, xtol=1e-13)
    return (*sheared(name, s, wi)[:2], 0.0)


def sheared(name, s, wi):
    """c_xy, c_xx − c_yy and the trace where the coefficients are those at tr c = s."""
    a, g = numbers(name, s, 3)
    yy = g / a
    xy = wi * yy / a
    return xy, 2.0 * wi * xy / a, 3.0 * yy + 2.0 * wi * xy / a


def exact_extension(name, rates):
    """Diagonal of τ at steady rates (dim,) of extension."""
    dim, x = len(rates), 2.0 * DE * rates
    if name == "giesekus":  # a quadratic for each entry
        p = (1.0 - 2.0 * ALPHA - x) / ALPHA
        return 0.5 * (-p + np.sqrt(p**2 + 4.0 * (1.0 - ALPHA) / ALPHA))

    def diagonal(s):
        a, g = numbers(name, s, dim)
        return g / (a - x) if a > x.max() else np.full(dim, np.inf)

    top = B * (1.0 - 1e-13) if name.startswith("fene") else 1e5 if name != "ptt-exp" else 2e3
    s = brentq(lambda s: np.clip(diagonal(s).sum(), 0.0, 1e9) - s, 0.9 * dim * (B / (B + dim)), top, xtol=1e-13, rtol=1e-14)
    return np.diag(stress(name, np.diag(diagonal(s))))


@pytest.fixture(scope="module", params=FIBERS)
def compiled(request):
    """A fluid in three dimensions, its steady states and its steps, each compiled once."""
    fiber = FIBERS[request.param](3)
    steady = jax.jit(jax.vmap(lambda kappa: (*fiber.steady(kappa), fiber.link(fiber.steady(kappa)[0], kappa))))
    return request.param, fiber, steady, jax.jit(lambda c, kappa, t: fiber.propagate(c, kappa, t))


def test_steady_flows(compiled):
    """Shear in closed form, or by one scalar equation; extension likewise; up to Wi = 100."""
    name, fiber, steady, _ = compiled
    strong = WI[:2] if name == "rolie-poly" else WI  # which has no steady extension from 1/τ_R on
    planar, uniaxial = np.array([1.0, -1.0, 0.0]), np.array([1.0, -0.5, -0.5])
    rates = [r * e / DE for e in (planar, uniaxial) for r in strong]
    kappa = np.array([shear(wi / DE) for wi in WI] + [np.diag(r) for r in rates])
    c, there, tau = map(np.asarray, steady(jnp.asarray(kappa)))
    assert there.all() and np.linalg.eigvalsh(c).min() > 0.0
    for k, wi in enumerate(WI):
        xy, first, second = exact_shear(name, wi)
        found = tau[k, 0, 1], tau[k, 0, 0] - tau[k, 1, 1], tau[k, 1, 1] - tau[k, 2, 2]
        np.testing.assert_allclose(found, (xy, first, second), rtol=1e-8, atol=1e-9)
    for k, r in enumerate(rates, len(WI)):
        np.testing.assert_allclose(np.diag(tau[k]), exact_extension(name, r), rtol=1e-7)
        np.testing.assert_allclose(
            np.asarray(fiber.rate(jnp.asarray(c[k]), kappa[k])), 0.0, atol=1e-7 * np.abs(r).max() * np.abs(c[k]).max()
        )


def test_start_up_and_steps(compiled):
    """Integration in numpy; steps of order 2, those of a Riccati equation exact; the link is that of the paper."""
    name, fiber, _, step = compiled
    kappa = shear(3.0) + np.diag([0.5, -0.2, -0.3])
    start, end = np.asarray(fiber.init(kappa, None)), 0.4
    truth = solve_ivp(
        lambda t, y: slope(name, y.reshape(3, 3), kappa).ravel(), (0.0, end), start.ravel(), "LSODA", rtol=1e-11, atol=1e-12
    ).y[:, -1].reshape(3, 3)  # fmt: skip
    errors = []
    for count in (4, 8):
        c = jnp.asarray(start)
        for _ in range(count):
            c = step(c, kappa, end / count)
        errors.append(np.abs(c - truth).max())
    if name == "giesekus":
        assert max(errors) < 1e-9
    else:
        assert 1e-7 < errors[1] < 5e-3 and 3.3 < errors[0] / errors[1] < 4.8
    np.testing.assert_allclose(fiber.link(jnp.asarray(truth), kappa), stress(name, truth), rtol=1e-12)


def test_positive_at_any_rate_and_step(compiled):
    """Eigenvalues stay above zero, springs below their reach, and a long step ends at the steady state."""
    name, _, steady, step = compiled
    stretched = np.diag([0.9 * B, 1e-3, 1e-2]) if name.startswith("fene") else np.diag([1e3, 1e-3, 1.0])
    for kappa in (shear(1e3), np.diag([50.0, -25.0, -25.0]), shear(1.0) - shear(1.0).T, -shear(4.0)):
        for t in (1e-9, 0.1, 20.0):
            c = np.asarray(step(jnp.asarray(stretched), jnp.asarray(kappa), t))
            values = np.linalg.eigvalsh(c)
            assert values[0] > -1e-13 * values[-1] and np.linalg.det(c / values[-1]) > -1e-25, (kappa, t, values)
            assert not name.startswith("fene") or np.trace(c) < B
    kappa = jnp.asarray(shear(5.0))
    rest = np.asarray(steady(kappa[None])[0][0])
    np.testing.assert_allclose(step(jnp.asarray(stretched), kappa, 300.0), rest, atol=1e-7 * rest.max())
    np.testing.assert_allclose(step(jnp.asarray(rest), kappa, 0.5), rest, atol=1e-8 * rest.max())


@pytest.mark.slow
@pytest.mark.parametrize("name", FIBERS)
def test_response_and_tangent(name):
    """`fx.response` finds what closed forms give; its tangent is their difference."""
    r = fx.response(FIBERS[name](3), jnp.asarray(shear(1.0 / DE)), tangent=True)
    assert int(r.result) == Result.SUCCESS
    assert float(r.value[0, 1]) == pytest.approx(exact_shear(name, 1.0)[0], rel=1e-9)
    change = (exact_shear(name, 1.0 + 1e-4)[0] - exact_shear(name, 1.0 - 1e-4)[0]) / 2e-4 * DE
    assert float(r.tangent[0, 1, 0, 1]) == pytest.approx(change, rel=1e-6)


def test_steps_are_differentiated():
    """Through the root for tr c, which a search finds that is not differentiated."""
    fiber, unit, half = FENEP(B, 2, DE), jnp.asarray(shear(1.0, 2)), jnp.asarray(0.5)
    end = jax.jit(lambda wi: fiber.propagate(fiber.init(unit, None), wi * unit, half)[0, 1])
    difference = float((end(2.0 + 1e-5) - end(2.0 - 1e-5)) / 2e-5)
    assert float(jax.jit(jax.jacrev(end))(2.0)) == pytest.approx(difference, rel=1e-7)


def test_no_steady_state_is_said():
    """Rolie-Poly in extension beyond 1/τ_R."""
    fiber = RoliePoly(5.0, 3, 1.0)
    there = jax.jit(jax.vmap(lambda kappa: fiber.steady(kappa)[1]))
    extension = np.diag([1.0, -0.5, -0.5])
    assert there(jnp.asarray([14.5 * extension, 15.5 * extension])).tolist() == [True, False]


def test_limits_are_the_oldroyd_b_fluid():
    """ε = 0, and b without bound."""
    kappa, c = jnp.asarray(shear(2.0, 2) + np.diag([0.3, -0.3])), jnp.asarray([[3.0, 0.4], [0.4, 0.5]])
    exact = np.asarray(GaussianDensity(2, DE).propagate(c, kappa, jnp.asarray(0.7)))
    for fiber, near in ((PTT(0.0, 2, DE), 1e-10), (FENEP(1e9, 2, DE), 1e-7)):
        np.testing.assert_allclose(eqx.filter_jit(fiber.propagate)(c, kappa, jnp.asarray(0.7)), exact, rtol=near)


def test_states_that_transport_would_spoil_are_replaced():
    keep, safe = FENEP(10.0, 2).mixing.limit, jnp.asarray(np.diag([6.0, 3.0]))
    fine = jnp.asarray([[6.5, 0.2], [0.2, 2.9]])
    for state, kept in ((fine, True), (jnp.asarray(np.diag([6.9, 3.0])), False), (jnp.asarray(np.diag([6.0, 0.2])), False)):
        np.testing.assert_array_equal(keep(state, safe), state if kept else safe)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: FENEP(0.0), "FENEP: b must be above 0"),
        (lambda: FENECR(3.0, 3), "FENECR: b must be above 3"),
        (lambda: PTT(-0.1), "PTT: epsilon must be at least 0"),
        (lambda: Giesekus(1.0), "Giesekus: alpha must be above 0 and below 1; it is 1.0"),
        (lambda: RoliePoly(beta=1.5), "RoliePoly: beta must be at least 0"),
        (lambda: RoliePoly(Z=0.0), "RoliePoly: Z must be above 0"),
        (lambda: FENEP(dim=4), "FENEP: dim must be 2 or 3; it is 4"),
        (lambda: Giesekus(De=-1.0), "Giesekus: De must be above 0"),
        (lambda: FENEP(dim=2).init(jnp.zeros((3, 3)), None), r"\(2, 2\)"),
    ],
)
def test_bad_input(make, said):
    with pytest.raises(fx.BadInput, match=said):
        make()

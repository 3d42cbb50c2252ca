"""What SUCCESS promises: every equation solved on its own scale, a minimum where there is an energy, a stable rest point."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq, root

import fiberax as fx
from fiberax.testing import CheckFailed, Decay, SharedLoad, check_fiber

Result = fx.Result


def stiff(ratio, start):
    """A fast and a slow component; the slow one solves U = b + b³ by itself."""
    rate = lambda u, c: jnp.stack([ratio * (c - u[0]), c - u[1] - u[1] ** 3])
    return fx.FlowFiber(rate, lambda c: jnp.asarray(start) + 0.0 * c, lambda u, c: u[1])


@pytest.mark.parametrize("start", [(0.0, 0.0), (0.0, 5.0)])
@pytest.mark.parametrize("ratio", [1e4, 1e8, 1e10])
@pytest.mark.parametrize("tolerance", [1e-3, 1e-5, 1e-8])
def test_fast_components_do_not_hide_slow_ones(ratio, start, tolerance):
    found = fx.response(stiff(ratio, start), 0.7, tolerance=tolerance)
    assert int(found.result) == 0
    np.testing.assert_allclose(found.value, 0.5413511, rtol=max(3.0 * tolerance, 1e-7))


def kinetics(y, feed=1.0):
    """Robertson's three reactions with a feed of the first substance and an outflow of all."""
    a, b, c = 0.04 * y[0], 1e4 * y[1] * y[2], 3e7 * y[1] ** 2
    return -a + b + 0.1 * (feed - y[0]), a - b - c - 0.1 * y[1], c - 0.1 * y[2]


def test_kinetics_of_robertson():
    fiber = fx.FlowFiber(lambda u, c: jnp.stack(kinetics(u, c)), lambda c: jnp.ones(3) + 0.0 * c, lambda u, c: u)
    # substitution makes the scipy problem well scaled: y1 in units of 1e-5
    scale = np.asarray([1.0, 1e-5, 1.0])
    exact = root(lambda y: np.asarray(kinetics(scale * y)), [0.8, 1.0, 0.2], tol=1e-13)
    assert exact.success
    for tolerance in (1e-6, 1e-8):
        found = fx.response(fiber, 1.0, tolerance=tolerance)
        assert int(found.result) == 0
        np.testing.assert_allclose(found.value, scale * exact.x, rtol=10.0 * tolerance)


@pytest.mark.parametrize("feed", [1.0, 0.01])
@pytest.mark.parametrize("start", [(1.0, 0.0, 0.0), (0.0, 0.0, 0.0)])
def test_a_start_without_the_fast_substance(start, feed):
    """The usual start of Robertson's problem: the line search meets a term that is absent there."""
    scale = np.asarray([1.0, 1e-5, 1.0])
    fiber = fx.FlowFiber(lambda u, c: jnp.stack(kinetics(u, c)), lambda c: jnp.asarray(start) + 0.0 * c, lambda u, c: u)
    exact = root(lambda y: np.asarray(kinetics(scale * y, feed)), [0.8 * feed, 1.0, 0.2 * feed], tol=1e-13)
    assert exact.success
    found = fx.responses(fiber, jnp.asarray([feed, feed]))
    assert not found.result.any()
    np.testing.assert_allclose(found.value, [scale * exact.x] * 2, rtol=1e-8)


def test_steps_from_zero_do_not_lead_back():
    """A correction with the factors at zero, where all stiffness is absent, leads from U back to about zero."""
    rate = lambda c, U: jnp.stack([U - c[0] - c[0] ** 3 + 0.1 * c[1], U - c[1] - c[1] ** 5 - 0.2 * c[0]])
    U = jnp.linspace(0.1, 3.0, 400)
    found = fx.responses(fx.FlowFiber(rate, lambda U: jnp.zeros(2), lambda c, U: c), U)
    assert not found.result.any()
    np.testing.assert_allclose(jax.vmap(rate)(found.value, U), 0.0, atol=1e-7)
    assert int(found.steps.max()) <= 5  # of Newton's method; 10 with such corrections


def chain(n, seed):
    """Rates of a random reversible chain of reactions over six decades; its columns sum to zero."""
    rng = np.random.default_rng(seed)
    rates = rng.random((n, n)) * 10.0 ** rng.uniform(-3, 3, (n, n))
    np.fill_diagonal(rates, 0.0)
    return rates - np.diag(rates.sum(axis=0))


@pytest.mark.parametrize("n", [2, 3, 6])
@pytest.mark.parametrize("seed", [2])
def test_a_conserved_sum_stays_that_of_the_start(n, seed):
    """The Jacobian is singular everywhere; the sum of the state picks one rest point of the line of them."""
    rates = chain(n, 10 * n + seed)
    values, vectors = np.linalg.eig(rates)
    exact = vectors[:, np.argmin(np.abs(values))].real
    fiber = fx.FlowFiber(lambda u, c: c * (rates @ u), lambda c: jnp.zeros(n).at[0].set(2.0) + 0.0 * c, lambda u, c: u)
    found = fx.responses(fiber, jnp.array([1.0, 0.3]))
    assert not np.any(found.result)
    np.testing.assert_allclose(found.value, np.tile(2.0 * exact / exact.sum(), (2, 1)), rtol=1e-6, atol=1e-9)


def test_two_conserved_sums_of_a_reaction():
    """A + B <-> C and B <-> D with U ab = c and 2b = d; a + c and b + c + d are those of the start."""

    def rate(y, U):
        first, second = U * y[0] * y[1] - y[2], 2.0 * y[1] - y[3]
        return jnp.stack([-first, -first - second, first, second])

    fiber = fx.FlowFiber(rate, lambda c: jnp.array([1.0, 0.5, 0.0, 0.1]) + 0.0 * c, lambda u, c: u)
    U = np.array([0.1, 1.0, 5.0])
    found = fx.responses(fiber, jnp.asarray(U))
    assert not np.any(found.result)
    for k, u in enumerate(U):  # with a = 1/(1 + Ub)
        b = brentq(lambda b, u=u: b + u * b / (1.0 + u * b) + 2.0 * b - 0.6, 0.0, 1.0)
        a = 1.0 / (1.0 + u * b)
        np.testing.assert_allclose(found.value[k], [a, b, u * a * b, 2.0 * b], rtol=1e-8)


def test_kinetics_of_robertson_without_a_feed_are_no_wrong_success():
    """All ends as the third substance, algebraically slowly: right, or a failure."""

    def rate(y, U):
        first, second = 0.04 * y[0] - 1e4 * y[1] * y[2], 3e7 * y[1] ** 2
        return U * jnp.stack([-first, first - second, second])

    found = fx.response(fx.FlowFiber(rate, lambda c: jnp.array([1.0, 0.0, 0.0]) + 0.0 * c, lambda u, c: u), 1.0)
    assert int(found.result) != 0 or np.allclose(found.value, [0.0, 0.0, 1.0], atol=1e-6)


@pytest.mark.parametrize("ratio", [1e9, 1e14])
def test_stiff_energies_are_minimal_in_every_unknown(ratio):
    fiber = fx.EnergyFiber(lambda u, c: ratio * (u[0] - c) ** 2 + (u[1] - 0.3) ** 2, lambda c: jnp.array([5.0, 7.0]) + 0.0 * c)
    found = fx.responses(fiber, jnp.array([1.0, 2.0]))
    assert not np.any(found.result)
    np.testing.assert_allclose(found.state, [[1.0, 0.3], [2.0, 0.3]], rtol=1e-8)


@pytest.mark.parametrize("start", [1e-3, 0.0])
def test_weak_saddles_beside_a_stiff_spring_are_left(start):
    """0.02 u = 400 u³."""
    fiber = fx.EnergyFiber(
        lambda u, c: 1e12 * (u[0] - c) ** 2 - 0.01 * u[1] ** 2 + 100.0 * u[1] ** 4, lambda c: jnp.array([0.0, start]) + 0.0 * c
    )
    found = fx.response(fiber, 1.0)
    assert int(found.result) == 0
    np.testing.assert_allclose(np.abs(found.state), [1.0, 5e-5**0.5], rtol=1e-7)


@pytest.mark.parametrize("tolerance", [1e-5, 1e-8, 1e-10])
def test_small_entries_are_solved_on_their_own_scale(tolerance):
    """A quadratic sink beside a variable of size one: each step halves the entry, far below the floor of the corrections."""
    rate = lambda u, k: {"radical": 1e-10 * u["source"] - k * u["radical"] ** 2, "source": 1.0 - u["source"]}
    fiber = fx.FlowFiber(rate, lambda k: {"radical": jnp.ones(()), "source": jnp.ones(())}, lambda u, k: u["radical"])
    k = jnp.asarray([1e16, 1e14, 1e12, 1e6, 1e2])
    found = fx.responses(fiber, k, tolerance=tolerance)
    assert not found.result.any()
    np.testing.assert_allclose(found.value, (1e-10 / k) ** 0.5, rtol=1e-3)


def test_roots_at_zero_of_any_order():
    """There no equation is ever solved on its own scale."""
    rate = lambda u, U: jnp.stack([-u[0] - u[0] ** 2, -(u[1] ** 2), -(u[2] ** 3), U - u[3]])
    found = fx.response(fx.FlowFiber(rate, lambda U: jnp.ones(4), lambda u, U: u), 2.0)
    assert int(found.result) == 0
    np.testing.assert_allclose(found.value, [0.0, 0.0, 0.0, 2.0], atol=1e-11)


def flow(rate, start=1.0):
    return fx.FlowFiber(rate, lambda c: start + 0.0 * c, lambda u, c: u)


def energy(function, start):
    return fx.EnergyFiber(function, lambda c: jnp.asarray(start) + 0.0 * c)


def saddle(n):
    """|u|²/2 but for one direction, along which it falls; the start is exactly on the saddle."""
    return energy(lambda u, c: 0.5 * jnp.sum(u[1:] ** 2) - 0.5 * u[0] ** 2 + 0.01 * c**2, np.zeros(n))


def weak(curvature, n, start=0.0):
    """A double well in u₀, of curvature −4 `curvature` at its top, beside springs from 2 to 2n; the start is on the ridge."""
    rest = start * (jnp.arange(n) > 0)
    return energy(lambda u, c: curvature * (u[0] ** 2 - 1.0) ** 2 + jnp.sum(jnp.arange(n)[1:] * u[1:] ** 2) + 0.0 * c, rest)


NO_REST = {
    "exponential": (flow(lambda u, c: jnp.exp(-u)), Result.RUNAWAY),
    "algebraic": (flow(lambda u, c: 1.0 / (1.0 + u**2)), Result.RUNAWAY),
    "algebraic from a singular start": (flow(lambda u, c: 1.0 / (1.0 + u**2), 0.0), Result.RUNAWAY),
    "energy": (energy(lambda u, c: jnp.exp(-u) + 0.0 * c, 1.0), Result.RUNAWAY),
    "exponential beside a spring": (energy(lambda u, c: jnp.exp(-u[0]) + (u[1] - c) ** 2, np.zeros(2)), Result.RUNAWAY),
    "arctan beside a spring": (energy(lambda u, c: jnp.arctan(u[0]) + (u[1] - c) ** 2, np.zeros(2)), Result.RUNAWAY),
    "algebraic beside a spring": (energy(lambda u, c: 1 / (1 + u[0] ** 2) + (u[1] - c) ** 2, np.ones(2)), Result.RUNAWAY),
    "fifth order beside a spring": (energy(lambda u, c: u[0] ** 5 + (u[1] - c) ** 2, np.ones(2)), Result.UNSTABLE),
    "monkey": (energy(lambda u, c: u[0] ** 3 - 3.0 * u[0] * u[1] ** 2 + 0.0 * c, np.zeros(2)), Result.UNSTABLE),
    "large saddle": (saddle(400), Result.UNSTABLE),
    "large saddle, solved at once": (
        energy(lambda u, c: jnp.sum((u[1:] - c) ** 2) + (u[0] ** 2 - 1.0) ** 2, np.zeros(400)),
        Result.UNSTABLE,
    ),
    "large monkey": (
        energy(lambda u, c: jnp.sum((u[2:] - c) ** 2) + u[0] ** 3 - 3.0 * u[0] * u[1] ** 2, np.zeros(400)),
        Result.UNSTABLE,
    ),
    "large weak saddle": (weak(1.0, 400), Result.UNSTABLE),
    "large weaker saddle, reached by the solve": (weak(1e-3, 1000, 1.0), Result.UNSTABLE),
    "large weak saddle beside an invariance": (
        energy(lambda u, c: jnp.sum((jnp.diff(u[1:]) - c) ** 2) + 0.01 * (u[0] ** 2 - 1.0) ** 2, np.zeros(400)),
        Result.UNSTABLE,
    ),
    "inflection": (energy(lambda u, c: u**3 + 0.0 * c, 1.0), Result.UNSTABLE),
    "flat inflection": (energy(lambda u, c: u**5 + 0.0 * c, 1.0), Result.UNSTABLE),
    "weak saddle of a large energy": (
        energy(lambda u, c: 1e6 + 1e-7 * (u[0] ** 2 - 1.0) ** 2 + u[1] ** 2 + 0.0 * c, [0.0, 1.0]),
        Result.UNSTABLE,  # the fall is lost in the round-off of the energy
    ),
}


@pytest.mark.parametrize("curvature, code", [(1e-6, 0), (1e-9, Result.UNSTABLE), (1e-11, Result.UNSTABLE)])
def test_weak_saddles_are_left_or_unstable(curvature, code):
    """Left down to 1e-9 of the largest curvature, and said down to its round-off, 1e-13."""
    found = fx.response(energy(lambda u, c: curvature * (u[0] ** 2 - 1.0) ** 2 + 100.0 * u[1] ** 2 + 0.0 * c, [0.0, 1.0]), 0.3)
    assert int(found.result) == code
    if code == 0:
        np.testing.assert_allclose(np.abs(found.state), [1.0, 0.0], atol=1e-6)


def test_newton_of_energies_says_where_there_is_no_minimum():
    """From starts at and near the top of a double well it stays there."""
    fiber = fx.EnergyFiber(lambda u, c: (u**2 - 1.0) ** 2 + 0.0 * c, lambda c: c)
    starts = np.array([0.0, 1e-9, 0.1, 0.9])
    fibers = fx.Fibers(fiber, fx.Quasistatic(solver=fx.Newton()), starts)
    answer = fibers.advance(fibers.begin(starts), starts)[1]
    np.testing.assert_array_equal(answer.result, [Result.UNSTABLE] * 3 + [0])


def test_degenerate_minima_beside_a_spring():
    found = fx.response(energy(lambda u, c: (u[0] - 0.5) ** 6 + (u[1] - c) ** 2, np.ones(2)), 0.3)
    assert int(found.result) == 0
    np.testing.assert_allclose(found.state, [0.5, 0.3], atol=5e-3)


def beam(n, load):
    """Deflections of a compressed beam with hinged ends; it buckles at a load of about π²."""
    h = 1.0 / (n + 1)

    def stored(u, c):
        w = jnp.concatenate([jnp.zeros(1), u, jnp.zeros(1)])
        slope, bend = jnp.diff(w) / h, (w[2:] - 2.0 * w[1:-1] + w[:-2]) / h**2
        return 0.5 * h * jnp.sum(bend**2) + load * h * jnp.sum(0.25 * slope**4 - 0.5 * slope**2) + 0.0 * c

    return energy(stored, np.zeros(n))


def test_a_beam_at_twice_its_critical_load_buckles():
    """From straight. Its curvatures are −1 and 1.6e7; the minimum of 50 unknowns has |u| = 0.27."""
    found = fx.response(beam(100, 20.0), 0.3)
    assert int(found.result) == 0
    np.testing.assert_allclose(jnp.max(jnp.abs(found.state)), 0.27, rtol=1e-3)


def test_flat_minima_are_minima():
    """Without curvature at the minimum, or with little of it where the start was stiff."""
    wall = energy(lambda u, c: u**-12.0 - u**-6.0 + 0.0 * c, 0.1)
    found = fx.response(wall, 0.3)
    assert int(found.result) == 0
    np.testing.assert_allclose(found.state, 2.0 ** (1 / 6), rtol=1e-7)
    assert int(fx.response(energy(lambda u, c: u**4 + 0.0 * c, 1.0), 0.3).result) == 0


@pytest.mark.parametrize("condition", [0.5, 1.0])
def test_constraints_in_single_precision(condition):
    """A normal of the constraint has no curvature but round-off, along which no step may go."""
    with jax.enable_x64(False):
        fiber = SharedLoad(jnp.asarray([1.0, 2.0, 5.0]))
        found = fx.response(fiber, np.float32(condition), tolerance=1e-3)
        assert found.value.dtype == jnp.float32
    assert int(found.result) == 0
    np.testing.assert_allclose(found.value, condition / (1.0 / 1.0 + 1.0 / 2.0 + 1.0 / 5.0) * 3.0, rtol=1e-5)


def test_a_large_invariance_is_no_saddle():
    chain = energy(lambda u, c: jnp.sum((u[1:] - u[:-1] - c) ** 2), np.zeros(400))
    found = fx.response(chain, 0.3)
    assert int(found.result) == 0
    np.testing.assert_allclose(jnp.diff(found.state), 0.3, rtol=1e-6)


@pytest.mark.parametrize("name", NO_REST)
def test_what_has_no_rest_is_no_success(name):
    fiber, code = NO_REST[name]
    found = fx.response(fiber, 0.3)
    assert int(found.result) == code, Result(int(found.result))


@pytest.mark.parametrize("name", ["exponential", "energy", "monkey", "inflection"])
def test_check_fiber_finds_them(name):
    with pytest.raises(CheckFailed, match="equilibrium is found"):
        check_fiber(NO_REST[name][0], 0.3)


def test_a_start_where_the_jacobian_is_singular():
    """As it is at the point of symmetry of U = v³; an equation that no unknown enters stays a failure."""
    found = fx.response(flow(lambda u, c: c - u**3, 0.0), 0.3)
    assert int(found.result) == 0
    np.testing.assert_allclose(found.value, 0.3 ** (1 / 3), rtol=1e-6)
    nowhere = flow(lambda u, c: jnp.stack([c - u[0], 0.0 * u[1] + 1.0]), jnp.zeros(2))
    assert int(fx.response(nowhere, 0.3).result) == Result.STALLED


SPIRAL = fx.FlowFiber(
    lambda u, c: jnp.stack([0.1 * (u[0] - c) - u[1], u[0] - c + 0.1 * u[1]]),
    lambda c: jnp.zeros(2) + 0.0 * c,
    lambda u, c: u[0],
)
UNSTABLE = {"repelled": flow(lambda u, c: u - c, 0.0), "spiral source": SPIRAL}
STABLE = {
    "attracted": flow(lambda u, c: c - u, 0.0),
    "centre": fx.FlowFiber(lambda u, c: jnp.stack([-u[1], u[0] - c]), lambda c: jnp.zeros(2) + 0.0 * c, lambda u, c: u[0]),
    "spiral sink": fx.FlowFiber(
        lambda u, c: jnp.stack([-0.1 * (u[0] - c) - u[1], u[0] - c - 0.1 * u[1]]),
        lambda c: jnp.zeros(2) + 0.0 * c,
        lambda u, c: u[0],
    ),
}


def run(fiber, **options):
    return fx.evolve(fx.Bundle(Decay(4), fiber), fx.Quasistatic(**options), jnp.linspace(0.5, 1.0, 4), t1=0.1, dt=0.05)


@pytest.mark.parametrize("name", UNSTABLE)
def test_unstable_rest_points(name):
    """Told once in a run, a failure where stability is asked for, and found by `check_fiber`."""
    fiber = UNSTABLE[name]
    with pytest.warns(fx.UnstableRestWarning, match="site 0, condition .* is unstable") as caught:
        sol = run(fiber)
    assert len(caught) == 1 and not sol.result.any()
    with pytest.raises(fx.FiberFailure, match="rest point that a relaxation leaves"):
        run(fiber, require_stable=True)
    fibers = fx.Fibers(fiber, fx.Quasistatic(require_stable=True), np.ones(2))
    np.testing.assert_array_equal(fibers.advance(fibers.begin(np.ones(2)), np.ones(2))[1].result, Result.UNSTABLE)
    with pytest.raises(CheckFailed, match="rest point is stable"):
        check_fiber(fiber, 0.7)


@pytest.mark.parametrize("name", STABLE)
def test_stable_rest_points(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not run(STABLE[name]).result.any() and not run(STABLE[name], require_stable=True).result.any()
    assert "rest point is stable" in check_fiber(STABLE[name], 0.7).checked


def symmetric(sign):
    """du/dt = sign J (u − U), J positive definite, with a solver that takes the Jacobian for symmetric."""

    class Own(fx.FlowFiber):
        @property
        def solver(self):
            return fx.Newton(symmetric=True)

    coupling = jnp.asarray([[1.0, 0.5], [0.5, 1.0]])
    return Own(lambda u, c: sign * coupling @ (u - c), lambda c: jnp.stack([c, c]) + 0.5, lambda u, c: u[0])


def test_rest_points_of_symmetric_flows_are_looked_at():
    with pytest.warns(fx.UnstableRestWarning, match="site 0, condition .* is unstable"):
        run(symmetric(1.0))
    fibers = fx.Fibers(symmetric(1.0), fx.Quasistatic(require_stable=True), np.ones(2))
    np.testing.assert_array_equal(fibers.advance(fibers.begin(np.ones(2)), np.ones(2))[1].result, Result.UNSTABLE)
    given = fx.FlowFiber(lambda u, c: u - c, lambda c: c + 0.5, lambda u, c: u)
    fibers = fx.Fibers(given, fx.Quasistatic(solver=fx.Newton(symmetric=True), require_stable=True), np.ones(2))
    np.testing.assert_array_equal(fibers.advance(fibers.begin(np.ones(2)), np.ones(2))[1].result, Result.UNSTABLE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not run(symmetric(-1.0)).result.any() and not run(symmetric(-1.0), require_stable=True).result.any()


class Liar(fx.Newton):
    """Says solved where nothing was done."""

    def solve(self, fiber, state, condition, tolerance):
        found, out = super().solve(fiber, state, condition, tolerance)
        return found.at[1].add(1e-3), out


class Wrong(fx.FlowFiber):
    @property
    def solver(self):
        return Liar()


def test_check_fiber_judges_each_equation():
    """A wrong slow component, which the norm of all rates does not show."""
    rate = stiff(1e8, (0.0, 0.0)).rate_function
    fiber = Wrong(rate, lambda c: jnp.zeros(2) + 0.0 * c, lambda u, c: u[1])
    with pytest.raises(CheckFailed, match="solved state is at rest"):
        check_fiber(fiber, 0.7)


@pytest.mark.parametrize(
    ("rate", "start", "U", "right"),
    [
        (lambda c, U: U - jnp.log(c), 1.0, -30.0, np.exp(-30.0)),  # on the way there c is small beside its start
        (lambda c, U: U - jnp.sqrt(c), 0.0, 0.5, 0.25),  # an infinite slope makes a Newton step of zero
        (lambda c, U: U - jnp.cbrt(c), 0.0, 0.5, 0.125),
        (lambda u, d: 2.0 * (5.0 - u) - jnp.tanh((u - 1.0) / d), 1.0, 1e-11, 4.5),  # begins at a kink of that width
    ],
)
def test_a_short_step_is_no_solution_where_the_residual_stays(rate, start, U, right):
    found = fx.response(fx.FlowFiber(rate, lambda U: jnp.asarray(start), lambda c, U: c), U)
    assert int(found.result) == 0
    np.testing.assert_allclose(found.value, right, rtol=1e-9)


def test_an_energy_that_begins_at_a_kink():
    fiber = fx.EnergyFiber(lambda u, d: (5.0 - u) ** 2 + jnp.sqrt((u - 1.0) ** 2 + d**2), lambda d: jnp.ones(()))
    found = fx.responses(fiber, np.array([1e-8, 1e-11, 1e-12]))
    np.testing.assert_array_equal(found.result, 0)
    np.testing.assert_allclose(found.state, 4.5, rtol=1e-9)


def test_no_root_is_no_success_however_far_the_start():
    fiber = fx.FlowFiber(lambda c, U: -(c**2 + U), lambda U: jnp.asarray(1e4), lambda c, U: c)
    assert not np.any(np.asarray(fx.responses(fiber, np.array([1e-9, 1e-6, 1e-3])).result) == 0)


def chain_of_reactions(spread):
    """Rates of a closed chain of six substances, over so many decades, and their equilibrium, by its products of ratios."""
    forth = np.geomspace(1.0, spread, 5)
    back = 2.0 * forth[::-1]
    rates = np.diag(np.r_[-forth, 0.0] - np.r_[0.0, back]) + np.diag(forth, -1) + np.diag(back, 1)
    right = np.r_[1.0, np.cumprod(forth / back)]
    return fx.FlowFiber(lambda c, U: jnp.asarray(rates) @ c, lambda U: jnp.eye(6)[5], lambda c, U: c), right / right.sum()


@pytest.mark.parametrize("spread", [1e3, 1e6, 1e12])
def test_a_chain_of_reactions_is_solved_or_no_success(spread):
    fiber, right = chain_of_reactions(spread)
    found = fx.response(fiber, 0.0)
    if spread < 1e12:
        assert int(found.result) == 0
        np.testing.assert_allclose(found.value, right, rtol=1e-6, atol=1e-12)
    else:  # round-off hides the slow reactions; an equilibrium there is, so that nothing runs away
        assert found.result not in (0, fx.Result.RUNAWAY)


@pytest.mark.parametrize("stiffness", [1e6, 1e9, 1e10, 1e12])
def test_soft_unknowns_behind_stiff_springs(stiffness):
    """The soft mode is a sum of unknowns, so that no units of theirs tell it; begun with the spring stretched and at rest."""
    pair = energy(lambda u, U: 0.5 * stiffness * (u[0] - u[1]) ** 2 + 0.5 * (u[1] - U) ** 2, np.array([0.0, 5.0]))
    row = energy(lambda u, U: 0.5 * stiffness * jnp.sum(jnp.diff(u) ** 2) + 0.25 * (u[0] - U) ** 4 + u[0], np.full(4, 5.0))
    for fiber, right in ((pair, 0.7), (row, -0.3)):  # (u - U)³ = -1
        found = fx.response(fiber, 0.7)
        assert int(found.result) == 0 or (fiber is row and stiffness > 1e10)  # curvatures of 1e-12 are hardly resolved
        if int(found.result) == 0:
            np.testing.assert_allclose(found.state, right, rtol=1e-8)


def test_modes_that_round_off_hides_are_no_success():
    pair = energy(lambda u, U: 0.5e15 * (u[0] - u[1]) ** 2 + 0.5 * (u[1] - U) ** 2, np.array([0.0, 5.0]))
    assert int(fx.response(pair, 0.7).result) == fx.Result.STALLED

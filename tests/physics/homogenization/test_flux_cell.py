"""Nonlinear flux laws against closed forms and against the linear cell problem."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

import fiberax as fx
from fiberax.cases.homogenization.microstructure import gaussian_level_set
from fiberax.core.errors import BadInput
from fiberax.physics.homogenization import Cell, FiniteDifference, FiniteElement, FluxCell, Spectral

ALL = [Spectral(), FiniteElement(), FiniteDifference()]
discretisations = pytest.mark.parametrize("discretisation", ALL, ids=lambda d: type(d).__name__)
PI = jnp.pi


def skew_tensor(U, z):
    s, c = jnp.sin(2 * PI * z[0]), jnp.cos(2 * PI * (z[1] + z[0]))
    return U * jnp.array([[2 + s, 0.7 * c + 0.9], [-0.5 * s + 0.3 * c, 1.5 + 0.5 * c]])


def power_law(U, g, z):
    """Degenerates at g = 0 up to a small linear part."""
    return (1.0 + 0.9 * jnp.sin(2 * PI * z[0])) * (g @ g) * g + 1e-3 * g


@eqx.filter_jit
def solved(cell, condition, tolerance=1e-11):
    state, out = cell.solver.solve(cell, cell.init(condition, None), condition, tolerance)
    return cell.link(state, condition), out, cell.rate(state, condition)


@pytest.mark.parametrize(("discretisation", "symmetric"), [(Spectral(), None), (FiniteElement(), False)])
def test_a_linear_law_is_the_linear_cell(discretisation, symmetric):
    G = jnp.array([0.7, -1.2])
    linear = Cell(skew_tensor, (12, 12), discretisation, symmetric=False)
    chi, _ = eqx.filter_jit(linear.solver.solve)(linear, jnp.zeros((2, 12, 12)), 2.0, 1e-12)
    cell = FluxCell(lambda U, g, z: skew_tensor(U, z) @ g, (12, 12), discretisation, symmetric=symmetric)
    value, out, rate = solved(cell, (2.0, G))
    assert int(out.result) == fx.Result.SUCCESS
    assert np.allclose(value, linear.link(chi, 2.0) @ G, rtol=1e-10)
    assert float(jnp.abs(rate).max()) < 1e-7


@discretisations
def test_power_law_in_one_dimension(discretisation):
    """The flux Q is the same everywhere: ⟨g(z; Q)⟩ = G with q(g(z; Q), z) = Q."""
    a = 1 + 0.9 * np.sin(2 * np.pi * discretisation.points((512,))[:, 0])

    def gradient(Q):
        g = np.cbrt(Q / a)
        for _ in range(60):
            g = g - (a * g**3 + 1e-3 * g - Q) / (3 * a * g**2 + 1e-3)
        return g.mean()

    for G in (2.0, 0.05):
        expected = scipy.optimize.brentq(lambda Q, G=G: gradient(Q) - G, 1e-9, 100.0, xtol=1e-14)
        value, out, _ = solved(FluxCell(power_law, (512,), discretisation), (0.0, jnp.array([G])))
        assert int(out.result) == fx.Result.SUCCESS
        assert np.allclose(value, expected, rtol=1e-9)


def test_layers_of_a_power_law_at_right_angles():
    """Gradient along the layers: no corrector, the arithmetic mean."""
    discretisation = FiniteElement()
    cell = FluxCell(power_law, (8, 6), discretisation, symmetric=True)
    value, out, _ = solved(cell, (0.0, jnp.array([0.0, 2.0])))
    a = 1 + 0.9 * np.sin(2 * np.pi * discretisation.points((8,))[:, 0])
    assert int(out.result) == fx.Result.SUCCESS
    assert np.allclose(value, [0.0, 8.0 * a.mean() + 2e-3], atol=1e-9)


def test_degenerate_law_from_a_far_start():
    def q(U, g, z):
        return (1 + 0.9 * jnp.sin(2 * PI * z[0]) * jnp.cos(2 * PI * z[1])) * (g @ g) * g + 1e-3 * g

    cell = FluxCell(q, (16, 16), symmetric=True)
    condition = (0.0, jnp.array([1.0, 0.3]))
    solve = eqx.filter_jit(lambda state: cell.solver.solve(cell, state, condition, 1e-10))
    near, out = solve(cell.init(condition, None))
    rough = 0.3 * jax.random.normal(jax.random.key(0), (16, 16))
    far, hard = solve(rough)
    assert int(out.result) == int(hard.result) == fx.Result.SUCCESS
    assert int(out.steps) <= 8 < int(hard.steps)
    assert np.allclose(cell.link(near, condition), cell.link(far, condition), rtol=1e-8)


def test_zero_gradient_has_zero_flux():
    value, out, _ = solved(FluxCell(power_law, (8, 6), FiniteElement(), symmetric=True), (0.0, jnp.zeros(2)))
    assert int(out.result) == fx.Result.SUCCESS and np.all(value == 0.0)


@pytest.mark.parametrize("symmetric", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_tangent_against_differences(symmetric):
    def q(U, g, z):
        turn = 0.0 if symmetric else jnp.array([-g[1], g[0]]) * jnp.sin(2 * PI * z[1])
        return U * (1.5 + jnp.sin(2 * PI * z[0])) * (1 + g @ g) * g + turn

    cell = FluxCell(q, (8, 8), FiniteElement(), symmetric=symmetric)
    G, h = jnp.array([0.4, 0.8]), 1e-5
    by_value, by_gradient = fx.response(cell, (1.3, G), tangent=True).tangent

    def mean_flux(U, G):
        return np.asarray(solved(cell, (jnp.asarray(U), G))[0])

    expected = np.stack([(mean_flux(1.3, G + h * e) - mean_flux(1.3, G - h * e)) / (2 * h) for e in jnp.eye(2)], axis=1)
    assert np.allclose(by_gradient, expected, rtol=1e-6)
    assert np.allclose(by_value, (mean_flux(1.3 + h, G) - mean_flux(1.3 - h, G)) / (2 * h), rtol=1e-6)
    assert (abs(expected[0, 1] - expected[1, 0]) < 1e-6) == bool(symmetric)


def test_failures_are_told():
    cell = FluxCell(lambda U, g, z: U * jnp.exp(z[0]) * g, (8,))
    _, out, _ = solved(cell, (jnp.nan, jnp.ones(1)))
    assert int(out.result) == fx.Result.NONFINITE
    cell = FluxCell(power_law, (32,), max_steps=1)
    state, out = cell.solver.solve(cell, jnp.zeros(32), (0.0, jnp.ones(1)), 1e-12)
    assert int(out.result) == fx.Result.MAX_STEPS and np.all(np.isfinite(state))
    with pytest.raises(BadInput, match=r"A flux \(2,\) of real numbers is needed"):
        FluxCell(lambda U, g, z: g @ g, (4, 4)).link(jnp.zeros((4, 4)), (0.0, jnp.ones(2)))
    with pytest.raises(BadInput, match="shape"):
        FluxCell(power_law, (0,))
    with pytest.raises(BadInput, match="Spectral"):
        FluxCell(power_law, (4,), "fem")


def layered(z):
    return 1.0 + 0.5 * jnp.sin(2 * PI * z[0])


SIZE = jnp.linalg.norm  # its derivative at zero is NaN
DEGENERATE = {  # the law, and dQ/dG at G = 0 along and across the layers
    "cubic": (lambda U, g, z: layered(z) * (g @ g) * g, (0.0, 0.0)),
    "root": (lambda U, g, z: layered(z) * SIZE(g) ** 0.5 * g, (0.0, 0.0)),
    "Forchheimer": (lambda U, g, z: 2.0 * g / (1.0 + jnp.sqrt(1.0 + 4.0 * layered(z) * SIZE(g))), (1.0, 1.0)),
    "saturation": (lambda U, g, z: layered(z) * g / (1.0 + SIZE(g)), (np.sqrt(0.75), 1.0)),
    "kink": (lambda U, g, z: layered(z) * jnp.maximum(1.0, SIZE(g)) * g, (np.sqrt(0.75), 1.0)),
}


@pytest.mark.parametrize(
    "name, discretisation",
    [
        *(pytest.param(name, Spectral(), marks=() if name in ("cubic", "kink") else pytest.mark.slow) for name in DEGENERATE),
        ("cubic", FiniteElement()),
    ],
    ids=str,
)
def test_laws_without_a_derivative_at_zero(name, discretisation):
    law, slope = DEGENERATE[name]
    cell = FluxCell(law, (32, 4), discretisation)
    found = fx.responses(cell, (jnp.zeros(2), jnp.array([[0.0, 0.0], [0.3, -0.2]])), tolerance=1e-10, tangent=True)
    assert found.result.tolist() == [0, 0] and np.all(np.asarray(found.value[0]) == 0.0)
    tangent = np.asarray(jax.tree.leaves(found.tangent)[1])
    smooth = 2e-3 if isinstance(discretisation, FiniteElement) else 1e-9  # the exact value is of the continuous layers
    np.testing.assert_allclose(tangent[0], np.diag(slope), rtol=smooth, atol=1e-5)
    h = 1e-5
    beside = [fx.response(cell, (0.0, jnp.array([0.3 + s * h, -0.2])), tolerance=1e-11).value for s in (1, -1)]
    np.testing.assert_allclose(
        tangent[1][:, 0], (np.asarray(beside[0]) - np.asarray(beside[1])) / (2 * h), rtol=1e-6, atol=1e-9
    )


@pytest.mark.parametrize("name", ["cubic", pytest.param("root", marks=pytest.mark.slow)])
def test_a_steady_state_from_a_constant_start(name):
    """Uniform along the bar: U rises linearly whatever the law."""
    grid = fx.grids.Box((0.0,), (1.0,), cells=(8,), periodic=False)
    ends = (fx.homogenization.Dirichlet(0.0), fx.homogenization.Dirichlet(1.0))
    macro = fx.homogenization.FluxDiffusion(grid, boundary=(ends,))
    sol = fx.steady(fx.Bundle(macro, FluxCell(DEGENERATE[name][0], (8,))), fx.Quasistatic(1e-9), jnp.zeros(8))
    np.testing.assert_allclose(sol.macro[-1], grid.centres[:, 0], atol=1e-7)


class TestImages:
    labels = (np.random.default_rng(3).random((8, 6)) < 0.4).astype(int)
    tensor = jnp.array([[2.0, 0.4], [0.4, 0.7]])

    @pytest.mark.parametrize("discretisation", [None, FiniteDifference()], ids=str)
    def test_linear_laws_are_the_linear_cell(self, discretisation):
        laws = {0: lambda U, g: (1.0 + U) * g, 1: lambda U, g: self.tensor @ g}
        cell = FluxCell.from_image(self.labels, laws, discretisation, symmetric=True)
        linear = Cell.from_image(self.labels, {0: 1.5, 1: self.tensor}, discretisation or FiniteElement())
        G = jnp.array([0.7, -0.4])
        found = fx.response(cell, (0.5, G), tolerance=1e-10)
        np.testing.assert_allclose(found.value, fx.response(linear, 0.0, tolerance=1e-10).value @ G, rtol=1e-9)

    def test_a_phase_that_does_not_conduct(self):
        laws = {0: lambda U, g: (g @ g) * g, 1: lambda U, g: 0.0 * g}
        cell = FluxCell.from_image(np.array([[0, 0, 1], [0, 0, 1]]), laws)
        found = fx.response(cell, (0.0, jnp.array([0.5, 0.0])), tolerance=1e-9)
        assert int(found.result) == 0
        np.testing.assert_allclose(found.value, [0.125 * 2 / 3, 0.0], atol=1e-8)

    def test_labels_without_a_law(self):
        with pytest.raises(BadInput, match=r"no law for label 1\. Laws were given for \[0\]"):
            FluxCell.from_image(self.labels, {0: lambda U, g: g})


@pytest.mark.parametrize("discretisation", ALL, ids=lambda d: type(d).__name__)
def test_the_preconditioner_of_a_constant_tensor_is_its_inverse(discretisation):
    """Off the diagonal, too: without these entries the solution is the same, after more iterations."""
    tensor = jnp.array([[2.0, 0.8], [0.8, 1.0]])
    cell = FluxCell(lambda U, g, z: tensor @ g, (6, 5), discretisation)
    system = cell._problem(jnp.zeros((6, 5)), (0.0, jnp.ones(2))).system
    u = jax.random.normal(jax.random.key(0), (6, 5))
    u = u - discretisation.unseen(u, 2)
    assert np.allclose(system.precondition(system.apply(u[None]))[0], u, atol=1e-10)


@pytest.mark.slow
def test_a_flux_that_cannot_pass_is_solved():
    """Pores that lead through along x alone: along y the flux is zero, and no residual is small beside it."""
    labels = np.asarray(gaussian_level_set(2, (24, 24), fraction=0.52)).astype(int)
    assert fx.homogenization.percolation(labels == 1).axes == (True, False)
    laws = {0: lambda U, g: 0.0 * g, 1: lambda U, g: (1.0 + jnp.sum(g * g)) * g}
    cell = fx.homogenization.FluxCell.from_image(labels, laws, FiniteDifference(), symmetric=True)
    found = fx.response(cell, (0.0, jnp.array([0.0, 1.0])))
    assert int(found.result) == 0
    np.testing.assert_allclose(found.value, 0.0, atol=1e-9)


def test_laws_come_in_a_list_and_are_functions():
    labels, laws = np.eye(4, dtype=int), [lambda U, g: g, lambda U, g: 3.0 * g]
    listed, named = (FluxCell.from_image(labels, given) for given in (laws, dict(enumerate(laws))))
    at = (0.0, jnp.array([1.0, 0.5]))
    np.testing.assert_array_equal(fx.response(listed, at).value, fx.response(named, at).value)
    with pytest.raises(BadInput, match=r"the law of label 1 is 3\.0\. Give a function"):
        FluxCell.from_image(labels, {0: laws[0], 1: 3.0})


@pytest.mark.parametrize(
    ("law", "words"),
    [
        (lambda U, g: g @ g, r"of label 7 gives float\d+ numbers of the shape \(\)\. A flux \(2,\) of real numbers"),
        (lambda U, g: jnp.ones(3), r"of the shape \(3,\)\. A flux \(2,\)"),
        (lambda U, g: 1j * g, r"gives complex\d+ numbers of the shape \(2,\)"),
        (lambda U, g: g > 0, "gives bool numbers"),
        (lambda U: U, r"of label 7 cannot be called with a gradient \(2,\).*positional argument"),
        (lambda U, g: None, "of label 7 cannot be called with .*, or gives no array"),
    ],
)
def test_a_law_of_another_shape_is_one_message(law, words):
    labels = np.array([[3, 3, 7], [3, 7, 7]])
    with pytest.raises(BadInput, match=words):
        fx.response(FluxCell.from_image(labels, {3: lambda U, g: g, 7: law}), (0.0, jnp.ones(2)))
    if law.__code__.co_argcount == 2:
        with pytest.raises(BadInput, match=words.replace("of label 7 ", "")):
            fx.response(FluxCell(lambda U, g, z: law(U, g), (4, 4)), (0.0, jnp.ones(2)))


def test_a_law_may_give_a_list_of_numbers():
    cell = FluxCell(lambda U, g, z: [(2.0 + jnp.reshape(U, ())) * g[0], g[1]], (4, 4))  # U is a number
    assert np.allclose(fx.response(cell, (0.0, jnp.ones(2))).value, [2.0, 1.0])
    with pytest.raises(BadInput, match=r"A list of 2 laws is for the labels 0 to 1 in this order.*\{3: \.\.\., 7: \.\.\.\}"):
        FluxCell.from_image(np.array([[3, 7]]), [lambda U, g: g] * 2)

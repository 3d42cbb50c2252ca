"""The linear cell problem against what is known exactly."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax.core.errors import BadInput
from fiberax.physics.homogenization import Cell, FiniteDifference, FiniteElement, Spectral

ALL = [Spectral(), FiniteElement(), FiniteDifference()]
discretisations = pytest.mark.parametrize("discretisation", ALL, ids=lambda d: type(d).__name__)
PI = jnp.pi


@eqx.filter_jit
def solved(cell, U, tolerance=1e-11):
    """A(U) and the outcome, by the cell alone."""
    state, out = cell.solve(U, cell.init(U, None), tolerance)
    return cell.link(state, U), out


def effective(cell, U=0.0):
    value, out = solved(cell, U)
    assert int(out.result) == fx.Result.SUCCESS
    return np.asarray(value)


def skew_tensor(U, z):
    """Smooth and far from symmetric."""
    s, c = jnp.sin(2 * PI * z[0]), jnp.cos(2 * PI * (z[1] + z[0]))
    return jnp.array([[2 + s, 0.7 * c + 0.9], [-0.5 * s + 0.3 * c, 1.5 + 0.5 * c]])


def smooth(z):
    return jnp.exp(jnp.sin(2 * PI * z[0]) + 0.7 * jnp.cos(2 * PI * (z[0] + z[1])) + 0.5 * jnp.sin(2 * PI * z[1]))


class TestOneDimension:
    @discretisations
    @pytest.mark.parametrize("n", [32, 33])
    def test_closed_form_is_what_the_general_solver_finds(self, discretisation, n):
        def a(U, z):
            return 1.1 + jnp.sin(2 * PI * z[0]) * U

        exact, general = (Cell(a, (n,), discretisation, closed_form=form) for form in (True, False))
        one, two = fx.response(exact, 0.8), fx.response(general, 0.8)
        assert np.allclose(one.value, two.value, rtol=1e-11)
        assert np.allclose(one.state, two.state, atol=1e-10)
        assert float(jnp.abs(exact.rate(one.state, 0.8)).max()) < 1e-11
        assert int(two.steps) > 1 and int(one.steps) == 0

    @discretisations
    def test_pixels_give_their_harmonic_mean_exactly(self, discretisation):
        labels = np.array([0, 0, 1, 2, 1, 0, 2])
        values = {0: 1.0, 1: 30.0, 2: 0.2}
        expected = 1 / np.mean([1 / values[v] for v in labels])
        assert np.allclose(effective(Cell.from_image(labels, values, discretisation)), expected, rtol=1e-12)

    def test_spectral_converges_to_the_harmonic_mean(self):
        errors = [abs(effective(Cell(lambda U, z: 1.1 + jnp.sin(2 * PI * z[0]), (n,)))[0, 0] - 0.21**0.5) for n in (16, 32, 64)]
        assert errors[0] > 1e-5 and errors[1] < 1e-5 and errors[2] < 1e-11


class TestLaminates:
    @staticmethod
    def exact(tensors):
        """Layers of equal thickness, (n, d, d), stacked along the first axis: continuity of flux and of tangential gradient."""
        a = np.asarray(tensors)
        row, column, normal = a[:, 0, :] / a[:, :1, 0], a[:, :, 0] / a[:, :1, 0], a[:, 0, 0]
        A00 = 1 / np.mean(1 / normal)
        rest = np.mean(a - column[:, :, None] * row[:, None, :] * normal[:, None, None], axis=0)
        return rest + A00 * np.outer(column.mean(0), row.mean(0))

    @discretisations
    @pytest.mark.parametrize("axis", [0, 1])
    def test_non_symmetric_layers_along_an_axis(self, discretisation, axis):
        n = 15
        t = 2 * np.pi * discretisation.points((n,))[:, 0]
        layers = np.stack(
            [np.stack([2 + np.sin(t), 0.9 + 0.5 * np.cos(t)], -1), np.stack([-0.4 * np.sin(t), 1.5 + 0.8 * np.sin(2 * t)], -1)], 1
        )
        flip = (lambda m: m) if axis == 0 else (lambda m: m[::-1, ::-1])

        def a(U, z):
            place = jnp.round((z[axis] - discretisation.points((n,))[0, 0]) * n).astype(int)
            return flip(jnp.asarray(layers)[place])

        shape = (n, 4) if axis == 0 else (4, n)
        value = effective(Cell(a, shape, discretisation))
        assert np.allclose(value, flip(self.exact(layers)), rtol=1e-9)
        assert abs(value[0, 1] - value[1, 0]) > 0.1

    @pytest.mark.parametrize("d", [2, 3])
    def test_layers_at_an_angle(self, d):
        normal = np.array([1, 1, 0])[:d]

        def a(U, z):
            return 1.5 + jnp.sin(2 * PI * jnp.sum(z * jnp.asarray(normal)))

        value = effective(Cell(a, (27,) * d if d == 2 else (25, 25, 3)))
        across = np.outer(normal, normal) / normal.dot(normal)
        expected = (1.5**2 - 1) ** 0.5 * across + 1.5 * (np.eye(d) - across)
        assert np.allclose(value, expected, rtol=1e-7)

    @discretisations
    def test_order_in_the_spacing_at_an_angle(self, discretisation):
        def a(U, z):
            return 1.5 + jnp.sin(2 * PI * (z[0] + 2 * z[1]))

        exact = np.eye(2) * 1.5 + (1.25**0.5 - 1.5) * np.array([[1, 2], [2, 4]]) / 5
        errors = [np.abs(effective(Cell(a, (n, n), discretisation)) - exact).max() for n in (16, 32)]
        order = np.log2(errors[0] / errors[1])
        assert order > (5 if isinstance(discretisation, Spectral) else 1.8 if isinstance(discretisation, FiniteElement) else 0.9)


class TestSymmetries:
    def test_log_antisymmetric_medium_gives_the_identity(self):
        """Dykhne: a(z + shift) = 1/a(z) in two dimensions."""
        cell = Cell(lambda U, z: jnp.exp(U * jnp.sin(2 * PI * z[0]) * jnp.sin(2 * PI * z[1])), (32, 32))
        answer = fx.response(cell, 1.5, tangent=True)
        assert np.allclose(answer.value, np.eye(2), atol=1e-9)
        assert np.allclose(answer.tangent, 0.0, atol=1e-8)

    def test_phase_interchange(self):
        """Keller and Mendelson: A(1/a) = Rᵀ A(a)⁻¹ R with R the rotation by 90 degrees."""
        one = effective(Cell(lambda U, z: smooth(z), (32, 32)))
        two = effective(Cell(lambda U, z: 1 / smooth(z), (32, 32)))
        R = np.array([[0.0, -1.0], [1.0, 0.0]])
        assert abs(one[0, 1]) > 1e-2
        assert np.allclose(two, R.T @ np.linalg.inv(one) @ R, rtol=1e-6)

    def test_elements_bound_from_above_and_by_duality_from_below(self):
        labels = np.random.default_rng(0).integers(0, 2, (12, 12))
        upper = effective(Cell.from_image(labels, {0: 1.0, 1: 20.0}))
        dual = effective(Cell.from_image(labels, {0: 1.0, 1: 1 / 20.0}))
        R = np.array([[0.0, -1.0], [1.0, 0.0]])
        lower = R.T @ np.linalg.inv(dual) @ R
        fine = effective(Cell.from_image(np.kron(labels, np.ones((4, 4), int)), {0: 1.0, 1: 20.0}))
        assert np.linalg.eigvalsh(upper - fine).min() > 0.01
        assert np.linalg.eigvalsh(fine - lower).min() > 0.01

    def test_checkerboard_approaches_the_geometric_mean_from_above(self):
        errors = []
        for n in (4, 8, 16):
            labels = np.kron([[0, 1], [1, 0]], np.ones((n // 2, n // 2), int))
            errors.append(effective(Cell.from_image(labels, {0: 1.0, 1: 9.0}))[0, 0] - 3.0)
        assert 0 < errors[2] < errors[1] < errors[0] < 0.8
        assert errors[2] < 0.3

    @discretisations
    def test_transpose_of_a_is_transpose_of_A(self, discretisation):
        one = effective(Cell(skew_tensor, (16, 16), discretisation))
        two = effective(Cell(lambda U, z: skew_tensor(U, z).T, (16, 16), discretisation))
        assert abs(one[0, 1] - one[1, 0]) > 0.5
        assert np.allclose(one, two.T, rtol=1e-9)

    @discretisations
    def test_constant_antisymmetric_part_passes_through(self, discretisation):
        B = jnp.array([[0.0, 3.0], [-3.0, 0.0]])
        plain = effective(Cell(lambda U, z: smooth(z) * jnp.eye(2), (16, 16), discretisation))
        turned = effective(Cell(lambda U, z: smooth(z) * jnp.eye(2) + B, (16, 16), discretisation))
        assert np.allclose(turned, plain + B, rtol=1e-8)

    @discretisations
    def test_scaling_and_shift(self, discretisation):
        n = 16
        base = effective(Cell(skew_tensor, (n, n), discretisation))
        scaled = effective(Cell(lambda U, z: 1e-7 * skew_tensor(U, z), (n, n), discretisation))
        moved = effective(Cell(lambda U, z: skew_tensor(U, z + jnp.array([3.0, 5.0]) / n), (n, n), discretisation))
        assert np.allclose(1e7 * scaled, base, rtol=1e-8)
        assert np.allclose(moved, base, rtol=1e-8)

    @discretisations
    def test_exchange_of_axes_in_three_dimensions(self, discretisation):
        def a(U, z):
            return jnp.diag(1.0 + 0.5 * jnp.sin(2 * PI * (z + jnp.roll(z, 1)))) + 0.3 * jnp.outer(jnp.cos(2 * PI * z), jnp.ones(3))

        turned = effective(Cell(lambda U, z: jnp.roll(a(U, jnp.roll(z, -1)), (1, 1), (0, 1)), (5, 6, 4), discretisation))
        base = effective(Cell(a, (6, 4, 5), discretisation))
        assert np.allclose(turned, np.roll(base, (1, 1), (0, 1)), rtol=1e-8)

    def test_hashin_shtrikman_for_a_cubic_array_of_spheres(self):
        n, k = 16, 10.0
        z = (np.stack(np.meshgrid(*[np.arange(n)] * 3, indexing="ij"), -1) + 0.5) / n - 0.5
        labels = (np.linalg.norm(z, axis=-1) < 0.4).astype(int)
        f = labels.mean()
        value = effective(Cell.from_image(labels, {0: 1.0, 1: k}))
        lower = 1 + f / (1 / (k - 1) + (1 - f) / 3)
        upper = k + (1 - f) / (1 / (1 - k) + f / (3 * k))
        assert np.allclose(value, value[0, 0] * np.eye(3), atol=1e-8)
        assert lower < value[0, 0] < upper


class TestDerivatives:
    @pytest.mark.parametrize("symmetric", [True, None])
    @discretisations
    def test_tangent_against_differences(self, discretisation, symmetric):
        def a(U, z):
            extra = 0.0 if symmetric else 0.5 * U * jnp.array([[0.0, 1.0], [-1.0, 0.0]]) * jnp.sin(2 * PI * z[1])
            return smooth(z) ** U * jnp.array([[2.0, 0.5], [0.5, 1.0]]) + extra

        cell, h = Cell(a, (8, 8), discretisation, symmetric=symmetric), 1e-4
        tangent = fx.response(cell, 0.7, tangent=True).tangent
        expected = (effective(cell, 0.7 + h) - effective(cell, 0.7 - h)) / (2 * h)
        assert np.abs(expected).min() > 1e-3
        assert np.allclose(tangent, expected, rtol=1e-6, atol=1e-7)

    def test_gradient_in_the_value_of_a_phase(self):
        labels = np.zeros((8, 8), int)
        labels[2:6, 3:7] = 1
        values = jnp.array([1.0, 7.0])

        def trace(values):
            cell = Cell(lambda U, z: values[jnp.asarray(labels)[tuple((z * 8).astype(int))]], (8, 8), FiniteElement())
            return jnp.trace(fx.response(cell, 0.0).value)

        slope = jax.grad(trace)(values)
        # A is homogeneous of degree one in the values.
        assert np.allclose(slope @ values, trace(values), rtol=1e-8)
        assert slope.min() > 0.05


class TestSolver:
    def test_high_contrast_and_tight_tolerance(self):
        rng = np.random.default_rng(1)
        z = (np.stack(np.meshgrid(*[np.arange(64)] * 2, indexing="ij"), -1) + 0.5) / 64
        labels = np.zeros((64, 64), int)
        for centre, radius in zip(rng.random((20, 2)), rng.uniform(0.05, 0.1, 20)):
            labels[np.linalg.norm((z - centre + 0.5) % 1 - 0.5, axis=-1) < radius] = 1
        for value in (1e4, 1e-4):
            answer = fx.response(Cell.from_image(labels, {0: 1.0, 1: value}), 0.0, tolerance=1e-10)
            assert int(answer.result) == fx.Result.SUCCESS
            assert int(answer.steps) < 80 and float(answer.residual) <= 1e-10
            assert np.allclose(answer.value, answer.value.T, atol=1e-8)

    def test_strongly_rotating_flow_converges(self):
        """A stream matrix 30 times the diffusion: the tensor is dominated by its antisymmetric part."""

        def a(U, z):
            stream = 30 * jnp.sin(2 * PI * z[0]) * jnp.sin(2 * PI * z[1])
            return jnp.eye(2) + stream * jnp.array([[0.0, 1.0], [-1.0, 0.0]])

        cell = Cell(a, (32, 32))
        answer = fx.response(cell, 0.0, tolerance=1e-9)
        assert int(answer.result) == fx.Result.SUCCESS
        assert float(jnp.abs(cell.rate(answer.state, 0.0)).max()) < 1e-4
        assert 3 < answer.value[0, 0] < 30

    def test_warm_start_needs_no_steps(self):
        cell = Cell.from_image(np.eye(8, dtype=int), {0: 1.0, 1: lambda U: 5 + U})
        first = fx.response(cell, 1.0)
        again = fx.response(cell, 1.0, state=first.state)
        assert int(first.steps) > 5 and int(again.steps) == 0
        near = fx.response(cell, 1.0001, state=first.state)
        assert 0 < int(near.steps) < int(first.steps)

    def test_batch_is_a_loop(self):
        cell = Cell(lambda U, z: jnp.array([[smooth(z), U], [-U, 1.0]]), (8, 8))
        conditions = jnp.array([0.0, 0.3, 1.0])
        many = fx.responses(cell, conditions)
        single = np.stack([effective(cell, U) for U in conditions])
        assert np.allclose(many.value, single, rtol=1e-9)
        assert not np.any(many.result)

    def test_symmetric_tensors_are_found_out(self):
        """Conjugate gradients count one application for each step, BiCGstab(2) four."""

        def a(U, z):
            return smooth(z) * jnp.array([[2.0, 0.5], [0.5, 1.0]])

        measured, promised, denied = (fx.response(Cell(a, (8, 8), symmetric=s), 0.0) for s in (None, True, False))
        assert int(measured.steps) == int(promised.steps)
        assert int(denied.steps) % 4 == 0 and int(denied.steps) != int(promised.steps)
        assert np.allclose(measured.value, denied.value, rtol=1e-9)

    def test_constant_medium_needs_one_step_at_most(self):
        answer = fx.response(Cell(lambda U, z: jnp.array([[2.0, 0.3], [0.3, 1.0]]), (8, 8)), 0.0)
        assert np.allclose(answer.value, [[2.0, 0.3], [0.3, 1.0]], rtol=1e-13)
        assert int(answer.steps) <= 1


class TestFailures:
    def solve(self, cell, U=0.0, tolerance=1e-10):
        return cell.solve(U, cell.init(U, None), tolerance)

    def test_too_few_steps(self):
        state, out = self.solve(Cell(lambda U, z: smooth(z), (16, 16), max_steps=3))
        assert int(out.result) == fx.Result.MAX_STEPS and int(out.steps) == 3
        assert 1e-10 < float(out.residual) < 1.0 and np.all(np.isfinite(state))

    def test_tolerance_below_round_off(self):
        _, out = self.solve(Cell(lambda U, z: smooth(z), (8, 8)), tolerance=1e-19)
        assert int(out.result) == fx.Result.STALLED
        assert float(out.residual) < 1e-13

    @pytest.mark.parametrize("bad", [-1.0, 0.0, float("nan"), float("inf")])
    def test_coefficients_that_cannot_be(self, bad):
        cell = Cell(lambda U, z: jnp.where(z[0] < 0.3, U, 2.0), (8, 8))
        state, out = self.solve(cell, bad)
        assert int(out.result) == fx.Result.NONFINITE
        assert np.all(np.asarray(state) == 0.0)
        with pytest.raises(BadInput, match=r"z = \[0.0, 0.0\] \(grid point \(0, 0\)\)"):
            cell.validate(bad)
        cell.validate(1.0)

    def test_indefinite_tensor(self):
        cell = Cell(lambda U, z: jnp.array([[1.0, U], [U, 1.0]]), (8, 8))
        assert int(self.solve(cell, 0.5)[1].result) == fx.Result.SUCCESS
        assert int(self.solve(cell, 1.5)[1].result) == fx.Result.NONFINITE
        with pytest.raises(BadInput, match="positive definite"):
            cell.validate(1.5)

    def test_broken_promise_of_symmetry(self):
        cell = Cell(skew_tensor, (8, 8), symmetric=True)
        assert int(self.solve(cell)[1].result) == fx.Result.STALLED
        with pytest.raises(BadInput, match="differ by"):
            cell.validate(0.0)

    @pytest.mark.parametrize("shape", [(), (2, 2, 2, 2), (0, 4), (2.5,)])
    def test_shapes(self, shape):
        with pytest.raises(BadInput, match="shape"):
            Cell(lambda U, z: 1.0, shape)

    def test_wrong_tensor_and_wrong_discretisation(self):
        with pytest.raises(BadInput, match="number or a"):
            Cell(lambda U, z: jnp.eye(3), (8, 8)).coefficient(0.0)
        with pytest.raises(BadInput, match="Spectral"):
            Cell(lambda U, z: 1.0, (8, 8), "spectral")

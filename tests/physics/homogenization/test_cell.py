"""The linear cell problem against what is known exactly."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax.core.errors import BadInput
from fiberax.physics.homogenization import Cell, FiniteDifference, FiniteElement, FiniteVolume, Spectral

ALL = [Spectral(), FiniteElement(), FiniteDifference()]
discretisations = pytest.mark.parametrize("discretisation", ALL, ids=lambda d: type(d).__name__)
PI = jnp.pi


def skew_tensor(z):
    """Smooth and far from symmetric."""
    s, c = jnp.sin(2 * PI * z[0]), jnp.cos(2 * PI * (z[1] + z[0]))
    return jnp.array([[2 + s, 0.7 * c + 0.9], [-0.5 * s + 0.3 * c, 1.5 + 0.5 * c]])


def smooth(z):
    return jnp.exp(jnp.sin(2 * PI * z[0]) + 0.7 * jnp.cos(2 * PI * (z[0] + z[1])) + 0.5 * jnp.sin(2 * PI * z[1]))


R = np.array([[0.0, -1.0], [1.0, 0.0]])  # rotation by 90 degrees


class TestOneDimension:
    @pytest.mark.parametrize(
        ("discretisation", "n"), [(Spectral(), 32), (Spectral(), 33), (FiniteElement(), 32)], ids=["even", "odd", "pixels"]
    )
    def test_closed_form_is_what_the_general_solver_finds(self, discretisation, n):
        def a(U, z):
            return 1.1 + jnp.sin(2 * PI * z[0]) * U

        exact, general = (Cell(a, (n,), discretisation, closed_form=form) for form in (True, False))
        solve = eqx.filter_jit(lambda cell: cell.solver.solve(cell, jnp.zeros((1, n)), 0.8, 1e-12))
        (one, first), (two, second) = (solve(cell) for cell in (exact, general))
        assert np.allclose(exact.link(one, 0.8), exact.link(two, 0.8), rtol=1e-11)
        assert np.allclose(one, two, atol=1e-10)
        assert float(jnp.abs(exact.rate(one, 0.8)).max()) < 1e-11
        assert int(second.steps) > 1 and int(first.steps) == 0

    @discretisations
    def test_pixels_give_their_harmonic_mean_exactly(self, discretisation):
        labels = np.array([0, 0, 1, 2, 1, 0, 2])
        values = {0: 1.0, 1: 30.0, 2: 0.2}
        cell = Cell.from_image(labels, values, discretisation)
        chi, _ = cell.solver.solve(cell, jnp.zeros((1, 7)), 0.0, 1e-10)
        assert np.allclose(cell.link(chi, 0.0), 1 / np.mean([1 / values[v] for v in labels]), rtol=1e-12)

    def test_spectral_converges_to_the_harmonic_mean(self, effective):
        errors = [
            abs(effective(Spectral(), lambda z: 1.1 + jnp.sin(2 * PI * z[0]), (n,))[0, 0] - 0.21**0.5) for n in (16, 32, 64)
        ]
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
    def test_non_symmetric_layers_along_an_axis(self, effective, discretisation, axis):
        n = 15
        t = 2 * np.pi * discretisation.points((n,))[:, 0]
        layers = np.array([[2 + np.sin(t), 0.9 + 0.5 * np.cos(t)], [-0.4 * np.sin(t), 1.5 + 0.8 * np.sin(2 * t)]])
        layers = layers if axis == 0 else layers[::-1, ::-1]
        field = np.broadcast_to(layers[:, :, :, None] if axis == 0 else layers[:, :, None, :], (2, 2, n, n))
        value = effective(discretisation, field, (n, n))
        expected = self.exact(np.moveaxis(layers if axis == 0 else layers[::-1, ::-1], -1, 0))
        assert np.allclose(value, expected if axis == 0 else expected[::-1, ::-1], rtol=1e-9)
        assert abs(value[0, 1] - value[1, 0]) > 0.1

    @pytest.mark.parametrize("shape", [(27, 27), (27, 27, 2)])
    def test_layers_at_an_angle(self, effective, shape):
        normal = np.array([1, 1, 0])[: len(shape)]
        value = effective(Spectral(), lambda z: 1.5 + jnp.sin(2 * PI * (z[0] + z[1])), shape)
        across = np.outer(normal, normal) / 2
        assert np.allclose(value, 1.25**0.5 * across + 1.5 * (np.eye(len(shape)) - across), rtol=1e-7)

    @discretisations
    def test_order_in_the_spacing_at_an_angle(self, effective, discretisation):
        exact = np.eye(2) * 1.5 + (1.25**0.5 - 1.5) * np.array([[1, 2], [2, 4]]) / 5
        errors = [
            np.abs(effective(discretisation, lambda z: 1.5 + jnp.sin(2 * PI * (z[0] + 2 * z[1])), (n, n)) - exact).max()
            for n in (16, 32)
        ]
        order = np.log2(errors[0] / errors[1])
        assert order > (
            5 if isinstance(discretisation, Spectral) else 1.8 if isinstance(discretisation, FiniteElement) else 0.9
        )


class TestSymmetries:
    def test_log_antisymmetric_medium_gives_the_identity(self, effective):
        """Dykhne: a(z + shift) = 1/a(z) in two dimensions."""
        value = effective(Spectral(), lambda z: jnp.exp(1.5 * jnp.sin(2 * PI * z[0]) * jnp.sin(2 * PI * z[1])), (32, 32))
        assert np.allclose(value, np.eye(2), atol=1e-9)

    def test_phase_interchange(self, effective):
        """Keller and Mendelson: A(1/a) = Rᵀ A(a)⁻¹ R."""
        one = effective(Spectral(), smooth, (32, 32))
        two = effective(Spectral(), lambda z: 1 / smooth(z), (32, 32))
        assert abs(one[0, 1]) > 1e-2
        assert np.allclose(two, R.T @ np.linalg.inv(one) @ R, rtol=1e-6)

    def test_elements_bound_from_above_and_by_duality_from_below(self, effective):
        labels = np.random.default_rng(0).integers(0, 2, (8, 8))
        a = np.where(labels, 20.0, 1.0)
        upper, dual = effective(FiniteElement(), a, (8, 8)), effective(FiniteElement(), 1 / a, (8, 8))
        fine = effective(FiniteElement(), np.kron(a, np.ones((4, 4))), (32, 32))
        assert np.linalg.eigvalsh(upper - fine).min() > 0.01
        assert np.linalg.eigvalsh(fine - R.T @ np.linalg.inv(dual) @ R).min() > 0.01

    def test_checkerboard_approaches_the_geometric_mean_from_above(self, effective):
        errors = []
        for n in (8, 16, 32):
            a = np.kron([[1.0, 9.0], [9.0, 1.0]], np.ones((n // 2, n // 2)))
            errors.append(effective(FiniteElement(), a, (n, n))[0, 0] - 3.0)
        assert 0 < errors[2] < errors[1] < errors[0] < 0.5
        assert errors[2] < 0.15

    @discretisations
    def test_transpose_of_a_is_transpose_of_A(self, effective, discretisation):
        one = effective(discretisation, skew_tensor)
        two = effective(discretisation, lambda z: skew_tensor(z).T)
        assert abs(one[0, 1] - one[1, 0]) > 0.5
        assert np.allclose(one, two.T, rtol=1e-9)

    @pytest.mark.parametrize("discretisation", ALL[:2], ids=lambda d: type(d).__name__)
    def test_constant_antisymmetric_part_passes_through(self, effective, discretisation):
        B = np.array([[0.0, 3.0], [-3.0, 0.0]])
        plain = effective(discretisation, lambda z: smooth(z) * jnp.eye(2))
        turned = effective(discretisation, lambda z: smooth(z) * jnp.eye(2) + B)
        assert np.allclose(turned, plain + B, rtol=1e-8)

    @discretisations
    def test_scaling_and_shift(self, effective, discretisation):
        base = effective(discretisation, skew_tensor)
        scaled = effective(discretisation, lambda z: 1e-7 * skew_tensor(z))
        moved = effective(discretisation, lambda z: skew_tensor(z + jnp.array([3.0, 5.0]) / 16))
        assert np.allclose(1e7 * scaled, base, rtol=1e-8)
        assert np.allclose(moved, base, rtol=1e-8)

    @discretisations
    def test_exchange_of_axes_in_three_dimensions(self, effective, discretisation):
        def a(z):
            across = jnp.outer(jnp.cos(2 * PI * jnp.roll(z, 1)), jnp.arange(3.0))
            return (
                jnp.diag(5.0 + 0.5 * jnp.sin(2 * PI * (z + jnp.roll(z, 1)))) + 0.6 * across + across.T * jnp.sin(2 * PI * z[0])
            )

        base = effective(discretisation, a, (5, 5, 5))
        turned = effective(discretisation, lambda z: jnp.roll(a(jnp.roll(z, -1)), (1, 1), (0, 1)), (5, 5, 5))
        assert np.allclose(turned, np.roll(base, (1, 1), (0, 1)), rtol=1e-8, atol=1e-9)
        assert abs(base[0, 1] - base[1, 0]) > 1e-3

    def test_hashin_shtrikman_for_a_cubic_array_of_spheres(self, effective):
        n, k = 16, 10.0
        z = (np.stack(np.meshgrid(*[np.arange(n)] * 3, indexing="ij"), -1) + 0.5) / n - 0.5
        labels = (np.linalg.norm(z, axis=-1) < 0.4).astype(int)
        f = labels.mean()
        value = effective(FiniteElement(), np.where(labels, k, 1.0), (n, n, n))
        lower = 1 + f / (1 / (k - 1) + (1 - f) / 3)
        upper = k + (1 - f) / (1 / (1 - k) + f / (3 * k))
        assert np.allclose(value, value[0, 0] * np.eye(3), atol=1e-8)
        assert lower < value[0, 0] < upper


class TestDerivatives:
    @pytest.mark.parametrize("discretisation", [FiniteVolume(), FiniteElement()], ids=lambda d: type(d).__name__)
    def test_second_derivatives_of_a_laminate(self, discretisation):
        """A = 2ab/(a+b) across the layers; nothing is known of them beside a phase that does not conduct."""
        layers = np.repeat([[0], [1]], 2, 0).repeat(2, 1)
        across = lambda values: fx.response(Cell.from_image(layers, values, discretisation), 0.0).value[0, 0]
        hessian = jax.jit(jax.hessian(across))
        np.testing.assert_allclose(hessian(jnp.array([1.0, 3.0])), [[-0.5625, 0.1875], [0.1875, -0.0625]], rtol=1e-9)
        assert np.all(np.isnan(hessian(jnp.array([0.0, 3.0]))))

    @pytest.mark.parametrize(
        ("discretisation", "symmetric"),
        [(Spectral(), True), (FiniteElement(), True), (FiniteElement(), False)],
        ids=["Spectral", "FiniteElement", "not symmetric"],
    )
    def test_tangent_against_differences(self, discretisation, symmetric):
        def a(U, z):
            extra = 0.0 if symmetric else 0.5 * U * jnp.array([[0.0, 1.0], [-1.0, 0.0]]) * jnp.sin(2 * PI * z[1])
            return smooth(z) ** U * jnp.array([[2.0, 0.5], [0.5, 1.0]]) + extra

        cell, h = Cell(a, (8, 8), discretisation, symmetric=symmetric), 1e-4
        answer = fx.response(cell, 0.7, tangent=True)
        tangent = answer.tangent
        assert np.allclose(answer.value, cell.link(answer.state, 0.7), rtol=1e-8)
        plus, minus = fx.responses(cell, jnp.array([0.7 + h, 0.7 - h]), tolerance=1e-12).value
        expected = (plus - minus) / (2 * h)
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
            for discretisation, most in ((FiniteElement(), 80), (FiniteVolume(), 120)):
                cell = Cell.from_image(labels, {0: 1.0, 1: value}, discretisation)
                answer = fx.response(cell, 0.0, tolerance=1e-10)
                assert int(answer.result) == fx.Result.SUCCESS
                assert int(answer.steps) < most and float(answer.residual) <= 1e-10
            assert np.allclose(answer.value, answer.value.T, atol=1e-8)

    def test_strongly_rotating_flow_converges(self):
        """A stream matrix 30 times the diffusion: the tensor is dominated by its antisymmetric part."""

        def a(U, z):
            stream = 30 * jnp.sin(2 * PI * z[0]) * jnp.sin(2 * PI * z[1])
            return jnp.eye(2) + stream * jnp.array([[0.0, 1.0], [-1.0, 0.0]])

        cell = Cell(a, (32, 32), symmetric=False)
        state, out = eqx.filter_jit(cell.solver.solve)(cell, jnp.zeros((2, 32, 32)), 0.0, 1e-9)
        assert int(out.result) == fx.Result.SUCCESS
        assert float(jnp.abs(cell.rate(state, 0.0)).max()) < 1e-4
        assert 3 < cell.link(state, 0.0)[0, 0] < 30

    def test_warm_start_needs_no_steps(self):
        cell = Cell.from_image(np.random.default_rng(2).integers(0, 2, (8, 8)), {0: 1.0, 1: lambda U: 5 + U})
        first = fx.response(cell, 1.0)
        again = fx.response(cell, 1.0, state=first.state)
        assert int(first.steps) > 5 and int(again.steps) == 0
        near = fx.response(cell, 1.0001, state=first.state)
        assert 0 < int(near.steps) < int(first.steps)

    def test_batch_is_a_loop(self):
        cell = Cell(lambda U, z: smooth(z) ** U, (8, 8))
        conditions = jnp.array([0.0, 0.3, 1.0])
        many = fx.responses(cell, conditions)
        single = np.stack([fx.response(cell, U).value for U in conditions])
        assert np.allclose(many.value, single, rtol=1e-9)
        assert not np.any(many.result)

    def test_symmetric_tensors_are_found_out(self):
        """Conjugate gradients count one application for each step, BiCGstab(2) four."""

        def a(U, z):
            return smooth(z) * jnp.array([[2.0, 0.5], [0.5, 1.0]])

        cells = [Cell(a, (8, 8), symmetric=s) for s in (None, True, False)]
        (_, measured), (chi, promised), (psi, denied) = (
            cell.solver.solve(cell, jnp.zeros((2, 8, 8)), 0.0, 1e-12) for cell in cells
        )
        assert int(measured.steps) == int(promised.steps)
        assert int(denied.steps) % 4 == 0 and int(denied.steps) != int(promised.steps)
        assert np.allclose(chi, psi, atol=1e-11)

    def test_constant_medium_needs_one_step_at_most(self):
        cell = Cell(lambda U, z: jnp.array([[2.0, 0.3], [0.3, 1.0]]), (8, 8), symmetric=True)
        chi, out = cell.solver.solve(cell, 0.1 * jnp.ones((2, 8, 8)), 0.0, 1e-10)
        assert np.allclose(cell.link(chi, 0.0), [[2.0, 0.3], [0.3, 1.0]], rtol=1e-13)
        assert int(out.steps) <= 1


class TestFailures:
    @staticmethod
    def solve(cell, U=0.0, tolerance=1e-10):
        return cell.solver.solve(cell, cell.init(U, None), U, tolerance)

    def test_too_few_steps(self):
        state, out = self.solve(Cell(lambda U, z: smooth(z), (16, 16), max_steps=3))
        assert int(out.result) == fx.Result.MAX_STEPS and int(out.steps) == 3
        assert 1e-10 < float(out.residual) < 1.0 and np.all(np.isfinite(state))

    def test_tolerance_below_round_off(self):
        for discretisation in ALL:
            _, out = self.solve(Cell(lambda U, z: smooth(z), (16, 16), discretisation), tolerance=1e-19)
            assert int(out.result) == fx.Result.STALLED
            assert float(out.residual) < 1e-14 and int(out.steps) < 200

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
        cell = Cell(lambda U, z: skew_tensor(z), (8, 8), symmetric=True)
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

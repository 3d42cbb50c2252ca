"""Finite volumes: faces in series, pores, held ends, against matrices written face by face."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax.cases.homogenization.microstructure import gaussian_level_set
from fiberax.physics.homogenization import (
    Borders,
    Cell,
    FiniteDifference,
    FiniteElement,
    FiniteVolume,
    Spectral,
    percolation,
)

U = jnp.zeros(1)


def of_array(a, discretisation, **options):
    """The cell whose pixels have the conductivities of an array."""
    a = jnp.asarray(a)
    d = a.ndim if a.ndim <= 3 else a.shape[0]
    shape = a.shape[-d:]

    def coefficient(condition, z):
        place = tuple(jnp.floor(z * jnp.asarray(shape)).astype(int))
        return a[(..., *place)]

    return Cell(coefficient, shape, discretisation, **options)


def effective(cell, tolerance=1e-10):
    found = fx.responses(cell, U, tolerance=tolerance)
    assert int(found.result[0]) == 0
    return np.asarray(found.value[0])


def face_by_face(a, held):
    """A (d, d) by a dense network: pixel centres, and for held ends the sides of the cell, joined by resistances
    in series."""
    shape, d = a.shape, a.ndim
    number = np.arange(a.size).reshape(shape)
    out = np.zeros((d, d))
    for j in range(d):
        links = []  # pixel or None, pixel or None, axis, conductance, length, share of a layer
        for k, i in itertools.product(range(d), np.ndindex(*shape)):
            after = list(i)
            after[k] = (i[k] + 1) % shape[k]
            there = tuple(after)
            if held and after[k] == 0:
                if k == j:
                    links.append((number[i], None, k, a[i], 0.5 / shape[k]))
                    links.append((None, number[there], k, a[there], 0.5 / shape[k]))
                continue
            both = a[i] + a[there]
            links.append((number[i], number[there], k, 2 * a[i] * a[there] / both if both else 0.0, 1.0 / shape[k]))
        stiffness, load = np.zeros((a.size, a.size)), np.zeros(a.size)
        for p, q, k, c, h in links:
            row = np.zeros(a.size)
            if p is not None:
                row[p] -= 1.0
            if q is not None:
                row[q] += 1.0
            volume = h * shape[k] / a.size
            stiffness += volume * c / h**2 * np.outer(row, row)
            load -= volume * c / h * (k == j) * row
        u = np.linalg.lstsq(stiffness, load, rcond=1e-12)[0]
        for p, q, k, c, h in links:
            fall = (0.0 if q is None else u[q]) - (0.0 if p is None else u[p])
            out[k, j] += c * (fall / h + (k == j)) * h * shape[k] / a.size
    return np.diag(np.diag(out)) if held else out


def porous(shape, seed, zero=0.0, share=0.3):
    return np.where(np.random.default_rng(seed).random(shape) < share, zero, 1.0)


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("zero", [0.0, 0.1])
@pytest.mark.parametrize("shape", [(12, 9), (5, 4, 6)])
def test_the_response_is_that_of_the_network(shape, zero, held):
    a = porous(shape, 3, zero) * np.random.default_rng(1).uniform(0.5, 2.0, shape)
    expected = face_by_face(a, held)
    assert np.diag(expected).min() > 1e-2
    np.testing.assert_allclose(effective(of_array(a, FiniteVolume(held=held))), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("zero", [0.0, 1e-3])
def test_held_ends_are_half_of_the_mirrored_cell(zero):
    a = porous((6, 8), 5, zero)
    mirrored = np.concatenate([a, a[::-1]])
    mirrored = np.concatenate([mirrored, mirrored[:, ::-1]], axis=1)
    half = effective(of_array(a, FiniteVolume(held=True)))
    np.testing.assert_allclose(half, effective(of_array(mirrored, FiniteVolume())), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("d", [1, 2, 3])
def test_laminates_are_exact(d, held):
    layers = np.array([1.0, 3.0, 3.0, 0.5])
    a = np.broadcast_to(layers.reshape((4,) + (1,) * (d - 1)), (4,) + (3,) * (d - 1))
    expected = np.diag([1 / np.mean(1 / layers)] + [layers.mean()] * (d - 1))
    np.testing.assert_allclose(effective(of_array(a, FiniteVolume(held=held))), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("zero", [0.0, 1e-3, 1e-6])
def test_no_flux_passes_corners(zero):
    """A diagonal line of 8 pixels conducts as its surroundings; by elements it keeps 1/16 of its own conductivity."""
    line = np.where(np.eye(8), 1.0, zero)
    assert effective(of_array(line, FiniteVolume()))[0, 0] <= 2 * zero
    assert effective(of_array(line, FiniteElement()))[0, 0] > 1 / 17


@pytest.mark.parametrize(
    "discretisation", [FiniteVolume(), FiniteElement(), FiniteDifference()], ids=lambda d: type(d).__name__
)
@pytest.mark.parametrize("shape", [(7,), (6, 5)], ids=str)
def test_a_cell_that_does_not_percolate_conducts_nothing(discretisation, shape):
    a = np.ones(shape)
    a[2:4] = 0.0
    found = effective(of_array(a, discretisation))
    assert abs(found[0, 0]) < 1e-15
    if len(shape) == 2:
        np.testing.assert_allclose(found[1, 1], 4 / 6, rtol=1e-9)


SCHEMES = [
    FiniteVolume(),
    pytest.param(FiniteVolume(held=True), marks=pytest.mark.slow),  # its transforms take long to compile
    FiniteElement(),
    FiniteDifference(),
]


def level_set(seed, n):
    return np.asarray(gaussian_level_set(seed, (n, n), fraction=0.52)).astype(int)


@pytest.mark.parametrize("discretisation", SCHEMES, ids=str)
def test_images_of_pores_converge_to_the_default_tolerance(discretisation, effective):
    """Along y, or along both axes, no flux passes: a residual relative to that of the solution is below all round-off."""
    for seed, axes in ((0, (False, False)), (2, (True, False)), (4, (True, False))):
        labels = level_set(seed, 40)
        assert percolation(labels == 1).axes == axes
        fine, coarse = (effective(discretisation, labels, (40, 40), jnp.asarray(t), symmetric=True) for t in (1e-10, 1e-8))
        np.testing.assert_allclose(fine, coarse, rtol=1e-6, atol=1e-9)
        assert np.abs(fine[1]).max() < 1e-10 and np.abs(fine[:, 1]).max() < 1e-10
        assert (fine[0, 0] > 0.03) == axes[0]


@pytest.mark.parametrize("held", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_where_nothing_passes_the_response_is_exactly_zero(held):
    cell = Cell.from_image(level_set(2, 40), [0.0, 1.0], FiniteVolume(held=held))
    found = fx.response(cell, 0.0)
    assert int(found.result) == 0 and found.value[0, 0] > 0.03
    np.testing.assert_array_equal(np.asarray(found.value)[[0, 1, 1], [1, 0, 1]], 0.0)


def test_a_weak_phase_keeps_its_digits():
    """Where A is a small part of the mean the residual is still judged by A, down to round-off."""
    for weak in (1e-3, 1e-7):
        a = porous((12, 9), 3, weak, share=0.5)
        expected, found = face_by_face(a, False), effective(of_array(a, FiniteVolume()))
        assert np.diag(expected).min() < 100 * weak
        np.testing.assert_allclose(np.diag(found), np.diag(expected), rtol=1e-6)


LINES = np.array([[1.0, 0.0], [0.0, 0.0]])
ONES, TURNED = np.ones((2, 2)), np.array([[1.0, -1.0], [-1.0, 1.0]])
LAYERS = np.tile([0, 1], (4, 2))


@pytest.mark.parametrize("discretisation", SCHEMES, ids=str)
def test_where_the_mean_conducts_along_one_direction_alone(discretisation, effective):
    cases = [
        (0 * LAYERS, [LINES], LINES),
        (LAYERS, [LINES, 2 * LINES], 1.5 * LINES),  # side by side
        (LAYERS.T, [LINES, 2 * LINES], LINES / 0.75),  # one behind the other
        (LAYERS, [LINES, 0 * LINES], 0.5 * LINES),
        (LAYERS.T, [LINES, 0 * LINES], 0 * LINES),
        (LAYERS, [0 * LINES, 0 * LINES], 0 * LINES),
    ]
    if not getattr(discretisation, "held", False):
        cases += [(0 * LAYERS, [ONES], ONES), (0 * LAYERS, [TURNED], TURNED)]
    if not isinstance(discretisation, FiniteVolume):  # such tensors that jump are left to elements
        cases += [(LAYERS, [ONES, 2 * ONES], ONES / 0.75), (LAYERS, [TURNED, 2 * TURNED], TURNED / 0.75)]
    for symmetric in (None, False) if isinstance(discretisation, FiniteElement) else (None,):
        for labels, values, expected in cases:
            a = np.moveaxis(np.asarray(values)[labels], (-2, -1), (0, 1))
            found = effective(discretisation, a, (4, 4), symmetric=symmetric)
            np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_a_spectral_cell_needs_a_positive_coefficient():
    with pytest.raises(fx.BadInput, match=r"is zero at z = .*FiniteVolume\(\) allows"):
        of_array(porous((6, 6), 0), Spectral()).validate(0.0)
    with pytest.raises(fx.BadInput, match="is negative at z"):
        of_array(porous((6, 6), 0, -0.1), FiniteVolume()).validate(0.0)


def test_a_uniform_tensor_is_its_own_response():
    tensor = np.array([[2.0, 0.3, -0.2], [0.3, 1.0, 0.4], [-0.2, 0.4, 1.5]])
    a = np.broadcast_to(tensor[..., None, None, None], (3, 3, 4, 5, 3))
    np.testing.assert_allclose(effective(of_array(a, FiniteVolume())), tensor, rtol=1e-10)


def tensors(n, angle):
    """A smooth field of tensors on n² pixels."""
    z = (np.stack(np.meshgrid(*[np.arange(n) + 0.5] * 2, indexing="ij")) / n) * 2 * np.pi
    turn = angle + 0.5 * np.sin(z[0] + z[1])
    c, s = np.cos(turn), np.sin(turn)
    large, small = 2.0 + np.cos(z[0]), 0.5 + 0.2 * np.sin(z[1])
    return np.array([[large * c * c + small * s * s, (large - small) * c * s],
                     [(large - small) * c * s, large * s * s + small * c * c]])  # fmt: skip


def test_smooth_tensors_converge_with_order_two():
    exact = effective(of_array(tensors(48, 0.4), Spectral()))
    errors = [np.abs(effective(of_array(tensors(n, 0.4), FiniteVolume())) - exact).max() for n in (16, 32)]
    assert errors[0] > 1e-4 and np.log2(errors[0] / errors[1]) > 1.8


def test_a_tensor_that_is_not_symmetric():
    """The response of the transposed tensors is the transposed response."""
    a = tensors(12, 0.4) + 0.3 * np.array([[0, 1], [-1, 0]])[..., None, None] * np.random.default_rng(0).random((12, 12))
    found = effective(of_array(a, FiniteVolume(), symmetric=False))
    other = effective(of_array(np.swapaxes(a, 0, 1), FiniteVolume(), symmetric=False))
    assert abs(found[0, 1] - found[1, 0]) > 1e-2
    np.testing.assert_allclose(found, other.T, rtol=1e-7)


@pytest.mark.parametrize("held", [False, True])
def test_derivatives_beside_pores_are_differences(held):
    labels = np.random.default_rng(2).random((10, 8))
    grid = jnp.asarray(np.where(labels < 0.3, 0.0, np.where(labels < 0.7, 1.0, 2.0)))

    def conductivity(condition, z):
        place = tuple(jnp.floor(z * jnp.asarray(grid.shape)).astype(int))
        return grid[place] * (1.0 + condition * grid[place])

    cell = Cell(conductivity, grid.shape, FiniteVolume(held=held))
    value = lambda u: fx.response(cell, u, tolerance=1e-11).value
    slope = np.asarray(jax.jacfwd(value)(0.3))
    h = 1e-5
    expected = (np.asarray(value(0.3 + h)) - np.asarray(value(0.3 - h))) / (2 * h)
    assert np.diag(expected).min() > 1e-2
    np.testing.assert_allclose(slope, expected, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(jax.jacrev(value)(0.3), slope, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("discretisation", [FiniteVolume(), FiniteElement(), FiniteDifference(), Spectral()], ids=str)
def test_pixels_are_squares(discretisation):
    """One image, and the same image twice along an axis."""
    labels = np.zeros((12, 8), int)
    labels[3:9, 2:6] = 1
    values = {0: 1.0, 1: 5.0}
    one = effective(Cell.from_image(labels, values, discretisation))
    assert abs(one[0, 0] - one[1, 1]) > 1e-3
    np.testing.assert_allclose(
        effective(Cell.from_image(np.tile(labels, (1, 2)), values, discretisation)), one, rtol=1e-9, atol=1e-12
    )
    turned = effective(Cell.from_image(labels.T, values, discretisation))
    np.testing.assert_allclose(turned, one[::-1, ::-1], rtol=1e-9, atol=1e-12)


def test_spacing_is_that_of_refined_pixels():
    labels = (np.random.default_rng(4).random((6, 9)) < 0.4).astype(int)
    fine = effective(
        Cell.from_image(np.repeat(labels, 2, axis=1), {0: 1.0, 1: 1.0 / 3}, FiniteDifference(), spacing=(2.0, 1.0))
    )
    assert fine.shape == (2, 2)
    line = np.array([0, 1, 1])
    a = effective(Cell.from_image(np.tile(line[:, None], (1, 4)), {0: 1.0, 1: 3.0}, spacing=(1.0, 7.0)))
    np.testing.assert_allclose(a, np.diag([1 / np.mean([1, 1 / 3, 1 / 3]), 7 / 3]), rtol=1e-9, atol=1e-12)
    with pytest.raises(fx.BadInput, match=r"spacing=.*positive number for each of the 2 axes"):
        Cell.from_image(labels, {0: 1.0, 1: 2.0}, spacing=(1.0, 0.0))


@pytest.mark.parametrize("discretisation", [FiniteVolume(), FiniteElement()], ids=str)
def test_borders(discretisation):
    labels = (np.random.default_rng(6).random((7, 5)) < 0.3).astype(int)
    values = {0: 1.0, 1: 0.0}
    mirrored = effective(Cell.from_image(labels, values, discretisation, borders=Borders.MIRRORED), 1e-8)
    whole = np.concatenate([labels, labels[::-1]])
    whole = np.concatenate([whole, whole[:, ::-1]], axis=1)
    np.testing.assert_allclose(mirrored, effective(Cell.from_image(whole, values, discretisation), 1e-8), rtol=1e-7, atol=1e-8)


def test_borders_that_do_not_fit():
    labels = np.eye(4, dtype=int)
    tilted = {0: 1.0, 1: np.array([[1.0, 0.2], [0.2, 1.0]])}
    with pytest.raises(fx.BadInput, match="held ends need FiniteVolume"):
        Cell.from_image(labels, {0: 1.0, 1: 2.0}, FiniteElement(), borders=Borders.HELD)
    with pytest.raises(fx.BadInput, match="need numbers or diagonal tensors"):
        Cell.from_image(labels, tilted, borders=Borders.HELD)
    cell = Cell.from_image(labels, {0: 1.0, 1: lambda U: jnp.eye(2) + U * (1.0 - jnp.eye(2))}, borders=Borders.MIRRORED)
    found = fx.responses(cell, jnp.array([0.0, 0.2]))
    assert found.result.tolist() == [0, fx.Result.NONFINITE]


class TestPercolation:
    def test_a_diagonal_line_leads_nowhere_and_a_staircase_along_itself(self):
        line = np.eye(8, dtype=bool)
        assert percolation(line) == (1 / 8, 0.0, (False, False), pytest.approx(np.zeros((2, 2))))
        stairs = line | np.roll(line, 1, axis=0)
        found = percolation(stairs)
        assert found.through == 1.0
        np.testing.assert_allclose(found.projection, 0.5 * np.ones((2, 2)))
        a = effective(Cell.from_image(stairs.astype(int), {0: 0.0, 1: 1.0}))
        np.testing.assert_allclose(a, a[0, 0] * np.ones((2, 2)), rtol=1e-12)
        np.testing.assert_allclose(a[0, 0], 1 / 16, rtol=1e-8)  # a wire of 16 pixels through a cell of 8 x 8

    def test_along_one_axis_alone(self):
        a = np.zeros((6, 5, 4), bool)
        a[:, 2, 1] = True
        a[1, 4, 3] = True
        for held in (False, True):
            found = percolation(a, held)
            assert found.axes == (True, False, False) and found.through == 6 / 7
        borders = {False: Borders.PERIODIC, True: Borders.HELD}
        for held in (False, True):
            tensor = effective(Cell.from_image(a.astype(int), [0.0, 3.0], borders=borders[held]))
            assert np.count_nonzero(tensor) == 1 and tensor[0, 0] == pytest.approx(3 / 20, rel=1e-9)

    def test_periodic_images_connect(self):
        """A row that leaves on one side at another height than it enters: it winds twice before it meets itself."""
        a = np.zeros((6, 6), bool)
        a[0:6, 1] = True
        a[5, 1:4] = True
        a[0, 3] = True
        assert percolation(a).axes == (True, False)
        assert percolation(a, held=True).axes == (True, False)
        step = np.zeros((4, 4), bool)
        step[0, 0] = step[3, 0] = True  # neighbours through the border
        assert percolation(step).axes == (False, False) and percolation(step).through == 0.0

    @pytest.mark.parametrize("held", [False, True])
    def test_axes_apart(self, held):
        """Where tensors conduct along some axes alone, flux passes where A says so."""
        rng = np.random.default_rng(3)
        for _ in range(12):
            along = rng.random((2, 5, 6)) < 0.75
            tensors = along.reshape(2, -1)[:, None].transpose(2, 0, 1) * np.eye(2)
            labels = np.arange(30).reshape(5, 6)
            borders = Borders.HELD if held else Borders.PERIODIC
            a = effective(Cell.from_image(labels, tensors, borders=borders))
            assert percolation(tuple(along), held).axes == tuple((np.diagonal(a) > 1e-9).tolist())
            pixels = percolation(along[0], held)
            both = percolation((along[0], along[0]), held)
            assert both[:3] == pixels[:3] and np.array_equal(both.projection, pixels.projection)

    def test_lengths_turn_the_direction(self):
        stairs = np.array([[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1], [1, 0, 0, 1]], bool)
        wide = percolation(stairs, lengths=(1.0, 2.0)).projection
        np.testing.assert_allclose(wide, np.outer([1, 2], [1, 2]) / 5.0)


@pytest.mark.parametrize(
    "discretisation", [FiniteVolume(), FiniteVolume(held=True), FiniteElement(), FiniteDifference()], ids=str
)
def test_the_derivative_in_a_conductivity_that_is_zero(discretisation):
    """Against one-sided differences of second order; nothing but its limit determines the correctors in the pores."""
    labels = (np.random.default_rng(8).random((12, 9)) < 0.3).astype(int)

    def along_x(conductivities):
        cell = Cell.from_image(labels, conductivities, discretisation)
        return fx.response(cell, 0.0, tolerance=1e-9).value[0, 0]

    at = lambda zero: float(along_x(jnp.array([1.0, zero])))
    h = 1e-5
    expected = (4 * at(h) - at(2 * h) - 3 * at(0.0)) / (2 * h)
    slope = jax.grad(along_x)(jnp.array([1.0, 0.0]))
    np.testing.assert_allclose(slope[1], expected, rtol=1e-5)
    np.testing.assert_allclose(slope[0], at(0.0), rtol=1e-8)  # A is linear in one conductivity, the other being zero
    moving = Cell.from_image(labels, {0: 1.0, 1: lambda U: U}, discretisation)  # the same through a function of U
    tangent = fx.response(moving, 0.0, tolerance=1e-9, tangent=True).tangent[0, 0]
    np.testing.assert_allclose(tangent, expected, rtol=1e-5)


def test_tensors_that_jump_are_left_to_elements():
    """Beside a phase that does not conduct a layer has no flux across: A = a_yy - a_xy² / a_xx along it."""
    layer = np.zeros((4, 6), int)
    layer[:, 3:] = 1
    tensors = np.array([np.zeros((2, 2)), [[2.0, 1.0], [1.0, 2.0]]])
    cell = Cell.from_image(layer, tensors)
    assert isinstance(cell.discretisation, FiniteElement)
    np.testing.assert_allclose(effective(cell), np.diag([0.5 * (2.0 - 0.5), 0.0]), atol=1e-9)
    assert isinstance(Cell.from_image(layer, {0: 0.0, 1: np.diag([2.0, 1.0])}).discretisation, FiniteVolume)


def test_a_promise_that_nothing_is_zero():
    labels = np.eye(4, dtype=int)
    values = {0: 1.0, 1: lambda U: U}
    cell = Cell.from_image(labels, values, pores=False)
    found = fx.responses(cell, jnp.array([0.5, 0.0]), tolerance=1e-9)
    assert found.result.tolist() == [0, fx.Result.NONFINITE]
    other = fx.responses(Cell.from_image(labels, values), jnp.array([0.5, 0.0]), tolerance=1e-9)
    assert other.result.tolist() == [0, 0]
    np.testing.assert_array_equal(found.value[0], other.value[0])
    with pytest.raises(fx.BadInput, match="pores=False need a positive coefficient"):
        cell.validate(0.0)


@pytest.mark.parametrize("contrast", [1e8, 1e14, 1e16])
def test_an_island_of_great_contrast_is_right_or_fails(contrast):
    """Its correctors have to be constant inside to more digits than there are."""
    square = np.zeros((6, 6), int)
    square[2:4, 2:4] = 1
    found = fx.response(Cell.from_image(square, jnp.array([1.0, contrast])), 0.0)
    if contrast < 1e10:
        assert int(found.result) == 0
        np.testing.assert_allclose(np.diag(found.value), 1.22758492, rtol=1e-8)  # by a direct solve of the same scheme
    else:
        assert int(found.result) == 3 and np.all(np.isnan(found.value))

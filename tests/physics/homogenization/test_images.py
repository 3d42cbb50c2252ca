"""Labelled images: what is read, and what is said when it cannot be."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax.core.errors import BadInput, MissingExtra
from fiberax.physics.homogenization import Cell, FiniteVolume, Spectral
from fiberax.physics.homogenization.images import Phases, read_labels

LABELS = np.array([[0, 0, 1, 1, 2], [0, 1, 1, 2, 2], [0, 0, 0, 1, 2]])


def save(path, array):
    if path.suffix == ".npy":
        np.save(path, array)
    elif path.suffix == ".png":
        from PIL import Image

        Image.fromarray(array.astype(np.uint8)).save(path)
    else:
        import tifffile

        tifffile.imwrite(path, array.astype(np.uint16))
    return path


@pytest.mark.parametrize("ending", [".npy", ".png", ".tif", ".tiff"])
def test_files_give_their_labels(tmp_path, ending):
    array, source = read_labels(save(tmp_path / f"cell{ending}", LABELS))
    assert np.array_equal(array, LABELS) and array.dtype == np.int64
    assert source.endswith(f"cell{ending}")
    assert np.array_equal(read_labels(str(tmp_path / f"cell{ending}"))[0], LABELS)


def test_voxels_from_a_stack_of_slices(tmp_path):
    block = np.arange(24).reshape(2, 3, 4) % 3
    assert np.array_equal(read_labels(save(tmp_path / "block.tif", block))[0], block)


@pytest.mark.parametrize("mode", ["P", "1", "RGB", "RGBA", "LA"])
def test_modes_of_pictures(tmp_path, mode):
    from PIL import Image

    two = (LABELS > 0).astype(np.uint8)
    if mode == "P":
        picture = Image.fromarray(LABELS.astype(np.uint8), mode=None).convert("P")
        picture = Image.frombytes("P", LABELS.shape[::-1], LABELS.astype(np.uint8).tobytes())
        picture.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
        expected = LABELS
    elif mode == "1":
        picture, expected = Image.fromarray(two.astype(bool)), two
    else:
        picture, expected = Image.fromarray(two * 255).convert(mode), two * 255
    picture.save(tmp_path / "cell.png")
    assert np.array_equal(read_labels(tmp_path / "cell.png")[0], expected)


def test_pixels_carry_the_values():
    cell = Cell.from_image(LABELS, {0: 1.0, 1: lambda U: 10 + U, 2: 4})
    assert cell.discretisation == FiniteVolume(lengths=(0.6, 1.0)) and cell.shape == (3, 5)
    expected = np.choose(LABELS, [1.0, 12.0, 4.0])
    assert np.array_equal(cell.coefficient(2.0), expected)
    points = cell.discretisation.points(cell.shape)
    assert all(cell.a(2.0, jnp.asarray(points[i, j])) == expected[i, j] for i in range(3) for j in range(5))
    assert isinstance(Cell.from_image(LABELS, {0: 1, 1: 1, 2: 1}, Spectral()).discretisation, Spectral)


@pytest.mark.parametrize("values", [[0.0, 1.0, 2.0], {0: 1.0, 1: lambda U: U, 2: np.diag([1.0, 0.0])}])
def test_what_does_not_conduct_is_not_spectral(values):
    with pytest.raises(BadInput, match=r"a conductivity .*0\.0.* and Spectral\(\) needs positive ones. Take FiniteVolume\(\)"):
        Cell.from_image(LABELS, values, Spectral())


def test_tensors_and_numbers_together():
    skew = np.array([[2.0, 1.0], [-1.0, 3.0]])
    cell = Cell.from_image(LABELS, {0: skew, 1: 5.0, 2: lambda U: U * jnp.eye(2)})
    a = np.asarray(cell.coefficient(7.0))
    assert a.shape == (2, 2, 3, 5)
    assert np.array_equal(a[..., 0, 0], skew)
    assert np.array_equal(a[..., 0, 2], 5 * np.eye(2)) and np.array_equal(a[..., 2, 4], 7 * np.eye(2))
    assert not cell.known_symmetric
    assert Cell.from_image(LABELS, {0: 1.0, 1: np.eye(2), 2: 3}).known_symmetric
    late = np.asarray(Phases(LABELS, {0: 2.0, 1: lambda U: 3.0 * U, 2: lambda U: U * jnp.ones((2, 2))}).field(7.0))
    assert np.array_equal(late[..., 0, 0], 2 * np.eye(2)) and np.array_equal(late[..., 0, 2], 21 * np.eye(2))
    assert np.array_equal(late[..., 0, 4], np.full((2, 2), 7.0))


def test_a_list_may_hold_tensors_and_numbers():
    labels = np.array([[0, 1], [1, 0]])
    listed = Cell.from_image(labels, [np.diag([2.0, 1.0]), 3.0])
    named = Cell.from_image(labels, {0: np.diag([2.0, 1.0]), 1: 3.0})
    np.testing.assert_array_equal(listed.a.table, named.a.table)
    with pytest.raises(BadInput, match="no value for label 1"):
        Cell.from_image(labels, (3.0,))
    with pytest.raises(BadInput, match=r"label 0 .* has the shape \(3,\)"):
        Cell.from_image(labels, [np.ones(3), 3.0])


def test_labels_may_be_any_numbers():
    cell = Cell.from_image(LABELS * 100 - 7, {-7: 1.0, 93: 2.0, 193: 3.0, 500: 9.0})
    assert np.array_equal(cell.coefficient(0.0), LABELS + 1.0)


@pytest.mark.parametrize(
    ("labels", "values", "told"),
    [
        (LABELS, {0: 1.0, 1: 2.0}, r"no value for label 2.*0 \(6 pixels\), 1 \(5 pixels\), 2 \(4 pixels\)"),
        (np.arange(256).reshape(16, 16), {0: 1.0}, "looks like a photograph"),
        (np.where(LABELS == 2, np.nan, LABELS), {0: 1.0, 1: 1.0}, r"4 of 15 pixels are NaN.*\(0, 4\)"),
        (LABELS + 0.5, {0: 1.0}, r"0.5 at \(0, 0\) is not a whole number"),
        (np.zeros((2, 2, 2, 2), int), {0: 1.0}, "4 axes"),
        (np.zeros((0, 3), int), {0: 1.0}, "no pixels"),
        (np.array(["a", "b"]), {0: 1.0}, "whole numbers"),
        (LABELS, {0: 1.0, 1: -2.0, 2: 1.0}, r"label 1 \(first pixel \(0, 2\)\) is -2.0, negative"),
        (LABELS, {0: np.array([[1.0, 0.5], [-0.5, 0.0]]), 1: 1.0, 2: 1.0}, "not positive semi-definite"),
        (LABELS, {0: float("nan"), 1: 1.0, 2: 1.0}, "not finite"),
        (LABELS, {0: np.array([[1.0, 3.0], [3.0, 1.0]]), 1: 1.0, 2: 1.0}, "not positive semi-definite"),
        (LABELS, {0: np.eye(3), 1: 1.0, 2: 1.0}, r"shape \(3, 3\)"),
        (LABELS, {0: "copper", 1: 1.0, 2: 1.0}, "'copper'"),
    ],
)
def test_what_cannot_be_used_is_named(labels, values, told):
    with pytest.raises(BadInput, match=told):
        Cell.from_image(labels, values)


def test_zero_is_a_conductivity():
    """Numbers, and tensors that conduct in some directions only; round-off of a turned tensor is no negative value."""
    c, s = np.cos(0.3), np.sin(0.3)
    fibre = np.array([[c * c, c * s], [c * s, s * s]]) * 5.0  # its lower eigenvalue is 0 or some 1e-16 on either side
    phases = Phases(LABELS, {0: 0.0, 1: fibre, 2: np.zeros((2, 2))})
    a = np.asarray(phases.field(0.0))
    assert np.array_equal(a[..., 0, 0], np.zeros((2, 2))) and np.array_equal(a[..., 0, 2], fibre)
    angles = np.linspace(0.0, 3.0, 50)
    axes = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    fibres = axes[:, :, None] * axes[:, None, :] * 1e3
    assert np.linalg.eigvalsh(fibres).min() < 0.0  # by round-off
    assert Phases(np.arange(50).reshape(5, 10), fibres).known_symmetric
    assert np.array_equal(Phases(LABELS, [0.0, 2.0, 0.0]).field(0.0), np.where(LABELS == 1, 2.0, 0.0))


GRAINS = np.random.default_rng(3).permutation(4096).reshape(16, 16, 16)


def test_tables_of_many_grains():
    """Row k belongs to label k, also where not all labels occur; one leaf, whatever the number of labels."""
    numbers = np.linspace(1.0, 2.0, 5000)
    phases = Phases(GRAINS, numbers)
    assert np.array_equal(phases.field(0.0), numbers[GRAINS])
    tensors = numbers[:, None, None] * np.array([[2.0, 0.1, 0.0], [0.1, 1.0, 0.3], [0.0, 0.3, 1.5]])
    phases = Phases(GRAINS + 7, tensors)
    assert np.array_equal(phases.field(0.0), np.moveaxis(tensors[GRAINS + 7], (3, 4), (0, 1)))
    assert phases.known_symmetric and len(jax.tree.leaves(phases)) == 3
    by_label = Phases(GRAINS, dict(enumerate(numbers)))
    assert len(jax.tree.leaves(by_label)) == 3 and np.array_equal(by_label.field(0.0), numbers[GRAINS])
    turned = Phases(GRAINS, lambda U: (1.0 + U) * jnp.asarray(numbers))
    assert np.array_equal(turned.field(1.0), 2.0 * numbers[GRAINS])
    sparse = np.array([10**12, 5, 10**12, -3])
    assert np.array_equal(Phases(sparse, {5: 1.0, -3: 2.0, 10**12: 3.0}).field(0.0), [3.0, 1.0, 3.0, 2.0])


def test_gradients_in_values():
    """Sums over pixels know how many pixels each label has."""
    total = lambda table: jnp.sum(Phases(LABELS, table).field(0.0))
    assert np.array_equal(jax.grad(total)(jnp.array([1.0, 2.0, 3.0])), [6.0, 5.0, 4.0])
    one = lambda x: jnp.sum(Phases(LABELS, {0: 1.0, 1: x, 2: lambda U: x * U}).field(3.0))
    assert jax.grad(one)(2.0) == 5.0 + 3.0 * 4.0
    mixed = lambda x: jnp.sum(Phases(LABELS, {0: np.eye(2), 1: x, 2: x * jnp.ones((2, 2))}).field(0.0))
    assert jax.grad(mixed)(2.0) == 2 * 5.0 + 4 * 4.0


@pytest.mark.parametrize(
    ("labels", "values", "told"),
    [
        (LABELS, np.array([1.0, 2.0]), "no value for label 2"),
        (LABELS - 1, np.ones(3), "label -1. Row k of an array"),
        (LABELS, np.ones((3, 3, 3)), r"values of shape \(3, 3, 3\)"),
        (LABELS, np.array([1.0, -2.0, 1.0]), r"label 1 \(first pixel \(0, 2\)\) is -2.0, negative"),
        (LABELS, np.array([1.0, np.nan, 1.0]), "label 1 .* not finite"),
        (LABELS, "1,2,3", "give a dictionary, an array"),
        (GRAINS, {0: 1.0}, "no value for label 1.*and 4086 more.*photograph or a tomogram"),
    ],
)
def test_tables_that_cannot_be_used_are_named(labels, values, told):
    with pytest.raises(BadInput, match=told):
        Phases(labels, values)


def test_functions_of_a_table_are_checked():
    with pytest.raises(BadInput, match=r"values of shape \(2,\): the labels go up to 2"):
        Phases(LABELS, lambda U: jnp.ones(2)).field(0.0)
    with pytest.raises(BadInput, match="label -1"):
        Phases(LABELS - 1, lambda U: jnp.ones(3))


def test_functions_are_checked_when_a_condition_is_known():
    cell = Cell.from_image(LABELS, {0: 1.0, 1: lambda U: 10 - U, 2: 1.0})
    cell.validate(1.0)
    with pytest.raises(BadInput, match=r"is negative at z = \[0.166667, 0.5\] \(grid point \(0, 2\)\): -1.0"):
        cell.validate(11.0)
    with pytest.raises(BadInput, match="shape"):
        Phases(LABELS, {0: 1.0, 1: lambda U: jnp.ones(3), 2: 1.0}).field(0.0)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(BadInput, match="no such file"):
        read_labels(tmp_path / "missing.png")
    with pytest.raises(BadInput, match=r"'.psd'. Known endings: .*.png"):
        read_labels("cell.psd")
    for ending in (".npy", ".png", ".tif"):
        path = save(tmp_path / f"cut{ending}", np.tile(LABELS, (40, 40)))
        path.write_bytes(path.read_bytes()[: 60 if ending == ".png" else 100])
        with pytest.raises(BadInput, match=f"cut{ending}.*damaged"):
            read_labels(path)


def test_colours_are_refused(tmp_path):
    from PIL import Image

    colours = np.zeros((4, 4, 3), np.uint8)
    colours[0, 0] = (255, 0, 0)
    Image.fromarray(colours).save(tmp_path / "cell.png")
    with pytest.raises(BadInput, match="picture in colour"):
        read_labels(tmp_path / "cell.png")


@pytest.mark.parametrize(("ending", "module"), [(".png", "PIL"), (".tif", "tifffile")])
def test_missing_extras_are_named(tmp_path, monkeypatch, ending, module):
    path = save(tmp_path / f"cell{ending}", LABELS)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra, match=r"fiberax\[image\]"):
        read_labels(path)


def test_masked_pixels_need_a_label():
    masked = np.ma.masked_equal(np.eye(4, dtype=int), 1)
    with pytest.raises(BadInput, match="4 pixels of the label array are masked"):
        fx.homogenization.Cell.from_image(masked, [1.0, 2.0])


@pytest.mark.parametrize("array", [np.array([[np.nan, 1.0]]), np.ones((3, 3), int), np.zeros((0, 3), bool), np.array(True)])
def test_percolation_takes_booleans(array):
    with pytest.raises(BadInput, match="Give booleans along one to three axes"):
        fx.homogenization.percolation(array)


@pytest.mark.parametrize("values", [[1.0, 2.0], np.array([1.0, 2.0]), [1.0, np.eye(2)]], ids=["list", "array", "mixed"])
def test_a_list_of_values_is_for_the_labels_from_zero_on(values):
    words = r"A list of 2 values is for the labels 0 to 1 .* Give a dictionary: \{3: \.\.\., 7: \.\.\.\}"
    with pytest.raises(BadInput, match=words):
        Phases(np.array([[3, 3], [7, 3]]), values)

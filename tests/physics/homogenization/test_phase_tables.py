"""Tensors, orientations of crystals, and tables of phases."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import fiberax as fx
from fiberax.core.errors import BadInput

hom = fx.homogenization
CRYSTAL = np.array([[3.0, 0.2, 0.1], [0.2, 2.0, -0.4], [0.1, -0.4, 1.0]])
ANGLES = np.random.default_rng(0).uniform(0, 360, (20, 3))


def test_entries_of_symmetric_tensors():
    assert np.array_equal(hom.symmetric_tensor([1, 2, 3, 4, 5, 6], 3), [[1, 6, 5], [6, 2, 4], [5, 4, 3]])
    assert np.array_equal(hom.symmetric_tensor([1, 2, 3], 3), np.diag([1, 2, 3]))
    assert np.array_equal(hom.symmetric_tensor([1, 2, 3], 2), [[1, 3], [3, 2]])
    assert np.array_equal(hom.symmetric_tensor([[1, 2], [3, 4]], 2), [np.diag([1, 2]), np.diag([3, 4])])
    assert np.array_equal(hom.symmetric_tensor([7], 1), [[7]])
    with pytest.raises(BadInput, match=r"4 numbers for a tensor of 3 axes: give 3 \(its diagonal\) or 6 \(kxx,kyy,kzz"):
        hom.symmetric_tensor([1, 2, 3, 4], 3)


def test_bunge_angles_are_turns_about_z_x_z():
    """Intrinsic turns of scipy take the axes of the image to those of the crystal."""
    turns = Rotation.from_euler("ZXZ", ANGLES, degrees=True).as_matrix()
    expected = turns @ CRYSTAL @ np.swapaxes(turns, 1, 2)
    found = hom.orient(CRYSTAL, ANGLES)
    np.testing.assert_allclose(found, expected, atol=1e-14)
    np.testing.assert_allclose(hom.orient(CRYSTAL, np.deg2rad(ANGLES), degrees=False), expected, atol=1e-14)
    np.testing.assert_allclose(hom.orient(np.stack([CRYSTAL] * 20), ANGLES), expected, atol=1e-14)
    assert np.array_equal(found, np.swapaxes(found, 1, 2)) and hom.orient(CRYSTAL, ANGLES[0]).shape == (3, 3)


def test_single_turns():
    """A crystal that conducts along its x alone, turned by 90 degrees about z, about x, and by 30 degrees in a plane."""
    along = np.diag([1.0, 0.0, 0.0])
    np.testing.assert_allclose(hom.orient(along, [90, 0, 0]), np.diag([0, 1, 0]), atol=1e-15)
    np.testing.assert_allclose(hom.orient(along, [0, 90, 0]), along, atol=1e-15)
    np.testing.assert_allclose(hom.orient(along, [0, 90, 90]), np.diag([0, 0, 1]), atol=1e-15)
    c, s = np.cos(np.pi / 6), np.sin(np.pi / 6)
    np.testing.assert_allclose(hom.orient(np.diag([1.0, 0.0]), 30.0), [[c * c, c * s], [c * s, s * s]], atol=1e-15)
    for tensor, angles in ((np.eye(4), [1, 2, 3]), (np.eye(3), [1, 2]), (1.0, 2.0)):
        with pytest.raises(BadInput, match="give "):
            hom.orient(tensor, angles)


def table(tmp_path, text):
    path = tmp_path / "phases.csv"
    path.write_text(text)
    return path


def test_tables_of_numbers(tmp_path):
    text = "# of two phases\nlabel, conductivity\n255, 20\n\n0, 1e-3\n"
    for mark in (",", ";", "\t"):
        assert hom.read_phases(table(tmp_path, text.replace(",", mark)), 2) == {0: 1e-3, 255: 20.0}


def test_tables_of_tensors(tmp_path):
    found = hom.read_phases(table(tmp_path, "kyy,kxx,label\n2,1,0\n4,3,7\n"), 2)
    assert np.array_equal(found[0], np.diag([1, 2])) and np.array_equal(found[7], np.diag([3, 4]))
    found = hom.read_phases(table(tmp_path, "label,kxx,kyy,kzz,kyz,kxz,kxy\n3,1,2,3,4,5,6\n"), 3)
    assert np.array_equal(found[3], [[1, 6, 5], [6, 2, 4], [5, 4, 3]])


def test_tables_of_orientations(tmp_path):
    rows = "\n".join(f"{k},{a},{b},{c}" for k, (a, b, c) in enumerate(ANGLES))
    path = table(tmp_path, "label,phi1,Phi,phi2\n" + rows)
    expected = hom.orient(CRYSTAL, ANGLES)
    found = hom.read_phases(path, 3, CRYSTAL)
    assert list(found) == list(range(20)) and np.array_equal(list(found.values()), expected)
    plane = hom.read_phases(path, 2, CRYSTAL)  # a map of crystals in space
    assert np.array_equal(list(plane.values()), expected[:, :2, :2])
    radians = hom.read_phases(path, 3, CRYSTAL, degrees=False)
    assert np.array_equal(radians[4], hom.orient(CRYSTAL, ANGLES[4], degrees=False))
    own = table(tmp_path, "label,phi1,Phi,phi2,kxx,kyy,kzz\n0,10,20,30,1,2,3\n1,40,50,60,4,5,6")
    found = hom.read_phases(own, 3)
    np.testing.assert_allclose(found[1], hom.orient(np.diag([4.0, 5.0, 6.0]), [40, 50, 60]), atol=1e-15)
    flat = hom.read_phases(table(tmp_path, "label,angle\n5,30"), 2, np.diag([1.0, 0.0]))
    assert np.array_equal(flat[5], hom.orient(np.diag([1.0, 0.0]), 30.0))


def test_a_table_of_grains_gives_a_cell(tmp_path):
    labels = np.arange(1, 65).reshape(4, 4, 4)
    rows = "\n".join(f"{k},{k},0,0" for k in range(1, 65))
    values = hom.read_phases(table(tmp_path, "label,phi1,Phi,phi2\n" + rows), 3, np.diag([5.0, 1.0, 1.0]))
    a = np.asarray(hom.Cell.from_image(labels, values).coefficient(0.0))
    np.testing.assert_allclose(a[..., 3, 3, 3], hom.orient(np.diag([5.0, 1.0, 1.0]), [64, 0, 0]), atol=1e-15)


@pytest.mark.parametrize(
    ("text", "d", "tensor", "told"),
    [
        ("", 2, None, "a line with the names"),
        ("label,conductivity\n", 2, None, "a line with the names"),
        ("name,conductivity\n0,1", 2, None, "no column 'label' in the first line, which has name, conductivity"),
        ("0,1\n1,20", 2, None, "no column 'label'"),
        ("label,label\n0,1", 2, None, "line 1: two columns have the same name"),
        ("label,conductivity\n0,1\n1,x", 2, None, "line 3: 'x' in the column conductivity is no finite number"),
        ("label,conductivity\n0,1\n\n1,nan", 2, None, "line 4: 'nan'"),
        ("label,conductivity\n0,1\n1", 2, None, "line 3: 1 cells, the first line has 2"),
        ("label,conductivity\n0,1\n0.5,2", 2, None, "line 3: the label 0.5 is not a whole number"),
        ("label,conductivity\n4,1\n4,2", 2, None, "line 3: the label 4 comes twice"),
        ("label\n4", 2, None, "beside label are missing"),
        ("label,kxx\n4,1", 2, None, r"the columns kxx. Beside label give conductivity; or kxx, kyy, kxy \(or the first 2\)"),
        ("label,kxx,kyy,kzz,kyz\n4,1,1,1,1", 3, None, "the columns kxx, kyy, kzz, kyz"),
        ("label,conductivity,kxx,kyy\n4,1,1,1", 2, None, "the columns conductivity, kxx, kyy"),
        ("label,phi1,Phi,phi2\n4,1,1,1", 3, None, r"or angles and a tensor \(--tensor\)"),
        ("label,phi1,phi2\n4,1,1", 3, CRYSTAL, "the columns phi1, phi2. In 3 dimensions give phi1, Phi, phi2"),
        ("label,angle\n4,1", 3, CRYSTAL, "the columns angle. In 3 dimensions"),
        ("label,phi1,Phi,phi2\n4,1,1,1", 1, CRYSTAL, "In 1 dimensions give no angles"),
        ("label,conductivity\n4,1", 3, CRYSTAL, "goes with columns of angles alone"),
        ("label,phi1,Phi,phi2,kxx,kyy,kzz\n4,1,1,1,1,1,1", 3, CRYSTAL, "goes with columns of angles alone"),
        ("label,angle\n4,1", 2, CRYSTAL, r"a tensor of shape \(3, 3\) with the columns angle"),
    ],
)
def test_tables_that_cannot_be_used_are_named(tmp_path, text, d, tensor, told):
    with pytest.raises(BadInput, match=told):
        hom.read_phases(table(tmp_path, text), d, tensor)


def test_files_that_are_no_tables(tmp_path):
    with pytest.raises(BadInput, match="no such file"):
        hom.read_phases(tmp_path / "none.csv", 2)
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(BadInput, match="no text that can be read"):
        hom.read_phases(tmp_path / "a.csv", 2)


def test_orientations_are_finite():
    with pytest.raises(BadInput, match="must be finite"):
        fx.homogenization.orient(np.eye(3), [np.nan, 0.0, 0.0])

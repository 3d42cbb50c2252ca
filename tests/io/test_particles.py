"""Boxes of particles as files that other programs read."""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from fiberax.io.microstates import Microstate
from fiberax.io.particles import write_boxes

RNG = np.random.default_rng(4)
H = np.array([[3.0, 0.4, 0.0], [0.0, 2.0, 0.1], [0.0, 0.0, 2.5]])
AT, P = H @ RNG.random((3, 5)), RNG.normal(size=(3, 5))
BOX = Microstate('cell at (0.5, 1.5)\nkappa = "1"', {"molecules": AT, "momenta": P, "box": H, "rate": np.ones(1)})
OTHER = Microstate("a field", {"density": np.ones((4, 4))})


def test_extended_xyz_is_read_by_ase(tmp_path):
    read = pytest.importorskip("ase.io").read
    write_boxes(tmp_path, [BOX, OTHER, BOX])
    frames = read(tmp_path / "boxes.xyz", index=":")
    assert len(frames) == 2
    for atoms in frames:
        np.testing.assert_array_equal(atoms.positions, AT.T)
        np.testing.assert_array_equal(atoms.arrays["momenta"], P.T)
        np.testing.assert_array_equal(atoms.cell.array, H.T)
        assert atoms.pbc.all() and "(0.5, 1.5) kappa = '1'" in atoms.info["site"]


def arrays(path):
    """Numbers of the data arrays of a VTK file by name, and the counts of its piece."""
    root = ElementTree.parse(path).getroot()
    found = {}
    for entry in root.iter("DataArray"):
        kind = float if entry.get("type") == "Float64" else int
        found[entry.get("Name")] = np.array([kind(x) for x in (entry.text or "").split()])
    return found, next(root.iter("Piece")).attrib


def test_paraview_files_hold_particles_and_the_edges_of_their_box(tmp_path):
    write_boxes(tmp_path, [BOX])
    found, piece = arrays(tmp_path / "paraview" / "particles_0.vtp")
    assert piece["NumberOfPoints"] == piece["NumberOfVerts"] == "5" and piece["NumberOfLines"] == "0"
    np.testing.assert_array_equal(found["positions"].reshape(5, 3), AT.T)
    np.testing.assert_array_equal(found["momentum"].reshape(5, 3), P.T)
    np.testing.assert_allclose(found["speed"], np.linalg.norm(P, axis=0))
    assert found["connectivity"].tolist() == [0, 1, 2, 3, 4] and found["offsets"].tolist() == [1, 2, 3, 4, 5]
    found, piece = arrays(tmp_path / "paraview" / "box_0.vtp")
    corners, edges = found["positions"].reshape(8, 3), found["connectivity"].reshape(12, 2)
    assert piece["NumberOfLines"] == "12" and found["offsets"].tolist() == list(range(2, 25, 2))
    sides = {tuple(np.round(np.abs(corners[i] - corners[j]), 12)) for i, j in edges}
    assert sides == {tuple(np.round(np.abs(column), 12)) for column in H.T}
    np.testing.assert_allclose(corners[-1], H.sum(axis=1))


def test_nothing_is_written_of_other_states(tmp_path):
    write_boxes(tmp_path, [OTHER])
    assert not list(tmp_path.iterdir())

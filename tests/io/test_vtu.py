import re

import meshio
import numpy as np
import pytest

import fiberax as fx
from fiberax.core.errors import BadInput
from fiberax.io.vtu import MeshSeries, write_mesh

MESHES = {
    "interval": lambda order: fx.grids.interval(cells=3, order=order),
    "triangle": lambda order: fx.grids.triangles(cells=(2, 3), order=order),
    "quad": lambda order: fx.grids.quads(cells=(2, 3), order=order),
    "tet": lambda order: fx.grids.tets(cells=(1, 2, 1), order=order),
    "hex": lambda order: fx.grids.hexes(cells=(1, 2, 1), order=order),
}


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("kind", MESHES)
def test_meshio_reads_back_the_mesh_and_its_fields(tmp_path, kind, order):
    mesh = MESHES[kind](order)
    u = np.sin(mesh.points) + 1.0
    sites = np.arange(len(mesh.cells) * 2 * 4, dtype=float).reshape(-1, 2, 2)
    write_mesh(tmp_path / "a.vtu", mesh, {"u": u, "m": u[:, 0]}, {"P": sites, "W": np.arange(len(mesh.cells)) * 1.0})
    back = meshio.read(tmp_path / "a.vtu")
    np.testing.assert_array_equal(back.points[:, : mesh.dim], mesh.points)
    np.testing.assert_array_equal(back.cells[0].data, mesh.cells)
    np.testing.assert_array_equal(back.point_data["u"][:, : mesh.dim], u)
    stress = back.cell_data["P"][0].reshape(-1, 3, 3)
    np.testing.assert_allclose(stress[:, :2, :2], sites.reshape(-1, 2, 2, 2).mean(axis=1))
    assert np.all(stress[:, 2] == 0) and np.all(stress[:, :, 2] == 0)
    again = fx.grids.read(tmp_path / "a.vtu")
    assert (again.kind, again.order) == (kind, order)


def test_series_lists_its_files_and_spreads_periodic_fields(tmp_path):
    mesh = fx.grids.quads(cells=(3, 2), periodic=(True, False))
    series = MeshSeries(tmp_path / "view", mesh)
    u = np.arange(len(mesh.representatives), dtype=float)
    series.write(0.0, {"u": u}, {})
    path = series.write(0.5, {"u": u}, {})
    entries = re.findall(r'timestep="([^"]+)".*file="([^"]+)"', path.read_text())
    assert [float(t) for t, _ in entries] == [0.0, 0.5]
    read = meshio.read(path.parent / entries[1][1]).point_data["u"]
    left, right = mesh.points[:, 0] == 0, mesh.points[:, 0] == 1
    np.testing.assert_array_equal(read[left], read[right])


def test_fields_that_do_not_fit_are_named(tmp_path):
    mesh = fx.grids.quads(cells=(2, 2))
    with pytest.raises(BadInput, match="'u' on nodes"):
        write_mesh(tmp_path / "a.vtu", mesh, {"u": np.zeros(5)}, {})
    with pytest.raises(BadInput, match="'P' on cells"):
        write_mesh(tmp_path / "a.vtu", mesh, {}, {"P": np.zeros((5, 2))})

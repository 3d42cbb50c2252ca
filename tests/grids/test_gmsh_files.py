"""Gmsh's files in all four forms: overlapping, unnamed, point and curve groups arrive whole; periodic nodes; numbering."""

import sys
from pathlib import Path

import numpy as np
import pytest

import fiberax as fx
from fiberax.core.errors import BadInput
from fiberax.grids import MeshFileWarning, elements
from fiberax.grids.parts import over_sides

sys.path.insert(0, str(Path(__file__).parent))
from gmsh_writer import Entity, write

FORMS = [("2.2", False), ("2.2", True), ("4.1", False), ("4.1", True)]
SIDES = ("bottom", "right", "top", "left")


def square(n=4):
    """The unit square in triangles; each side is an entity in the group `outer` (1) and in one of its own, the body in two."""
    mesh = fx.grids.triangles(cells=(n, n))
    names = [(1, 1, "outer"), (1, 3, "right"), (2, 7, "all"), (2, 8, "left half"), (1, 9, "nobody")]
    sides = [Entity(1, k + 1, 1, mesh.facets(name), (1, k + 2)) for k, name in enumerate(SIDES)]
    middle = mesh.points[mesh.cells].mean(axis=1)[:, 0] < 0.5
    bodies = [Entity(2, k + 1, 2, mesh.cells[of], tags) for k, (of, tags) in enumerate(((middle, (7, 8)), (~middle, (7,))))]
    corner = [Entity(0, 1, 15, np.flatnonzero(np.all(mesh.points == 0.0, axis=1))[:, None], (5,))]
    return mesh, [*corner, *sides, *bodies], names


def length(mesh, name):
    return float(over_sides(mesh, mesh.facets(name)).weighted.sum())


@pytest.mark.parametrize(("version", "binary"), FORMS)
def test_groups_that_overlap_arrive_whole(tmp_path, version, binary):
    mesh, entities, names = square()
    path = write(tmp_path / "Square.msh", mesh.points, entities, names, version=version, binary=binary)
    with pytest.warns(MeshFileWarning, match=r"/Square\.msh: groups without elements are left out: 'nobody'\.$"):
        read = fx.grids.read(path)
    assert len(read.cells) == len(mesh.cells) and len(read.points) == len(mesh.points)
    # Sides 2 to 5; only the second has a name. The group of a point has the number 5 too, and a node of the side.
    assert set(read.boundaries) == {"outer", "2", "right", "4", "5"}
    assert length(read, "outer") == pytest.approx(4.0) and len(read.facets("outer")) == 16
    for name in ("2", "right", "4", "5"):
        assert length(read, name) == pytest.approx(1.0)
    assert np.all(read.points[read.nodes("right"), 0] == 1.0) and np.all(read.points[read.nodes("5"), 0] == 0.0)
    assert len(read.regions["all"]) == 32 and len(read.regions["left half"]) == 16
    assert np.all(read.points[read.cells[read.regions["left half"]]].mean(axis=1)[:, 0] < 0.5)


def test_a_traction_on_a_group_that_overlaps_is_that_on_its_parts(tmp_path):
    mesh, entities, names = square()
    read = fx.grids.read(write(tmp_path / "a.msh", mesh.points, entities, names[:-1]))
    total = lambda *sides: fx.solids.Elasticity(read, traction={name: (0.3, 0.1) for name in sides})._applied(0.0)
    np.testing.assert_allclose(total("outer"), total("2", "right", "4", "5"), atol=1e-15)
    np.testing.assert_allclose(total("outer").sum(axis=0), [1.2, 0.4])


@pytest.mark.parametrize(("version", "binary"), FORMS)
def test_groups_of_points_and_curves_are_boundaries_of_nodes(tmp_path, version, binary):
    mesh = fx.grids.tets(cells=(2, 2, 2))
    edge = np.flatnonzero((mesh.points[:, 0] == 0.0) & (mesh.points[:, 1] == 0.0))
    curve = np.stack([edge[:-1], edge[1:]], axis=1)
    entities = [
        Entity(0, 1, 15, edge[:1, None], (1,)),
        Entity(1, 1, 1, curve, (2,)),
        Entity(2, 1, 2, mesh.facets("top"), (3,)),
        Entity(3, 1, 4, mesh.cells, (4,)),
    ]
    names = [(0, 1, "corner"), (1, 2, "edge"), (2, 3, "top"), (3, 4, "body")]
    read = fx.grids.read(write(tmp_path / "a.msh", mesh.points, entities, names, version=version, binary=binary))
    assert set(read.boundaries) == {"corner", "edge", "top"}
    np.testing.assert_array_equal(read.points[read.boundaries["corner"]], mesh.points[edge[:1]])
    np.testing.assert_array_equal(read.points[read.boundaries["edge"]], mesh.points[edge])
    assert length(read, "top") == pytest.approx(1.0) and len(read.regions["body"]) == len(mesh.cells)
    with pytest.raises(BadInput, match="'edge' is a set of nodes"):
        read.facets("edge")


def test_partitions_keep_their_groups(tmp_path):
    mesh, entities, names = square()
    for binary in (False, True):
        path = write(tmp_path / "a.msh", mesh.points, entities, names[:-1], binary=binary, partitioned=True)
        assert length(fx.grids.read(path), "outer") == pytest.approx(4.0)


@pytest.mark.parametrize(("version", "binary"), FORMS)
def test_periodic_nodes_are_joined_where_that_is_asked_for(tmp_path, version, binary):
    mesh, entities, names = square()
    left, right = (np.sort(mesh.nodes(name)) for name in ("left", "right"))
    left, right = left[np.argsort(mesh.points[left, 1])], right[np.argsort(mesh.points[right, 1])]
    path = write(tmp_path / "a.msh", mesh.points, entities, names[:-1], np.stack([right, left], axis=1), version, binary)
    with pytest.warns(MeshFileWarning, match="periodic=True"):
        assert len(fx.grids.read(path).representatives) == 25
    with pytest.warns(MeshFileWarning, match="'5', 'right': no boundaries any more"):
        joined = fx.grids.read(path, periodic=True)
    assert len(joined.representatives) == 20 and set(joined.boundaries) == {"outer", "2", "4"}
    np.testing.assert_allclose(np.ptp(joined.points - joined.points[joined.same], axis=0), [1.0, 0.0])
    # A steady state that depends on y alone needs nothing at the sides that are joined.
    h = fx.homogenization
    fiber = fx.FlowFiber(rate=lambda c, U: U - c, init=lambda U: 0.0 * U, link=lambda c, U: 1.0 + 0.0 * c)
    macro = h.MeshDiffusion(joined, boundary={"2": h.Dirichlet(1.0), "4": h.Dirichlet(3.0)})
    sol = fx.steady(fx.Bundle(macro, fiber), fx.Quasistatic(), macro.start(1.0))
    np.testing.assert_allclose(sol.macro[0], 1.0 + 2.0 * joined.points[joined.representatives, 1], atol=1e-8)


def test_periodic_nodes_that_the_file_has_not_are_asked_for_in_vain(tmp_path):
    mesh, entities, names = square()
    path = write(tmp_path / "a.msh", mesh.points, entities, names[:-1])
    with pytest.raises(BadInput, match=r"a\.msh: it pairs no nodes"):
        fx.grids.read(path, periodic=True)


# Number of the type and reference coordinates of the nodes, in halves of the unit cell, as gmsh 4.15 gives them by
# `gmsh.model.mesh.getElementProperties`.
GMSH_NODES = {
    "tetrahedron": (11, "000 200 020 002 100 110 010 001 011 101"),
    "hexahedron": (
        12,
        "000 200 220 020 002 202 222 022 100 010 001 210 201 120 221 021 102 012 212 122 110 101 011 211 121 112 111",
    ),
    "serendipity hexahedron": (17, "000 200 220 020 002 202 222 022 100 010 001 210 201 120 221 021 102 012 212 122"),
    "prism": (13, "000 200 020 002 202 022 100 010 001 110 201 021 102 012 112 101 011 111"),
    "serendipity prism": (18, "000 200 020 002 202 022 100 010 001 110 201 021 102 012 112"),
    # Its tip is above the first corner here, the map of gmsh's own pyramid by x + z, y + z over two.
    "pyramid": (14, "000 200 220 020 002 100 010 001 210 101 120 111 011 110"),
    "serendipity pyramid": (19, "000 200 220 020 002 100 010 001 210 101 120 111 011"),
    "triangle": (9, "000 200 020 100 110 010"),
    "quadrilateral": (10, "000 200 220 020 100 210 120 010 110"),
    "serendipity quadrilateral": (16, "000 200 220 020 100 210 120 010"),
}
VOLUMES = {"tetrahedron": 1 / 6, "hexahedron": 1.0, "prism": 0.5, "pyramid": 1 / 3, "triangle": 0.5, "quadrilateral": 1.0}


def test_files_with_carriage_returns_and_a_mark_are_read(tmp_path):
    mesh, entities, names = square()
    path = write(tmp_path / "a.msh", mesh.points, entities, names[:-1])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert length(fx.grids.read(path), "outer") == pytest.approx(4.0)


@pytest.mark.parametrize(("version", "binary"), FORMS)
def test_files_that_are_cut_short_are_named(tmp_path, version, binary):
    mesh, entities, names = square()
    path = write(tmp_path / "Cut.msh", mesh.points, entities, names, version=version, binary=binary)
    content = path.read_bytes()
    for share in (0.1, 0.3, 0.6, 0.95):
        path.write_bytes(content[: int(share * len(content))])
        with pytest.raises(BadInput, match=r"Cut\.msh cannot be read: .*cut short, damaged"):
            fx.grids.read(path)


def test_a_node_without_a_place_is_named(tmp_path):
    """Of a surface in space, whose plane is looked for, and in the plane."""
    mesh, entities, names = square()
    for third in (0.0, 0.1 * mesh.points[:, :1]):
        points = np.concatenate([mesh.points, third + np.zeros((len(mesh.points), 1))], axis=1)
        points[6, 0] = np.nan
        path = write(tmp_path / "Lost.msh", points, entities, names)
        with pytest.raises(BadInput, match=r"Lost\.msh: node 7 of its list lies at \[nan, .* not finite"):
            fx.grids.read(path)


def test_elements_of_order_three_are_refused_by_name(tmp_path):
    mesh, entities, _ = square()
    path = write(tmp_path / "a.msh", mesh.points, [*entities, Entity(2, 9, 21, np.arange(10)[None])])
    with pytest.raises(BadInput, match=r"type 21 .* order 3"):
        fx.grids.read(path)


def test_other_versions_and_folders_are_not_called_damaged(tmp_path):
    file = tmp_path / "a.msh"
    file.write_text("$MeshFormat\n4.0 0 8\n$EndMeshFormat\n$Nodes\n1 1\n1 2 1 1\n1 0 0 0 0 0\n$EndNodes\n")
    with pytest.raises(BadInput, match=r"version 4\.0 of Gmsh's format.* Save it in version 4\.1") as caught:
        fx.grids.read(file)
    assert "damaged" not in str(caught.value)
    with pytest.raises(BadInput, match="is a folder"):
        fx.grids.read(tmp_path)


def test_sides_of_no_cell_are_left_out_with_their_group(tmp_path):
    mesh, entities, names = square()
    points = np.concatenate([mesh.points, [[5.0, 0.0], [5.0, 1.0]]])
    tool = Entity(1, 9, 1, np.array([[25, 26]]), (6,))
    path = write(tmp_path / "a.msh", points, [*entities, tool], [*names[:-1], (1, 6, "tool")])
    with pytest.warns(MeshFileWarning, match="'tool' is left out: 1 of its 1 sides are of no cell"):
        read = fx.grids.read(path)
    assert "tool" not in read.boundaries and len(read.points) == 25


@pytest.mark.filterwarnings("ignore::fiberax.grids.MeshFileWarning")
@pytest.mark.parametrize("name", GMSH_NODES)
def test_quadratic_nodes_are_where_gmsh_puts_them(tmp_path, name):
    """One cell with Gmsh's own nodes: every node of the mesh is the mean of the corners around it, and nothing overlaps."""
    number, text = GMSH_NODES[name]
    places = np.array([[int(digit) for digit in word] for word in text.split()]) / 2.0
    dim = 2 if text.startswith("000 200 020 100") or "quad" in name else 3
    path = write(tmp_path / "a.msh", places, [Entity(dim, 1, number, np.arange(len(places))[None], (1,))])
    mesh = fx.grids.read(path)
    assert mesh.order == 2 and mesh.dim == dim
    means = np.stack([mesh.points[mesh.cells[:, list(of)]].mean(axis=1) for of in elements.parents(mesh.kind, 2)], axis=1)
    np.testing.assert_allclose(mesh.points[mesh.cells], means, atol=1e-14)
    weights = float(fx.grids.NodalSpace(mesh).weights.sum())
    assert weights == pytest.approx(VOLUMES[name.removeprefix("serendipity ")])

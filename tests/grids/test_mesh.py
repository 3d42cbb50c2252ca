import dataclasses

import meshio
import numpy as np
import pytest
import skfem

import fiberax as fx
from fiberax.core.errors import BadInput
from fiberax.grids import elements
from fiberax.grids.mesh import jacobians

GENERATORS = {
    "interval": (fx.grids.interval, 1),
    "triangle": (fx.grids.triangles, 2),
    "quad": (fx.grids.quads, 2),
    "tet": (fx.grids.tets, 3),
    "hex": (fx.grids.hexes, 3),
}
VTK = {"triangle": 6, "quad": 9, "tet": 10, "hex": 27, "interval": 3}


def make(kind, **options):
    generator, dim = GENERATORS[kind]
    cells = (2, 3, 2)[:dim] if dim > 1 else 3
    lower, upper = ((0.0, 1.0, -1.0)[:dim], (1.0, 3.0, 0.0)[:dim]) if dim > 1 else (0.0, 2.0)
    return generator(lower, upper, cells=cells, **options)


def volume(mesh):
    weights = elements.table(mesh.kind, mesh.order).weights
    return float(np.sum(np.abs(np.linalg.det(jacobians(mesh))) * weights))


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("kind", GENERATORS)
def test_generated_meshes_fill_the_box_and_name_its_sides(kind, order):
    mesh = make(kind, order=order)
    assert volume(mesh) == pytest.approx(2.0, rel=1e-13)
    assert mesh.order == order and (order == 1 or mesh.cells.shape[1] == VTK[kind])
    for axis, names in enumerate((("left", "right"), ("bottom", "top"), ("front", "back"))[: mesh.dim]):
        for name, value in zip(names, (mesh.points[:, axis].min(), mesh.points[:, axis].max())):
            on = np.flatnonzero(mesh.points[:, axis] == value)
            np.testing.assert_array_equal(mesh.nodes(name), on)
    raised = make(kind).of_order(order)
    assert sorted(map(tuple, raised.points.round(9))) == sorted(map(tuple, mesh.points.round(9)))


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("kind", GENERATORS)
def test_shape_functions_are_one_at_their_node_and_reproduce_polynomials(kind, order):
    mesh = make(kind, order=order)
    table, nodes = elements.table(kind, order), elements.reference_nodes(kind, order)
    np.testing.assert_allclose(table.values.sum(axis=1), 1.0, atol=1e-14)
    power = lambda x: (x @ np.arange(1.0, mesh.dim + 1)) ** order
    slope = lambda x: order * (x @ np.arange(1.0, mesh.dim + 1))[..., None] ** (order - 1) * np.arange(1.0, mesh.dim + 1)
    places = table.values @ nodes
    np.testing.assert_allclose(table.values @ power(nodes), power(places), rtol=1e-13)
    np.testing.assert_allclose(np.einsum("qkd,k->qd", table.gradients, power(nodes)), slope(places), rtol=1e-12)
    assert np.all(table.weights > 0)


@pytest.mark.parametrize("kind", GENERATORS)
def test_periodic_sides_share_unknowns_also_after_raising_the_order(kind):
    one, two = make(kind, periodic=True), make(kind, periodic=True, order=2)
    count = {"interval": 3, "triangle": 6, "quad": 6, "tet": 12, "hex": 12}[kind]
    assert len(one.representatives) == count and not one.boundaries
    raised = one.of_order(2)
    assert len(raised.representatives) == len(two.representatives) == count * 2**one.dim
    low, up = one.points.min(axis=0), one.points.max(axis=0)
    for mesh in (one, two, raised):
        gap = (mesh.points - mesh.points[mesh.same]) / (up - low)
        np.testing.assert_allclose(gap, np.rint(gap), atol=1e-12)


@pytest.mark.parametrize("kind", ["quad", "triangle", "hex", "tet"])
def test_a_curved_hole_is_of_higher_order_than_a_straight_one(kind):
    solid = kind in ("hex", "tet")
    size, exact = ((4.0, 2.0, 0.5), 4.0 - np.pi / 8) if solid else ((4.0, 2.0), 8.0 - np.pi / 4)
    errors = {}
    for order in (1, 2):
        meshes = [fx.grids.holed(size, 0.5, (n, n, 1)[: len(size)], kind=kind, order=order) for n in (2, 4)]
        errors[order] = [abs(volume(mesh) - exact) for mesh in meshes]
    assert np.log2(errors[1][0] / errors[1][1]) == pytest.approx(2.0, abs=0.1)
    assert np.log2(errors[2][0] / errors[2][1]) == pytest.approx(4.0, abs=0.2)
    hole = meshes[-1].points[meshes[-1].nodes("hole")]
    np.testing.assert_allclose(np.linalg.norm(hole[:, :2], axis=1), 0.5, rtol=1e-14)
    assert meshes[-1].points[meshes[-1].nodes("left"), 0] == pytest.approx(-2.0)


def test_notch_takes_its_area_away():
    mesh = fx.grids.notched((0, 0), (4, 1), (32, 4), depth=0.3, width=1.0)
    assert volume(mesh) == pytest.approx(4.0 - 0.15, rel=1e-5)
    assert mesh.points[mesh.nodes("top"), 1].min() == pytest.approx(0.7)


@pytest.mark.parametrize("name", ["MeshTri", "MeshQuad", "MeshTet", "MeshHex", "MeshTri2"])
def test_scikit_fem_meshes(name):
    if name == "MeshTri2":
        theirs = skfem.MeshTri2.init_circle(3).with_subdomains({"right": lambda x: x[0] > 0})
    else:
        theirs = getattr(skfem, name)().refined(1).with_defaults().with_subdomains({"right": lambda x: x[0] > 0.5})
    mesh = fx.grids.from_skfem(theirs)
    assert mesh.order == (2 if name == "MeshTri2" else 1)
    assert volume(mesh) == pytest.approx(np.pi if name == "MeshTri2" else 1.0, rel=1e-4)
    middle = mesh.points[mesh.cells[:, : mesh.dim + 1]].mean(axis=1)
    assert np.all(middle[mesh.regions["right"], 0] > 0)
    if name != "MeshTri2":
        assert np.all(mesh.points[mesh.nodes("left"), 0] == 0) and len(mesh.nodes("left")) == 3 ** (mesh.dim - 1)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("kind", ["triangle", "quad", "tet", "hex"])
def test_gmsh_files_keep_named_groups_and_drop_z(tmp_path, kind, order):
    mesh = make(kind, order=order)
    names = {1: {"interval": "line", "triangle": "triangle", "quad": "quad", "tet": "tetra", "hex": "hexahedron"}}
    names[2] = {"interval": "line3", "triangle": "triangle6", "quad": "quad9", "tet": "tetra10", "hex": "hexahedron27"}
    facet = names[order][elements.FACET_KIND[kind]]
    points = np.pad(mesh.points, [(0, 0), (0, 3 - mesh.dim)])
    points = np.concatenate([points, [[9.0, 9.0, 0.0]]])  # Gmsh writes points of the geometry that no cell uses
    cells = [(facet, mesh.facets("left")), (facet, mesh.facets("top")), (names[order][kind], mesh.cells)]
    tags = [np.full(len(block), tag) for (_, block), tag in zip(cells, (7, 8, 9))]
    groups = {"grip": [7, mesh.dim - 1], "load": [8, mesh.dim - 1], "silicon": [9, mesh.dim]}
    data = {"gmsh:physical": tags, "gmsh:geometrical": tags}
    field = {name: np.array(value) for name, value in groups.items()}
    meshio.Mesh(points, cells, cell_data=data, field_data=field).write(tmp_path / "body.msh", "gmsh22", binary=False)
    read = fx.grids.read(tmp_path / "body.msh")
    assert (read.kind, read.order, read.dim) == (kind, order, mesh.dim)
    np.testing.assert_allclose(read.points, mesh.points)
    np.testing.assert_array_equal(read.cells, mesh.cells)
    np.testing.assert_array_equal(read.nodes("grip"), mesh.nodes("left"))
    assert read.facets("load").shape == mesh.facets("top").shape
    np.testing.assert_array_equal(read.regions["silicon"], np.arange(len(mesh.cells)))
    content = (tmp_path / "body.msh").read_bytes()
    for cut in (len(content) // 3, 2 * len(content) // 3):
        (tmp_path / "cut.msh").write_bytes(content[:cut])
        with pytest.raises(BadInput, match=r"cut\.msh"):
            fx.grids.read(tmp_path / "cut.msh")


def test_files_that_are_no_meshes_are_named(tmp_path, capsys):
    read = fx.grids.read
    with pytest.raises(BadInput, match="does not exist"):
        read(tmp_path / "none.msh")
    (tmp_path / "empty.msh").touch()
    with pytest.raises(BadInput, match="is empty"):
        read(tmp_path / "empty.msh")
    (tmp_path / "a.msh").write_text("$MeshFormat\nnonsense\n")
    with pytest.raises(BadInput, match="cut short, damaged"):
        read(tmp_path / "a.msh")
    (tmp_path / "a.xyzzy").write_text("x")
    with pytest.raises(BadInput, match=r"a\.xyzzy"):
        read(tmp_path / "a.xyzzy")
    assert capsys.readouterr() == ("", "")  # meshio's own words are left out
    points = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [2, 0, 0]])
    with pytest.raises(BadInput, match="cells of the kind quad16"):
        read(meshio.Mesh(np.eye(16, 3), [("quad16", [np.arange(16)])]))
    with pytest.raises(BadInput, match=r"it got a ndarray"):
        read(points)


def test_invalid_meshes_say_what_is_wrong_and_where():
    good = fx.grids.triangles(cells=(2, 2))
    change = lambda **options: dataclasses.replace(good, **options)
    points = good.points.copy()
    points[4] = [1.4, 0.5]  # the middle node outside the square
    with pytest.raises(BadInput, match="inverted"):
        change(points=points)
    points[4] = points[0]
    with pytest.raises(BadInput, match="no volume"):
        change(points=points)
    twisted = fx.grids.quads(cells=(1, 1))
    with pytest.raises(BadInput, match="inside out"):
        dataclasses.replace(twisted, cells=twisted.cells[:, [0, 2, 1, 3]])
    with pytest.raises(BadInput, match="'pyramid'"):
        change(kind="pyramid")
    with pytest.raises(BadInput, match=r"no boundary 'rigth'.*'right'"):
        good.nodes("rigth")
    with pytest.raises(BadInput, match="belong to no cell"):
        change(points=np.concatenate([good.points, [[5.0, 5.0]]]), same=np.zeros(0, int))
    with pytest.raises(BadInput, match="whole numbers"):
        change(cells=good.cells[:, :2])
    with pytest.raises(BadInput, match="between 0 and"):
        change(boundaries={"left": np.array([[0, 99]])})
    with pytest.raises(BadInput, match="set of nodes"):
        change(boundaries={"left": np.array([0, 1])}).facets("left")
    with pytest.raises(BadInput, match="radius"):
        fx.grids.holed((1.0, 1.0), 0.5, (2, 2))
    with pytest.raises(BadInput, match="order"):
        good.of_order(3)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("kind", ["triangle", "quad", "tet", "hex"])
def test_carving_keeps_names_and_bares_sides(kind, order):
    """The L: a quarter is gone, what is left of its sides keeps its name, and "inner" are the two at the corner."""
    dim = 3 if kind in ("tet", "hex") else 2
    mesh = fx.grids.l_shape((2.0, 2.0, 1.0)[:dim], (4, 4, 2)[:dim], kind, order)
    space = fx.grids.NodalSpace(mesh)
    assert float(space.weights.sum()) == pytest.approx(3.0)
    names = {"left", "right", "bottom", "top", "inner"} | ({"front", "back"} if dim == 3 else set())
    assert set(mesh.boundaries) == names
    from fiberax.grids.parts import over_sides

    areas = {name: float(over_sides(mesh, mesh.facets(name)).weighted.sum()) for name in names}
    expected = {"left": 2.0, "bottom": 2.0, "right": 1.0, "top": 1.0, "inner": 2.0, "front": 3.0, "back": 3.0}
    assert areas == pytest.approx({name: expected[name] for name in names})
    inner = mesh.points[mesh.nodes("inner")]
    assert np.all((inner[:, 0] == 1.0) | (inner[:, 1] == 1.0)) and np.all(inner[:, :2] >= 1.0)


def test_carving_keeps_periodic_nodes_and_regions():
    mesh = fx.grids.quads(cells=(4, 4), periodic=(True, False))
    regions = {"low": np.arange(16)[fx.grids.NodalSpace(mesh).positions().reshape(16, -1, 2)[:, 0, 1] < 0.5]}
    mesh = fx.grids.Mesh(mesh.points, mesh.cells, mesh.kind, mesh.boundaries, regions, mesh.same)
    left = fx.grids.carved(mesh, lambda x: (x[:, 0] < 0.25) & (x[:, 1] < 0.25), "bottom")
    assert len(left.cells) == 15 and len(left.regions["low"]) == 7
    # The node at the origin is gone with the one next to it, but its partner at x = 1 is there.
    assert len(left.points) == 24 and len(left.representatives) == 20
    assert len(left.facets("bottom")) == 3 + 2 and set(left.boundaries) == {"bottom", "top"}


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda m: fx.grids.carved(m, lambda x: x[:, 0] < 9.0), "nothing would remain"),
        (lambda m: fx.grids.carved(m, lambda x: x[:, 0]), "must give 256 booleans, one for each cell; it gives float64"),
        (lambda m: fx.grids.l_shape((1.0,), (4,)), "two or three of each"),
        (lambda m: fx.grids.l_shape((1.0, 1.0), (4, 4), "tet"), "a kind of cell"),
        (lambda m: fx.grids.l_shape((1.0, 1.0), (4, 3)), "must be even"),
    ],
)
def test_shapes_that_cannot_be_cut_are_refused(call, words):
    with pytest.raises(BadInput, match=words):
        call(fx.grids.quads())

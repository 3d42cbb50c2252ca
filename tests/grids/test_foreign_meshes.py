"""Kinds of cells and formats of others: what is completed, cut, projected into its plane, and refused."""

import re

import meshio
import numpy as np
import pytest

import fiberax as fx
from fiberax.core.errors import BadInput
from fiberax.grids import MeshFileWarning, elements
from fiberax.grids.files.convert import convert
from fiberax.grids.files.raw import Block, Raw
from fiberax.grids.mesh import jacobians, outer_facets
from fiberax.grids.parts import over_sides

read = fx.grids.read


def volume(mesh):
    weights = elements.table(mesh.kind, mesh.order).weights
    return float(np.sum(np.abs(np.linalg.det(jacobians(mesh))) * weights))


def area(mesh, facets):
    return float(over_sides(mesh, facets).weighted.sum())


def bent(x):
    """A smooth map of the unit square or cube that is of degree two along every edge."""
    return x + 0.1 * np.sin(np.arange(1.0, x.shape[1] + 1)) * (x[:, :1] ** 2 * x[:, 1:2] ** 2 + x[:, 1:2])


@pytest.mark.parametrize("kind", ["quad", "hex"])
def test_serendipity_elements_are_completed_with_their_own_map(kind):
    """quad8 and hex20: volume and sides are those of the full element whose middle nodes its map gives."""
    generator, name, facet = {"quad": (fx.grids.quads, "quad8", "line3"), "hex": (fx.grids.hexes, "hexahedron20", "quad8")}[
        kind
    ]
    dim = 2 if kind == "quad" else 3
    full = generator(cells=(3,) * dim, order=2).mapped(bent)
    kept = 8 if kind == "quad" else 20
    side = full.facets("right")
    theirs = meshio.Mesh(
        full.points,
        [(name, full.cells[:, :kept]), (facet, side[:, : 3 if dim == 2 else 8])],
        cell_sets={"right": [None, np.arange(len(side))]},
    )
    with pytest.warns(MeshFileWarning, match=f"The mesh: {name}: missing nodes on faces and in the middle added"):
        mesh = read(theirs)
    assert (mesh.kind, mesh.order, len(mesh.points)) == (kind, 2, len(full.points))
    own, eight = Serendipity(dim), full.cells[:, :kept]
    assert volume(mesh) == pytest.approx(own.volume(full.points, eight), rel=1e-12)
    places = 2.0 * elements.reference_nodes(kind, 2)[kept:] - 1.0
    np.testing.assert_allclose(mesh.points[mesh.cells[:, kept:]], own.at(places) @ full.points[eight], atol=1e-14)
    assert mesh.facets("right").shape == side.shape
    assert area(mesh, mesh.facets("right")) == pytest.approx(area(full, side), rel=1e-2)


class Serendipity:
    """The map of quad8 and hex20, by the shape functions of the books (Zienkiewicz), whose monomials are fitted here."""

    def __init__(self, dim):
        corners = 2.0 * elements.CORNERS["quad" if dim == 2 else "hex"] - 1.0
        edges = elements.parents("quad" if dim == 2 else "hex", 2)[len(corners) : 8 if dim == 2 else 20]
        nodes = np.concatenate([corners, [corners[list(edge)].mean(axis=0) for edge in edges]])
        powers = np.stack(np.meshgrid(*[np.arange(3)] * dim, indexing="ij"), axis=-1).reshape(-1, dim)
        self.powers = powers[np.sum(np.where(powers == 1, 0, powers), axis=1) <= 2]  # superlinear degree at most two
        self.dim, self.coefficients = dim, np.linalg.inv(np.prod(nodes[:, None] ** self.powers[None], axis=2))

    def at(self, places):
        """Shape functions (places, nodes)."""
        return np.prod(places[:, None] ** self.powers[None], axis=2) @ self.coefficients

    def volume(self, points, cells):
        """By Gauss's rule."""
        x, w = np.polynomial.legendre.leggauss(5)
        places = np.stack(np.meshgrid(*[x] * self.dim, indexing="ij"), axis=-1).reshape(-1, self.dim)
        weights = np.prod(np.stack(np.meshgrid(*[w] * self.dim, indexing="ij"), axis=-1).reshape(-1, self.dim), axis=1)
        slopes = []
        for k, unit in enumerate(np.eye(self.dim, dtype=int)):
            lower = np.prod(places[:, None] ** np.maximum(self.powers - unit, 0)[None], axis=2)
            slopes.append((self.powers[:, k] * lower) @ self.coefficients)
        jacobian = np.einsum("eni,qnj->eqij", points[cells], np.stack(slopes, axis=-1))
        return float(np.sum(np.abs(np.linalg.det(jacobian)) * weights))


WEDGES = ((0, 1, 4, 3, 2, 7), (1, 5, 4, 2, 6, 7))  # of a hexahedron, with triangles across the second axis


def layered():
    """Hexahedra below, wedges in the middle, and above them pyramids with their tips in the middle of each block."""
    grid = fx.grids.hexes(cells=(2, 2, 3), order=2)
    points, cells = grid.points, grid.cells
    height = points[cells[:, :8]].mean(axis=1)[:, 2]
    low, middle, high = (cells[(height > a) & (height < a + 1 / 3)] for a in (0.0, 1 / 3, 2 / 3))
    wedges = np.concatenate([middle[:, list(of)] for of in WEDGES])
    pyramids = np.concatenate([np.concatenate([high[:, list(face)], high[:, 26:]], axis=1) for face in elements.FACETS["hex"]])
    return points, {"hexahedron": low[:, :8], "wedge": wedges, "pyramid": pyramids}


@pytest.mark.parametrize("order", [1, 2])
def test_all_kinds_of_solids_are_cut_into_tetrahedra_that_fit(order):
    rng = np.random.default_rng(3)
    points, cells = layered()
    count = len(points)
    number = rng.permutation(count)
    shuffled = np.empty_like(points)
    shuffled[number] = points
    cells = {name: number[nodes] for name, nodes in cells.items()}
    if order == 2:
        shuffled, cells = with_edges(shuffled, cells)
    # Not by meshio, which knows no wedges of 15 nodes.
    raw = Raw(bent(shuffled) if order == 2 else shuffled, [Block(name, nodes) for name, nodes in cells.items()], [])
    with pytest.warns(MeshFileWarning, match=r"36 cells .* are cut into \d+ tetrahedra"):
        mesh = convert(raw, "the mesh", False)
    assert mesh.kind == "tet" and mesh.order == order
    if order == 1:
        assert volume(mesh) == pytest.approx(1.0, rel=1e-13)
    # Fitting: what is outside is the surface of the cube and no more.
    outside = outer_facets(mesh)
    straight = mesh.of_order(1) if order == 2 else mesh
    flat = np.sort(outer_facets(straight), axis=1)
    assert len(outside) == len(flat)
    if order == 1:
        assert area(mesh, outside) == pytest.approx(6.0)
        middle = mesh.points[outside].mean(axis=1)
        assert np.all(np.abs(middle - 0.5).max(axis=1) > 0.5 - 1e-12)
    else:
        # A map of degree two, so the volume of quadratic cells converges; faces have no gaps: ∮ n = 0 holds exactly.
        assert volume(mesh) == pytest.approx(bent_volume(), rel=2e-3)


def with_edges(points, cells):
    """The same cells with a node in the middle of each edge, by brute force."""
    edges = {
        "hexahedron": elements.parents("hex", 2)[8:20],
        "wedge": ((0, 1), (1, 2), (2, 0), (3, 4), (4, 5), (5, 3), (0, 3), (1, 4), (2, 5)),
        "pyramid": ((0, 1), (1, 2), (2, 3), (3, 0), (0, 4), (1, 4), (2, 4), (3, 4)),
    }
    names = {"hexahedron": "hexahedron20", "wedge": "wedge15", "pyramid": "pyramid13"}
    known, places, made = {}, [*points], {}
    for kind, table in cells.items():
        rows = []
        for row in table.tolist():
            for a, b in edges[kind]:
                key = frozenset((row[a], row[b]))
                if key not in known:
                    known[key] = len(places)
                    places.append((points[row[a]] + points[row[b]]) / 2)
            rows.append(row + [known[frozenset((row[a], row[b]))] for a, b in edges[kind]])
        made[names[kind]] = np.array(rows)
    return np.array(places), made


def bent_volume():
    mesh = fx.grids.hexes(cells=(4, 4, 4), order=2).mapped(bent)
    return volume(mesh)


def test_triangles_and_quadrilaterals_together_become_triangles():
    points = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1], [2, 0], [2, 1]])
    cells = [("quad", [[0, 1, 2, 3]]), ("triangle", [[1, 4, 5], [1, 5, 2]]), ("line", [[0, 1], [1, 4], [0, 3]])]
    sets = {"bottom": [None, None, [0, 1]], "left part": [[0], None, None]}
    with pytest.warns(MeshFileWarning, match="3 cells"):
        mesh = read(meshio.Mesh(points, cells, cell_sets=sets))
    assert mesh.kind == "triangle" and len(mesh.cells) == 4 and volume(mesh) == pytest.approx(2.0)
    assert area(mesh, mesh.facets("bottom")) == pytest.approx(2.0) and len(mesh.regions["left part"]) == 2


def test_groups_on_sides_that_are_cut_are_cut_with_them():
    mesh = fx.grids.hexes(cells=(2, 2, 1))
    wedges = np.concatenate([mesh.cells[:, list(of)] for of in WEDGES])
    side = mesh.facets("right")
    theirs = meshio.Mesh(mesh.points, [("wedge", wedges), ("quad", side)], cell_sets={"right": [[], np.arange(2)]})
    with pytest.warns(MeshFileWarning, match=r"8 cells \(wedge\) are cut into 24 tetrahedra"):
        read_ = read(theirs)
    assert area(read_, read_.facets("right")) == pytest.approx(1.0) and read_.facets("right").shape == (4, 3)


def test_tetrahedra_on_the_faces_of_hexahedra_are_refused_where_they_do_not_fit():
    points = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1], [0.5, 0.5, 2]])
    fits, crosses = [[4, 5, 6, 8], [4, 6, 7, 8]], [[4, 5, 7, 8], [5, 6, 7, 8]]
    cells = lambda tets: meshio.Mesh(points, [("hexahedron", [np.arange(8)]), ("tetra", tets)])
    with pytest.warns(MeshFileWarning):
        assert volume(read(cells(fits))) == pytest.approx(1.0 + 1.0 / 3.0)
    with pytest.raises(BadInput, match="meet 1 quadrilateral faces of other cells without pyramids"):
        read(cells(crosses))


@pytest.mark.parametrize(
    ("turn", "told"),
    [
        (np.eye(3), None),
        (np.eye(3)[[0, 2, 1]], r"across y; its coordinates are \(x, z\)"),
        (np.eye(3)[[1, 2, 0]], r"across x; its coordinates are \(y, z\)"),
        (np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0], "a plane askew to the axes"),
    ],
)
def test_flat_meshes_lie_in_any_plane(turn, told, recwarn):
    flat = fx.grids.triangles(upper=(2.0, 1.0), cells=(4, 2))
    points = np.pad(flat.points, [(0, 0), (0, 1)], constant_values=3.0) @ turn
    points = np.concatenate([points, [[50.0, 40.0, 30.0]]])  # a point of the geometry, of no cell
    mesh = read(meshio.Mesh(points, [("triangle", flat.cells), ("line", flat.facets("left"))], cell_sets={"l": [None, [0, 1]]}))
    said = [str(w.message) for w in recwarn.list]
    assert (not said) if told is None else re.search(told, said[0])
    recwarn.clear()
    assert mesh.dim == 2 and volume(mesh) == pytest.approx(2.0) and area(mesh, mesh.facets("l")) == pytest.approx(1.0)


@pytest.mark.parametrize("normal", [[0.3, -0.5, 0.8], [0.99, 0.1, 0.05]])
def test_the_first_coordinate_of_a_plane_askew_is_along_x_or_else_y(normal):
    """Across the first coordinate x (or y, where the plane is nearly across x) does not change."""
    normal = np.array(normal) / np.linalg.norm(normal)
    basis = np.linalg.svd(normal[None])[2][1:]
    flat = fx.grids.triangles(upper=(2.0, 1.0), cells=(4, 2))
    points = flat.points @ basis
    with pytest.warns(MeshFileWarning, match="a plane askew"):
        mesh = read(meshio.Mesh(points, [("triangle", flat.cells)]))
    seen = points[:, 0 if abs(normal[0]) < 0.9 else 1]
    slope = np.linalg.lstsq(np.column_stack([mesh.points, np.ones(len(points))]), seen, rcond=None)[0]
    assert slope[0] > 0.1 and abs(slope[1]) < 1e-12


def test_a_line_askew_has_its_length():
    along = np.array([0.48, 0.6, 0.64])
    places = np.array([0.0, 0.5, 2.0])
    with pytest.warns(MeshFileWarning, match="a line askew"):
        mesh = read(meshio.Mesh(places[:, None] * along + [1.0, 2.0, 3.0], [("line", [[0, 1], [1, 2]])]))
    assert mesh.dim == 1
    np.testing.assert_allclose(mesh.points[:, 0] - mesh.points[0, 0], places, rtol=1e-12)


def test_an_outline_and_a_surface_are_no_bodies():
    square = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    with pytest.raises(BadInput, match=r"holds lines only, which are not straight.*save its surface elements too"):
        read(meshio.Mesh(square, [("line", [[0, 1], [1, 2], [2, 3], [3, 0]])]))
    with pytest.raises(BadInput, match=r"holds surfaces only, which are not flat.*save its volume elements too"):
        read(meshio.Mesh(np.eye(4, 3), [("triangle", [[0, 1, 2], [0, 1, 3], [1, 2, 3], [0, 2, 3]])]))


def test_sets_of_nodes_of_other_formats_are_boundaries(tmp_path):
    flat = fx.grids.quads(cells=(2, 2))
    theirs = meshio.Mesh(flat.points, [("quad", flat.cells)], point_sets={"Rand": flat.nodes("left")})
    np.testing.assert_array_equal(read(theirs).boundaries["Rand"], flat.nodes("left"))


def test_numbers_of_cells_in_other_formats_are_groups(tmp_path):
    flat = fx.grids.triangles(cells=(2, 2))
    points = np.pad(flat.points, [(0, 0), (0, 1)])
    tags = [np.repeat([1, 2], 4), np.array([7, 7])]
    theirs = meshio.Mesh(points, [("triangle", flat.cells), ("line", flat.facets("left"))], cell_data={"medit:ref": tags})
    theirs.write(tmp_path / "a.mesh")
    mesh = read(tmp_path / "a.mesh")
    assert set(mesh.boundaries) == {"7"} and sorted(mesh.regions) == ["1", "2"] and len(mesh.facets("7")) == 2


def test_med_files_have_the_groups_of_their_families(tmp_path):
    flat = fx.grids.quads(cells=(2, 2))
    families = [np.array([-6, -6, -7, -7]), np.array([-8, -8])]
    theirs = meshio.Mesh(flat.points, [("quad", flat.cells), ("line", flat.facets("left"))], cell_data={"cell_tags": families})
    theirs.cell_tags = {-6: ["Low", "all"], -7: ["all"], -8: ["Grip"]}
    tags = np.zeros(9, int)
    tags[0] = 2
    theirs.point_data["point_tags"], theirs.point_tags = tags, {2: ["corner"]}
    theirs.write(tmp_path / "Part.med")
    mesh = read(tmp_path / "Part.med")
    assert {name: len(rows) for name, rows in mesh.regions.items()} == {"Low": 2, "all": 4}
    assert area(mesh, mesh.facets("Grip")) == pytest.approx(1.0) and mesh.boundaries["corner"].tolist() == [0]


def test_med_files_with_fields_are_read(tmp_path):
    """Converted by meshio from Gmsh: names of fields stand where those of groups stood, and numbers are left of the groups."""
    solid = fx.grids.tets(cells=(1, 1, 1))
    fields = {"two words": np.arange(8.0)}
    tags = [np.array([3, 3, 3, 4, 4, 4])]
    theirs = meshio.Mesh(solid.points, [("tetra", solid.cells)], point_data=fields, cell_data={"gmsh:physical": tags})
    theirs.write(tmp_path / "Part.med")
    mesh = read(tmp_path / "Part.med")
    assert volume(mesh) == pytest.approx(1.0) and {name: len(rows) for name, rows in mesh.regions.items()} == {"3": 3, "4": 3}


INPUT = """*Heading
** a comment
*Node, nset=ALL
11, 0., 0.
12, 1., 0.
13, 1., 1.
14, 0., 1.
25, 0.5, 0.
26, 1., .5
27, 0.5, 1.
28, 0., 5.d-1
*Element, type=CPE8R, elset=Plate
7, 11, 12, 13, 14, 25, 26,
27, 28
*Element, type=MASS
8, 11
*Nset, nset=Corners, generate
11, 14, 1
*Nset, nset=Both
Corners, 28
*Elset, elset=Half
7
*Surface, type=ELEMENT, name=Right Side
Half, S2
7, S1
*Surface, type=NODE, name=Nodes
Corners
"""


def test_abaqus_input_files(tmp_path):
    (tmp_path / "Plate.inp").write_text(INPUT)
    with pytest.warns(MeshFileWarning, match="1 elements of the type MASS are left out.*quad8: missing nodes"):
        mesh = read(tmp_path / "Plate.inp")
    assert (mesh.kind, mesh.order, len(mesh.points)) == ("quad", 2, 9) and volume(mesh) == pytest.approx(1.0)
    assert {name: len(rows) for name, rows in mesh.regions.items()} == {"Plate": 1, "Half": 1}
    assert len(mesh.boundaries["ALL"]) == 8 and len(mesh.boundaries["Both"]) == 5 and len(mesh.boundaries["Nodes"]) == 4
    assert mesh.facets("Right Side").shape == (2, 3) and area(mesh, mesh.facets("Right Side")) == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("CPE4", "quad"), ("CPE4RH", "quad"), ("CPE8", "quad8"), ("CPS6M", "triangle6"), ("CPS3", "triangle"),
        ("CAX8R", "quad8"),
        ("S4R5", "quad"), ("STRI65", "triangle6"), ("STRI3", "triangle"), ("M3D4", "quad"), ("DC2D8", "quad8"),
        ("C3D4H", "tetra"), ("C3D8R", "hexahedron"), ("C3D10MH", "tetra10"), ("C3D20RH", "hexahedron20"), ("C3D6", "wedge"),
        ("DC3D8", "hexahedron"), ("C3D15", "wedge15"), ("C3D5", "pyramid"), ("SC8R", "hexahedron"), ("C3D27", "hexahedron27"),
        ("T2D2", "line"), ("T3D3", "line3"), ("B31", "line"), ("B32H", "line3"), ("R2D2", "line"),
        ("SPRINGA", None), ("CONN3D2", None), ("MASS", None),
    ],
)  # fmt: skip
def test_abaqus_elements_by_family(name, kind):
    from fiberax.grids.files.abaqus import kind_of

    assert kind_of(name) == kind


def test_lines_of_abaqus_have_their_middle_between_the_ends(tmp_path):
    lines = "*Element, type=T2D3, elset=Bottom\n9, 11, 25, 12\n"
    (tmp_path / "a.inp").write_text(INPUT.replace("*Element, type=MASS", lines + "*Element, type=MASS"))
    with pytest.warns(MeshFileWarning):
        mesh = read(tmp_path / "a.inp")
    assert area(mesh, mesh.facets("Bottom")) == pytest.approx(1.0)


ABAQUS_FACES = {"C3D4": ("tet", 4), "C3D8": ("hex", 6), "C3D6": ("wedge", 5), "C3D5": ("pyramid", 5)}


@pytest.mark.parametrize("name", ABAQUS_FACES)
def test_faces_of_abaqus_cover_each_cell_once(tmp_path, name):
    """The areas of S1, S2, ... add up to the surface, and S1 is the face that the manual shows at the bottom."""
    shape, count = ABAQUS_FACES[name]
    base = {"tet": [0, 1, 3], "wedge": [0, 1, 3], "hex": [0, 1, 2, 3], "pyramid": [0, 1, 2, 3]}[shape]
    top = {"tet": [4], "pyramid": [4], "wedge": [4, 5, 7], "hex": [4, 5, 6, 7]}[shape]
    points = elements.CORNERS["hex"]
    rows = "\n".join(f"{k + 1}, {x}, {y}, {z}" for k, (x, y, z) in enumerate(points[base + top]))
    nodes = ", ".join(str(k + 1) for k in range(len(base + top)))
    surfaces = "\n".join(f"*Surface, name=F{k}\n1, S{k}" for k in range(1, count + 1))
    (tmp_path / "a.inp").write_text(f"*NODE\n{rows}\n*ELEMENT, TYPE={name}\n1, {nodes}\n{surfaces}\n")
    with pytest.warns(MeshFileWarning) if shape in ("wedge", "pyramid") else _nothing():
        mesh = read(tmp_path / "a.inp")
    areas = {key: area(mesh, mesh.facets(key)) for key in mesh.boundaries}
    assert len(areas) == count and sum(areas.values()) == pytest.approx(area(mesh, outer_facets(mesh)))
    assert np.all(mesh.points[mesh.nodes("F1"), 2] == 0.0)
    everything = np.concatenate([mesh.facets(key) for key in areas])
    assert len(np.unique(np.sort(everything, axis=1), axis=0)) == len(everything)
    if shape == "hex":  # the manual's picture: bottom, top, front, right, back, left
        for key, axis, value in (("F2", 2, 1.0), ("F3", 1, 0.0), ("F4", 0, 1.0), ("F5", 1, 1.0), ("F6", 0, 0.0)):
            assert np.all(mesh.points[mesh.nodes(key), axis] == value)


def _nothing():
    import contextlib

    return contextlib.nullcontext()


UNIVERSAL = """    -1
  2411
         1         1         1        11
   0.0000000000000000D+00   0.0000000000000000D+00   0.0000000000000000D+00
         2         1         1        11
   1.0000000000000000D+00   0.0000000000000000D+00   0.0000000000000000D+00
         3         1         1        11
   0.0000000000000000D+00   1.0000000000000000D+00   0.0000000000000000D+00
         4         1         1        11
   5.0000000000000000D-01   0.0000000000000000D+00   0.0000000000000000D+00
         5         1         1        11
   5.0000000000000000D-01   5.0000000000000000D-01   0.0000000000000000D+00
         6         1         1        11
   0.0000000000000000D+00   5.0000000000000000D-01   0.0000000000000000D+00
    -1
    -1
  2412
         1        22         2         1         7         3
         0         1         1
         1         4         2
         2        42         2         1         7         6
         1         4         2         5         3         6
    -1
    -1
  2467
         1         0         0         0         0         0         0         1
Bottom Side
         8         1         0         0
         2         0         0         0         0         0         0         3
Corners
         7         1         0         0         7         2         0         0
         7         3         0         0
    -1
"""


def test_what_meshio_does_not_know_is_not_called_damaged(tmp_path):
    """Complete quadrilaterals of order 2, which meshio's reader of MED has not: a file with its group called so."""
    import h5py

    meshio.Mesh(np.eye(4, 3), [("tetra", [[0, 1, 2, 3]])]).write(tmp_path / "a.med")
    with h5py.File(tmp_path / "a.med", "a") as file:
        cells = next(group for name, group in _walk(file) if name.endswith("/MAI"))
        cells.move("TE4", "QU9")
    with pytest.raises(BadInput, match="meshio does not know 'QU9' in it") as caught:
        read(tmp_path / "a.med")
    assert "damaged" not in str(caught.value)


def _walk(file):
    found = []
    file.visititems(lambda name, group: found.append((name, group)))
    return found


def test_universal_files(tmp_path):
    (tmp_path / "Part.unv").write_text(UNIVERSAL)
    mesh = read(tmp_path / "Part.unv")
    assert (mesh.kind, mesh.order) == ("triangle", 2) and volume(mesh) == pytest.approx(0.5)
    assert mesh.facets("Bottom Side").tolist() == [[0, 1, 3]] and mesh.boundaries["Corners"].tolist() == [0, 1, 2]
    (tmp_path / "Part.unv").write_text(UNIVERSAL.replace("        42         2", "       115         2"))
    with pytest.raises(BadInput, match="element 2 has 6 nodes, and its descriptor 115 stands for 8"):
        read(tmp_path / "Part.unv")
    (tmp_path / "Part.unv").write_text(UNIVERSAL[:1200])
    with pytest.raises(BadInput, match=r"Part\.unv cannot be read"):
        read(tmp_path / "Part.unv")


@pytest.mark.parametrize(("kind", "name"), [("tet", 118), ("hex", 116), ("wedge", 113), ("quad", 45)])
def test_parabolic_cells_of_universal_files_go_around_their_edges(tmp_path, kind, name):
    """I-DEAS lists the nodes of a face on its way around, corner by corner, with the middles between them."""
    around = lambda loop: [pair for a, b in zip(loop, loop[1:] + loop[:1]) for pair in ((a,), (a, b))]
    order = {
        "tet": [*around([0, 1, 2]), (0, 3), (1, 3), (2, 3), (3,)],
        "hex": [*around([0, 1, 2, 3]), (0, 4), (1, 5), (2, 6), (3, 7), *around([4, 5, 6, 7])],
        "wedge": [*around([0, 1, 2]), (0, 3), (1, 4), (2, 5), *around([3, 4, 5])],
        "quad": around([0, 1, 2, 3]),
    }[kind]
    corners = elements.CORNERS["hex"][[0, 1, 3, 4, 5, 7]] if kind == "wedge" else elements.CORNERS[kind]
    places = np.array([corners[list(of)].mean(axis=0) for of in order])
    places = np.pad(places, [(0, 0), (0, 3 - places.shape[1])])
    nodes = "".join(
        f"{k + 1:10d}{1:10d}{1:10d}{11:10d}\n{x:25.16E}{y:25.16E}{z:25.16E}\n" for k, (x, y, z) in enumerate(places)
    )
    numbers = [f"{k + 1:10d}" for k in range(len(places))]
    rows = "\n".join("".join(numbers[k : k + 8]) for k in range(0, len(numbers), 8))
    cell = f"{1:10d}{name:10d}{1:10d}{1:10d}{7:10d}{len(places):10d}\n{rows}\n"
    (tmp_path / "a.unv").write_text(f"    -1\n  2411\n{nodes}    -1\n    -1\n  2412\n{cell}    -1\n")
    with pytest.warns(MeshFileWarning) if kind != "tet" else _nothing():
        mesh = read(tmp_path / "a.unv")
    assert volume(mesh) == pytest.approx({"tet": 1 / 6, "hex": 1.0, "wedge": 0.5, "quad": 1.0}[kind])
    shape = mesh.kind
    means = np.stack([mesh.points[mesh.cells[:, list(of)]].mean(axis=1) for of in elements.parents(shape, 2)], axis=1)
    np.testing.assert_allclose(mesh.points[mesh.cells], means, atol=1e-14)


def test_paths_and_kinds_are_written_as_they_are(tmp_path):
    path = tmp_path / "MyPart.VTK"
    meshio.Mesh(np.eye(4, 3), [("vertex", [[0], [1]])]).write(path, "vtk")
    with pytest.raises(BadInput, match=r"MyPart\.VTK: it holds points only"):
        read(path)
    with pytest.raises(BadInput, match="VTK_LAGRANGE_TRIANGLE"):
        read(meshio.Mesh(np.eye(10, 3), [("VTK_LAGRANGE_TRIANGLE", [np.arange(10)])]))


def test_elements_of_universal_files_that_are_left_out_are_counted(tmp_path):
    """Two lumped masses beside a triangle."""
    nodes = "".join(
        f"{k:10d}{1:10d}{1:10d}{11:10d}\n{x:25.16E}{y:25.16E}{0.0:25.16E}\n" for k, x, y in ((1, 0, 0), (2, 1, 0), (3, 0, 1))
    )
    cells = f"{1:10d}{41:10d}{1:10d}{1:10d}{7:10d}{3:10d}\n{1:10d}{2:10d}{3:10d}\n"
    cells += "".join(f"{k:10d}{161:10d}{1:10d}{1:10d}{7:10d}{1:10d}\n{k - 1:10d}\n" for k in (2, 3))
    (tmp_path / "a.unv").write_text(f"    -1\n  2411\n{nodes}    -1\n    -1\n  2412\n{cells}    -1\n")
    with pytest.warns(MeshFileWarning, match=" 2 elements of the descriptor 161 are left out"):
        assert len(read(tmp_path / "a.unv").cells) == 1

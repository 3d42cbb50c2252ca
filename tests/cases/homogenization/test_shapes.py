"""The cases steady and diffusion on shapes and mesh files: sides by name, results, figures, ParaView files, refusals."""

import json

import meshio
import numpy as np
import pytest

import fiberax as fx
from fiberax import cli
from fiberax.cases.base import CaseWarning
from fiberax.cases.homogenization.diffusion import Diffusion
from fiberax.cases.homogenization.scales_figure import scales_figures
from fiberax.cases.homogenization.shapes import Shape, ShapeOptions, mesh_of
from fiberax.cases.homogenization.steady import SteadyConduction
from fiberax.cli.display import of_library
from fiberax.io.body import Body
from fiberax.io.plots.draw import draw_all, figures_of
from fiberax.io.results import Quantity, Table, make_schema, read_table
from fiberax.io.run import Results


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A layered image, a mesh with groups and one without, and a block."""
    folder = tmp_path_factory.mktemp("files")
    np.save(folder / "layers.npy", np.repeat([[0, 1]], 8, axis=0).repeat(4, axis=1))
    np.save(folder / "bar.npy", np.arange(8) // 4)
    mesh = fx.grids.triangles((0.0, 0.0), (4.0, 2.0), (4, 2))
    sides = {"inlet": mesh.facets("left"), "outlet": mesh.facets("right"), "wall": mesh.facets("top")}
    lines, tags = np.concatenate(list(sides.values())), np.repeat([1, 2, 3], [len(v) for v in sides.values()])
    points = np.pad(mesh.points, [(0, 0), (0, 1)])
    physical = [np.full(len(mesh.cells), 9), tags]
    named = meshio.Mesh(
        points,
        [("triangle", mesh.cells), ("line", lines)],
        cell_data={"gmsh:physical": physical, "gmsh:geometrical": physical},
        field_data={name: np.array([k + 1, 1]) for k, name in enumerate(sides)},
    )
    meshio.write(folder / "named.msh", named, file_format="gmsh22", binary=False)
    meshio.write(folder / "plain.vtu", meshio.Mesh(points, [("triangle", mesh.cells)]))
    block = fx.grids.hexes(cells=(1, 1, 1))
    meshio.write(folder / "block.vtu", meshio.Mesh(block.points, [("hexahedron", block.cells)]))
    return folder


def run(files, folder, *arguments):
    common = ("--image", files / "layers.npy", "--slopes", "0,0", "--plain", "--out", folder)
    assert cli.main(["run", *map(str, (*arguments, *common))]) == 0
    return folder


def test_a_mesh_file_is_heated_between_its_named_sides(files, tmp_path, capsys):
    """A layered cell with constant phases: U is linear from inlet to outlet, A the means across and along."""
    folder = run(files, tmp_path / "run", "steady", "--mesh", files / "named.msh", "--order", 2,
                 "--hot-sides", "inlet", "--cold-sides", "outlet")  # fmt: skip
    table, body = read_table(folder), Body.load(folder)
    assert body.mesh.order == 2 and not body.deforms
    np.testing.assert_allclose(table.arrays["U"][0], 100.0 * (1 - body.mesh.points[:, 0] / 4.0), atol=1e-6)
    assert {path.stem for path in (folder / "figures").glob("*.png")} == {"U", "response", "microstates", "scales"}
    summary = json.loads((folder / "summary.json").read_text())  # 10.5 * 100 K over 4 mm, through 2 mm
    assert summary["inflow"] == pytest.approx({"inlet": 525.0, "outlet": -525.0}, rel=1e-7)
    assert "flow into the body [K mm^2/s] through inlet: 525, outlet: -525" in capsys.readouterr().err
    back = meshio.read(folder / "paraview" / "series_000000.vtu")
    assert set(back.point_data) == {"U"} and set(back.cell_data) == {"A"}
    (scales,) = scales_figures(Results.load(folder))
    panels = scales.draw(pytest.importorskip("matplotlib.pyplot")).axes
    above, outlined = panels[0], [part for axes in panels for part in axes.get_children() if "Contour" in type(part).__name__]
    assert outlined
    interface = np.concatenate([path.vertices for part in outlined for path in part.get_paths()])
    np.testing.assert_allclose(interface[:, 1], 0.5, atol=1e-12)
    assert (above.get_xlabel(), above.get_ylabel()) == ("x [mm]", "y [mm]")
    np.testing.assert_allclose(back.point_data["U"].ravel(), table.arrays["U"][0])
    layers = back.cell_data["A"][0].reshape(-1, 3, 3)[:, :2, :2]
    np.testing.assert_allclose(layers, np.broadcast_to(np.diag([10.5, 40.0 / 21.0]), layers.shape), atol=1e-5)


@pytest.mark.slow
def test_heat_leaves_an_l_shape_through_the_sides_that_are_named(files, tmp_path):
    arguments = ("--shape", "l-shape", "--cells", 6, "--records", 2, "--dt", 0.1, "--t1", 0.2)
    left = run(files, tmp_path / "left", "diffusion", *arguments, "--cold-sides", "left")
    everywhere = run(files, tmp_path / "all", "diffusion", *arguments)
    mesh = Body.load(left).mesh
    cold, inner = mesh.points[:, 0] == 0.0, mesh.nodes("inner")
    one, other = (read_table(folder).arrays["U"] for folder in (left, everywhere))
    assert np.all(one[:, cold] == 0.0) and np.all(one[1:, inner] > 0.1)
    assert np.all(other[:, inner] == 0.0) and other[-1].max() < one[-1].max() < one[0].max()
    assert len(list((left / "paraview").glob("series_*.vtu"))) == 3
    assert {path.stem for path in (left / "figures").glob("*.png")} == {"U", "response", "microstates", "scales"}


@pytest.mark.parametrize("shape", [Shape.L_SHAPE, Shape.PLATE_WITH_HOLE, Shape.NOTCHED])
@pytest.mark.parametrize("dim", [2, 3])
def test_shapes_fill_their_part_of_the_box(shape, dim):
    mesh = mesh_of(SteadyConduction(shape=shape, cells=16, size=2.0, order=2), dim)
    depth = {Shape.PLATE_WITH_HOLE: 0.5}.get(shape, 2.0) if dim == 3 else 1.0
    # A quarter is missing, a circle of radius 1/4, or a notch with the area depth·width/2.
    area = 4.0 - {Shape.L_SHAPE: 1.0, Shape.PLATE_WITH_HOLE: np.pi / 16, Shape.NOTCHED: 0.25}[shape]
    assert Body(mesh).weights.sum() == pytest.approx(area * depth, rel=2e-3)
    assert np.allclose(mesh.points.min(axis=0), 0.0) and {"left", "right", "top"} <= set(mesh.boundaries)
    assert mesh_of(ShapeOptions.__subclasses__()[0](), dim) is None


REFUSED = [
    (("steady", "--mesh", "named.msh"), "--hot-sides: the mesh has no side 'left'. Its sides: inlet, outlet, wall."),
    (("steady", "--mesh", "named.msh", "--hot-sides", "inlet,outlet", "--cold-sides", "outlet"), "both name outlet"),
    (("steady", "--mesh", "named.msh", "--hot-sides", ","), "--hot-sides names no side. The mesh has the sides: inlet, outlet"),
    (("steady", "--shape", "l-shape", "--hot-sides", ""), "--hot-sides names no side. The mesh has the sides: bottom, inner"),
    (("steady", "--shape", "l-shape", "--cold-sides", ""), "--cold-sides names no side. The mesh has the sides: bottom"),
    (("diffusion", "--mesh", "plain.vtu", "--cold-sides", "left"), "Its sides: none (in Gmsh, make physical groups"),
    (("diffusion", "--mesh", "block.vtu"), "is of dimension 3, and the image of the cell of dimension 2"),
    (("diffusion", "--mesh", "layers.npy"), "has a format that is not read here"),
    (("diffusion", "--mesh", "none.msh"), "none.msh does not exist"),
    (("diffusion", "--mesh", "plain.vtu", "--cells", "9"), "--cells 9 has no effect: it counts without --mesh only"),
    (("diffusion", "--mesh", "plain.vtu", "--shape", "l-shape"), "--shape l-shape has no effect"),
    (("diffusion", "--cold-sides", "left"), "--cold-sides left has no effect"),
    (("steady", "--order", "2"), "--order 2 has no effect"),
    (("steady", "--shape", "l-shape", "--order", "3"), "--order = 3: give at most 2"),
    (("steady", "--shape", "oval"), "'oval' is not one of"),
    (
        ("steady", "--shape", "notched", "--image", "bar.npy", "--conductivities", "1,2"),
        "needs a cell of two or three dimensions",
    ),
]


@pytest.mark.parametrize(("arguments", "words"), REFUSED)
def test_wrong_options_end_with_one_message(files, tmp_path, capsys, monkeypatch, arguments, words):
    monkeypatch.chdir(files)
    assert cli.main(["run", *arguments, "--out", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert words in " ".join(said.replace("│", " ").split()) and "Traceback" not in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("mesh", [fx.grids.tets(cells=(2, 2, 2), order=2), fx.grids.interval(order=2), fx.grids.quads(order=2)])
def test_fields_on_every_kind_of_mesh_are_drawn(tmp_path, mesh):
    """A user's own model on a mesh, solids and intervals among them."""
    body = Body(mesh, "m", deforms=False)
    u = np.sin(np.arange(3.0)[:, None] + mesh.points[:, 0])
    arrays = {"macro": u, "response": 1.0 + body.at_sites(u) ** 2}
    schema = make_schema({key: value[0] for key, value in arrays.items()}, {}, {}, "1", Quantity("time"))
    body.save(tmp_path)
    results = Results(Table(schema, np.arange(3.0), arrays), Body.load(tmp_path))
    found = draw_all(figures_of(results), tmp_path)
    assert not found.failed and {path.name for path in found.paths} == {"macro.png", "response.png"}


def test_options_of_boxes_are_as_before():
    assert isinstance(Diffusion(cells=4).build().bundle.macro, fx.homogenization.Diffusion)
    assert SteadyConduction(cells=4).build().output.body is None


def test_a_hot_spot_between_the_points_is_told():
    with pytest.warns(CaseWarning, match=r"The hot spot of --width 0.01 .* start is [\de.-]+, not 100. Give a larger --width"):
        Diffusion(cells=4, width=0.01).build()


def test_warnings_of_the_library_are_told_in_one_line_and_others_as_usual():
    ours = fx.__file__
    assert of_library(UserWarning, ours) and of_library(CaseWarning, "mine.py") and of_library(fx.NoEffectWarning, "mine.py")
    assert not of_library(UserWarning, "mine.py") and not of_library(RuntimeWarning, ours)

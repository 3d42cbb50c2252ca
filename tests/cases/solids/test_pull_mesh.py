"""The case pull on mesh files: sides by name, grips, and the same numbers as for the block that is made."""

import dataclasses
import sys
from pathlib import Path

import meshio
import numpy as np
import pytest

import fiberax as fx
from fiberax import cli
from fiberax.cases.solids.atoms import Material
from fiberax.cases.solids.grips import grips_of
from fiberax.cases.solids.pull import Pull
from fiberax.core.errors import BadInput
from fiberax.io.results import read_table

sys.path.insert(0, str(Path(__file__).parents[2] / "physics" / "solids" / "bodies"))
from bodies import NeoHooke

SMALL = ["--strain", "0.02", "--step", "0.01", "--plain"]


def save(path, mesh, names, flip=False):
    """A mesh as a Gmsh file in the y-x order of coordinates where it is flipped."""
    facet = {"quad": "line", "triangle": "line", "tet": "triangle", "hex": "quad"}[mesh.kind]
    kind = {"quad": "quad", "triangle": "triangle", "tet": "tetra", "hex": "hexahedron"}[mesh.kind]
    sides = [mesh.facets(name) for name in names]
    tags = [np.zeros(len(mesh.cells), int), *(np.full(len(rows), k + 1) for k, rows in enumerate(sides))]
    points = np.pad(mesh.points[:, ::-1] if flip else mesh.points, [(0, 0), (0, 3 - mesh.dim)])
    cells = [(kind, mesh.cells), *((facet, rows) for rows in sides)]
    fields = {value: np.array([k + 1, mesh.dim - 1]) for k, value in enumerate(names.values())}
    data = {"gmsh:physical": tags, "gmsh:geometrical": tags}
    meshio.Mesh(points, cells, cell_data=data, field_data=fields).write(path, "gmsh22", binary=False)
    return path


@pytest.fixture(scope="module")
def plate(tmp_path_factory):
    """The plate that the case makes, as a file: along x, and along y."""
    folder = tmp_path_factory.mktemp("plates")
    mesh = Pull(Material.LJ_PLANE, cells=2).build().bundle.macro.mesh
    save(folder / "x.msh", mesh, {"left": "grip", "right": "load"})
    save(folder / "y.msh", mesh, {"left": "grip", "right": "load"}, flip=True)
    return folder


@pytest.mark.slow
def test_a_plate_from_a_file_is_the_plate_that_is_made(plate, tmp_path):
    made, read = tmp_path / "made", tmp_path / "read"
    common = ["run", "pull", "--material", "lj-triangular", *SMALL]
    assert cli.main([*common, "--cells", "2", "--out", str(made)]) == 0
    arguments = ["--mesh", str(plate / "x.msh"), "--held-sides", "grip", "--pulled-sides", "load"]
    assert cli.main([*common, *arguments, "--out", str(read)]) == 0
    one, other = read_table(made), read_table(read)
    np.testing.assert_allclose(other.arrays["u"], one.arrays["u"], atol=1e-12)
    np.testing.assert_allclose(other.arrays["P"], one.arrays["P"], atol=1e-10)
    # The curve of the file is per area of the side that is pulled, which is the height here as well.
    curves = [np.loadtxt(folder / "curve.csv", delimiter=",", skiprows=1) for folder in (made, read)]
    np.testing.assert_allclose(curves[1], curves[0], atol=1e-10)
    assert (read / "figures" / "stress-strain.png").exists()


def test_the_direction_of_the_pull_is_chosen(plate):
    case = Pull(Material.LJ_PLANE, mesh=plate / "y.msh", held_sides="grip", pulled_sides="load")
    problem = dataclasses.replace(case, along=type(case.along)("y")).build()
    body = problem.output.body
    assert body.axis == 1 and body.block == pytest.approx(80.0**2)
    (moved,) = [s for s in problem.bundle.macro.supports if callable(s.value)]
    assert moved.component == 1 and np.all(np.asarray(moved.points)[:, 1] == 40.0)
    np.testing.assert_allclose(moved.at(0.5), 0.5 * 0.4 * 80.0)
    with pytest.raises(BadInput, match="lie at the same x"):
        case.build()


def test_grips_of_solids_leave_no_motion_free():
    """A sliding solid keeps from turning by two nodes, whose forces vanish; clamped grips hold all components."""
    block = fx.grids.hexes(cells=(2, 2, 2))
    grips = grips_of(block, "left", "right", None, 0, False)
    assert grips.fixed["left"] == [0] and grips.length == 1.0 and grips.block == pytest.approx(1.0)
    body = fx.solids.Elasticity(grips.mesh, fixed=grips.fixed, displacement={"right": {0: lambda x, t: 0.01 * t}})
    held = np.asarray(body.held)
    # A rigid motion v + w × x without any held component moving is zero.
    rows = []
    for node, component in np.argwhere(held):
        x = block.points[node]
        rows.append(np.concatenate([np.eye(3)[component], np.cross(np.eye(3), x)[:, component]]))
    assert np.linalg.matrix_rank(np.array(rows)) == 6
    sol = fx.steady(fx.Bundle(body, NeoHooke()), fx.Quasistatic(), body.start(), t=1.0)
    P = sol.response[0]
    np.testing.assert_allclose(P, np.broadcast_to(P[0], P.shape), atol=1e-9)  # uniform: nothing else is held
    assert P[0, 0, 0] > 0.01 and np.abs(np.asarray(body.reaction(P, "(pin)"))[1:]).max() < 1e-10
    mirrored = grips_of(block, "left", "right", "front,bottom", 0, False)
    assert mirrored.fixed == {"left": [0], "front": [2], "bottom": [1]}
    clamped = grips_of(block, "left", "right", None, 0, True)
    assert clamped.fixed == {"left": [0, 1, 2], "right": [1, 2]}
    long = grips_of(block.mapped(lambda x: x * np.array([2.0, 3.0, 0.5])), "left", "right", None, 0, False)
    assert long.length == pytest.approx(2.0) and long.block == pytest.approx(3.0)
    # Sides may be as uneven as the numbers of a large mesh are rounded.
    rounded = block.mapped(lambda x: 1e3 * x + 1e-4 * x[:, 1:2] ** 2 * np.array([1.0, 0.0, 0.0]))
    assert grips_of(rounded, "left", "right", None, 0, False).block == pytest.approx(1e9)
    # Of grips that are not plane the force is no mean stress.
    bent = block.mapped(lambda x: x + 0.1 * x[:, 1:2] ** 2 * np.array([1.0, 0.0, 0.0]))
    assert grips_of(bent, "left", "right", None, 0, False).block is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--mesh", "x.msh"], "--held-sides: the mesh has no side 'left'. Its sides: grip, load."),
        (["--mesh", "x.msh", "--held-sides", "grip", "--pulled-sides", "grip"], "both name grip"),
        (["--mesh", "x.msh", "--held-sides", "grip", "--pulled-sides", "load", "--along", "z"], "--along z: the mesh is of"),
        (["--mesh", "x.msh", "--material", "si-sw"], "is of dimension 2, and the crystal of dimension 3"),
        (["--mesh", "none.msh"], "none.msh does not exist"),
    ],
)
def test_wrong_sides_end_with_one_message(plate, tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(plate)
    material = [] if "--material" in arguments else ["--material", "lj-triangular"]
    assert cli.main(["run", "pull", *material, *arguments, "--out", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert words in " ".join(said.replace("│", " ").split()) and "Traceback" not in said


def test_sides_are_named_by_words_and_deeds():
    """The side on the left is held and the one on the right moves, as the description says."""
    problem = Pull(Material.LJ_PLANE, cells=1).build()
    fixed = [s for s in problem.bundle.macro.supports if not callable(s.value)]
    (moved,) = [s for s in problem.bundle.macro.supports if callable(s.value)]
    assert all(np.all(np.asarray(s.points)[:, 0] == -40.0) for s in fixed) and np.all(np.asarray(moved.points)[:, 0] == 40.0)
    assert "x = −width/2 is held" in Pull.__doc__ and "x = width/2 is moved" in Pull.__doc__

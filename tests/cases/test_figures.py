"""Figures are those that the case names, else those of any results; no name of a column changes them."""

from pathlib import Path

import numpy as np
import pytest

from fiberax import cli
from fiberax.cases import find_case
from fiberax.cases.diffusion.figures import coupled_figures
from fiberax.cases.electrons.electrons import _PLANE
from fiberax.io.body import Body
from fiberax.io.labels import broken, raised
from fiberax.io.plots.draw import draw_all
from fiberax.io.results import Quantity, Schema, Table, Variable
from fiberax.io.run import Results

RING = Path(__file__).parents[1] / "ring_case.py"
ARGUMENTS = ["--steps", "12", "--records", "3", "--plain"]


def with_output(output):
    """The text of a user's case with that output."""
    text = RING.read_text().replace("import Case,", "import Case, Output,")
    return text.replace("            names=Names(", f"            output=Output({output}),\n            names=Names(")


def ring(tmp_path, *keys, more=""):
    """The folder of a run of a user's case with columns of these names."""
    text = RING.read_text().replace("import Case,", "import Case, Output,")
    text = text.replace(
        "            names=Names(",
        f"            output=Output(columns=lambda r: dict.fromkeys({keys}, r.macro)),\n            names=Names(",
    )
    (tmp_path / "model.py").write_text(text + more)
    folder = tmp_path / "run"
    code = cli.main(["run", str(tmp_path / "model.py"), *ARGUMENTS, "--overwrite", "--out", str(folder)])
    return folder if code == 0 else None


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    """The figures with a column that nothing could be made of."""
    folder = ring(tmp_path_factory.mktemp("usual"), "exact.T")
    return {path.name: path.read_bytes() for path in (folder / "figures").glob("*.png")}


def test_the_name_of_a_column_changes_no_figure(tmp_path, usual):
    assert set(usual) == {"U.png", "response.png", "microstates.png"}
    folder = ring(tmp_path, "exact.U", "conformation", "electrons.chemical_potential", "acoustic")
    assert {path.name: path.read_bytes() for path in (folder / "figures").glob("*.png")} == usual


@pytest.mark.parametrize(
    ("key", "remedy"),
    [("energies.own", "give Output(energies=...)"), ("macro.velocity", "own.macro_velocity"), ("response.moment", "rename it")],
)
def test_names_of_the_library_are_refused_for_columns(tmp_path, capsys, key, remedy):
    assert ring(tmp_path, key) is None
    assert f"The column {key!r}: names that begin with" in (said := capsys.readouterr().err) and remedy in said


def test_a_case_that_fails_to_name_its_figures_spoils_no_run(tmp_path, capsys, usual):
    own = "\n    def figures(self, results):\n        return results.nothing\n"
    folder = ring(tmp_path, "exact.T", more=own)
    said = capsys.readouterr().err
    assert "The case gives no figures, the default ones are drawn: " in said and "model.py, line " in said
    assert {path.name for path in (folder / "figures").glob("*.png")} == set(usual)


def test_energies_are_drawn_together_and_named(tmp_path):
    (tmp_path / "model.py").write_text(with_output("energies=lambda r: {'total': (r.macro**2).sum()}"))
    folder = tmp_path / "run"
    assert cli.main(["run", str(tmp_path / "model.py"), *ARGUMENTS, "--out", str(folder)]) == 0
    results = Results.load(folder)
    assert "energy.png" in {path.name for path in (folder / "figures").glob("*.png")}
    np.testing.assert_allclose(results("energies.total"), (results("macro") ** 2).sum(axis=1))


def test_the_case_of_the_documentation_is_drawn(tmp_path, capsys):
    page = (Path(__file__).parents[2] / "docs" / "write-your-own-case.md").read_text()
    (tmp_path / "ordering.py").write_text(page.split("```python\n")[1].split("```")[0])
    folder, target = tmp_path / "run", str(tmp_path / "ordering.py")
    assert cli.main(["run", target, "--cells", "8", "--t1", "0.01", "--quiet", "--out", str(folder)]) == 0
    drawn = {path.name for path in (folder / "figures").glob("*.png")}
    assert drawn == {"U.png", "response.png", "mean.png", "microstates.png"}
    results = Results.load(folder)
    np.testing.assert_allclose(results("mean"), results("macro").mean(axis=1))
    assert results.words("macro") == "temperature [K]" and results.words("response") == "conductivity [mm²/s]"
    capsys.readouterr()
    assert cli.main(["run", target, "--friction", "0.01"]) == 2
    said = capsys.readouterr().err.removeprefix("Preparing ordering\n").strip()
    assert said and said in " ".join(page.split())  # the message that the page shows


def spins_results():
    """Saved results of spins in two cells, at two times."""
    names = {"macro": "U", "response": "A", "exact.U": "U_exact", "exact.A": "A_exact"}
    arrays = {name: np.arange(4.0).reshape(2, 2) + k for k, name in enumerate(names.values())}
    variables = tuple(
        Variable(key, Quantity(name, "K" if key == "macro" else "1", f"the {name}"), ("x",), (2,))
        for key, name in names.items()
    )
    return Results(
        Table(Schema(variables, {"x": [0.5, 1.5]}, {"x": "nm"}, Quantity("time", "s")), np.array([0.0, 1.0]), arrays)
    )


def test_words_and_units_come_from_the_results(tmp_path):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    profiles, response, *_ = coupled_figures(spins_results())
    (panel,) = profiles.draw(plt).axes
    assert (panel.get_xlabel(), panel.get_ylabel()) == ("x [nm]", "the U [K]")
    assert panel.get_legend().get_title().get_text() == "time [s]"
    (panel,) = response.draw(plt).axes
    assert (panel.get_xlabel(), panel.get_ylabel()) == ("the U [K]", "the A")
    plt.close("all")
    assert draw_all([profiles], tmp_path / "figures").paths == [tmp_path / "figures" / "profiles.png"]


def test_figures_of_electrons_take_units_from_the_results():
    import matplotlib.pyplot as plt

    quantities = {"energy": Quantity("W", "eV/Å^3"), "response": Quantity("P", "eV/Å^3", "stress")}
    variables = (
        Variable("energy", quantities["energy"], (), ()),
        Variable("response", quantities["response"], ("i", "j"), (3, 3)),
    )
    arrays = {"W": np.array([1.0, 2.0]), "P": np.stack([np.eye(3), 2.0 * np.eye(3)])}
    table = Table(Schema(variables, {}, {}, Quantity("strain", "1", "strain")), np.array([0.0, 0.1]), arrays)
    first, *rest = find_case("electrons")().figures(Results(table))
    assert not rest
    above, below = first.draw(plt).axes
    assert (
        above.get_ylabel().replace("\n", " ") == "W above its lowest value [eV/Å³]" and below.get_ylabel() == "stress [eV/Å³]"
    )
    plt.close("all")


def test_the_plane_of_the_density():
    places = _PLANE.places(2.0)
    np.testing.assert_allclose(places[0, 0], [-0.5, -0.5, -0.5])
    np.testing.assert_allclose(places[-1, 0], [2.5, 2.5, -0.5])
    np.testing.assert_allclose(_PLANE.extent, [-0.25 * 2**0.5, 1.25 * 2**0.5, -0.25, 1.25])
    assert _PLANE.words == ("along [110], lattice constants", "along [001]")


def test_words():
    assert raised("eV/Å^3 s^-12") == "eV/Å³ s⁻¹²"
    assert broken("first normal stress difference", 12) == "first normal\nstress\ndifference"


def test_margins_of_a_body_are_kept_with_its_mesh(tmp_path):
    import fiberax as fx

    body = Body(fx.grids.quads((0.0, 0.0), (1.0, 1.0), cells=(1, 1)), "nm", margins=("acoustic",))
    body.save(tmp_path)
    back = Body.load(tmp_path)
    assert back is not None and (back.margins, back.unit) == (("acoustic",), "nm")

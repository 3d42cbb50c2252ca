"""What a body gets by itself: a user's case without labels ends with VTU files, figures, energies and margins of stability."""

from pathlib import Path

import jax
import meshio
import numpy as np
import pytest

import fiberax as fx
from fiberax import cli
from fiberax.cases.solids.atoms import Choice, Material
from fiberax.io import log
from fiberax.io.microstates import Microstate, write_microstates
from fiberax.io.plots import draw
from fiberax.io.results import read_table
from fiberax.io.run import Results
from fiberax.physics.solids.crystal.ellipticity import eigenvalues

PLATE = str(Path(__file__).parents[2] / "plate_case.py")


@pytest.fixture(scope="module")
def plate(tmp_path_factory):
    """A run of that case."""
    folder = tmp_path_factory.mktemp("plate") / "run"
    assert cli.main(["run", PLATE, "--plain", "--out", str(folder)]) == 0
    return folder


def test_a_body_without_labels_is_written_and_drawn_as_one(plate):
    assert log.read_state(plate)["phase"] == "finished"
    assert {path.name for path in (plate / "figures").glob("*.png")} == {"body.png", "energy.png"}
    assert (plate / "paraview" / "series.pvd").exists()
    assert len(list((plate / "paraview").glob("*.vtu"))) == 7 and not list((plate / "paraview").glob("*.vti"))
    back = meshio.read(plate / "paraview" / "series_000006.vtu")
    assert {"u", "v"} == set(back.point_data) and {"P", "W", "stability_margin", "acoustic", "mises"} == set(back.cell_data)
    assert len(back.cells[0].data) == 8 and back.cell_data["acoustic"][0].min() > 0.0


def test_the_energy_of_a_moving_body_is_kept_and_named(plate):
    table = read_table(plate)
    kinetic, elastic, loads, total = (table.arrays[name] for name in ("kinetic", "elastic", "loads", "total"))
    np.testing.assert_allclose(kinetic + elastic + loads, total, rtol=1e-12)
    assert np.ptp(total) < 1e-3 * np.ptp(kinetic) and np.ptp(loads) > 0.1 * np.ptp(kinetic)
    # At the start: ∫ ½ v², v = 0.0125 x on 4 × 2; lumped, so not quite.
    assert kinetic[0] == pytest.approx(0.0125**2 * 64 / 3, rel=0.05)


@pytest.mark.slow
def test_margins_are_those_of_stability():
    crystal = fx.solids.equilibrium(Choice(Material.SI_SW, None, None, None, None, None).found().crystal).crystal
    A = 0.1 * np.random.default_rng(1).standard_normal((3, 3, 3))
    states = jax.vmap(lambda A: crystal.solver.solve(crystal, crystal.init(A, None), A, 1e-10)[0])(A)
    internal, acoustic = eigenvalues(crystal.unit_cell, A, states)
    for k, state in enumerate(states):
        exact = fx.solids.stability(crystal, A[k], state)
        assert internal[k] == pytest.approx(exact.internal, rel=1e-9)
        assert (
            exact.acoustic - 1e-12 < acoustic[k] < exact.acoustic + 1e-4 * float(abs(crystal.assemble(state, A[k], 2)[2]).max())
        )


def test_a_figure_that_fails_spoils_no_run(tmp_path, monkeypatch, capsys):
    def broken(*_):
        raise ValueError("zero-size array to reduction operation")

    folder = tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr(draw, "draw_body", broken)
        assert cli.main(["run", PLATE, "--cells", "1", "--plain", "--out", str(folder)]) == 0
        said = capsys.readouterr().err
        assert "The figure body.png failed: ValueError: zero-size array" in said and f"`fiberax plot {folder}`" in said
        assert log.read_state(folder)["phase"] == "finished" and (folder / "figures" / "energy.png").exists()
        assert cli.main(["plot", str(folder)]) == 2
        assert "The figure body.png failed" in capsys.readouterr().err
    assert cli.main(["plot", str(folder)]) == 0 and (folder / "figures" / "body.png").exists()


def test_states_without_entries_are_not_drawn(tmp_path):
    empty, full = np.zeros((0, 2)), np.arange(6.0)
    write_microstates(tmp_path, [Microstate("site 0", {"state": empty, "bonds": full})])
    drawn = draw.draw_all(draw.figures_of(Results.load(tmp_path)), tmp_path / "figures")
    assert [path.name for path in drawn.paths] == ["microstates.png"]
    write_microstates(tmp_path, [Microstate("site 0", {"state": empty})])
    assert draw.draw_all(draw.figures_of(Results.load(tmp_path)), tmp_path / "figures") == ([], {})

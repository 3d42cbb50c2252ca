"""`sol.to_xarray()` and `results.nc` are one data set; its units are those that were declared."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_runs import SMALL

import fiberax as fx
from fiberax import cli
from fiberax.cases.base import Evolve, Loading, Steady
from fiberax.cases.find import find_case
from fiberax.cases.homogenization.shapes import with_shape
from fiberax.cases.options import from_json
from fiberax.cases.solids.bodies import with_body
from fiberax.io.labels import OWN

xarray = pytest.importorskip("xarray")
SHAPE = ["--shape", "l-shape", *SMALL["steady"]]
RUNS = {"diffusion": SMALL["diffusion"], "steady": SMALL["steady"], "shape": SHAPE, "pull": SMALL["pull"]}
RUNS |= {name: SMALL[name] for name in ("wave", "channel", "cavity", "kolmogorov", "spins", "electron-wave")}
QUICK = ("shape",)


def solved(problem):
    common = (problem.bundle, problem.driver, problem.macro0)
    match problem:
        case Evolve():
            import jax

            key = {"key": jax.random.key(problem.seed)} if problem.seed else {}
            times = {"t0": problem.t0, "t1": problem.t1, "dt": problem.dt, "saveat": problem.saveat}
            return fx.evolve(*common, **times, **key, stepper=problem.stepper)
        case Loading():
            return fx.continuation(*common, t0=problem.t0, t1=problem.t1, dt=problem.dt, dt_min=problem.dt_min)
        case Steady():
            return fx.steady(*common)


@pytest.mark.parametrize("name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in RUNS])
def test_a_solution_and_the_results_of_its_run_are_one_data_set(tmp_path, name):
    case, folder = "steady" if name == "shape" else name, tmp_path / "run"
    assert cli.main(["run", case, *RUNS[name], "--plain", "--no-figures", "--out", str(folder)]) == 0
    found = fx.load(folder)
    options = json.loads((folder / "parameters.json").read_text())["options"]
    problem = with_shape(with_body(from_json(find_case(case), options, Path(folder)).build()))
    # Columns that need the states, which a solution does not have.
    body = problem.output.body
    own = problem.output.states != "no" or (body is not None and body.deforms)
    output = replace(problem.output, columns=None, energies=None) if own else problem.output
    data = solved(problem).to_xarray(problem.names, output)
    extra = set(found.variables) - set(data.variables)
    schema = json.loads((folder / "schema.json").read_text())["variables"]
    roots = {v["quantity"]["name"]: v["key"].split(".")[0] for v in schema}
    assert all(own and (roots[name] not in OWN or roots[name] in ("macro", "state", "energies")) for name in extra), extra
    assert set(data.variables) <= set(found.variables) and set(data.coords) == set(found.coords)
    for key in data.variables:
        mine, theirs = data[key].variable, found[key].variable
        assert mine.dims == theirs.dims and mine.dtype == theirs.dtype, key
        if own:  # another program, which gives the states as well: round-off differs
            np.testing.assert_allclose(mine.values, theirs.values, rtol=1e-9, atol=1e-11, err_msg=str(key))
        else:
            assert mine.values.tobytes() == theirs.values.tobytes(), key
        assert {k: np.asarray(v).tolist() for k, v in mine.attrs.items()} == {
            k: np.asarray(v).tolist() for k, v in theirs.attrs.items()
        }, key
    if name == "shape":  # sites that are no cells have coordinates
        assert {"site_x", "site_y"} <= set(found.coords) and found["site_x"].attrs["units"] == "mm"
        assert found["A"].dims == ("time", "site", "i", "j") and found["A"].coords["site_x"].shape == found["A"].shape[1:2]


def test_a_solution_is_drawn(tmp_path):
    plt = pytest.importorskip("matplotlib.pyplot")
    bundle = fx.Bundle(fx.testing.Decay(5), fx.testing.CubicFlow(a=0.5))
    sol = fx.evolve(bundle, fx.Quasistatic(), np.linspace(0.5, 1.5, 5), t1=0.2, dt=0.1, saveat=[0.0, 0.2])
    figures = sol.plot()
    assert set(figures) == {"macro", "response"}
    (panel,) = figures["macro"].axes
    assert len(panel.get_lines()) == 2
    np.testing.assert_array_equal(panel.get_lines()[1].get_ydata(), sol.macro[1])
    plt.close("all")

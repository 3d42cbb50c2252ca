"""The ready-made cases: what they compute, checked against something else."""

import json
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
import pytest

import fiberax as fx
from fiberax import cli
from fiberax.cases import Case, find_case, option
from fiberax.cases.find import own_cases
from fiberax.cases.formula import formula
from fiberax.cases.homogenization.diffusion import Diffusion, Method, Stepping
from fiberax.cases.options import fields_of, from_json, to_json
from fiberax.core.errors import BadInput
from fiberax.io.results import read_table


@pytest.fixture
def bars(tmp_path):
    """A one-dimensional laminate of two phases in equal parts, as a file."""
    np.save(tmp_path / "bars.npy", np.repeat([0, 1], 4))
    return tmp_path / "bars.npy"


@pytest.mark.parametrize("name", list(own_cases()))
def test_options_survive_being_written_as_json(name, tmp_path):
    case = find_case(name)()
    again = from_json(type(case), json.loads(json.dumps(to_json(case))), tmp_path)
    assert again == case
    for field, _, _, opt in fields_of(type(case)):
        assert opt.help, field


def test_paths_are_taken_from_the_folder_of_the_run(tmp_path):
    case = from_json(Diffusion, {"image": "inputs/a.png", "method": "seamless"}, tmp_path)
    assert case.image == tmp_path / "inputs" / "a.png" and case.method is Method.SEAMLESS
    with pytest.raises(BadInput, match="--colour"):
        from_json(Diffusion, {"colour": 1}, tmp_path)


def test_bounds_hold_for_tuples_too():
    @dataclass(frozen=True)
    class Pair(Case):
        pair: tuple[float, float] = option((1.0, 2.0), help="two numbers", unit="m", above=0)

        def build(self):
            raise NotImplementedError

    with pytest.raises(BadInput, match=r"--pair = -2\.0 m"):
        Pair((1.0, -2.0))


@pytest.mark.parametrize("method", list(Method))
@pytest.mark.parametrize("stepping", list(Stepping))
def test_diffusion_of_a_constant_laminate_decays_as_the_heat_equation(bars, method, stepping):
    """In one dimension A is the harmonic mean, 2·1·3/(1 + 3) = 1.5, whatever U."""
    case = Diffusion(
        image=bars, conductivities="1,3", slopes="0,0", cells=40, size=1.0, peak=1.0, width=0.1,
        t1=0.02, dt=0.0001 if stepping is Stepping.EXPLICIT else 0.001, records=1, stepping=stepping, method=method,
    )  # fmt: skip
    problem = case.build()
    solution = fx.evolve(problem.bundle, problem.driver, problem.macro0, t1=problem.t1, dt=problem.dt, stepper=problem.stepper)
    modes = np.arange(1, 30)
    x = (np.arange(40) + 0.5) / 40
    waves = np.sin(np.pi * np.outer(modes, x))
    coefficients = 2 * waves @ problem.macro0 / 40
    exact = (coefficients * np.exp(-1.5 * (np.pi * modes) ** 2 * problem.t1)) @ waves
    np.testing.assert_allclose(solution.macro[-1], exact, atol=6e-3 * exact.max())


def test_a_formula_is_what_it_says():
    a = formula("2 + sin(2*pi*x)*maximum(y, 0.5) - -U**2/4", 2)
    z = np.array([0.2, 0.7])
    assert float(a(3.0, z)) == pytest.approx(2 + np.sin(0.4 * np.pi) * 0.7 + 9 / 4)
    assert np.isfinite(jax.grad(lambda u: a(u, z))(1.0))
    b = formula("cosh(x) + arctan(y) - log1p(x)*expm1(-U) + sign(-x)*arcsin(y) + cbrt(8*x) + sinh(x)/tan(y)", 2)
    x, y = z
    known = np.cosh(x) + np.arctan(y) - np.log1p(x) * np.expm1(-3.0) - np.arcsin(y) + 2.0 * np.cbrt(x) + np.sinh(x) / np.tan(y)
    assert float(b(3.0, z)) == pytest.approx(known)
    with pytest.raises(BadInput, match="'z' is not known"):
        formula("1 + z", 2)
    with pytest.raises(BadInput, match="does not take 2"):
        formula("sin(x, x)", 1)(0.0, z)
    for text in ("9**9**9**9", "x/(1 - 1)", "1/0"):
        with pytest.raises(BadInput, match=r"out of range|by zero"):
            formula(text, 1)(0.0, (0.5,))


def test_homogenize_writes_the_table_of_a_formula_and_resumes_it(tmp_path):
    arguments = ["homogenize", "--formula", "2 + U + cos(2*pi*x)", "--dim", "1", "--low", "0", "--high", "2"]
    folder = tmp_path / "table"
    assert cli.main(["run", *arguments, "--rows", "5", "--batch", "2", "--out", str(folder), "--no-figures"]) == 0
    table = read_table(folder)
    exact = np.sqrt((2 + table.values) ** 2 - 1)  # the harmonic mean of c + cos
    np.testing.assert_allclose(table.arrays["A"][:, 0, 0], exact, rtol=1e-9)
    np.testing.assert_allclose(table.arrays["dA"][:, 0, 0], (2 + table.values) / exact, rtol=1e-8)
    lines = _reopened(folder, keep=3)
    assert lines[0] == "U [K],A_xx [mm^2/s],result,dA_xx [mm^2/(s K)],tortuosity_x" and len(lines) == 6
    again = read_table(folder)
    for name, array in table.arrays.items():
        assert again.arrays[name].tobytes() == array.tobytes()


def _reopened(folder: Path, keep: int) -> list[str]:
    """The table after a kill that left `keep` records behind, resumed."""
    from fiberax.io import log
    from fiberax.io.records import write_record

    table = read_table(folder)
    for index in range(keep):
        arrays = {v.key: table.arrays[v.quantity.name][index] for v in table.schema.variables}
        write_record(folder, index, table.values[index], arrays)
    log.write_state(folder, "running", {})
    (folder / "results.nc").unlink()
    assert cli.main(["resume", str(folder), "--figures"]) == 0
    return (folder / "table.csv").read_text().splitlines()


def test_steady_flux_is_the_same_everywhere_in_a_bar(bars, tmp_path):
    folder = tmp_path / "steady"
    arguments = ["--image", str(bars), "--slopes", "0.01,0", "--cells", "20", "--no-figures", "--out", str(folder)]
    assert cli.main(["run", "steady", *arguments]) == 0
    table = read_table(folder)
    u, a = table.arrays["U"][0], table.arrays["A"][0, :, 0, 0]
    np.testing.assert_allclose(a, 2 / (1 / (1 + 0.01 * u) + 1 / 20), rtol=1e-6)
    flux = 0.5 * (a[1:] + a[:-1]) * np.diff(u)
    np.testing.assert_allclose(flux, flux.mean(), rtol=2e-3)
    assert (folder / "inputs" / "bars.npy").exists()

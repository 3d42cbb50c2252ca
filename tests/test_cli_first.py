"""What a user meets first: an answer at once, extras by name, refusals before the work."""

import subprocess
import sys

import pytest
from small_runs import SMALL

from fiberax import cli
from fiberax.cases.find import all_cases, find_case, own_cases
from fiberax.cases.options import fields_of
from fiberax.core.errors import MissingExtra
from fiberax.grids import elements

OPTIONAL = {
    "image": ("PIL", "tifffile"), "mesh": ("skfem", "meshio"), "atoms": ("ase",), "plot": ("matplotlib",),
    "data": ("xarray", "h5netcdf"), "ode": ("diffrax", "optimistix"), "sparse": ("pyamg",),
}  # fmt: skip


@pytest.mark.parametrize("name", list(own_cases()))
def test_the_list_names_the_extras_that_a_case_cannot_do_without(monkeypatch, name):
    for module in (module for modules in OPTIONAL.values() for module in modules):
        monkeypatch.setitem(sys.modules, module, None)
    elements.table.cache_clear()  # what an earlier test has computed needs no module
    needed = [part for part in own_cases()[name].extras.split("; ") if part and " for " not in part]
    try:
        find_case(name)().build()
        missing = ""
    except MissingExtra as error:
        missing = str(error)
    assert bool(missing) == bool(needed) and all(f"fiberax[{extra}]" in missing for extra in needed)


def test_extras_of_options_are_options_of_the_case(capsys):
    for name, entry in all_cases().items():
        flags = (
            {f"--{field.replace('_', '-')}" for field, *_ in fields_of(find_case(name))} if entry.package == "fiberax" else ()
        )
        for part in filter(None, entry.extras.split("; ")):
            extra, _, use = part.partition(" for ")
            assert extra in OPTIONAL and {word for word in use.split() if word.startswith("--")} <= flags
    assert cli.main(["list"]) == 0
    said = capsys.readouterr().out
    assert "mesh   pull; --shape and --mesh of diffusion, steady" in said and "plot   figures of all cases" in said


@pytest.mark.parametrize("case", ["diffusion", "channel", "crystal"])
def test_the_first_line_comes_before_jax(tmp_path, case):
    script = (
        "import sys, time\nfrom fiberax.cli import display, main\n"
        "def tell(text, **_):\n"
        "    print(text, 'jax' in sys.modules, time.process_time(), flush=True)\n    sys.exit(0)\n"
        f"display.tell = tell\nmain(['run', '{case}', '--out', {str(tmp_path / 'run')!r}])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    words = done.stdout.split()
    assert words[:3] == ["Preparing", case, "False"] and float(words[3]) < 1.5


def test_a_folder_that_is_taken_is_refused_before_anything_is_built(tmp_path, capsys, monkeypatch):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "dear.txt").write_text("mine")
    monkeypatch.setattr(find_case("diffusion"), "build", lambda self: pytest.fail("it was built"))
    assert cli.main(["run", "diffusion", *SMALL["diffusion"], "--out", str(tmp_path / "run")]) == 2
    assert "exists and is not empty" in capsys.readouterr().err

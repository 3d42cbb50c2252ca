"""Options from a file."""

import json

import pytest

from fiberax import cli
from fiberax.cases.find import find_case
from fiberax.cli.config import expanded
from fiberax.cli.options import Place


def read(file, *arguments, name="chain"):
    return expanded(["--config", str(file), *arguments], find_case(name), name, (Place,))


def test_options_come_from_toml_and_the_command_line_wins(tmp_path, capfd):
    file = tmp_path / "run.toml"
    file.write_text('rows = 3\nmodel = "lennard-jones"\nhigh = 0.1\n')
    given = ["run", "chain", "--config", str(file), "--rows", "2", "--no-figures", "--quiet"]
    assert cli.main([*given, "--out", str(tmp_path / "run")]) == 0
    assert "Preparing" not in "".join(capfd.readouterr())  # --quiet
    options = json.loads((tmp_path / "run" / "parameters.json").read_text())["options"]
    assert (options["rows"], options["model"], options["high"]) == (2, "lennard-jones", 0.1)
    # The parameters of that run make the same run again.
    again = ["run", "chain", "--config", str(tmp_path / "run" / "parameters.json"), "--no-figures", "--quiet"]
    assert cli.main([*again, "--out", str(tmp_path / "again")]) == 0
    assert json.loads((tmp_path / "again" / "parameters.json").read_text())["options"] == options


def test_values_become_words(tmp_path):
    """Defaults are not repeated: an option that has no effect may not be given."""
    file = tmp_path / "run.toml"
    default = find_case("chain")().rows
    file.write_text(f'rows = {default}\noverwrite = true\nformula = "r**2"\n')
    assert read(file, "--low", "0") == ["--overwrite", "--formula", "r**2", "--low", "0"]
    assert expanded([f"--config={file}"], find_case("chain"), "chain", (Place,)) == ["--overwrite", "--formula", "r**2"]


def test_input_files_of_an_earlier_run_are_those_of_its_folder(tmp_path):
    (tmp_path / "inputs").mkdir()
    (tmp_path / "inputs" / "a.png").write_bytes(b"")
    file = tmp_path / "parameters.json"
    file.write_text(json.dumps({"case": "diffusion", "options": {"image": "inputs/a.png", "cells": 20, "mesh": None}}))
    assert read(file, name="diffusion") == ["--image", str(tmp_path / "inputs" / "a.png")]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("run.toml", "rows: 3", "it is no TOML"),
        ("run.json", "rows = 3", "it is no JSON"),
        ("run.toml", "colour = 3", "the case chain has no option 'colour'"),
        ("run.toml", "rows = [1, 2]", "rows = [1, 2] must be a text, a number, true or false"),
        ("run.toml", 'rows = "many"', "rows = 'many' is not a whole number"),
        ("run.toml", "rows = 2.5", "rows = 2.5 is not a whole number"),
        ("run.json", '{"case": "spins", "options": {}}', "the parameters of the case spins, not of chain"),
        ("run.json", "[1]", "it holds no options by name"),
        ("gone.toml", None, "there is no such file"),
    ],
)
def test_files_that_are_none_are_refused(tmp_path, capfd, name, text, words):
    file = tmp_path / name
    if text is not None:
        file.write_text(text)
    assert cli.main(["run", "chain", "--config", str(file), "--out", str(tmp_path / "run")]) == 2
    said = capfd.readouterr().err
    assert words in said and str(file) in said and not (tmp_path / "run").exists()

"""Every example runs, is short, and ends with a number that is compared with a known truth."""

import ast
import runpy
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))


def test_there_are_examples():
    assert len(EXAMPLES) >= 3


SLOW = ("16_closures",)


@pytest.mark.parametrize(
    "path", [pytest.param(p, marks=pytest.mark.slow if p.stem in SLOW else (), id=p.stem) for p in EXAMPLES]
)
def test_example(path, tmp_path, monkeypatch):
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) < 80
    assert any(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(source)))
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(path), run_name="__main__")

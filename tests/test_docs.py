"""Every Python block of the README and of the documentation runs, page by page and in order."""

import ast
import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
PAGES = {page.name: page for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]}
WITH_CODE = [name for name, page in PAGES.items() if BLOCK.search(page.read_text(encoding="utf-8"))]


def test_the_pages_that_should_show_code_do():
    assert {"README.md", "index.md", "write-your-own-fiber.md", "write-your-own-macro.md"} <= set(WITH_CODE)


@pytest.mark.parametrize("name", WITH_CODE)
def test_code_blocks_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = PAGES[name].read_text(encoding="utf-8")
    names = {"__name__": "__main__"}
    for match in BLOCK.finditer(text):
        # Blank lines above the block make a traceback show the line of the page.
        above = "\n" * text[: match.start(1)].count("\n")
        exec(compile(above + match[1], name, "exec"), names)
    assert len(names) > 2


@pytest.mark.parametrize("name", PAGES)
def test_code_is_no_wider_than_its_column(name):
    blocks = re.findall(r"^```[^\n]*\n(.*?)^```$", PAGES[name].read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    shown = [ROOT / path for block in blocks for path in re.findall(r'^--8<-- "(.*)"', block, re.MULTILINE)]
    texts = [*blocks, *(path.read_text(encoding="utf-8") for path in shown)]
    assert not [line for text in texts for line in text.split("\n") if len(line) > 100]


def test_the_page_of_options_is_that_of_the_code():
    """Options are what users type: none changes unseen. `python tools/options.py` writes the page."""
    made = runpy.run_path(str(ROOT / "tools" / "options.py"))["page"]()
    assert made.splitlines() == PAGES["options.md"].read_text(encoding="utf-8").splitlines()


def test_signatures_are_those_that_are_written_down():
    """Interfaces are what users call: none changes unseen. `python tools/api.py` writes the file, docs/api.md the words."""
    made = runpy.run_path(str(ROOT / "tools" / "api.py"))["lines"]()
    assert made == Path(__file__).with_name("api.txt").read_text(encoding="utf-8").splitlines()


def test_every_example_is_in_the_gallery():
    page = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
    assert not [path.name for path in (ROOT / "examples").glob("*.py") if f"examples/{path.name}" not in page]


@pytest.mark.parametrize("name", PAGES)
def test_local_links_and_images_exist(name):
    page = PAGES[name]
    targets = re.findall(r"\]\((?!https?:|mailto:|#)([^)#]+)", page.read_text(encoding="utf-8"))
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert not missing


@pytest.mark.parametrize(("page", "most"), [("write-your-own-fiber.md", 15), ("write-your-own-macro.md", 10)])
def test_models_of_your_own_are_short(page, most):
    """Lines that are not blank, of every macro model on its page and of every fiber."""
    blocks = "\n".join(BLOCK.findall(PAGES[page].read_text(encoding="utf-8")))
    classes = [
        node for node in ast.walk(ast.parse(blocks)) if isinstance(node, ast.ClassDef) and "Abstract" in ast.unparse(node)
    ]
    kinds = {
        node.name: "fiber" if any(getattr(part, "name", "") == "init" for part in node.body) else "macro" for node in classes
    }
    lines = blocks.split("\n")
    counts = {
        node.name: sum(bool(line.strip()) for line in lines[node.lineno - 1 : node.end_lineno])
        for node in classes
        if kinds[node.name] in page
    }
    assert len(counts) >= 2
    assert max(counts.values()) <= most, counts

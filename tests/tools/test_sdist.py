"""The source distribution holds what its documentation calls; a package index shows no link that leads nowhere."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_what_the_pages_and_the_makefile_name_is_in_it():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    held = tuple(ROOT / name.strip("/") for name in settings["tool"]["hatch"]["build"]["targets"]["sdist"]["include"])
    held += (ROOT / "LICENSE", ROOT / "pyproject.toml")  # always
    assert all(path.exists() for path in held)
    named = set()
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md"):
        targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
        named |= {(page.parent / target).resolve() for target in targets}
    makefile = (ROOT / "Makefile").read_text()
    named |= {ROOT / part for part in re.findall(r"(?:python|pytest) ((?:tools|validation|tests)/\S+)", makefile)}
    named |= {ROOT / "Makefile", ROOT / "CONTRIBUTING.md", ROOT / "benchmarks"}
    assert len(named) > 20
    for path in named:
        assert path.exists() and any(path.is_relative_to(part) for part in held), path


def test_the_page_of_a_package_index_has_no_links_into_the_tree():
    hook = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]
    text = (ROOT / "README.md").read_text()
    assert "](docs/images/" in text and "](docs/index.md)" in text
    for change in hook["substitutions"]:
        text = re.sub(change["pattern"], change["replacement"], text)
    links = re.findall(r"\]\(([^)]*)\)", text)
    assert len(links) >= 2 and all(link.startswith("https://") for link in links)
    assert "Start here (docs/index.md)" in text and "![" not in text

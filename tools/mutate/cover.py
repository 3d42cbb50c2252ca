"""Which tests run a line: in a copy of the tree a statement before it notes the running test, and all tests run once."""

import ast
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from changes import Change

SOURCE = "src/fiberax"
PROBE = f"{SOURCE}/_probe.py"
# Tests of what is written down of defaults, which run none of their lines.
_WRITTEN = (
    "tests/test_docs.py::test_the_page_of_options_is_that_of_the_code",
    "tests/test_docs.py::test_signatures_are_those_that_are_written_down",
    "tests/test_imports.py::test_values_are_not_changed",
)
_PROBE_TEXT = '''"""Notes which test runs a line."""

import os

_seen = set()


def hit(number):
    """Line `number` runs; processes that a test starts inherit its name. Or a file of tests is read, which then counts."""
    test, log = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" (")[0], os.environ.get("MUTATE_LOG")
    test = test or os.environ.get("MUTATE_FILE", "")
    if test and log and (number, test) not in _seen:
        _seen.add((number, test))
        with open(log, "a") as file:
            file.write(f"{number}\\t{test}\\n")
'''


@dataclass(frozen=True)
class Reached:
    """A test that ran a line, and the seconds that it took."""

    test: str
    seconds: float


def probed(files: dict[str, bytes], changes: list[Change]) -> dict[str, bytes]:
    """The modules that hold or use the lines of `changes`, with a probe at each, and the module of the probe itself."""
    trees = {path: ast.parse(source) for path, source in files.items()}
    wanted: dict[str, set[tuple[int, int]]] = {}
    for number, change in enumerate(changes):
        for path, line in _places(trees, change):
            wanted.setdefault(path, set()).add((line, number))
    new = {PROBE: _PROBE_TEXT.encode()}
    for path, probes in wanted.items():
        lines = files[path].splitlines(keepends=True)
        for line, number in sorted(probes, reverse=True):
            indent = re.match(rb"\s*", lines[line - 1])
            assert indent is not None
            lines.insert(line - 1, indent[0] + f"__import__('fiberax._probe')._probe.hit({number})\n".encode())
        new[path] = b"".join(lines)
    return new


def _places(trees: dict[str, ast.Module], change: Change) -> list[tuple[str, int]]:
    """Where a probe notes that the line of a change counts.

    In a function: the statement of the line. Default arguments: where the function begins. What is set when a module is
    imported: the beginnings of all functions that mention its name, else of all functions of the module.
    """
    tree, line = trees[change.path], change.line
    functions = [f for f in _functions(tree) if f.lineno <= line <= (f.end_lineno or 0)]
    if functions:
        inner = functions[-1]
        within = [s for s in _statements(inner) if s.lineno <= line <= (s.end_lineno or 0)]
        return [(change.path, within[-1].lineno if within else _first(inner))]
    names = _set_by(tree, line)
    users = [
        (path, _first(f))
        for path, other in trees.items()
        for f in _functions(other)
        if names and any(_name_of(n) in names for n in ast.walk(f))
    ]
    return users or [(change.path, _first(f)) for f in _functions(tree)]


def _set_by(tree: ast.Module, line: int) -> list[str]:
    """Names to which the statement of a line gives a value."""
    return [
        word
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.lineno <= line <= (node.end_lineno or 0)
        for word in re.findall(r"\w+", " ".join(map(ast.unparse, getattr(node, "targets", None) or [node.target])))
    ]


def with_readers(found: list[list[Reached]], changes: list[Change], files: dict[str, bytes], tree: Path, times: Path) -> list:
    """`found` with the tests that read what is set on import: of files that name a constant, and of what is written down."""
    passed = json.loads(times.read_text())
    tests = {str(path.relative_to(tree)): path.read_text() for path in sorted((tree / "tests").rglob("*.py"))}
    complete = []
    for change, reached in zip(changes, found, strict=True):
        module = ast.parse(files[change.path])
        if not any(f.lineno <= change.line <= (f.end_lineno or 0) for f in _functions(module)):
            constants = [name for name in _set_by(module, change.line) if name.isupper()]
            reading = [file for file, text in tests.items() if any(re.search(rf"\b{name}\b", text) for name in constants)]
            more = [test for test in passed if test.partition("::")[0] in reading or test in _WRITTEN]
            reached = sorted({*reached, *(Reached(test, passed[test]) for test in more)}, key=lambda r: (r.seconds, r.test))
        complete.append(reached)
    return complete


def _name_of(node: ast.AST) -> str:
    return getattr(node, "id", "") or getattr(node, "attr", "")


def _functions(tree: ast.AST) -> list[ast.FunctionDef]:
    """All functions, outer ones first."""
    return sorted((n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)), key=lambda f: f.lineno)


def _statements(function: ast.FunctionDef) -> list[ast.stmt]:
    """Statements of the body before which a line can be put, outer ones first; no `elif`, which looks like a nested `if`."""
    chained = {
        id(node.orelse[0])
        for node in ast.walk(function)
        if isinstance(node, ast.If) and len(node.orelse) == 1 and isinstance(node.orelse[0], ast.If)
    }
    found = (n for part in function.body for n in ast.walk(part))
    return sorted((n for n in found if isinstance(n, ast.stmt) and id(n) not in chained), key=lambda s: s.lineno)


def _first(function: ast.FunctionDef) -> int:
    """The line of the first statement after the docstring."""
    body = function.body
    has_text = isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant) and len(body) > 1
    first = body[1] if has_text else body[0]
    return min([first.lineno, *(d.lineno for d in getattr(first, "decorator_list", ()))])


def read(log: Path, times: Path, count: int) -> list[list[Reached]]:
    """For each of `count` changes the tests that ran its line and passed, the quickest first.

    A line that runs while a file of tests is read, such as one that makes their parameters, is run by all of that file.
    """
    passed = json.loads(times.read_text())
    found: list[set[Reached]] = [set() for _ in range(count)]
    for line in log.read_text().splitlines() if log.exists() else ():
        number, _, place = line.partition("\t")
        tests = [place] if "::" in place else [test for test in passed if test.startswith(f"{place}::")]
        found[int(number)] |= {Reached(test, passed[test]) for test in tests if test in passed}
    return [sorted(tests, key=lambda r: (r.seconds, r.test)) for tests in found]


# --- a plugin of pytest: python -m pytest -p cover, with tools/mutate on the path ---------------------------------------------

_seconds: dict[str, float] = {}
_failed: set[str] = set()


def pytest_collectstart(collector) -> None:
    """Name the file that is read."""
    if isinstance(collector, pytest.Module):
        os.environ["MUTATE_FILE"] = collector.nodeid


def pytest_collection_finish() -> None:
    """No file is read any more."""
    os.environ.pop("MUTATE_FILE", None)


def pytest_runtest_logreport(report) -> None:
    """Add up the phases of a test."""
    _seconds[report.nodeid] = _seconds.get(report.nodeid, 0.0) + report.duration
    if not report.passed:
        _failed.add(report.nodeid)


def pytest_sessionfinish(session) -> None:
    """Write the seconds of the tests that passed; workers leave that to the process that started them."""
    if "MUTATE_TIMES" in os.environ and "PYTEST_XDIST_WORKER" not in os.environ:
        Path(os.environ["MUTATE_TIMES"]).write_text(json.dumps({k: v for k, v in _seconds.items() if k not in _failed}))

"""No modules of the package import each other in a circle, whether at once, inside of functions or for types alone."""

import ast
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src"


def import_graph(root: Path) -> dict[str, set[str]]:
    """For each module the modules that it names in an import anywhere in its text; packages' own files are left out."""
    files = {".".join(p.relative_to(root).with_suffix("").parts): p for p in root.rglob("*.py") if p.name != "__init__.py"}
    graph: dict[str, set[str]] = {}
    for name, path in files.items():
        named: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                parts = name.split(".")[: -node.level] if node.level else []
                module = ".".join([*parts, *([node.module] if node.module else [])])
                named |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
            elif isinstance(node, ast.Import):
                named |= {alias.name for alias in node.names}
        graph[name] = {other for other in named if other in files and other != name}
    return graph


def circles(graph: dict[str, set[str]]) -> set[frozenset[str]]:
    """Strongly connected components of more than one module (Tarjan, SIAM J. Comput. 1 (1972) 146)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: set[frozenset[str]] = set()

    def visit(v: str) -> None:
        index[v] = low[v] = len(index)
        stack.append(v)
        for w in graph[v]:
            if w not in index:
                visit(w)
                low[v] = min(low[v], low[w])
            elif w in stack:
                low[v] = min(low[v], index[w])
        if low[v] == index[v]:
            place = stack.index(v)
            part = frozenset(stack[place:])
            del stack[place:]
            if len(part) > 1:
                found.add(part)

    for v in graph:
        if v not in index:
            visit(v)
    return found


def test_modules_do_not_import_each_other_in_circles():
    graph = import_graph(SOURCE)
    assert len(graph) > 150
    found = circles(graph)
    assert not found, "circles: " + "; ".join(", ".join(sorted(part)) for part in found)


def test_circles_are_seen(tmp_path):
    """Through imports in functions, for types alone and relative ones; modules on a mere chain are none."""
    texts = {
        "a.py": "def f():\n    from p import b\n",
        "b.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from p.c import C\n",
        "c.py": "from .a import f\nfrom . import d\n",
        "d.py": "import p.e\n",
        "e.py": "",
    }
    (tmp_path / "p").mkdir()
    for name, text in texts.items():
        (tmp_path / "p" / name).write_text(text)
    graph = import_graph(tmp_path)
    assert graph["p.c"] == {"p.a", "p.d"} and graph["p.d"] == {"p.e"}
    assert circles(graph) == {frozenset({"p.a", "p.b", "p.c"})}


def test_values_are_not_changed():
    """Dataclasses are frozen, but for those that collect what a file holds while it is read."""
    loose = []
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                made = [ast.unparse(mark) for mark in node.decorator_list if ast.unparse(mark).startswith("dataclass")]
                loose += [f"{path.name}: {node.name}" for mark in made if "frozen=True" not in mark]
    assert sorted(loose) == [f"raw.py: {name}" for name in ("Block", "Group", "Raw")]

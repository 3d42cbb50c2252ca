"""Which test files cover a line: by a map of what each ran, by their paths, by what they import and mention."""

import ast
import json
import re
import sys
import threading
from pathlib import Path

import pytest

SOURCE = "src/fiberax"
DEPTH = 4  # the command reaches a figure through cli, commands, execute and figures


class Cover:
    """Finds the test files of a change."""

    def __init__(self, files: dict[str, bytes], tests: dict[str, str], map_file: Path):
        self.tests = tests
        self.trees = {path: ast.parse(source) for path, source in files.items()}
        self.names = {module_name(path): path for path in files}
        self.users = self._users()
        self.map = json.loads(map_file.read_text()) if map_file.exists() else {}

    def __call__(self, path: str, line: int) -> list[str]:
        """Test files, the closest first: those that ran the function, then those of the module, then of modules that use it."""
        scores: dict[str, float] = {}
        shell, seen = [path], {path}
        for depth in range(DEPTH + 1):
            for module in shell:
                for test, score in self._near(module).items():
                    scores[test] = max(scores.get(test, 0.0), score * 0.05**depth)
            shell = [user for module in shell for user in self.users.get(module, ()) if user not in seen and not seen.add(user)]
        ran = self.map.get(f"{path} {function_at(self.trees[path], line)}", ())
        for test in ran:
            if test in self.tests:
                scores[test] = scores.get(test, 0.0) + 1e6
        return sorted(scores, key=lambda test: (-scores[test], test))

    def _users(self) -> dict[str, list[str]]:
        """The modules that import each module, anywhere in their text."""
        users: dict[str, list[str]] = {}
        for path, tree in self.trees.items():
            for node in ast.walk(tree):
                if isinstance(node, ast.ImportFrom) and node.module:
                    wanted = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
                elif isinstance(node, ast.Import):
                    wanted = [alias.name for alias in node.names]
                else:
                    continue
                for name in wanted:
                    if name in self.names and self.names[name] != path:
                        users.setdefault(self.names[name], []).append(path)
        return users

    def _near(self, path: str) -> dict[str, float]:
        """A score for each test file that has to do with a module: the mirrored path, imports, public names."""
        inside, module = Path(path).relative_to(SOURCE), module_name(path)
        package, _, short = module.rpartition(".")
        imports = re.compile(rf"\b{re.escape(module)}\b|from {re.escape(package)} import [^\n]*\b{short}\b")
        definitions = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
        names = [n.name for n in self.trees[path].body if isinstance(n, definitions) and not n.name.startswith("_")]
        scores = {}
        for test, text in self.tests.items():
            own = test == f"tests/{inside.parent / f'test_{inside.stem}.py'}"
            folder = Path(test).parent == Path("tests") / inside.parent
            mentioned = sum(bool(re.search(rf"\b{name}\b", text)) for name in names)
            score = 1000 * own + 100 * bool(imports.search(text)) + 50 * (folder and mentioned > 0) + 20 * folder + mentioned
            if score:
                scores[test] = float(score)
        return scores


def module_name(path: str) -> str:
    """`fiberax.grids.box` for src/fiberax/grids/box.py."""
    return ".".join(Path(path).relative_to("src").with_suffix("").parts).removesuffix(".__init__")


def function_at(tree: ast.Module, line: int) -> str:
    """The outermost function that holds a line, `Class.method` for a method, or nothing."""
    found, body = [], tree.body
    while body:
        inside = [n for n in body if isinstance(n, ast.FunctionDef | ast.ClassDef) and n.lineno <= line <= (n.end_lineno or 0)]
        if not inside:
            return ""
        found.append(inside[0].name)
        if isinstance(inside[0], ast.FunctionDef):
            return ".".join(found)
        body = inside[0].body
    return ""


# --- the map, as a plugin of pytest: python -m pytest -p cover, with tools/mutate on the path --------------------------------


class Watch:
    """Notes which functions of the package run during each test file."""

    def __init__(self, root: Path):
        self.root, self.prefix, self.ran = root, str(root / SOURCE), {}
        self.known, self.test = set(), ""

    def begin(self, test: str) -> None:
        """A further test file."""
        if test != self.test:
            self.test, self.known = test, set()

    def __call__(self, frame, event, arg) -> None:
        """Called by Python at every call of a function."""
        code = frame.f_code
        if code in self.known:
            return
        self.known.add(code)
        if self.test and code.co_filename.startswith(self.prefix):
            name = code.co_qualname.split(".<locals>")[0]
            path = Path(code.co_filename).relative_to(self.root)
            self.ran.setdefault(f"{path} {name}", set()).add(self.test)

    def merge(self, file: Path) -> None:
        """Add what was seen to the map in a file."""
        known = json.loads(file.read_text()) if file.exists() else {}
        for key, tests in self.ran.items():
            known[key] = sorted(tests | set(known.get(key, ())))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(known, indent=0, sort_keys=True))


WATCH = pytest.StashKey[Watch]()


def pytest_configure(config) -> None:
    """Begin to watch."""
    config.stash[WATCH] = watch = Watch(config.rootpath)
    threading.settrace(watch)
    sys.settrace(watch)


def pytest_runtest_setup(item) -> None:
    """Note whose turn it is."""
    item.config.stash[WATCH].begin(item.nodeid.split("::")[0])


def pytest_unconfigure(config) -> None:
    """Write the map."""
    sys.settrace(None)
    threading.settrace(None)
    config.stash[WATCH].merge(config.rootpath / ".cache" / "mutate-map.json")

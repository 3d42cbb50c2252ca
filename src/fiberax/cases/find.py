"""Cases by name, in the folder of the library and in other packages, and cases in Python files of users."""

import difflib
import functools
import importlib
import importlib.util
import inspect
import re
import sys
from pathlib import Path
from typing import NamedTuple

from fiberax.cases.base import Case
from fiberax.core.errors import BadInput

PACKAGE = Path(__file__).parents[1]

# Entry points of other packages.
GROUP = "fiberax.cases"
# The decorator `listed` with its texts, and the class below it.
_TEXT = r'\s*"([^"]+)"'
LISTED = re.compile(rf"^@listed\({_TEXT},{_TEXT}(?:,\s*extras={_TEXT})?,?\s*\)\n(?:@.*\n)*class (\w+)", re.MULTILINE)


class Entry(NamedTuple):
    """A case on the command line: name, where its class is, a line for `fiberax list`, its package, extras that it needs."""

    name: str
    module: str
    attribute: str
    line: str
    package: str = "fiberax"
    extras: str = ""


def all_cases() -> dict[str, Entry]:
    """The cases by name. No case is imported for this.

    Returns:
        Name, module, class and help line of each: those below `fiberax/cases`, then those of other packages.
    """
    own = own_cases()
    return own | {name: found[0] for name, found in sorted(_others().items()) if name not in own}


@functools.cache
def own_cases() -> dict[str, Entry]:
    """The cases in the files below `fiberax/cases`, by the decorators `listed` of their classes, sorted by name."""
    found = []
    for path in sorted(PACKAGE.glob("cases/*/*.py")):
        module = ".".join(("fiberax", *path.relative_to(PACKAGE).with_suffix("").parts))
        for name, line, extras, attribute in LISTED.findall(path.read_text(encoding="utf-8")):
            found.append(Entry(name, module, attribute, line, extras=extras))
    return {entry.name: entry for entry in sorted(found)}


def _others() -> dict[str, list[Entry]]:
    """The cases of other packages by name; several entries where packages use the same name."""
    from importlib import metadata

    found: dict[str, list[Entry]] = {}
    for point in metadata.entry_points(group=GROUP):
        package = "another package" if point.dist is None else point.dist.name
        attribute = point.attr or ""  # none where the entry names a module alone
        line = _first_line(point.module, attribute) or f"a case of {package}"
        found.setdefault(point.name, []).append(Entry(point.name, point.module, attribute, line, package))
    return found


def _first_line(module: str, attribute: str) -> str:
    """The first line of the docstring of a class, from the text of its file; empty where that is not found."""
    import ast

    root, *inner = module.split(".")
    try:
        spec = importlib.util.find_spec(root)
        origin = Path(spec.origin) if spec is not None and spec.origin is not None else None
        if origin is None:
            return ""
        if inner:
            origin = origin.parent.joinpath(*inner)
            origin = origin / "__init__.py" if origin.is_dir() else origin.with_suffix(".py")
        for node in ast.parse(origin.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and node.name == attribute:
                return (ast.get_docstring(node) or "").split("\n")[0].rstrip(".")
    except (ImportError, OSError, SyntaxError, ValueError):
        return ""
    return ""


def find_case(name: str) -> type[Case]:
    """The case of a name.

    Args:
        name: As in `all_cases`.

    Returns:
        Its class, imported.

    Raises:
        BadInput: There is none, with the closest names; two packages have one; or its import fails.
    """
    if name in own_cases():
        entry = own_cases()[name]
        return getattr(importlib.import_module(entry.module), entry.attribute)
    found = _others().get(name, [])
    if not found:
        known = all_cases()
        close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(known)}."
        raise BadInput(f"There is no case {name!r}: {hint} A file of your own ends in .py.")
    if len(found) > 1:
        packages = " and ".join(entry.package for entry in found)
        raise BadInput(f"The packages {packages} both have a case {name!r}: uninstall one of them.")
    (entry,) = found
    if not entry.attribute:
        raise BadInput(
            f"The case {name!r} of {entry.package}: its entry point is the module {entry.module} alone. Name its class: "
            f'{name} = "{entry.module}:CLASS".'
        )
    try:
        case = getattr(importlib.import_module(entry.module), entry.attribute)
    except BadInput:
        raise
    except Exception as error:
        raise BadInput(f"The case {name!r} of {entry.package}: {place_of(error)}: {type(error).__name__}: {error}") from error
    if not (isinstance(case, type) and issubclass(case, Case) and not inspect.isabstract(case)):
        raise BadInput(f"The case {name!r} of {entry.package}: {entry.module}:{entry.attribute} is no class derived from Case.")
    return case


_loaded_before: set[str] = set()  # modules that were there before the first file of a user was loaded


def modules_beside(source: Path) -> list[Path]:
    """The files of all modules that a loaded case has imported from its own folder, up to now.

    Args:
        source: The file of the case.

    Returns:
        Their paths, without that of the case.
    """
    root, found = source.resolve().parent, []
    for name, module in sorted(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name in _loaded_before or file is None or not Path(file).is_relative_to(root):
            continue
        parts, imported = Path(file).relative_to(root).with_suffix("").parts, tuple(name.split("."))
        if parts in (imported, (*imported, "__init__")):
            found.append(Path(file))
    return found


def load_file(path: Path) -> type[Case]:
    """The one case that a Python file defines.

    Args:
        path: The file. It can import modules of its own folder.

    Returns:
        Its class.

    Raises:
        BadInput: The file is missing, has an error (named with its line), or defines no case or several.
    """
    if not path.is_file():
        raise BadInput(f"There is no file {path}.")
    _loaded_before.update(() if _loaded_before else sys.modules)
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    name = f"fiberax_case_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise BadInput(f"{path} is not a Python file; its name must end in .py.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BadInput:
        raise
    except Exception as error:
        raise BadInput(f"{place_of(error)}: {type(error).__name__}: {error}") from error
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Case) and value.__module__ == name
        and not inspect.isabstract(value)
    ]  # fmt: skip
    if len(found) != 1:
        names = ", ".join(sorted(c.__name__ for c in found))
        problem = f"defines {len(found)} cases ({names}): keep one" if found else "defines no case: write one"
        raise BadInput(
            f"{path} {problem} dataclass derived from fiberax.cases.Case with a method build() "
            "(the docstring of fiberax.cases has an example)."
        )
    return found[0]


def place_of(error: BaseException) -> str:
    """File and line where an error arose: the last one in the user's own code, else the last of all."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}, line {error.lineno}"
    own, last, trace = None, "an unknown place", error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        last = f"{file}, line {trace.tb_lineno}"
        if not (file.startswith(("<", str(PACKAGE))) or "site-packages" in file):
            own = last
        trace = trace.tb_next
    return own or last

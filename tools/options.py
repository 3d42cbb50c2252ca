"""Write the page of options, docs/options.md, from what the cases and the command declare.

python tools/options.py            # tests compare the page with this
"""

import inspect
import types
import typing
from enum import Enum
from pathlib import Path
from typing import Any

from fiberax.cases.find import find_case, own_cases
from fiberax.cases.options import Option, conditions, fields_of, flags
from fiberax.cli.options import Claim, Devices, Drawing, End, Place, Settings

PAGE = Path(__file__).parents[1] / "docs" / "options.md"
HEAD = """\
# All options

Every option with its values, its default, and the other options with which it has an effect; elsewhere it is refused.
`fiberax run CASE --help` prints them without these conditions. A file of options (`--config`) takes the same names, in TOML or
JSON.
"""
COMMANDS = {
    "Every run": (
        "`fiberax run CASE`, and where they apply `fiberax check`, `resume` and `extend`.",
        (Place, Devices, Settings),
    ),
    "Runs that exist": (
        "`fiberax plot` takes the first three, `extend` the end, `resume` the others; all that read a folder take `--trust`.",
        (Drawing, End, Claim),
    ),
}


def page() -> str:
    """The text of the page."""
    parts = [HEAD]
    for title, (text, groups) in COMMANDS.items():
        parts += [f"## {title}\n\n{text}\n", table([row for group in groups for row in fields_of(group)])]
    for name in own_cases():
        case = find_case(name)
        first = inspect.getdoc(case).split("\n\n")[0].replace("\n", " ")
        parts += [f"## {name}\n\n{first}\n", table(fields_of(case))]
    return "\n".join(parts)


def table(rows: list[tuple[str, Any, Any, Option]]) -> str:
    """A table of options."""
    lines = ["| Option | Values | Default | Meaning |", "|---|---|---|---|"]
    for name, hint, default, opt in rows:
        names = ", ".join(f"`{word}`" for word in flags(name, hint, default))
        unit = f" [{opt.unit}]" if opt.unit else ""
        counts = conditions(opt.applies.alternatives)
        meaning = f"{opt.help}{unit}{f'; {counts} only' if counts else ''}"
        lines.append(f"| {names} | {values(hint, opt)} | {written(default)} | {escaped(meaning)} |")
    return "\n".join(lines) + "\n"


def values(hint: Any, opt: Option) -> str:
    """The values that an option takes, in words."""
    plain = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    (kind,) = (kind for kind in plain if kind is not type(None))
    if opt.choices is not None:
        return ", ".join(f"`{name}`" for name in opt.choices())
    if isinstance(kind, type) and issubclass(kind, Enum):
        return ", ".join(f"`{entry.value}`" for entry in kind)
    several = typing.get_args(kind)
    word = {bool: "", int: "integer", float: "number", str: "text", Path: "file or folder"}.get(kind, f"{len(several)} numbers")
    bounds = (("above", opt.above), ("from", opt.low), ("to", opt.high))
    return " ".join([word, *(f"{said} {bound:g}" for said, bound in bounds if bound is not None)])


def written(default: Any) -> str:
    """A default as it is typed."""
    if default is None or default is False:
        return ""
    if default is True:
        return "yes"
    plain = default.value if isinstance(default, Enum) else default
    return f"`{','.join(map(str, plain)) if isinstance(plain, tuple) else plain}`"


def escaped(text: str) -> str:
    """A text in a cell of a table."""
    return text.replace("|", "\\|").replace("*", "\\*").replace("<", "&lt;")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

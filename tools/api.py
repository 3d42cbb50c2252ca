"""Write the signatures of all public names, tests/api.txt: no argument and no default changes unseen.

python tools/api.py            # tests compare the file with this
"""

import enum
import inspect
from pathlib import Path
from typing import Any

import fiberax as fx

FILE = Path(__file__).parents[1] / "tests" / "api.txt"
MODULES = ("", "diffusion", "fluids", "grids", "homogenization", "molecules", "solids", "testing")


def lines() -> list[str]:
    """A line for every public name, function and method."""
    found = []
    for module in MODULES:
        names = getattr(fx, module) if module else fx
        for name in sorted(names.__all__):
            found += described(".".join(filter(None, ("fx", module, name))), getattr(names, name))
    return found


def described(name: str, value: Any) -> list[str]:
    """The signature of a function; of a class also those of its own public methods and its fields without one."""
    if isinstance(value, type) and issubclass(value, enum.Enum):
        return [f"{name}: {', '.join(f'{entry.name} = {entry.value}' for entry in value)}"]
    if not callable(value):
        return []
    if not inspect.isclass(value):
        return [name + signature(value)]
    own = {key: part for key, part in vars(value).items() if not key.startswith("_") and inspect.isfunction(part)}
    return [name + signature(value), *(f"{name}.{key}{signature(part)}" for key, part in sorted(own.items()))]


def signature(value: Any) -> str:
    """Names and defaults of the arguments."""
    try:
        parameters = inspect.signature(value).parameters.values()
    except ValueError:  # of a builtin base
        return ""
    words = []
    for one in parameters:
        if one.kind is one.KEYWORD_ONLY and not any(word.startswith("*") for word in words):
            words.append("*")
        plain = one.replace(annotation=inspect.Parameter.empty, default=inspect.Parameter.empty)
        default = "" if one.default is inspect.Parameter.empty else f"={shown(one.default)}"
        words.append(f"{plain}{default}")
    return f"({', '.join(words)})"


def shown(default: Any) -> str:
    """A default in one line, without addresses."""
    return getattr(default, "__qualname__", None) or " ".join(repr(default).split())


if __name__ == "__main__":
    FILE.write_text("\n".join(lines()) + "\n", encoding="utf-8")

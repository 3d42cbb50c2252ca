"""Options of a case from a file: TOML, or the `parameters.json` of an earlier run."""

import json
import tomllib
import typing
from pathlib import Path
from typing import Any

from fiberax.cases.base import Case
from fiberax.cases.options import fields_of, flag
from fiberax.core.errors import BadInput

FLAG = "--config"


def expanded(arguments: list[str], case: type[Case], name: str, groups: tuple[type, ...]) -> list[str]:
    """`arguments` with the options of the file that `--config` names in its place, before all others, which therefore win.

    Args:
        arguments: What follows the name of the case on the command line.
        case: Its options.
        name: Its name.
        groups: Dataclasses of further options that the file may give.

    Raises:
        BadInput: No file, one that cannot be read, of another case, or with options that there are not.
    """
    place = next((k for k, word in enumerate(arguments) if word == FLAG or word.startswith(f"{FLAG}=")), None)
    if place is None:
        return arguments
    word, after = arguments[place], place + 1
    text = word.partition("=")[2]
    if word == FLAG:
        if after == len(arguments):
            raise BadInput(f"{FLAG} needs the name of a file.")
        text, after = arguments[after], after + 1
    file = Path(text)
    hints = {name: (hint, default) for group in (case, *groups) for name, hint, default, _ in fields_of(group)}
    words = []
    for key, value in _read(file, name).items():
        known = key.replace("-", "_")
        if known not in hints:
            raise BadInput(f"{FLAG} {file}: the case {name} has no option {key!r}. `fiberax run {name} --help` lists them.")
        words += _words(file, known, value, *hints[known])
    return [*words, *arguments[:place], *arguments[after:]]


def _read(file: Path, name: str) -> dict[str, Any]:
    """Options by name. Those of `parameters.json` are without the ones that were not given."""
    if not file.is_file():
        raise BadInput(f"{FLAG} {file}: there is no such file.")
    try:
        text = file.read_text(encoding="utf-8")
        content = json.loads(text) if file.suffix == ".json" else tomllib.loads(text)
    except (ValueError, OSError) as error:
        kind = "JSON" if file.suffix == ".json" else "TOML"
        raise BadInput(f"{FLAG} {file}: it is no {kind} ({error}). Write a line such as dt = 0.01 for each option.") from error
    if not isinstance(content, dict):
        raise BadInput(f"{FLAG} {file}: it holds no options by name.")
    if not isinstance(content.get("options"), dict):
        return content
    if content.get("case") != name:
        raise BadInput(f"{FLAG} {file}: these are the parameters of the case {content.get('case')}, not of {name}.")
    return content["options"]


def _words(file: Path, name: str, value: Any, hint: Any, default: Any) -> list[str]:
    """The option as it is written on the command line; nothing for its default."""
    if value is None or value == default or (isinstance(default, Path) and str(default) == value):
        return []
    if isinstance(value, bool):
        return [flag(name)] if value else [f"--no-{flag(name)[2:]}"]
    if not isinstance(value, str | int | float):
        raise BadInput(f"{FLAG} {file}: {name} = {value!r} must be a text, a number, true or false.")
    kinds = set(typing.get_args(hint) or (hint,))
    whole = int in kinds
    if kinds & {int, float} and (isinstance(value, str) or (whole and not float(value).is_integer())):
        raise BadInput(f"{FLAG} {file}: {name} = {value!r} is not a {'whole ' if whole else ''}number.")
    if file.suffix == ".json" and isinstance(value, str) and (file.parent / value).is_file():
        value = str(file.parent / value)  # the copy of an input file in the folder of that run
    return [flag(name), str(value)]

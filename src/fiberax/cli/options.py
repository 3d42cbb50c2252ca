"""Options of the command, made from dataclasses."""

import argparse
import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from fiberax.cases.base import Case
from fiberax.cases.options import ABSENT, check_applies, check_options, fields_of, flag, flags, option, when
from fiberax.core.errors import BadInput


@dataclass(frozen=True)
class Devices:
    """Where a run computes."""

    devices: int | None = option(
        None, help="devices (of each process) that share the sites; a CPU is split into as many", low=1
    )
    chunk: int | None = option(None, help="sites computed at once on a device; default by the size of a state", low=1)
    distributed: bool = option(
        False, help="several processes, found by themselves under Slurm or MPI", applies=when(coordinator=ABSENT)
    )
    coordinator: str | None = option(None, help="several processes: HOST:PORT of process 0")
    num_processes: int | None = option(None, help="several processes: how many", low=1)
    process_id: int | None = option(None, help="several processes: the number of this one, from 0", low=0)

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True)
class Settings:
    """How a run is saved and shown."""

    checkpoint_every: float | None = option(
        None, help="longest work that a crash can lose; default 60, a resumed run: as before", unit="s", low=0.0
    )
    quiet: bool = option(False, help="say nothing but the last line")
    plain: bool = option(False, help="lines of text in place of the progress bar")
    figures: bool | None = option(None, help="draw figures at the end; default yes, a resumed run: as before")
    debug: bool = option(False, help="show the Python traceback of an error")

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True)
class Place:
    """The folder of a new run."""

    config: Path | None = option(
        None, help="file of options, TOML or the parameters.json of a run; those of the command line come first"
    )
    out: Path | None = option(None, help="folder of the run; default runs/CASE-N")
    overwrite: bool = option(False, help="replace an earlier run in that folder")


class Kind(Enum):
    """Formats of figures."""

    PNG = "png"
    PDF = "pdf"
    SVG = "svg"


@dataclass(frozen=True)
class Drawing:
    """How figures are drawn."""

    format: Kind = option(Kind.PNG, help="format of the files")
    dpi: int | None = option(None, help="dots per inch; default 160", low=10, high=2400)
    times: str | None = option(None, help="times (or loads) at which fields are drawn, such as 0.1,0.5; default a few")

    def __post_init__(self) -> None:
        check_options(self)


CHECKPOINT_EVERY = 60.0


@dataclass(frozen=True)
class Errors:
    """How errors are shown."""

    debug: bool = option(False, help="show the Python traceback of an error")


@dataclass(frozen=True)
class End:
    """The new end of a run."""

    t1: float | None = option(None, help="new end of the run, in its own unit of time")

    def __post_init__(self) -> None:
        check_options(self)


TRUST = "execute the Python code in the folder although this user did not put it there on this machine"


@dataclass(frozen=True)
class Code:
    """Whether code in a run's folder is executed."""

    trust: bool = option(False, help=TRUST)


@dataclass(frozen=True)
class Claim:
    """How an earlier run is resumed."""

    takeover: bool = option(False, help="resume although the earlier process cannot be seen from this host")
    trust: bool = option(False, help=TRUST)
    allow_changes: bool = option(False, help="resume although options, input files or versions are not those of the run")


def command(function: Callable[..., None], groups: dict[str, type], arguments: dict[str, str] | None = None) -> Callable:
    """`function(*arguments, *groups)` as a typer command.

    `groups`: dataclasses of options, by the title of their panel in the help, in the order in which `function` takes
    them; `arguments`: name and help of text arguments that come before.
    """
    arguments = arguments or {}
    parameters = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[str, typer.Argument(help=text)])
        for name, text in arguments.items()
    ]
    for title, group in groups.items():
        parameters += [_parameter(title, *entry) for entry in fields_of(group)]

    def call(context: typer.Context, **values):
        texts = [values[name] for name in arguments]
        made = [group(**{name: _plain(values[name], hint) for name, hint, *_ in fields_of(group)}) for group in groups.values()]
        written = {name for name in values if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"}
        for group in made:
            check_applies(group, written)
        function(*texts, *made)

    own = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    call.__signature__ = inspect.Signature([own, *parameters])
    call.__doc__ = function.__doc__
    return call


def run_command(case: type[Case], function: Callable[..., None]) -> Callable:
    """`fiberax run CASE`: `function(case, place, devices, settings)`."""
    return _described(case, command(function, {"Case": case, "Run": Place, "Where": Devices, "Saving and showing": Settings}))


def check_command(case: type[Case], function: Callable[..., None]) -> Callable:
    """`fiberax check CASE`: `function(case, devices, errors)`."""
    return _described(case, command(function, {"Case": case, "Where": Devices, "Errors": Errors}))


class Chosen(Enum):
    """One of the names that are known only at run time."""


def _plain(value: Any, hint: Any) -> Any:
    """The text of a chosen name, or the member of an enumeration `hint` that it is; every other value as it is."""
    if not isinstance(value, Chosen):
        return value
    return hint(value.value) if isinstance(hint, type) and issubclass(hint, Enum) else value.value


def _described(case: type[Case], call: Callable) -> Callable:
    """`call` with the docstring of the case as its help."""
    paragraphs = (inspect.getdoc(case) or "").split("\n\n")
    call.__doc__ = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    return call


def peek_devices(arguments: list[str]) -> Devices:
    """The device options among `arguments`, before the rest is known: a user's file is imported after JAX is set up."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for name, hint, default, _ in fields_of(Devices):
        if hint is bool:
            parser.add_argument(flag(name), action="store_true")
        else:
            kind = int if int in typing.get_args(hint) else str
            parser.add_argument(flag(name), type=kind, default=default)
    try:
        return Devices(**vars(parser.parse_known_args(arguments)[0]))
    except argparse.ArgumentError as error:
        raise BadInput(str(error)) from error


_CHARACTERS = frozenset("0123456789+-.eEinfatyINFATY ")


def _number(hint: Any) -> Callable[[Any], Any] | None:
    """Reads a number; None for options of other kinds. typer's own message does not name what was written."""
    kinds = [kind for kind in (typing.get_args(hint) or (hint,)) if kind is not type(None)]
    if kinds not in ([int], [float]):
        return None
    (kind,), word = kinds, "whole number" if kinds == [int] else "number"

    def read(text: Any) -> Any:
        try:
            if set(str(text)) - _CHARACTERS:  # Python reads 1_000 and digits of other scripts, too
                raise ValueError
            return kind(text)
        except ValueError:
            raise typer.BadParameter(f"{text!r} is not a {word}.") from None

    read.__name__ = kind.__name__
    return read


def _parameter(panel: str, name: str, hint: Any, default: Any, opt) -> inspect.Parameter:
    unit = f" ({opt.unit})" if opt.unit else ""
    shown, words = default is not None, "/".join(flags(name, hint, default))
    declared = typer.Option(words, help=opt.help + unit, rich_help_panel=panel, show_default=shown, parser=_number(hint))
    if opt.choices is not None:  # typer needs an enumeration
        choice: Any = Chosen(name, {text: text for text in opt.choices()})
        known = getattr(default, "value", default)
        hint, default = choice | None if default is None else choice, None if default is None else choice(known)
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[hint, declared])

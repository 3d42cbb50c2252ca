"""The command `fiberax`: list, run, resume, status, check, plot."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from fiberax import __version__
from fiberax.cases.base import Case
from fiberax.cases.find import CASES, find_case, load_file
from fiberax.cli import commands
from fiberax.cli.options import Claim, Devices, Errors, Settings, check_command, command, peek_devices, run_command
from fiberax.cli.status import status


def main(arguments: list[str] | None = None) -> int:
    """Run the command with `arguments` (default: those of the process); returns the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    return commands.guarded(lambda: _app(arguments)(arguments, prog_name="fiberax"), "--debug" in arguments)


def _app(arguments: list[str]) -> typer.Typer:
    """The command line. Of the cases, only the one that `arguments` name is imported and gets its options."""
    app = typer.Typer(
        help="Concurrent multiscale simulation by dynamics on fiber bundles.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(_about)
    app.command("list", help="The cases that come with fiberax.")(_list)
    app.add_typer(_case_app("run", "Compute a case in a new folder.", arguments), name="run")
    groups = {"Run": Claim, "Where": Devices, "Saving and showing": Settings}
    folder = {"directory": "folder of the run"}
    app.command("resume", help="Go on with a run that was stopped or killed.")(command(commands.resume, groups, folder))
    app.command("status", help="How a run is.")(command(status, {"Errors": Errors}, folder))
    app.add_typer(_case_app("check", "Test a case before anything long is computed.", arguments), name="check")
    app.command("plot", help="Draw the figures of a run again.")(command(commands.plot, {"Errors": Errors}, folder))
    return app


def _case_app(verb: str, help: str, arguments: list[str]) -> typer.Typer:
    """`fiberax run` or `fiberax check`: a command for each case, the one that is asked for with its options."""
    app = typer.Typer(
        help=f"{help} CASE is one of these, or a Python file of your own.",
        no_args_is_help=True,
        subcommand_metavar="CASE [OPTIONS]",
    )
    named = arguments[1] if arguments[:1] == [verb] and len(arguments) > 1 else ""
    if not named or named.startswith("-"):
        for name, (_, _, line) in CASES.items():
            app.command(name, help=line)(lambda: None)
        return app
    case, source = _resolve(named, arguments[2:])
    name = named if source is None else source.stem

    def run(case, place, devices, settings):
        commands.run(case, source, name, place, devices, settings)

    call = run_command(case, run) if verb == "run" else check_command(case, commands.check)
    app.command(named)(call)
    return app


def _resolve(target: str, arguments: list[str]) -> tuple[type[Case], Path | None]:
    """The case class that a name or a file stands for, and the file."""
    if not target.endswith(".py"):
        return find_case(target), None
    from fiberax.cli import platform

    platform.start(peek_devices(arguments))
    return load_file(Path(target)), Path(target)


def _say_version(wanted: bool) -> None:
    if wanted:
        print(f"fiberax {__version__}")
        raise typer.Exit()


def _about(
    version: Annotated[bool, typer.Option("--version", help="print the version", is_eager=True, callback=_say_version)] = False,
) -> None:
    """Concurrent multiscale simulation by dynamics on fiber bundles."""


def _list() -> None:
    width = max(map(len, CASES))
    for name, (_, _, line) in CASES.items():
        print(f"{name:<{width}}  {line}")
    print("\n`fiberax run CASE --help` shows the options of a case; `fiberax run FILE.py` runs one of your own.")

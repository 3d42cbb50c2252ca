"""The command `fiberax`: list, run, resume, extend, status, check, plot, completion."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from fiberax import __version__
from fiberax.cases.base import Case
from fiberax.cases.find import all_cases, find_case, load_file, own_cases
from fiberax.cli import commands, completion, config, display, platform, stopping
from fiberax.cli.options import (
    Claim,
    Code,
    Devices,
    Drawing,
    End,
    Errors,
    Place,
    Settings,
    check_command,
    command,
    peek_devices,
    run_command,
)
from fiberax.cli.status import status


def main(arguments: list[str] | None = None) -> int:
    """Run the command with `arguments` (default: those of the process, which ends then); returns the exit code."""
    whole_process, arguments = arguments is None, sys.argv[1:] if arguments is None else arguments
    if whole_process:
        display.open_streams()
        stopping.for_this_process()
    # Before a case imports JAX: XLA reports processor features of its own cached programs as errors.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

    def work() -> None:
        if whole_process and completion.asked():
            _complete(completion.typed())
        app, words = _app(arguments)
        app(words, prog_name="fiberax")

    code = commands.guarded(work, "--debug" in arguments)
    if whole_process and code == commands.INTERRUPTED and not commands.is_one_of_many():
        stopping.leave(code)
    return code


def _complete(typed: list[str]) -> None:
    """Print what completes the words that are `typed`, or the script of a shell. No code of users is executed for this."""
    known = len(typed) > 1 and typed[1] in own_cases()
    app, _ = _app(typed[:2] if known else typed[:1], completes=True)
    app([], prog_name="fiberax")


def _completion(shell: Annotated[completion.Shell, typer.Argument(help="the shell")]) -> None:
    os.environ[completion.VARIABLE] = f"source_{shell.value}"
    _complete([])


def _app(arguments: list[str], completes: bool = False) -> tuple[typer.Typer, list[str]]:
    """The command line, and `arguments` with the options of a file that they name.

    Of the cases, only the one that `arguments` name is imported and gets its options.
    """
    app = typer.Typer(
        help="Concurrent multiscale simulation by dynamics on fiber bundles.",
        no_args_is_help=True,
        add_completion=completes,
        pretty_exceptions_enable=False,
    )
    app.callback()(_about)
    app.command("list", help="The cases that come with fiberax and with other installed packages.")(_list)
    runs, arguments = _case_app("run", "Compute a case in a new folder.", arguments, completes)
    app.add_typer(runs, name="run")
    groups = {"Run": Claim, "Where": Devices, "Saving and showing": Settings}
    folder = {"directory": "folder of the run"}
    app.command("resume", help="Go on with a run that was stopped or killed.")(command(commands.resume, groups, folder))
    ends = {"End": End, **groups}
    app.command("extend", help="Make a run in time longer, finished or stopped.")(command(commands.extend, ends, folder))
    app.command("status", help="How a run is.")(command(status, {"Errors": Errors}, folder))
    checks, arguments = _case_app("check", "Test a case before anything long is computed.", arguments, completes)
    app.add_typer(checks, name="check")
    app.command("plot", help="Draw the figures of a run again.")(
        command(commands.plot, {"Figures": Drawing, "Run": Code, "Errors": Errors}, folder)
    )
    app.command("completion", help="Print the completion script of a shell.")(_completion)
    return app, arguments


def _case_app(verb: str, help: str, arguments: list[str], silent: bool) -> tuple[typer.Typer, list[str]]:
    """`fiberax run` or `check`: a command for each case, the chosen one with its options; and `arguments` as in `_app`."""
    app = typer.Typer(
        help=f"{help} CASE is one of these, or a Python file of your own.",
        no_args_is_help=True,
        subcommand_metavar="CASE [OPTIONS]",
    )
    asked = arguments[:1] == [verb]
    named = arguments[1] if asked and len(arguments) > 1 else ""
    if not named or named.startswith("-"):
        for name, line in _lines().items() if asked else [("CASE", "")]:
            app.command(name, help=line)(lambda: None)
        return app, arguments
    name = Path(named).stem if named.endswith(".py") else named
    said = not silent and _said(verb, named, name, arguments[2:])
    case, source = _resolve(named, arguments[2:])

    def run(case, place, devices, settings):
        commands.run(case, source, name, place, devices, settings, said)

    call = run_command(case, run) if verb == "run" else check_command(case, commands.check)
    app.command(named)(call)
    groups = (Place, Devices, Settings) if verb == "run" else (Devices, Errors)
    return app, [verb, named, *config.expanded(arguments[2:], case, name, groups)]


def _said(verb: str, named: str, name: str, arguments: list[str]) -> bool:
    """Say that a case is being prepared or checked, before its code is imported, which takes seconds; whether that was done."""
    if not (named in own_cases() or Path(named).is_file()) or {"--help", "--quiet", "--config"} & set(arguments):
        return False  # a file of options may ask for silence
    if not platform.is_alone(peek_devices(arguments)):
        return False  # one of several processes speaks for all
    display.tell(f"{'Preparing' if verb == 'run' else 'Checking'} {name}")
    return True


def _resolve(target: str, arguments: list[str]) -> tuple[type[Case], Path | None]:
    """The case class of a name or a file, and the file."""
    if target in own_cases():
        return find_case(target), None
    if target.endswith(".py") or target in all_cases():
        platform.start(peek_devices(arguments))  # before code of users is imported
    return (load_file(Path(target)), Path(target)) if target.endswith(".py") else (find_case(target), None)


def _say_version(wanted: bool) -> None:
    if wanted:
        print(f"fiberax {__version__}")
        raise typer.Exit()


def _about(
    version: Annotated[bool, typer.Option("--version", help="print the version", is_eager=True, callback=_say_version)] = False,
) -> None:
    """Concurrent multiscale simulation by dynamics on fiber bundles."""


def _lines() -> dict[str, str]:
    """One line for each case, with the package where it is another one."""
    return {
        name: entry.line if entry.package == "fiberax" else f"{entry.line} ({entry.package})"
        for name, entry in all_cases().items()
    }


def _list() -> None:
    lines = _lines()
    width = max(map(len, lines))
    for name, line in lines.items():
        print(f"{name:<{width}}  {line}")
    print("\nExtras, pip install 'fiberax[NAME]':")
    for name, uses in _extras().items():
        print(f"  {name:<6} {uses}")
    print("\n`fiberax run CASE --help` shows the options of a case; `fiberax run FILE.py` runs one of your own.")


def _extras() -> dict[str, str]:
    """What needs each extra, in words."""
    found: dict[str, dict[str, list[str]]] = {"plot": {"": ["figures of all cases"]}}
    for case, entry in all_cases().items():
        for part in filter(None, entry.extras.split("; ")):
            name, _, use = part.partition(" for ")
            found.setdefault(name, {}).setdefault(use, []).append(case)
    return {
        name: "; ".join(f"{use} of {', '.join(cases)}" if use else ", ".join(cases) for use, cases in sorted(uses.items()))
        for name, uses in found.items()
    }

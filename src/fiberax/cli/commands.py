"""The commands `fiberax run`, `resume`, `check` and `plot`."""

import contextlib
import dataclasses
import errno
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fiberax.cases.base import Case, Problem, Steady, Table
from fiberax.cases.find import find_case, load_file, modules_beside, place_of
from fiberax.cases.formula import read_numbers
from fiberax.cases.options import fields_of, from_json, to_json
from fiberax.cli import display, platform, stopping
from fiberax.cli.options import CHECKPOINT_EVERY, Claim, Code, Devices, Drawing, End, Errors, Place, Settings
from fiberax.core.errors import BadInput, FiberaxError
from fiberax.io import digests, log, owner, runfolder
from fiberax.io.atomic import SaveFailed
from fiberax.io.origin import Origin, differences, origin_of, recorded_origin
from fiberax.io.reading import digest_of
from fiberax.io.trust import check_code, seal_of

_NAME_ERRORS = (errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM)
INCOMPLETE = 3
INTERRUPTED = 130


class Stopped(Exception):
    """The user stopped a run; the message says how to go on."""


class Incomplete(Exception):
    """A run came to its end without some of its rows or records; the message says which, and why."""


def run(
    case: Case, source: Path | None, name: str, place: Place, devices: Devices, settings: Settings, said: bool = False
) -> None:
    """Compute a case in a new folder. `source`: the Python file of a case of a user; `said`: what is prepared was told."""
    for path in filter(None, (place.out, source)):
        _check_name(path)
    if place.out is not None:
        runfolder.refuse_taken(place.out, place.overwrite)
    _start(name, devices, settings, said)
    problem = build(case)
    if settings.checkpoint_every is not None and isinstance(problem, Steady | Table):
        words = "a steady state has no checkpoints" if isinstance(problem, Steady) else "a table goes on after its last row"
        raise BadInput(f"--checkpoint-every has no effect: {words}. Leave --checkpoint-every out.")
    folder = runfolder.free_name(Path("runs"), name) if place.out is None else place.out
    from fiberax.cli.memory import refuse_too_large

    refuse_too_large(problem, folder)
    if source is not None and platform.is_alone(devices):
        from fiberax.cli.check import refuse_ill_posed

        refuse_ill_posed(problem)

    def make() -> None:
        runfolder.create(folder, place.overwrite)
        runfolder.write_parameters(folder, _parameters(case, source, name, folder, devices, settings))

    try:
        platform.on_first_process(make)
        origin = origin_of(folder, runfolder.read_parameters(folder)) if platform.is_first_process() else {}
    except BaseException:
        _release(folder)
        raise
    _launch((case, problem, origin), folder, devices, settings)


def resume(directory: str, claim: Claim, devices: Devices, settings: Settings) -> None:
    """Go on with a run that was stopped or killed, from its last checkpoint."""
    _go_on(Path(directory), None, claim, devices, settings)


def extend(directory: str, end: End, claim: Claim, devices: Devices, settings: Settings) -> None:
    """Make a run in time longer, finished or stopped; the results are those of one long run, to the last digit."""
    _go_on(Path(directory), end, claim, devices, settings)


def _go_on(folder: Path, end: End | None, claim: Claim, devices: Devices, settings: Settings) -> None:
    """Go on with a run, to a later end where one is given."""
    _check_name(folder)
    parameters = runfolder.read_parameters(folder)
    if end is None:
        _refuse_finished(folder)
    owner.refuse_living(folder, claim.takeover)
    made, now = recorded_origin(folder), origin_of(folder, parameters)
    changes = [] if made is None else differences(made, now)
    if changes and not claim.allow_changes:
        raise BadInput(
            f"The run in {folder} was begun otherwise: {'; '.join(changes)}. Its records and those to come would not belong "
            "together. Put that back, or run the case in a new folder; or go on all the same with --allow-changes."
        )
    before = parameters.settings
    devices = dataclasses.replace(devices, devices=devices.devices or before["devices"], chunk=devices.chunk or before["chunk"])
    for name in ("checkpoint_every", "figures"):
        if getattr(settings, name) is None:
            settings = dataclasses.replace(settings, **{name: before.get(name)})
    _start(parameters.case, devices, settings)
    platform.on_first_process(lambda: runfolder.adopt(folder, claim.takeover))
    from fiberax.cli import extend as longer

    try:
        if end is None:
            _refuse_finished(folder)
        case = _case_of(parameters, folder, claim.trust)
        problem = build(case)
        if end is None:
            problem = longer.with_ends(problem, parameters.ends)
        else:
            problem = longer.lengthened(problem, parameters.ends, end.t1, folder)
            platform.on_first_process(lambda: longer.reopen(folder, problem.t1))
    except BaseException:
        _release(folder)
        raise
    _launch((case, problem, now), folder, devices, settings, {"changes": changes})


def check(case: Case, devices: Devices, errors: Errors) -> None:
    """Check a case and estimate its cost, before anything long is computed."""
    platform.start(devices)
    from fiberax.cli.check import check as check_problem

    check_problem(build(case), platform.placement(devices))


def _check_name(path: Path) -> None:
    """Raise `BadInput` for a name that is too long, or that results cannot hold; before anything is computed."""
    try:
        str(path.absolute()).encode()
        (path / "checkpoints" / f".step-0000000000.npz.{os.getpid()}.part").exists()  # the longest name in it
    except UnicodeEncodeError:
        words = "is not UTF-8, so that results and messages cannot hold it"
    except OSError as error:
        words = f"cannot be used ({error.strerror})"
    else:
        return
    raise BadInput(f"The name {str(path)!a} {words}. Choose another.")


def _refuse_finished(folder: Path) -> None:
    if log.read_state(folder).get("phase") == "finished":
        changed = "".join(f" {line}" for line in digests.altered(folder))
        raise BadInput(
            f"The run in {folder} is finished; `fiberax plot {folder}` draws its figures again, and `fiberax extend {folder} "
            f"--t1 T` makes a run in time longer.{changed}"
        )


def build(case: Case) -> Problem:
    """The case's problem. An error in `build` is reported with its place."""
    try:
        with _plain_warnings():
            problem = case.build()
    except FiberaxError:
        raise
    except Exception as error:
        raise BadInput(f"{place_of(error)}: {type(error).__name__}: {error}") from error
    if not isinstance(problem, Problem):
        kind = type(problem).__name__
        raise BadInput(f"{type(case).__name__}.build() must return an Evolve, Steady, Loading or Table; it returns {kind}.")
    return problem


def _start(name: str, devices: Devices, settings: Settings, said: bool = False) -> None:
    """Start JAX, and say that something happens, unless that was `said`: files are read before the run has a display."""
    alone, silent = platform.is_alone(devices), settings.quiet or said
    if alone and not silent:
        display.tell(f"Preparing {name}")
    platform.start(devices)
    if not alone and platform.is_first_process() and not silent:
        display.tell(f"Preparing {name}")


@contextlib.contextmanager
def _plain_warnings() -> Iterator[None]:
    """Warnings of the library in one line each."""
    with warnings.catch_warnings():
        usual = warnings.showwarning

        def show(message, category, filename, lineno, file=None, line=None):
            if display.of_library(category, filename):
                display.tell(f"Warning: {message}")
            else:
                usual(message, category, filename, lineno, file, line)

        warnings.showwarning = show
        yield


def _parameters(
    case: Case, source: Path | None, name: str, folder: Path, devices: Devices, settings: Settings
) -> runfolder.Parameters:
    """What `resume` needs, with copies of the files that the case reads and of its code."""
    code = {} if source is None else _copied_code(source.resolve(), folder)
    copied = next(iter(code), None)
    options = to_json(case)
    for field, *_ in fields_of(type(case)):
        value = getattr(case, field)
        if isinstance(value, Path):
            options[field] = runfolder.copy_input(folder, value)
    return runfolder.Parameters(
        case=name,
        options=options,
        settings={
            "checkpoint_every": settings.checkpoint_every,
            "devices": devices.devices,
            "chunk": devices.chunk,
            "figures": settings.figures is not False,
        },
        source=copied,
        code=code,
        seal="" if copied is None else seal_of(name, copied, code),
    )


def _copied_code(source: Path, folder: Path) -> dict[str, str]:
    """Copies of a user's case and of the modules beside it that it has imported: paths in the run's folder, and digests."""
    copies = [runfolder.copy_code(folder, path, source.parent) for path in (source, *modules_beside(source))]
    return {path: digest_of(folder / path) for path in copies}


def _case_of(parameters: runfolder.Parameters, folder: Path, trusted: bool) -> Case:
    """The case of a run with its options. Raises `BadInput`, before code is executed that may not be."""
    if parameters.source is None:
        kind = find_case(parameters.case)
    else:
        source = check_code(folder, parameters, trusted)
        sys.dont_write_bytecode = True  # compiled code in the folder would be code that was not recorded
        kind = load_file(source)
    try:
        case = from_json(kind, parameters.options, folder)
    except BadInput as error:
        raise BadInput(f"The options in {folder / 'parameters.json'} cannot be used: {error}") from error
    for name, *_ in fields_of(kind):
        path = getattr(case, name)
        if isinstance(path, Path) and not path.resolve().is_relative_to((folder / "inputs").resolve()):
            raise BadInput(f"{folder / 'parameters.json'} names a file outside of the folder: --{name} = {path}.")
    return case


def _launch(
    work: tuple[Case, Problem, Origin],
    folder: Path,
    devices: Devices,
    settings: Settings,
    resumed: dict[str, Any] | None = None,
) -> None:
    """Compute in a folder that is made and claimed, and write the state in which the run ended.

    `resumed`: what the log is to say of a run that goes on; None for a new one.
    """
    from fiberax.cli.execute import Job, compute

    first = platform.is_first_process()
    shown = display.choose(settings.quiet or not first, settings.plain)
    every = CHECKPOINT_EVERY if settings.checkpoint_every is None else settings.checkpoint_every
    case, problem, origin = work
    job = Job(
        case, folder, shown, platform.placement(devices), every, settings.figures is not False, origin, resumed is not None
    )
    stopped = f"Stopped. `fiberax resume {folder}` goes on from the last checkpoint."

    def end() -> None:
        _ended(folder, "interrupted", "")
        _release(folder)
        display.tell(str(stopped))
        stopping.leave(INTERRUPTED)

    try:
        with stopping.within_seconds(end):
            if first:
                runfolder.log_start(folder, "resume" if job.resumed else "start", {"folder": str(folder)} | (resumed or {}))
                log.write_state(folder, "running", log.read_state(folder))
                shown.say(f"{'Going on' if job.resumed else 'Computing'} in {folder}")
            words, missing = compute(problem, job)
    except KeyboardInterrupt:
        _ended(folder, "interrupted", "")
        raise Stopped(stopped) from None
    except Exception as error:
        _ended(folder, "failed", str(error))
        raise
    finally:
        shown.close()
        _release(folder)
    if first:
        log.append_event(folder, "end", {"summary": words} | ({"missing": missing} if missing else {}))
        drawn = any((folder / "figures").glob("*"))  # none without matplotlib, or with --no-figures
        display.tell(f"Finished: {words}. {'Results and figures' if drawn else 'Results'} are in {folder}", result=True)
    if missing:
        raise Incomplete(missing)


def _ended(folder: Path, phase: str, message: str) -> None:
    """Write how the run ended. A full disk must not hide the error that ended it."""
    if not platform.is_first_process():
        return
    try:
        log.write_state(folder, phase, log.read_state(folder) | {"message": message})
        log.append_event(folder, phase, {"message": message})
    except SaveFailed:
        return


def _release(folder: Path) -> None:
    if platform.is_first_process():
        owner.release(folder)


def plot(directory: str, drawing: Drawing, code: Code, errors: Errors) -> None:
    """Draw the figures and ParaView files of a run, finished or not, from what it has saved so far."""
    from fiberax.cli.finish import draw, gather, lost_words
    from fiberax.io.plots.draw import Look

    folder, times = Path(directory), () if drawing.times is None else read_numbers(drawing.times, "--times", "0.1,0.5")
    parameters = runfolder.read_parameters(folder)
    case, complaints, lost = None, [], ""
    if log.read_state(folder).get("phase") != "finished":
        lost = lost_words(folder, gather(folder))
        digests.seal(folder)
    else:
        complaints += [line.removesuffix(".") for line in digests.altered(folder)]
    display.tell(f"Drawing {folder}")
    platform.start(Devices())
    try:
        case = _case_of(parameters, folder, code.trust)
    except FiberaxError as error:
        complaints.append(f"The case cannot be loaded, the default figures are drawn: {error}".removesuffix("."))
    drawn = draw(folder, case, Look(drawing.format.value, drawing.dpi), times)
    for path in drawn.paths:
        print(path)
    if complaints := list(dict.fromkeys(complaints + drawn.complaints)):
        raise BadInput(f"{'. '.join(complaints)}.{lost and ' ' + lost}")
    if lost:
        raise Incomplete(lost)
    if not drawn.paths and not (folder / "results.nc").exists():
        raise BadInput(f"The run in {folder} has saved nothing yet: there is nothing to draw.")


def guarded(work: Callable[[], None], debug: bool) -> int:
    """Run `work`; every error becomes one message on stderr and an exit code. With `debug` the traceback is shown.

    Exit codes: 0 success, 2 a wrong input or a computation that cannot go on, 3 without some rows or records, 130 stopped
    by the user, 1 an error of the program.
    """
    try:
        work()
        return 0
    except SystemExit as ended:
        if ended.code == INTERRUPTED:  # typer's answer to an interrupt before a run computes
            display.tell("Stopped.")
        return ended.code if isinstance(ended.code, int) else 2
    except Stopped as stopped:
        display.tell(str(stopped))
        return INTERRUPTED
    except Incomplete as incomplete:
        display.tell(str(incomplete))
        return INCOMPLETE
    except KeyboardInterrupt:
        display.tell("Stopped.")
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if debug:
            import traceback

            traceback.print_exc()
        else:
            display.tell(f"fiberax: {_message(error)}")
        return 2 if isinstance(error, FiberaxError) or _is_of_a_name(error) else 1


def _is_of_a_name(error: Exception) -> bool:
    """Whether a file that the user named cannot be used at all, wherever that was found."""
    return isinstance(error, OSError) and error.filename is not None and error.errno in _NAME_ERRORS


def is_one_of_many() -> bool:
    """Whether other processes take part, which have to be told of the end of this one."""
    jax = sys.modules.get("jax")  # without it there is none
    return jax is not None and jax.process_count() > 1


def _message(error: Exception) -> str:
    if isinstance(error, FiberaxError):
        return str(error)
    if _is_of_a_name(error):
        assert isinstance(error, OSError)
        return f"{error.filename!r} cannot be used: {error.strerror}."
    text = str(error).strip().splitlines() or [""]
    if "RESOURCE_EXHAUSTED" in text[0] or isinstance(error, MemoryError):
        return f"Out of memory ({text[0]}). A smaller --chunk, fewer cells or more --devices need less."
    return f"{type(error).__name__} at {place_of(error)}: {text[0]} (--debug shows the whole traceback)"

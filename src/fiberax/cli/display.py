"""Display of a run: a progress bar on a terminal, plain lines elsewhere."""

import contextlib
import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

_PACKAGE = Path(__file__).parents[1]
PLAIN_INTERVAL = 5.0
_UNSEEN = (OSError, ValueError)  # the terminal is gone, the disk behind a file is full, the stream is closed


def tell(text: str, *, result: bool = False) -> None:
    """Print a line on stderr, a `result` on stdout. Where nobody can read it, it is left out: no run ends for that."""
    stream = sys.stdout if result else sys.stderr
    if stream is None:
        return
    try:
        print(text, file=stream, flush=True)
    except _UNSEEN:
        # What is buffered would fail again at the end of the process. A stand-in for a stream has no number.
        with contextlib.suppress(*_UNSEEN, AttributeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def of_library(category: type[Warning], filename: str) -> bool:
    """Whether a warning is one of the library's own, to be told in one line: by its category, or by the code it points to."""
    named = category.__module__.partition(".")[0] == _PACKAGE.name
    return issubclass(category, UserWarning) and (named or Path(filename).is_relative_to(_PACKAGE))


def open_streams() -> None:
    """Stand-ins for closed standard streams; without them the next file that is opened would get what is printed."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one
    sys.stdout = open(os.devnull, "w") if sys.stdout is None else sys.stdout  # noqa: SIM115
    sys.stderr = open(os.devnull, "w") if sys.stderr is None else sys.stderr  # noqa: SIM115


class Display(Protocol):
    """Interface of a display."""

    def show(self, done: int, total: int, text: str, left: float | None) -> None:
        """Show `done` of `total` steps, a text, and the seconds left (None: unknown)."""
        ...

    def say(self, text: str) -> None:
        """Print a line."""
        ...

    def close(self) -> None:
        """End the display."""
        ...


class Silence:
    """Shows nothing."""

    def show(self, done: int, total: int, text: str, left: float | None) -> None:
        """Nothing."""

    def say(self, text: str) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class Lines:
    """Plain lines on stderr: the first, at most one every five seconds, and the last."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._last = -math.inf

    def show(self, done: int, total: int, text: str, left: float | None) -> None:
        """Print a line, if the last one is long enough ago."""
        if done < total and self._clock() - self._last < PLAIN_INTERVAL:
            return
        self._last = self._clock()
        share = 100 * done // max(total, 1)
        rest = "" if left is None or done >= total else f", {duration(left)} left"
        self.say(f"{done}/{total} ({share} %) {text}{rest}")

    def say(self, text: str) -> None:
        """One line."""
        tell(text)

    def close(self) -> None:
        """Nothing is open."""


class Bar:
    """A live progress bar on stderr."""

    def __init__(self):
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self._progress = Progress(
            SpinnerColumn(),
            BarColumn(bar_width=28),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[text]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=Console(stderr=True),
            transient=False,
        )
        self._task = self._progress.add_task("", total=None, text="compiling", left="")
        self._progress.start()

    def show(self, done: int, total: int, text: str, left: float | None) -> None:
        """Move the bar."""
        rest = "" if left is None or done >= total else f"{duration(left)} left"
        words = f"{done}/{total}  {text}"
        with contextlib.suppress(*_UNSEEN):
            self._progress.update(self._task, completed=done, total=total, text=words, left=rest)

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        with contextlib.suppress(*_UNSEEN):
            self._progress.console.print(text, highlight=False, markup=False)

    def close(self) -> None:
        """End the bar."""
        with contextlib.suppress(*_UNSEEN):
            self._progress.stop()


def choose(quiet: bool, plain: bool) -> Display:
    """A bar where stderr is a terminal, else lines."""
    if quiet:
        return Silence()
    return Lines() if plain or not sys.stderr.isatty() else Bar()


def duration(seconds: float) -> str:
    """A time span in words."""
    if seconds < 0.95:
        return "under 1 s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"

"""The end of a run that a signal asks for, also while the device computes.

Python calls handlers of signals in its main thread, which cannot take them while it waits for a program of XLA to end. That may
be minutes, and so may be the end of the process, which waits for the same program.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

GRACE = 5.0  # seconds from SIGTERM or SIGHUP to the end; batch systems kill after some 30
AGAIN = 0.05  # seconds until a lost interrupt comes again
IMPATIENT = 1.0  # seconds from a second SIGINT


def as_interrupts() -> dict[int, Any]:
    """From now on SIGTERM and SIGHUP count as SIGINT, unless they are ignored (nohup). Returns the handlers before."""
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    asked = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]
    return {number: signal.signal(number, _interrupt) for number in asked}


def _ignored() -> bool:
    """Whether SIGINT is ignored, as in jobs that a script starts in the background: other signals end these all the same."""
    return signal.getsignal(signal.SIGINT) == signal.SIG_IGN


def _interrupt(*_) -> None:
    if _ignored():
        raise KeyboardInterrupt
    signal.raise_signal(signal.SIGINT)


def for_this_process() -> None:
    """`as_interrupts`; and an interrupt that arises while garbage is collected, where Python drops it, comes again."""
    as_interrupts()
    usual = sys.unraisablehook

    def hook(lost: Any) -> None:
        if lost.exc_type is KeyboardInterrupt:
            threading.Timer(AGAIN, os.kill, (os.getpid(), signal.SIGTERM if _ignored() else signal.SIGINT)).start()
        else:
            usual(lost)

    sys.unraisablehook = hook


@contextlib.contextmanager
def within_seconds(end: Callable[[], None]) -> Iterator[None]:
    """See to it that SIGTERM, SIGHUP or a second SIGINT leaves the block within seconds; else `end` is called in a thread.

    In the block SIGTERM and SIGHUP count as SIGINT: the run stops at the next safe place, with a checkpoint, where one comes in
    time. A first SIGINT waits for that place.
    """
    before = as_interrupts()
    read, write = os.pipe()
    os.set_blocking(write, False)
    usual = signal.set_wakeup_fd(write, warn_on_full_buffer=False)  # written to at once, whatever the main thread does
    left = threading.Event()

    def watch() -> None:
        asked = 0
        while not left.is_set():
            for number in os.read(read, 64):
                asked += number == signal.SIGINT
                if number in before or asked > 1:
                    if not left.wait(GRACE if number in before else IMPATIENT):
                        end()
                    return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        left.set()
        signal.set_wakeup_fd(usual)
        os.write(write, b"\0")  # wakes the thread
        watcher.join(IMPATIENT)
        os.close(write)
        os.close(read)
        for number, handler in before.items():
            signal.signal(number, handler)


def leave(code: int) -> None:
    """End the process at once: an ordinary end waits for the programs that the device still computes."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)

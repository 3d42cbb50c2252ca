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

GRACE = 5.0  # seconds from SIGTERM to the end; batch systems kill after some 30
IMPATIENT = 1.0  # seconds from a second SIGINT


@contextlib.contextmanager
def within_seconds(end: Callable[[], None]) -> Iterator[None]:
    """See to it that SIGTERM, or a second SIGINT, leaves the block within seconds; else `end` is called in another thread.

    In the block SIGTERM counts as SIGINT: the run stops at the next safe place, with a checkpoint, where one comes in time. A
    first SIGINT waits for that place.
    """
    before = signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    read, write = os.pipe()
    os.set_blocking(write, False)
    usual = signal.set_wakeup_fd(write, warn_on_full_buffer=False)  # written to at once, whatever the main thread does
    left = threading.Event()

    def watch() -> None:
        asked = 0
        while not left.is_set():
            for number in os.read(read, 64):
                asked += number == signal.SIGINT
                if number == signal.SIGTERM or asked > 1:
                    if not left.wait(GRACE if number == signal.SIGTERM else IMPATIENT):
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
        signal.signal(signal.SIGTERM, before)


def leave(code: int) -> None:
    """End the process at once: an ordinary end waits for the programs that the device still computes."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)

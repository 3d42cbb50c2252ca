"""Interrupts of a run, and values that all of its processes share."""

import signal
import threading

import jax
import numpy as np


class Interrupt:
    """Delays SIGINT until the loop reaches a safe place; a second one ends the process at once."""

    def __enter__(self):
        self.asked = False
        self._main = threading.current_thread() is threading.main_thread()
        if self._main:
            self._before = signal.signal(signal.SIGINT, self._handle)
        return self

    def _handle(self, number, frame):
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def __exit__(self, *_):
        if self._main:
            signal.signal(signal.SIGINT, self._before)


def agree(*values: float) -> tuple[float, ...]:
    """The values of process 0, on all processes."""
    if jax.process_count() == 1:
        return values
    from jax.experimental import multihost_utils

    return tuple(multihost_utils.broadcast_one_to_all(np.asarray(values, float)).tolist())


def anywhere(flag: bool) -> bool:
    """Whether the flag is true on any process."""
    if jax.process_count() == 1:
        return flag
    from jax.experimental import multihost_utils

    return bool(np.any(multihost_utils.process_allgather(np.asarray(flag))))

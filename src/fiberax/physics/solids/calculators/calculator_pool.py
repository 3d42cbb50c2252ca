"""Host part of `calculator.py`: batches submitted to a `concurrent.futures.Executor`, and a cache of their answers."""

import multiprocessing
import os
import pickle
import threading
from collections import OrderedDict, deque
from concurrent.futures import Executor, ProcessPoolExecutor
from typing import Any

import numpy as np

from fiberax.core.errors import BadInput
from fiberax.physics.solids.calculators.calculator_worker import Recipe, Relaxed, prepare, work

_MEMORY = 2**14  # cached evaluations: links and energies need the last state of a relaxation again
_PIECES = 64  # largest number of tasks of a batch, so that one recipe is sent with many conditions
_FAILURES = 100
_JACOBIANS = (
    2**25
)  # bytes of second derivatives remembered: stability margins are asked for at the states whose tangents were taken


class Evaluator:
    """Evaluates and relaxes batches of conditions of one cell. Arrays may have any leading axes; results have the same.

    `executor` None: one condition alone is computed in this process, several on processes that are started when first needed.
    """

    def __init__(self, recipe: Recipe, executor: Executor | None):
        self.recipe, self.executor = recipe, executor
        self.failures: deque[str] = deque(maxlen=_FAILURES)
        self._pool: ProcessPoolExecutor | None = None
        self._lock = threading.Lock()
        self._known: OrderedDict[bytes, Any] = OrderedDict()
        self._second: OrderedDict[bytes, np.ndarray] = OrderedDict()
        if executor is None or isinstance(executor, ProcessPoolExecutor):
            _check_travels(recipe)

    def points(self, shifts, conditions) -> tuple[np.ndarray, ...]:
        """W (...), ∂W/∂s (..., n-1, 3) and P (..., 3, 3) at given shifts (..., n-1, 3)."""
        lead, tasks = _tasks(shifts, conditions)
        found = self._ask("evaluate", tasks)
        return tuple(_stack([point[k] for point in found], lead) for k in range(3))

    def relaxed(self, shifts, conditions, tolerances) -> tuple[np.ndarray, ...]:
        """Shifts relaxed from given ones, result codes, steps and residuals; see `calculator_worker.relax`."""
        lead, tasks = _tasks(shifts, conditions)
        tolerances = np.broadcast_to(tolerances, lead).ravel()
        found = self._ask("relax", [(*task, float(t)) for task, t in zip(tasks, tolerances)])
        return tuple(_stack([getattr(one, name) for one in found], lead) for name in ("shifts", "result", "steps", "residual"))

    def jacobians(self, shifts, conditions) -> np.ndarray:
        """Derivatives (..., m, m) of (∂W/∂s, P), flattened, by (s, A), flattened: central differences of forces and stress."""
        lead, tasks = _tasks(shifts, conditions)
        keys = [_key("", task) for task in tasks]
        with self._lock:
            found = {key: self._second[key] for key in keys if key in self._second}
        missing = {key: task for key, task in zip(keys, tasks) if key not in found}
        if missing:
            fresh = dict(zip(missing, self._differenced(list(missing.values()), alone=len(tasks) == 1)))
            found |= fresh
            with self._lock:
                self._second |= {key: matrix for key, matrix in fresh.items() if np.all(np.isfinite(matrix))}
                while len(self._second) * found[keys[0]].nbytes > _JACOBIANS:
                    self._second.popitem(last=False)
        return _stack([found[key] for key in keys], lead)

    def _differenced(self, tasks: list[tuple], alone: bool) -> np.ndarray:
        """The Jacobians (tasks, m, m), two evaluations for every column."""
        scale = self.recipe.step * np.concatenate([np.full(tasks[0][0].size, self.recipe.length), np.ones(9)])
        moves = np.diag(scale)
        around = [_moved(task, sign * move) for task in tasks for move in moves for sign in (1, -1)]
        found = self._ask("evaluate", around, remember=False, alone=alone)
        slopes = np.array([np.concatenate([p.gradient.ravel(), p.stress.ravel()]) for p in found])
        slopes = slopes.reshape(len(tasks), scale.size, 2, scale.size)
        columns = (slopes[:, :, 0] - slopes[:, :, 1]) / (2 * scale[:, None])
        return np.swapaxes(columns, 1, 2)

    def tangents(self, shifts, conditions) -> np.ndarray:
        """dP/dA (..., 3, 3, 3, 3) with the shifts following: W_AA − W_As W_ss⁻¹ W_sA; free directions of shifts stay out."""
        whole = self.jacobians(shifts, conditions)
        m = whole.shape[-1] - 9
        relaxed = whole[..., m:, m:]
        if m:
            with np.errstate(invalid="ignore"):
                good = np.all(np.isfinite(whole), axis=(-2, -1), keepdims=True)
                followed = np.linalg.pinv(np.where(good, whole[..., :m, :m], 0.0), rcond=1e-10) @ whole[..., :m, m:]
                relaxed = relaxed - whole[..., m:, :m] @ followed
        return relaxed.reshape(*relaxed.shape[:-2], 3, 3, 3, 3)

    def close(self) -> None:
        """End the worker processes of this pool; the next batch would start new ones. A user's executor keeps running."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown()

    def _ask(self, kind: str, tasks: list[tuple], remember: bool = True, alone: bool = False) -> list:
        keys = [_key(kind, task) for task in tasks]
        with self._lock:
            answers = {key: self._known[key] for key in keys if key in self._known}
        missing = {key: task for key, task in zip(keys, tasks) if key not in answers}
        for (key, task), answer in zip(missing.items(), self._run(kind, list(missing.values()), alone or len(keys) == 1)):
            answers[key] = answer
            error = (answer.point if isinstance(answer, Relaxed) else answer).error
            if error:
                self.failures.append(f"A = {np.asarray(task[1]).tolist()}: {error}")
            elif remember:
                self._remember(key, answer)
        return [answers[key] for key in keys]

    def _remember(self, key: bytes, answer) -> None:
        with self._lock:
            self._known[key] = answer
            if isinstance(answer, Relaxed):
                self._known[_key("evaluate", (answer.shifts, np.frombuffer(key[-72:])))] = answer.point
            while len(self._known) > _MEMORY:
                self._known.popitem(last=False)

    def _run(self, kind: str, tasks: list[tuple], alone: bool) -> list:
        if not tasks:
            return []
        if self.executor is None and alone:
            return work(self.recipe, kind, tasks)
        executor, recipe = (self.executor, self.recipe) if self.executor else (self._own_pool(), self.recipe.token)
        count = min(_PIECES, len(tasks))
        pieces = [tasks[k::count] for k in range(count)]
        try:
            found = [f.result() for f in [executor.submit(work, recipe, kind, piece) for piece in pieces]]
        except Exception as error:
            if self.executor is None:
                self.close()
            raise BadInput(_TROUBLE.format(error=f"{type(error).__name__}: {error}")) from error
        return [found[k % count][k // count] for k in range(len(tasks))]

    def _own_pool(self) -> ProcessPoolExecutor:
        with self._lock:
            if self._pool is None:
                context = multiprocessing.get_context("spawn")  # a fork would not copy the threads of XLA
                self._pool = ProcessPoolExecutor(_cores(), context, initializer=prepare, initargs=(self.recipe,))
            return self._pool


def _cores() -> int | None:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count()


_TROUBLE = (
    "The executor could not run the calculator ({error}). A script that starts worker processes keeps its work under "
    '`if __name__ == "__main__":`; a calculator that cannot be pickled is given as a function at the top of a module that '
    "makes it; or hand in executor=concurrent.futures.ThreadPoolExecutor()."
)


def _check_travels(recipe: Recipe) -> None:
    try:
        pickle.dumps(recipe)
    except Exception as error:
        raise BadInput(
            f"The calculator {type(recipe.calculator).__name__} cannot be sent to worker processes ({type(error).__name__}: "
            f"{error}). Give a function without arguments, at the top level of a module, that makes the calculator, or hand in "
            "executor=concurrent.futures.ThreadPoolExecutor()."
        ) from error


def _tasks(shifts, conditions) -> tuple[tuple[int, ...], list[tuple]]:
    """Leading axes, and (shifts, A) of every member of the batch."""
    shifts, conditions = np.asarray(shifts, float), np.asarray(conditions, float)
    lead = np.broadcast_shapes(shifts.shape[:-2], conditions.shape[:-2])
    n = shifts.shape[-2]
    shifts = np.broadcast_to(shifts, (*lead, n, 3)).reshape(int(np.prod(lead)), n, 3)
    conditions = np.broadcast_to(conditions, (*lead, 3, 3)).reshape(-1, 3, 3)
    return lead, list(zip(np.ascontiguousarray(shifts), np.ascontiguousarray(conditions)))


def _key(kind: str, task: tuple) -> bytes:
    """Name of a question; the condition comes last."""
    return b"|".join([kind.encode(), *(np.float64(t).tobytes() for t in task[2:]), task[0].tobytes(), task[1].tobytes()])


def _moved(task: tuple, move) -> tuple:
    shifts, condition = task
    m = shifts.size
    return shifts + move[:m].reshape(shifts.shape), condition + move[m:].reshape(3, 3)


def _stack(values: list, lead: tuple[int, ...]) -> np.ndarray:
    stacked = np.array(values)
    return stacked.reshape((*lead, *stacked.shape[1:]))

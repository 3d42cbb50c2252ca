"""The recorder that writes a run's records and checkpoints into its folder."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from fiberax.core.recorder import AbstractRecorder, Record, Snapshot
from fiberax.io import log
from fiberax.io.checkpoint import write_checkpoint
from fiberax.io.results import Quantity, Schema, make_schema, write_record


class FolderRecorder(AbstractRecorder):
    """Writes into `folder`: a record at every save time, a checkpoint at least every `every` seconds of work.

    `coords`, `length_unit`, `quantities` and `axis` name things as in `fiberax.io.results.make_schema`. `factors` and `offsets`
    turn the results into the units in which they are written, see `fiberax.cases.Labels`, as are
    `further`, `macro` and `states`.
    """

    def __init__(
        self,
        folder: Path,
        every: float,
        coords: dict[str, np.ndarray],
        length_unit: str,
        quantities: dict[str, Quantity],
        axis: Quantity,
        factors: dict[str, float],
        offsets: dict[str, float],
        states: Literal["no", "seen", "written"] = "no",
        further: Callable[[Record], dict[str, np.ndarray]] | None = None,
        macro: bool = True,
    ):
        self._folder, self._every = folder, every
        self._naming = (quantities, coords, length_unit, axis)
        self._units = factors, offsets
        self.wants_states = states != "no"
        self._written = states == "written", macro
        self._further = further
        self._schema = Schema.load(folder)
        self._last = time.monotonic()
        self.saved = 0

    def due(self) -> bool:
        """Whether the last checkpoint is older than the interval."""
        return time.monotonic() - self._last >= self._every

    def save(self, snapshot: Snapshot) -> None:
        """Write a checkpoint, on the first process. Raises `SaveFailed`."""
        if jax.process_index() == 0:
            path = write_checkpoint(self._folder / "checkpoints", snapshot)
            reached = {"step": snapshot.step, "t": snapshot.t}
            log.append_event(self._folder, "checkpoint", reached | {"file": path.name})
            log.write_state(self._folder, "running", log.read_state(self._folder) | reached | {"saved": snapshot.saved})
        self._last = time.monotonic()

    def record(self, record: Record) -> None:
        """Write one record, on the first process. Raises `SaveFailed`."""
        self.saved = record.index + 1
        if jax.process_index() != 0:
            return
        states, macro = self._written
        arrays = (named_leaves("macro", record.macro) if macro else {}) | named_leaves("response", record.response)
        if record.result is not None:
            arrays["result"] = np.asarray(record.result, np.int32)
        arrays |= named_leaves("stderr", record.stderr)
        if record.energy is not None:
            arrays["energy"] = np.asarray(record.energy)
        if record.stability_margin is not None:
            arrays["soundness"] = np.asarray(record.stability_margin)
        if record.state is not None and states:
            arrays |= {name: array for name, array in named_leaves("state", record.state).items() if array.size}
        if self._further is not None:
            arrays |= self._further(record)
        self.row(record.index, record.t, arrays)

    def row(self, index: int, value: float, arrays: dict[str, np.ndarray]) -> None:
        """Write named arrays as record `index`, at `value` of the leading axis. Raises `SaveFailed`."""
        arrays = {name: self._converted(name.split(".")[0], array) for name, array in arrays.items()}
        if self._schema is None:
            self._schema = make_schema(arrays, *self._naming)
            self._schema.save(self._folder)
        write_record(self._folder, index, value, arrays)
        log.append_event(self._folder, "record", {"index": index, "at": float(value)})

    def _converted(self, root: str, array: np.ndarray) -> np.ndarray:
        factors, offsets = self._units
        if root == "stderr":
            return array * np.abs(factors.get("response", 1.0))
        return array if root not in factors else factors[root] * array + offsets.get(root, 0.0)


def named_leaves(root: str, tree: Any) -> dict[str, np.ndarray]:
    """The leaves of a tree as numpy arrays by name: `root` for a bare array, else `root.path.to.leaf`."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    names = (jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in leaves)
    return {f"{root}.{name}" if name else root: np.asarray(leaf) for name, (_, leaf) in zip(names, leaves, strict=True)}

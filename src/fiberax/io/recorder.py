"""The recorder that writes a run's records and checkpoints into its folder."""

import dataclasses
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from fiberax.core.errors import BadInput
from fiberax.core.realisations import mean_record
from fiberax.core.recorder import AbstractRecorder, Record, Snapshot
from fiberax.io import log
from fiberax.io.checkpoint import write_checkpoint
from fiberax.io.labels import OWN, Names, Output
from fiberax.io.records import record_numbers, write_record
from fiberax.io.results import Schema, make_schema


class FolderRecorder(AbstractRecorder):
    """Writes into `folder`: a record at every save time, a checkpoint at least every `every` seconds of work.

    `names` and `output` give names and content; `coords` are the axes of a macro field and their values; `origin` is what the
    run comes from (`fiberax.io.origin`); `places` are the positions of the sites.
    """

    keeps_records = True

    def __init__(
        self,
        folder: Path,
        every: float,
        coords: dict[str, np.ndarray],
        names: Names,
        output: Output,
        origin: dict[str, Any] | None = None,
        places: np.ndarray | None = None,
    ):
        self._folder, self._every, self._coords, self._places = folder, every, coords, places
        self._names, self._output, self._origin = names, output, origin
        self.wants_states = output.states != "no"
        self._schema = Schema.load(folder) if record_numbers(folder) else None  # with no record it says nothing of this run
        self._last = time.monotonic()
        self.saved = 0

    def due(self) -> bool:
        """Whether the last checkpoint is older than the interval."""
        return time.monotonic() - self._last >= self._every

    def save(self, snapshot: Snapshot) -> None:
        """Write a checkpoint, on the first process. Raises `SaveFailed`."""
        if jax.process_index() == 0:
            path = write_checkpoint(self._folder / "checkpoints", snapshot, self._origin)
            reached = {"step": snapshot.step, "t": snapshot.t}
            log.append_event(self._folder, "checkpoint", reached | {"file": path.name})
            log.write_state(self._folder, "running", log.read_state(self._folder) | reached | {"saved": snapshot.saved})
        self._last = time.monotonic()

    def record(self, record: Record) -> None:
        """Write one record, on the first process. Raises `SaveFailed`."""
        self.saved = record.index + 1
        if jax.process_index() != 0:
            return
        self.row(record.index, record.t, arrays_of(record, self._output), sites=True)

    def row(self, index: int, value: float, arrays: dict[str, np.ndarray], sites: bool = False) -> None:
        """Write named arrays as record `index`, at `value` of the leading axis. Raises `SaveFailed`.

        `sites`: their first axis is that of the sites, or of the cells or nodes of a macro model; else they are tensors.
        """
        arrays = converted(arrays, self._names)
        if self._schema is None:
            names, along = self._names, self._output.along
            made = make_schema(
                arrays, names.quantities, self._coords, names.length_unit, names.axis, sites, self._places, along
            )
            self._schema = dataclasses.replace(made, origin=self._origin)
            self._schema.save(self._folder)
        write_record(self._folder, index, value + 0.0, arrays)  # -0.0 becomes 0.0
        log.append_event(self._folder, "record", {"index": index, "at": float(value)})


def arrays_of(record: Record, output: Output) -> dict[str, np.ndarray]:
    """What is written of a record, by key, in the units of the model."""
    whole, record = record, mean_record(record) if output.averaged else record
    arrays = (named_leaves("macro", record.macro) if output.macro else {}) | named_leaves("response", record.response)
    if record.result is not None:
        arrays["result"] = np.asarray(record.result, np.int32)
    arrays |= named_leaves("stderr", record.stderr)
    if record.energy is not None:
        arrays["energy"] = np.asarray(record.energy)
    if record.stability_margin is not None:
        arrays["stability_margin"] = np.asarray(record.stability_margin)
    if record.state is not None and output.states == "written":
        arrays |= {name: array for name, array in named_leaves("state", record.state).items() if array.size}
    if output.energies is not None:
        found = output.energies(whole).items()
        arrays |= {f"energies.{name}": _numbers(f"The energy {name!r}", value) for name, value in found}
    if output.columns is not None:
        arrays |= own_columns(output.columns(whole), output)
    return arrays


def converted(arrays: dict[str, np.ndarray], names: Names) -> dict[str, np.ndarray]:
    """Arrays by key in the units of the results."""

    def convert(root: str, array: np.ndarray) -> np.ndarray:
        if root == "stderr":
            return array * np.abs(names.factors.get("response", 1.0))
        return array if root not in names.factors else names.factors[root] * array + names.offsets.get(root, 0.0)

    return {name: convert(name.split(".")[0], array) for name, array in arrays.items()}


def own_columns(columns: dict[str, Any], output: Output) -> dict[str, np.ndarray]:
    """The columns of a case as arrays. Raises `BadInput` for a name of the library, and for what is no numbers."""
    for key in columns:
        root = key.split(".")[0]
        if root in OWN and not (root == "macro" and not output.macro):
            remedy = "give Output(energies=...)" if root == "energies" else f"rename it, such as own.{key.replace('.', '_')}"
            raise BadInput(f"The column {key!r}: names that begin with {root!r} are those of the library; {remedy}.")
    return {key: _numbers(f"The column {key!r}", value) for key, value in columns.items()}


def _numbers(what: str, value: Any) -> np.ndarray:
    try:
        array = np.asarray(value)
    except ValueError:  # lists of different lengths
        array = np.asarray(None)
    if array.dtype.kind not in "biuf":
        raise BadInput(f"{what} must be a real number or an array of real numbers; it is {value!r}.")
    return array


def named_leaves(root: str, tree: Any) -> dict[str, np.ndarray]:
    """The leaves of a tree as numpy arrays by name: `root` for a single array, else `root.path.to.leaf`."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    names = (jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in leaves)
    return {f"{root}.{name}" if name else root: np.asarray(leaf) for name, (_, leaf) in zip(names, leaves, strict=True)}

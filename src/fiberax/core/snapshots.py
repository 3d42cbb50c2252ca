"""The carry of a run as named arrays with one row per site, and back, for any number of devices."""

import dataclasses
import zlib
from typing import Any, NamedTuple

import jax
import numpy as np

from fiberax.core.driver import map_rows
from fiberax.core.errors import BadInput
from fiberax.core.parameters import Brief, difference
from fiberax.core.recorder import Record, Snapshot
from fiberax.core.schedule import Schedule, Stretch
from fiberax.core.sites import Sites, to_host
from fiberax.core.solution import Solution, named_leaves

_ORIGIN = "run_"  # names of what is compared, and not carried, begin so
_ACCURACY = ("tolerance", "max_steps")  # of a stepper's solves: they may change, the scheme remains the same


class End(NamedTuple):
    """What a solution of `evolve` keeps, so that its run can be made longer: with the section, all that the loop carries.

    `plan` has a row (start, end, steps, save) for each stretch of the schedule; `origin` is that of snapshots.
    """

    save_start: bool
    plan: np.ndarray
    saved: int
    carry: Any  # without its section, which the solution has
    origin: dict[str, np.ndarray]

    @property
    def schedule(self) -> Schedule:
        return Schedule(self.save_start, tuple(Stretch(a, b, int(n), bool(s)) for a, b, n, s in self.plan.tolist()))


def end_of(plan: Schedule, saved: int, carry: Any, origin: dict[str, np.ndarray]) -> End:
    """The end of a run with this schedule, which has come to `carry`."""
    return End(plan.save_start, np.array([list(stretch) for stretch in plan.stretches], float), saved, carry, origin)


def schedule_of(start: Solution) -> Schedule:
    """The schedule of the run of a solution. Raises `BadInput` where `evolve` cannot go on from it."""
    if start.end is None:
        raise BadInput(
            "evolve: start is a solution of steady or continuation, or of a traced run, and has no end to go on from. Hand in "
            "what evolve has returned outside of jit, grad and vmap."
        )
    return start.end.schedule


def snapshot_of(sites: Sites, start: Solution) -> tuple[Snapshot, list[Record]]:
    """The end of the run of a solution as a snapshot, and the records in that solution."""
    end: End = start.end
    leaves = snapshot_leaves(sites, end.carry._replace(section=start.section)) | end.origin
    times = np.asarray(start.ts)
    columns = (start.macro, start.response, start.result, start.energy, start.stderr, start.stability_margin)
    first = end.saved - len(times)
    records = [
        Record(first + k, float(t), *jax.tree.map(lambda x, k=k: np.asarray(x[k]), columns)) for k, t in enumerate(times)
    ]
    return Snapshot(int(end.carry.step), end.schedule.stretches[-1].end, end.saved, leaves), records


def checksum(macro: Any) -> int:
    """A checksum of a macrostate."""
    code = 0
    for leaf in jax.tree.leaves(to_host(macro)):
        code = zlib.crc32(np.ascontiguousarray(leaf).tobytes(), code)
    return code


def origin_leaves(stepper: Any, key: jax.Array) -> dict[str, np.ndarray]:
    """Stepper and key of a run as arrays, to be kept in its snapshots: what the checks below compare."""
    return {"run_stepper": np.frombuffer(_in_words(stepper).encode(), np.uint8), "run_key": _digits(key)}


def _in_words(stepper: Any) -> str:
    """Name and numbers of a stepper, the same in every process."""
    numbers = []
    for field in dataclasses.fields(stepper):
        value = getattr(stepper, field.name)
        if field.name in _ACCURACY or callable(value):
            continue
        shown = np.asarray(value).tolist() if isinstance(value, jax.Array | np.ndarray) else value
        numbers.append(f"{field.name}={shown}")
    return f"{type(stepper).__name__}({', '.join(numbers)})"


def _digits(key: jax.Array) -> np.ndarray:
    return np.asarray(to_host(jax.random.key_data(key)))


def check_origin(plan: Schedule, stepper: Any, start: Snapshot) -> None:
    """Raise `BadInput` where a run with this schedule and stepper would not come by `start`.

    Snapshots without a stepper, from earlier versions, are compared by their time alone.
    """
    first = plan.stretches[0]
    end = plan.stretches[-1].end
    at = plan.time_of(start.step)
    if at is None or abs(at - start.t) > 1e-6 * first.dt + 1e-12 * abs(start.t):
        here = f"ends before it, at t = {end:.9g}" if at is None else f"comes to t = {at:.9g}"
        raise BadInput(
            f"evolve: the snapshot is at t = {start.t:.9g} after {start.step} steps; in that many steps this run, from "
            f"t0 = {first.start:.9g} with dt = {first.dt:.9g}, {here}. Hand in the t0, dt and saveat of the run that the "
            "snapshot is of; only what comes after the snapshot may change. To go on with another dt, leave start out and "
            "begin a new run from that macrostate."
        )
    before = start.leaves.get("run_stepper")
    made, now = "" if before is None else before.tobytes().decode(), _in_words(stepper)
    if made and made != now:
        raise BadInput(
            f"evolve: the snapshot is of a run with the stepper {made}, and this one has {now}. Hand in that stepper; or leave "
            "start out and begin a new run."
        )


def check_key(key: jax.Array, start: Snapshot) -> None:
    """Raise `BadInput` where the noise of a run with this key would not be that of the run that `start` is of."""
    digits = start.leaves.get("run_key")
    if digits is not None and not np.array_equal(digits, _digits(key)):
        raise BadInput(
            f"evolve: the snapshot is of a run with the key {digits.tolist()}, and this one has {_digits(key).tolist()}: the "
            "noise would be another one. Hand in that key; or leave start out and begin a new run."
        )


def snapshot_leaves(sites: Sites, carry: Any) -> dict[str, np.ndarray]:
    """Host copies of all leaves of `carry` by name; those of `carry.section` without padded rows."""
    section = map_rows(lambda x: x[: sites.count], to_host(carry.section))
    named = named_leaves(to_host(carry._replace(section=section)))
    return {name.lstrip("_"): leaf for name, leaf in named}


def check_bundle(who: str, now: Brief, start: Snapshot) -> None:
    """Raise `BadInput` where the bundle of the run that `start` is of has other types or numbers than this one."""
    other = difference(now, start.leaves)
    if other:
        raise BadInput(
            f"{who}: the snapshot is of a run with another bundle: {other}. Hand in the bundle of that run; or leave start out "
            "and begin a new run."
        )


def restored(sites: Sites, carry: Any, start: Snapshot) -> Any:
    """A carry like `carry` from a snapshot, which must be one of this bundle: same names, shapes and types, and no others."""
    names = [name.lstrip("_") for name, _ in named_leaves(carry)]
    dropped = [name for name in start.leaves if name not in names and not name.startswith(_ORIGIN)]
    leaves, structure = jax.tree.flatten(carry)
    rows = {id(x) for x in jax.tree.leaves(carry.section._replace(shared=()))}
    found_leaves = []
    for name, leaf in zip(names, leaves, strict=True):
        over_sites = id(leaf) in rows
        shape = (sites.count, *leaf.shape[1:]) if over_sites else leaf.shape
        found = start.leaves.get(name)
        if found is None or found.shape != shape or found.dtype != leaf.dtype:
            have = "is absent" if found is None else f"has shape {found.shape} and type {found.dtype}"
            raise BadInput(
                f"The snapshot does not belong to this bundle: {name} {have}, expected {shape} and {leaf.dtype}. "
                "Go on with the model and options that it was made with."
            )
        found_leaves.append(sites.scattered(found) if over_sites else sites.replicated(found))
    if dropped:
        raise BadInput(
            f"The snapshot does not belong to this bundle: it has {', '.join(dropped)}, which this run does not carry. "
            "Go on with the model and options that it was made with."
        )
    return jax.tree.unflatten(structure, found_leaves)

"""The parameters of a bundle in brief, to be kept in a snapshot and compared where a run goes on from it."""

import dataclasses
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from fiberax.core.sites import to_host

_ACCURACY = ("tolerance", "max_steps")  # of solves: they may change
_SAME = 1e-8  # relative: parameters that are computed differ by round-off from machine to machine


class Brief(NamedTuple):
    """Names and kinds (entries,), and two numbers for each: the value of one number, norm and a weighted sum of an array."""

    names: list[list[str]]
    numbers: np.ndarray

    def leaves(self) -> dict[str, np.ndarray]:
        """As arrays of a snapshot. Their shapes depend on kinds alone."""
        return {"run_names": np.frombuffer(json.dumps(self.names).encode(), np.uint8), "run_numbers": self.numbers}


def brief(bundle: Any) -> Brief:
    """Types, shapes and numbers of all parts of a bundle. Text, and what functions hold, are left out."""
    rows = list(_parts(bundle, ""))
    return Brief([[name, kind] for name, kind, _ in rows], np.array([numbers for _, _, numbers in rows], float).reshape(-1, 2))


def difference(bundle: Brief, leaves: dict[str, np.ndarray]) -> str:
    """In words, the first part that is another one in the bundle whose run `leaves` are of; empty where all agree."""
    if "run_names" not in leaves:
        return ""
    names, numbers = json.loads(leaves["run_names"].tobytes().decode()), leaves["run_numbers"]
    for (name, kind), (old_name, old_kind) in zip(bundle.names, names, strict=False):
        if name != old_name:
            return f"the parts of {name.rpartition('.')[0] or name} are others there"
        if kind != old_kind:
            return f"{name} is {old_kind} there, and {kind} here"
    if len(names) != len(bundle.names):
        return "it has other parts there"
    for (name, kind), now, old in zip(bundle.names, bundle.numbers, numbers, strict=True):
        if not np.all(np.abs(now - old) <= _SAME * max(abs(now[0]), abs(old[0]))):
            return (
                f"{name} has other numbers there"
                if kind.startswith("array")
                else f"{name} is {old[0]:.9g} there, and {now[0]:.9g} here"
            )
    return ""


def _parts(value: Any, name: str) -> Iterator[tuple[str, str, tuple[float, float]]]:
    """Name, kind and numbers of `value` and of all that is in it."""
    if isinstance(value, bool | int | float | complex | np.ndarray | np.generic | jax.Array):
        yield name, *_numbers(value)
        return
    yield name or "the bundle", getattr(value, "__qualname__", type(value).__qualname__), (0.0, 0.0)
    if isinstance(value, eqx.Module):
        inside = [(f.name, getattr(value, f.name)) for f in dataclasses.fields(value) if f.name not in _ACCURACY]
    elif isinstance(value, dict):
        inside = list(value.items())
    elif isinstance(value, list | tuple):
        inside = list(enumerate(value))
    else:
        leaves = jax.tree.leaves(value)
        inside = [] if len(leaves) == 1 and leaves[0] is value else list(enumerate(leaves))
    for key, part in inside:
        yield from _parts(part, f"{name}.{key}" if name else str(key))


def _numbers(value: Any) -> tuple[str, tuple[float, float]]:
    if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        value = jax.random.key_data(value)
    array = to_host(value) if isinstance(value, jax.Array) else np.asarray(value)
    if array.dtype.kind not in "biufc":
        return f"array {array.shape} of {array.dtype}", (0.0, 0.0)
    flat = array.ravel()
    parts = np.concatenate([np.real(flat), np.imag(flat)]) if array.dtype.kind == "c" else flat
    finite = np.nan_to_num(parts.astype(float), posinf=1e300, neginf=-1e300)
    if array.size == 1 and parts.size == 1:
        return f"a number {array.shape}" if array.ndim else "a number", (float(finite[0]), 0.0)
    with np.errstate(over="ignore"):
        norm, total = np.linalg.norm(finite), finite @ np.cos(np.arange(finite.size))
    return f"array {array.shape} of {array.dtype}", (float(np.nan_to_num(norm)), float(np.nan_to_num(total)))

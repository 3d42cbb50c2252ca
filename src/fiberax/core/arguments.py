"""Arguments of entry points: natural mistakes are named where they are made, and not by an error from inside."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fiberax.core.bundle import Bundle
from fiberax.core.capabilities import AbstractMonitored
from fiberax.core.driver import AbstractDriver
from fiberax.core.errors import BadInput, Mismatch
from fiberax.core.steppers import AbstractStepper
from fiberax.numerics import trees


def check_run(who: str, bundle: Any, driver: Any, macro0: Any = None, stepper: Any = None) -> None:
    """Raise `Mismatch` where bundle, driver or stepper is something else, such as an argument in the wrong place."""
    if isinstance(macro0, AbstractDriver) or isinstance(driver, Bundle):
        raise Mismatch(f"{who}: arguments are in the wrong order; they are bundle, driver, macrostate.")
    kinds = (("bundle", bundle, Bundle, "fx.Bundle(macro, fiber)"), ("driver", driver, AbstractDriver, "fx.Quasistatic()"))
    if stepper is not None:
        kinds = (*kinds, ("stepper", stepper, AbstractStepper, "fx.Heun()"))
    for name, value, kind, example in kinds:
        if not isinstance(value, kind):
            raise Mismatch(f"{who}: the {name} must be an object such as {example}; it is {shown(value)}.")


def check_unstable(who: str, fiber: Any, allow_unstable: bool) -> None:
    """Raise `BadInput` where instability is allowed to a fiber that nobody asks about it."""
    if allow_unstable and not isinstance(fiber, AbstractMonitored):
        raise BadInput(
            f"{who}: allow_unstable without effect: {type(fiber).__name__} gives no stability margin (fx.AbstractMonitored). "
            "Leave it out. Result codes such as UNSTABLE count as failures: fail_fraction says how many there may be."
        )


def shown(value: Any) -> str:
    """A wrong argument in words."""
    if isinstance(value, jax.Array | np.ndarray):
        return "an array"
    return f"the class {value.__name__}" if isinstance(value, type) else f"a {type(value).__name__}"


def floats(what: str, tree: Any) -> Any:
    """`tree` with floating-point arrays of jax as leaves. Raises `BadInput`; the message begins with `what`."""
    kind = jnp.zeros(()).dtype

    def convert(x):
        if isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jnp.inexact):
            return x
        return jnp.asarray(x, jnp.result_type(kind, x))

    return _converted(f"{what} must be numbers, in arrays or in trees of arrays", convert, tree)


def finite(what: str, tree: Any) -> None:
    """Raise `BadInput` with the place and the value of the first entry that is not finite; the message begins with `what`.

    Values that JAX traces are not looked at.
    """
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        if not trees.is_tracer(leaf) and not np.all(np.isfinite(leaf)):
            values = np.asarray(leaf)
            first = np.argwhere(~np.isfinite(values))[0].tolist()
            place = f"{jax.tree_util.keystr(path)}{f' at index {first}' if first else ''}"
            raise BadInput(f"{what}{place} is {values[tuple(first)]}. Give finite numbers.")


def arrays(what: str, tree: Any) -> Any:
    """`tree` with arrays of jax as leaves, of any type. Raises `BadInput`; the message begins with `what`."""
    return _converted(f"{what} must be an array or a tree of arrays", jnp.asarray, tree)


def _converted(rule: str, convert: Callable, tree: Any) -> Any:
    def one(x):
        if isinstance(x, str | bytes):  # jax takes some texts for names of types
            raise TypeError
        return convert(x)

    def named(path, x):
        try:
            return one(x)
        except (TypeError, ValueError) as error:
            raise BadInput(f"{rule}; {jax.tree_util.keystr(path) or 'it'} is {x!r}.") from error

    try:
        return jax.tree.map(one, tree)  # paths take time, and are needed for the message alone
    except (TypeError, ValueError):
        return jax.tree_util.tree_map_with_path(named, tree)


def whole_numbers(what: str, values: Any, below: int, distinct: bool = False) -> Any:
    """`values` as an array (n,) of whole numbers from 0 to `below` − 1. Raises `BadInput`; the message begins with `what`.

    Values that JAX traces are not looked at.
    """
    if trees.is_tracer(values):
        return values
    found = np.asarray(values)
    rule = f"{what} must be a list of {'different ' if distinct else ''}whole numbers from 0 to {below - 1}"
    if found.ndim != 1 or (found.size and found.dtype.kind not in "iu"):
        raise BadInput(f"{rule}; they are {_short(values)}.")
    bad = np.flatnonzero((found < 0) | (found >= below))
    if bad.size:
        raise BadInput(f"{rule}; the number at place {bad[0]} is {found[bad[0]]}.")
    once, first = np.unique(found, return_index=True)
    if distinct and once.size < found.size:
        again = np.setdiff1d(np.arange(found.size), first)[0]
        raise BadInput(f"{rule}; {found[again]} is there more than once.")
    return found.astype(np.int64)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 80 else f"{text[:77]}..."


def span(who: str, dt: Any) -> Any:
    """`dt`, one finite number, at least 0. Raises `BadInput`, from `who`. Traced values are not looked at."""
    if trees.is_tracer(dt):
        return dt
    try:
        good = np.ndim(dt) == 0 and 0.0 <= float(dt) < float("inf")
    except (TypeError, ValueError):
        good = False
    if not good:
        raise BadInput(f"{who}: dt must be one finite number, at least 0 (macro time); it is {_short(dt)}.")
    return dt


def check_rows(what: str, tree: Any) -> None:
    """Raise `BadInput` where leaves have no leading axis of one common length; the message begins with `what`."""
    leaves = jax.tree.leaves(tree)
    lengths = {x.shape[0] if x.ndim else None for x in leaves}
    if len(lengths) != 1 or None in lengths:
        shapes = [tuple(x.shape) for x in leaves]
        raise BadInput(
            f"{what} must have one common leading axis, a row for each fiber; their shapes are {shapes}. For one fiber give "
            "one row; fx.response takes a condition without that axis."
        )
    if lengths == {0}:
        raise BadInput(f"{what} have no rows. Give at least one.")


def check_like(what: str, tree: Any, like: Any) -> None:
    """Raise `BadInput` where `tree` has another structure or other shapes than `like`; the message begins with `what`."""
    got, expected = (
        [(jax.tree_util.keystr(p), tuple(x.shape)) for p, x in jax.tree_util.tree_leaves_with_path(t)] for t in (tree, like)
    )
    if got != expected:
        words = lambda pairs: ", ".join(f"{name or 'array'} {shape}" for name, shape in pairs) or "nothing"
        raise BadInput(f"{what} must have the shapes {words(expected)}; it has {words(got)}.")

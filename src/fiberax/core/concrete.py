"""Words for errors of users' models that need the values of arrays while JAX traces them."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

_NEEDS_VALUES = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
    jax.errors.NonConcreteBooleanIndexError,
)
_REMEDY = (
    "Array fields of models and fibers are traced{fields}, those of numpy too, as are macrostates, states and conditions: "
    "their values can be varied and differentiated, but they cannot pick entries by a mask, set a shape, or decide an `if`. "
    "Choose values with jnp.where(mask, a, b), or compute indices in __init__, "
    "self.inside = jnp.asarray(np.flatnonzero(mask)), and use macro[self.inside]. Numbers that set a shape, and choices for an "
    "`if`, are fields of type int, bool or tuple."
)
_OURS = str(Path(__file__).parents[1])


def explained(what: str, error: Exception, *models: Any) -> str | None:
    """The message for an error that arose in `what`, where values of traced or static arrays are its cause; else None.

    `models`: the modules whose fields may be meant.
    """
    text = str(error)
    if isinstance(error, _NEEDS_VALUES) or (isinstance(error, TypeError) and "concrete values" in text):
        named = re.findall(r"__self__\.(\w+)", text) or list(_masks(models))
        fields = f" (here: {', '.join(dict.fromkeys(named))})" if named else ""
        return f"{what} needs the values of an array that is traced{_place(error)}. {_REMEDY.format(fields=fields)}"
    if isinstance(error, ValueError) and "metadata fields" in text:
        held = [f"{type(model).__name__}.{name}" for model in models for name in _static_arrays(model)]
        told = f"the static field {', '.join(held)} holds an array" if held else "a static field holds an array"
        return (
            f"{what} cannot be computed: {told}, and two models cannot be compared by it. Make it a field that is "
            "not static: array fields are traced, and integer arrays may index, such as jnp.asarray(np.flatnonzero(mask))."
        )
    return None


def _place(error: Exception) -> str:
    """File and line of the last frame that belongs neither to fiberax nor to JAX."""
    found, trace = "", error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if not file.startswith(("<", _OURS)) and "site-packages" not in file:
            found = f", in {file}, line {trace.tb_lineno}"
        trace = trace.tb_next
    return found


def _masks(models: tuple[Any, ...]) -> Iterator[str]:
    for model in models:
        for path, leaf in jax.tree_util.tree_leaves_with_path(model):
            if isinstance(leaf, np.ndarray | jax.Array) and leaf.dtype == bool:
                yield jax.tree_util.keystr(path, simple=True, separator=".")


def _static_arrays(model: Any) -> Iterator[str]:
    for name, entry in getattr(type(model), "__dataclass_fields__", {}).items():
        if entry.metadata.get("static") and isinstance(getattr(model, name, None), np.ndarray | jax.Array):
            yield name

"""Results as text and as HTML: their numbers, or the shapes of what is large."""

import dataclasses
import html
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from fiberax.numerics import trees
from fiberax.numerics.result import text_of

_FEW = 24  # entries of an array that are written out


class Shown(eqx.Module):
    """A base of results: `repr` and notebooks show numbers.

    Inside a JAX transformation there are none, and arrays are shown by their shapes.
    """

    def __repr__(self) -> str:
        lines = [f"  {name}: {text}" for name, text in _fields(self)]
        return "\n".join([type(self).__name__, *lines])

    __str__ = __repr__

    def _repr_html_(self) -> str:
        cells = (
            f"<tr><th style='text-align:left'>{name}</th><td style='text-align:left'><pre>{html.escape(text)}</pre></td></tr>"
            for name, text in _fields(self)
        )
        return f"<table><caption>{type(self).__name__}</caption>{''.join(cells)}</table>"


def _fields(result: Any) -> list[tuple[str, str]]:
    """Name and text of every field that is not None."""
    values = [(field.name, getattr(result, field.name)) for field in dataclasses.fields(result) if field.repr]
    return [
        (name, _codes(value, getattr(result, "words", text_of)) if name == "result" else _tree(value))
        for name, value in values
        if value is not None
    ]


def _tree(value: Any) -> str:
    leaves = jax.tree_util.tree_leaves_with_path(value)
    if not leaves:
        return repr(value) if isinstance(value, str | bool | int | float) else type(value).__name__
    if len(leaves) == 1 and not leaves[0][0]:
        return _array(value)
    if len(leaves) > 8:
        return f"{type(value).__name__} of {len(leaves)} arrays"
    return ", ".join(f"{jax.tree_util.keystr(path, simple=True, separator='.')} = {_array(leaf)}" for path, leaf in leaves)


def _array(value: Any) -> str:
    if trees.is_tracer(value):
        return f"{value.dtype}{list(value.shape)}"
    if not isinstance(value, jax.Array | np.ndarray | np.generic | int | float | complex):
        return repr(value)
    if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        return f"key{list(np.shape(value))}"
    array = np.asarray(value)
    if array.size > _FEW:
        shape = " x ".join(map(str, array.shape))
        if not np.issubdtype(array.dtype, np.number):
            return f"array {shape}"
        finite = array[np.isfinite(array)]
        bad = f", {array.size - finite.size} not finite" if finite.size < array.size else ""
        span = f", from {finite.min():.6g} to {finite.max():.6g}" if finite.size and not np.iscomplexobj(array) else ""
        return f"array {shape}{span}{bad}"
    return np.array2string(array, precision=8, separator=", ", suppress_small=True).replace("\n", "")


def _codes(value: Any, words: Callable) -> str:
    """Result codes in words(code), with how often each occurs."""
    if trees.is_tracer(value):
        return _array(value)
    codes, counts = np.unique(np.asarray(value), return_counts=True)
    if np.ndim(value) == 0:
        return f"{codes[0]} ({words(int(codes[0]))})"
    return ", ".join(f"{count} x {code} ({words(int(code))})" for code, count in zip(codes, counts, strict=True))

"""Labelled pixels and voxels: the labels, and giving each its conductivity."""

import os
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from fiberax.core.errors import BadInput
from fiberax.numerics.trees import is_tracer
from fiberax.physics.homogenization.image_files import read_stored, without_colours
from fiberax.physics.homogenization.picture_files import Stored

_MANY = 64
_TOLD = 10
_ROUND_OFF = 1e-12
_SPARE = 2**16  # entries of a table of all integers between the lowest and the highest label, beyond the pixels


def read_labels(labels) -> tuple[np.ndarray, str]:
    """Labels as an integer array of one to three axes, and a name for messages.

    `labels` is an array, or the path of a file that `read_image` reads without further words. A picture gives its grey values
    or palette indices; a picture in colour and one in a JPEG are refused.

    Raises:
        BadInput: What `read_image` refuses, a JPEG, NaN, values that are not whole, a wrong number of axes.
        MissingExtra: pillow or tifffile is not installed.
    """
    if isinstance(labels, str | os.PathLike):
        return stored_labels(read_stored(labels), str(labels)), str(labels)
    if np.ma.is_masked(labels):
        raise BadInput(
            f"{np.ma.count_masked(labels)} pixels of the label array are masked. Give them a label: array.filled(label)."
        )
    array, name = np.asarray(labels), "the label array"
    return whole(without_colours(array, name, False, array.dtype.kind == "f", unnamed=True), name), name


def stored_labels(stored: Stored, source: str) -> np.ndarray:
    """The labels that a file holds, as `read_labels` gives them. Raises `BadInput`, also for a JPEG."""
    if stored.lossy:
        raise BadInput(
            f"{source}: JPEG changes the values of pixels, so that they are no labels. Make labels of them by "
            "fx.homogenization.threshold(read_image(path), levels) or --threshold, or save the picture as .png."
        )
    return whole(stored.array, source)


def whole(array: np.ndarray, source: str) -> np.ndarray:
    """An array of labels as int64. Raises `BadInput` for other numbers of axes than one to three, and for broken numbers."""
    if not 1 <= array.ndim <= 3:
        raise BadInput(f"{source}: {array.ndim} axes of lengths {array.shape}. Labels are lines, pictures or voxel blocks.")
    if array.size == 0:
        raise BadInput(f"{source}: no pixels (shape {array.shape}).")
    if array.dtype.kind not in "biuf":
        raise BadInput(f"{source}: entries of type {array.dtype}. Labels are whole numbers.")
    if array.dtype.kind == "f":
        bad = ~np.isfinite(array)
        if bad.any():
            place = tuple(int(i) for i in np.argwhere(bad)[0])
            raise BadInput(
                f"{source}: {int(bad.sum())} of {array.size} pixels are NaN or infinite, the first at {place}. "
                "Give every pixel a label."
            )
        broken = array != np.round(array)
        if broken.any():
            place = tuple(int(i) for i in np.argwhere(broken)[0])
            raise BadInput(
                f"{source}: {array[place]} at {place} is not a whole number. Labels name phases; grey values become labels by "
                "fx.homogenization.threshold or --threshold."
            )
    if array.dtype.kind in "uf" and array.max() > np.iinfo(np.int64).max:
        raise BadInput(f"{source}: a label {array.max()}, which is beyond integers of 64 bits.")
    return array.astype(np.int64)


def _found(array: np.ndarray) -> str:
    values, counts = np.unique(array, return_counts=True)
    told = ", ".join(f"{v} ({c} pixels)" for v, c in zip(values[:_TOLD].tolist(), counts[:_TOLD].tolist()))
    more = f" and {len(values) - _TOLD} more" if len(values) > _TOLD else ""
    return f"{told}{more}"


def numbered(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The labels that occur, rising (n,), and the place among them of each pixel's label, int32 (*shape)."""
    low = int(labels.min())
    span = int(labels.max()) - low + 1
    if span > labels.size + _SPARE:
        found, index = np.unique(labels, return_inverse=True)
        return found, index.reshape(labels.shape).astype(np.int32)
    there = np.zeros(span, dtype=bool)
    there[(labels - low).ravel()] = True
    place = np.cumsum(there, dtype=np.int32) - 1
    return low + np.flatnonzero(there), place[labels - low]


class Phases(eqx.Module):
    """A piecewise constant coefficient: the index of the phase of each pixel, and a value for each phase.

    Args:
        labels: Whole numbers (*shape), in one to three dimensions.
        values: For each label a number, a (d, d) array, or a function of U that gives either; or an array (n,) or (n, d, d)
            whose row k belongs to label k; or a function of U that gives such an array.
        source: Name of the image for messages.
        diagonal: Whether tensors have to be diagonal. Others are refused; where a function gives one, the value is NaN.
        positive: Whether all values are promised to be positive.

    Numbers and arrays are differentiable parameters: `table` has a row for each label that occurs, from the lowest to the
    highest. Zero is allowed, and so are tensors that conduct in some directions only.
    """

    index: Int[Array, " *shape"]
    table: Float[Array, "..."]
    functions: tuple[Callable, ...]
    rows: tuple[int, ...] | None = eqx.field(static=True)
    labels: Int[Array, " n"]
    highest: int = eqx.field(static=True)
    known_symmetric: bool = eqx.field(static=True)
    diagonal: bool = eqx.field(static=True)
    may_be_sealed: bool = eqx.field(static=True)
    may_be_zero: bool = eqx.field(static=True)

    def __init__(
        self,
        labels: np.ndarray,
        values: Any,
        source: str = "the label array",
        diagonal: bool = False,
        positive: bool = False,
    ):
        found, index = numbered(labels)
        self.index, self.highest = jnp.asarray(index), int(found[-1])
        self.labels = jnp.asarray(found if callable(values) else found[:0])  # rows of a table that a function gives
        about = _About(labels, found, source)
        if isinstance(values, dict):
            about.refuse_missing([int(v) for v in found if int(v) not in values], sorted(values))
            chosen = [values[int(v)] for v in found]
            kept = tuple((row, value) for row, value in enumerate(chosen) if callable(value))
            self.rows, self.functions = tuple(row for row, _ in kept), tuple(value for _, value in kept)
            self.table = _stacked([0.0 if callable(value) else value for value in chosen], about)
        elif callable(values):
            about.refuse_negative()
            self.rows, self.functions = None, (values,)
            self.table = jnp.zeros(len(found))
        else:
            self.rows, self.functions = (), ()
            self.table = _of_array(values, about)
        self.known_symmetric = not self.functions and _symmetric(self.table)
        self.diagonal = diagonal
        unknown = bool(self.functions) or is_tracer(self.table)
        self.may_be_zero = not positive
        self.may_be_sealed = not positive and (unknown or self.sealed is not None)
        if diagonal:
            self._refuse_mixed(source)

    @property
    def sealed(self) -> np.ndarray | None:
        """Pixels whose value is known to be zero, booleans (*shape); None where none is."""
        if self.rows is None or is_tracer(self.table):
            return None
        zero = ~np.any(np.asarray(self.table).reshape(len(self.table), -1), axis=1)
        zero[list(self.rows)] = False
        return zero[np.asarray(self.index)] if zero.any() else None

    def refuse_singular(self, source: str) -> None:
        """`BadInput` for a value that is known not to conduct along some direction."""
        if self.rows is None or is_tracer(self.table):
            return
        table = np.delete(np.asarray(self.table), list(self.rows), axis=0)
        tensors = table[:, None, None] if table.ndim == 1 else 0.5 * (table + np.swapaxes(table, 1, 2))
        bad = np.linalg.eigvalsh(tensors)[:, 0] <= _ROUND_OFF * np.abs(tensors).max(axis=(1, 2))
        if bad.any():
            raise BadInput(
                f"{source}: a conductivity {table[int(np.argmax(bad))].tolist()}, and Spectral() needs positive ones. Take "
                "FiniteVolume() (--scheme volume)."
            )

    def _mixed(self) -> np.ndarray:
        """Which labels are known to have tensors with entries off the diagonal, (n,)."""
        if self.table.ndim == 1 or is_tracer(self.table):
            return np.zeros(len(self.table), bool)
        return np.any(np.asarray(self.table) * (1.0 - np.eye(self.table.shape[-1])), axis=(1, 2))

    @property
    def is_diagonal(self) -> bool:
        """Whether no tensor is known to have entries off the diagonal."""
        return not self._mixed().any()

    def _refuse_mixed(self, source: str) -> None:
        """`BadInput` for tensors with entries off the diagonal."""
        mixed = self._mixed()
        if mixed.any():
            table = np.asarray(self.table)
            raise BadInput(
                f"{source}: mirrored borders and held ends need numbers or diagonal tensors; one is "
                f"{table[int(np.argmax(mixed))].tolist()}. Take Borders.PERIODIC (--borders periodic)."
            )

    def __call__(self, condition, z):
        """The value at the point z (d,), by the pixel that holds it."""
        shape = jnp.asarray(self.index.shape)
        place = jnp.clip(jnp.floor(z * shape).astype(int), 0, shape - 1)
        return self._table(condition)[self.index[tuple(place)]]

    def field(self, condition) -> Float[Array, "..."]:
        """The coefficient on all pixels, (*shape) for numbers or (d, d, *shape)."""
        table = self._table(condition)
        if table.ndim == 1:
            return table[self.index]
        if self.diagonal:
            mixed = jnp.any(table * (1.0 - jnp.eye(self.index.ndim)) != 0.0, axis=(1, 2), keepdims=True)
            table = jnp.where(mixed, jnp.nan, table)
        return jnp.moveaxis(table[self.index], (-2, -1), (0, 1))

    def _table(self, condition) -> Array:
        """The value of each label at one U, (n,) or (n, d, d)."""
        d = self.index.ndim
        if self.rows is None:
            return self._whole_table(jnp.asarray(self.functions[0](condition), dtype=float), d)
        table = self.table
        for row, function in zip(self.rows, self.functions):
            value = jnp.asarray(function(condition), dtype=float)
            if value.shape not in ((), (d, d)):
                raise BadInput(f"a value of shape {value.shape}: a number or a ({d}, {d}) array is needed for each label.")
            if value.ndim > table.ndim - 1:
                table = table[:, None, None] * jnp.eye(d)
            table = table.at[row].set(value if value.ndim == table.ndim - 1 else value * jnp.eye(d))
        return table

    def _whole_table(self, table: Array, d: int) -> Array:
        """Of a function's table the rows of the labels that occur. Raises `BadInput` for another shape."""
        rows = self.highest + 1
        if table.shape[1:] not in ((), (d, d)) or table.ndim == 0 or len(table) < rows:
            raise BadInput(
                f"values of shape {table.shape}: the labels go up to {self.highest}, so an array ({rows},) or "
                f"({rows}, {d}, {d}) is needed, whose row k belongs to label k."
            )
        return table[self.labels]


class _About:
    """The labels of an image, for messages."""

    def __init__(self, labels: np.ndarray, found: np.ndarray, source: str):
        self.labels, self.found, self.source = labels, found, source
        self.d = labels.ndim

    def value_of(self, row: int) -> str:
        """The value of a label, in words."""
        label = int(self.found[row])
        place = tuple(int(i) for i in np.unravel_index(np.argmax(self.labels == label), self.labels.shape))
        return f"{self.source}: the value of label {label} (first pixel {place})"

    def refuse_missing(self, missing: list[int], known: list, listed: bool = False) -> None:
        """`BadInput` for the first label without a value; `listed`: values came in a list, whose row k belongs to label k."""
        if not missing:
            return
        told = f"{known}" if len(known) <= 2 * _TOLD else f"{len(known)} labels from {known[0]} to {known[-1]}"
        advice = (
            "It looks like a photograph or a tomogram: make labels of it by fx.homogenization.threshold or --threshold."
            if len(self.found) > _MANY and len(known) < _MANY
            else for_a_list(len(known), self.found, "values")
            if listed
            else f"Values were given for {told}; give one for each label."
        )
        raise BadInput(f"{self.source}: no value for label {missing[0]}. Labels found: {_found(self.labels)}. {advice}")

    def refuse_negative(self) -> None:
        """`BadInput` for labels below zero, which are no rows of an array."""
        if self.found[0] < 0:
            raise BadInput(
                f"{self.source}: a label {self.found[0]}. Row k of an array of values belongs to label k; for labels below "
                "zero give a dictionary."
            )


def for_a_list(count: int, found: np.ndarray, what: str) -> str:
    """Advice where a list of `count` values or laws does not reach all labels of an image."""
    labels = [int(label) for label in found[:_TOLD]]
    entries = ", ".join(f"{label}: ..." for label in labels) + (", ..." if len(found) > _TOLD else "")
    which = f"the labels 0 to {count - 1}" if count > 1 else "label 0"
    return f"A list of {count} {what} is for {which} in this order. Give a dictionary: {{{entries}}}."


def _symmetric(table) -> bool:
    """Whether all tensors of a table are known to be symmetric."""
    return table.ndim == 1 or (not is_tracer(table) and bool(np.array_equal(table, np.swapaxes(table, 1, 2))))


def _is_mixed(values) -> bool:
    """Whether `values` is a list of entries of different shapes, which is no array."""
    return isinstance(values, list | tuple) and len({np.shape(value) for value in values}) > 1


def _of_array(values, about: _About) -> Array:
    """The rows of an array (n,) or (n, d, d) that belong to the labels that occur. Raises `BadInput`."""
    about.refuse_negative()
    d = about.d
    if _is_mixed(values):
        about.refuse_missing([int(v) for v in about.found if v >= len(values)][:1], list(range(len(values))), True)
        return _stacked([values[int(v)] for v in about.found], about)  # numbers among tensors
    try:
        table = values if is_tracer(values) else np.asarray(values, dtype=float)
    except (TypeError, ValueError) as error:
        raise BadInput(
            f"values = {values!r}: give a dictionary, an array (labels,) or (labels, {d}, {d}), or a function of U."
        ) from error
    if table.ndim == 0 or table.shape[1:] not in ((), (d, d)):
        raise BadInput(
            f"values of shape {table.shape}: an array (labels,) or (labels, {d}, {d}) is needed, a row for each label."
        )
    about.refuse_missing([int(v) for v in about.found if v >= len(table)][:1], list(range(len(table))), True)
    table = table[about.found]
    if not is_tracer(table):
        _check(table, about)
    return jnp.asarray(table, dtype=float)


def _stacked(values: list, about: _About) -> Array:
    """Numbers and (d, d) arrays as one table (n,) or (n, d, d), numbers as multiples of the unit tensor. Raises `BadInput`."""
    d, plain, traced = about.d, [], {}
    for row, value in enumerate(values):
        if is_tracer(value):
            traced[row] = value  # a traced number has no value to check
            plain.append(np.zeros(value.shape))
        else:
            plain.append(_numbers(value, row, about))
        if plain[-1].shape not in ((), (d, d)):
            raise BadInput(f"{about.value_of(row)} has the shape {plain[-1].shape}. Give a number or a ({d}, {d}) array.")
    tensors = any(value.ndim for value in plain)
    fill = (lambda value: value if value.ndim else value * np.eye(d)) if tensors else (lambda value: value)
    table = np.stack([fill(value) for value in plain])
    _check(table, about)
    made = jnp.asarray(table)
    for row, value in traced.items():
        made = made.at[row].set(fill(value))
    return made


def _numbers(value, row: int, about: _About) -> np.ndarray:
    try:
        return np.asarray(value, dtype=float)
    except (TypeError, ValueError) as error:
        d = about.d
        raise BadInput(f"{about.value_of(row)} is {value!r}. Give a number, a ({d}, {d}) array or a function of U.") from error


def _check(table: np.ndarray, about: _About) -> None:
    """`BadInput` for the first value that is not finite, negative, or a tensor without a positive semi-definite part."""
    good = np.isfinite(table.reshape(len(table), -1)).all(axis=1)
    if not good.all():
        row = int(np.argmin(good))
        raise BadInput(f"{about.value_of(row)} is {table[row].tolist()}, not finite.")
    good = table >= 0 if table.ndim == 1 else is_semidefinite(table)
    if not good.all():
        row = int(np.argmin(good))
        kind = "negative" if table.ndim == 1 else "a tensor that is not positive semi-definite"
        raise BadInput(
            f"{about.value_of(row)} is {table[row].tolist()}, {kind}. Conductivities must be positive, or zero in pores."
        )


def is_semidefinite(tensors: np.ndarray) -> np.ndarray:
    """Which of the tensors (n, d, d) have a symmetric part without negative eigenvalues, up to round-off, (n,).

    Where an eigenvalue is zero the tensor itself has to vanish in that direction.
    """
    sizes = np.abs(tensors).max(axis=(1, 2))
    values, vectors = np.linalg.eigh(0.5 * (tensors + np.swapaxes(tensors, 1, 2)))
    fluxes = np.abs(tensors @ vectors).max(axis=1)  # (n, d), of each eigenvector
    limit = _ROUND_OFF * sizes[:, None]
    return np.all((values >= -limit) & ((values > limit) | (fluxes <= 2 * limit)), axis=1)

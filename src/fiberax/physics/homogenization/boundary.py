"""Conditions at the sides of a box: values, fluxes, or periodicity."""

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fiberax.core.errors import BadInput
from fiberax.grids.box import Box
from fiberax.numerics import trees

_AXES = "xyz"
_SIDES = ("lower", "upper")


def _stored(value):
    return value if callable(value) else jnp.asarray(value, dtype=float)


class Dirichlet(eqx.Module):
    """U has a given value on the side.

    Args:
        value: A number, an array over the cells of the side (the grid's `cells` without this axis), or a function
            value(t, x) of time and of the position x (dim,) of a face.
    """

    value: Float[Array, "..."] | Callable

    def __init__(self, value):
        self.value = _stored(value)


class Neumann(eqx.Module):
    """The flux through the side is given: n·A∇U, what flows in per unit of area and time. Zero insulates.

    Args:
        flux: A number, an array over the cells of the side, or a function flux(t, x), as for `Dirichlet`.
    """

    flux: Float[Array, "..."] | Callable

    def __init__(self, flux=0.0):
        self.flux = _stored(flux)


class Robin(eqx.Module):
    """Exchange with a surrounding through the side: n·A∇U = h (ambient − U); on meshes.

    Args:
        coefficient: h ≥ 0, flow in per unit of area, time and difference: a number, an array over the sides of the boundary,
            or a function h(t, x).
        ambient: The value outside, likewise.

    Raises:
        BadInput: A negative coefficient.
    """

    coefficient: Float[Array, "..."] | Callable
    ambient: Float[Array, "..."] | Callable

    def __init__(self, coefficient, ambient=0.0):
        self.coefficient, self.ambient = _stored(coefficient), _stored(ambient)
        if not callable(self.coefficient) and not trees.is_tracer(self.coefficient) and bool(jnp.any(self.coefficient < 0)):
            raise BadInput(f"Robin: coefficient = {coefficient} is negative: a warmer body would be heated. Give h >= 0.")


Condition = Dirichlet | Neumann
Sides = tuple[tuple[Condition, Condition] | None, ...]


def parse_boundary(grid: Box, boundary: Any, owner: str) -> Sides:
    """For each axis None (periodic) or the conditions on its lower and upper side.

    `boundary` is None (all axes periodic), one condition for all sides, or a tuple with an entry for each axis: None where the
    axis is periodic, one condition for both sides, or a pair (lower, upper). In one dimension the pair alone is accepted.

    Raises:
        BadInput: An entry that does not fit the grid.
    """
    if isinstance(boundary, Mapping | Robin):
        told = "a dictionary of names" if isinstance(boundary, Mapping) else "Robin"
        raise BadInput(
            f"{owner}: boundary is {told}, which is for meshes; on a box give Dirichlet, Neumann, or one for each axis."
        )
    if isinstance(boundary, Condition):
        entries = tuple(None if periodic else boundary for periodic in grid.periodic)
        if all(grid.periodic):
            raise BadInput(f"{owner}: the grid is periodic along every axis; it has no sides for {type(boundary).__name__}.")
    elif boundary is None:
        entries = (None,) * grid.dim
    else:
        entries = tuple(boundary)
        if grid.dim == 1 and len(entries) == 2:
            entries = (entries,)
    if len(entries) != grid.dim:
        raise BadInput(f"{owner}: boundary has {len(entries)} entries for {grid.dim} axes. Give one for each axis.")
    return tuple(_parse_axis(grid, k, entry, owner) for k, entry in enumerate(entries))


def _parse_axis(grid: Box, k: int, entry, owner: str):
    name = _AXES[k]
    if grid.periodic[k]:
        if entry is not None:
            raise BadInput(f"{owner}: boundary along {name} is given, but the grid is periodic there. Give None.")
        return None
    if entry is None:
        raise BadInput(
            f"{owner}: the grid is not periodic along {name}, so its sides need a condition: boundary=Dirichlet(value), "
            "Neumann(flux) (zero insulates), or a tuple with (lower, upper) for each axis."
        )
    pair = (entry, entry) if isinstance(entry, Condition) else tuple(entry)
    if len(pair) != 2 or not all(isinstance(side, Condition) for side in pair):
        raise BadInput(
            f"{owner}: boundary along {name} is {entry!r}. Give Dirichlet, Neumann or a pair (lower, upper). Robin: on meshes."
        )
    if grid.cells[k] < 3:
        raise BadInput(f"{owner}: {grid.cells[k]} cells along {name}; with sides at least three are needed.")
    face = grid.cells[:k] + grid.cells[k + 1 :]
    for side, condition in zip(_SIDES, pair):
        datum = condition.value if isinstance(condition, Dirichlet) else condition.flux
        if not callable(datum) and datum.shape not in ((), face):
            raise BadInput(
                f"{owner}: the {side} {name} side has an array of shape {datum.shape}. "
                f"Give a number, or the shape {face} of the side."
            )
    return pair


def face_points(grid: Box, axis: int, position: np.ndarray | list[float]) -> np.ndarray:
    """Points (*shape, dim) whose coordinate along `axis` runs through `position` and along the others through the centres."""
    lines = [np.asarray(position) if k == axis else grid.axis(k) for k in range(grid.dim)]
    return np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1)


def side_values(grid: Box, sides: Sides, t) -> tuple:
    """For each axis None, or the data of both sides at time t, each shaped like a layer of cells (length 1 along the axis)."""
    out: list = []
    for k, pair in enumerate(sides):
        if pair is None:
            out.append(None)
            continue
        ends = (grid.lower[k], grid.upper[k])
        out.append(tuple(_datum(grid, k, end, condition, t) for end, condition in zip(ends, pair)))
    return tuple(out)


def _datum(grid: Box, k: int, end: float, condition: Condition, t):
    datum = condition.value if isinstance(condition, Dirichlet) else condition.flux
    layer = tuple(1 if l == k else n for l, n in enumerate(grid.cells))
    if callable(datum):
        points = jnp.asarray(face_points(grid, k, [end]).reshape(-1, grid.dim))
        return jax.vmap(lambda x: jnp.asarray(datum(t, x), dtype=float))(points).reshape(layer)
    return jnp.broadcast_to(datum if datum.ndim == 0 else datum.reshape(layer), layer)


def layer(u, axis: int, start: int, stop: int | None = None):
    """Cells start..stop (one layer by default) along `axis`, keeping the axis."""
    index = [slice(None)] * u.ndim
    stop = start + 1 if stop is None else stop
    index[axis] = slice(start, stop if stop != 0 else None)
    return u[tuple(index)]


def cell_derivative(u, k: int, grid: Box, sides: Sides, values) -> Float[Array, " *cells"]:
    """∂_k u at the cell centres, second order: central inside, one-sided at the sides (through the value where it is given)."""
    h, pair = grid.spacing[k], sides[k]
    if pair is None:
        return (jnp.roll(u, -1, k) - jnp.roll(u, 1, k)) / (2 * h)
    inner = (layer(u, k, 2, u.shape[k]) - layer(u, k, 0, -2)) / (2 * h)
    ends = []
    for condition, value, sign, (a, b, c) in zip(pair, values[k], (1.0, -1.0), ((0, 1, 2), (-1, -2, -3))):
        one, two, three = layer(u, k, a), layer(u, k, b), layer(u, k, c)
        if isinstance(condition, Dirichlet):
            ends.append(sign * (one + two / 3 - 4 * value / 3) / h)
        else:
            ends.append(sign * (4 * two - 3 * one - three) / (2 * h))
    return jnp.concatenate([ends[0], inner, ends[1]], axis=k)


def face_average(u, k: int, periodic: bool):
    """Cell values to faces along axis k: (n) faces where it is periodic, face i below cell i; else (n + 1).

    A face on a side has the value of its cell. What lies between is half a cell, so fluxes through sides with a given value
    stay second order in the spacing.
    """
    if periodic:
        return 0.5 * (u + jnp.roll(u, 1, k))
    inner = 0.5 * (layer(u, k, 1, u.shape[k]) + layer(u, k, 0, -1))
    return jnp.concatenate([layer(u, k, 0), inner, layer(u, k, -1)], axis=k)


def normal_derivative(u, k: int, grid: Box, sides: Sides, values):
    """∂_k u on the faces along axis k.

    At a side it is taken between a given value and the first cell, half a spacing away; it is 0 where the flux is given.
    """
    h, pair = grid.spacing[k], sides[k]
    if pair is None:
        return (u - jnp.roll(u, 1, k)) / h
    inner = (layer(u, k, 1, u.shape[k]) - layer(u, k, 0, -1)) / h
    ends = []
    for condition, value, sign, end in zip(pair, values[k], (1.0, -1.0), (0, -1)):
        near = layer(u, k, end)
        ends.append(sign * (near - value) * 2 / h if isinstance(condition, Dirichlet) else jnp.zeros_like(near))
    return jnp.concatenate([ends[0], inner, ends[1]], axis=k)


def flux_divergence(flux, k: int, grid: Box, sides: Sides, values):
    """(flux above − flux below)/h for each cell; on sides with a given flux that one is taken."""
    h, pair = grid.spacing[k], sides[k]
    if pair is None:
        return (jnp.roll(flux, -1, k) - flux) / h
    parts = [layer(flux, k, 0), layer(flux, k, 1, -1), layer(flux, k, -1)]
    for index, condition, value, sign in zip((0, 2), pair, values[k], (-1.0, 1.0)):
        if isinstance(condition, Neumann):
            parts[index] = sign * value
    flux = jnp.concatenate(parts, axis=k)
    return (layer(flux, k, 1, flux.shape[k]) - layer(flux, k, 0, -1)) / h


def invert_laplacian(residual, grid: Box, sides: Sides, conductivity, shift):
    """(Σ_k D_k ∂_kk − shift)⁻¹ residual for constant D (dim,), exactly as the finite volumes discretise it.

    The box is reflected across its sides to a periodic one, with odd symmetry at given values and even at given fluxes;
    there the Fourier modes diagonalise the operator. Where the constants are in the kernel of the operator (shift = 0 and no
    given value), they are treated like the slowest other mode.
    """
    extended, lengths = residual, []
    for k, pair in enumerate(sides):
        extended = _reflect(extended, k, pair)
        lengths.append(extended.shape[k])
    total, slowest = 0.0, jnp.inf
    for k, m in enumerate(lengths):
        index = np.arange(m // 2 + 1 if k == grid.dim - 1 else m)
        view = tuple(len(index) if l == k else 1 for l in range(grid.dim))
        values = (2 * np.sin(np.pi * index / m) / grid.spacing[k]) ** 2
        total = total + conductivity[k] * jnp.asarray(values).reshape(view)
        if m > 1:
            slowest = jnp.minimum(slowest, conductivity[k] * values[1])
    slowest = jnp.where(jnp.isfinite(slowest), slowest, 1.0)
    total = total + shift
    # The kernel, if there is one, is the mode with every index 0.
    origin = (0,) * grid.dim
    total = total.at[origin].set(jnp.where(total[origin] > 0, total[origin], slowest))
    result = jnp.fft.irfftn(jnp.fft.rfftn(extended) / -total, s=tuple(lengths))
    return result[tuple(slice(0, n) for n in grid.cells)]


def _reflect(u, k: int, pair):
    if pair is None:
        return u
    odd_lower, odd_upper = (isinstance(side, Dirichlet) for side in pair)
    mirrored = jnp.flip(u, axis=k)
    doubled = [u, -mirrored if odd_upper else mirrored]
    if odd_lower == odd_upper:
        return jnp.concatenate(doubled, axis=k)
    # The period has four boxes: what is odd at one side and even at the other changes sign after two.
    return jnp.concatenate([*doubled, -doubled[0], -doubled[1]], axis=k)


def check_source(grid: Box, source, owner: str):
    """The source as it is stored: None, an array over cells (or a number), or a function source(t, U, x)."""
    if source is None:
        return None
    if callable(source):
        check_call(source, grid.dim, owner)
        return source
    array = jnp.asarray(source, dtype=float)
    if array.shape not in ((), grid.cells):
        raise BadInput(f"{owner}: source has the shape {array.shape}. Give a number, an array {grid.cells} or source(t, U, x).")
    return array


def check_call(source: Callable, dim: int, owner: str) -> None:
    """`BadInput` where a source cannot be called as source(t, U, x), or gives no number."""
    one, place = jax.ShapeDtypeStruct((), float), jax.ShapeDtypeStruct((dim,), float)
    try:
        shape = jax.eval_shape(lambda t, u, x: jnp.asarray(source(t, u, x), float), one, one, place).shape
    except Exception as error:  # code of users may raise anything
        raise BadInput(
            f"{owner}: source cannot be called as source(t, U, x) with numbers t and U and a position x ({dim},): {error}"
        ) from error
    if shape:
        raise BadInput(f"{owner}: source(t, U, x) must give one number; its shape is {shape}.")


def evaluate_source(source, t, u, grid: Box):
    """The source on the cells, (*cells)."""
    if source is None:
        return jnp.zeros_like(u)
    if not callable(source):
        return jnp.broadcast_to(source, u.shape)
    points = jnp.asarray(grid.centres.reshape(-1, grid.dim))
    values = jax.vmap(lambda u, x: jnp.asarray(source(t, u, x), dtype=u.dtype))(u.reshape(-1), points)
    return values.reshape(u.shape)


def axis_names(dim: int) -> tuple[str, ...]:
    """("x",), ("x", "y") or ("x", "y", "z")."""
    return tuple(itertools.islice(_AXES, dim))

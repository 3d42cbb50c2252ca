"""Boundary conditions of a flow: walls, inflow and outflow at the sides of a box, by name."""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fiberax.core.errors import BadInput
from fiberax.grids.box import Box
from fiberax.numerics import trees

# Axis and end (0 lower, 1 upper) of each side, by the number of axes of the grid. The axis of a channel is y.
SIDES = {
    1: {"bottom": (0, 0), "top": (0, 1)},
    2: {"left": (0, 0), "right": (0, 1), "bottom": (1, 0), "top": (1, 1)},
}
_TIMES = (0.0, 0.37, 1.0)  # when the balance of inflow is checked


class AbstractSide(eqx.Module):
    """One side of a flow's box."""

    @abc.abstractmethod
    def inward(self, s: Float[Array, " n"], t) -> Float[Array, " n"]:
        """Velocity normal to the side, into the domain, at the coordinates `s` along the side."""

    @abc.abstractmethod
    def along(self, s: Float[Array, " n"], t) -> Float[Array, " n"]:
        """Velocity along the side, in the direction of the growing coordinate (a channel: x)."""


class Wall(AbstractSide):
    """A tight wall with no slip.

    Args:
        velocity: Of the wall along itself, towards the growing coordinate: a number or a function (s, t) of the coordinate
            along the wall (a channel's is one point, s = 0) and the time, for arrays s.

    Raises:
        BadInput: A velocity that is not a finite number or a function (s, t).
    """

    velocity: Float[Array, ""] | Callable

    def __init__(self, velocity: Any = 0.0):
        self.velocity = _stored("Wall", velocity)

    def inward(self, s, t):
        return jnp.zeros_like(s)

    def along(self, s, t):
        return _value(self.velocity, s, t)


class Inflow(AbstractSide):
    """Fluid enters with a given velocity, normal to the side.

    Args:
        velocity: Into the domain (negative: out of it), a number or a function (s, t) as for `Wall`.

    Raises:
        BadInput: A velocity that is not a finite number or a function (s, t).
    """

    velocity: Float[Array, ""] | Callable

    def __init__(self, velocity: Any):
        self.velocity = _stored("Inflow", velocity)

    def inward(self, s, t):
        return _value(self.velocity, s, t)

    def along(self, s, t):
        return jnp.zeros_like(s)


class Outflow(AbstractSide):
    """Fluid leaves freely: no traction acts on the side ("do nothing"). Its velocity is not given; `inward` is zero."""

    def inward(self, s, t):
        return jnp.zeros_like(s)

    def along(self, s, t):
        return jnp.zeros_like(s)


Sides = dict[str, AbstractSide]


def parse_sides(grid: Box, boundary: Any) -> Sides:
    """Every side of the axes that are not periodic, by name; sides that `boundary` leaves out are resting walls.

    `boundary`: None, one `AbstractSide` for all sides, or a dict by the names in `SIDES`.

    Raises:
        BadInput: Unknown names, sides of a periodic axis, values that do not fit, inflow without outflow.
    """
    names = {name: place for name, place in SIDES.get(grid.dim, {}).items() if not grid.periodic[place[0]]}
    if isinstance(boundary, AbstractSide):
        if not names:
            raise BadInput(f"Flow: the grid is periodic along every axis; it has no sides for {type(boundary).__name__}.")
        boundary = dict.fromkeys(names, boundary)
    given = {} if boundary is None else boundary
    if not isinstance(given, dict):
        raise BadInput(f"Flow: boundary is a Wall, Inflow or Outflow, or a dict of them by side; it is {given!r}.")
    known = ", ".join(names) or "none: every axis is periodic"
    for name, side in given.items():
        if name in SIDES.get(grid.dim, {}) and name not in names:
            raise BadInput(f"Flow: boundary has {name!r}, a side of a periodic axis. Leave it out; sides are {known}.")
        if name not in names:
            raise BadInput(f"Flow: boundary has {name!r}, which is no side of this grid. Sides are {known}.")
        if not isinstance(side, AbstractSide):
            raise BadInput(f"Flow: boundary[{name!r}] must be a Wall, Inflow or Outflow; it is {side!r}.")
        if grid.dim == 1 and not isinstance(side, Wall):
            raise BadInput(f"Flow: boundary[{name!r}] is {type(side).__name__}; a channel has a Wall on either side.")
        _check_values(name, side)
    sides = {name: given.get(name, Wall()) for name in names}
    _check_balance(grid, sides)
    return sides


def along_side(grid: Box, name: str) -> np.ndarray:
    """Coordinates of the centres of the cells along a side; a channel's sides are points, s = 0."""
    return np.zeros(1) if grid.dim == 1 else grid.axis(1 - SIDES[2][name][0])


def net_inflow(grid: Box, sides: Sides, t) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Volume that the given velocities bring in per unit of time, and the sum of its absolute values."""
    net, gross = jnp.zeros(()), jnp.zeros(())
    for name, side in sides.items():
        flux = side.inward(jnp.asarray(along_side(grid, name)), t)
        width = 1.0 if grid.dim == 1 else grid.spacing[1 - SIDES[2][name][0]]
        net, gross = net + width * jnp.sum(flux), gross + width * jnp.sum(jnp.abs(flux))
    return net, gross


def _stored(owner: str, value: Any):
    if callable(value) or trees.is_tracer(value):
        return value
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not np.isfinite(number):
        raise BadInput(f"{owner}: velocity must be a finite number or a function (s, t); it is {value!r}.")
    return jnp.asarray(number, jnp.result_type(float))


def _value(velocity, s, t):
    value = velocity(s, t) if callable(velocity) else velocity
    return jnp.broadcast_to(jnp.asarray(value, s.dtype), s.shape)


def _check_values(name: str, side: AbstractSide) -> None:
    """Raise `BadInput` for a function that does not give one number for each point."""
    s, t = jax.ShapeDtypeStruct((3,), jnp.result_type(float)), jax.ShapeDtypeStruct((), jnp.result_type(float))
    try:
        jax.eval_shape(lambda s, t: (side.inward(s, t), side.along(s, t)), s, t)
    except Exception as error:
        raise BadInput(
            f"Flow: the velocity of boundary[{name!r}] must be a function (s, t) of an array of coordinates s and the time, "
            f"with one number for each; it cannot be computed: {type(error).__name__}: {error}"
        ) from error


def _check_balance(grid: Box, sides: Sides) -> None:
    """Raise `BadInput` where more flows in than out, as far as can be checked before a run."""
    if any(isinstance(side, Outflow) for side in sides.values()):
        return
    if not any(isinstance(side, Inflow) for side in sides.values()):
        return
    for t in _TIMES:
        net, gross = net_inflow(grid, sides, jnp.asarray(t))
        if not trees.is_tracer(net) and abs(float(net)) > 1e-6 * float(gross):
            raise BadInput(
                f"Flow: boundary lets in {float(net):.6g} more than it lets out at t = {t:g}, and no side is an Outflow. "
                "Make a side Outflow(), or balance the Inflow velocities."
            )

"""States carried by the motion of the macro model: ∂_t s + U·∇s = 0, the convection of (6.1)-(6.4).

The advective form keeps a homogeneous section unchanged to round-off in any flow. Walls and outflow need no data.
"""

import math
from collections.abc import Mapping
from typing import Any, Literal, get_args

import equinox as eqx
import jax
import jax.numpy as jnp

from fiberax.core.errors import BadInput, Mismatch
from fiberax.core.fiber import AbstractMemory
from fiberax.core.strategies import AbstractMixing
from fiberax.core.transport import AbstractCarrier, AbstractTransport
from fiberax.transport import eulerian, semi_lagrangian
from fiberax.transport.sides import Sides, anywhere, boundaries, name_of, openings, side_shape

Scheme = Literal["semi-lagrangian", "weno", "upwind"]


class Convected(AbstractTransport):
    """States carried by an `fx.AbstractCarrier`, for fibers whose neighbouring states may be averaged.

    Where an interpolated state leaves the bounds of a fiber, a convex mean of neighbours is taken instead
    (`AbstractMixing.limit`). Transport needs memory for one copy of the section.

    Args:
        scheme: "semi-lagrangian" (any step, order 2 in space and time or better), "weno" (order 2 in time, 3 in space where
            states are smooth) or "upwind" (order 1, keeps totals in incompressible flow). The last two divide the step by its
            Courant number, and have no reverse-mode gradients.
        inflow: States that enter, one for each cell of a side, by the name of the side; sides without bring the fiber's `init`
            under the condition zero.

    Raises:
        BadInput: Unknown scheme, or inflow that does not fit.
        Mismatch: The states of a bundle cannot be carried.
    """

    scheme: Scheme = eqx.field(static=True)
    inflow: dict[str, Any] | None

    def __init__(self, scheme: Scheme = "semi-lagrangian", inflow: Mapping[str, Any] | None = None):
        if scheme not in get_args(Scheme):
            raise BadInput(f"Convected: scheme={scheme!r} is not one of {', '.join(map(repr, get_args(Scheme)))}.")
        if inflow is not None and not isinstance(inflow, Mapping):
            raise BadInput(f"Convected: inflow is None or a dict from sides to states; it is a {type(inflow).__name__}.")
        self.scheme = scheme
        self.inflow = None if inflow is None else {name: jax.tree.map(jnp.asarray, tree) for name, tree in inflow.items()}

    def check(self, model, fiber):
        if not isinstance(model, AbstractCarrier):
            raise Mismatch(
                f"Convected moves states with the motion of an fx.AbstractCarrier; {type(model).__name__} is none. "
                "Use fx.Fixed(), or derive the macro model from fx.AbstractCarrier."
            )
        if isinstance(fiber, AbstractMemory):
            raise Mismatch(f"Convected moves states, not histories, and {type(fiber).__name__} has one. Use fx.Fixed().")
        if fiber.mixing.refusal:
            stays = fiber.mixing.memory
            remedy = f"Nor may they stay at their sites: {stays}." if stays else "Use fx.Fixed(), or another form of the fiber."
            raise Mismatch(
                f"Convected averages the states of neighbouring sites; those of {type(fiber).__name__} may not be averaged: "
                f"{fiber.mixing.refusal}. {remedy}"
            )
        sides = [name_of(*side) for side in boundaries(model.grid)]
        for name in self.inflow or ():
            if name not in sides:
                raise BadInput(f"Convected: inflow names the side {name!r}; the grid has {', '.join(sides) or 'no sides'}.")
        example = model.example()
        if example is not None:
            self._check_states(model, fiber, self._shapes(model, fiber, example))

    def apply(self, model, fiber, state, macro, t, dt):
        assert isinstance(model, AbstractCarrier)
        self._check_states(model, fiber, jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), state))
        grid, velocity = model.grid, model.face_velocity(t, macro)
        shift = tuple(jnp.asarray(v) * (dt / h) for v, h in zip(velocity, grid.spacing))
        sides = openings(grid, shift, self._given(grid), model.tight)
        inflow = self._data(model, fiber, macro, state, sides)
        hooks = _Hooks(fiber.mixing)
        if self.scheme == "semi-lagrangian":
            return semi_lagrangian.carried(hooks, state, inflow, grid, shift, sides)
        return eulerian.carried(self.scheme, hooks, state, inflow, grid, shift, sides)

    def _given(self, grid) -> tuple[str, ...]:
        return tuple(name_of(*side) for side in boundaries(grid) if name_of(*side) in (self.inflow or ()))

    def _data(self, model: AbstractCarrier, fiber, macro, state, sides: Sides) -> Any:
        """Rows of inflow data: one state at rest, then those of the sides that were given; None in a box without sides."""
        if not sides.open:
            return None

        def rest():
            shapes = jax.eval_shape(model.conditions, macro)
            condition = jax.tree.map(lambda x: jnp.zeros(x.shape[1:], x.dtype), shapes)
            made = fiber.init(condition, jax.random.key(0))
            return jax.tree.map(lambda x, like: jnp.asarray(x, like.dtype), made, state)

        nothing = lambda: jax.tree.map(lambda x: jnp.zeros(x.shape[1:], x.dtype), state)
        first = jax.lax.cond(anywhere(sides), rest, nothing)
        given = [self.inflow[name] for name in self._given(model.grid)] if self.inflow else []
        return jax.tree.map(lambda like, x, *more: _rows(like, x[None], *more), state, first, *given)

    def _shapes(self, model: AbstractCarrier, fiber, example) -> Any:
        shapes = jax.eval_shape(model.conditions, example)
        condition = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), shapes)
        return eqx.filter_eval_shape(fiber.init, condition, jax.eval_shape(lambda: jax.random.key(0)))

    def _check_states(self, model: AbstractCarrier, fiber, shapes) -> None:
        """Raise for states that are no real numbers, and for inflow data that are no such states."""
        kind, grid = type(fiber).__name__, model.grid
        for path, leaf in jax.tree_util.tree_leaves_with_path(shapes):
            if not jnp.issubdtype(leaf.dtype, jnp.floating):
                raise Mismatch(
                    f"Convected averages states, which must be real floating-point arrays; state{jax.tree_util.keystr(path)} "
                    f"of {kind} is {leaf.dtype}. Use fx.Fixed(), or keep it out of the state."
                )
        for axis, end in boundaries(grid):
            name = name_of(axis, end)
            if self.inflow is None or name not in self.inflow:
                continue
            cells = math.prod(side_shape(grid, axis))
            expected = jax.tree.map(lambda x, cells=cells: (cells, *x.shape), shapes)
            found = jax.tree.map(lambda x: x.shape, self.inflow[name])
            if found != expected:
                raise BadInput(
                    f"Convected: inflow[{name!r}] must hold a state of {kind} for each of the {cells} cells of that side, "
                    f"{expected}; it is {found}."
                )


def _rows(like, *blocks):
    return jnp.concatenate([block.astype(like.dtype) for block in blocks])


class _Hooks:
    """How states of one fiber are averaged, over chunks of sites."""

    def __init__(self, mixing: AbstractMixing):
        self.align, self.limit = jax.vmap(mixing.align), jax.vmap(mixing.limit)

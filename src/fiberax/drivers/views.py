"""Conditions and responses as a table sees them: arrays with a row for each site; solids by their right stretch."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fiberax.core.capabilities import AbstractObjective
from fiberax.numerics.polar import polar, stretch_entries, symmetric_directions


class Plain(NamedTuple):
    """Conditions as the table sees them, `points` (rows, d): as they are."""

    points: jax.Array

    def value_in(self, value):
        """Responses (rows, m) as the table keeps them."""
        return value

    def slope_in(self, slope):
        """Tangents (rows, m, entries of the condition) as the table keeps them, (rows, m, d)."""
        return slope

    def bend_in(self, bend):
        """Second derivatives of energies (rows, entries, entries) as the table keeps them, (rows, d, d)."""
        return bend

    def value_out(self, value):
        """Responses from those of the table."""
        return value

    def slope_out(self, value, slope):
        """Tangents of `value_out` of a table, from its `value` and `slope` at points."""
        return slope(self.points)


class Turned(NamedTuple):
    """Displacement gradients A as the table sees them: by the right stretch U of I + A = R U; P(R U) = R P(U).

    An energy behind the response does not turn.
    """

    points: jax.Array
    rotation: jax.Array  # (rows, d, d)
    gradient: jax.Array  # (rows, d, d)

    def _by(self, rotation, value):
        """The first d² numbers of the last axis of `value` (rows, ..., m), turned."""
        d = self.rotation.shape[-1]
        tensor = value[..., : d * d].reshape(*value.shape[:-1], d, d)
        turned = jnp.einsum("rij,r...jk->r...ik", rotation, tensor)
        return jnp.concatenate([turned.reshape(*value.shape[:-1], d * d), value[..., d * d :]], axis=-1)

    def value_in(self, value):
        return self._by(jnp.swapaxes(self.rotation, -1, -2), value)

    def _directions(self):
        """Directions of F along the entries of the stretch, (rows, entries of the stretch, d²)."""
        d = self.rotation.shape[-1]
        moved = jnp.einsum("rij,sjk->rsik", self.rotation, jnp.asarray(symmetric_directions(d)))
        return moved.reshape(*moved.shape[:2], d * d)

    def slope_in(self, slope):
        along = jnp.einsum("rmc,rsc->rsm", slope, self._directions())
        return jnp.swapaxes(self._by(jnp.swapaxes(self.rotation, -1, -2), along), 1, 2)

    def bend_in(self, bend):
        moved = self._directions()
        return jnp.einsum("rsc,rce,rte->rst", moved, bend, moved)

    def value_out(self, value):
        return self._by(self.rotation, value)

    def slope_out(self, value, slope):
        d = self.rotation.shape[-1]
        value, slope = value(self.points)[:, : d * d], slope(self.points)

        def one(A, value, slope):
            begun = stretch_entries(polar(jnp.eye(d) + A)[1])

            def answer(A):
                rotation, stretch = polar(jnp.eye(d) + A)
                inside = value + slope[: d * d] @ (stretch_entries(stretch) - begun)
                return (rotation @ inside.reshape(d, d)).ravel()

            return jax.jacfwd(answer)(A).reshape(d * d, d * d)

        found = jax.vmap(one)(self.gradient, value, slope)
        return jnp.concatenate([found, jnp.zeros((len(found), slope.shape[1] - d * d, d * d))], axis=1)


def _turns(fiber, conditions, size: int) -> bool:
    return isinstance(fiber, AbstractObjective) and size == jax.tree.leaves(conditions)[0][0].size


def entries_of(fiber, conditions, size: int) -> int:
    """Entries of the points that `seen` gives."""
    if _turns(fiber, conditions, size):
        d = jax.tree.leaves(conditions)[0].shape[-1]
        return d * (d + 1) // 2
    return sum(x[0].size for x in jax.tree.leaves(conditions))


def seen(fiber, conditions, size: int) -> "Plain | Turned":
    """Conditions (rows first) as a table sees them; responses have `size` entries."""
    if _turns(fiber, conditions, size):
        (A,) = jax.tree.leaves(conditions)
        rotation, stretch = jax.vmap(polar)(jnp.eye(A.shape[-1]) + A)
        return Turned(jax.vmap(stretch_entries)(stretch), rotation, A)
    return Plain(flat(conditions))


def flat(tree: Any) -> jax.Array:
    """A tree with a leading row axis as (rows, entries)."""
    leaves = jax.tree.leaves(tree)
    return jnp.concatenate([x.reshape(x.shape[0], -1) for x in leaves], axis=1)


def shaped(flat: jax.Array, like: Any) -> Any:
    """The inverse of `flat`, for a tree like `like`."""
    leaves, structure = jax.tree.flatten(like)
    ends = [sum(x[0].size for x in leaves[: k + 1]) for k in range(len(leaves) - 1)]
    parts = jnp.split(flat, ends, axis=1)
    return jax.tree.unflatten(structure, [part.reshape(x.shape) for part, x in zip(parts, leaves, strict=True)])


def matrix_of(tangent: Any, response: Any, condition: Any) -> jax.Array:
    """A tangent of one site, a tree of the response with trees of the condition in its leaves, as (m, entries)."""
    sizes = [x.size for x in jax.tree.leaves(response)]
    rows = [
        jnp.concatenate([x.reshape(size, -1) for x in jax.tree.leaves(part)], axis=1)
        for size, part in zip(sizes, jax.tree.structure(response).flatten_up_to(tangent), strict=True)
    ]
    return jnp.concatenate(rows, axis=0)


def tangent_of(slope: jax.Array, response: Any, conditions: Any) -> Any:
    """The inverse of `matrix_of` over rows (rows, m, entries)."""
    leaves, structure = jax.tree.flatten(response)
    inputs, inner = jax.tree.flatten(conditions)
    ends = [sum(x[0].size for x in leaves[: k + 1]) for k in range(len(leaves) - 1)]
    stops = [sum(x[0].size for x in inputs[: k + 1]) for k in range(len(inputs) - 1)]
    parts = [
        jax.tree.unflatten(
            inner,
            [block.reshape(*out.shape, *x.shape[1:]) for block, x in zip(jnp.split(part, stops, axis=2), inputs, strict=True)],
        )
        for part, out in zip(jnp.split(slope, ends, axis=1), leaves, strict=True)
    ]
    return jax.tree.unflatten(structure, parts)

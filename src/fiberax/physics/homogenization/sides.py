"""What is given on the sides and in the interior of a mesh: values, fluxes, exchange with a surrounding, and sources."""

from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from fiberax.core.errors import BadInput
from fiberax.grids.mesh import Mesh, all_facets, outer_facets
from fiberax.grids.nodal import NodalSpace
from fiberax.grids.parts import (
    Part,
    Prescribed,
    numbers,
    over_cells,
    over_sides,
    prescribe,
    probe,
    side_tangents,
    without_doubles,
)
from fiberax.physics.homogenization.boundary import Dirichlet, Neumann, Robin, check_call

_OUTER = "the outer sides"
_KINDS = Dirichlet | Neumann | Robin


class _Turned(eqx.Module):
    """A function of (x, t) from one of (t, x)."""

    function: Callable

    def __call__(self, x, t):
        return self.function(t, x)


class Inflow(eqx.Module):
    """∫ q φ over the sides of a boundary: q given, or h (ambient − U)."""

    name: str = eqx.field(static=True)
    part: Part
    condition: Neumann | Robin

    @property
    def exchanges(self) -> bool:
        """Whether it depends on U."""
        return isinstance(self.condition, Robin)

    def at(self, t, macro: Float[Array, " nodes"]) -> Float[Array, "n k"]:
        """What flows to the nodes of each side."""
        if isinstance(self.condition, Robin):
            u = jnp.einsum("qk,nk->nq", self.part.shape, macro[self.part.nodes])
            flux = self._datum(self.condition.coefficient, t) * (self._datum(self.condition.ambient, t) - u)
        else:
            flux = self._datum(self.condition.flux, t)
        return jnp.einsum("nq,nqk->nk", flux, self.part.weighted)

    def slope(self, t) -> Float[Array, "n k k"]:
        """Minus its derivative by U at the nodes of each side, of an exchange."""
        assert isinstance(self.condition, Robin)
        h = self._datum(self.condition.coefficient, t)
        return jnp.einsum("nq,nqa,qb->nab", h, self.part.weighted, self.part.shape)

    def _datum(self, value, t) -> Float[Array, "n points"]:
        if callable(value):
            return self.part.at(_Turned(value), t)
        return jnp.broadcast_to(value[:, None] if value.ndim else value, self.part.places.shape[:2])


class Source(eqx.Module):
    """A source at the sites: numbers, or a function of (t, U, x)."""

    value: Float[Array, "..."] | Callable
    places: Float[Array, "sites dim"]

    def at(self, t, u: Float[Array, " sites"]) -> Float[Array, " sites"]:
        """The source where the field is `u`."""
        value = self.value
        if callable(value):
            return jax.vmap(lambda u, x: jnp.asarray(value(t, u, x), u.dtype))(u, self.places)
        cells = jnp.broadcast_to(value, value.shape or (1,))
        return jnp.repeat(cells, len(self.places) // len(cells)).astype(u.dtype)

    def slope(self, t, u: Float[Array, " sites"]) -> Float[Array, " sites"]:
        """Its derivative by U."""
        return jax.jvp(lambda u: self.at(t, u), (u,), (jnp.ones_like(u),))[1]


class GivenSides(eqx.Module):
    """The sides with a given value: their nodes (F, k), the cell of each, and what flows in through them near each node.

    That is ∫ n·F φ, with the flux F continued linearly from the sites of the cell.
    """

    nodes: Int[Array, "F k"]
    cells: Int[Array, " F"]
    weights: Float[Array, "F k points dim"]

    def inflow(self, flux: Float[Array, "cells points dim"]) -> Float[Array, "F k"]:
        """What flows in through each side near each of its nodes."""
        return jnp.einsum("fkqi,fqi->fk", self.weights, flux[self.cells])


def given_sides(mesh: Mesh, boundary: Any, owner: str) -> GivenSides:
    """The sides with a given value; one between two cells is a side of both."""
    every = all_facets(mesh)
    found = [
        mesh_.facets(name)
        for name, condition, mesh_, _ in _entries(mesh, boundary, owner)
        if isinstance(condition, Dirichlet) and mesh_.boundaries[name].ndim == 2
    ]
    wanted = np.sort(np.concatenate([every[:0], *found]), axis=1)
    _, group = np.unique(np.concatenate([np.sort(every, axis=1), wanted]), axis=0, return_inverse=True)
    rows = np.flatnonzero(np.isin(group.ravel()[: len(every)], group.ravel()[len(every) :]))
    facets, cells = every[rows], rows % len(mesh.cells)
    part, sites = over_sides(mesh, facets), np.asarray(over_cells(mesh).places)[cells]
    centres = sites.mean(axis=1, keepdims=True)
    outward = np.asarray(part.places) - centres
    normals = _normals(mesh, facets)
    normals *= np.sign(np.einsum("fpi,fpi->fp", normals, outward))[..., None]
    size = np.abs(outward).max(axis=(1, 2), initial=0.0)[:, None, None]
    linear = lambda places: np.concatenate([np.ones((*places.shape[:2], 1)), places / size], axis=2)
    onto = linear(outward) @ np.linalg.pinv(linear(sites - centres))  # from the sites (F, points, sites)
    weights = np.einsum("fpk,fpq,fpi->fkqi", np.asarray(part.weighted), onto, normals)
    return GivenSides(part.nodes, jnp.asarray(cells), jnp.asarray(weights))


def _normals(mesh: Mesh, facets: np.ndarray) -> np.ndarray:
    """Normals (F, points, dim) at the quadrature points of sides, either way."""
    if mesh.dim == 1:
        return np.ones((len(facets), 1, 1))
    tangents = side_tangents(mesh, facets)
    if mesh.dim == 2:
        normals = np.stack([tangents[..., 1, 0], -tangents[..., 0, 0]], axis=-1)
    else:
        normals = np.cross(tangents[..., 0], tangents[..., 1])
    return normals / np.linalg.norm(normals, axis=-1, keepdims=True)


def source_on(space: NodalSpace, source: Any, owner: str) -> Source | None:
    """The source as a model stores it. Raises `BadInput`."""
    if source is None:
        return None
    if callable(source):
        check_call(source, space.mesh.dim, owner)
    else:
        source, count = numbers(source, f"{owner}: source", "(t, U, x)"), len(space.mesh.cells)
        if source.shape not in ((), (count,)):
            raise BadInput(f"{owner}: source has the shape {source.shape}. Give a number, one for each of {count} cells or "
                           "source(t, U, x).")  # fmt: skip
    return Source(source, jnp.asarray(space.positions()))


def prescribed_values(mesh: Mesh, boundary: Any, owner: str) -> tuple[Prescribed, ...]:
    """Given values at nodes, each node once. Raises `BadInput`."""
    found = []
    for name, condition, mesh_, where in _entries(mesh, boundary, owner):
        if isinstance(condition, Dirichlet):
            value, nodes = condition.value, mesh_.nodes(name)
            if callable(value):
                value = _Turned(value)
                probe(value, mesh.points[nodes[0]], f"{where}: Dirichlet value, called as value", {()})
            else:
                _check(value, len(nodes), f"{where}: Dirichlet value", f"the {len(nodes)} nodes")
            found.append(prescribe(mesh_, name, 0, value))
    return without_doubles(found)


def inflows(mesh: Mesh, boundary: Any, owner: str) -> tuple[Inflow, ...]:
    """Given fluxes and exchanges. Raises `BadInput`."""
    found = []
    for name, condition, mesh_, where in _entries(mesh, boundary, owner):
        if isinstance(condition, Dirichlet):
            continue
        facets = mesh_.facets(name)
        robin = isinstance(condition, Robin)
        data = {"coefficient": condition.coefficient, "ambient": condition.ambient} if robin else {"flux": condition.flux}
        for what, value in data.items():
            told = f"{where}: {type(condition).__name__} {what}"
            if callable(value):
                probe(_Turned(value), mesh.points[facets.flat[0]], f"{told}, called as {what}", {()})
            else:
                _check(value, len(facets), told, f"the {len(facets)} sides")
        found.append(Inflow(name, over_sides(mesh_, facets), condition))
    return tuple(found)


def _check(value: Array, count: int, where: str, of: str) -> None:
    value = numbers(value, where, "(t, x)")
    if value.shape not in ((), (count,)):
        raise BadInput(f"{where} has the shape {value.shape}. Give a number, an array over {of} or a function of (t, x).")


def _entries(mesh: Mesh, boundary: Any, owner: str) -> list[tuple[str, Any, Mesh, str]]:
    """Name, condition, the mesh with a boundary of that name, and where it was given."""
    if boundary is None:
        return []
    if isinstance(boundary, _KINDS):
        if len(mesh.representatives) < len(mesh.points):
            raise BadInput(f"{owner}: the mesh has periodic sides; give boundary as a dictionary from names of its boundaries.")
        whole = Mesh(mesh.points, mesh.cells, mesh.kind, {_OUTER: outer_facets(mesh)})
        return [(_OUTER, boundary, whole, f"{owner}: boundary")]
    if not isinstance(boundary, Mapping):
        known = ", ".join(map(repr, sorted(mesh.boundaries))) or "none"
        raise BadInput(
            f"{owner}: boundary is a dictionary from names of boundaries to Dirichlet, Neumann or Robin, or one of these for "
            f"all outer sides; it is {boundary!r}. The mesh has the boundaries {known}."
        )
    found = []
    for name, condition in boundary.items():
        if not isinstance(condition, _KINDS):
            raise BadInput(f"{owner}: boundary[{name!r}] is {condition!r}. Give Dirichlet, Neumann or Robin.")
        found.append((name, condition, mesh, f"{owner}: boundary[{name!r}]"))
    return found

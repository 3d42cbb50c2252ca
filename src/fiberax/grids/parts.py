"""Parts of a mesh on which something is given: values at nodes, and integrals over sides or cells.

Functions are called with the position x (dim,) of ONE reference point and the time or load parameter t.
"""

from collections.abc import Callable, Iterable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fiberax.core.errors import BadInput
from fiberax.grids import elements
from fiberax.grids.mesh import Mesh
from fiberax.numerics import trees


class Prescribed(eqx.Module):
    """Values of one component of a field at some unknowns; of one entry of `value` where this is a function."""

    nodes: Array
    component: int = eqx.field(static=True)
    points: Float[Array, "nodes dim"]
    value: Float[Array, " nodes"] | Callable
    entry: int | None = eqx.field(static=True)

    def at(self, t) -> Float[Array, " nodes"]:
        """The values at `t`."""
        if not callable(self.value):
            return self.value
        value = self.value

        def one(x):
            result = value(x, t)
            return jnp.asarray(result if self.entry is None else result[self.entry], float)

        return jax.vmap(one)(self.points)


class Part(eqx.Module):
    """Some cells or sides with their quadrature: shape functions N (points, k), `weighted` with the measure of each point."""

    nodes: Array
    shape: Float[Array, "points k"]
    weighted: Float[Array, "n points k"]
    places: Float[Array, "n points dim"]

    def at(self, value: Callable, t, shape: tuple[int, ...] = ()) -> Float[Array, "n points *shape"]:
        """A function of (x, t) at the points."""
        one = lambda x: jnp.broadcast_to(jnp.asarray(value(x, t), float), shape)
        return jax.vmap(one)(self.places.reshape(-1, self.places.shape[-1])).reshape(*self.places.shape[:-1], *shape)


def prescribe(mesh: Mesh, name: str, component: int, value, entry: int | None = None) -> Prescribed:
    """One component at the nodes of a boundary: a function, a number, or an array over `mesh.nodes(name)`."""
    nodes = mesh.nodes(name)
    unknowns, first = np.unique(mesh.unknowns[nodes], return_index=True)
    if not callable(value):
        value = jnp.broadcast_to(value, nodes.shape)[first]
    return Prescribed(jnp.asarray(unknowns), component, jnp.asarray(mesh.points[nodes[first]]), value, entry)


def without_doubles(found: Iterable[Prescribed]) -> tuple[Prescribed, ...]:
    """Each unknown is prescribed once, by the last that names it."""
    taken: set[tuple[int, int]] = set()
    kept = []
    for one in reversed(list(found)):
        pairs = [(n, one.component) for n in np.asarray(one.nodes).tolist()]
        fresh = np.array([pair not in taken for pair in pairs], bool)
        taken |= set(pairs)
        if not fresh.any():
            continue
        value = one.value if callable(one.value) else one.value[fresh]
        kept.append(Prescribed(one.nodes[fresh], one.component, one.points[fresh], value, one.entry))
    return tuple(reversed(kept))


def over_sides(mesh: Mesh, facets: np.ndarray) -> Part:
    """Sides, given by all their nodes as `mesh.facets` gives them."""
    table, area = _side_table(mesh), 1.0
    if mesh.dim > 1:
        tangents = side_tangents(mesh, facets)
        area = np.sqrt(np.linalg.det(np.einsum("fqia,fqib->fqab", tangents, tangents)))
    return _part(mesh, facets, table, area * np.ones((len(facets), len(table.weights))))


def side_tangents(mesh: Mesh, facets: np.ndarray) -> np.ndarray:
    """Derivatives (F, points, dim, dim − 1) of the position by the coordinates of each side at its quadrature points."""
    return np.einsum("fki,qkj->fqij", mesh.points[facets], _side_table(mesh).gradients)


def _side_table(mesh: Mesh) -> elements.Table:
    """Twice the degree: what is given may vary in any way along a side."""
    kind = elements.FACET_KIND[mesh.kind]
    return elements.table(kind, mesh.order, 2 * mesh.order + 1) if kind != "point" else elements.table(kind, mesh.order)


def over_cells(mesh: Mesh) -> Part:
    """All cells."""
    table = elements.table(mesh.kind, mesh.order)
    volume = np.abs(np.linalg.det(np.einsum("eki,qkj->eqij", mesh.points[mesh.cells], table.gradients)))
    return _part(mesh, mesh.cells, table, volume)


def _part(mesh: Mesh, cells: np.ndarray, table: elements.Table, measure: np.ndarray) -> Part:
    weighted = (measure * table.weights)[:, :, None] * table.values[None]
    places = np.einsum("qk,nki->nqi", table.values, mesh.points[cells])
    return Part(jnp.asarray(mesh.unknowns[cells]), jnp.asarray(table.values), jnp.asarray(weighted), jnp.asarray(places))


def probe(function: Callable, point: np.ndarray, where: str, shapes: set | None):
    """The value of function(x, t) at a point; raises `BadInput` where it cannot be called or has none of the shapes."""
    try:
        value = function(jnp.asarray(point), jnp.zeros(()))
        size = len(value) if isinstance(value, list | tuple) else jnp.shape(value)
    except Exception as error:
        raise BadInput(f"{where}(x, t) cannot be called at x = {point.tolist()}, t = 0: {error}") from error
    if shapes is not None and (size if isinstance(size, tuple) else (size,)) not in shapes:
        raise BadInput(f"{where}(x, t) must give {' x '.join(map(str, max(shapes))) or 'one'} number(s); its shape is {size}.")
    return value


def numbers(value, where: str, function: str = "(x, t)") -> Array:
    """An array of finite numbers; traced values are not checked. Raises `BadInput`."""
    try:
        array = jnp.asarray(value, float)
    except (TypeError, ValueError):
        raise BadInput(f"{where} must be numbers or a function of {function}; it is {value!r}.") from None
    if not trees.is_tracer(array) and not np.all(np.isfinite(np.asarray(array))):
        raise BadInput(f"{where} = {value} has an entry that is not finite.")
    return array

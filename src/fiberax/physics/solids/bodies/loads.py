"""Supports and loads of a body: prescribed displacements, dead tractions and body forces, as the user gives them.

Functions are called with the position x (dim,) of ONE reference point and the time or load parameter t.
"""

from collections.abc import Callable, Mapping
from typing import Any

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
    """Values of one component of the displacement at some unknowns; of one entry of `value` where this is a function."""

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


class Load(eqx.Module):
    """A force per area or volume, integrated against the shape functions: `weights` (n, points, k) times N, at `places`."""

    nodes: Array
    shape: Float[Array, "n points k"]
    places: Float[Array, "n points dim"]
    value: Float[Array, " dim"] | Callable

    def at(self, t) -> Float[Array, "n k dim"]:
        """Nodal forces of each cell or side at `t`."""
        if not callable(self.value):
            return jnp.einsum("nqk,d->nkd", self.shape, self.value)
        value, dim = self.value, self.places.shape[-1]
        one = lambda x: jnp.broadcast_to(jnp.asarray(value(x, t), float), (dim,))
        force = jax.vmap(one)(self.places.reshape(-1, dim)).reshape(self.places.shape)
        return jnp.einsum("nqk,nqd->nkd", self.shape, force)


def prescribed(mesh: Mesh, fixed: Mapping | None, displacement: Mapping | None) -> tuple[Prescribed, ...]:
    """All prescribed components, later ones overriding earlier ones and `displacement` overriding `fixed`."""
    found: list[Prescribed] = []
    for name, what in _items(fixed, "fixed"):
        components = range(mesh.dim) if what is True else np.atleast_1d(what).tolist()
        for component in components:
            found += _prescribe(mesh, name, _component(component, mesh.dim, f"fixed[{name!r}]"), 0.0, None)
    for name, what in _items(displacement, "displacement"):
        where = f"displacement[{name!r}]"
        if isinstance(what, Mapping):
            for component, value in what.items():
                found += _prescribe(mesh, name, _component(component, mesh.dim, where), value, None)
            continue
        for component, value, entry in _split(mesh, name, what, where):
            found += _prescribe(mesh, name, component, value, entry)
    return _without_doubles(found)


def loads(mesh: Mesh, traction: Mapping | None, body_force: Any) -> tuple[Load, ...]:
    """Tractions on sides and the body force."""
    found = []
    kind = elements.FACET_KIND[mesh.kind]
    for name, what in _items(traction, "traction"):
        facets = mesh.facets(name)
        # Twice the degree: a load may vary in any way along a side.
        table = elements.table(kind, mesh.order, 2 * mesh.order + 1) if kind != "point" else elements.table(kind, mesh.order)
        corners = mesh.points[facets]
        tangents = np.einsum("fki,qkj->fqij", corners, table.gradients)
        area = np.sqrt(np.linalg.det(np.einsum("fqia,fqib->fqab", tangents, tangents))) if kind != "point" else 1.0
        found.append(_load(mesh, facets, table, area * np.ones((len(facets), len(table.weights))), what, f"traction[{name!r}]"))
    if body_force is not None:
        table = elements.table(mesh.kind, mesh.order)
        volume = _volume(mesh, table)
        found.append(_load(mesh, mesh.cells, table, volume, body_force, "body_force"))
    return tuple(found)


def _volume(mesh, table) -> np.ndarray:
    return np.abs(np.linalg.det(np.einsum("eki,qkj->eqij", mesh.points[mesh.cells], table.gradients)))


def _load(mesh: Mesh, cells, table, measure, what, where: str) -> Load:
    shape = (measure * table.weights)[:, :, None] * table.values[None]
    places = np.einsum("qk,nki->nqi", table.values, mesh.points[cells])
    if not callable(what):
        given = _numbers(what, where)
        if given.shape != (mesh.dim,) and not (given.shape == () and mesh.dim == 1):
            raise BadInput(f"Elasticity: {where} must be {mesh.dim} numbers or a function of (x, t); it is {what!r}.")
        what = given.reshape(mesh.dim)
    else:
        _probe(what, mesh.points[cells.flat[0]], where, {(mesh.dim,), ()} if mesh.dim == 1 else {(mesh.dim,)})
    return Load(jnp.asarray(mesh.unknowns[cells]), jnp.asarray(shape), jnp.asarray(places), what)


def _items(given: Mapping | None, what: str):
    if given is None:
        return ()
    if not isinstance(given, Mapping):
        raise BadInput(f"Elasticity: {what} is a dictionary from names of boundaries; it is {given!r}.")
    return given.items()


def _component(value, dim: int, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 0 <= value < dim:
        raise BadInput(f"Elasticity: {where} names the component {value!r}; components are 0 to {dim - 1}, or True for all.")
    return int(value)


def _probe(function: Callable, point: np.ndarray, where: str, shapes: set | None) -> Any:
    try:
        value = function(jnp.asarray(point), jnp.zeros(()))
        size = len(value) if isinstance(value, list | tuple) else jnp.shape(value)
    except Exception as error:
        raise BadInput(f"Elasticity: {where}(x, t) cannot be called at x = {point.tolist()}, t = 0: {error}") from error
    if shapes is not None and (size if isinstance(size, tuple) else (size,)) not in shapes:
        raise BadInput(
            f"Elasticity: {where}(x, t) must give {' x '.join(map(str, max(shapes))) or 'one'} number(s); its shape is {size}."
        )
    return value


def _numbers(value, where: str) -> Array:
    """An array of finite numbers; traced values are not checked."""
    try:
        array = jnp.asarray(value, float)
    except (TypeError, ValueError):
        raise BadInput(f"Elasticity: {where} must be numbers or a function of (x, t); it is {value!r}.") from None
    if not trees.is_tracer(array) and not np.all(np.isfinite(np.asarray(array))):
        raise BadInput(f"Elasticity: {where} = {value} has an entry that is not finite.")
    return array


def _split(mesh: Mesh, name: str, what, where: str):
    """(component, value, entry) of a displacement given for all components together; None and NaN leave one free."""
    nodes = mesh.nodes(name)
    if callable(what):
        value = _probe(what, mesh.points[nodes[0]], where, {(mesh.dim,), ()} if mesh.dim == 1 else {(mesh.dim,)})
        if not isinstance(value, list | tuple) and jnp.ndim(value) == 0:
            return [(0, what, None)]
        return [(k, what, k) for k in range(mesh.dim) if not _free(value[k])]
    sequence = isinstance(what, list | tuple)
    if not sequence and jnp.shape(what) == (len(nodes), mesh.dim):
        columns = [what[:, k] for k in range(mesh.dim)]
    else:
        columns = list(what) if sequence or jnp.ndim(what) == 1 else [what]
    if len(columns) != mesh.dim or any(column is not None and jnp.ndim(column) > 1 for column in columns):
        raise BadInput(
            f"Elasticity: {where} must be {mesh.dim} numbers, an array ({len(nodes)}, {mesh.dim}) for its nodes or a function "
            f"of (x, t); it is {what!r}."
        )
    return [(k, column, None) for k, column in enumerate(columns) if not _free(column)]


def _free(value) -> bool:
    if value is None:
        return True
    return not trees.is_tracer(value) and bool(np.all(np.isnan(np.asarray(value, float))))


def _prescribe(mesh: Mesh, name: str, component: int, value, entry) -> list[Prescribed]:
    nodes, where = mesh.nodes(name), f"displacement[{name!r}], component {component},"
    unknowns, first = np.unique(mesh.unknowns[nodes], return_index=True)
    if not callable(value):
        value = jnp.broadcast_to(_numbers(value, where), nodes.shape)[first]
    elif entry is None:
        _probe(value, mesh.points[nodes[0]], where, {()})
    return [Prescribed(jnp.asarray(unknowns), component, jnp.asarray(mesh.points[nodes[first]]), value, entry)]


def _without_doubles(found: list[Prescribed]) -> tuple[Prescribed, ...]:
    """Each unknown is prescribed once, by the last that names it."""
    taken: set[tuple[int, int]] = set()
    kept = []
    for one in reversed(found):
        pairs = [(n, one.component) for n in np.asarray(one.nodes).tolist()]
        fresh = np.array([pair not in taken for pair in pairs], bool)
        taken |= set(pairs)
        if not fresh.any():
            continue
        value = one.value if callable(one.value) else one.value[fresh]
        kept.append(Prescribed(one.nodes[fresh], one.component, one.points[fresh], value, one.entry))
    return tuple(reversed(kept))

"""Supports and loads of a body: prescribed displacements, dead tractions and body forces, as the user gives them.

Functions are called with the position x (dim,) of ONE reference point and the time or load parameter t.
"""

from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fiberax.core.errors import BadInput
from fiberax.grids.mesh import Mesh
from fiberax.grids.parts import Part, Prescribed, numbers, over_cells, over_sides, prescribe, probe, without_doubles
from fiberax.numerics import trees


class Load(eqx.Module):
    """A force per area or volume, integrated against the shape functions of a part of the mesh."""

    part: Part
    value: Float[Array, " dim"] | Callable

    def at(self, t) -> Float[Array, "n k dim"]:
        """Nodal forces of each cell or side at `t`."""
        if not callable(self.value):
            return jnp.einsum("nqk,d->nkd", self.part.weighted, self.value)
        force = self.part.at(self.value, t, (self.part.places.shape[-1],))
        return jnp.einsum("nqk,nqd->nkd", self.part.weighted, force)


def prescribed(mesh: Mesh, fixed: Mapping | None, displacement: Mapping | None) -> tuple[Prescribed, ...]:
    """All prescribed components, later ones overriding earlier ones and `displacement` overriding `fixed`."""
    found: list[Prescribed] = []
    for name, what in _items(fixed, "fixed"):
        components = range(mesh.dim) if what is True else np.atleast_1d(what).tolist()
        for component in components:
            found.append(_prescribe(mesh, name, _component(component, mesh.dim, f"fixed[{name!r}]"), 0.0, None))
    for name, what in _items(displacement, "displacement"):
        where = f"displacement[{name!r}]"
        if isinstance(what, Mapping):
            for component, value in what.items():
                found.append(_prescribe(mesh, name, _component(component, mesh.dim, where), value, None))
            continue
        for component, value, entry in _split(mesh, name, what, where):
            found.append(_prescribe(mesh, name, component, value, entry))
    return without_doubles(found)


def loads(mesh: Mesh, traction: Mapping | None, body_force: Any) -> tuple[Load, ...]:
    """Tractions on sides and the body force."""
    found = []
    for name, what in _items(traction, "traction"):
        facets = mesh.facets(name)
        found.append(_load(mesh, facets, over_sides(mesh, facets), what, f"Elasticity: traction[{name!r}]"))
    if body_force is not None:
        found.append(_load(mesh, mesh.cells, over_cells(mesh), body_force, "Elasticity: body_force"))
    return tuple(found)


def _load(mesh: Mesh, cells, part: Part, what, where: str) -> Load:
    if not callable(what):
        given = numbers(what, where)
        if given.shape != (mesh.dim,) and not (given.shape == () and mesh.dim == 1):
            raise BadInput(f"{where} must be {mesh.dim} numbers or a function of (x, t); it is {what!r}.")
        what = given.reshape(mesh.dim)
    else:
        probe(what, mesh.points[cells.flat[0]], where, {(mesh.dim,), ()} if mesh.dim == 1 else {(mesh.dim,)})
    return Load(part, what)


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


def _split(mesh: Mesh, name: str, what, where: str):
    """(component, value, entry) of a displacement given for all components together; None and NaN leave one free."""
    nodes = mesh.nodes(name)
    if callable(what):
        value = probe(
            what, mesh.points[nodes[0]], f"Elasticity: {where}", {(mesh.dim,), ()} if mesh.dim == 1 else {(mesh.dim,)}
        )
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


def _prescribe(mesh: Mesh, name: str, component: int, value, entry) -> Prescribed:
    where = f"Elasticity: displacement[{name!r}], component {component},"
    if not callable(value):
        value = numbers(value, where)
    elif entry is None:
        probe(value, mesh.points[mesh.nodes(name)[0]], where, {()})
    return prescribe(mesh, name, component, value, entry)

"""Fields given by their values at the nodes of a mesh: values and gradients at sites, sums at nodes, and their matrices.

Isoparametric elements (see `elements`); sites are the quadrature points, cell by cell. Every macro model on a mesh stands on
`NodalSpace`. Fields have any number of components: (nodes, components) at the nodes.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from fiberax.core.errors import BadInput
from fiberax.grids import elements
from fiberax.grids.mesh import Mesh, jacobians
from fiberax.numerics.sparse import Pattern, dissection


class NodalSpace(eqx.Module):
    """Elements of a mesh with their quadrature, for macro models on meshes.

    More than five public methods: one for each integral.

    Args:
        mesh: The mesh; nodes that are the same by periodicity are one row of a field, see `mesh.unknowns`.

    `cells` (cells, k) are the rows of a field at the nodes of every cell, `weights` (cells, points) the volumes of the sites.
    """

    mesh: Mesh = eqx.field(static=True)
    cells: Int[Array, "cells k"]
    shape: Float[Array, "points k"]
    gradients: Float[Array, "cells points k dim"]
    weights: Float[Array, "cells points"]
    slots: Int[Array, "nodes valence"]

    def __init__(self, mesh: Mesh):
        table, jacobian = elements.table(mesh.kind, mesh.order), jacobians(mesh)
        cells = mesh.unknowns[mesh.cells]
        self.mesh, self.cells, self.shape = mesh, jnp.asarray(cells), jnp.asarray(table.values)
        self.gradients = jnp.asarray(np.einsum("qkj,eqji->eqki", table.gradients, np.linalg.inv(jacobian)))
        self.weights = jnp.asarray(np.abs(np.linalg.det(jacobian)) * table.weights)
        self.slots = jnp.asarray(_slots(cells, len(mesh.representatives)))

    @property
    def count(self) -> int:
        """Number of nodes with unknowns of their own."""
        return len(self.mesh.representatives)

    def gradient(self, field: Float[ArrayLike, "nodes c"]) -> Float[Array, "sites c dim"]:
        """Gradients at the sites.

        Args:
            field: Values at the nodes.

        Returns:
            The gradients, component of the field first.
        """
        found = jnp.einsum("eki,eqkj->eqij", jnp.asarray(field)[self.cells], self.gradients)
        return found.reshape(-1, *found.shape[2:])

    def values(self, field: Float[ArrayLike, "nodes c"]) -> Float[Array, "sites c"]:
        """Values at the sites.

        Args:
            field: Values at the nodes.

        Returns:
            The values.
        """
        found = jnp.einsum("qk,eki->eqi", self.shape, jnp.asarray(field)[self.cells])
        return found.reshape(-1, found.shape[2])

    def forces(self, flux: Float[ArrayLike, "sites c dim"]) -> Float[Array, "nodes c"]:
        """Integrals of a flux against the gradients of the shape functions φ.

        Args:
            flux: At the sites, component of the field first.

        Returns:
            ∫ flux : ∇φ for every node.
        """
        flux = jnp.asarray(flux)
        flux = flux.reshape(*self.weights.shape, *flux.shape[1:]) * self.weights[..., None, None]
        return self.collect(jnp.einsum("eqij,eqkj->eki", flux, self.gradients))

    def loads(self, density: Float[Array, "sites c"]) -> Float[Array, "nodes c"]:
        """Integrals of a density against the shape functions φ.

        Args:
            density: At the sites.

        Returns:
            ∫ density φ for every node.
        """
        density = density.reshape(*self.weights.shape, -1) * self.weights[..., None]
        return self.collect(jnp.einsum("eqi,qk->eki", density, self.shape))

    def collect(self, parts: Float[Array, "cells k c"]) -> Float[Array, "nodes c"]:
        """Sums at each node over the cells around it, as a gather.

        Args:
            parts: For every cell a row for each of its nodes.

        Returns:
            The sums.
        """
        flat = jnp.concatenate([parts.reshape(-1, parts.shape[-1]), jnp.zeros((1, parts.shape[-1]), parts.dtype)])
        return jnp.sum(flat[self.slots], axis=1)

    def stiffness(self, tangent: Float[ArrayLike, "sites c dim c dim"]) -> Float[Array, "cells kc kc"]:
        """The derivative of `forces` by the field, for a flux that depends on its gradient.

        Args:
            tangent: Derivative of the flux by the gradient at the sites.

        Returns:
            One block for each cell; a row for each node and component.
        """
        tangent = jnp.asarray(tangent)
        size = self.cells.shape[1] * tangent.shape[1]
        tangent = tangent.reshape(*self.weights.shape, *tangent.shape[1:]) * self.weights[..., None, None, None, None]
        half = jnp.einsum("eqijkl,eqbl->eqijbk", tangent, self.gradients)
        return jnp.einsum("eqaj,eqijbk->eaibk", self.gradients, half).reshape(-1, size, size)

    def average(self, field: Float[Array, "sites *shape"]) -> Float[Array, "*shape"]:
        """Mean over the volume.

        Args:
            field: Values at the sites.

        Returns:
            The mean.
        """
        return jnp.tensordot(self.weights.ravel() / jnp.sum(self.weights), field, axes=1)

    def positions(self) -> np.ndarray:
        """Positions of the sites, (sites, dim)."""
        table = elements.table(self.mesh.kind, self.mesh.order)  # fields of this module may be traced
        places = np.einsum("qk,eki->eqi", table.values, self.mesh.points[self.mesh.cells])
        return places.reshape(-1, self.mesh.dim)

    def nodal(self, value: Any, shape: tuple[int, ...], what: str) -> Float[Array, "nodes ..."]:
        """A field at the nodes.

        Args:
            value: An array (nodes, *shape), a number where `shape` is empty, or a function of x (dim,); None is zero.
            shape: Shape of the field at one node.
            what: Name for messages.

        Returns:
            The field (nodes, *shape).

        Raises:
            BadInput: Another shape.
        """
        full = (self.count, *shape)
        if value is None:
            return jnp.zeros(full)
        if callable(value):
            one = lambda x, f=value: jnp.broadcast_to(jnp.asarray(f(x), float), shape)
            value = jax.vmap(one)(jnp.asarray(self.mesh.points[self.mesh.representatives]))
        if jnp.shape(value) == () and not shape:
            value = jnp.broadcast_to(jnp.asarray(value, float), full)
        if jnp.shape(value) != full:
            raise BadInput(f"{what} must have the shape {full}; it has {jnp.shape(value)}.")
        return jnp.asarray(value, float)

    def lumped(self, density: Any = 1.0, owner: str = "lumped") -> np.ndarray:
        """The lumped mass: row sums for order 1, scaled diagonals for order 2, all positive.

        Those of order 2 are by Hinton, Rock and Zienkiewicz (Earthq. Eng. Struct. Dyn. 4, 1976).

        Args:
            density: A positive number, one for each cell (cells,), or a function of x (dim,).
            owner: Name for messages.

        Returns:
            ∫ density φ for every node in diagonal form, (nodes,).

        Raises:
            BadInput: A density that does not fit.
        """
        mesh = self.mesh
        table = elements.table(mesh.kind, mesh.order, 2 * mesh.order if mesh.order == 2 else None)
        spatial = np.einsum("eki,qkj->eqij", mesh.points[mesh.cells], table.gradients)
        weights = np.abs(np.linalg.det(spatial)) * table.weights
        places = np.einsum("qk,eki->eqi", table.values, mesh.points[mesh.cells])
        weights = weights * _density(mesh, places, density, owner)
        if mesh.order == 1:
            parts = np.einsum("eq,qk->ek", weights, table.values)
        else:
            diagonal = np.einsum("eq,qk->ek", weights, table.values**2)
            parts = diagonal * (weights.sum(axis=1) / diagonal.sum(axis=1))[:, None]
        return np.bincount(mesh.unknowns[mesh.cells].ravel(), parts.ravel(), self.count)

    def pattern(self, held: np.ndarray, modes: np.ndarray, further: np.ndarray | None = None) -> Pattern:
        """The sparse system of the unknowns that are not held, for the blocks of all cells.

        Args:
            held: What is left out, (nodes, c).
            modes: What the matrix nearly annihilates, for multigrid, (nodes · c, m).
            further: Nodes (blocks, k) of more blocks, such as those of sides; −1 where they have fewer nodes than cells.

        Returns:
            Places of the entries of all blocks.

        Raises:
            BadInput: Nothing is left to solve for.
        """
        if np.all(held):
            raise BadInput("the mesh: values are given at every node, so that nothing is left to solve for. Take a finer mesh.")
        cells, (count, c) = self.mesh.unknowns[self.mesh.cells], held.shape
        number = np.full(count * c + c, -1)  # the last rows are those of the node −1, which is none
        free = np.flatnonzero(~held)
        number[free] = np.arange(len(free))
        rows = cells if further is None else np.concatenate([cells, further])
        unknowns = number.reshape(count + 1, c)[rows].reshape(len(rows), -1)
        width = cells.shape[1]
        pairs = (np.repeat(cells, width, axis=1).ravel(), np.tile(cells, (1, width)).ravel())
        graph = sp.csr_matrix((np.ones(len(pairs[0])), pairs), shape=(count, count))
        ranks = np.empty(count, np.int64)
        ranks[dissection(graph, self.mesh.points[self.mesh.representatives])] = np.arange(count)
        order = np.argsort(ranks[free // c] * c + free % c)
        return Pattern(unknowns, len(free), order, modes[free])


def _density(mesh: Mesh, places: np.ndarray, density: float | np.ndarray | Callable, owner: str) -> np.ndarray:
    """A density at the places (cells, points)."""
    if callable(density):
        values = np.asarray(jax.vmap(density)(jnp.asarray(places.reshape(-1, mesh.dim))), float).reshape(places.shape[:-1])
    else:
        values = np.asarray(density, float)
        if values.shape not in ((), (len(mesh.cells),)):
            raise BadInput(f"{owner}: density is a number, one for each of {len(mesh.cells)} cells or a function of x.")
        values = np.broadcast_to(values[..., None] if values.ndim else values, places.shape[:-1])
    if not (np.all(np.isfinite(values)) and np.all(values > 0.0)):
        raise BadInput(f"{owner}: density must be positive everywhere; its smallest value is {values.min()}.")
    return values


def _slots(cells: np.ndarray, count: int) -> np.ndarray:
    """For each node the places of its parts among those of all cells, filled up with one place past the end."""
    flat = cells.ravel()
    order = np.argsort(flat, kind="stable")
    valence = np.bincount(flat, minlength=count)
    slots = np.full((count, valence.max()), len(flat))
    slots[flat[order], np.arange(len(flat)) - np.repeat(np.cumsum(valence) - valence, valence)] = order
    return slots

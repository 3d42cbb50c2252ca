"""Elastic bodies on a mesh: ϱ ∂_tt u = ∇·P(∇u) + f, at rest or in motion (3.7).

Isoparametric finite elements in the reference configuration; sites are quadrature points, the condition of a fiber is ∇u, its
response the first Piola-Kirchhoff stress P. The mass is lumped: row sums for order 1, scaled diagonals for order 2 (Hinton,
Rock and Zienkiewicz, Earthq. Eng. Struct. Dyn. 4, 1976). It has more public methods than five: eight are the contract of
macro models, four are for users.
"""

from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int

from fiberax.core.errors import BadInput
from fiberax.core.macro import AbstractInertial, Layout, Moving
from fiberax.grids import elements
from fiberax.grids.mesh import Mesh, jacobians
from fiberax.numerics.small import determinant
from fiberax.numerics.sparse import AbstractSparseSolver, Direct, Pattern, dissection, solve
from fiberax.physics.solids.bodies import loads
from fiberax.physics.solids.bodies.loads import Load, Prescribed

# Weight of prescribed displacements in the residual of equilibria, in units of modulus/(density · size²).
_HOLD = 1e12
_ROUNDING = 8.0
# Displacements below this part of the body's size are converged by their absolute, not their relative change.
_SMALL = 1e-6


class Elasticity(AbstractInertial):
    """A body: the macrostate is `fx.Moving(position, velocity)`, displacement and velocity (nodes, dim) of the nodes.

    Args:
        mesh: `fx.grids.Mesh`; nodes that are the same by periodicity are one row of the macrostate, see `mesh.unknowns`.
        density: Mass per reference volume: a number, one for each cell (E,), or a function of x.
        fixed: Boundary name -> True, a component or a list of components: no displacement there.
        displacement: Name -> a vector (None or NaN leaves a component free), an array (nodes of the boundary, dim), a function
            of (x, t), or a dictionary from components to numbers and functions of (x, t). It overrides `fixed`, and later
            names override earlier ones. In equilibria t is the load parameter; in motion, nodes follow the function.
        traction: Name -> force per reference area, a vector or a function of (x, t); a dead load.
        body_force: Force per reference volume, a vector or a function of (x, t).
        order: 1 or 2; that of the mesh by default.
        solver: `fx.solids.Direct()`, or `fx.solids.Multigrid()` for large 3D bodies.

    In equilibria, a prescribed displacement g enters Newton's method as a residual w (g − u). Its weight w is far above any
    stiffness, so that a step that obeys the supports is never refused because of the forces. g − u counts as zero at
    round-off; from then on the norm is that of the forces.

    Raises:
        BadInput: Mesh, names, supports or loads that do not fit.
    """

    mesh: Mesh = eqx.field(static=True)
    solver: AbstractSparseSolver
    cells: Int[Array, "cells k"]
    gradients: Float[Array, "cells points k dim"]
    weights: Float[Array, "cells points"]
    slots: Int[Array, "nodes valence"]
    mass: Float[Array, " nodes"]
    supports: tuple[Prescribed, ...]
    loads: tuple[Load, ...]
    held: Bool[Array, "nodes dim"]
    free: Int[Array, " free"]
    pins: Int[Array, " pins"]
    hold: Float[Array, ""]
    pattern: Pattern = eqx.field(static=True)

    def __init__(
        self,
        mesh: Mesh,
        density: float | Float[ArrayLike, " cells"] | Callable = 1.0,
        fixed: Mapping[str, Any] | None = None,
        displacement: Mapping[str, Any] | None = None,
        traction: Mapping[str, Any] | None = None,
        body_force: Any = None,
        order: int | None = None,
        solver: AbstractSparseSolver | None = None,
    ):
        if not isinstance(mesh, Mesh):
            raise BadInput(
                f"Elasticity: mesh must be a fx.grids.Mesh, such as fx.grids.quads(); it is a {type(mesh).__name__}."
            )
        if solver is not None and not isinstance(solver, AbstractSparseSolver):
            raise BadInput(f"Elasticity: solver is fx.solids.Direct() or fx.solids.Multigrid(); it is {solver!r}.")
        mesh = mesh if order is None else mesh.of_order(order)
        table, jacobian = elements.table(mesh.kind, mesh.order), jacobians(mesh)
        gradients = np.einsum("qkj,eqji->eqki", table.gradients, np.linalg.inv(jacobian))
        cells, count = mesh.unknowns[mesh.cells], len(mesh.representatives)
        mass = _lumped(mesh, density)
        self.mesh, self.solver = mesh, solver or Direct()
        self.cells, self.gradients = jnp.asarray(cells), jnp.asarray(gradients)
        self.weights = jnp.asarray(np.abs(np.linalg.det(jacobian)) * table.weights)
        self.slots, self.mass = jnp.asarray(_slots(cells, count)), jnp.asarray(mass)
        self.supports = loads.prescribed(mesh, fixed, displacement)
        self.loads = loads.loads(mesh, traction, body_force)
        held = np.zeros((count, mesh.dim), bool)
        for support in self.supports:
            held[np.asarray(support.nodes), support.component] = True
        self.held, self.free = jnp.asarray(held), jnp.asarray(np.flatnonzero(~held))
        size = np.ptp(mesh.points[mesh.cells], axis=1).max(axis=1).min()
        self.hold = jnp.asarray(_HOLD * float(self.weights.sum()) / (float(mass.sum()) * size**2))
        self.pattern, self.pins = _pattern(mesh, cells, held)

    def conditions(self, macro):
        return self._gradient(macro.position).reshape(-1, self.mesh.dim, self.mesh.dim)

    def acceleration(self, t, macro, response):
        t = jnp.asarray(t, self.mass.dtype)
        found = (self._applied(t) - self._internal(response)) / self.mass[:, None]
        for support in self.supports:
            if callable(support.value):
                rate = lambda s, at=support.at: jax.jvp(at, (s,), (jnp.ones_like(s),))[1]
                given = jax.jvp(rate, (t,), (jnp.ones_like(t),))[1]
            else:
                given = 0.0
            found = found.at[support.nodes, support.component].set(given)
        return found

    def balance(self, t, macro, response):
        t = jnp.asarray(t, self.mass.dtype)
        found = (self._applied(t) - self._internal(response)) / self.mass[:, None]
        for support in self.supports:
            place = (support.nodes, support.component)
            value, present = support.at(t), macro.position[place]
            missing = value - present
            size = jnp.maximum(jnp.abs(value), jnp.abs(present))
            rounded = jnp.abs(missing) <= _ROUNDING * jnp.finfo(missing.dtype).eps * size
            # Zero at round-off, but with its derivative, by which steady states are differentiated.
            missing = missing - jax.lax.stop_gradient(jnp.where(rounded, missing, 0.0))
            found = found.at[place].set(self.hold * missing)
        return found

    def solve_linearised(self, t, residual, macro, response, tangents, shift):
        shift = jnp.asarray(shift, residual.dtype)
        blocks = self._stiffness(tangents)
        # Supports: −w in equilibria, where no time passes; in implicit steps their acceleration does not depend on u.
        held = jnp.where(self.held, -residual / jnp.where(shift > 0.0, shift, self.hold), 0.0)
        parts = jnp.einsum("eab,eb->ea", blocks, held[self.cells].reshape(len(self.cells), -1))
        rest = -self.mass[:, None] * residual - self._collect(parts.reshape(*self.cells.shape, self.mesh.dim))
        diagonal = shift * jnp.repeat(self.mass, self.mesh.dim)[self.free]
        # A translation that nothing holds: a spring at one node, which stays at rest because the forces sum to zero.
        spring = jnp.where(shift > 0.0, 0.0, jnp.max(jnp.abs(blocks)))
        diagonal = diagonal.at[self.pins].add(spring)
        found = solve(self.pattern, blocks, diagonal, rest.ravel()[self.free], self.solver)
        return held.ravel().at[self.free].set(found).reshape(residual.shape)

    def admissible(self, macro):
        deformation = self.conditions(macro) + jnp.eye(self.mesh.dim)
        return jnp.all(determinant(jnp.moveaxis(deformation, (-2, -1), (0, 1))) > 0.0)

    def magnitude(self):
        return _SMALL * float(np.ptp(self.mesh.points, axis=0).max()) * len(self.mesh.representatives) ** 0.5

    def positions(self):
        table = elements.table(self.mesh.kind, self.mesh.order)
        places = np.einsum("qk,eki->eqi", table.values, self.mesh.points[self.mesh.cells])
        return places.reshape(-1, self.mesh.dim)

    def layout(self):
        return Layout(("node",), {"node": np.arange(len(self.mesh.representatives))})

    def example(self):
        shape = jax.ShapeDtypeStruct((len(self.mesh.representatives), self.mesh.dim), jnp.result_type(float))
        return Moving(shape, shape)

    def start(self, displacement: Any = None, velocity: Any = None, t: float = 0.0) -> Moving:
        """An initial macrostate.

        Args:
            displacement: An array (nodes, dim) or a function of x; zero by default.
            velocity: The same for the velocity.
            t: Time or load parameter.

        Returns:
            `Moving(position, velocity)`, both (nodes, dim).

        Nodes whose displacement is prescribed by a function begin at its value and its rate at `t`. Constants are not imposed,
        because a jump at the boundary is a bad start; equilibria reach them anyway.
        """
        position, speed = self._field(displacement, "displacement"), self._field(velocity, "velocity")
        t_ = jnp.asarray(t, self.mass.dtype)
        for support in self.supports:
            place = (support.nodes, support.component)
            if callable(support.value):
                value, rate = jax.jvp(support.at, (t_,), (jnp.ones_like(t_),))
                position, speed = position.at[place].set(value), speed.at[place].set(rate)
            else:
                speed = speed.at[place].set(0.0)
        return Moving(position, speed)

    def energy(self, macro: Moving, energies: Float[ArrayLike, " sites"], t: float = 0.0) -> Float[Array, ""]:
        """Total energy.

        Args:
            macro: The macrostate.
            energies: Energies of the fibers per reference volume, (sites,), such as `sol.energy[k]`.
            t: Time or load parameter.

        Returns:
            Kinetic energy, plus the energies of the fibers, minus the potential of dead loads at `t`.
        """
        kinetic = 0.5 * jnp.sum(self.mass[:, None] * macro.velocity**2)
        stored = jnp.sum(self.weights.ravel() * energies)
        return kinetic + stored - jnp.sum(self._applied(jnp.asarray(t, self.mass.dtype)) * macro.position)

    def reaction(self, response: Float[ArrayLike, "sites dim dim"], name: str, t: float = 0.0) -> Float[Array, " dim"]:
        """Force of a support on a body at rest.

        Args:
            response: P of all sites, (sites, dim, dim).
            name: The boundary.
            t: Load parameter; the loads at `t` are not part of the force.

        Returns:
            The force, (dim,).

        Raises:
            BadInput: The mesh has no such boundary.
        """
        forces = self._internal(response) - self._applied(jnp.asarray(t, self.mass.dtype))
        return jnp.sum(forces[np.unique(self.mesh.unknowns[self.mesh.nodes(name)])], axis=0)

    def average(self, field: Float[ArrayLike, "sites *shape"]) -> Float[Array, "*shape"]:
        """Mean over the reference volume of a field given at the sites."""
        weights = self.weights.ravel() / jnp.sum(self.weights)
        return jnp.tensordot(weights, jnp.asarray(field), axes=1)

    def _field(self, value, what: str):
        shape = (len(self.mesh.representatives), self.mesh.dim)
        if value is None:
            return jnp.zeros(shape)
        if callable(value):
            one = lambda x, f=value: jnp.broadcast_to(jnp.asarray(f(x), float), shape[1:])
            value = jax.vmap(one)(jnp.asarray(self.mesh.points[self.mesh.representatives]))
        if jnp.shape(value) != shape:
            raise BadInput(f"Elasticity.start: the {what} must have the shape {shape}; it has {jnp.shape(value)}.")
        return jnp.asarray(value, float)

    def _gradient(self, displacement):
        return jnp.einsum("eki,eqkj->eqij", displacement[self.cells], self.gradients)

    def _internal(self, response):
        """Nodal forces ∫ P : ∇φ, (nodes, dim)."""
        stress = response.reshape(*self.weights.shape, self.mesh.dim, self.mesh.dim) * self.weights[..., None, None]
        return self._collect(jnp.einsum("eqij,eqkj->eki", stress, self.gradients))

    def _collect(self, parts):
        """Sums over cells at each node, as a gather: (cells, k, dim) -> (nodes, dim)."""
        flat = jnp.concatenate([parts.reshape(-1, parts.shape[-1]), jnp.zeros((1, parts.shape[-1]), parts.dtype)])
        return jnp.sum(flat[self.slots], axis=1)

    def _applied(self, t):
        total = jnp.zeros((len(self.mesh.representatives), self.mesh.dim), self.mass.dtype)
        for load in self.loads:
            total = total.at[load.nodes].add(load.at(t))
        return total

    def _stiffness(self, tangents):
        """Element stiffness (cells, k dim, k dim) from dP/d∇u at the sites."""
        dim, size = self.mesh.dim, self.cells.shape[1] * self.mesh.dim
        tangent = tangents.reshape(*self.weights.shape, dim, dim, dim, dim) * self.weights[..., None, None, None, None]
        half = jnp.einsum("eqijkl,eqbl->eqijbk", tangent, self.gradients)
        return jnp.einsum("eqaj,eqijbk->eaibk", self.gradients, half).reshape(-1, size, size)


def _lumped(mesh: Mesh, density) -> np.ndarray:
    """Mass of each unknown."""
    table = elements.table(mesh.kind, mesh.order, 2 * mesh.order if mesh.order == 2 else None)
    spatial = np.einsum("eki,qkj->eqij", mesh.points[mesh.cells], table.gradients)
    weights = np.abs(np.linalg.det(spatial)) * table.weights
    if callable(density):
        places = np.einsum("qk,eki->eqi", table.values, mesh.points[mesh.cells]).reshape(-1, mesh.dim)
        values = np.asarray(jax.vmap(density)(jnp.asarray(places)), float).reshape(weights.shape)
    else:
        values = np.asarray(density, float)
        if values.shape not in ((), (len(mesh.cells),)):
            raise BadInput(f"Elasticity: density is a number, one for each of {len(mesh.cells)} cells or a function of x.")
        values = np.broadcast_to(values[..., None] if values.ndim else values, weights.shape)
    if not (np.all(np.isfinite(values)) and np.all(values > 0.0)):
        raise BadInput(f"Elasticity: density must be positive everywhere; its smallest value is {values.min()}.")
    weights = weights * values
    if mesh.order == 1:
        parts = np.einsum("eq,qk->ek", weights, table.values)
    else:
        diagonal = np.einsum("eq,qk->ek", weights, table.values**2)
        parts = diagonal * (weights.sum(axis=1) / diagonal.sum(axis=1))[:, None]
    return np.bincount(mesh.unknowns[mesh.cells].ravel(), parts.ravel(), len(mesh.representatives))


def _slots(cells: np.ndarray, count: int) -> np.ndarray:
    """For each node the places of its parts among those of all cells, filled up with one place past the end."""
    flat = cells.ravel()
    order = np.argsort(flat, kind="stable")
    valence = np.bincount(flat, minlength=count)
    slots = np.full((count, valence.max()), len(flat))
    slots[flat[order], np.arange(len(flat)) - np.repeat(np.cumsum(valence) - valence, valence)] = order
    return slots


def _pattern(mesh: Mesh, cells: np.ndarray, held: np.ndarray) -> tuple[Pattern, Array]:
    """The sparse system of the free unknowns, and those that pin otherwise free translations."""
    count, dim = held.shape
    number = np.full(count * dim, -1)
    free = np.flatnonzero(~held)
    number[free] = np.arange(len(free))
    unknowns = number.reshape(count, dim)[cells].reshape(len(cells), -1)
    width = cells.shape[1]
    pairs = (np.repeat(cells, width, axis=1).ravel(), np.tile(cells, (1, width)).ravel())
    graph = sp.csr_matrix((np.ones(len(pairs[0])), pairs), shape=(count, count))
    places = mesh.points[mesh.representatives]
    ranks = np.empty(count, np.int64)
    ranks[dissection(graph, places)] = np.arange(count)
    order = np.argsort(ranks[free // dim] * dim + free % dim)
    modes = _rigid(places).reshape(count * dim, -1)[free]
    pins = [number[k] for k in range(dim) if not held[:, k].any()]
    return Pattern(unknowns, len(free), order, modes), jnp.asarray(np.array(pins, int))


def _rigid(places: np.ndarray) -> np.ndarray:
    """Translations and rotations (nodes, dim, modes)."""
    count, dim = places.shape
    modes = [np.tile(np.eye(dim)[k], (count, 1)) for k in range(dim)]
    centred = places - places.mean(axis=0)
    for i in range(dim):
        for j in range(i):
            turn = np.zeros((count, dim))
            turn[:, i], turn[:, j] = centred[:, j], -centred[:, i]
            modes.append(turn)
    return np.stack(modes, axis=-1)

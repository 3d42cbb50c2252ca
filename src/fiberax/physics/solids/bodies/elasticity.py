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
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int

from fiberax.core.errors import BadInput
from fiberax.core.macro import AbstractInertial, Layout, Moving
from fiberax.core.sites import to_host
from fiberax.grids.mesh import Mesh
from fiberax.grids.nodal import NodalSpace
from fiberax.grids.parts import Prescribed
from fiberax.numerics.small import determinant
from fiberax.numerics.sparse import AbstractSparseSolver, Direct, Pattern, solve
from fiberax.physics.solids.bodies import loads
from fiberax.physics.solids.bodies.loads import Load
from fiberax.physics.solids.bodies.rigid import pins, rigid_modes, unbalanced

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

    space: NodalSpace
    solver: AbstractSparseSolver
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
        self.space, self.solver = NodalSpace(mesh), solver or Direct()
        mass = self.space.lumped(density, "Elasticity")
        self.mass = jnp.asarray(mass)
        self.supports = loads.prescribed(mesh, fixed, displacement)
        self.loads = loads.loads(mesh, traction, body_force)
        held = np.zeros((self.space.count, mesh.dim), bool)
        for support in self.supports:
            held[np.asarray(support.nodes), support.component] = True
        self.held, self.free = jnp.asarray(held), jnp.asarray(np.flatnonzero(~held))
        size = np.ptp(mesh.points[mesh.cells], axis=1).max(axis=1).min()
        self.hold = jnp.asarray(_HOLD * float(self.weights.sum()) / (float(mass.sum()) * size**2))
        self.pattern = self.space.pattern(held, rigid_modes(mesh.points[mesh.representatives]).reshape(held.size, -1))
        self.pins = jnp.asarray((np.cumsum(~held.ravel()) - 1)[pins(mesh, held)])

    @property
    def mesh(self) -> Mesh:
        """The mesh."""
        return self.space.mesh

    @property
    def weights(self) -> Float[Array, "cells points"]:
        """Reference volume of every site."""
        return self.space.weights

    def conditions(self, macro):
        return self.space.gradient(macro.position)

    def acceleration(self, t, macro, response):
        t = jnp.asarray(t, self.mass.dtype)
        found = (self._applied(t) - self.space.forces(response)) / self.mass[:, None]
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
        found = (self._applied(t) - self.space.forces(response)) / self.mass[:, None]
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
        space, dim = self.space, self.mesh.dim
        blocks = space.stiffness(tangents)
        # Supports: −w in equilibria, where no time passes; in implicit steps their acceleration does not depend on u.
        held = jnp.where(self.held, -residual / jnp.where(shift > 0.0, shift, self.hold), 0.0)
        parts = jnp.einsum("eab,eb->ea", blocks, held[space.cells].reshape(len(space.cells), -1))
        rest = -self.mass[:, None] * residual - space.collect(parts.reshape(*space.cells.shape, dim))
        diagonal = shift * jnp.repeat(self.mass, dim)[self.free]
        # A motion of the whole that nothing holds: springs at a few nodes, which stay at rest because the forces balance.
        spring = jnp.where(shift > 0.0, 0.0, jnp.max(jnp.abs(blocks)))
        diagonal = diagonal.at[self.pins].add(spring)
        found = solve(self.pattern, blocks, diagonal, rest.ravel()[self.free], self.solver)
        return held.ravel().at[self.free].set(found).reshape(residual.shape)

    def no_steady_state(self, t, macro):
        """The sum of the loads along a direction in which nothing holds the body."""
        del macro
        return unbalanced(self.mesh, to_host(self.held), to_host(self._applied(jnp.asarray(t, self.mass.dtype))))

    def admissible(self, macro):
        deformation = self.conditions(macro) + jnp.eye(self.mesh.dim)
        return jnp.all(determinant(jnp.moveaxis(deformation, (-2, -1), (0, 1))) > 0.0)

    def magnitude(self):
        return _SMALL * float(np.ptp(self.mesh.points, axis=0).max()) * self.space.count**0.5

    def positions(self):
        return self.space.positions()

    def layout(self):
        return Layout(("node",), {"node": np.arange(self.space.count)}, self.mesh)

    def example(self):
        shape = jax.ShapeDtypeStruct((self.space.count, self.mesh.dim), jnp.result_type(float))
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
        whole, what = (self.mesh.dim,), "Elasticity.start: the"
        position = self.space.nodal(displacement, whole, f"{what} displacement")
        speed = self.space.nodal(velocity, whole, f"{what} velocity")
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
        forces = self.space.forces(jnp.asarray(response)) - self._applied(jnp.asarray(t, self.mass.dtype))
        return jnp.sum(forces[np.unique(self.mesh.unknowns[self.mesh.nodes(name)])], axis=0)

    def average(self, field: Float[ArrayLike, "sites *shape"]) -> Float[Array, "*shape"]:
        """Mean over the reference volume of a field given at the sites."""
        return self.space.average(jnp.asarray(field))

    def _applied(self, t):
        total = jnp.zeros((self.space.count, self.mesh.dim), self.mass.dtype)
        for load in self.loads:
            total = total.at[load.part.nodes].add(load.at(t))
        return total

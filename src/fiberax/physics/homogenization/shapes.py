"""Diffusion on shapes, by finite elements on a mesh: ∂_t U = ∇·(A(U)∇U) + source (2.2), or with a flux Q(U, ∇U).

Weak form with the shape function φ of a node, flux F = A∇U or Q, inflow q on sides:

    m ∂_t U = −∫ F·∇φ + ∫ source φ + ∫ q φ,   m = ∫ φ lumped

Isoparametric elements of order k in {1, 2} (`fx.grids`); sites are the quadrature points. Steady states are of order k + 1 in
L2. The lumped mass keeps that in time, except for order 2 on triangles and tetrahedra, whose motion is of order 2.
"""

import abc
import warnings
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int

from fiberax.core.errors import BadInput, Mismatch
from fiberax.core.macro import AbstractMacro, Layout
from fiberax.core.sites import to_host
from fiberax.grids.mesh import Mesh
from fiberax.grids.nodal import NodalSpace
from fiberax.grids.parts import Prescribed
from fiberax.grids.pieces import first_place, pieces
from fiberax.numerics.sparse import AbstractSparseSolver, Direct, Pattern, solve
from fiberax.numerics.trees import is_tracer
from fiberax.physics.homogenization.balance import ON_MESH, depends_on_value, imbalance
from fiberax.physics.homogenization.sides import GivenSides, Inflow, Source, given_sides, inflows, prescribed_values, source_on

# Row sums of a matrix below this part of its entries are round-off.
_ROUNDING = 1e-10


class AbstractMeshDiffusion(AbstractMacro):
    """What the two models on meshes share: the weak form, sides, source, mass, and the assembled Jacobian.

    More than five public methods: eight are the contract of macro models, three are for users.
    """

    space: NodalSpace
    solver: AbstractSparseSolver
    source: Source | None
    supports: tuple[Prescribed, ...]
    inflows: tuple[Inflow, ...]
    given: GivenSides
    mass: Float[Array, " nodes"]
    held: Bool[Array, " nodes"]
    free: Int[Array, " free"]
    pattern: Pattern = eqx.field(static=True)

    def __init__(
        self,
        mesh: Mesh,
        source: Any = None,
        boundary: Mapping[str, Any] | Any = None,
        order: int | None = None,
        solver: AbstractSparseSolver | None = None,
    ):
        owner = type(self).__name__
        if not isinstance(mesh, Mesh):
            told = type(mesh).__name__
            raise BadInput(f"{owner}: mesh must be a fx.grids.Mesh, such as fx.grids.triangles(); it is a {told}.")
        if solver is not None and not isinstance(solver, AbstractSparseSolver):
            raise BadInput(f"{owner}: solver is fx.solids.Direct() or fx.solids.Multigrid(); it is {solver!r}.")
        mesh = mesh if order is None else mesh.of_order(order)
        self.space, self.solver = NodalSpace(mesh), solver or Direct()
        self.source = source_on(self.space, source, owner)
        self.supports = prescribed_values(mesh, boundary, owner)
        self.inflows = inflows(mesh, boundary, owner)
        self.given = given_sides(mesh, boundary, owner)
        self.mass = jnp.asarray(self.space.lumped(1.0, owner))
        held = np.zeros(self.space.count, bool)
        for support in self.supports:
            held[np.asarray(support.nodes)] = True
        self.held, self.free = jnp.asarray(held), jnp.asarray(np.flatnonzero(~held))
        sides = [np.asarray(one.part.nodes) for one in self.inflows if one.exchanges]
        width = mesh.cells.shape[1]
        further = [np.pad(rows, [(0, 0), (0, width - rows.shape[1])], constant_values=-1) for rows in sides]
        further = np.concatenate(further) if further else None
        self.pattern = self.space.pattern(held[:, None], np.ones((self.space.count, 1)), further)
        fixed = held.copy()
        for rows in sides:
            fixed[rows] = True
        _warn_of_loose_parts(mesh, fixed, owner)

    @property
    def mesh(self) -> Mesh:
        """The mesh."""
        return self.space.mesh

    @abc.abstractmethod
    def flux(self, macro: Float[ArrayLike, " nodes"], response: Any) -> Float[Array, "sites dim"]:
        """A∇U or Q at the sites: minus the physical flux.

        Args:
            macro: U at the nodes.
            response: Responses of all fibers, (sites, ...).

        Returns:
            The flux (sites, dim), in the unit of A∇U.
        """

    @abc.abstractmethod
    def _slopes(self, macro, response, tangents) -> tuple[Float[Array, "sites dim"], Float[Array, "sites dim dim"]]:
        """Derivatives of `flux` by U and by ∇U."""

    def rate(self, t, macro, response):
        """(−∫ F·∇φ + ∫ source φ + ∫ q φ)/m, (nodes,); zero at nodes with a given value."""
        return jnp.where(self.held, 0.0, self._balance(t, macro, response) / self.mass)

    def prescribed(self, t, macro):
        """U with the given values of time `t` at their nodes."""
        for support in self.supports:
            macro = macro.at[support.nodes].set(support.at(t))
        return macro

    def solve_linearised(self, t, residual, macro, response, tangents, shift):
        """By the assembled Jacobian; nodes with a given value stay where they are."""
        shift = jnp.asarray(shift, residual.dtype)
        blocks = self._jacobian(t, macro, response, tangents)
        # Without a given value or an exchange nothing may hold a constant: a spring at one node does, which stays unloaded
        # where there is an equilibrium.
        sums = self._sums_of_columns(blocks)
        loose = ~jnp.any(self.held) & (shift <= 0.0) & (jnp.max(jnp.abs(sums)) <= _ROUNDING * jnp.max(jnp.abs(blocks)))
        diagonal = shift * self.mass[self.free]
        if self.pattern.size:
            diagonal = diagonal.at[0].add(jnp.where(loose, jnp.max(jnp.abs(blocks)), 0.0))
        found = solve(self.pattern, blocks, diagonal, -(self.mass * residual)[self.free], self.solver)
        return jnp.zeros_like(residual).at[self.free].set(found)

    def no_steady_state(self, t, macro):
        """By how much fluxes and source do not balance in a part of the mesh where nothing holds U."""
        part = pieces(self.mesh)
        held = part[np.asarray(self.held)]
        for one in self.inflows:
            if one.exchanges and np.any(to_host(one.slope(t))):
                held = np.append(held, part[np.asarray(one.part.nodes).ravel()])
        u, source = self._at_sites(macro), self.source
        if source is not None and depends_on_value(lambda u: source.at(t, u), u):
            return None
        made = source.at(t, u) if source is not None else jnp.zeros(u.shape)
        made = np.reshape(to_host(made), self.space.weights.shape) * np.asarray(self.space.weights)
        parts = np.unique(part[np.asarray(self.space.cells)])
        for number in np.setdiff1d(parts, held):
            inside = [part[np.asarray(one.part.nodes)[:, 0]] == number for one in self.inflows]
            flows = [np.sum(to_host(one.at(t, macro)), axis=1)[own] for one, own in zip(self.inflows, inside)]
            own = part[np.asarray(self.space.cells)[:, 0]] == number
            where = (
                "" if len(parts) == 1 else f" in the part of the mesh with a node at ({first_place(self.mesh, part, number)})"
            )
            told = imbalance(np.concatenate([np.zeros(0), *flows]), made[own], ON_MESH, where)
            if told:
                return told
        return None

    def positions(self):
        """Quadrature points, (sites, dim)."""
        return self.space.positions()

    def layout(self):
        """Nodes by their number, and the mesh with their positions."""
        return Layout(("node",), {"node": np.arange(self.space.count)}, self.mesh)

    def example(self):
        """One number for each node."""
        return jax.ShapeDtypeStruct((self.space.count,), jnp.result_type(float))

    def start(self, value: Any = 0.0, t: float = 0.0) -> Float[Array, " nodes"]:
        """A macrostate.

        Args:
            value: A number, an array (nodes,) or a function of x (dim,).
            t: Time of the given values.

        Returns:
            U (nodes,), with the given values at their nodes.

        Raises:
            BadInput: Another shape.
        """
        return self.prescribed(jnp.asarray(t, float), self.space.nodal(value, (), f"{type(self).__name__}.start: the value"))

    def inflow(self, macro: Float[ArrayLike, " nodes"], response: Any, name: str, t: float = 0.0) -> Float[Array, ""]:
        """What flows into the body per unit of time through a boundary on which something is given.

        In a steady state the flows through all such boundaries and the integral of the source add up to zero.

        Args:
            macro: U (nodes,).
            response: Responses of all fibers at it, such as `sol.response[k]`.
            name: The boundary.
            t: Time of source and sides.

        Returns:
            ∫ n·F over the boundary, in the unit of A∇U times area. Of a given flux or an exchange it is the integral of that
            over the sides of the mesh. Of a value that does not change in time it is the balance of its nodes, which converges
            twice as fast as the flux itself. At nodes where boundaries with given values meet, the balance is that of all of
            them and is parted by the flux in the cells there, with an error of the order of the mesh plus one.

        Raises:
            BadInput: The mesh has no such boundary, or nothing is given on it.
        """
        nodes = np.unique(self.mesh.unknowns[self.mesh.nodes(name)])
        for one in self.inflows:
            if one.name == name:
                return jnp.sum(one.at(jnp.asarray(t, self.mass.dtype), jnp.asarray(macro)))
        if not is_tracer(self.held) and not np.all(np.asarray(self.held)[nodes]):
            raise BadInput(
                f"{type(self).__name__}.inflow: nothing is given on the boundary {name!r} by this name. Name it in "
                "boundary= with Dirichlet, Neumann or Robin; what is not named is insulated, and nothing flows through it."
            )
        macro, response = jnp.asarray(macro), jnp.asarray(response)
        total, sides = -self._balance(t, macro, response), self.given
        flux = self.flux(macro, response).reshape(*self.space.weights.shape, -1)
        own = jnp.all(jnp.zeros(self.space.count, bool).at[nodes].set(True)[sides.nodes], axis=1)[:, None]
        at_nodes = lambda values: jnp.zeros(self.space.count).at[sides.nodes].add(values)
        near = sides.inflow(flux)
        mine, all_of_them = at_nodes(jnp.where(own, near, 0.0)), at_nodes(near)
        ones = jnp.ones_like(near)
        share = at_nodes(jnp.where(own, ones, 0.0)) / jnp.maximum(at_nodes(ones), 1.0)
        parted = mine + (total - all_of_them) * share
        return jnp.sum(jnp.where((share > 0.0) & (share < 1.0), parted, total)[nodes])

    def average(self, field: Float[ArrayLike, "sites *shape"]) -> Float[Array, "*shape"]:
        """Mean over the volume of a field given at the sites."""
        return self.space.average(jnp.asarray(field))

    def _at_sites(self, macro) -> Float[Array, " sites"]:
        return self.space.values(macro[:, None])[:, 0]

    def _gradient(self, macro) -> Float[Array, "sites dim"]:
        return self.space.gradient(macro[:, None])[:, 0]

    def _balance(self, t, macro, response) -> Float[Array, " nodes"]:
        """What flows to every node per unit of time."""
        t = jnp.asarray(t, self.mass.dtype)
        total = -self.space.forces(self.flux(macro, response)[:, None])[:, 0]
        if self.source is not None:
            total = total + self.space.loads(self.source.at(t, self._at_sites(macro))[:, None])[:, 0]
        for one in self.inflows:
            total = total.at[one.part.nodes].add(one.at(t, macro))
        return total

    def _jacobian(self, t, macro, response, tangents) -> Float[Array, "blocks k k"]:
        """Minus the derivative of `_balance`: blocks of all cells, then of the sides that exchange with a surrounding."""
        t, space = jnp.asarray(t, self.mass.dtype), self.space
        by_value, by_gradient = self._slopes(macro, response, tangents)
        blocks = space.stiffness(by_gradient[:, None, :, None, :])
        weighted = by_value.reshape(*space.weights.shape, -1) * space.weights[..., None]
        blocks = blocks + jnp.einsum("eqaj,eqj,qb->eab", space.gradients, weighted, space.shape)
        if self.source is not None:
            slope = self.source.slope(t, self._at_sites(macro)).reshape(space.weights.shape) * space.weights
            blocks = blocks - jnp.einsum("eq,qa,qb->eab", slope, space.shape, space.shape)
        width = blocks.shape[1]
        sides = [one.slope(t) for one in self.inflows if one.exchanges]
        pad = lambda block: jnp.pad(block, [(0, 0), *[(0, width - block.shape[1])] * 2])
        return jnp.concatenate([blocks, *map(pad, sides)])

    def _sums_of_columns(self, blocks) -> Float[Array, " nodes"]:
        sums, cells = blocks.sum(axis=1), self.space.cells
        total, done = self.space.collect(sums[: len(cells), :, None])[:, 0], len(cells)
        for one in self.inflows:
            if one.exchanges:
                nodes = one.part.nodes
                total = total.at[nodes].add(sums[done : done + len(nodes), : nodes.shape[1]])
                done += len(nodes)
        return total


class MeshDiffusion(AbstractMeshDiffusion):
    """∂_t U = ∇·(A(U)∇U) + source on a mesh; the fibers sit at the quadrature points and give A(U).

    Args:
        mesh: `fx.grids.Mesh`, of order 1 or 2, from a generator, a file (`fx.grids.read`) or scikit-fem.
        source: A number, an array with one for each cell, or a function source(t, U, x) of time, the local U and x (dim,).
        boundary: Name of a boundary -> `Dirichlet`, `Neumann` or `Robin`; or one of them for all outer sides. What is not
            named is insulated. Later names override earlier ones at nodes with two given values.
        order: 1 or 2; that of the mesh by default.
        solver: Of implicit steps and steady states: `fx.solids.Direct()`, or `fx.solids.Multigrid()` for large 3D meshes.

    The macrostate is U (nodes,), one row for nodes that are the same by periodicity; `start` makes one. A condition is U at
    a site, the response A: (d, d), also non-symmetric, or a number.

    Raises:
        BadInput: Mesh, names, conditions or source do not fit.
    """

    def conditions(self, macro):
        """U at the sites, (sites,)."""
        return self._at_sites(macro)

    def flux(self, macro, response):
        gradient, dim = self._gradient(macro), self.mesh.dim
        if jnp.shape(response)[1:] not in ((), (dim, dim)):
            raise Mismatch(
                f"MeshDiffusion on a mesh of dimension {dim} needs a response ({dim}, {dim}) or a number at each site; "
                f"the fibers give {jnp.shape(response)[1:]}. Give mesh and cell the same dimension."
            )
        return response[:, None] * gradient if response.ndim == 1 else jnp.einsum("sij,sj->si", response, gradient)

    def _slopes(self, macro, response, tangents):
        full = response[:, None, None] * jnp.eye(self.mesh.dim) if response.ndim == 1 else response
        return self.flux(macro, tangents), full


class MeshFluxDiffusion(AbstractMeshDiffusion):
    """∂_t U = ∇·Q(U, ∇U) + source on a mesh; the fibers sit at the quadrature points and give the flux Q, as `FluxCell` does.

    Args:
        mesh: As for `MeshDiffusion`.
        source: As for `MeshDiffusion`.
        boundary: As for `MeshDiffusion`; given fluxes are n·Q.
        order: As for `MeshDiffusion`.
        solver: As for `MeshDiffusion`.

    The macrostate is U (nodes,). A condition is (U, G), the value and the gradient (dim,) at a site, the response Q (dim,).

    Raises:
        BadInput: Mesh, names, conditions or source do not fit.
    """

    def conditions(self, macro):
        """(U, G) at the sites: (sites,) and (sites, dim)."""
        return self._at_sites(macro), self._gradient(macro)

    def flux(self, macro, response):
        if jnp.shape(response)[1:] != (self.mesh.dim,):
            raise Mismatch(
                f"MeshFluxDiffusion on a mesh of dimension {self.mesh.dim} needs a flux ({self.mesh.dim},) at each site; "
                f"the fibers give {jnp.shape(response)[1:]}. `MeshDiffusion` takes tensors."
            )
        return response

    def _slopes(self, macro, response, tangents):
        return tangents


def _warn_of_loose_parts(mesh: Mesh, fixed: np.ndarray, owner: str) -> None:
    """Warn of parts of a mesh of several parts in which no node is `fixed`, (nodes,), by a given value or an exchange."""
    part = pieces(mesh)
    parts = np.unique(part[mesh.unknowns[mesh.cells]])
    loose = np.setdiff1d(parts, part[fixed])
    if len(parts) > 1 and len(loose):
        warnings.warn(
            f"{owner}: the mesh has {len(parts)} parts that share no nodes. {len(loose)} of them, one with a node at "
            f"({first_place(mesh, part, loose[0])}), have no given value and no exchange: a steady state is determined "
            "there only up to a constant.",
            stacklevel=4,
        )

"""Flow in a rectangle with walls, inflow and outflow, staggered (Harlow, Welch, Phys. Fluids 8, 1965, 2182).

It has more than five public methods: those of a fluid, and pressure and stream function for figures.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fiberax.core.errors import BadInput
from fiberax.grids.box import Box
from fiberax.numerics import trees
from fiberax.numerics.stokes import Stokes, Walls, layers
from fiberax.physics.fluids.boundary import SIDES, Outflow, along_side, net_inflow
from fiberax.physics.fluids.fluid import AbstractFluid, Parameters, evaluate


class Staggered(NamedTuple):
    """Velocity on the faces, and along the sides of the box, where it is that of the boundary (zero on open sides)."""

    u: Float[Array, "nx1 ny"]  # component x on the faces normal to x; along a periodic axis the last is the first
    v: Float[Array, "nx ny1"]
    left: Float[Array, " ny1"]  # component y at the corners of the cells on the side
    right: Float[Array, " ny1"]
    bottom: Float[Array, " nx1"]  # component x
    top: Float[Array, " nx1"]

    @property
    def faces(self) -> tuple[Array, Array]:
        """(u, v)."""
        return self.u, self.v

    @property
    def walls(self) -> Walls:
        """((left, right), (bottom, top))."""
        return (self.left, self.right), (self.bottom, self.top)


class StaggeredFlow(AbstractFluid):
    """Incompressible flow in a rectangle, of second order: made by `fx.fluids.Flow` for a 2D box that is not all periodic.

    Args:
        grid: The box.
        parameters: Re, ν, De and force, as given to `fx.fluids.Flow`.
        boundary: As for `fx.fluids.Flow`.

    Velocities are on faces, pressures and fibers at cell centres, and the divergence is zero to round-off. Convection is the
    central difference that conserves energy. It is accurate where the cell Reynolds number |U| Re h is below about 2 or the
    flow is smooth, as in complex fluids; beyond that layers oscillate, and the grid should be refined. An open side
    (`Outflow`) has ν ∂U/∂n − P n = 0, and the stress of the fibers acts on it unchanged; fluid should leave there, not enter.
    Where no side is open, the excess of inflow that sampling on the faces leaves in given velocities is subtracted from them
    in proportion.

    Raises:
        BadInput: Grid, boundary or parameters do not fit.
    """

    solver: Stokes

    def __init__(self, grid: Box, parameters: Parameters, boundary: Any = None):
        super().__init__(grid, parameters, boundary)
        if grid.dim != 2 or all(grid.periodic):
            raise BadInput(
                f"StaggeredFlow: a box of {grid.dim} axes, periodic {grid.periodic}. It is for two axes of which at least one "
                "has sides; fx.fluids.Flow chooses the class that suits the box."
            )
        for name, n, periodic in zip("xy", grid.cells, grid.periodic):
            if n < 3 and not periodic:
                raise BadInput(f"Flow: {n} cells along {name}; between sides at least three are needed.")
        kinds = [self.sides.get(name) for name in SIDES[2]]
        low_x, high_x, low_y, high_y = ("open" if isinstance(side, Outflow) else "fixed" for side in kinds)
        ends = (None if grid.periodic[0] else (low_x, high_x), None if grid.periodic[1] else (low_y, high_y))
        self.solver = Stokes((grid.cells[0], grid.cells[1]), (grid.spacing[0], grid.spacing[1]), ends)

    def _edges(self, axis: int) -> np.ndarray:
        """Coordinates of the faces along `axis`."""
        return self.box.lower[axis] + self.box.spacing[axis] * np.arange(self.box.cells[axis] + 1)

    def _given(self, t) -> Staggered:
        """The velocities of time `t` on sides where they are given, zero elsewhere."""
        (nx, ny), kind = self.box.cells, jnp.result_type(float)
        given = self._on_faces((jnp.zeros((nx + 1, ny), kind), jnp.zeros((nx, ny + 1), kind)))
        net, gross = net_inflow(self.box, self.sides, t)
        excess = net / jnp.where(gross > 0.0, gross, 1.0) if self.solver.closed else 0.0
        faces = list(given.faces)
        for name, side in self.sides.items():
            axis, end = SIDES[2][name]
            inward = side.inward(jnp.asarray(along_side(self.box, name), kind), t)
            inward = (1 - 2 * end) * (inward - excess * jnp.abs(inward))
            faces[axis] = faces[axis].at[(-end, slice(None)) if axis == 0 else (slice(None), -end)].set(inward)
            given = given._replace(**{name: side.along(jnp.asarray(self._edges(1 - axis), kind), t)})
        return given._replace(u=faces[0], v=faces[1])

    def _constrained(self, t, velocity: Staggered) -> tuple[Staggered, Array]:
        """The velocity within the constraints of `t`, and the p whose gradient was subtracted for it."""
        given, faces = self._given(t), []
        for axis, (u, pair) in enumerate(zip(velocity.faces, self.solver.ends)):
            if pair is None:
                first, rest = (slice(0, 1), slice(0, -1)) if axis == 0 else (np.s_[:, :1], np.s_[:, :-1])
                u = jnp.concatenate([u[rest], u[first]], axis)
            faces.append(u)
        off = self.solver.normal((faces[0] - given.u, faces[1] - given.v))
        faces, p = self.solver.project((faces[0] - off[0], faces[1] - off[1]))
        return given._replace(u=faces[0], v=faces[1]), p

    def _on_faces(self, faces) -> Staggered:
        (nx, ny), kind = self.box.cells, faces[0].dtype
        return Staggered(*faces, *(jnp.zeros(ny + 1, kind),) * 2, *(jnp.zeros(nx + 1, kind),) * 2)

    def sample(self, function):
        lines = [[self._edges(k) if k == axis else self.box.axis(k) for k in (0, 1)] for axis in (0, 1)]
        points = [np.stack(np.meshgrid(*pair, indexing="ij"), -1) for pair in lines]
        return self._on_faces([evaluate(function, x)[..., axis] for axis, x in enumerate(points)])

    def within(self, t, velocity):
        return self._constrained(t, velocity)[0]

    def gradient(self, velocity):
        """Differences within the cell on its diagonal, means of those at the four corners off it."""
        (hx, hy), (u, v) = self.box.spacing, velocity.faces
        uy, vx = (_mean_of_four(x) for x in self.solver.shear(velocity.faces, velocity.walls))
        rows = [[(u[1:] - u[:-1]) / hx, uy], [vx, (v[:, 1:] - v[:, :-1]) / hy]]
        return jnp.stack([jnp.stack(row, -1) for row in rows], -2)

    def divergence(self, stress):
        """As `gradient` does it; stresses are continued linearly to the sides."""
        (hx, hy), periodic = self.box.spacing, self.box.periodic
        xx, yy = (_continued(stress[..., k, k], k, periodic[k]) for k in (0, 1))
        xy, yx = (
            _mean_of_four(_continued(_continued(stress[..., *k], 0, periodic[0]), 1, periodic[1])) for k in ((0, 1), (1, 0))
        )
        return self._on_faces(
            ((xx[1:] - xx[:-1]) / hx + (xy[:, 1:] - xy[:, :-1]) / hy, (yx[1:] - yx[:-1]) / hx + (yy[:, 1:] - yy[:, :-1]) / hy)
        )

    def convection(self, t, velocity):
        """∇·(V V) with means on the sides of the faces' own cells: energy is conserved for divergence-free V."""
        (hx, hy), (u, v), to_faces = self.box.spacing, velocity.faces, self.solver.to_faces
        uc, vc = jnp.moveaxis(self.centred(velocity), -1, 0)
        mixed = jnp.multiply(*self.solver.corners(velocity.faces, velocity.walls))
        return self._on_faces(
            (
                to_faces(uc**2, 0, (u[:1] ** 2, u[-1:] ** 2)) + (mixed[:, 1:] - mixed[:, :-1]) / hy,
                (mixed[1:] - mixed[:-1]) / hx + to_faces(vc**2, 1, (v[:, :1] ** 2, v[:, -1:] ** 2)),
            )
        )

    def laplacian(self, t, velocity):
        return self._on_faces(self.solver.laplacian(velocity.faces, self._given(t).walls))

    def stokes(self, t, known, shift, viscosity):
        given = self._given(t)
        faces, _, _ = self.solver.solve(known.faces, shift, viscosity, given.faces, given.walls)
        return given._replace(u=faces[0], v=faces[1])

    def precondition(self, residual, macro, response, shift):
        """The Stokes problem in place of J, with the whole viscosity, because fibers in equilibrium contribute theirs."""
        moving, p = shift > 0.0, self.parameters
        fixed = jax.tree.map(lambda r: jnp.where(moving, -r, 0.0) / jnp.where(moving, shift, 1.0), residual)
        faces, _, _ = self.solver.solve(
            jax.tree.map(jnp.negative, residual.faces),
            shift,
            (p.viscosity_ratio if p.total else 1.0) / p.Re,
            self.solver.normal(fixed.faces),
            fixed.walls,
        )
        return fixed._replace(u=faces[0], v=faces[1])

    def centred(self, velocity):
        u, v = velocity.faces
        return 0.5 * jnp.stack([u[1:] + u[:-1], v[:, 1:] + v[:, :-1]], -1)

    def kinetic_energy(self, velocity: Staggered) -> Float[Array, ""]:
        """½ ∫|V|² from the faces. Walls that move have the end correction of the midpoint rule, (h²/24) [∂(u²)/∂n]."""
        total, walls = jnp.zeros(()), velocity.walls
        pairs = zip(velocity.faces, self.solver.corners(velocity.faces, walls), self.solver.shear(velocity.faces, walls))
        for axis, (u, side, slope) in enumerate(pairs):
            first, _, _, last = layers(side * slope, 1 - axis)
            lines = jnp.sum(u**2, 1 - axis) + self.box.spacing[1 - axis] / 12.0 * jnp.squeeze(last - first, 1 - axis)
            total = total + jnp.sum(lines) - 0.5 * (lines[0] + lines[-1])
        return 0.5 * np.prod(self.box.spacing) * total

    def face_velocity(self, t, macro):
        return macro.faces

    def pressure(self, t, macro: Staggered, response: Any) -> Float[Array, "nx ny"]:
        """P at the cell centres, up to a constant where no side is open; for a creeping flow, `flow.inner.pressure`."""
        time, p = jnp.asarray(t, jnp.result_type(float)), self.parameters
        if p.creeping:
            given = self._given(time)
            known = self.forcing(time, macro, response).faces
            return self.solver.solve(known, jnp.zeros_like(time), p.viscosity_ratio, given.faces, given.walls)[1]
        free = trees.axpy(p.viscosity_ratio / p.Re, self.laplacian(time, macro), self.explicit(time, macro, response))
        return p.Re * jax.jvp(lambda t, v: self._constrained(t, v)[1], (time, macro), (jnp.ones_like(time), free))[1]

    def stream_function(self, velocity: Staggered) -> Float[Array, "nx1 ny1"]:
        """ψ at the corners of the cells, 0 at the lower left one: u = ∂ψ/∂y, v = −∂ψ/∂x."""
        (hx, hy), (u, v) = self.box.spacing, velocity.faces
        first = jnp.pad(jnp.cumsum(hy * u[0]), (1, 0))
        return first - jnp.pad(jnp.cumsum(hx * v, axis=0), ((1, 0), (0, 0)))


def _continued(values: Array, axis: int, periodic: bool) -> Array:
    """With one more layer on either side, around a periodic axis or linear."""
    first, second, before, last = layers(values, axis)
    ends = (last, first) if periodic else (2.0 * first - second, 2.0 * last - before)
    return jnp.concatenate([ends[0], values, ends[1]], axis)


def _mean_of_four(x: Array) -> Array:
    return 0.25 * (x[1:, 1:] + x[1:, :-1] + x[:-1, 1:] + x[:-1, :-1])

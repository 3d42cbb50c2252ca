"""The generalised Stokes problem on a rectangle of marker-and-cell type, without splitting error.

shift u − ν Δu + ∇p = f, ∇·u = 0. Second order: F. H. Harlow, J. E. Welch, Phys. Fluids 8 (1965) 2182. The shear at a wall is
the slope of the parabola through the wall's velocity and the two nearest ones, so that it is of second order too. The Schur
complement is then slightly unsymmetric. The pressure solves it by minimal residuals, preconditioned by ν + shift (−Δ)⁻¹
(J. Cahouet, J.-P. Chabard, Int. J. Numer. Meth. Fluids 8 (1988) 869); the inner problems are solved exactly by fast
diagonalisation. A gradient along x maps the modes of the pressure along x to those of u: in the modes of the pressure both
inner problems together take four products with small matrices, and the preconditioner none. Velocities are pairs (u, v), u on
the faces normal to x (nx + 1, ny), v on those normal to y (nx, ny + 1), along periodic axes too; pressures are at cell centres.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fiberax.numerics.minimal_residual import minimal_residual
from fiberax.numerics.separable import End, Ends, Modes, Separable, cell_modes, divided, face_modes, in_modes_of

Velocity = tuple[Float[Array, "nx1 ny"], Float[Array, "nx ny1"]]
Corners = tuple[Float[Array, "nx1 ny1"], Float[Array, "nx1 ny1"]]
Walls = tuple[tuple[Array, Array], tuple[Array, Array]]  # tangential velocities of the sides (left, right), (bottom, top)


def _turned(ends: Ends) -> Ends:
    """Where the velocity is open the pressure is fixed, and the other way round."""
    other: dict[End, End] = {"fixed": "open", "open": "fixed"}
    return None if ends is None else (other[ends[0]], other[ends[1]])


def along(array: Array, axis: int, start: int, stop: int | None = None) -> Array:
    """Entries start..stop along `axis`."""
    return array[start:stop] if axis == 0 else array[:, start:stop]


def layers(array: Array, axis: int) -> tuple[Array, Array, Array, Array]:
    """The first two and the last two layers along `axis`, each (.., 1, ..) there."""
    first, second, before, last = (along(array, axis, *place) for place in ((0, 1), (1, 2), (-2, -1), (-1, None)))
    return first, second, before, last


class Stokes(eqx.Module):
    """Operators and solver for one rectangle.

    Args:
        cells: Numbers of cells (nx, ny).
        spacing: Sizes of a cell (hx, hy).
        ends: For each axis None where it is periodic, else for its lower and upper side "fixed", where the velocity is given,
            or "open", where it is free: ν ∂u/∂n − p n = 0, with p = 0 outside.
        tolerance: Of the residual of the pressure, relative to the first divergence; None for 1e-11, in single precision 1e-5.
        iterations: Largest number of steps for the pressure.
    """

    cells: tuple[int, int] = eqx.field(static=True)
    spacing: tuple[float, float] = eqx.field(static=True)
    ends: tuple[Ends, Ends] = eqx.field(static=True)
    iterations: int = eqx.field(static=True)
    tolerance: float = eqx.field(static=True)
    velocity: tuple[Separable, Separable]
    pressure: Separable
    across: tuple[Modes, Modes]  # of the tangential velocities along x and y, for coefficients in the modes of the pressure

    def __init__(self, cells, spacing, ends, tolerance: float | None = None, iterations: int = 200):
        self.cells, self.spacing, self.ends, self.iterations = cells, spacing, ends, iterations
        single = jnp.finfo(jnp.result_type(float)).eps > 1e-10
        self.tolerance = (1e-5 if single else 1e-11) if tolerance is None else tolerance
        faces = [face_modes(n, h, pair) for n, h, pair in zip(cells, spacing, ends)]
        centres = [cell_modes(n, h, pair, quadratic=True) for n, h, pair in zip(cells, spacing, ends)]
        self.velocity = (Separable(faces[0], centres[1]), Separable(centres[0], faces[1]))
        self.pressure = Separable(*(cell_modes(n, h, _turned(pair)) for n, h, pair in zip(cells, spacing, ends)))
        self.across = (in_modes_of(self.pressure.x, centres[0]), in_modes_of(self.pressure.y, centres[1]))

    @property
    def closed(self) -> bool:
        """Whether no side is open, so that the pressure is known up to a constant and the net inflow must be zero."""
        return all(pair is None or "open" not in pair for pair in self.ends)

    def divergence(self, velocity: Velocity) -> Float[Array, "nx ny"]:
        """∇·u at the cells."""
        (u, v), (hx, hy) = velocity, self.spacing
        return (u[1:] - u[:-1]) / hx + (v[:, 1:] - v[:, :-1]) / hy

    def gradient(self, p: Float[Array, "nx ny"]) -> Velocity:
        """∇p on the faces; zero on sides where the velocity is given. Minus the adjoint of the divergence."""
        return self.to_faces(p, 0), self.to_faces(p, 1)

    def to_faces(self, p: Array, axis: int, beyond: tuple[Any, Any] = (0.0, 0.0)) -> Array:
        """Differences along `axis` of values at centres; on open sides to `beyond`, half a cell away; on fixed sides zero."""
        h, pair, first, last = self.spacing[axis], self.ends[axis], along(p, axis, 0, 1), along(p, axis, -1)
        if pair is None:
            low = high = (first - last) / h
        else:
            low = 2.0 / h * (first - beyond[0]) if pair[0] == "open" else jnp.zeros_like(first)
            high = 2.0 / h * (beyond[1] - last) if pair[1] == "open" else jnp.zeros_like(last)
        return jnp.concatenate([low, (along(p, axis, 1) - along(p, axis, 0, -1)) / h, high], axis)

    def _between(self, axis: int, fixed: tuple[Array, Array], free: tuple[Array, Array], around: Array, inside: Array) -> Array:
        """`inside` with one more layer on either side of `axis`: `fixed` or `free` as the end is, `around` if periodic."""
        pair = self.ends[axis]
        chosen = (given if end == "fixed" else own for given, own, end in zip(fixed, free, pair or ()))
        low, high = (around, around) if pair is None else chosen
        return jnp.concatenate([low, inside, high], axis)

    def shear(self, velocity: Velocity, walls: Walls) -> Corners:
        """(∂u/∂y, ∂v/∂x) at the corners (nx + 1, ny + 1): on sides with `walls` of second order, zero on open ones."""

        def slope(u, axis, values):
            h, (first, second, before, last) = self.spacing[axis], layers(u, axis)
            low, high = (jnp.expand_dims(value, axis) for value in values)
            fixed = _wall_slope(low, first, second, h), -_wall_slope(high, last, before, h)
            free = jnp.zeros_like(first), jnp.zeros_like(last)
            return self._between(axis, fixed, free, (first - last) / h, jnp.diff(u, axis=axis) / h)

        return slope(velocity[0], 1, walls[1]), slope(velocity[1], 0, walls[0])

    def corners(self, velocity: Velocity, walls: Walls) -> Corners:
        """(u, v) at the corners (nx + 1, ny + 1), means of neighbours."""

        def mean(u, axis, values):
            first, _, _, last = layers(u, axis)
            low, high = (jnp.expand_dims(value, axis) for value in values)
            inside = 0.5 * (along(u, axis, 1) + along(u, axis, 0, -1))
            return self._between(axis, (low, high), (first, last), 0.5 * (first + last), inside)

        return mean(velocity[0], 1, walls[1]), mean(velocity[1], 0, walls[0])

    def laplacian(self, velocity: Velocity, walls: Walls) -> Velocity:
        """Δu on the faces, the sides having the tangential velocities `walls`; meaningless on sides that are fixed."""
        (u, v), (hx, hy) = velocity, self.spacing
        uy, vx = self.shear(velocity, walls)
        return (
            self.to_faces((u[1:] - u[:-1]) / hx, 0) + (uy[:, 1:] - uy[:, :-1]) / hy,
            (vx[1:] - vx[:-1]) / hx + self.to_faces((v[:, 1:] - v[:, :-1]) / hy, 1),
        )

    def normal(self, velocity: Velocity) -> Velocity:
        """`velocity` on the sides where it is given, zero elsewhere."""
        parts = []
        for axis, (u, pair) in enumerate(zip(velocity, self.ends)):
            keep = np.zeros(self.cells[axis] + 1)
            for row, end in zip((0, -1), pair or ()):
                keep[row] = float(end == "fixed")
            parts.append(u * jnp.expand_dims(jnp.asarray(keep, u.dtype), 1 - axis))
        return parts[0], parts[1]

    def project(self, velocity: Velocity) -> tuple[Velocity, Float[Array, "nx ny"]]:
        """The nearest velocity without divergence, and the p with velocity − ∇p equal to it."""
        p = self.pressure.solve(-self.divergence(velocity))
        return jax.tree.map(jnp.subtract, velocity, self.gradient(p)), p

    def solve(self, known: Velocity, shift, viscosity, normal: Velocity, walls: Walls) -> tuple[Velocity, Array, Array]:
        """Velocity, pressure and number of iterations; on its sides the velocity is `normal` (zero elsewhere) and `walls`.

        The divergence is zero to round-off whatever the tolerance: the last step is a projection.
        """
        # Given velocities on the sides become a force on the faces inside.
        known = jax.tree.map(lambda f, moved: f + viscosity * moved, known, self.laplacian(normal, walls))

        def within(f):
            return self.velocity[0].solve(f[0], shift, viscosity), self.velocity[1].solve(f[1], shift, viscosity)

        free = jax.tree.map(jnp.add, within(known), normal)
        p, count = self._pressure(shift, viscosity, -self.divergence(free))
        velocity = jax.tree.map(jnp.subtract, free, within(self.gradient(p)))
        return self.project(velocity)[0], p, count

    def _pressure(self, shift, viscosity, right: Float[Array, "nx ny"]):
        """The p with −∇·(shift − viscosity Δ)⁻¹ ∇p = right; differentiable as the solution of a linear system."""
        (x, y), (px, py) = self.across, (self.pressure.x.values[:, None], self.pressure.y.values)
        along_x = divided(px, shift + viscosity * (px + y.values))
        along_y = divided(py, shift + viscosity * (x.values[:, None] + py))

        def schur(p):
            u = (along_x * (p @ y.forward)) @ y.backward
            return u + x.backward.T @ (along_y * (x.forward.T @ p))

        laplacian = self.pressure.symbol
        inverse = viscosity + divided(shift, laplacian)

        def iterate(matrix, right):
            # A constant is not in the range of the matrix; round-off must not add one.
            right = jnp.where(laplacian == 0.0, 0.0, right)
            found = minimal_residual(matrix, lambda r: inverse * r, right, self.tolerance, self.iterations)
            return found.correction, found.steps

        right = self.pressure.modes(right)
        p, count = jax.lax.custom_linear_solve(schur, right, iterate, iterate, has_aux=True)
        return self.pressure.fields(p), count


def _wall_slope(wall: Array, first: Array, second: Array, h: float) -> Array:
    """Slope at a wall, away from it, of the parabola through the values there and at h/2 and 3h/2."""
    return (9.0 * first - second - 8.0 * wall) / (3.0 * h)

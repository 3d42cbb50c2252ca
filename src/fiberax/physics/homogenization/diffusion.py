"""Diffusion on the macroscale, (2.1) homogenized to (2.2).

∂_t U = ∇·(A(U)∇U) + source,   or   ∂_t U = ∇·Q(U, ∇U) + source,   by conservative finite volumes
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fiberax.core.errors import BadInput, Mismatch
from fiberax.core.macro import AbstractMacro, Layout
from fiberax.grids.box import Box
from fiberax.grids.mesh import Mesh
from fiberax.physics.homogenization.balance import box_imbalance
from fiberax.physics.homogenization.boundary import (
    Dirichlet,
    Sides,
    axis_names,
    cell_derivative,
    check_source,
    evaluate_source,
    face_average,
    face_points,
    flux_divergence,
    invert_laplacian,
    normal_derivative,
    parse_boundary,
    side_values,
)

_POSITIVE = 1e-12


class Diffusion(AbstractMacro):
    """∂_t U = ∇·(A(U)∇U) + source on a box; the fibers sit at the cell centres and give A(U).

    Args:
        grid: The box.
        source: A number, an array (*cells), or a function source(t, U, x) of time, the local U and the position (dim,).
        boundary: None where every axis is periodic; `Dirichlet` or `Neumann` for all sides; or a tuple with an entry for each
            axis: None (periodic), one condition, or a pair (lower, upper).

    The macrostate is U (*cells), one number for each cell, in the user's unit. A condition is the U of a cell; sites are the
    cells with the last axis fastest. The response is A, (d, d) with d the dimension of the grid, or a number for an isotropic
    A. A may be any tensor, also non-symmetric. What a cell loses through a face its neighbour gains, so the sum over cells
    changes through sides and source alone. Second order in the spacing: on a face A is the arithmetic mean of its two cells;
    on a side with a given value the A of the cell next to it is taken.

    Raises:
        BadInput: Boundary or source do not fit the grid.
    """

    grid: Box
    source: Float[Array, "..."] | Callable | None
    sides: Sides

    def __init__(self, grid: Box, source=None, boundary=None):
        self.grid = _checked(grid, "Diffusion")
        self.source = check_source(grid, source, "Diffusion")
        self.sides = parse_boundary(grid, boundary, "Diffusion")

    def conditions(self, macro):
        """U of each cell, (sites,)."""
        return macro.reshape(-1)

    def rate(self, t, macro, response):
        """∇·(A∇U) + source, (*cells)."""
        grid, sides = self.grid, self.sides
        a = self._tensor(response)
        values = side_values(grid, sides, t)
        total = evaluate_source(self.source, t, macro, grid)
        isotropic = a.ndim == grid.dim
        slopes = [] if isotropic else [cell_derivative(macro, k, grid, sides, values) for k in range(grid.dim)]
        for k in range(grid.dim):
            periodic = sides[k] is None
            conductivity = face_average(a if isotropic else a[..., k, k], k, periodic)
            flux = conductivity * normal_derivative(macro, k, grid, sides, values)
            if not isotropic and grid.dim > 1:
                across = sum(a[..., k, l] * slopes[l] for l in range(grid.dim) if l != k)
                flux = flux + face_average(across, k, periodic)
            total = total + flux_divergence(flux, k, grid, sides, values)
        return total

    def precondition(self, residual, macro, response, shift):
        """(∇·D∇ − shift)⁻¹ residual with D the mean of the diagonal of A; exact where A is constant and diagonal."""
        a = self._tensor(response)
        d = self.grid.dim
        mean = [jnp.mean(a if a.ndim == d else a[..., k, k]) for k in range(d)]
        return invert_laplacian(residual, self.grid, self.sides, mean, shift)

    def no_steady_state(self, t, macro):
        """By how much fluxes and source do not balance where nothing holds U."""
        return box_imbalance(self.grid, self.source, self.sides, t, macro)

    def positions(self):
        """Cell centres, (sites, dim)."""
        return self.grid.centres.reshape(-1, self.grid.dim)

    def layout(self):
        """x, y, z at the cell centres."""
        return _layout(self.grid)

    def example(self):
        """One number for each cell."""
        return jax.ShapeDtypeStruct(self.grid.cells, jnp.result_type(float))

    def _tensor(self, response):
        d = self.grid.dim
        shape = jnp.shape(response)
        if shape[1:] not in ((), (d, d)):
            raise Mismatch(
                f"Diffusion on a grid of dimension {d} needs a response ({d}, {d}) or a number at each site; "
                f"the fibers give {shape[1:]}. Give grid and cell the same dimension."
            )
        return jnp.reshape(response, (*self.grid.cells, *shape[1:]))


class FluxDiffusion(AbstractMacro):
    """∂_t U = ∇·Q(U, ∇U) + source on a box; the fibers sit at the faces and give the flux Q, as `FluxCell` does.

    Args:
        grid: The box.
        source: As for `Diffusion`.
        boundary: As for `Diffusion`, but given values are numbers or arrays: conditions are formed without the time.

    The macrostate is U (*cells). A condition is (U, G): the value on a face, and the gradient (dim,) there. Sites are the
    faces across the first axis, then those across the second and the third, each in the order of the cells above them; axes
    with sides have one more layer of faces than cells. Of the response (dim,) the component across the face is used, and on
    sides with a given flux none.

    Raises:
        BadInput: Boundary or source do not fit the grid.
    """

    grid: Box
    source: Float[Array, "..."] | Callable | None
    sides: Sides

    def __init__(self, grid: Box, source=None, boundary=None):
        self.grid = _checked(grid, "FluxDiffusion")
        self.source = check_source(grid, source, "FluxDiffusion")
        self.sides = parse_boundary(grid, boundary, "FluxDiffusion")
        for pair in self.sides:
            if pair is not None and any(isinstance(c, Dirichlet) and callable(c.value) for c in pair):
                raise BadInput(
                    "FluxDiffusion: a given value may not be a function, because conditions are formed without the time. "
                    "Give a number or an array over the cells of the side."
                )

    def conditions(self, macro):
        """(U, G) on each face: (sites,) and (sites, dim)."""
        grid, sides = self.grid, self.sides
        values = side_values(grid, sides, 0.0)  # given fluxes may depend on t, but are not read here
        slopes = [cell_derivative(macro, k, grid, sides, values) for k in range(grid.dim)]
        us, gs = [], []
        for k in range(grid.dim):
            periodic = sides[k] is None
            us.append(self._on_faces(macro, k, values).reshape(-1))
            g = [face_average(slopes[l], k, periodic) for l in range(grid.dim)]
            g[k] = normal_derivative(macro, k, grid, sides, values)
            gs.append(jnp.stack(g, axis=-1).reshape(-1, grid.dim))
        return jnp.concatenate(us), jnp.concatenate(gs)

    def rate(self, t, macro, response):
        """∇·Q + source, (*cells)."""
        grid, sides = self.grid, self.sides
        if jnp.shape(response)[1:] != (grid.dim,):
            raise Mismatch(
                f"FluxDiffusion on a grid of dimension {grid.dim} needs a flux ({grid.dim},) at each site; the fibers give "
                f"{jnp.shape(response)[1:]}. `Diffusion` takes tensors."
            )
        values = side_values(grid, sides, t)
        total = evaluate_source(self.source, t, macro, grid)
        for k, (first, shape) in enumerate(self._blocks()):
            flux = response[first : first + int(np.prod(shape)), k].reshape(shape)
            total = total + flux_divergence(flux, k, grid, sides, values)
        return total

    def precondition(self, residual, macro, response, shift):
        """(D∇² − shift)⁻¹ residual with the secant D = Σ Q·G / Σ G·G over all faces (1 where G = 0)."""
        gradient = self.conditions(macro)[1]
        square = jnp.sum(gradient**2)
        secant = jnp.sum(response * gradient) / jnp.where(square > 0, square, 1.0)
        secant = jnp.where((square > 0) & (secant > _POSITIVE), secant, 1.0)
        return invert_laplacian(residual, self.grid, self.sides, [secant] * self.grid.dim, shift)

    def no_steady_state(self, t, macro):
        """By how much fluxes and source do not balance where nothing holds U."""
        return box_imbalance(self.grid, self.source, self.sides, t, macro)

    def positions(self):
        """Face centres, (sites, dim)."""
        points = []
        for k, (_, shape) in enumerate(self._blocks()):
            line = self.grid.lower[k] + self.grid.spacing[k] * np.arange(shape[k])
            points.append(face_points(self.grid, k, line).reshape(-1, self.grid.dim))
        return np.concatenate(points)

    def layout(self):
        """x, y, z at the cell centres."""
        return _layout(self.grid)

    def example(self):
        """One number for each cell."""
        return jax.ShapeDtypeStruct(self.grid.cells, jnp.result_type(float))

    def _blocks(self) -> list[tuple[int, tuple[int, ...]]]:
        """For each axis the number of its first site and the shape of its faces."""
        blocks, first = [], 0
        for k in range(self.grid.dim):
            extra = 0 if self.sides[k] is None else 1
            shape = tuple(n + extra if l == k else n for l, n in enumerate(self.grid.cells))
            blocks.append((first, shape))
            first += int(np.prod(shape))
        return blocks

    def _on_faces(self, macro, k, values):
        pair = self.sides[k]
        faces = face_average(macro, k, pair is None)
        if pair is None:
            return faces
        for condition, value, end in zip(pair, values[k], (0, -1)):
            if isinstance(condition, Dirichlet):
                index = tuple(end if l == k else slice(None) for l in range(self.grid.dim))
                faces = faces.at[index].set(jnp.squeeze(value, axis=k))
        return faces


def _checked(grid, owner: str) -> Box:
    if isinstance(grid, Mesh):
        raise BadInput(f"{owner}: the grid is a mesh. Use fx.homogenization.Mesh{owner}(mesh, boundary={{name: condition}}).")
    if not isinstance(grid, Box):
        raise BadInput(f"{owner}: grid={grid!r}. Give fx.grids.Box(lower, upper, cells=, periodic=).")
    return grid


def _layout(grid: Box) -> Layout:
    names = axis_names(grid.dim)
    return Layout(names, {name: grid.axis(k) for k, name in enumerate(names)})

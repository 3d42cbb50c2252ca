"""The density of a conserved quantity that diffuses by its own interaction (5.3)."""

import jax
import jax.numpy as jnp

from fiberax.core.errors import BadInput, Mismatch
from fiberax.core.macro import AbstractMacro, Layout
from fiberax.grids.box import Box


class Density(AbstractMacro):
    """∂_t U = Δ A(U) on a box by finite volumes; nothing passes through sides that are not periodic.

    Args:
        grid: The box.

    The macrostate is U (*cells), the condition the U of a cell, the response A (), with A' = D(U) the diffusion coefficient.
    Second order in the spacing; the sum over cells is kept to round-off.

    Raises:
        BadInput: The grid is no box.
    """

    grid: Box

    def __init__(self, grid: Box):
        if not isinstance(grid, Box):
            raise BadInput(f"Density: grid must be a fx.grids.Box; it is {grid!r}.")
        self.grid = grid

    def conditions(self, macro):
        """U of each cell, (sites,)."""
        return macro.reshape(-1)

    def rate(self, t, macro, response):
        """ΔA, (*cells)."""
        if jnp.shape(response) != (macro.size,):
            raise Mismatch(f"Density needs one number A(U) at each site; the fibers give {jnp.shape(response)[1:]}.")
        A, total = response.reshape(self.grid.cells), jnp.zeros(self.grid.cells, response.dtype)
        for k, (h, periodic) in enumerate(zip(self.grid.spacing, self.grid.periodic, strict=True)):
            flux = jnp.roll(A, -1, axis=k) - A  # through the upper face of each cell
            if not periodic:
                last = jnp.arange(self.grid.cells[k]) == self.grid.cells[k] - 1
                flux = jnp.where(jnp.expand_dims(last, [a for a in range(self.grid.dim) if a != k]), 0.0, flux)
            total = total + (flux - jnp.roll(flux, 1, axis=k)) / h**2
        return total

    def positions(self):
        """Cell centres, (sites, dim)."""
        return self.grid.centres.reshape(-1, self.grid.dim)

    def layout(self):
        """x, y, z at the cell centres."""
        names = tuple("xyz"[: self.grid.dim])
        return Layout(names, {name: self.grid.axis(k) for k, name in enumerate(names)})

    def example(self):
        """One number for each cell."""
        return jax.ShapeDtypeStruct(self.grid.cells, jnp.result_type(float))

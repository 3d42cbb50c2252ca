"""Flow along a channel: the profile U(y) of the velocity along x; nothing depends on x.

Velocities are on nodes, including the walls, and fibers in the cells between: κ_xy is a difference over a cell, and the
divergence of the stress is minus its adjoint, so that power is exchanged exactly. Of second order in the spacing.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fiberax.core.errors import BadInput
from fiberax.grids.box import Box
from fiberax.physics.fluids.fluid import AbstractFluid, Parameters, evaluate
from fiberax.transport.fixed import Fixed

_LEAST = 3  # cells


class ChannelFlow(AbstractFluid):
    """U(y) on the nodes, (cells + 1,) from wall to wall, or (cells,), the lower ends of the cells, where y is periodic.

    Made by `fx.fluids.Flow` for a box of one axis. Fibers stay in their cells: every flow is along x.

    Args:
        grid: A box of one axis, y.
        parameters: The numbers of the equation.
        boundary: As for `fx.fluids.Flow`; None for resting walls.

    Raises:
        BadInput: Too few cells, or a boundary that does not fit.
    """

    def __init__(self, grid: Box, parameters: Parameters, boundary: Any = None):
        super().__init__(grid, parameters, boundary)
        if grid.cells[0] < _LEAST:
            raise BadInput(f"Flow: a channel needs at least {_LEAST} cells; the grid has {grid.cells[0]}.")

    @property
    def _periodic(self) -> bool:
        return self.box.periodic[0]

    @property
    def _h(self) -> float:
        return self.box.spacing[0]

    @property
    def nodes(self) -> np.ndarray:
        """Coordinates y of the velocities."""
        count = self.box.cells[0] + (0 if self._periodic else 1)
        return self.box.lower[0] + self._h * np.arange(count)

    def sample(self, function):
        return evaluate(function, self.nodes)

    def within(self, t, velocity):
        if self._periodic:
            return velocity
        point = jnp.zeros(1, velocity.dtype)
        ends = [self.sides[name].along(point, t) for name in ("bottom", "top")]
        return jnp.concatenate([ends[0], velocity[1:-1], ends[1]])

    def gradient(self, velocity):
        beyond = jnp.roll(velocity, -1) if self._periodic else velocity[1:]
        shear = (beyond - velocity[: beyond.size]) / self._h
        return jnp.zeros((shear.size, 2, 2), shear.dtype).at[:, 0, 1].set(shear)

    def divergence(self, stress):
        xy = stress[:, 0, 1]
        if self._periodic:
            return (xy - jnp.roll(xy, 1)) / self._h
        return jnp.pad(jnp.diff(xy) / self._h, 1)

    def convection(self, t, velocity):
        return jnp.zeros_like(velocity)

    def laplacian(self, t, velocity):
        return self.divergence(self.gradient(velocity))

    def stokes(self, t, known, shift, viscosity):
        weight = viscosity / self._h**2
        if self._periodic:
            waves = 2.0 - 2.0 * np.cos(2.0 * np.pi * np.arange(known.size // 2 + 1) / known.size)
            return jnp.fft.irfft(_over(jnp.fft.rfft(known), shift + weight * waves), known.size)
        velocity = self.within(t, known)
        right = velocity[1:-1].at[0].add(weight * velocity[0]).at[-1].add(weight * velocity[-1])
        inside = jnp.arange(right.size)
        below = jnp.where(inside > 0, -weight, 0.0)
        above = jnp.where(inside < right.size - 1, -weight, 0.0)
        main = jnp.full_like(right, 1.0) * (shift + 2.0 * weight)
        return velocity.at[1:-1].set(jax.lax.linalg.tridiagonal_solve(below, main, above, right[:, None])[:, 0])

    def face_velocity(self, t, macro):
        return (jnp.zeros(self.box.cells[0] + 1, macro.dtype),)

    def centred(self, velocity):
        beyond = jnp.roll(velocity, -1) if self._periodic else velocity[1:]
        along = 0.5 * (beyond + velocity[: beyond.size])
        return jnp.stack([along, jnp.zeros_like(along)], axis=-1)

    def kinetic_energy(self, velocity):
        """From the nodes, by the trapezoidal rule; a channel has one unit of width."""
        square = jnp.sum(velocity**2)
        return 0.5 * self._h * (square if self._periodic else square - 0.5 * (velocity[0] ** 2 + velocity[-1] ** 2))

    def transport(self):
        return Fixed()


def _over(modes, factor):
    """modes/factor, zero where the factor is."""
    return jnp.where(factor > 0.0, modes / jnp.where(factor > 0.0, factor, 1.0), 0.0)

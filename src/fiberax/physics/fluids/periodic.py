"""Flow in a periodic box, two- or three-dimensional, by Fourier series.

Velocities hold the wave numbers below a third of the cells: products of two are then free of aliasing in them (Orszag,
J. Atmos. Sci. 28, 1971). Convection is taken as (∇×U)×U, which keeps the kinetic energy. Projection, viscosity and velocity
gradients are exact, face velocities are exact means over the faces.
"""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np

from fiberax.core.errors import BadInput
from fiberax.grids.box import Box
from fiberax.physics.fluids.fluid import AbstractFluid, Parameters, evaluate


class PeriodicFlow(AbstractFluid):
    """U (dim, *cells) at the cell centres of a box with every axis periodic. Made by `fx.fluids.Flow`.

    The mean velocity moves with the mean force; with Re = 0 it is zero.

    Args:
        grid: A box of two or three axes, all periodic.
        parameters: The numbers of the equation.
        boundary: Nothing; there are no walls.

    Raises:
        BadInput: Too few cells.
    """

    def __init__(self, grid: Box, parameters: Parameters, boundary: Any = None):
        super().__init__(grid, parameters, boundary)
        if min(grid.cells) < 4:
            raise BadInput(f"Flow: a periodic box needs at least 4 cells along each axis; the grid has {grid.cells}.")

    def _open(self, values: list[np.ndarray]) -> list[np.ndarray]:
        """One array per axis, shaped for broadcasting over the modes."""
        dim = self.box.dim
        return [v.reshape([-1 if a == k else 1 for a in range(dim)]) for k, v in enumerate(values)]

    def _numbers(self) -> list[np.ndarray]:
        """Whole wave numbers along each axis, those of the real transform along the last."""
        cells = self.box.cells
        whole = [np.fft.fftfreq(n, 1.0 / n) for n in cells[:-1]] + [np.arange(cells[-1] // 2 + 1.0)]
        return self._open(whole)

    def _waves(self) -> list[np.ndarray]:
        """Wave numbers k along each axis, zero for those that velocities do not hold."""
        lengths = (up - low for low, up in zip(self.box.lower, self.box.upper, strict=True))
        rows = zip(self._numbers(), self.box.cells, lengths, strict=True)
        return [np.where(3.0 * abs(m) < n, 2.0 * np.pi / length * m, 0.0) for m, n, length in rows]

    def _held(self) -> np.ndarray:
        """Whether velocities hold a mode, over the modes."""
        return np.asarray(math.prod(3.0 * abs(m) < n for m, n in zip(self._numbers(), self.box.cells, strict=True)))

    def _modes(self, fields):
        """Fourier modes (..., *modes) of fields (..., *cells)."""
        return jnp.fft.rfftn(fields, axes=self._axes)

    def _fields(self, modes):
        return jnp.fft.irfftn(modes, s=self.box.cells, axes=self._axes)

    @property
    def _axes(self) -> tuple[int, ...]:
        return tuple(range(-self.box.dim, 0))

    def _projected(self, modes):
        """The divergence-free part of modes (dim, *modes), within what velocities hold."""
        k = self._waves()
        square = sum(x**2 for x in k)
        along = sum(x * modes[j] for j, x in enumerate(k)) / np.where(square > 0.0, square, 1.0)
        return self._held() * jnp.stack([modes[i] - x * along for i, x in enumerate(k)])

    def sample(self, function):
        return jnp.moveaxis(evaluate(function, self.box.centres), -1, 0)

    def within(self, t, velocity):
        return self._fields(self._projected(self._modes(velocity)))

    def gradient(self, velocity):
        modes, k = self._modes(velocity), self._waves()
        kappa = self._fields(jnp.stack([1j * x * modes for x in k], axis=1))
        return jnp.moveaxis(kappa, (0, 1), (-2, -1))

    def divergence(self, stress):
        modes, k = self._modes(jnp.moveaxis(stress, (-2, -1), (0, 1))), self._waves()
        return self._fields(self._held() * sum(1j * x * modes[:, j] for j, x in enumerate(k)))

    def convection(self, t, velocity):
        modes, k, dim = self._modes(velocity), self._waves(), self.box.dim
        pairs = [(i, j) for i in range(dim) for j in range(i)]
        spin = self._fields(jnp.stack([1j * (k[j] * modes[i] - k[i] * modes[j]) for i, j in pairs]))
        total = [jnp.zeros_like(velocity[0])] * dim
        for (i, j), turning in zip(pairs, spin, strict=True):  # U_j (∂_j U_i − ∂_i U_j) = U·∇U_i − ∂_i |U|²/2
            total[i] = total[i] + velocity[j] * turning
            total[j] = total[j] - velocity[i] * turning
        return jnp.stack(total)

    def laplacian(self, t, velocity):
        return self._fields(-sum(x**2 for x in self._waves()) * self._modes(velocity))

    def stokes(self, t, known, shift, viscosity):
        factor = shift + viscosity * sum(x**2 for x in self._waves())
        modes = self._projected(self._modes(known)) / jnp.where(factor > 0.0, factor, jnp.inf)
        return self._fields(modes)

    def face_velocity(self, t, macro):
        modes, k, dim = self._modes(macro), self._waves(), self.box.dim
        half = [0.5 * h * x for h, x in zip(self.box.spacing, k, strict=True)]
        faces = []
        for axis in range(dim):
            mean = math.prod(np.sinc(half[j] / np.pi) for j in range(dim) if j != axis)
            lower = self._fields(modes[axis] * mean * np.exp(-1j * half[axis]))
            first = jnp.take(lower, jnp.asarray([0]), axis=axis)
            faces.append(jnp.concatenate([lower, first], axis=axis))
        return tuple(faces)

    def centred(self, velocity):
        return jnp.moveaxis(velocity, 0, -1)

"""Waves in a chain, the macro model of (4.12) and (4.20): ϱ ∂_tt A = ∂_xx F(A), periodic.

In terms of the displacement u, A = A₀ + ∂_x u, it is ϱ ∂_tt u = ∂_x F(A₀ + ∂_x u). On a staggered grid (A, F at the cell
centres, u and the velocity ∂_t u at the nodes x_j = lower + j h, left of cell j) both forms are the same scheme,

    (Df)_j = Σ_k a_k (f_{j+1+k} − f_{j−k})/h     nodes -> centres,        −Dᵀ     centres -> nodes,

with a = (1) for order 2 and (27, −1)/24 for order 4. The total energy h Σ (½ϱ|∂_t u|² + W(A, u)) is constant along exact
solutions of the semi-discrete equations with fibers in equilibrium, or with fibers that relax without friction.

`Wave` has more than five public methods: those of the contract of macro models.
"""

from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from fiberax.core.errors import BadInput
from fiberax.core.macro import AbstractInertial, Layout, Moving
from fiberax.grids.box import Box
from fiberax.physics.solids.chains.diatomic import check_positive

_STENCILS = {2: (1.0,), 4: (27.0 / 24.0, -1.0 / 24.0)}
_FORMS = ("strain", "displacement")
_DENSE = 1024


class Wave(AbstractInertial):
    """ϱ ∂_tt A = ∂_xx F(A) on a periodic interval; the fibers sit at the cell centres, condition A, response F, both numbers.

    Args:
        grid: A periodic `fx.grids.Box` of dimension one.
        form: "strain": the macrostate is `Moving(A, ∂_t A)`, both (n,) at the centres. "displacement": `Moving(u, ∂_t u)`,
            both (n,) at the nodes.
        density: ϱ, mass per unit reference length.
        order: Of the differences in space, 2 or 4.
        strain: The mean strain A₀ of the displacement form; in the strain form the mean belongs to the macrostate.

    Use `fx.Verlet()` or `fx.Newmark()`; `start` makes a macrostate from strains and velocities, `energy` sums the energy.

    Raises:
        BadInput: The grid is not a periodic interval with enough cells, or an option is not one of its choices.
    """

    grid: Box
    form: Literal["strain", "displacement"] = eqx.field(static=True)
    density: Float[Array, ""]
    order: Literal[2, 4] = eqx.field(static=True)
    strain: Float[Array, ""]

    def __init__(
        self,
        grid: Box,
        form: Literal["strain", "displacement"] = "strain",
        density: float = 1.0,
        order: Literal[2, 4] = 2,
        strain: float = 0.0,
    ):
        if not isinstance(grid, Box) or grid.dim != 1 or grid.periodic != (True,) or grid.cells[0] < 2 * order:
            raise BadInput(f"Wave: grid={grid!r}. Give a periodic interval, fx.grids.Box(0.0, 1.0, cells=64).")
        if form not in _FORMS:
            raise BadInput(f"Wave: form={form!r}; the choices are {' and '.join(map(repr, _FORMS))}.")
        if order not in _STENCILS:
            raise BadInput(f"Wave: order={order!r}; the choices are 2 and 4.")
        self.grid, self.form, self.order = grid, form, order
        self.density = check_positive("Wave: density", density)
        self.strain = jnp.asarray(strain, jnp.result_type(float, strain))

    def start(self, strain, velocity=0.0) -> Moving:
        """An initial macrostate.

        Args:
            strain: A at the centres, (n,) or a number.
            velocity: ∂_t u at the nodes, (n,) or a number.

        Returns:
            `Moving`, in the form of the model.

        Raises:
            BadInput: In the displacement form, a mean of A that is not the model's A₀.
        """
        n = self.grid.cells
        strain = jnp.broadcast_to(jnp.asarray(strain, float), n)
        velocity = jnp.broadcast_to(jnp.asarray(velocity, float), n)
        if self.form == "strain":
            return Moving(strain, self._to_centres(velocity))
        mean = float(jnp.mean(strain))
        if abs(mean - float(self.strain)) > 1e-12 * (1.0 + abs(mean)):
            raise BadInput(
                f"Wave: the mean of the strain is {mean:g}. Give it when the model is made: Wave(..., strain={mean!r})."
            )
        return Moving(self._integrate(strain), velocity)

    def conditions(self, macro):
        """A at the centres, (n,)."""
        return macro.position if self.form == "strain" else self.strain + self._to_centres(macro.position)

    def acceleration(self, t, macro, response):
        """∂_xx F/ϱ or ∂_x F/ϱ, (n,)."""
        return self._force(response) / self.density

    def solve_linearised(self, t, residual, macro, response, tangents, shift):
        """Densely up to 1024 cells. For shift = 0 the mean, which the equation leaves open, stays as it is."""
        n = self.grid.cells[0]
        if n > _DENSE:
            return None
        scale = jnp.max(jnp.abs(tangents)) / self.density / self.grid.volume**2

        def apply(w):
            moved = w if self.form == "strain" else self._to_centres(w)
            return self._force(tangents * moved) / self.density - shift * w - jnp.where(shift == 0, scale, 0.0) * jnp.mean(w)

        return jnp.linalg.solve(jax.vmap(apply, out_axes=1)(jnp.eye(n, dtype=residual.dtype)), residual)

    def energy(self, macro: Moving, fiber_energies: Float[ArrayLike, " n"]) -> Float[Array, ""]:
        """Total energy ∫ (½ϱ|∂_t u|² + W) dx.

        Args:
            macro: The macrostate.
            fiber_energies: W of the fibers, (n,), such as `solution.energy[k]`.

        Returns:
            The energy. In the strain form ∂_t u is the velocity of mean zero with ∂_x ∂_t u = ∂_t A.
        """
        velocity = self._integrate(macro.velocity) if self.form == "strain" else macro.velocity
        return self.grid.volume * jnp.sum(0.5 * self.density * velocity**2 + fiber_energies)

    def positions(self):
        """Cell centres, (n, 1)."""
        return self.grid.axis(0)[:, None]

    def layout(self):
        """Axis x: the centres (strain) or the nodes (displacement)."""
        shift = 0.0 if self.form == "strain" else 0.5 * self.grid.spacing[0]
        return Layout(("x",), {"x": self.grid.axis(0) - shift})

    def example(self) -> Any:
        """Position and velocity, (n,) each."""
        one = jax.ShapeDtypeStruct(self.grid.cells, jnp.result_type(float))
        return Moving(one, one)

    def _to_centres(self, f):
        """D."""
        terms = [a * (jnp.roll(f, -1 - k) - jnp.roll(f, k)) for k, a in enumerate(_STENCILS[self.order])]
        return sum(terms) / self.grid.spacing[0]

    def _to_nodes(self, f):
        """−Dᵀ."""
        terms = [a * (jnp.roll(f, -k) - jnp.roll(f, 1 + k)) for k, a in enumerate(_STENCILS[self.order])]
        return sum(terms) / self.grid.spacing[0]

    def _force(self, stress):
        force = self._to_nodes(stress)
        return self._to_centres(force) if self.form == "strain" else force

    def _integrate(self, f):
        """The values at the nodes, mean zero, whose D is f without its mean."""
        n, h = self.grid.cells[0], self.grid.spacing[0]
        half = np.pi * np.arange(n // 2 + 1) / n
        symbol = sum(a * 2.0 * np.sin((2 * k + 1) * half) for k, a in enumerate(_STENCILS[self.order])) / h
        inverse = np.divide(np.exp(-1j * half), 1j * symbol, where=half > 0, out=np.zeros(half.shape, complex))
        return jnp.fft.irfft(inverse * jnp.fft.rfft(f), n)

"""`Flow`, which chooses the discretisation of a flow."""

from typing import Any

from fiberax.core.errors import BadInput
from fiberax.grids.box import Box
from fiberax.physics.fluids.channel import ChannelFlow
from fiberax.physics.fluids.fluid import AbstractFluid, Creeping, Parameters
from fiberax.physics.fluids.periodic import PeriodicFlow
from fiberax.physics.fluids.staggered import StaggeredFlow


def Flow(
    grid: Box,
    Re: Any = 1.0,
    viscosity_ratio: Any = 1.0,
    boundary: Any = None,
    force: Any = None,
    De: Any = None,
    dim: int | None = None,
) -> AbstractFluid | Creeping:
    """The incompressible flow on a box: a channel (1D), a periodic box (2D, 3D, spectral) or a rectangle (2D, staggered).

    Args:
        grid: A `fx.grids.Box`; in one dimension it is the y axis of a channel along x.
        Re: Reynolds number. With 0 the flow is creeping: its macrostate is `fx.Inertialess(velocity, before)`.
        viscosity_ratio: ν, the solvent's share of the viscosity, between 0 and 1 (no polymers).
        boundary: `Wall`, `Inflow` or `Outflow` for all sides, or a dict of them by "left", "right" (ends of x), "bottom", "top"
            (ends of y). Sides left out are resting walls.
        force: F per unit volume in the equation times Re, so that a channel of width 1 flows at F/8 at most: a number for
            each component, or a function (x (..., dim), t); in a channel one number, or a function (y, t).
        De: Relaxation time of the fibers in units of the flow's time; None takes it from the fiber.
        dim: Of the fibers' κ and τ, 2 or 3; None takes it from the fiber.

    Where Re = 0 on a periodic box, a mean force is balanced by the mean pressure gradient, and the mean velocity is zero.

    Returns:
        The macro model: conditions are velocity gradients κ (cells, dim, dim), responses polymer stresses τ of that shape.

    Raises:
        BadInput: Numbers out of range, a boundary or force that does not fit the grid.
    """
    if not isinstance(grid, Box):
        raise BadInput(f"Flow: grid must be a fx.grids.Box; it is {grid!r}.")
    parameters = Parameters(Re, viscosity_ratio, force, De, dim)
    flow = _kind(grid)(grid, parameters, boundary)
    return Creeping(flow) if parameters.creeping else flow


def _kind(grid: Box) -> type[AbstractFluid]:
    if grid.dim == 1:
        return ChannelFlow
    if all(grid.periodic):
        return PeriodicFlow
    if grid.dim == 2:
        return StaggeredFlow
    raise BadInput("Flow: in three dimensions every axis must be periodic. Use Box(..., periodic=True), or two dimensions.")

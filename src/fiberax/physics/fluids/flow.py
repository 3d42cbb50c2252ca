"""`Flow`, which chooses the discretisation of a flow."""

from typing import Any, Literal, get_args

from fiberax.core.errors import BadInput
from fiberax.grids.box import Box
from fiberax.physics.fluids.channel import ChannelFlow
from fiberax.physics.fluids.fluid import AbstractFluid, Creeping, Parameters
from fiberax.physics.fluids.periodic import PeriodicFlow
from fiberax.physics.fluids.staggered import StaggeredFlow

_Stress = Literal["extra", "total"]


def Flow(
    grid: Box,
    Re: Any = None,
    viscosity_ratio: Any = None,
    boundary: Any = None,
    force: Any = None,
    De: Any = None,
    dim: int | None = None,
    stress: _Stress = "extra",
    density: Any = None,
    viscosity: Any = None,
) -> AbstractFluid | Creeping:
    """The incompressible flow on a box: a channel (1D), a periodic box (2D, 3D, spectral) or a rectangle (2D, staggered).

    Args:
        grid: A `fx.grids.Box`; in one dimension it is the y axis of a channel along x.
        Re: Reynolds number, default 1. With 0 the flow is creeping: its macrostate is `fx.Inertialess(velocity, before)`.
        viscosity_ratio: ν, the solvent's share of the viscosity, between 0 and 1 (no polymers, the default).
        boundary: `Wall`, `Inflow` or `Outflow` for all sides, or a dict of them by "left", "right" (ends of x), "bottom", "top"
            (ends of y). Sides left out are resting walls.
        force: F per unit volume in the equation times Re, so that a channel of width 1 flows at F/8 at most: a number for
            each component, or a function (x (..., dim), t); in a channel one number, or a function (y, t).
        De: Relaxation time of the fibers in units of the flow's time; None takes it from the fiber.
        dim: Of the fibers' κ and τ, 2 or 3; None takes it from the fiber, or from the grid.
        stress: "extra" where fibers answer with the stress τ of polymers in a solvent; "total" where they answer with the whole
            stress σ, tension positive, as `fx.molecules.Box` does. Then neither Re, ν nor De appear.
        density: ϱ of a total stress, default 1. With 0 the flow is creeping.
        viscosity: η of a total stress, default 0: η ΔU is added, which is taken implicitly, and subtracted. A value near the
            viscosity of the fibers allows longer steps; the rest state does not depend on it.

    Where Re = 0 on a periodic box, a mean force is balanced by the mean pressure gradient, and the mean velocity is zero.

    Returns:
        The macro model: conditions are velocity gradients κ (cells, dim, dim), responses polymer stresses τ of that shape.

    Raises:
        BadInput: Numbers out of range, a boundary or force that does not fit the grid.
    """
    if not isinstance(grid, Box):
        raise BadInput(f"Flow: grid must be a fx.grids.Box; it is {grid!r}.")
    if stress not in get_args(_Stress):
        raise BadInput(f'Flow: stress is "extra" or "total"; it is {stress!r}.')
    total = stress == "total"
    idle = {"Re": Re, "viscosity_ratio": viscosity_ratio, "De": De} if total else {"density": density, "viscosity": viscosity}
    for name, value in idle.items():
        if value is not None:
            raise BadInput(f"Flow: {name} = {value!r} without effect with stress={stress!r}. Leave it out.")
    given = ((density, 1.0), (viscosity, 0.0)) if total else ((Re, 1.0), (viscosity_ratio, 1.0))
    inertia, split = (default if value is None else value for value, default in given)
    parameters = Parameters(inertia, split, force, De, dim, total)
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

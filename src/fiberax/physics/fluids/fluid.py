"""Incompressible flow under the stress of its fibers (6.1): what all discretisations share.

    Re (∂_t U + U·∇U) = −∇P + ν ΔU + ((1 − ν)/De) ∇·τ + F,    ∇·U = 0,    κ_ij = ∂U_i/∂x_j,    (∇·τ)_i = Σ_j ∂τ_ij/∂x_j

Where the fibers answer with the whole stress σ, as boxes of molecules do (section 7 of the paper),

    ϱ (∂_t U + U·∇U) = −∇P + ∇·σ + F

with η ΔU added, which is taken implicitly, and subtracted, in the same discretisation: a rest state does not depend on η.

A macro model is asked for more than five things, and a discretisation for those of `AbstractFluid` besides.
"""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fiberax.core.errors import BadInput, Mismatch
from fiberax.core.fiber import AbstractFiber
from fiberax.core.link import AbstractWrapper
from fiberax.core.macro import AbstractInertialess, AbstractSemiImplicit, Inertialess, Layout
from fiberax.core.transport import AbstractCarrier, AbstractTransport
from fiberax.grids.box import Box
from fiberax.numerics import trees
from fiberax.physics.fluids.boundary import Sides, Wall, parse_sides
from fiberax.physics.fluids.suspended import AbstractSuspended
from fiberax.transport.convected import Convected

Velocity = Any


class Parameters(eqx.Module):
    """The numbers of a flow and its force, checked; `De` and `dim` may be None until a fiber is known.

    `total`: the fibers' stress is the whole one. Then `Re` is the density ϱ, and `viscosity_ratio` the split viscosity η.
    """

    Re: Float[Array, ""]
    viscosity_ratio: Float[Array, ""]
    force: Float[Array, " dim"] | Callable | None = None
    De: Float[Array, ""] | None = None
    dim: int | None = eqx.field(static=True, default=None)
    newtonian: bool = eqx.field(static=True, default=False)  # viscosity_ratio = 1: the fibers' stress has no weight
    total: bool = eqx.field(static=True, default=False)

    def __init__(
        self,
        Re: Any = 1.0,
        viscosity_ratio: Any = 1.0,
        force: Any = None,
        De: Any = None,
        dim: int | None = None,
        total: bool = False,
    ):
        inertia, viscosity = ("density", "viscosity") if total else ("Re", "viscosity_ratio")
        self.Re = _number(inertia, Re, 0.0, np.inf)
        self.viscosity_ratio = _number(viscosity, viscosity_ratio, 0.0, np.inf if total else 1.0)
        if self.creeping and not trees.is_tracer(viscosity_ratio) and float(viscosity_ratio) == 0.0:
            raise BadInput(
                f"Flow: {inertia} = 0 with {viscosity} = 0 leaves nothing to solve for. Give one of them a value > 0."
            )
        self.De = None if De is None else _number("De", De, 0.0, np.inf)
        if De is not None and not trees.is_tracer(De) and float(De) == 0.0:
            raise BadInput("Flow: De = 0; it must be positive. Without it, that of the fiber is taken.")
        if dim not in (None, 2, 3):
            raise BadInput(f"Flow: dim is the number of rows of the fibers' velocity gradient, 2 or 3; it is {dim!r}.")
        self.force = force if force is None or callable(force) else jnp.asarray(force, jnp.result_type(float))
        self.dim, self.total = dim, total
        self.newtonian = not total and not trees.is_tracer(viscosity_ratio) and float(viscosity_ratio) == 1.0

    @property
    def creeping(self) -> bool:
        """Whether Re = 0."""
        return not trees.is_tracer(self.Re) and float(self.Re) == 0.0

    def beside(self, fiber: AbstractFiber) -> "Parameters":
        """These with De and dim from the fiber where they are None. Raises `BadInput` where it has none."""
        while isinstance(fiber, AbstractWrapper):
            fiber = fiber.inner
        De, dim = self.De, self.dim
        if isinstance(fiber, AbstractSuspended):
            De, dim = fiber.De if De is None else De, fiber.dim if dim is None else dim
            if dim != fiber.dim:
                raise BadInput(f"Flow: dim = {dim}, but {type(fiber).__name__} has dim = {fiber.dim}. Leave dim out.")
        elif De is None and not self.newtonian and not self.total:
            raise BadInput(
                f"Flow: {type(fiber).__name__} has no De. Give De, the fiber's relaxation time, to Flow, or, where its "
                'response is the whole stress, stress="total".'
            )
        return Parameters(self.Re, self.viscosity_ratio, self.force, None if self.total else De, dim, self.total)


class AbstractFluid(AbstractSemiImplicit, AbstractCarrier):
    """A flow with inertia on the cells of a box, one fiber in each; conditions κ (dim, dim), responses τ (dim, dim).

    A concrete flow is made as `Class(grid, parameters, boundary)`, calling `super().__init__` first, and defines, for
    velocities V in its own discretisation (the macrostate: a tree of arrays, which may hold values on the boundary), with
    d = `self.planes` the number of its velocity components and of the axes of its gradient:

    - `sample(function)`: V of a function x (..., grid.dim) -> (..., d) (1D: y (n,) -> (n,), the component along x);
    - `within(t, V)`: the V nearest to V that is free of divergence and has the boundary values of time t, affine in V and
      differentiable in t: its derivative projects rates;
    - `gradient(V)`: (*cells, d, d), κ_ij = ∂V_i/∂x_j at the cell centres, of second order or better;
    - `divergence(stress)`: like V, Σ_j ∂σ_ij/∂x_j of σ (*cells, d, d) at cell centres, minus the adjoint of `gradient`;
    - `convection(t, V)`: like V, V·∇V; `laplacian(t, V)`: like V, ΔV with the boundary values of time t;
    - `stokes(t, known, shift, viscosity)`: V of shift V − viscosity ΔV + ∇P = known, ∇·V = 0, boundary values of t; shift
      and viscosity are arrays ≥ 0, not both zero;
    - `face_velocity(t, V)` as `AbstractCarrier` says; `centred(V)`: velocity at the cell centres, (*cells, d).

    Conditions, rate, the two parts for `fx.IMEX`, pairing with the fiber, shapes, names and the creeping form follow.
    What need not be in V on the boundary (rows of known, of rates) is ignored or set by `within` and `stokes`.
    """

    box: Box
    parameters: Parameters
    sides: Sides

    def __init__(self, grid: Box, parameters: Parameters, boundary: Any = None):
        self.box, self.parameters = grid, parameters
        self.sides = parse_sides(grid, boundary)
        if parameters.dim is not None and parameters.dim < grid.dim:
            raise BadInput(f"Flow: fibers of dim = {parameters.dim} in a flow of {grid.dim} dimensions. Use fibers of dim = 3.")
        _check_force(grid, parameters.force)

    @abc.abstractmethod
    def sample(self, function: Callable) -> Velocity:
        """V of a function of the position."""

    @abc.abstractmethod
    def within(self, t: Float[Array, ""], velocity: Velocity) -> Velocity:
        """The nearest V within the constraints of time `t`."""

    @abc.abstractmethod
    def gradient(self, velocity: Velocity) -> Float[Array, "*cells d d"]:
        """κ_ij = ∂V_i/∂x_j at the cell centres."""

    @abc.abstractmethod
    def divergence(self, stress: Float[Array, "*cells d d"]) -> Velocity:
        """Σ_j ∂σ_ij/∂x_j, like V."""

    @abc.abstractmethod
    def convection(self, t: Float[Array, ""], velocity: Velocity) -> Velocity:
        """V·∇V, like V."""

    @abc.abstractmethod
    def laplacian(self, t: Float[Array, ""], velocity: Velocity) -> Velocity:
        """ΔV, like V."""

    @abc.abstractmethod
    def stokes(self, t: Float[Array, ""], known: Velocity, shift, viscosity) -> Velocity:
        """V of shift V − viscosity ΔV + ∇P = known within the constraints of time `t`."""

    @abc.abstractmethod
    def centred(self, velocity: Velocity) -> Float[Array, "*cells d"]:
        """Velocity at the cell centres."""

    def kinetic_energy(self, velocity: Velocity) -> Float[Array, ""]:
        """½ ∫|V|² over the box; times Re it is the kinetic energy of the equation."""
        return 0.5 * np.prod(self.box.spacing) * jnp.sum(self.centred(velocity) ** 2)

    @property
    def grid(self) -> Box:
        return self.box

    @property
    def planes(self) -> int:
        """Number d of velocity components; a channel lies in the plane of x and y."""
        return max(2, self.box.dim)

    def start(self, t: Any = 0.0, velocity: Callable | None = None) -> Velocity:
        """A macrostate to begin with at `t`: at rest but for what the boundary moves, or `velocity`, made divergence-free.

        `velocity`: a function x (..., dim) -> (..., dim); in a channel y (n,) -> (n,).
        """
        time = jnp.asarray(t, jnp.result_type(float))
        return self.within(time, self.sample(jnp.zeros_like if velocity is None else velocity))

    def conditions(self, macro):
        """κ (sites, dim, dim), zero where the fibers' space has more dimensions than the flow."""
        kappa, more = self.gradient(macro), (self.parameters.dim or self.planes) - self.planes
        return jnp.pad(kappa.reshape(-1, self.planes, self.planes), ((0, 0), (0, more), (0, more)))

    def forcing(self, t: Float[Array, ""], velocity: Velocity, response: Any) -> Velocity:
        """((1 − ν)/De) ∇·τ + F, or ∇·σ + F − η ΔV of a whole stress, like V."""
        d, p = self.planes, self.parameters
        shape = jnp.shape(response)
        if len(shape) != 3 or shape[1] != shape[2] or shape[1] < d:
            raise Mismatch(f"A flow needs a stress of at least ({d}, {d}) at each site; the fibers give {shape[1:]}.")
        force = self.force(t)
        if p.newtonian:
            return force
        stress = response[:, :d, :d].reshape(*self.box.cells, d, d)
        if p.total:
            given = trees.axpy(1.0, self.divergence(stress), force)
            return trees.axpy(-p.viscosity_ratio, self.laplacian(jnp.asarray(t, jnp.result_type(float)), velocity), given)
        if p.De is None:
            raise BadInput("Flow: De is not known. Give it to Flow, or put the flow in a Bundle with fibers that have one.")
        return trees.axpy(1.0, self.divergence((1.0 - p.viscosity_ratio) / p.De * stress), force)

    def force(self, t: Float[Array, ""]) -> Velocity:
        """F at `t`, like V."""
        force = self.parameters.force
        if force is None:
            return self.sample(jnp.zeros_like)
        return self.sample((lambda x: force(x, t)) if callable(force) else (lambda x: jnp.broadcast_to(force, x.shape)))

    def explicit(self, t, macro, response):
        return jax.tree.map(
            lambda f, c: f / self.parameters.Re - c, self.forcing(t, macro, response), self.convection(t, macro)
        )

    def solve(self, t, known, shift, guess):
        return self.stokes(t, known, shift, self.parameters.viscosity_ratio / self.parameters.Re)

    def rate(self, t, macro, response):
        """The whole right-hand side, projected; boundary values move as prescribed."""
        time, p = jnp.asarray(t, jnp.result_type(float)), self.parameters
        free = trees.axpy(p.viscosity_ratio / p.Re, self.laplacian(time, macro), self.explicit(time, macro, response))
        near, moved = jax.jvp(self.within, (time, macro), (jnp.ones_like(time), free))
        return jax.tree.map(lambda r, v, u: r + (v - u), moved, near, macro)

    def with_fiber(self, fiber):
        return type(self)(self.box, self.parameters.beside(fiber), self.sides)

    @property
    def tight(self):
        return tuple(name for name, side in self.sides.items() if type(side) is Wall)

    def transport(self) -> AbstractTransport:
        """Convected with the flow."""
        return Convected()

    def positions(self):
        """Cell centres (sites, planes); a channel is at x = 0."""
        centres = self.box.centres.reshape(-1, self.box.dim)
        return np.pad(centres, ((0, 0), (self.planes - self.box.dim, 0)))

    def layout(self):
        """x, y, z at the cell centres; a channel's axis is y."""
        names = ("y",) if self.box.dim == 1 else tuple("xyz"[: self.box.dim])
        return Layout(names, {name: self.box.axis(k) for k, name in enumerate(names)})

    def example(self):
        return jax.eval_shape(lambda: self.sample(jnp.zeros_like))


class Creeping(AbstractInertialess, AbstractCarrier):
    """A flow without inertia, Re = 0, in the discretisation of `inner`: Stokes flow under the stress of the fibers.

    The macrostate is `Inertialess(velocity, before)`.
    """

    inner: AbstractFluid

    @property
    def grid(self):
        return self.inner.grid

    def start(self, t: Any = 0.0, velocity: Callable | None = None) -> Inertialess:
        """The Stokes flow under isotropic stress at `t`, or `velocity` as for a flow with inertia."""
        time = jnp.asarray(t, jnp.result_type(float))
        # isotropic stress has no effect
        value = self._stokes(time, self.inner.force(time)) if velocity is None else self.inner.start(time, velocity)
        return Inertialess(value, value)

    def _stokes(self, t, known: Velocity) -> Velocity:
        return self.inner.stokes(t, known, jnp.zeros_like(t), self.inner.parameters.viscosity_ratio)

    def balance(self, t, macro, response):
        time = jnp.asarray(t, jnp.result_type(float))
        return self._stokes(time, self.inner.forcing(time, macro.value, response))

    def conditions(self, macro):
        return self.inner.conditions(macro.value)

    def face_velocity(self, t, macro):
        return self.inner.face_velocity(t, macro.value)

    def centred(self, macro: Inertialess) -> Float[Array, "*cells d"]:
        """Velocity at the cell centres, (*cells, d)."""
        return self.inner.centred(macro.value)

    def kinetic_energy(self, macro: Inertialess) -> Float[Array, ""]:
        """½ ∫|V|² over the box."""
        return self.inner.kinetic_energy(macro.value)

    @property
    def tight(self):
        return self.inner.tight

    def with_fiber(self, fiber):
        return Creeping(self.inner.with_fiber(fiber))

    def transport(self):
        return self.inner.transport()

    def positions(self):
        return self.inner.positions()

    def layout(self):
        return self.inner.layout()

    def example(self):
        return Inertialess(self.inner.example(), self.inner.example())


def evaluate(function: Callable, points: np.ndarray) -> Array:
    """A function of the position at `points`, as for `AbstractFluid.sample`. Raises `BadInput` where shapes do not fit."""
    x = jnp.asarray(points, jnp.result_type(float))
    value = jnp.asarray(function(x), x.dtype)
    if value.shape != x.shape:
        raise BadInput(
            f"Flow: a function of the position gives {value.shape} for points {x.shape}. It must give as many numbers: a "
            "vector at each point x (..., dim), in a channel the component along x at each y (n,)."
        )
    return value


def _number(name: str, value: Any, low: float, high: float):
    if not trees.is_tracer(value):
        try:
            good = low <= float(value) <= high and float(value) < float("inf")
        except (TypeError, ValueError):
            good = False
        if not good:
            told = f"between {low:g} and {high:g}" if high < float("inf") else f"at least {low:g} and finite"
            raise BadInput(f"Flow: {name} must be a number {told}; it is {value!r}.")
    return jnp.asarray(value, jnp.result_type(float))


def _check_force(grid: Box, force: Any) -> None:
    """Raise `BadInput` for a force that does not fit the grid."""
    points = (3,) if grid.dim == 1 else (*(3,) * grid.dim, grid.dim)
    form = "y (n,) and t -> (n,)" if grid.dim == 1 else f"x (..., {grid.dim}) and t -> (..., {grid.dim})"
    if force is None:
        return
    if not callable(force):
        if jnp.shape(force) != (() if grid.dim == 1 else (grid.dim,)):
            want = "a number" if grid.dim == 1 else f"{grid.dim} numbers"
            raise BadInput(f"Flow: force must be {want} or a function {form}; its shape is {jnp.shape(force)}.")
        if not trees.is_tracer(force) and not np.all(np.isfinite(np.asarray(force))):
            raise BadInput(f"Flow: force has entries that are not finite: {force}.")
        return
    kind = jnp.result_type(float)
    try:
        shape = jax.eval_shape(force, jax.ShapeDtypeStruct(points, kind), jax.ShapeDtypeStruct((), kind)).shape
    except Exception as error:
        raise BadInput(
            f"Flow: force must be a function {form}; it cannot be computed: {type(error).__name__}: {error}"
        ) from error
    if shape != points:
        raise BadInput(f"Flow: force must be a function {form}; for points {points} it gives {shape}.")

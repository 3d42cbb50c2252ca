"""Macroscale models: L(U; A) = 0 with the missing input A (2.5).

`AbstractMacro` has more than five public methods because output, messages and Newton's method need more than the equation.
All but `conditions` and `rate` have a default.
"""

import abc
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from fiberax.core.fiber import AbstractFiber

Macro = Any


class Layout(NamedTuple):
    """Names and coordinates of the axes of a macrostate array, for output.

    Args:
        dims: Names of the axes of a macro field, e.g. ("x", "y").
        coords: Coordinate values (n,) by name.
        mesh: The `fx.grids.Mesh` whose nodes the field is given at; None on a box, or where there is none.
    """

    dims: tuple[str, ...]
    coords: dict[str, np.ndarray]
    mesh: Any = None


class Moving(NamedTuple):
    """A macrostate or microstate with inertia.

    Args:
        position: A tree of arrays.
        velocity: A tree like it, per unit of time.
    """

    position: Any
    velocity: Any


class AbstractMacro(eqx.Module):
    """A macroscale model. The macrostate is any pytree of arrays; sites are numbered along the leading axis of conditions."""

    @abc.abstractmethod
    def conditions(self, macro: Macro) -> Any:
        """What each fiber is held at.

        Args:
            macro: The macrostate.

        Returns:
            A tree whose leaves have a leading site axis.
        """

    @abc.abstractmethod
    def rate(self, t: Float[Array, ""], macro: Macro, response: Any) -> Macro:
        """The rate of change of the macrostate; zero in a steady state.

        Args:
            t: Macro time, or the load of `fx.continuation`.
            macro: The macrostate U.
            response: The responses A of all fibers; leaves have a leading site axis.

        Returns:
            dU/dt, a tree like `macro`, in its units per unit of macro time.
        """

    def prescribed(self, t: Float[Array, ""], macro: Macro) -> Macro:
        """The macrostate with what is prescribed at time `t` set, such as given values at nodes; by default itself.

        Their rate is zero. Runs set them at the start, in every stage and at the end of every step; `steady` at its `t`.
        """
        return macro

    def precondition(self, residual: Macro, macro: Macro, response: Any, shift: Float[Array, ""]) -> Macro:
        """Approximation of (J − shift)⁻¹ residual, J = d rate/dU with fibers in equilibrium, linear in `residual`.

        Implicit steps (shift = 1/step) and steady states (shift = 0) use it for large systems. Default: no preconditioner.
        """
        return residual

    def solve_linearised(self, t, residual: Macro, macro: Macro, response: Any, tangents: Any, shift) -> Macro | None:
        """Solution w of (J − shift) w = residual; J = d rate/dU, where fibers follow by their `tangents` dA/dU (sites first).

        For models that assemble and factorise J. None (the default): Krylov iterations with `precondition` are used.
        """
        return None

    def admissible(self, macro: Macro) -> Bool[Array, ""]:
        """False for macrostates that Newton's line search must refuse (det(I + ∇u) ≤ 0 in elasticity)."""
        return jnp.asarray(True)

    def magnitude(self) -> float:
        """Least norm of the macrostate in Newton's test of its updates, so that round-off of a zero state passes it."""
        return 0.0

    def no_steady_state(self, t: float, macro: Macro) -> str | None:
        """Why no macrostate has the rate zero at `t`, in words; None where nothing is known against one."""
        return None

    def positions(self) -> np.ndarray | None:
        """Positions of the sites (sites, dim), for messages and output; None where a site has none."""
        return None

    def layout(self) -> Layout | None:
        """Names of the axes of the macrostate, for output; None leaves them numbered."""
        return None

    def example(self) -> Any:
        """A tree of `jax.ShapeDtypeStruct` like a macrostate, so that a `Bundle` can be checked when it is made; or None."""
        return None

    def with_fiber(self, fiber: AbstractFiber) -> "AbstractMacro":
        """This model with numbers of `fiber` where none were given; by default itself."""
        return self


class AbstractSemiImplicit(AbstractMacro):
    """A model in two parts, dU/dt = N(t, U, A) + L U under constraints. L and the constraints are treated implicitly."""

    @abc.abstractmethod
    def explicit(self, t: Float[Array, ""], macro: Macro, response: Any) -> Macro:
        """N, the part that is treated explicitly; it need not respect the constraints.

        Args:
            t: Macro time.
            macro: The macrostate.
            response: Responses, sites first.

        Returns:
            A tree like `macro`, per unit of macro time.
        """

    @abc.abstractmethod
    def solve(self, t: Float[Array, ""], known: Macro, shift: Float[Array, ""], guess: Macro) -> Macro:
        """U with shift U − L U = known, up to the forces of the constraints, on them and with the boundary values of time `t`.

        Args:
            t: Macro time.
            known: A tree like the macrostate, per unit of macro time.
            shift: Inverse length of the stage.
            guess: A macrostate near U.

        Returns:
            U.
        """


class Inertialess(NamedTuple):
    """The macrostate of a model without inertia.

    Args:
        value: Its value now, a tree of arrays.
        before: The value that balanced the last responses, half a step before; at the start the same.
    """

    value: Any
    before: Any


class AbstractInertialess(AbstractMacro):
    """A model without inertia: its macrostate `Inertialess(value, before)` follows from the responses at once."""

    @abc.abstractmethod
    def balance(self, t: Float[Array, ""], macro: Inertialess, response: Any) -> Any:
        """The value that balances the responses.

        Args:
            t: Macro time.
            macro: Its `value` serves as a guess.
            response: Responses, sites first.

        Returns:
            A tree like `macro.value`.
        """

    def rate(self, t, macro, response):
        """Zero where the model is in balance; it is no rate in time."""
        off = jax.tree.map(jnp.subtract, self.balance(t, macro, response), macro.value)
        return Inertialess(off, jax.tree.map(jnp.subtract, macro.value, macro.before))


class AbstractInertial(AbstractMacro):
    """A model of second order in time: the macrostate is `Moving(position, velocity)`, and the acceleration follows from it."""

    @abc.abstractmethod
    def acceleration(self, t: Float[Array, ""], macro: Moving, response: Any) -> Any:
        """∂_tt of the position, a tree like it; `response` has a leading site axis. It is zero in equilibrium.

        `precondition` and `solve_linearised` of an inertial model use the acceleration as a function of the position.
        """

    def balance(self, t: Float[Array, ""], macro: Moving, response: Any) -> Any:
        """What is zero in equilibrium at a held `t`: the acceleration, unless prescribed motion has to be held instead."""
        return self.acceleration(t, macro, response)

    def rate(self, t, macro, response):
        return Moving(macro.velocity, self.acceleration(t, macro, response))


class AtRest(AbstractMacro):
    """An inertial model as a function of its position alone, at velocity zero; its rate is the acceleration.

    Equilibria and implicit time steps are solved in this form, which has half as many unknowns.
    """

    inner: AbstractInertial
    steady: bool = eqx.field(static=True, default=False)

    def _moving(self, position) -> Moving:
        return Moving(position, jax.tree.map(jnp.zeros_like, position))

    def conditions(self, macro):
        return self.inner.conditions(self._moving(macro))

    def rate(self, t, macro, response):
        equation = self.inner.balance if self.steady else self.inner.acceleration
        return equation(t, self._moving(macro), response)

    def precondition(self, residual, macro, response, shift):
        return self.inner.precondition(residual, self._moving(macro), response, shift)

    def solve_linearised(self, t, residual, macro, response, tangents, shift):
        return self.inner.solve_linearised(t, residual, self._moving(macro), response, tangents, shift)

    def admissible(self, macro):
        return self.inner.admissible(self._moving(macro))

    def magnitude(self):
        return self.inner.magnitude()

    def no_steady_state(self, t, macro):
        return self.inner.no_steady_state(t, self._moving(macro))

    def positions(self):
        return self.inner.positions()

    def layout(self):
        return self.inner.layout()

    def example(self):
        example = self.inner.example()
        return None if example is None else example.position

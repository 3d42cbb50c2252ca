"""Macro time steps. Anything bigger goes through diffrax, see `coupled_ode`."""

import abc
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from fiberax.core.driver import Section
from fiberax.core.field import Field
from fiberax.core.macro_solve import solve_macro
from fiberax.numerics import trees


class Step(NamedTuple):
    """Where a macro step starts: number, time, length; and the state there."""

    number: Any
    t: Any
    dt: Any
    macro: Any
    section: Section


class AbstractStepper(eqx.Module):
    """Advances the macrostate by one step over a `Field`."""

    @abc.abstractmethod
    def step(self, field: Field, at: Step) -> tuple[Any, Section, Any]:
        """Macrostate and section after the step, and whether an implicit solve converged (a boolean)."""


class ForwardEuler(AbstractStepper):
    """Explicit, order 1, one response per step."""

    def step(self, field, at):
        rate, section = field.rate(at.number, at.t, at.macro, at.section, at.dt)
        return trees.axpy(at.dt, rate, at.macro), section, jnp.asarray(True)


class Heun(AbstractStepper):
    """Explicit trapezoidal rule, order 2, two responses per step."""

    def step(self, field, at):
        first, section = field.rate(at.number, at.t, at.macro, at.section, at.dt)
        guess = trees.axpy(at.dt, first, at.macro)
        second, section = field.rate(at.number, at.t + at.dt, guess, section, at.dt)
        macro = jax.tree.map(lambda u, a, b: u + 0.5 * at.dt * (a + b), at.macro, first, second)
        return macro, section, jnp.asarray(True)


class BackwardEuler(AbstractStepper):
    """Implicit, order 1: Newton with the tangents of the fibers; the step is not bound by stability.

    `tolerance` is the size of the last Newton update relative to the macrostate.
    """

    tolerance: float = eqx.field(static=True, default=1e-9)
    max_steps: int = eqx.field(static=True, default=20)

    def step(self, field, at):
        macro, section, good = solve_macro(
            field, at.number, at.t + at.dt, at.macro, 1.0 / at.dt, at.macro, at.section, self.tolerance, self.max_steps
        )
        return macro, section, good


class SDIRK2(AbstractStepper):
    """Implicit, order 2, L-stable, two Newton solves per step (Alexander, SIAM J. Numer. Anal. 14, 1977)."""

    tolerance: float = eqx.field(static=True, default=1e-9)
    max_steps: int = eqx.field(static=True, default=20)

    def step(self, field, at):
        gamma = 1.0 - 0.5**0.5
        shift = 1.0 / (gamma * at.dt)
        first, section, good1 = solve_macro(
            field, at.number, at.t + gamma * at.dt, at.macro, shift, at.macro, at.section, self.tolerance, self.max_steps
        )
        ratio = (1.0 - gamma) / gamma
        base = jax.tree.map(lambda u, v: u + ratio * (v - u), at.macro, first)
        macro, section, good2 = solve_macro(
            field, at.number, at.t + at.dt, base, shift, first, section, self.tolerance, self.max_steps
        )
        return macro, section, good1 & good2

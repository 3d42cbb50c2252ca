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
        def stage(carry, c):
            slope, total, section = carry
            macro = trees.axpy(c * at.dt, slope, at.macro)
            slope, section = field.rate(at.number, at.t + c * at.dt, macro, section, at.dt)
            return (slope, trees.axpy(0.5, slope, total), section), None

        zero = jax.tree.map(jnp.zeros_like, at.macro)
        stages, carry = jnp.asarray([0.0, 1.0]), (zero, zero, at.section)
        # Solvers are large programs: one copy, looped over, compiles in half the time. Cheap links are better unrolled.
        (_, total, section), _ = jax.lax.scan(stage, carry, stages, unroll=1 if field.driver.slaved else 2)
        return trees.axpy(at.dt, total, at.macro), section, jnp.asarray(True)


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
        shift, ratio = 1.0 / (gamma * at.dt), (1.0 - gamma) / gamma

        def stage(carry, c):
            before, section, good = carry
            base = jax.tree.map(lambda u, v: u + ratio * (v - u), at.macro, before)
            macro, section, converged = solve_macro(
                field, at.number, at.t + c * at.dt, base, shift, before, section, self.tolerance, self.max_steps
            )
            return (macro, section, good & converged), None

        start = (at.macro, at.section, jnp.asarray(True))
        (macro, section, good), _ = jax.lax.scan(stage, start, jnp.asarray([gamma, 1.0]))
        return macro, section, good

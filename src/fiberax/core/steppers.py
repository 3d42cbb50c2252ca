"""Macro time steps. For other schemes use diffrax, see `coupled_ode`."""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from fiberax.core.driver import Section
from fiberax.core.errors import BadInput, Mismatch
from fiberax.core.field import Field
from fiberax.core.macro import AbstractInertial, AbstractInertialess, AbstractMacro, AbstractSemiImplicit, Inertialess, Moving
from fiberax.core.macro_solve import Accuracy, Step, solve_macro
from fiberax.numerics import sdirk, trees


class AbstractStepper(eqx.Module):
    """Advances the macrostate by one step over a `Field`."""

    @property
    def explicit(self) -> bool:
        """Whether stability limits the step, as |λ| dt ≤ 2: runs then look at `fx.stiffness` and warn."""
        return False

    @property
    def moves_fibers(self) -> bool:
        """Whether `step` advances and transports carried fibers itself; else the time loop does so once before each step."""
        return False

    def fiber_step(self, dt: float) -> float:
        """The macro time by which carried fibers are advanced at once, in a macro step `dt`."""
        return dt

    @property
    def needs_tangents(self) -> bool:
        """Whether `step` asks for tangents of the responses."""
        return False

    @property
    def accuracy(self) -> Accuracy | None:
        """Of the solves for the macrostate in a step; None where there are none."""
        return None

    @property
    def advances(self) -> int:
        """How often carried fibers are advanced in one macro step."""
        return 1

    def check_step(self, dt: float) -> None:
        """Raise `BadInput` for a macro step that this scheme cannot take; `dt` is the shortest of a run."""

    def advice(self, relaxation: float, dt: float) -> str:
        """A warning, with its remedy, where the scheme does not fit fibers of this relaxation time (macro time); else empty."""
        return ""

    def lag(self, relaxation: float, dt: float) -> float:
        """The time (macro time) by which carried fibers of this relaxation time follow the macrostate late, in steps `dt`."""
        return relaxation

    @property
    def lag_remedy(self) -> str:
        """What makes that time shorter, for a warning; empty where only the fibers and their driver do."""
        return ""

    @abc.abstractmethod
    def step(self, field: Field, at: Step) -> tuple[Any, Section, Any]:
        """One macro step.

        Args:
            field: The macro model with its fibers.
            at: Number, time and length of the step, and macrostate and section at its start.

        Returns:
            Macrostate and section after the step, and whether an implicit solve converged (a boolean).
        """

    def check(self, macro: AbstractMacro) -> None:
        """Raise `Mismatch` for a macro model that this scheme cannot advance."""
        if isinstance(macro, AbstractInertialess):
            name = type(self).__name__
            raise Mismatch(f"{type(macro).__name__} has no inertia, hence no rate for {name}. Use fx.Extrapolation().")


def default_stepper(macro: AbstractMacro) -> AbstractStepper:
    """The scheme for this kind of model."""
    if isinstance(macro, AbstractSemiImplicit):
        return IMEX()
    return Extrapolation() if isinstance(macro, AbstractInertialess) else Heun()


class ForwardEuler(AbstractStepper):
    """Explicit, order 1, one response per step."""

    @property
    def explicit(self):
        return True

    def step(self, field, at):
        rate, section = field.rate(at.number, at.t, at.macro, at.section, jnp.zeros_like(at.dt))
        return trees.axpy(at.dt, rate, at.macro), section, jnp.asarray(True)


class Heun(AbstractStepper):
    """Explicit trapezoidal rule, order 2, two responses per step."""

    @property
    def explicit(self):
        return True

    def step(self, field, at):
        def stage(carry, node):
            (slope, total, section), (c, number) = carry, node
            macro = trees.axpy(c * at.dt, slope, at.macro)
            slope, section = field.rate(at.number, at.t + c * at.dt, macro, section, c * at.dt, stage=number)
            return (slope, trees.axpy(0.5, slope, total), section), None

        zero = jax.tree.map(jnp.zeros_like, at.macro)
        stages = jnp.asarray([0.0, 1.0]), jnp.arange(2, dtype=jnp.uint32)
        carry = (zero, zero, at.section)
        # A loop around one copy of a solver compiles in half the time. Cheap links are faster unrolled.
        (_, total, section), _ = jax.lax.scan(stage, carry, stages, unroll=1 if field.driver.slaved else 2)
        return trees.axpy(at.dt, total, at.macro), section, jnp.asarray(True)


class AbstractImplicitStepper(AbstractStepper):
    """Solves for the macrostate by Newton's method with the tangents of the fibers."""

    tolerance: eqx.AbstractVar[float]
    max_steps: eqx.AbstractVar[int]

    @property
    def needs_tangents(self):
        return True

    @property
    def accuracy(self) -> Accuracy:
        return Accuracy(self.tolerance, self.max_steps)


class BackwardEuler(AbstractImplicitStepper):
    """Implicit, order 1: Newton with the tangents of the fibers; stability does not limit the step.

    Args:
        tolerance: Size of the last Newton update, relative to the macrostate.
        max_steps: Largest number of Newton steps.
    """

    tolerance: float = eqx.field(static=True, default=1e-9)
    max_steps: int = eqx.field(static=True, default=20)

    def step(self, field, at):
        macro, section, good = solve_macro(
            field,
            Step(at.number, at.t + at.dt, at.dt, at.macro, at.section),
            at.macro,
            1.0 / at.dt,
            self.accuracy,
        )
        return macro, section, good


class SDIRK2(AbstractImplicitStepper):
    """Implicit, order 2, L-stable, two Newton solves per step (Alexander, SIAM J. Numer. Anal. 14, 1977).

    Args:
        tolerance: Size of the last Newton update, relative to the macrostate.
        max_steps: Largest number of Newton steps in one stage.
    """

    tolerance: float = eqx.field(static=True, default=1e-9)
    max_steps: int = eqx.field(static=True, default=20)

    def step(self, field, at):
        def stage(carry, node):
            (before, section, good), (c, number) = carry, node
            base = sdirk.base(at.macro, before)
            now = Step(at.number, at.t + c * at.dt, c * at.dt, before, section)
            macro, section, converged = solve_macro(field, now, base, sdirk.shift(at.dt), self.accuracy, number)
            return (macro, section, good & converged), None

        start = (at.macro, at.section, jnp.asarray(True))
        nodes = jnp.asarray(sdirk.NODES), jnp.arange(2, dtype=jnp.uint32)
        (macro, section, good), _ = jax.lax.scan(stage, start, nodes)
        return macro, section, good


class IMEX(AbstractStepper):
    """For semi-implicit models: L by SDIRK2, N explicitly; order 2, L-stable, two responses and two solves per step.

    ARS(2,2,2) of Ascher, Ruuth and Spiteri, Appl. Numer. Math. 25, 1997.
    """

    def step(self, field, at):
        macro = field.bundle.macro
        assert isinstance(macro, AbstractSemiImplicit)
        gamma = sdirk.GAMMA
        delta = 1.0 - 0.5 / gamma
        shift = 1.0 / (gamma * at.dt)
        first, section = field.rate(at.number, at.t, at.macro, at.section, jnp.zeros_like(at.dt), macro.explicit)
        middle = at.t + gamma * at.dt
        stage = macro.solve(middle, trees.axpy(shift, at.macro, first), shift, at.macro)
        second, section = field.rate(at.number, middle, stage, section, gamma * at.dt, macro.explicit, stage=1)

        def known(u, v, n, m):
            linear = shift * (v - u) - n  # L and the forces of the constraints in that stage
            return shift * u + (delta * n + (1.0 - delta) * m + (1.0 - gamma) * linear) / gamma

        right = jax.tree.map(known, at.macro, stage, first, second)
        return macro.solve(at.t + at.dt, right, shift, stage), section, jnp.asarray(True)

    def check(self, macro):
        if not isinstance(macro, AbstractSemiImplicit):
            name = type(macro).__name__
            raise Mismatch(f"IMEX needs a model in two parts; {name} is none. Use fx.Heun() or fx.SDIRK2().")


class Extrapolation(AbstractStepper):
    """For models without inertia: linear extrapolation of the balances at the last two half steps; one solve per step.

    Of order 2; the first step is of order 1, which keeps order 2 for the run. With slaved drivers it is Picard's iteration.
    """

    def step(self, field, at):
        macro = field.bundle.macro
        assert isinstance(macro, AbstractInertialess)
        now, section, value, before = at.macro, at.section, *at.macro
        slaved = field.driver.slaved
        if not slaved:  # links may depend on the condition: take it at the time of the carried states
            now = Inertialess(jax.tree.map(lambda u, b: 2.0 * u - b, value, before), before)
        when = at.t + (at.dt if slaved else 0.5 * at.dt)
        asked, section = field.rate(at.number, when, now, section, at.dt, macro.balance)
        ahead = asked if slaved else jax.tree.map(lambda a, b: 1.5 * a - 0.5 * b, asked, before)
        return Inertialess(ahead, asked), section, jnp.asarray(True)

    def check(self, macro):
        if not isinstance(macro, AbstractInertialess):
            raise Mismatch(f"Extrapolation needs a model without inertia; {type(macro).__name__} is none. Use fx.Heun().")


class Verlet(AbstractStepper):
    """Explicit central differences for inertial models: drift, kick, drift; order 2, symplectic, one response per step.

    Stable for steps up to 2/ω with ω the highest frequency, see `fx.stiffness`. Forces must not depend on the velocity.
    """

    @property
    def explicit(self):
        return True

    def step(self, field, at):
        half = trees.axpy(0.5 * at.dt, at.macro.velocity, at.macro.position)
        now = Moving(half, at.macro.velocity)
        rate, section = field.rate(at.number, at.t + 0.5 * at.dt, now, at.section, 0.5 * at.dt)
        velocity = trees.axpy(at.dt, rate.velocity, at.macro.velocity)
        return Moving(trees.axpy(0.5 * at.dt, velocity, half), velocity), section, jnp.asarray(True)

    def check(self, macro):
        _need_inertia(self, macro)


class Newmark(AbstractImplicitStepper):
    """Implicit scheme for inertial models (Newmark, J. Eng. Mech. Div. ASCE 85, 1959), Newton with the tangents of the fibers.

    β = 1/4, γ = 1/2 is the trapezoidal rule: order 2, stable for any step, no dissipation; γ > 1/2 damps high frequencies at
    order 1.

    Args:
        beta: β, at least (1/2 + γ)²/4.
        gamma: γ, at least 1/2.
        tolerance: Size of the last Newton update, relative to the position.
        max_steps: Largest number of Newton steps.

    Raises:
        BadInput: A pair that is not stable for every step.
    """

    beta: float = eqx.field(static=True, default=0.25)
    gamma: float = eqx.field(static=True, default=0.5)
    tolerance: float = eqx.field(static=True, default=1e-9)
    max_steps: int = eqx.field(static=True, default=20)

    def __check_init__(self):
        least = 0.25 * (0.5 + self.gamma) ** 2
        if not (self.gamma >= 0.5 and self.beta >= least * (1.0 - 1e-12)):  # the least β as the message prints it must pass
            raise BadInput(
                f"Newmark: beta = {self.beta}, gamma = {self.gamma} is not stable for every step; take gamma >= 1/2 and "
                "beta >= (1/2 + gamma)^2 / 4."
            )

    def step(self, field, at):
        dt, (position, velocity) = at.dt, at.macro
        rate, section = field.rate(at.number, at.t, at.macro, at.section, jnp.zeros_like(dt))
        shift = 1.0 / (self.beta * dt**2)
        base = trees.axpy((0.5 - self.beta) * dt**2, rate.velocity, trees.axpy(dt, velocity, position))
        now = Step(at.number, at.t + dt, dt, position, section)
        new, section, good = solve_macro(field.at_rest(), now, base, shift, self.accuracy, 1)
        acceleration = jax.tree.map(lambda u, b: shift * (u - b), new, base)
        velocity = trees.axpy((1.0 - self.gamma) * dt, rate.velocity, velocity)
        return Moving(new, trees.axpy(self.gamma * dt, acceleration, velocity)), section, good

    def check(self, macro):
        _need_inertia(self, macro)


def _need_inertia(stepper: AbstractStepper, macro: AbstractMacro) -> None:
    if not isinstance(macro, AbstractInertial):
        name = type(macro).__name__
        raise Mismatch(f"{type(stepper).__name__} needs an inertial model; {name} has none. Use fx.Heun() or fx.SDIRK2().")

"""Projective integration: some true-time steps of macro model and fibers, then an extrapolation of the macrostate alone.

Gear and Kevrekidis, SIAM J. Sci. Comput. 24 (2003) 1091; Runge-Kutta forms: Lafitte, Lejon and Samaey, SIAM J. Numer. Anal. 54
(2016) 1. Fibers are not extrapolated: they keep their states, and relax to the new macrostate in the next inner steps.
"""

import enum
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from fiberax.core.errors import BadInput, Mismatch
from fiberax.core.steppers import AbstractStepper
from fiberax.core.transport import AbstractCarrier
from fiberax.numerics import trees


class Outer(enum.Enum):
    """The scheme of the long steps: nodes c and weights b of a Runge-Kutta scheme whose stages each need the slope before."""

    PFE = ((0.0,), (1.0,))
    PRK2 = ((0.0, 0.5), (0.0, 1.0))
    PRK4 = ((0.0, 0.5, 0.5, 1.0), (1 / 6, 1 / 3, 1 / 3, 1 / 6))

    @property
    def nodes(self) -> tuple[float, ...]:
        """c: where in the step each stage begins. Stage s starts from the slope of stage s − 1 alone."""
        return self.value[0]

    @property
    def weights(self) -> tuple[float, ...]:
        """b: the weights of the slopes of all stages."""
        return self.value[1]


class Projective(AbstractStepper):
    """`steps` + 1 inner steps of length `inner` in true time; the last one gives the slope of the macrostate for the rest.

    With k = `steps`, d = `inner` and a macro step dt, a step of `PFE` multiplies a mode of the macrostate of which an inner
    step leaves ρ by ρ^k (ρ − (dt/d − k − 1)(1 − ρ)): fast modes are damped by the inner steps, slow ones pass as with dt.
    Fibers are not extrapolated. With a relaxation time τ they follow the macrostate late by τ + (dt/s − m)/(e^(m/τ) − 1), where
    m = (k + 1) d is how long each of the s stages moves them. A run measures τ, and warns where this exceeds what `separation`
    of the driver allows, and where e^(−d/τ) in place of ρ makes that factor exceed 1, with the number of inner steps that does
    not. The inner steps are of first order: an error in proportion to d stays when dt vanishes.

    Every inner step moves the fibers by d at the present macrostate and then the macrostate by d with what they answer. Use
    `fx.Seamless()`, whose clock is 1; the noise of random fibers is amplified by the extrapolation, (dt − (k+1)d)/d.

    Args:
        inner: d, macro time, positive.
        steps: k, at least 1.
        outer: `fx.Outer.PFE` (order 1), `PRK2` (the midpoint rule, order 2) or `PRK4` (the classical scheme, order 4).

    Raises:
        BadInput: Numbers out of their range; when a run begins, inner steps that do not fit into a stage.
        Mismatch: When a run begins, a macro model whose motion carries states, or one without a rate.
    """

    inner: float = eqx.field(static=True)
    steps: int = eqx.field(static=True)
    outer: Outer = eqx.field(static=True, default=Outer.PFE)

    def __check_init__(self):
        if not 0.0 < self.inner < float("inf"):
            raise BadInput(f"Projective: inner must be a positive time; it is {self.inner!r}.")
        if isinstance(self.steps, bool) or not isinstance(self.steps, int) or self.steps < 1:
            raise BadInput(f"Projective: steps must be a whole number, at least 1; it is {self.steps!r}.")
        if not isinstance(self.outer, Outer):
            raise BadInput(f"Projective: outer is one of {', '.join(map(str, Outer))}; it is {self.outer!r}.")

    @property
    def moves_fibers(self):
        return True

    def fiber_step(self, dt):
        return self.inner

    @property
    def advances(self):
        return (self.steps + 1) * len(self.outer.nodes)

    def check(self, macro):
        super().check(macro)
        if isinstance(macro, AbstractCarrier):
            raise Mismatch(
                f"Projective extrapolates the macrostate alone, and {type(macro).__name__} carries states with its motion: "
                "what they pass in the long step would be lost. Use fx.IMEX() or fx.Heun()."
            )

    def check_step(self, dt):
        shortest = min((c for c in self.outer.nodes if c > 0.0), default=1.0) * dt
        if not (self.steps + 1) * self.inner <= shortest * (1.0 + 1e-12):
            raise BadInput(
                f"Projective: {self.steps + 1} inner steps of {self.inner:.6g} take {(self.steps + 1) * self.inner:.6g}, "
                f"longer than the shortest stage, {shortest:.6g} of a macro step of {dt:.6g}. Take fewer or shorter inner "
                "steps, or a longer macro step."
            )

    def advice(self, relaxation, dt):
        left = math.exp(-self.inner / relaxation)  # of a mode that decays as these fibers do, after one inner step

        def factor(k):
            return left**k * abs(left - (dt / self.inner - k - 1) * (1.0 - left))

        if not factor(self.steps) > 1.0:
            return ""
        most = int(dt / self.inner) - 1
        enough = next((k for k in range(self.steps + 1, most + 1) if factor(k) <= 1.0), None)
        remedy = (
            f"with steps={enough} it would be {factor(enough):.2g}"
            if enough is not None
            else "no number of inner steps mends it: take longer ones, near the relaxation time, or a shorter macro step"
        )
        return (
            f"Projective: a mode of the macrostate that decays in {relaxation:.3g}, as these fibers do, is multiplied by "
            f"{factor(self.steps):.3g} in each macro step of {dt:.3g} with {self.steps} inner steps of {self.inner:.3g}; "
            f"{remedy}. The fibers themselves are not extrapolated: they follow the macrostate "
            f"{self.lag(relaxation, dt):.3g} late."
        )

    def lag(self, relaxation, dt):
        # While they move, fibers are late by τ; of what the equilibrium moves in a jump the inner steps leave e^(−(k + 1) d/τ).
        spent, stages = (self.steps + 1) * self.inner, len(self.outer.nodes)
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            return float(relaxation + (dt / stages - spent) / np.expm1(spent / np.float64(relaxation)))

    @property
    def lag_remedy(self):
        return "Take more inner steps, or longer ones, up to the relaxation time."

    def step(self, field, at):
        d, k = self.inner, self.steps
        inner = jnp.asarray(d, at.dt.dtype)

        def run(macro, section, t, stage):
            """The macrostate after k + 1 inner steps, its slope over the last one, and the section."""

            def one(j, carry):
                macro, _, section = carry
                number = jnp.uint32(stage * (k + 1)) + jnp.uint32(j)
                now = t + j * inner
                if not field.driver.slaved:
                    section = field.advance(at.number, macro, section, inner, number)
                rate, section = field.rate(at.number, now, macro, section, jnp.zeros_like(inner), stage=number)
                return trees.axpy(inner, rate, macro), rate, section

            slope = jax.tree.map(jnp.zeros_like, macro)
            return jax.lax.fori_loop(0, k + 1, one, (macro, slope, section))

        spent, slopes = (k + 1) * inner, []
        begun, section = at.macro, at.section
        after = None
        for stage, node in enumerate(self.outer.nodes):
            start = begun if after is None else trees.axpy(node * at.dt - spent, slopes[-1], after)
            reached, slope, section = run(start, section, at.t + node * at.dt, stage)
            slopes.append(slope)
            after = reached if after is None else after
        total = jax.tree.map(lambda *s: sum(b * x for b, x in zip(self.outer.weights, s)), *slopes)
        return trees.axpy(at.dt - spent, total, after), section, jnp.asarray(True)

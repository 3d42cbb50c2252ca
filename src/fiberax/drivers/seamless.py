"""The fiber carried in time together with the macrostate, and never rebuilt from it (section 4 of the paper)."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from fiberax.core.driver import AbstractDriver, Pace, check_finite
from fiberax.core.errors import BadInput, Mismatch
from fiberax.core.fiber import AbstractMemory, AbstractStochastic
from fiberax.core.link import apply_link
from fiberax.core.relax import dynamic
from fiberax.drivers.average import AbstractAverage, begin_blocks, blocked_error, push_blocks
from fiberax.numerics import trees
from fiberax.numerics.result import outcome


class Seamless(AbstractDriver):
    """The fiber advanced by its own dynamics. A flow or energy fiber relaxes at first order with friction 1.

    Args:
        substeps: Micro steps per macro step, at least 1.
        clock: M > 0, which slows the fibers: in the macro time Δt a fiber advances by Δt/M (section 7 of the paper). M = 1 is
            real time; M > 1 is valid while the slowed fibers relax much faster than the macrostate moves. "auto": a run takes
            the largest clock that keeps the ratio `separation`, from the measured relaxation time, and revises it about ten
            times; `Solution.stats["clock"]` says what it was. No clock makes a micro step longer than the fiber's `timestep`.
        average: A kernel of (7.1) for the response, or None.
        separation: Ratio of the fibers' relaxation time to the macro time scale above which a run warns; infinity turns the
            measurement off.
        expected_error: What `fx.plan` expects of a run; `Solution.stats` says it.

    Raises:
        BadInput: Numbers out of their range.
        Mismatch: A fiber with a history, when the run begins.
    """

    substeps: int = eqx.field(static=True, default=1)
    clock: Any = eqx.field(converter=lambda value: value if isinstance(value, str) else jnp.asarray(value), default=1.0)
    average: AbstractAverage | None = None
    separation: float = eqx.field(static=True, default=0.1)
    expected_error: float | None = eqx.field(static=True, default=None)

    def __check_init__(self):
        if not isinstance(self.substeps, int) or self.substeps < 1:
            raise BadInput(f"Seamless: substeps must be a whole number >= 1; it is {self.substeps!r}.")
        if isinstance(self.clock, str):
            if self.clock != "auto":
                raise BadInput(f'Seamless: clock is a positive number or "auto"; it is {self.clock!r}.')
            if not self.separation < float("inf"):
                raise BadInput('Seamless: clock="auto" keeps the ratio separation, which must be finite.')
        elif not trees.is_tracer(self.clock) and not float(self.clock) > 0.0:
            raise BadInput(f"Seamless: clock must be positive; it is {self.clock}.")

    @property
    def slaved(self):
        return False

    @property
    def paces_itself(self):
        return isinstance(self.clock, str)

    def with_clock(self, clock):
        return dataclasses.replace(self, clock=clock)

    def check_traced(self):
        if self.paces_itself:
            raise BadInput(
                'Seamless: clock="auto" is revised between the steps of a run of fx.evolve, and neither fx.Fibers nor a run '
                "under jax.jit, jax.grad or jax.vmap can do that. Give a number."
            )

    @property
    def micro_steps(self):
        return self.substeps

    @property
    def pace(self):
        return Pace(self.substeps, self.clock, self.separation) if self.separation < float("inf") else None

    def stats(self, section):
        return {} if self.expected_error is None else {"expected_error": self.expected_error}

    def prepare(self, fiber):
        if isinstance(fiber, AbstractMemory):
            raise Mismatch(
                f"Seamless carries states in time; {type(fiber).__name__} has a history, whose steps are solved. Use "
                "fx.Quasistatic(); for a quadratic dissipation fx.relax of the energy is the same in continuous time."
            )
        return dynamic(fiber)

    def samples(self, dt):
        return 0 if self.average is None else self.average.samples(dt / self.substeps)

    def begin(self, fiber, link, condition, key, samples):
        state = fiber.init(condition, key)
        if self.average is None:
            return state, ()
        value = apply_link(link, fiber, state, condition)
        blocks = begin_blocks(value) if isinstance(fiber, AbstractStochastic) else ()
        return state, (self.average.begin(value, samples), value, value, blocks)

    def advance(self, fiber, link, state, memory, condition, dt, key, attempt):
        steps = self.substeps * (1 + attempt)
        span = dt / steps

        def body(k, carry):
            state, memory = carry
            return self._substep(fiber, link, state, memory, condition, span, jax.random.fold_in(key, k))

        if isinstance(attempt, jax.Array):
            state, memory = jax.lax.fori_loop(0, steps, body, (state, memory))
        elif steps == 1:
            state, memory = self._substep(fiber, link, state, memory, condition, span, jax.random.fold_in(key, 0))
        else:  # a fixed number of substeps: differentiable
            (state, memory), _ = jax.lax.scan(lambda c, k: (body(k, c), None), (state, memory), jnp.arange(steps))
        response = self.respond(fiber, link, state, memory, condition)
        return state, memory, response, check_finite(response, outcome(fiber.verdict(state), steps))

    def _substep(self, fiber, link, state, memory, condition, span, key):
        state = fiber.step(state, condition, span / self.clock, key)
        if self.average is not None:
            value = apply_link(link, fiber, state, condition)
            # The mean of both ends is the value of the span: that at its end alone would be ahead by half a span.
            middle = jax.tree.map(lambda a, b: 0.5 * (a + b), memory[2], value)
            ring, mean = self.average.push(memory[0], middle, span)
            blocks = push_blocks(memory[3], middle, span, self.average.t0) if memory[3] else ()
            # A step of length zero adds nothing to the average.
            memory = trees.where(span > 0.0, (ring, mean, value, blocks), memory)
        return state, memory

    def respond(self, fiber, link, state, memory, condition):
        """The link at the carried state; or the average, which does not depend on the condition."""
        if self.average is not None:
            return memory[1]
        return apply_link(link, fiber, state, condition)

    def stderr(self, fiber, link, state, memory, condition):
        """That of the fiber's own ensemble at this instant; of an average of a random fiber, from blocks of t₀/8."""
        if self.average is None:
            return super().stderr(fiber, link, state, memory, condition)
        return blocked_error(memory[3], self.average) if memory[3] else None

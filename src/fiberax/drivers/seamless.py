"""The fiber carried along in time beside the macrostate: never rebuilt from it, never thrown away (section 4 of the paper)."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fiberax.core.driver import AbstractDriver, Pace, check_finite
from fiberax.core.errors import BadInput, Mismatch
from fiberax.core.fiber import AbstractMemory, AbstractStochastic
from fiberax.core.link import apply_link
from fiberax.core.relax import dynamic
from fiberax.drivers.average import AbstractAverage, begin_blocks, blocked_error, push_blocks
from fiberax.numerics import trees
from fiberax.numerics.result import outcome


class Seamless(AbstractDriver):
    """Advance the fiber by its own dynamics, in `substeps` micro steps per macro step, on its own `clock`.

    `clock` M slows the fibers: in the macro time Δt a fiber lives Δt/M (section 7 of the paper); M = 1 is real time, M > 1 is
    legitimate while the slowed fibers still relax much faster than the macrostate moves. `average` is a kernel of (7.1), or
    None. A flow or energy fiber without dynamics relaxes at first order with friction 1. `separation` is the ratio of fiber
    relaxation time to macro time scale above which a run warns that the scale separation is not there; infinity leaves the
    measurement out.
    """

    substeps: int = eqx.field(static=True, default=1)
    clock: Float[Array, ""] = eqx.field(converter=jnp.asarray, default=1.0)
    average: AbstractAverage | None = None
    separation: float = eqx.field(static=True, default=0.1)

    def __check_init__(self):
        if not isinstance(self.substeps, int) or self.substeps < 1:
            raise BadInput(f"Seamless: substeps must be a whole number >= 1; it is {self.substeps!r}.")
        if not trees.is_tracer(self.clock) and not float(self.clock) > 0.0:
            raise BadInput(f"Seamless: clock must be positive; it is {self.clock}.")

    @property
    def slaved(self):
        return False

    @property
    def pace(self):
        return Pace(self.substeps, self.clock, self.separation) if self.separation < float("inf") else None

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
            # The mean of both ends stands for the span: the value at its end alone would be ahead by half a span.
            middle = jax.tree.map(lambda a, b: 0.5 * (a + b), memory[2], value)
            ring, mean = self.average.push(memory[0], middle, span)
            blocks = push_blocks(memory[3], middle, span, self.average.t0) if memory[3] else ()
            # Nothing passes in a step of length zero, so there is nothing to average in.
            memory = trees.where(span > 0.0, (ring, mean, value, blocks), memory)
        return state, memory

    def respond(self, fiber, link, state, memory, condition):
        """The link at the carried state, or the average where there is one (which does not see the condition any more)."""
        if self.average is not None:
            return memory[1]
        return apply_link(link, fiber, state, condition)

    def stderr(self, fiber, link, state, memory, condition):
        """That of the fiber's own ensemble at this instant; of an average of a random fiber, from blocks of t₀/8."""
        if self.average is None:
            return super().stderr(fiber, link, state, memory, condition)
        return blocked_error(memory[3], self.average) if memory[3] else None

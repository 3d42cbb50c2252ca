"""The heterogeneous multiscale method: a burst of the fiber's dynamics at every macro evaluation (E and Engquist).

Abdulle, E, Engquist and Vanden-Eijnden, Acta Numerica 21 (2012) 1, section 2. Each evaluation relaxes the fiber under the held
condition and then averages the link. A burst in every stage keeps the order of the macro scheme; one burst for each macro step
would make it of first order. The state is carried from burst to burst, so that nothing has to be lifted.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from fiberax.core.capabilities import AbstractMonitored, energy_of
from fiberax.core.driver import AbstractDriver, check_finite
from fiberax.core.errors import BadInput, Mismatch
from fiberax.core.fiber import AbstractDynamic, AbstractMemory, AbstractStochastic
from fiberax.core.link import apply_link
from fiberax.core.relax import dynamic
from fiberax.numerics import trees
from fiberax.numerics.result import outcome

_PARTS = 32  # of the window, whose means give the standard error
FEWEST_MEANS = 8  # from which an error is estimated


class HeterogeneousMultiscale(AbstractDriver):
    """A burst at every macro evaluation: `relax` steps are left out, over `average` steps the link is averaged.

    The bias falls as exp(−relax·dt/τ) with the relaxation time τ of the fiber; the variance of a response is about
    2σ²τ/(average·dt·replicas). The cost does not depend on how fast the fiber is, and the noise of a response does not depend
    on the macro step.

    Args:
        relax: Micro steps at the beginning of a burst that are left out, at least 0.
        average: Micro steps over which the link is averaged, at least 1.
        replicas: Independent copies whose mean is the response ("parallel HMM").
        dt: Micro step, fiber time; None for the fiber's own `timestep`.
        fresh: Whether each burst begins from the fiber's `init`, as in the classical method; else from the end of the last.
        expected_error: What `fx.plan` expects of a run; `Solution.stats` says it.

    Raises:
        BadInput: Numbers out of their range; when a run begins, a fiber without a step of its own where no `dt` is given.
        Mismatch: When a run begins, a fiber with a history, or a macro scheme that asks for tangents.
    """

    relax: int = eqx.field(static=True)
    average: int = eqx.field(static=True)
    replicas: int = eqx.field(static=True, default=1)
    dt: float | None = eqx.field(static=True, default=None)
    fresh: bool = eqx.field(static=True, default=False)
    expected_error: float | None = eqx.field(static=True, default=None)

    def __check_init__(self):
        for name, value, least in (("relax", self.relax, 0), ("average", self.average, 1), ("replicas", self.replicas, 1)):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise BadInput(f"HeterogeneousMultiscale: {name} must be a whole number, at least {least}; it is {value!r}.")
        if self.dt is not None and not 0.0 < self.dt < float("inf"):
            raise BadInput(f"HeterogeneousMultiscale: dt must be positive and finite (fiber time); it is {self.dt}.")

    @property
    def slaved(self):
        return True

    def stats(self, section):
        return {} if self.expected_error is None else {"expected_error": self.expected_error}

    def prepare(self, fiber):
        if isinstance(fiber, AbstractMemory):
            raise Mismatch(
                f"HeterogeneousMultiscale advances a fiber under a held condition; the steps of {type(fiber).__name__} are "
                "solved, from its history. Use fx.Quasistatic()."
            )
        return dynamic(fiber)

    def begin(self, fiber, link, condition, key, samples):
        states = self._fresh(fiber, condition, key)
        value = self._linked(fiber, link, states, condition)
        value = jax.tree.map(lambda x: x[0], value)
        return states, (value, jax.tree.map(lambda x: jnp.full(x.shape, jnp.nan), value))

    def advance(self, fiber, link, state, memory, condition, dt, key, attempt):
        fresh = lambda: self._fresh(fiber, condition, jax.random.fold_in(key, 2**31))
        if self.fresh:
            state = fresh()
        elif isinstance(attempt, jax.Array):
            state = trees.where(attempt == 0, state, fresh())
        span = self._span(fiber, condition)

        def step(k, states):
            keys = jax.random.split(jax.random.fold_in(key, k), self.replicas)
            return jax.vmap(lambda s, k: fiber.step(s, condition, span, k))(states, keys)

        state = jax.lax.fori_loop(0, self.relax, step, state)
        parts = np.arange(self.average) * min(_PARTS, self.average) // self.average  # the part of the window of each step
        sizes, part = np.bincount(parts), jnp.asarray(parts)

        def averaged(k, carry):
            states, sums = carry
            states = step(self.relax + k, states)
            now = self._linked(fiber, link, states, condition)
            return states, jax.tree.map(lambda s, x: s.at[part[k]].add(x), sums, now)

        like = jax.eval_shape(lambda s: self._linked(fiber, link, s, condition), state)
        none = jax.tree.map(lambda x: jnp.zeros((sizes.size, *x.shape), x.dtype), like)
        state, sums = jax.lax.fori_loop(0, self.average, averaged, (state, none))
        value = jax.tree.map(lambda s: jnp.sum(s, axis=(0, 1)) / (self.average * self.replicas), sums)
        means = jax.tree.map(lambda s: s / jnp.reshape(jnp.asarray(sizes, s.dtype), (-1, *[1] * (s.ndim - 1))), sums)
        out = outcome(jnp.max(jax.vmap(fiber.verdict)(state)), (self.relax + self.average) * self.replicas)
        return state, (value, jax.tree.map(error_of_means, means)), value, check_finite(value, out)

    def _fresh(self, fiber: AbstractDynamic, condition, key) -> Any:
        return jax.vmap(lambda k: fiber.init(condition, k))(jax.random.split(key, self.replicas))

    def _span(self, fiber: AbstractDynamic, condition) -> Any:
        span = fiber.timestep(condition) if self.dt is None else self.dt
        if span is None:
            name = type(fiber).__name__
            raise BadInput(f"HeterogeneousMultiscale: {name} has no time step of its own. Give dt, in fiber time.")
        return span

    def _linked(self, fiber, link: Callable | None, states, condition) -> Any:
        return jax.vmap(lambda s: apply_link(link, fiber, s, condition))(states)

    def respond(self, fiber, link, state, memory, condition):
        """The mean over the last burst; it does not depend on the condition."""
        return memory[0]

    def stderr(self, fiber, link, state, memory, condition):
        """That of the mean over the window and the replicas; None for fibers without noise."""
        return memory[1] if isinstance(fiber, AbstractStochastic) else None

    def energy(self, fiber, state, memory, condition):
        """The mean over the replicas, at the end of the last burst."""
        found = jax.vmap(lambda s: energy_of(fiber, s, condition))(state)
        return None if found is None else jnp.mean(found)

    def margin(self, fiber, state, memory, condition):
        """The smallest of the replicas."""
        return (
            jnp.min(jax.vmap(lambda s: fiber.stability_margin(s, condition))(state))
            if isinstance(fiber, AbstractMonitored)
            else None
        )

    def follow(self, fiber, link, state, memory, condition):
        self.check_tangents(fiber)

    def check_tangents(self, fiber):
        raise Mismatch(
            "HeterogeneousMultiscale: the mean over a burst has no tangent. Take an explicit macro step: fx.Heun(), fx.IMEX()."
        )


def error_of_means(means: jax.Array) -> jax.Array:
    """Standard error of the mean of all `means` (parts, replicas, ...) of consecutive parts of a window; NaN for fewer than 8.

    Neighbouring parts are taken as an autoregression of first order, whose correlation ρ and variance come from the deviations
    from the common mean of all replicas; the variance is corrected for what the mean has taken away. For windows of 5 to 60
    correlation times of an Ornstein-Uhlenbeck process the root mean square of the errors is right within a sixth.
    """
    parts, replicas = means.shape[:2]
    if parts * replicas < FEWEST_MEANS:
        return jnp.full(means.shape[2:], jnp.nan)
    off = means - jnp.mean(means, axis=(0, 1))
    spread = jnp.mean(off**2, axis=(0, 1))
    safe = jnp.where(spread > 0.0, spread, 1.0)
    rho = jnp.zeros(spread.shape)
    if parts > 1:
        rho = jnp.clip(jnp.mean(off[1:] * off[:-1], axis=(0, 1)) / safe, 0.0, 1.0 - 1.0 / parts)
    # Variance of the mean of `parts` neighbours over that of one.
    inside = (1.0 + rho) / (1.0 - rho) - 2.0 * rho * (1.0 - rho**parts) / (parts * (1.0 - rho) ** 2)
    share = jnp.clip(inside / (parts * replicas), 0.0, 0.9)
    return jnp.sqrt(spread * share / (1.0 - share))

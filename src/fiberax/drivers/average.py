"""Time averages of the link, A(t) = (1/t₀) ∫ K((t−s)/t₀) 𝒜 ds over the last t₀ (7.1).

See the docs: mathematics, "Averages, clocks and units".

In a run the fibers move, and give the newest value, before the macro step of which the macrostate is recorded: with an average
the recorded response is one macro step older than the lags below say.
"""

import abc
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from scipy.special import gamma, gammainc

from fiberax.core.errors import BadInput

_NODE, _WEIGHT = np.polynomial.legendre.leggauss(48)  # for integrals of kernels
_HALVES = 24  # of the interval of lags


class AbstractAverage(eqx.Module):
    """A causal average over the last stretch of macro time.

    Args:
        t0: Its length, macro time, positive; else `BadInput` is raised.
    """

    t0: eqx.AbstractVar[float]

    def __check_init__(self):
        if not self.t0 > 0.0:
            raise BadInput(f"{type(self).__name__}: the averaging time t0 must be positive (macro time); it is {self.t0}.")

    @abc.abstractmethod
    def samples(self, interval: float) -> int:
        """Number of stored values per site, for one value per `interval` of macro time."""

    @abc.abstractmethod
    def begin(self, value: Any, samples: int) -> Any:
        """Memory at the start.

        Args:
            value: A tree with the shapes of a response.
            samples: As the method of that name gave it.
        """

    @abc.abstractmethod
    def push(self, memory: Any, value: Any, interval: Any) -> tuple[Any, Any]:
        """Memory and average after one more value.

        Args:
            memory: That before.
            value: A response.
            interval: How long it held, macro time.
        """

    @abc.abstractmethod
    def variance_factor(self, ratio: Any) -> np.ndarray:
        """Variance of the average of an Ornstein-Uhlenbeck process over that of the process, for a window that is full.

        Args:
            ratio: t₀ over the decay time of the process, positive numbers of any shape.

        Raises:
            BadInput: A ratio that is not positive.
        """

    @property
    @abc.abstractmethod
    def square(self) -> float:
        """∫ K² ds: the variance of the average of white noise of spectral density S is S ∫K²/t₀."""


class Exponential(AbstractAverage):
    """K(s) = e^{−s}: one stored value; lags by t₀. At the start its weights are normalised by their sum.

    Args:
        t0: Averaging time, macro time.
    """

    t0: float = eqx.field(static=True)

    def samples(self, interval):
        return 1

    def begin(self, value, samples):
        return jax.tree.map(jnp.zeros_like, value), jnp.zeros(())

    def push(self, memory, value, interval):
        mean, weight = memory
        decay = jnp.exp(-interval / self.t0)
        # The sum of all weights so far tends to 1; division by it removes the bias at the start.
        new_weight = decay * weight + (1.0 - decay)
        mean = jax.tree.map(lambda m, v: m + (1.0 - decay) / new_weight * (v - m), mean, value)
        return (mean, new_weight), mean

    def variance_factor(self, ratio):
        return 1.0 / (1.0 + _positive(ratio))

    @property
    def square(self):
        return 0.5


class _Window(AbstractAverage):
    """A ring of the last values and the spans that they held."""

    def samples(self, interval):
        return int(np.ceil(self.t0 / interval - 1e-9))

    def begin(self, value, samples):
        ring = jax.tree.map(lambda v: jnp.zeros((samples, *v.shape), v.dtype), value)
        return ring, jnp.zeros((samples,))

    def push(self, memory, value, interval):
        ring, spans = memory
        ring = jax.tree.map(lambda r, v: jnp.roll(r, 1, axis=0).at[0].set(v), ring, value)
        spans = jnp.roll(spans, 1).at[0].set(interval)
        ends = jnp.cumsum(spans)
        # Of the oldest value only the part of its span inside the window counts.
        inside = jnp.clip(jnp.minimum(ends, self.t0) - (ends - spans), 0.0)
        weights = self.weights(inside, ends - 0.5 * spans)
        mean = jax.tree.map(lambda r: jnp.tensordot(weights.astype(r.dtype), r, axes=1), ring)
        return (ring, spans), mean

    @abc.abstractmethod
    def weights(self, inside: jax.Array, age: jax.Array) -> jax.Array:
        """Weights (samples,) of the values, which sum to one; `inside` their spans, `age` the times since their midpoints."""


class _Polynomial(_Window):
    """A window with `overlap`: coefficients of ∫₀^{1−u} K(s) K(s+u) ds in u."""

    overlap: eqx.AbstractClassVar[tuple[float, ...]]

    def variance_factor(self, ratio):
        ratio = _positive(ratio)
        order = np.arange(1, len(self.overlap) + 1)
        moments = gamma(order) * gammainc(order, ratio[..., None]) / ratio[..., None] ** order  # ∫₀¹ u^j e^{−ru} du
        return 2.0 * moments @ np.asarray(self.overlap)

    @property
    def square(self):
        return self.overlap[0]


class Uniform(_Polynomial):
    """K = 1: the plain mean over the last t₀; lags by t₀/2.

    Args:
        t0: Averaging time, macro time.
    """

    overlap = (1.0, -1.0)
    t0: float = eqx.field(static=True)

    def weights(self, inside, age):
        return inside / jnp.sum(inside)


class ZeroLag(_Polynomial):
    """K = 4 − 6s: no lag, and four times the variance of the uniform mean. Both moments are exact for the stored values.

    Args:
        t0: Averaging time, macro time.
    """

    overlap = (4.0, -10.0, 0.0, 6.0)
    t0: float = eqx.field(static=True)

    def weights(self, inside, age):
        total = jnp.sum(inside)
        mean = jnp.sum(inside * age) / total
        spread = jnp.sum(inside * (age - mean) ** 2) / total
        # A single value has no spread; it is then the average.
        several = spread > 1e-9 * mean**2
        slope = jnp.where(several, mean / jnp.where(several, spread, 1.0), 0.0)
        return inside / total * (1.0 - slope * (age - mean))


class _Shaped(_Window):
    """A window with any K, by the values of K at the midpoints of spans; before it is full, K is stretched over what came."""

    @abc.abstractmethod
    def shape(self, s: Any) -> Any:
        """K at s (...) in [0, 1], s = 0 being now, up to a factor."""

    def weights(self, inside, age):
        # The oldest value counts from the middle of what is inside; ends are those of the spans.
        ends = jnp.cumsum(inside)
        raw = inside * self.shape((ends - 0.5 * inside) / ends[-1])
        return raw / jnp.sum(raw)

    def variance_factor(self, ratio):
        ratio = _positive(ratio)
        # ∫₀^{1−u} K(s) K(s + u) ds on intervals of u that halve towards 0, where e^{−ru} is steep.
        node, weight = 0.5 * (_NODE + 1.0), 0.5 * _WEIGHT
        begin = np.append(0.0, 0.5 ** np.arange(_HALVES, 0, -1))
        length = np.append(begin[1], begin[1:])[:, None]
        u, part = (begin[:, None] + length * node).ravel(), (length * weight).ravel()
        s = np.outer(1.0 - u, node)
        overlap = (1.0 - u) * ((self._scaled(s) * self._scaled(s + u[:, None])) @ weight)
        return 2.0 * np.exp(-ratio[..., None] * u) @ (part * overlap)

    @property
    def square(self):
        return float(0.5 * self._scaled(0.5 * (_NODE + 1.0)) ** 2 @ _WEIGHT)

    def _scaled(self, s: np.ndarray) -> np.ndarray:
        """K with the integral 1."""
        value = lambda s: _plain(self.shape, s)
        return value(s) / (0.5 * value(0.5 * (_NODE + 1.0)) @ _WEIGHT)


class RaisedCosine(_Shaped):
    """K = 1 − cos 2πs: smooth, so that oscillations faster than t₀ are left out as 1/(ωt₀)³; lags by t₀/2.

    Args:
        t0: Averaging time, macro time.
    """

    t0: float = eqx.field(static=True)

    def shape(self, s):
        return 1.0 - jnp.cos(2.0 * jnp.pi * s)


class Parabolic(_Shaped):
    """K = 6s(1 − s): continuous, oscillations faster than t₀ are left out as 1/(ωt₀)²; lags by t₀/2.

    Args:
        t0: Averaging time, macro time.
    """

    t0: float = eqx.field(static=True)

    def shape(self, s):
        return 6.0 * s * (1.0 - s)


class Kernel(_Shaped):
    """An average with a kernel of your own.

    Args:
        t0: Averaging time, macro time.
        K: K(s) for arrays s in [0, 1], s = 0 being now; it is divided by its integral. It may be negative in parts.

    Raises:
        BadInput: K is not finite, of another shape than s, or its integral vanishes.
    """

    t0: float = eqx.field(static=True)
    K: Callable = eqx.field(static=True)

    def __check_init__(self):
        s = 0.5 * (_NODE + 1.0)
        value = _plain(self.K, s)
        if value.shape != s.shape:
            raise BadInput(f"Kernel: K gives {value.shape} for s {s.shape}; it must give as many numbers.")
        if not np.all(np.isfinite(value)):
            raise BadInput(f"Kernel: K is not finite at s = {s[np.argmin(np.isfinite(value))]:.3g}.")
        if not abs(value @ _WEIGHT) > 1e-6 * (np.abs(value) @ _WEIGHT):
            raise BadInput("Kernel: the integral of K vanishes; it must not, since K is divided by it.")

    def shape(self, s):
        return self.K(s)


_BLOCKS = 32  # kept for the error of an average
_PART = 8  # of t₀: the length of a block


class Blocks(NamedTuple):
    """Means of the last blocks (blocks, ...) of length t₀/8, their number, and sum and span of the unfinished block."""

    means: Any
    count: Array
    total: Any
    span: Array


def begin_blocks(value: Any) -> Blocks:
    """No blocks yet; `value` gives the shape of a response."""
    means = jax.tree.map(lambda v: jnp.zeros((_BLOCKS, *v.shape), v.dtype), value)
    return Blocks(means, jnp.zeros((), jnp.int32), jax.tree.map(jnp.zeros_like, value), jnp.zeros(()))


def push_blocks(blocks: Blocks, value: Any, interval: Any, t0: float) -> Blocks:
    """The blocks after `value` held over the last `interval`; a block ends with the value that fills it."""
    total = jax.tree.map(lambda s, v: s + interval * v, blocks.total, value)
    span = blocks.span + interval
    full = span >= t0 / _PART * (1.0 - 1e-9)
    safe = jnp.where(span > 0.0, span, 1.0)
    means = jax.tree.map(lambda m, s: jnp.where(full, jnp.roll(m, 1, axis=0).at[0].set(s / safe), m), blocks.means, total)
    empty = jax.tree.map(lambda s: jnp.where(full, jnp.zeros_like(s), s), total)
    return Blocks(means, blocks.count + full.astype(jnp.int32), empty, jnp.where(full, 0.0, span))


def blocked_error(blocks: Blocks, average: AbstractAverage) -> Any:
    """Standard error of the average, a tree like a response, from the spread of the finished blocks; NaN before two.

    Blocks are t₀/8 long. With the correlation ρ of neighbouring blocks, as of a process with exponential decay, the spectral
    density S is that of independent blocks times (1 + ρ)/(1 − ρ). The variance is S ∫K²/t₀, and at most that of the blocks.
    With 32 blocks the error is accurate to a seventh or, where the correlation time is near t₀, to a third.
    """
    there = jnp.minimum(blocks.count, _BLOCKS)
    inside = (jnp.arange(_BLOCKS) < there).astype(jnp.result_type(float))
    pairs = inside[1:] / jnp.maximum(there - 1, 1)

    def error(means):
        off = means - jnp.tensordot(inside / jnp.maximum(there, 1), means, axes=1)
        spread = jnp.tensordot(inside, off**2, axes=1) / jnp.maximum(there - 1, 1)
        neighbours = jnp.tensordot(pairs, off[1:] * off[:-1], axes=1)
        rho = jnp.clip(neighbours / jnp.where(spread > 0.0, spread, 1.0), 0.0, 0.95)
        variance = spread * jnp.minimum(average.square / _PART * (1.0 + rho) / (1.0 - rho), 1.0)
        return jnp.where(there > 1, jnp.sqrt(variance), jnp.nan)

    return jax.tree.map(error, blocks.means)


def _plain(K: Callable, s: np.ndarray) -> np.ndarray:
    """K(s) in plain numbers, also while JAX traces a run: K itself may use jnp."""
    with jax.ensure_compile_time_eval():
        return np.asarray(K(jnp.asarray(s)), float)


def _positive(ratio: Any) -> np.ndarray:
    ratio = np.asarray(ratio, float)
    if not np.all(ratio > 0.0):
        raise BadInput(f"variance_factor: the ratio of t0 to the decay time must be positive; it is {ratio}.")
    return ratio

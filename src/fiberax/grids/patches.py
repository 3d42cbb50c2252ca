"""Patches (the gap-tooth scheme): a microscopic model computed in small intervals, their ends interpolated from the centres.

Kevrekidis et al., Commun. Math. Sci. 1 (2003) 715; coupling of patches: Roberts and Kevrekidis, SIAM J. Sci. Comput. 29 (2007)
1495; media with a period: Bunder, Roberts and Kevrekidis, J. Comput. Phys. 337 (2017) 154. The macrostate U is the value at the
centre of every patch. The fiber holds what the rest of the patch differs from it by; its response is the rate of the centre.
Together they are the patch equations in other variables, exactly. With the deviations in equilibrium all of a patch moves at
the rate of its centre.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from fiberax.core.errors import BadInput, Mismatch
from fiberax.core.fiber import AbstractFlow
from fiberax.core.macro import AbstractMacro, Layout


class Edges(NamedTuple):
    """What a patch is held at: the values at its centre and its two ends, scalars or arrays of one shape."""

    centre: Any
    left: Any
    right: Any


class Patch(AbstractFlow):
    """A microscopic model on 2 `half` + 1 points, the outermost held at given values; the state are deviations from the centre.

    A model with a period needs `half` to be a multiple of it: values at ends and centre then belong to the same place in the
    period, and the coupling of `Patches` does not see the period.

    Args:
        rate: rate(values, places), what the points between the ends do. `values` (2 half + 1, ...) are those of all points,
            `places` (2 half + 1,) their distances from the centre; the result (2 half − 1, ...) is d(values)/dt.
        half: Points from the centre to an end, at least 2.
        spacing: Distance of neighbouring points, positive.

    Raises:
        BadInput: Numbers out of their range.
    """

    micro: Callable
    half: int = eqx.field(static=True)
    spacing: float = eqx.field(static=True)

    def __init__(self, rate: Callable, half: int, spacing: float):
        if isinstance(half, bool) or not isinstance(half, int) or half < 2:
            raise BadInput(f"Patch: half is a whole number of points from the centre to an end, at least 2; it is {half!r}.")
        if not 0.0 < spacing < float("inf"):
            raise BadInput(f"Patch: spacing must be positive and finite; it is {spacing!r}.")
        self.micro, self.half, self.spacing = rate, half, float(spacing)

    def init(self, condition, key):
        s = np.delete(np.arange(1 - self.half, self.half), self.half - 1) / self.half
        s = jnp.asarray(s).reshape(-1, *[1] * jnp.ndim(condition.centre))
        odd, even = 0.5 * (condition.right - condition.left), 0.5 * (condition.right + condition.left) - condition.centre
        return s * odd + s**2 * even

    def rate(self, state, condition):
        rates = self._rates(state, condition)
        middle = self.half - 1
        return jnp.delete(rates, middle, axis=0) - rates[middle]

    def link(self, state, condition):
        """The rate of the value at the centre."""
        return self._rates(state, condition)[self.half - 1]

    def _rates(self, state, condition):
        inside = condition.centre + jnp.insert(state, self.half - 1, 0.0, axis=0)
        values = jnp.concatenate([condition.left[None], inside, condition.right[None]])
        return self.micro(values, self.spacing * jnp.arange(-self.half, self.half + 1))


class Patches(AbstractMacro):
    """The values at the centres of equidistant patches on a periodic interval; conditions are `Edges`, responses dU/dt.

    The macrostate is (count, ...), the trailing axes being those of one point of the `Patch`, which is the fiber of the bundle.

    Args:
        length: Length of the interval, positive.
        count: Number of patches, at least 3.
        order: Even order of the polynomial through `order` + 1 centres that gives the values at the ends; None for spectral
            coupling, whose error is that of a Fourier series through all centres.

    Raises:
        BadInput: Numbers out of their range.
        Mismatch: Another fiber than a `Patch`, or patches that overlap, when the bundle is made.
    """

    length: float = eqx.field(static=True)
    count: int = eqx.field(static=True)
    order: int | None = eqx.field(static=True, default=None)
    half_width: float | None = eqx.field(static=True, default=None, kw_only=True)

    def __check_init__(self):
        if not 0.0 < self.length < float("inf"):
            raise BadInput(f"Patches: length must be positive and finite; it is {self.length!r}.")
        if isinstance(self.count, bool) or not isinstance(self.count, int) or self.count < 3:
            raise BadInput(f"Patches: count must be a whole number, at least 3; it is {self.count!r}.")
        if self.order is None:
            return
        if isinstance(self.order, bool) or not isinstance(self.order, int) or self.order < 2 or self.order % 2:
            raise BadInput(f"Patches: order is an even number from 2 on, or None for spectral coupling; it is {self.order!r}.")
        if self.order >= self.count:
            raise BadInput(
                f"Patches: a polynomial of order {self.order} needs {self.order + 1} centres; there are {self.count}. Lower "
                "the order, or take order=None."
            )

    @property
    def pitch(self) -> float:
        """Distance of neighbouring centres."""
        return self.length / self.count

    def with_fiber(self, fiber):
        if not isinstance(fiber, Patch):
            raise Mismatch(f"Patches: the fiber is a microscopic model on a patch, fx.Patch; it is a {type(fiber).__name__}.")
        half_width = fiber.half * fiber.spacing
        if 2.0 * half_width > self.pitch * (1.0 + 1e-12):
            raise Mismatch(
                f"Patches of width {2.0 * half_width:.6g} overlap: their centres are {self.pitch:.6g} apart. Take fewer points "
                "in a patch, or fewer patches."
            )
        return Patches(self.length, self.count, self.order, half_width=half_width)

    def conditions(self, macro):
        if self.half_width is None:
            raise Mismatch("Patches: the width of a patch is not known before the model is in a bundle with an fx.Patch.")
        right = _ahead(self.half_width / self.pitch, self.count, self.order)
        couple = lambda weights: jnp.tensordot(jnp.asarray(weights), macro, axes=1)
        return Edges(macro, couple(right.T), couple(right))

    def rate(self, t, macro, response):
        return response

    def positions(self):
        return self.pitch * np.arange(self.count)[:, None]

    def layout(self):
        return Layout(("x",), {"x": self.pitch * np.arange(self.count)})


def _ahead(ratio: float, count: int, order: int | None) -> np.ndarray:
    """The matrix (count, count) that takes values at the centres to those at the distance `ratio`, in pitches, ahead of each.

    Its transpose takes them to those behind: the weights of a shift depend on differences of numbers alone.
    """
    offsets = np.arange(count)
    if order is None:
        waves = np.fft.fftfreq(count, 1.0 / count)
        row = np.mean(np.cos(2.0 * np.pi * np.outer(offsets - ratio, waves) / count), axis=1)
    else:
        nodes = np.arange(-(order // 2), order // 2 + 1)
        lagrange = [np.prod([(ratio - m) / (n - m) for m in nodes if m != n]) for n in nodes]
        row = np.zeros(count)
        row[nodes % count] = lagrange
    return np.stack([np.roll(row, k) for k in range(count)])

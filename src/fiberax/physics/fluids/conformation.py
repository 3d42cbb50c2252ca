"""Fluids whose microstate is one positive matrix c, the conformation: what they share, and their motion in time.

    dc/dt = κc + cκᵀ − a(tr c) c + g(tr c) I

With a and g held over a step the motion is that of Lodge's integral (Bird, Armstrong and Hassager, Dynamics of Polymeric
Liquids 1): c' = e^(−at) E c Eᵀ + g ∫₀ᵗ e^(−au) E(u)E(u)ᵀ du, E(u) = exp(κu), by Gauss's rule on intervals that double
in length; the weights are positive, so that c' is, whatever the step. a and g are means of those at both ends of the step, that
at the end by its root in tr c', which is one number: order 2; below the bound of tr c, if it has one; and a steady state stays
where it is. The weight of the start falls from 1/2 to 0 as e^(−at/4): a fluid forgets, and long steps end at the steady state.
"""

import abc
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from fiberax.core.capabilities import AbstractMonitored, AbstractPropagated
from fiberax.core.errors import BadInput
from fiberax.core.solvers import Newton
from fiberax.core.strategies import Within
from fiberax.numerics import trees
from fiberax.numerics.result import Result
from fiberax.physics.fluids.density import check_gradient
from fiberax.physics.fluids.suspended import AbstractSuspended

_LEVELS = 10  # intervals of a step, each twice as long as the one before
_NODES = 6  # of Gauss's rule on each
_TERMS = 6  # of the series of exp on the shortest
_ROOT = 40  # iterations for tr c at the end of a step
_STEADY = 80  # iterations for that of a steady state
_LARGEST = 1e15  # tr c up to which steady states are looked for
_FOUND = 1e-6  # relative error of tr c that is not a root


class AbstractConformation(AbstractPropagated, AbstractMonitored, AbstractSuspended):
    """A fluid of one positive matrix c; condition κ (dim, dim), state c (dim, dim), response τ (dim, dim), by default c.

    `reach` is the upper bound of tr c, or infinity. A fiber that is one defines `rate`, `propagate`, which keeps c positive,
    and `steady`. It has more than five public methods: those of a flow fiber that is monitored.
    """

    @property
    def reach(self) -> Float[Array, ""] | float:
        """Upper bound of tr c."""
        return float("inf")

    @property
    def rest(self) -> Float[Array, ""] | float:
        """c/I at rest."""
        return 1.0

    @abc.abstractmethod
    def steady(self, condition: Float[Array, "d d"]) -> tuple[Float[Array, "d d"], Bool[Array, ""]]:
        """A state near the steady one, and whether there is one."""

    def init(self, condition, key):
        """The equilibrium at rest."""
        check_gradient(type(self).__name__, condition, self.dim)
        return self.rest * jnp.eye(self.dim)

    def link(self, state, condition):
        return state

    @property
    def solver(self):
        return Steady()

    @property
    def mixing(self):
        return Within(self._kept)

    def _kept(self, state, safe):
        """The new c where it keeps a quarter of the distance of `safe` to every bound, else `safe`."""
        below = jnp.trace(state) <= 0.25 * jnp.trace(safe) + 0.75 * self.reach
        return jnp.where(positive(state - 0.25 * safe) & below, state, safe)

    def stability_margin(self, state, condition):
        """The smallest eigenvalue of c."""
        return jnp.min(jnp.linalg.eigvalsh(0.5 * (state + state.T)))

    def remedy(self, result):
        return "lower rates: there is no steady state" if result == Result.OUT_OF_RANGE else ""

    def explain(self, state, condition):
        return (
            f"The conformation is not positive, its eigenvalues being {np.linalg.eigvalsh(np.asarray(state))}: no steady state."
        )


class Steady(Newton):
    """Newton's method from the fiber's own `steady`, whose answer counts where it is a conformation."""

    def solve(self, fiber: AbstractConformation, state, condition, tolerance):
        guess, there = fiber.steady(condition)
        new, out = super().solve(fiber, jnp.where(there, guess, state), condition, tolerance)
        lost = ~there | (out.result == Result.SUCCESS) & ~(fiber.stability_margin(new, condition) > 0.0)
        return new, out._replace(result=jnp.where(lost, jnp.int32(Result.OUT_OF_RANGE), out.result))


class AbstractClosure(AbstractConformation):
    """A conformation whose rates depend on its trace alone, dc/dt = κc + cκᵀ − a c + g I, with a and g ≥ 0 from `rates`."""

    @abc.abstractmethod
    def rates(self, trace: Float[Array, ""]) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """The numbers a and g at tr c."""

    def rate(self, state, condition):
        a, g = self.rates(jnp.trace(state))
        return condition @ state + state @ condition.T - a * state + g * jnp.eye(self.dim)

    def propagate(self, state, condition, time):
        """Order 2 in the change of the rates, exact in the flow; positive, and below `reach`, for every step."""
        moved = _motion(condition, time)
        symmetric = 0.5 * (state + state.T)
        start = self._bounded(jnp.trace(symmetric))
        first = self.rates(start)

        def held(known, trace):
            fiber, moved, first, time = known
            last = fiber.rates(trace)
            share = 0.5 * _exp(-0.25 * jnp.maximum(jnp.abs(first[0]), jnp.abs(last[0])) * time)
            a, g = (share * b + (1.0 - share) * e for b, e in zip(first, last, strict=True))
            return _held(moved, a, g, time)

        def of(known, trace):
            carried, parts = held(known[0], trace)
            return carried * known[1] + parts @ known[2]

        moved_state = moved.end @ symmetric @ moved.end.T
        known = (self, moved, first, time)
        traces = jnp.trace(moved_state), jnp.trace(moved.spread, axis1=1, axis2=2)
        trace, _ = self._root(of, (known, *traces), start, 1e-12 * self.dim, _ROOT)
        carried, parts = held(known, trace)
        new = carried * moved_state + jnp.tensordot(parts, moved.spread, 1)
        return 0.5 * (new + new.T)

    def steady(self, condition):
        unit = jnp.eye(self.dim)

        def held(known, trace):
            fiber, condition = known
            operator = jnp.kron(condition, unit) + jnp.kron(unit, condition)
            a, g = fiber.rates(trace)
            c = jnp.linalg.solve(a * jnp.eye(unit.size) - operator, g * unit.ravel()).reshape(unit.shape)
            return 0.5 * (c + c.T)

        def of(known, trace):
            c = held(known, trace)
            # Where the flow is faster than the springs no positive c is steady: they would be drawn out further.
            return jnp.where(positive(c), jnp.trace(c), jnp.inf)

        # The power of the flow is not negative: a tr c ≥ g dim, as at rest or above.
        least = 0.5 * self.rest * self.dim
        known = (self, condition)
        trace, left = self._root(of, known, 1.01 * self.rest * self.dim, least, _STEADY)
        return held(known, trace), jnp.abs(left) < _FOUND

    def _bounded(self, trace):
        return jnp.clip(trace, 0.0, self.reach * (1.0 - 16.0 * jnp.finfo(trace.dtype).eps))

    def _root(self, of, known, guess, least, iterations):
        """The s with of(known, s) = s, from above `least`, and the logarithm of of(known, s)/s there.

        Newton's method in y = log(s/(1 − s/reach)), held in a bracket. The root is differentiable, though the search is not.
        """
        dtype = jnp.result_type(float)
        eps = float(jnp.finfo(dtype).eps)
        stop = lambda tree: jax.tree.map(lambda x: jax.lax.stop_gradient(x) if isinstance(x, jax.Array) else x, tree)
        reach = stop(jnp.asarray(self.reach, dtype))  # only a variable to search in

        def trace(y):
            u = jnp.exp(y)
            return u / (1.0 + u / reach)

        def off(known, y):
            s = trace(y)
            return jnp.log(of(known, s)) - jnp.log(s)

        fixed = stop(known)

        def body(carry):
            k, low, high, y, _ = carry
            value, slope = jax.jvp(lambda y: off(fixed, y), (y,), (jnp.ones_like(y),))
            over = value < 0.0
            low, high = jnp.where(over, low, y), jnp.where(over, y, high)
            trial = y - value / slope
            new = jnp.where((trial >= low) & (trial <= high), trial, 0.5 * (low + high))
            return k + 1, low, high, new, jnp.abs(new - y)

        top = jnp.log(jnp.where(jnp.isfinite(reach), reach / (16.0 * eps), _LARGEST))
        bottom = jnp.log(jnp.asarray(least, dtype))
        s = jnp.asarray(guess, dtype)
        start = jnp.clip(jnp.log(s) - jnp.log1p(-s / reach), bottom, top)
        going = lambda carry: (carry[0] < iterations) & (carry[4] > 16.0 * eps * (1.0 + jnp.abs(carry[3])))
        y = jax.lax.while_loop(going, body, (0, *stop((bottom, top, start)), jnp.asarray(jnp.inf, dtype)))[3]
        value, slope = jax.jvp(lambda y: off(known, y), (stop(y),), (jnp.ones_like(y),))
        good = jnp.isfinite(value) & jnp.isfinite(slope) & (slope < 0.0)
        move = jnp.where(good, -value / jnp.where(good, stop(slope), -1.0), 0.0)
        return trace(stop(y) + jnp.clip(move, -1.0, 1.0)), stop(value)


class Motion(NamedTuple):
    """E(u)E(u)ᵀ of a step (nodes, d, d) and its end E (d, d), each up to a factor whose logarithm is given with it."""

    times: Float[Array, " nodes"]
    weights: Float[Array, " nodes"]
    spread: Float[Array, "nodes d d"]
    logs: Float[Array, " nodes"]
    end: Float[Array, "d d"]
    log: Float[Array, ""]


def _motion(kappa: Float[Array, "d d"], time: Float[Array, ""]) -> Motion:
    """The nodes of a step, by squares of exp on its shortest interval; accurate up to |κ| time of some hundred."""
    x, w = np.polynomial.legendre.leggauss(_NODES)
    x, w = jnp.asarray(0.5 * (x + 1.0)), jnp.asarray(0.5 * w)
    h = 0.5**_LEVELS
    within = jnp.append(x, 1.0)[:, None, None] * (time * h) * kappa
    power = small = jnp.broadcast_to(jnp.eye(kappa.shape[0]), within.shape)
    for n in range(1, _TERMS + 1):
        power = within @ power / n
        small = small + power
    scale = jnp.zeros(_NODES + 1)

    def level(carry, _):
        small, scale = carry
        nodes = small[-1] @ small[:-1]
        out = nodes @ jnp.swapaxes(nodes, 1, 2), 2.0 * (scale[-1] + scale[:-1])
        small = small @ small
        size = jnp.max(jnp.abs(small), axis=(1, 2))
        return (small / size[:, None, None], 2.0 * scale + jnp.log(size)), out

    first = small[:-1] @ jnp.swapaxes(small[:-1], 1, 2), scale[:-1]
    (small, scale), rest = jax.lax.scan(level, (small, scale), None, length=_LEVELS)
    spread, logs = (jnp.concatenate([a[None], b]) for a, b in zip(first, rest, strict=True))
    length = h * 2.0 ** jnp.maximum(jnp.arange(_LEVELS + 1) - 1, 0)
    begin = jnp.where(jnp.arange(_LEVELS + 1) > 0, length, 0.0)
    times = time * (begin[:, None] + length[:, None] * x)
    return Motion(
        times.ravel(),
        (length[:, None] * w).ravel(),
        spread.reshape(-1, *kappa.shape),
        logs.ravel(),
        small[-1],
        scale[-1],
    )


def _held(moved: Motion, a, g, time):
    """Factors of E c Eᵀ and of E(u)E(u)ᵀ at the nodes, whose sum is c after a step with a and g held.

    The sum of the weights e^(−au) is exact.
    """
    carried = _exp(2.0 * moved.log - a * time)
    decay = -a * moved.times
    top = jax.lax.stop_gradient(jnp.max(decay))  # cancels
    total = jnp.sum(moved.weights * _exp(decay - top))
    parts = moved.weights * _exp(decay - top + moved.logs) / total
    small = jnp.abs(a * time) < 1e-7
    safe = jnp.where(small, 1.0, a)
    span = jnp.where(small, time, (1.0 - _exp(-safe * time)) / safe)
    return carried, g * span * parts


def _exp(x):
    """exp(x), at its ends finite and not zero: what is out of the range of numbers decides only where to look for a root."""
    most = 0.9 * float(np.log(jnp.finfo(x.dtype).max))
    return jnp.exp(jnp.clip(x, -most, most))


def positive(c: Float[Array, "dim dim"]) -> Bool[Array, ""]:
    """Whether a symmetric matrix is positive definite: all of its leading minors are."""
    minor = c[0, 0] * c[1, 1] - c[0, 1] * c[1, 0]
    last = minor if c.shape[0] == 2 else jnp.linalg.det(c)
    return (c[0, 0] > 0.0) & (minor > 0.0) & (last > 0.0)


def check_number(who: str, name: str, value, low: float, high: float = float("inf"), open_low: bool = True):
    """`value` as an array. Raises `BadInput` where it is not between `low` and `high`, which are excluded."""
    if not trees.is_tracer(value):
        inside = low < float(value) < high or (not open_low and float(value) == low)
        if not inside:
            least = f"above {low:g}" if open_low else f"at least {low:g}"
            most = "finite" if high == float("inf") else f"below {high:g}"
            raise BadInput(f"{who}: {name} must be {least} and {most}; it is {value!r}.")
    return jnp.asarray(value, jnp.result_type(float))


def check_dim(who: str, dim: int) -> int:
    """`dim`. Raises `BadInput` where it is not 2 or 3."""
    if dim not in (2, 3):
        raise BadInput(f"{who}: dim must be 2 or 3; it is {dim!r}.")
    return dim

"""Ions that relax with their electrons, and a second attempt for electrons that failed."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fiberax.numerics.result import Outcome, Result, outcome

_MOST = 60
_WIDEST = 0.05  # of a lattice vector, in one step
_CAREFUL = 0.25


class Relaxed(NamedTuple):
    """State of a fiber whose ions move: electrons, and shifts of all ions but the first in fractions of the lattice."""

    electrons: Any
    shifts: Float[Array, "ions-1 3"]


def electrons_of(state: Any) -> Any:
    """The state without shifts."""
    return state.electrons if isinstance(state, Relaxed) else state


def with_electrons(state: Any, electrons: Any) -> Any:
    """The state with other electrons."""
    return Relaxed(electrons, state.shifts) if isinstance(state, Relaxed) else electrons


def places(positions: tuple[tuple[float, ...], ...], state: Any) -> Float[Array, "ions 3"]:
    """Fractional positions of the ions."""
    found = jnp.asarray(positions)
    return found.at[1:].add(state.shifts) if isinstance(state, Relaxed) else found


def stiffness(electrons: Any, ions: int, volume: Any) -> Any:
    """d²E/dx² (hartree) of an ion of mean charge in uniform electrons, x in fractions of the lattice: (4π/3) Z n Ω^{−1/3}."""
    return (4.0 * np.pi / 3.0) * electrons**2 / ions * volume ** (-1.0 / 3.0)


def twice(once: Callable, warm: Any, fresh: Callable) -> tuple[Any, Outcome]:
    """`once(guess, careful)` from `warm` with careful = 1; where that fails, from `fresh()` with careful below 1."""

    def attempt(carry):
        _, out, tries = carry
        guess = jax.lax.cond(tries == 0, lambda: warm, fresh)
        state, new = once(guess, jnp.where(tries == 0, 1.0, _CAREFUL))
        return state, outcome(new.result, out.steps + new.steps, new.residual), tries + 1

    begin = outcome(jnp.int32(Result.MAX_STEPS), jnp.int32(0), jnp.asarray(jnp.inf))
    again = lambda carry: (carry[2] == 0) | ((carry[2] == 1) & (carry[1].result != 0))
    state, out, _ = jax.lax.while_loop(again, attempt, (warm, begin, jnp.int32(0)))
    return state, out


class _Carry(NamedTuple):
    state: Relaxed
    energy: Any
    slope: Any
    inverse: Any  # of the matrix of second derivatives
    shorter: Any
    step: Any
    out: Outcome
    norm: Any
    result: Any


def together(ground: Callable, energy: Callable, state: Relaxed, stiff: Any, tolerance: float) -> tuple[Relaxed, Outcome]:
    """Shifts of minimal energy by quasi-Newton steps (BFGS), electrons in their ground state at each.

    `ground(shifts, electrons, tolerance)` gives electrons and an outcome, `energy(electrons, shifts)` hartree per cell, whose
    slope at fixed electrons is the force of Hellmann and Feynman. The residual of shifts is that slope over `stiff`.
    """
    size, shape = state.shifts.size, state.shifts.shape
    slope_of = jax.value_and_grad(energy, argnums=1)

    def body(x: _Carry) -> _Carry:
        way = -(x.inverse @ x.slope)
        way = jnp.where(way @ x.slope < 0.0, way, -x.slope / stiff)
        way = way * jnp.minimum(1.0, _WIDEST / jnp.maximum(jnp.max(jnp.abs(way)), 1e-300)) * x.shorter
        shifts = x.state.shifts + way.reshape(shape)
        electrons, out = ground(shifts, x.state.electrons, 0.5 * tolerance)
        value, slope = slope_of(electrons, shifts)
        slope = slope.reshape(-1)
        good = value <= x.energy + 1e-11 * jnp.abs(value)
        bend = way @ (slope - x.slope)
        inverse = jnp.where(good & (bend > 0.0), _improved(x.inverse, way, slope - x.slope, bend), x.inverse)
        new = (Relaxed(electrons, shifts), value, slope)
        state, value, slope = jax.tree.map(lambda a, b: jnp.where(good, a, b), new, (x.state, x.energy, x.slope))
        shorter, step = jnp.where(good, 1.0, 0.25 * x.shorter), x.step + 1
        norm = jnp.max(jnp.abs(slope)) / stiff
        code = jnp.where(step >= _MOST, jnp.int32(Result.MAX_STEPS), jnp.int32(-1))
        code = jnp.where(shorter < 1e-4, jnp.int32(Result.STALLED), code)
        code = jnp.where(norm <= tolerance, jnp.int32(Result.SUCCESS), code)
        code = jnp.where(out.result != 0, out.result, code)
        out = outcome(out.result, x.out.steps + out.steps, out.residual)
        return _Carry(state, value, slope, inverse, shorter, step, out, norm, code)

    none = outcome(jnp.int32(0), jnp.int32(0), jnp.asarray(jnp.inf))
    start = _Carry(
        state, jnp.asarray(jnp.inf), jnp.zeros(size), jnp.eye(size) / stiff, jnp.ones(()), jnp.int32(0), none,
        jnp.asarray(jnp.inf), jnp.int32(-1),
    )  # fmt: skip
    end = jax.lax.while_loop(lambda x: x.result < 0, body, start)
    return end.state, outcome(end.result, end.out.steps, jnp.maximum(end.norm, end.out.residual))


def _improved(inverse, way, change, bend):
    """The update of Broyden, Fletcher, Goldfarb and Shanno, where way·change = bend > 0."""
    along = jnp.outer(way, change) / jnp.where(bend > 0.0, bend, 1.0)
    rest = jnp.eye(len(way)) - along
    return rest @ inverse @ rest.T + jnp.outer(way, way) / jnp.where(bend > 0.0, bend, 1.0)

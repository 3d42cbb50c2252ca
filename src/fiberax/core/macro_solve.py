"""Newton for the macro model through the responses: rate(t, U) = shift (U − base); shift 0 is the steady state."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from fiberax.core.borrow import count_failures
from fiberax.core.driver import AbstractSectionDriver, Section
from fiberax.core.field import Field
from fiberax.core.macro import AtRest
from fiberax.numerics import linear, trees
from fiberax.numerics.newton import backtrack

_HALVINGS = 8
_SMALL = 1e-6


class Step(NamedTuple):
    """A macro step, or one stage of it: number of the step, time, time since the last accepted step, macrostate and section.

    For `AbstractStepper.step` the time is that at the start and `dt` the length of the step.
    """

    number: Any
    t: Any
    dt: Any
    macro: Any
    section: Section


class _Equation(NamedTuple):
    """rate(t, U) = shift (U − base), in the stage `stage` of step `number`, `dt` after the last accepted step."""

    number: Any
    t: Any
    dt: Any
    base: Any
    shift: Any
    stage: Any


class Iterate(NamedTuple):
    """One iterate of Newton's method for the macro model; before the first the responses are not known and `steps` is −1."""

    macro: Any
    section: Section
    residual: Any
    norm: jax.Array
    update: jax.Array  # size of the last Newton update relative to the macrostate
    steps: jax.Array
    refused: jax.Array  # fibers that failed in the last trial of the line search that was not taken


def _trial(field: Field) -> Field:
    """The field in the trials of Newton's method, in which what the sites share stays as it is."""
    return dataclasses.replace(field, learn=False)


def _residual(field: Field, at: _Equation, macro, section):
    rate, section = field.rate(at.number, at.t, macro, section, at.dt, stage=at.stage)
    return jax.tree.map(lambda r, u, b: r - at.shift * (u - b), rate, macro, at.base), section


def _newton_direction(field: Field, t, shift, macro, section, residual, tangents):
    response = field.sites.trim(section.response) if field.driver.slaved else field.response(macro, section)
    negative = jax.tree.map(jnp.negative, residual)
    own = field.bundle.macro.solve_linearised(t, negative, macro, response, tangents, shift)
    if own is not None:
        return own
    apply = field.linear_rate(t, macro, response, tangents)

    def matvec(direction):
        return jax.tree.map(lambda r, w: r - shift * w, apply(direction), direction)

    def precondition(r):
        return field.bundle.macro.precondition(r, macro, response, jnp.asarray(shift, jnp.result_type(float)))

    return linear.solve(
        matvec,
        negative,
        precondition=precondition,
        tolerance=1e-11,
        max_steps=2000,
        dense_limit=0,
    )


def _iterate(field: Field, equation: _Equation, at: Iterate) -> tuple[Iterate, Any]:
    """One damped Newton step, and the tangents that it was taken with; the first iterate is a step of length zero.

    Responses are long programs: so they are computed, and compiled, in one place.
    """
    begins = at.steps < 0
    tangents, direction = _unless(begins, lambda: _direction(field, equation, at))
    failed_before = _failures(field, at.section)

    def attempt(scale):
        macro = trees.axpy(scale, direction, at.macro)
        residual, section = _residual(_trial(field), equation, macro, at.section)
        # A fiber that fails keeps its last good response: the residual alone would not show it.
        refused = jnp.maximum(_failures(field, section) - failed_before, 0)
        bad = ((refused > 0) | ~field.bundle.macro.admissible(macro)) & ~begins
        return macro, section, residual, jnp.where(bad, jnp.inf, trees.norm(residual)), refused

    def accepts(scale, found):
        return (begins & (scale <= 1.0)) | (found[3] <= (1.0 - 1e-4 * scale) * at.norm)

    # The search begins one halving early, so that the responses are computed in one place only.
    nothing = (at.macro, at.section, at.residual, jnp.asarray(jnp.inf), jnp.zeros_like(failed_before))
    half, found = backtrack(lambda s: attempt(2.0 * s), lambda s, f: accepts(2.0 * s, f), _HALVINGS, nothing)
    scale, (macro, section, residual, norm, refused) = 2.0 * half, found
    # Also where a step leads through zero.
    size = jnp.maximum(jnp.maximum(trees.norm(macro), trees.norm(equation.base)), field.bundle.macro.magnitude())
    update = scale * trees.norm(direction) / jnp.where(size > 0, size, 1.0)
    better = begins | (norm < at.norm)
    if field.driver.coupled:
        # The macro residual does not contain those of the fibers: equilibrium is reached when responses stop changing too.
        better = better | ((update < 1e-6) & jnp.isfinite(norm))
        update = jnp.maximum(update, _unrest(at.section.response, section.response, tangents))
    # No descent along the Newton direction: the residual is at its round-off, or the problem is singular there.
    macro, residual, norm = trees.where(better, (macro, residual, norm), (at.macro, at.residual, at.norm))
    # At a macrostate that is refused, neither the states nor the failures of fibers count.
    section = trees.where(better, section, at.section)
    update = jnp.where(better, update, jnp.where(update < 1e-6, 0.0, jnp.inf))
    update, refused = jnp.where(begins, 1.0, update), jnp.where(begins, 0, refused)
    return Iterate(macro, section, residual, norm, update, at.steps + 1, refused), tangents


def _direction(field: Field, equation: _Equation, at: Iterate) -> tuple[Any, Any]:
    """Tangents and the Newton step."""
    tangents = field.tangents(at.macro, at.section)
    return tangents, _newton_direction(field, equation.t, equation.shift, at.macro, at.section, at.residual, tangents)


def _unless(condition, function: Callable) -> Any:
    """What `function()` gives, and zeros instead of computing it where `condition` is true."""
    traced = eqx.filter_closure_convert(function)  # traced once, for its shapes and for its values
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), eqx.filter_eval_shape(traced))
    return jax.lax.cond(condition, lambda: zeros, lambda: traced())


def _unrest(before, after, tangents) -> jax.Array:
    """Change of the responses relative to their size, or to their change by a small change of the conditions."""
    size = jnp.maximum(trees.norm(after), _SMALL * trees.norm(tangents))
    return trees.norm(trees.subtract(after, before)) / jnp.where(size > 0.0, size, 1.0)


def _failures(field: Field, section) -> jax.Array:
    return count_failures(field.outcomes(section).result)


def _begin(field: Field, equation: _Equation, macro, section) -> Iterate:
    none, nothing = jnp.zeros((), jnp.int32), jax.tree.map(jnp.zeros_like, macro)
    one = jnp.ones(())
    if not isinstance(field.driver, AbstractSectionDriver):
        return Iterate(macro, section, nothing, one, one, none - 1, none)
    # In the trials of a step what the sites share stays as it is: here it may change.
    residual, section = _residual(field, equation, macro, section)
    return Iterate(macro, section, residual, trees.norm(residual), one, none, none)


def _steady_equation(t, base, shift, dt) -> _Equation:
    return _Equation(jnp.zeros((), jnp.uint32), t, dt, base, shift, 0)


def first_iterate(field: Field, t, macro, section, dt) -> Iterate:
    """Where the search for a steady state begins: the fibers of `section` brought to equilibrium with `macro`, or before that.

    `dt`: macro time since the last accepted state, for fibers with memory.
    """
    section = section._replace(outcome=jax.tree.map(jnp.zeros_like, section.outcome))
    macro = field.bundle.macro.prescribed(t, macro)
    return _begin(field, _steady_equation(t, macro, jnp.zeros(()), dt), macro, section)


def next_iterate(field: Field, t, shift, at: Iterate, dt) -> tuple[Iterate, Any]:
    """One damped Newton step for rate = 0, and the `slopes` where it began: they need the tangents that the step needs."""
    section = at.section._replace(outcome=jax.tree.map(jnp.zeros_like, at.section.outcome))
    at, equation = at._replace(section=section), _steady_equation(t, at.macro, shift, dt)
    if isinstance(field.driver, AbstractSectionDriver):  # what the sites share may change between the steps
        residual, section = _residual(field, equation, at.macro, section)
        at = at._replace(section=section, residual=residual, norm=trees.norm(residual))
    new, tangents = _iterate(field, equation, at)
    return new, slopes(field, t, at.macro, at.section, tangents)


def slopes(field: Field, t, macro, section, tangents) -> tuple[jax.Array, jax.Array] | None:
    """How much the rate changes by a constant and by a wave that are added to the macrostate; None for models with inertia."""
    if isinstance(field.bundle.macro, AtRest):
        return None
    apply = field.linear_rate(t, macro, field.sites.trim(section.response), tangents)
    ones = jax.tree.map(jnp.ones_like, macro)
    waves = jax.tree.map(lambda x: jnp.cos(jnp.arange(x.size)).reshape(x.shape).astype(x.dtype), macro)
    return trees.norm(apply(ones)), trees.norm(apply(waves))


def _solve(field: Field, equation: _Equation, macro, section, tolerance, max_steps):
    start = _begin(field, equation, macro, section)

    def unfinished(at: Iterate):
        going = (at.update > tolerance) & jnp.isfinite(at.update) & (at.steps < max_steps)
        return going if field.driver.coupled else going & (at.norm > 0.0)

    at = jax.lax.while_loop(unfinished, lambda at: _iterate(field, equation, at)[0], start)
    good = ((at.update <= tolerance) | ((at.norm == 0.0) & (not field.driver.coupled))) & jnp.isfinite(at.norm)
    return at.macro, at.section, good, at.steps, at.norm


def _detached(function, *arguments):
    """Call `function` cut off from differentiation, whatever it closes over."""
    converted = eqx.filter_closure_convert(function, *arguments)
    return trees.frozen(converted)(*trees.frozen(arguments))


class Accuracy(NamedTuple):
    """Size of the last Newton update relative to the macrostate, and the largest number of Newton steps."""

    tolerance: float
    max_steps: int


def solve_macro(field: Field, at: Step, base, shift, accuracy: Accuracy, stage: Any = 0):
    """Solve rate(t, U) = shift (U − base) from `at`: returns macrostate, section, and whether it converged.

    While JAX traces the run (field.retry off) the solution is found outside differentiation and passed once more through one
    Newton step, which carries the derivatives of the implicit function theorem.
    """
    macro, base = field.bundle.macro.prescribed(at.t, at.macro), field.bundle.macro.prescribed(at.t, base)
    at = at._replace(macro=macro)
    if field.retry:
        return _solve(field, _Equation(at.number, at.t, at.dt, base, shift, stage), at.macro, at.section, *accuracy)[:3]

    def find(t, dt, base, shift, macro, section):
        equation = _Equation(at.number, t, dt, base, shift, stage)
        macro, section, good, _, _ = _solve(field, equation, macro, section, *accuracy)
        return macro, section, good, field.tangents(macro, section)

    t, shift = jnp.asarray(at.t, jnp.result_type(float)), jnp.asarray(shift, jnp.result_type(float))
    dt = jnp.asarray(at.dt, jnp.result_type(float))
    found, settled, good, tangents = _detached(find, t, dt, base, shift, at.macro, at.section)
    found = field.bundle.macro.prescribed(t, found)  # with its derivatives
    # Carried states and histories are data of the step and keep their derivatives; states of a slaved driver only start its
    # solves.
    section = settled._replace(history=at.section.history) if field.driver.slaved else at.section
    residual, section = _residual(field, _Equation(at.number, t, dt, base, shift, stage), found, section)

    direction = _newton_direction(field, t, shift, found, section, residual, tangents)
    return trees.axpy(1.0, direction, found), section, good

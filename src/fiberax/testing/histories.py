"""Checks of fibers with memory: what runs rely on in `begin`, `increment`, `accept` and `dissipated`, along a short path."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from fiberax.core.capabilities import AbstractSummarised
from fiberax.core.equilibrium import relaxed
from fiberax.core.fiber import AbstractEnergy, AbstractMemory, code_in_words
from fiberax.core.lagrangian import constraint_count
from fiberax.core.link import apply_link
from fiberax.numerics import trees
from fiberax.numerics.result import effort
from fiberax.testing.arithmetic import norm, random_like, same

# Loading, unloading, loading and unloading again, in steps that are short and long against any time of the fiber.
_PATH = ((1.0, 0.1), (1.1, 1.0), (0.9, 0.01), (1.2, 10.0), (0.5, 10.0))  # factor of the condition, length of the step
_PUSH = (1e-2, 1e-4)  # of the size of the state, for the look at the minimum


def check_memory(checks: Any, fiber: AbstractMemory, condition, link, tolerance: float) -> int:
    """The checks, for `checks` as in `check_fiber`; returns the largest number of steps of a solve."""
    history = fiber.begin(condition)
    arrays = all(isinstance(x, jax.Array) for x in jax.tree.leaves(history))
    checks.need("begin gives arrays", arrays, "begin must give a tree of jax arrays.")
    checks.finite("begin is finite", history, "the history from begin")
    checks.need("begin repeats itself", same(history, fiber.begin(condition)), "two histories at the start differ.")
    # Programs that tell whether something outside of the history decides are traced for each call.
    lost, most = _dissipated(checks, fiber, history, "at the start"), 0
    for number, (factor, dt) in enumerate(_PATH):
        place = f"in step {number + 1} of a path, with dt = {dt:g} and {factor:g} times the condition"
        held, span = jax.tree.map(lambda c, f=factor: f * c, condition), jnp.asarray(dt)
        first, out = _trial(fiber, history, held, span, link, tolerance)
        problem = fiber.increment(history, span)
        checks.need("increment is an energy", isinstance(problem, AbstractEnergy), "increment must give an energy fiber.")
        words = f"{code_in_words(fiber, int(out.result))} {effort(out.residual, out.steps)}, {place}."
        checks.need("increment has a minimum", int(out.result) == 0, words)
        most = max(most, int(out.steps))
        state, response, new = first
        checks.finite("response is finite", response, f"the response {place}")
        checks.alike("accept keeps the history's form", new, history, "the history after accept")
        checks.finite("accept is finite", new, f"the history after accept, {place}")
        if number < 2:  # each trial is compiled anew
            far = jax.tree.map(lambda c: 1.3 * c, held)
            _trial(fiber, history, far, span, link, tolerance)  # a trial that is refused
            again, _ = _trial(fiber, history, held, span, link, tolerance)
            text = (
                f"two trials from one history differ, {place}: increment, its solve or accept use something that is not in the "
                "history, or change it."
            )
            checks.need("trials repeat themselves", same(first, again), text)
        _check_minimum(checks, problem, state, held, place)
        if isinstance(fiber, AbstractSummarised) and number == len(_PATH) - 1:  # each trial is compiled anew
            _check_summary(checks, fiber, history, held, span, link, tolerance, place)
        history, before = new, lost
        lost = _dissipated(checks, fiber, history, place)
        floor = before - 1e-10 * max(abs(before), abs(_energy(problem, state, held)), 1e-300)
        text = f"the dissipated energy falls from {before:.6g} to {lost:.6g} {place}."
        checks.need("dissipation does not fall", lost >= floor, text)
    return most


def _trial(fiber: AbstractMemory, history, condition, dt, link, tolerance: float) -> tuple[Any, Any]:
    """State, response and the history that accept would give; and the outcome of the solve."""

    @eqx.filter_jit
    def trial(history, condition, dt):
        problem = fiber.increment(history, dt)
        begin = problem.init(condition, jax.random.key(7))
        state, out = relaxed(problem, begin, condition, tolerance)
        return (state, apply_link(link, problem, state, condition), fiber.accept(history, state, condition, dt)), out

    return trial(history, condition, dt)


def _check_summary(checks: Any, fiber: AbstractSummarised, history, condition, dt, link, tolerance: float, place: str) -> None:
    """A history with the same summary gives the same response, and the same summary after the step."""
    summary = fiber.summary(history)
    checks.need(
        "summary is a vector", jnp.ndim(summary) == 1, f"summary must give an array (k,); its shape is {jnp.shape(summary)}."
    )
    again = fiber.recover(summary)
    checks.alike("recover keeps the history's form", again, history, "the history from recover")
    found = [_trial(fiber, past, condition, dt, link, tolerance)[0][1:] for past in (history, again)]
    (one, after), (two, later) = ((response, fiber.summary(new)) for response, new in found)
    off, size = norm(trees.subtract((one, after), (two, later))), norm((one, after))
    text = f"histories of one summary differ by {off:.3g} in their response or in the next summary, of {size:.3g}, {place}."
    checks.need("the summary sums up the history", off <= 10.0 * tolerance * size, text)


def _dissipated(checks: Any, fiber: AbstractMemory, history, place: str) -> float:
    lost = fiber.dissipated(history)
    checks.need(
        "dissipated is a number", jnp.shape(lost) == (), f"dissipated must give a scalar; its shape is {jnp.shape(lost)}."
    )
    good = bool(np.isfinite(lost)) and float(lost) >= 0.0
    checks.need("dissipated is not negative", good, f"the dissipated energy is {float(lost):.6g} {place}.")
    return float(lost)


def _energy(problem: AbstractEnergy, state, condition) -> float:
    return float(eqx.filter_jit(problem.energy)(state, condition))


def _check_minimum(checks: Any, problem: AbstractEnergy, state, condition, place: str) -> None:
    """The energy of a step rises on both sides of its state, in a few directions; it need not be smooth there."""
    if trees.size(state) == 0 or constraint_count(problem, state, condition) > 0:
        return
    size = max(norm(state), 1e-3 * norm(condition), 1e-12)
    lowest = _energy(problem, state, condition)
    for seed in range(3):
        direction = random_like(state, seed)
        unit = size / norm(direction)
        for push in (sign * p for p in _PUSH for sign in (1.0, -1.0)):
            moved = jax.tree.map(lambda x, d, s=push * unit: jnp.asarray(x + s * d, x.dtype), state, direction)
            energy = _energy(problem, moved, condition)
            text = (
                f"the energy of the increment is {lowest:.10g} at the state that was found and {energy:.10g} close to it, "
                f"{place}: it is no minimum."
            )
            checks.need("increment has a minimum", energy >= lowest - 1e-9 * (abs(lowest) + abs(energy) + 1e-300), text)

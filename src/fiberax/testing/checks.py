"""Checks of one fiber and of one link. A check that fails names what is wrong, by how much, and what to look at."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from fiberax.core import lagrangian
from fiberax.core.errors import BadInput, FiberaxError
from fiberax.core.fiber import AbstractDynamic, AbstractEnergy, AbstractFiber, AbstractFlow, AbstractMemory, code_in_words
from fiberax.core.link import EnergyDerivative, apply_link
from fiberax.core.platform import need_double
from fiberax.core.relax import at_rest
from fiberax.core.solvers import solver_of
from fiberax.core.strategies import AbstractSolver
from fiberax.drivers.respond import response
from fiberax.numerics import trees
from fiberax.numerics.result import OWN_CODES, Result, effort
from fiberax.testing.arithmetic import combine, dot, flat, norm, pairs, random_like, rows, same
from fiberax.testing.histories import check_memory
from fiberax.testing.rests import check_each_rate, check_minimum, jumped

_STEP = 1e-3  # of the size of the condition, for fourth-order central differences


class CheckFailed(FiberaxError, AssertionError):
    """A model does not have a property that the library relies on."""


class FiberReport(NamedTuple):
    """Result of `check_fiber`.

    Args:
        entries: Numbers in one state.
        bytes: Size of one state.
        steps: Steps of the equilibrium solve; 0 for a dynamic fiber.
        deviations: The largest relative deviation for each law that was measured.
        checked: Names of all checks that were made.
    """

    entries: int
    bytes: int
    steps: int
    deviations: dict[str, float]
    checked: tuple[str, ...]


class _Checks:
    """Collects what was checked; methods raise `CheckFailed`."""

    def __init__(self, name: str):
        self.name = name
        self.checked: list[str] = []
        self.deviations: dict[str, float] = {}

    def need(self, check: str, good: bool, message: str) -> None:
        """One check, passed or not."""
        if not good:
            raise CheckFailed(f"{self.name}, {check}: {message}")
        if check not in self.checked:
            self.checked.append(check)

    def finite(self, check: str, tree: Any, what: str) -> None:
        """All entries finite."""
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
            bad = np.argwhere(~np.isfinite(np.asarray(leaf)))
            where = f"{jax.tree_util.keystr(path)} at index {bad[0].tolist()}" if len(bad) else ""
            self.need(check, not len(bad), f"{what}{where} is not finite.")

    def alike(self, check: str, got: Any, expected: Any, what: str) -> None:
        """Same tree, shapes and types."""
        self.need(
            check,
            jax.tree.structure(got) == jax.tree.structure(expected) and describe_types(got) == describe_types(expected),
            f"{what} must be a tree like {describe_types(expected)}; it is {describe_types(got)}.",
        )

    def close(self, check: str, got: Any, expected: Any, rtol: float, what: str, scale: float = 0.0) -> None:
        """Relative deviation of two trees in the Euclidean norm below `rtol`; `scale` is a size below which nothing counts."""
        size = max(norm(got), norm(expected), scale)
        deviation = norm(jax.tree.map(lambda a, b: np.asarray(a) - b, got, expected)) / size if size > 0.0 else 0.0
        self.deviations[check] = max(deviation, self.deviations.get(check, 0.0))
        self.need(check, deviation <= rtol, f"{what} (relative deviation {deviation:.2g}, allowed {rtol:.0e}).")


def describe_types(tree: Any) -> str:
    """Shapes and types of a tree in words, e.g. `3x3 float64`."""

    def word(leaf):
        shape, dtype = jnp.shape(leaf), jnp.result_type(leaf)
        return f"{'x'.join(map(str, shape)) or 'scalar'} {dtype}"

    return str(jax.tree.map(word, tree)).replace("'", "")


def observed_order(errors, steps) -> float:
    """Order of convergence p of errors ~ C·stepsᵖ, by least squares on the logarithms.

    Args:
        errors: Two or more positive numbers (n,).
        steps: Step lengths, frictions, ... (n,), positive.

    Returns:
        p.

    Raises:
        BadInput: Other values.
    """
    errors, steps = np.asarray(errors, float), np.asarray(steps, float)
    if errors.shape != steps.shape or errors.ndim != 1 or errors.size < 2:
        raise BadInput(
            f"observed_order needs equally many errors and steps, at least two; shapes {errors.shape}, {steps.shape}."
        )
    if not (np.all(np.isfinite(errors)) and np.all(errors > 0.0) and np.all(steps > 0.0)):
        raise BadInput(f"observed_order needs positive finite numbers; errors {errors.tolist()}, steps {steps.tolist()}.")
    return float(np.polyfit(np.log(steps), np.log(errors), 1)[0])


def check_fiber(
    fiber: AbstractFiber,
    condition: Any,
    link: Callable | None = None,
    tolerance: float = 1e-10,
    rtol: float = 1e-5,
) -> FiberReport:
    """Check everything the library relies on in a fiber, at one `condition` and close to it.

    Of every fiber: `init` repeats itself for one key; shapes and types are stable; numbers are finite. Of flows and energies
    also: the solver reaches a rest state, every equation on its own scale, and a relaxation of a flow stays there; constraints
    are kept; a batch gives what its members give; the `symmetric` flag and the preconditioner are correct; the tangent is the
    derivative of the response; gradients in parameters are finite; an energy's state is a minimum and no saddle, and its
    Hellmann-Feynman response is dW_CB/dU. Of fibers with memory, along a short path: each increment has a minimum, trials from
    one history repeat themselves, `accept` gives a history like that of `begin`, and dissipation is not negative and does not
    fall.

    Args:
        fiber: Any fiber.
        condition: U, a tree of numbers without a site axis.
        link: As in `fx.Bundle`.
        tolerance: Relative tolerance of equilibrium solves.
        rtol: Allowed relative deviation of derivatives from finite differences.

    Returns:
        What was checked, and the deviations that were measured.

    Raises:
        CheckFailed: A check fails; the message says what is wrong. It is an AssertionError.
        BadInput: A tolerance that single precision cannot reach.
    """
    need_double("check_fiber", tolerance)
    condition = _floating(condition)
    checks = _Checks(type(fiber).__name__)
    checks.finite("condition", condition, "the condition")
    state = _check_init(checks, fiber, condition)
    rest, steps = at_rest(fiber), 0
    solvable = isinstance(rest, AbstractFlow | AbstractEnergy)
    if solvable:
        _check_rates(checks, rest, state if rest is fiber else rest.init(condition, jax.random.key(7)), condition)
    _check_link(checks, link, fiber, state, condition)
    if isinstance(fiber, AbstractDynamic):
        _check_step(checks, fiber, state, condition)
    if isinstance(fiber, AbstractMemory):
        steps = check_memory(checks, fiber, condition, link, tolerance)
    if solvable:
        steps = _check_equilibrium(checks, rest, condition, link, tolerance, rtol)
    leaves = jax.tree.leaves(state)
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)
    return FiberReport(trees.size(state), size, steps, checks.deviations, tuple(checks.checked))


def check_link(link: Callable | None, fiber: AbstractFiber, condition: Any) -> Any:
    """Check that a link gives arrays, and is finite and differentiable at the fiber's `init`.

    Args:
        link: As in `fx.Bundle`; None for the fiber's own.
        fiber: Any fiber.
        condition: U, a tree of numbers without a site axis.

    Returns:
        The response at `init`.

    Raises:
        CheckFailed: A check fails.
        Mismatch: The fiber has no link.
    """
    condition = _floating(condition)
    checks = _Checks(f"the link of {type(fiber).__name__}")
    return _check_link(checks, link, fiber, fiber.init(condition, jax.random.key(0)), condition)


def _floating(condition: Any) -> Any:
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.result_type(float, x)), condition)


def _check_init(checks: _Checks, fiber: AbstractFiber, condition: Any) -> Any:
    key = jax.random.key(7)
    first, second = fiber.init(condition, key), fiber.init(condition, key)
    leaves = jax.tree.leaves(first)
    arrays = all(isinstance(x, jax.Array) for x in leaves)
    checks.need("init gives arrays", arrays, f"init must give jax arrays; it gives {[type(x).__name__ for x in leaves]}.")
    if isinstance(at_rest(fiber), AbstractFlow | AbstractEnergy):
        real = all(jnp.issubdtype(x.dtype, jnp.floating) for x in leaves)
        text = f"a state that is solved for has real floating-point entries; init gives {describe_types(first)}."
        checks.need("init gives real numbers", real, text)
    checks.finite("init is finite", first, "the state from init")
    checks.need("init repeats itself", same(first, second), "two states for one key differ; draw from the key only.")
    checks.alike("init under jit", jax.eval_shape(fiber.init, condition, key), first, "init under jit")
    return first


def _check_link(checks: _Checks, link, fiber, state, condition) -> Any:
    def linked(state, condition):
        return apply_link(link, fiber, state, condition)

    form = jax.tree.leaves(eqx.filter_eval_shape(linked, state, condition))
    arrays = bool(form) and all(isinstance(x, jax.ShapeDtypeStruct) for x in form)
    checks.need("link gives arrays", arrays, f"the link must give a tree of jax arrays; it gives {form}.")
    floating = all(jnp.issubdtype(x.dtype, jnp.inexact) for x in jax.tree.leaves((state, condition)))
    if not floating:
        value = eqx.filter_jit(linked)(state, condition)
        checks.finite("link is finite", value, "the response at init")
        return value
    value, moved = eqx.filter_jit(lambda s, c: jax.jvp(linked, (s, c), (s, c)))(state, condition)
    checks.finite("link is finite", value, "the response at init")
    checks.finite("link is differentiable", moved, "the derivative of the link at init")
    return value


def _check_step(checks: _Checks, fiber: AbstractDynamic, state: Any, condition: Any) -> None:
    key, dt = jax.random.key(3), jnp.asarray(1e-3)
    step = eqx.filter_jit(lambda state: fiber.step(state, condition, dt, key))
    new, again = step(state), step(state)
    checks.alike("step keeps the state's form", new, state, "the state after a step")
    checks.finite("step is finite", new, "the state after a step of 1e-3")
    text = "two steps with the same key differ; draw from the key only."
    checks.need("step repeats itself", same(new, again), text)
    code = int(fiber.verdict(new))
    text = f"verdict gives {code}, which is neither a code of fx.Result nor one of the fiber's own, which begin at {OWN_CODES}."
    checks.need("verdict is a code", code in set(Result) or code >= OWN_CODES, text)


def _check_rates(checks: _Checks, fiber: AbstractFlow | AbstractEnergy, state: Any, condition: Any) -> None:
    metric = None
    if isinstance(fiber, AbstractFlow):
        rate = eqx.filter_jit(lambda u: fiber.rate(u, condition))(state)
        checks.alike("rate keeps the state's form", rate, state, "the rate")
        checks.finite("rate is finite", rate, "the rate at init")
    else:
        form = eqx.filter_eval_shape(fiber.energy, state, condition).shape
        checks.need("energy is a number", form == (), f"energy must give a scalar; it has shape {form}.")
        form = eqx.filter_eval_shape(fiber.constraint, state, condition).shape
        checks.need("constraint is a vector", len(form) == 1, f"constraint must give a vector (k,); it has shape {form}.")
        metric = lagrangian.metric_tree(fiber, state)
        positive = all(bool(np.all(np.asarray(m) > 0.0)) for m in jax.tree.leaves(metric))
        checks.need("metric is positive", positive, "every entry of the metric must be a positive mass.")
        energy, slope = eqx.filter_jit(lambda u: jax.value_and_grad(fiber.energy)(u, condition))(state)
        checks.finite("energy is finite", energy, "the energy at init")
        checks.finite("energy gradient is finite", slope, "∂W/∂u at init")
    if trees.size(state):
        _check_linear(checks, fiber, solver_of(fiber), state, condition, metric)


def _check_linear(checks: _Checks, fiber, solver: AbstractSolver, state, condition, metric) -> None:
    """The preconditioner is linear, and the `symmetric` flag holds for it and for the Jacobian of the rate."""
    v, w = random_like(state, 1), random_like(state, 2)
    weigh = lambda tree: tree if metric is None else jax.tree.map(lambda m, x: np.asarray(m) * x, metric, tree)
    apply = eqx.filter_jit(lambda r, shift: solver.approximate_inverse(fiber, r, condition, shift))
    for shift in (jnp.asarray(0.0), jnp.asarray(2.0)):
        pv, pw, both = apply(v, shift), apply(w, shift), apply(combine(-3.0, v, w), shift)
        checks.alike("precondition keeps the state's form", pv, state, "the preconditioned residual")
        text = "precondition(w − 3v) differs from its parts"
        checks.close("precondition is linear", both, combine(-3.0, pv, pw), 1e-8, text)
        if metric is None and not solver.symmetric:
            continue
        left, right, size = dot(v, weigh(pw)), dot(w, weigh(pv)), norm(v) * norm(weigh(pw))
        text = f"v·Pw = {left:.6g} but w·Pv = {right:.6g} (in the metric), while the Jacobian is symmetric."
        checks.need("precondition is symmetric", abs(left - right) <= 1e-8 * size, text)
        down = max(dot(v, weigh(pv)), dot(w, weigh(pw))) <= 0.0
        checks.need("precondition is negative", down, "it approximates (J − shift)⁻¹ and must be negative definite.")
    if metric is None and solver.symmetric:
        push = eqx.filter_jit(lambda d: jax.jvp(lambda u: fiber.rate(u, condition), (state,), (d,))[1])
        jv, jw = push(v), push(w)
        left, right, size = dot(v, jw), dot(w, jv), norm(jv) * norm(w)
        text = f"it is True, but the Jacobian J of rate is not: v·Jw = {left:.6g}, w·Jv = {right:.6g}. Set it to False."
        checks.need("symmetric flag", abs(left - right) <= 1e-8 * size, text)
        down = max(dot(v, jv), dot(w, jw)) <= 1e-10 * size
        checks.need("symmetric flag", down, "it is True, but the Jacobian of rate is not negative definite. Set it to False.")


def _check_equilibrium(checks: _Checks, fiber, condition, link, tolerance, rtol) -> int:
    at = response(fiber, condition, link, tangent=True, tolerance=tolerance)
    code = int(at.result)
    text = f"{code_in_words(fiber, code)} {effort(at.residual, at.steps)}."
    checks.need("equilibrium is found", code == Result.SUCCESS, text)
    form = jax.eval_shape(fiber.init, condition, jax.random.key(0))
    checks.alike("solve keeps the state's form", at.state, form, "the state from solve")
    checks.finite("response is finite", (at.value, at.tangent), "the response or its tangent")
    _check_rest(checks, fiber, at.state, condition, tolerance)
    _check_derivatives(checks, fiber, at, condition, link, tolerance, rtol)
    _check_gradient(checks, fiber, condition, link, tolerance)
    return int(at.steps)


def _check_rest(checks: _Checks, fiber, state, condition, tolerance) -> None:
    @eqx.filter_jit
    def residual(state):
        if isinstance(fiber, AbstractFlow):
            return fiber.rate(state, condition), jnp.zeros((0,))
        return lagrangian.energy_rest(fiber, (state, lagrangian.multipliers(fiber, state, condition)), condition)

    rate, constraint = residual(state)
    left, first = norm(rate), norm(residual(fiber.init(condition, jax.random.key(0)))[0])
    # Round-off of a stiff rate: its change by a change of the last digits of the state.
    nudged = residual(jax.tree.map(lambda x: x * (1.0 + 1e-13) + 1e-15, state))[0]
    noise = norm(combine(-1.0, rate, nudged))
    text = f"the rate at the solved state is {left:.2g}, against {first:.2g} at init; is `solve` looking at the same equations?"
    checks.need("solved state is at rest", left <= 100.0 * (tolerance * first + noise), text)
    if isinstance(fiber, AbstractFlow):
        check_each_rate(checks, fiber, state, condition, tolerance)
    else:
        check_minimum(checks, fiber, state, condition)
    worst = norm(constraint)
    checks.need("constraints are kept", worst <= 1e-8 * max(norm(state), 1.0), f"|g| = {worst:.2g} at the solved state.")


def _check_derivatives(checks: _Checks, fiber, at, condition, link, tolerance, rtol) -> None:
    """Tangent and energy against central differences of fourth order along one random direction, in one batch of fibers."""
    size = norm(condition)
    step = _STEP * (size if size > 0.0 else 1.0)
    direction = random_like(condition, 5)
    direction = jax.tree.map(lambda d: d / norm(direction), direction)
    points = jax.tree.map(lambda c, d: np.stack([c + k * step * d for k in (-2, -1, 1, 2)]), condition, direction)
    batch = eqx.filter_jit(jax.vmap(lambda c: response(fiber, c, link, tolerance=tolerance, state=at.state)))(points)
    code = int(np.max(batch.result))
    text = f"{code_in_words(fiber, code)}, at {np.count_nonzero(batch.result)} of 4 conditions very close to the one given."
    checks.need("a batch is solved", code == 0, text)
    one = jax.tree.map(lambda x: x[2], points)
    alone = response(fiber, one, link, tangent=True, tolerance=tolerance, state=at.state).value
    moves = jumped(at.state, batch.state)
    text = moves or "a fiber in a batch gives another response than alone; does it look at shapes or at Python values?"
    checks.close("batch and single agree", jax.tree.map(lambda x: x[2], batch.value), alone, max(1e-8, 100.0 * tolerance), text)

    weights = np.asarray([1.0, -8.0, 8.0, -1.0]) / (12.0 * step)
    slope = jax.tree.map(lambda x: np.tensordot(weights, x, axes=1), batch.value)
    matrix = np.concatenate([rows(value, part) for value, part in pairs(at.value, at.tangent, condition)])
    along = matrix @ flat(direction)
    noise = norm(at.value) * max(tolerance, 1e-15) / (step * rtol)
    text = moves or "the tangent differs from finite differences of the response"
    checks.close("tangent is the derivative of the response", along, flat(slope), rtol, text, noise)
    if isinstance(fiber, AbstractEnergy) and _is_conjugate(fiber, at, condition, link):
        power, work = weights @ np.asarray(batch.energy), dot(at.value, direction)
        # Also where energy and response vanish at the condition itself.
        largest = float(np.max(np.abs(np.asarray(batch.energy))))
        noise = max(largest * 1e-15 / (step * rtol), 1e-3 * max(norm(at.value), 0.5 * norm(batch.value)))
        text = "the response differs from dW_CB/dU, by finite differences of the energy at equilibrium"
        checks.close("response is dW_CB/dU", work, power, rtol, text, noise)


def _is_conjugate(fiber: AbstractEnergy, at, condition, link) -> bool:
    """Whether the response is meant to be dW_CB/dU: it is the Hellmann-Feynman force at the solved state."""
    if link is not None:
        return isinstance(link, EnergyDerivative)
    force = eqx.filter_jit(lagrangian.hellmann_feynman)(fiber, at.state, condition)
    if jax.tree.structure(force) != jax.tree.structure(at.value) or describe_types(force) != describe_types(at.value):
        return False
    return norm(combine(-1.0, force, at.value)) <= 1e-6 * max(norm(force), norm(at.value))


def _check_gradient(checks: _Checks, fiber, condition, link, tolerance) -> None:
    parameters, rest = eqx.partition(fiber, eqx.is_inexact_array)
    if not jax.tree.leaves(parameters):
        return

    @eqx.filter_jit
    def gradient(parameters):
        def total(parameters):
            value = response(eqx.combine(parameters, rest), condition, link, tolerance=tolerance).value
            return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(value))

        return jax.grad(total)(parameters)

    checks.finite("gradient in parameters is finite", gradient(parameters), "d response / d parameter")

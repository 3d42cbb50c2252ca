"""The bundle: macro model + fiber + link + transport, checked for fit by tracing shapes only."""

from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from fiberax.core.concrete import explained
from fiberax.core.errors import BadInput, FiberaxError, Mismatch
from fiberax.core.fiber import AbstractDynamic, AbstractEnergy, AbstractFiber, AbstractFlow, AbstractMemory
from fiberax.core.link import AbstractWrapper, apply_link
from fiberax.core.macro import AbstractMacro
from fiberax.core.randomness import is_random
from fiberax.core.transport import AbstractCarrier, AbstractTransport


class Bundle(eqx.Module):
    """A multiscale model: macro model, fiber, link, and how states are transported between sites.

    Args:
        macro: The macro model.
        fiber: The fiber, the same for all sites.
        link: An `AbstractLink` or a function of (fiber, state, condition); None for the fiber's own.
        transport: None for that of a macro model that carries states (`AbstractCarrier`); others leave states where they are.
        noise: "independent" for noise of its own at each site, "shared" for the same noise at all sites (Brownian
            configuration fields). None: shared where the macro model carries states and the fiber's `mixing` allows their
            averages, else independent.

    Raises:
        Mismatch: The pieces do not fit. Found at once if the macro model gives an `example`, else when a run begins.
        BadInput: An unknown `noise`; a given `noise` of a fiber that draws none, when a run begins.
    """

    macro: AbstractMacro
    fiber: AbstractFiber
    link: Callable | None
    transport: AbstractTransport | None
    noise: Literal["independent", "shared"] = eqx.field(static=True)
    noise_given: bool = eqx.field(static=True)

    def __init__(self, macro, fiber, link=None, transport=None, noise=None):
        for value, kind, name in ((macro, AbstractMacro, "macro model"), (fiber, AbstractFiber, "fiber")):
            if not isinstance(value, kind):
                raise Mismatch(f"Bundle: the {name} must derive from fx.{kind.__name__}; it is a {type(value).__name__}.")
        self.noise_given = noise is not None
        if noise is None:
            noise = "shared" if isinstance(macro, AbstractCarrier) and not fiber.mixing.refusal else "independent"
        if noise not in ("independent", "shared"):
            raise BadInput(f"Bundle: noise is 'independent' or 'shared'; it is {noise!r}.")
        self.macro, self.fiber, self.link, self.noise = macro.with_fiber(fiber), fiber, link, noise
        self.transport = macro.transport() if transport is None and isinstance(macro, AbstractCarrier) else transport
        if self.transport is not None:
            self.transport.check(self.macro, fiber)
        example = self.macro.example()
        if example is not None:
            check_fit(self, example)


def check_fit(bundle: Bundle, macro0: Any) -> tuple[Any, Any, Any]:
    """Trace conditions, init, link and rate on shapes. Raises `Mismatch` with what does not fit, `BadInput` for `noise`.

    Returns the shapes (`jax.ShapeDtypeStruct`) of all conditions (leading site axis), of one state and of one response.
    """
    name = type(bundle.macro).__name__
    kind = type(bundle.fiber).__name__
    example = bundle.macro.example()
    if example is not None and describe_shapes(macro0) != describe_shapes(example):
        raise Mismatch(f"The macrostate has the shape {describe_shapes(macro0)}; {name} expects {describe_shapes(example)}.")
    conditions = _traced(f"{name}.conditions(macrostate {describe_shapes(macro0)})", bundle.macro.conditions, macro0)
    leaves = jax.tree.leaves(conditions)
    if not leaves or any(leaf.ndim == 0 for leaf in leaves) or len({leaf.shape[0] for leaf in leaves}) != 1:
        raise Mismatch(
            f"{name}.conditions must give arrays with one common leading axis over sites; "
            f"it gives {describe_shapes(conditions)}."
        )
    one = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), conditions)
    state, response = check_site(bundle.fiber, bundle.link, one)
    if bundle.noise_given and not is_random(bundle.fiber, one):
        raise BadInput(f"Bundle: noise={bundle.noise!r} without effect: {kind} draws no noise. Leave it out.")
    sites = leaves[0].shape[0]
    many = jax.tree.map(lambda x: jax.ShapeDtypeStruct((sites, *x.shape), x.dtype), response)
    time = jax.eval_shape(lambda: jnp.zeros(()))
    rate = _traced(
        f"{name}.rate with a response {describe_shapes(response)} per site ({sites} sites), as the link of {kind} gives it,",
        bundle.macro.rate,
        time,
        macro0,
        many,
    )
    for method in (bundle.macro.positions, bundle.macro.magnitude):
        _traced(f"{name}.{method.__name__}()", method)
    macro = jax.eval_shape(lambda: jax.tree.map(jnp.asarray, macro0)) if not _is_shapes(macro0) else macro0
    if describe_shapes(rate) != describe_shapes(macro):
        raise Mismatch(
            f"{name}.rate must give a tree like the macrostate, {describe_shapes(macro)}; it gives {describe_shapes(rate)}. "
            f"The response was {describe_shapes(response)} per site, with {sites} sites."
        )
    return conditions, state, response


def _check_equations(fiber: AbstractFiber, condition, key) -> None:
    """Check the shape of the fiber's step, rate or energy, and that its state can be solved for."""
    if isinstance(fiber, AbstractWrapper):
        held = _traced(f"the condition of {type(fiber.inner).__name__}", fiber.inside, condition)
        return _check_equations(fiber.inner, held, key)
    kind, state = type(fiber).__name__, eqx.filter_eval_shape(fiber.init, condition, key)
    _need_arrays(f"{kind}.init", state)
    if isinstance(fiber, AbstractMemory):
        return _check_memory(fiber, state, condition, key)
    if isinstance(fiber, AbstractDynamic):
        time = jax.ShapeDtypeStruct((), jnp.result_type(float))
        new = _traced(f"{kind}.step", fiber.step, state, condition, time, key)
        _need_arrays(f"{kind}.step", new)
        if describe_shapes(new) != describe_shapes(state):
            given = describe_shapes(new)
            raise Mismatch(f"{kind}.step must give a tree like the state, {describe_shapes(state)}; it gives {given}.")
        if _types(new) != _types(state):
            raise Mismatch(f"{kind}.step must keep the types of the state, {_types(state)}; it gives {_types(new)}.")
    if not isinstance(fiber, AbstractFlow | AbstractEnergy):
        return None
    if not all(jnp.issubdtype(x.dtype, jnp.floating) for x in jax.tree.leaves(state)):
        types = jax.tree.map(lambda x: str(x.dtype), state)
        raise Mismatch(f"{kind}.init must give real floating-point arrays, which can be solved for; it gives {types}.")
    flow = isinstance(fiber, AbstractFlow)
    call, method = (f"{kind}.rate", fiber.rate) if flow else (f"{kind}.energy", fiber.energy)
    place = f"on state {describe_shapes(state)} and condition {describe_shapes(condition)}"
    found = _traced(f"{call} {place}", method, state, condition)
    _need_arrays(call, found)
    value = describe_shapes(found)
    expected, like = (describe_shapes(state), "a tree like the state") if flow else ("scalar", "one number")
    if value != expected:
        raise Mismatch(f"{call} must give {like}, {expected}; it gives {value} ({place}).")
    if not all(jnp.issubdtype(x.dtype, jnp.floating) for x in jax.tree.leaves(found)):
        raise Mismatch(f"{call} must give real floating-point numbers; it gives {_types(found)} ({place}).")
    return None


def _types(tree: Any) -> Any:
    return jax.tree.map(lambda x: str(x.dtype), tree)


def _need_arrays(what: str, tree: Any) -> None:
    """Raise `Mismatch` where a leaf of what a function gave is no array: a number, a text, None."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree, is_leaf=lambda x: x is None):
        if not isinstance(leaf, jax.ShapeDtypeStruct | np.ndarray | np.generic):
            place = jax.tree_util.keystr(path)
            raise Mismatch(f"{what} must give arrays of jax, such as jnp.asarray(1.0); {place or 'it'} is {leaf!r}.")


def _check_memory(fiber: AbstractMemory, state, condition, key) -> None:
    """The problem of one step is an energy fiber, and accepting the step keeps the form of the history."""
    kind, time = type(fiber).__name__, jax.ShapeDtypeStruct((), jnp.result_type(float))
    history = _traced(f"{kind}.begin", fiber.begin, condition)
    problem = _traced(f"{kind}.increment", fiber.increment, history, time)
    if not isinstance(problem, AbstractEnergy):
        raise Mismatch(f"{kind}.increment must give an energy fiber; it gives a {type(problem).__name__}.")
    again = describe_shapes(_traced(f"{kind}.accept", fiber.accept, history, state, condition, time))
    if again != describe_shapes(history):
        raise Mismatch(f"{kind}.accept must give a tree like the history, {describe_shapes(history)}; it gives {again}.")


def _is_shapes(tree) -> bool:
    return all(isinstance(x, jax.ShapeDtypeStruct) for x in jax.tree.leaves(tree))


def check_site(fiber: AbstractFiber, link: Callable | None, condition: Any) -> tuple[Any, Any]:
    """Trace one fiber on shapes: init, motion, link. Returns the shapes of state and response; raises `Mismatch`."""
    kind, shown = type(fiber).__name__, describe_shapes(condition)
    key = jax.eval_shape(lambda: jax.random.key(0))
    state = _traced(f"{kind}.init(condition {shown}, key)", fiber.init, condition, key)
    _check_equations(fiber, condition, key)
    place = f"on state {describe_shapes(state)} and condition {shown}"
    what = f"the link of {kind} {place}" if link is None else f"link(fiber, state, condition) for {kind} {place}"
    response = _traced(what, lambda fiber, s, c: apply_link(link, fiber, s, c), fiber, state, condition)
    _need_arrays(what, response)
    return state, response


def describe_shapes(tree: Any) -> str:
    """The shapes of a tree of arrays or shape structs, as text, e.g. `3x3` or `{u: 64}`."""

    def word(leaf):
        shape = leaf.shape if isinstance(leaf, jax.ShapeDtypeStruct) else jnp.shape(leaf)
        return "x".join(map(str, shape)) or "scalar"

    return str(jax.tree.map(word, tree)).replace("'", "")


def _traced(what: str, function: Callable, *arguments) -> Any:
    try:
        return eqx.filter_eval_shape(function, *arguments)
    except FiberaxError:
        raise
    except Exception as error:
        models = (getattr(function, "__self__", None), *arguments)
        plain = explained(what, error, *(model for model in models if isinstance(model, eqx.Module)))
        if plain is not None:  # the traceback shows nothing else than the place, which the message names
            raise Mismatch(plain) from None
        raise Mismatch(f"{what} cannot be computed: {type(error).__name__}: {error}") from error

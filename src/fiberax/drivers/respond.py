"""Responses of fibers in equilibrium without a macro model, one or many; and the step limit of a bundle."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from fiberax.core.answer import Held, Words, settled
from fiberax.core.arguments import arrays, check_like, check_rows, check_run, finite, floats
from fiberax.core.bundle import Bundle, check_fit
from fiberax.core.driver import AbstractDriver
from fiberax.core.fiber import AbstractDynamic, AbstractFiber, workspace_of
from fiberax.core.field import Field
from fiberax.core.platform import check_platform, need_double
from fiberax.core.relax import at_rest
from fiberax.core.shown import Shown
from fiberax.core.sites import Placement, lay_out
from fiberax.core.stiffness import Stiffness, stiffness_of
from fiberax.core.traced import is_traced
from fiberax.drivers.quasistatic import Quasistatic
from fiberax.numerics import trees
from fiberax.numerics.compilation import jit_once
from fiberax.numerics.result import text_of

TOLERANCE = 1e-10  # of the solves of `response` and `responses`
_SMALL = 100  # entries of the state up to which `response` compiles for speed of compilation


class Response(Shown):
    """A fiber in equilibrium with its condition. From `fx.responses` every array has a leading batch axis.

    Args:
        value: The response; NaN where the fiber failed, with derivatives that are NaN.
        state: The microstate.
        result: Code of `fx.Result`.
        energy: W of an energy fiber, per unit reference volume; None for others.
        tangent: dA/dU, response axes first, condition axes last; NaN where the fiber failed, None where it was not asked for.
        steps: Steps of the solve.
        residual: Relative residual of the solve.
        stderr: Standard error of the value of a fiber that was sampled; None for others.
        words: words(code), a result code in words, with the fiber's `remedy`.
    """

    value: Any
    state: Any
    result: jax.Array
    energy: jax.Array | None
    tangent: Any
    steps: jax.Array
    residual: jax.Array
    stderr: Any = None
    words: Callable = eqx.field(static=True, default=text_of, repr=False)


def _checked(conditions: Any) -> Any:
    if _is_table(conditions):
        conditions = jnp.asarray(conditions, float)
    conditions = floats("The condition", conditions)
    finite("The condition", conditions)
    return conditions


def _is_table(value: Any) -> bool:
    """Whether `value` is a list of lists of plain numbers, rows of equal length: meant as an array, not as a tree."""
    if type(value) is not list or not all(type(row) is list for row in value):
        return False
    if any(type(x) is list for row in value for x in row):
        return all(map(_is_table, value)) and len({np.shape(row) for row in value}) == 1
    numbers = all(isinstance(x, int | float) for row in value for x in row)
    return numbers and len({len(row) for row in value}) == 1


def response(
    fiber: AbstractFiber,
    condition: Any,
    link: Callable | None = None,
    tangent: bool = False,
    tolerance: float | None = None,
    state: Any = None,
) -> Response:
    """A(U) of one fiber in equilibrium with one condition.

    Differentiable in the condition and in every parameter of the fiber by the implicit function theorem. A fiber that has only
    dynamics is sampled as `Quasistatic` does it, and its state is replicas; `fx.sample` has more options. A fiber with memory
    takes a first step of length zero from its history at the start.

    Args:
        fiber: Any fiber.
        condition: U, a tree of finite numbers, without a site axis. A list of lists of numbers is an array.
        link: As in `fx.Bundle`.
        tangent: Whether dA/dU is computed.
        tolerance: Relative tolerance of the solve; None for 1e-10. A fiber that is sampled has none.
        state: Where the solve begins; None for the fiber's own `init`.

    Returns:
        The response. A fiber that does not converge, or is not defined at the condition, has a code in `result`, and NaN for
        value, tangent and derivatives.

    Raises:
        Mismatch: Pieces that do not fit, or a tangent of a fiber that is sampled.
        BadInput: A condition that is not finite, or a tolerance that single precision cannot reach.
    """
    need_double("fx.response", TOLERANCE if tolerance is None else tolerance)
    many = jax.tree.map(lambda x: x[None], _checked(condition))
    states = None if state is None else jax.tree.map(lambda x: x[None], arrays("fx.response: state", state))
    return jax.tree.map(lambda x: x[0], _responses(fiber, many, link, tangent, tolerance, states, None, retry=False))


def responses(
    fiber: AbstractFiber,
    conditions: Any,
    link: Callable | None = None,
    tangent: bool = False,
    tolerance: float | None = None,
    placement: Placement | None = None,
    state: Any = None,
) -> Response:
    """`response` for a batch of conditions, jitted, in chunks, over devices.

    A fiber that fails is tried once more from its own `init`; `result` (batch,) says which failed in the end. Value and tangent
    come from one solve.

    Args:
        fiber: Any fiber.
        conditions: A tree with a leading batch axis on every leaf.
        link: As in `fx.Bundle`.
        tangent: Whether dA/dU is computed.
        tolerance: As in `response`.
        placement: Devices and chunks.
        state: States to begin with, a leading batch axis on every leaf, such as those of an earlier answer.

    Returns:
        The responses, a leading batch axis on every array.

    Raises:
        Mismatch, BadInput: As `response`.
    """
    need_double("fx.responses", TOLERANCE if tolerance is None else tolerance)
    conditions = _checked(conditions)
    check_rows("fx.responses: conditions", conditions)
    return _responses(fiber, conditions, link, tangent, tolerance, state, placement, retry=True)


def _responses(fiber, conditions, link, tangent, tolerance, state, placement, retry) -> Response:
    bundle = Bundle(Held(), fiber, link)
    sampled = isinstance(at_rest(fiber), AbstractDynamic)
    if tolerance is None and not sampled:
        tolerance = TOLERANCE
    field, conditions, like = field_at(bundle, Quasistatic(tolerance), conditions, placement)
    if state is not None:
        state = _checked_state(field, conditions, like, state, not retry)
    # One small fiber is solved in far less time than its program is compiled. (`field.retry`: nothing is traced.)
    one = not retry and not sampled and field.retry
    small = one and trees.size(_shapes(bundle, field.driver, conditions, field.key)[1]) <= _SMALL
    answered = _answered_once if small else _answered
    found = answered(dataclasses.replace(field, retry=field.retry and retry), conditions, like, state, tangent)
    return dataclasses.replace(found, words=Words(fiber))


def _checked_state(field: Field, conditions, like, state, single: bool) -> Any:
    """`state` as arrays like those that the fibers begin with, rows first; a `single` one is described without its row."""
    lead = (slice(1, None) if single else slice(None)), (field.sites.count,)
    shapes = jax.eval_shape(lambda c: field.begin(c, like, 0).state, conditions)
    state = arrays("fx.responses: state", state)
    form = lambda shape: jax.ShapeDtypeStruct(shape[lead[0]], jnp.result_type(float))
    rows = jax.tree.map(lambda x: form((*lead[1], *x.shape[1:])), shapes)
    what = "fx.response: state" if single else "fx.responses: state, one row for each condition,"
    check_like(what, jax.tree.map(lambda x: form(x.shape), state), rows)
    return state


def _answer(field: Field, conditions, like, state, tangent: bool) -> Response:
    zero, step = jnp.zeros(()), jnp.zeros((), jnp.uint32)
    section = field.begin(conditions, like, 0)
    empty = jax.tree.map(lambda x: jnp.full_like(x, jnp.nan), section.response)
    section = section._replace(response=empty)
    if state is not None:
        section = section._replace(state=field.sites.pad(state))
    section, answer = settled(field, step, section, conditions, zero, tangent=tangent, once=True)
    slope = trees.spoilt(answer.result == 0, answer.tangent)
    carried = field.sites.trim(section.state)
    return Response(answer.response, carried, answer.result, answer.energy, slope, answer.steps, answer.residual, answer.stderr)


_answered, _answered_once = eqx.filter_jit(_answer), jit_once(_answer)


def _settled(field: Field, macro, like):
    section = field.begin(macro, like, 0)
    empty = jax.tree.map(lambda x: jnp.full_like(x, jnp.nan), section.response)
    return field.advance(jnp.zeros((), jnp.uint32), macro, section._replace(response=empty), jnp.zeros(()))


def field_at(bundle: Bundle, driver: AbstractDriver, macro: Any, placement: Placement | None = None) -> tuple[Field, Any, Any]:
    """The field of a bundle without a time loop, the macrostate as arrays, and the shape of one response."""
    check_platform()
    macro, key = floats("The macrostate", macro), jax.random.key(0)
    conditions, state, like, traced = _shapes(bundle, driver, macro, key)
    size = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state))
    count, work = jax.tree.leaves(conditions)[0].shape[0], workspace_of(bundle.fiber)
    sites = lay_out(count, size, placement, driver.slaved, work)
    return Field(bundle, driver, driver.prepare(bundle.fiber), sites, key, not traced), macro, like


def _shapes(bundle, driver, macro, key) -> tuple:
    """What `check_fit` gives, and `is_traced`; once for each kind of bundle: it takes longer than a thousand cheap fibers."""
    leaves, structure = jax.tree.flatten((bundle, driver, macro))
    if any(trees.is_tracer(x) for x in leaves):
        return *check_fit(bundle, macro), True
    kinds = tuple((x.shape, x.dtype) if eqx.is_array(x) else x for x in leaves)
    try:
        known = _known(structure, kinds, jnp.result_type(float))
    except TypeError:  # something that cannot be hashed
        known = []
    if not known:
        known.append((*check_fit(bundle, macro), is_traced(bundle, driver, macro, key)))
    # A tracer in a closure is not of this call alone.
    return known[0] if not known[0][-1] else known.pop()


@functools.lru_cache(maxsize=64)
def _known(structure, kinds, precision) -> list:
    """The list that keeps what is known of one kind of bundle, at first empty."""
    return []


def stiffness(bundle: Bundle, macro: Any, driver: AbstractDriver | None = None, t: float = 0.0) -> Stiffness:
    """The limit of explicit macro steps that the fibers impose at a macrostate.

    Args:
        bundle: Macro model, fiber and link.
        macro: The macrostate.
        driver: How fibers follow their conditions; None for `Quasistatic()`.
        t: Macro time.

    Returns:
        Eigenvalue, largest step (macro time) and growth, see `Stiffness`.

    Raises:
        Mismatch: The pieces do not fit.
    """
    driver = Quasistatic() if driver is None else driver
    check_run("stiffness", bundle, driver)
    field, macro, like = field_at(bundle, driver, macro)
    macro = bundle.macro.prescribed(jnp.asarray(t, float), macro)
    section = eqx.filter_jit(_settled)(field, macro, like) if field.driver.slaved else field.begin(macro, like, 1)
    return stiffness_of(field, macro, section, t)

"""Responses of fibers in equilibrium, one or many, and what they imply for macro steps; no time, no macro model needed."""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from fiberax.core.bundle import Bundle, check_fit, check_site
from fiberax.core.driver import AbstractDriver, check_finite
from fiberax.core.errors import BadInput
from fiberax.core.fiber import AbstractEnergy, AbstractFiber
from fiberax.core.field import Field
from fiberax.core.macro import AbstractMacro
from fiberax.core.precision import need_double
from fiberax.core.relax import energy_of
from fiberax.core.sites import Placement, lay_out
from fiberax.core.stiffness import Stiffness, stiffness_of
from fiberax.core.traced import is_traced
from fiberax.drivers.quasistatic import Quasistatic
from fiberax.numerics import trees
from fiberax.numerics.result import Result


class Response(eqx.Module):
    """A fiber in equilibrium with its condition.

    `value`: the response; `state`: the microstate; `result`: code of `fx.Result`; `energy`: W for energy fibers, else None;
    `tangent`: dA/dU, response axes first, condition axes last, or None where it was not asked for; `steps`, `residual`
    (relative): of the solve; `stderr`: standard error of the value of a fiber that was sampled, else None. From `fx.responses`
    every array has a leading batch axis.
    """

    value: Any
    state: Any
    result: jax.Array
    energy: jax.Array | None
    tangent: Any
    steps: jax.Array
    residual: jax.Array
    stderr: Any = None


class _Held(AbstractMacro):
    """A macro model without motion: its state is the conditions themselves."""

    def conditions(self, macro):
        return macro

    def rate(self, t, macro, response):
        return jax.tree.map(jnp.zeros_like, macro)


def _checked(conditions: Any) -> Any:
    if _is_table(conditions):
        conditions = jnp.asarray(conditions, float)
    conditions = jax.tree.map(lambda x: jnp.asarray(x, jnp.result_type(float, x)), conditions)
    for path, leaf in jax.tree_util.tree_leaves_with_path(conditions):
        if not trees.is_tracer(leaf) and not np.all(np.isfinite(leaf)):
            first = np.argwhere(~np.isfinite(np.asarray(leaf)))[0].tolist()
            place = f"{jax.tree_util.keystr(path)} at index {first}" if first else jax.tree_util.keystr(path)
            raise BadInput(f"The condition{place} is not finite. Give finite numbers.")
    return conditions


def _is_table(value: Any) -> bool:
    """Whether `value` is a list of lists of plain numbers, rows of equal length: an array to whoever wrote it, not a tree."""
    if type(value) is not list or not all(type(row) is list for row in value):
        return False
    if any(type(x) is list for row in value for x in row):
        return all(map(_is_table, value)) and len({np.shape(row) for row in value}) == 1
    numbers = all(isinstance(x, int | float) for row in value for x in row)
    return numbers and len({len(row) for row in value}) == 1


def _at_once(fiber: AbstractFiber, link: Callable | None) -> bool:
    """True where response and energy come from one call of the fiber."""
    own = type(fiber).variational_link is AbstractFiber.variational_link
    return link is None and own and isinstance(fiber, AbstractEnergy)


def _value_and_energy(fiber: AbstractEnergy, state, condition):
    """As a link: the response, and W beside it."""
    return fiber.energy_and_link(state, condition)[::-1]


@eqx.filter_jit
def _one(driver: Quasistatic, fiber, link, condition, state, tangent: bool) -> Response:
    key = jax.random.key(0)
    guess, memory = driver.begin(fiber, link, condition, key, 0) if state is None else (state, ())
    at_once = _at_once(fiber, link)
    answer = _value_and_energy if at_once else link
    found, memory, value, out = driver.advance(fiber, answer, guess, memory, condition, jnp.zeros(()), key, 0)
    value, energy = value if at_once else (value, energy_of(fiber, found, condition))
    slope = driver.tangent(fiber, link, found, memory, condition) if tangent else None
    out = check_finite(value, out)
    # What a fiber that is not defined at this condition would answer must not pass for a response.
    value = jax.tree.map(lambda v: jnp.where(out.result == Result.NONFINITE, jnp.nan, v), value)
    error = driver.stderr(fiber, link, found, memory, condition)
    return Response(value, found, out.result, energy, slope, out.steps, out.residual, error)


def response(
    fiber: AbstractFiber,
    condition: Any,
    link: Callable | None = None,
    tangent: bool = False,
    tolerance: float = 1e-10,
    state: Any = None,
) -> Response:
    """A(U) of one fiber in equilibrium with one `condition`, and dA/dU where `tangent` is asked for.

    `state` warm-starts the solve (default: the fiber's own `init`). A fiber that has only dynamics is sampled as `Quasistatic`
    does it, its `state` being replicas; `fx.sample` leaves more choice. Differentiable in the condition and in every parameter
    of the fiber by the implicit function theorem. A fiber that does not converge says so in `result`; one that is
    not defined at the condition gives NaN. A list of lists of numbers is taken as an array. Raises `Mismatch` for a fiber
    without equilibrium or pieces that do not fit, and `BadInput` for a condition that is not finite.
    """
    driver = Quasistatic(tolerance)
    need_double("fx.response", tolerance)
    fiber, condition = driver.prepare(fiber), _checked(condition)
    check_site(fiber, link, condition)
    return _one(driver, fiber, link, condition, state, tangent)


def responses(
    fiber: AbstractFiber,
    conditions: Any,
    link: Callable | None = None,
    tangent: bool = False,
    tolerance: float = 1e-10,
    placement: Placement | None = None,
) -> Response:
    """The same for a batch of conditions (leading axis on every leaf), jitted, in chunks, over the devices of `placement`.

    A fiber that fails is tried once more; `result` (batch,) tells which failed in the end (their values are NaN).
    """
    need_double("fx.responses", tolerance)
    driver = Quasistatic(tolerance)
    bundle = Bundle(_Held(), fiber, _value_and_energy if _at_once(fiber, link) else link)
    field, conditions, like = field_at(bundle, driver, _checked(conditions), placement)
    return _many(field, link, conditions, like, tangent)


@eqx.filter_jit
def _many(field: Field, link: Callable | None, conditions, like, tangent: bool) -> Response:
    section = _settled(field, conditions, like)
    if _at_once(field.fiber, link):
        value, energy = section.response
    else:
        value, energy = section.response, field.energy(conditions, section)
    plain = eqx.tree_at(lambda f: f.bundle.link, field, link, is_leaf=lambda x: x is None)
    slope = plain.tangents(conditions, section) if tangent else None
    error = field.stderr(conditions, section)
    value, state, energy, outcome = jax.tree.map(
        lambda x: x[: field.sites.count], (value, section.state, energy, section.outcome)
    )
    return Response(value, state, outcome.result, energy, slope, outcome.steps, outcome.residual, error)


def _settled(field: Field, macro, like):
    section = field.begin(macro, like, 0)
    empty = jax.tree.map(lambda x: jnp.full_like(x, jnp.nan), section.response)
    section = section._replace(response=empty)
    return field.advance(jnp.zeros((), jnp.uint32), macro, section, jnp.zeros(()))


def field_at(bundle: Bundle, driver: AbstractDriver, macro: Any, placement: Placement | None = None) -> tuple[Field, Any, Any]:
    """The field of a bundle without a time loop, the macrostate as arrays, and the shape of one response."""
    macro, key = jax.tree.map(lambda x: jnp.asarray(x, jnp.result_type(float, x)), macro), jax.random.key(0)
    conditions, state, like, traced = _shapes(bundle, driver, macro, key)
    size = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state))
    sites = lay_out(jax.tree.leaves(conditions)[0].shape[0], size, placement, driver.slaved)
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
    """The place where what is known of one kind of bundle is kept, at first empty."""
    return []


def stiffness(bundle: Bundle, macro: Any, driver: AbstractDriver | None = None, t: float = 0.0) -> Stiffness:
    """Macro step limit that the fibers of `bundle` impose at the macrostate `macro`, see `Stiffness`.

    `driver`: how the fibers follow (default `Quasistatic()`). Raises `Mismatch` where the pieces do not fit.
    """
    field, macro, like = field_at(bundle, Quasistatic() if driver is None else driver, macro)
    section = eqx.filter_jit(_settled)(field, macro, like) if field.driver.slaved else field.begin(macro, like, 1)
    return stiffness_of(field, macro, section, t)

"""What fibers answer to their conditions, and how it is computed from a section.

For `Fibers`, `fx.response` and `fx.responses`.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from fiberax.core.capabilities import AbstractAssembled
from fiberax.core.driver import AbstractSectionDriver, Section
from fiberax.core.errors import FiberFailure
from fiberax.core.fiber import AbstractFiber, code_in_words
from fiberax.core.field import Field
from fiberax.core.link import AbstractDirect
from fiberax.core.macro import AbstractMacro
from fiberax.core.shown import Shown
from fiberax.numerics import trees
from fiberax.numerics.result import text_of


class Held(AbstractMacro):
    """A macro model without motion: its state is the conditions themselves."""

    def conditions(self, macro):
        return macro

    def rate(self, t, macro, response):
        return jax.tree.map(jnp.zeros_like, macro)


class Words:
    """Result codes of a fiber in words. All are equal, so that answers of any fibers are trees of one form.

    Of arrays that JAX traces, which must not outlive their transformation, the shapes are kept.
    """

    def __init__(self, fiber: AbstractFiber):
        held = lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype) if trees.is_tracer(x) else x
        self.fiber = jax.tree.map(held, fiber)

    def __call__(self, code: int) -> str:
        return code_in_words(self.fiber, code)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Words)

    def __hash__(self) -> int:
        return hash(Words)


class Answer(Shown):
    """The answer of fibers to their conditions; every array has one row for each site.

    Args:
        response: The response; of failed sites the last good one, NaN where there never was one. While JAX traces or
            differentiates the call, failed solves give NaN, and so do all their derivatives.
        tangent: dA/dU, response axes first; None where it was not asked for.
        result: Codes of `fx.Result` or of the fiber's own (rows,).
        energy: Energies (rows,) per unit reference volume; None where fibers have none.
        stderr: Standard error of the response, a tree like it; None where fibers are not random.
        steps: Steps of the solves (rows,).
        residual: Relative residuals of the solves (rows,).
        words: words(code), a result code in words, with the fiber's `remedy`.
    """

    response: Any
    tangent: Any
    result: jax.Array
    energy: jax.Array | None
    stderr: Any
    steps: jax.Array
    residual: jax.Array
    words: Callable = eqx.field(static=True, default=text_of, repr=False)

    def raise_if_failed(self) -> None:
        """Raise `FiberFailure` where a result is not 0; the message names the first such row, and the fiber's `remedy`."""
        codes = np.asarray(self.result)
        bad = np.flatnonzero(codes)
        if bad.size:
            raise FiberFailure(f"{bad.size} of {codes.size} fibers failed; row {bad[0]}: {self.words(int(codes[bad[0]]))}.")


def at_once(field: Field) -> bool:
    """True where response and energy come from one call of the fiber."""
    own = field.bundle.link is None and not isinstance(field.driver, AbstractSectionDriver)
    return field.driver.slaved and own and isinstance(field.fiber, AbstractAssembled)


class _Both(AbstractDirect):
    """The response, and W and perhaps the tangent with it, in the units of the fiber as it stands, wrapped or not."""

    order: int = eqx.field(static=True)

    def __call__(self, fiber, state, condition):
        assert isinstance(fiber, AbstractAssembled)
        energy, response, *tangent = fiber.assemble(state, condition, self.order)
        return response, (energy, *tangent)


def settled(
    field: Field, step, section: Section, conditions, dt, ids=None, tangent: bool = False, once: bool = False
) -> tuple[Section, Answer]:
    """`section` (padded rows) advanced under `conditions`, and the answer there; histories stay as they were.

    With `once` the tangent comes from the same call of the fiber as the response where that is possible, which spares a copy of
    it in the program; it is NaN where a fiber fails.
    """
    section = section._replace(outcome=jax.tree.map(jnp.zeros_like, section.outcome))
    energy, slope = None, None
    if at_once(field):
        link = _Both(2 if tangent and once and field.fiber.highest_order == 2 else 1)
        pair = eqx.tree_at(lambda f: f.bundle.link, field, link, is_leaf=lambda x: x is None)
        one = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), (section.state, conditions))
        with_it = jax.eval_shape(lambda state, condition: link(field.fiber, state, condition)[1], *one)
        nothing = jax.tree.map(lambda x: jnp.full((*section.own.shape, *x.shape), jnp.nan), with_it)
        new = pair.advance(step, conditions, section._replace(response=(section.response, nothing)), dt, ids=ids)
        response, found = new.response
        new = new._replace(response=response)
        energy, *slopes = field.sites.trim(found)
        slope = slopes[0] if slopes else None
    else:
        new = field.advance(step, conditions, section, dt, ids=ids)
    if not field.retry and field.driver.slaved:
        # Nothing has replaced the numbers of a failed solve, which must not be mistaken for a response.
        new = new._replace(response=trees.spoilt(new.outcome.result == 0, new.response))
    elif not field.retry:
        response = field.response(conditions, new)
        codes = field.sites.pad(field.codes(conditions, new, response))
        response = trees.spoilt(codes == 0, field.sites.pad(response))
        new = new._replace(response=response, own=jnp.ones_like(new.own), outcome=new.outcome._replace(result=codes))
    return new, answer_at(field, new, conditions, energy, tangent, slope)


def answer_at(field: Field, section: Section, conditions, energy=None, tangent: bool = False, slope=None) -> Answer:
    """The answer of a section that has been advanced under `conditions`; `slope` is its tangent where it is known already."""
    out = field.outcomes(section)
    slope = field.tangents(conditions, section) if tangent and slope is None else slope
    energy = field.energy(conditions, section) if energy is None else energy
    value, error = field.sites.trim(section.response), field.stderr(conditions, section)
    return Answer(value, slope, out.result, energy, error, out.steps, out.residual)

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
from fiberax.core.driver import Section
from fiberax.core.errors import FiberFailure
from fiberax.core.fiber import AbstractFiber, code_in_words
from fiberax.core.field import Field
from fiberax.core.link import AbstractDirect
from fiberax.core.macro import AbstractMacro
from fiberax.numerics.result import text_of


class Held(AbstractMacro):
    """A macro model without motion: its state is the conditions themselves."""

    def conditions(self, macro):
        return macro

    def rate(self, t, macro, response):
        return jax.tree.map(jnp.zeros_like, macro)


class Words:
    """Result codes of a fiber in words. Equal for fibers of one type, so that answers of them are trees of one form."""

    def __init__(self, fiber: AbstractFiber):
        self.fiber = fiber

    def __call__(self, code: int) -> str:
        return code_in_words(self.fiber, code)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Words) and type(other.fiber) is type(self.fiber)

    def __hash__(self) -> int:
        return hash(type(self.fiber))


class Answer(eqx.Module):
    """The answer of fibers to their conditions; every array has one row for each site.

    Args:
        response: The response; of failed sites the last good one, NaN where there never was one.
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
    words: Callable = eqx.field(static=True, default=text_of)

    def raise_if_failed(self) -> None:
        """Raise `FiberFailure` where a result is not 0; the message names the first such row, and the fiber's `remedy`."""
        codes = np.asarray(self.result)
        bad = np.flatnonzero(codes)
        if bad.size:
            raise FiberFailure(f"{bad.size} of {codes.size} fibers failed; row {bad[0]}: {self.words(int(codes[bad[0]]))}.")


def at_once(field: Field) -> bool:
    """True where response and energy come from one call of the fiber."""
    return field.driver.slaved and field.bundle.link is None and isinstance(field.fiber, AbstractAssembled)


class _Both(AbstractDirect):
    """The response, and W with it, in the units of the fiber as it stands, wrapped or not."""

    def __call__(self, fiber, state, condition):
        assert isinstance(fiber, AbstractAssembled)
        return fiber.assemble(state, condition, 1)[::-1]


def settled(field: Field, step, conditions, section: Section, dt, ids=None, tangent: bool = False) -> tuple[Section, Answer]:
    """`section` (padded rows) advanced under `conditions`, and the answer there; histories stay as they were."""
    section = section._replace(outcome=jax.tree.map(jnp.zeros_like, section.outcome))
    if at_once(field):
        pair = eqx.tree_at(lambda f: f.bundle.link, field, _Both(), is_leaf=lambda x: x is None)
        before = section._replace(response=(section.response, jnp.full(section.own.shape, jnp.nan)))
        new = pair.advance(step, conditions, before, dt, ids=ids)
        response, energy = new.response
        new = new._replace(response=response)
        energy = field.sites.trim(energy)
    else:
        new = field.advance(step, conditions, section, dt, ids=ids)
        energy = None
    if not field.retry and not field.driver.slaved:
        response = field.response(conditions, new)
        new = new._replace(response=field.sites.pad(response), own=jnp.ones_like(new.own))
    return new, answer_at(field, conditions, new, energy, tangent)


def answer_at(field: Field, conditions, section: Section, energy=None, tangent: bool = False) -> Answer:
    """The answer of a section that has been advanced under `conditions`."""
    out = field.outcomes(section)
    slope = field.tangents(conditions, section) if tangent else None
    energy = field.energy(conditions, section) if energy is None else energy
    value, error = field.sites.trim(section.response), field.stderr(conditions, section)
    return Answer(value, slope, out.result, energy, error, out.steps, out.residual)

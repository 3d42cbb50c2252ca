"""`Fibers`: the fibers of many sites and their section, for loops outside of this library; see docs/coupling.md.

A section is a value. To advance it is a trial; to keep the result is to accept it. Repeated trials from one section give
the same digits, also for random fibers and fibers with memory. No macro model and no time loop is needed.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from fiberax.core.arguments import check_rows, floats, shown
from fiberax.core.bundle import Bundle, check_fit
from fiberax.core.capabilities import AbstractAssembled
from fiberax.core.driver import AbstractDriver, Section
from fiberax.core.errors import BadInput, FiberFailure, Mismatch
from fiberax.core.fiber import AbstractFiber
from fiberax.core.field import Field
from fiberax.core.keys import typed_key
from fiberax.core.link import AbstractDirect
from fiberax.core.macro import AbstractMacro
from fiberax.core.platform import check_platform
from fiberax.core.randomness import warn_unused_key
from fiberax.core.sites import Placement, lay_out, to_host
from fiberax.core.solution import named_leaves
from fiberax.core.traced import is_traced
from fiberax.numerics import trees
from fiberax.numerics.result import text_of


class Held(AbstractMacro):
    """A macro model without motion: its state is the conditions themselves."""

    def conditions(self, macro):
        return macro

    def rate(self, t, macro, response):
        return jax.tree.map(jnp.zeros_like, macro)


class Carried(NamedTuple):
    """The section of `Fibers`: every leaf has one row for each site.

    Args:
        sites: States, memories, histories, last good responses and outcomes.
        ids: Global site numbers (rows,).
        step: How many times each row has been advanced (rows,).

    Noise depends on key, `step` and `ids`, so it moves with the rows.
    """

    sites: Section
    ids: jax.Array
    step: jax.Array


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
    """

    response: Any
    tangent: Any
    result: jax.Array
    energy: jax.Array | None
    stderr: Any
    steps: jax.Array
    residual: jax.Array

    def raise_if_failed(self) -> None:
        """Raise `FiberFailure` where a result is not 0; the message names the first such row."""
        codes = np.asarray(self.result)
        bad = np.flatnonzero(codes)
        if bad.size:
            raise FiberFailure(f"{bad.size} of {codes.size} fibers failed; row {bad[0]}: {text_of(int(codes[bad[0]]))}.")


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


class Fibers:
    """The fibers of many sites, driven from outside.

    Args:
        fiber: Any fiber.
        driver: How fibers follow their conditions; its micro steps divide the time of one `advance`.
        conditions: An example: a tree whose leaves have a leading axis over sites (rows). Other numbers of rows are possible.
        link: As in `fx.Bundle`.
        noise: "independent" (the default) or "shared", as in `fx.Bundle`.
        key: Seed of all noise, default key 0. A key for fibers that draw nothing is said (`NoEffectWarning`).
        ids: Global site numbers (rows,), by default 0, 1, ...; the noise of a site depends on its number. Each rank of a
            program with several processes gives the numbers of its own rows.
        placement: Devices and chunks.

    Raises:
        Mismatch: Fiber, link, driver and conditions do not fit.
        BadInput: A bad key, or bad site numbers.

    Works under jit, grad and vmap; a failed fiber is then not tried a second time.

    More than five public methods: a section can be begun, advanced, asked, stored and rearranged.
    """

    def __init__(
        self,
        fiber: AbstractFiber,
        driver: AbstractDriver,
        conditions: Any,
        link: Callable | None = None,
        noise: Literal["independent", "shared"] | None = None,
        key: jax.Array | None = None,
        ids: Any = None,
        placement: Placement | None = None,
    ):
        check_platform()
        self.placement, self.key = placement, typed_key("Fibers", key)
        self.bundle = Bundle(Held(), fiber, link, noise=noise)
        if not isinstance(driver, AbstractDriver):
            raise Mismatch(f"Fibers: the driver must be an object such as fx.Quasistatic(); it is {shown(driver)}.")
        conditions = floats("Fibers: conditions", conditions)
        check_rows("Fibers: conditions", conditions)
        self.driver, self.fiber = driver, driver.prepare(fiber)
        shapes, state, self.like = check_fit(self.bundle, conditions)
        self.one = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), shapes)
        self.bytes = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state))
        self.count = jax.tree.leaves(shapes)[0].shape[0]
        warn_unused_key("Fibers", fiber, self.one, key)
        self.ids = self._numbers(ids, self.count)
        self.traced = is_traced(self.bundle, driver, conditions, self.key)
        self._fields: dict[tuple[int, bool], Field] = {}
        self._programs: dict[tuple, Callable] = {}

    def begin(self, conditions: Any, ids: Any = None, dt: float | None = None) -> Carried:
        """A new section: the fibers' own `init`.

        Args:
            conditions: A tree, rows first.
            ids: As for `Fibers`; needed where the number of rows differs from that of `Fibers`.
            dt: The time of one `advance`, macro time, for drivers that average over a window of stored values.

        Returns:
            The section. It has no responses yet: NaN.

        Raises:
            BadInput: Conditions or site numbers that do not fit.
        """
        conditions = floats("Fibers: conditions", conditions)
        if dt is None and self.driver.samples(math.inf) == 0 < self.driver.samples(1.0):
            raise BadInput(
                "Fibers.begin: the driver averages over a window of stored values, as many as there are advances in it. Give "
                "dt, the time of one advance."
            )
        rows = self._rows(conditions)
        numbers = self.ids if ids is None and rows == self.count else self._numbers(ids, rows)
        samples = self.driver.samples(math.inf if dt is None else float(dt))

        def run(field, conditions, ids):
            section = field.begin(conditions, self.like, samples, ids)
            empty = jax.tree.map(lambda x: jnp.full_like(x, jnp.nan), section.response)
            return Carried(self._cut(section._replace(response=empty), rows), ids, jnp.zeros((rows,), jnp.uint32))

        return self._run(("begin", rows, samples), run, (conditions, numbers), ())

    def advance(
        self, section: Carried, conditions: Any, dt: Any = 0.0, tangent: bool = False, donate: bool = False
    ) -> tuple[Carried, Answer]:
        """The section after exactly the macro time `dt` under `conditions`, and the answer there.

        `Quasistatic` solves; `Seamless` takes its micro steps. To keep the new section is to accept the step: the next one
        starts from its histories.

        Args:
            section: Not changed, unless it is donated.
            conditions: A tree, rows first, as many as in `section`.
            dt: Macro time, at least 0.
            tangent: Whether the answer has the tangent.
            donate: Whether the memory of `section` may be reused; it must not be used any more.

        Raises:
            BadInput: Conditions that do not fit the section.
        """
        conditions = floats("Fibers: conditions", conditions)
        rows = self._rows(conditions, section)

        def run(field, section, conditions, dt):
            pad = field.sites.pad
            found = settled(field, section.step, conditions, pad(section.sites), dt, pad(section.ids), tangent)
            new = Carried(self._cut(field.commit(conditions, found[0]), rows), section.ids, section.step + 1)
            return new, found[1]

        return self._run(("advance", rows, tangent, donate), run, (section, conditions, dt), (0,) if donate else ())

    def respond(self, section: Carried, conditions: Any, tangent: bool = False) -> Answer:
        """The answer at the present states under `conditions` (rows first); nothing is advanced. Raises `BadInput`."""
        conditions = floats("Fibers: conditions", conditions)
        rows = self._rows(conditions, section)

        def run(field, section, conditions):
            padded = field.sites.pad(section.sites)
            response = field.sites.pad(field.response(conditions, padded))
            return answer_at(field, conditions, padded._replace(response=response), tangent=tangent)

        return self._run(("respond", rows, tangent), run, (section, conditions), ())

    def save(self, section: Carried) -> dict[str, np.ndarray]:
        """The section as numpy arrays by name, one row for each site: for npz, HDF5 or messages between processes."""
        return {name.lstrip("_"): np.asarray(leaf) for name, leaf in named_leaves(to_host(section))}

    def restore(self, arrays: dict[str, np.ndarray]) -> Carried:
        """The section that `save` stored, on any number of devices. Raises `BadInput` where arrays do not fit this model."""
        like = self._like(self._samples_in(arrays))
        leaves, structure = jax.tree.flatten(like)
        found, rows = [], None
        for (name, _), leaf in zip(named_leaves(like), leaves, strict=True):
            name = name.lstrip("_")
            array = arrays.get(name)
            fits = array is not None and array.shape[1:] == leaf.shape[1:] and array.dtype == leaf.dtype
            if array is None or not fits or (rows is not None and len(array) != rows):
                have = "is absent" if array is None else f"has shape {array.shape} and type {array.dtype}"
                wanted = f"({', '.join(map(str, ('rows' if rows is None else rows, *leaf.shape[1:])))})"
                raise BadInput(
                    f"Fibers.restore: {name} {have}, expected shape {wanted} and type {leaf.dtype}. The arrays belong to "
                    "another fiber, driver or version."
                )
            rows = len(array)
            found.append(jnp.asarray(array))
        return jax.tree.unflatten(structure, found)

    def _like(self, samples: int) -> Carried:
        """Shapes of a section of one row, with that many stored values of averages."""

        def fresh(conditions) -> Carried:
            section = self._field(1, True).begin(conditions, self.like, samples)
            return Carried(self._cut(section, 1), jnp.zeros((1,), jnp.uint32), jnp.zeros((1,), jnp.uint32))

        return jax.eval_shape(fresh, jax.tree.map(lambda x: jnp.zeros((1, *x.shape), x.dtype), self.one))

    def _samples_in(self, arrays: dict[str, np.ndarray]) -> int:
        """Stored values of averages in saved arrays: the length of the axis that grows with their number."""
        for (name, one), (_, two) in zip(named_leaves(self._like(1)), named_leaves(self._like(2)), strict=True):
            array = arrays.get(name.lstrip("_"))
            if one.shape != two.shape and array is not None and array.ndim == len(one.shape):
                axis = next(k for k, (a, b) in enumerate(zip(one.shape, two.shape)) if a != b)
                return array.shape[axis]
        return 1

    def take(self, section: Carried, rows: Any) -> Carried:
        """The section of some rows (numbers from 0), in their order."""
        rows = jnp.asarray(rows)
        return jax.tree.map(lambda x: x[rows], section)

    def put(self, section: Carried, rows: Any, other: Carried) -> Carried:
        """`section` with `rows` replaced by those of `other`; numbers behind the last row add rows, without gaps.

        Raises `BadInput`.
        """
        rows, count = np.asarray(rows), len(section.ids)
        size = max(count, int(rows.max(initial=-1)) + 1)
        added = np.unique(rows[rows >= count])
        if rows.shape != other.ids.shape or np.any(rows < 0) or len(added) != size - count:
            raise BadInput(
                f"Fibers.put: rows must be {len(other.ids)} numbers from 0 on, with none left out behind the last row "
                f"{count - 1}; they are {rows.tolist()}."
            )

        def merged(x, y):
            grown = jnp.concatenate([x, jnp.zeros((size - count, *x.shape[1:]), x.dtype)]) if size > count else x
            return grown.at[rows].set(y)

        return jax.tree.map(merged, section, other)

    def describe(self, section: Carried) -> dict[str, Any]:
        """Numbers of rows and bytes, and for each failed row its number, global number, code, and what that means."""
        codes, ids = np.asarray(section.sites.outcome.result), np.asarray(section.ids)
        failed = [
            {"row": int(row), "id": int(ids[row]), "result": int(codes[row]), "text": self._words(int(codes[row]))}
            for row in np.flatnonzero(codes)
        ]
        return {"sites": len(ids), "bytes": sum(x.nbytes for x in jax.tree.leaves(section)), "failed": failed}

    def _words(self, code: int) -> str:
        return "; ".join(text for text in (text_of(code), self.fiber.remedy(code)) if text)

    def _numbers(self, ids: Any, rows: int) -> jax.Array:
        numbers = jnp.arange(rows, dtype=jnp.uint32) if ids is None else jnp.asarray(ids).astype(jnp.uint32)
        if numbers.shape != (rows,):
            raise BadInput(f"Fibers: ids must be one whole number for each of the {rows} rows; their shape is {numbers.shape}.")
        return numbers

    def _rows(self, conditions: Any, section: Carried | None = None) -> int:
        leaves, expected = jax.tree.leaves(conditions), jax.tree.leaves(self.one)
        same = jax.tree.structure(conditions) == jax.tree.structure(self.one)
        if not same or any(x.shape[1:] != y.shape for x, y in zip(leaves, expected)) or len({len(x) for x in leaves}) != 1:
            shapes = [(("rows", *y.shape)) for y in expected]
            raise BadInput(f"Fibers: conditions must have the shapes {shapes}; they have {[x.shape for x in leaves]}.")
        rows = len(leaves[0])
        if section is not None and len(section.ids) != rows:
            raise BadInput(f"Fibers: the section has {len(section.ids)} rows, the conditions have {rows}.")
        return rows

    def _field(self, rows: int, retry: bool) -> Field:
        if (rows, retry) not in self._fields:
            sites = lay_out(rows, self.bytes, self.placement, self.driver.slaved)
            self._fields[rows, retry] = Field(self.bundle, self.driver, self.fiber, sites, self.key, retry)
        return self._fields[rows, retry]

    def _run(self, name: tuple, function: Callable, arguments: tuple, donated: tuple[int, ...]) -> Any:
        """`function(field, ...)`, compiled once for each name; the field is in its closure, since as an argument it costs 1 ms.

        Without retries where the arguments, or the fiber itself, are being differentiated.
        """
        if self.traced or any(trees.is_tracer(x) for x in jax.tree.leaves(arguments)):
            return function(self._field(name[1], False), *arguments)
        if name not in self._programs:
            program = functools.partial(function, self._field(name[1], True))
            self._programs[name] = jax.jit(program, donate_argnums=donated)
        return self._programs[name](*arguments)

    @staticmethod
    def _cut(section: Section, rows: int) -> Section:
        return jax.tree.map(lambda x: x[:rows], section)

"""`Fibers`: the fibers of many sites and their section, for loops outside of this library; see docs/coupling.md.

A section is a value. To advance it is a trial; to keep the result is to accept it. Repeated trials from one section give
the same digits, also for random fibers and fibers with memory. No macro model and no time loop is needed.

More than 400 lines: one class, whose methods are mostly documentation.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fiberax.core.answer import Answer, Held, Words, answer_at, settled
from fiberax.core.arguments import check_rows, floats, shown, span, whole_numbers
from fiberax.core.bundle import Bundle, check_fit
from fiberax.core.driver import AbstractDriver, Section, map_rows
from fiberax.core.errors import BadInput, Mismatch
from fiberax.core.fiber import AbstractFiber, workspace_of
from fiberax.core.field import Field
from fiberax.core.keys import typed_key
from fiberax.core.platform import check_platform
from fiberax.core.randomness import is_random, warn_unused_key
from fiberax.core.sites import Placement, lay_out, to_host
from fiberax.core.solution import named_leaves
from fiberax.core.traced import is_traced
from fiberax.numerics import trees

_SITES = 2**31  # global numbers are below: larger ones belong to the stages of a step


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
        if driver.paces_itself:
            driver.check_traced()
        self.words = Words(fiber)
        self._fields: dict[tuple[int, bool], Field] = {}
        self._programs: dict[tuple, Callable] = {}

    def begin(self, conditions: Any, ids: Any = None, dt: float | None = None) -> Carried:
        """A new section: the fibers' own `init`.

        Args:
            conditions: A tree, rows first.
            ids: As for `Fibers`; random fibers need them where the number of rows differs from that of `Fibers`.
            dt: The shortest time of one `advance`, macro time, for drivers that average over a window of stored values: it
                decides how many are stored. Others do not use it.

        Returns:
            The section. It has no responses yet: NaN.

        Raises:
            BadInput: Conditions or site numbers that do not fit.
        """
        conditions = floats("Fibers: conditions", conditions)
        if dt is None and self.windowed:
            raise BadInput(
                "Fibers.begin: the driver averages over a window of stored values, as many as there are advances in it. Give "
                "dt, the shortest time of one advance."
            )
        if dt is not None and (trees.is_tracer(dt) or not span("Fibers.begin", dt) > 0.0):
            raise BadInput(f"Fibers.begin: dt must be a positive number, which is known outside of jit; it is {dt}.")
        rows = self._rows(conditions)
        if ids is None and rows != self.count and self.random:
            raise BadInput(
                f"Fibers.begin: ids are needed for {rows} rows, since these `Fibers` have {self.count}: the noise of a row "
                "depends on its global number."
            )
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
            dt: Macro time, one number, at least 0. With averages over a window of stored values it may not be shorter than
                `begin` was told, except 0.
            tangent: Whether the answer has the tangent.
            donate: Whether the memory of `section` may be reused; it must not be used any more.

        Returns:
            The new section, and the answer at its end.

        Raises:
            BadInput: Conditions that do not fit the section, or such a `dt`.
        """
        conditions = floats("Fibers: conditions", conditions)
        rows = self._rows_of(section, conditions)
        dt = span("Fibers.advance", dt)
        if self.windowed and not trees.is_tracer(dt) and float(dt) > 0.0:
            self._check_window(section, float(dt))

        def run(field, section, conditions, dt):
            pad = field.sites.pad
            found = settled(field, section.step, map_rows(pad, section.sites), conditions, dt, pad(section.ids), tangent)
            new = Carried(self._cut(field.commit(conditions, found[0]), rows), section.ids, section.step + 1)
            return new, dataclasses.replace(found[1], words=self.words)

        return self._run(("advance", rows, tangent, donate), run, (section, conditions, dt), (0,) if donate else ())

    def respond(self, section: Carried, conditions: Any, tangent: bool = False) -> Answer:
        """The answer at the present states; nothing is advanced.

        Args:
            section: Not changed.
            conditions: A tree, rows first, as many as in `section`.
            tangent: Whether the answer has the tangent.

        Returns:
            The answer. Its results are those of the last `advance`.

        Raises:
            BadInput: Conditions that do not fit the section.
        """
        conditions = floats("Fibers: conditions", conditions)
        rows = self._rows_of(section, conditions)

        def run(field, section, conditions):
            padded = map_rows(field.sites.pad, section.sites)
            response = field.sites.pad(field.response(conditions, padded))
            answer = answer_at(field, padded._replace(response=response), conditions, tangent=tangent)
            return dataclasses.replace(answer, words=self.words)

        return self._run(("respond", rows, tangent), run, (section, conditions), ())

    def save(self, section: Carried) -> dict[str, np.ndarray]:
        """The section as numpy arrays: for npz, HDF5 or messages between processes.

        Args:
            section: Any section of these fibers.

        Returns:
            Arrays by name, one row for each site.
        """
        return {name.lstrip("_"): np.asarray(leaf) for name, leaf in named_leaves(to_host(section))}

    def restore(self, arrays: dict[str, np.ndarray], rows: int | None = None) -> Carried:
        """The section that `save` stored, on any number of devices.

        Args:
            arrays: As `save` gave them.
            rows: Number of rows that they must have; None for that of these `Fibers`.

        Returns:
            The section, to the last digit.

        Raises:
            BadInput: Arrays that do not fit this model, or have another number of rows.
        """
        rows = self.count if rows is None else rows
        like = self._like(self._samples_in(arrays))
        leaves, structure = jax.tree.flatten(like)
        shared = {id(leaf) for leaf in jax.tree.leaves(like.sites.shared)}
        found = []
        for (name, _), leaf in zip(named_leaves(like), leaves, strict=True):
            name, shape = name.lstrip("_"), leaf.shape if id(leaf) in shared else (rows, *leaf.shape[1:])
            array = arrays.get(name)
            if array is None or array.shape != shape or array.dtype != leaf.dtype:
                have = "is absent" if array is None else f"has shape {array.shape} and type {array.dtype}"
                raise BadInput(
                    f"Fibers.restore: {name} {have}, expected shape {shape} and type {leaf.dtype}. The arrays belong to "
                    f"another fiber, driver or version, or to a section that has not {rows} rows: say how many with rows=."
                )
            found.append(jnp.asarray(array))
        section = jax.tree.unflatten(structure, found)
        whole_numbers("Fibers.restore: ids", section.ids, _SITES, distinct=self.random)
        return section

    def _like(self, samples: int) -> Carried:
        """Shapes of a section of one row, with that many stored values of averages."""

        def fresh(conditions) -> Carried:
            section = self._field(1, True).begin(conditions, self.like, samples)
            return Carried(self._cut(section, 1), jnp.zeros((1,), jnp.uint32), jnp.zeros((1,), jnp.uint32))

        return jax.eval_shape(fresh, jax.tree.map(lambda x: jnp.zeros((1, *x.shape), x.dtype), self.one))

    def _samples_in(self, arrays: dict[str, np.ndarray]) -> int:
        """Stored values of averages in saved arrays: the length of the axis that grows with their number."""
        if not self.windowed:
            return 1
        place, axis = self._ring
        array = arrays.get(named_leaves(self._like(1))[place][0].lstrip("_"))
        if array is not None and array.ndim > axis:
            return array.shape[axis]
        return 1

    def take(self, section: Carried, rows: Any) -> Carried:
        """The section of some rows.

        Args:
            section: Not changed.
            rows: Numbers from 0 (n,), in any order; their global numbers go with them. Copies of a row of a random fiber
                have the same noise.

        Returns:
            A section of n rows, in that order.

        Raises:
            BadInput: Rows that the section does not have.
        """
        rows = jnp.asarray(whole_numbers("Fibers.take: rows", rows, len(section.ids)))
        return _each_row(lambda x: x[rows], section)

    def put(self, section: Carried, rows: Any, other: Carried) -> Carried:
        """`section` with some rows replaced, or with further rows.

        Args:
            section: Not changed.
            rows: Different numbers from 0, as many as `other` has rows; numbers behind the last row add rows, without gaps.
            other: The new rows. Their global numbers come with them.

        Returns:
            The new section.

        Raises:
            BadInput: Rows that do not fit, or, of random fibers, global numbers that are there twice: such rows would have the
                same noise.
        """
        count = len(section.ids)
        rows = whole_numbers("Fibers.put: rows", np.asarray(rows), count + len(other.ids), distinct=True)
        size = max(count, int(rows.max(initial=-1)) + 1)
        added = np.unique(rows[rows >= count])
        if rows.shape != other.ids.shape or len(added) != size - count:
            raise BadInput(
                f"Fibers.put: rows must be {len(other.ids)} numbers from 0 on, with none left out behind the last row "
                f"{count - 1}; they are {rows.tolist()}."
            )

        def merged(x, y):
            grown = jnp.concatenate([x, jnp.zeros((size - count, *x.shape[1:]), x.dtype)]) if size > count else x
            return grown.at[rows].set(y)

        new = _each_row(merged, section, other)
        if self.random and not trees.is_tracer(new.ids):
            whole_numbers("Fibers.put: global numbers", new.ids, _SITES, distinct=True)
        return new

    def describe(self, section: Carried) -> dict[str, Any]:
        """What a section holds, for messages.

        Args:
            section: Any section of these fibers.

        Returns:
            `sites`, `bytes`, and `failed`: for each failed row its `row`, global number `id`, code `result`, and what that
            means as `text`.
        """
        codes, ids = np.asarray(section.sites.outcome.result), np.asarray(section.ids)
        failed = [
            {"row": int(row), "id": int(ids[row]), "result": int(codes[row]), "text": self.words(int(codes[row]))}
            for row in np.flatnonzero(codes)
        ]
        return {"sites": len(ids), "bytes": sum(x.nbytes for x in jax.tree.leaves(section)), "failed": failed}

    @functools.cached_property
    def random(self) -> bool:
        """Whether the fibers draw noise."""
        return is_random(self.bundle.fiber, self.one)

    @functools.cached_property
    def windowed(self) -> bool:
        """Whether the driver averages over stored values, as many as there are advances in its window."""
        return self.driver.samples(math.inf) == 0 < self.driver.samples(1.0)

    def _numbers(self, ids: Any, rows: int) -> jax.Array:
        if ids is None:
            return jnp.arange(rows, dtype=jnp.uint32)
        numbers = whole_numbers("Fibers: ids", ids, _SITES, distinct=True)
        if numbers.shape != (rows,):
            raise BadInput(f"Fibers: ids must be one whole number for each of the {rows} rows; their shape is {numbers.shape}.")
        return jnp.asarray(numbers).astype(jnp.uint32)

    def _check_window(self, section: Carried, dt: float) -> None:
        """Raise `BadInput` where the stored values of `section` are too few for advances by `dt`."""
        place, axis = self._ring
        held, needed = jax.tree.leaves(section)[place].shape[axis], self.driver.samples(dt)
        if needed > held:
            raise BadInput(
                f"Fibers.advance: steps of dt = {dt:.6g} have {needed} values in the window of the average, and the section "
                f"has room for {held}: the average would be over a shorter time. Begin it with the shortest dt of all advances."
            )

    @functools.cached_property
    def _ring(self) -> tuple[int, int]:
        """Number of the leaf of a section whose length grows with the stored values, and the axis."""
        pairs = zip(jax.tree.leaves(self._like(1)), jax.tree.leaves(self._like(2)), strict=True)
        place, one, two = next((k, a, b) for k, (a, b) in enumerate(pairs) if a.shape != b.shape)
        return place, next(k for k, (a, b) in enumerate(zip(one.shape, two.shape)) if a != b)

    def _rows(self, conditions: Any) -> int:
        """Number of rows of conditions. Raises `BadInput` where they do not fit these fibers."""
        leaves, expected = jax.tree.leaves(conditions), jax.tree.leaves(self.one)
        same = jax.tree.structure(conditions) == jax.tree.structure(self.one)
        fit = same and all(x.ndim and x.shape[1:] == y.shape for x, y in zip(leaves, expected))
        if not fit or len({len(x) for x in leaves}) != 1:
            shapes = [(("rows", *y.shape)) for y in expected]
            raise BadInput(f"Fibers: conditions must have the shapes {shapes}; they have {[x.shape for x in leaves]}.")
        if any(jnp.iscomplexobj(x) and not jnp.iscomplexobj(y) for x, y in zip(leaves, expected)):
            raise BadInput("Fibers: conditions must be real numbers; they are complex.")
        rows = len(leaves[0])
        if rows == 0:
            raise BadInput("Fibers: there are no rows. A section has at least one; a process without sites takes no part.")
        return rows

    def _rows_of(self, section: Any, conditions: Any) -> int:
        """Number of rows of a section and its conditions. Raises `BadInput` where they do not fit."""
        rows = self._rows(conditions)
        if not isinstance(section, Carried) or jax.tree.structure(section) != self._form:
            what = "of another fiber or driver" if isinstance(section, Carried) else shown(section)
            raise BadInput(f"Fibers: the section must be one that `begin`, `advance` or `restore` gave; it is {what}.")
        if len(section.ids) != rows:
            raise BadInput(f"Fibers: the section has {len(section.ids)} rows, the conditions have {rows}.")
        return rows

    @functools.cached_property
    def _form(self) -> Any:
        """Structure of every section."""
        return jax.tree.structure(self._like(1))

    def _field(self, rows: int, retry: bool) -> Field:
        if (rows, retry) not in self._fields:
            sites = lay_out(rows, self.bytes, self.placement, self.driver.slaved, workspace_of(self.bundle.fiber))
            self._fields[rows, retry] = Field(self.bundle, self.driver, self.fiber, sites, self.key, retry)
        return self._fields[rows, retry]

    def _run(self, name: tuple, function: Callable, arguments: tuple, donated: tuple[int, ...]) -> Any:
        """`function(field, ...)`, compiled once for each name; the field is in its closure, since as an argument it costs 1 ms.

        Without retries where the arguments, or the fiber itself, are being differentiated.
        """
        if self.traced or any(trees.is_tracer(x) for x in jax.tree.leaves(arguments)):
            self.driver.check_traced()
            return function(self._field(name[1], False), *arguments)
        if name not in self._programs:
            program = functools.partial(function, self._field(name[1], True))
            self._programs[name] = jax.jit(program, donate_argnums=donated)
        return self._programs[name](*arguments)

    @staticmethod
    def _cut(section: Section, rows: int) -> Section:
        return map_rows(lambda x: x[:rows], section)


def _each_row(function: Callable, section: Carried, *others: Carried) -> Carried:
    """`function` of every leaf with a row for each site; what the sites share is that of `section`."""
    bare = (c._replace(sites=c.sites._replace(shared=())) for c in (section, *others))
    new = jax.tree.map(function, *bare)
    return new._replace(sites=new.sites._replace(shared=section.sites.shared))

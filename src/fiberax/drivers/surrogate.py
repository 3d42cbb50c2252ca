"""Responses from a table of all that has been computed, where its error estimate allows; else from the fiber.

One table serves all sites (`tables`). Sites that it cannot answer are solved together, a few at a time, the ones that lie
farthest from each other first, and what they answer is learnt before the next are chosen: most others need no solve then.
"""

import warnings
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from fiberax.core.capabilities import AbstractAssembled, AbstractMonitored, AbstractSummarised, energy_of
from fiberax.core.driver import AbstractDriver, AbstractSectionDriver, Section
from fiberax.core.errors import BadInput, Mismatch
from fiberax.core.fiber import AbstractDynamic, AbstractEnergy, AbstractMemory
from fiberax.core.lagrangian import hellmann_feynman
from fiberax.core.platform import need_double
from fiberax.core.randomness import NoEffectWarning
from fiberax.drivers.ellipsoids import Ellipsoids
from fiberax.drivers.paying import costs
from fiberax.drivers.quasistatic import Quasistatic
from fiberax.drivers.summaries import Increment, asked_of, bare, first_asked, with_length
from fiberax.drivers.tables import AbstractTable, Curve, Records
from fiberax.drivers.views import Plain, Turned, entries_of, flat, matrix_of, seen, shaped, tangent_of
from fiberax.numerics import trees

_ENTRIES = 9  # most entries of a condition
_RARE, _RARELY = 1e-3, 1e-2  # share of solves that a table of one entry, and of several, is taken to need
_ASKED = 3  # times that all sites ask the table for each batch of solves
_LARGE = 256  # entries of a state from which fibers are solved one by one: several at a time take as long as one after another


class Counts(NamedTuple):
    """What a table has done: evaluations, answers, live solves, those that only checked it, and the worst checked errors."""

    evaluations: jax.Array
    retrieved: jax.Array
    live: jax.Array
    checked: jax.Array
    worst: jax.Array  # of response and energy (2,), and of the summary of the history behind them where there is one


class Shared(NamedTuple):
    """What `Surrogate` keeps for all sites together."""

    records: Records
    counts: Counts


class _Kept(NamedTuple):
    """What else a record holds: the microstate, and the stability margin, empty where there is none."""

    state: Any
    margin: Any


class _Site(NamedTuple):
    """What is carried at each site: the memory of the inner driver, the tangent of its last live solve, and what it answers.

    `slope` has rows of the response, of the energy and of the summary, a column for each number that the table is asked by;
    `bend` is the second derivative of the energy by these numbers, zero where it is not known. Both may take many times as long
    as a solve, and are computed where they are `wanted`.
    """

    inner: Any
    wanted: jax.Array
    slope: jax.Array
    bend: jax.Array
    energy: Any
    after: Any  # the summary of the history after the step (k,), empty without a history
    margin: Any
    live: jax.Array  # whether the last answer was computed
    record: jax.Array  # the nearest record, where it was not


class Surrogate(AbstractSectionDriver):
    """The table of all responses so far where its error estimate is below a tolerance, else the fiber.

    Records have values and tangents. Conditions of one entry are interpolated by cubic Hermite polynomials, up to nine entries
    by tangents in ellipsoids of accuracy; fibers whose response turns with the material (`AbstractObjective`) are tabulated by
    the right stretch and turned back. Newton's method gets the derivative of the interpolant, and the table stays as it is
    during one Newton solve. Decisions are made on all sites in their order: digits depend on no chunk and no number of devices.

    Args:
        inner: The driver that computes responses: `fx.Quasistatic`.
        tolerance: Largest error of a response (norm over its entries) over the largest response so far; of an energy, and of
            the summary of a history after each step, likewise.
        capacity: Records that the table has room for. A full table goes on answering; what it cannot is computed.
        check: Share of the answers, chosen at random, that are also computed and compared.
        batch: Sites that are solved at a time before the table is asked again.
        always: Whether the table is kept where a look-up costs more than a solve. Without, a run measures both at its start,
            and takes the inner driver in place of the table, with a `NoEffectWarning`, where the table would not pay.

    Raises:
        BadInput: Numbers out of their range, or a run under `jax.jit`, `jax.grad` or `jax.vmap`: the table is made of past
            responses, through which derivatives with respect to parameters would be lost. Use the inner driver there.
        Mismatch: When a run begins, fibers with a history that is not `AbstractSummarised`, or without a tangent, or conditions
            of more than nine entries, the summary of a history and the length of a step among them.
    """

    inner: Quasistatic = eqx.field(default_factory=Quasistatic)
    tolerance: float = eqx.field(static=True, default=1e-4)
    capacity: int = eqx.field(static=True, default=1024)
    check: float = eqx.field(static=True, default=1e-3)
    batch: int = eqx.field(static=True, default=4)
    always: bool = eqx.field(static=True, default=False)

    def __check_init__(self):
        if not isinstance(self.inner, AbstractDriver) or not self.inner.slaved or self.inner.coupled:
            raise BadInput(
                f"Surrogate: inner computes responses that depend on the condition alone, as fx.Quasistatic(); it is "
                f"{self.inner!r}."
            )
        if not 0.0 < self.tolerance < 1.0:
            raise BadInput(f"Surrogate: tolerance must lie between 0 and 1; it is {self.tolerance!r}.")
        for name, value, least in (("capacity", self.capacity, 4), ("batch", self.batch, 1)):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise BadInput(f"Surrogate: {name} must be a whole number, at least {least}; it is {value!r}.")
        if not 0.0 <= self.check <= 1.0:
            raise BadInput(f"Surrogate: check is a share, 0 to 1; it is {self.check!r}.")

    @property
    def slaved(self):
        return True

    def check_traced(self):
        raise BadInput(
            "Surrogate keeps a table of past responses, through which derivatives with respect to parameters would be lost. "
            "Under jax.jit, jax.grad or jax.vmap use the inner driver, fx.Quasistatic()."
        )

    def prepare(self, fiber):
        if isinstance(fiber, AbstractMemory) and not isinstance(fiber, AbstractSummarised):
            raise Mismatch(
                f"Surrogate: responses of {type(fiber).__name__} depend on its history, and a table knows the condition alone. "
                "Declare by which numbers the history counts (fx.AbstractSummarised), or use fx.Quasistatic()."
            )
        need_double("fx.Surrogate", self.tolerance)
        fiber = self.inner.prepare(fiber)
        if isinstance(fiber, AbstractDynamic):
            raise Mismatch(
                f"Surrogate: {type(fiber).__name__} is sampled, and a sampled response has no tangent for the table. "
                "Use fx.Regression(fx.HeterogeneousMultiscale(relax, average))."
            )
        return fiber

    @property
    def alone(self):
        return self.inner

    def pays(self, field, macro, response):
        if self.always:
            return True
        conditions, fiber, size = field.bundle.macro.conditions(macro), field.fiber, trees.size(response)
        entries = entries_of(fiber, first_asked(fiber, conditions), size)
        if entries > _ENTRIES:  # refused where the section begins
            return True
        found = costs(self.inner, self._of(fiber, entries, size), entries, field, conditions)
        share = (_RARE if entries == 1 else _RARELY) * field.sites.count / self.batch
        evaluation = found.look_up * (1.0 + 0.5 * _ASKED * share)  # `look_up` asks twice
        if evaluation < found.solve:
            return True
        warnings.warn(
            f"Surrogate without effect: one solve of {type(fiber).__name__} takes {1e6 * found.solve:.3g} µs, one evaluation "
            f"from a table of {self.capacity // 2} records {1e6 * evaluation:.3g} µs. The run uses "
            f"{type(self.inner).__name__} alone. Give always=True to keep the table, or a smaller capacity.",
            NoEffectWarning,
            stacklevel=2,
        )
        return False

    def stats(self, section):
        """`surrogate`: evaluations, answers of the table, live solves, checks, the worst checked error, records, fullness.

        The error is relative to the largest response, or the largest energy, of the run.
        """
        records, counts = section.shared
        worst = jnp.max(counts.worst / jnp.where(records.scale > 0.0, records.scale, 1.0))
        numbers = {name: float(value) for name, value in counts._replace(worst=worst)._asdict().items()}
        return {"surrogate": numbers | {"records": int(records.count), "full": bool(records.full)}}

    # --- one site -----------------------------------------------------------------------------------------------------------

    def begin(self, fiber, link, condition, key, samples):
        state, inner = self.inner.begin(bare(fiber), link, condition, key, samples)
        wanted = jnp.asarray(False)
        like = jax.eval_shape(lambda s, m, c: self._live(fiber, link, s, m, c, wanted), state, inner, condition)
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), like)
        return state, zeros._replace(inner=inner)

    def advance(self, fiber, link, state, memory, condition, dt, key, attempt):
        state, inner, response, out = self.inner.advance(bare(fiber), link, state, memory.inner, condition, dt, key, attempt)
        return state, self._live(fiber, link, state, inner, condition, memory.wanted), response, out

    def _live(self, fiber, link, state, inner, condition, wanted) -> _Site:
        """What is carried after a solve."""
        slope = lambda: self._slope(fiber, link, state, inner, condition)
        none = lambda: jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(slope))
        slope, bend = jax.lax.cond(wanted, slope, none)
        problem, after = bare(fiber), ()
        if isinstance(fiber, Increment):
            after = fiber.ended(link, state, condition)[2]
        energy = energy_of(problem, state, condition)
        margin = problem.stability_margin(state, condition) if isinstance(problem, AbstractMonitored) else None
        energy, margin = (() if value is None else value for value in (energy, margin))
        return _Site(inner, wanted, slope, bend, energy, after, margin, jnp.asarray(True), jnp.zeros((), jnp.int32))

    def _slope(self, fiber, link, state, inner, condition) -> tuple[jax.Array, jax.Array]:
        """`slope` and `bend` of a site."""
        if isinstance(fiber, Increment):
            slope, bend = fiber.slope(link, self.inner.solver, state, condition)
            _check_entries(slope.shape[1])
            return slope, bend
        _check_entries(trees.size(condition))
        response = jax.eval_shape(lambda: self.inner.respond(fiber, link, state, inner, condition))
        row, conjugate = None, False  # dW/dU, and whether it is the response
        if link is None and isinstance(fiber, AbstractAssembled) and fiber.highest_order == 2:
            _, own, tangent, row = fiber.assemble_all(state, condition)
            conjugate = own is row
        else:
            tangent = self.inner.tangent(fiber, link, state, inner, condition)
            if isinstance(fiber, AbstractEnergy):  # at a minimum the state does not count in the derivative of the energy
                row = hellmann_feynman(fiber, state, condition)
                conjugate = link is None and type(fiber).link is AbstractEnergy.link
        slope = matrix_of(tangent, response, condition)
        if row is not None:
            slope = jnp.concatenate([slope, jnp.concatenate([x.ravel() for x in jax.tree.leaves(row)])[None]])
        size = slope.shape[1]
        return slope, slope[:size] if conjugate else jnp.zeros((size, size))

    def step_of(self, fiber, history, dt):
        assert isinstance(fiber, AbstractSummarised)
        return Increment.of(fiber, history, dt)

    def accept(self, fiber, history, state, memory, condition, dt):
        """From the state where it was solved for, else from the summary that the table gives."""
        assert isinstance(fiber, AbstractSummarised)
        return trees.where(memory.live, fiber.accept(history, state, condition, dt), fiber.recover(memory.after))

    def respond(self, fiber, link, state, memory, condition):
        return self.inner.respond(bare(fiber), link, state, memory.inner, condition)

    def energy(self, fiber, state, memory, condition):
        return None if isinstance(memory.energy, tuple) else memory.energy

    def margin(self, fiber, state, memory, condition):
        return None if isinstance(memory.margin, tuple) else memory.margin

    # --- all sites ----------------------------------------------------------------------------------------------------------

    def begin_shared(self, fiber, section, conditions):
        state, memory = jax.tree.map(lambda x: x[0], (section.state, section.memory))
        table, view = self._table(fiber, section, conditions)
        slope = jax.eval_shape(view.slope_in, section.memory.slope)
        records = table.empty(view.points.shape[1], slope.shape[1], _Kept(state, memory.margin))
        zero = jnp.zeros((), jnp.result_type(float))
        return Shared(records, Counts(jnp.zeros((), jnp.uint32), zero, zero, zero, jnp.zeros_like(records.scale)))

    def _view(self, fiber, section: Section, conditions, size: int) -> "Plain | Turned":
        return seen(fiber, asked_of(fiber, conditions, section.history, section.since), size)

    def _table(self, fiber, section: Section, conditions) -> "tuple[AbstractTable, Plain | Turned]":
        """The table, and the conditions as it sees them."""
        size = sum(x[0].size for x in jax.tree.leaves(section.response))
        view, more = self._view(fiber, section, conditions, size), sum(x[0].size for x in jax.tree.leaves(section.memory.after))
        return self._of(fiber, view.points.shape[1], size, more), view

    def _of(self, fiber, entries: int, size: int, more: int = 0) -> AbstractTable:
        """The table for points of `entries` numbers, responses of `size`, and a summary of `more` numbers."""
        return (Curve if entries == 1 else Ellipsoids)(self.tolerance, self.capacity, size, more, int(with_length(fiber)))

    def advance_sites(self, solve, fiber, ids, section, conditions, dt, learn):
        table, view = self._table(fiber, section, conditions)
        records, counts = section.shared
        rows = ids.shape[0]
        own = jnp.concatenate([jnp.ones((1,), bool), ids[1:] != ids[:-1]])  # padded rows repeat the last site
        found = table.find(records, view.points)
        key = jax.random.fold_in(jax.random.key(0), counts.evaluations)
        draw = jax.vmap(lambda i: jax.random.uniform(jax.random.fold_in(key, i)))(ids)
        checks = found.sure & (draw < self.check) & own & learn
        section = section._replace(memory=section.memory._replace(record=found.record))
        size = min(self.batch, rows)
        together = size if trees.size(section.state) // rows < _LARGE else 1

        def compute(mask, wanted, section: Section, records: Records) -> Section:
            """Sites of `mask` solved; those that the table answered before begin from the state of the nearest record.

            Tangents are computed where they are `wanted` (rows,).
            """

            def renewed(carry):
                left, state = carry
                chosen = jnp.nonzero(left, size=size, fill_value=rows)[0]
                at = jnp.minimum(chosen, rows - 1)
                stale = ~section.memory.live[at] & (records.count > 0)
                kept = jax.tree.map(lambda x: x[records.slot[section.memory.record[at]]], records.kept.state)
                now = trees.where_site(stale, kept, jax.tree.map(lambda x: x[at], state))
                state = jax.tree.map(lambda x, y: x.at[chosen].set(y, mode="drop"), state, now)
                return left.at[chosen].set(False, mode="drop"), state

            state = jax.lax.while_loop(lambda c: jnp.any(c[0]), renewed, (mask, section.state))[1]
            memory = section.memory._replace(wanted=wanted)
            return solve(mask, section._replace(state=state, memory=memory), conditions, together)

        nothing = jnp.zeros((rows,), bool)
        if not learn:
            live = solved = ~found.sure & own
            section = compute(live, live, section, records)
        else:

            def body(carry):
                section, records, counts, todo, checks, (live, solved, wrong) = carry
                mask = _spread(view.points, todo, size, table.find(records, view.points).record, records)
                section = compute(mask, mask & ~checks, section, records)
                records, counts, new = self._learnt(table, fiber, records, counts, section, conditions, checks, mask, size)
                # An answer that passed its check stays; what did not is solved once more, with its tangent.
                live, solved, wrong, checks = live | (mask & ~checks), solved | mask, wrong | new, checks & ~mask
                todo = (~table.find(records, view.points).sure | checks | wrong) & own & ~live
                return section, records, counts, todo, checks, (live, solved, wrong)

            start = (section, records, counts, (~found.sure | checks) & own, checks, (nothing, nothing, nothing))
            section, records, counts, _, _, (live, solved, _) = jax.lax.while_loop(lambda c: jnp.any(c[3]), body, start)
        counts = counts._replace(
            evaluations=counts.evaluations + 1,
            live=counts.live + jnp.sum(solved),
            retrieved=counts.retrieved + jnp.sum(own & ~solved),
        )
        return self._answered(table, section, records, view, live)._replace(shared=Shared(records, counts))

    def _learnt(self, table, fiber, records, counts, section, conditions, checks, mask, size):
        """Records and counts after the sites of `mask` have been solved, in their order, and which checks failed."""
        rows = mask.shape[0]
        chosen = jnp.nonzero(mask, size=size, fill_value=rows)[0]
        at = jnp.minimum(chosen, rows - 1)
        part, conditions, checked = jax.tree.map(lambda x: x[at], (section._replace(shared=()), conditions, checks))
        view = self._view(fiber, part, conditions, table.measured)
        value = flat((part.response, part.memory.energy, part.memory.after))
        slope, bend = view.slope_in(part.memory.slope), view.bend_in(part.memory.bend)
        found = (view.points, view.value_in(value), slope, _Kept(part.state, part.memory.margin), bend)
        good = (chosen < rows) & (part.outcome.result == 0)

        def one(k, carry):
            records, counts, wrong = carry
            new = jax.tree.map(lambda x: x[k], found)
            compared, taught = checked[k] & good[k], good[k] & ~checked[k]
            missed = table.missed(records, new[0], new[1])
            counts = counts._replace(
                checked=counts.checked + compared, worst=jnp.maximum(counts.worst, jnp.where(compared, missed, 0.0))
            )
            wrong = wrong.at[chosen[k]].set(compared & (table.error(records, new[0], new[1]) > table.trusted), mode="drop")
            return jax.lax.cond(taught, lambda r: table.learn(r, *new), lambda r: r, records), counts, wrong

        return jax.lax.fori_loop(0, size, one, (records, counts, jnp.zeros_like(mask)))

    def _answered(self, table, section, records, view, live) -> Section:
        """The section with the responses of the table at the sites that were not solved."""
        found = table.find(records, view.points)
        memory, slot = section.memory, records.slot[found.record]
        answered = shaped(view.value_out(found.value), (section.response, memory.energy, memory.after))
        margin = jax.tree.map(lambda x: x[slot], records.kept.margin)
        own = (memory.energy, memory.after, memory.margin)
        response, (energy, after, margin) = answered[0], trees.where_site(live, own, (*answered[1:], margin))
        memory = memory._replace(energy=energy, after=after, margin=margin, live=live, record=found.record)
        return section._replace(
            memory=memory, response=trees.where_site(live, section.response, response), own=section.own | ~live
        )

    def solved_by(self, section):
        return self.inner, section._replace(memory=section.memory.inner, shared=())

    def tangents_sites(self, fiber, section, conditions):
        table, view = self._table(fiber, section, conditions)
        records = section.shared.records
        slope = view.slope_out(lambda points: table.find(records, points).value, lambda points: table.slope(records, points))
        slope = jnp.where(section.memory.live[:, None, None], section.memory.slope, slope)[:, : table.measured]
        size = sum(x[0].size for x in jax.tree.leaves(conditions))
        return tangent_of(slope[:, :, :size], section.response, conditions)


def _check_entries(size: int) -> None:
    if size > _ENTRIES:
        raise Mismatch(f"Surrogate: conditions have {size} entries; a table of more than {_ENTRIES} is never filled.")


def _spread(points: jax.Array, todo: jax.Array, size: int, near: jax.Array, records: Records) -> jax.Array:
    """Up to `size` sites of `todo`, each as far as possible from its nearest record and from those chosen before it."""
    distance = jnp.sum((points - records.condition[near]) ** 2, axis=1)
    start = jnp.where(records.count > 0, distance, jnp.inf)

    def pick(_, carry):
        mask, distance = carry
        left = todo & ~mask
        site = jnp.argmax(jnp.where(left, distance, -1.0))
        mask = mask.at[site].set(mask[site] | left[site])
        return mask, jnp.minimum(distance, jnp.sum((points - points[site]) ** 2, axis=1))

    return jax.lax.fori_loop(0, size, pick, (jnp.zeros_like(todo), start))[0]

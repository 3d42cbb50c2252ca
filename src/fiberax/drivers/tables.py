"""Tables of responses with an error estimate, for `Surrogate`: what has been computed answers what is asked again.

`Curve`, for conditions of one entry: cubic Hermite interpolation of values and tangents between neighbouring records. The error
of a cubic is that of a quartic, 16 s²(1 − s)² of its largest value in the middle, so that one live value inside an interval
tells the error of the whole interval, and of its parts, which fall with the fourth power of their length.

`ellipsoids` has those for several entries. Tables have a fixed capacity. All decisions depend on the records and on the order
of the sites alone.
"""

import abc
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

_SHOWN = 0.05  # share of the error of an interval that a live value in it must show: near its ends it shows nothing
_UNSEEN = 0.25  # of the tolerance, up to which an interval may grow on an error that was seen in a part of it
_BEYOND = 0.25  # of its length, by which the first and the last interval answer for what lies outside of them


class Records(NamedTuple):
    """What a table stores; every array but the counts has a leading axis (capacity,), records first.

    Args:
        count: Number of records.
        condition: Conditions (capacity, d).
        value: Responses (capacity, m).
        slope: Tangents (capacity, m, d).
        bend: Second derivatives of the energies (capacity, d, d), zero where they are not known.
        trust: Of a curve the error of the interval that begins at the record over the scale, (capacity,), infinite where it is
            not known; of ellipsoids their matrices F (capacity, d, d).
        kept: Whatever else belongs to a record, such as its state, (capacity, ...), in the order in which it came.
        slot: The place in `kept` of each record (capacity,), a permutation.
        scale: Largest norm of a response, and largest energy, so far (2,); where there is a summary, its largest norm as well.
        full: Whether a record was lost because the table is full.
    """

    count: jax.Array
    condition: jax.Array
    value: jax.Array
    slope: jax.Array
    bend: jax.Array
    trust: jax.Array
    slot: jax.Array
    kept: Any
    scale: jax.Array
    full: jax.Array


class Found(NamedTuple):
    """Answers of a table, sites first: responses (rows, m), whether they may be used, and the record that is nearest."""

    value: jax.Array
    sure: jax.Array
    record: jax.Array


class AbstractTable(eqx.Module):
    """A rule to answer from records.

    A value is a response of `measured` numbers, perhaps with an energy behind it, and a summary of `more` numbers at its end.
    `tolerance`: largest error of each of them over the largest one so far. `lengths`: how many numbers at the end of a point
    are lengths of steps, of which a run has few.
    """

    tolerance: float = eqx.field(static=True)
    capacity: int = eqx.field(static=True)
    measured: int = eqx.field(static=True)
    more: int = eqx.field(static=True, default=0)
    lengths: int = eqx.field(static=True, default=0)

    @property
    def trusted(self) -> float:
        """The error up to which a live response teaches nothing where the table has answered."""
        return self.tolerance

    def empty(self, entries: int, size: int, kept: Any) -> Records:
        """No records: for conditions of `entries` numbers and responses of `size`; `kept` gives shapes."""
        dtype = jnp.result_type(float)
        zeros = lambda *shape: jnp.zeros((self.capacity, *shape), dtype)
        kept = jax.tree.map(lambda x: jnp.zeros((self.capacity, *x.shape), x.dtype), kept)
        none = jnp.zeros((), jnp.int32)
        parts = zeros(entries), zeros(size), zeros(size, entries), zeros(entries, entries), self._untrusted(entries)
        slot = jnp.arange(self.capacity, dtype=jnp.int32)
        return Records(none, *parts, slot, kept, jnp.zeros((2 + (self.more > 0),), dtype), jnp.asarray(False))

    @abc.abstractmethod
    def _untrusted(self, entries: int) -> jax.Array: ...

    @abc.abstractmethod
    def find(self, records: Records, conditions: jax.Array) -> Found:
        """Answers to `conditions` (rows, d)."""

    @abc.abstractmethod
    def slope(self, records: Records, conditions: jax.Array) -> jax.Array:
        """The derivative of the answers (rows, m, d)."""

    @abc.abstractmethod
    def learn(self, records: Records, condition, value, slope, kept: Any, bend: Any = 0.0) -> Records:
        """The records after one live response (m,) with its tangent (m, d) at a condition (d,).

        `bend`: the second derivative of the energy (d, d), or 0 where it is not known.
        """

    def missed(self, records: Records, condition, value) -> jax.Array:
        """Errors of the parts of an answer, like `Records.scale`, from a live value (m,) at a condition (d,)."""
        return self._sizes(self.find(records, condition[None]).value[0] - value)

    def error(self, records: Records, condition, value) -> jax.Array:
        """The largest of them, each over the largest so far."""
        return self._over_scale(records, self.missed(records, condition, value))

    def _relative(self, records: Records, off) -> jax.Array:
        """The largest of the errors of response, energy and summary, each over its scale."""
        return self._over_scale(records, self._sizes(off))

    def _over_scale(self, records: Records, sizes) -> jax.Array:
        return jnp.max(sizes / jnp.where(records.scale > 0.0, records.scale, 1.0))

    def _sizes(self, value) -> jax.Array:
        return jnp.stack([jnp.linalg.norm(part) for part in self._parts(value, 0)])

    def _parts(self, value, axis: int) -> list[jax.Array]:
        """Response, energy and, where there is one, summary."""
        ends = [self.measured, value.shape[axis] - self.more] if self.more else [self.measured]
        return jnp.split(value, ends, axis=axis)

    def _seen(self, records: Records, value) -> Records:
        return records._replace(scale=jnp.maximum(records.scale, self._sizes(value)))


def write(records: Records, place, condition, value, slope, trust, slot, kept) -> Records:
    """The records with this one at `place`, what it keeps at `slot`."""
    return records._replace(
        condition=records.condition.at[place].set(condition),
        value=records.value.at[place].set(value),
        slope=records.slope.at[place].set(slope),
        trust=records.trust.at[place].set(trust),
        slot=records.slot.at[place].set(slot),
        kept=jax.tree.map(lambda x, y: x.at[slot].set(y), records.kept, kept),
    )


def _shifted(records: Records, by: int, first, last) -> Records:
    """The records whose places `first` to `last` are taken by those before (`by` = 1) or behind them (−1)."""

    def move(x):
        place = jnp.arange(x.shape[0]).reshape(-1, *[1] * (x.ndim - 1))
        return jnp.where((place >= first) & (place <= last), jnp.roll(x, by, axis=0), x)

    return records._replace(
        condition=move(records.condition),
        value=move(records.value),
        slope=move(records.slope),
        trust=move(records.trust),
        slot=move(records.slot),
    )


class Curve(AbstractTable):
    """Cubic Hermite interpolation; records lie in the order of their conditions, empty places behind them."""

    def _untrusted(self, entries):
        return jnp.full((self.capacity,), jnp.inf)

    def _places(self, records: Records, x):
        """The record at or before each x (rows,), −1 before the first, and how far x is in its interval, 0 to 1."""
        used = jnp.arange(self.capacity) < records.count
        line = jnp.where(used, records.condition[:, 0], jnp.inf)
        place = jnp.searchsorted(line, x, side="right").astype(jnp.int32) - 1
        left = jnp.clip(place, 0, jnp.maximum(records.count - 2, 0))
        begin, end = records.condition[left, 0], records.condition[jnp.minimum(left + 1, self.capacity - 1), 0]
        length = jnp.where(end > begin, end - begin, 1.0)
        return place, left, (x - begin) / length, length

    def find(self, records, conditions):
        x = conditions[:, 0]
        place, left, s, length = self._places(records, x)
        value = _hermite(records, left, s, length)
        known = (place >= 0) & (records.condition[jnp.maximum(place, 0), 0] == x) & (place < records.count)
        inside = (place >= 0) & (place < records.count - 1)
        # The same quartic is the error outside of the first and of the last interval, close to them.
        beyond = ~inside & (records.count > 1) & (jnp.abs(s - 0.5) <= 0.5 + _BEYOND)
        near_enough = beyond & (records.trust[left] * _share(s) <= _UNSEEN * self.tolerance)
        sure = known | (inside & (records.trust[left] <= self.tolerance)) | near_enough
        value = jnp.where(known[:, None], records.value[jnp.maximum(place, 0)], value)
        near = jnp.where(s > 0.5, left + 1, left)
        return Found(value, sure, jnp.clip(near, 0, jnp.maximum(records.count - 1, 0)))

    def slope(self, records, conditions):
        _, left, s, length = self._places(records, conditions[:, 0])
        right = jnp.minimum(left + 1, self.capacity - 1)
        difference = (records.value[right] - records.value[left]) / length[:, None]
        s = s[:, None]
        begin, end = records.slope[left, :, 0], records.slope[right, :, 0]
        slope = 6.0 * s * (1.0 - s) * difference + (1.0 - s) * (1.0 - 3.0 * s) * begin + s * (3.0 * s - 2.0) * end
        return jnp.where(records.count > 1, slope, begin)[:, :, None]

    def learn(self, records, condition, value, slope, kept, bend=0.0):
        records = self._seen(records, value)
        x = condition[0]
        place, left, s, _ = (v[0] for v in self._places(records, x[None]))
        error, allowed = self.error(records, condition, value), self.tolerance
        n = records.count
        inside = (place >= 0) & (place < n - 1)
        known = (place >= 0) & (records.condition[jnp.maximum(place, 0), 0] == x) & (n > 0)
        share = _share(s)
        telling = inside & (share >= _SHOWN)
        whole = error / jnp.maximum(share, _SHOWN)  # error of the interval
        good = telling & (whole <= allowed)
        confirmed = records._replace(trust=records.trust.at[left].set(jnp.where(good, whole, records.trust[left])))

        def insert(records: Records) -> Records:
            at = place + 1  # records from here on move up
            slot = records.slot[n]
            moved = _shifted(records, 1, at + 1, n)._replace(count=n + 1)
            new = write(moved, at, condition, value, slope, jnp.where(inside, whole * (1.0 - s) ** 4, jnp.inf), slot, kept)
            before = jnp.maximum(at - 1, 0)
            part = jnp.where(inside, whole * s**4, jnp.inf)
            trust = new.trust.at[before].set(jnp.where(at > 0, part, new.trust[before]))
            new = new._replace(trust=trust.at[n].set(jnp.inf))
            at_end = place < 0
            inner = records.trust[jnp.where(at_end, 0, jnp.maximum(n - 2, 0))]
            return self._joined(new, jnp.where(at_end, 1, n - 1), inner, inside)

        full, wanted = n >= self.capacity, ~known & (telling | ~inside) & ~good
        grown = jax.lax.cond(wanted & ~full, insert, lambda r: r, confirmed)
        return grown._replace(full=grown.full | (wanted & full))

    def _joined(self, records: Records, middle, inner, inside) -> Records:
        """Without record `middle`, the neighbour of a new first or last one, where those around it tell its value as well.

        Else the error found there tells those of its two intervals. Where the record is too near to the new one to tell, the
        error `inner` of its old interval does, which grows with the fourth power of the length.
        """
        n = records.count
        middle = jnp.clip(middle, 1, self.capacity - 2)
        begin, end = records.condition[middle - 1, 0], records.condition[middle + 1, 0]
        length = jnp.where(end > begin, end - begin, 1.0)
        s = (records.condition[middle, 0] - begin) / length
        wide = records._replace(
            value=records.value.at[middle].set(records.value[middle + 1]),
            slope=records.slope.at[middle].set(records.slope[middle + 1]),
        )
        told = _hermite(wide, (middle - 1)[None], s[None], length[None])[0]
        error = self._relative(records, told - records.value[middle])
        share = _share(s)
        whole = jnp.where(share >= _SHOWN, error / jnp.maximum(share, _SHOWN), inner / jnp.maximum(s, 1.0 - s) ** 4)
        possible = ~inside & (n > 2)
        allowed = jnp.where(share >= _SHOWN, 1.0, _UNSEEN) * self.tolerance
        drop = possible & (whole <= allowed)

        def without(records: Records) -> Records:
            new = _shifted(records, -1, middle, n - 2)._replace(count=n - 1)
            slot = new.slot.at[n - 1].set(records.slot[middle])  # free again
            return new._replace(slot=slot, trust=new.trust.at[middle - 1].set(whole).at[n - 1].set(jnp.inf))

        def both(records: Records) -> Records:
            parts = jnp.stack([s, 1.0 - s]) ** 4 * whole
            old = records.trust[jnp.stack([middle - 1, middle])]
            return records._replace(
                trust=records.trust.at[jnp.stack([middle - 1, middle])].set(jnp.where(possible, jnp.minimum(old, parts), old))
            )

        return jax.lax.cond(drop, without, both, records)


def _share(s) -> jax.Array:
    """The error of a quartic at s of an interval, from 0 to 1 inside, over that in the middle."""
    return 16.0 * s**2 * (1.0 - s) ** 2


def _hermite(records: Records, left, s, length) -> jax.Array:
    """Values (rows, m) in the intervals that begin at the records `left` (rows,)."""
    right = jnp.minimum(left + 1, records.condition.shape[0] - 1)
    s, length = s[:, None], length[:, None]
    begin, end = records.value[left], records.value[right]
    up, down = length * records.slope[left, :, 0], length * records.slope[right, :, 0]
    t = 1.0 - s
    return t**2 * (1.0 + 2.0 * s) * begin + s**2 * (3.0 - 2.0 * s) * end + s * t**2 * up - s**2 * t * down

"""Tables of responses with an error estimate, for `Surrogate`: what has been computed answers what is asked again.

`Curve`, for conditions of one entry: cubic Hermite interpolation of values and tangents between neighbouring records. The error
of a cubic is that of a quartic, 16 s²(1 − s)² of its largest value in the middle, so that one live value inside an interval
tells the error of the whole interval, and of its parts, which fall with the fourth power of their length.

`Ellipsoids`, for several entries: in situ adaptive tabulation (Pope, Combust. Theory Model. 1 (1997) 41). A record answers by
its tangent inside an ellipsoid of accuracy, which grows where a live value shows that the tangent is still accurate, and the
live tangent that it is so on the other side and on the rim between. Where it is not, a further record is made, whose first
ellipsoid is a ball in which the second derivatives that its neighbours show allow it. With values alone the error is many
times the tolerance where a function meets its tangent again, or bends in one direction much more than in another.

Tables have a fixed capacity. All decisions depend on the records and on the order of the sites alone.
"""

import abc
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

_SHOWN = 0.05  # share of the error of an interval that a live value in it must show: near its ends it shows nothing
_UNSEEN = 0.25  # of the tolerance, up to which an interval may grow on an error that was seen in a part of it
_BLOCK = 128  # records, and rows, that are looked at together
_FIRST = 1e-9  # size of the first ellipsoid, relative to the condition
_SAFETY = 0.5  # of the tolerance, up to which ellipsoids grow: errors elsewhere in them were not looked at


class Records(NamedTuple):
    """What a table stores; every array but the counts has a leading axis (capacity,), records first.

    Args:
        count: Number of records.
        condition: Conditions (capacity, d).
        value: Responses (capacity, m).
        slope: Tangents (capacity, m, d).
        trust: Of a curve the error of the interval that begins at the record over the scale, (capacity,), infinite where it is
            not known; of ellipsoids their matrices F (capacity, d, d).
        kept: Whatever else belongs to a record, such as its state, (capacity, ...), in the order in which it came.
        slot: The place in `kept` of each record (capacity,), a permutation.
        scale: Largest norm of a response, and largest energy, so far (2,).
        full: Whether a record was lost because the table is full.
    """

    count: jax.Array
    condition: jax.Array
    value: jax.Array
    slope: jax.Array
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

    A value is a response of `measured` numbers, perhaps with an energy behind it. `tolerance`: largest error of either over the
    largest one so far.
    """

    tolerance: float = eqx.field(static=True)
    capacity: int = eqx.field(static=True)
    measured: int = eqx.field(static=True)

    def empty(self, entries: int, size: int, kept: Any) -> Records:
        """No records: for conditions of `entries` numbers and responses of `size`; `kept` gives shapes."""
        dtype = jnp.result_type(float)
        zeros = lambda *shape: jnp.zeros((self.capacity, *shape), dtype)
        kept = jax.tree.map(lambda x: jnp.zeros((self.capacity, *x.shape), x.dtype), kept)
        none = jnp.zeros((), jnp.int32)
        parts = zeros(entries), zeros(size), zeros(size, entries), self._untrusted(entries)
        slot = jnp.arange(self.capacity, dtype=jnp.int32)
        return Records(none, *parts, slot, kept, jnp.zeros((2,), dtype), jnp.asarray(False))

    @abc.abstractmethod
    def _untrusted(self, entries: int) -> jax.Array: ...

    @abc.abstractmethod
    def find(self, records: Records, conditions: jax.Array) -> Found:
        """Answers to `conditions` (rows, d)."""

    @abc.abstractmethod
    def slope(self, records: Records, conditions: jax.Array) -> jax.Array:
        """The derivative of the answers (rows, m, d)."""

    @abc.abstractmethod
    def learn(self, records: Records, condition: jax.Array, value: jax.Array, slope: jax.Array, kept: Any) -> Records:
        """The records after one live response (m,) with its tangent (m, d) at a condition (d,)."""

    def missed(self, records: Records, condition, value) -> jax.Array:
        """Error of response and energy of the table (2,), from a live value (m,) at a condition (d,)."""
        return self._sizes(self.find(records, condition[None]).value[0] - value)

    def error(self, records: Records, condition, value) -> jax.Array:
        """The larger of both, each over the largest so far."""
        return self._over_scale(records, self.missed(records, condition, value))

    def _relative(self, records: Records, off) -> jax.Array:
        """The larger of two errors, of the response and of the energy, each over its scale."""
        return self._over_scale(records, self._sizes(off))

    def _over_scale(self, records: Records, sizes) -> jax.Array:
        return jnp.max(sizes / jnp.where(records.scale > 0.0, records.scale, 1.0))

    def _sizes(self, value) -> jax.Array:
        return jnp.stack([jnp.linalg.norm(value[: self.measured]), jnp.linalg.norm(value[self.measured :])])

    def _seen(self, records: Records, value) -> Records:
        return records._replace(scale=jnp.maximum(records.scale, self._sizes(value)))


def _write(records: Records, place, condition, value, slope, trust, slot, kept) -> Records:
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
        sure = known | (inside & (records.trust[left] <= self.tolerance))
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

    def learn(self, records, condition, value, slope, kept):
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
            new = _write(moved, at, condition, value, slope, jnp.where(inside, whole * (1.0 - s) ** 4, jnp.inf), slot, kept)
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
    """The error of a quartic at s in an interval, 0 to 1, over that in the middle."""
    return 16.0 * s**2 * (1.0 - s) ** 2


def _hermite(records: Records, left, s, length) -> jax.Array:
    """Values (rows, m) in the intervals that begin at the records `left` (rows,)."""
    right = jnp.minimum(left + 1, records.condition.shape[0] - 1)
    s, length = s[:, None], length[:, None]
    begin, end = records.value[left], records.value[right]
    up, down = length * records.slope[left, :, 0], length * records.slope[right, :, 0]
    t = 1.0 - s
    return t**2 * (1.0 + 2.0 * s) * begin + s**2 * (3.0 - 2.0 * s) * end + s * t**2 * up - s**2 * t * down


class Ellipsoids(AbstractTable):
    """Tangents inside ellipsoids of accuracy |F_k (x − x_k)| ≤ 1; `Records.trust` holds the matrices F_k."""

    def _untrusted(self, entries):
        return jnp.zeros((self.capacity, entries, entries))

    def _nearest(self, records: Records, conditions):
        """The record with the least |F_k (x − x_k)|² and that number, for each condition; as long as there are records.

        Some records and rows at a time, so that products stay in the cache, and the time grows with the records in use.
        """
        centres = jnp.einsum("kij,kj->ki", records.trust, records.condition)
        size = min(_BLOCK, self.capacity)

        def one(x):
            def block(n, carry):
                start = jnp.minimum(n * size, self.capacity - size)
                part = lambda table: jax.lax.dynamic_slice_in_dim(table, start, size)
                square = jnp.sum((part(records.trust) @ x - part(centres)) ** 2, axis=1)
                square = jnp.where(start + jnp.arange(size) < records.count, square, jnp.inf)
                best, least = carry
                at = jnp.argmin(square)
                number = (start + at).astype(best.dtype)
                return jnp.where(square[at] < least, number, best), jnp.minimum(square[at], least)

            none = jnp.zeros((), records.count.dtype), jnp.asarray(jnp.inf, x.dtype)
            best, least = jax.lax.fori_loop(0, -(-records.count // size), block, none)
            return best, least

        return jax.lax.map(one, conditions, batch_size=_BLOCK)

    def find(self, records, conditions):
        best, square = self._nearest(records, conditions)
        off = conditions - records.condition[best]
        value = records.value[best] + jnp.einsum("rmi,ri->rm", records.slope[best], off)
        return Found(value, square <= 1.0, best)

    def slope(self, records, conditions):
        return records.slope[self._nearest(records, conditions)[0]]

    def learn(self, records, condition, value, slope, kept):
        records = self._seen(records, value)
        best, square = (v[0] for v in self._nearest(records, condition[None]))
        error, allowed = self.error(records, condition, value), _SAFETY * self.tolerance
        off = condition - records.condition[best]
        known, some = jnp.sum(off**2) == 0.0, records.count > 0
        along, across = self._grown_errors(records, best, condition, value, slope)
        good = some & (error <= allowed) & ((square <= 1.0) | ((along <= allowed) & (across <= self.tolerance)))
        factor = records.trust[best]
        pressed = factor @ off
        ratio = jnp.where((square > 1.0) & jnp.isfinite(square), (1.0 / jnp.sqrt(square) - 1.0) / square, 0.0)
        # The smallest ellipsoid through the point that contains the old one; where the tangent fails inside, a smaller one.
        grown = factor + ratio * jnp.outer(pressed, pressed @ factor)
        smaller = factor * jnp.sqrt(jnp.maximum(error / allowed, 1.0) / jnp.where(square > 0.0, square, 1.0))
        failed = some & (error > allowed) & (square <= 1.0) & ~known
        now = jnp.where(good, grown, jnp.where(failed, smaller, factor))
        # Half the second derivative times the square of the radius is the error; nothing is known around the first record
        # but its own size.
        bend = self._bend(records, condition, value, slope)
        first = (_FIRST * (1.0 + jnp.linalg.norm(condition))) ** 2
        radius = jnp.where(bend > 0.0, 2.0 * allowed / jnp.where(bend > 0.0, bend, 1.0), first)
        records = records._replace(trust=records.trust.at[best].set(now))
        full = records.count >= self.capacity
        place = jnp.minimum(records.count, self.capacity - 1)
        ball = jnp.eye(condition.size) / jnp.sqrt(radius)
        more = _write(records, place, condition, value, slope, ball, place, kept)._replace(count=records.count + 1)
        wanted = ~good & ~(known & some)
        new = jax.lax.cond(wanted & ~full, lambda: more, lambda: records)
        return new._replace(full=records.full | (wanted & full))

    def _norms(self, records: Records, matrix) -> jax.Array:
        """The larger of the Frobenius norms of the rows of the response and of the energy (..., m, k), each over its scale."""
        norms = [jnp.linalg.norm(part, axis=(-2, -1)) for part in jnp.split(matrix, [self.measured], axis=-2)]
        return jnp.max(jnp.stack(norms, axis=-1) / jnp.where(records.scale > 0.0, records.scale, 1.0), axis=-1)

    def _grown_errors(self, records: Records, best, condition, value, slope) -> tuple[jax.Array, jax.Array]:
        """Error of the record `best` on the way to a point and as far on its other side; and what lies between way and rim.

        Values and tangents at both ends tell the second and the third derivative along the way, whose terms may cancel at
        the point, and add on the other side. The second number is the largest product of the second derivative with the way
        and one to the rim of the ellipsoid: after it has grown, its error is at most half of it above those that were seen.
        """
        off = condition - records.condition[best]
        change = slope - records.slope[best]
        second, third = _terms(value - records.value[best] - records.slope[best] @ off, change @ off)
        along = self._norms(records, second[:, None]) + self._norms(records, third[:, None])
        return along, self._norms(records, jnp.linalg.solve(records.trust[best].T, change.T).T)

    def _bend(self, records: Records, condition, value, slope) -> jax.Array:
        """Largest second derivative at a point that its nearest records show, one more of them than there are directions."""
        ways = records.condition - condition
        distance = jnp.linalg.norm(ways, axis=1)
        used = (jnp.arange(self.capacity) < records.count) & (distance > 0.0)
        near = jnp.argsort(jnp.where(used, distance, jnp.inf))[: condition.size + 1]
        change = records.slope[near] - slope
        off = records.value[near] - value - ways[near] @ slope.T
        second, _ = _terms(off, jnp.einsum("kmi,ki->km", change, ways[near]))
        away = jnp.where(used[near], distance[near], jnp.inf)
        shown = self._norms(records, change) / away, 2.0 * self._norms(records, second[:, :, None]) / away**2
        return jnp.max(jnp.maximum(*shown))


def _terms(off: jax.Array, turned: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Terms of second and third order of a cubic at the end of a way, from what it is off its tangent there.

    `turned` is the change of its slope along the way, times the way.
    """
    return 3.0 * off - turned, turned - 2.0 * off

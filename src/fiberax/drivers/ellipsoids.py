"""Tables for conditions of several entries: in situ adaptive tabulation (Pope, Combust. Theory Model. 1 (1997) 41).

A record answers by its tangent, energies by their second derivative as well, inside an ellipsoid of accuracy, which grows where
a live value shows that the tangent is still accurate, and the live tangent that it is so on the other side and on the rim
between. Where it is not, a further record is made, whose first ellipsoid is a ball in which the second derivatives that its
neighbours show allow it. With values alone the error is many times the tolerance where a function meets its tangent again, or
bends in one direction much more than in another.
"""

import jax
import jax.numpy as jnp

from fiberax.drivers.tables import AbstractTable, Found, Records, write

_BLOCK = 128  # records, and rows, that are looked at together
_FIRST = 1e-9  # size of the first ellipsoid, relative to the condition
_SAFETY = 0.5  # of the tolerance, up to which ellipsoids grow: errors elsewhere in them were not looked at


class Ellipsoids(AbstractTable):
    """Tangents inside ellipsoids of accuracy |F_k (x − x_k)| ≤ 1; `Records.trust` holds the matrices F_k.

    Energies are answered at second order: their first derivative is a response, whose tangent is known.
    """

    @property
    def trusted(self):
        return _SAFETY * self.tolerance

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
        value = jax.vmap(self._told)(records.value[best], records.slope[best], records.bend[best], off)
        return Found(value, square <= 1.0, best)

    def _told(self, value, slope, bend, off):
        """The answer (m,) of a record at the distance `off` (d,)."""
        told = value + slope @ off
        return told.at[self.measured].add(0.5 * off @ bend @ off) if self._with_energy(value) else told

    def _turned(self, change, bend, off):
        """`change` of a slope (m, d) over the distance `off`, less what the second derivative of the energy tells of it."""
        return change.at[self.measured].add(-bend @ off) if self._with_energy(change) else change

    def _with_energy(self, value) -> bool:
        return value.shape[0] > self.measured + self.more

    def slope(self, records, conditions):
        return records.slope[self._nearest(records, conditions)[0]]

    def learn(self, records, condition, value, slope, kept, bend=0.0):
        records, bend = self._seen(records, value), jnp.broadcast_to(bend, records.bend.shape[1:])
        best, square = (v[0] for v in self._nearest(records, condition[None]))
        error, allowed = self.error(records, condition, value), self.trusted
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
        most = self._most_bent(records, condition, value, slope, bend)
        first = (_FIRST * (1.0 + jnp.linalg.norm(condition))) ** 2
        radius = jnp.where(most > 0.0, 2.0 * allowed / jnp.where(most > 0.0, most, 1.0), first)
        records = records._replace(trust=records.trust.at[best].set(now))
        full = records.count >= self.capacity
        place = jnp.minimum(records.count, self.capacity - 1)
        # A reach in the length of the step, where few are asked, would forbid others: tangents change with both.
        entry = jnp.arange(condition.size)
        reach = jnp.where(entry < condition.size - self.lengths, radius, jnp.minimum(radius, first))
        ball = jnp.diag(1.0 / jnp.sqrt(reach))
        more = write(records, place, condition, value, slope, ball, place, kept)
        more = more._replace(count=records.count + 1, bend=records.bend.at[place].set(bend))
        wanted = ~good & ~(known & some)
        new = jax.lax.cond(wanted & ~full, lambda: more, lambda: records)
        return new._replace(full=records.full | (wanted & full))

    def _norms(self, records: Records, matrix) -> jax.Array:
        """The largest of the Frobenius norms of the rows of response, energy and summary (..., m, k), each over its scale."""
        norms = [jnp.linalg.norm(part, axis=(-2, -1)) for part in self._parts(matrix, -2)]
        return jnp.max(jnp.stack(norms, axis=-1) / jnp.where(records.scale > 0.0, records.scale, 1.0), axis=-1)

    def _grown_errors(self, records: Records, best, condition, value, slope) -> tuple[jax.Array, jax.Array]:
        """Error of the record `best` on the way to a point and as far on its other side; and what lies between way and rim.

        Values and tangents at both ends tell the second and the third derivative along the way, whose terms may cancel at
        the point, and add on the other side. The second number is the largest product of the second derivative with the way
        and one to the rim of the ellipsoid: after it has grown, its error is at most half of it above those that were seen.
        """
        off, bend = condition - records.condition[best], records.bend[best]
        change = self._turned(slope - records.slope[best], bend, off)
        second, third = _terms(value - self._told(records.value[best], records.slope[best], bend, off), change @ off)
        along = self._norms(records, second[:, None]) + self._norms(records, third[:, None])
        return along, self._norms(records, jnp.linalg.solve(records.trust[best].T, change.T).T)

    def _most_bent(self, records: Records, condition, value, slope, bend) -> jax.Array:
        """Largest second derivative at a point that its nearest records show, one more of them than there are directions.

        That of an energy counts without the part that is known.
        """
        ways = records.condition - condition
        distance = jnp.linalg.norm(ways, axis=1)
        used = (jnp.arange(self.capacity) < records.count) & (distance > 0.0)
        near = jnp.argsort(jnp.where(used, distance, jnp.inf))[: condition.size + 1]
        change = jax.vmap(lambda s, way: self._turned(s - slope, bend, way))(records.slope[near], ways[near])
        off = records.value[near] - jax.vmap(lambda way: self._told(value, slope, bend, way))(ways[near])
        second, _ = _terms(off, jnp.einsum("kmi,ki->km", change, ways[near]))
        away = jnp.where(used[near], distance[near], jnp.inf)
        shown = self._norms(records, change) / away, 2.0 * self._norms(records, second[:, :, None]) / away**2
        return jnp.max(jnp.maximum(*shown))


def _terms(off: jax.Array, turned: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Terms of second and third order of a cubic at the end of a way, from what it is off its tangent there.

    `turned` is the change of its slope along the way, times the way.
    """
    return 3.0 * off - turned, turned - 2.0 * off

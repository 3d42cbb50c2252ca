"""A regression over many noisy responses, in cells of the space of conditions, for `Regression`.

In each cell the responses are fitted by polynomials of third degree with weights 1/s², s the standard error of a response.
Only sums are kept: samples of all sites and of all times are pooled, and the room that they take does not grow. Terms of fourth
and fifth degree tell what the fit misses of functions that are even in a cell, and odd; where that is known to be too much, the
cell is halved, and both halves begin anew.

Coefficients have a prior of mean zero and of the size of the largest response: it counts where samples are too few to tell
them, and gives an error there that is large.
"""

import itertools
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

MOST_ENTRIES = 3  # of a condition: the number of terms grows with the fifth power of the degree
_FITTED, _TESTED = 3, 5  # degrees: of both parities beyond the fit
_WIDTHS = (1e3, 2.0, 2.0, 2.0, 2.0, 2.0)  # of the prior of a coefficient of each degree, over the largest response
_REST = {4: 8 / 35, 5: 8 / 63}  # largest ξⁿ on [−1, 1] beside the polynomial of lower degree that fits it best (Legendre)
_SIGMAS = 2.5  # from which a term beyond the fit counts in the error
_CERTAIN = 4.0  # from which it halves a cell: it is looked at after every sample
_SAMPLES = 3  # for each term, before a cell is halved
_SHARE = 0.5  # of the tolerance, that a fit may miss before its cell is halved
_PRIOR_SAMPLES = 32.0  # which stated errors weigh against the scatter that is seen, since a run stops where an error is small
_POOLED = 8.0  # samples of the cell that its mean squared error weighs beside that of a single burst
_OF_A_CELL = ("gram", "right", "stated", "seen", "variance", "samples", "found", "covariance", "inverse", "missed")
_LEAST = 1e-3  # of the tolerance: least standard error of a response, which would else have no end of weight


class Cells(NamedTuple):
    """Sums of each cell; every array but the counts and the lattice has a leading axis (capacity,), cells in use first.

    Args:
        count: Number of cells.
        centre: Centres (capacity, d).
        half: Half of their sides (capacity, d).
        gram: Σ w φφᵀ of all terms φ up to fifth degree, (capacity, m, terms, terms).
        right: Σ w y φ (capacity, m, terms).
        stated: Σ w² s² φφᵀ, like `gram`.
        seen: Σ w² e² φφᵀ, like `gram`; e is the deviation from what the fit said before, without the share of the error of
            that fit.
        variance: Mean of the squared standard errors (capacity, m).
        samples: Number of responses (capacity,).
        found: Coefficients of the fit (capacity, m, fitted terms).
        covariance: Theirs (capacity, m, fitted terms, fitted terms).
        inverse: The same if errors are as stated, and the same in all of the cell.
        missed: Square of what the fit misses, as far as it is seen (capacity, m).
        corner: A corner of the lattice of cells that have not been halved (d,).
        width: Its spacings (d,).
        scale: Largest norm of a response so far.
        full: Whether a cell was lost for want of room.
    """

    count: jax.Array
    centre: jax.Array
    half: jax.Array
    gram: jax.Array
    right: jax.Array
    stated: jax.Array
    seen: jax.Array
    variance: jax.Array
    samples: jax.Array
    found: jax.Array
    covariance: jax.Array
    inverse: jax.Array
    missed: jax.Array
    corner: jax.Array
    width: jax.Array
    scale: jax.Array
    full: jax.Array


class Pooled(NamedTuple):
    """Answers, rows first: responses and standard errors (rows, m), whether errors are small, and where enough is known."""

    value: jax.Array
    error: jax.Array
    sure: jax.Array
    there: jax.Array


class PooledTable(eqx.Module):
    """The rule; `tolerance`: largest standard error (norm over a response) over the largest response so far.

    Args:
        tolerance: As above.
        capacity: Most cells.
        entries: d, numbers of a condition.
    """

    tolerance: float = eqx.field(static=True)
    capacity: int = eqx.field(static=True)
    entries: int = eqx.field(static=True)

    def empty(self, conditions: jax.Array, size: int) -> Cells:
        """No cells, for responses of `size` numbers; the lattice has the size of what `conditions` (rows, d) span."""
        dtype = jnp.result_type(float)
        zeros = lambda *shape: jnp.zeros((self.capacity, *shape), dtype)
        low, high = jnp.min(conditions, axis=0), jnp.max(conditions, axis=0)
        width = jnp.maximum(high - low, jnp.max(jnp.abs(conditions)))
        width = 1.02 * jnp.where(width > 0.0, width, 1.0)
        d, terms = self.entries, len(self._powers())
        fitted = int(np.sum(self._powers().sum(axis=1) <= _FITTED))
        none, number = jnp.zeros((), jnp.int32), jnp.zeros((), dtype)
        matrix = zeros(size, terms, terms)
        sums = matrix, zeros(size, terms), matrix, matrix, zeros(size), zeros()
        square = zeros(size, fitted, fitted)
        fit = zeros(size, fitted), square, square, zeros(size)
        corner, ones = 0.5 * (low + high - width), jnp.ones((self.capacity, d), dtype)
        return Cells(none, zeros(d), ones, *sums, *fit, corner, width, number, jnp.asarray(False))

    def _powers(self) -> np.ndarray:
        """Powers of each term (terms, d), by their degree."""
        degrees = range(_TESTED + 1)
        several = (p for p in itertools.product(degrees, repeat=self.entries) if sum(p) <= _TESTED)
        return np.array(sorted(several, key=lambda p: (sum(p), p)))

    def _terms(self, places) -> jax.Array:
        """All terms (..., terms) at places (..., d) in cells, −1 to 1."""
        return jnp.prod(places[..., None, :] ** self._powers(), axis=-1)

    def _at(self, cells: Cells, conditions):
        """The cell of each condition (rows,), its place in it (rows, d), and whether there is one."""
        off = (conditions[:, None, :] - cells.centre) / cells.half
        used = jnp.arange(self.capacity) < cells.count
        distance = jnp.where(used, jnp.max(jnp.abs(off), axis=-1), jnp.inf)
        cell = jnp.argmin(distance, axis=1)
        rows = jnp.arange(len(conditions))
        return cell, off[rows, cell], distance[rows, cell] <= 1.0 + 1e-12

    def _fit(self, cells: Cells, cell, degree: int) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Coefficients of a cell up to one degree (m, terms), their covariances, and the inverse G⁻¹ of the weighted sums.

        Those are of the robust form G⁻¹ (Σ w² e² φφᵀ) G⁻¹, for noise that varies within the cell.
        """
        powers = self._powers().sum(axis=1)
        kept = np.flatnonzero(powers <= degree)
        scale = jnp.where(cells.scale > 0.0, cells.scale, 1.0)
        part = lambda matrices: matrices[cell][:, kept[:, None], kept]
        prior = jnp.diag(1.0 / (np.array(_WIDTHS)[powers[kept]] * scale) ** 2)
        whole = part(cells.gram) + prior
        size = jnp.sqrt(jnp.diagonal(whole, axis1=-2, axis2=-1))  # so that all terms are solved for alike
        sizes = size[:, :, None] * size[:, None, :]
        inverse = jnp.linalg.inv(whole / sizes) / sizes
        found = jnp.einsum("mij,mj->mi", inverse, cells.right[cell][:, kept])
        number = cells.samples[cell]
        scatter = (number * part(cells.seen) + _PRIOR_SAMPLES * part(cells.stated)) / (number + _PRIOR_SAMPLES)
        return found, inverse @ (scatter + prior) @ inverse, inverse

    def _missed(self, cells: Cells, cell) -> tuple[jax.Array, jax.Array, jax.Array]:
        """The square of what the terms beyond the fit add at most beside the fit (m,).

        And what those that are certain add, and how much of it each axis does (d,).
        """
        powers = self._powers()
        found, covariance, _ = self._fit(cells, cell, _TESTED)
        degrees = powers.sum(axis=1)
        last = np.flatnonzero(degrees > _FITTED)
        rest = np.array([_REST[n] for n in degrees[last]])
        variance = jnp.diagonal(covariance, axis1=-2, axis2=-1)[:, last]
        square = found[:, last] ** 2
        sized = lambda sigmas: rest * jnp.sqrt(jnp.where(square > sigmas**2 * variance, square - variance, 0.0))
        certain = sized(_CERTAIN)
        most = jnp.linalg.norm(jnp.sum(certain, axis=1))
        return jnp.sum(sized(_SIGMAS), axis=1) ** 2, most, jnp.sum(certain, axis=0) @ powers[last]

    def find(self, cells: Cells, conditions: jax.Array) -> Pooled:
        """Answers to `conditions` (rows, d)."""
        cell, place, there = self._at(cells, conditions)
        fitted = cells.found.shape[-1]
        terms = self._terms(place)[:, :fitted]
        value = jnp.einsum("rmi,ri->rm", cells.found[cell], terms)
        variance = jnp.einsum("rmij,ri,rj->rm", cells.covariance[cell], terms, terms) + cells.missed[cell]
        small = jnp.sqrt(jnp.sum(variance, axis=1)) <= self.tolerance * cells.scale
        there = there & (cells.samples[cell] > fitted)
        return Pooled(value, jnp.sqrt(variance), there & small, there)

    def learn(self, cells: Cells, condition: jax.Array, value: jax.Array, error: jax.Array) -> Cells:
        """The cells after one response (m,) with its standard error (m,) at a condition (d,)."""
        cells = cells._replace(scale=jnp.maximum(cells.scale, jnp.linalg.norm(value)))
        cell, _, there = (x[0] for x in self._at(cells, condition[None]))
        full = cells.count >= self.capacity
        cells = jax.lax.cond(~there & ~full, lambda c: self._opened(c, condition), lambda c: c, cells)
        cell = jnp.where(there, cell, cells.count - 1)
        cells = cells._replace(full=cells.full | (full & ~there))
        return jax.lax.cond(there | ~full, lambda c: self._added(c, cell, condition, value, error), lambda c: c, cells)

    def _opened(self, cells: Cells, condition) -> Cells:
        """One more cell, that of the lattice around a condition."""
        centre = cells.corner + (jnp.floor((condition - cells.corner) / cells.width) + 0.5) * cells.width
        return self._begun(cells._replace(count=cells.count + 1), cells.count, centre, 0.5 * cells.width)

    def _begun(self, cells: Cells, cell, centre, half) -> Cells:
        """The cell `cell` without samples, at another place."""
        none = lambda x: x.at[cell].set(jnp.zeros(x.shape[1:], x.dtype))
        sums = {name: none(getattr(cells, name)) for name in _OF_A_CELL}
        return cells._replace(centre=cells.centre.at[cell].set(centre), half=cells.half.at[cell].set(half), **sums)

    def _added(self, cells: Cells, cell, condition, value, error) -> Cells:
        # A single error is that of few parts of a window; the mean of the cell is known better.
        before = jnp.minimum(cells.samples[cell], _POOLED)
        own = jnp.maximum(error, _LEAST * self.tolerance * cells.scale) ** 2
        variance = (own + before * cells.variance[cell]) / (1.0 + before)
        number = cells.samples[cell] + 1.0
        terms = self._terms((condition - cells.centre[cell]) / cells.half[cell])
        weight, fitted = 1.0 / variance, cells.found.shape[-1]
        off = value - cells.found[cell] @ terms[:fitted]
        leverage = jnp.einsum("mij,i,j->m", cells.inverse[cell], terms[:fitted], terms[:fitted]) / variance
        square = jnp.where(cells.samples[cell] > fitted, off**2 / (1.0 + leverage), own)
        outer = jnp.outer(terms, terms)
        cells = cells._replace(
            gram=cells.gram.at[cell].add(weight[:, None, None] * outer),
            right=cells.right.at[cell].add((weight * value)[:, None] * terms),
            stated=cells.stated.at[cell].add((weight**2 * own)[:, None, None] * outer),
            seen=cells.seen.at[cell].add((weight**2 * square)[:, None, None] * outer),
            variance=cells.variance.at[cell].add((own - cells.variance[cell]) / number),
            samples=cells.samples.at[cell].set(number),
        )
        found, covariance, inverse = self._fit(cells, cell, _FITTED)
        missed, certain, by_axis = self._missed(cells, cell)
        cells = cells._replace(
            found=cells.found.at[cell].set(found),
            covariance=cells.covariance.at[cell].set(covariance),
            inverse=cells.inverse.at[cell].set(inverse),
            missed=cells.missed.at[cell].set(missed),
        )
        enough = number >= _SAMPLES * len(self._powers())
        wanted = enough & (certain > _SHARE * self.tolerance * cells.scale)
        full = cells.count >= self.capacity
        cells = cells._replace(full=cells.full | (wanted & full))
        return jax.lax.cond(wanted & ~full, lambda c: self._halved(c, cell, jnp.argmax(by_axis)), lambda c: c, cells)

    def _halved(self, cells: Cells, cell, axis) -> Cells:
        """Two cells in place of one, which begin anew."""
        along = jnp.arange(self.entries) == axis
        half = jnp.where(along, 0.5, 1.0) * cells.half[cell]
        centre, step = cells.centre[cell], jnp.where(along, half, 0.0)
        cells = self._begun(cells, cell, centre - step, half)
        return self._begun(cells._replace(count=cells.count + 1), cells.count, centre + step, half)

"""The linear cell problem by finite volumes: pixels exchange flux through their faces."""

import jax
import jax.numpy as jnp
import numpy as np

from fiberax.physics.homogenization.discretisation import axes
from fiberax.physics.homogenization.medium import (
    AbstractGridMedium,
    AbstractStrainMedium,
    System,
    reference,
    shifted,
)


def in_series(a, b):
    """2ab/(a + b), the conductivity of two halves one behind the other; 0 where neither conducts.

    There its derivative is right for raising both by the same number.
    """
    return a * part_of(b, a)


def part_of(a, b):
    """2a/(a + b), the slope in a half of conductivity b behind one of conductivity a, over the mean; 1 where both are 0."""
    none = a + b == 0
    return jnp.where(none, 1.0, 2.0 * a / jnp.where(none, 1.0, a + b))


class VolumeMedium(AbstractStrainMedium):
    """Periodic cell. Entry i of a face array along axis k is the face between pixels i and i + 1."""

    def _mixed(self):
        return self.a.ndim > self.d and self.d > 1

    def _law(self):
        d, rates = self.d, self.rates
        ahead = [jnp.roll(self.along(k), -1, k - d) for k in range(d)]
        through = [in_series(self.along(k), ahead[k]) * rates[k] ** 2 for k in range(d)]
        if not self._mixed():
            return lambda strain: {(k,): t * strain[(k,)] for k, t in enumerate(through)}
        below = [0.5 * rates[k] * part_of(ahead[k], self.along(k)) for k in range(d)]
        above = [0.5 * rates[k] * part_of(self.along(k), ahead[k]) for k in range(d)]

        def law(strain):
            slope = [below[k] * strain[(k,)] + jnp.roll(above[k] * strain[(k,)], 1, k - d) for k in range(d)]
            stress = {}
            for k in range(d):
                mixed = sum(self.a[k, l] * slope[l] for l in range(d) if l != k)
                stress[(k,)] = through[k] * strain[(k,)] + below[k] * mixed + above[k] * jnp.roll(mixed, -1, k - d)
            return stress

        return law

    def _strain(self, u):
        return {(k,): jnp.roll(u, -1, k - self.d) - u for k in range(self.d)}

    def _adjoint(self, stress):
        return sum(jnp.roll(s, 1, k - self.d) - s for (k,), s in stress.items())


class HeldMedium(AbstractGridMedium):
    """Both ends of axis j held for χ_j, which is zero there, and the other sides sealed; A is diagonal.

    Faces inside are those of `VolumeMedium`, the last of each axis closed. An end lies half a spacing from its pixels.
    """

    def _faces(self):
        """Conductivities of the faces inside, over the squared spacing, and of the half pixels at the two ends of each axis."""
        inside, ends = [], []
        for k in range(self.d):
            n, a, square = self.shape[k], self.along(k), self.rates[k] ** 2
            first, last = _layer(n, k, self.d, 0), _layer(n, k, self.d, n - 1)
            inside.append(in_series(a, jnp.roll(a, -1, k - self.d)) * (1.0 - last) * square)
            ends.append((2.0 * square * a * first, 2.0 * square * a * last))
        return inside, ends

    def _apply(self):
        inside, ends = self._faces()
        both = jnp.stack([lower + upper for lower, upper in ends])

        def apply(x):
            total = both * x
            for k in range(self.d):
                flux = inside[k] * (jnp.roll(x, -1, k - self.d) - x)
                total = total + jnp.roll(flux, 1, k - self.d) - flux
            return total

        return apply

    def _filter(self, r, shift, power=1.0):
        """(−div(ā∇) + shift)^−power by cosine and sine transforms; 0 on modes whose gradients cause no flux."""
        mean = jnp.diag(reference(self.a, self.d)[0])
        found = []
        for j in range(self.d):
            symbol = jnp.asarray(shift)
            for k, n in enumerate(self.shape):
                angle = 0.5 * np.pi * (np.arange(n) + (1.0 if k == j else 0.0)) / n
                view = tuple(n if l == k else 1 for l in range(self.d))
                symbol = symbol + mean[k] * jnp.asarray(4.0 * self.rates[k] ** 2 * np.sin(angle) ** 2).reshape(view)
            spectrum = r[j]
            for k in range(self.d):
                spectrum = _transform(spectrum, k, k == j)
            still = symbol == 0.0
            spectrum = jnp.where(still, 0.0, spectrum / jnp.where(still, 1.0, symbol) ** power)
            for k in range(self.d):
                spectrum = _back(spectrum, k, k == j)
            found.append(spectrum)
        return jnp.stack(found)

    def system(self, shift=0.0):
        return System(
            shifted(self._apply(), shift),
            lambda r: self._filter(r, shift),
            lambda r: self._filter(r, shift, 0.5),
            lambda u, v: jnp.mean(u * v, axis=axes(self.d)),
        )

    def energy(self, chi, residual, flux):
        return flux - jnp.diag(jnp.mean(chi * residual, axis=axes(self.d)))

    def invert(self, residual, shift):
        return self._filter(residual, shift)

    def balance(self, chi):
        inside, ends = self._faces()
        residual, mean = -self._apply()(chi), []
        for j, n in enumerate(self.rates):
            lower, upper = ends[j]
            unit = 1.0 / n
            flux = inside[j] * unit
            # The slope at the ends is χ over half a spacing, at the upper one with the other sign, and 1.
            residual = residual.at[j].add(flux - jnp.roll(flux, 1, j - self.d) - 0.5 * unit * (lower - upper))
            difference = jnp.roll(chi[j], -1, j - self.d) - chi[j]
            total = inside[j] * (difference + unit) + 0.5 * lower * (chi[j] + 0.5 * unit) + 0.5 * upper * (0.5 * unit - chi[j])
            mean.append(jnp.mean(total) * unit)
        return residual, jnp.diag(jnp.stack(mean))


def _layer(n, k, d, place):
    """1 on one layer of axis k, else 0, broadcast against the cell."""
    out = np.zeros(n)
    out[place] = 1.0
    return jnp.asarray(out).reshape(tuple(n if l == k else 1 for l in range(d)))


def _transform(u, axis, odd):
    """Type-II cosine transform along an axis, or sine transform where the field is odd at its ends."""
    if odd:
        u = jnp.flip(jax.scipy.fft.dct(u * _signs(u, axis), type=2, norm="ortho", axis=axis), axis)
        return u
    return jax.scipy.fft.dct(u, type=2, norm="ortho", axis=axis)


def _back(u, axis, odd):
    """The inverse of `_transform`."""
    if odd:
        return jax.scipy.fft.idct(jnp.flip(u, axis), type=2, norm="ortho", axis=axis) * _signs(u, axis)
    return jax.scipy.fft.idct(u, type=2, norm="ortho", axis=axis)


def _signs(u, axis):
    n = u.shape[axis]
    return jnp.asarray((-1.0) ** np.arange(n)).reshape(tuple(n if l == axis else 1 for l in range(u.ndim)))

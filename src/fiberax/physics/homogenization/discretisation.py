"""Discrete gradients on the periodic cell [0, 1)^d, their adjoints, and the balance of fluxes.

Fields have the shape (..., *shape) with d = len(shape); spacings are those of `inverse_spacing`, 1/shape in a unit cell.
⟨·⟩ is the mean over the cell. Every discretisation keeps ⟨∇v·q⟩ = −⟨v div q⟩ exactly.
"""

import abc
import itertools
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float


class AbstractDiscretisation(eqx.Module):
    """A gradient on the cell, its adjoint, and the Fourier symbol of −div(reference ∇) for a constant tensor.

    Args:
        lengths: Of the cell along each axis; 1 along each where None. Only their ratios matter for A.
    """

    lengths: tuple[float, ...] | None = eqx.field(static=True, default=None, kw_only=True)

    def inverse_spacing(self, shape: tuple[int, ...]) -> tuple[float, ...]:
        """Points over length, for each axis of a grid."""
        return tuple(shape) if self.lengths is None else tuple(n / length for n, length in zip(shape, self.lengths))

    @abc.abstractmethod
    def points(self, shape: tuple[int, ...]) -> np.ndarray:
        """Where the coefficient is sampled, (*shape, d), in [0, 1)."""

    @abc.abstractmethod
    def gradient(self, u: Float[Array, " *shape"]) -> Float[Array, " q d *shape"]:
        """Gradient of one field at the q quadrature points of each cell, which have equal weights."""

    @abc.abstractmethod
    def divergence(self, flux: Float[Array, " q d *shape"]) -> Float[Array, " *shape"]:
        """Minus the adjoint of `gradient` under the mean over cell and quadrature points."""

    @abc.abstractmethod
    def symbol(self, shape: tuple[int, ...], reference: Float[Array, "d d"], diagonal: bool) -> Float[Array, " *shape"]:
        """Symbol of −div(reference ∇) in the layout of `fftn`, real, zero on the modes without a gradient.

        `reference` is symmetric; with `diagonal` only its diagonal is read.
        """

    @abc.abstractmethod
    def unseen(self, u: Float[Array, "*shape"], d: int) -> Float[Array, "*shape"]:
        """Projection on the fields whose gradient vanishes; the constants are always among them."""


def axes(d: int) -> tuple[int, ...]:
    """The cell axes of an array (..., *shape)."""
    return tuple(range(-d, 0))


def half_angles(shape):
    """For each axis (sin, cos) of half the phase 2πk/n, broadcast against `shape`."""
    out = []
    for k, n in enumerate(shape):
        w = np.pi * np.arange(n) / n
        c = np.cos(w)
        if n % 2 == 0:
            c[n // 2] = 0.0
        view = tuple(n if l == k else 1 for l in range(len(shape)))
        out.append((jnp.asarray(np.sin(w)).reshape(view), jnp.asarray(c).reshape(view)))
    return out


def null_mask(shape, nyquist: bool) -> Bool[Array, " *shape"]:
    """Whether the gradient of a Fourier mode vanishes."""
    zero, lost = jnp.ones((), bool), jnp.zeros((), bool)
    for k, n in enumerate(shape):
        view = tuple(n if l == k else 1 for l in range(len(shape)))
        index = np.arange(n)
        zero = zero & jnp.asarray(index == 0).reshape(view)
        lost = lost | jnp.asarray(nyquist & (2 * index == n)).reshape(view)
    return zero | lost


def transform(function, u, d: int, **options):
    """An `n`-dimensional transform of `jax.numpy.fft` over the last d axes.

    XLA on the CPU (jaxlib 0.10.0) fails at run time on transforms whose operand it has laid out transposed, which it does
    around leading axes of length 1: these are removed first.
    """
    lead = u.shape[: u.ndim - d]
    out = function(u.reshape((-1, *u.shape[-d:]) if math.prod(lead) > 1 else u.shape[-d:]), axes=axes(d), **options)
    return out.reshape(*lead, *out.shape[-d:])


def fourier_filter(u, factor):
    """The real fields u (m, *shape) multiplied by the real, even `factor` (*shape) in Fourier space.

    Two fields share one complex transform, as its real and imaginary part.
    """
    d = factor.ndim
    pairs = u.shape[0] // 2
    parts = []
    if pairs:
        both = u[: 2 * pairs].reshape(pairs, 2, *u.shape[1:])
        spectrum = factor * transform(jnp.fft.fftn, jax.lax.complex(both[:, 0], both[:, 1]), d)
        back = transform(jnp.fft.ifftn, spectrum, d)
        parts.append(jnp.stack([back.real, back.imag], axis=1).reshape(2 * pairs, *u.shape[1:]))
    if u.shape[0] % 2:
        half = factor[..., : factor.shape[-1] // 2 + 1]
        spectrum = half * transform(jnp.fft.rfftn, u[-1:], d)
        parts.append(transform(jnp.fft.irfftn, spectrum, d, s=factor.shape))
    return parts[0] if len(parts) == 1 else jnp.concatenate(parts)


def _mean(u, d):
    return jnp.mean(u, axis=axes(d), keepdims=True)


def _pixel_centres(shape):
    return np.stack(np.meshgrid(*((np.arange(n) + 0.5) / n for n in shape), indexing="ij"), axis=-1)


class Spectral(AbstractDiscretisation):
    """Fourier pseudo-spectral: for smooth coefficients, with an error below any power of the spacing.

    The coefficient is sampled at the nodes i/n. The state holds trigonometric polynomials of degree below n/2 along each axis.
    On even grids the modes at n/2 are left out, because their derivative vanishes at all nodes. At jumps of the coefficient
    the fields oscillate; use `FiniteElement` there.

    Args:
        lengths: As for `AbstractDiscretisation`.
    """

    def points(self, shape):
        return np.stack(np.meshgrid(*(np.arange(n) / n for n in shape), indexing="ij"), axis=-1)

    def wavenumbers(self, shape):
        """iκ as real arrays κ for each axis, (*shape[:-1], shape[-1]//2 + 1) after broadcasting, and the mask of kept modes."""
        kappa, kept, rates = [], 1.0, self.inverse_spacing(shape)
        for k, n in enumerate(shape):
            index = np.fft.fftfreq(n, 1.0 / n) if k < len(shape) - 1 else np.arange(n // 2 + 1.0)
            lost = 2 * np.abs(index) == n
            view = tuple(index.size if l == k else 1 for l in range(len(shape)))
            kappa.append(jnp.asarray(2 * np.pi * np.where(lost, 0.0, index) * (rates[k] / n)).reshape(view))
            kept = kept * jnp.asarray((~lost).astype(float)).reshape(view)
        return kappa, kept

    def gradient(self, u):
        kappa, kept = self.wavenumbers(u.shape)
        spectrum = kept * jnp.fft.rfftn(u)
        return transform(jnp.fft.irfftn, jnp.stack([1j * k * spectrum for k in kappa]), u.ndim, s=u.shape)[None]

    def divergence(self, flux):
        shape = flux.shape[2:]
        kappa, kept = self.wavenumbers(shape)
        spectrum = transform(jnp.fft.rfftn, flux[0], len(shape))
        total = sum(1j * k * s for k, s in zip(kappa, spectrum))
        return transform(jnp.fft.irfftn, kept * total, len(shape), s=shape)

    def symbol(self, shape, reference, diagonal):
        kappa, kept, rates = [], 1.0, self.inverse_spacing(shape)
        for k, n in enumerate(shape):
            index = np.fft.fftfreq(n, 1.0 / n)
            lost = 2 * np.abs(index) == n
            view = tuple(n if l == k else 1 for l in range(len(shape)))
            kappa.append(jnp.asarray(2 * np.pi * np.where(lost, 0.0, index) * (rates[k] / n)).reshape(view))
            kept = kept * jnp.asarray((~lost).astype(float)).reshape(view)
        total = sum(reference[k, k] * kappa[k] ** 2 for k in range(len(shape)))
        if not diagonal:
            for k, l in itertools.combinations(range(len(shape)), 2):
                total = total + 2 * reference[k, l] * kappa[k] * kappa[l]
        return kept * total

    def unseen(self, u, d):
        seen = u
        for axis in axes(d):
            n = u.shape[axis]
            if n % 2 == 0:
                signs = jnp.asarray((-1.0) ** np.arange(n)).reshape((n,) + (1,) * (-axis - 1))
                seen = seen - signs * jnp.mean(signs * seen, axis=axis, keepdims=True)
        return (u - seen) + _mean(seen, d)


class FiniteElement(AbstractDiscretisation):
    """Multilinear elements on the pixels or voxels, integrated exactly: for coefficients with jumps.

    The coefficient is sampled at the pixel centre and constant on the pixel. The state is on the pixel corners, entry i at the
    corner i/n. Second order where the coefficient is smooth or jumps along pixel faces; no oscillations and no checkerboard
    modes. For a nonlinear law the quadrature points are the 2^d Gauss points of the pixel.

    Args:
        lengths: As for `AbstractDiscretisation`.
    """

    def points(self, shape):
        return _pixel_centres(shape)

    def gradient(self, u):
        d = u.ndim
        modes, rates = element_modes(u, d), self.inverse_spacing(u.shape)
        rows = []
        for signs in itertools.product((-1.0, 1.0), repeat=d):
            rows.append(jnp.stack([_at_gauss_point(modes, k, signs, rates) for k in range(d)]))
        return jnp.stack(rows)

    def divergence(self, flux):
        shape = flux.shape[2:]
        d = len(shape)
        signs, rates = np.array(list(itertools.product((-1.0, 1.0), repeat=d))), self.inverse_spacing(shape)
        stress = {}
        for subset in nonempty_subsets(d):
            total = 0.0
            for k in subset:
                others = [l for l in subset if l != k]
                weight = np.prod(signs[:, others], axis=1) * rates[k] / (len(signs) * 12 ** (len(others) / 2))
                total = total + jnp.tensordot(weight, flux[:, k], axes=1)
            stress[subset] = total
        return -element_adjoint(stress, d)

    def symbol(self, shape, reference, diagonal):
        angle, rates = half_angles(shape), self.inverse_spacing(shape)
        d = len(shape)

        def term(pair, value):
            for m in set(range(d)) - set(pair):
                value = value * (1.0 - (2.0 / 3.0) * angle[m][0] ** 2)
            return value

        total = sum(reference[k, k] * term((k,), 4 * (rates[k] * angle[k][0]) ** 2) for k in range(d))
        if not diagonal:
            for k, l in itertools.combinations(range(d), 2):
                both = angle[k][0] * angle[k][1] * angle[l][0] * angle[l][1]
                total = total + reference[k, l] * term((k, l), 8 * rates[k] * rates[l] * both)
        return total * jnp.ones(shape)

    def unseen(self, u, d):
        return jnp.broadcast_to(_mean(u, d), u.shape)


class AbstractDifferences(AbstractDiscretisation):
    """Differences of neighbours; the coefficient is sampled at the pixel centres."""

    def points(self, shape):
        return _pixel_centres(shape)

    def gradient(self, u):
        return jnp.stack([(jnp.roll(u, -1, k) - u) * n for k, n in enumerate(self.inverse_spacing(u.shape))])[None]

    def divergence(self, flux):
        q = flux[0]
        return sum((q[k] - jnp.roll(q[k], 1, k)) * n for k, n in enumerate(self.inverse_spacing(q.shape[1:])))

    def symbol(self, shape, reference, diagonal):
        angle, rates = half_angles(shape), self.inverse_spacing(shape)
        d = len(shape)
        total = sum(reference[k, k] * 4 * (rates[k] * angle[k][0]) ** 2 for k in range(d))
        if not diagonal:
            for k, l in itertools.combinations(range(d), 2):
                both = 8 * rates[k] * rates[l] * angle[k][0] * angle[l][0]
                total = total + reference[k, l] * both * self._mixed(angle[k], angle[l])
        return total * jnp.ones(shape)

    @abc.abstractmethod
    def _mixed(self, one, other):
        """The factor that a mixed difference has beside the sines, from (sin, cos) of half the phases of two axes."""

    def unseen(self, u, d):
        return jnp.broadcast_to(_mean(u, d), u.shape)


class FiniteDifference(AbstractDifferences):
    """Forward differences, one tensor for each pixel: the cheapest iteration.

    The k-th difference belongs to a pixel edge: first order in the spacing, exact for laminates along an axis and in one
    dimension. Use `FiniteElement` or `FiniteVolume` where accuracy matters.

    Args:
        lengths: As for `AbstractDiscretisation`.
    """

    def _mixed(self, one, other):
        return one[1] * other[1] + one[0] * other[0]


class FiniteVolume(AbstractDifferences):
    """Pixels or voxels that exchange flux through their faces: for images, also with phases that do not conduct.

    The state is at the pixel centres. Between two pixels with conductivities a and b the flux meets their resistances in
    series, 2ab/(a + b) times the difference over the spacing (Patankar 1980, Numerical Heat Transfer and Fluid Flow, section
    4.2-3): none passes an edge or a corner, and conductivity zero is allowed. First order at jumps of the coefficient, second
    order elsewhere; exact for laminates along an axis. Off-diagonal entries of a tensor meet the gradient of the pixel, the
    mean over its faces of the slope that the series leaves to this pixel.

    Args:
        held: Not periodic: for the gradient along an axis both ends of that axis are held, the other sides are sealed. That
            is half of the cell mirrored along every axis. Needs numbers or diagonal tensors, and gives a diagonal A.
        lengths: As for `AbstractDiscretisation`.
    """

    held: bool = eqx.field(static=True, default=False)

    def _mixed(self, one, other):
        return one[1] * other[1]

    def unseen(self, u, d):
        return jnp.zeros_like(u) if self.held else super().unseen(u, d)


def nonempty_subsets(d: int) -> list[tuple[int, ...]]:
    """All nonempty subsets of the axes 0..d−1."""
    return [s for size in range(1, d + 1) for s in itertools.combinations(range(d), size)]


def element_modes(u, d: int) -> dict:
    """For each nonempty set of axes: u differenced along these and averaged along the others, over the corners of each pixel.

    With ξ in [−½, ½]^d on the pixel, u = Σ modes[S] ∏_{l in S} ξ_l.
    """
    fields = {(): u}
    for l, axis in enumerate(axes(d)):
        following = {}
        for subset, f in fields.items():
            ahead = jnp.roll(f, -1, axis)
            following[subset] = 0.5 * (ahead + f)
            following[(*subset, l)] = ahead - f
        fields = following
    del fields[()]
    return fields


def element_adjoint(stress: dict, d: int):
    """Adjoint of `element_modes` under the sum."""
    fields = dict(stress)
    for l in reversed(range(d)):
        axis = l - d
        following = {}
        for subset in sorted({tuple(a for a in s if a != l) for s in fields}):
            half = 0.5 * fields[subset] if subset in fields else 0.0
            with_l = tuple(sorted((*subset, l)))
            difference = fields.get(with_l, 0.0)
            following[subset] = jnp.roll(half + difference, 1, axis) + (half - difference)
        fields = following
    return fields[()]


def _at_gauss_point(modes, k, signs, rates):
    total = 0.0
    for subset, field in modes.items():
        if k in subset:
            others = [l for l in subset if l != k]
            factor = math.prod(signs[l] for l in others) / 12 ** (len(others) / 2)
            total = total + rates[k] * factor * field
    return total

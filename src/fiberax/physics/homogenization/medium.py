"""A sampled coefficient on a periodic grid: the linear operator −div(a∇), its preconditioner and its means.

The coefficient a is an array (*shape) for an isotropic medium, or (d, d, *shape); its second index is contracted with
the gradient (2.3) (docs: mathematics, Slips in the paper).
"""

import abc
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from fiberax.physics.homogenization.discretisation import (
    AbstractDiscretisation,
    FiniteElement,
    Spectral,
    axes,
    element_adjoint,
    element_modes,
    fourier_filter,
    nonempty_subsets,
    null_mask,
    transform,
)

_LEAST = 1e-10  # of the energy of the load: a smaller energy of the solution does not count when residuals are judged
_UNITS = 8  # of round-off of the load, below which no residual is asked for
_CANCELLED = 16  # units of round-off of its mixed terms that count as nothing in a symbol


class System(NamedTuple):
    """A linear operator for a Krylov method; its vectors are arrays (m, ...), m systems at once."""

    apply: Callable  # K
    precondition: Callable  # P ≈ K⁻¹, symmetric positive definite
    root: Callable  # P^½
    dot: Callable  # (m, ...), (m, ...) -> (m,)


class AbstractMedium(eqx.Module):
    """The linear cell problem of one coefficient a, (*shape) or (d, d, *shape)."""

    discretisation: AbstractDiscretisation
    a: Float[Array, "..."]
    d: int = eqx.field(static=True)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the grid."""
        return self.a.shape[-self.d :]

    @property
    def rates(self) -> tuple[float, ...]:
        """Points over length, for each axis."""
        return self.discretisation.inverse_spacing(self.shape)

    def along(self, k: int) -> Float[Array, "*shape"]:
        """The entry of the coefficient for axis k."""
        return self.a if self.a.ndim == self.d else self.a[k, k]

    def loads(self) -> Float[Array, " d"]:
        """Energy of the load a e_j for each j, that of a gradient without a corrector: the largest mean of |a_ij| over i.

        The energy of the solution may be any part of it, down to nothing where no flux passes.
        """
        if self.a.ndim == self.d:
            return jnp.full((self.d,), jnp.mean(self.a))
        return jnp.max(jnp.mean(jnp.abs(self.a), axis=axes(self.d)), axis=0)

    @abc.abstractmethod
    def system(self, shift=0.0) -> System:
        """K = −div(a∇) + shift on encoded fields."""

    @abc.abstractmethod
    def encode(self, u: Float[Array, "m *shape"]) -> Array:
        """Fields to the vectors of the Krylov method."""

    @abc.abstractmethod
    def decode(self, x: Array) -> Float[Array, "m *shape"]:
        """The inverse of `encode`."""

    @abc.abstractmethod
    def invert(self, residual: Float[Array, "m *shape"], shift: Float[Array, ""]) -> Float[Array, "m *shape"]:
        """(−div(ā∇) + Π + shift)⁻¹ residual, with ā the mean of the symmetric part of a."""

    @abc.abstractmethod
    def balance(self, chi: Float[Array, "d *shape"]) -> tuple[Float[Array, "d *shape"], Float[Array, "d d"]]:
        """div(a(∇χ_j + e_j)) for each j, and the mean flux A_ij = ⟨e_i·a(∇χ_j + e_j)⟩ of (2.3)."""

    @abc.abstractmethod
    def energy(self, chi, residual, flux) -> Float[Array, "d d"]:
        """⟨(e_i + ∇χ_i)·a(e_j + ∇χ_j)⟩ from what `balance` gives."""


def energy(chi, residual, flux):
    """⟨(e_i + ∇χ_i)·a(e_j + ∇χ_j)⟩, (d, d), from the mean flux and ⟨∇χ_i·q_j⟩ = −⟨χ_i div q_j⟩."""
    return flux - jnp.einsum("in,jn->ij", *(u.reshape(len(u), -1) for u in (chi, residual))) / chi[0].size


def round_off(discretisation: AbstractDiscretisation, shape: tuple[int, ...], dtype) -> float:
    """Round-off of a residual over the load in the norm of the preconditioner.

    Correctors are of the size of the cell, and their differences are multiplied by the inverse spacing.
    """
    lengths = discretisation.lengths
    size = 1.0 if lengths is None else max(lengths)
    return float(jnp.finfo(dtype).eps) * max(discretisation.inverse_spacing(shape)) * size


def judged_part(noise: float, tolerance):
    """The part of the energy of the load that counts in place of a smaller energy of the solution, for residuals.

    Where nothing passes that energy is zero: a residual relative to it would have to be below its round-off `noise`.
    """
    return jnp.clip((_UNITS * noise / tolerance) ** 2, _LEAST, 1.0)


class AbstractGridMedium(AbstractMedium):
    """A medium whose Krylov vectors are the fields themselves."""

    def encode(self, u):
        return u

    def decode(self, x):
        return x


def reference(a, d: int):
    """Mean of the symmetric part of the coefficient, (d, d), and whether it is known to be diagonal."""
    if a.ndim == d:
        return jnp.mean(a) * jnp.eye(d), True
    tensor = jnp.mean(a, axis=axes(d))
    return 0.5 * (tensor + tensor.T), d == 1


def inverse_symbol(
    discretisation: AbstractDiscretisation, tensor, shape, diagonal: bool, shift: Float[Array, ""] | float = 0.0
):
    """Symbol (*shape) of (−div(tensor ∇) + Π + shift)⁻¹, Π the projection on the modes without a gradient."""
    symbol, lost = _symbol(discretisation, tensor, shape, diagonal, shift)
    return 1.0 / (jnp.where(lost, 1.0, symbol) + shift)


def krylov_symbol(discretisation: AbstractDiscretisation, tensor, shape, diagonal: bool, shift: Float[Array, ""] | float = 0.0):
    """Symbol of the pseudo-inverse of −div(tensor ∇) + shift on the modes with a gradient, and with a flux.

    Round-off in the other modes stays in a residual; a Krylov method that took part of it would diverge once the rest is small.
    """
    symbol, lost = _symbol(discretisation, tensor, shape, diagonal, shift)
    return jnp.where(lost, 0.0, 1.0 / (jnp.where(lost, 1.0, symbol) + shift))


def _symbol(discretisation: AbstractDiscretisation, tensor, shape, diagonal: bool, shift):
    """Symbol (*shape) of −div(tensor ∇), and whether a mode has no gradient, or causes no flux.

    Where the mean of semi-definite tensors does not conduct along a direction none of them does: such modes take no part in
    any balance, unless a `shift` moves them. Beside a tensor that is not diagonal their symbol is zero to round-off.
    """
    symbol = discretisation.symbol(shape, tensor, diagonal)
    cancelled = 0.0
    if not diagonal:
        cancelled = _CANCELLED * jnp.finfo(symbol.dtype).eps * jnp.abs(symbol - discretisation.symbol(shape, tensor, True))
    still = (symbol <= cancelled) & (jnp.asarray(shift) == 0.0)
    return symbol, null_mask(shape, isinstance(discretisation, Spectral)) | still


def real_system(apply, inverse, d) -> System:
    """The system of an operator on fields (m, *shape), preconditioned by a Fourier multiplier."""
    return System(
        apply,
        lambda r: fourier_filter(r, inverse),
        lambda r: fourier_filter(r, jnp.sqrt(inverse)),
        lambda u, v: jnp.mean(u * v, axis=axes(d)),
    )


def shifted(apply, shift):
    """`apply` plus shift times its argument."""
    if isinstance(shift, float) and shift == 0.0:
        return apply
    return lambda x: apply(x) + shift * x


def invert_reference(discretisation: AbstractDiscretisation, a, residual, shift):
    """`AbstractMedium.invert` on a periodic cell."""
    d = residual.ndim - 1
    tensor, diagonal = reference(a, d)
    return fourier_filter(residual, inverse_symbol(discretisation, tensor, residual.shape[1:], diagonal, shift))


class AbstractStrainMedium(AbstractGridMedium):
    """A periodic cell whose operator is a difference, a flux law and the adjoint difference.

    Strains and fluxes are arrays by sets of axes; those of one axis alone are the differences along it.
    """

    @abc.abstractmethod
    def _strain(self, u) -> dict:
        """Differences of fields, not over the spacings."""

    @abc.abstractmethod
    def _adjoint(self, stress: dict) -> Array:
        """The adjoint of `_strain` under the sum."""

    @abc.abstractmethod
    def _law(self) -> Callable[[dict], dict]:
        """The flux law, strain -> flux over the spacings, with its coefficient arrays made once."""

    def _macro_strain(self, chi):
        """Modes of χ_j + e_j·z for all j; chi (d, *shape)."""
        strain = self._strain(chi)
        for k in range(self.d):
            unit = jnp.eye(self.d)[k].reshape((self.d,) + (1,) * self.d)
            strain[(k,)] = strain[(k,)] + unit / self.rates[k]
        return strain

    def system(self, shift=0.0):
        law = self._law()
        tensor, diagonal = reference(self.a, self.d)
        inverse = krylov_symbol(self.discretisation, tensor, self.shape, diagonal, shift)
        return real_system(shifted(lambda x: self._adjoint(law(self._strain(x))), shift), inverse, self.d)

    def energy(self, chi, residual, flux):
        return energy(chi, residual, flux)

    def invert(self, residual, shift):
        return invert_reference(self.discretisation, self.a, residual, shift)

    def balance(self, chi):
        stress = self._law()(self._macro_strain(chi))
        flux = jnp.stack([jnp.mean(stress[(k,)], axis=axes(self.d)) / n for k, n in enumerate(self.rates)])
        return -self._adjoint(stress), flux


class PixelMedium(AbstractStrainMedium):
    """Coefficient constant on pixels, with multilinear elements or forward differences.

    For elements the exact integrals are taken mode by mode: on a pixel ∂_k u = Σ_S modes[S ∪ k] n_k ∏_{l in S} ξ_l, the
    monomials of different S are orthogonal, and ⟨ξ²⟩ = 1/12.
    """

    def _strain(self, u):
        if isinstance(self.discretisation, FiniteElement):
            return element_modes(u, self.d)
        return {(k,): jnp.roll(u, -1, k - self.d) - u for k in range(self.d)}

    def _adjoint(self, stress):
        if isinstance(self.discretisation, FiniteElement):
            return element_adjoint(stress, self.d)
        return sum(jnp.roll(s, 1, k - self.d) - s for (k,), s in stress.items())

    def _couplings(self):
        """Triples (row, column, coefficient) of the flux law on modes; the coefficient is a thunk of one array."""
        rates = self.rates
        isotropic = self.a.ndim == self.d
        modes = nonempty_subsets(self.d) if isinstance(self.discretisation, FiniteElement) else [(k,) for k in range(self.d)]
        table = {}
        for row in modes:
            for k in row:
                rest = tuple(l for l in row if l != k)
                for l in range(self.d):
                    if l in rest or (isotropic and l != k):
                        continue
                    column = tuple(sorted((*rest, l)))
                    factor = rates[k] * rates[l] / 12 ** len(rest)
                    table.setdefault((row, column), []).append((k, l, factor))
        return table, isotropic

    def _law(self):
        """The flux law on modes, strain -> stress, with its coefficient arrays made once."""
        table, isotropic = self._couplings()
        if isotropic:
            factors = {row: sum(f for _, _, f in terms) for (row, _), terms in table.items()}
            return lambda strain: {row: factor * (self.a * strain[row]) for row, factor in factors.items()}
        arrays = {key: sum(f * self.a[k, l] for k, l, f in terms) for key, terms in table.items()}

        def law(strain):
            stress = {}
            for (row, column), array in arrays.items():
                term = array * strain[column]
                stress[row] = stress[row] + term if row in stress else term
            return stress

        return law


class SpectralMedium(AbstractMedium):
    """Coefficient at the nodes, fields as trigonometric polynomials; Krylov vectors are half spectra (m, ..., n//2 + 1).

    An application costs 2d real transforms, the preconditioner none.
    """

    discretisation: Spectral

    def _reference(self):
        tensor, diagonal = reference(self.a, self.d)
        return tensor, self.shape, diagonal

    def _gradient(self, x):
        kappa, kept = self.discretisation.wavenumbers(self.shape)
        spectrum = jnp.stack([1j * (k * kept) * x for k in kappa])
        return transform(jnp.fft.irfftn, spectrum, self.d, s=self.shape)

    def _divergence(self, flux):
        kappa, kept = self.discretisation.wavenumbers(self.shape)
        spectrum = transform(jnp.fft.rfftn, flux, self.d)
        total = jnp.zeros_like(spectrum[0])
        for k, s in zip(kappa, spectrum):
            total = total + 1j * (k * kept) * s
        return total

    def _law(self, strain):
        """Flux (d, m, *shape) of a strain (d, m, *shape)."""
        if self.a.ndim == self.d:
            return self.a * strain
        return jnp.stack([sum(self.a[k, l] * strain[l] for l in range(self.d)) for k in range(self.d)])

    def _macro_strain(self, chi):
        unit = jnp.eye(self.d).reshape((self.d, self.d) + (1,) * self.d)
        return self._gradient(self.encode(chi)) + unit

    def system(self, shift=0.0):
        half = self.shape[-1] // 2 + 1
        inverse = krylov_symbol(self.discretisation, *self._reference(), shift)[..., :half]
        count = self.a[(0,) * (self.a.ndim - self.d)].size
        # Columns other than the first (and the last, on even grids) represent two conjugate modes.
        twice = jnp.full((half,), 2.0).at[0].set(1.0)
        twice = (twice.at[-1].set(1.0) if self.shape[-1] % 2 == 0 else twice) / count**2

        def dot(u, v):
            return jnp.sum(twice * (u.real * v.real + u.imag * v.imag), axis=axes(self.d))

        return System(
            shifted(lambda x: -self._divergence(self._law(self._gradient(x))), shift),
            lambda r: inverse * r,
            lambda r: jnp.sqrt(inverse) * r,
            dot,
        )

    def encode(self, u):
        return transform(jnp.fft.rfftn, u, self.d)

    def decode(self, x):
        return transform(jnp.fft.irfftn, x, self.d, s=self.shape)

    def energy(self, chi, residual, flux):
        return energy(chi, residual, flux)

    def invert(self, residual, shift):
        return invert_reference(self.discretisation, self.a, residual, shift)

    def balance(self, chi):
        flux = self._law(self._macro_strain(chi))
        return self.decode(self._divergence(flux)), jnp.mean(flux, axis=axes(self.d))

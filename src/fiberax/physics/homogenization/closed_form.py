"""The one-dimensional cell problem without iteration: a(χ' + 1) is constant, so A is the harmonic mean (2.3)."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fiberax.physics.homogenization.discretisation import AbstractDiscretisation, FiniteVolume, Spectral
from fiberax.physics.homogenization.volume import in_series


def corrector_1d(discretisation: AbstractDiscretisation, a: Float[Array, " n"]) -> Float[Array, " n"]:
    """The χ (n,) that solves the discrete cell problem exactly, with mean zero.

    Elements and differences: χ' = A/a − 1 on each pixel, A the harmonic mean of the pixels; finite volumes: the same on each
    face. Where some of them do not conduct A = 0, and these alone have a slope other than −1.
    Spectral, odd n: the same at the nodes. Even n: the divergence of (−1)^i vanishes, so the flux is A + β(−1)^i, and β
    follows from χ' having no such part either; then A = 1/(⟨1/a⟩ − ⟨(−1)^i/a⟩²/⟨1/a⟩), the harmonic mean to spectral accuracy.
    """
    n = a.shape[0]
    if isinstance(discretisation, FiniteVolume):
        a = in_series(a, jnp.roll(a, -1))
    sealed = a == 0
    compliance = 1.0 / jnp.where(sealed, 1.0, a)
    mean = jnp.mean(compliance)
    if not isinstance(discretisation, Spectral):
        compliance = jnp.where(jnp.any(sealed), sealed.astype(a.dtype), compliance)
        slope = compliance / jnp.mean(compliance) - 1.0
        chi = jnp.cumsum(jnp.concatenate([jnp.zeros(1), slope[:-1]])) / discretisation.inverse_spacing((n,))[0]
        return chi - jnp.mean(chi)
    flux = 1.0 / mean
    if n % 2 == 0:
        signs = jnp.asarray((-1.0) ** np.arange(n))
        alternating = jnp.mean(signs * compliance)
        flux = (1.0 - signs * alternating / mean) / (mean - alternating**2 / mean)
    spectrum = jnp.fft.rfft(flux * compliance - 1.0)
    kappa = 2 * np.pi * np.arange(n // 2 + 1) * (discretisation.inverse_spacing((n,))[0] / n)
    keep = (kappa > 0) & (2 * np.arange(n // 2 + 1) != n)
    chi = jnp.where(keep, spectrum / jnp.where(keep, 1j * kappa, 1.0), 0.0)
    return jnp.fft.irfft(chi, n=n)

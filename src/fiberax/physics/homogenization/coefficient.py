"""Coefficients of cell problems on a grid: sampling them, and whether they can be used."""

import itertools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from fiberax.core.errors import BadInput

_ASYMMETRY = 1e-13


def sample(function: Callable, points: np.ndarray, d: int) -> Array:
    """`function` at the points (*shape, d): numbers give (*shape), (d, d) arrays (d, d, *shape)."""
    shape = points.shape[:-1]
    flat = jax.vmap(lambda z: jnp.asarray(function(z), dtype=float))(jnp.asarray(points.reshape(-1, d)))
    if flat.ndim == 1:
        return flat.reshape(shape)
    if flat.shape[1:] != (d, d):
        raise BadInput(f"Cell: a(U, z) has the shape {flat.shape[1:]}. A number or a ({d}, {d}) array is needed.")
    return jnp.moveaxis(flat, 0, -1).reshape(d, d, *shape)


def symmetric_part(a, d: int):
    """½(a + aᵀ) of (d, d, *shape)."""
    return 0.5 * (a + jnp.swapaxes(a, 0, 1))


def minors(a, d: int) -> list:
    """Principal minors of the symmetric part, each (*shape), by size: none is negative where it is positive semidefinite.

    Minors that are negative by round-off of the product of their diagonal count as zero.
    """
    if a.ndim == d:
        return [a]
    s = symmetric_part(a, d)
    out = [s[k, k] for k in range(d)]
    for k, l in itertools.combinations(range(d), 2):
        out.append(_rounded(s[k, k] * s[l, l] - s[k, l] ** 2, s[k, k] * s[l, l]))
    if d > 2:
        cofactor = s[1, 1] * s[2, 2] - s[1, 2] ** 2
        whole = (
            s[0, 0] * cofactor
            - s[0, 1] * (s[0, 1] * s[2, 2] - s[1, 2] * s[0, 2])
            + s[0, 2] * (s[0, 1] * s[1, 2] - s[1, 1] * s[0, 2])
        )
        out.append(_rounded(whole, s[0, 0] * s[1, 1] * s[2, 2]))
    return out


def _rounded(minor, product):
    return jnp.where(jnp.abs(minor) <= 16 * jnp.finfo(minor.dtype).eps * jnp.abs(product), 0.0, minor)


def is_positive(a, d: int, definite: bool):
    """Whether the coefficient is finite and its symmetric part positive (semi)definite everywhere."""
    good = jnp.all(jnp.isfinite(a))
    for minor in minors(a, d):
        good = good & (jnp.all(minor > 0) if definite else jnp.all(minor >= 0))
    return good


def check_positive(a: np.ndarray, points: np.ndarray, what: str, definite: bool) -> None:
    """BadInput with the first place where a coefficient (*shape) or (d, d, *shape) cannot be used."""
    d = points.shape[-1]
    bad = ~np.isfinite(a if a.ndim == d else a.reshape(-1, *a.shape[2:]).sum(axis=0))
    reason, remedy = "is not finite", "Check the function for 0/0, logarithms and roots of negative numbers."
    if not bad.any():
        found = [np.asarray(m) for m in minors(jnp.asarray(a), d)]
        bad = np.any([m < 0 for m in found], axis=0)
        kind = "definite" if definite else "semidefinite"
        reason = "is negative" if a.ndim == d else f"is not positive {kind} (its symmetric part)"
        remedy = "Conductivities may not be negative."
        if definite and not bad.any():
            bad = ~np.all([m > 0 for m in found], axis=0)
            reason = "is zero" if a.ndim == d else reason
            remedy = "Spectral() and pores=False need a positive coefficient. FiniteVolume() allows phases that do not conduct."
    if bad.any():
        place = tuple(int(i) for i in np.argwhere(bad)[0])
        value = a[place] if a.ndim == d else a[(slice(None), slice(None), *place)].tolist()
        z = np.round(points[place], 6).tolist()
        raise BadInput(f"{what} {reason} at z = {z} (grid point {place}): {value}. {remedy}")


def identity_like(a, d: int):
    """The homogeneous coefficient 1 in the layout of `a`."""
    return jnp.ones_like(a) if a.ndim == d else jnp.broadcast_to(jnp.eye(d).reshape((d, d) + (1,) * d), a.shape)


def is_asymmetric(a, d: int):
    """Whether a tensor differs from its transpose by more than round-off."""
    if a.ndim == d:
        return jnp.zeros((), bool)
    gap = jnp.max(jnp.abs(a - jnp.swapaxes(a, 0, 1)))
    return gap > _ASYMMETRY * jnp.max(jnp.abs(a))

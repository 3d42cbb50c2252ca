"""The Ginzburg-Landau chain solved by its transfer operator: A(U), D(U) and F(U) of an infinite lattice in one dimension.

With a field h the free energy per site is −p(h), p = (1/β) log Λ(h), Λ the largest eigenvalue of the operator with the kernel
exp(−β(κ/2 (a − b)² + ½V(a) + ½V(b) − ½h(a + b))). Then U = p'(h), F(U) = hU − p(h), so that A = ½F' = h/2 and D = ½F'' = ½/p''
(section 5 of the paper). The integral is taken by the trapezoidal rule, which converges faster than any power for smooth V.

A ring of N spins has Z(U) = ∫δ(φ̄ − U) e^(−βH) = (Nβ/2π) ∫ dω e^(−βN(h + iω)U) Tr T^N at the field h + iω, for any h: so
F' = ⟨h + iω⟩ and F'' = −βN(⟨(h + iω)²⟩ − ⟨h + iω⟩²) with these weights. The h of the infinite chain is their saddle.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fiberax.core.errors import BadInput

_POINTS = 160
_PER_WIDTH = 2.5  # points for each standard deviation of the coupling's Gaussian
_TRIES = 60
_NEGLIGIBLE = 80.0  # exponent beyond which a weight is left out
_PER_SPREAD_OF_ONE = 8.0  # points for each standard deviation of a site alone
_PER_SPREAD = 4  # points for each standard deviation of the weights over imaginary fields
_MOST = 4000  # of these points


class ChainTruth(NamedTuple):
    """What the infinite chain, or a ring, is at one U.

    Args:
        response: A(U).
        diffusion: Diffusion coefficient D(U).
        energy: Free energy F(U) per site.
    """

    response: float
    diffusion: float
    energy: float


def ginzburg_landau_chain(
    V: Callable, U: float, beta: float = 1.0, coupling: float = 2.0, sites: int | None = None
) -> ChainTruth:
    """The truth for `GinzburgLandau(V, dim=1)` with infinitely many sites, or with a ring of `sites`.

    Args:
        V: V(a), the potential of one site, for arrays of any shape, as for `GinzburgLandau`.
        U: Mean of a, the condition.
        beta: Inverse temperature, positive.
        coupling: Stiffness of the bonds between neighbours, as for `GinzburgLandau`.
        sites: Number of sites of a ring; None for infinitely many.

    Returns:
        Response, diffusion coefficient and free energy per site.

    Raises:
        BadInput: V does not confine.
    """
    near = 1e-3 * max(1.0, abs(U))
    # The slope of V at U, of which V − ha may be confining where V is not, as for exp(−a).
    h = float(np.diff(np.asarray(V(np.array([U - near, U + near]))))[0]) / (2.0 * near)
    low, high, good = -np.inf, np.inf, None
    for _ in range(_TRIES):
        try:
            pressure, mean, slope = _moments(V, h, beta, coupling)
        except _Unbounded:
            if good is None:
                raise
            low, high = (low, h) if h > good else (h, high)
            h = 0.5 * (good + h)
            continue
        good = h
        low, high = (h, high) if mean < U else (low, h)
        step = (U - mean) / slope
        if abs(step) <= 1e-14 * (1.0 + abs(h)):
            if sites is not None:
                return _ring(V, U, h, slope, beta, coupling, sites)
            return ChainTruth(float(0.5 * h), 0.5 / slope, float(h * U - pressure))
        # Newton, kept between the fields that are known to be too small and too large.
        h = h + step if low < h + step < high else 0.5 * (low + high)
    raise BadInput(f"ginzburg_landau_chain: no field was found for the mean {U}; V must grow faster than linearly.")


class _Unbounded(BadInput):
    """V − ha does not grow on both sides."""


def _moments(V, h: float, beta: float, coupling: float) -> tuple[float, float, float]:
    """p(h), p'(h) and p''(h)."""
    a, values, vectors, shift = _spectrum(V, h, beta, coupling)
    top, others, psi = values[-1], values[:-1], vectors[:, -1]
    mean = psi @ (a * psi)
    # Λ'' by perturbation: the field enters as exp(½βh a) on both sides.
    across = vectors[:, :-1].T @ (a * psi)
    variance = psi @ (a**2 * psi) - mean**2
    slope = beta * (variance + 2.0 * np.sum(across**2 * others / (top - others)))
    return float((np.log(top) + 2.0 * shift) / beta), float(mean), float(slope)


def _spectrum(V, h: float, beta: float, coupling: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Points, eigenvalues (rising) and eigenvectors of the operator, over exp(2 shift)."""
    a, spacing = _grid(V, h, beta, coupling)
    weight = -0.5 * beta * (np.asarray(V(a)) - h * a)
    shift = float(weight.max())
    kernel = np.exp(weight[:, None] + weight[None] - 2.0 * shift - 0.5 * beta * coupling * (a[:, None] - a[None]) ** 2)
    values, vectors = np.linalg.eigh(kernel * spacing)
    return a, values, vectors, shift


def _ring(V, U: float, h: float, slope: float, beta: float, coupling: float, sites: int) -> ChainTruth:
    """The truth for `sites` spins in a ring, from the saddle h and p'' there."""
    a, values, vectors, shift = _spectrum(V, h, beta, coupling)
    kept = values > 1e-17 * values[-1]
    root, vectors = np.sqrt(values[kept] / values[-1]), vectors[:, kept]
    spread = 1.0 / np.sqrt(sites * beta * slope)
    weights, omega = [], spread / _PER_SPREAD * np.arange(_MOST)
    for w in omega:
        # exp(iβωa/2) on both sides of the operator at h, in the basis of its eigenvectors; the mean U of a taken out.
        inner = root[:, None] * (vectors.T @ (np.exp(1j * beta * w * (a - U))[:, None] * vectors)) * root
        weights.append(np.sum(np.linalg.eigvals(inner) ** sites))
        if len(weights) > 4 and max(map(abs, weights[-4:])) < 1e-17 * abs(weights[0]):
            break
    weights, omega = np.array(weights), omega[: len(weights)]
    # Weights at −ω are the conjugates of those at ω.
    sum_of = lambda x: (x[0] + 2.0 * x[1:].sum()).real
    total = sum_of(weights)
    first, second = sum_of(1j * omega * weights) / total, sum_of(-(omega**2) * weights) / total
    log_Z = np.log(0.5 * sites * beta / np.pi * spread / _PER_SPREAD * total)
    pressure = (np.log(values[-1]) + 2.0 * shift) / beta
    energy = h * U - pressure - log_Z / (beta * sites)
    return ChainTruth(float(0.5 * (h + first)), float(-0.5 * beta * sites * (second - first**2)), float(energy))


def _grid(V, h: float, beta: float, coupling: float) -> tuple[np.ndarray, float]:
    """Points that carry all weight of exp(−β(V − ha)), and their spacing."""
    reach = 1.0
    while True:
        a = np.linspace(-reach, reach, 4001)
        exponent = beta * (np.asarray(V(a)) - h * a)
        if not np.all(exponent > -np.inf):
            raise BadInput(f"ginzburg_landau_chain: V is not finite within |φ| <= {reach:g}.")
        exponent = exponent - exponent.min()
        if min(exponent[0], exponent[-1]) > _NEGLIGIBLE:
            break
        reach *= 2.0
        if reach > 1e6:
            raise _Unbounded("ginzburg_landau_chain: V does not confine φ.")
    inside, weight = a[exponent < _NEGLIGIBLE], np.exp(-exponent) / np.sum(np.exp(-exponent))
    spread = float(np.sqrt(weight @ (a - weight @ a) ** 2))
    span = float(inside[-1] - inside[0])
    count = max(
        _POINTS, int(_PER_WIDTH * span * (beta * coupling) ** 0.5), int(_PER_SPREAD_OF_ONE * span / max(spread, a[1] - a[0]))
    )
    points = np.linspace(inside[0], inside[-1], count)
    return points, points[1] - points[0]

"""Densities in a ball, ψ(x) = (1 − |x|²)^σ × even polynomial, and the Galerkin matrices of FENE dumbbells over them (numpy).

x = z/√b is the spring over its maximal length, M = (1 − |x|²)^{b/2} its equilibrium density, and for every even polynomial φ

    d/dt ∫φψ = ∫ ∇φ·(κx ψ − M∇(ψ/M)/(2 De b)) = Σ_ij κ_ij flow_ij(φ, ψ) + diffusion(φ, ψ)/De,

so that mass and the exact equation of ⟨zz⟩ (test functions 1 and x_i x_j) are kept by the discrete problem. Basis and test
functions are R_lk(|x|) Y_l(x/|x|), R_lk = |x|^l P_k^{(σ, l+d/2−1)}(2|x|²−1), up to a total degree l + 2k (ball polynomials).
ψ/M is smooth up to the boundary, hence convergence is spectral where b/2 − σ is a whole number. On the choice of σ: Chauvière
and Lozinski, Comput. Fluids 33 (2004) 687.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import eval_jacobi, roots_jacobi

from fiberax.physics.fluids.harmonics import angular, count, half_quadrature, harmonics


class Ball(NamedTuple):
    """Matrices (n, n) over the basis; entry 0 is the constant, whose coefficient is `mass` times the mass.

    `flow` (dim, dim, n, n), `diffusion` (n, n); `stress` (dim, dim, n): ⟨f⊗z⟩.
    """

    flow: np.ndarray
    diffusion: np.ndarray
    stress: np.ndarray
    mass: float


def size(dim: int, degree: int) -> int:
    """Number of basis functions."""
    return sum((count(dim, l) - (count(dim, l - 2) if l else 0)) * ((degree - l) // 2 + 1) for l in range(0, degree + 1, 2))


def natural_weight(b: float) -> float:
    """σ, so that b/2 − σ is whole and 2 ≤ σ < 3 where b allows: polynomials then converge fastest at large flow rates."""
    return 0.5 * b - max(float(np.floor(0.5 * b - 2.0)), 0.0)


def matrices(dim: int, b: float, sigma: float, degree: int) -> Ball:
    """The matrices of `Ball`, by quadrature that is exact."""
    sphere = angular(dim, degree)
    s, weight, lower = _radii(dim, sigma, degree + 4)  # (1 − s²)^σ and (1 − s²)^{σ−1}
    orders, value, slope = _radial(dim, sigma, degree, s)
    pairs = _pairs(sphere.degrees, orders)
    ang, rad = pairs.T
    l = sphere.degrees[ang]
    of = lambda matrix, index: matrix[np.ix_(index, index)]
    stretched, turned = of((slope * weight) @ value.T, rad), of((value * weight) @ value.T, rad)
    flow = np.stack([of(m, ang) * stretched for m in sphere.stretch.reshape(-1, *sphere.stretch.shape[2:])])
    flow += np.stack([of(m, ang) * turned for m in sphere.turn.reshape(-1, *sphere.turn.shape[2:])])
    same = ang[:, None] == ang[None, :]
    gradient = of((slope * weight / s**2) @ slope.T, rad) + (l * (l + dim - 2))[:, None] * of(
        (value * weight / s**2) @ value.T, rad
    )
    drift = (b - 2.0 * sigma) * of((slope * lower) @ value.T, rad)
    quadratic = sphere.stretch[:, :, 0, :][..., ang] * _first_harmonic(dim)
    mass = value[0, 0] / _first_harmonic(dim)
    return Ball(
        flow.reshape(dim, dim, ang.size, ang.size),
        np.where(same, -(gradient + drift) / (2.0 * b), 0.0),
        b * quadratic * ((s**2 * lower) @ value.T)[rad],
        mass,
    )


def evaluate(dim: int, b: float, sigma: float, degree: int, points: np.ndarray) -> np.ndarray:
    """The densities (points, n) over z of the basis functions at `points` (points, dim), zero outside of the ball."""
    x = points / np.sqrt(b)
    s = np.linalg.norm(x, axis=1)
    axis = np.eye(dim)[0]
    direction = np.where(s[:, None] > 0, x / np.maximum(s, 1e-300)[:, None], axis)
    surface = harmonics(direction, degree)
    inside = np.minimum(s, 1.0)
    orders, value, _ = _radial(dim, sigma, degree, inside)
    ang, rad = _pairs(surface.degrees, orders).T
    return surface.values[:, ang] * value.T[:, rad] * ((1.0 - inside**2) ** sigma)[:, None] / b ** (0.5 * dim)


def points(dim: int, b: float, sigma: float, degree: int) -> tuple[np.ndarray, np.ndarray]:
    """Points z (points, dim), one of each pair ±z, and weights of ∫ dz over the ball for densities of this basis."""
    s, weight, _ = _radii(dim, sigma, degree // 2 + 4)
    direction, area = half_quadrature(dim, 2 * degree)
    z = np.sqrt(b) * s[:, None, None] * direction
    return z.reshape(-1, dim), b ** (0.5 * dim) * np.outer(weight / (1.0 - s**2) ** sigma, area).ravel()


def _first_harmonic(dim: int) -> float:
    """1/Y_0."""
    return np.sqrt(2.0 * np.pi if dim == 2 else 4.0 * np.pi)


def _radii(dim: int, sigma: float, points: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Radii s and the weights of ∫ (1−s²)^σ s^{d−1} ds and ∫ (1−s²)^{σ−1} s^{d−1} ds, exact for polynomials in s²."""
    node, weight = roots_jacobi(points, sigma - 1.0, 0.5 * dim - 1.0)
    square = 0.5 * (1.0 + node)
    lower = weight * 0.5 ** (sigma + 0.5 * dim)
    return np.sqrt(square), lower * (1.0 - square), lower


def _radial(dim: int, sigma: float, degree: int, s: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(l, k) of the radial functions, normalised, their values and s ∂_s of them (functions, radii)."""
    nodes, weight, _ = _radii(dim, sigma, degree + 4)
    orders = np.array([(l, k) for l in range(0, degree + 1, 2) for k in range((degree - l) // 2 + 1)])
    values, slopes = np.empty((2, len(orders), s.size))
    for row, (l, k) in enumerate(orders):
        beta = l + 0.5 * dim - 1.0
        norm = np.sqrt(weight @ (nodes**l * eval_jacobi(k, sigma, beta, 2.0 * nodes**2 - 1.0)) ** 2)
        power = s**l / norm
        values[row] = power * eval_jacobi(k, sigma, beta, 2.0 * s**2 - 1.0)
        inner = 0.5 * (k + sigma + beta + 1.0) * eval_jacobi(k - 1, sigma + 1.0, beta + 1.0, 2.0 * s**2 - 1.0) if k else 0.0
        slopes[row] = l * values[row] + 4.0 * s**2 * power * inner
    return orders, values, slopes


def _pairs(degrees: np.ndarray, orders: np.ndarray) -> np.ndarray:
    """(harmonic, radial function) of every basis function, rows of (n, 2); the constant first."""
    return np.array([(a, r) for a, l in enumerate(degrees) for r in np.flatnonzero(orders[:, 0] == l)])

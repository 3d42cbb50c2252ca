"""Real harmonics of even degree on the circle and on the sphere, and the matrices for flows and forces (numpy).

They are orthonormal. The degree in front is that of the polynomial; quadrature is exact for what is integrated.
"""

from typing import NamedTuple

import numpy as np


class Harmonics(NamedTuple):
    """Values (points, n) and surface gradients (points, dim, n) of the harmonics of `degrees` (n,) at unit vectors."""

    degrees: np.ndarray
    values: np.ndarray
    gradients: np.ndarray


class Angular(NamedTuple):
    """Matrices over harmonics Y: ∫ ω_i ω_j Y_a Y_b and ∫ (∇_S Y_a)_i ω_j Y_b, both (dim, dim, n, n)."""

    degrees: np.ndarray
    stretch: np.ndarray
    turn: np.ndarray


def count(dim: int, degree: int) -> int:
    """Number of harmonics of even degree up to `degree`."""
    return degree + 1 if dim == 2 else (degree + 1) * (degree + 2) // 2


def quadrature(dim: int, degree: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors (points, dim) and weights (points,), exact for polynomials up to `degree`; none of them a pole."""
    turns = degree + 2
    angle = 2.0 * np.pi * (np.arange(turns) + 0.5) / turns
    if dim == 2:
        return np.stack([np.cos(angle), np.sin(angle)], axis=1), np.full(turns, 2.0 * np.pi / turns)
    height, weight = np.polynomial.legendre.leggauss(degree // 2 + 1)
    flat = np.sqrt(1.0 - height**2)
    ones = np.ones_like(angle)
    points = np.stack([np.outer(flat, np.cos(angle)), np.outer(flat, np.sin(angle)), np.outer(height, ones)], axis=-1)
    return points.reshape(-1, 3), np.outer(weight, 2.0 * np.pi / turns * ones).ravel()


def half_quadrature(dim: int, degree: int) -> tuple[np.ndarray, np.ndarray]:
    """The same for even functions, with one of each pair of opposite points."""
    points, weights = quadrature(dim, degree)
    keep = points @ np.array([1.0, 1e-4, 1e-8])[:dim] > 0.0
    return points[keep], 2.0 * weights[keep]


def harmonics(points: np.ndarray, degree: int) -> Harmonics:
    """The harmonics of even degree up to `degree` at unit vectors `points` (points, dim)."""
    return _circle(points, degree) if points.shape[1] == 2 else _sphere(points, degree)


def angular(dim: int, degree: int) -> Angular:
    """The matrices of `Angular` up to `degree`."""
    points, weights = quadrature(dim, 2 * degree + 2)
    basis = harmonics(points, degree)
    n = basis.degrees.size
    stretch, turn = np.zeros((2, dim, dim, n, n))
    for j in range(dim):
        right = (weights * points[:, j])[:, None] * basis.values
        for i in range(dim):
            stretch[i, j] = (points[:, i, None] * basis.values).T @ right
            turn[i, j] = basis.gradients[:, i].T @ right
    for matrix in (stretch, turn):
        matrix[np.abs(matrix) < 1e-13 * max(degree, 1)] = 0.0
    return Angular(basis.degrees, stretch, turn)


def _circle(points: np.ndarray, degree: int) -> Harmonics:
    angle = np.arctan2(points[:, 1], points[:, 0])
    tangent = np.stack([-np.sin(angle), np.cos(angle)], axis=1)
    order = np.arange(2, degree + 1, 2)
    wave, quarter = np.outer(angle, order), np.sqrt(np.pi)
    cosine, sine = np.cos(wave) / quarter, np.sin(wave) / quarter
    values = np.stack([cosine, sine], axis=-1).reshape(angle.size, -1)
    slopes = np.stack([-order * sine, order * cosine], axis=-1).reshape(angle.size, -1)
    values = np.concatenate([np.full((angle.size, 1), 1.0 / np.sqrt(2.0 * np.pi)), values], axis=1)
    slopes = np.concatenate([np.zeros((angle.size, 1)), slopes], axis=1)
    return Harmonics(np.concatenate([[0], np.repeat(order, 2)]), values, tangent[:, :, None] * slopes[:, None, :])


def _sphere(points: np.ndarray, degree: int) -> Harmonics:
    """Y_lm = P_lm(cos θ) (cos mφ, sin mφ), P_lm by the recurrence in l, which is stable."""
    height = np.clip(points[:, 2], -1.0, 1.0)
    flat = np.sqrt(np.maximum(points[:, 0] ** 2 + points[:, 1] ** 2, 1e-300))
    azimuth = np.arctan2(points[:, 1], points[:, 0])
    up = np.stack([height * np.cos(azimuth), height * np.sin(azimuth), -flat], axis=1)  # along growing θ
    around = np.stack([-np.sin(azimuth), np.cos(azimuth), np.zeros_like(azimuth)], axis=1)
    degrees, values, gradients = [], [], []
    for l, m, legendre, slope in _legendre(height, flat, degree):
        waves = [(np.cos(m * azimuth), -m * np.sin(m * azimuth)), (np.sin(m * azimuth), m * np.cos(m * azimuth))]
        for wave, wave_slope in waves if m else waves[:1]:
            degrees.append(l)
            values.append(legendre * wave)
            gradients.append(up * (slope * wave)[:, None] + around * (legendre / flat * wave_slope)[:, None])
    order = np.argsort(degrees, kind="stable")
    return Harmonics(np.array(degrees)[order], np.stack(values, axis=-1)[:, order], np.stack(gradients, axis=-1)[..., order])


def _legendre(height: np.ndarray, flat: np.ndarray, degree: int):
    """Yield (l, m, P_lm, dP_lm/dθ) for even l, normalised so that the real harmonics are orthonormal."""
    sectoral = np.full_like(height, np.sqrt(0.25 / np.pi))
    for m in range(degree + 1):
        if m > 0:
            sectoral = sectoral * flat * np.sqrt((2 * m + 1) / (2 * m) * (2.0 if m == 1 else 1.0))
        before, now = np.zeros_like(height), sectoral
        for l in range(m, degree + 1):
            ratio = np.sqrt((l * l - m * m) * (2 * l + 1) / max(2 * l - 1, 1))
            if l % 2 == 0:
                yield l, m, now, (l * height * now - ratio * before) / flat
            up = np.sqrt((2 * l + 1) * (2 * l + 3) / ((l + 1) ** 2 - m * m))
            down = np.sqrt((l * l - m * m) / max(4 * l * l - 1, 1))
            before, now = now, up * (height * now - down * before)

"""Effective conductivity of regular arrays by Rayleigh's method, the truth for cells with disks and spheres.

Lord Rayleigh, Phil. Mag. 34 (1892) 481; R. C. McPhedran and D. R. McKenzie, Proc. R. Soc. Lond. A 359 (1978) 45; W. T. Perrins,
D. R. McKenzie and R. C. McPhedran, Proc. R. Soc. Lond. A 369 (1979) 207. Written from the boundary value problem, in exact
lattice sums and with as many multipoles as wanted; nothing here knows fiberax. The matrix has conductivity 1, the period is 1.
"""

from functools import cache
from math import comb, factorial, gamma, pi

import numpy as np
from scipy.special import gammaincc, gammaln, lpmv, zeta


@cache
def square_lattice_sum(p: int) -> float:
    """Sum of R^-p over the nonzero Gaussian integers R, p a multiple of 4: an Eisenstein series at i by its q-series."""
    n = np.arange(1, 60 + p)
    exponent = (p - 1) * np.log(n) - 2 * pi * n + p * np.log(2 * pi) - gammaln(p)
    return float(2 * zeta(p) + 2 * np.sum(np.exp(exponent) / -np.expm1(-2 * pi * n)))


def square_array(k: float, f: float, poles: int = 40) -> float:
    """Disks of conductivity k (may be inf) and area fraction f on a square lattice.

    Outside a disk the potential is Re Σ_n A_n z^n + B_n z^-n, n = 1, 3, 5..; its sides demand B_n = −β a^2n A_n with
    β = (k − 1)/(k + 1). The quasi-periodic potential with unit mean gradient is z(1 − πB_1) plus the Weierstrass functions
    ζ, −ζ', .. with the weights B_m, whence A_n = δ_n1 (1 − πB_1) − Σ_m C(m+n−1, n) S_m+n B_m; and A = 1 − 2πB_1.
    """
    beta = 1.0 if np.isinf(k) else (k - 1) / (k + 1)
    radius = np.sqrt(f / pi)
    order = 2 * np.arange(poles) + 1
    matrix = np.eye(poles)  # unknowns B_n / radius^n
    for i, n in enumerate(order.tolist()):
        for j, m in enumerate(order.tolist()):
            if (m + n) % 4 == 0:
                matrix[i, j] -= beta * float(comb(m + n - 1, n)) * square_lattice_sum(m + n) * radius ** (m + n)
    matrix[0, 0] -= beta * pi * radius**2
    right = np.zeros(poles)
    right[0] = -beta * radius
    return float(1 - 2 * pi * radius * np.linalg.solve(matrix, right)[0])


def _irregular(l: int, m: int, points) -> np.ndarray:
    """Real part of Θ_l^m = (l−m)! P_l^m(cos θ) exp(imφ) / r^(l+1), m even, (points, 3) -> (points,)."""
    r = np.linalg.norm(points, axis=-1)
    angle = np.arctan2(points[..., 1], points[..., 0])
    return factorial(l - m) * lpmv(m, l, points[..., 2] / r) * np.cos(m * angle) / r ** (l + 1)


@cache
def _lattice(reach: int) -> np.ndarray:
    line = np.arange(-reach, reach + 1)
    points = np.stack(np.meshgrid(line, line, line, indexing="ij"), axis=-1).reshape(-1, 3)
    return points[np.any(points != 0, axis=1)].astype(float)


@cache
def cubic_lattice_sum(l: int, m: int) -> float:
    """Sum of Θ_l^m over the nonzero integer points, l even and above 2, m a multiple of 4.

    By Ewald's splitting: B. R. A. Nijboer and F. W. De Wette, Physica 23 (1957) 309.
    """
    points = _lattice(5)
    square = np.sum(points**2, axis=1)
    theta = _irregular(l, m, points)
    direct = np.sum(gammaincc(l + 0.5, pi * square) * theta)
    solid = theta * square ** (l + 0.5)
    dual = np.sum(solid * np.exp(-pi * square) / square) * pi ** (l - 0.5) / gamma(l + 0.5)
    return float(direct + (-1) ** (l // 2) * dual)


def cubic_array(k: float, f: float, poles: int = 8) -> float:
    """Spheres of conductivity k (may be inf) and volume fraction f on a simple cubic lattice, gradient along an axis.

    Outside a sphere V = Σ A_nm Υ_n^m + B_nm Θ_n^m, n odd, m = 0, ±4, .., with Υ, Θ the solid harmonics in the normalisation of
    W. Dehnen, Comput. Astrophys. Cosmol. 1 (2014) 1, whose translation is Θ_n^m(x + y) = Σ (−1)^k conj Υ_k^q(x) Θ_k+n^m+q(y).
    The dipole brings −(4π/3) B_10 z as the neutralising background; the sides demand
    (n−m)! (n+m)! B_nm = −β_n a^(2n+1) A_nm with β_n = (k − 1)/(k + 1 + 1/n); and A = 1 − 4πB_10.
    """
    radius = (3 * f / (4 * pi)) ** (1 / 3)
    index = [(n, m) for n in range(1, 2 * poles, 2) for m in range(-(n // 4) * 4, n + 1, 4)]
    scale = {(n, m): np.sqrt(float(factorial(n - m) * factorial(n + m))) for n, m in index}
    matrix, right = np.eye(len(index)), np.zeros(len(index))
    for i, (n, m) in enumerate(index):
        beta = 1.0 if np.isinf(k) else (k - 1) / (k + 1 + 1 / n)
        for j, (v, w) in enumerate(index):
            if n + v > 2:
                total = cubic_lattice_sum(n + v, abs(w - m))
                matrix[i, j] -= beta * total * radius ** (n + v + 1) / (scale[n, m] * scale[v, w])
        if n == 1:
            matrix[i, i] -= beta * 4 * pi / 3 * radius**3
            right[i] = -beta * radius**1.5
    return float(1 - 4 * pi * radius**1.5 * np.linalg.solve(matrix, right)[index.index((1, 0))])


def perrins(k: float, f: float) -> float:
    """The published formula for the square array (Perrins, McKenzie and McPhedran 1979): three multipoles, six digits."""
    t = -1.0 if np.isinf(k) else (1 + k) / (1 - k)
    return 1 - 2 * f / (t + f - 0.305827 * f**4 * t / (t**2 - 1.402958 * f**8) - 0.013362 * f**8 / t)


def sangani_acrivos(f: float) -> float:
    """The published expansion for perfectly conducting spheres, simple cubic.

    A. S. Sangani and A. Acrivos, Proc. R. Soc. Lond. A 386 (1983) 263, as quoted by I. V. Andrianov and H. Topol in
    arXiv:1106.1783, eq. 157; the remainder is O(f^(25/3)).
    """
    c = f
    middle = 1.305 * c ** (10 / 3) * (1 + 0.231 * c ** (11 / 3)) / (1 - 0.405 * c ** (7 / 3))
    return 1 - 3 * c / (-1 + c + middle + 0.0723 * c ** (14 / 3) + 0.153 * c**6 + 0.0105 * c ** (22 / 3))

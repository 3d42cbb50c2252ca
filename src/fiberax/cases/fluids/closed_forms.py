"""Closed forms of closures: steady shear and extension, Giesekus's fluid in time, what is left after a flow has stopped.

A steady conformation is c = g (a − K)⁻¹ I with K: c ↦ De (κc + cκᵀ), so that its trace is a rational function of a:

    tr c/g = dim/a + 2 Wi²/a³  in shear,   ∑ᵢ 1/(a − 2 De κᵢᵢ)  where κ is diagonal,

and a is the largest root of a polynomial. (FENE-P: Bird, Dotson and Johnson, J. Non-Newtonian Fluid Mech. 7 (1980) 213;
FENE-CR: Chilcott and Rallison, ibid. 29 (1988) 381; PTT: Azaiez, Guénette and Aït-Kadi, ibid. 62 (1996) 253, the exponential by
Lambert's W.) Giesekus's fluid in steady shear is that of his paper (ibid. 11 (1982) 69), in extension a quadratic equation, and
in time a Riccati equation, c = Y X⁻¹ with X, Y from one matrix exponential.
"""

import math
from typing import Any

import numpy as np
from numpy.polynomial import Polynomial

from fiberax.physics.fluids import FENECR, FENEP, PTT, Giesekus, RoliePoly

_REAL = 1e-6  # imaginary part over the modulus of a root that counts as real


def steady_stress(fluid: Any, kappa: np.ndarray) -> np.ndarray | None:
    """τ (dim, dim) of a closure in steady shear, κ_xy alone, or in extension, κ diagonal; None where no form is known.

    NaN where there is no steady state.
    """
    off = kappa - np.diag(np.diag(kappa))
    rest = off.copy()
    rest[0, 1] = 0.0
    shear = bool(off.any())
    if rest.any() or (shear and np.diag(kappa).any()):
        return None
    x = float(fluid.De) * kappa
    if isinstance(fluid, Giesekus):
        return _giesekus(float(fluid.alpha), x, shear)
    if not isinstance(fluid, FENEP | FENECR | PTT | RoliePoly) or (isinstance(fluid, RoliePoly) and float(fluid.beta)):
        return None
    a, dim, unit = Polynomial([0.0, 1.0]), len(x), np.eye(len(x))
    # tr c = g over/under
    over, under = (dim * a**2 + 2.0 * x[0, 1] ** 2, a**3) if shear else _extension(np.diag(x), a)
    if isinstance(fluid, FENEP):  # a = f, g = 1 and tr c = b (1 − 1/f)
        root = _root(a * over - float(fluid.b) * (a - 1.0) * under)
        return root * _conformation(root, 1.0, x, shear)
    if isinstance(fluid, FENECR):  # a = g = f
        root = _root(a**2 * over - float(fluid.b) * (a - 1.0) * under)
        return unit + root * (_conformation(root, root, x, shear) - unit)
    if isinstance(fluid, RoliePoly):  # without release: g = 1, a = 1 + 6 Z (1 − √(dim/tr c)), below 1 + 6 Z
        pull = 6.0 * float(fluid.Z)
        root = _root(dim * pull**2 * under - over * (1.0 + pull - a) ** 2, 1.0 + pull)
        steady = root > 2.0 * (0.0 if shear else float(np.diag(x).max()))
        return _conformation(root, 1.0, x, shear) if steady else np.full_like(x, np.nan)
    epsilon = float(fluid.epsilon)
    if fluid.exponential:  # a = g = Y and ln Y² = 4 ε Wi²/Y²
        root = math.exp(0.5 * _lambert(4.0 * epsilon * x[0, 1] ** 2)) if shear else None
    else:  # Y − 1 = ε (tr c − dim)
        root = _root(epsilon * (a * over - dim * under) - (a - 1.0) * under)
    return None if root is None else _conformation(root, root, x, shear)


def conformation(fluid: Any, kappa: np.ndarray, time: float, start: np.ndarray) -> np.ndarray | None:
    """The c (dim, dim) a `time` after `start` under κ: Giesekus's, and that of the linear PTT without a flow; else None."""
    if isinstance(fluid, Giesekus):
        return _riccati(fluid, kappa, time, start)
    if isinstance(fluid, PTT) and not fluid.exponential and not kappa.any():
        # q = tr c − dim: De dq/dt = −(1 + ε q) q; c − I keeps its direction
        off, decay = start - np.eye(len(start)), math.exp(-time / float(fluid.De))
        return np.eye(len(start)) + off * decay / (1.0 + float(fluid.epsilon) * np.trace(off) * (1.0 - decay))
    return None


def _conformation(a: float, g: float, x: np.ndarray, shear: bool) -> np.ndarray:
    if not shear:
        return np.diag(g / (a - 2.0 * np.diag(x)))
    c = g / a * np.eye(len(x))
    c[0, 1] = c[1, 0] = g * x[0, 1] / a**2
    c[0, 0] += 2.0 * g * x[0, 1] ** 2 / a**3
    return c


def _extension(x: np.ndarray, a: Polynomial) -> tuple[Polynomial, Polynomial]:
    """Numerator and denominator of ∑ 1/(a − 2x)."""
    factors = [a - 2.0 * value for value in x]
    product = lambda some: math.prod(some, start=Polynomial([1.0]))
    return sum((product(factors[:k] + factors[k + 1 :]) for k in range(len(x))), Polynomial([0.0])), product(factors)


def _root(polynomial: Polynomial, below: float = math.inf) -> float:
    """The largest real root `below` a number, polished by a step of Newton's method."""
    roots = polynomial.roots()
    real = roots.real[(np.abs(roots.imag) <= _REAL * np.abs(roots)) & (roots.real < below)]
    root = float(np.max(real, initial=-math.inf))
    if not math.isfinite(root):
        return root
    slope = float(polynomial.deriv()(root))
    return root - float(polynomial(root)) / slope if slope else root


def _lambert(x: float) -> float:
    from scipy.special import lambertw

    return float(lambertw(x).real)


def _giesekus(alpha: float, x: np.ndarray, shear: bool) -> np.ndarray:
    if not shear:  # each entry: 2 x c = (c − 1) + α (c − 1)²
        half = 1.0 - 2.0 * np.diag(x)
        root = np.sqrt(half**2 + 8.0 * alpha * np.diag(x))
        # Two forms of one root, without cancellation.
        return np.diag(1.0 + np.where(half > 0.0, 4.0 * np.diag(x) / (half + root), (root - half) / (2.0 * alpha)))
    wi = float(x[0, 1])
    size = 16.0 * alpha * (1.0 - alpha) * wi**2
    chi = math.sqrt(2.0 / (math.sqrt(1.0 + size) + 1.0))
    # 1 − χ² = (√(1 + s) − 1)/(√(1 + s) + 1) = s/(√(1 + s) + 1)²
    f = size / (math.sqrt(1.0 + size) + 1.0) ** 2 / (1.0 + chi) / (1.0 + (1.0 - 2.0 * alpha) * chi)
    tau = np.eye(len(x))
    tau[0, 1] = tau[1, 0] = wi * (1.0 - f) ** 2 / (1.0 + (1.0 - 2.0 * alpha) * f)
    tau[1, 1] -= f
    # xx: the yy equation gives c_xy² = −(y + α y²)/α, y = c_yy − 1; the xx and xy ones the first normal stress.
    tau[0, 0] = tau[1, 1] + 2.0 * wi**2 * f * (1.0 - alpha * f) / (wi**2 * alpha * (1.0 - f))
    return tau


def _riccati(fluid: Giesekus, kappa: np.ndarray, time: float, start: np.ndarray) -> np.ndarray:
    """dc/dt = S + Ac + cAᵀ − e c²: c = Y X⁻¹, X' = −AᵀX + eY, Y' = SX + AY; in steps, since X and Y grow."""
    from scipy.linalg import expm

    d, De, alpha = len(start), float(fluid.De), float(fluid.alpha)
    A = kappa - (0.5 - alpha) / De * np.eye(d)
    matrix = np.block([[-A.T, alpha / De * np.eye(d)], [(1.0 - alpha) / De * np.eye(d), A]])
    steps = max(1, math.ceil(time * float(np.linalg.norm(matrix))))
    flow, c = expm(matrix * time / steps), start
    for _ in range(steps):
        c = np.linalg.solve((flow[:d, :d] + flow[:d, d:] @ c).T, (flow[d:, :d] + flow[d:, d:] @ c).T).T
    return c

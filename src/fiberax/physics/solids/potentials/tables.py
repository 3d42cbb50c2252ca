"""Functions tabulated on a uniform grid, interpolated by the cubic Hermite spline of DYNAMO, as in LAMMPS.

Slopes at the points: the five-point formula (Abramowitz and Stegun 25.3.6) inside, central differences at the second point from
either end, one-sided ones at the ends. So the interpolant is C1 and its second derivative jumps a little at the points (Wen et
al., Modelling Simul. Mater. Sci. Eng. 23, 074008 (2015)); peers that put a C2 spline through the table differ by that.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def slopes(values: np.ndarray) -> np.ndarray:
    """Slopes at the points of the last axis, per grid step."""
    f = np.asarray(values, float)
    s = np.gradient(f, axis=-1)
    s[..., 2:-2] = (f[..., :-4] - f[..., 4:] + 8 * (f[..., 3:-1] - f[..., 1:-3])) / 12
    return s


def coefficients(values: np.ndarray) -> np.ndarray:
    """(..., n - 1, 4): the cubic c0 + c1 t + c2 t² + c3 t³ of every interval, t in [0, 1]."""
    f, s = np.asarray(values, float), slopes(values)
    rise = f[..., 1:] - f[..., :-1]
    left, right = s[..., :-1], s[..., 1:]
    return np.stack([f[..., :-1], left, 3 * rise - 2 * left - right, left + right - 2 * rise], axis=-1)


def interpolate(rows: Float[Array, "m c"], x: Float[Array, "*any"]) -> tuple[Array, ...]:
    """Values at `x`, in grid steps, of the c/4 functions whose cubics are in `rows`.

    Constant beyond the last point; the first cubic is used below the first point.
    """
    k, t = _place(rows, x)
    found = rows[k]
    t = jnp.minimum(t, 1.0)
    return tuple(_cubic([found[..., q + p] for p in range(4)], t) for q in range(0, rows.shape[-1], 4))


def interpolate_linear_tail(rows: Float[Array, "m 4"], x: Float[Array, "*any"]) -> Float[Array, "*any"]:
    """Value at `x`, in grid steps; beyond the last point the straight line with the slope there."""
    k, t = _place(rows, x)
    c = [rows[k][..., p] for p in range(4)]
    beyond = t > 1.0
    inside = _cubic(c, jnp.where(beyond, 1.0, t))
    return inside + jnp.where(beyond, (c[1] + 2 * c[2] + 3 * c[3]) * (t - 1.0), 0.0)


def _place(rows, x):
    """Interval and place within it. The interval is an integer, so derivatives are those of its cubic."""
    k = jnp.clip(jnp.floor(jax.lax.stop_gradient(x)), 0, rows.shape[0] - 1)
    return k.astype(jnp.int32), x - k


def _cubic(c, t):
    return ((c[3] * t + c[2]) * t + c[1]) * t + c[0]

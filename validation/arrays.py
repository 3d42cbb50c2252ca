"""Square arrays of disks and cubic arrays of spheres, against Rayleigh's multipoles and published values."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from multipoles import cubic_array, perrins, sangani_acrivos, square_array
from table import Table, fitted_order

import fiberax as fx

_INF = float("inf")


class Pixels(eqx.Module):
    """A coefficient a(U, z) given on pixels, (*shape) or (*shape, d, d)."""

    values: jax.Array

    def __call__(self, U, z):
        n = self.values.shape[0]
        return self.values[tuple(jnp.floor(z * n).astype(int))]


def distance_to_ball(z, radius):
    """Signed distance to the ball of that radius in the middle of the cell, and the unit normal."""
    away = z - 0.5
    r = jnp.sqrt(jnp.sum(away**2) + 1e-300)
    return r - radius, away / r


def fraction_below(level, normal):
    """Volume of {ξ in [−½, ½]^d: n·ξ < level}, n a unit vector.

    (1/(d! ∏|n_k|)) Σ_s (−1)^|s| (level + ½Σ|n_k| − Σ_s |n_k|)_+^d over all subsets s of the axes.
    """
    n = jnp.maximum(jnp.abs(normal), 1e-4)
    d = n.size
    total = 0.0
    for corner in np.ndindex(*(2,) * d):
        picked = jnp.asarray(corner, float)
        height = jnp.maximum(level + 0.5 * jnp.sum(n) - jnp.sum(picked * n), 0.0)
        total = total + (-1) ** sum(corner) * height**d
    return jnp.clip(total / (np.prod(np.arange(1, d + 1)) * jnp.prod(n)), 0.0, 1.0)


def sharp(z, radius, k, n):
    """The value k inside and 1 outside, read at the pixel centre."""
    return jnp.where(distance_to_ball(z, radius)[0] < 0, k, 1.0)


def laminate(z, radius, k, n):
    """The same, but a pixel that the interface cuts gets the tensor of the laminate with its tangent and its fractions."""
    distance, normal = distance_to_ball(z, radius)
    inside = fraction_below(-distance * n, normal)
    along, across = inside * k + 1 - inside, 1 / (inside / k + 1 - inside)
    nn = jnp.outer(normal, normal)
    return along * (jnp.eye(z.size) - nn) + across * nn


def conductivity(pixel, radius, k, n, d):
    """A_11 of a cell of n^d pixels."""
    method = fx.homogenization.FiniteElement()
    points = jnp.asarray(method.points((n,) * d).reshape(-1, d))
    values = jax.jit(jax.vmap(pixel, (0, None, None, None)))(points, radius, k, float(n))
    field = Pixels(values.reshape(*(n,) * d, *values.shape[1:]))
    r = fx.response(fx.homogenization.Cell(field, (n,) * d, method, symmetric=True), 0.0, tolerance=1e-6)
    assert int(r.result) == 0, fx.Result(int(r.result))
    return float(r.value[0, 0])


def truth_of_arrays(out):
    """The multipole series against what was printed before it."""
    table = Table("truth_of_arrays", "Rayleigh's multipoles against the literature, relative difference", ("what", "A"))
    table.below(
        abs(square_array(_INF, 0.5) / 3.080 - 1), 2e-4, "disks, k = inf, f = 0.5: 3.080 in print", square_array(_INF, 0.5)
    )
    table.below(
        abs(cubic_array(_INF, 0.3) / 2.333 - 1), 2e-4, "spheres, k = inf, f = 0.3: 2.333 in print", cubic_array(_INF, 0.3)
    )
    for k, f in ((_INF, 0.3), (50.0, 0.4), (10.0, 0.5), (0.1, 0.5)):
        truth = square_array(k, f)
        table.below(abs(truth / perrins(k, f) - 1), 1e-5, f"disks, k = {k:g}, f = {f}: formula of Perrins et al.", truth)
    for f, bound in ((0.1, 1e-5), (0.2, 1e-5), (0.3, 2e-4)):
        truth = cubic_array(_INF, f)
        table.below(abs(truth / sangani_acrivos(f) - 1), bound, f"spheres, k = inf, f = {f}: Sangani and Acrivos", truth)
    many, few = square_array(50.0, 0.7, 80), square_array(50.0, 0.7)
    table.below(abs(few / many - 1), 1e-10, "disks, k = 50, f = 0.7: 40 poles against 80", few)
    many, few = cubic_array(1e3, 0.3, 12), cubic_array(1e3, 0.3)
    table.below(abs(few / many - 1), 1e-7, "spheres, k = 1000, f = 0.3: 8 poles against 12", few)
    product = square_array(10.0, 0.6) * square_array(0.1, 0.6)
    table.below(abs(product - 1), 1e-12, "disks, k = 10, f = 0.6: Keller's duality A(k) A(1/k) = 1", product)
    return table.close(out)


def _refine(table, pixel, k, f, sizes, d, exact, direct_bound, order_range, richardson_bound=None):
    """Rows for one array: error at the finest cell, fitted order, error of the first-order extrapolation."""
    radius = float((f / np.pi) ** 0.5 if d == 2 else (3 * f / (4 * np.pi)) ** (1 / 3))
    values = [conductivity(pixel, radius, k, n, d) for n in sizes]
    errors = [abs(v / exact - 1) for v in values]
    label = (pixel.__name__, k, f)
    for n, value in zip(sizes[:-1], values):
        table.note(*label, n, value, exact)
    table.below(errors[-1], direct_bound, *label, sizes[-1], values[-1], exact)
    table.between(fitted_order(1 / np.array(sizes), errors), *order_range, *label, "order", "", "")
    if richardson_bound is not None:
        (m, n), (v, w) = sizes[-2:], values[-2:]
        best = (n * w - m * v) / (n - m)
        table.below(abs(best / exact - 1), richardson_bound, *label, f"{m}, {n} -> inf", best, exact)


def disks(out):
    """Square arrays of disks."""
    columns = ("interface pixels", "k", "f", "n", "A", "exact")
    table = Table("disks", "square array of disks, finite elements on n x n pixels: relative error, fitted order", columns)
    sizes = (32, 64, 128, 256)
    for k, f, direct, richardson in (
        (10.0, 0.5, 4e-3, 1e-4),
        (0.1, 0.5, 1e-3, 1e-4),
        (50.0, 0.7, 2e-2, 1e-3),
        (1e4, 0.5, 2.5e-2, 2e-3),
    ):
        exact = square_array(k, f)
        _refine(table, sharp, k, f, sizes, 2, exact, direct, (0.6, 1.9))
        _refine(table, laminate, k, f, sizes, 2, exact, direct, (0.7, 1.2), richardson)
    return table.close(out)


def spheres(out):
    """Simple cubic arrays of spheres."""
    columns = ("interface voxels", "k", "f", "n", "A", "exact")
    table = Table(
        "spheres", "simple cubic array of spheres, elements on n x n x n voxels: relative error, fitted order", columns
    )
    sizes = (12, 24, 48)
    for k, f, direct, richardson in ((10.0, 0.3, 1e-2, 2e-3), (50.0, 0.2, 2e-2, 2e-3), (1e3, 0.3, 1e-1, 5e-3)):
        exact = cubic_array(k, f, 12)
        _refine(table, sharp, k, f, sizes, 3, exact, 2 * direct, (0.5, 2.0))
        _refine(table, laminate, k, f, sizes, 3, exact, direct, (0.8, 1.4), richardson)
    exact = cubic_array(0.01, 0.3, 12)
    _refine(table, laminate, 0.01, 0.3, sizes, 3, exact, 1e-3, (1.4, 2.6))
    return table.close(out)

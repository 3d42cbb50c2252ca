"""Energy, forces and second derivatives of cells of many atoms, by lists of neighbours and matrix-free products.

With D_b = R_b + ξ_j − ξ_i, r_b = F D_b, and g_b = ∂E_i/∂r_b, the slope of the energy of the site where the bond begins:

    ∂W/∂F = Σ_b g_b ⊗ D_b / V,        ∂W/∂ξ_k = Fᵀ Σ_{b from k} (g_reverse(b) − g_b) / V

All atoms of one species are treated at once, by moments (moments.py) or by the derivative of the potential's own site energy.
Products with the second derivatives go over the bonds again, so that cost and memory grow with their number. Equations are
solved by conjugate gradients in the shifts of all atoms, where translations have no component; then atom 0 goes back to its
place.

Bonds come first in these arrays, components then, sites and any batch of fibers last.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fiberax.physics.solids.crystal import moments
from fiberax.physics.solids.crystal.neighbours import Sites
from fiberax.physics.solids.crystal.unit_cell import UnitCell, all_shifts, gradient_of
from fiberax.physics.solids.potentials.base import AbstractMomentPotential

_MANY = 64  # sites from which on the length of rows matters
_AWAY = 1.5  # cutoffs: the length of an absent bond
_STEPS = 1000  # of conjugate gradients
_MODULI = 1e-11  # relative residual of the shifts that follow a deformation
_FEWEST = 6  # products with the second derivatives that look for a direction in which the energy falls
_ROUGH = 1e-3  # relative residual at which they end
_LANCZOS = 60  # products for the smallest eigenvalue
_ROUND_OFF = 10.0  # times eps, of the forces of the bonds: what their sum is certain to
_FLAT = 1e-9  # of the largest curvature met: less than that is none


def _sites(cell: UnitCell, near: bool) -> tuple[tuple[Sites, ...], float]:
    """The short or the long lists, and the cutoff."""
    assert cell.neighbours is not None
    return cell.neighbours.near if near else cell.neighbours.far, cell.neighbours.cutoff


def _reference(sites: Sites, moved):
    """D (m, d, c, *batch)."""
    bonds = jnp.swapaxes(sites.bonds, 0, 1)
    return bonds.reshape(bonds.shape + (1,) * (moved.ndim - 2)) + _between(sites, moved)


def _between(sites: Sites, moved):
    """ξ_j − ξ_i (m, d, c, *batch)."""
    return jnp.moveaxis(moved[sites.neighbour] - moved[sites.atoms][None], 2, 1)


def _turned(F, D):
    """F D of vectors (m, d, c, *batch)."""
    d = D.shape[1]
    return jnp.stack([sum(F[i, k] * D[:, k] for k in range(d)) for i in range(d)], axis=1)


def _deformed(sites: Sites, F, D, cutoff: float):
    """Bonds r = F D (m, d, c, *batch); an absent one is longer than the cutoff."""
    r = _turned(F, D)
    away = np.zeros((1, D.shape[1]) + (1,) * (r.ndim - 2))
    away[0, 0] = _AWAY * cutoff
    present = sites.present[:, None]
    return jnp.where(present.reshape(present.shape + (1,) * (r.ndim - 3)), r, away)


def _by_species(names: tuple[str, ...]) -> list[tuple[str, slice]]:
    """Species of neighbours, and the rows of each."""
    return [(name, slice(names.index(name), names.index(name) + names.count(name))) for name in sorted(set(names))]


def energy(cell: UnitCell, A, shifts, near: bool) -> Float[Array, "*b"]:
    """W, by operations that can be differentiated."""
    F, moved = gradient_of(A), all_shifts(shifts)
    total = jnp.zeros(A.shape[2:], A.dtype)
    listed, cutoff = _sites(cell, near)
    for sites in listed:
        r = jnp.swapaxes(_deformed(sites, F, _reference(sites, moved), cutoff), 0, 1)
        total = total + jnp.sum(cell.potential.site_energy(sites.name, sites.names, r), axis=0)
    return total / cell.volume


class _Site(NamedTuple):
    """The sites of one species: D and ∂E/∂r of their bonds (m, d, c, *batch), and the product with ∂²E/∂r² on (m, d, n)."""

    sites: Sites
    D: Any
    g: Any
    along: Callable | None

    def changes(self, dr):
        """Change of g for changes of the bonds, both (m, d, c, *batch)."""
        along = self.along
        assert along is not None
        # A branch of its own, so that what it gives is computed once and kept: fused into the sums over bonds that follow it
        # would be computed again for every gathered entry. Barriers of optimisation do not hinder that on CPUs.
        some = jnp.any(self.sites.present[0])
        return jax.lax.cond(some, lambda: _whole(along(_flat(dr)), dr.shape[2:]), lambda: jnp.zeros_like(dr))


def _look(cell: UnitCell, F, moved, near: bool, order: int) -> tuple[Any, list[_Site]]:
    """Energy of the cell (*batch) and its sites; `order` 2 for changes of the slopes."""
    potential, found, value = cell.potential, [], jnp.zeros(F.shape[2:], F.dtype)
    listed, cutoff = _sites(cell, near)
    for sites in listed:
        D = _reference(sites, moved)
        r = _deformed(sites, F, D, cutoff)
        kind = _moment_sites if isinstance(potential, AbstractMomentPotential) else _plain_sites
        # Sites and fibers in one axis: loops over a short last axis are slow.
        energies, g, along = kind(potential, sites, _flat(r), order)
        energies, g = _whole(energies, r.shape[2:]), _whole(g, r.shape[2:])
        value = value + jnp.sum(energies, axis=0)
        found.append(_Site(sites, D, g, along))
    return value, found


def _flat(x):
    """(m, d, c, *batch) as (m, d, n), with some of them twice at the end of many.

    Rows whose length in memory is an odd multiple of 64 bytes: sums over rows a power of two apart, as of 64 or 512 sites,
    would use few places of the cache, and took up to four times as long.
    """
    flat = x.reshape(*x.shape[:2], -1)
    count = flat.shape[-1]
    spare = -(count + 8) % 16 if count >= _MANY else 0
    return jnp.concatenate([flat, flat[..., :spare]], axis=-1) if spare else flat


def _whole(x, shape):
    """(..., n) of `_flat` back as (..., c, *batch)."""
    return x[..., : math.prod(shape)].reshape(*x.shape[:-1], *shape)


def _moment_sites(potential, sites: Sites, r, order: int):
    rows = _by_species(sites.names)
    looked = moments.sites(potential, sites.name, [(name, r[where]) for name, where in rows], order)
    joined = lambda parts: parts[0] if len(parts) == 1 else jnp.concatenate(parts)

    def along(dr):
        assert looked.along is not None
        return joined(looked.along([dr[where] for _, where in rows]))

    return looked.energy, joined(looked.slopes), along


def _plain_sites(potential, sites: Sites, r, order: int):
    def slope(r):
        def total(r):
            value = potential.site_energy(sites.name, sites.names, jnp.swapaxes(r, 0, 1))
            return jnp.sum(value), value

        return jax.grad(total, has_aux=True)(r)

    if order == 1:
        g, value = slope(r)
        return value, g, None
    g, along, value = jax.linearize(slope, r, has_aux=True)
    return value, g, along


def _pulled(cell: UnitCell, F, found: list[_Site], slopes: list):
    """∂W/∂ξ of all atoms (n, d, *batch) by the slopes of every bond, or the change of one by those of the others."""
    front = [jnp.moveaxis(g, 1, 0) for g in slopes]
    flat = [g.reshape(g.shape[0], -1, *g.shape[3:]) for g in front]
    flat = flat[0] if len(flat) == 1 else jnp.concatenate(flat, axis=1)
    pulls = [jnp.sum(flat[:, site.sites.reverse] - g, axis=1) for site, g in zip(found, front, strict=True)]
    assert cell.neighbours is not None
    pulls = pulls[0] if len(pulls) == 1 else jnp.concatenate(pulls, axis=1)[:, cell.neighbours.order]
    by_shift = jnp.sum(F[:, :, None] * pulls[:, None], axis=0)
    return jnp.swapaxes(by_shift, 0, 1) / cell.volume


def _noise(F, slopes: list, volume):
    """Size of the round-off of `_pulled`, squared and summed over all atoms (*batch)."""
    size = sum(jnp.sum(g**2, axis=(0, 1, 2)) for g in slopes) * jnp.sum(F**2, axis=(0, 1))
    return (_ROUND_OFF * jnp.finfo(size.dtype).eps / volume) ** 2 * size


def _dyads(x, y):
    """Σ x_i y_j over bonds and sites (d, d, *batch)."""
    return jnp.sum(x[:, :, None] * y[:, None], axis=(0, 3))


def gradient(cell: UnitCell, A, shifts, near: bool):
    """W (*batch) and its gradient (q, *batch) in A, row by row, and the shifts."""
    F, moved = gradient_of(A), all_shifts(shifts)
    value, found = _look(cell, F, moved, near, 1)
    by_F = sum(_dyads(site.g, site.D) for site in found) / cell.volume
    by_shift = _pulled(cell, F, found, [site.g for site in found])
    batch = A.shape[2:]
    return value / cell.volume, jnp.concatenate([by_F.reshape(-1, *batch), by_shift[1:].reshape(-1, *batch)])


class _Equations(NamedTuple):
    """∂W/∂ξ of all atoms (n, d, *batch), and products with the second derivatives at one state."""

    cell: UnitCell
    F: Any
    found: list[_Site]
    slope: Any
    noise: Any  # of the slope, see `_noise`

    @staticmethod
    def at(cell: UnitCell, A, shifts, near: bool) -> "_Equations":
        """At A and shifts."""
        F = gradient_of(A)
        _, found = _look(cell, F, all_shifts(shifts), near, 2)
        slopes = [site.g for site in found]
        return _Equations(cell, F, found, _pulled(cell, F, found, slopes), _noise(F, slopes, cell.volume))

    def by_shifts(self, moved):
        """Change of the slope for shifts of all atoms."""
        changes = [site.changes(_turned(self.F, _between(site.sites, moved))) for site in self.found]
        return _pulled(self.cell, self.F, self.found, changes)

    def by_gradient(self, turn):
        """The same for a change of F (d, d, *batch), and its noise."""
        changes = [site.changes(_turned(turn, site.D)) for site in self.found]
        turned = _pulled(self.cell, turn, self.found, [site.g for site in self.found])
        return _pulled(self.cell, self.F, self.found, changes) + turned, _noise(self.F, changes, self.cell.volume)

    def stress(self, turn, moved):
        """Change of ∂W/∂F for changes of both."""
        total = jnp.zeros(())
        for site in self.found:
            between = _between(site.sites, moved)
            changed = site.changes(_turned(turn, site.D) + _turned(self.F, between))
            total = total + _dyads(changed, site.D) + _dyads(site.g, between)
        return total / self.cell.volume


def hessian(cell: UnitCell, A, shifts, near: bool):
    """∂²W over A and shifts together (q, q, *batch), column by column. Memory grows with the square of the atoms."""
    d, batch = A.shape[0], A.shape[2:]
    equations = _Equations.at(cell, A, shifts, near)

    def column(row):
        direction = jnp.broadcast_to(row.reshape(-1, *(1,) * len(batch)), (row.size, *batch))
        turn, moved = direction[: d * d].reshape(A.shape), all_shifts(direction[d * d :].reshape(shifts.shape))
        slope = equations.by_gradient(turn)[0] + equations.by_shifts(moved)
        return jnp.concatenate([equations.stress(turn, moved).reshape(-1, *batch), slope[1:].reshape(-1, *batch)])

    return jax.lax.map(column, jnp.eye(d * d + shifts.shape[0] * d, dtype=A.dtype))


def _dot(x, y):
    return jnp.sum(x * y, axis=(0, 1))


def _without_translation(x):
    """What round-off has left of a translation, that nothing resists, is taken away."""
    return x - jnp.mean(x, axis=0)


def _solve(apply: Callable, rhs, noise, tolerance, most: Any):
    """Conjugate gradients for apply(x) = rhs, every fiber of the batch for itself; x = 0 where |rhs|² is below `noise`.

    `tolerance`: relative residual; `most`: largest number of products; both may differ among the fibers.

    Returns:
        x (n, d, *batch), whether all curvatures met were positive (*batch), and the number of products. At the first curvature
        that is not positive the iteration of its fiber ends; if that is the very first, x goes along the right-hand side.
    """

    def body(carry):
        k, x, r, p, size, running, definite, largest = carry
        q = apply(p)
        curvature, length = _dot(p, q), _dot(p, p)
        ratio = curvature / jnp.where(length > 0.0, length, 1.0)
        largest = jnp.maximum(largest, jnp.abs(ratio))
        flat = running & (ratio <= _FLAT * largest)
        step = size / jnp.where(curvature == 0.0, 1.0, jnp.abs(curvature))
        step = jnp.where(running & (~flat | (k == 0)), step, 0.0)
        x, r = x + step * p, r - step * q
        new = _dot(r, r)
        p = r + new / jnp.where(size > 0.0, size, 1.0) * p
        running = running & ~flat & (new > tolerance**2 * scale) & (k + 1 < most)
        return k + 1, x, r, p, new, running, definite & ~flat, largest

    rhs = _without_translation(rhs)
    scale = _dot(rhs, rhs)
    running = scale > noise
    start = (0, jnp.zeros_like(rhs), rhs, rhs, scale, running, jnp.ones(scale.shape, bool), jnp.zeros_like(scale))
    end = jax.lax.while_loop(lambda c: jnp.any(c[5]), body, start)
    return end[1], end[6], end[0]


class Look(NamedTuple):
    """Which fibers of a batch look for a direction in which W falls, and the products that their solves have taken."""

    fibers: Array
    used: Array


def newton_direction(cell: UnitCell, A, shifts, tolerance, look: Look | None, near: bool):
    """The Newton step of the shifts (n − 1, d, *batch), to a relative residual `tolerance` (*batch).

    Fibers that `look` begin with fixed random shifts in place of the slope, and what they find is no step: symmetry may keep a
    slope out of the directions in which W falls. They take a tenth of the products that were used, and not fewer than a few.
    Those whose slope is round-off look at once. One program serves both.

    Returns:
        The step; whether all curvatures of W that the solve met were positive (*batch); the number of products with the second
        derivatives; and which fibers have looked (*batch).
    """
    equations = _Equations.at(cell, A, shifts, near)
    noise, most, looked = equations.noise, _STEPS, jnp.zeros(A.shape[2:], bool)
    rhs = _without_translation(-equations.slope)
    if look is not None:
        looked = look.fibers | (_dot(rhs, rhs) <= noise)
        rhs = jnp.where(looked, _random_shifts(rhs), rhs)
        noise, tolerance = jnp.where(looked, 0.0, noise), jnp.where(looked, _ROUGH, tolerance)
        most = jnp.where(looked, jnp.maximum(_FEWEST, look.used // 10), _STEPS)
    move, definite, products = _solve(equations.by_shifts, rhs, noise, tolerance, most)
    return jnp.where(looked, 0.0, move[1:] - move[0]), definite, products, looked


def softest(cell: UnitCell, A, shifts, near: bool):
    """Smallest over largest eigenvalue of ∂²W/∂ξ² without translations (*batch), by Lanczos' method from fixed random shifts.

    Both are bounds from within, so that the quotient is never too small by more than round-off.
    """
    equations = _Equations.at(cell, A, shifts, near)
    atoms, d = equations.slope.shape[:2]
    count = min(_LANCZOS, (atoms - 1) * d)
    first = _random_shifts(equations.slope)

    def step(carry, _):
        before, v, beta = carry
        w = equations.by_shifts(v)
        w = w - jnp.mean(w, axis=0)
        alpha = _dot(v, w)
        w = w - alpha * v - beta * before
        norm = jnp.sqrt(_dot(w, w))
        # A space that is exhausted goes on with round-off, which is as good as another start.
        after = jnp.where(norm > 0.0, w / jnp.where(norm > 0.0, norm, 1.0), v)
        return (v, after, norm), (alpha, norm)

    start = (jnp.zeros_like(first), first / jnp.sqrt(_dot(first, first)), jnp.zeros(A.shape[2:], A.dtype))
    _, (alphas, betas) = jax.lax.scan(step, start, length=count)
    places = jnp.arange(count)
    matrix = jnp.zeros((*A.shape[2:], count, count), A.dtype)
    matrix = matrix.at[..., places, places].set(jnp.moveaxis(alphas, 0, -1))
    matrix = matrix.at[..., places[:-1], places[1:]].set(jnp.moveaxis(betas[:-1], 0, -1))
    values = jnp.linalg.eigvalsh(matrix, UPLO="U", symmetrize_input=False)
    return values[..., 0] / values[..., -1]


def _random_shifts(like):
    """The same for every fiber of a batch, and no translation."""
    random = np.random.default_rng(0).standard_normal(like.shape[:2])
    random = jnp.asarray(random - random.mean(axis=0), like.dtype).reshape(*like.shape[:2], *(1,) * (like.ndim - 2))
    return jnp.broadcast_to(random, like.shape)


def relaxed_moduli(cell: UnitCell, A, shifts, near: bool):
    """dP/dA with shifts that follow (d, d, d, d, *batch): one solve for the shifts of each entry of A."""
    d, batch = A.shape[0], A.shape[2:]
    equations = _Equations.at(cell, A, shifts, near)

    def column(direction):
        turn = jnp.broadcast_to(direction.reshape((d, d) + (1,) * len(batch)), A.shape)
        followed, *_ = _solve(equations.by_shifts, *equations.by_gradient(turn), _MODULI, _STEPS)
        return equations.stress(turn, -followed)

    columns = jax.vmap(column)(jnp.eye(d * d, dtype=A.dtype))
    return jnp.moveaxis(columns.reshape(d, d, d, d, *batch), (0, 1), (2, 3))

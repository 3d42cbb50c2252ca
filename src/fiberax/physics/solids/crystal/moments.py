"""Derivatives of the cell energy of a potential in moment form, assembled from scalar ones.

With h_k(s) = f_k(r)/r^rank, s = r², every moment is S_k = Σ_b h_k(s_b) T_k(r_b), T = 1, r or r⊗r. At fixed slopes a = ∂Ψ/∂S the
energy of a bond is φ = Σ_k h_k X_k with the polynomials X_k = a_k : T_k, so that

    g_i  = ∂φ/∂r_i      = Σ_k 2 h_k' X_k r_i + h_k X_k,i
    K_ij = ∂²φ/∂r_i∂r_j = Σ_k 4 h_k'' X_k r_i r_j + 2 h_k' (X_k δ_ij + X_k,i r_j + X_k,j r_i) + h_k X_k,ij

and the Hessian of the cell is that of φ plus Jᵀ Ψ'' J, J = ∂S/∂(A, ξ). All sums over bonds are products with constant matrices
of the weights 1, R_b and R_b ⊗ R_b: in these arrays the bonds come first, components then, fibers last.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fiberax.physics.solids.crystal.batching import together
from fiberax.physics.solids.crystal.radial import by_square
from fiberax.physics.solids.crystal.unit_cell import UnitCell
from fiberax.physics.solids.potentials.base import AbstractMomentPotential


class Sums(NamedTuple):
    """Energy (*batch), gradient (q, *batch) and Hessian (q, q, *batch) per reference volume; None where not asked for."""

    energy: Any
    gradient: Any
    hessian: Any


class _Group(NamedTuple):
    """Bonds of one group: reference vectors R (d, n), deformed ones r (n, d, *batch), and h_k (n, *batch) with derivatives.

    `part`: the moments k in which such neighbours have a part; the others are left out of h.
    """

    neighbour: int
    R: Any
    r: Any
    part: tuple[int, ...]
    h: tuple
    h1: tuple
    h2: tuple


def _group(neighbour: int, R, r, h: tuple) -> _Group:
    """A group of bonds from what `by_square` gives."""
    part = tuple(k for k, value in enumerate(h[0]) if value is not None)
    return _Group(neighbour, R, r, part, *(tuple(x[k] for k in part) if x else () for x in h))


class _Polynomial(NamedTuple):
    """X(r) of one moment (n, *batch), its first derivatives (n, d, *batch), constant second ones (1, d, d, *batch)."""

    value: Any
    first: Any
    second: Any


def _outer(x, y):
    """x_i y_j of vectors (n, d, *batch)."""
    return x[:, :, None] * y[:, None]


def _unit(d: int, batch: int):
    """δ_ij as (1, d, d, *batch)."""
    return jnp.eye(d).reshape((1, d, d) + (1,) * batch)


def _moments(groups: list[_Group], ranks) -> tuple:
    """S_k, summed over all groups."""
    found = _no_moments(groups, ranks)
    for g in groups:
        for k, h in zip(g.part, g.h, strict=True):
            value = h if ranks[k] == 0 else h[:, None] * g.r if ranks[k] == 1 else _outer(h[:, None] * g.r, g.r)
            found[k] = found[k] + jnp.sum(value, axis=0)
    return tuple(found)


def _no_moments(groups: list[_Group], ranks) -> list:
    """S_k = 0."""
    shape = groups[0].r.shape[1:]
    return [jnp.zeros(shape[:1] * rank + shape[1:], groups[0].r.dtype) for rank in ranks]


def _polynomials(slopes, ranks, g: _Group) -> list[_Polynomial]:
    """X_k of the moments in which a group has a part."""
    return [_polynomial(slopes[k], ranks[k], g.r) for k in g.part]


def _polynomial(a, rank: int, r) -> _Polynomial:
    if rank == 0:
        return _Polynomial(a[None], None, None)
    if rank == 1:
        return _Polynomial(jnp.sum(a[None] * r, axis=1), a[None], None)
    second = (a + jnp.swapaxes(a, 0, 1))[None]
    first = jnp.sum(second * r[:, None], axis=2)
    return _Polynomial(0.5 * jnp.sum(first * r, axis=1), first, second)


def _force(g: _Group, parts: list[_Polynomial]):
    """g_i of every bond (n, d, *batch)."""
    along = jnp.asarray(2.0 * sum(h1 * X.value for h1, X in zip(g.h1, parts, strict=True)))
    others = (h[:, None] * X.first for h, X in zip(g.h, parts, strict=True) if X.first is not None)
    return along[:, None] * g.r + sum(others)


def _stiffness(g: _Group, parts: list[_Polynomial]):
    """K_ij of every bond (n, d, d, *batch)."""
    along = jnp.asarray(2.0 * sum(h1 * X.value for h1, X in zip(g.h1, parts, strict=True)))
    bent = jnp.asarray(2.0 * sum(h2 * X.value for h2, X in zip(g.h2, parts, strict=True)))
    mixed = bent[:, None] * g.r
    constant = along[:, None, None] * _unit(g.r.shape[1], g.r.ndim - 2)
    for h, h1, X in zip(g.h, g.h1, parts, strict=True):
        if X.first is not None:
            mixed = mixed + 2.0 * h1[:, None] * X.first
        if X.second is not None:
            constant = constant + h[:, None, None] * X.second
    return _outer(mixed, g.r) + _outer(g.r, mixed) + constant


def _bends(g: _Group, parts: list[_Polynomial]) -> Callable:
    """The product of K_ij with changes of the bonds (n, d, *batch); of two numbers for each bond where only distances enter."""
    if any(X.first is not None for X in parts):
        K = _stiffness(g, parts)
        return lambda dr: jnp.sum(K * dr[:, None], axis=2)
    along = jnp.asarray(2.0 * sum(h1 * X.value for h1, X in zip(g.h1, parts, strict=True)))
    bent = jnp.asarray(4.0 * sum(h2 * X.value for h2, X in zip(g.h2, parts, strict=True)))
    return lambda dr: (bent * jnp.sum(g.r * dr, axis=1))[:, None] * g.r + along[:, None] * dr


def _moment_slopes(g: _Group, ranks) -> list:
    """∂(h_k T)/∂r_i of every bond (n, d, *rank, *batch), for every moment in which the group has a part."""
    r, found = g.r, []
    unit = _unit(r.shape[1], r.ndim - 2)
    for k, h, h1 in zip(g.part, g.h, g.h1, strict=True):
        rank, steep = ranks[k], 2.0 * h1[:, None] * r
        if rank == 0:
            found.append(steep)
        elif rank == 1:
            found.append(_outer(steep, r) + h[:, None, None] * unit)
        else:
            mixed = unit[:, :, :, None] * (h[:, None] * r)[:, None, None]
            found.append(steep[:, :, None, None] * _outer(r, r)[:, None] + mixed + jnp.swapaxes(mixed, 2, 3))
    return found


def _weighed(weights, values):
    """Σ_n weights[c, n] values[n, ...] (c, ...): one product with a constant matrix; no weights: the plain sum."""
    if weights is None:
        return jnp.sum(values, axis=0)[None]
    return (weights @ values.reshape(values.shape[0], -1)).reshape(weights.shape[0], *values.shape[1:])


class Sites(NamedTuple):
    """Energy of sites of one species (*batch), its slopes by the bond vectors, and the product with the second derivatives."""

    energy: Any
    slopes: list
    along: Callable | None


def sites(potential: AbstractMomentPotential, centre: str, bonds: list, order: int) -> Sites:
    """The energies of sites by their bonds, for cells of many atoms.

    Args:
        potential: In moment form.
        centre: Species of the sites.
        bonds: Species of the neighbours and bond vectors (m, d, *batch), group by group. The batch holds the sites, and fibers.
        order: 1, or 2 for the product.

    Returns:
        Energy; slopes (m, d, *batch) by group; and along(dr), which gives the change of the slopes for changes of the bonds.
    """
    ranks, groups = potential.ranks, []
    for name, r in bonds:
        h = by_square(potential, centre, name, jnp.sum(r**2, axis=1), order)
        groups.append(_group(0, None, r, h))
    moments = _moments(groups, ranks)

    def slope(moments):
        site, pull = jax.vjp(lambda S: potential.embed(centre, S), moments)
        return pull(jnp.ones_like(site))[0], site

    a, site = slope(moments)
    parts = [_polynomials(a, ranks, g) for g in groups]
    forces = [_force(g, X) for g, X in zip(groups, parts, strict=True)]
    if order == 1:
        return Sites(site, forces, None)
    bends = [_bends(g, X) for g, X in zip(groups, parts, strict=True)]

    def along(changes: list) -> list:
        S = _moment_changes(groups, ranks, changes)
        bent = jax.jvp(lambda S: slope(S)[0], (moments,), (S,))[1]
        own = [bend(dr) for bend, dr in zip(bends, changes, strict=True)]
        return [x + _force(g, _polynomials(bent, ranks, g)) for x, g in zip(own, groups, strict=True)]

    return Sites(site, forces, along)


def _moment_changes(groups: list[_Group], ranks, changes: list) -> tuple:
    """Changes of S_k for changes dr (n, d, *batch) of the bonds, summed over all groups."""
    found = _no_moments(groups, ranks)
    for g, dr in zip(groups, changes, strict=True):
        ds = 2.0 * jnp.sum(g.r * dr, axis=1)
        for k, h, h1 in zip(g.part, g.h, g.h1, strict=True):
            change = h1 * ds
            if ranks[k] == 1:
                change = change[:, None] * g.r + h[:, None] * dr
            elif ranks[k] == 2:
                half = _outer(0.5 * change[:, None] * g.r + h[:, None] * dr, g.r)
                change = half + jnp.swapaxes(half, 1, 2)
            found[k] = found[k] + jnp.sum(change, axis=0)
    return tuple(found)


class _Blocks:
    """A vector or matrix under construction in blocks: 0 for A (d² rows), then one of d rows for every shift."""

    def __init__(self):
        self.found: dict = {}

    def add(self, key, value) -> None:
        self.found[key] = self.found[key] + value if key in self.found else value

    def vector(self, sizes: dict, tail) -> Any:
        """Blocks one below the other."""
        return jnp.concatenate([jnp.broadcast_to(self.found.get(a, 0.0), (n, *tail)) for a, n in sizes.items()])

    def matrix(self, sizes: dict, batch) -> Any:
        """The symmetric matrix of which the upper blocks are given."""
        rows = []
        for a, n in sizes.items():
            row = []
            for b, m in sizes.items():
                x = self.found.get((min(a, b), max(a, b)), None)
                if x is None:
                    x = jnp.zeros((n, m, *batch))
                row.append(x if a <= b else jnp.swapaxes(x, 0, 1))
            rows.append(jnp.concatenate(row, axis=1))
        return jnp.concatenate(rows)


def moment_sums(cell: UnitCell, A, bonds: Callable, differences: Callable, order: int) -> Sums:
    """What is needed of the cell. `order` 0: gradient and Hessian in the shifts; 1: W and gradient; 2: Hessian, all in (A, ξ).

    `bonds(centre)` gives the bonds (group, R, r with bonds first); `differences(group)` gives ξ_j − ξ_i (d, *batch).
    """
    d, batch = A.shape[0], A.shape[2:]
    F = A + jnp.eye(d).reshape((d, d) + (1,) * len(batch))
    sizes = {0: d * d} if order else {}
    sizes |= {atom: d for atom in range(1, len(cell.species))}
    value, gradient, hessian = jnp.zeros(batch, A.dtype), _Blocks(), _Blocks()
    assert cell.shells is not None
    groups = _groups(cell, [b for centre, _ in cell.shells.centres for b in bonds(centre)], order)
    for centre, weight in cell.shells.centres:
        own = [(group, g) for group, g in groups if group.centre == centre]
        value = value + weight * _site(cell, F, centre, weight, own, differences, order, sizes, gradient, hessian)
    volume = cell.volume
    slope = gradient.vector(sizes, batch) / volume
    return Sums(value / volume, slope, None if order == 1 else hessian.matrix(sizes, batch) / volume)


def _groups(cell: UnitCell, bonds: list, order: int) -> list:
    """The groups of bonds (group, R, r) of all sites, with what `radial` gives."""
    potential = cell.potential
    assert isinstance(potential, AbstractMomentPotential)
    if order == 0 and potential.pairwise:
        bonds = [b for b in bonds if b[0].neighbour != b[0].centre]
    pairs = [(cell.species[group.centre], cell.species[group.neighbour]) for group, *_ in bonds]
    squares = [jnp.sum(r**2, axis=1) for *_, r in bonds]
    radial = together(lambda pair, s: by_square(potential, pair[0], pair[1], s, order), pairs, squares)
    found = []
    for (group, R, r), h in zip(bonds, radial, strict=True):
        found.append((group, _group(group.neighbour, R, r, h)))
    return found


def _site(cell: UnitCell, F, centre: int, weight, groups: list, differences, order: int, sizes, gradient, hessian):
    """Energy of one site; its slopes and curvatures are added to `gradient` and `hessian`."""
    potential, name = cell.potential, cell.species[centre]
    assert isinstance(potential, AbstractMomentPotential)
    if not groups:
        return jnp.zeros(F.shape[2:], F.dtype)
    moments = _moments([g for _, g in groups], potential.ranks)
    site, pull = jax.vjp(lambda S: potential.embed(name, S), moments)
    slopes = pull(jnp.full_like(site, weight))[0]
    jacobian = [_Blocks() for _ in potential.ranks]
    for group, g in groups:
        own = group.neighbour == centre
        if order == 0 and own:
            continue
        parts = _polynomials(slopes, potential.ranks, g)
        atoms = [] if own else [(a, sign) for a, sign in ((group.neighbour, 1.0), (centre, -1.0)) if a > 0]
        delta = None if own else differences(group)
        _gather(F, g, parts, delta, atoms, order, gradient, hessian)
        if order != 1 and not potential.pairwise:
            _gather_moments(F, g, potential.ranks, delta, atoms, order, jacobian)
    if order != 1 and not potential.pairwise:
        _through_moments(lambda S: weight * potential.embed(name, S), moments, potential.ranks, jacobian, sizes, hessian)
    return site


def _weights(R, order: int):
    """1 and R_J; and these with R_J R_L."""
    if order == 0:
        return None, None
    linear = jnp.concatenate([jnp.ones((1, R.shape[1]), R.dtype), R])
    return linear, jnp.concatenate([linear, (R[:, None] * R[None]).reshape(-1, R.shape[1])])


def _contract(x, F):
    """Σ_k x[..., k, *batch] F[k, c, *batch] for x (m, d, *batch): (m, c, *batch)."""
    return jnp.sum(x[:, :, None] * F[None], axis=1)


def _gather(F, g: _Group, parts, delta, atoms, order: int, gradient: _Blocks, hessian: _Blocks) -> None:
    """Adds one group of bonds, in A and in the shifts of the `atoms` (number, sign) at its ends. D = R + delta."""
    d, batch = F.shape[0], F.shape[2:]
    linear, quadratic = _weights(g.R, order)
    force = _weighed(linear, _force(g, parts))  # (c, i)
    if order:
        by_A = force[1:] if delta is None else force[1:] + delta[:, None] * force[0][None]
        gradient.add(0, jnp.swapaxes(by_A, 0, 1).reshape(d * d, *batch))
    if atoms:
        pulled = jnp.sum(F * force[0][:, None], axis=0)
    for a, sign in atoms:
        gradient.add(a, sign * pulled)
    if order == 1:
        return
    stiff = _weighed(quadratic, _stiffness(g, parts))  # (c, i, k)
    if order == 2:
        K1, K2 = stiff[1 : 1 + d], stiff[1 + d :].reshape(d, d, d, d, *batch)  # (J, i, k), (J, L, i, k)
        if delta is not None:
            along = delta[:, None, None]
            K2 = K2 + K1[:, None] * along[None]
            K1 = K1 + along * stiff[0][None]
            K2 = K2 + along[:, None] * K1[None]
        moduli = jnp.transpose(K2, (2, 0, 3, 1, *range(4, K2.ndim)))
        hessian.add((0, 0), moduli.reshape(d * d, d * d, *batch))
        if atoms:
            mixed = _contract(K1.reshape(d * d, d, *batch), F).reshape(d, d, d, *batch)  # (J, i, c)
            mixed = jnp.swapaxes(mixed, 0, 1) + force[0][:, None, None] * _unit(d, len(batch))
            mixed = mixed.reshape(d * d, d, *batch)
        for a, sign in atoms:
            hessian.add((0, a), sign * mixed)
    if atoms:
        inner = jnp.sum(F[:, :, None] * _contract(stiff[0], F)[:, None], axis=0)
    for a, sign in atoms:
        for b, opposite in atoms:
            if a <= b:
                hessian.add((a, b), sign * opposite * inner)


def _gather_moments(F, g: _Group, ranks, delta, atoms, order: int, jacobian: list[_Blocks]) -> None:
    """Adds one group to ∂S/∂(A, ξ), blocks (q, *rank, *batch)."""
    d, batch = F.shape[0], F.shape[2:]
    linear, _ = _weights(g.R, order)
    for k, values in zip(g.part, _moment_slopes(g, ranks), strict=True):
        J, rank, m = jacobian[k], ranks[k], _weighed(linear, values)  # (c, i, *rank)
        if order:
            by_A = m[1:]
            if delta is not None:
                by_A = by_A + delta.reshape((d, 1) + (1,) * rank + batch) * m[0][None]
            J.add(0, jnp.swapaxes(by_A, 0, 1).reshape(d * d, *m.shape[2:]))
        if atoms:
            pulled = jnp.sum(F.reshape((d, d) + (1,) * rank + batch) * m[0][:, None], axis=0)
        for a, sign in atoms:
            J.add(a, sign * pulled)


def _through_moments(embed: Callable, moments: tuple, ranks, jacobian: list[_Blocks], sizes: dict, hessian: _Blocks) -> None:
    """Adds Jᵀ Ψ'' J."""
    rows = tuple(J.vector(sizes, S.shape) for J, S in zip(jacobian, moments, strict=True))

    def slope(S):
        site, pull = jax.vjp(embed, S)
        return pull(jnp.ones_like(site))[0]

    bent = jax.vmap(lambda direction: jax.jvp(slope, (moments,), (direction,))[1])(rows)
    product = jnp.zeros(())
    for J, B, rank in zip(rows, bent, ranks, strict=True):
        product = product + jnp.sum(J[:, None] * B[None], axis=tuple(range(2, 2 + rank)))
    begin = 0
    places = {}
    for a, n in sizes.items():
        places[a] = slice(begin, begin + n)
        begin += n
    for a in sizes:
        for b in sizes:
            if a <= b:
                hessian.add((a, b), product[places[a], places[b]])

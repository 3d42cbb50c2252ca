"""Derivatives of the cell energy of a potential in moment form, assembled from scalar ones (spec section 3).

With h_k(s) = f_k(r)/r^rank, s = r², every moment is S_p = Σ_b h_k(s_b) T_p(r_b), T_p a monomial in the components of r, one for
each independent entry p (1; r_i; r_i r_j, i ≤ j). At fixed slopes a = ∂Ψ/∂S the energy of a bond is φ = Σ_k h_k X_k with the
polynomials X_k = Σ_p a_p T_p, so that

    g_i  = ∂φ/∂r_i      = Σ_k 2 h_k' X_k r_i + h_k X_k,i
    K_ij = ∂²φ/∂r_i∂r_j = Σ_k 4 h_k'' X_k r_i r_j + 2 h_k' (X_k δ_ij + X_k,i r_j + X_k,j r_i) + h_k X_k,ij

and the Hessian of the cell is that of φ plus Jᵀ Ψ'' J, J = ∂S/∂(A, ξ). All sums over bonds are products with constant matrices of
the weights 1, R_b and R_b ⊗ R_b; bonds come first in these arrays, components are Python lists, fibers last.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp

from fiberax.physics.solids.potentials.base import AbstractMomentPotential

if TYPE_CHECKING:
    from fiberax.physics.solids.crystal import Crystal


class Sums(NamedTuple):
    """Energy (*batch), gradient (q, *batch) and Hessian (q, q, *batch) per reference volume; None where not asked for."""

    energy: Any
    gradient: Any
    hessian: Any


class _Group(NamedTuple):
    """Bonds of one group: reference vectors R (d, n), components r_i (n, *batch), and h_k with two derivatives in s."""

    neighbour: int
    R: Any
    r: list
    h: tuple
    h1: tuple
    h2: tuple


def _pairs(d: int) -> list[tuple[int, int]]:
    return [(i, j) for i in range(d) for j in range(i, d)]


def _entries(rank: int, d: int) -> list[tuple[int, ...]]:
    """Independent entries of a moment."""
    return [()] if rank == 0 else [(i,) for i in range(d)] if rank == 1 else _pairs(d)


def _unpacked(packed: list, rank: int, d: int):
    """The full moment from its independent entries."""
    if rank == 0:
        return packed[0]
    if rank == 1:
        return jnp.stack(packed)
    place = {pair: k for k, pair in enumerate(_pairs(d))}
    return jnp.stack([jnp.stack([packed[place[min(i, j), max(i, j)]] for j in range(d)]) for i in range(d)])


def _radial(potential, centre: str, name: str, s, order: int):
    """h_k(s), and its first and second derivatives as far as `order` asks."""

    def h(s):
        values = potential.radial(centre, name, jnp.sqrt(s))
        return tuple(f * (1.0, jax.lax.rsqrt(s), 1.0 / s)[rank] if rank else f for f, rank in zip(values, potential.ranks, strict=True))

    one = jnp.ones_like(s)
    slope = lambda s: jax.jvp(h, (s,), (one,))
    if order == 1:
        return *slope(s), ()
    (value, first), (_, second) = jax.jvp(slope, (s,), (one,))
    return value, first, second


def _weighed(weights, columns: list):
    """Σ_n weights[c, n] column[n, *batch]: a list over the columns of lists over c; one product with a constant matrix."""
    if weights is None:
        return [[jnp.sum(x, axis=0)] for x in columns]
    n, batch = columns[0].shape[0], columns[0].shape[1:]
    product = weights @ jnp.stack(columns, axis=1).reshape(n, -1)
    product = product.reshape(weights.shape[0], len(columns), *batch)
    return [[product[c, k] for c in range(weights.shape[0])] for k in range(len(columns))]


class _Polynomial(NamedTuple):
    """X(r) of one moment with its first derivatives X_i and the constant second ones X_ij (or None)."""

    value: Any
    first: list | None
    second: list | None


def _polynomial(a: list, rank: int, r: list) -> _Polynomial:
    d = len(r)
    if rank == 0:
        return _Polynomial(a[0][None], None, None)
    if rank == 1:
        return _Polynomial(sum(a[i][None] * r[i] for i in range(d)), [a[i][None] for i in range(d)], None)
    place = {pair: k for k, pair in enumerate(_pairs(d))}
    second = [[a[place[min(i, j), max(i, j)]][None] * (2.0 if i == j else 1.0) for j in range(d)] for i in range(d)]
    first = [sum(second[i][j] * r[j] for j in range(d)) for i in range(d)]
    return _Polynomial(0.5 * sum(first[i] * r[i] for i in range(d)), first, second)


def _force(group: _Group, parts: list[_Polynomial]) -> list:
    """g_i of every bond."""
    along = 2.0 * sum(h1 * X.value for h1, X in zip(group.h1, parts, strict=True))
    found = [along * x for x in group.r]
    for h, X in zip(group.h, parts, strict=True):
        if X.first is not None:
            found = [g + h * x for g, x in zip(found, X.first, strict=True)]
    return found


def _stiffness(group: _Group, parts: list[_Polynomial]) -> list:
    """K_ij of every bond, for i ≤ j."""
    r, d = group.r, len(group.r)
    along = 2.0 * sum(h1 * X.value for h1, X in zip(group.h1, parts, strict=True))
    twice = 4.0 * sum(h2 * X.value for h2, X in zip(group.h2, parts, strict=True))
    mixed = [0.5 * twice * x for x in r]  # K_ij = mixed_i r_j + mixed_j r_i + ...
    for h1, X in zip(group.h1, parts, strict=True):
        if X.first is not None:
            mixed = [m + 2.0 * h1 * x for m, x in zip(mixed, X.first, strict=True)]
    found = []
    for i, j in _pairs(d):
        value = mixed[i] * r[j] + mixed[j] * r[i]
        if i == j:
            value = value + along
        for h, X in zip(group.h, parts, strict=True):
            if X.second is not None:
                value = value + h * X.second[i][j]
        found.append(value)
    return found


def _moment_slopes(group: _Group, ranks) -> list:
    """∂(h T_p)/∂r_i of every bond, entry p of all moments slow, i fast."""
    r, d, found = group.r, len(group.r), []
    for h, h1, rank in zip(group.h, group.h1, ranks, strict=True):
        steep = [2.0 * h1 * x for x in r]
        for entry in _entries(rank, d):
            for i in range(d):
                value = steep[i]
                for c in entry:
                    value = value * r[c]
                if rank == 1 and entry[0] == i:
                    value = value + h
                if rank == 2:
                    a, b = entry
                    if a == i:
                        value = value + h * r[b]
                    if b == i:
                        value = value + h * r[a]
                found.append(value)
    return found


def _values(group: _Group, ranks) -> list:
    """h T_p of every bond."""
    found = []
    for h, rank in zip(group.h, ranks, strict=True):
        for entry in _entries(rank, len(group.r)):
            value = h
            for c in entry:
                value = value * group.r[c]
            found.append(value)
    return found


def _add(total: dict, key, value) -> None:
    total[key] = total[key] + value if key in total else value


def moment_sums(crystal: "Crystal", A, bonds, differences, order: int) -> Sums:
    """What is needed of the cell. `order` 0: gradient and Hessian in the shifts; 1: W and gradient; 2: Hessian, all in (A, ξ).

    `bonds(centre)` gives the bonds (group, R, components of r); `differences(group)` the components of ξ_j − ξ_i.
    """
    d, batch, kind = A.shape[0], A.shape[2:], A.dtype
    first = 0 if order == 0 else d * d
    size = first + d * (len(crystal.species) - 1)
    F = [[A[i, j] + (1.0 if i == j else 0.0) for j in range(d)] for i in range(d)]
    value = jnp.zeros(batch, kind)
    gradient, hessian = {}, {}
    for centre, weight in crystal.shells.centres:
        site = _site(crystal, F, centre, bonds(centre), differences, order)
        if site is None:
            continue
        value = value + weight * site[0]
        for total, part in ((gradient, site[1]), (hessian, site[2])):
            for key, x in part.items():
                _add(total, key, weight * x)
    volume = crystal.volume
    zero = jnp.zeros(batch, kind)
    slope = jnp.stack([gradient.get(q, zero) for q in range(size)]) / volume if size else jnp.zeros((0, *batch), kind)
    if order == 1:
        return Sums(value / volume, slope, None)
    rows = [jnp.stack([hessian.get((min(p, q), max(p, q)), zero) for q in range(size)]) for p in range(size)]
    return Sums(value / volume, slope, jnp.stack(rows) / volume)


def _site(crystal: "Crystal", F, centre: int, bonds, differences, order: int):
    """Energy, gradient {q: value} and upper Hessian {(p, q): value} of one site."""
    potential, name, d = crystal.potential, crystal.species[centre], len(F)
    assert isinstance(potential, AbstractMomentPotential)
    first = 0 if order == 0 else d * d
    groups = []
    for group, R, r in bonds:
        if order == 0 and potential.pairwise and group.neighbour == centre:
            continue
        radial = _radial(potential, name, crystal.species[group.neighbour], sum(x * x for x in r), order)
        groups.append((group, _Group(group.neighbour, R, r, *radial)))
    if not groups:
        return None
    entries = [_entries(rank, d) for rank in potential.ranks]
    totals = [sum(column) for column in zip(*([x[0] for x in _weighed(None, _values(g, potential.ranks))] for _, g in groups))]
    packed, k = [], 0
    for entry in entries:
        packed.append(totals[k : k + len(entry)])
        k += len(entry)

    def embed(packed):
        full = tuple(_unpacked(p, rank, d) for p, rank in zip(packed, potential.ranks, strict=True))
        return potential.embed(name, full)

    site, pull = jax.vjp(embed, packed)
    slopes = pull(jnp.ones_like(site))[0]
    gradient, hessian, jacobian = {}, {}, {}
    for group, g in groups:
        own = group.neighbour == centre
        if order == 0 and own:
            continue
        parts = [_polynomial(a, rank, g.r) for a, rank in zip(slopes, potential.ranks, strict=True)]
        delta = None if own else differences(group)
        atoms = [] if own else [(first + (a - 1) * d, sign) for a, sign in ((group.neighbour, 1.0), (centre, -1.0)) if a > 0]
        _gather(F, g, parts, delta, atoms, order, potential, gradient, hessian, jacobian)
    if order != 1 and not potential.pairwise:
        _through_moments(embed, packed, jacobian, hessian)
    return site, gradient, hessian


def _gather(F, g: _Group, parts, delta, atoms, order: int, potential, gradient, hessian, jacobian) -> None:
    """Adds the sums over one group of bonds, in A and in the shifts of the `atoms` at its ends (offset, sign)."""
    d = len(F)
    weights = [None]
    if order:
        one = jnp.ones((1, g.R.shape[1]), g.R.dtype)
        linear = jnp.concatenate([one, g.R])
        weights = [linear, jnp.concatenate([linear, *(g.R[i : i + 1] * g.R[j : j + 1] for i, j in _pairs(d))])]
    shift = (lambda x, c, base: x if delta is None else x + base * delta[c])  # R becomes D = R + ξ_j − ξ_i
    force = _weighed(weights[0], _force(g, parts))
    for i in range(d):
        for c in range(d if order else 0):
            _add(gradient, i * d + c, shift(force[i][1 + c], c, force[i][0]))
    for offset, sign in atoms:
        for c in range(d):
            _add(gradient, offset + c, sign * sum(F[i][c] * force[i][0] for i in range(d)))
    if order == 1:
        return
    stiff = _weighed(weights[-1], _stiffness(g, parts))
    pairs = _pairs(d)
    place = {pair: k for k, pair in enumerate(pairs)}
    entry = lambda i, j: stiff[place[min(i, j), max(i, j)]]
    if order == 2:
        _gather_moduli(d, entry, delta, place, hessian)
    for offset, sign in atoms:
        KF = [[sum(entry(i, k)[0] * F[k][c] for k in range(d)) for c in range(d)] for i in range(d)]
        FKF = [[sum(F[i][b] * KF[i][c] for i in range(d)) for c in range(d)] for b in range(d)]
        for other, opposite in atoms:
            for b in range(d):
                for c in range(d):
                    if offset + b <= other + c:
                        _add(hessian, (offset + b, other + c), sign * opposite * FKF[b][c])
        for i in range(d if order == 2 else 0):
            for J in range(d):
                row = [shift(entry(i, k)[1 + J], J, entry(i, k)[0]) for k in range(d)]
                for c in range(d):
                    x = sum(row[k] * F[k][c] for k in range(d)) + (force[i][0] if J == c else 0.0)
                    _add(hessian, (i * d + J, offset + c), sign * x)
    if potential.pairwise:
        return
    moved = _weighed(weights[0], _moment_slopes(g, potential.ranks))
    for p in range(len(moved) // d):
        row = moved[p * d : (p + 1) * d]
        for i in range(d if order == 2 else 0):
            for J in range(d):
                _add(jacobian, (p, i * d + J), shift(row[i][1 + J], J, row[i][0]))
        for offset, sign in atoms:
            for c in range(d):
                _add(jacobian, (p, offset + c), sign * sum(F[i][c] * row[i][0] for i in range(d)))


def _gather_moduli(d: int, entry, delta, place, hessian) -> None:
    """Σ_b K_ik D_J D_L into the Hessian in A."""
    for i in range(d):
        for k in range(i, d):
            sums = entry(i, k)
            for J in range(d):
                for L in range(d):
                    if i * d + J > k * d + L:
                        continue
                    x = sums[1 + d + place[min(J, L), max(J, L)]]
                    if delta is not None:
                        x = x + sums[1 + J] * delta[L] + sums[1 + L] * delta[J] + sums[0] * delta[J] * delta[L]
                    _add(hessian, (i * d + J, k * d + L), x)


def _through_moments(embed, packed, jacobian: dict, hessian: dict) -> None:
    """Adds Jᵀ Ψ'' J, Ψ'' in the packed entries of the moments."""
    columns = sorted({q for _, q in jacobian})
    if not columns:
        return
    flat, tree = jax.tree.flatten(packed)
    stacked = jnp.stack(flat)

    def slope(stacked):
        site, pull = jax.vjp(lambda x: embed(jax.tree.unflatten(tree, list(x))), stacked)
        return pull(jnp.ones_like(site))[0]

    zero = jnp.zeros_like(flat[0])
    J = jnp.stack([jnp.stack([jacobian.get((p, q), zero) for p in range(len(flat))]) for q in columns])
    bent = jax.vmap(lambda direction: jax.jvp(slope, (stacked,), (direction,))[1])(J)
    product = jnp.sum(J[:, None] * bent[None], axis=2)
    for a, p in enumerate(columns):
        for b, q in enumerate(columns):
            if p <= q:
                _add(hessian, (p, q), product[a, b])

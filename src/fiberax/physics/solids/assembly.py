"""Energy of a crystal's cell and its derivatives in A and the shifts, for many fibers at once (spec section 3).

All arrays carry the batch of fibers in trailing axes. With D_b = R_b + ξ_j − ξ_i, r_b = F D_b and g_b = ∂E/∂r_b:

    P = Σ_b g_b ⊗ D_b / V,        ∂W/∂ξ_j = Fᵀ Σ_b g_b / V   (bonds ending in j; minus those beginning there)

For a potential in moment form only scalar functions of the squared distance are differentiated, twice; the rest are sums
over bonds with the constant weights 1, R_b and R_b ⊗ R_b, plus Ψ'' of the moments: spec section 3, facts of `moment` in
potentials/base.py. Other potentials are differentiated as they are, in as many directions as are needed.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp

from fiberax.physics.solids.potentials.base import AbstractMomentPotential

if TYPE_CHECKING:
    from fiberax.physics.solids.crystal import Crystal


def gradient_of(A):
    """F = I + A, for A (d, d, *batch)."""
    d = A.shape[0]
    return A + jnp.eye(d, dtype=A.dtype).reshape((d, d) + (1,) * (A.ndim - 2))


def all_shifts(shifts):
    """Shifts of all atoms: atom 0 has none."""
    return jnp.concatenate([jnp.zeros((1, *shifts.shape[1:]), shifts.dtype), shifts])


def _stretched(constants, batch: int):
    return constants.reshape(constants.shape + (1,) * batch)


def _bonds(crystal: "Crystal", F, shifts, centre: int, near: bool):
    """For every group of bonds from `centre`: group, reference vectors (d, n), deformed vectors (d, n, *batch)."""
    batch = F.ndim - 2
    found = []
    for number, group in crystal.shells.of(centre):
        R = crystal.shells.vectors(number, near)
        if R.shape[1] == 0:
            continue
        D = [_stretched(R[k], batch) for k in range(R.shape[0])]
        if group.neighbour != centre:
            D = [x + (shifts[group.neighbour, k] - shifts[centre, k])[None] for k, x in enumerate(D)]
        rows = [sum(F[i, k][None] * D[k] for k in range(len(D))) for i in range(len(D))]
        found.append((group, R, jnp.stack(jnp.broadcast_arrays(*rows))))
    return found


def energy(crystal: "Crystal", A, shifts, near: bool):
    """W (*batch)."""
    F, moved = gradient_of(A), all_shifts(shifts)
    if crystal.shells is None:
        return _by_lattice_sum(crystal, F, moved)
    total = jnp.zeros(A.shape[2:], A.dtype)
    for centre, weight in crystal.shells.centres:
        bonds = _bonds(crystal, F, moved, centre, near)
        names = tuple(crystal.species[group.neighbour] for group, R, _ in bonds for _ in range(R.shape[1]))
        r = jnp.concatenate([r for _, _, r in bonds], axis=1) if bonds else jnp.zeros((A.shape[0], 0, *A.shape[2:]))
        total = total + weight * crystal.potential.site_energy(crystal.species[centre], names, r)
    return total / crystal.volume


def _by_lattice_sum(crystal: "Crystal", F, moved):
    def one(F, moved):
        positions = (crystal.basis @ crystal.lattice + moved) @ F.T
        return crystal.potential.lattice_energy(crystal.lattice @ F.T, positions, crystal.species, crystal.cells)

    for _ in range(F.ndim - 2):
        one = jax.vmap(one, in_axes=-1, out_axes=-1)
    return one(F, moved) / crystal.volume


def _joined(A, shifts):
    """A and shifts as one array (q, *batch): first A row by row, then the shifts."""
    batch = A.shape[2:]
    return jnp.concatenate([A.reshape(-1, *batch), shifts.reshape(-1, *batch)])


def _parted(q, d: int):
    return q[: d * d].reshape(d, d, *q.shape[1:]), q[d * d :].reshape(-1, d, *q.shape[1:])


def gradient(crystal: "Crystal", A, shifts, near: bool):
    """W (*batch) and its gradient (q, *batch)."""
    if _assembled(crystal):
        sums = _sums(crystal, A, shifts, near, 1)
        return sums.energy, sums.gradient
    d = A.shape[0]

    def total(q):
        value = energy(crystal, *_parted(q, d), near)
        return jnp.sum(value), value

    slope, value = jax.grad(total, has_aux=True)(_joined(A, shifts))
    return value, slope


def _hessian_columns(crystal, A, shifts, near, first: int):
    d, q = A.shape[0], _joined(A, shifts)
    slope = jax.grad(lambda q: jnp.sum(energy(crystal, *_parted(q, d), near)))
    directions = jnp.eye(q.shape[0], dtype=q.dtype)[first:]

    def column(direction):
        return jax.jvp(slope, (q,), (jnp.broadcast_to(_stretched(direction, q.ndim - 1), q.shape),))[1]

    return slope(q), jnp.moveaxis(jax.vmap(column)(directions)[:, first:], 0, 1)


def shift_hessian(crystal: "Crystal", A, shifts, near: bool):
    """∂W/∂ξ (m, *batch) and ∂²W/∂ξ² (m, m, *batch), shifts in one row."""
    if _assembled(crystal):
        sums = _sums(crystal, A, shifts, near, 0)
        return sums.gradient, sums.hessian
    first = A.shape[0] ** 2
    slope, matrix = _hessian_columns(crystal, A, shifts, near, first)
    return slope[first:], matrix


def hessian(crystal: "Crystal", A, shifts, near: bool):
    """∂²W over A and shifts together (q, q, *batch)."""
    if _assembled(crystal):
        return _sums(crystal, A, shifts, near, 2).hessian
    return _hessian_columns(crystal, A, shifts, near, 0)[1]


def _assembled(crystal: "Crystal") -> bool:
    return isinstance(crystal.potential, AbstractMomentPotential) and crystal.shells is not None


class _Sums(NamedTuple):
    energy: Any
    gradient: Any
    hessian: Any


class _Group(NamedTuple):
    """Bonds of one group: powers of the distance divided out, h_k = f_k / r^rank as functions of s = r²."""

    neighbour: int
    R: Any
    r: Any
    h: tuple
    h1: tuple
    h2: tuple


def _radial(potential, centre: str, name: str, s, order: int):
    """h_k(s), and its first and second derivative as far as `order` asks."""

    def h(s):
        values = potential.radial(centre, name, jnp.sqrt(s))
        return tuple(f / (1.0, jnp.sqrt(s), s)[rank] if rank else f for f, rank in zip(values, potential.ranks, strict=True))

    one = jnp.ones_like(s)
    slope = lambda s: jax.jvp(h, (s,), (one,))
    if order < 2:
        return *slope(s), ()
    (value, first), (_, second) = jax.jvp(slope, (s,), (one,))
    return value, first, second


def _moments(potential, groups: list[_Group], d: int, batch):
    totals = [jnp.zeros((d,) * rank + batch) for rank in potential.ranks]
    for group in groups:
        for k, rank in enumerate(potential.ranks):
            h, r = group.h[k], group.r
            if rank == 0:
                part = jnp.sum(h, axis=0)
            elif rank == 1:
                part = jnp.sum(h * r, axis=1)
            else:
                part = jnp.sum((h * r)[:, None] * r[None], axis=2)
            totals[k] = totals[k] + part
    return tuple(totals)


def _bond_force(potential, slopes, group: _Group):
    """g_b = ∂E/∂r_b (d, n, *batch), E the site energy with the slopes ∂Ψ/∂S_k."""
    radial, other = 0.0, 0.0
    for k, rank in enumerate(potential.ranks):
        a = slopes[k]
        if rank == 0:
            radial = radial + 2.0 * group.h1[k] * a[None]
        elif rank == 1:
            along = jnp.sum(a[:, None] * group.r, axis=0)
            radial = radial + 2.0 * group.h1[k] * along
            other = other + group.h[k] * a[:, None]
        else:
            turned = jnp.sum(a[:, :, None] * group.r[None], axis=1)
            radial = radial + 2.0 * group.h1[k] * jnp.sum(turned * group.r, axis=0)
            other = other + 2.0 * group.h[k] * turned
    return radial * group.r + other


def _bond_stiffness(potential, slopes, group: _Group):
    """K_b = ∂²E/∂r_b² at fixed slopes (d, d, n, *batch)."""
    r, d = group.r, group.r.shape[0]
    unit = jnp.eye(d).reshape((d, d) + (1,) * (r.ndim - 1))
    total = 0.0
    for k, rank in enumerate(potential.ranks):
        a, h, h1, h2 = slopes[k], group.h[k], group.h1[k], group.h2[k]
        if rank == 0:
            amount, vector = a[None], None
        elif rank == 1:
            amount, vector = jnp.sum(a[:, None] * r, axis=0), 2.0 * h1 * a[:, None]
        else:
            turned = jnp.sum(a[:, :, None] * r[None], axis=1)
            amount, vector = jnp.sum(turned * r, axis=0), 4.0 * h1 * turned
            total = total + 2.0 * h * a[:, :, None]
        total = total + 2.0 * h1 * amount * unit + (4.0 * h2 * amount * r)[:, None] * r[None]
        if vector is not None:
            mixed = vector[:, None] * r[None]
            total = total + mixed + jnp.swapaxes(mixed, 0, 1)
    return total


def _moment_slopes(potential, group: _Group):
    """∂m_k/∂r_i (d, *rank, n, *batch) for every k, m_k the summand of S_k."""
    r, d = group.r, group.r.shape[0]
    unit = jnp.eye(d)
    found = []
    for k, rank in enumerate(potential.ranks):
        steep = 2.0 * group.h1[k] * r
        if rank == 0:
            found.append(steep)
        elif rank == 1:
            found.append(steep[:, None] * r[None] + group.h[k] * unit.reshape((d, d) + (1,) * (r.ndim - 1)))
        else:
            pair = group.h[k] * r
            mixed = unit.reshape((d, d, 1) + (1,) * (r.ndim - 1)) * pair[None, None]
            found.append(steep[:, None, None] * (r[:, None] * r[None]) + mixed + jnp.swapaxes(mixed, 1, 2))
    return found


def _weighed(values, weights, batch: int):
    """Σ_n values[..., n, *batch] weights[c, n], c placed before the batch."""
    axis = values.ndim - batch - 1
    spread = _stretched(weights, batch)
    return jnp.sum(jnp.expand_dims(values, axis) * spread, axis=axis + 1)


def _sums(crystal: "Crystal", A, shifts, near: bool, order: int) -> _Sums:
    """What is needed of the cell. `order` 0: gradient and Hessian in the shifts; 1: W and gradient in all; 2: Hessian in all."""
    d, count, batch, kind = A.shape[0], shifts.shape[0], A.shape[2:], A.dtype
    F, moved = gradient_of(A), all_shifts(shifts)
    first = 0 if order == 0 else d * d
    size = first + d * count
    value = jnp.zeros(batch, kind)
    slope = jnp.zeros((size, *batch), kind)
    matrix = jnp.zeros((size, size, *batch), kind)
    for centre, weight in crystal.shells.centres:
        potential, name = crystal.potential, crystal.species[centre]
        groups = []
        for group, R, r in _bonds(crystal, F, moved, centre, near):
            if order == 0 and potential.pairwise and group.neighbour == centre:
                continue
            radial = _radial(potential, name, crystal.species[group.neighbour], jnp.sum(r**2, axis=0), 1 if order == 1 else 2)
            groups.append(_Group(group.neighbour, R, r, *radial))
        if not groups:
            continue
        moments = _moments(potential, groups, d, batch)
        embed = lambda S, name=name: potential.embed(name, S)
        site, pull = jax.vjp(embed, moments)
        (slopes,) = pull(jnp.ones_like(site))
        value = value + weight * site
        jacobian = [jnp.zeros((size, *S.shape), kind) for S in moments]
        for group in groups:
            if order == 0 and group.neighbour == centre:
                continue
            local = _local(F, moved[group.neighbour] - moved[centre], group, potential, slopes, order)
            signs = [(atom, sign) for atom, sign in ((group.neighbour, 1.0), (centre, -1.0)) if atom > 0]
            if group.neighbour == centre:
                signs = []
            slope = slope.at[:first].add(weight * local.slope_A)
            for atom, sign in signs:
                a = slice(first + (atom - 1) * d, first + atom * d)
                slope = slope.at[a].add(weight * sign * local.slope_shift)
                if order == 1:
                    continue
                jacobian = [J.at[a].add(sign * B) for J, B in zip(jacobian, local.moment_shift, strict=True)]
                if order == 2:
                    matrix = matrix.at[:first, a].add(weight * sign * local.mixed)
                    matrix = matrix.at[a, :first].add(weight * sign * jnp.swapaxes(local.mixed, 0, 1))
                for other, opposite in signs:
                    b = slice(first + (other - 1) * d, first + other * d)
                    matrix = matrix.at[a, b].add(weight * sign * opposite * local.shift_shift)
            if order == 2:
                matrix = matrix.at[:first, :first].add(weight * local.A_A)
                jacobian = [J.at[:first].add(B) for J, B in zip(jacobian, local.moment_A, strict=True)]
        if order != 1 and not potential.pairwise:
            matrix = matrix + weight * _through_moments(embed, potential.ranks, moments, jacobian)
    volume = crystal.volume
    return _Sums(value / volume, slope / volume, matrix / volume)


def _through_moments(embed, ranks, moments, jacobian):
    """Jᵀ Ψ'' J (q, q, *batch), J = ∂S/∂q."""

    def slope(S):
        site, pull = jax.vjp(embed, S)
        return pull(jnp.ones_like(site))[0]

    bent = jax.vmap(lambda direction: jax.jvp(slope, (moments,), (direction,))[1])(tuple(jacobian))
    total = 0.0
    for J, B, rank in zip(jacobian, bent, ranks, strict=True):
        total = total + jnp.sum(J[:, None] * B[None], axis=tuple(range(2, 2 + rank)))
    return total


class _Local(NamedTuple):
    """Contributions of one group in A and δ = ξ_j − ξ_i."""

    slope_A: Any
    slope_shift: Any
    A_A: Any
    mixed: Any
    shift_shift: Any
    moment_A: Any
    moment_shift: Any


def _local(F, delta, group: _Group, potential, slopes, order: int) -> _Local:
    d, batch = F.shape[0], F.ndim - 2
    shape = F.shape[2:]
    one = jnp.ones((1, group.R.shape[1]), group.R.dtype)
    force = _bond_force(potential, slopes, group)
    if order == 0:
        weights = one
    elif order == 1:
        weights = jnp.concatenate([one, group.R])
    else:
        weights = jnp.concatenate([one, group.R, (group.R[:, None] * group.R[None]).reshape(d * d, -1)])
    total = _weighed(force, weights[: 1 + (d if order else 0)], batch)  # (d, c)
    pulled = jnp.sum(F * total[:, 0][:, None], axis=0)
    slope_A = (total[:, 1:] + total[:, 0][:, None] * delta[None]).reshape(d * d, *shape) if order else jnp.zeros((0, *shape))
    if order == 1:
        return _Local(slope_A, pulled, None, None, None, None, None)
    stiff = _weighed(_bond_stiffness(potential, slopes, group), weights, batch)  # (d, d, c)
    shift_shift = jnp.einsum("ij...,ik...,kl...->jl...", F, stiff[:, :, 0], F)
    moments = (
        []
        if potential.pairwise
        else [_weighed(m, weights[: 1 + (d if order else 0)], batch) for m in _moment_slopes(potential, group)]
    )
    if potential.pairwise:
        moment_shift = [jnp.zeros((d, *shape)) for _ in potential.ranks]
    else:
        moment_shift = [_pulled(F, m, rank) for m, rank in zip(moments, potential.ranks, strict=True)]
    if order == 0:
        return _Local(slope_A, pulled, None, None, shift_shift, None, moment_shift)
    k1 = stiff[:, :, 1 : 1 + d]
    k2 = stiff[:, :, 1 + d :].reshape(d, d, d, d, *shape)
    k0 = stiff[:, :, 0]
    kd = k1 + k0[:, :, None] * delta[None, None]  # (i, k, J): sum of K_ik D_J
    k2 = k2 + k1[:, :, :, None] * delta[None, None, None] + kd[:, :, None] * delta[None, None, :, None]
    A_A = jnp.transpose(k2, (0, 2, 1, 3, *range(4, k2.ndim))).reshape(d * d, d * d, *shape)
    mixed = jnp.einsum("ikj...,kl...->ijl...", kd, F)
    eye = jnp.eye(d).reshape((1, d, d) + (1,) * batch)
    mixed = (mixed + total[:, 0][:, None, None] * eye).reshape(d * d, d, *shape)
    moment_A = []
    for k, rank in enumerate(potential.ranks):
        if potential.pairwise:
            moment_A.append(jnp.zeros((d * d, *shape)))
            continue
        m = jnp.moveaxis(moments[k], 1 + rank, 1)  # (i, c, *rank)
        spread = delta.reshape((1, d) + (1,) * rank + shape)
        moment_A.append((m[:, 1:] + m[:, :1] * spread).reshape(d * d, *m.shape[2:]))
    return _Local(slope_A, pulled, A_A, mixed, shift_shift, moment_A, moment_shift)


def _pulled(F, m, rank: int):
    """Σ_i F_il m_i of the unweighed sums: (l, *rank, *batch)."""
    first = jnp.moveaxis(m, 1 + rank, 1)[:, 0]
    spread = F.reshape(F.shape[:2] + (1,) * rank + F.shape[2:])
    return jnp.sum(spread * first[:, None], axis=0)

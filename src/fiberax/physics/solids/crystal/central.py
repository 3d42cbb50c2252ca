"""W and its gradient for potentials of distances only (pairs, embedded atoms), through the metric C = FᵀF.

With D_b = R_b + δ, δ = ξ_j − ξ_i the same for all bonds of a group, squared distances are linear in a few numbers q of the
group with constant coefficients M, and the other way so are the sums of w_b = ∂E/∂s_b that the gradient needs:

    s_b = D_bᵀ C D_b = (M q)_b,   q = (C_JL, 2 (C δ)_J, δᵀ C δ),   M_b = (R_J R_L, R_J, 1)
    ∂E/∂F = 2 F Σ_b w_b D_b ⊗ D_b,                                 ∂E/∂δ = 2 C Σ_b w_b D_b

Two products with a constant matrix for each group; nothing of the size of the bonds is differentiated but h(s).
"""

import functools

import jax
import jax.numpy as jnp

from fiberax.physics.solids.crystal.batching import together
from fiberax.physics.solids.crystal.unit_cell import UnitCell
from fiberax.physics.solids.potentials.base import AbstractMomentPotential


def _coefficients(R, shifted: bool):
    """M (n, c) for reference vectors R (d, n); products off the diagonal represent two entries of C."""
    d = R.shape[0]
    rows = [R[i] * R[j] * (1.0 if i == j else 2.0) for i in range(d) for j in range(i, d)]
    if shifted:
        rows += [*R, jnp.ones_like(R[0])]
    return jnp.stack(rows, axis=1)


def _full(upper, d: int):
    """Σ w R_J R_L (d, d, *batch) from its upper triangle, in which the entries off the diagonal are doubled."""
    place = {(i, j): k for k, (i, j) in enumerate((i, j) for i in range(d) for j in range(i, d))}
    entry = lambda i, j: upper[place[min(i, j), max(i, j)]] * (1.0 if i == j else 0.5)
    return jnp.stack([jnp.stack([entry(i, j) for j in range(d)]) for i in range(d)])


def _numbers(C, upper, delta):
    """The numbers q (c, *batch) of a group; `delta` is None within one sublattice."""
    if delta is None:
        return upper
    pulled = jnp.sum(C * delta[None], axis=1)
    return jnp.concatenate([upper, 2.0 * pulled, jnp.sum(pulled * delta, axis=0)[None]])


def _radial(potential: AbstractMomentPotential, pair: tuple[str, str], s):
    """h_k of the squared distances `s`, and h_k'."""
    return jax.jvp(lambda s: potential.radial(*pair, jnp.sqrt(s)), (s,), (jnp.ones_like(s),))


def central_gradient(cell: UnitCell, F, moved, near: bool):
    """W (*batch) and its gradients in F (d, d, *batch) and in the shifts `moved` of all atoms (n, d, *batch)."""
    shells, potential, d, batch = cell.shells, cell.potential, F.shape[0], F.shape[2:]
    assert shells is not None and isinstance(potential, AbstractMomentPotential)
    C = jnp.sum(F[:, :, None] * F[:, None], axis=0)
    upper = jnp.stack([C[i, j] for i in range(d) for j in range(i, d)])
    energy, products, by_shift = jnp.zeros(batch, F.dtype), jnp.zeros_like(upper), [jnp.zeros_like(F[0])] * moved.shape[0]
    dyads = jnp.zeros_like(F)  # the terms of Σ w D ⊗ D other than Σ w R ⊗ R
    groups, squares = [], []
    for group, R in zip(shells.groups, (shells.vectors(k, near) for k in range(len(shells.groups))), strict=True):
        delta = None if group.neighbour == group.centre else moved[group.neighbour] - moved[group.centre]
        M = _coefficients(R, delta is not None)
        squares.append((M @ _numbers(C, upper, delta).reshape(M.shape[1], -1)).reshape(-1, *batch))
        groups.append((group, delta, M))
    pairs = [(cell.species[group.centre], cell.species[group.neighbour]) for group, *_ in groups]
    radial = together(functools.partial(_radial, potential), pairs, squares)
    for centre, weight in shells.centres:
        name = cell.species[centre]
        terms = [(*g[1:], *h) for g, h in zip(groups, radial, strict=True) if g[0].centre == centre]
        ends = [g[0].neighbour for g in groups if g[0].centre == centre]
        sums = tuple(sum(jnp.sum(h[k], axis=0) for *_, h, _ in terms) for k in range(len(potential.ranks)))
        site, pull = jax.vjp(functools.partial(potential.embed, name), sums)
        energy = energy + weight * site
        pulled = pull(jnp.full_like(site, weight))[0]
        for neighbour, (delta, M, _, slopes) in zip(ends, terms, strict=True):
            w = jnp.asarray(sum(a[None] * slope for a, slope in zip(pulled, slopes, strict=True)))
            t = (M.T @ w.reshape(M.shape[0], -1)).reshape(-1, *batch)
            products = products + t[: upper.shape[0]]
            if delta is None:
                continue
            linear, count = t[upper.shape[0] : -1], t[-1]  # Σ w R, Σ w
            mixed = linear[:, None] * delta[None]
            dyads = dyads + mixed + jnp.swapaxes(mixed, 0, 1) + count * delta[:, None] * delta[None]
            force = 2.0 * jnp.sum(C * (linear + count * delta)[None], axis=1)
            by_shift[neighbour] = by_shift[neighbour] + force
            by_shift[centre] = by_shift[centre] - force
    by_F = 2.0 * jnp.sum(F[:, :, None] * (_full(products, d) + dyads)[None], axis=1)
    return energy / cell.volume, by_F / cell.volume, jnp.stack(by_shift) / cell.volume

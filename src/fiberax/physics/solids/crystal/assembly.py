"""Energy of a crystal's cell and its derivatives in A and the shifts, for many fibers at once.

All arrays carry the batch of fibers in trailing axes. With D_b = R_b + ξ_j − ξ_i, r_b = F D_b and g_b = ∂E/∂r_b:

    P = Σ_b g_b ⊗ D_b / V,        ∂W/∂ξ_j = Fᵀ Σ_b g_b / V   (bonds ending in j; minus those beginning there)

For a potential in moment form only scalar functions of the squared distance are differentiated, twice; the rest are sums
over bonds with the constant weights 1, R_b and R_b ⊗ R_b, plus Ψ'' of the moments, see `moment` in potentials/base.py. Where
only distances enter, central.py computes W and the gradient in a shorter way. Other potentials are differentiated as they are,
in as many directions as are needed. Cells of many atoms have sums of their own (large_cell.py). Where a potential has several
parts, these are added, each with its short lists or its long ones.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from fiberax.core.bundle import describe_shapes
from fiberax.core.errors import Mismatch
from fiberax.numerics.small import solve_positive
from fiberax.physics.solids.crystal import large_cell
from fiberax.physics.solids.crystal.central import central_gradient
from fiberax.physics.solids.crystal.moments import moment_sums
from fiberax.physics.solids.crystal.unit_cell import UnitCell, all_shifts, gradient_of
from fiberax.physics.solids.potentials.base import AbstractMomentPotential


def check_gradient(name: str, condition, d: int) -> None:
    """Raise `Mismatch` unless `condition` has the shape of a displacement gradient; None (no condition) passes."""
    if condition is None:
        return
    leaves = jax.tree.leaves(condition)
    alone = len(leaves) == 1 and leaves[0] is condition
    if alone and jnp.shape(condition) == (d, d):
        return
    shape = tuple(jnp.shape(condition)) if alone else describe_shapes(condition)
    square = alone and len(shape) == 2 and shape[0] == shape[1]
    advice = f"A batch is one array (n, {d}, {d}), for fx.responses."
    if square:
        advice = f"A body in {shape[0]} dimensions needs a crystal in {shape[0]} dimensions."
    raise Mismatch(f"{name}: the condition is a displacement gradient A ({d}, {d}); it has the shape {shape}. {advice}")


def _stretched(constants, batch: int):
    return constants.reshape(constants.shape + (1,) * batch)


def _bonds(cell: UnitCell, F, shifts, centre: int, near: bool):
    """For every group of bonds from `centre`: group, reference vectors (d, n), components of the deformed ones (n, *batch)."""
    batch, shells = F.ndim - 2, cell.shells
    assert shells is not None
    found = []
    for number, group in shells.of(centre):
        R = shells.vectors(number, near)
        if R.shape[1] == 0:
            continue
        D = [_stretched(R[k], batch) for k in range(R.shape[0])]
        if group.neighbour != centre:
            D = [x + (shifts[group.neighbour, k] - shifts[centre, k])[None] for k, x in enumerate(D)]
        found.append((group, R, [sum(F[i, k][None] * D[k] for k in range(len(D))) for i in range(len(D))]))
    return found


def energy(cell: UnitCell, A, shifts, near: bool):
    """W (*batch)."""
    if cell.lists:
        return _over_parts(energy, cell, A, shifts, near)
    if cell.neighbours is not None:
        return large_cell.energy(cell, A, shifts, near)
    F, moved = gradient_of(A), all_shifts(shifts)
    if cell.shells is None:
        return _by_lattice_sum(cell, F, moved)
    total = jnp.zeros(A.shape[2:], A.dtype)
    for centre, weight in cell.shells.centres:
        bonds = _bonds(cell, F, moved, centre, near)
        names = tuple(cell.species[group.neighbour] for group, R, _ in bonds for _ in range(R.shape[1]))
        r = jnp.concatenate([jnp.stack(r) for _, _, r in bonds], axis=1) if bonds else jnp.zeros((A.shape[0], 0, *A.shape[2:]))
        total = total + weight * cell.potential.site_energy(cell.species[centre], names, r)
    return total / cell.volume


def _by_lattice_sum(cell: UnitCell, F, moved):
    def one(F, moved):
        positions = (cell.basis @ cell.lattice + moved) @ F.T
        return cell.potential.lattice_energy(cell.lattice @ F.T, positions, cell.species, cell.cells)

    for _ in range(F.ndim - 2):
        one = jax.vmap(one, in_axes=-1, out_axes=-1)
    return one(F, moved) / cell.volume


def _joined(A, shifts):
    """A and shifts as one array (q, *batch): first A row by row, then the shifts."""
    batch = A.shape[2:]
    return jnp.concatenate([A.reshape(-1, *batch), shifts.reshape(-1, *batch)])


def _parted(q, d: int):
    return q[: d * d].reshape(d, d, *q.shape[1:]), q[d * d :].reshape(-1, d, *q.shape[1:])


def gradient(cell: UnitCell, A, shifts, near: bool):
    """W (*batch) and its gradient (q, *batch)."""
    if cell.lists:
        return _over_parts(gradient, cell, A, shifts, near)
    if cell.neighbours is not None:
        return large_cell.gradient(cell, A, shifts, near)
    if is_central(cell):
        value, by_F, by_shifts = central_gradient(cell, gradient_of(A), all_shifts(shifts), near)
        return value, _joined(by_F, by_shifts[1:])
    if _assembled(cell):
        sums = _by_moments(cell, A, shifts, near, 1)
        return sums.energy, sums.gradient
    d = A.shape[0]

    def total(q):
        value = energy(cell, *_parted(q, d), near)
        return jnp.sum(value), value

    slope, value = jax.grad(total, has_aux=True)(_joined(A, shifts))
    return value, slope


def _over_parts(function: Callable, cell: UnitCell, A, shifts, near) -> Any:
    """Sum of `function` over the parts of the potential."""
    found = [part.shortlisted(function, A, shifts, near) for part in cell.parts]
    return jax.tree.map(lambda *values: sum(values), *found)


def _hessian_columns(cell: UnitCell, A, shifts, near, first: int):
    d, q = A.shape[0], _joined(A, shifts)
    slope = jax.grad(lambda q: jnp.sum(energy(cell, *_parted(q, d), near)))
    directions = jnp.eye(q.shape[0], dtype=q.dtype)[first:]

    def column(direction):
        return jax.jvp(slope, (q,), (jnp.broadcast_to(_stretched(direction, q.ndim - 1), q.shape),))[1]

    return slope(q), jnp.moveaxis(jax.vmap(column)(directions)[:, first:], 0, 1)


def shift_hessian(cell: UnitCell, A, shifts, near: bool):
    """∂W/∂ξ (m, *batch) and ∂²W/∂ξ² (m, m, *batch), shifts in one row."""
    if cell.lists:
        return _over_parts(shift_hessian, cell, A, shifts, near)
    if cell.neighbours is not None:  # a part of a sum; by itself a large cell is never asked for this matrix
        first = A.shape[0] ** 2
        return gradient(cell, A, shifts, near)[1][first:], hessian(cell, A, shifts, near)[first:, first:]
    if _assembled(cell):
        sums = _by_moments(cell, A, shifts, near, 0)
        return sums.gradient, sums.hessian
    first = A.shape[0] ** 2
    slope, matrix = _hessian_columns(cell, A, shifts, near, first)
    return slope[first:], matrix


def hessian(cell: UnitCell, A, shifts, near: bool):
    """∂²W over A and shifts together (q, q, *batch)."""
    if cell.lists:
        return _over_parts(hessian, cell, A, shifts, near)
    if cell.neighbours is not None:
        return large_cell.hessian(cell, A, shifts, near)
    if _assembled(cell):
        return _by_moments(cell, A, shifts, near, 2).hessian
    return _hessian_columns(cell, A, shifts, near, 0)[1]


def relaxed_moduli(hessian, A):
    """The Schur complement (d, d, d, d, *batch) of the Hessian in A and shifts."""
    d, batch = A.shape[0], A.shape[2:]
    k = d * d
    moduli, coupling, inner = hessian[:k, :k], hessian[k:, :k], hessian[k:, k:]
    if hessian.shape[0] > k:
        moduli = moduli - jnp.einsum("mp...,mq...->pq...", coupling, solve_positive(inner, coupling)[0])
    return moduli.reshape(d, d, d, d, *batch)


def moduli(cell: UnitCell, A, shifts, near: bool):
    """dP/dA with shifts that follow (d, d, d, d, *batch)."""
    if cell.neighbours is not None:
        return large_cell.relaxed_moduli(cell, A, shifts, near)
    return relaxed_moduli(hessian(cell, A, shifts, near), A)


def _by_moments(cell: UnitCell, A, shifts, near: bool, order: int):
    F, moved = gradient_of(A), all_shifts(shifts)
    differences = lambda group: moved[group.neighbour] - moved[group.centre]
    bonds = lambda centre: [(g, R, jnp.stack(r, axis=1)) for g, R, r in _bonds(cell, F, moved, centre, near)]
    return moment_sums(cell, A, bonds, differences, order)


def _assembled(cell: UnitCell) -> bool:
    return isinstance(cell.potential, AbstractMomentPotential) and cell.shells is not None


def is_central(cell: UnitCell) -> bool:
    """Whether W and its gradient are those of `central.py`."""
    potential = cell.potential
    return _assembled(cell) and isinstance(potential, AbstractMomentPotential) and not any(potential.ranks)

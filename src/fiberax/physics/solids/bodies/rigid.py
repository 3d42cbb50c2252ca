"""Motions of a body as a whole: those that no support holds, and loads that move it."""

import numpy as np

from fiberax.grids.mesh import Mesh
from fiberax.grids.pieces import first_place, pieces

_BALANCED = 1e-8  # of the loads: a sum below that is round-off
_LOST = 1e-9  # of the largest entry: what is left of a motion that supports hold


def rigid_modes(places: np.ndarray) -> np.ndarray:
    """Translations and rotations (nodes, dim, modes)."""
    count, dim = places.shape
    modes = [np.tile(np.eye(dim)[k], (count, 1)) for k in range(dim)]
    centred = places - places.mean(axis=0)
    for i in range(dim):
        for j in range(i):
            turn = np.zeros((count, dim))
            turn[:, i], turn[:, j] = centred[:, j], -centred[:, i]
            modes.append(turn)
    return np.stack(modes, axis=-1)


def pins(mesh: Mesh, held: np.ndarray) -> np.ndarray:
    """Unknowns which, held at zero, keep every piece of a body from moving as a whole; as few as that takes.

    Args:
        mesh: The mesh.
        held: Whether a displacement is prescribed, (nodes, dim).

    Returns:
        Their numbers in `held.ravel()`: the first of each direction in which nothing is held, then of the rotations that are
        left, one after the other, the unknown that they move farthest.
    """
    modes = rigid_modes(mesh.points / max(float(np.ptp(mesh.points, axis=0).max()), np.finfo(float).tiny))
    of_unknowns = modes[mesh.representatives]
    # Rotations of a periodic body do not fit its other sides.
    torn = np.abs(modes - of_unknowns[mesh.unknowns]).reshape(-1, modes.shape[-1])
    part, found = pieces(mesh), []
    for number in np.unique(part[mesh.unknowns[mesh.cells]]):
        own = np.flatnonzero(part == number)
        fixed, places = held[own], own[:, None] * mesh.dim + np.arange(mesh.dim)
        rows = of_unknowns[own]
        gaps = torn[np.isin(part[mesh.unknowns], number).repeat(mesh.dim)]
        free = _null(np.concatenate([rows[fixed], gaps]), np.eye(modes.shape[-1]))
        moved, wanted = rows.reshape(-1, modes.shape[-1]), places.ravel()
        for k in np.flatnonzero(~fixed.any(axis=0)):
            found.append(places[0, k])
            free = _null(rows[0, k][None], free)
        while free.shape[1]:
            farthest = int(np.argmax(np.linalg.norm(moved @ free, axis=1) * ~held.ravel()[wanted]))
            found.append(wanted[farthest])
            free = _null(moved[farthest][None], free)
    return np.array(found, int)


def _null(rows: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """The combinations of the columns of `basis` on which all rows vanish."""
    if not len(rows) or not basis.shape[1]:
        return basis
    values, vectors = np.linalg.svd(rows @ basis)[1:]
    rank = int(np.sum(values > _LOST * max(np.abs(rows).max(), np.finfo(float).tiny)))
    return basis @ vectors[rank:].T


def unbalanced(mesh: Mesh, held: np.ndarray, applied: np.ndarray) -> str | None:
    """In words, the sum of the loads along a direction in which nothing holds a piece of a body; None where all are zero.

    Args:
        mesh: The mesh.
        held: Whether a displacement is prescribed, (nodes, dim).
        applied: Forces of the loads on the nodes, (nodes, dim).
    """
    part = pieces(mesh)
    numbers = np.unique(part[mesh.unknowns[mesh.cells]])
    for number in numbers:
        own = part == number
        for k in np.flatnonzero(~held[own].any(axis=0)):
            total, size = float(np.sum(applied[own, k])), float(np.sum(np.abs(applied[own])))
            if np.isfinite(size) and abs(total) > _BALANCED * size:
                axis = "xyz"[k]
                where = "body" if len(numbers) == 1 else f"piece of the mesh with a node at ({first_place(mesh, part, number)})"
                return (
                    f"there is no equilibrium: nothing holds the {where} along {axis}, and the loads along {axis} sum to "
                    f"{total:.6g} and not 0. Hold a side along {axis} (fixed=, displacement=), or balance the loads."
                )
    return None

"""Symmetry of an elastic tensor, from the tensor alone.

There are eight classes in space (Chadwick, Vianello, Cowin, J. Mech. Phys. Solids 49, 2471 (2001)), each told by its planes of
mirror symmetry, and four in the plane. Mirrors are found by least squares from directions all over the sphere; all else is a
test of the tensor's own invariance. The tensor of a lattice does not know which atoms make it: point groups of one class, such
as 3m and 32, give the same.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from fiberax.physics.solids.crystal.ellipticity import directions

_SEEDS = {2: 90, 3: 400}
_ROUNDS = 12
_APART = np.cos(np.radians(5.0))  # directions nearer than this are one
_X, _Y, _Z = np.eye(3)

PAIRS = {2: [(0, 0), (1, 1), (0, 1)], 3: [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]}

# The constants that are left, in the axes of the class, by their indices in Voigt's notation.
_ALL = tuple(f"{i}{j}" for i in range(1, 7) for j in range(i, 7))
INDEPENDENT = {
    "isotropic": ("11", "12"),
    "cubic": ("11", "12", "44"),
    "hexagonal": ("11", "12", "13", "33", "44"),
    "tetragonal": ("11", "12", "13", "33", "44", "66"),
    "trigonal": ("11", "12", "13", "14", "33", "44"),
    "orthorhombic": ("11", "22", "33", "12", "13", "23", "44", "55", "66"),
    "monoclinic": ("11", "22", "33", "12", "13", "23", "44", "55", "66", "15", "25", "35", "46"),
    "triclinic": _ALL,
    "square": ("11", "12", "66"),
    "rectangular": ("11", "22", "12", "66"),
    "oblique": ("11", "22", "12", "66", "16", "26"),
}


class Symmetry(NamedTuple):
    """Class of a tensor, its axes (d, d) as rows, and the tensor in those axes, averaged over the symmetries."""

    name: str
    axes: np.ndarray
    moduli: np.ndarray


def mandel_basis(d: int) -> np.ndarray:
    """An orthonormal basis of the symmetric matrices (d (d + 1)/2, d, d), in Voigt's order."""
    basis = np.zeros((len(PAIRS[d]), d, d))
    for place, (i, j) in enumerate(PAIRS[d]):
        basis[place, i, j] = basis[place, j, i] = 1.0 if i == j else 0.5**0.5
    return basis


def turned(moduli: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """R_ia R_jb R_kc R_ld C_abcd."""
    for axis in range(4):
        moduli = np.moveaxis(np.tensordot(rotation, moduli, (1, axis)), 0, axis)
    return moduli


def about(axis: np.ndarray, angle: float) -> np.ndarray:
    """Rotation about a unit vector (3,)."""
    x, y, z = axis
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + np.sin(angle) * cross + (1.0 - np.cos(angle)) * cross @ cross


def symmetry_of(moduli: np.ndarray, tolerance: float) -> Symmetry:
    """The class of a tensor (d, d, d, d) with all symmetries of elastic constants.

    `tolerance`: by how much it may change under a symmetry, relative to its norm.
    """
    d = len(moduli)
    size = np.linalg.norm(moduli)
    if not size > 0.0 or not np.isfinite(size):
        return Symmetry("triclinic" if d == 3 else "oblique", np.eye(d), moduli)
    tensor = moduli / size
    keeps = lambda rotation: bool(np.linalg.norm(turned(tensor, rotation) - tensor) <= tolerance)
    name, frames, generators = _class_in_plane(tensor, keeps, tolerance) if d == 2 else _class(tensor, keeps, tolerance)
    axes = max(frames, key=lambda frame: round(float(np.trace(frame)), 6))
    own = turned(moduli, axes)
    group = _group(generators, d)
    return Symmetry(name, axes, np.mean([turned(own, g) for g in group], axis=0) if group else _isotropic(own))


def mirrors(tensor: np.ndarray, tolerance: float) -> np.ndarray:
    """Unit normals (n, d) of the planes of symmetry of a tensor of norm 1; of very many, a selection."""
    d = len(tensor)
    basis = mandel_basis(d)
    matrix = np.einsum("aij,ijkl,bkl->ab", basis, tensor, basis)
    normals = directions(d, _SEEDS[d]).T

    def change(n):
        reflection = np.eye(d) - 2.0 * n[:, :, None] * n[:, None, :]
        moved = np.einsum("pik,bkl,pjl->pbij", reflection, basis, reflection, optimize=True)
        q = np.einsum("aij,pbij->pab", basis, moved, optimize=True)
        return (q @ matrix @ np.swapaxes(q, 1, 2) - matrix).reshape(len(n), -1)

    for _ in range(_ROUNDS):
        tangents = np.linalg.svd(normals[:, None, :])[2][:, 1:]
        h = 1e-5
        slopes = [(change(_unit(normals + h * t)) - change(_unit(normals - h * t))) / (2 * h) for t in tangents.swapaxes(0, 1)]
        step = np.einsum("pab,pb->pa", np.linalg.pinv(np.stack(slopes, axis=-1), rcond=1e-6), -change(normals))
        step *= np.minimum(1.0, 0.2 / np.maximum(np.linalg.norm(step, axis=1), 1e-300))[:, None]
        normals = _unit(normals + np.einsum("pa,pad->pd", step, tangents))
    error = np.linalg.norm(change(normals), axis=1)
    found: list[np.ndarray] = []
    for k in np.argsort(error, kind="stable"):
        if error[k] <= tolerance and all(abs(normals[k] @ other) < _APART for other in found):
            found.append(normals[k])
    return np.array(found).reshape(-1, d)


def _class(tensor, keeps, tolerance: float):
    """Name, possible frames and generators of the symmetries (in the frame; none: all rotations) in space."""
    if keeps(about(_X, 1.0)) and keeps(about(_Y, 1.0)):
        return "isotropic", [np.eye(3)], []
    normals = mirrors(tensor, tolerance)
    free = [n for n in normals if keeps(about(n, 1.0))]
    if free:
        across = [_unit(v - (v @ free[0]) * free[0]) for v in (_X, _Y, _Z) if abs(v @ free[0]) < 0.9]
        return "hexagonal", _frames(free[:1], across), [about(_Z, np.pi / 3), about(_X, np.pi)]
    fourfold = [n for n in normals if keeps(about(n, np.pi / 2))]
    if len(fourfold) == 3:
        return "cubic", _frames(fourfold, fourfold), [about(_Z, np.pi / 2), about(_X, np.pi / 2)]
    if fourfold:
        return "tetragonal", _frames(fourfold[:1], normals), [about(_Z, np.pi / 2), about(_X, np.pi)]
    crossed = [_unit(np.cross(a, b)) for k, a in enumerate(normals) for b in normals[:k]]
    threefold = [axis for axis in crossed if keeps(about(axis, 2 * np.pi / 3))]
    if threefold:
        return "trigonal", _frames(threefold[:1], normals), [about(_Z, 2 * np.pi / 3), about(_X, np.pi)]
    if len(normals) >= 3:
        return "orthorhombic", _frames(normals, normals), [about(_Z, np.pi), about(_X, np.pi)]
    if len(normals):
        near = min((_X, _Z), key=lambda v: abs(v @ normals[0]))
        x = _unit(near - (near @ normals[0]) * normals[0])
        across = [x, np.cross(x, normals[0])]
        return "monoclinic", [np.array([s, n, np.cross(s, n)]) for n in (normals[0], -normals[0]) for x in across
                              for s in (x, -x)], [about(_Y, np.pi)]  # fmt: skip
    return "triclinic", [np.eye(3)], [np.eye(3)]


def _class_in_plane(tensor, keeps, tolerance: float):
    by = lambda angle: about(_Z, angle)[:2, :2]
    if keeps(by(1.0)):
        return "isotropic", [np.eye(2)], []
    normals = mirrors(tensor, tolerance)
    frames = [np.array([n, by(np.pi / 2) @ n]) for n in [*normals, *-normals]] or [np.eye(2)]
    mirror = np.diag([-1.0, 1.0])
    if len(normals) and keeps(by(np.pi / 2)):
        return "square", frames, [mirror, by(np.pi / 2)]
    return ("rectangular", frames, [mirror]) if len(normals) else ("oblique", frames, [np.eye(2)])


def _frames(third: Iterable[np.ndarray], first: Iterable[np.ndarray]) -> list[np.ndarray]:
    """Right-handed frames with their z along one of `third` and x along one of `first`, where these are perpendicular."""
    found = []
    for z in third:
        for x in first:
            if abs(x @ z) < 1e-2:
                right = _unit(x - (x @ z) * z)
                found += [np.array([s * right, t * s * np.cross(z, right), t * z]) for s in (1, -1) for t in (1, -1)]
    return found


def _group(generators: list[np.ndarray], d: int) -> list[np.ndarray]:
    """All products of the generators; none for none."""
    group = [np.eye(d)] if generators else []
    for element in group:  # which grows meanwhile
        for g in generators:
            product = g @ element
            if not any(np.allclose(product, other, atol=1e-9) for other in group):
                group.append(product)
    return group


def _isotropic(moduli: np.ndarray) -> np.ndarray:
    """The mean over all rotations."""
    d = len(moduli)
    unit = np.eye(d)
    spherical = np.einsum("ij,kl->ijkl", unit, unit) / d
    symmetric = 0.5 * (np.einsum("ik,jl->ijkl", unit, unit) + np.einsum("il,jk->ijkl", unit, unit))
    deviatoric = symmetric - spherical
    parts = [np.sum(part * moduli) / np.sum(part * part) * part for part in (spherical, deviatoric)]
    return parts[0] + parts[1]


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)

"""What the elastic constants of a crystal at rest say: symmetry, moduli along directions, averages, stability.

Averages: W. Voigt, Lehrbuch der Kristallphysik (1910); A. Reuss, ZAMM 9, 49 (1929); R. Hill, Proc. Phys. Soc. A 65, 349 (1952).
Stability: M. Born, K. Huang, Dynamical Theory of Crystal Lattices (1954), by the eigenvalues of the stiffness.
"""

from typing import NamedTuple

import numpy as np
from jax.typing import ArrayLike

from fiberax.core.errors import BadInput
from fiberax.physics.solids.crystal.symmetry import INDEPENDENT, PAIRS, mandel_basis, symmetry_of


class Averages(NamedTuple):
    """A modulus of an aggregate of grains in all directions: its upper bound, its lower bound and the mean of both."""

    voigt: float
    reuss: float
    hill: float


class ElasticConstants(NamedTuple):
    """Elastic constants and what follows from them, in the unit of the moduli.

    Args:
        moduli: C_ijkl in the frame in which it was given, made symmetric, (d, d, d, d).
        symmetry: Class of the tensor: "isotropic", "cubic", "hexagonal" (transversely isotropic), "tetragonal", "trigonal",
            "orthorhombic", "monoclinic", "triclinic"; in the plane "isotropic", "square", "rectangular", "oblique".
        axes: Axes x, y, z of that class as rows, in the given frame, those nearest to it. z is the axis of threefold, fourfold
            or sixfold symmetry; x of trigonal ones is across a mirror; y of monoclinic ones is the twofold axis.
        independent: The independent constants in those axes, "C11" and so on, averaged over the symmetry.
        bulk: Bulk modulus.
        shear: Shear modulus.
        eigenvalues: Of the stiffness, ascending: Born's criterion asks all to be positive.
    """

    moduli: np.ndarray
    symmetry: str
    axes: np.ndarray
    independent: dict[str, float]
    bulk: Averages
    shear: Averages
    eigenvalues: np.ndarray

    @property
    def stable(self) -> bool:
        """Whether every eigenvalue of the stiffness is positive."""
        return bool(self.eigenvalues[0] > 0.0)

    @property
    def voigt(self) -> np.ndarray:
        """The constants as a matrix, order xx, yy, zz, yz, xz, xy (two dimensions: xx, yy, xy)."""
        return voigt(self.moduli)

    def young(self, direction: ArrayLike) -> float:
        """Young's modulus: stress over strain where a bar along `direction` (d,), of any length, is pulled."""
        n = _direction(direction, len(self.moduli))
        return 1.0 / float(_along(_compliance(self.moduli), n, n))

    def poisson(self, direction: ArrayLike, lateral: ArrayLike | None = None) -> float:
        """Poisson's ratio of that bar.

        Args:
            direction: Of the bar, (d,), of any length.
            lateral: Across it, (d,); None for the mean over all directions across.

        Returns:
            The contraction along `lateral` over the extension along `direction`.

        Raises:
            BadInput: Directions that are not perpendicular.
        """
        d = len(self.moduli)
        n, compliance = _direction(direction, d), _compliance(self.moduli)
        strain = np.einsum("ijkl,k,l->ij", compliance, n, n)
        if lateral is None:
            return float((1.0 - np.trace(strain) / (n @ strain @ n)) / (d - 1))
        m = _direction(lateral, d)
        if abs(m @ n) > 1e-6:
            raise BadInput(f"poisson: {np.asarray(lateral).tolist()} is not across {np.asarray(direction).tolist()}.")
        return float(-(m @ strain @ m) / (n @ strain @ n))


def elastic_constants(moduli: ArrayLike, tolerance: float = 1e-4) -> ElasticConstants:
    """Symmetry, independent constants, averages and stability of an elastic tensor.

    Args:
        moduli: C of a crystal without stress, (d, d, d, d), as `equilibrium(...).elastic`; or its matrix, (6, 6) or (3, 3), in
            Voigt's order xx, yy, zz, yz, xz, xy or xx, yy, xy.
        tolerance: The change, relative to the norm of the tensor, up to which a rotation or mirror counts as a symmetry.

    Returns:
        An `ElasticConstants`. Averages and moduli along directions are NaN where the stiffness has no inverse.

    Raises:
        BadInput: An array of another shape, or with entries that are not finite.
    """
    given = _tensor(np.asarray(moduli, float))
    basis = mandel_basis(len(given))
    matrix = np.einsum("aij,ijkl,bkl->ab", basis, given, basis)
    matrix = 0.5 * (matrix + matrix.T)
    C = np.einsum("ab,aij,bkl->ijkl", matrix, basis, basis)
    found = symmetry_of(C, tolerance)
    own, order = voigt(found.moduli), "123456" if len(C) == 3 else "126"
    names = INDEPENDENT[found.name]
    independent = {f"C{name}": float(own[order.index(name[0]), order.index(name[1])]) for name in names}
    bulk, shear = _averages(C)
    return ElasticConstants(C, found.name, found.axes, independent, bulk, shear, np.linalg.eigvalsh(matrix))


def voigt(moduli) -> np.ndarray:
    """(d, d, d, d) as a (6, 6) or (3, 3) matrix."""
    pairs = PAIRS[len(moduli)]
    return np.asarray([[moduli[i][j][k][n] for k, n in pairs] for i, j in pairs])


def _tensor(given: np.ndarray) -> np.ndarray:
    if given.shape in ((6, 6), (3, 3)):
        d = 3 if len(given) == 6 else 2
        place = np.zeros((d, d), int)
        for k, (i, j) in enumerate(PAIRS[d]):
            place[i, j] = place[j, i] = k
        given = given[place[:, :, None, None], place[None, None]]
    if given.shape not in ((2,) * 4, (3,) * 4):
        raise BadInput(
            f"elastic_constants: moduli must be (d, d, d, d), or a matrix (6, 6) or (3, 3); the shape is {given.shape}."
        )
    if not np.all(np.isfinite(given)):
        raise BadInput(f"elastic_constants: moduli is not finite at index {np.argwhere(~np.isfinite(given))[0].tolist()}.")
    return given


def _compliance(moduli: np.ndarray) -> np.ndarray:
    """S of ε = S σ, NaN where the stiffness has no inverse."""
    basis = mandel_basis(len(moduli))
    matrix = np.einsum("aij,ijkl,bkl->ab", basis, moduli, basis)
    values = np.abs(np.linalg.eigvalsh(matrix))
    singular = not values.min() > 1e-12 * values.max()
    inverse = np.full(matrix.shape, np.nan) if singular else np.linalg.inv(matrix)
    return np.einsum("ab,aij,bkl->ijkl", inverse, basis, basis)


def _averages(C: np.ndarray) -> tuple[Averages, Averages]:
    """Bulk and shear moduli: the two invariants of stiffness and compliance."""
    d, S = len(C), _compliance(C)
    deviators = d * (d + 1) / 2 - 1
    traces = [(np.einsum("iijj", tensor), np.einsum("ijij", tensor)) for tensor in (C, S)]
    (volume, whole), (soft, loose) = traces
    bulk = volume / d**2, 1.0 / soft
    shear = 0.5 * (whole - volume / d) / deviators, 0.5 * deviators / (loose - soft / d)
    made = [Averages(float(upper), float(lower), float(0.5 * (upper + lower))) for upper, lower in (bulk, shear)]
    return made[0], made[1]


def _along(tensor: np.ndarray, n: np.ndarray, m: np.ndarray) -> np.ndarray:
    return np.einsum("ijkl,i,j,k,l->", tensor, n, n, m, m)


def _direction(given: ArrayLike, d: int) -> np.ndarray:
    n = np.asarray(given, float)
    if n.shape != (d,) or not np.all(np.isfinite(n)) or not np.any(n):
        raise BadInput(f"A direction must be {d} numbers, not all zero; it is {n.tolist()}.")
    return n / np.linalg.norm(n)

"""Results of electronic fibers: density, chemical potential, levels and bands, localised orbitals."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Complex, Float

from fiberax.core.errors import BadInput, Mismatch
from fiberax.core.fiber import AbstractFiber
from fiberax.core.link import AbstractWrapper
from fiberax.core.platform import check_platform, need_double
from fiberax.drivers.respond import response
from fiberax.physics.solids.electrons import bloch, fourier
from fiberax.physics.solids.electrons import hamiltonian as h
from fiberax.physics.solids.electrons.kohn_sham import KohnSham
from fiberax.physics.solids.electrons.occupations import occupied
from fiberax.physics.solids.electrons.rest import electrons_of
from fiberax.physics.solids.electrons.spectrum import matrix
from fiberax.physics.solids.electrons.thomas_fermi import ThomasFermi

_TOLERANCE = 1e-10


class Levels(NamedTuple):
    """Bands at the points k of a fiber.

    Attributes:
        k: Points in fractions of the reciprocal lattice.
        weights: Their weights.
        energies: Energies of the bands, in hartree.
        occupations: Their occupations.
        chemical_potential: μ in hartree; that of an insulator is its highest occupied level.
    """

    k: Float[Array, "k 3"]
    weights: Float[Array, " k"]
    energies: Float[Array, "k bands"]
    occupations: Float[Array, "k bands"]
    chemical_potential: Float[Array, ""]


def _bare(who: str, fiber: AbstractFiber, kinds: tuple[type, ...]) -> Any:
    while isinstance(fiber, AbstractWrapper):
        fiber = fiber.inner
    if not isinstance(fiber, kinds):
        names = " or ".join(f"fx.solids.{kind.__name__}" for kind in kinds)
        raise Mismatch(f"{who} needs a fiber {names}; this is a {type(fiber).__name__}.")
    return fiber


def _solved(who: str, fiber: Any, A: Any, state: Any) -> tuple[Array, Any]:
    A = jnp.asarray(A, float)
    if state is not None:
        return A, jax.tree.map(jnp.asarray, state)
    need_double(f"{who} without a state", _TOLERANCE)
    return A, response(fiber, A, tolerance=_TOLERANCE).state


def density(fiber: AbstractFiber, state: Any, A: Float[ArrayLike, "3 3"]) -> Float[Array, "n1 n2 n3"]:
    """The density of the electrons at the grid points.

    Args:
        fiber: A `ThomasFermi` or `KohnSham`, or a fiber over one of them.
        state: A state of the fiber.
        A: Displacement gradient, (3, 3).

    Returns:
        ρ (n1, n2, n3) in electrons per bohr³ of the deformed cell.

    Raises:
        Mismatch: The fiber has no electrons.
    """
    check_platform()
    state, A = jax.tree.map(jnp.asarray, state), jnp.asarray(A, float)
    return _bare("density", fiber, (ThomasFermi, KohnSham)).density(state, A)


def chemical_potential(fiber: AbstractFiber, A: Float[ArrayLike, "3 3"], state: Any = None) -> Float[Array, ""]:
    """μ = ∂E/∂n, the chemical potential of the electrons; see `Levels` for insulators.

    Args:
        fiber: A `ThomasFermi` or `KohnSham`, or a fiber over one of them.
        A: Displacement gradient, (3, 3).
        state: Where to take it; by default the ground state.

    Returns:
        μ in hartree.

    Raises:
        Mismatch: The fiber has no electrons.
    """
    check_platform()
    bare = _bare("chemical_potential", fiber, (ThomasFermi, KohnSham))
    if isinstance(bare, KohnSham):
        return levels(bare, A, state).chemical_potential
    A, state = _solved("chemical_potential", bare, A, state)
    u, problem = fourier.within(electrons_of(state)), bare._sphere(state, A)
    applied = problem.laplace(u) + problem.local(u, problem.repel(problem.density * u**2))[0] * u
    return jnp.mean(u * applied)


def _potential(bare: KohnSham, A: Array, state: Any) -> tuple[h.Setting, Array]:
    s = bare._setting(state, A)
    return s, h.potential(s, bare.density(state, A))


def levels(fiber: AbstractFiber, A: Float[ArrayLike, "3 3"], state: Any = None) -> Levels:
    """Energies of the orbitals.

    Args:
        fiber: A `KohnSham`, or a fiber over one.
        A: Displacement gradient, (3, 3).
        state: Whose orbitals; by default the ground state.

    Returns:
        `Levels`, energies in hartree.

    Raises:
        Mismatch: The fiber has no orbitals.
    """
    check_platform()
    bare = _bare("levels", fiber, (KohnSham,))
    A, state = _solved("levels", bare, A, state)
    s, potential = _potential(bare, A, state)
    c, weights = bare.coefficients(state), jnp.asarray(s.points.weights)
    applied = h.without_potential(s, c) + h.local_part(s, bloch.to_grid(s.points, c), potential)
    energies = jnp.linalg.eigvalsh(h.inner(c, applied))
    if bare.smearing is None:
        filled, mu = jnp.full(energies.shape, 2.0), jnp.max(energies)
    else:
        filled, _, mu = occupied(bare.smearing, energies, weights, bare.electrons)
    return Levels(jnp.asarray(s.points.k), weights, energies, filled, mu)


def bands(
    fiber: AbstractFiber, A: Float[ArrayLike, "3 3"], path: Float[ArrayLike, "n 3"], count: int | None = None, state: Any = None
) -> Float[Array, "n count"]:
    """The lowest levels in the potential of a state, along a path.

    Args:
        fiber: A `KohnSham`, or a fiber over one.
        A: Displacement gradient, (3, 3).
        path: Points in fractions of reciprocal vectors, (n, 3).
        count: Number of levels; by default four more than are filled.
        state: Whose potential; by default the ground state.

    Returns:
        Levels (n, count) in hartree. Each point is one dense eigenvalue problem.

    Raises:
        BadInput: A path or a count that does not fit.
        Mismatch: The fiber has no orbitals.
    """
    import scipy.linalg

    check_platform()
    bare = _bare("bands", fiber, (KohnSham,))
    points = np.asarray(path, float)
    if points.ndim != 2 or points.shape[1] != 3 or not np.all(np.isfinite(points)):
        raise BadInput(f"bands: path must be points (n, 3) in fractions of the reciprocal lattice; they are {points.shape}.")
    A, state = _solved("bands", bare, A, state)
    _, potential = _potential(bare, A, state)
    usual = int(np.ceil(0.5 * bare.electrons)) + 4
    found = []
    for k in points:
        s = bare.setting_at(state, A, k)
        most = s.points.m.shape[1]
        if count is not None and not 0 < count <= most:
            raise BadInput(f"bands: count = {count}; the basis has {most} plane waves at k = {k.tolist()}.")
        H = np.asarray(matrix(s, potential, most))[0]
        found.append(scipy.linalg.eigvalsh(H, subset_by_index=(0, min(usual, most) - 1 if count is None else count - 1)))
    fewest = min(map(len, found))
    found = [levels[:fewest] for levels in found]
    return jnp.asarray(found)


def wannier(fiber: AbstractFiber, state: Any) -> Complex[Array, "bands n1 n2 n3"]:
    """Orbitals w_b = N_k^{−1/2} Σ_k ψ_kb, localised on the crystal of N_k cells (3.21).

    Args:
        fiber: A `KohnSham`, or a fiber over one.
        state: A state of the fiber.

    Returns:
        Orbitals (bands, n1, n2, n3) at the grid points of that crystal. Their translates by lattice vectors are orthonormal,
        mean(w̄_a(y) w_b(y − R)) = δ_ab δ_R0, whatever the phases of ψ_kb.

    Raises:
        BadInput: Points k that are no full grid.
        Mismatch: The fiber has no orbitals.
    """
    check_platform()
    bare = _bare("wannier", fiber, (KohnSham,))
    if any(bare.shift):
        raise BadInput(f"wannier: orbitals of a k-grid shifted by {bare.shift} are not periodic. Use shift=(0, 0, 0).")
    points, counts = bare._table, bare.kgrid
    psi = bloch.to_grid(points, bare.coefficients(state)).reshape(len(points.k), bare.bands, *points.shape)
    size = np.multiply(points.shape, counts)
    y = np.stack(np.meshgrid(*(np.arange(n) / m for n, m in zip(size, points.shape)), indexing="ij"))
    total = jnp.zeros((bare.bands, *size), complex)
    for k, values in zip(points.k, psi):
        wave = jnp.tile(values, (1, *counts)) * jnp.exp(2j * jnp.pi * np.einsum("i,inml->nml", k, y))
        alone = np.linalg.norm(2.0 * k - np.round(2.0 * k)) < 1e-9
        total = total + (wave if alone else 2.0 * wave.real)  # −k has the conjugate orbital
    return total / np.prod(counts) ** 0.5

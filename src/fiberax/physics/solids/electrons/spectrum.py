"""Orbitals of few plane waves as eigenvectors of a dense matrix: starts of solvers, and bands along a path."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from fiberax.physics.solids.electrons import fourier
from fiberax.physics.solids.electrons import hamiltonian as h
from fiberax.physics.solids.electrons.bloch import Coefficients

_FEW = 60  # plane waves of the dense problem from which orbitals begin
_ABSENT = 1e4  # hartree, of waves that are not in the basis


def matrix(s: h.Setting, potential: Float[Array, "n1 n2 n3"], few: int) -> Complex[Array, "k few few"]:
    """H in a local potential between the first `few` plane waves of each k."""
    points, shape = s.points, potential.shape
    waves = jnp.fft.fftn(potential, norm="forward").reshape(-1)
    m, there = points.m[:, :few], s.there[:, :few]
    place = np.ravel_multi_index(tuple(np.moveaxis(np.mod(m[:, :, None] - m[:, None], shape), -1, 0)), shape)
    projectors = s.projectors[:, :, :few]
    found = waves[place] + jnp.einsum("kpg,pq,kqe->kge", projectors, s.strength, projectors.conj())
    both = there[:, :, None] & there[:, None]
    alone = jnp.where(there, s.kinetic[:, :few], _ABSENT)
    return jnp.where(both, found, 0.0) + alone[:, :, None] * jnp.eye(m.shape[1])


def first_orbitals(s: h.Setting, bands: int, electrons: float) -> Coefficients:
    """Lowest orbitals of the first plane waves in the potential of the ions and of a density like theirs, but wider."""
    points, shape = s.points, s.points.shape
    wide = s.cell.ions * jnp.exp(-0.5 * s.cell.g2)
    density = jnp.maximum(fourier.backward(shape, wide), 1e-6)
    density = density * (electrons / s.cell.volume / jnp.mean(density))
    few = min(max(_FEW, 3 * bands), points.m.shape[1])
    vectors = jnp.linalg.eigh(matrix(s, h.potential(s, density), few))[1][:, :, :bands]
    return jnp.zeros((len(points.k), bands, points.m.shape[1]), complex).at[:, :, :few].set(jnp.swapaxes(vectors, 1, 2))

"""The stress-free reference of a crystal, and its elastic constants there."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fiberax.core.errors import NotConverged
from fiberax.core.fiber import code_in_words
from fiberax.core.platform import SINGLE_LIMIT, check_platform, need_double
from fiberax.core.solvers import solver_of
from fiberax.numerics import trees
from fiberax.numerics.compilation import jit_once
from fiberax.numerics.result import Result
from fiberax.physics.solids.calculators.calculator import CalculatorCrystal
from fiberax.physics.solids.crystal.crystal import Crystal, positions
from fiberax.physics.solids.crystal.elastic import ElasticConstants, elastic_constants, voigt
from fiberax.physics.solids.crystal.ellipticity import check_crystal
from fiberax.physics.solids.crystal.layer import Layer

_STEPS = 60
_LONGEST = 0.05  # longest step in strain
INNER = 1e-12  # tolerance of the shifts, in nearest distances
_RANGE = 0.15  # of strain before the neighbour lists are made again


class Equilibrium(eqx.Module):
    """A crystal at rest.

    Args:
        crystal: With the scaled or relaxed lattice and its shifts taken into the basis.
        deformation: F from the given lattice, (d, d).
        scale: det F^(1/d).
        energy: Per cell.
        energy_per_atom: The same, over the number of atoms.
        stress: What is left of it, (d, d).
        elastic: dP/dA with relaxed shifts, (d, d, d, d): the elastic constants where no stress is left.
        elastic_unrelaxed: The same with fixed shifts.
    """

    crystal: Crystal | CalculatorCrystal | Layer
    deformation: Float[Array, "d d"]
    scale: float
    energy: float
    energy_per_atom: float
    stress: Float[Array, "d d"]
    elastic: Float[Array, "d d d d"]
    elastic_unrelaxed: Float[Array, "d d d d"]

    @property
    def voigt(self) -> np.ndarray:
        """Relaxed constants as a matrix, order xx, yy, zz, yz, xz, xy (two dimensions: xx, yy, xy)."""
        return voigt(self.elastic)

    @property
    def voigt_unrelaxed(self) -> np.ndarray:
        """Constants at fixed shifts, in the same order."""
        return voigt(self.elastic_unrelaxed)

    @property
    def constants(self) -> ElasticConstants:
        """Symmetry, independent constants, averages and stability, from the relaxed constants."""
        # Those of a calculator are finite differences.
        return elastic_constants(self.elastic, 1e-3 if is_foreign(self.crystal) else 1e-4)

    def __repr__(self) -> str:
        traced = any(trees.is_tracer(leaf) for leaf in jax.tree.leaves(self))
        return super().__repr__() if traced else _in_words(self)

    __str__ = __repr__


def is_foreign(crystal) -> bool:
    """Whether the energy is that of an ASE calculator."""
    return isinstance(_inner(crystal), CalculatorCrystal)


def _in_words(found: Equilibrium) -> str:
    """Lattice, energy and elastic constants, in the units of the potential."""
    crystal = found.crystal
    lattice = np.asarray(crystal.lattice)
    d = len(lattice)
    metal = not isinstance(crystal, Crystal) or crystal.potential.units == "metal"
    length, energy, modulus = (" Å", " eV", f" eV/Å^{d}") if metal else ("", "", "")
    lengths = np.linalg.norm(lattice, axis=1)
    pairs = [(0, 1)] if d == 2 else [(1, 2), (0, 2), (0, 1)]
    angles = [np.degrees(np.arccos(lattice[i] @ lattice[j] / (lengths[i] * lengths[j]))) for i, j in pairs]
    listed = lambda values: ", ".join(f"{value:.6g}" for value in values)
    stress = float(np.abs(np.asarray(found.stress)).max())
    lines = [
        f"Equilibrium of {' '.join(crystal.species)}{'' if metal else ', reduced units'}",
        f"  lattice vectors: lengths {listed(lengths)}{length}; angles {listed(angles)} degrees; scaled by {found.scale:.6g}",
        f"  energy: {found.energy_per_atom:.8g}{energy} per atom; largest stress left {stress:.1e}{modulus}",
    ]
    tables = [("elastic constants", found.voigt)]
    if len(crystal.species) > 1:
        tables = [("elastic constants, shifts relaxed", found.voigt), ("shifts fixed", found.voigt_unrelaxed)]
    order = "xx, yy, xy" if d == 2 else "xx, yy, zz, yz, xz, xy"
    for words, matrix in tables:
        lines.append(f"  {words}{f' [{modulus.strip()}]' if metal else ''} ({order}):")
        small = 1e-9 * np.abs(matrix).max()
        lines += ["    " + " ".join(f"{0.0 if abs(x) < small else x:10.6g}" for x in row) for row in matrix]
    return "\n".join(lines)


def look(crystal: Crystal | CalculatorCrystal | Layer, A, shifts, tolerance: float, often: bool = False):
    """Relaxed shifts, result code, energy density, P and relaxed moduli at A. `often`: many calls are to come."""
    if not crystal.small:
        return _look(crystal, A, shifts, tolerance)
    quick = crystal.written_out or not often  # small cells with lists of neighbours would take up to seven times as long
    return (_look_once if quick else _look)(crystal, A, shifts, tolerance)


def undivided(crystal: Any) -> Any:
    """A small crystal or layer without short lists of neighbours: programs compile in half the time, and run more slowly."""
    bonds = _inner(crystal).unit_cell.bonds if isinstance(_inner(crystal), Crystal) else None
    if bonds is None or not (crystal.small and bonds.differ):
        return crystal
    name = "shells" if crystal.written_out else "neighbours"
    return eqx.tree_at(lambda crystal: getattr(_inner(crystal).unit_cell, name), crystal, bonds.undivided)


def _inner(crystal) -> Any:
    return crystal.inner if isinstance(crystal, Layer) else crystal


def _looked(crystal: Crystal | CalculatorCrystal | Layer, A, shifts, tolerance: float):
    state, out = solver_of(crystal).solve(crystal, shifts, A, tolerance)
    return state, out.result, *crystal.assemble(state, A, 2)


_look, _look_once = eqx.filter_jit(_looked), jit_once(_looked)


def equilibrium(
    crystal: Crystal | CalculatorCrystal | Layer, full: bool = False, tolerance: float | None = None
) -> Equilibrium:
    """The crystal at rest, with its lattice scaled so that the mean stress vanishes.

    Args:
        crystal: The fiber, near its equilibrium.
        full: Relax the lattice until all stress vanishes, not the mean alone.
        tolerance: Largest strain by which the answer may be off, by default 1e-11, and 1e-8 for ASE calculators (one in single
            precision needs 1e-4). From 1e-5 on it bounds the shifts too, which else are relaxed to round-off.

    Returns:
        An `Equilibrium`. Elastic constants of a calculator, relaxed and unrelaxed, are finite differences of its stress and
        forces.

    Raises:
        NotConverged: No such lattice is found.
        BadInput: The fiber is no crystal, or double precision is off and the tolerance is below 1e-5.
    """
    check_crystal("equilibrium", crystal)
    check_platform()
    foreign = is_foreign(crystal)
    tolerance = (1e-8 if foreign else 1e-11) if tolerance is None else tolerance
    need_double("fx.solids.equilibrium", tolerance)
    inner = tolerance if foreign or tolerance >= SINGLE_LIMIT else INNER
    whole, current = np.eye(crystal.lattice.shape[0]), crystal
    d = len(whole)
    A, state = np.zeros((d, d)), crystal.init(None, jax.random.key(0))
    basis = _directions(d) if full else np.eye(d)[None] / np.sqrt(d)
    for _ in range(_STEPS):
        state, code, _, P, C = jax.tree.map(np.asarray, look(current, jnp.asarray(A), jnp.asarray(state), inner))
        if code not in (Result.SUCCESS, Result.UNSTABLE):
            raise NotConverged(
                f"equilibrium: {code_in_words(current, int(code))}, at the strain {A.tolist()} of the given lattice."
            )
        residual = np.einsum("aij,ij->a", basis, P)
        matrix = np.einsum("aij,ijkl,bkl->ab", basis, C, basis)
        values, vectors = np.linalg.eigh(0.5 * (matrix + matrix.T))
        if not np.abs(values).max() > 0.0:
            raise NotConverged(
                "equilibrium: there are no forces between the atoms; the potential does not bind this lattice. Check the "
                f"lattice vectors, {np.round(np.asarray(current.lattice), 6).tolist()}, against its unit of length and cutoff."
            )
        # Uphill where the energy bends down: |eigenvalues| keep the step a descent.
        move = -vectors @ ((vectors.T @ residual) / np.maximum(np.abs(values), 1e-12 * np.abs(values).max()))
        length = np.linalg.norm(move)
        A = A + np.einsum("a,aij->ij", move * min(1.0, _LONGEST / max(length, 1e-300)), basis)
        if length <= tolerance:
            break
        if np.linalg.norm(A) > _RANGE:
            current, whole = _rebuilt(current, A, state), (np.eye(d) + A) @ whole
            A, state = np.zeros((d, d)), np.zeros(state.shape)
    else:
        raise NotConverged(f"equilibrium: no stress-free lattice within {_STEPS} steps; the last strain step was {length:.2g}.")
    found = jax.tree.map(np.asarray, look(current, jnp.asarray(A), jnp.asarray(state), inner))
    state, _, density, P, C = found
    fixed = current.second_derivatives(jnp.asarray(state), jnp.asarray(A))[0][: d * d, : d * d].reshape(d, d, d, d)
    F = np.eye(d) + A
    whole, energy = F @ whole, float(density * current.volume)
    P, C, fixed = P @ F.T / np.linalg.det(F), _pushed(C, F), _pushed(fixed, F)
    scale = float(np.linalg.det(whole) ** (1.0 / d))
    P, C, fixed, whole = (jnp.asarray(x) for x in (P, C, fixed, whole))
    return Equilibrium(_rebuilt(current, A, state), whole, scale, energy, energy / len(crystal.species), P, C, fixed)


def _pushed(moduli, F):
    """dP/dA at the reference that F leads to, from that before it. A look at the new crystal would compile anew."""
    return np.einsum("iMkN,JM,LN->iJkL", moduli, F, F) / np.linalg.det(F)


def _directions(d: int) -> np.ndarray:
    """An orthonormal basis of the symmetric matrices."""
    found = []
    for i in range(d):
        for j in range(i, d):
            m = np.zeros((d, d))
            m[i, j] = m[j, i] = 1.0 if i == j else 0.5**0.5
            found.append(m)
    return np.asarray(found)


def _rebuilt(crystal: Crystal | CalculatorCrystal | Layer, A, state) -> Crystal | CalculatorCrystal | Layer:
    """The deformed crystal as a reference of its own."""
    if isinstance(crystal, Layer):
        inner = _rebuilt(crystal.inner, np.asarray(crystal.whole(A)), state)
        assert not isinstance(inner, Layer)
        return Layer(inner, crystal.thickness)
    lattice = np.asarray(crystal.lattice) @ (np.eye(len(A)) + A).T
    places = np.asarray(positions(crystal, state, A))
    if isinstance(crystal, CalculatorCrystal):
        return crystal.moved(lattice, places)
    basis = places @ np.linalg.inv(lattice)
    cell = crystal.unit_cell
    return Crystal(lattice, basis, cell.species, cell.potential, cell.stretch, cell.shift, crystal.allow_unstable)

"""Crystals as fibers: the Cauchy-Born rule for simple and complex lattices (3.1)-(3.7).

The condition is the displacement gradient A (d, d), the state the shifts ξ (n − 1, d) of all atoms but the first, Cartesian, in
the reference frame: atom j sits at F (x_j + ξ_j), F = I + A, so that a uniform deformation leaves the shifts zero. The
response is P = ∂W/∂A, the first Piola-Kirchhoff stress, W the energy per reference volume, minimal in the shifts.

More than five methods: a fiber's own solver, link, moduli and stability margin come on top of its definition.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fiberax.core.capabilities import AbstractAssembled, AbstractMonitored
from fiberax.core.errors import BadInput
from fiberax.core.solvers import Minimise
from fiberax.numerics.result import Outcome, Result, outcome
from fiberax.numerics.small import determinant, smallest_eigenvalue
from fiberax.physics.solids.crystal import assembly
from fiberax.physics.solids.crystal.batching import trailing
from fiberax.physics.solids.crystal.ellipticity import stability, stability_margin
from fiberax.physics.solids.crystal.relaxation import newton_step, relax
from fiberax.physics.solids.crystal.shells import Shells, nearest_distance, shells
from fiberax.physics.solids.potentials.base import AbstractPotential
from fiberax.physics.solids.potentials.lattice_sum import Cells, cells_for


class Crystal(AbstractAssembled, AbstractMonitored):
    """A crystal of atoms that interact by `potential`, held at a displacement gradient (3.1)-(3.6).

    Condition A (d, d); state: shifts (n − 1, d), Cartesian, in the reference frame; response P (d, d).

    Args:
        lattice: Lattice vectors as rows, (d, d), d = 2 or 3, in the potential's unit of length.
        basis: Atoms in fractions of them, (n, d).
        species: n symbols.
        potential: One of `fx.solids.potentials`.
        stretch: The neighbour lists hold for deformations whose smallest singular value is at least this. Short lists are used
            where they suffice, so generous bounds cost little.
        shift: The same for shifts between atoms, in nearest distances. Beyond either bound the fiber fails with `OUT_OF_RANGE`
            and gives NaN.
        allow_unstable: Go on at a saddle of the energy in the shifts, which otherwise is the failure `UNSTABLE`.

    det F ≤ 0 gives NaN.

    Raises:
        BadInput: Shapes, species or numbers that do not fit.
    """

    lattice: Float[Array, "d d"]
    basis: Float[Array, "n d"]
    species: tuple[str, ...] = eqx.field(static=True)
    potential: AbstractPotential
    stretch: float = eqx.field(static=True)
    shift: float = eqx.field(static=True)
    allow_unstable: bool = eqx.field(static=True)
    nearest: float = eqx.field(static=True)
    shells: Shells | None
    cells: Cells | None

    def __init__(
        self,
        lattice,
        basis,
        species: Sequence[str],
        potential: AbstractPotential,
        stretch: float = 0.7,
        shift: float = 0.25,
        allow_unstable: bool = False,
    ):
        lattice, basis, species = _checked(lattice, basis, species, potential)
        if not 0.0 < stretch <= 1.0 or not 0.0 < shift < 1.0:
            raise BadInput(f"Crystal: stretch={stretch!r} and shift={shift!r} must lie between 0 and 1.")
        self.nearest = nearest_distance(lattice, basis)
        self.lattice, self.basis = jnp.asarray(lattice), jnp.asarray(basis)
        self.species, self.potential = species, potential
        self.stretch, self.shift, self.allow_unstable = float(stretch), float(shift), allow_unstable
        self.shells = self.cells = None
        length = shift * self.nearest
        if potential.cutoff is None:
            self.cells = cells_for(lattice, basis, stretch, length)
            # A potential without lattice sums raises here, and not in the first solve.
            jax.eval_shape(lambda: potential.lattice_energy(self.lattice, self.basis @ self.lattice, species, self.cells))
        else:
            pairwise = potential.pairwise
            self.shells = shells(lattice, basis, species, float(potential.cutoff), stretch, length, pairwise)

    @staticmethod
    def from_ase(
        atoms: Any, potential: Any, executor: Executor | None = None, step: float = 1e-5, allow_unstable: bool = False
    ):
        """A crystal from periodic ASE Atoms.

        Args:
            atoms: The undeformed cell.
            potential: One of `fx.solids.potentials`, or any ASE calculator.
            executor: For ASE calculators, see `CalculatorCrystal`.
            step: For ASE calculators, see `CalculatorCrystal`.
            allow_unstable: As for `Crystal`.

        Returns:
            A `Crystal`, or with an ASE calculator a `CalculatorCrystal`.

        Raises:
            BadInput: Atoms or potential that make no crystal.
            MissingExtra: ase is not installed.
        """
        from fiberax.physics.solids.calculators.calculator import crystal_from_ase

        return crystal_from_ase(atoms, potential, executor, step, allow_unstable)

    @property
    def volume(self) -> Float[Array, ""]:
        """Volume of the reference cell (an area in two dimensions)."""
        return jnp.abs(determinant(self.lattice))

    def init(self, condition, key) -> Float[Array, "m d"]:
        """No shifts: the undeformed state. Raises `Mismatch` for a condition of another shape than (d, d)."""
        assembly.check_gradient("Crystal", condition, self.basis.shape[1])
        return jnp.zeros((self.basis.shape[0] - 1, self.basis.shape[1]), self.lattice.dtype)

    def energy(self, state, condition):
        """W(A, ξ) per reference volume."""
        return _energy(self, state, condition)

    def link(self, state, condition):
        """P = ∂W/∂A at fixed shifts."""
        return _link(self, state, condition)

    def assemble(self, state, condition, order):
        """W and P in one pass over the bonds; the relaxed moduli W_AA − W_Aξ W_ξξ⁻¹ W_ξA (d, d, d, d) by another."""
        found = _energy_and_link(self, state, condition)
        return found if order == 1 else (*found, _tangent(self, state, condition))

    @property
    def solver(self):
        return _Shifts()

    def remedy(self, result):
        return _REMEDIES.get(int(result), "")

    def stability_margin(self, state, condition):
        """The smaller of the smallest pivot of W_ξξ and the smallest acoustic eigenvalue, each over the largest entry."""
        return _run(self, stability_margin, (condition, state))

    def explain(self, state, condition):
        """What was lost where `stability_margin` is not positive, with its direction and mode."""
        return stability(self, condition, state).in_words()

    def valid(self, A, shifts):
        """Result code of condition and shifts (batch last): SUCCESS, NONFINITE where det F ≤ 0, or OUT_OF_RANGE."""
        F = assembly.gradient_of(A)
        moved = assembly.all_shifts(shifts)
        if self.shells is not None:
            good = self.shells.holds(F, moved, False)
        else:
            square = jnp.sum(F[:, :, None] * F[:, None, :], axis=0)
            low, high = smallest_eigenvalue(square), -smallest_eigenvalue(-square)
            good = (low >= self.stretch**2) & (high <= self.stretch**-2)
            good = good & jnp.all(jnp.sum(moved**2, axis=1) <= (self.shift * self.nearest) ** 2, axis=0)
        code = jnp.where(good, jnp.int32(Result.SUCCESS), jnp.int32(Result.OUT_OF_RANGE))
        return jnp.where(determinant(F) > 0.0, code, jnp.int32(Result.NONFINITE))

    def shortlisted(self, function: Callable, A, shifts, near):
        """`function(crystal, A, shifts, near)` with the short lists where they hold for the whole batch."""
        if near is not None or self.shells is None or all(g.near == g.count for g in self.shells.groups):
            return function(self, A, shifts, bool(near))
        enough = jnp.all(self.shells.holds(assembly.gradient_of(A), assembly.all_shifts(shifts), True))
        return jax.lax.cond(enough, lambda: function(self, A, shifts, True), lambda: function(self, A, shifts, False))


class _Shifts(Minimise):
    """Newton's method for the shifts of a crystal, native over batches (`relaxation`)."""

    def solve(self, fiber: Crystal, state, condition, tolerance) -> tuple[Any, Outcome]:
        """Shifts in equilibrium with A, on the branch of the undeformed state, to `tolerance` in nearest distances."""
        shifts, code, steps, left = _run(fiber, _relax, (condition, state), tolerance)
        return shifts, outcome(code, steps, left)

    def step(self, fiber: Crystal, state, condition) -> tuple[Any, Outcome]:
        """One Newton step of `solve`; the residual is its squared length in nearest distances."""
        shifts, code, steps, left = _run(fiber, _one_step, (condition, state))
        return shifts, outcome(code, steps, left)


_REMEDIES: dict[int, str] = {
    Result.OUT_OF_RANGE: "neighbour lists do not reach that far: give Crystal a smaller stretch or a larger shift",
    Result.UNSTABLE: "a saddle (Crystal(..., allow_unstable=True) goes on), or an atom that nothing holds, all its neighbours "
    "being beyond the cutoff",
}


def _checked(lattice, basis, species, potential):
    lattice, basis = np.asarray(lattice, float), np.atleast_2d(np.asarray(basis, float))
    if lattice.shape not in ((2, 2), (3, 3)):
        raise BadInput(
            f"Crystal: lattice must hold 2 or 3 lattice vectors as rows, (2, 2) or (3, 3); its shape is {lattice.shape}."
        )
    d = lattice.shape[0]
    if basis.ndim != 2 or basis.shape[1] != d or basis.shape[0] == 0:
        raise BadInput(f"Crystal: basis must be (atoms, {d}), fractions of the lattice vectors; its shape is {basis.shape}.")
    for name, array in (("lattice", lattice), ("basis", basis)):
        if not np.all(np.isfinite(array)):
            raise BadInput(f"Crystal: {name} is not finite at index {np.argwhere(~np.isfinite(array))[0].tolist()}.")
    if abs(np.linalg.det(lattice)) <= 1e-9 * np.prod(np.linalg.norm(lattice, axis=1)):
        raise BadInput(f"Crystal: the lattice vectors {lattice.tolist()} are linearly dependent.")
    if isinstance(species, str) or not all(isinstance(s, str) for s in species) or len(species) != len(basis):
        raise BadInput(
            f"Crystal: species must be a list of {len(basis)} symbols, one for each atom of the basis; it is {species!r}."
        )
    if not isinstance(potential, AbstractPotential):
        raise BadInput(f"Crystal: potential must be one of fx.solids.potentials; it is {potential!r}.")
    known = potential.elements
    for s in species:
        if known is not None and s not in known:
            raise BadInput(f"Crystal: species {s!r} is unknown to {type(potential).__name__}, which knows {', '.join(known)}.")
    gaps = basis[:, None] - basis[None]
    distance = np.linalg.norm((gaps - np.round(gaps)) @ lattice, axis=-1)
    np.fill_diagonal(distance, np.inf)
    if len(basis) > 1 and distance.min() < 1e-6 * np.linalg.norm(lattice, axis=1).min():
        i, j = np.unravel_index(np.argmin(distance), distance.shape)
        raise BadInput(f"Crystal: atoms {i} and {j} of the basis are at the same place, {basis[i].tolist()}.")
    return lattice, basis, tuple(species)


@eqx.filter_jit
def _run(crystal: Crystal, kernel: Callable, arrays, *settings):
    """`kernel(crystal, A, shifts, *settings)` on one fiber, native over batches of them; derivatives stop here."""
    parameters, rest = eqx.partition(crystal, eqx.is_array)
    parameters, arrays = jax.lax.stop_gradient((parameters, arrays))

    def whole(parameters, arrays):
        return kernel(eqx.combine(parameters, rest), *arrays, *settings)

    return trailing(whole)(parameters, arrays)


def _where_valid(crystal, A, shifts, value):
    """`value`, NaN where the crystal is not defined."""
    return jnp.where(crystal.valid(A, shifts) == 0, value, jnp.nan)


def _energies_and_stresses(crystal, A, shifts):
    value, slope = crystal.shortlisted(assembly.gradient, A, shifts, None)
    stress = slope[: A.shape[0] ** 2].reshape(A.shape)
    return _where_valid(crystal, A, shifts, value), _where_valid(crystal, A, shifts, stress)


def _energies(crystal, A, shifts):
    return _where_valid(crystal, A, shifts, crystal.shortlisted(assembly.energy, A, shifts, None))


def _stresses(crystal, A, shifts):
    return _energies_and_stresses(crystal, A, shifts)[1]


def _moduli(crystal, A, shifts):
    return _where_valid(crystal, A, shifts, assembly.relaxed_moduli(crystal.shortlisted(assembly.hessian, A, shifts, None), A))


def _relax(crystal, A, shifts, tolerance):
    if shifts.shape[0] == 0:
        zero = jnp.zeros(A.shape[2:], A.dtype)
        return shifts, crystal.valid(A, shifts), jnp.zeros(A.shape[2:], jnp.int32), zero
    return relax(crystal, A, shifts, tolerance)


def _one_step(crystal, A, shifts):
    code, zero = crystal.valid(A, shifts), jnp.zeros(A.shape[2:], A.dtype)
    if shifts.shape[0] == 0:
        return shifts, code, code * 0, zero
    step = newton_step(crystal, A, shifts, None)
    good = jnp.isfinite(step.length)
    broken = jnp.where(step.singular, jnp.int32(Result.UNSTABLE), jnp.int32(Result.NONFINITE))
    code = jnp.where((code == 0) & ~good, broken, code)
    if not crystal.allow_unstable:
        code = jnp.where((code == 0) & ~step.definite, jnp.int32(Result.UNSTABLE), code)
    return jnp.where(good, step.shifts, shifts), code, jnp.ones_like(code), step.length**2


def _plain_energy(crystal, state, condition):
    """W by plain operations, differentiable to any order in everything; its slopes are NaN where the crystal is not defined."""
    good = crystal.valid(condition, state) == 0
    return assembly.energy(crystal, condition, state, False) * jnp.where(good, 1.0, jnp.nan)


def _plain_link(crystal, state, condition):
    return jax.grad(_plain_energy, argnums=2)(crystal, state, condition)


def _plain_tangent(crystal, state, condition):
    d = condition.shape[0]

    def joint(q):
        return _plain_energy(crystal, q[d * d :].reshape(state.shape), q[: d * d].reshape(d, d))

    matrix = jax.hessian(joint)(jnp.concatenate([condition.ravel(), state.ravel()]))
    return assembly.relaxed_moduli(matrix, condition)


def _native(kernel: Callable, plain: Callable) -> Callable:
    """A function of (crystal, state, condition): its value by `kernel`, its derivatives of every order by `plain`."""

    @eqx.filter_custom_jvp
    def function(crystal, state, condition):
        return _run(crystal, kernel, (condition, state))

    @function.def_jvp
    def function_jvp(primals, tangents):
        _, moved = eqx.filter_jvp(plain, primals, tangents)
        return function(*primals), moved

    return function


_energy = _native(_energies, _plain_energy)
_energy_and_link = _native(_energies_and_stresses, lambda *arguments: (_plain_energy(*arguments), _plain_link(*arguments)))
_link = _native(_stresses, _plain_link)
_tangent = _native(_moduli, _plain_tangent)


def positions(crystal, state, A) -> Float[Array, "n d"]:
    """Positions of the atoms of the deformed cell of any crystal.

    Args:
        crystal: The fiber.
        state: Shifts, (n − 1, d).
        A: Displacement gradient, (d, d).

    Returns:
        Positions (n, d); atom 0 is where F = I + A takes it.
    """
    A, state = jnp.asarray(A, float), jnp.asarray(state, float)
    return (crystal.basis @ crystal.lattice + assembly.all_shifts(state)) @ assembly.gradient_of(A).T

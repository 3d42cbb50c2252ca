"""Crystals as fibers: the Cauchy-Born rule for simple and complex lattices (3.1)-(3.7).

The condition is the displacement gradient A (d, d), the state the shifts ξ (n − 1, d) of all atoms but the first, Cartesian, in
the reference frame: atom j sits at F (x_j + ξ_j), F = I + A, so that a uniform deformation leaves the shifts zero. The
response is P = ∂W/∂A, the first Piola-Kirchhoff stress, W the energy per reference volume, minimal in the shifts.

More than five methods: a fiber's own solver, link, moduli, stability margin and turned copies come on top of its definition.
"""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from fiberax.core.capabilities import AbstractAssembled, AbstractMonitored, AbstractObjective
from fiberax.core.solvers import Minimise
from fiberax.numerics.result import Outcome, Result, outcome
from fiberax.physics.solids.crystal import assembly, ellipticity
from fiberax.physics.solids.crystal.base import AbstractCrystal, rotation_of
from fiberax.physics.solids.crystal.batching import trailing
from fiberax.physics.solids.crystal.ellipticity import second_derivatives, stability
from fiberax.physics.solids.crystal.relaxation import newton_step, relax
from fiberax.physics.solids.crystal.unit_cell import UnitCell
from fiberax.physics.solids.potentials.base import AbstractPotential


class Crystal(AbstractAssembled, AbstractMonitored, AbstractObjective, AbstractCrystal):
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

    unit_cell: UnitCell
    allow_unstable: bool = eqx.field(static=True)

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
        self.unit_cell = UnitCell(lattice, basis, species, potential, stretch, shift)
        self.allow_unstable = allow_unstable

    @property
    def lattice(self) -> Float[Array, "d d"]:
        """Lattice vectors of the undeformed cell, as rows."""
        return self.unit_cell.lattice

    @property
    def basis(self) -> Float[Array, "n d"]:
        """Fractional coordinates of the undeformed atoms."""
        return self.unit_cell.basis

    @property
    def species(self) -> tuple[str, ...]:
        """Symbols of the atoms."""
        return self.unit_cell.species

    @property
    def potential(self) -> AbstractPotential:
        """What the atoms interact by."""
        return self.unit_cell.potential

    @property
    def volume(self) -> Float[Array, ""]:
        """Volume of the reference cell (an area in two dimensions)."""
        return self.unit_cell.volume

    @property
    def written_out(self) -> bool:
        return self.unit_cell.written_out

    @property
    def small(self) -> bool:
        return self.unit_cell.small

    def rotated(self, rotation: Float[ArrayLike, "d d"]) -> "Crystal":
        """The same crystal turned in space: lattice vectors and atoms v become R v.

        Args:
            rotation: R (d, d), a proper rotation. Its rows are the directions of the crystal that become x, y, z.

        Returns:
            The crystal, with the same potential and bounds.

        Raises:
            BadInput: R is no rotation.
        """
        turned = np.asarray(self.lattice) @ rotation_of("Crystal.rotated", rotation, len(self.lattice)).T
        cell = self.unit_cell
        return Crystal(turned, cell.basis, cell.species, cell.potential, cell.stretch, cell.shift, self.allow_unstable)

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
        return run(self, stability_margin, (condition, state))

    def explain(self, state, condition):
        """What was lost where `stability_margin` is not positive, with its direction and mode."""
        return stability(self, condition, state).in_words()

    def second_derivatives(self, state, condition):
        return second_derivatives(self.unit_cell, condition, state)


class _Shifts(Minimise):
    """Newton's method for the shifts of a crystal, native over batches (`relaxation`)."""

    def solve(self, fiber: Crystal, state, condition, tolerance) -> tuple[Any, Outcome]:
        """Shifts in equilibrium with A, on the branch of the undeformed state, to `tolerance` in nearest distances."""
        shifts, code, steps, left = run(fiber, _relax, (condition, state), tolerance)
        return shifts, outcome(code, steps, left)

    def step(self, fiber: Crystal, state, condition) -> tuple[Any, Outcome]:
        """One Newton step of `solve`; the residual is its squared length in nearest distances."""
        shifts, code, steps, left = run(fiber, _one_step, (condition, state))
        return shifts, outcome(code, steps, left)


_REMEDIES: dict[int, str] = {
    Result.STALLED: "no rest of the atoms is found from where they are: begin with a lattice nearer to rest",
    Result.OUT_OF_RANGE: "neighbour lists do not reach that far: give Crystal a smaller stretch or a larger shift",
    Result.UNSTABLE: "a saddle (Crystal(..., allow_unstable=True) goes on), or an atom that nothing holds, all its neighbours "
    "being beyond the cutoff",
}


@eqx.filter_jit
def run(crystal: Crystal, kernel: Callable, arrays, *settings, share: int | None = None):
    """`kernel(crystal, A, shifts, *settings)` on one fiber, native over batches of them; derivatives stop here.

    `share`: that of the cell where the kernel holds more than a few numbers for each bond, as those of second order do.
    """
    parameters, rest = eqx.partition(crystal, eqx.is_array)
    parameters, arrays = jax.lax.stop_gradient((parameters, arrays))

    def whole(parameters, arrays):
        return kernel(eqx.combine(parameters, rest), *arrays, *settings)

    return trailing(whole, crystal.unit_cell.share if share is None else share)(parameters, arrays)


def _where_valid(crystal, A, shifts, value):
    """`value`, NaN where the crystal is not defined."""
    return jnp.where(crystal.unit_cell.valid(A, shifts) == 0, value, jnp.nan)


def stability_margin(crystal, A, shifts):
    """Kernel of `Crystal.stability_margin` over trailing batch axes."""
    return ellipticity.stability_margin(crystal.unit_cell, A, shifts)


def _energies_and_stresses(crystal, A, shifts):
    value, slope = crystal.unit_cell.shortlisted(assembly.gradient, A, shifts, None)
    stress = slope[: A.shape[0] ** 2].reshape(A.shape)
    return _where_valid(crystal, A, shifts, value), _where_valid(crystal, A, shifts, stress)


def _energies(crystal, A, shifts):
    return _where_valid(crystal, A, shifts, crystal.unit_cell.shortlisted(assembly.energy, A, shifts, None))


def _stresses(crystal, A, shifts):
    return _energies_and_stresses(crystal, A, shifts)[1]


def _moduli(crystal, A, shifts):
    return _where_valid(crystal, A, shifts, crystal.unit_cell.shortlisted(assembly.moduli, A, shifts, None))


def _relax(crystal, A, shifts, tolerance):
    if shifts.shape[0] == 0:
        zero = jnp.zeros(A.shape[2:], A.dtype)
        return shifts, crystal.unit_cell.valid(A, shifts), jnp.zeros(A.shape[2:], jnp.int32), zero
    return relax(crystal.unit_cell, A, shifts, tolerance, crystal.allow_unstable)


def _one_step(crystal, A, shifts):
    code, zero = crystal.unit_cell.valid(A, shifts), jnp.zeros(A.shape[2:], A.dtype)
    if shifts.shape[0] == 0:
        return shifts, code, code * 0, zero
    step = newton_step(crystal.unit_cell, A, shifts, None)
    good = jnp.isfinite(step.length)
    broken = jnp.where(step.singular, jnp.int32(Result.UNSTABLE), jnp.int32(Result.NONFINITE))
    code = jnp.where((code == 0) & ~good, broken, code)
    if not crystal.allow_unstable:
        code = jnp.where((code == 0) & ~step.definite, jnp.int32(Result.UNSTABLE), code)
    return jnp.where(good, step.shifts, shifts), code, jnp.ones_like(code), step.length**2


def _plain_energy(crystal, state, condition):
    """W by plain operations, differentiable to any order in everything; its slopes are NaN where the crystal is not defined."""
    good = crystal.unit_cell.valid(condition, state) == 0
    return assembly.energy(crystal.unit_cell, condition, state, False) * jnp.where(good, 1.0, jnp.nan)


def _plain_link(crystal, state, condition):
    return jax.grad(_plain_energy, argnums=2)(crystal, state, condition)


def _plain_tangent(crystal, state, condition):
    d = condition.shape[0]

    def joint(q):
        return _plain_energy(crystal, q[d * d :].reshape(state.shape), q[: d * d].reshape(d, d))

    matrix = jax.hessian(joint)(jnp.concatenate([condition.ravel(), state.ravel()]))
    return assembly.relaxed_moduli(matrix, condition)


def _native(kernel: Callable, plain: Callable, first: bool = True) -> Callable:
    """A function of (crystal, state, condition): its value by `kernel`, its derivatives of every order by `plain`.

    `first`: whether the kernel has derivatives of first order alone.
    """

    @eqx.filter_custom_jvp
    def function(crystal, state, condition):
        light = first and assembly.is_central(crystal.unit_cell)
        return run(crystal, kernel, (condition, state), share=1 if light else None)

    @function.def_jvp
    def function_jvp(primals, tangents):
        _, moved = eqx.filter_jvp(plain, primals, tangents)
        return function(*primals), moved

    return function


_energy = _native(_energies, _plain_energy)
_energy_and_link = _native(_energies_and_stresses, lambda *arguments: (_plain_energy(*arguments), _plain_link(*arguments)))
_link = _native(_stresses, _plain_link)
_tangent = _native(_moduli, _plain_tangent, first=False)


def positions(crystal, state, A) -> Float[Array, "n d"]:
    """Positions of the atoms of the deformed cell of any crystal.

    Args:
        crystal: The fiber.
        state: Shifts, (n − 1, d).
        A: Displacement gradient, (d, d).

    Returns:
        Positions (n, d), of a layer (n, 3); atom 0 is where F = I + A takes it.
    """
    return crystal.places(state, A)

"""The linear cell problem of homogenization, (2.2)-(2.4), in one, two and three dimensions.

    ∇_z·( a(U,z) (∇_z χ_j + e_j) ) = 0,   ⟨χ_j⟩ = 0,   A_ij(U) = ⟨ e_i · a(U,z) (∇_z χ_j + e_j) ⟩

The cell is Γ = [0, 1)^d; ⟨·⟩ is the mean over it; (∇χ)_kj = ∂_k χ_j, a contracts its second index and the divergence acts
on its first (docs: mathematics, Slips in the paper).
`Cell` has more public methods than other classes because the contract of a flow fiber has.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fiberax.core.capabilities import AbstractStationary
from fiberax.core.equilibrium import following
from fiberax.core.errors import BadInput
from fiberax.core.fiber import AbstractFlow
from fiberax.core.solvers import Newton
from fiberax.numerics.conjugate_gradients import Progress, ratio
from fiberax.numerics.result import Outcome, Result, outcome
from fiberax.physics.homogenization.borders import Borders, bordered, with_spacing
from fiberax.physics.homogenization.closed_form import corrector_1d
from fiberax.physics.homogenization.coefficient import check_positive, identity_like, is_asymmetric, is_positive, sample
from fiberax.physics.homogenization.discretisation import (
    AbstractDiscretisation,
    FiniteElement,
    FiniteVolume,
    Spectral,
)
from fiberax.physics.homogenization.images import Phases, read_labels
from fiberax.physics.homogenization.krylov import bicgstab2, conjugate_gradients
from fiberax.physics.homogenization.media import medium
from fiberax.physics.homogenization.medium import AbstractMedium, judged_part, round_off
from fiberax.physics.homogenization.percolation import percolation
from fiberax.physics.homogenization.pores import energy_beside_pores

_DENSE = 8  # Krylov methods with the Fourier preconditioner beat dense algebra on all but the smallest cells
_ROUNDS = 6  # of which the last only measures
_UNSURE = 1e-6  # bound of the relative error of A from which a solve that round-off has ended does not count as one


class Cell(AbstractStationary, AbstractFlow):
    """The cell problem of a coefficient; condition U, state the correctors χ, response A(U).

    Args:
        a: a(U, z) with z (d,) in [0, 1)^d, giving a number or a (d, d) array, in the user's unit of conductivity. The symmetric
            part must be positive semidefinite, with `Spectral` definite; non-symmetric tensors are allowed. U is any pytree
            that `a` understands.
        shape: Grid of the cell; its length is d.
        discretisation: `Spectral()` (the default) for smooth coefficients, `FiniteVolume()` or `FiniteElement()` for jumps,
            `FiniteDifference()`.
        symmetric: True promises a symmetric tensor, False says it may not be. With None a number is symmetric, and a
            tensor is measured in every solve: conjugate gradients where it is symmetric to round-off, else BiCGstab(2).
            The tangent costs no solve where symmetry is promised or evident, so promise it where it holds; a broken
            promise is found in the solve and marks the fiber as failed.
        closed_form: In one dimension take the harmonic mean; False runs the general solver there too.
        max_steps: Largest number of applications of −div(a∇) in one solve.
        passage: Projection (d, d) on the directions along which flux can pass, where it is known (`percolation`): A is exactly
            zero along the others.

    Raises:
        BadInput: A shape, discretisation, number of steps or `passage` that does not fit.

    The state χ has the shape (d, *shape), χ_j first, in units of the cell length, with mean zero. The solve ends when
    √(⟨r_j, P r_j⟩ / A_jj) ≤ tolerance for each j, with r_j = div(a(∇χ_j + e_j)) and P the inverse of −div(ā∇), ā the mean of
    the symmetric part of a: the energy of the residual relative to the energy of the solution. The relative error of the
    energy form of A is at most tolerance² times ā/min a. Where A_jj is a small part of the load ⟨a⟩_jj, at most 1e-10 of it, or
    so small that the residual would have to be below its round-off, that part of the load takes its place; along axes where
    `passage` lets nothing pass, the whole load does.
    """

    a: Callable[[Any, Array], Any]
    shape: tuple[int, ...] = eqx.field(static=True)
    discretisation: AbstractDiscretisation
    declared: bool | None = eqx.field(static=True)
    closed_form: bool = eqx.field(static=True)
    max_steps: int = eqx.field(static=True)
    passage: tuple[tuple[float, ...], ...] | None = eqx.field(static=True)

    def __init__(
        self,
        a: Callable,
        shape=(64, 64),
        discretisation: AbstractDiscretisation | None = None,
        *,
        symmetric: bool | None = None,
        closed_form: bool = True,
        max_steps: int = 2000,
        passage: np.ndarray | None = None,
    ):
        self.a = a
        self.shape = check_shape(shape, "Cell")
        self.discretisation = Spectral() if discretisation is None else discretisation
        if not isinstance(self.discretisation, AbstractDiscretisation):
            raise BadInput(f"Cell: discretisation={discretisation!r}. Give Spectral(), FiniteVolume() or FiniteElement().")
        self.declared, self.closed_form, self.max_steps = symmetric, closed_form, max_steps
        self.passage = None if passage is None else tuple(map(tuple, np.asarray(passage).tolist()))

    @classmethod
    def from_image(
        cls,
        labels,
        values: Any,
        discretisation: AbstractDiscretisation | None = None,
        *,
        borders: Borders = Borders.PERIODIC,
        spacing: tuple[float, ...] | None = None,
        pores: bool | None = None,
        symmetric: bool | None = None,
        closed_form: bool = True,
        max_steps: int = 2000,
    ) -> "Cell":
        """A cell whose pixels or voxels carry labels.

        Args:
            labels: Integers (nx,), (nx, ny) or (nx, ny, nz), or the path of a file that `read_image` takes. The first axis is
                the first direction of A. Grey values and palette indices of a picture are its labels.
            values: For each label a number, a (d, d) array, or a function of U that gives one, by label in a dictionary; or an
                array (n,) or (n, d, d) whose row k belongs to label k; or a function of U that gives such an array. Zero is
                allowed, with all but `Spectral`.
            discretisation: `FiniteVolume()` by default; `FiniteElement()` where a tensor has entries off the diagonal, whose
                jumps finite volumes meet less well.
            borders: What lies beyond the image.
            spacing: Sides of a pixel along each axis, in any unit; pixels are squares or cubes without it.
            pores: False promises that all values are positive at every U that occurs; a broken promise is a failed fiber. Then
                tangents compile faster, which else prepare for values that are zero: functions of U, and traced numbers.
            symmetric: As for `Cell`; None checks numbers and arrays, and measures functions.
            closed_form: As for `Cell`.
            max_steps: As for `Cell`.

        Raises:
            BadInput: A file that is missing or cannot be read, NaN, labels without a value, a value that is negative, or zero
                with `Spectral`, borders that do not fit the discretisation or the tensors.
            MissingExtra: A picture without the extra `fiberax[image]`.
        """
        array, source = read_labels(labels)
        positive = pores is False
        phases = Phases(array, values, source, borders is not Borders.PERIODIC, positive)
        if discretisation is None:
            discretisation = FiniteVolume() if phases.is_diagonal else FiniteElement()
        if isinstance(discretisation, Spectral):
            phases.refuse_singular(source)
        bordered_array, scheme = bordered(array, discretisation, borders)
        scheme = with_spacing(scheme, bordered_array.shape, spacing)
        if bordered_array is not array:
            array, phases = bordered_array, Phases(bordered_array, values, source, True, positive)
        if symmetric is None and phases.known_symmetric:
            symmetric = True
        return cls(
            phases,
            array.shape,
            scheme,
            symmetric=symmetric,
            closed_form=closed_form,
            max_steps=max_steps,
            passage=_passage(scheme, phases.sealed),
        )

    @property
    def d(self) -> int:
        """Dimension of the cell."""
        return len(self.shape)

    @property
    def known_symmetric(self) -> bool:
        """Whether the tensor is known to be symmetric before any U is given."""
        return self.declared is True or self.d == 1

    @property
    def definite(self) -> bool:
        """Whether the coefficient has to be positive: by the discretisation, or by promise."""
        return isinstance(self.discretisation, Spectral) or (isinstance(self.a, Phases) and not self.a.may_be_zero)

    def coefficient(self, condition) -> Float[Array, "..."]:
        """a(U, ·) on the grid, (*shape) for numbers or (d, d, *shape)."""
        if isinstance(self.a, Phases):
            return self.a.field(condition)
        return sample(lambda z: self.a(condition, z), self.discretisation.points(self.shape), self.d)

    def init(self, condition, key):
        """χ = 0, (d, *shape)."""
        return jnp.zeros((self.d, *self.shape))

    def rate(self, state, condition):
        """∇·(a(∇χ_j + e_j)) − Πχ_j, with Π the mean (and, for `Spectral` on even grids, the modes at n/2).

        Πχ starts at zero and stays there, so the relaxation is η ∂_t χ_j = ∇·(a(∇χ_j + e_j)); with it the Jacobian
        is invertible.
        """
        residual, _ = self._medium(condition).balance(state)
        return residual - self.discretisation.unseen(state, self.d)

    def link(self, state, condition):
        """A_ij = ⟨e_i·a(∇χ_j + e_j)⟩, (d, d), at any χ (2.3)."""
        return self._passing(self._medium(condition).balance(state)[1])

    def stationary_link(self, state, condition):
        """A_ij = ⟨(e_i + ∇χ_i)·a(e_j + ∇χ_j)⟩ where a is known to be symmetric; else the correctors follow U."""
        a = self.coefficient(condition)
        if not (self.known_symmetric or a.ndim == self.d):
            return self.link(following(self, state, condition), condition)
        if self._may_have_pores() and a.ndim == self.d:
            return self._passing(energy_beside_pores(self.discretisation, state, a))
        problem = medium(self.discretisation, a, self.d)
        return self._passing(problem.energy(state, *problem.balance(state)))

    @property
    def solver(self):
        return _CellSolver(self.approximate_inverse, symmetric=self.known_symmetric, dense_limit=_DENSE)

    def approximate_inverse(self, residual, condition, shift):
        """(∇·ā∇ − Π − shift)⁻¹ residual, with ā the mean of the symmetric part of a."""
        return -self._medium(condition).invert(residual, shift)

    def balanced(self, a, state, tolerance, base, shift) -> tuple[Array, Outcome]:
        """Correctors of the coefficient a, of a stage where `base` is given, and how the solve ended."""
        sound = is_positive(a, self.d, self.definite) & self._fits(a)
        safe = jnp.where(sound, a, identity_like(a, self.d))
        asymmetric = is_asymmetric(safe, self.d)
        problem = medium(self.discretisation, safe, self.d)
        chi, steps, level, short = self._iterate(problem, state, tolerance, asymmetric, base, shift)
        result = jnp.where(steps >= self.max_steps, Result.MAX_STEPS, Result.STALLED)
        known = level <= tolerance
        if a.ndim == self.d:
            # K is at least min a / mean a of the preconditioner's matrix, so that this bounds the relative error of A.
            known &= ~(short * jnp.mean(safe) > _UNSURE * jnp.min(safe)) | jnp.any(safe == 0)
        result = jnp.where(known, Result.SUCCESS, result)
        if self.declared is True:
            result = jnp.where(asymmetric, Result.STALLED, result)
        result = jnp.where(sound & jnp.isfinite(level), result, Result.NONFINITE)
        return jnp.where(result == Result.NONFINITE, state, chi), outcome(result, steps, level)

    def validate(self, condition) -> None:
        """Check the coefficient at one U, on the grid, before anything is computed.

        Raises:
            BadInput: a(U, z) of the wrong shape, not finite, not positive definite, or not symmetric although promised; with
                the value and the place.
        """
        a = np.asarray(self.coefficient(condition))
        points = self.discretisation.points(self.shape)
        check_positive(a, points, "the coefficient a(U, z)", self.definite)
        if not bool(self._fits(jnp.asarray(a))):
            raise BadInput("Cell: FiniteVolume(held=True) needs numbers or diagonal tensors; a(U, z) has other entries.")
        if self.declared is True and bool(is_asymmetric(jnp.asarray(a), self.d)):
            gap = np.abs(a - np.swapaxes(a, 0, 1)).max()
            raise BadInput(
                f"Cell: symmetric=True, but a and its transpose differ by {gap:.3g}. Leave symmetric=None or set it to False."
            )

    def _medium(self, condition) -> AbstractMedium:
        return medium(self.discretisation, self.coefficient(condition), self.d)

    def _fits(self, a):
        """Whether held ends have no mixed conductivities to deal with."""
        if a.ndim == self.d or not (isinstance(self.discretisation, FiniteVolume) and self.discretisation.held):
            return jnp.asarray(True)
        mixed = 1.0 - jnp.eye(self.d).reshape((self.d, self.d) + (1,) * self.d)
        return jnp.all(mixed * a == 0.0)

    def _may_have_pores(self) -> bool:
        """Whether conductivities of phases are zero, or unknown while they are traced."""
        return isinstance(self.a, Phases) and not self.definite and self.a.may_be_sealed

    def _passing(self, tensor):
        """A without its round-off along directions in which no flux passes."""
        if self.passage is None:
            return tensor
        passage = jnp.asarray(self.passage)
        return passage @ tensor @ passage

    def _least(self, problem: AbstractMedium, tolerance):
        """The energy (d,) that counts in place of a smaller one when residuals are judged."""
        part = judged_part(round_off(self.discretisation, self.shape, problem.a.dtype), tolerance)
        if self.passage is not None:
            part = jnp.where(jnp.diag(jnp.asarray(self.passage)) == 0.0, 1.0, part)
        return part * problem.loads()

    def _iterate(self, problem, state, tolerance, asymmetric, base, shift):
        """Rounds of a Krylov method, each from the true residual: (χ, steps, relative residual, and `short`).

        `short` is the largest squared residual over the energy, of those that are judged by a larger one.
        """
        system, falling = problem.system(shift), base is None
        least = self._least(problem, tolerance)

        def correct(r, scale, budget) -> Progress:
            if problem.a.ndim == self.d or self.known_symmetric:
                return conjugate_gradients(system, r, scale, tolerance, budget, least if falling else None)
            if self.declared is False:
                return bicgstab2(system, r, scale, tolerance, budget)
            # Under vmap both branches run: then no steps are left to the one that does not apply.
            return jax.lax.cond(
                asymmetric,
                lambda: bicgstab2(system, r, scale, tolerance, jnp.where(asymmetric, budget, 0)),
                lambda: conjugate_gradients(
                    system, r, scale, tolerance, jnp.where(asymmetric, 0, budget), least if falling else None
                ),
            )

        def go_on(carry):
            level, taken, rounds = carry[2], carry[5], carry[6]
            return (rounds == 0) | ((level > tolerance) & (taken > 0) & (rounds < _ROUNDS))

        def body(carry):
            candidate, chi, level, short, steps, _, rounds = carry
            residual, flux = problem.balance(candidate)
            r = problem.encode(residual if base is None else residual - shift * (candidate - base))
            energies = jnp.diag(problem.energy(candidate, residual, flux))
            scale, size = jnp.maximum(energies, least), system.dot(r, system.precondition(r))
            found = jnp.sqrt(jnp.max(ratio(size, scale)))
            missed = jnp.max(jnp.where(scale > energies, size / energies, 0.0))
            # At round-off a further round may be worse than the one before.
            better = (rounds == 0) | (found < level)
            chi, level = jnp.where(better, candidate, chi), jnp.where(better, found, level)
            short = jnp.where(better, missed, short)
            idle = (level <= tolerance) | ~better | (rounds == _ROUNDS - 1)  # the last round only measures
            progress = correct(r, scale, jnp.where(idle, 0, self.max_steps - steps))
            candidate = chi + problem.decode(progress.correction)
            return candidate, chi, level, short, steps + progress.steps, progress.steps, rounds + 1

        zero = jnp.zeros((), jnp.int32)
        chi = state - self.discretisation.unseen(state, self.d)
        start = (chi, chi, jnp.asarray(jnp.inf), jnp.zeros(()), zero, zero, zero)
        _, chi, level, short, steps, _, _ = jax.lax.while_loop(go_on, body, start)
        return chi, steps, level, short


class _CellSolver(Newton):
    """Krylov methods with the Fourier preconditioner for correctors and for stages of implicit steps."""

    def solve(self, fiber: Cell, state, condition, tolerance):
        """Correctors from `state` on, to the relative tolerance that `Cell` states; residual in that norm."""
        a = fiber.coefficient(condition)
        if fiber.d == 1 and fiber.closed_form and fiber.discretisation != FiniteVolume(held=True):
            chi = corrector_1d(fiber.discretisation, a.reshape(fiber.shape))[None]
            result = jnp.where(is_positive(a, 1, fiber.definite), Result.SUCCESS, Result.NONFINITE)
            return jnp.where(result == Result.SUCCESS, chi, state), outcome(result)
        return fiber.balanced(a, state, tolerance, None, 0.0)

    def stage(self, fiber: Cell, state, condition, base, shift, tolerance):
        """Correctors of an implicit stage, (−div(a∇) + shift) χ_j = div(a e_j) + shift base_j, by the same method."""
        return fiber.balanced(fiber.coefficient(condition), state, tolerance, base, shift)


def _passage(scheme: AbstractDiscretisation, sealed: np.ndarray | None) -> np.ndarray | None:
    """The projection of `Cell` for pixels that never conduct; None where there are none, or where flux also passes corners."""
    if sealed is None or not isinstance(scheme, FiniteVolume):
        return None
    return percolation(~sealed, held=scheme.held, lengths=scheme.lengths).projection


def check_shape(shape, owner: str) -> tuple[int, ...]:
    """`shape` as a tuple of one to three positive integers, or BadInput."""
    given = (shape,) if np.ndim(shape) == 0 else tuple(shape)
    whole = all(float(n).is_integer() and n >= 1 for n in given)
    if not (1 <= len(given) <= 3 and whole):
        raise BadInput(f"{owner}: shape={shape}. Give one to three whole numbers of grid points, such as (64, 64).")
    return tuple(int(n) for n in given)

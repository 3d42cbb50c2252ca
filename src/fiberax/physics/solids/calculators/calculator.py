"""Any ASE calculator as a Cauchy-Born fiber (3.6), computed outside of JAX on an executor.

Energies, forces and stress come from the calculator, exact for it; second derivatives are central differences of forces and
stress. Both are registered with JAX, so that responses, steady states and relaxation work as for every energy fiber; a third
derivative is refused. Geometry and sources: `calculator_worker.py`.

More than five methods: a fiber's own solver, moduli, stability margin and turned copies come on top of its definition, and
workers to end.
"""

from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from fiberax.core.capabilities import AbstractAssembled, AbstractMonitored, AbstractObjective
from fiberax.core.errors import BadInput, MissingExtra
from fiberax.core.solvers import Minimise
from fiberax.numerics.result import outcome
from fiberax.physics.solids.calculators.calculator_pool import Evaluator
from fiberax.physics.solids.calculators.calculator_worker import FREE, Recipe
from fiberax.physics.solids.crystal.assembly import check_gradient
from fiberax.physics.solids.crystal.base import AbstractCrystal, rotation_of
from fiberax.physics.solids.crystal.ellipticity import acoustic_margin, stability


class CalculatorCrystal(AbstractAssembled, AbstractMonitored, AbstractObjective, AbstractCrystal):
    """A crystal whose energy is an ASE calculator's; condition, state and response as those of `Crystal`, in eV and Å.

    Args:
        atoms: Periodic ASE Atoms, the undeformed cell.
        calculator: An ASE calculator, or a function without arguments that makes one; every worker has its own.
        executor: Any `concurrent.futures.Executor`. None computes one condition in this process, and batches on a pool of
            processes, one per core, which exists until `close()` or the end of the program.
        step: Step of central differences, in A itself and for shifts times the edge of the volume per atom. Noise η of the
            calculator's stress makes an error η/step in tangents: for calculators in single precision use 1e-3.
        allow_unstable: Go on at a saddle of the energy in the shifts, which otherwise is the failure `UNSTABLE` (checked for
            up to nine atoms).

    The tolerance of a solve bounds the last Newton step of the shifts, relative to the edge of the volume per atom. Where the
    calculator fails, the result is `NONFINITE`, and `failures` holds its messages. Its parameters cannot be differentiated.
    """

    evaluator: Evaluator = eqx.field(static=True)

    def __init__(
        self,
        atoms: Any,
        calculator: Any | Callable[[], Any],
        executor: Executor | None = None,
        step: float = 1e-5,
        allow_unstable: bool = False,
    ):
        recipe = Recipe(checked(atoms), _able(calculator), _positive(step), allow_unstable)
        self.evaluator = Evaluator(recipe, executor)

    @property
    def lattice(self) -> np.ndarray:
        """Lattice vectors of the undeformed cell, rows (3, 3)."""
        return self.evaluator.recipe.atoms.cell.array.copy()

    @property
    def basis(self) -> np.ndarray:
        """Fractional coordinates of the undeformed atoms (n, 3)."""
        return self.evaluator.recipe.atoms.get_scaled_positions(wrap=False)

    @property
    def species(self) -> tuple[str, ...]:
        """Chemical symbols of the atoms."""
        return tuple(self.evaluator.recipe.atoms.get_chemical_symbols())

    @property
    def volume(self) -> float:
        """Volume of the undeformed cell."""
        return self.evaluator.recipe.volume

    @property
    def failures(self) -> tuple[str, ...]:
        """The last conditions at which the calculator failed, and its messages."""
        return tuple(self.evaluator.failures)

    def init(self, condition, key):
        check_gradient("CalculatorCrystal", condition, 3)
        return jnp.zeros((len(self.evaluator.recipe.atoms) - 1, 3))

    def energy(self, state, condition):
        return _energy(self.evaluator, state, condition)

    def assemble(self, state, condition, order):
        """W, P and, at order 2, dP/dA with relaxed shifts, by central differences of forces and stress."""
        found = self.energy(state, condition), self.link(state, condition)
        return found if order == 1 else (*found, _tangent(self.evaluator, state, condition))

    @property
    def solver(self):
        return _OnHost()

    def stability_margin(self, state, condition):
        """The smallest acoustic eigenvalue over the largest modulus; that of W_ss likewise where it is clearly negative.

        It costs the second derivatives at one state, 6 (n + 2) evaluations for n atoms, none where the tangent was there.
        Steady states and continuation look at it once for each state they accept, `fx.evolve` at save times only: explicit
        steps never pay for it.
        """
        state, condition = jax.lax.stop_gradient((state, condition))
        matrix, m = _jacobian(self.evaluator, state, condition), state.size
        moduli, inner = matrix[m:, m:], matrix[:m, :m]
        if m == 0:
            return acoustic_margin(moduli.reshape(3, 3, 3, 3))
        inner = jnp.where(jnp.all(jnp.isfinite(matrix)), 0.5 * (inner + inner.T), jnp.eye(m))
        values, vectors = jnp.linalg.eigh(inner)
        largest = jnp.max(jnp.abs(values))
        stiff = jnp.abs(values) > 1e-10 * largest
        followed = (vectors * jnp.where(stiff, 1.0 / jnp.where(stiff, values, 1.0), 0.0)) @ (vectors.T @ matrix[:m, m:])
        result = acoustic_margin((moduli - matrix[m:, :m] @ followed).reshape(3, 3, 3, 3))
        return jnp.where(values[0] < -FREE * largest, jnp.minimum(result, values[0] / largest), result)

    def explain(self, state, condition):
        """What was lost where `stability_margin` is not positive, with its direction and mode."""
        return stability(self, condition, state).in_words()

    def second_derivatives(self, state, condition):
        matrix, moduli = self.evaluator.jacobians(state, condition), self.evaluator.tangents(state, condition)
        order = np.roll(np.arange(len(matrix)), 9)
        return (0.5 * (matrix + matrix.T))[np.ix_(order, order)], moduli

    def moved(self, lattice, positions) -> "CalculatorCrystal":
        """The same atoms in another undeformed cell, rows (3, 3), at other positions (n, 3), with workers of its own."""
        recipe = self.evaluator.recipe
        atoms = recipe.atoms.copy()
        atoms.set_cell(lattice)
        atoms.positions = positions
        return CalculatorCrystal(atoms, recipe.calculator, self.evaluator.executor, recipe.step, recipe.allow_unstable)

    def rotated(self, rotation) -> "CalculatorCrystal":
        """The same crystal turned in space, v ↦ R v for a proper rotation R (3, 3). Raises `BadInput` for another matrix."""
        R = rotation_of("CalculatorCrystal.rotated", rotation, 3)
        atoms = self.evaluator.recipe.atoms
        return self.moved(atoms.cell.array @ R.T, atoms.positions @ R.T)

    def close(self) -> None:
        """End the worker processes that the fiber started; an executor of the caller keeps running."""
        self.evaluator.close()


def checked(atoms):
    """A bare copy of `atoms`, periodic in three directions."""
    try:
        from ase import Atoms
    except ImportError as error:
        raise MissingExtra("from_ase needs ase: install `fiberax[atoms]`.") from error
    if not isinstance(atoms, Atoms):
        raise BadInput(f"from_ase: atoms must be ase.Atoms; it is {type(atoms).__name__}.")
    if not len(atoms):
        raise BadInput("from_ase: atoms is empty. Give the atoms of one cell.")
    if not all(atoms.pbc) or atoms.cell.rank < 3:
        raise BadInput(
            f"from_ase: a crystal is periodic in three directions; atoms has pbc={atoms.pbc.tolist()} and "
            f"{atoms.cell.rank} lattice vectors. Set atoms.cell and atoms.pbc = True."
        )
    if atoms.constraints:
        raise BadInput("from_ase: atoms has constraints, which shifts would not keep. Remove them with atoms.set_constraint().")
    return atoms.copy()


def _able(calculator):
    """The calculator, checked to give stress as far as it declares this."""
    from ase.calculators.calculator import BaseCalculator

    if not isinstance(calculator, BaseCalculator) and not callable(calculator):
        raise BadInput(
            f"from_ase: potential must be a fx.solids.potentials one, an ASE calculator, or a function that makes one; it is a "
            f"{type(calculator).__name__}."
        )
    if isinstance(calculator, BaseCalculator):
        missing = {"energy", "forces", "stress"} - set(calculator.implemented_properties)
        if missing:
            raise BadInput(
                f"from_ase: {type(calculator).__name__} gives no {', '.join(sorted(missing))}; a crystal needs energy, "
                "forces and stress. Take another calculator, or other settings of it."
            )
    return calculator


def _positive(step: float) -> float:
    if not 0.0 < step < 0.1:
        raise BadInput(f"from_ase: step of the finite differences must lie between 0 and 0.1; it is {step!r}.")
    return float(step)


class _OnHost(Minimise):
    """The calculator's own relaxation, outside of JAX."""

    def solve(self, fiber: CalculatorCrystal, state, condition, tolerance):
        shapes = _like(state.shape), _whole(()), _whole(()), _like(())
        host = _converted(fiber.evaluator.relaxed, shapes)
        state, condition = jax.lax.stop_gradient((state, condition))
        found, result, steps, residual = _call(host, shapes, state, condition, jnp.asarray(tolerance, float))
        return found, outcome(result, steps, residual)


def _like(shape) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.result_type(float))


def _whole(shape) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.int32)


def _converted(function, shapes):
    """`function` of numpy arrays with any leading axes, its results in the declared types."""
    return lambda *args: jax.tree.map(lambda s, x: np.asarray(x, s.dtype), shapes, function(*map(np.asarray, args)))


def _call(host, shapes, *arguments):
    """One callback for a whole batch: mapped axes come first and go to the executor together."""
    return jax.pure_callback(host, shapes, *arguments, vmap_method="broadcast_all")


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _energy(evaluator: Evaluator, state, condition):
    shape = _like(())
    return _call(_converted(lambda s, a: evaluator.points(s, a)[0], shape), shape, state, condition)


@_energy.defjvp
def _energy_jvp(evaluator, primals, tangents):
    by_state, by_condition = _gradient(evaluator, *primals)
    return _energy(evaluator, *primals), jnp.sum(by_state * tangents[0]) + jnp.sum(by_condition * tangents[1])


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _gradient(evaluator: Evaluator, state, condition):
    shapes = _like(state.shape), _like((3, 3))
    return _call(_converted(lambda s, a: evaluator.points(s, a)[1:], shapes), shapes, state, condition)


@_gradient.defjvp
def _gradient_jvp(evaluator, primals, tangents):
    matrix = _jacobian(evaluator, *primals)
    moved = matrix @ jnp.concatenate([tangents[0].ravel(), tangents[1].ravel()])
    m = primals[0].size
    return _gradient(evaluator, *primals), (moved[:m].reshape(primals[0].shape), moved[m:].reshape(3, 3))


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _jacobian(evaluator: Evaluator, state, condition):
    shape = _like((state.size + 9, state.size + 9))
    return _call(_converted(evaluator.jacobians, shape), shape, state, condition)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _tangent(evaluator: Evaluator, state, condition):
    shape = _like((3, 3, 3, 3))
    return _call(_converted(evaluator.tangents, shape), shape, state, condition)


@_tangent.defjvp
@_jacobian.defjvp
def _no_third(evaluator, primals, tangents):
    raise BadInput(
        "An ASE calculator has no third derivatives: its first ones are forces and stress, its second ones finite differences. "
        "Differentiate tangents by finite differences of fx.response, or use a potential of fx.solids.potentials."
    )

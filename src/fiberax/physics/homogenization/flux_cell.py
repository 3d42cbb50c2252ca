"""The cell problem of a nonlinear flux law (docs: mathematics, Homogenization).

The fiber takes (U, G), the response is the mean flux.

    ∇_z·q(U, G + ∇_z χ, z) = 0,   ⟨χ⟩ = 0,   Q(U, G) = ⟨q(U, G + ∇_z χ, z)⟩

With q = a(U, z) g it is the linear problem of (2.2), and Q = A(U) G. Notation as in `cell`.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from fiberax.core.errors import BadInput
from fiberax.core.fiber import AbstractFlow
from fiberax.core.solvers import Newton
from fiberax.numerics.conjugate_gradients import ratio
from fiberax.numerics.newton import backtrack
from fiberax.numerics.result import Outcome, Result, outcome
from fiberax.physics.homogenization.borders import with_spacing
from fiberax.physics.homogenization.cell import check_shape
from fiberax.physics.homogenization.discretisation import (
    AbstractDiscretisation,
    FiniteDifference,
    FiniteElement,
    Spectral,
    axes,
    fourier_filter,
)
from fiberax.physics.homogenization.images import for_a_list, numbered, read_labels
from fiberax.physics.homogenization.krylov import bicgstab2, conjugate_gradients
from fiberax.physics.homogenization.medium import (
    System,
    inverse_symbol,
    judged_part,
    krylov_symbol,
    real_system,
    round_off,
)

_ASYMMETRY = 1e-12
_HALVINGS = 40
_SAMPLE = 64
_OFF = 1e-12  # gradient beside zero, in each of its components, at which derivatives at zero are taken
_STIFFEST = 1e-12  # part of the mean tangent that keeps its inverse finite
_DENSE = 8  # as for `Cell`


class FluxCell(AbstractFlow):
    """The cell problem of a flux law; condition (U, G) with G (d,), state the corrector χ, response the mean flux (d,).

    Args:
        q: q(U, g, z) with g and z (d,), giving the flux (d,) along the gradient: q = a g in the linear case. Monotone in g:
            the symmetric part of ∂q/∂g positive definite at the solution.
        shape: Grid of the cell; its length is d.
        discretisation: `Spectral()` (the default) for laws smooth in z, `FiniteElement()` for jumps, `FiniteDifference()`.
            Elements take g at 2^d Gauss points for each pixel and z at its centre.
        symmetric: True promises that ∂q/∂g is symmetric (the flux has a potential in g), False says it may not be. With None
            it is measured in each Newton step: conjugate gradients where it is symmetric to round-off, else BiCGstab(2). The
            solution does not depend on the promise, since Newton judges by the flux itself; the tangent does.
        max_steps: Largest number of Newton steps.

    Raises:
        BadInput: A shape, discretisation or number of steps that does not fit.

    The state χ has the shape (*shape), in units of U, with mean zero. The solve ends when √(⟨r, P r⟩ / ⟨q·ā⁻¹q⟩) ≤ tolerance,
    with r = div q, P the inverse of −div(ā∇) and ā the mean of the symmetric part of ∂q/∂g: the share of the flux that is out
    of balance. Where the flux is a small part of that at the homogeneous gradient G, that part counts, as for `Cell`. Newton
    steps are halved until the residual falls. Laws of |g| may have no derivative at g = 0. Derivatives there
    are taken 1e-12 beside zero, in each component: the derivative where there is one, and finite where there is none.
    """

    q: Callable[[Any, Array, Array], Array]
    shape: tuple[int, ...] = eqx.field(static=True)
    discretisation: AbstractDiscretisation
    declared: bool | None = eqx.field(static=True)
    max_steps: int = eqx.field(static=True)

    def __init__(
        self,
        q: Callable,
        shape=(64, 64),
        discretisation: AbstractDiscretisation | None = None,
        *,
        symmetric: bool | None = None,
        max_steps: int = 60,
    ):
        self.q = q
        self.shape = check_shape(shape, "FluxCell")
        self.discretisation = Spectral() if discretisation is None else discretisation
        if not isinstance(self.discretisation, Spectral | FiniteElement | FiniteDifference):
            raise BadInput(
                f"FluxCell: discretisation={discretisation!r}. Give Spectral(), FiniteElement() or FiniteDifference()."
            )
        self.declared, self.max_steps = symmetric, max_steps

    @classmethod
    def from_image(
        cls,
        labels,
        laws: dict[int, Callable[[Any, Array], Array]] | Sequence[Callable[[Any, Array], Array]],
        discretisation: AbstractDiscretisation | None = None,
        *,
        spacing: tuple[float, ...] | None = None,
        symmetric: bool | None = None,
        max_steps: int = 60,
    ) -> "FluxCell":
        """A cell whose pixels or voxels carry labels, with a flux law for each label.

        Args:
            labels: As for `Cell.from_image`.
            laws: For each label, or in a list for the labels 0, 1, ..., a function q(U, g) of the gradient g (d,) that gives
                the flux (d,), `lambda U, g: k @ g` for a tensor, `lambda U, g: 0.0 * g` for a phase that does not conduct.
            discretisation: `FiniteElement()` by default.
            spacing: As for `Cell.from_image`.
            symmetric: As for `FluxCell`.
            max_steps: As for `FluxCell`.

        Raises:
            BadInput: What `read_image` refuses, labels without a law, laws that are no functions.
            MissingExtra: A picture without the extra `fiberax[image]`.
        """
        array, source = read_labels(labels)
        found, index = numbered(array)
        listed = not isinstance(laws, dict)
        laws = dict(enumerate(laws)) if listed else laws
        for label, law in laws.items():
            if not callable(law):
                raise BadInput(f"the law of label {label} is {law!r}. Give a function, such as lambda U, g: 2.0 * g.")
        missing = [int(v) for v in found if int(v) not in laws]
        if missing:
            given = f"Laws were given for {sorted(laws)}; give one for each label."
            advice = for_a_list(len(laws), found, "laws") if listed else given
            raise BadInput(f"{source}: no law for label {missing[0]}. {advice}")
        scheme = with_spacing(FiniteElement() if discretisation is None else discretisation, array.shape, spacing)
        law = PhaseLaws(jnp.asarray(index), tuple(laws[int(v)] for v in found), tuple(int(v) for v in found))
        return cls(law, array.shape, scheme, symmetric=symmetric, max_steps=max_steps)

    @property
    def known_symmetric(self) -> bool:
        """Whether ∂q/∂g is promised to be symmetric."""
        return self.declared is True or len(self.shape) == 1

    def init(self, condition, key):
        """χ = 0, (*shape). Raises `BadInput` for a law that does not give a flux (d,)."""
        self._check(condition)
        return jnp.zeros(self.shape)

    def rate(self, state, condition):
        """∇·q(U, G + ∇χ, z) − s Πχ, with Π as in `Cell.rate`, and s of the size of ∂q/∂g.

        Without s linear solves would lose all digits where the law hardly conducts, as |g|²g does near zero.
        """
        flux = self._flux(state, condition)
        return self.discretisation.divergence(flux) - self._size(condition) * self.discretisation.unseen(state, len(self.shape))

    def link(self, state, condition):
        """⟨q(U, G + ∇χ, z)⟩, (d,), at any χ."""
        d = len(self.shape)
        return jnp.mean(self._flux(state, condition), axis=(0, *axes(d)))

    @property
    def solver(self):
        return _FluxSolver(self.approximate_inverse, symmetric=self.known_symmetric, dense_limit=_DENSE)

    def approximate_inverse(self, residual, condition, shift):
        """(∇·ā∇ − s Π − shift)⁻¹ residual, with ā the mean tangent of the law at the homogeneous gradient G."""
        mean, size = _reference(self._tangent(jnp.zeros(self.shape), condition)), self._size(condition)
        inverse = inverse_symbol(self.discretisation, mean / size, self.shape, len(self.shape) == 1, shift / size)
        return -fourier_filter(residual[None], inverse)[0] / size

    def _size(self, condition):
        """The largest mean diagonal entry of ∂q/∂g at the homogeneous gradient G, over at most `_SAMPLE` pixels; else 1."""
        points = self.discretisation.points(self.shape).reshape(-1, len(self.shape))
        z = jnp.asarray(points[:: -(-len(points) // _SAMPLE)])
        self._check(condition)
        slope = jax.jacfwd(self._numbers, argnums=1)
        traces = jax.vmap(lambda z: jnp.trace(slope(condition[0], _off_zero(condition[1]), z)))(z)
        size = jax.lax.stop_gradient(jnp.max(traces)) / len(self.shape)
        return jnp.where(size > 0.0, size, 1.0)

    def balanced(self, state, condition, tolerance) -> tuple[Array, Outcome]:
        """Damped Newton from `state`, each linear problem by a Krylov method with the Fourier preconditioner."""
        d = len(self.shape)
        state = state - self.discretisation.unseen(state, d)

        def go_on(carry: _Newton):
            return (carry.level > tolerance) & (carry.step < self.max_steps) & ~carry.stuck

        def body(carry: _Newton):
            problem = self._problem(carry.chi, condition)
            r = self.discretisation.divergence(carry.flux)
            forcing = jnp.clip(carry.level, 0.1 * tolerance / carry.level, 0.1)
            direction = self._direction(problem, r, forcing)
            chi, flux, fell = self._backtrack(problem.system, carry.chi, direction, condition, r)
            chi, flux = jnp.where(fell, chi, carry.chi), jnp.where(fell, flux, carry.flux)
            level = self._level(chi, flux, condition, least)
            return _Newton(chi, flux, level, carry.step + 1, ~fell)

        flux = self._flux(state, condition)
        part = judged_part(round_off(self.discretisation, self.shape, flux.dtype), tolerance)
        least = part, self._flux(jnp.zeros(self.shape), condition)
        level = self._level(state, flux, condition, least)
        start = _Newton(state, flux, level, jnp.zeros((), jnp.int32), ~jnp.isfinite(level))
        end = jax.lax.while_loop(go_on, body, start)
        result = jnp.where(end.stuck, Result.STALLED, Result.MAX_STEPS)
        result = jnp.where(end.level <= tolerance, Result.SUCCESS, result)
        result = jnp.where(jnp.isfinite(end.level), result, Result.NONFINITE)
        return end.chi, outcome(result, end.step, end.level)

    def _numbers(self, U, g, z):
        """q(U, g, z) as an array of numbers."""
        return jnp.asarray(self.q(U, g, z), dtype=float)

    def _check(self, condition) -> None:
        """`BadInput` unless the law gives a flux (d,)."""
        d = len(self.shape)
        if isinstance(self.q, PhaseLaws):
            self.q.check(condition[0], d)
        else:
            check_law(self.q, "FluxCell: q(U, g, z)", (condition[0], jnp.zeros(d), jnp.zeros(d)))

    def _gradient(self, state, condition):
        gradient = self.discretisation.gradient(state)
        return gradient + jnp.reshape(condition[1], (1, -1) + (1,) * len(self.shape))

    def _pointwise(self, function, state, condition):
        """`function(U, g, z)` at every quadrature point; results with their own axes between q and *shape."""
        d = len(self.shape)
        g = self._gradient(state, condition)
        at_points = jnp.moveaxis(g.reshape(g.shape[0], d, -1), 1, 2)
        z = jnp.asarray(self.discretisation.points(self.shape).reshape(-1, d))
        one = jax.vmap(lambda g, z: jnp.asarray(function(condition[0], g, z), dtype=float))
        values = jax.vmap(lambda g: one(g, z))(at_points)
        return jnp.moveaxis(values, 1, -1).reshape(g.shape[0], *values.shape[2:], *self.shape)

    def _flux(self, state, condition):
        self._check(condition)
        return self._pointwise(lambda U, g, z: _law(self.q, U, g, z), state, condition)

    def _tangent(self, state, condition):
        """∂q_i/∂g_j at the quadrature points, (q, d, d, *shape)."""
        return self._pointwise(lambda U, g, z: jax.jacfwd(self._numbers, argnums=1)(U, _off_zero(g), z), state, condition)

    def _problem(self, state, condition) -> "_Linear":
        tangent = self._tangent(state, condition)

        def apply(x):
            flux = jnp.einsum("qkl...,ql...->qk...", tangent, self.discretisation.gradient(x[0]))
            return -self.discretisation.divergence(flux)[None]

        inverse = krylov_symbol(self.discretisation, _reference(tangent), self.shape, len(self.shape) == 1)
        system = real_system(apply, inverse, len(self.shape))
        gap = jnp.max(jnp.abs(tangent - jnp.swapaxes(tangent, 1, 2)))
        return _Linear(system, gap > _ASYMMETRY * jnp.max(jnp.abs(tangent)))

    def _direction(self, problem: "_Linear", r, forcing, budget: int = 2000):
        system = problem.system
        scale = system.dot(r[None], system.precondition(r[None]))
        if self.known_symmetric:
            return conjugate_gradients(system, r[None], scale, forcing, budget).correction[0]
        if self.declared is False:
            return bicgstab2(system, r[None], scale, forcing, budget).correction[0]
        asymmetric = problem.asymmetric
        # Under vmap both branches run: then no steps are left to the one that does not apply.
        found = jax.lax.cond(
            asymmetric,
            lambda: bicgstab2(system, r[None], scale, forcing, jnp.where(asymmetric, budget, 0)),
            lambda: conjugate_gradients(system, r[None], scale, forcing, jnp.where(asymmetric, 0, budget)),
        )
        return found.correction[0]

    def _backtrack(self, system, chi, direction, condition, r):
        """The largest step 2^-k that lowers ‖div q‖_P, the flux there, and whether there is one."""

        def square(flux):
            r = self.discretisation.divergence(flux)[None]
            return system.dot(r, system.precondition(r))[0]

        before = system.dot(r[None], system.precondition(r[None]))[0]

        def attempt(length):
            flux = self._flux(chi + length * direction, condition)
            return flux, square(flux)

        def accepts(length, found):
            return found[1] <= (1.0 - 1e-4 * length) ** 2 * before

        length, (flux, new) = backtrack(attempt, accepts, _HALVINGS)
        return chi + length * direction, flux, new < before

    def _level(self, chi, flux, condition, least):
        """Share of the flux that is out of balance, as the class states it; `least`: a part, and the flux it is a part of."""
        mean = _reference(self._tangent(chi, condition))
        r = self.discretisation.divergence(flux)[None]
        inverse = krylov_symbol(self.discretisation, mean, self.shape, len(self.shape) == 1)
        lost = jnp.mean(r * fourier_filter(r, inverse))

        def energy(flux):
            columns = jnp.moveaxis(flux, 1, 0).reshape(len(self.shape), -1)
            return jnp.sum(jnp.linalg.solve(mean, columns) * columns) / columns.shape[1]

        return jnp.sqrt(ratio(lost, jnp.maximum(energy(flux), least[0] * energy(least[1]))))


class PhaseLaws(eqx.Module):
    """The flux law q(U, g, z) of an image: laws q(U, g) and labels of its phases, and the phase (*shape) of each pixel."""

    index: Int[Array, " *shape"]
    laws: tuple[Callable[[Any, Array], Array], ...]
    labels: tuple[int, ...] = eqx.field(static=True)

    def check(self, U, d: int) -> None:
        """`BadInput` for the first law that does not give a flux (d,)."""
        for label, law in zip(self.labels, self.laws, strict=True):
            check_law(law, f"FluxCell: the law q(U, g) of label {label}", (U, jnp.zeros(d)))

    def __call__(self, condition, g, z):
        place = jnp.clip(jnp.floor(z * jnp.asarray(self.index.shape)).astype(int), 0, jnp.asarray(self.index.shape) - 1)
        branches = [lambda g, law=law: jnp.asarray(law(condition, g), dtype=float) for law in self.laws]
        return jax.lax.switch(self.index[tuple(place)], branches, g)


def check_law(law: Callable, told: str, arguments: tuple) -> None:
    """`BadInput` unless a law gives a flux like its second argument, the gradient (d,)."""
    wanted = jnp.shape(arguments[1])
    try:
        found = jax.eval_shape(lambda *given: jnp.asarray(law(*given)), *arguments)
    except Exception as error:  # code of users may raise anything
        first = str(error).strip().splitlines() or [type(error).__name__]
        raise BadInput(f"{told} cannot be called with a gradient {wanted}, or gives no array: {first[0]}") from error
    if found.shape != wanted or not jnp.issubdtype(found.dtype, jnp.number) or jnp.iscomplexobj(found):
        raise BadInput(
            f"{told} gives {found.dtype} numbers of the shape {found.shape}. A flux {wanted} of real numbers is needed, one "
            "along each axis, such as 2.0 * g."
        )


class _FluxSolver(Newton):
    """Newton's method whose linear problems are solved by Krylov methods with the Fourier preconditioner."""

    def solve(self, fiber: FluxCell, state, condition, tolerance):
        return fiber.balanced(state, condition, tolerance)


class _Newton(NamedTuple):
    chi: Float[Array, " *shape"]
    flux: Array
    level: Float[Array, ""]
    step: Int[Array, ""]
    stuck: Array


class _Linear(NamedTuple):
    system: System
    asymmetric: Array


def _reference(tangent):
    """Mean of the symmetric part of a tangent (q, d, d, *shape), (d, d); the unit tensor where nothing conducts."""
    mean = jnp.mean(tangent, axis=(0, *range(3, tangent.ndim)))
    mean = 0.5 * (mean + mean.T)
    size = jnp.trace(mean)
    return jnp.where(size > 0.0, mean + _STIFFEST * size * jnp.eye(len(mean)), jnp.eye(len(mean)))


def _off_zero(g):
    """G, moved by `_OFF` where it is exactly zero: laws in |g| have no derivative there that could be computed."""
    return g + jnp.where(jnp.all(g == 0.0), _OFF, 0.0)


@eqx.filter_custom_jvp
def _law(q, U, g, z):
    """q(U, g, z), differentiated at `_off_zero(g)`."""
    return jnp.asarray(q(U, g, z), dtype=float)


@_law.def_jvp
def _differentiate(primals, tangents):
    q, U, g, z = primals
    beside = lambda q, U, g, z: jnp.asarray(q(U, g, z), dtype=float)
    slope = eqx.filter_jvp(beside, (q, U, _off_zero(g), z), tangents)[1]
    return _law(q, U, g, z), slope

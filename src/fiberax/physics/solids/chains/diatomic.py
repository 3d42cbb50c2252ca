"""The one-dimensional diatomic chain (4.9)-(4.12).

    W(A, p) = { V(p) + V₂(ℓ(1 + A) − p) } / ℓ        per reference length; ℓ = 1 and V₂ = V in the paper

The response F = dW/dA comes from the library's Hellmann-Feynman link (4.6); it has no formula here.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fiberax.core.bundle import describe_shapes
from fiberax.core.capabilities import AbstractMonitored
from fiberax.core.errors import BadInput
from fiberax.core.fiber import AbstractEnergy
from fiberax.core.solvers import Minimise
from fiberax.numerics import trees
from fiberax.numerics.result import Outcome, Result

_LEAN = 1e-3


class DiatomicChain(AbstractMonitored, AbstractEnergy):
    """A chain of two atoms per cell, neighbours bound by V(r); condition the strain A, response the force F, both numbers.

    Args:
        V: Energy of a bond of length r, a function of one number.
        second: Energy of the bond between a cell and the next where it is another one; by default V.
        length: Length ℓ of the cell at A = 0, in the unit of r. The paper's is 1; a chain at rest has twice the bond length.

    The state p is the length of the first bond, a number. `init` is the middle, p = (1 + A)ℓ/2, the equilibrium of equal bonds
    up to the strain where V'' changes sign and a saddle beyond it. There one bond breaks: the minimiser goes on to the unequal
    pair, and `stability_margin` is negative on both branches. The tolerance of solves bounds the residual relative to that of
    a state 0.1 % off the middle. For A ≤ −1, a cell turned inside out, the fiber is not defined: `NONFINITE`, and NaN.

    Raises:
        BadInput: V or second is not a function of one number with one number as its value, or length is not positive.
    """

    V: Callable
    second: Callable
    length: Float[Array, ""]

    def __init__(self, V: Callable, second: Callable | None = None, length: float = 1.0):
        self.V = check_function("DiatomicChain: V", V, "the bond length r")
        self.second = V if second is None else check_function("DiatomicChain: second", second, "the bond length r")
        self.length = check_positive("DiatomicChain: length", length)

    def init(self, condition, key):
        return 0.5 * self.length * (1.0 + condition)

    def energy(self, state, condition):
        bonds = self.V(state) + self.second(self.length * (1.0 + condition) - state)
        return where_upright(condition, bonds / self.length)

    @property
    def solver(self):
        return _Chain()

    def stability_margin(self, state, condition):
        """The smaller of W_pp ℓ² and of the modulus C = W_AA − W_Ap²/W_pp, both in the unit of F; W_pp ℓ² alone if negative."""
        hessian = jax.hessian(lambda pair: self.energy(self.length * pair[0], pair[1]))
        (pp, pa), (_, aa) = hessian(jnp.stack([state / self.length, condition]))
        stable = pp > 0.0
        return jnp.where(stable, jnp.minimum(pp, aa - pa**2 / jnp.where(stable, pp, 1.0)), pp)


class _Chain(Minimise):
    def solve(self, fiber: DiatomicChain, state, condition, tolerance):
        leaning = _Leaning(fiber.V, fiber.second, fiber.length)
        found, out = super().solve(leaning, state, condition, tolerance)
        return found, upright(condition, out)


class _Leaning(DiatomicChain):
    """The chain with an `init` off the equilibrium, whose residual is the reference of tolerances."""

    def init(self, condition, key):
        return (1.0 - _LEAN) * super().init(condition, key)


def where_upright(condition, value):
    """`value`, NaN with all its derivatives where 1 + A ≤ 0."""
    return value * jnp.where(1.0 + condition > 0.0, 1.0, jnp.nan)


def upright(condition, out: Outcome) -> Outcome:
    """`out`, with the code `NONFINITE` where 1 + A ≤ 0."""
    return out._replace(result=jnp.where(1.0 + condition > 0.0, out.result, jnp.int32(Result.NONFINITE)))


def check_function(what: str, function, argument: str) -> Callable:
    """`function`, if it takes one number to one number. Raises `BadInput`; `argument` says what the number is."""
    if not callable(function):
        raise BadInput(f"{what} must be a function of {argument}; it is {function!r}.")
    try:
        value = eqx.filter_eval_shape(function, jax.ShapeDtypeStruct((), jnp.result_type(float)))
    except Exception as error:
        raise BadInput(f"{what} cannot be computed on one number, {argument}: {type(error).__name__}: {error}") from error
    leaves = jax.tree.leaves(value)
    if len(leaves) != 1 or leaves[0] is not value or jnp.shape(value) != ():
        raise BadInput(f"{what} must give one number for one number, {argument}; it gives {describe_shapes(value)}.")
    return function


def check_positive(what: str, value) -> Array:
    """`value` as an array, if it is a positive finite number (a traced one is taken as it is). Raises `BadInput`."""
    if not trees.is_tracer(value) and not (jnp.ndim(value) == 0 and 0.0 < float(value) < float("inf")):
        raise BadInput(f"{what} must be a positive number; it is {value}.")
    return jnp.asarray(value, jnp.result_type(float, value))

"""Moduli: the second derivatives of W, electrons and atoms at rest with the deformation.

With parameters θ (A, and shifts that relax) and electrons u, C = W_θθ − W_θu W_uu⁻¹ W_uθ, and the shifts are eliminated in the
same way. W_uu is the Hamiltonian with the answer of the potential (S. Baroni, S. de Gironcoli, A. Dal Corso, P. Giannozzi, Rev.
Mod. Phys. 73 (2001) 515). The others are differences of the first derivatives at fixed electrons, which are explicit functions:
of fourth order, so that nine or ten digits remain. Automatic second derivatives would take three times as long to compile.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fiberax.numerics.conjugate_gradients import conjugate_gradients
from fiberax.physics.solids.electrons import fourier, sphere, stiefel
from fiberax.physics.solids.electrons import hamiltonian as h
from fiberax.physics.solids.electrons.bloch import Coefficients

_STEP = 3e-4
_WEIGHTS = ((-2.0, 1.0 / 12.0), (-1.0, -2.0 / 3.0), (1.0, 2.0 / 3.0), (2.0, -1.0 / 12.0))
_TOLERANCE = 1e-11
_MOST = 400


def second_derivatives(energy: Callable, electrons: Any, follow: Callable, parameters: Float[Array, " n"]) -> tuple:
    """W, dW/dθ (n,) and d²W/dθ² (n, n) at electrons that follow.

    Args:
        energy: (u, θ) -> W.
        electrons: u, one array of real numbers, at rest.
        follow: What W_uu⁻¹ makes of a change of ∂W/∂u.
        parameters: θ.
    """
    size = parameters.size
    first = jax.value_and_grad(lambda at, u: energy(u, at), argnums=(0, 1))
    steps = [(k, offset, weight / _STEP) for k in range(size) for offset, weight in _WEIGHTS] + [(size, 0.0, 1.0)]
    places, offsets, weights = (jnp.asarray(column) for column in zip(*steps))

    def add(total, x):
        place, offset, weight = x
        value, (slope, force) = first(parameters.at[place].add(offset * _STEP, mode="drop"), electrons)
        return jax.tree.map(lambda t, new: t.at[place].add(weight * new), total, (value, slope, force)), None

    none = (jnp.zeros(size + 1), jnp.zeros((size + 1, size)), jnp.zeros((size + 1, *electrons.shape)))
    (values, slopes, forces), _ = jax.lax.scan(add, none, (places, offsets, weights))
    forces = forces[:size].reshape(size, -1)
    answers = jax.lax.map(lambda force: follow(force.reshape(electrons.shape)).reshape(-1), forces)
    second = slopes[:size] - forces @ answers.T
    return values[size], slopes[size], 0.5 * (second + second.T)


def orbitals_follow(s: h.Setting, share: Float[Array, "k bands"], c: Coefficients, scale: Any) -> Callable:
    """`follow` for orthonormal orbitals (2, k, bands, g), real and imaginary parts first; `scale` is W over the energy."""
    weighed = lambda a, b: jnp.einsum("kb,kbg,kbg->", share, a.conj(), b).real
    softened = lambda r: stiefel.horizontal(c, h.softened(s, r))
    curvature = stiefel.curvature(s, share, c)

    def follow(force):
        right = stiefel.horizontal(c, (force[0] + 1j * force[1]) / (2.0 * scale * share[..., None]))
        found = _solved(curvature, softened, weighed, right)
        return jnp.stack([found.real, found.imag])

    return follow


def density_follows(problem: sphere.Sphere, u: Float[Array, "n1 n2 n3"], scale: Any) -> Callable:
    """`follow` for u with mean(u²) = 1; `scale` is δW/δu over H u."""
    dot = lambda a, b: jnp.mean(a * b)
    across = lambda w: w - dot(u, w) * u
    curvature = sphere.curvature(problem, u)

    def follow(force):
        right = across(fourier.within(force * (u.size / scale)))
        return _solved(curvature, lambda r: across(problem.precondition(fourier.forward(r))[0]), dot, right)

    return follow


def _solved(curvature: Callable, precondition: Callable, dot: Callable, right: Any) -> Any:
    """The solution, NaN where conjugate gradients do not end."""
    found = conjugate_gradients(curvature, precondition, dot, right, dot(right, right), _TOLERANCE, _MOST, "residual")
    return jnp.where(found.steps < _MOST, found.correction, jnp.nan)


def eliminated(second: Float[Array, "n n"], kept: int) -> Float[Array, "kept kept"]:
    """Second derivatives by the first `kept` parameters, the others at rest."""
    if len(second) == kept:
        return second
    across = second[:kept, kept:]
    return second[:kept, :kept] - across @ jnp.linalg.solve(second[kept:, kept:], across.T)


def tensor(second: Float[Array, "n n"]) -> Float[Array, "3 3 3 3"]:
    """C, where the first nine parameters are A and the others are at rest."""
    return eliminated(second, 9).reshape(3, 3, 3, 3)

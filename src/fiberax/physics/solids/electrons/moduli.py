"""Moduli of orbitals: the second derivatives of W, orbitals and atoms at rest with the deformation.

With parameters θ (A, and shifts that relax) and orbitals c, C = W_θθ − W_θc W_cc⁻¹ W_cθ, and the shifts are eliminated in the
same way. W_cc is the Hamiltonian with the answer of the potential (S. Baroni, S. de Gironcoli, A. Dal Corso, P. Giannozzi, Rev.
Mod. Phys. 73 (2001) 515). The others are differences of the first derivatives at fixed orbitals, which are explicit functions:
of fourth order, so that nine or ten digits remain. Automatic second derivatives would take three times as long to compile.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fiberax.numerics.conjugate_gradients import conjugate_gradients
from fiberax.physics.solids.electrons import hamiltonian as h
from fiberax.physics.solids.electrons import stiefel
from fiberax.physics.solids.electrons.bloch import Coefficients

_STEP = 3e-4
_WEIGHTS = ((-2.0, 1.0 / 12.0), (-1.0, -2.0 / 3.0), (1.0, 2.0 / 3.0), (2.0, -1.0 / 12.0))
_TOLERANCE = 1e-11
_MOST = 400


def second_derivatives(
    energy: Callable, s: h.Setting, share: Float[Array, "k bands"], c: Coefficients, parameters: Float[Array, " n"], scale: Any
) -> tuple[Float[Array, ""], Float[Array, " n"], Float[Array, "n n"]]:
    """W, dW/dθ and d²W/dθ² at orbitals that follow.

    Args:
        energy: (c, θ) -> W.
        s: The setting at θ.
        share: Weights times occupations, alike for all orbitals of a k.
        c: Orthonormal orbitals at rest.
        parameters: θ.
        scale: W over the energy per cell.
    """
    size = parameters.size
    first = jax.value_and_grad(lambda pair, at: energy(pair[0] + 1j * pair[1], at), argnums=(0, 1))
    parts = jnp.stack([c.real, c.imag])
    steps = [(k, offset, weight / _STEP) for k in range(size) for offset, weight in _WEIGHTS] + [(size, 0.0, 1.0)]
    places, offsets, weights = (jnp.asarray(column) for column in zip(*steps))

    def add(total, x):
        place, offset, weight = x
        moved = parameters.at[place].add(offset * _STEP, mode="drop")
        value, (force, slope) = first(parts, moved)
        found = (value, slope, force)
        return jax.tree.map(lambda t, new: t.at[place].add(weight * new), total, found), None

    none = (jnp.zeros(size + 1), jnp.zeros((size + 1, size)), jnp.zeros((size + 1, *parts.shape)))
    (values, slopes, forces), _ = jax.lax.scan(add, none, (places, offsets, weights))
    curvature = stiefel.curvature(s, share, c)
    weighed = lambda a, b: jnp.einsum("kb,kbg,kbg->", share, a.conj(), b).real

    def follow(force):
        """Orbitals that make up for a change of the force, which is 2 share · scale times a residual."""
        right = stiefel.horizontal(c, (force[0] + 1j * force[1]) / (2.0 * scale * share[..., None]))
        found = conjugate_gradients(
            curvature, lambda r: stiefel.horizontal(c, h.softened(s, r)), weighed, right, weighed(right, right), _TOLERANCE,
            _MOST, "residual",
        )  # fmt: skip
        return jnp.where(found.steps < _MOST, jnp.stack([found.correction.real, found.correction.imag]), jnp.nan)

    answers = jax.lax.map(follow, forces[:size])
    second = slopes[:size] - jnp.einsum("ipkbg,jpkbg->ij", forces[:size], answers)
    return values[size], slopes[size], 0.5 * (second + second.T)


def eliminated(second: Float[Array, "n n"], kept: int) -> Float[Array, "kept kept"]:
    """Second derivatives by the first `kept` parameters, the others at rest."""
    if len(second) == kept:
        return second
    across = second[:kept, kept:]
    return second[:kept, :kept] - across @ jnp.linalg.solve(second[kept:, kept:], across.T)

"""Rest points: whether those of flows are solved, entry by entry; whether a relaxation stays there; jumps between them."""

from typing import Any

import equinox as eqx
import jax
import numpy as np
from jax.flatten_util import ravel_pytree

from fiberax.core.fiber import AbstractEnergy, AbstractFlow
from fiberax.core.lagrangian import is_saddle
from fiberax.numerics import trees
from fiberax.numerics.linear import DENSE_LIMIT


def check_each_rate(checks: Any, fiber: AbstractFlow, state, condition, tolerance) -> None:
    """What Newton would still change, entry by entry, since fast components hide slow ones; and whether relaxation stays."""
    size = trees.size(state)
    if size == 0 or size > DENSE_LIMIT:
        return
    flat, unravel = ravel_pytree(state)
    rate = lambda u: ravel_pytree(fiber.rate(unravel(u), condition))[0]
    value, matrix = eqx.filter_jit(lambda u: (rate(u), jax.jacfwd(rate)(u)))(flat)
    value, matrix, flat = np.asarray(value), np.asarray(matrix), np.asarray(flat)
    checks.finite("rate has a derivative", matrix, "∂rate/∂u at the solved state")
    change, _, rank, _ = np.linalg.lstsq(matrix, value, rcond=1e-14)
    if rank == size:
        large = np.abs(flat) + 1e-6 * np.max(np.abs(flat)) + 1e-12
        noise = np.abs(np.linalg.inv(matrix)) @ (np.abs(matrix) @ (np.abs(flat) + 1e-15)) * 1e-13
        worst = int(np.argmax(np.abs(change) / (100.0 * tolerance * large + noise)))
        text = (
            f"the solver says solved, but Newton would still change entry {worst} of the state from {flat[worst]:.6g} by "
            f"{change[worst]:.2g}; is each equation judged on its own scale?"
        )
        good = abs(change[worst]) <= 100.0 * tolerance * large[worst] + noise[worst]
        checks.need("solved state is at rest", good, text)
    values = np.linalg.eigvals(matrix)
    fastest = values[np.argmax(values.real)]
    text = (
        f"∂rate/∂u has the eigenvalue {fastest:.3g} at the solved state: it solves the equation, but a relaxation would leave "
        "it. Check the sign of rate and the start of the solve (init)."
    )
    checks.need("rest point is stable", fastest.real <= 1e-6 * np.max(np.abs(values)), text)


def check_minimum(checks: Any, fiber: AbstractEnergy, state, condition) -> None:
    """A stationary point that is a saddle or a maximum, by the eigenvalues of ∂²(W − λ·g)/∂u² along the constraints."""
    size = trees.size(state)
    if size == 0 or size > DENSE_LIMIT:
        return
    saddle, values = map(np.asarray, eqx.filter_jit(is_saddle)(fiber, state, condition))
    if values.size == 0 or not np.all(np.isfinite(values)):  # a kink has no second derivative
        return
    text = (
        f"∂²W/∂u² has the eigenvalue {values[0]:.3g} at the solved state (the largest is {values[-1]:.3g}): a saddle of "
        "the energy or a maximum, which is unstable. Check the sign of the energy, the start of the solve (init), and the "
        "solver."
    )
    checks.need("state is a minimum", not saddle, text)


def jumped(state, near) -> str:
    """In words, whether states close to the condition (`near`, at −2, −1, 1, 2 steps) lie on another branch; else empty."""
    at = ravel_pytree(state)[0]
    flat = [np.asarray(ravel_pytree(jax.tree.map(lambda x, k=k: x[k], near))[0]) for k in range(4)]
    left, right = np.asarray(at) - flat[1], flat[2] - np.asarray(at)
    size = max(np.linalg.norm(left), np.linalg.norm(right))
    if size <= 1e-6 * max(np.linalg.norm(at), 1e-300) or np.linalg.norm(right - left) <= 0.5 * size:
        return ""
    return (
        f"very close to the condition the solve ends in another state, {size:.3g} away: there are several equilibria, and the "
        "start (init) or the condition itself lies at a saddle between them or at a fold. Check the fiber at another "
        "condition, or begin nearer to the equilibrium that is meant"
    )

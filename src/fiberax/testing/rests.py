"""Rest points of flows, judged entry by entry: whether they are solved, and whether a relaxation stays there."""

from typing import Any

import equinox as eqx
import jax
import numpy as np
from jax.flatten_util import ravel_pytree

from fiberax.core.fiber import AbstractFlow
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

"""Whether fluxes and sources balance where nothing holds U: else it rises or falls for ever, and no steady state exists."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from fiberax.core.sites import to_host
from fiberax.grids.box import Box
from fiberax.physics.homogenization.boundary import Dirichlet, Sides, evaluate_source, side_values

_FAR = 1e6
ON_BOX = "Give U on a side (Dirichlet)"
ON_MESH = "Give U on a side (Dirichlet) or an exchange there (Robin)"


def imbalance(inflow: np.ndarray, made: np.ndarray, remedy: str, where: str = "") -> str | None:
    """In words, by how much what flows in through sides and what a source makes are not zero together; None where they are.

    Round-off is no imbalance: the square root of the precision, relative to the sum of the sizes of all parts.

    Args:
        inflow: What flows in per unit of time, in parts, such as one for each side of a cell.
        made: What the source makes per unit of time, likewise.
        remedy: How U can be held.
        where: The part of the body that is meant, in words.
    """
    through, source = float(np.sum(inflow)), float(np.sum(made))
    size = float(np.sum(np.abs(inflow)) + np.sum(np.abs(made)))
    if not np.isfinite(size) or abs(through + source) <= np.sqrt(jnp.finfo(jnp.result_type(float)).eps) * size:
        return None
    return (
        f"there is no steady state: nothing holds U{where}, and what flows in does not balance. {through:.6g} comes in per "
        f"unit of time through sides and {source:.6g} from the source, together {through + source:.6g} and not 0. {remedy}, or "
        f"fluxes and a source whose sum is 0, such as a source with {-(through + source):.6g} more in all."
    )


def depends_on_value(evaluate: Callable, u) -> bool:
    """Whether a source, as a function of U at its places, depends on U near `u` or far from it."""
    here, far = evaluate(u), _FAR * (1.0 + jnp.abs(u))
    return any(bool(jnp.any(evaluate(other) != here)) for other in (jnp.zeros_like(u), u + 1.0, 2.0 * u - 1.0, far, -far))


def box_imbalance(grid: Box, source, sides: Sides, t, macro) -> str | None:
    """`imbalance` of a box; None where a side or the source holds U."""
    if any(isinstance(condition, Dirichlet) for pair in sides if pair is not None for condition in pair):
        return None
    evaluate = lambda u: evaluate_source(source, t, u, grid)
    if depends_on_value(evaluate, macro):
        return None
    inflow = [np.zeros(0)]
    for k, pair in enumerate(side_values(grid, sides, t)):
        if pair is not None:
            inflow += [np.ravel(to_host(flux)) * grid.volume / grid.spacing[k] for flux in pair]
    return imbalance(np.concatenate(inflow), np.ravel(to_host(evaluate(macro))) * grid.volume, ON_BOX)

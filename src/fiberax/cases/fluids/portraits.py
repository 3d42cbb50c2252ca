"""Pictures of the microstate of a complex fluid: springs or rods as points, or their density on a grid."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from fiberax.cases.fluids.rheology import second_moment
from fiberax.numerics.compilation import jit_once
from fiberax.physics.fluids import (
    AbstractConformation,
    Chain,
    Dumbbell,
    DumbbellDensity,
    GaussianDensity,
    Rod,
    RodDensity,
)
from fiberax.physics.fluids.extension_density import ExtensionDensity
from fiberax.physics.fluids.members import moving

MOST_POINTS = 3000  # springs or rods of one row that are drawn


def portrait(fiber: Any, gradient: np.ndarray) -> Callable:
    """`Output.microstate` of a fluid: what is drawn, with the second moment and the rate in units of `gradient`."""

    def arrays(state, condition) -> dict[str, np.ndarray]:
        rate = float(np.sum(np.asarray(condition) * gradient) / np.sum(gradient**2))
        if isinstance(fiber, DumbbellDensity | ExtensionDensity | AbstractConformation | RodDensity):
            moment = np.asarray(second_moment(fiber, jnp.asarray(state)))
            shown = rod_map(fiber, state) if isinstance(fiber, RodDensity) else spring_map(fiber, state, moment)
        else:
            ends = np.concatenate([_ends(fiber, part) for part in moving(state)], axis=1)
            moment, count = ends @ ends.T / ends.shape[1], min(MOST_POINTS, ends.shape[1])
            chosen = np.linspace(0, ends.shape[1] - 1, count).round().astype(int)
            shown = {"rods" if isinstance(fiber, Rod) else "springs": ends[:, chosen].astype(float)}
        bound = _bound(fiber)
        return shown | {"moment": moment, "rate": np.array([rate])} | ({} if bound is None else {"bound": np.array([bound])})

    return arrays


def _ends(fiber: Any, state: np.ndarray) -> np.ndarray:
    return np.sum(state, axis=0) if isinstance(fiber, Chain) else np.asarray(state)


def _bound(fiber: Any) -> float | None:
    """The length that springs never reach."""
    if isinstance(fiber, DumbbellDensity | ExtensionDensity):
        return fiber.b**0.5
    if isinstance(fiber, Dumbbell) and np.isfinite(float(fiber.spring.limit)):
        return float(fiber.spring.limit) ** 0.5
    return None


def spring_map(fiber: Any, state: Any, moment: np.ndarray, cells: int = 71) -> dict[str, np.ndarray]:
    """Density of z in the plane of the flow, integrated over the third direction, on a square; Gaussian for closures."""
    wide = 3.5 * float(np.sqrt(np.linalg.eigvalsh(moment[:2, :2])[-1]))
    if isinstance(fiber, AbstractConformation):
        plane = GaussianDensity(2)
        x = np.linspace(-wide, wide, cells)
        points = np.stack(np.meshgrid(x, x, indexing="ij"), axis=-1).reshape(-1, 2)
        values = np.asarray(jit_once(GaussianDensity.density)(plane, jnp.asarray(moment[:2, :2]), points))
        return {"spring map": values.reshape(cells, cells), "extent": np.array([wide])}
    wide = min(wide, fiber.b**0.5)
    x = np.linspace(-wide, wide, cells)
    plane = np.stack(np.meshgrid(x, x, indexing="ij"), axis=-1).reshape(-1, 2)
    inside = np.sum(plane**2, axis=1) < fiber.b
    total = np.full(len(plane), np.nan)
    half = np.sqrt(np.maximum(fiber.b - np.sum(plane[inside] ** 2, axis=1), 0.0))
    nodes, weights = (np.zeros(1), np.ones(1)) if fiber.dim == 2 else np.polynomial.legendre.leggauss(24)
    values = np.zeros(len(half))
    for node, weight in zip(nodes, weights, strict=True):
        points = plane[inside] if fiber.dim == 2 else np.column_stack([plane[inside], node * half])
        values += weight * (1.0 if fiber.dim == 2 else half) * np.asarray(fiber.density(jnp.asarray(state), points))
    total[inside] = values
    return {"spring map": total.reshape(cells, cells), "extent": np.array([wide])}


def rod_map(fiber: RodDensity, state: Any, cells: int = 121) -> dict[str, np.ndarray]:
    """4πψ on the half sphere m_x > 0, seen along x, in an equal-area projection: (m_z, m_y)/√(1 + m_x)."""
    u = np.linspace(-1.0, 1.0, cells)
    disc = np.stack(np.meshgrid(u, u, indexing="ij"), axis=-1).reshape(-1, 2)
    square = np.sum(disc**2, axis=1)
    inside, values = square <= 1.1, np.full(len(disc), np.nan)  # somewhat over the rim, where the picture is cut
    scale = np.sqrt(2.0 - square[inside])
    points = np.column_stack([1.0 - square[inside], disc[inside, 1] * scale, disc[inside, 0] * scale])
    values[inside] = 4.0 * np.pi * np.asarray(fiber.density(jnp.asarray(state), points))
    return {"rod map": values.reshape(cells, cells)}

"""Averages of a flow of boxes over time, with standard errors from blocks; and the flow by Navier and Stokes."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_BLOCKS = 6


class Averages:
    """Averages of columns (records, ...) over the times from `begin` on."""

    def __init__(self, times: np.ndarray, columns: dict[str, np.ndarray], begin: float):
        self.columns, self.begin, self._kept = columns, begin, np.flatnonzero(times >= begin)

    def mean_of(self, values: np.ndarray) -> np.ndarray:
        """The average of an array with the axis of records."""
        return np.asarray(values)[self._kept].mean(axis=0)

    def blocks(self, values: np.ndarray) -> np.ndarray:
        """The averages over equal blocks of time, one after the other."""
        parts = np.array_split(self._kept, min(_BLOCKS, len(self._kept)))
        return np.stack([np.asarray(values)[part].mean(axis=0) for part in parts])

    def error_of(self, values: np.ndarray) -> np.ndarray:
        """The standard error of the average."""
        parts = self.blocks(values)
        return parts.std(axis=0, ddof=1) / len(parts) ** 0.5

    def viscosity(self, pattern: np.ndarray) -> tuple[float, float]:
        """σ : E/κ : E with its standard error, E the mean rate of strain of the gradients `pattern` (records, sites, d, d).

        E comes from another flow, without noise: the noise of κ, squared, would make the viscosity too small.
        """
        mean = self.mean_of(_by_site(pattern))
        d = mean.shape[-1]
        strain = mean + np.swapaxes(mean, -1, -2)
        stress, kappa = (_by_site(self.columns[key])[..., :d, :d] for key in ("response", "kappa"))
        work, rate = (np.sum(x * strain, axis=(1, 2, 3)) for x in (stress, kappa + np.swapaxes(kappa, -1, -2)))
        with np.errstate(divide="ignore", invalid="ignore"):
            eta = self.mean_of(work) / self.mean_of(rate)
            return float(eta), float(self.error_of(work - eta * rate) / abs(self.mean_of(rate)))

    def noise(self, beside: dict[str, np.ndarray], keys: tuple[str, ...], freedoms: int) -> tuple[float, float]:
        """Variance of each of the `freedoms` modes of the velocities `keys` about the flow `beside`, and its standard error."""
        total = np.zeros(len(next(iter(beside.values()))))
        for key in keys:
            off = self.columns[key] - beside[key]
            total += np.sum((off - self.mean_of(off)).reshape(len(off), -1) ** 2, axis=1)
        total *= len(self._kept) / (len(self._kept) - 1) / freedoms
        return float(self.mean_of(total)), float(self.error_of(total))

    def modulus(self, weight: float) -> float:
        """The shear modulus of fast strains, `weight` = V/T times the variance of the shear stresses of a site."""
        stress = _by_site(self.columns["response"])
        d = stress.shape[-1]
        shear = np.stack([stress[..., i, j] for i in range(d) for j in range(i)], axis=-1)
        off = shear - self.mean_of(shear)
        return float(weight * np.mean(self.mean_of(off**2)))

    def deviation(self, beside: dict[str, np.ndarray], keys: tuple[str, ...]) -> tuple[float, float]:
        """Root mean squares of the difference of the mean velocities from those of `beside`, and of their standard errors."""
        found = [self.columns[key] - beside[key] for key in keys]
        off, sure = (np.concatenate([of(x).ravel() for x in found]) for of in (self.mean_of, self.error_of))
        return float(np.sqrt(np.mean(off**2))), float(np.sqrt(np.mean(sure**2)))


def _by_site(tensors: np.ndarray) -> np.ndarray:
    """Tensors (records, *cells, d, d), or with one axis of sites, as (records, sites, d, d)."""
    return tensors.reshape(len(tensors), -1, *tensors.shape[-2:])


def newtonian(flow: Any, viscosity: float, fields: Callable, times: np.ndarray, dt: float) -> dict[str, np.ndarray]:
    """The fields (records, ...) of a flow under the whole stress η (κ + κᵀ), at `times`, the first its start.

    In the discretisation of the flow of boxes, so that its errors on a coarse grid are no differences between the two.
    """
    import fiberax as fx

    stress = lambda s, kappa: viscosity * (kappa + kappa.T)
    fluid = fx.FlowFiber(rate=lambda s, kappa: -s, init=lambda kappa: jnp.zeros(()), link=stress)
    bundle = fx.Bundle(flow, fluid, transport=fx.Fixed())
    end = float(times[-1])
    found = fx.evolve(bundle, fx.Seamless(separation=np.inf), flow.start(), t1=end, dt=dt, saveat=[float(t) for t in times])
    rows = [fields(jax.tree.map(lambda x, k=k: x[k], found.macro)) for k in range(len(times))]
    return {key: np.stack([row[key] for row in rows]) for key in rows[0]}

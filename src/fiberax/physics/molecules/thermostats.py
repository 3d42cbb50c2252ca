"""Thermostats act on the peculiar momenta p, those beside the linear velocity profile of the flow (docs: molecules).

They take that profile for granted: at rates above about 1 in units of 1/τ they hold particles on strings (Evans and Morriss,
Phys. Rev. Lett. 56 (1986) 2172).
"""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from fiberax.core.errors import BadInput


class AbstractThermostat(eqx.Module):
    """How the temperature is held."""

    @property
    @abc.abstractmethod
    def often(self) -> bool:
        """Whether it acts in both halves of every Verlet step, or once after all Verlet steps of a step of the fiber."""

    def span(self, p: Float[Array, "3 n"], f: Float[Array, "3 n"], dt: Float[Array, ""]) -> Float[Array, ""]:
        """The factor on the forces f in a kick of the time dt, to second order in it, before momenta p are scaled."""
        return dt

    @abc.abstractmethod
    def scale(
        self, kinetic: Float[Array, ""], target: Float[Array, ""], freedoms: int, dt: Float[Array, ""], key: PRNGKeyArray
    ) -> Float[Array, ""]:
        """The factor on the momenta.

        Args:
            kinetic: Σ p²/2m.
            target: Its mean at the temperature, T/2 for each degree of freedom.
            freedoms: Number of degrees of freedom, 3N − 3.
            dt: Time since it acted last.
            key: Key of jax.random, the only source of noise.
        """


class Isokinetic(AbstractThermostat):
    """The kinetic energy is held exactly, by rescaling in both halves of every Verlet step (Gaussian thermostat).

    Constant forces F turn the momenta along p + s(t) F, with s = t + t² F·p/2p² (Zhang, J. Chem. Phys. 106 (1997) 6102).
    Rescaled once in a step, at its end, a box in a flow would be too warm by half of the heat of that step.
    """

    @property
    def often(self):
        return True

    def span(self, p, f, dt):
        return dt * (1.0 + 0.5 * dt * jnp.sum(f * p) / jnp.sum(p * p))

    def scale(self, kinetic, target, freedoms, dt, key):
        return jnp.sqrt(target / kinetic)


class StochasticRescaling(AbstractThermostat):
    """Canonical fluctuations of the kinetic energy, with the time constant `time` (Bussi, Donadio and Parrinello 2007).

    J. Chem. Phys. 126, 014101. Under a flow the temperature is above the prescribed one by `time` times the rate of heating.

    Args:
        time: In τ, positive.

    Raises:
        BadInput: The time is not positive.
    """

    time: float = eqx.field(static=True, default=0.5)

    def __check_init__(self):
        if not isinstance(self.time, int | float) or not 0.0 < self.time < float("inf"):
            raise BadInput(f"StochasticRescaling: time={self.time!r} must be a positive number, in τ.")

    @property
    def often(self):
        return False

    def scale(self, kinetic, target, freedoms, dt, key):
        noise = jax.random.normal(key, (freedoms,), kinetic.dtype)
        kept = jnp.exp(-dt / self.time)
        part = (1.0 - kept) * target / (freedoms * kinetic)
        square = kept + part * jnp.sum(noise**2) + 2.0 * jnp.sqrt(kept * part) * noise[0]
        return jnp.sqrt(jnp.maximum(square, 0.0))

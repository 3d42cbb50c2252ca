"""A small case of its own for the tests of the command: `fiberax run ring_case.py`."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

import fiberax as fx
from fiberax.cases import Case, Evolve, Names, Quantity, even_times, option


class Ring(fx.AbstractMacro):
    """Diffusion on a ring of cells."""

    cells: int

    def conditions(self, macro):
        """The field itself."""
        return macro

    def rate(self, t, macro, response):
        """A second difference."""
        return response * self.cells**2 * (jnp.roll(macro, 1) - 2 * macro + jnp.roll(macro, -1))

    def layout(self):
        """One axis."""
        return fx.Layout(("x",), {"x": (np.arange(self.cells) + 0.5) / self.cells})


@dataclass(frozen=True)
class RingCase(Case):
    """Diffusion on a ring whose coefficient is the rest point of a flow."""

    cells: int = option(12, help="cells of the ring", low=3)
    steps: int = option(60, help="time steps", low=1)
    records: int = option(6, help="save times", low=1)
    pole: float = option(1.0, help="coefficient where U vanishes")

    def build(self):
        """The bundle, run for `steps` explicit steps."""
        fiber = fx.FlowFiber(rate=lambda u, U: self.pole + 0.1 * U**2 - u, init=lambda U: jnp.ones_like(U), link=lambda u, U: u)
        dt = 0.1 / self.cells**2
        return Evolve(
            bundle=fx.Bundle(Ring(self.cells), fiber),
            driver=fx.Quasistatic(1e-10),
            macro0=np.sin(2 * np.pi * np.arange(self.cells) / self.cells),
            t1=self.steps * dt,
            dt=dt,
            saveat=even_times(self.steps * dt, self.records),
            names=Names({"macro": Quantity("U", "K", "temperature"), "response": Quantity("A")}),
            expected="the field decays",
        )

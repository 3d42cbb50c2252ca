"""A pulse of strain in a chain: ∂_tt A = ∂_xx F(A) over fibers that are in equilibrium or relax (4.12), (4.20)."""

import enum
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from fiberax.cases.base import Evolve, option
from fiberax.cases.chain import ChainOptions, chain_labels
from fiberax.core.errors import BadInput
from fiberax.io.results import Quantity

_SAFETY = 0.4  # of the stable step, for macrostate and fibers alike


class Method(enum.Enum):
    """How the fibers keep up with the strain."""

    QUASISTATIC = "quasistatic"
    SEAMLESS = "seamless"


@dataclass(frozen=True)
class WaveCase(ChainOptions):
    """A pulse of strain that runs apart in a periodic chain, in space and time.

    The chain is at rest at first, stretched or pressed together within the pulse. Its fibers are in equilibrium at all times
    (quasistatic), or they relax with a mass and a friction of their own (seamless): then waves disperse and lose energy.
    """

    cells: int = option(128, help="macro cells", low=8)
    length: float = option(1.0, help="length of the interval", above=0)
    strain: float = option(0.0, help="strain around the pulse", above=-1)
    peak: float = option(0.03, help="strain of the pulse above that")
    width: float = option(0.05, help="standard deviation of the pulse", unit="lengths of the interval", above=0, high=0.2)
    density: float = option(1.0, help="mass per reference length", above=0)
    t1: float | None = option(None, help="end of the run; default the time in which sound crosses the interval", above=0)
    dt: float | None = option(None, help="time step; default 0.4 of the largest stable one", above=0)
    records: int = option(80, help="times at which the fields are saved, after the start", low=1)
    method: Method = option(Method.QUASISTATIC, help="fibers in equilibrium at every step, or carried along seamlessly")
    mass: float = option(0.0, help="inertia m of the fibers when carried along", low=0)
    friction: float = option(0.1, help="friction eta of the fibers when carried along", low=0)
    tolerance: float = option(1e-10, help="relative tolerance of fibers in equilibrium", above=0, high=0.1)

    def build(self) -> Evolve:
        """The coupled problem. Raises `BadInput` for numbers that cannot be used, or a chain that is not stable."""
        import fiberax as fx

        chain = self.fiber()
        macro = fx.solids.Wave(fx.grids.Box(0.0, self.length, cells=self.cells), density=self.density)
        distance = (macro.positions()[:, 0] / self.length - 0.5) / self.width
        macro0 = macro.start(self.strain + self.peak * np.exp(-0.5 * distance**2))
        step, speed = self._pace(macro, chain)
        dt = _SAFETY * step if self.dt is None else self.dt
        t1 = self.length / speed if self.t1 is None else self.t1
        if self.method is Method.QUASISTATIC:
            bundle, driver = fx.Bundle(macro, chain), fx.Quasistatic(self.tolerance)
        else:
            fiber = fx.relax(_settled(chain), self.mass, self.friction)
            substeps = _substeps(chain, self.mass, self.strain, dt)
            # Mass and friction are the model's own here: nothing needs to be separated.
            bundle, driver = fx.Bundle(macro, fiber), fx.Seamless(substeps=substeps, separation=math.inf)
        return Evolve(
            bundle=bundle,
            driver=driver,
            macro0=macro0,
            t1=t1,
            dt=dt,
            saveat=tuple(np.linspace(0.0, t1, self.records + 1).tolist()),
            stepper=fx.Verlet(),
            labels=_labels(chain, macro),
        )

    def _pace(self, macro: Any, chain: Any) -> tuple[float, float]:
        """The largest stable macro step, and the speed of sound, around the pulse. Raises `BadInput` where there is none."""
        import fiberax as fx

        bundle, still = fx.Bundle(macro, chain), macro.start(self.strain)
        relaxed = fx.stiffness(bundle, still)
        if not relaxed.growth < 1e-3 * abs(relaxed.eigenvalue):
            raise BadInput(f"--strain = {self.strain:g}: there the chain is not stable, dF/dA < 0, and no wave runs in it.")
        speed = self.length / self.cells / relaxed.step
        if self.method is Method.QUASISTATIC:
            return relaxed.step, speed
        return min(relaxed.step, fx.stiffness(bundle, still, fx.Seamless()).step), speed


def _labels(chain: Any, macro: Any):
    """Names, and the energies of the whole chain."""
    import dataclasses

    labels = chain_labels(chain, Quantity("time", "1", "time"), "strain")

    def energies(record) -> dict[str, np.ndarray]:
        total = float(macro.energy(record.macro, record.energy))
        stored = float(np.sum(record.energy) * macro.grid.volume)
        return {
            "energies.kinetic": np.array(total - stored),
            "energies.fibers": np.array(stored),
            "energies.total": np.array(total),
        }

    named = {
        "energies.kinetic": Quantity("kinetic", "1", "kinetic energy"),
        "energies.fibers": Quantity("fibers", "1", "energy of the fibers"),
        "energies.total": Quantity("total", "1", "total energy"),
    }
    return dataclasses.replace(labels, quantities=labels.quantities | named, further=energies)


def _settled(chain: Any) -> Any:
    """The chain with an `init` in equilibrium, so that nothing but the pulse moves."""
    import fiberax as fx
    from fiberax.core.equilibrium import relaxed

    class Settled(fx.solids.QuantumChain):
        """Starts from its ground state."""

        def init(self, condition, key):
            plain = fx.solids.QuantumChain(self.V, self.external, self.n)
            return relaxed(plain, condition, plain.init(condition, key), 1e-10)[0]

    return Settled(chain.V, chain.external, chain.n) if isinstance(chain, fx.solids.QuantumChain) else chain


def _substeps(chain: Any, mass: float, strain: float, dt: float) -> int:
    """Micro steps in a macro step that resolve the fastest oscillation of a fiber with inertia."""
    import jax
    import jax.numpy as jnp

    if mass == 0.0:
        return 1
    condition = jnp.asarray(strain)
    state = chain.init(condition, jax.random.key(0))
    size = state.size
    hessian = jax.hessian(lambda flat: chain.energy(flat.reshape(state.shape), condition))(state.ravel())
    stiffest = float(jnp.max(jnp.linalg.eigvalsh(hessian.reshape(size, size)))) / float(chain.metric(state))
    return max(1, math.ceil(dt / (_SAFETY * 2.0 * math.sqrt(mass / stiffest))))

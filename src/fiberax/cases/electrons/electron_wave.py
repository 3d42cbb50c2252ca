"""A pulse of strain in a bar whose stress comes from electrons without orbitals, in Car-Parrinello motion.

ϱ ∂_tt A = ∂_xx P_xx(A e_x ⊗ e_x) (4.12) over Thomas-Fermi-von Weizsäcker fibers (3.8) that move by m u'' + η u' = −(H − μ) u
(4.1), (4.8). Units nm, ps, GPa, g/cm³, in which the equation needs no factors.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fiberax.cases.base import Case, Evolve, listed
from fiberax.cases.electrons.electrons import Crystal_, Electrons, Model
from fiberax.cases.electrons.units import ANGSTROM, GPA
from fiberax.cases.options import MOST_CELLS, MOST_RECORDS, option, when
from fiberax.cases.solids.atoms import DENSITY, LENGTH, MASSES
from fiberax.cases.solids.wave import Method, energies_of, with_energies
from fiberax.cases.surrogates import surrogate_option, tabulated
from fiberax.cases.times import even_times
from fiberax.core.errors import BadInput
from fiberax.io.labels import Names, Output
from fiberax.io.results import Quantity

_SAFETY = 0.4  # of the largest stable step of the bar
_RESOLVED = 1.2  # radians of the fastest oscillation of the electrons in a step of theirs
_STRAIN = 1e-3  # in which the speed of sound is measured
_TIME = Quantity("time", "ps", "time")
_STRESS = Quantity("P", "GPa", "longitudinal stress P_xx")
_CARRIED, _AT_REST = when(method=Method.SEAMLESS), when(method=Method.QUASISTATIC)


@listed("electron-wave", "a pulse of strain in a bar of metal, its electrons carried along in Car-Parrinello motion")
@dataclass(frozen=True)
class ElectronWave(Case):
    """A pulse of strain that runs apart in a periodic bar of a metal whose stress comes from its electrons.

    At each point of the bar lives a crystal cell with a density of Thomas, Fermi and von Weizsäcker, strained along the cube
    axis x. Electrons are carried along with a mass of their own (seamless: the total energy is kept, theirs included), or are
    in their ground state at every step (quasistatic).
    """

    crystal: Crystal_ = option(Crystal_.ALUMINIUM, help="aluminium or sodium; silicon needs orbitals")
    cells: int = option(32, help="cells of the bar", low=8, high=MOST_CELLS)
    length: float = option(10.0, help="length of the bar", unit=LENGTH, above=0)
    peak: float = option(0.02, help="strain of the pulse", above=-0.3, high=0.5)
    width: float = option(0.08, help="standard deviation of the pulse", unit="lengths of the bar", above=0, high=0.2)
    t1: float | None = option(None, help="end; default the time in which sound runs along half the bar", unit=_TIME, above=0)
    dt: float | None = option(None, help="step of the bar; default 0.4 of the largest stable one", unit=_TIME, above=0)
    records: int = option(40, help="times at which the fields are saved, after the start", low=1, high=MOST_RECORDS)
    method: Method = option(Method.SEAMLESS, help="electrons carried along seamlessly, or in their ground state at every step")
    inertia: float = option(
        1.0, help="slowest period of the electrons over 2 pi, in steps of the bar", above=0, high=100, applies=_CARRIED
    )
    damping: float = option(
        0.0, help="damping ratio of the slowest oscillation of the electrons", low=0, high=10, applies=_CARRIED
    )
    grid: int = option(10, help="points of the density along each axis", low=6, high=64)
    tolerance: float = option(1e-8, help="residual of electrons in their ground state", above=0, high=0.1, applies=_AT_REST)
    surrogate: float | None = surrogate_option(_AT_REST)

    def build(self) -> Evolve:
        """The coupled problem. Raises `BadInput` for options that describe none."""
        import fiberax as fx

        if self.crystal is Crystal_.SILICON:
            raise BadInput(
                "--crystal silicon: its bonds need orbitals, which these fibers have none of. Take aluminium or sodium."
            )
        cell, _ = Electrons(crystal=self.crystal, model=Model.TFW, grid=self.grid).fiber()
        fiber = fx.solids.uniaxial(cell)
        symbol = {Crystal_.ALUMINIUM: "Al", Crystal_.SODIUM: "Na"}[self.crystal]
        mass_density = (
            DENSITY * MASSES[symbol] / (cell.volume * ANGSTROM**3) / GPA
        )  # stresses of the fiber are in hartree/bohr³
        macro = fx.solids.Wave(fx.grids.Box(0.0, self.length, cells=self.cells), density=mass_density)
        distance = (macro.positions()[:, 0] / self.length - 0.5) / self.width
        pair = fx.responses(fiber, np.array([-_STRAIN, _STRAIN]), tolerance=1e-9)
        modulus = float(pair.value[1] - pair.value[0]) / (2.0 * _STRAIN)
        speed = math.sqrt(modulus / mass_density)
        dt = _SAFETY * self.length / self.cells / speed if self.dt is None else self.dt
        t1 = 0.5 * self.length / speed if self.t1 is None else self.t1
        if self.method is Method.QUASISTATIC:
            bundle, driver = fx.Bundle(macro, fiber), tabulated(fx.Quasistatic(self.tolerance), self.surrogate)
        else:
            moving, substeps = self._moving(cell, dt)
            # Mass and friction belong to the model here: scale separation is not needed.
            bundle, driver = fx.Bundle(macro, moving), fx.Seamless(substeps=substeps, separation=math.inf)
        return Evolve(
            bundle=bundle,
            driver=driver,
            macro0=macro.start(self.peak * np.exp(-0.5 * distance**2)),
            t1=t1,
            dt=dt,
            saveat=even_times(t1, self.records),
            stepper=fx.Verlet(),
            names=with_energies(self._names(fiber)),
            output=Output(microstate=self._picture(fiber), energies=energies_of(macro)),
        )

    def _moving(self, cell: Any, dt: float) -> tuple[Any, int]:
        """The fiber with a mass and a friction of its own, at rest at first, and its steps in one of the bar."""
        import jax.numpy as jnp

        import fiberax as fx

        # Electrons begin in their ground state, so that only the pulse moves.
        settled = fx.Mapped(fx.solids.uniaxial(cell), state=fx.AtRest(1e-11))
        slow, fast = (float(k) for k in cell.stiffness_range(jnp.zeros((3, 3))))
        mass = slow * (self.inertia * dt) ** 2
        friction = 2.0 * self.damping * math.sqrt(mass * slow)
        return fx.relax(settled, mass, friction), max(1, math.ceil(dt * math.sqrt(fast / mass) / _RESOLVED))

    def _picture(self, fiber: Any) -> Callable:
        import jax.numpy as jnp

        import fiberax as fx

        axis = fiber.inside(jnp.ones(()))  # A of a unit strain

        def microstate(state, strain) -> dict[str, np.ndarray]:
            u = state.position if self.method is Method.SEAMLESS else state
            return {"density [electrons/bohr³]": np.asarray(fx.solids.density(fiber, jnp.asarray(u), strain * axis))}

        return microstate

    def _names(self, fiber: Any) -> Names:
        import fiberax as fx

        return Names(
            quantities={
                "condition": Quantity("A", "1", "strain A"),
                "macro.position": Quantity("A", "1", "strain along x"),
                "macro.velocity": Quantity("A_t", "1/ps", "strain rate"),
                "response": _STRESS,
                "energy": Quantity("W", _STRESS.unit, "energy per reference volume, above rest"),
                "result": Quantity("result", "1", "result of the electrons"),
            },
            length_unit=LENGTH,
            axis=_TIME,
            factors={"response": GPA, "energy": GPA, "energies": GPA},
            offsets={"energy": -GPA * float(fx.response(fiber, 0.0).energy)},
        )

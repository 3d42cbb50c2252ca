"""A pulse of strain in a chain or a crystal: ∂_tt A = ∂_xx F(A) over fibers in equilibrium or relaxing (4.12), (4.20).

In a crystal it is a longitudinal plane wave along x, F = P_xx of the crystal held at A e_x ⊗ e_x. Units of crystals with a
potential in eV and Å: nm, ps, GPa, g/cm³, in which the equation needs no factors; else those of the potential.
"""

import dataclasses
import enum
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fiberax.cases.base import Evolve, Summary, listed
from fiberax.cases.options import ABSENT, GIVEN, MOST_CELLS, MOST_RECORDS, inherited, option, when
from fiberax.cases.solids.atoms import LENGTH, AtRest, CrystalOptions, density, dimension, factor
from fiberax.cases.solids.chain import ChainOptions, Model, chain_names, chain_pictures
from fiberax.cases.solids.report import wave_of
from fiberax.cases.surrogates import surrogate_option, tabulated
from fiberax.cases.times import even_times
from fiberax.core.errors import BadInput
from fiberax.io.labels import Names, Output
from fiberax.io.results import Quantity

_SAFETY = 0.4  # of the stable step, for macrostate and fibers alike


class _Medium(NamedTuple):
    """A fiber, its mass per reference length or volume, the names of its results, and what is written of them.

    `rest`: the crystal that it is made of, if any, and `mass` its density in g/cm³, or in units of its potential.
    """

    fiber: Any
    density: float
    names: Names
    output: Output
    rest: AtRest | None = None
    mass: float = 0.0


class Method(enum.Enum):
    """How the fibers follow the strain."""

    QUASISTATIC = "quasistatic"
    SEAMLESS = "seamless"


CHAIN = when(material=ABSENT, potential=ABSENT)  # else it is a crystal
CRYSTAL = when(material=GIVEN) | when(potential=GIVEN)


@listed(
    "wave",
    "a pulse of strain in a chain of atoms or electrons, or a longitudinal plane wave in a crystal",
    extras="atoms for --atoms",
)
@dataclass(frozen=True)
class WaveCase(CrystalOptions, ChainOptions):
    """A pulse of strain that runs apart in a periodic chain or crystal, in space and time.

    The chain is at rest at first, stretched or pressed together within the pulse. Its fibers are in equilibrium at all times
    (quasistatic), or they relax with a mass and a friction of their own (seamless): then waves disperse and lose energy.
    With --material or --potential it is a plane longitudinal wave along the cube axis x of a crystal, or along --axis, in nm,
    ps and GPa (potentials without units: in theirs), the atoms in equilibrium. Its speed is that of a crystal held across x,
    not of a thin bar.
    """

    model: Model = inherited(ChainOptions, "model", applies=CHAIN)
    formula: str | None = inherited(ChainOptions, "formula", applies=CHAIN)
    depth: float = inherited(ChainOptions, "depth", applies=CHAIN)
    bond: float = inherited(ChainOptions, "bond", applies=CHAIN)
    alpha: float = inherited(ChainOptions, "alpha", applies=CHAIN)
    coupling: float = inherited(ChainOptions, "coupling", applies=CHAIN)
    external: str = inherited(ChainOptions, "external", applies=CHAIN)
    points: int = inherited(ChainOptions, "points", applies=CHAIN)
    material: str | None = inherited(
        CrystalOptions, "material", None, help="crystal with a published potential, in place of a chain"
    )
    atoms: Path | None = inherited(CrystalOptions, "atoms", applies=CRYSTAL)
    axis: str | None = inherited(CrystalOptions, "axis", applies=CRYSTAL)
    cells: int = option(128, help="macro cells", low=8, high=MOST_CELLS)
    length: float = option(1.0, help="length of the interval, of a crystal in nm", above=0)
    strain: float = option(0.0, help="strain around the pulse", above=-1)
    peak: float = option(0.03, help="strain of the pulse above that")
    width: float = option(0.05, help="standard deviation of the pulse", unit="lengths of the interval", above=0, high=0.2)
    density: float | None = option(
        None, help="mass per reference length, default 1; of a crystal in g/cm^3, default that of its atoms", above=0
    )
    t1: float | None = option(None, help="end (crystals: ps); default the time in which sound crosses the interval", above=0)
    dt: float | None = option(None, help="time step; default 0.4 of the largest stable one", above=0)
    records: int = option(80, help="times at which the fields are saved, after the start", low=1, high=MOST_RECORDS)
    method: Method = option(Method.QUASISTATIC, help="fibers in equilibrium at every step, or carried along seamlessly")
    mass: float = option(0.0, help="inertia m of the fibers when carried along", low=0, applies=when(method=Method.SEAMLESS))
    friction: float = option(
        0.1, help="friction eta of the fibers when carried along", low=0, applies=when(method=Method.SEAMLESS)
    )
    tolerance: float = option(
        1e-10,
        help="relative tolerance of fibers in equilibrium",
        above=0,
        high=0.1,
        applies=when(method=Method.QUASISTATIC),
    )
    surrogate: float | None = surrogate_option(when(method=Method.QUASISTATIC))

    def build(self) -> Evolve:
        """The coupled problem. Raises `BadInput` for numbers that cannot be used, or a chain that is not stable."""
        import fiberax as fx

        medium = self._medium()
        chain, density = medium.fiber, medium.density
        macro = fx.solids.Wave(fx.grids.Box(0.0, self.length, cells=self.cells), density=density)
        distance = (macro.positions()[:, 0] / self.length - 0.5) / self.width
        macro0 = macro.start(self.strain + self.peak * np.exp(-0.5 * distance**2))
        step, speed = self._pace(macro, chain)
        dt = _SAFETY * step if self.dt is None else self.dt
        t1 = self.length / speed if self.t1 is None else self.t1
        if self.method is Method.QUASISTATIC:
            bundle, driver = fx.Bundle(macro, chain), tabulated(fx.Quasistatic(self.tolerance), self.surrogate)
        else:
            fiber = fx.relax(_settled(chain), self.mass, self.friction)
            substeps = _substeps(chain, self.mass, self.strain, dt)
            # Mass and friction belong to the model here: scale separation is not needed.
            bundle, driver = fx.Bundle(macro, fiber), fx.Seamless(substeps=substeps, separation=math.inf)
        return Evolve(
            bundle=bundle,
            driver=driver,
            macro0=macro0,
            t1=t1,
            dt=dt,
            saveat=even_times(t1, self.records),
            stepper=fx.Verlet(),
            names=medium.names,
            output=dataclasses.replace(medium.output, energies=energies_of(macro)),
            summary=None if medium.rest is None else self._summary(medium.rest, medium.mass, speed),
        )

    def _summary(self, rest: AtRest, mass: float, speed: float) -> Callable[..., Summary]:
        """What is said of a crystal and its sound, which does not depend on the results."""
        return lambda times, columns: wave_of(rest, self.choice.label, mass, self.strain, speed)

    def _medium(self) -> _Medium:
        import fiberax as fx

        if self.material is None and self.potential is None:
            chain, names = self.fiber(), with_energies(chain_names(Quantity("time", "1", "time"), "strain"))
            return _Medium(chain, self.density or 1.0, names, chain_pictures(chain))
        if self.method is Method.SEAMLESS:
            raise BadInput("--method seamless is for chains: the atoms of a crystal are in equilibrium at every step.")
        found = self.choice.found()
        if found.crystal.potential.units == "metal" and dimension(found.crystal) == 2:
            raise BadInput("A wave in a layer needs its --thickness: mass and stress are those of a volume.")
        rest = self.choice.at_rest(found)
        crystal = rest.turned
        mass = density(crystal) if self.density is None else self.density
        # In nm and ps a density in g/cm³ goes with GPa; the fiber's stress is in eV/Å³.
        own, names = mass / factor(crystal)[0], with_energies(_crystal_names(crystal))
        return _Medium(fx.solids.uniaxial(crystal), own, names, _crystal_pictures(crystal), rest, mass)

    def _pace(self, macro: Any, chain: Any) -> tuple[float, float]:
        """The largest stable macro step, and the speed of sound, around the pulse. Raises `BadInput` where there is none."""
        import fiberax as fx

        bundle, still = fx.Bundle(macro, chain), macro.start(self.strain)
        cell = self.length / self.cells
        if isinstance(chain, fx.AbstractAssembled):
            # The modulus of the crystal compiles in a fraction of the time of the whole model's derivative.
            modulus = float(fx.response(chain, self.strain, tangent=True).tangent)
            step, stable = cell / math.sqrt(abs(modulus) / float(macro.density)), modulus > 0.0
        else:
            relaxed = fx.stiffness(bundle, still)
            step, stable = relaxed.step, relaxed.growth < 1e-3 * abs(relaxed.eigenvalue)
        if not stable:
            what = "crystal" if isinstance(chain, fx.AbstractAssembled) else "chain"
            raise BadInput(f"--strain = {self.strain:g}: there the {what} is not stable, dF/dA < 0, and no wave runs in it.")
        if self.method is Method.QUASISTATIC:
            return step, cell / step
        return min(step, fx.stiffness(bundle, still, fx.Seamless()).step), cell / step


def energies_of(macro: Any) -> Callable:
    """`Output.energies` of a whole interval."""

    def energies(record) -> dict[str, float]:
        total = float(macro.energy(record.macro, record.energy))
        stored = float(np.sum(record.energy) * macro.grid.volume)
        return {"kinetic": total - stored, "fibers": stored, "total": total}

    return energies


def with_energies(names: Names) -> Names:
    """The names, and those of the energies of the whole interval."""
    unit = "J/m^2" if names.length_unit == LENGTH else "1"  # GPa nm
    named = {
        "energies.kinetic": Quantity("kinetic", unit, "kinetic energy"),
        "energies.fibers": Quantity("fibers", unit, "energy of the fibers"),
        "energies.total": Quantity("total", unit, "total energy"),
    }
    return dataclasses.replace(names, quantities=names.quantities | named)


def _crystal_pictures(crystal: Any) -> Output:
    """What is kept to be drawn of a crystal."""
    metal = crystal.potential.units == "metal"
    title = f"shifts {', '.join('xyz'[: crystal.lattice.shape[0]])} of atom after atom{' [Å]' if metal else ''}"

    def microstate(state, condition) -> dict[str, np.ndarray]:
        return {title: np.round(np.ravel(state), 9)}

    return Output(microstate=microstate)


def _crystal_names(crystal: Any) -> Names:
    """Names and units of a plane wave in a crystal."""
    scale, unit = factor(crystal)
    metal = crystal.potential.units == "metal"
    rest = -scale * float(crystal.energy(crystal.init(None, None), 0 * crystal.lattice))
    return Names(
        quantities={
            "condition": Quantity("A", "1", "strain A"),
            "macro.position": Quantity("A", "1", "strain along x"),
            "macro.velocity": Quantity("A_t", "1/ps" if metal else "1/time", "strain rate"),
            "response": Quantity("P", unit, "longitudinal stress P_xx"),
            "energy": Quantity("W", unit, "energy per reference volume, above rest"),
            "stability_margin": Quantity("stability_margin", "1", "margin of stability, relative"),
            "result": Quantity("result", "1", "result of the relaxation"),
        },
        length_unit=LENGTH if metal else "1",
        axis=Quantity("time", "ps" if metal else "1", "time"),
        factors={"response": scale, "energy": scale, "energies": scale},
        offsets={"energy": rest},
    )


def _settled(chain: Any) -> Any:
    """Electrons begin in equilibrium, so that only the pulse moves."""
    import fiberax as fx

    return fx.Mapped(chain, state=fx.AtRest(1e-10)) if isinstance(chain, fx.solids.QuantumChain) else chain


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

"""Shared by cases of liquids in a flow: options, the boxes, the run, the noise to expect, and Navier-Stokes beside it.

Every mode of the velocity of a flow under the stress of boxes has the variance T M/(ρ V R), M being the clock, V the volume of
a box and R the number of boxes at a site (docs: molecules). With masses 1 this is T M/(N R). Walls and steps of a flow raise it
by some per cent (`fluctuations`).
"""

import enum
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from fiberax.cases.base import Case, Evolve, Summary
from fiberax.cases.molecules.averages import Averages, newtonian
from fiberax.cases.molecules.fluctuations import Fluctuations, fluctuations
from fiberax.cases.options import MOST_RECORDS, option, when
from fiberax.cases.times import even_times
from fiberax.core.errors import BadInput
from fiberax.io.labels import Names, Output
from fiberax.io.results import Quantity

LIKELY = 2.0  # viscosity of a Lennard-Jones liquid at the density 0.81 and the temperature 1
_ELASTIC = 25.0  # its shear modulus at fast strains
_SETTLED = 0.25  # of the time, after which averages begin
_MOST = 1_000_000  # particles of a box, boxes, substeps: more is a typing error


class Potential(enum.Enum):
    """How molecules act on each other."""

    LJ = "lj"
    WCA = "wca"


@dataclass(frozen=True)
class LiquidOptions(Case):
    """A liquid, its boxes, and its time; for cases to build on. Units are those of the potential."""

    potential: Potential = option(Potential.LJ, help="Lennard-Jones, or only its repulsive part")
    cutoff: float = option(2.5, help="of Lennard-Jones", above=0, high=20, applies=when(potential=Potential.LJ))
    particles: int = option(128, help="of each box", low=8, high=_MOST)
    density: float = option(0.81, help="particles per volume", above=0, high=2)
    temperature: float = option(1.0, help="of the liquid", above=0)
    boxes: int = option(2, help="at each site, whose mean stress acts on the flow", low=1, high=_MOST)
    clock: float = option(1.0, help="how many times slower the boxes live; the noise grows with it, 1 is real time", above=0)
    md_step: float = option(
        0.005, help="Verlet step of the boxes; a step of the flow has 8, times substeps and clock", above=0, high=0.1
    )
    substeps: int = option(1, help="steps of a box, of 8 Verlet steps each, in one step of the flow", low=1, high=_MOST)
    split_viscosity: float = option(LIKELY, help="is taken implicitly; results do not depend on it", low=0)
    viscosity: float | None = option(
        None, help="of the Navier-Stokes flow to compare with; default the one measured in the run", above=0
    )
    t1: float = option(200.0, help="end", above=0)
    records: int = option(250, help="times at which results are saved, after the start", low=1, high=MOST_RECORDS)
    average_from: float | None = option(None, help="averages are taken from here on; default a quarter of the time", low=0)
    seed: int = option(0, help="of the noise", low=0)

    def begin(self, end: float) -> float:
        """When averages begin in a run to `end`, which `fiberax extend` may have moved."""
        return _SETTLED * end if self.average_from is None else self.average_from

    @property
    def dt(self) -> float:
        """The step of the flow: as many steps of a box, lengthened by the clock; it is shorter where results are saved."""
        from fiberax.physics.molecules.box import STEPS

        return min(self.substeps * STEPS * self.md_step * self.clock, self.t1 / self.records)

    @property
    def variance(self) -> float:
        """T M/(ρ V R), that of every mode of the velocity."""
        return self.temperature * self.clock / (self.particles * self.boxes)

    def fiber(self) -> Any:
        """The boxes of one site. Raises `BadInput` for boxes that are too small for their potential."""
        import fiberax as fx

        lj = self.potential is Potential.LJ
        potential = fx.molecules.LennardJones(self.cutoff) if lj else fx.molecules.WCA()
        box = fx.molecules.Box(potential, self.particles, self.density, self.temperature, dt=self.md_step)
        return box if self.boxes == 1 else fx.replicas(box, self.boxes)

    def evolve(self, flow: Any, fields: Callable, parts: "Parts") -> Evolve:
        """The run of `flow` with boxes at its sites.

        `fields(macro)`: velocities by key, "macro.velocity" among them.
        """
        import fiberax as fx

        times = even_times(self.t1, self.records)
        if np.count_nonzero(np.asarray(times) >= self.begin(self.t1)) < 2:
            raise BadInput(
                f"--records {self.records}: fewer than two of them are from t = {self.begin(self.t1):g} on, where averages "
                "begin. Give more records, or a smaller --average-from."
            )
        look = eqx.filter_jit(lambda macro: fields(macro) | {"kappa": flow.conditions(macro)})
        found = lambda macro: {key: np.asarray(value) for key, value in look(jax.tree.map(jnp.asarray, macro)).items()}
        modes = fluctuations(flow)

        def summary(ts: np.ndarray, columns: dict[str, np.ndarray]) -> Summary:
            other = lambda viscosity: newtonian(flow, viscosity, found, ts, self.dt)
            return self._summary(Averages(ts, columns, self.begin(float(ts[-1]))), other, parts, modes)

        return Evolve(
            bundle=fx.Bundle(flow, self.fiber(), transport=fx.Fixed()),
            driver=fx.Seamless(self.substeps, self.clock, separation=math.inf),
            macro0=jax.tree.map(np.asarray, flow.start()),
            t1=self.t1,
            dt=self.dt,
            saveat=times,
            seed=self.seed,
            names=Names(_QUANTITIES | parts.quantities),
            output=Output(columns=lambda r: found(r.macro) | _of_boxes(r), microstate=portrait, states="seen", macro=False),
            summary=summary,
            expected=self._noise_words(parts.speed, self._raised(modes, LIKELY, _ELASTIC)),
        )

    def _noise_words(self, speed: float, raised: float) -> str:
        words = f"noise: every mode of the velocity has the variance T M/(rho V R) = {self.variance:.3g}"
        more = f" (about {100.0 * (raised - 1.0):+.0f} % by walls and steps)" if abs(raised - 1.0) > 0.005 else ""
        return f"{words}{more}, that is {self.variance**0.5:.2g} beside velocities of about {abs(speed):.2g}"

    def _raised(self, modes: Fluctuations | None, viscosity: float, modulus: float) -> float:
        """The mean variance of the modes of this discretisation over T M/(ρ V R); 1 where it is not known."""
        if modes is None:
            return 1.0
        found = modes.factor(viscosity, modulus, self.density, self.clock, self.dt, self.split_viscosity)
        return found if math.isfinite(found) else 1.0

    def _summary(self, averages: Averages, other: Callable, parts: "Parts", modes: Fluctuations | None) -> Summary:
        """Viscosity, noise, and the mean flow beside that of Navier and Stokes."""
        eta, error = averages.viscosity(other(LIKELY)["kappa"])
        known = eta > 2.0 * error  # a liquid at rest has no rate of strain, and in a short run there is only noise
        compared = self.viscosity or (eta if known else LIKELY)
        beside = other(compared)
        variance, spread = averages.noise(beside, parts.modes, parts.freedoms)
        off, sure = averages.deviation(beside, parts.modes)
        volume = self.boxes * self.particles / self.density
        modulus = averages.modulus(volume / self.temperature)
        expected = self.variance * self._raised(modes, compared, modulus)
        law = self.variance
        content: dict[str, Any] = {
            "viscosity": eta if known else None,
            "viscosity, standard error": error if known else None,
            "viscosity compared with": compared,
            "averages from": averages.begin,
            "variance by the law": law,
            "variance expected": expected,
            "shear modulus": modulus,
            "variance": variance,
            "variance, standard error": spread,
            "deviation from Navier-Stokes, rms": off,
            "standard error of the velocity, rms": sure,
        }
        plain = {key: averages.mean_of(value) for key, value in beside.items()} | {key: beside[key] for key in parts.curves}
        content["Navier-Stokes"] = {key: np.asarray(value, float).tolist() for key, value in plain.items()}
        measured = f"{eta:.3g} ± {error:.2g}: stress over rate of strain" if known else "not measured, the flow is too weak"
        lines = [
            f"viscosity {measured}, from t = {averages.begin:g} on",
            f"noise: variance {variance:.3g} ± {spread:.1g} of each mode, expected {expected:.3g}; T M/(rho V R) = {law:.3g}",
            f"mean velocity: {off:.2g} (rms) from Navier-Stokes with the viscosity {compared:.3g}, standard error {sure:.2g}",
        ]
        renewed = int(averages.columns["renewed"][-1].sum())
        content["boxes renewed"] = renewed
        if renewed:
            lines.append(f"boxes had become too thin and were renewed {renewed} times")
        return Summary(content, (*lines, "± is one standard error, from blocks of time"))


@dataclass(frozen=True)
class Parts:
    """What differs between flows: names of columns, and a typical speed.

    `modes` are the keys of the velocities on the grid of the flow, and `freedoms` is how many modes these have; `curves` are
    keys of which all times are drawn.
    """

    quantities: dict[str, Quantity]
    modes: tuple[str, ...]
    freedoms: int
    speed: float
    curves: tuple[str, ...] = ()


_QUANTITIES = {
    "condition": Quantity("kappa", "1", "κ"),
    "kappa": Quantity("kappa", "1", "velocity gradient κ"),
    "response": Quantity("sigma", "1", "stress σ of the boxes"),
    "energy": Quantity("energy", "1", "energy of the molecules per volume"),
    "pressure": Quantity("pressure", "1", "pressure of the boxes"),
    "temperature": Quantity("temperature", "1", "temperature of the boxes"),
    "renewed": Quantity("renewed", "1", "how often boxes were renewed"),
    "result": Quantity("result", "1", "result of the step"),
    "macro.velocity": Quantity("velocity", "1", "velocity"),
}


def _of_boxes(record: Any) -> dict[str, np.ndarray]:
    """Pressure, kinetic temperature, and how often boxes were renewed, at each site."""
    p, sites = np.asarray(record.state.momenta), len(record.response)
    freedoms = p[0].size // p.shape[-1] * (p.shape[-1] - 1)
    return {
        "pressure": -np.trace(np.asarray(record.response), axis1=1, axis2=2) / 3.0,
        "temperature": np.sum(p.reshape(sites, -1) ** 2, axis=1) / freedoms,
        "renewed": np.asarray(record.state.renewed).reshape(sites, -1).sum(axis=1),
    }


def portrait(state: Any, condition: Any) -> dict[str, np.ndarray]:
    """The first box of a site: positions (3, n), peculiar momenta, the box (3, 3), and the largest rate of shear."""
    many = np.ndim(state.positions) == 3
    s, p, h = (np.asarray(x[0] if many else x) for x in (state.positions, state.momenta, state.box))
    kappa = np.asarray(condition)
    rate = float(np.linalg.eigvalsh(kappa + kappa.T)[-1])
    return {"molecules": h @ (s - np.floor(s)), "momenta": p, "box": h, "rate": np.array([rate])}

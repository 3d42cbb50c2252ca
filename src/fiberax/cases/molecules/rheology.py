"""Liquids of molecules in a rheometer: options, boxes in steady shear, and boxes at rest by Green and Kubo.

Units are those of the potential. N1 = σ_xx − σ_yy and N2 = σ_yy − σ_zz, x along the flow and y along its gradient.
"""

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from fiberax.cases.base import Figure, Results, Sampling, Summary, Table
from fiberax.cases.fluids.fluids_common import MOLECULES, FluidOptions, Model
from fiberax.cases.molecules.figures import draw_boxes
from fiberax.cases.molecules.liquids import portrait
from fiberax.cases.molecules.rheology_figures import draw_functions, draw_green_kubo
from fiberax.cases.options import inherited, option, other_than, when
from fiberax.core.errors import BadInput
from fiberax.io.labels import Names, Output
from fiberax.io.results import Quantity

OF_MOLECULES, NOT_MOLECULES = when(model=MOLECULES), when(model=other_than(*MOLECULES))
SIMPLE, CHAINS = when(model=(Model.LJ, Model.WCA)), when(model=Model.KG_CHAINS)
_PARTICLES, _CHAINS = 256, 20
_SAMPLED, _SAMPLED_CHAINS = 300.0, 4.0  # relaxation times in a flow
_RESTED, _RESTED_CHAINS = 3000.0, 10.0  # and at rest
_WINDOW = 8.0  # relaxation times of a simple liquid; chains have one
_SHOWN = 3
_MOST = 1_000_000  # particles and boxes: more is a typing error


@dataclass(frozen=True)
class MoleculeOptions(FluidOptions):
    """Liquids of molecules beside other fluids; for a rheometer to build on."""

    model: Model = inherited(
        FluidOptions,
        "model",
        help="dumbbells, bead-spring chains, rods; a closure, an equation for their stress; or molecules: lj, wca, kg-chains",
        choices=None,
    )
    dim: int = inherited(FluidOptions, "dim", applies=NOT_MOLECULES)
    De: float = inherited(FluidOptions, "De", applies=NOT_MOLECULES)
    particles: int | None = option(
        None, help=f"molecules of each box; default {_PARTICLES}, or {_CHAINS} chains", low=8, high=_MOST, applies=OF_MOLECULES
    )
    beads: int = option(12, help="of each chain of kg-chains", low=2, high=1000, applies=CHAINS)
    density: float = option(0.81, help="molecules per volume", above=0, high=2, applies=OF_MOLECULES)
    temperature: float = option(1.0, help="of the molecules", above=0, applies=OF_MOLECULES)
    cutoff: float = option(2.5, help="of lj", above=0, high=20, applies=when(model=Model.LJ))
    md_step: float | None = option(
        None, help="Verlet step of molecules; default 0.005, of chains 0.003", above=0, high=0.1, applies=OF_MOLECULES
    )
    boxes: int = option(2, help="independent boxes of molecules at each rate", low=1, high=_MOST, applies=OF_MOLECULES)

    @property
    def molecular(self) -> bool:
        """Whether the fluid is made of molecules."""
        return self.model in MOLECULES

    def box(self) -> Any:
        """The box of molecules. Raises `BadInput` for one that is too small, or for chains that do not fill it."""
        import fiberax as fx

        m = fx.molecules
        if self._chained:
            count, left = divmod(self.particles or _CHAINS * self.beads, self.beads)
            if left or not count:
                raise BadInput(f"--particles {self.particles} are no whole number of chains of --beads {self.beads}.")
            return m.chains(self.beads, count, self.density, self.temperature, dt=self.md_step or 0.003)
        potential = m.LennardJones(self.cutoff) if self.model is Model.LJ else m.WCA()
        # A shear flow along an axis needs one image of each particle only, which costs least.
        options: dict[str, Any] = {"dt": self.md_step or 0.005, "images": 0}
        return m.Box(potential, self.particles or _PARTICLES, self.density, self.temperature, **options)

    def sheared(self, rates: np.ndarray, average: float | None) -> Table:
        """Material functions at `rates`, averaged over that many relaxation times."""
        box, G = self.box(), np.zeros((3, 3))
        G[0, 1] = 1.0
        shown = np.unique(np.linspace(0, len(rates) - 1, _SHOWN).round().astype(int))
        return Table(
            fiber=box,
            conditions=rates[:, None, None] * G,
            values=rates,
            tangent=False,
            batch=1,
            names=Names(_QUANTITIES, axis=Quantity("rate", "1", "shear rate")),
            output=Output(microstate=portrait),
            summary=_summary,
            link=Stresses(),
            sampling=self._sampling(box, average or (_SAMPLED_CHAINS if self._chained else _SAMPLED)),
            derived=_material,
            shown=tuple(shown.tolist()),
        )

    def at_rest(self, average: float | None) -> Table:
        """Relaxation modulus and viscosity of a liquid at rest."""
        import fiberax as fx

        box = self.box()
        longest = float(box.relaxation_time(None)) * (1.0 if self._chained else _WINDOW)
        fiber = fx.molecules.GreenKubo(box, longest)
        return Table(
            fiber=fiber,
            conditions=np.zeros((1, 3, 3)),
            values=np.zeros(1),
            tangent=False,
            batch=1,
            names=Names(_AT_REST, axis=Quantity("rate", "1", "shear rate")),
            summary=_summary_at_rest,
            sampling=self._sampling(box, average or (_RESTED_CHAINS if self._chained else _RESTED)),
        )

    @property
    def _chained(self) -> bool:
        return self.model is Model.KG_CHAINS

    def _sampling(self, box: Any, average: float) -> Sampling:
        return Sampling(span=average * float(box.relaxation_time(None)), replicas=self.boxes, seed=self.seed)

    def figures_of_molecules(self, results: Results) -> list[Figure]:
        """Material functions against the rate and boxes, or modulus and viscosity against time."""
        if results("response.modulus") is not None:
            return [Figure("green-kubo", lambda plt: draw_green_kubo(plt, results))]
        return [
            Figure("material-functions", lambda plt: draw_functions(plt, results)),
            Figure("boxes", lambda plt: draw_boxes(plt, results.microstates, channel=False)),
        ]


class Stresses(eqx.Module):
    """What a rheometer reads of a box, a link: shear stress, normal stress differences, pressure."""

    def __call__(self, fiber, state, condition) -> dict[str, Any]:
        s = fiber.link(state, condition)
        return {"stress": s[0, 1], "N1": s[0, 0] - s[1, 1], "N2": s[1, 1] - s[2, 2], "pressure": -jnp.trace(s) / 3.0}


def _material(rates: np.ndarray, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Viscosity and coefficients of normal stress with their standard errors."""
    found = {}
    for name, (of, power) in {"viscosity": ("stress", 1), "Psi1": ("N1", 2), "Psi2": ("N2", 2)}.items():
        found[f"material.{name}"] = np.asarray(arrays[f"response.{of}"]) / rates**power
        found[f"error.{name}"] = np.asarray(arrays[f"stderr.{of}"]) / rates**power
    return found


def _summary(rates: np.ndarray, columns: dict[str, np.ndarray]) -> Summary:
    """The viscosity at the ends, and which rates are not to be trusted."""
    eta, error = columns["material.viscosity"], columns["error.viscosity"]
    ends = [0] if len(rates) == 1 else [0, len(rates) - 1]
    lines = [f"viscosity {eta[k]:.4g} ± {error[k]:.2g} at the rate {rates[k]:.4g}" for k in ends]
    content = {"viscosity": eta[0], "viscosity, standard error": error[0], "rate": rates[0]}
    bad = rates[columns["result"] != 0]
    if len(bad):
        lines.append(f"{len(bad)} rates from {bad.min():.4g} to {bad.max():.4g} are not to be trusted: raise --average")
    return Summary({key: float(value) for key, value in content.items()}, tuple(lines))


def _summary_at_rest(_: np.ndarray, columns: dict[str, np.ndarray]) -> Summary:
    eta, error, time = (float(columns[key][0, -1]) for key in ("response.viscosity", "stderr.viscosity", "response.time"))
    modulus, noise = (float(columns[key][0, -1]) for key in ("response.modulus", "stderr.modulus"))
    content = {"viscosity": eta, "viscosity, standard error": error, "time": time, "modulus at that time": modulus}
    lines = [f"viscosity {eta:.4g} ± {error:.2g}, the integral of the modulus up to t = {time:.4g}"]
    if columns["result"][0]:
        lines.append("the run is too short for its errors: raise --average")
    if modulus > 3.0 * noise:
        lines.append(f"the modulus has not decayed by then, it is {modulus:.2g} ± {noise:.1g}: the viscosity is larger")
    return Summary(content, tuple(lines))


_STRESSES = {
    "stress": "shear stress",
    "N1": "first normal stress difference N₁",
    "N2": "second normal stress difference N₂",
    "pressure": "pressure",
}
_FUNCTIONS = {
    "viscosity": "shear viscosity",
    "Psi1": "first normal stress coefficient Ψ₁",
    "Psi2": "second normal stress coefficient Ψ₂",
}
_QUANTITIES = (
    {f"response.{key}": Quantity(key, "1", words) for key, words in _STRESSES.items()}
    | {f"material.{key}": Quantity(key, "1", words) for key, words in _FUNCTIONS.items()}
    | {f"error.{key}": Quantity(f"{key}_stderr", "1", f"standard error of {words}") for key, words in _FUNCTIONS.items()}
    | {"condition": Quantity("kappa", "1", "κ"), "result": Quantity("result", "1", "result of the average")}
)
_AT_REST = {
    "response.time": Quantity("time", "1", "time"),
    "response.modulus": Quantity("modulus", "1", "relaxation modulus G"),
    "response.viscosity": Quantity("viscosity", "1", "∫G dt, the viscosity"),
    "condition": Quantity("kappa", "1", "κ"),
    "result": Quantity("result", "1", "result of the average"),
}

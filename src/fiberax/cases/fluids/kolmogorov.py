"""A periodic box of dumbbells, chains, rods or closures under a steady force: Kolmogorov's flow or the four-roll mill.

Kolmogorov: F (sin ny, 0). It drives the laminar flow (a sin ny, 0), a = F/n² for a fluid of viscosity 1, exact for Hookean
springs as long as nothing disturbs it. Four-roll mill (Thomases, Shelley, Phys. Fluids 19, 2007, 103103): F (sin nx cos ny,
−cos nx sin ny). Means over the box obey, U being the velocity,

    d/dt Re ⟨|U|²⟩/2 = ⟨F·U⟩ − ν ⟨|∇U|²⟩ − ((1 − ν)/De) ⟨τ:∇U⟩
"""

import enum
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from fiberax.cases.base import Evolve, Figure, Results, Summary, listed
from fiberax.cases.fluids.flow_figures import box_figures
from fiberax.cases.fluids.flows import (
    Conformation,
    FlowOptions,
    Parts,
    Scheme,
    StiffWatch,
    at_end,
    largest_stress,
    linear_modes,
    noise_summary,
)
from fiberax.cases.fluids.fluids_common import Form
from fiberax.cases.options import MOST_CELLS_A_SIDE, above, inherited, option, when
from fiberax.core.errors import BadInput
from fiberax.io.results import Quantity

_SIDE = 2.0 * math.pi
_MODULUS = 10.0  # stress that is expected, by Wi²


class Forcing(enum.Enum):
    """Patterns of the force."""

    SHEAR = "shear"
    FOUR_ROLL = "four-roll"


@listed("kolmogorov", "flow of dumbbells, chains, rods or closures in a periodic box under a steady force")
@dataclass(frozen=True)
class Kolmogorov(FlowOptions):
    """Flow of dumbbells, chains, rods or closures in a periodic box, driven by a steady force.

    The box has the side 2 pi. The force is that of Kolmogorov, along x and periodic in y, or that of a four-roll mill, whose
    stagnation points draw springs out. By default dumbbells are Hookean and their density is computed: the Oldroyd-B fluid.
    Results are the fields of velocity and stress, and the balance of powers.
    """

    spring: str = inherited(FlowOptions, "spring", "hookean")
    dim: int = inherited(FlowOptions, "dim", 2, help="dimensions of the springs, 2 or 3; rods have 3")
    form: Form = inherited(FlowOptions, "form", Form.DENSITY)
    members: int = inherited(FlowOptions, "members", 100, help="springs, chains or rods in each cell")
    Re: float = inherited(FlowOptions, "Re", 20.0)
    forcing: Forcing = option(Forcing.SHEAR, help="shear: sin(ny) along x; or four-roll, the mill")
    waves: int = option(2, help="n, waves of the force along a side", low=1)
    force: float | None = option(None, help="F; default what moves a Newtonian fluid of viscosity 1 at speed 1", above=0)
    disturbance: float = option(
        0.05, help="speed of a flow of long waves that is there at the start", low=0, applies=when(Re=above(0))
    )
    cells: int = option(64, help="cells along each side", low=8, high=MOST_CELLS_A_SIDE)
    scheme: Scheme = option(Scheme.WENO, help="how the fluid carries its springs or rods along")
    t1: float = inherited(FlowOptions, "t1", 40.0)
    records: int = inherited(FlowOptions, "records", 80)

    def build(self) -> Evolve:
        """The coupled run. Raises `BadInput`."""
        import fiberax as fx

        if 3 * self.waves >= self.cells:
            raise BadInput(f"--cells {self.cells} cannot hold --waves {self.waves}: give more than {3 * self.waves} cells.")
        grid = fx.grids.Box((0.0, 0.0), (_SIDE, _SIDE), 2 * (self.cells,))
        rate = self.waves * self.strength / self._decay
        dt = self.step(grid, self.rest_modulus() + _MODULUS * (self.De * rate) ** 2, rate)
        flow: Any = fx.fluids.Flow(grid, self.Re, self.viscosity_ratio, force=self._force, De=self.De, dim=self.dim)
        start = flow.start(velocity=self._disturbance) if self.disturbance and self.Re else flow.start()
        fiber = self.fiber()
        further = _Further(self, flow, grid, dt, fiber)
        names = {
            "kinetic": Quantity("kinetic_energy", "1", f"kinetic energy {'Re ' if self.Re else ''}⟨|U|²⟩/2"),
            "elastic": Quantity("elastic_energy", "1", "energy of the springs, above rest"),
            "budget.force": Quantity("power_force", "1", "power of the force"),
            "budget.viscous": Quantity("power_viscous", "1", "dissipated by the solvent"),
            "budget.fibers": Quantity("power_fibers", "1", "done on the fibers"),
            "amplitude": Quantity("amplitude", "1", "amplitude of the driven wave"),
            "exact.amplitude": Quantity("amplitude_laminar", "1", "amplitude of the driven wave, laminar, exact"),
        }
        transport = fx.Convected(self.scheme.value)
        return self.evolve(Parts(flow, fiber, further, names, transport, start), dt, self._summary)

    def figures(self, results: Results) -> list[Figure]:
        """Fields, ellipses of the springs, energy and powers, and configurations."""
        return box_figures(results)

    @property
    def strength(self) -> float:
        """F."""
        return self._decay if self.force is None else self.force

    @property
    def _decay(self) -> float:
        """−Δ on the pattern."""
        return float(self.waves**2 * (1 if self.forcing is Forcing.SHEAR else 2))

    def pattern(self, x: Any) -> Any:
        """The force at x (..., 2) over F."""
        nx, ny = self.waves * x[..., 0], self.waves * x[..., 1]
        if self.forcing is Forcing.SHEAR:
            return jnp.stack([jnp.sin(ny), jnp.zeros_like(nx)], -1)
        return jnp.stack([jnp.sin(nx) * jnp.cos(ny), -jnp.cos(nx) * jnp.sin(ny)], -1)

    def _force(self, x, t):
        return self.strength * self.pattern(x)

    def _disturbance(self, x):
        X, Y = x[..., 0], x[..., 1]
        along = jnp.sin(Y + 0.4) + 0.5 * jnp.cos(X - Y)
        return self.disturbance * jnp.stack([along, jnp.cos(X + 1.1) + 0.5 * jnp.cos(X - Y)], -1)

    def laminar(self) -> Callable | None:
        """The amplitude of the driven wave, of time, as long as the flow is that wave alone, where it is known."""
        if (self.forcing is Forcing.SHEAR and self.is_linear) or self.viscosity_ratio == 1.0:
            modes = linear_modes(np.array([self._decay**0.5]), self, self.strength)
            return lambda t: modes(t)[0][0]
        return None

    def _summary(self, times: np.ndarray, columns: dict[str, np.ndarray]) -> Summary:
        """Energies at the end, the driven wave compared with the laminar one, and the error of the balance of powers."""
        noise, kinetic, a = noise_summary(columns), columns["kinetic"], float(columns["amplitude"][-1])
        content = {"kinetic energy": float(kinetic[-1]), "amplitude of the driven wave": a}
        energy, wave = at_end(columns, "kinetic"), at_end(columns, "amplitude")
        words = f"kinetic energy {energy} at the end, amplitude of the driven wave {wave}"
        if "exact.amplitude" in columns:
            laminar = float(columns["exact.amplitude"][-1])
            content["laminar amplitude"] = laminar
            words += f" ({laminar:.5g} in laminar flow)"
        work = [float(np.trapezoid(columns[f"budget.{name}"], times)) for name in ("force", "viscous", "fibers")]
        if self.Re and work[0] > 0.0:
            content["energy that is missing, relative to the work of the force"] = (
                work[0] - work[1] - work[2] - float(kinetic[-1] - kinetic[0])
            ) / work[0]
        return Summary(content | noise.content, (words, *noise.lines))


class _Further:
    """What is written of each record."""

    def __init__(self, options: Kolmogorov, flow: Any, grid: Any, dt: float, fiber: Any):
        inner = flow.inner if options.Re == 0.0 else flow
        self._options, self._laminar = options, options.laminar()
        self._conformation, self._watch = Conformation(options, fiber), StiffWatch(options, grid, dt)
        self._pattern, self._cells = np.asarray(options.pattern(jnp.asarray(grid.centres))), grid.cells
        self._fields = eqx.filter_jit(lambda macro: (inner.centred(macro), inner.gradient(macro)))

    def __call__(self, record: Any) -> dict[str, np.ndarray]:
        o = self._options
        macro = record.macro.value if o.Re == 0.0 else record.macro
        U, kappa = (np.asarray(x) for x in self._fields(jnp.asarray(macro)))
        stress = np.asarray(record.response)
        tau = stress[:, :2, :2].reshape(kappa.shape)
        self._watch(record.t, largest_stress(stress))
        mean = lambda x: np.mean(np.sum(x, axis=tuple(range(2, x.ndim))))
        weight = (1.0 - o.viscosity_ratio) / o.De
        found = {
            "macro.velocity": U,
            "macro.psi": stream_function(kappa[..., 1, 0] - kappa[..., 0, 1]),
            "kinetic": 0.5 * (o.Re or 1.0) * mean(U**2),
            "budget.force": o.strength * mean(self._pattern * U),
            "budget.viscous": o.viscosity_ratio * mean(kappa**2),
            "budget.fibers": weight * mean(tau * kappa),
            "amplitude": mean(self._pattern * U) / mean(self._pattern**2),
        }
        if o.is_hookean:
            found["elastic"] = 0.5 * weight * (np.mean(np.trace(stress, axis1=1, axis2=2)) - o.dim * o.rest_modulus())
        if self._laminar is not None:
            found["exact.amplitude"] = self._laminar(record.t)
        return found | self._conformation(record)


def stream_function(vorticity: np.ndarray) -> np.ndarray:
    """ψ with −Δψ = vorticity on a periodic square of side 2π, of mean zero."""
    n, m = vorticity.shape
    square = np.fft.fftfreq(n, 1.0 / n)[:, None] ** 2 + np.arange(m // 2 + 1) ** 2
    modes = np.fft.rfft2(vorticity) / np.where(square > 0.0, square, np.inf)
    return np.fft.irfft2(modes, s=(n, m))

"""A square cavity with a moving lid, filled with dumbbells, chains, rods or closures.

The regularised lid moves at 8 (1 + tanh 8(t − 1/2)) x²(1 − x)², as in Fattal and Kupferman, J. Non-Newtonian Fluid Mech. 126
(2005) 23; Pan, Hao and Glowinski, Int. J. Numer. Meth. Fluids 60 (2009) 791, give centres of the vortex for the Oldroyd-B fluid
without inertia and with equal viscosities: (0.469, 0.798) at De = 0.5, (0.439, 0.816) at De = 1.
"""

import enum
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fiberax.cases.base import Evolve, Figure, Results, Summary, listed
from fiberax.cases.fluids.flow_figures import box_figures
from fiberax.cases.fluids.flows import (
    ERROR,
    Conformation,
    FlowOptions,
    Parts,
    Scheme,
    StiffWatch,
    at_end,
    largest_stress,
    noise_summary,
    velocity_of,
)
from fiberax.cases.fluids.fluids_common import Form
from fiberax.cases.options import MOST_CELLS_A_SIDE, inherited, option
from fiberax.io.results import Quantity
from fiberax.numerics.compilation import jit_once

_MODULUS, _RATE = 150.0, 10.0  # stress and velocity gradients that are expected under a lid, by Wi = De


class Lid(enum.Enum):
    """How the lid moves."""

    REGULARISED = "regularised"
    PLAIN = "plain"


@listed("cavity", "flow of dumbbells, chains, rods or closures in a square cavity under a moving lid")
@dataclass(frozen=True)
class Cavity(FlowOptions):
    """Flow of dumbbells, chains, rods or closures in a square cavity under a moving lid.

    The side is 1, and the lid moves towards positive x at a speed of about 1, set in motion and slowed down towards the corners
    as in the literature, or at once and as a whole. By default dumbbells are Hookean and their density is computed: the
    Oldroyd-B fluid. Results are the fields of velocity and stress, the kinetic energy and the centre of the vortex.
    """

    spring: str = inherited(FlowOptions, "spring", "hookean")
    dim: int = inherited(FlowOptions, "dim", 2, help="dimensions of the springs, 2 or 3; rods have 3")
    De: float = inherited(FlowOptions, "De", 0.5)
    form: Form = inherited(FlowOptions, "form", Form.DENSITY)
    members: int = inherited(FlowOptions, "members", 100, help="springs, chains or rods in each cell")
    Re: float = inherited(FlowOptions, "Re", 0.0)
    lid: Lid = option(Lid.REGULARISED, help="eased in time and towards the corners, or plain: speed 1, too hard for hookean")
    cells: int = option(48, help="cells along each side", low=8, high=MOST_CELLS_A_SIDE)
    scheme: Scheme = option(Scheme.SEMI_LAGRANGIAN, help="how the fluid carries its springs or rods along")
    t1: float = inherited(FlowOptions, "t1", 8.0)
    records: int = inherited(FlowOptions, "records", 80)

    def build(self) -> Evolve:
        """The coupled run. Raises `BadInput`."""
        import fiberax as fx

        grid = fx.grids.Box((0.0, 0.0), (1.0, 1.0), 2 * (self.cells,), periodic=False)
        dt = self.step(grid, self.rest_modulus() + _MODULUS * self.De**2, _RATE)
        wall = fx.fluids.Wall(_eased if self.lid is Lid.REGULARISED else 1.0)
        flow: Any = fx.fluids.Flow(grid, self.Re, self.viscosity_ratio, boundary={"top": wall}, De=self.De, dim=self.dim)
        fiber = self.fiber()
        conformation, watch, velocity = Conformation(self, fiber), StiffWatch(self, grid, dt), velocity_of(flow)
        inner = flow.inner if self.Re == 0.0 else flow
        totals = jit_once(lambda value: (inner.stream_function(value), inner.kinetic_energy(value)))

        def further(record: Any) -> dict[str, np.ndarray]:
            value = jax.tree.map(jnp.asarray, record.macro.value if self.Re == 0.0 else record.macro)
            (psi, kinetic), U = (np.asarray(x) for x in totals(value)), velocity(record.macro)
            centre, lowest = vortex(psi)
            watch(record.t, largest_stress(np.asarray(record.response)))
            found = {"macro.velocity": U, "macro.psi": 0.25 * (psi[1:, 1:] + psi[1:, :-1] + psi[:-1, 1:] + psi[:-1, :-1])}
            found |= {"kinetic": kinetic, "vortex.centre": centre, "vortex.psi": lowest}
            return found | conformation(record)

        names = {
            "kinetic": Quantity("kinetic_energy", "1", "kinetic energy ∫|U|²/2"),
            "vortex.centre": Quantity("vortex_centre", "1", "centre of the vortex"),
            "vortex.psi": Quantity("vortex_psi", "1", "stream function at the centre of the vortex"),
        }
        transport = fx.Convected(self.scheme.value)
        return self.evolve(Parts(flow, fiber, further, names, transport), dt, _summary)

    def figures(self, results: Results) -> list[Figure]:
        """Fields, ellipses of the springs, the energy and the way of the vortex, and configurations."""
        return box_figures(results)


def _eased(x, t):
    return 8.0 * (1.0 + jnp.tanh(8.0 * (t - 0.5))) * x**2 * (1.0 - x) ** 2


def vortex(psi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where |ψ|, given at the corners of the cells of the unit square, is largest, and ψ there, by a spline; NaN at rest."""
    from scipy.interpolate import RectBivariateSpline
    from scipy.optimize import minimize

    if not np.any(psi):
        return np.full(2, np.nan), np.zeros(())
    at = [np.linspace(0.0, 1.0, n) for n in psi.shape]
    first = np.unravel_index(np.abs(psi).argmax(), psi.shape)
    spline, sign = RectBivariateSpline(*at, psi / np.abs(psi).max()), np.sign(psi[first])
    begin = [at[k][first[k]] for k in range(2)]
    found = minimize(lambda p: -sign * spline.ev(*p), begin, method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-13})
    return found.x, np.asarray(-found.fun * sign * np.abs(psi).max())


def _summary(times: np.ndarray, columns: dict[str, np.ndarray]) -> Summary:
    """Centre of the vortex and kinetic energy at the end, and whether they still move."""
    noise, (x, y), psi = noise_summary(columns), columns["vortex.centre"][-1], float(columns["vortex.psi"][-1])
    kinetic = columns["kinetic"]
    content = {"vortex centre": [float(x), float(y)], "stream function there": psi, "kinetic energy": float(kinetic[-1])}
    energy, least = at_end(columns, "kinetic"), at_end(columns, "vortex.psi")
    error = columns.get("vortex.centre" + ERROR)
    place = f"({x:.4f}, {y:.4f})" + ("" if error is None else f" ± ({error[-1, 0]:.2g}, {error[-1, 1]:.2g})")
    lines = [f"centre of the vortex {place}, stream function {least} there, kinetic energy {energy}"]
    before = int(np.argmin(np.abs(times - 0.8 * times[-1])))
    drift = float(abs(kinetic[-1] - kinetic[before]) / kinetic.max()) if kinetic.max() > 0.0 else 0.0
    content["change of the kinetic energy over the last fifth, relative"] = drift
    lines.append(f"over the last fifth of the time the kinetic energy changed by {100.0 * drift:.2g} %")
    return Summary(content | noise.content, (*lines, *noise.lines))

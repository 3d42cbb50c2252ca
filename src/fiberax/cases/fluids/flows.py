"""Shared by cases of flows: options, the largest stable step, results that are written, and exact linear viscoelasticity.

Hookean springs and Newtonian fluids along x, mode by mode of sin(qy), u being the amplitude of the velocity, s_k of stresses:

    Re u' = f − ν q² u − q ((1 − ν)/De) Σ_k s_k,    s_k' = q u − s_k/De_k,    De_k = De/(2 sin²(πk/(2n + 2)))

for chains of n springs; one spring is the fluid of Waters and King (Rheol. Acta 9, 1970).
"""

import dataclasses
import enum
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from fiberax.cases.base import CaseWarning, Evolve, Summary
from fiberax.cases.fluids.fluids_common import MEMBERS, FluidOptions, Model
from fiberax.cases.fluids.portraits import portrait
from fiberax.cases.fluids.rheology import order, second_moment
from fiberax.cases.options import MOST_RECORDS, inherited, option
from fiberax.cases.times import even_times
from fiberax.core.errors import BadInput
from fiberax.core.realisations import single_records
from fiberax.io.labels import Names, Output
from fiberax.io.results import Quantity
from fiberax.numerics.compilation import jit_once

_SAFETY = 0.4  # of the largest stable step
_RESOLVED = 0.1  # step times the rates of springs and flow
_THICKENING = 0.0625  # ⟨m_x² m_y²⟩/2 of aligned rods: the viscosity, times 1 − ν, that their own friction adds
ERROR = ".error"  # end of the keys of standard errors of columns
_TAKEN = 0.16, 1.0 / 3.0  # of the solvent's viscosity may be taken explicitly at any step by fx.IMEX, by fx.Extrapolation


class Scheme(enum.Enum):
    """How states are carried with the flow."""

    SEMI_LAGRANGIAN = "semi-lagrangian"
    WENO = "weno"
    UPWIND = "upwind"


@dataclass(frozen=True)
class FlowOptions(FluidOptions):
    """A flow of the fluid: its numbers, and its time; for cases to build on."""

    control: bool = inherited(FluidOptions, "control", False)
    Re: float = option(1.0, help="Reynolds number; 0: no inertia", low=0)
    viscosity_ratio: float = option(0.5, help="share of the solvent in the viscosity, 1 for no polymers", low=0, high=1)
    t1: float = option(10.0, help="end", above=0)
    dt: float | None = option(None, help="time step; default from what is stable and follows the fluid", above=0)
    records: int = option(40, help="times at which results are saved, after the start", low=1, high=MOST_RECORDS)
    replicas: int = option(
        1,
        help="independent flows among which the members are divided; from 2 on they give standard errors of all figures",
        low=1,
        applies=MEMBERS,
    )
    save_states: bool = option(False, help="save the members or densities of all sites as well, at all these times")

    @property
    def times(self) -> tuple[float, ...]:
        """Save times."""
        return even_times(self.t1, self.records)

    @property
    def is_linear(self) -> bool:
        """Whether flow along one direction is exactly that of linear viscoelasticity."""
        return self.is_hookean or self.viscosity_ratio == 1.0

    def fiber(self):
        """The fluid of one flow. Raises `BadInput`."""
        if self.replicas == 1 or not self.brownian:
            return super().fiber()
        each, left = divmod(self.members, self.replicas)
        if left or each < 2:
            raise BadInput(
                f"--members {self.members} cannot be divided among --replicas {self.replicas}: each flow needs as many, at "
                "least 2. Give a multiple."
            )
        return super(FlowOptions, dataclasses.replace(self, members=each)).fiber()

    def total_viscosity(self) -> float | None:
        """That of slow flows, where it is known."""
        limit = 0.0 if self.viscosity_ratio == 1.0 else self.zero_rate_viscosity()
        return None if limit is None else self.viscosity_ratio + (1.0 - self.viscosity_ratio) * limit / self.De

    def stiff_limit(self, grid: Any, modulus: float) -> float:
        """The largest stable step where the stress grows by `modulus` times the velocity gradient per unit of time, or 0.

        The fibers' stress is taken explicitly: dt² a = Re + ν k² dt, a = (1 − ν) modulus k²/De, for the largest k there is.
        """
        square = sum((2.0 / h) ** 2 for h in grid.spacing)
        a, b = (1.0 - self.viscosity_ratio) * modulus * square / self.De, self.viscosity_ratio * square
        limit = math.inf if a == 0.0 else (b + math.sqrt(b * b + 4.0 * a * self.Re)) / (2.0 * a)
        extra = _THICKENING * (1.0 - self.viscosity_ratio) if self.model is Model.ROD else 0.0
        if extra > _TAKEN[self.Re == 0.0] * self.viscosity_ratio:
            limit = min(limit, self.Re / (extra * square))
        return limit

    def rest_modulus(self) -> float:
        """What the stress at rest has of it."""
        return float(self.springs) if self.model is Model.CHAIN else 1.0

    def step(self, grid: Any, modulus: float, rate: float) -> float:
        """The time step, for a stress of about `modulus` and gradients of about `rate`. Raises `BadInput` for one too long."""
        if self.viscosity_ratio == 0.0 and self.Re == 0.0:
            raise BadInput("--Re 0 with --viscosity-ratio 0 leaves nothing to solve for: give one of them a value above 0.")
        limit = self.stiff_limit(grid, self.rest_modulus())
        if limit == 0.0:
            raise BadInput(
                f"--viscosity-ratio = {self.viscosity_ratio:g}: rods without inertia need a solvent of at least "
                f"{_THICKENING / (_THICKENING + _TAKEN[True]):.2g}, next to which their own friction is small."
            )
        if self.model is Model.ROD:  # which are not drawn out
            modulus = self.rest_modulus()
        if self.dt is None:
            own = _RESOLVED / (1.0 / float(self.relaxation_times()[-1]) + rate)
            return min(_SAFETY * self.stiff_limit(grid, modulus), own, self.t1 / self.records)
        if self.dt > limit:
            raise BadInput(
                f"--dt = {self.dt:g}: the fluid is stiff, no step above {limit:.3g} is stable even at rest. Give less, or "
                "leave --dt away."
            )
        return self.dt

    def evolve(self, parts: "Parts", dt: float, summary: Callable) -> Evolve:
        """The run of a flow."""
        import fiberax as fx

        bundle = fx.Bundle(parts.flow, parts.fiber, transport=parts.transport)
        start = jax.tree.map(np.asarray, _started(parts.flow) if parts.start is None else parts.start)
        if self.replicas > 1 and self.brownian:
            bundle, parts = fx.realisations(bundle, self.replicas), averaged(parts)
            start = jax.tree.map(lambda x: np.broadcast_to(x, (self.replicas, *x.shape)), start)
        return Evolve(
            bundle=bundle,
            driver=fx.Seamless(separation=math.inf),
            macro0=start,
            t1=self.t1,
            dt=dt,
            saveat=self.times,
            seed=self.seed,
            names=Names(self._quantities(parts)),
            output=self._output(parts),
            summary=summary,
        )

    def _quantities(self, parts: "Parts") -> dict[str, Quantity]:
        """Names of what all flows have and of what this one has, and of the standard errors of columns."""
        rods = self.model is Model.ROD
        known = {
            "condition": Quantity("kappa", "1", "κ"),
            "response": Quantity("tau", "1", "stress τ of the fibers"),
            "macro.velocity": Quantity("velocity", "1", "velocity in the cells"),
            "macro.psi": Quantity("psi", "1", "stream function ψ"),
            "conformation": Quantity("conformation", "1", "⟨mm⟩ of rods" if rods else "⟨zz⟩ of springs, end to end"),
            "trace": Quantity("stretch", "1", "order parameter S of rods" if rods else "mean square of z"),
            "result": Quantity("result", "1", "result of the step"),
        } | parts.quantities
        errors = {
            key + ERROR: Quantity(f"{of.name}_stderr", of.unit, f"standard error: {of.label}") for key, of in known.items()
        }
        return known | errors

    def _output(self, parts: "Parts") -> Output:
        gradient = np.zeros((self.dim, self.dim))
        gradient[0, 1] = 1.0
        states = "written" if self.save_states else "seen"
        draw = portrait(parts.fiber, gradient)

        def look(state, condition) -> dict[str, np.ndarray]:
            """A single ensemble is drawn like the replicas of a sample, those of several flows at their mean gradient."""
            if parts.averaged:
                return draw(state, np.mean(condition, axis=0))
            many = jax.tree.map(lambda x: x[None], state) if self.brownian else state
            return draw(many, condition)

        return Output(
            columns=parts.columns, microstate=look, states=states, macro=False, averaged=parts.averaged, along=parts.along
        )


def _is_exact(key: str) -> bool:
    return "exact" in key.split(".")


@dataclass(frozen=True)
class Parts:
    """What makes up the run of a flow: model and fiber, the columns of a record with their names, transport and start.

    `averaged`: the columns are those of several flows, see `averaged`. `along`: coordinates, as of `Output`.
    """

    flow: Any
    fiber: Any
    columns: Callable[[Any], dict[str, np.ndarray]]
    quantities: dict[str, Quantity]
    transport: Any = None
    start: Any = None
    averaged: bool = False
    along: dict[str, tuple[str, np.ndarray]] = dataclasses.field(default_factory=dict)


def averaged(parts: Parts) -> Parts:
    """The parts of a run of several flows: columns are means over these, each but exact ones with its standard error."""

    def columns(record: Any) -> dict[str, np.ndarray]:
        rows = [parts.columns(one) for one in single_records(record)]
        found = {key: np.stack([np.asarray(row[key]) for row in rows]) for key in rows[0]}
        known = {key: values[0] for key, values in found.items() if _is_exact(key)}
        errors = {
            key + ERROR: np.std(values, axis=0, ddof=1) / len(rows) ** 0.5 for key, values in found.items() if key not in known
        }
        return {key: np.mean(values, axis=0) for key, values in found.items()} | known | errors

    return dataclasses.replace(parts, columns=columns, averaged=True)


@jit_once
def _started(flow: Any) -> Any:
    """The macrostate that a flow begins with."""
    return flow.start()


class Conformation:
    """⟨zz⟩ or ⟨mm⟩ of every site of a record, from the states, and one number from it."""

    def __init__(self, options: FlowOptions, fiber: Any):
        self._rods = options.model is Model.ROD
        self._moment = eqx.filter_jit(lambda states: jax.vmap(lambda s: second_moment(fiber, s))(states))

    def __call__(self, record: Any) -> dict[str, np.ndarray]:
        moment = np.asarray(self._moment(record.state))
        trace = order(moment) if self._rods else np.trace(moment, axis1=-2, axis2=-1)
        return {"conformation": moment, "trace": trace}


class StiffWatch:
    """Warns once where the stress has grown so large that the step is not stable any more."""

    def __init__(self, options: FlowOptions, grid: Any, dt: float):
        self._options, self._grid, self._dt, self._warned = options, grid, dt, False

    def __call__(self, t: float, modulus: float) -> float:
        """The largest stable step for a stress of `modulus`."""
        rods = self._options.model is Model.ROD
        limit = self._options.stiff_limit(self._grid, self._options.rest_modulus() if rods else modulus)
        if self._dt > limit and not self._warned and np.isfinite(limit):
            self._warned = True
            words = f"at t = {t:.4g} only steps up to {limit:.2g} are stable with this stress, and the run takes {self._dt:.2g}"
            warnings.warn(f"{words}. If the results oscillate, take --dt {_SAFETY * limit:.1g}.", CaseWarning, stacklevel=2)
        return limit


def largest_stress(stress: np.ndarray) -> float:
    """The largest eigenvalue of τ (sites, d, d)."""
    return float(np.linalg.eigvalsh(0.5 * (stress + np.swapaxes(stress, -1, -2))).max())


def at_end(columns: dict[str, np.ndarray], key: str, digits: int = 5) -> str:
    """The last value of a column, with its standard error where it has one."""
    value, error = columns[key][-1], columns.get(key + ERROR)
    return f"{value:.{digits}g}" + ("" if error is None else f" ± {error[-1]:.2g}")


def noise_summary(columns: dict[str, np.ndarray]) -> Summary:
    """How large the standard errors are, for fluids of members."""
    error = columns.get("stderr")
    if error is None:
        return Summary({})
    share = float(np.nanmax(error[-1]) / np.nanmax(np.abs(columns["response"][-1])))
    return Summary(
        {"largest standard error of the stress over the largest stress": share},
        (f"± is one standard error; those of the stress reach {100.0 * share:.2g} % of the largest stress",),
    )


def linear_modes(q: np.ndarray, options: FlowOptions, force: Any, start: Any = 0.0) -> Callable:
    """Amplitudes of velocity u and stress Σ s_k of time: at wave numbers q under `force`, from the velocity `start`."""
    De, nu, Re = options.relaxation_times(), options.viscosity_ratio, options.Re
    weight, n = (1.0 - nu) / options.De, len(De)
    force, start = np.broadcast_to(force, q.shape), np.broadcast_to(start, q.shape)
    if Re == 0.0:  # u = (f − q weight Σ s)/(ν q²): the same for all q but for scales
        M, source = -weight / nu * np.ones((n, n)) - np.diag(1.0 / De), np.ones(n)
        shared = _relaxed(M[None], source[None], np.zeros((1, n)))

        def inertialess(t: float) -> tuple:
            total = shared(t)[0].sum()
            return force / (nu * q**2) * (1.0 - weight / nu * total), force / (nu * q) * total

        return inertialess
    M = np.zeros((len(q), n + 1, n + 1))
    M[:, 0, 0], M[:, 0, 1:], M[:, 1:, 0] = -nu * q**2 / Re, -weight * q[:, None] / Re, q[:, None]
    M[:, np.arange(1, n + 1), np.arange(1, n + 1)] = -1.0 / De
    source, begin = np.zeros((2, len(q), n + 1))
    source[:, 0], begin[:, 0] = force / Re, start
    relaxed = _relaxed(M, source, begin)

    def modes(t: float) -> tuple:
        x = relaxed(t)
        return x[..., 0], x[..., 1:].sum(axis=-1)

    return modes


def _relaxed(M: np.ndarray, source: np.ndarray, begin: np.ndarray) -> Callable:
    """Solution x (modes, n) of x' = Mx + source: of time."""
    rest = -np.linalg.solve(M, source[..., None])[..., 0]
    roots, vectors = np.linalg.eig(M)
    weights = np.linalg.solve(vectors, (begin - rest)[..., None].astype(complex))[..., 0]
    return lambda t: rest + np.einsum("kij,kj->ki", vectors, np.exp(t * roots) * weights).real


def velocity_of(flow: Any) -> Callable:
    """The velocity at cell centres of a macrostate, compiled once."""
    centred = eqx.filter_jit(flow.centred)
    return lambda macro: np.asarray(centred(jax.tree.map(jnp.asarray, macro)))

"""A rheometer: material functions of dumbbells, chains and rods in a prescribed flow (6.1)-(6.4).

Conventions of the Society of Rheology: in shear N1 = τ_xx − τ_yy and N2 = τ_yy − τ_zz, x being the direction of the flow and y
that of its gradient; the stretching direction of extension is x.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from fiberax.cases.base import Evolve, Figure, Results, Sampling, Summary, Table, listed
from fiberax.cases.fluids.closed_forms import steady_stress
from fiberax.cases.fluids.fluids_common import CLOSURES, MEMBERS, FluidOptions, Form, Model, Potential
from fiberax.cases.fluids.oscillation import SMALL, Oscillation, Shaken, quantities, step_in_flow
from fiberax.cases.fluids.portraits import portrait
from fiberax.cases.fluids.rheology import (
    History,
    Readings,
    Replicas,
    Stopped,
    angle,
    bound_of_error,
    exact_columns,
    exact_in_time,
    hookean,
    is_bounded,
    order,
    read_history,
    refuse_unresolved,
    resolving,
    rise,
    stretch,
    struck,
    tell_reach,
)
from fiberax.cases.fluids.rheometer_figures import oscillation_figures, steady_figures, transient_figures
from fiberax.cases.fluids.rheometer_words import RATE, Flow, Mode, names, rate_words
from fiberax.cases.formula import read_numbers
from fiberax.cases.options import ABSENT, MOST_RECORDS, option, other_than, when
from fiberax.cases.times import even_times
from fiberax.core.errors import BadInput
from fiberax.io.labels import Names, Output
from fiberax.io.results import Quantity
from fiberax.physics.fluids import FENE, DumbbellDensity, RodDensity
from fiberax.physics.fluids.extension_density import ExtensionDensity

_STARTS = 4  # rates of a transient by default
_FLOWED = 6.0  # relaxation times of flow before a relaxation
_STEADY = 16.0  # before a cessation
_SHOWN = 3  # rows whose configurations are drawn
_STABLE = 8  # degree of a density of rods that tells whether rest is stable


STOPS = (Mode.RELAXATION, Mode.CESSATION)
MOVING = (Mode.STARTUP, *STOPS, Mode.STEP_STRAIN)
STEADY, IN_TIME = when(mode=Mode.STEADY), when(mode=MOVING)
LARGE = when(mode=(Mode.STEADY, *MOVING))  # flows, not oscillations
OVER_RATES = when(rates=ABSENT, history=ABSENT)


@listed("rheometer", "steady and transient material functions of dumbbells, chains, rods or closures")
@dataclass(frozen=True)
class Rheometer(FluidOptions):
    """Steady and transient material functions of dumbbells, chains, rods or closures.

    A homogeneous flow kappa = rate G acts on the fluid: over a range of rates until averages are steady, from rest at given
    rates (startup), until it stops (relaxation; cessation, when it is steady), or as a sudden strain, whose relaxation modulus
    is G(t) = stress / strain; an oscillation gives G' and G'', and harmonics where it is large. Results are the stress,
    viscosity, normal stress differences and the second moment of the springs or rods, with standard errors for fluids of
    members, and exact ones where they are known. Stresses are in units of nkT.
    """

    flow: Flow = option(Flow.SHEAR, help="shear, planar or uniaxial extension", applies=LARGE & when(gradient=ABSENT))
    gradient: str | None = option(
        None,
        help="G of your own, row by row: 0,1,0,0 is shear in two dimensions",
        applies=LARGE & when(history=ABSENT),
    )
    history: Path | None = option(
        None, help="file with rows t, kappa_xx, kappa_xy, ...: a flow in time", applies=when(mode=Mode.STARTUP)
    )
    mode: Mode = option(
        Mode.STEADY,
        help="steady averages, startup, relaxation after a flow, cessation of a steady one, step strain, oscillation",
    )
    low: float = option(0.1, help="lowest rate, angular frequency or strain", above=0, applies=OVER_RATES)
    high: float = option(
        10.0, help="highest rate, angular frequency or strain", above=0, applies=OVER_RATES & when(rows=other_than(1))
    )
    rows: int | None = option(
        None,
        help="rates from the lowest to the highest; default 13, 4 in time, 31 of oscillation where it is not measured",
        low=1,
        high=MOST_RECORDS,
        applies=OVER_RATES,
    )
    rates: str | None = option(
        None, help="the rates, frequencies or strains themselves, for example 0.5,2,8", applies=when(history=ABSENT)
    )
    span: float | None = option(
        None, help="time that is followed; default 6 relaxation times, of a history its own", above=0, applies=IN_TIME
    )
    before: float | None = option(
        None,
        help="time of flow before a relaxation; default 6 relaxation times",
        above=0,
        applies=when(mode=Mode.RELAXATION),
    )
    records: int = option(60, help="times at which results are saved", low=2, high=MOST_RECORDS, applies=IN_TIME)
    dt: float | None = option(
        None, help="time step; default the fluid's own at each rate", above=0, applies=IN_TIME | STEADY & MEMBERS
    )
    replicas: int = option(8, help="independent ensembles, from which standard errors are taken", low=2, applies=MEMBERS)
    amplitude: float | None = option(
        None,
        help=f"strain of a measured oscillation, with harmonics; default, without a closed form, {SMALL:g}, of ordering rods "
        f"{3 * SMALL:g}",
        above=0,
        applies=when(mode=Mode.OSCILLATION),
    )
    periods: int = option(
        8, help="over which a measured oscillation is averaged", low=1, applies=when(mode=Mode.OSCILLATION) & MEMBERS
    )
    average: float = option(
        300.0,
        help="relaxation times over which a steady average is taken, after a fifth as many",
        above=0,
        applies=STEADY & MEMBERS,
    )

    def build(self) -> Table | Evolve:
        """The rows, or the run in time. Raises `BadInput` for options that do not go together."""
        gradient = self._gradient()
        fiber = self._fiber(gradient)
        if self.mode is Mode.OSCILLATION:
            return self._oscillation(fiber)
        readings = self._readings(gradient)
        return (
            self._steady(fiber, gradient, readings) if self.mode is Mode.STEADY else self._transient(fiber, gradient, readings)
        )

    def _fiber(self, G: np.ndarray) -> Any:
        """The fluid; of steady extension of dumbbells the density that is known."""
        fiber = self.fiber()
        plain = isinstance(fiber, DumbbellDensity) and self.degree is None and np.allclose(G, G.T)
        if plain and self.mode is Mode.STEADY:
            return ExtensionDensity(FENE(fiber.b), self.dim, self.De)
        return fiber

    def figures(self, results: Results) -> list[Figure]:
        """Those of the mode."""
        of = {Mode.STEADY: steady_figures, Mode.OSCILLATION: oscillation_figures}.get(self.mode, transient_figures)
        return of(results)

    def _gradient(self) -> np.ndarray:
        """G, of which the velocity gradient is a multiple."""
        if self.gradient is not None:
            numbers = read_numbers(self.gradient, "--gradient")
            if len(numbers) != self.dim**2:
                raise BadInput(f"--gradient = {self.gradient}: give {self.dim**2} numbers, G row by row, or another --dim.")
            G = np.reshape(numbers, (self.dim, self.dim))
            if not np.any(G + G.T) or abs(np.trace(G)) > 1e-9 * np.abs(G).max():
                raise BadInput(f"--gradient = {self.gradient}: the trace must be zero, and G more than a rotation.")
            return G
        G = np.zeros((self.dim, self.dim))
        if self.flow is Flow.SHEAR:
            G[0, 1] = 1.0
        elif self.flow is Flow.PLANAR:
            G[0, 0], G[1, 1] = 1.0, -1.0
        elif self.dim == 3:
            G = np.diag([1.0, -0.5, -0.5])
        else:
            raise BadInput("--flow uniaxial has three dimensions: give --dim 3, or --flow planar.")
        return G

    @property
    def _stated(self) -> Flow | None:
        """The flow, None where the user gives another one."""
        return self.flow if self.gradient is None and self.history is None else None

    def _readings(self, G: np.ndarray) -> Readings:
        """The stress that makes the viscosity, and normal stress differences, as weights on τ."""
        unit, rest = np.eye(self.dim), 0.0 if self.dim == 2 else np.outer(np.eye(3)[2], np.eye(3)[2])
        xx, yy = np.outer(unit[0], unit[0]), np.outer(unit[1], unit[1])
        first = xx - (0.5 * (yy + rest) if self.gradient is None and self.flow is Flow.UNIAXIAL else yy)
        strain = 0.5 * (G + G.T)
        if self.gradient is not None or self.history is not None:
            main = strain / (2.0 * np.sum(strain**2))
        else:
            main = np.outer(unit[0], unit[1]) if self.flow is Flow.SHEAR else first
        weights = {"stress": main, "N1": first} | ({"N2": yy - rest} if self.dim == 3 else {})
        return Readings(tuple(weights), tuple(tuple(map(tuple, w.tolist())) for w in weights.values()))

    def _values(self, rows: int) -> np.ndarray:
        if self.rates is not None:
            values = np.array(read_numbers(self.rates, "--rates"))
            if np.any(values <= 0.0) or len(set(values)) < len(values):
                raise BadInput(f"--rates = {self.rates}: give positive numbers, each once.")
            return np.sort(values)
        count = self.rows or rows
        if count > 1 and not self.high > self.low:
            raise BadInput(f"--high = {self.high:g} is not above --low = {self.low:g}.")
        return np.geomspace(self.low, self.high, count) if count > 1 else np.array([self.low])

    def _steady(self, fiber: Any, G: np.ndarray, readings: Readings) -> Table:
        rates, modes = self._values(13), self.relaxation_times()
        if self.potential is Potential.NONE:
            fiber = resolving(fiber, G, rates) if self.degree is None else fiber
            tell_reach(fiber, G, rates, "will have no numbers")
        if self.is_hookean:
            growth = 2.0 * modes[0] * float(np.linalg.eigvals(G).real.max())
            if growth * rates[-1] > 1.0 - 1e-9:
                raise BadInput(f"Hookean springs are drawn out without end from the rate {1.0 / growth:.4g} on: lower --high.")

        def exact(rates: np.ndarray) -> dict[str, np.ndarray]:
            if self.is_hookean:
                tau: Any = [hookean(r * G, np.array([np.inf]), modes)[0] for r in rates]
            else:
                tau = [steady_stress(fiber, r * G) if self.model in CLOSURES else None for r in rates]
            return {} if any(one is None for one in tau) else exact_columns(readings, np.array(tau), rates)

        shown = np.unique(np.linspace(0, len(rates) - 1, _SHOWN).round().astype(int))
        brownian = self.brownian
        return Table(
            fiber=fiber,
            conditions=rates[:, None, None] * G,
            values=rates,
            tangent=False,
            batch=1 if brownian else 4,
            names=names(self._stated, self.model, Quantity("rate", RATE, rate_words(self._stated))),
            output=Output(microstate=portrait(fiber, G)),
            summary=self._summary,
            link=readings,
            sampling=Sampling(span=self.average * self.longest(), replicas=self.replicas, dt=self.dt, seed=self.seed)
            if brownian
            else None,
            derived=lambda rates, arrays: self._material(rates, arrays) | exact(rates),
            shown=tuple(shown.tolist()),
        )

    def _transient(self, fiber: Any, G: np.ndarray, readings: Readings) -> Evolve:
        import fiberax as fx

        rates, sudden = (np.ones(1) if self.history else self._values(_STARTS)), self.mode is Mode.STEP_STRAIN
        if self.potential is Potential.NONE and self.history is None and not sudden:
            tell_reach(fiber, G, rates, "are likely to end the run")
        span = self.span or 6.0 * self.longest()
        times, gradients = np.array([0.0]), rates[:, None, None] * G
        if self.history is not None:
            times, gradients = read_history(self.history, self.dim)
            span = self.span or float(times[-1])
        acting = gradients
        if sudden:  # bounded springs that were drawn out relax as fast as they were
            refuse_unresolved(fiber, gradients)
            fast = is_bounded(fiber) and self.form is Form.BROWNIAN
            acting = gradients * (1.0 / (rise(fiber) * self.De) if fast else 0.0)
        dt = self.dt or min(float(self._own_step(fiber, kappa)) for kappa in acting)
        every = math.ceil(span / self.records / dt - 1e-9)
        dt = span / (self.records * every)
        stops, lead, instant = self.mode in STOPS, 0.0, 1e-9 * dt
        if stops:
            flowed = _STEADY if self.mode is Mode.CESSATION else _FLOWED
            lead = dt * math.ceil((self.before or flowed * self.longest()) / dt)
        elif sudden:  # the condition of the beginning is the strain, which is gone at the first record
            lead = instant
        real = lambda x: jnp.asarray(x, jnp.result_type(float))
        kappa: Any = real(gradients)
        if self.history is not None:
            kappa = History(real(times), real(gradients))
        elif stops or sudden:
            kappa = Stopped(real(gradients), 0.5 * instant)
        saveat = even_times(span, self.records)
        if stops:  # a last record of the flow; its end is between two steps of the fibers
            saveat = [-instant, *saveat]
        exact: Any = lambda t: {}
        if self.history is None and (self.is_hookean or self.model in CLOSURES):
            modes = self.relaxation_times() if self.is_hookean else None
            exact = exact_in_time(fiber, modes, readings, rates, gradients, sudden, lead if stops else 0.0)

        def columns(record) -> dict[str, np.ndarray]:
            arrays = {f"response.{k}": v for k, v in record.response.items()}
            if record.stderr is not None:
                arrays |= {f"stderr.{k}": v for k, v in record.stderr.items()}
            return {"rate": rates} | self._material(rates, arrays) | exact(max(record.t, 0.0))

        read, link = fiber, readings
        if self.brownian:
            read, link = Replicas(fiber, readings, self.replicas, sudden), None
        elif sudden:
            read, link = struck(fiber, readings), None
        return Evolve(
            bundle=fx.Bundle(fx.fluids.Homogeneous(kappa), read, link=link),
            driver=fx.Seamless(separation=math.inf),
            macro0=np.asarray(-lead),
            t0=-lead,
            t1=span,
            dt=dt,
            saveat=tuple(saveat),
            seed=self.seed,
            names=self._transient_names(),
            output=Output(columns=columns, microstate=portrait(fiber, G)),
        )

    def _transient_names(self) -> Names:
        words = {Mode.STARTUP: "time", Mode.STEP_STRAIN: "time after the strain"}.get(self.mode, "time after the flow stopped")
        strain = Quantity("strain", "1", "shear strain" if self._stated is Flow.SHEAR else "strain, rate times time")
        rate = strain if self.mode is Mode.STEP_STRAIN else None
        return names(self._stated, self.model, Quantity("time", "1", words), rate)

    def _own_step(self, fiber: Any, kappa: np.ndarray) -> float:
        """The fiber's own time step, for densities one that follows the flow."""
        return fiber.timestep(jnp.asarray(kappa)) if self.brownian else float(step_in_flow(fiber, kappa))

    def _oscillation(self, fiber: Any) -> Table:
        """Moduli, measured where members or an amplitude ask for it and no closed form is known."""
        spectrum, told = self.spectrum(), None
        measured = self.amplitude is not None or (self.brownian and spectrum is None)
        ordering = self.potential is not Potential.NONE  # without a control of the noise, which asks for more strain
        amplitude = self.amplitude or (3.0 * SMALL if ordering else SMALL)
        if measured:
            if ordering and self.amplitude is None:
                Oscillation.of_fluid(RodDensity(self._field(), self.De, _STABLE), self.dim)  # refuses a rest that is not stable
            copies, periods = (self.replicas, self.periods) if self.brownian else (1, 1)
            fluid: Any = Shaken(fiber, amplitude, self.longest(), copies, periods, self.seed)
        elif self.brownian:
            assert spectrum is not None
            fluid = Oscillation.of_spectrum(spectrum)
            told = Summary({}, (f"moduli in closed form; --amplitude {SMALL:g} measures those of members",))
        else:
            fluid = Oscillation.of_fluid(fiber, self.dim)
        linear = self.is_hookean or amplitude <= SMALL
        return Table(
            fiber=fluid,
            conditions=self._values(13 if measured else 31),
            tangent=False,
            batch=1 if measured else 16,
            names=Names(quantities(), axis=Quantity("frequency", RATE, "angular frequency ω")),
            derived=lambda omega, _: spectrum.columns(omega) if spectrum is not None and linear else {},
            summary=None if told is None else lambda *_: told,
        )

    def _material(self, rates: np.ndarray, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Viscosity, and in shear the coefficients of normal stress and the angle of extinction; rods: the order parameter."""
        found: dict[str, np.ndarray] = {}
        shear = self._stated is Flow.SHEAR
        pairs = {"viscosity": ("stress", 1)} | ({"Psi1": ("N1", 2), "Psi2": ("N2", 2)} if shear else {})
        if self.mode is Mode.STEP_STRAIN:
            pairs = {"modulus": ("stress", 1)} | ({"normal_modulus": ("N1", 2)} if shear else {})
        for name, (of, power) in pairs.items():
            if f"response.{of}" in arrays and self.history is None:
                found[f"material.{name}"] = np.asarray(arrays[f"response.{of}"]) / rates**power
                if f"stderr.{of}" in arrays:
                    found[f"error.{name}"] = np.asarray(arrays[f"stderr.{of}"]) / rates**power
        moment = np.asarray(arrays["response.moment"])
        spread = arrays.get("stderr.moment")
        shapes = {"order": order} if self.model is Model.ROD else {"stretch": stretch}
        if shear:
            shapes["angle"] = angle
        for name, of in shapes.items():
            found[f"material.{name}"] = of(moment)
            if spread is not None:
                found[f"error.{name}"] = bound_of_error(of, moment, np.asarray(spread))
        return found

    def _summary(self, rates: np.ndarray, columns: dict[str, np.ndarray]) -> Summary:
        """The zero-rate viscosity where it is known, and what went wrong."""
        lines, content = [], {}
        limit = self.zero_rate_viscosity() if self.gradient is None else None
        if limit is not None:
            if self.flow is not Flow.SHEAR:
                limit *= 4.0 if self.flow is Flow.PLANAR else 3.0
            content["zero-rate viscosity"] = limit
            error = columns.get("error.viscosity")
            spread = "" if error is None else f" ± {error[0]:.2g}"
            lowest = f"{columns['material.viscosity'][0]:.5g}{spread} at the lowest"
            lines.append(f"the viscosity is {limit:.5g} (exact) at vanishing rates, {lowest}")
        bad = rates[columns["result"] != 0]
        if len(bad):
            remedy = (
                "raise --average"
                if self.brownian
                else f"raise --degree, up to {self.largest_degree()}, or take --form brownian"
            )
            remedy = "there is no steady state" if self.model in CLOSURES else remedy
            lines.append(f"{len(bad)} rates from {bad.min():.4g} to {bad.max():.4g} are not to be trusted: {remedy}")
        return Summary(content, tuple(lines))

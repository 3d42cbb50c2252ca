"""A rheometer: material functions of dumbbells, chains, rods and molecules in a prescribed flow (6.1)-(6.4).

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
from fiberax.cases.fluids.fluids_common import CLOSURES, MEMBERS, Form, Model, Potential
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
    readings_of,
    refuse_unresolved,
    resolving,
    rise,
    stretch,
    struck,
    tell_reach,
)
from fiberax.cases.fluids.rheometer_figures import oscillation_figures, steady_figures, transient_figures
from fiberax.cases.fluids.rheometer_words import RATE, Flow, Mode, gradient_of, names, rate_words
from fiberax.cases.formula import read_numbers
from fiberax.cases.molecules.rheology import NOT_MOLECULES, OF_MOLECULES, MoleculeOptions
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
_AVERAGE = 300.0  # relaxation times
_LOWEST = {Model.KG_CHAINS: 0.01}  # rate
_STABLE = 8  # degree of a density of rods that tells whether rest is stable


STOPS = (Mode.RELAXATION, Mode.CESSATION)
MOVING = (Mode.STARTUP, *STOPS, Mode.STEP_STRAIN)
STEADY, IN_TIME = when(mode=Mode.STEADY), when(mode=MOVING)
LARGE = when(mode=(Mode.STEADY, *MOVING)) & NOT_MOLECULES  # flows, not oscillations; molecules are sheared
FLOWING = when(mode=other_than(Mode.GREEN_KUBO))
OVER_RATES = when(rates=ABSENT, history=ABSENT) & FLOWING


@listed("rheometer", "steady and transient material functions of dumbbells, chains, rods, closures or molecules")
@dataclass(frozen=True)
class Rheometer(MoleculeOptions):
    """Steady and transient material functions of dumbbells, chains, rods, closures or molecules.

    A homogeneous flow kappa = rate G acts on the fluid: over a range of rates until averages are steady, from rest at given
    rates (startup), until it stops (relaxation; cessation, when it is steady), or as a sudden strain, whose relaxation modulus
    is G(t) = stress / strain; an oscillation gives G' and G'', and harmonics where it is large. Results are the stress,
    viscosity, normal stress differences and the second moment of the springs or rods, with standard errors for fluids of
    members, and exact ones where they are known. Stresses are in units of nkT.

    Boxes of molecules (lj, wca, kg-chains) are sheared at a range of rates: viscosity, normal stress differences and pressure,
    in units of their potential. At rest (green-kubo) the fluctuations of their stress give modulus and viscosity.
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
        help="steady averages, startup, relaxation after a flow, cessation of a steady one, step strain, oscillation; of "
        "molecules steady, or green-kubo, at rest",
    )
    low: float | None = option(
        None, help="lowest rate, angular frequency or strain; default 0.1, of kg-chains 0.01", above=0, applies=OVER_RATES
    )
    high: float | None = option(
        None,
        help="highest rate, angular frequency or strain; default 10, of molecules 1",
        above=0,
        applies=OVER_RATES & when(rows=other_than(1)),
    )
    rows: int | None = option(
        None,
        help="rates from the lowest to the highest; default 13, 4 in time, 31 of oscillation where it is not measured, 7 of "
        "molecules",
        low=1,
        high=MOST_RECORDS,
        applies=OVER_RATES,
    )
    rates: str | None = option(
        None,
        help="the rates, frequencies or strains themselves, for example 0.5,2,8",
        applies=when(history=ABSENT) & FLOWING,
    )
    span: float | None = option(
        None,
        help="time that is followed; default 6 times the longest relaxation time, of a history its own",
        above=0,
        applies=IN_TIME,
    )
    before: float | None = option(
        None,
        help="time of flow before a relaxation; default 6 times the longest relaxation time",
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
    average: float | None = option(
        None,
        help="relaxation times over which a steady average is taken, after a fifth as many; default 300, of kg-chains 4, at "
        "rest 3000 and 10",
        above=0,
        applies=STEADY & MEMBERS | OF_MOLECULES,
    )
    seed: int = option(0, help="of the noise", low=0, applies=MEMBERS | OF_MOLECULES)

    def build(self) -> Table | Evolve:
        """The rows, or the run in time. Raises `BadInput` for options that do not go together."""
        if self.molecular:
            return self._of_molecules()
        if self.mode is Mode.GREEN_KUBO:
            raise BadInput("--mode green-kubo is for molecules at rest: give --model lj, wca or kg-chains, or another mode.")
        gradient = gradient_of(self.gradient, self.flow, self.dim)
        fiber = self._fiber(gradient)
        if self.mode is Mode.OSCILLATION:
            return self._oscillation(fiber)
        given = self.gradient is not None or self.history is not None
        readings = readings_of(gradient, self.flow, given, self.gradient is None)
        return (
            self._steady(fiber, gradient, readings) if self.mode is Mode.STEADY else self._transient(fiber, gradient, readings)
        )

    def _of_molecules(self) -> Table:
        """Boxes in steady shear, or at rest."""
        if self.mode is Mode.GREEN_KUBO:
            return self.at_rest(self.average)
        if self.mode is not Mode.STEADY:
            raise BadInput(f"--mode {self.mode.value}: molecules are sheared steadily, or left at rest: steady or green-kubo.")
        return self.sheared(self._values(7), self.average)

    def _fiber(self, G: np.ndarray) -> Any:
        """The fluid; of steady extension of dumbbells the density that is known."""
        fiber = self.fiber()
        plain = isinstance(fiber, DumbbellDensity) and self.degree is None and np.allclose(G, G.T)
        if plain and self.mode is Mode.STEADY:
            return ExtensionDensity(FENE(fiber.b), self.dim, self.De)
        return fiber

    def figures(self, results: Results) -> list[Figure]:
        """Those of the mode."""
        if self.molecular:
            return self.figures_of_molecules(results)
        of = {Mode.STEADY: steady_figures, Mode.OSCILLATION: oscillation_figures}.get(self.mode, transient_figures)
        return of(results)

    @property
    def _stated(self) -> Flow | None:
        """The flow, None where the user gives another one."""
        return self.flow if self.gradient is None and self.history is None else None

    def _values(self, rows: int) -> np.ndarray:
        if self.rates is not None:
            values = np.array(read_numbers(self.rates, "--rates"))
            if np.any(values <= 0.0) or len(set(values)) < len(values):
                raise BadInput(f"--rates = {self.rates}: give positive numbers, each once.")
            return np.sort(values)
        low, high = self.low or _LOWEST.get(self.model, 0.1), self.high or (1.0 if self.molecular else 10.0)
        count = self.rows or rows
        if count > 1 and not high > low:
            raise BadInput(f"--high = {high:g} is not above --low = {low:g}.")
        return np.geomspace(low, high, count) if count > 1 else np.array([low])

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
        brownian, span = self.brownian, (self.average or _AVERAGE) * self.longest()
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
            sampling=Sampling(span=span, replicas=self.replicas, dt=self.dt, seed=self.seed) if brownian else None,
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
            return self._material(rates, arrays) | exact(max(record.t, 0.0))

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
            output=Output(columns=columns, microstate=portrait(fiber, G), along={"rate": ("site", rates)}),
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
            one = (
                f"the rate {bad[0]:.4g} is"
                if len(bad) == 1
                else f"{len(bad)} rates from {bad.min():.4g} to {bad.max():.4g} are"
            )
            lines.append(f"{one} not to be trusted: {remedy}")
        return Summary(content, tuple(lines))

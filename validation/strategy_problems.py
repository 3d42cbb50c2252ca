"""The problems of `strategies.py`, each with settings of every strategy that fits; `tiny` leaves a few of them."""

import dataclasses

import jax.numpy as jnp
import numpy as np
from diffusion import COUPLING, T, exact_response, macroscopic, quartic, start
from scipy.integrate import solve_ivp
from scipy.special import iv
from strategy_scan import Problem, Setting, scan

import fiberax as fx
from fiberax.testing import Decay, OrnsteinUhlenbeck

UNWATCHED = float("inf")  # no measurement of scale separation: it costs, and clocks are chosen here
HEUN, SDIRK, MIDPOINT = fx.Heun(), fx.SDIRK2(), fx.Outer.PRK2
CARRIED = fx.Seamless(separation=UNWATCHED)


def mean_of(fiber, state, condition):
    return jnp.mean(state)


def nested(bundle, stepper=HEUN, name="nested", **axes) -> tuple[Setting, ...]:
    return scan(name, lambda dt, tolerance: (bundle, fx.Quasistatic(tolerance), dt, stepper), **axes)


def tabulated(bundle, solved, stepper=HEUN, name="surrogate", **axes) -> tuple[Setting, ...]:
    """Tables over solves of the tolerance `solved`; always kept, so that their counts can be compared."""
    driver = lambda tolerance: fx.Surrogate(fx.Quasistatic(solved), tolerance, check=0.0, always=True)
    return scan(name, lambda dt, tolerance: (bundle, driver(tolerance), dt, stepper), **axes)


def bursts(bundle, stepper=HEUN, name="HMM", **axes) -> tuple[Setting, ...]:
    def make(dt, relax, average, micro, replicas=1):
        return bundle, fx.HeterogeneousMultiscale(relax, average, replicas, dt=micro), dt, stepper

    return scan(name, make, **axes)


def sampled(bundle, micro, **axes) -> tuple[Setting, ...]:
    driver = lambda steps: fx.Quasistatic(steps=steps, replicas=1, dt=micro)
    return scan("nested, sampled", lambda dt, steps: (bundle, driver(steps), dt, HEUN), **axes)


def projected(bundle, **axes) -> tuple[Setting, ...]:
    make = lambda dt, inner, steps: (bundle, CARRIED, dt, fx.Projective(inner, steps, MIDPOINT))
    return scan("projective", make, **axes)


def pooled(bundle, relax: int, average: int, micro: float, **axes) -> tuple[Setting, ...]:
    """Regression over the bursts of all sites and times."""
    burst = fx.HeterogeneousMultiscale(relax, average, dt=micro)
    return scan("surrogate, pooled", lambda dt, tolerance: (bundle, fx.Regression(burst, tolerance), dt, HEUN), **axes)


def refusals(bundle, dt: float, stepper=HEUN, **drivers) -> tuple[Setting, ...]:
    """One setting of each strategy that cannot run, for the reason that it gives."""
    return tuple(Setting(name.replace("_", ", "), "", bundle, driver, dt, stepper) for name, driver in drivers.items())


def of_case(strategy: str, make, **axes) -> tuple[Setting, ...]:
    """Settings of a ready-made case, `make(**parameters)`."""

    def built(**parameters):
        problem = make(**parameters).build()
        return problem.bundle, problem.driver, problem.dt, problem.stepper

    return scan(strategy, built, **axes)


def refined(problem: Problem, setting: Setting) -> Problem:
    """The problem with a fine setting as its truth."""
    return dataclasses.replace(problem, truth=lambda: problem.field(problem.solve(setting, 0, problem.times).macro))


def linear(tiny: bool = False) -> Problem:
    """dU/dt = −⟨z⟩, z an Ornstein-Uhlenbeck process around U that is 10⁴ times faster: U = exp(−t)."""
    eps, members, sites = 1e-4, 64, 4
    fiber = OrnsteinUhlenbeck(k=1.0 / eps, diffusion=0.5 / eps, members=members)
    bundle, micro = fx.Bundle(Decay(sites), fiber, link=mean_of), (0.5 * eps,)
    clocks, dts = ((100.0,), (0.1,)) if tiny else ((2.0, 10.0, 100.0, 1000.0), (0.2, 0.05))
    windows = (16,) if tiny else (4, 32, 256)
    slowed = lambda clock, ratio: (bundle, fx.Seamless(clock=clock, separation=UNWATCHED), ratio * clock * eps, HEUN)
    settings = (
        *sampled(bundle, micro[0], dt=dts, steps=(128,)),
        *scan("seamless", slowed, clock=clocks, ratio=(0.5,) if tiny else (0.5, 2.0)),
        *bursts(bundle, dt=dts, relax=(4,) if tiny else (0, 4), average=windows, micro=micro),
        *bursts(bundle, name="HMM, parallel", dt=dts[:1], relax=(4,), average=windows[:2], micro=micro, replicas=(8,)),
        *projected(bundle, dt=dts if tiny else (0.1, 0.01), inner=(eps,) if tiny else (eps, 4 * eps), steps=(4,)),
        *refusals(bundle, dts[0], monolithic=fx.Monolithic(), surrogate=fx.Surrogate(fx.Quasistatic(steps=128), always=True)),
        *pooled(bundle, 4, 16, micro[0], dt=dts, tolerance=(0.1,) if tiny else (0.03, 0.01, 1e-3)),
    )
    times = (0.5, 1.0)
    truth = lambda: np.exp(-np.asarray(times))[:, None] * np.ones(sites)
    return Problem("linear", "a linear Ornstein-Uhlenbeck fiber", jnp.ones(sites), times, truth, settings, 4 if tiny else 16)


def layers(points: int = 24) -> fx.FlowFiber:
    """The cell problem of a = exp(U sin 2πz) in one dimension: the flux is constant, with the harmonic mean 1/I₀(U)."""
    face = np.sin(2.0 * np.pi * (np.arange(points) + 0.5) / points)

    def flux(chi, U):
        return jnp.exp(U * face) * (1.0 + points * (jnp.roll(chi, -1) - chi))

    rate = lambda chi, U: points * (flux(chi, U) - jnp.roll(flux(chi, U), 1)) - jnp.mean(chi)
    return fx.FlowFiber(rate, lambda U: jnp.zeros(points), lambda chi, U: jnp.mean(flux(chi, U)).reshape(1, 1))


def homogenization(tiny: bool = False) -> Problem:
    """Diffusion in one dimension through a layered medium, whose harmonic mean is known."""
    n = 32
    grid = fx.grids.Box((0.0,), (1.0,), cells=(n,), periodic=True)
    macro, cell = fx.homogenization.Diffusion(grid), layers()
    bundle = fx.Bundle(macro, cell)
    relaxed = lambda friction: fx.Bundle(macro, fx.relax(cell, friction=friction))
    begin = 1.2 + 1.2 * np.sin(2.0 * np.pi * grid.centres[:, 0])
    dts, long = ((4e-4,), ()) if tiny else ((4e-4, 2e-4), (5e-3, 2.5e-3, 1e-3))
    frictions = (2e-3,) if tiny else (0.05, 0.01, 2e-3, 4e-4)
    few = lambda *values: values[:1] if tiny else values
    settings = (
        *nested(bundle, dt=dts, tolerance=few(1e-2, 1e-1, 1e-4)),
        *nested(bundle, SDIRK, "nested, implicit", dt=long, tolerance=(1e-2, 1e-4)),
        *scan("monolithic, implicit", lambda dt: (bundle, fx.Monolithic(), dt, SDIRK), dt=long),
        *scan("seamless", lambda dt, friction: (relaxed(friction), CARRIED, dt, HEUN), dt=dts, friction=frictions),
        *bursts(fx.Bundle(macro, fx.relax(cell)), dt=dts, relax=few(1, 0, 3), average=(1,), micro=few(0.1, 0.02)),
        *projected(relaxed(frictions[-1]), dt=dts, inner=(2e-5,), steps=few(1, 3)),
        *tabulated(bundle, 1e-6, dt=dts, tolerance=few(1e-2, 1e-1, 1e-3)),
        *tabulated(bundle, 1e-6, SDIRK, "surrogate, implicit", dt=long, tolerance=(1e-1, 1e-2)),
    )
    times = (0.01, 0.02)

    def truth():
        """The same finite volumes with the exact harmonic mean, by scipy."""

        def rate(t, U):
            A = 1.0 / iv(0, U)
            flux = 0.5 * (A + np.roll(A, -1)) * (np.roll(U, -1) - U) * n
            return (flux - np.roll(flux, 1)) * n

        return solve_ivp(rate, (0.0, times[-1]), begin, method="LSODA", rtol=1e-9, atol=1e-10, t_eval=times).y.T

    return Problem("homogenization", "diffusion through a layered medium", jnp.asarray(begin), times, truth, settings)


def moved(macro) -> np.ndarray:
    return np.asarray(macro.position)


def chain() -> Problem:
    """A pulse of strain in a chain of two unlike bonds; carried bonds relax with a friction."""
    from fiberax.cases.solids.wave import Method, WaveCase

    make = lambda **options: WaveCase(cells=64, **options)
    tight = make(tolerance=1e-12).build()
    bundle, verlet, dt, step = tight.bundle, tight.stepper, tight.dt, tight.t1
    times = (0.25 * step, 0.5 * step)
    carried = fx.Bundle(bundle.macro, fx.relax(bundle.fiber))
    dts = (dt, 0.5 * dt)
    settings = (
        *nested(bundle, verlet, dt=dts, tolerance=(1e-1, 1e-3, 1e-6)),
        *of_case("seamless", lambda friction, dt: make(method=Method.SEAMLESS, friction=friction, dt=dt),
                 friction=(0.1, 0.01, 1e-3), dt=(dt, 0.25 * dt)),
        *bursts(carried, verlet, dt=dts, relax=(0, 1), average=(1,), micro=(0.1, 10.0)),
        *projected(carried, dt=(dt,), inner=(0.1 * dt,), steps=(2,)),
        Setting("monolithic", f"dt {dt:.4g}", bundle, fx.Monolithic(), dt, verlet),
        *tabulated(bundle, 1e-10, verlet, dt=dts, tolerance=(1e-2, 1e-3, 1e-5)),
    )  # fmt: skip
    problem = Problem("chain", "a pulse in a diatomic chain", tight.macro0, times, lambda: np.empty(0), settings, field=moved)
    return refined(problem, Setting("", "", bundle, tight.driver, dt / 16, verlet))


def aluminium() -> Problem:
    """A pulse of strain in a bar of aluminium, its electrons in Thomas-Fermi densities."""
    from fiberax.cases.electrons.electron_wave import ElectronWave
    from fiberax.cases.solids.wave import Method

    make = lambda **options: ElectronWave(cells=16, grid=8, width=0.1, **options)
    tight = make(method=Method.QUASISTATIC, tolerance=1e-10).build()
    bundle, verlet, dt = tight.bundle, tight.stepper, tight.dt
    carried = fx.Bundle(bundle.macro, fx.relax(bundle.fiber))
    settings = (
        *nested(bundle, verlet, dt=(dt, 0.5 * dt), tolerance=(1e-2, 1e-4)),
        *of_case("seamless", lambda inertia, damping: make(inertia=inertia, damping=damping), inertia=(4.0, 0.5),
                 damping=(0.0, 0.1)),
        *bursts(carried, verlet, dt=(dt,), relax=(2,), average=(1,), micro=(1.0, 100.0)),
        *projected(carried, dt=(dt,), inner=(0.1 * dt,), steps=(2,)),
        Setting("monolithic", f"dt {dt:.4g}", bundle, fx.Monolithic(), dt, verlet),
        *tabulated(bundle, 1e-8, verlet, dt=(dt, 0.5 * dt), tolerance=(1e-2, 1e-5)),
    )  # fmt: skip
    times = (0.5 * tight.t1, tight.t1)
    problem = Problem(
        "aluminium", "a pulse in a bar of aluminium", tight.macro0, times, lambda: np.empty(0), settings, field=moved
    )
    return refined(problem, Setting("", "", bundle, tight.driver, dt / 4, verlet))


def spins() -> Problem:
    """The density of Ginzburg-Landau spins; the exact response of rings is that of the transfer operator."""
    cells, sites, micro = 16, 16, 0.1
    grid = fx.grids.Box(0.0, 1.0, cells=cells)
    fiber = fx.diffusion.GinzburgLandau(quartic, sites=sites, replicas=32, coupling=COUPLING)
    bundle = fx.Bundle(fx.diffusion.Density(grid), fiber)

    def carried(dt, substeps):
        return bundle, fx.Seamless(substeps, dt / (substeps * micro), separation=UNWATCHED), dt, HEUN

    def extrapolated(dt, steps):
        """Spins that are in truth 10⁵ times faster than the density."""
        return bundle, fx.Seamless(clock=1e-5, separation=UNWATCHED), dt, fx.Projective(1e-5 * micro, steps, MIDPOINT)

    dts = (4e-4, 1e-4)
    settings = (
        *sampled(bundle, micro, dt=dts[:1], steps=(128,)),
        *scan("seamless", carried, dt=(*dts, 2.5e-5), substeps=(2, 8)),
        *bursts(bundle, dt=dts, relax=(4, 16), average=(4, 32), micro=(micro,)),
        *scan("projective", extrapolated, dt=dts[:1], steps=(4,)),
        *refusals(bundle, dts[0], monolithic=fx.Monolithic(), surrogate=fx.Surrogate(fx.Quasistatic(steps=128), always=True)),
        *pooled(bundle, 16, 16, micro, dt=dts[:1], tolerance=(0.03, 0.01, 3e-3, 1e-3)),
    )
    truth = lambda: macroscopic(exact_response(sites), cells)[None]
    begin = jnp.asarray(start(grid.axis(0)))
    return Problem("spins", "the density of Ginzburg-Landau spins", begin, (T,), truth, settings, seeds=16)


def channel() -> Problem:
    """FENE dumbbells at De = 1 in a channel from rest: their memory leaves strategies without it at a floor."""
    fluids, cells = fx.fluids, 16
    grid = fx.grids.Box(0.0, 1.0, cells=cells, periodic=False)
    macro = fluids.Flow(grid, Re=1.0, viscosity_ratio=0.1, force=8.0, De=1.0, dim=2)
    bundle = fx.Bundle(macro, fluids.DumbbellDensity(fluids.FENE(20.0), degree=8))
    # The stress of fibers at rest is a viscosity that is treated explicitly, and limits the step.
    imex, dts, stiff, times = fx.IMEX(), (0.02, 0.01, 5e-3), (2e-3,), (0.5, 1.0, 2.0)
    settings = (
        *nested(bundle, imex, dt=stiff, tolerance=(1e-3, 1e-6)),
        *scan("seamless", lambda dt, clock: (bundle, fx.Seamless(clock=clock, separation=UNWATCHED), dt, imex),
              dt=dts, clock=(1.0, 2.0)),
        *bursts(bundle, imex, dt=stiff, relax=(0, 8), average=(1,), micro=(0.05, 0.5)),
        *projected(bundle, dt=dts[:1], inner=(1e-3,), steps=(2,)),
        *refusals(bundle, stiff[0], imex, monolithic=fx.Monolithic()),
        *tabulated(bundle, 1e-6, imex, dt=stiff, tolerance=(1e-2, 1e-3)),
    )  # fmt: skip
    begin = jnp.zeros(cells + 1)
    problem = Problem("channel", "FENE dumbbells in a channel, De = 1", begin, times, lambda: np.empty(0), settings)
    return refined(problem, Setting("", "", bundle, CARRIED, 1e-3, imex))


def plate() -> Problem:
    """A hot spot in a plate whose cells are an image of 64 x 64 pixels."""
    from fiberax.cases.homogenization.diffusion import Diffusion, Method

    make = lambda **options: Diffusion(cells=10, t1=0.3, **options)
    tight = make(tolerance=1e-6).build()
    bundle, dts = tight.bundle, (0.1, 0.05, 0.025)
    relaxed = lambda friction: fx.Bundle(bundle.macro, fx.relax(bundle.fiber, friction=friction))
    settings = (
        *nested(bundle, SDIRK, dt=dts, tolerance=(1e-2,)),
        *scan("monolithic", lambda dt: (bundle, fx.Monolithic(), dt, SDIRK), dt=dts),
        *of_case("seamless", lambda friction, dt: make(method=Method.SEAMLESS, friction=friction, dt=dt), friction=(1e-2, 1e-3),
                 dt=(1e-2,)),
        *bursts(relaxed(1.0), dt=(0.02,), relax=(0,), average=(1,), micro=(1.0, 100.0)),
        *projected(relaxed(1e-3), dt=(0.02,), inner=(1e-3,), steps=(2,)),
        *tabulated(bundle, 1e-5, SDIRK, dt=dts, tolerance=(1e-2, 1e-4)),
    )  # fmt: skip
    problem = Problem("plate", "a composite plate", jnp.asarray(tight.macro0), (0.15, 0.3), lambda: np.empty(0), settings)
    fine = Setting("", "", bundle, fx.Surrogate(fx.Quasistatic(1e-7), 1e-6, always=True), 0.005, SDIRK)
    return refined(problem, fine)


def body() -> Problem:
    """A plane block of a crystal with a hole, at rest under tension; the times are parts of the load."""
    from fiberax.cases.solids.pull import Pull

    tight = Pull(material="lj-triangular", cells=4, strain=0.03).build()
    bundle, whole = tight.bundle, (1.0,)
    at_rest = lambda strategy, make, **axes: scan(strategy, lambda dt, **p: (bundle, make(**p), dt, None), dt=whole, **axes)
    table = lambda tolerance: fx.Surrogate(fx.Quasistatic(1e-8), tolerance, check=0.0, always=True)
    settings = (
        *at_rest("nested", fx.Quasistatic, tolerance=(1e-4, 1e-8)),
        *at_rest("monolithic", fx.Monolithic),
        *refusals(bundle, 1.0, None, seamless=CARRIED, HMM=fx.HeterogeneousMultiscale(0, 1, dt=1.0)),
        *at_rest("surrogate", table, tolerance=(1e-1, 1e-2, 1e-3)),
    )
    nothing = lambda: np.empty(0)
    problem = Problem(
        "body", "a block of a crystal at rest", tight.macro0, (1.0,), nothing, settings, field=moved, at_rest=True
    )
    return refined(problem, Setting("", "", bundle, fx.Monolithic(), 0.5, None))


PROBLEMS = (linear, homogenization, plate, chain, aluminium, spins, channel, body)

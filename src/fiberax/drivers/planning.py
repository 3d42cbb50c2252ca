"""How much to compute for an error: clock, window and replicas from measured correlation times and standard errors.

The law of a linear response. Responses A(U) + ξ, with noise ξ of intensity Q = 2σ²τ per fiber time (variance σ², integrated
correlation time τ), move the macrostate by dδU = J δU dt + B dW, J the derivative of its rate with fibers that follow, B that
with respect to responses. With a clock M the intensity is M Q; with a window of n steps δτ, R replicas and e evaluations in a
macro step Δt it is Q Δt/(e n δτ R) (Kelly and Vanden-Eijnden, Res. Math. Sci. 4 (2017) 23). Fibers that lag by Mτ, or that a
burst has not relaxed, add a bias. J, B, Q and τ are those of the start, and what the macro step itself misses is not in it.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from scipy.linalg import expm

from fiberax.core.arguments import check_run, floats
from fiberax.core.bundle import Bundle, check_fit
from fiberax.core.driver import AbstractDriver
from fiberax.core.errors import BadInput, Mismatch
from fiberax.core.fiber import AbstractStochastic
from fiberax.core.keys import typed_key
from fiberax.core.macro import AbstractInertialess
from fiberax.core.relax import dynamic
from fiberax.core.shown import Shown
from fiberax.drivers.multiscale import HeterogeneousMultiscale
from fiberax.drivers.sampling import samples
from fiberax.drivers.seamless import Seamless
from fiberax.drivers.views import flat

_SITES = 5  # at which the noise is measured; the others take that of the nearest condition
_MOST = 2_000  # entries of the macrostate, and of all responses together
_MOVED = 0.02  # of the size of the conditions, for differences under the same noise
_STAGES = 2  # evaluations in a macro step of second order
_LONGEST = 8.0  # relaxation times that a burst may leave out


class Plan(Shown):
    """What reaches a target error at the least number of micro steps.

    Args:
        driver: The driver with its numbers.
        dt: Macro step.
        error: Expected root mean square error of the entries of the macrostate, the largest over the last part of the run.
        bias: Its part from the lag of the fibers.
        spread: Its part from the noise.
        fiber_steps: Micro steps of all fibers together.
        correlation_time: Longest integrated correlation time found, fiber time.
    """

    driver: AbstractDriver
    dt: float
    error: float
    bias: float
    spread: float
    fiber_steps: float
    correlation_time: float


@dataclasses.dataclass(frozen=True)
class _Law:
    """Spread for a noise of unit factor, bias for lags of the correlation time and of unit time; and the longest τ."""

    spread: float
    lag: float
    unit_lag: float
    time: float


def plan(
    bundle: Bundle,
    driver: Seamless | HeterogeneousMultiscale,
    macro0: Any,
    *,
    t1: float,
    dt: float,
    target_error: float | None = None,
    micro: float | None = None,
    key: jax.Array | None = None,
) -> Plan:
    """The clock of `Seamless`, or relaxation and window of `HeterogeneousMultiscale`, that reach a target error.

    Noise, correlation times and responses are measured at a few sites, at the start of the run. A run with the driver of the
    plan has the error that is expected in `Solution.stats["expected_error"]`.

    Args:
        bundle: Macro model and a random fiber.
        driver: `Seamless`, whose clock is chosen, or `HeterogeneousMultiscale`, whose `relax` and `average` are.
        macro0: The macrostate at the start.
        t1: Length of the run, macro time.
        dt: Longest macro step; a clock may ask for a shorter one.
        target_error: Root mean square error of the entries of the macrostate, in their units; None to keep the numbers of the
            driver, and to be told what error they give.
        micro: Micro step, fiber time; None for that of the driver, else the fiber's own `timestep`.
        key: Seed, default key 0.

    Returns:
        The plan.

    Raises:
        Mismatch: Another driver, fibers without noise, or a macro model without a rate.
        BadInput: Numbers out of their range; macro models too large for dense matrices; a fiber without a step.
    """
    check_run("plan", bundle, driver, macro0)
    if not isinstance(driver, Seamless | HeterogeneousMultiscale):
        raise Mismatch(f"plan: fx.Seamless and fx.HeterogeneousMultiscale can be planned; {type(driver).__name__} cannot.")
    fiber = dynamic(bundle.fiber)
    if not isinstance(fiber, AbstractStochastic):
        raise Mismatch(
            f'plan: {type(fiber).__name__} draws no noise; fx.Seamless(clock="auto") finds the clock of such fibers in the run.'
        )
    if isinstance(bundle.macro, AbstractInertialess):
        raise Mismatch(f"plan: {type(bundle.macro).__name__} has no inertia, hence no rate.")
    for name, value in (("t1", t1), ("dt", dt), ("target_error", target_error)):
        if value is not None and not 0.0 < value < float("inf"):
            raise BadInput(f"plan: {name} must be positive and finite; it is {value!r}.")
    macro0 = floats("The macrostate macro0", macro0)
    check_fit(bundle, macro0)
    conditions = bundle.macro.conditions(macro0)
    micro = _micro(driver, fiber, conditions, micro)
    law = _law(bundle, fiber, macro0, conditions, micro, t1, typed_key("plan", key))
    count = jax.tree.leaves(conditions)[0].shape[0]
    if isinstance(driver, Seamless):
        return _seamless(driver, law, count, t1, dt, target_error, micro)
    return _bursts(driver, law, count, t1, dt, target_error, micro)


def _micro(driver, fiber: AbstractStochastic, conditions, micro: float | None) -> float:
    given = driver.dt if micro is None and isinstance(driver, HeterogeneousMultiscale) else micro
    if given is None:
        spans = jax.vmap(fiber.timestep)(conditions)
        if spans is None:
            raise BadInput(f"plan: {type(fiber).__name__} has no time step of its own. Give micro, in fiber time.")
        given = float(jnp.min(spans))
    if not 0.0 < given < float("inf"):
        raise BadInput(f"plan: micro must be positive and finite (fiber time); it is {given!r}.")
    return given


def _seamless(driver: Seamless, law: _Law, count: int, t1, dt, target: float | None, micro: float) -> Plan:
    """(lag M)² + spread² M = target², the micro step as long as it may be."""
    b, s = law.lag**2, law.spread**2
    if target is not None:
        clock = target**2 / s if b == 0.0 else (np.sqrt(s**2 + 4.0 * b * target**2) - s) / (2.0 * b)
        clock = min(clock, t1 / (micro * driver.substeps))
    elif driver.paces_itself:
        raise BadInput('plan: clock="auto" is chosen in the run. Give a number, or a target_error.')
    else:
        clock = float(driver.clock)
    step = min(dt, clock * micro * driver.substeps)
    work = np.ceil(t1 / step * (1.0 - 1e-12)) * driver.substeps * count
    return _plan(
        dataclasses.replace(driver, clock=jnp.asarray(clock)), step, law.lag * clock, law.spread * clock**0.5, work, law
    )


def _plan(driver, dt, bias, spread, work, law: _Law) -> Plan:
    bias, spread, error = float(bias), float(spread), float(np.hypot(bias, spread))
    driver = dataclasses.replace(driver, expected_error=error)
    return Plan(driver, float(dt), error, bias, spread, float(work), law.time)


def _bursts(driver: HeterogeneousMultiscale, law: _Law, count: int, t1, dt, target: float | None, micro: float) -> Plan:
    """The shortest burst of all lengths of its relaxation; what the window sees of the relaxation is part of the bias."""
    unit = law.spread**2 * dt / (_STAGES * micro * driver.replicas)  # variance with a window of one step

    def lag(relax: int, window: int) -> float:
        seen = micro * window / law.time
        return law.unit_lag * dt * np.exp(-relax * micro / law.time) * -np.expm1(-seen) / seen

    def shortest(relax: int, target: float) -> int | None:
        """The window, if there is one; the bias falls with the window, so that what is needed after a longer one is less."""
        window = 1
        while (room := target**2 - lag(relax, window) ** 2) > 0.0:
            if unit / room <= window:
                return window
            window = int(np.ceil(unit / room))
        return None

    relax, window = driver.relax, driver.average
    if target is not None:
        bursts = ((r, shortest(r, target)) for r in range(int(np.ceil(_LONGEST * law.time / micro)) + 1))
        found = [(r, w) for r, w in bursts if w is not None]
        if not found:
            raise BadInput(
                f"plan: no burst reaches {target:.3g}: macro steps of {dt:.3g} are so long that the relaxation of the fibers "
                "alone leaves more. Take a shorter dt."
            )
        relax, window = min(found, key=sum)
    work = np.ceil(t1 / dt * (1.0 - 1e-12)) * _STAGES * (relax + window) * driver.replicas * count
    chosen = dataclasses.replace(driver, relax=relax, average=window, dt=micro)
    return _plan(chosen, dt, lag(relax, window), np.sqrt(unit / window), work, law)


def _law(bundle: Bundle, fiber, macro0, conditions, micro: float, t1: float, key) -> _Law:
    points = flat(jax.tree.map(lambda x: x[..., None], conditions))
    count, entries = points.shape
    chosen = np.unique(np.linspace(0, count - 1, _SITES).astype(int))
    at = jax.tree.map(lambda x: x[chosen], conditions)
    sampled = lambda c: samples(fiber, c, dt=micro, key=key, link=bundle.link)
    found = sampled(at)
    flatten = lambda tree: np.asarray(flat(jax.tree.map(lambda x: x[..., None], tree)))
    unravel = jax.vmap(ravel_pytree(jax.tree.map(lambda x: x[0], at))[1])
    value, times = flatten(found.value), flatten(found.correlation_time)
    length = jax.tree.leaves(found.state)[0].shape[1] * np.asarray(found.steps)[:, None] * micro
    intensity = flatten(found.stderr) ** 2 * length
    size = _MOVED * float(jnp.maximum(jnp.sqrt(jnp.mean(points**2)), 1e-3))
    tangent = np.zeros((len(chosen), value.shape[1], entries))
    for k in range(entries):  # under the same noise, so that differences are exact where it is additive
        moved = [flatten(sampled(unravel(points[chosen].at[:, k].add(sign * size))).value) for sign in (1.0, -1.0)]
        tangent[:, :, k] = (moved[0] - moved[1]) / (2.0 * size)
    near = np.argmin(np.sum((np.asarray(points)[:, None] - np.asarray(points)[None, chosen]) ** 2, axis=-1), axis=1)
    return _propagated(bundle, macro0, found.value, [x[near] for x in (value, times, intensity, tangent)], t1)


def _propagated(bundle: Bundle, macro0, like, measured: list, t1: float) -> _Law:
    """Covariance and bias of the linear macro model, by doubling of the time."""
    value, times, intensity, tangent = measured
    U, unravel = ravel_pytree(macro0)
    if max(U.size, value.size) > _MOST:
        raise BadInput(
            f"plan: matrices of {U.size} entries of the macrostate and {value.size} of the responses are too large. Plan with "
            f"fewer cells, at most {_MOST} entries; clock, window and replicas stay as they are."
        )
    shape = ravel_pytree(jax.tree.map(lambda x: x[0], like))[1]
    rate = lambda U, A: ravel_pytree(bundle.macro.rate(jnp.zeros(()), unravel(U), jax.vmap(shape)(A.reshape(value.shape))))[0]
    points = lambda U: flat(jax.tree.map(lambda x: x[..., None], bundle.macro.conditions(unravel(U))))
    A = jnp.asarray(value.ravel())
    alone, B = (np.asarray(x) for x in jax.jacfwd(rate, (0, 1))(U, A))
    follow = np.einsum("smc,scu->smu", tangent, np.asarray(jax.jacfwd(points)(U))).reshape(value.size, -1)
    J, start = alone + B @ follow, np.asarray(rate(U, A))
    noise = B * np.sqrt(intensity.ravel())
    if bundle.noise == "shared":
        noise = noise.reshape(len(B), *value.shape).sum(axis=1)
    halvings = max(4, int(np.ceil(np.log2(max(10.0 * np.linalg.norm(J, 2) * t1, 1.0)))))
    h = t1 / 2**halvings
    half, G = expm(0.5 * h * J), noise @ noise.T
    step = half @ half
    C = h / 6.0 * (G + 4.0 * half @ G @ half.T + step @ G @ step.T)
    late = [B @ (weight[:, None] * follow) for weight in (times.ravel(), np.ones(value.size))]
    lags = [h / 6.0 * (X @ step + 4.0 * half @ X @ half + step @ X) for X in late]
    worst = np.zeros(3)
    for k in range(halvings):
        C = C + step @ C @ step.T
        lags = [step @ L + L @ step for L in lags]
        step = step @ step
        if k >= halvings - 4:
            now = [np.trace(C), *(np.sum((L @ start) ** 2) for L in lags)]
            worst = np.maximum(worst, np.sqrt(np.asarray(now) / U.size))
    return _Law(float(worst[0]), float(worst[1]), float(worst[2]), float(times.max()))

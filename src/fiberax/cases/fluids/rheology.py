"""What a rheometer does and reads: flows in time at many rates, averages over replicas, material functions, exact answers.

Exact are Hookean springs (Oldroyd-B, Rouse): each mode is ċ = κc + cκᵀ − (c − I)/De_k, solved by the matrix exponential, with
De_k = De/(2 sin²(πk/(2n + 2))).
"""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fiberax.cases.base import CaseWarning
from fiberax.cases.fluids.closed_forms import conformation
from fiberax.cases.fluids.rheometer_words import Flow
from fiberax.core.capabilities import AbstractEnsemble, AbstractMonitored, AbstractPropagated
from fiberax.core.errors import BadInput
from fiberax.core.fiber import AbstractFlow, AbstractStochastic
from fiberax.physics.fluids import AbstractConformation, Chain, Dumbbell, DumbbellDensity, RodDensity
from fiberax.physics.fluids.density import AbstractDensity
from fiberax.physics.fluids.extension_density import ExtensionDensity
from fiberax.physics.fluids.members import moving

_SUDDEN = 1e-6  # duration of a step of strain, in relaxation times
_BOUNDED = 1e-2  # the same where springs have a largest length, beyond which no strain can draw them at once
_PIECES = 400  # in which it is done
_COAXIAL = 1e-2  # angle of the axes of stress and strain at which a density is not resolved
_FINER = 8  # by which the degree of a density is raised


class Readings(eqx.Module):
    """What a rheometer reads from a fluid, a link: the full stress, its `weights` by name, and the second moment.

    The second moment is that of springs end to end, or of rods. All are averages over the ensemble, linear in its density.
    """

    names: tuple[str, ...] = eqx.field(static=True)
    weights: tuple[tuple[tuple[float, ...], ...], ...] = eqx.field(static=True)

    def __call__(self, fiber, state, condition) -> dict[str, Any]:
        stress = fiber.link(state, condition)
        read = {n: jnp.sum(jnp.asarray(w) * stress) for n, w in zip(self.names, self.weights, strict=True)}
        return {"tau": stress, "moment": second_moment(fiber, state)} | read


def readings_of(G: np.ndarray, flow: Flow, given: bool, plain: bool) -> Readings:
    """The stress that makes the viscosity, and normal stress differences, as weights on τ.

    `given`: whether the user gives the flow, whose viscosity is that of its dissipation; `plain`: no gradient is given.
    """
    dim = len(G)
    unit, rest = np.eye(dim), 0.0 if dim == 2 else np.outer(np.eye(3)[2], np.eye(3)[2])
    xx, yy = np.outer(unit[0], unit[0]), np.outer(unit[1], unit[1])
    first = xx - (0.5 * (yy + rest) if plain and flow is Flow.UNIAXIAL else yy)
    strain = 0.5 * (G + G.T)
    main = np.outer(unit[0], unit[1]) if flow is Flow.SHEAR else first
    main = strain / (2.0 * np.sum(strain**2)) if given else main
    weights = {"stress": main, "N1": first} | ({"N2": yy - rest} if dim == 3 else {})
    return Readings(tuple(weights), tuple(tuple(map(tuple, w.tolist())) for w in weights.values()))


def second_moment(fiber: Any, state: Any) -> Float[Array | np.ndarray, "dim dim"]:
    """⟨zz⟩ of springs, end to end for chains, ⟨mm⟩ of rods, the conformation of closures."""
    if isinstance(fiber, AbstractConformation):
        return state
    if isinstance(fiber, ExtensionDensity):
        return fiber.moment(state)
    if isinstance(fiber, DumbbellDensity | RodDensity):
        grid = fiber.grid
        density = grid.weights * (grid.values @ fiber.full(state))
        return jnp.einsum("p,pi,pj->ij", density, grid.points, grid.points)
    members = moving(state)
    ends = jnp.asarray(jnp.sum(members, axis=0) if isinstance(fiber, Chain) else members)
    return (ends @ ends.T / ends.shape[1]).astype(jnp.result_type(float))


class Replicas(AbstractStochastic, AbstractEnsemble):
    """Independent copies of a random fiber, read together; their spread is the standard error, that of mean fields included.

    With `struck` they begin after the step of strain that the first condition is.
    """

    inner: AbstractStochastic
    readings: Readings
    copies: int = eqx.field(static=True)
    struck: bool = eqx.field(static=True, default=False)

    def init(self, condition, key):
        begin = lambda k: strained(self.inner, condition, k) if self.struck else self.inner.init(condition, k)
        return jax.vmap(begin)(jax.random.split(key, self.copies))

    def timestep(self, condition):
        return self.inner.timestep(condition)

    def step(self, state, condition, dt, key):
        keys = jax.random.split(key, self.copies)
        return jax.vmap(lambda s, k: self.inner.step(s, condition, dt, k))(state, keys)

    def link(self, state, condition):
        return jax.tree.map(lambda x: jnp.mean(x, axis=0), self._each(state, condition))

    def standard_error(self, state, condition):
        return jax.tree.map(lambda x: jnp.std(x, axis=0, ddof=1) / self.copies**0.5, self._each(state, condition))

    def _each(self, state, condition):
        return jax.vmap(lambda s: self.readings(self.inner, s, condition))(state)


class StruckClosure(AbstractPropagated, AbstractMonitored):
    """A conformation that begins after the step of strain that the first condition is, with what a rheometer reads."""

    inner: AbstractConformation
    readings: Readings

    def init(self, condition, key):
        return strained(self.inner, condition, key)

    def rate(self, state, condition):
        return self.inner.rate(state, condition)

    def propagate(self, state, condition, time):
        return self.inner.propagate(state, condition, time)

    def link(self, state, condition):
        return self.readings(self.inner, state, condition)

    def stability_margin(self, state, condition):
        return self.inner.stability_margin(state, condition)


class StruckDensity(AbstractFlow, AbstractMonitored):
    """The same for a density."""

    inner: AbstractDensity
    readings: Readings

    def init(self, condition, key):
        return strained(self.inner, condition, key)

    def rate(self, state, condition):
        return self.inner.rate(state, condition)

    def link(self, state, condition):
        return self.readings(self.inner, state, condition)

    def stability_margin(self, state, condition):
        return self.inner.stability_margin(state, condition)

    def explain(self, state, condition):
        return self.inner.explain(state, condition)


def is_bounded(fiber: Any) -> bool:
    """Whether springs have a largest length."""
    limit: Any = float("inf")
    if isinstance(fiber, Dumbbell | Chain):
        limit = fiber.spring.limit
    elif isinstance(fiber, AbstractConformation):
        limit = fiber.reach
    elif isinstance(fiber, DumbbellDensity):
        limit = fiber.b
    return not isinstance(limit, float) or bool(np.isfinite(limit))  # limits that are arrays may be those of a trace


def rise(fiber: Any) -> float:
    """The duration of a step of strain, in units of De: nothing relaxes in it, or little where springs are bounded."""
    return _BOUNDED if is_bounded(fiber) else _SUDDEN


def refuse_unresolved(fiber: Any, strains: np.ndarray) -> None:
    """Raise `BadInput` for the first of the `strains` (rows, dim, dim) that a density does not resolve.

    The stress and EEᵀ have the same axes whatever the fluid is (Lodge and Meissner): they commute.
    """
    if not isinstance(fiber, AbstractDensity):
        return
    stress = jax.jit(lambda strain: fiber.link(strained(fiber, strain, jax.random.key(0)), 0.0 * strain))
    for strain in strains:
        tau, c = np.asarray(stress(jnp.asarray(strain))), deformed(strain)
        off = tau - np.trace(tau) / len(tau) * np.eye(len(tau))
        if not np.linalg.norm(off @ c - c @ off) <= _COAXIAL * np.linalg.norm(off) * np.linalg.norm(c):
            raise BadInput(
                f"--form density: degree {fiber.degree} does not resolve a step of strain of {np.abs(strain).max():.4g}. Take "
                f"smaller strains, a larger --degree, up to {fiber.largest}, or --form brownian."
            )


def struck(fiber: Any, readings: Readings) -> Any:
    """A closure or a density that begins with a step of strain."""
    return StruckDensity(fiber, readings) if isinstance(fiber, AbstractDensity) else StruckClosure(fiber, readings)


def strained(fiber: Any, strain: Float[Array, "dim dim"], key) -> Any:
    """The state of a fluid at rest after the flow `strain`/ε of the duration ε of `rise`."""
    first, second = jax.random.split(key)
    state, time = fiber.init(strain, first), rise(fiber) * fiber.De
    kappa, dt = strain / time, time / _PIECES
    if isinstance(fiber, AbstractConformation):
        return fiber.propagate(state, kappa, time)
    if isinstance(fiber, AbstractStochastic):
        return jax.lax.fori_loop(0, _PIECES, lambda k, s: fiber.step(s, kappa, dt, jax.random.fold_in(second, k)), state)

    def runge_kutta(_, u):
        a = fiber.rate(u, kappa)
        b = fiber.rate(u + 0.5 * dt * a, kappa)
        c = fiber.rate(u + 0.5 * dt * b, kappa)
        return u + dt / 6.0 * (a + 2.0 * b + 2.0 * c + fiber.rate(u + dt * c, kappa))

    return jax.lax.fori_loop(0, _PIECES, runge_kutta, state)


class Stopped(eqx.Module):
    """κ(t) (rates, dim, dim) of a flow that stops at t = 0, less a `margin` above the round-off of a clock."""

    gradients: Float[Array, "rates dim dim"]
    margin: float = eqx.field(static=True)

    def __call__(self, t):
        return jnp.where(t < -self.margin, 1.0, 0.0) * self.gradients


class History(eqx.Module):
    """κ(t) (1, dim, dim), linear between given times."""

    times: Float[Array, " times"]
    gradients: Float[Array, "times dim dim"]

    def __call__(self, t):
        flat = self.gradients.reshape(len(self.times), -1)
        values = jax.vmap(lambda column: jnp.interp(t, self.times, column), in_axes=1)(flat)
        return values.reshape(1, *self.gradients.shape[1:])


def hookean(kappa: np.ndarray, times: np.ndarray, modes: np.ndarray, start: np.ndarray | None = None) -> np.ndarray:
    """τ (times, dim, dim) of Hookean springs after the flow κ began, from rest or from the `start` (modes, dim, dim).

    Steady where a time is infinite. `modes`: relaxation times.
    """
    return mode_tensors(kappa, times, modes, start).sum(axis=0)


def mode_tensors(kappa: np.ndarray, times: np.ndarray, modes: np.ndarray, start: np.ndarray | None = None) -> np.ndarray:
    """The same for each mode, (modes, times, dim, dim)."""
    from scipy.linalg import expm

    eye, found = np.eye(len(kappa)), []
    for k, De in enumerate(modes):
        operator = np.kron(kappa, eye) + np.kron(eye, kappa) - np.eye(eye.size) / De
        steady = np.linalg.solve(operator, -eye.ravel() / De)
        away = (eye if start is None else start[k]).ravel() - steady
        rows = [steady + (expm(operator * t) @ away if np.isfinite(t) else 0.0) for t in times]
        found.append(np.reshape(rows, (len(times), *eye.shape)))
    return np.array(found)


def read_history(path: Path, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Times and velocity gradients of a file with rows t, κ_xx, κ_xy, ... Raises `BadInput`."""
    if not path.is_file():
        raise BadInput(f"--history {path}: there is no such file.")
    try:
        rows = np.loadtxt(path, delimiter="," if "," in path.read_text() else None, ndmin=2)
    except ValueError as error:
        raise BadInput(f"--history {path}: {error}.") from error
    if rows.shape[1] != 1 + dim * dim:
        raise BadInput(f"--history {path}: a row is t and {dim * dim} numbers of kappa; there are {rows.shape[1]} columns.")
    if not np.all(np.isfinite(rows)) or len(rows) < 2 or not np.all(np.diff(rows[:, 0]) > 0.0):
        raise BadInput(f"--history {path}: times must increase, two at least, and all numbers be finite.")
    gradients = rows[:, 1:].reshape(-1, dim, dim)
    traces, sizes = np.trace(gradients, axis1=1, axis2=2), np.abs(gradients).max(axis=(1, 2))
    wrong = np.flatnonzero(np.abs(traces) > 1e-9 * sizes)
    if len(wrong):
        k = wrong[0]
        raise BadInput(f"--history {path}: the trace of kappa must be zero; at t = {rows[k, 0]:.6g} it is {traces[k]:.6g}.")
    return rows[:, 0], gradients


def resolving(fiber: Any, G: np.ndarray, rates: np.ndarray) -> Any:
    """Dilute rods by a density of the least degree that reaches the largest rate; other fluids as they are."""
    if not isinstance(fiber, RodDensity):
        return fiber
    most = float(rates.max())
    while fiber.degree < fiber.largest and fiber.reach(G, most) < most:
        fiber = RodDensity(fiber.potential, float(fiber.De), fiber.degree + _FINER, fiber.director)
    return fiber


def tell_reach(fiber: Any, G: np.ndarray, rates: np.ndarray, loss: str) -> None:
    """Warn before the work of rates at which a density will not be resolved. Not for rods that may tumble."""
    if not isinstance(fiber, AbstractDensity):
        return
    reach = fiber.reach(G, float(rates.max()))
    if beyond := int(np.sum(rates > reach)):
        more = f"a larger --degree, up to {fiber.largest}, or " if fiber.degree < fiber.largest else ""
        warnings.warn(
            f"--form density: degree {fiber.degree} resolves steady states up to the rate {reach:.3g} in this flow; {beyond} "
            f"of {rates.size} rates are beyond it and {loss}. Take {more}--form brownian.",
            CaseWarning,
            stacklevel=2,
        )


def deformed(strain: np.ndarray) -> np.ndarray:
    """C = EEᵀ (dim, dim) after the step E = exp(`strain`) from rest, where c = I."""
    from scipy.linalg import expm

    gradient = expm(strain)
    return gradient @ gradient.T


def motion(
    fiber: Any, modes: np.ndarray | None, kappa: np.ndarray, time: float, start: np.ndarray | None = None
) -> np.ndarray | None:
    """Exact tensors (modes, dim, dim), whose sum is τ, a `time` after κ began, from rest or from a `start`; None if unknown.

    `modes`: relaxation times of Hookean springs; None for closures.
    """
    if modes is not None:
        return mode_tensors(kappa, np.array([time]), modes, start)[:, 0]
    found = conformation(fiber, kappa, time, np.eye(len(kappa)) if start is None else start[0])
    return None if found is None else found[None]


def exact_columns(readings: Readings, tau: np.ndarray, rates: np.ndarray, ratio: str = "viscosity") -> dict[str, np.ndarray]:
    """Exact stresses (rates,) from the exact τ (rates, dim, dim), and the first over the rates by the name of `ratio`."""
    found = {
        f"exact.{n}": np.sum(np.asarray(w) * tau, axis=(1, 2)) for n, w in zip(readings.names, readings.weights, strict=True)
    }
    return found | {f"exact.{ratio}": found["exact.stress"] / rates}


def exact_in_time(
    fiber: Any,
    modes: np.ndarray | None,
    readings: Readings,
    rates: np.ndarray,
    gradients: np.ndarray,
    sudden: bool,
    lead: float,
) -> Callable[[float], dict[str, np.ndarray]]:
    """exact(t), the exact columns where they are known, else none: of a flow that begins at t = 0.

    Or of one that ends there after the time `lead`, if it is not 0, or, with `sudden`, of the strains `gradients`. `modes`:
    as of `motion`.
    """
    count, flow = 1 if modes is None else len(modes), 0.0 if sudden or lead else 1.0
    starts: list[Any] = [None] * len(gradients)
    if sudden:
        starts = [np.repeat(deformed(strain)[None], count, axis=0) for strain in gradients]
    elif lead:
        starts = [motion(fiber, modes, kappa, lead) for kappa in gradients]

    def exact(t: float) -> dict[str, np.ndarray]:
        if flow == 0.0 and any(start is None for start in starts):
            return {}
        found = [motion(fiber, modes, flow * kappa, t, start) for kappa, start in zip(gradients, starts, strict=True)]
        known = [tensors.sum(axis=0) for tensors in found if tensors is not None]
        return exact_columns(readings, np.array(known), rates, "modulus" if sudden else "viscosity") if known else {}

    return exact


def order(moment: np.ndarray) -> np.ndarray:
    """The largest eigenvalue of (3⟨mm⟩ − I)/2."""
    return 1.5 * np.linalg.eigvalsh(moment)[..., -1] - 0.5


def stretch(moment: np.ndarray) -> np.ndarray:
    """The mean square of z."""
    return np.trace(moment, axis1=-2, axis2=-1)


def angle(moment: np.ndarray) -> np.ndarray:
    """Of the long axis with the direction of the flow."""
    return np.degrees(0.5 * np.arctan2(2.0 * moment[..., 0, 1], moment[..., 0, 0] - moment[..., 1, 1]))


def bound_of_error(of, moment: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """A bound of the standard error of a function of the second moment: correlations of its entries are not known."""
    total = np.zeros(moment.shape[:-2])
    for i in range(moment.shape[-1]):
        for j in range(i + 1):
            step = np.zeros_like(moment)
            step[..., i, j] = step[..., j, i] = np.maximum(spread[..., i, j], 1e-12)
            total += 0.5 * np.abs(of(moment + step) - of(moment - step))
    return total

"""Steady states of a bundle: rate(U, A(U)) = 0 by Newton through the responses."""

import time
import warnings
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from fiberax.core.bundle import Bundle
from fiberax.core.driver import AbstractDriver
from fiberax.core.errors import FiberFailure, Mismatch, NotConverged
from fiberax.core.evolve import assemble
from fiberax.core.failure import fiber_message
from fiberax.core.field import Field
from fiberax.core.macro_solve import first_iterate, next_iterate, solve_macro
from fiberax.core.recorder import Report
from fiberax.core.schedule import schedule
from fiberax.core.sites import Placement, to_host
from fiberax.core.solution import Solution
from fiberax.numerics import trees

_first = eqx.filter_jit(first_iterate)
_next = eqx.filter_jit(next_iterate, donate="none")


def steady(
    bundle: Bundle,
    driver: AbstractDriver,
    macro0: Any,
    *,
    t: float = 0.0,
    tolerance: float = 1e-9,
    max_steps: int = 50,
    placement: Placement | None = None,
    fail_fraction: float = 0.0,
    progress=None,
) -> Solution:
    """Macrostate with rate zero at time `t`, found from `macro0` by Newton with the tangents of the fibers.

    `tolerance`: last Newton update relative to the macrostate. The solution has one time (leading axes of length 1).
    Under jit and grad it is differentiable by the implicit function theorem. Raises `NotConverged`, `FiberFailure`,
    `Mismatch` (the driver must be slaved, as `Quasistatic` is) and `BadInput`.
    """
    if not driver.slaved:
        raise Mismatch(
            f"steady needs a response to every condition; {type(driver).__name__} carries states in time. Use fx.Quasistatic()."
        )
    plan = schedule(t, t + 1.0, 1.0, None)
    field, macro, like, samples = assemble(bundle, driver, macro0, plan, None, placement)
    if not field.retry:
        section = field.begin(macro, like, samples)
        step, zero = jnp.zeros((), jnp.uint32), jnp.zeros(())
        macro, section, good = solve_macro(
            field, step, jnp.asarray(t, float), macro, zero, macro, section, tolerance, max_steps
        )
        return _solution(field, t, macro, section, {"converged": good})
    macro, section, steps = _newton(field, t, macro, like, samples, tolerance, max_steps, fail_fraction, progress)
    return jax.tree.map(np.asarray, _solution(field, t, macro, section, {"steps": steps}))


def _solution(field: Field, t: float, macro, section, stats) -> Solution:
    response, result = field.sites.trim(section.response), field.outcomes(section).result
    ts, macro, response, result = jax.tree.map(lambda x: jnp.asarray(x)[None], (float(t), macro, response, result))
    return Solution(ts, macro, response, result, section, stats, field.bundle.macro)


def _warn_if_undetermined(field: Field, t, at) -> None:
    """A constant that no equation fixes (all sides insulated or periodic) is a choice of the solver, not of the model."""
    tangents, response = field.tangents(at.macro, at.section), field.sites.trim(at.section.response)
    apply = field.linear_rate(t, at.macro, response, tangents)
    ones = jax.tree.map(jnp.ones_like, at.macro)
    waves = jax.tree.map(lambda x: jnp.cos(jnp.arange(x.size)).reshape(x.shape).astype(x.dtype), at.macro)
    if float(trees.norm(apply(ones))) <= 1e-9 * float(trees.norm(apply(waves))):
        warnings.warn(
            "steady: the macrostate is determined only up to a constant; the one returned has no meaning of its own. "
            "Fix it by a boundary value or a source, or carry the start there with fx.evolve, which keeps the mean.",
            stacklevel=4,
        )


def _newton(field: Field, t, macro, like, samples, tolerance, max_steps, fail_fraction, progress):
    begun = time.perf_counter()
    limit = int(np.floor(fail_fraction * field.sites.count + 1e-9))
    macro = field.sites.replicated(to_host(macro))
    time_, zero = jnp.asarray(t, jnp.result_type(float)), jnp.zeros(())
    at = _first(field, time_, macro, like, samples)
    while True:
        failed = int(np.sum(to_host(field.outcomes(at.section).result) != 0))
        if failed > limit:
            raise FiberFailure(fiber_message(field, at.macro, at.section, f"in Newton step {int(at.steps)}", limit))
        if not np.isfinite(float(at.norm)):
            raise NotConverged(
                "steady: the residual of the macro model is not finite at the start. Check macro0 and the boundary values."
            )
        done = float(at.update) <= tolerance or float(at.norm) == 0.0
        if progress is not None:
            elapsed = time.perf_counter() - begun
            progress(
                Report(
                    int(at.steps),
                    int(at.steps) if done else max_steps,
                    t,
                    t,
                    elapsed,
                    float("nan"),
                    failed,
                    field.sites.count,
                    None,
                )
            )
        if done:
            _warn_if_undetermined(field, time_, at)
            return at.macro, at.section, int(at.steps)
        if int(at.steps) >= max_steps or not np.isfinite(float(at.update)):
            raise NotConverged(
                f"steady: Newton stopped after {int(at.steps)} steps with a residual of {float(at.norm):.3g}. Start closer to "
                "the solution, or let fx.evolve with fx.BackwardEuler() carry it there."
            )
        at = _next(field, time_, zero, at)

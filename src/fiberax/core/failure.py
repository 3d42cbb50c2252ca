"""Messages of runs that stop: what failed, where, and what to try."""

from typing import Any, NamedTuple, NoReturn

import jax
import jax.numpy as jnp
import numpy as np

from fiberax.core.capabilities import AbstractMonitored
from fiberax.core.errors import FiberaxError, FiberFailure, NonFiniteMacro, NotConverged, StabilityLost
from fiberax.core.fiber import code_in_words
from fiberax.core.field import Field
from fiberax.core.platform import in_single
from fiberax.core.sites import to_host
from fiberax.core.stiffness import stiffness_of
from fiberax.numerics.result import effort

FAILED, NONFINITE, NOT_CONVERGED = 1, 2, 3
_GROWTH = 1e4  # growth of the macrostate beyond which it is taken to be unstable
_AT_OWN_RISK = "Stop earlier or at a smaller load; a call from Python can go on at your own risk with allow_unstable=True."


class Begun(NamedTuple):
    """Where a run began: macrostate, shape of a response, stored samples of averages."""

    macro: Any
    response: Any
    samples: int


def raise_failure(status: int, field: Field, carry: Any, t: float, dt: float, limit: int, begun: Begun) -> NoReturn:
    """Raise the error that belongs to `status`, with the step that begins at `t` as the place."""
    where = f"in step {int(carry.step) + 1}, at t = {t:.6g} (dt = {dt:.6g})"
    before, now = _size(begun.macro), _size(carry.macro)
    if status in (FAILED, NONFINITE) and 0.0 < _GROWTH * before < now:  # of a start at zero the fibers tell more
        raise NonFiniteMacro(
            f"The macrostate grew from {before:.3g} to {now:.3g} {where} and the fibers failed there. "
            f"{_step_advice(field, begun, t, dt)}"
        )
    if status == FAILED:
        raise FiberFailure(fiber_message(field, carry.macro, carry.section, where, limit))
    if status == NONFINITE:
        if _without_response(field, carry.section):
            message = fiber_message(field, carry.macro, carry.section, where, limit)
            raise FiberFailure(f"{message} The run has no earlier response of it to go on with.")
        raise NonFiniteMacro(f"The macrostate is not finite {where}. {_step_advice(field, begun, t, dt)}")
    raise NotConverged(
        f"Newton for the macro step did not converge {where}. Use a smaller dt, a looser tolerance of the stepper, "
        f"or a start closer to the solution.{in_single()}"
    )


def _size(macro) -> float:
    """Largest absolute entry that is finite."""
    leaves = [np.abs(np.asarray(x, float)) for x in jax.tree.leaves(to_host(macro))]
    return max((float(np.max(x, initial=0.0, where=np.isfinite(x))) for x in leaves), default=0.0)


def _without_response(field: Field, section) -> bool:
    """Whether a failed site has no good response, not even an old one."""
    failed = to_host(field.outcomes(section).result) != 0
    response = to_host(field.sites.trim(section.response))
    finite = [np.isfinite(x).reshape(failed.size, -1).all(axis=1) for x in jax.tree.leaves(response)]
    return bool(np.any(failed & ~np.all(finite, axis=0)))


def fiber_message(field: Field, macro, section, where: str, limit: int) -> str:
    """Number of failed fibers, the worst site with its position and condition, and what to try."""
    out = to_host(field.outcomes(section))
    failed = np.flatnonzero(out.result != 0)
    weight = np.where(np.isfinite(out.residual[failed]), out.residual[failed], np.inf)
    worst = int(failed[np.argmax(weight)])
    conditions = to_host(field.bundle.macro.conditions(macro))
    condition = jax.tree.map(lambda x: np.asarray(x[worst]).tolist(), conditions)
    code = int(out.result[worst])
    detail = f"{code_in_words(field.fiber, code)} {effort(out.residual[worst], out.steps[worst])}"
    return (
        f"{failed.size} of {field.sites.count} fibers failed {where}; {limit} may. Worst site {worst}{_place(field, worst)}, "
        f"condition {condition}: {detail}. Check the fiber at that condition with fx.response, use a smaller dt, "
        "loosen the driver's tolerance, or allow more failures with fail_fraction."
    )


def demand_stability(field: Field, macro, section, margins, where: str, remedy: str = _AT_OWN_RISK) -> None:
    """Raise `StabilityLost`, with the `remedy`, if any margin (sites,) is not positive; NaN is ignored."""
    values = np.asarray(to_host(margins))
    lost = np.flatnonzero(values <= 0.0)
    if lost.size == 0:
        return
    worst = int(lost[np.argmin(values[lost])])
    states = to_host(field.sites.trim(section.state))
    state, condition = jax.tree.map(lambda x: jnp.asarray(x[worst]), (states, field.bundle.macro.conditions(macro)))
    assert isinstance(field.fiber, AbstractMonitored)
    detail = [text for text in (field.fiber.explain(state, condition), remedy) if text]
    raise StabilityLost(
        f"{lost.size} of {field.sites.count} fibers lost stability {where}. Worst site {worst}"
        f"{_place(field, worst)}, condition {jax.tree.map(lambda x: np.asarray(x).tolist(), condition)}: "
        f"stability margin {values[worst]:.3g}. {' '.join(detail)}".rstrip()
    )


def _place(field: Field, site: int) -> str:
    positions = field.bundle.macro.positions()
    return "" if positions is None else f" at position {np.asarray(positions)[site].tolist()}"


def _step_advice(field: Field, begun: Begun, t, dt) -> str:
    """Advice by `stiffness` at the macrostate that the run began with; the present one is no longer meaningful."""
    try:
        section = field.begin(begun.macro, begun.response, begun.samples)
        if field.driver.slaved:
            section = field.advance(jnp.zeros((), jnp.uint32), begun.macro, section, jnp.zeros(()))
        found = stiffness_of(field, begun.macro, section, t)
    except FiberaxError:
        raise
    except Exception:  # an error in the advice must not hide the message
        return "Use a smaller dt, or an implicit stepper."
    if not np.isfinite(found.step):
        return "The fibers set no step limit at the start: look at the source and the boundary values."
    if found.growth > 0.5 * abs(found.eigenvalue):
        return "The model is ill-posed at the start (negative diffusion, lost ellipticity): look at the sign of the response."
    verdict = "which this run exceeds" if dt > found.step else "which this run keeps: look at the fibers' responses"
    return (
        f"At the start the fibers limit an explicit step to dt = {found.step:.3g} (fx.stiffness), {verdict}. "
        "Use a smaller dt, or an implicit stepper such as fx.SDIRK2()."
    )

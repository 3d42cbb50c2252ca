"""Results of solves: codes, and the texts that belong to them."""

import enum
import math
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

OWN_CODES = 100  # from here on codes are a fiber's own


class Result(enum.IntEnum):
    """Result code of one fiber. Arrays of results hold these integers; a fiber may use further codes from 100 on."""

    SUCCESS = 0
    MAX_STEPS = 1
    NONFINITE = 2
    STALLED = 3
    OUT_OF_RANGE = 4
    UNSTABLE = 5
    NOT_MIXED = 6
    TOO_SHORT = 7
    RUNAWAY = 8
    BORROWED = 9
    TRUNCATED = 10


TEXTS = {
    Result.SUCCESS: "solved",
    Result.MAX_STEPS: "the solver reached its largest number of steps",
    Result.NONFINITE: "the state or the response is not finite, or the fiber is not defined at that condition",
    Result.STALLED: "the solver made no more progress above the tolerance",
    Result.OUT_OF_RANGE: "the condition is beyond the range that the fiber was set up for",
    Result.UNSTABLE: "the microstate is stationary but not stable: no minimum of its energy, or a rest point that a relaxation "
    "leaves",
    Result.NOT_MIXED: "replicas that began apart have not come to the same mean: the dynamics does not mix in the time that "
    "it was given",
    Result.TOO_SHORT: "the run is too short for its correlation time, or for the standard error that was asked for: take "
    "more steps",
    Result.RUNAWAY: "the residual falls but the state does not settle: there is no equilibrium, or it is at infinity",
    Result.BORROWED: "the fiber never gave a response of its own; that of the nearest site was used",
    Result.TRUNCATED: "solved in a basis that is too small for the condition: the estimated error of the response is too large",
}

# Of averages, whose numbers are kept: an estimate of which the error is not known. All others have no numbers.
ESTIMATES = (Result.NOT_MIXED, Result.TOO_SHORT)


def text_of(code: int) -> str:
    """The meaning of a result code, in words; a fiber's own codes are given by their number."""
    if code in set(Result):
        return TEXTS[Result(code)]
    if code >= OWN_CODES:
        return f"the fiber reports its own code {code}"
    return f"the fiber reports the code {code}, which is none of fx.Result; codes of its own begin at {OWN_CODES}"


def effort(residual: Any, steps: Any) -> str:
    """Residual and steps of a solve, in brackets; a residual that is not finite is left out."""
    left = f"relative residual {float(residual):.2g} " if math.isfinite(float(residual)) else ""
    return f"({left}after {int(steps)} steps)"


class Outcome(NamedTuple):
    """How the solve of one fiber ended.

    Args:
        result: Code of `fx.Result`, or of the fiber's own.
        steps: Steps taken.
        residual: Relative residual left.
    """

    result: Int[Array, ""]
    steps: Int[Array, ""]
    residual: Float[Array, ""]


def outcome(result: Any, steps: Any = 0, residual: Any = 0.0) -> Outcome:
    """An `Outcome` with the dtypes that every loop and every site share."""
    return Outcome(
        jnp.asarray(result, jnp.int32),
        jnp.asarray(steps, jnp.int32),
        jnp.asarray(residual, jnp.result_type(float)),
    )

"""What became of a solve: codes, and the texts that go with them."""

import enum
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int


class Result(enum.IntEnum):
    """Result code of one fiber. Arrays of results hold these integers."""

    SUCCESS = 0
    MAX_STEPS = 1
    NONFINITE = 2
    STALLED = 3
    OUT_OF_RANGE = 4
    UNSTABLE = 5
    NOT_MIXED = 6
    TOO_SHORT = 7


TEXTS = {
    Result.SUCCESS: "solved",
    Result.MAX_STEPS: "the solver reached its largest number of steps",
    Result.NONFINITE: "the state or the response is not finite, or the fiber is not defined at that condition",
    Result.STALLED: "the solver made no more progress above the tolerance",
    Result.OUT_OF_RANGE: "the condition is beyond the range that the fiber was set up for (a crystal's neighbour lists: "
    "give Crystal a smaller stretch or a larger shift; the grid of a QuantumChain: a larger n, if the energy is bounded below; "
    "a density: a larger degree, if there is a steady state)",
    Result.UNSTABLE: "the microstate is no minimum of its energy: a saddle (Crystal(..., allow_unstable=True) goes on), or an "
    "atom that nothing holds, all its neighbours being beyond the cutoff",
    Result.NOT_MIXED: "replicas that began apart have not come to the same mean: the dynamics does not mix in the time that "
    "it was given",
    Result.TOO_SHORT: "the run is too short for its correlation time, or for the standard error that was asked for: take "
    "more steps",
}


class Outcome(NamedTuple):
    """How the solve of one fiber ended: result code, steps taken, relative residual left."""

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

"""The two-stage diagonally implicit Runge-Kutta scheme of order 2, L-stable (Alexander, SIAM J. Numer. Anal. 14, 1977).

A step of y' = f(y) of length dt solves twice f(y_i) = shift (y_i − base_i); y_2 is the new value. Macro steps and relaxing
fibers use the same two stages.
"""

from typing import Any

import jax

GAMMA = 1.0 - 0.5**0.5
NODES = (GAMMA, 1.0)  # times of the stages in units of the step


def shift(dt: Any, friction: Any = 1.0) -> Any:
    """Inverse length of a stage, for friction · y' = f(y)."""
    return friction / (GAMMA * dt)


def base(start: Any, before: Any) -> Any:
    """What a stage starts from: `before` is the value of the stage before it, and `start` itself for the first."""
    ratio = (1.0 - GAMMA) / GAMMA
    return jax.tree.map(lambda u, v: u + ratio * (v - u), start, before)

"""Check of a whole bundle before a long computation; `fiberax check` uses it too."""

import time
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from fiberax.core.bundle import Bundle, check_fit
from fiberax.core.driver import AbstractDriver
from fiberax.core.errors import BadInput
from fiberax.core.evolve import evolve
from fiberax.core.steppers import AbstractStepper
from fiberax.numerics import trees
from fiberax.testing.checks import CheckFailed


class BundleReport(NamedTuple):
    """Result of `check_bundle`.

    Args:
        sites: Number of sites.
        bytes: Size of the states of all sites together.
        compile_seconds: Wall time of the first step.
        seconds: Wall time of another step.
        gradient: Norm of d|U|²/dU₀ through the step; None where it was not computed.
    """

    sites: int
    bytes: int
    compile_seconds: float
    seconds: float
    gradient: float | None


def check_bundle(
    bundle: Bundle,
    driver: AbstractDriver,
    macro0: Any,
    dt: float,
    t0: float = 0.0,
    stepper: AbstractStepper | None = None,
    gradient: bool = True,
) -> BundleReport:
    """Check that a bundle fits together and can take one step of length `dt` from `macro0`, and its gradient.

    Args:
        bundle: Macro model, fiber and link.
        driver: How fibers follow their conditions.
        macro0: A macrostate.
        dt: Length of the step, macro time.
        t0: Macro time at the start.
        stepper: As in `fx.evolve`.
        gradient: Whether the gradient is checked; it needs the memory of all sites at once.

    Returns:
        What was measured.

    Raises:
        Mismatch, FiberFailure, NonFiniteMacro, NotConverged: As `fx.evolve`.
        BadInput: A macrostate or conditions that are not finite.
        CheckFailed: Responses or a gradient that are not finite.
    """
    macro0 = jax.tree.map(lambda x: jnp.asarray(x, jnp.result_type(float, x)), macro0)
    conditions, state, _ = check_fit(bundle, macro0)
    sites = jax.tree.leaves(conditions)[0].shape[0]
    for what, tree in (("macro0", macro0), ("the conditions of macro0", bundle.macro.conditions(macro0))):
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
            bad = np.argwhere(~np.isfinite(np.asarray(leaf)))
            if len(bad):
                where = f"{jax.tree_util.keystr(path)} at index {bad[0].tolist()}"
                raise BadInput(f"check_bundle: {what}{where} is not finite.")

    def advance(macro0):
        return evolve(bundle, driver, macro0, t0=t0, t1=t0 + dt, dt=dt, stepper=stepper)

    clock = time.perf_counter()
    solution = advance(macro0)
    compiled = time.perf_counter() - clock
    clock = time.perf_counter()
    advance(macro0)
    spent = time.perf_counter() - clock
    if not bool(trees.isfinite(solution.response)):
        raise CheckFailed(f"{type(bundle.fiber).__name__}: the responses after one step of {dt:g} are not finite.")
    size = sites * sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    slope = _gradient(advance, macro0, dt) if gradient else None
    return BundleReport(sites, size, compiled, spent, slope)


def _gradient(advance, macro0: Any, dt: float) -> float:
    @eqx.filter_jit
    def pulled(macro0):
        def square(macro0):
            return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(advance(macro0).macro))

        return jax.grad(square)(macro0)

    slope = pulled(macro0)
    for path, leaf in jax.tree_util.tree_leaves_with_path(slope):
        bad = np.argwhere(~np.isfinite(np.asarray(leaf)))
        if len(bad):
            where = f"{jax.tree_util.keystr(path)} at index {bad[0].tolist()}"
            raise CheckFailed(
                f"The gradient through one step of {dt:g} is not finite in macro0{where}. Look for square roots of zero, "
                "divisions by zero behind jnp.where, or a singular Jacobian of the fiber."
            )
    return float(trees.norm(slope))

"""Checks during a run: the limit of explicit macro steps, and the stability of rest points."""

import warnings
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from fiberax.core.capabilities import AbstractAssembled, AbstractStationary, AbstractTangent
from fiberax.core.driver import AbstractSectionDriver
from fiberax.core.fiber import AbstractDynamic, AbstractFlow
from fiberax.core.field import Field
from fiberax.core.sites import to_host
from fiberax.core.solvers import solver_of
from fiberax.core.steppers import AbstractStepper
from fiberax.core.stiffness import modulus_of, stiffness_of
from fiberax.numerics import trees
from fiberax.numerics.linear import DENSE_LIMIT

_SITES = 3
_POSITIVE = 1e-6  # real part over the largest modulus from which an eigenvalue counts as unstable
_SLACK = 1e-3
_NEAR = 0.8  # of dt·|eigenvalue| (the limit is 2): from there on the estimate is too rough and the eigenvalue is solved for


class StepLimitWarning(UserWarning):
    """An explicit macro step is longer than its stability limit: results are wrong before they become infinite."""


class UnstableRestWarning(UserWarning):
    """A rest point of a flow fiber solves its equation, but no relaxation reaches it."""


class StepLimit(NamedTuple):
    """One measurement: macro time, the largest stable explicit step, and the step taken.

    The limit is that of `fx.stiffness` where the step comes near it, and an estimate within a factor of two elsewhere.
    """

    t: float
    limit: float
    dt: float


class StepLimits:
    """Looks at the stability limit at the start, in the middle and at the end of an explicit run, and warns once.

    Runs whose tangents cost much more than responses (large states without a tangent of their own) are left out.
    """

    def __init__(self, field: Field, stepper: AbstractStepper, steps: int):
        self.field = field
        self.history: list[StepLimit] = []
        self.due = [1, steps // 2, steps] if stepper.explicit else []

    def look(self, macro: Any, section: Any, done: int, t: float, dt: float) -> None:
        """Measure, if it is due after `done` steps."""
        if not self.due or done < self.due[0] or not _cheap(self.field, section):
            return
        self.due = [step for step in self.due if step > done]
        if np.any(to_host(self.field.outcomes(section).result)):
            return  # failed fibers have no tangent
        rough = modulus_of(self.field, macro, section, t)
        if not rough > _NEAR / dt:  # far from the limit, no derivative (NaN), or no rate at all
            if rough > 0.0:
                self.history.append(StepLimit(t, 2.0 / rough, dt))
            return
        found = stiffness_of(self.field, macro, section, t)
        if not np.isfinite(found.step):
            return
        new = not any(_beyond(look) for look in self.history)
        self.history.append(StepLimit(t, found.step, dt))
        growing = found.growth > 0.5 * abs(found.eigenvalue)  # the solution itself grows, at any step
        if new and _beyond(self.history[-1]) and not growing:
            warnings.warn(
                f"The macro step dt = {dt:.3g} is longer than the stability limit {found.step:.3g} of an explicit step at "
                f"t = {t:.6g} (fx.stiffness): results are wrong before they become infinite. Use a smaller dt, or an implicit "
                "stepper such as fx.SDIRK2().",
                StepLimitWarning,
                stacklevel=2,
            )


def _beyond(look: StepLimit) -> bool:
    return look.dt > look.limit * (1.0 + _SLACK)


def _cheap(field: Field, section: Any) -> bool:
    """Whether tangents cost about as much as responses."""
    fiber = field.fiber
    if not field.driver.slaved:
        return True
    if isinstance(fiber, AbstractDynamic):
        return False
    if isinstance(fiber, AbstractStationary | AbstractTangent):
        return True
    own = isinstance(fiber, AbstractAssembled) and fiber.highest_order == 2 and fiber.tangent_is_cheap
    if own and trees.size(section.state) < 10**6:
        return True
    return trees.size(section.state) // field.sites.padded <= DENSE_LIMIT


@eqx.filter_jit
def _jacobians(fiber: AbstractFlow, states, conditions):
    def one(state, condition):
        flat, unravel = ravel_pytree(state)
        return jax.jacfwd(lambda u: ravel_pytree(fiber.rate(unravel(u), condition))[0])(flat)

    return jax.vmap(one)(states, conditions)


@eqx.filter_jit
def _push(fiber: AbstractFlow, state, condition, vector):
    flat, unravel = ravel_pytree(state)
    return jax.jvp(lambda u: ravel_pytree(fiber.rate(unravel(u), condition))[0], (flat,), (vector,))[1]


def largest_growth(fiber: AbstractFlow, states: Any, conditions: Any) -> np.ndarray:
    """Largest real part of the eigenvalues of ∂rate/∂u over their largest modulus, at each of a few sites (leading axis).

    Dense up to `DENSE_LIMIT` entries; beyond, a few iterations of ARPACK at the first site, which find fast growth only.
    """
    if trees.size(jax.tree.map(lambda x: x[0], states)) <= DENSE_LIMIT:
        matrices = np.asarray(_jacobians(fiber, states, conditions))
        finite = np.all(np.isfinite(matrices), axis=(1, 2))  # failed fibers are left out
        values = np.linalg.eigvals(np.where(finite[:, None, None], matrices, 0.0))
        size = np.max(np.abs(values), axis=1)
        return np.max(values.real, axis=1) / np.where(size > 0.0, size, 1.0)
    from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigs

    state, condition = jax.tree.map(lambda x: x[0], (states, conditions))
    flat = ravel_pytree(state)[0]
    matvec = lambda v: np.asarray(_push(fiber, state, condition, jnp.asarray(v.ravel(), flat.dtype)))
    operator = LinearOperator((flat.size, flat.size), matvec=matvec, dtype=np.asarray(flat).dtype)
    start = np.random.default_rng(0).standard_normal(flat.size)
    if not np.all(np.isfinite(matvec(start))):
        return np.asarray([0.0])  # a failed fiber
    found = []
    for which in ("LR", "LM"):
        try:
            values = eigs(operator, k=1, which=which, v0=start, tol=1e-2, maxiter=3, return_eigenvectors=False)
        except ArpackNoConvergence as error:
            values = error.eigenvalues
        found.append(values)
    if any(len(values) == 0 for values in found):
        return np.asarray([-1.0])
    return np.asarray([found[0][0].real / np.abs(found[1][0])])


def warn_unstable_rest(field: Field, macro: Any, section: Any, stacklevel: int = 3) -> None:
    """Warn where a relaxation would leave the rest point of a flow fiber; looked at once per run, at a few sites."""
    fiber = field.fiber
    if not (field.driver.slaved and isinstance(fiber, AbstractFlow)):
        return
    if isinstance(field.driver, AbstractSectionDriver):  # not every state belongs to the present condition
        return
    count = field.sites.count
    size = trees.size(section.state) // field.sites.padded
    if size == 0 or (size > DENSE_LIMIT and solver_of(fiber).symmetric):  # few steps of ARPACK tell little of these
        return
    chosen = np.unique(np.linspace(0, count - 1, _SITES).astype(int))
    conditions = field.bundle.macro.conditions(macro)
    states, conditions = jax.tree.map(
        lambda x: jnp.asarray(np.asarray(x[chosen])), (field.sites.trim(section.state), conditions)
    )
    growth = largest_growth(fiber, states, conditions)
    lost = np.flatnonzero(growth > _POSITIVE)
    if lost.size:
        site = int(chosen[lost[0]])
        condition = jax.tree.map(lambda x: np.asarray(x[int(lost[0])]).tolist(), conditions)
        warnings.warn(
            f"The rest point of {type(fiber).__name__} at site {site}, condition {condition}, is unstable: it solves the "
            "equation, but a relaxation would leave it. Check the sign of rate and the start of the solve (init), or let "
            "fx.Quasistatic(require_stable=True) make it a failure.",
            UnstableRestWarning,
            stacklevel=stacklevel,
        )

"""A smooth deterministic bundle as one ordinary differential equation in (U, section), for diffrax."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from fiberax.core import lagrangian
from fiberax.core.bundle import Bundle, check_fit
from fiberax.core.errors import Mismatch, MissingExtra
from fiberax.core.fiber import AbstractEnergy
from fiberax.core.link import apply_link
from fiberax.core.macro import Moving
from fiberax.core.relax import Relaxation, dynamic
from fiberax.numerics import linear, trees


def section(bundle: Bundle, macro0: Any, key: jax.Array | None = None) -> Any:
    """New states of all fibers, the second half of y0 = (U, section) for `coupled_ode`.

    Args:
        bundle: Macro model, fiber and link.
        macro0: The macrostate at the start.
        key: Seed of random initial states, default key 0.

    Returns:
        States with a leading site axis.

    Raises:
        Mismatch: The pieces do not fit.
    """
    check_fit(bundle, jax.tree.map(jnp.asarray, macro0))
    conditions = bundle.macro.conditions(macro0)
    count = jax.tree.leaves(conditions)[0].shape[0]
    keys = jax.random.split(jax.random.key(0) if key is None else key, count)
    return jax.vmap(dynamic(bundle.fiber).init)(conditions, keys)


def coupled_ode(bundle: Bundle, clock: float = 1.0):
    """The whole coupled system as a `diffrax.ODETerm` in y = (macrostate, section), see `section` for the start.

    For flow and energy fibers and their relaxations (4.1) of first and second order. Multipliers follow from the time
    derivatives of the constraints, including their motion with U, so that constraints are kept to the accuracy of the solver.

    Args:
        bundle: Macro model, fiber and link.
        clock: M, which slows the fibers: fiber time is 1/M of macro time.

    Returns:
        The term, for `diffrax.diffeqsolve`; its vector field gives d(macrostate, section)/dt, a tree like y.

    Raises:
        Mismatch: A fiber that is random or has only a step.
        MissingExtra: diffrax is not installed.
    """
    try:
        import diffrax
    except ImportError as error:
        raise MissingExtra("coupled_ode needs diffrax: install `fiberax[ode]`.") from error
    fiber = dynamic(bundle.fiber)
    if not isinstance(fiber, Relaxation):
        raise Mismatch(
            f"coupled_ode needs a flow or an energy fiber; {type(fiber).__name__} only has steps. Use fx.Seamless()."
        )

    def field(t, y, args):
        del args
        macro, states = bundle.macro.prescribed(jnp.asarray(t, jnp.result_type(float)), y[0]), y[1]

        def macro_rate(t, macro, states):
            conditions = bundle.macro.conditions(macro)
            response = jax.vmap(lambda s, c: apply_link(bundle.link, fiber, s, c))(states, conditions)
            return bundle.macro.rate(t, macro, response)

        rate = macro_rate(t, macro, states)
        conditions, moving = jax.jvp(bundle.macro.conditions, (macro,), (rate,))
        moving = jax.tree.map(lambda c: clock * c, moving)  # per unit of fiber time
        if not fiber.second_order:
            speed = jax.vmap(lambda s, c, dc: _first_order(fiber, s, c, dc))(states, conditions, moving)
        else:
            slow = jax.tree.map(lambda v: v / clock, Moving(states.velocity, jax.tree.map(jnp.zeros_like, states.velocity)))
            bending = _second_derivative(bundle, macro_rate, t, macro, states, rate, slow)
            bending = jax.tree.map(lambda c: clock**2 * c, bending)
            speed = jax.vmap(lambda s, c, dc, ddc: _second_order(fiber, s, c, dc, ddc))(states, conditions, moving, bending)
        return rate, jax.tree.map(lambda s: s / clock, speed)

    return diffrax.ODETerm(field)


def _second_derivative(bundle, macro_rate, t, macro, states, rate, slow):
    """d²/dt² of the conditions along the solution; the link of a relaxation does not depend on velocities."""
    acceleration = jax.jvp(macro_rate, (t, macro, states), (jnp.ones_like(t), rate, slow))[1]

    def first(macro, rate):
        return jax.jvp(bundle.macro.conditions, (macro,), (rate,))[1]

    return jax.jvp(first, (macro, rate), (rate, acceleration))[1]


def _with_multiplier(fiber: AbstractEnergy, state, condition, free, drift):
    """`free` + metric⁻¹ ∂gᵀ λ with ∂g·(result) = −drift."""
    if lagrangian.constraint_count(fiber, state, condition) == 0:
        return free
    flat, unravel = ravel_pytree(state)
    inverse = 1.0 / ravel_pytree(lagrangian.metric_tree(fiber, state))[0]
    jacobian = jax.jacrev(lambda u: fiber.constraint(unravel(u), condition))(flat)
    normal = jacobian * inverse
    velocity = ravel_pytree(free)[0]
    multiplier = linear.dense_solve(jacobian @ normal.T, -drift - jacobian @ velocity)
    return unravel(velocity + normal.T @ multiplier)


def _free_force(fiber, state, condition):
    if not isinstance(fiber, AbstractEnergy):
        return fiber.rate(state, condition)
    gradient = jax.grad(fiber.energy)(state, condition)
    return jax.tree.map(lambda g, m: -g / m, gradient, lagrangian.metric_tree(fiber, state))


def _first_order(relaxation: Relaxation, state, condition, moving):
    fiber = relaxation.inner
    free = jax.tree.map(lambda f: f / relaxation.friction, _free_force(fiber, state, condition))
    if not isinstance(fiber, AbstractEnergy):
        return free
    drift = jax.jvp(lambda c: fiber.constraint(state, c), (condition,), (moving,))[1]
    return _with_multiplier(fiber, state, condition, free, drift)


def _second_order(relaxation: Relaxation, state: Moving, condition, moving, bending):
    fiber = relaxation.inner
    position, velocity = state
    force = _free_force(fiber, position, condition)
    free = jax.tree.map(lambda f, v: (f - relaxation.friction * v) / relaxation.mass, force, velocity)
    if not isinstance(fiber, AbstractEnergy):
        return Moving(velocity, free)

    def along(s):
        u = trees.axpy(s, velocity, position)
        c = jax.tree.map(lambda c, dc, ddc: c + s * dc + 0.5 * s**2 * ddc, condition, moving, bending)
        return fiber.constraint(u, c)

    drift = jax.jvp(lambda s: jax.jvp(along, (s,), (jnp.ones(()),))[1], (jnp.zeros(()),), (jnp.ones(()),))[1]
    return Moving(velocity, _with_multiplier(fiber, position, condition, free, drift))

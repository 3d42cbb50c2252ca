"""Laws of drivers, over all models: nothing depends on chunks or on a restart, constraints hold along the way, and Seamless
becomes Quasistatic as friction and mass vanish.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax.testing import observed_order


class Keeper(fx.AbstractRecorder):
    """Takes a snapshot at each look."""

    def __init__(self):
        self.snapshots = []

    def due(self):
        return True

    def save(self, snapshot):
        self.snapshots.append(snapshot)

    def record(self, record):
        pass


def identical(x, y):
    for a, b in zip(jax.tree.leaves(x), jax.tree.leaves(y), strict=True):
        np.testing.assert_array_equal(a, b)


def constraint(fiber, sol):
    """Largest violation of the constraints of an energy fiber in the section of a solution, against conditions it was held at."""
    states = sol.section.state
    return np.abs(jax.vmap(fiber.constraint)(states, sol.macro[-1] if sol.macro.ndim == 2 else sol.macro)).max()


@pytest.mark.parametrize("driver", [fx.Quasistatic(), fx.Seamless(separation=np.inf)], ids=["quasistatic", "seamless"])
def test_chunks_restarts_and_constraints(model, driver, follow):
    fiber = model.fiber if driver.slaved else fx.relax(model.fiber, friction=0.1 * model.slow)
    bundle, keeper = fx.Bundle(follow, fiber), Keeper()
    go = lambda **options: fx.evolve(bundle, driver, model.conditions, t1=0.1, dt=0.025, saveat=[0.05, 0.1], **options)
    whole = go(checkpoint=keeper)
    assert not whole.result.any()
    moved = [np.abs(m[-1] - c).min() for m, c in zip(jax.tree.leaves(whole.macro), jax.tree.leaves(model.conditions), strict=True)]
    assert min(moved) > 1e-3

    middle = next(s for s in keeper.snapshots if s.step == 2)
    rest = go(start=middle)
    identical((whole.macro, whole.response), (rest.macro, rest.response) if len(rest.ts) == 2 else _last_two(whole, rest))
    identical(whole.section, rest.section)

    parts = go(placement=fx.Placement(chunk=2))  # three chunks, one padded row
    identical((whole.macro, whole.response, whole.section), (parts.macro, parts.response, parts.section))

    if isinstance(model.fiber, fx.AbstractEnergy):
        # The condition of the last solve: the guess of the last stage (slaved), or the macrostate before the last step.
        for sol in (whole,):
            violation = _violation(model.fiber, sol.section.state, sol, bundle, driver)
            assert violation.size == 0 or np.abs(violation).max() < 1e-12


def _last_two(whole, rest):
    """`rest` with the record that the snapshot already holds put in front."""
    join = lambda a, b: jax.tree.map(lambda x, y: np.concatenate([x[:1], y]), a, b)
    return join(whole.macro, rest.macro), join(whole.response, rest.response)


def _violation(fiber, states, sol, bundle, driver):
    """g at the states of a short extra run that ends where its fibers were last held."""
    if driver.slaved:
        conditions = sol.macro[-1]
        states = fx.responses(fiber, conditions).state
    else:
        held = fx.evolve(bundle, driver, sol.macro[-1], t1=1e-3, dt=1e-3)
        states, conditions = held.section.state, sol.macro[-1]
    return np.asarray(jax.vmap(fiber.constraint)(states, conditions))


def follow_equilibrium(model, follow, relaxed, dt, t1):
    """Distance of the macrostates of Seamless and Quasistatic at t1, all fibers starting in equilibrium."""
    bundle = fx.Bundle(follow, relaxed)
    sol = fx.evolve(bundle, fx.Seamless(separation=np.inf), model.conditions, t1=t1, dt=dt)
    return sol.macro


@pytest.mark.parametrize("kind", ["friction", "friction-and-mass"])
def test_seamless_becomes_quasistatic(model, kind, follow):
    """First order in friction and mass: runs longer, and steps shorter, than the relaxation times, or it means nothing."""
    dt, t1 = 0.002, 0.3
    exact = fx.evolve(fx.Bundle(follow, model.fiber), fx.Quasistatic(1e-10), model.conditions, t1=t1, dt=0.01).macro
    scales, errors = (0.04, 0.02, 0.01), []
    if kind == "friction-and-mass" and not isinstance(model.fiber, fx.AbstractEnergy):
        pytest.skip("inertia belongs to energies")
    for s in scales:
        # Critically damped for the slowest mode: m = s²·slow/4 with friction s·slow.
        mass = 0.0 if kind == "friction" else 0.25 * s**2 * model.slow
        relaxed = fx.relax(model.fiber, mass, s * model.slow)
        found = follow_equilibrium(model, follow, relaxed, dt, t1)
        errors.append(max(np.abs(a - b).max() for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(exact), strict=True)))
    assert errors[-1] > 1e-9  # not round-off
    assert 0.85 < observed_order(errors, scales) < 1.3, errors

"""Laws of drivers, over all models: nothing depends on chunks or on a restart, constraints hold along the way, and Seamless
becomes Quasistatic as friction and mass vanish.
"""

import jax
import numpy as np
import pytest
from keeper import Keeper

import fiberax as fx
from fiberax.testing import observed_order

QUASISTATIC, SEAMLESS = fx.Quasistatic(), fx.Seamless(separation=np.inf)

# They take long to compile; that a batch gives what its members give is tested on each model by test_fibers.py, and that the
# loop may work in chunks on the relatives of these: cell-1d and flux-cell, ground-state, conformation.
WHOLE = ("cell-2d", "quantum-chain", "dumbbell-density", "rod-density")


def compare(check, x, y):
    jax.tree.map(check, x, y)


def close(a, b):
    """Equal up to how the compiler vectorises a batch of another size."""
    a, b = np.asarray(a), np.asarray(b)
    np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12 * np.abs(b).max())


@pytest.mark.parametrize("driver", [QUASISTATIC, SEAMLESS], ids=["quasistatic", "seamless"])
def test_chunks_restarts_and_constraints(name, model, driver, follow):
    if not model.driven or not (driver.slaved or model.carried):
        pytest.skip("takes long to compile")
    # Implicit relaxation takes long to compile: two models stand for all.
    scheme = fx.Implicit() if name in ("cubic-flow", "shared-load") else fx.Explicit()
    fiber = model.fiber if driver.slaved else fx.relax(model.fiber, friction=0.4 * model.slow, scheme=scheme)
    bundle, keeper = fx.Bundle(follow, fiber), Keeper()
    options = {"t1": 0.08, "dt": 0.02, "saveat": [0.04, 0.06, 0.08], "stepper": fx.ForwardEuler()}
    whole = fx.evolve(bundle, driver, model.conditions, checkpoint=keeper, **options)
    assert not whole.result.any()
    jax.tree.map(lambda m, c: np.testing.assert_array_less(1e-3, np.abs(m[-1] - c)), whole.macro, model.conditions)

    snapshot = next(s for s in keeper.snapshots if s.step == 3)
    rest = fx.evolve(bundle, driver, model.conditions, start=snapshot, **options)
    part = jax.tree.map(lambda x: x[snapshot.saved :], (whole.ts, whole.macro, whole.response))
    compare(np.testing.assert_array_equal, (part, whole.section), ((rest.ts, rest.macro, rest.response), rest.section))

    if name not in WHOLE:
        chunks = fx.evolve(bundle, driver, model.conditions, placement=fx.Placement(chunk=2), **options)  # one padded row
        compare(close, (whole.macro, whole.response), (chunks.macro, chunks.response))
        compare(close, whole.section.state, chunks.section.state)

    if isinstance(model.fiber, fx.AbstractEnergy):  # at the end fibers have last been held at the macrostate one step back
        violation = jax.vmap(model.fiber.constraint)(whole.section.state, whole.macro[-2])
        assert violation.size == 0 or np.abs(violation).max() < 1e-12


@pytest.mark.parametrize("kind", ["friction", "friction-and-mass"])
def test_seamless_becomes_quasistatic(model, kind, follow):
    """First order in friction and mass: runs longer, and steps shorter, than the relaxation times, or it means nothing."""
    if kind == "friction-and-mass" and not isinstance(model.fiber, fx.AbstractEnergy):
        pytest.skip("inertia belongs to energies")
    if not model.carried:
        pytest.skip("takes long to compile")
    t1 = 0.2
    exact = fx.evolve(fx.Bundle(follow, model.fiber), fx.Quasistatic(1e-9), model.conditions, t1=t1, dt=0.0025).macro
    scales, errors = (0.04, 0.02, 0.01), []
    for s in scales:
        # Critical damping of the slowest mode: m = η²/(4 slow) with η = s·slow.
        mass = 0.0 if kind == "friction" else 0.25 * s**2 * model.slow
        relaxed = fx.relax(model.fiber, mass, s * model.slow, None if mass else fx.Explicit())
        found = fx.evolve(fx.Bundle(follow, relaxed), SEAMLESS, model.conditions, t1=t1, dt=s / 20).macro
        errors.append(max(np.abs(a - b).max() for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(exact), strict=True)))
    assert errors[-1] > 1e-8  # not round-off
    assert 0.85 < observed_order(errors, scales) < 1.3, errors

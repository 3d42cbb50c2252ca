import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx

sys.path.insert(0, str(Path(__file__).parent))
from bodies import NONE, NeoHooke

FIBER = NeoHooke()
# Longitudinal modulus at rest, with the lateral directions held: λ + 2μ.
SPEED = np.sqrt((1.5 + 2.0) / 2.0)


def bar(n, order, **options):
    """A strip that is periodic across, held at both ends, density 2: a longitudinal wave is one-dimensional."""
    mesh = fx.grids.quads((0, 0), (1, 2 / n), cells=(n, 2), periodic=(False, True), order=order)
    return fx.solids.Elasticity(mesh, density=2.0, **{"fixed": {"left": True, "right": True}, **options})


def run(body, start, t1, dt, **options):
    return fx.evolve(fx.Bundle(body, FIBER), fx.Quasistatic(), start, t1=t1, dt=dt, **options)


@pytest.mark.parametrize("order", [1, 2])
def test_a_small_standing_wave_has_the_frequency_of_linear_elasticity_and_keeps_its_energy(order):
    body = bar(16 // order, order)
    amplitude = 1e-4
    start = body.start(displacement=lambda x: amplitude * jnp.array([jnp.sin(jnp.pi * x[0]), 0.0]))
    period = 2.0 / SPEED
    sol = run(body, start, period, period / 100, saveat=np.linspace(0, period, 9), stepper=fx.Verlet())
    middle = int(np.flatnonzero(np.all(body.mesh.points[body.mesh.representatives] == [0.5, 0.0], axis=1))[0])
    swing = sol.macro.position[:, middle, 0] / amplitude
    # Error of the frequency: h² π²/24 at order 1, much less at order 2; and of the scheme.
    np.testing.assert_allclose(swing, np.cos(2 * np.pi * np.linspace(0, 1, 9)), atol={1: 2e-2, 2: 4e-3}[order])
    totals = [
        float(body.energy(jax.tree.map(lambda x, k=k: x[k], sol.macro), jax.vmap(lambda a: FIBER.energy(NONE, a))(gradients)))
        for k in range(9)
        for gradients in [body.conditions(fx.Moving(sol.macro.position[k], None))]
    ]
    assert np.ptp(totals) < 1e-3 * max(totals)
    np.testing.assert_allclose(
        sol.energy @ np.asarray(body.weights).ravel(), np.asarray(totals) - kinetic(body, sol), atol=1e-12
    )


def kinetic(body, sol):
    return 0.5 * np.einsum("n,tni->t", np.asarray(body.mass), sol.macro.velocity**2)


def test_newmark_is_of_second_order_and_keeps_nearly_the_energy_of_a_large_motion():
    body = bar(4, 1)
    start = body.start(displacement=lambda x: jnp.array([0.15 * jnp.sin(jnp.pi * x[0]), 0.0]))
    t1 = 0.8
    truth = run(body, start, t1, t1 / 512, stepper=fx.Verlet()).macro
    errors = []
    for steps in (16, 32):
        sol = run(body, start, t1, t1 / steps, saveat=[0.0, t1], stepper=fx.Newmark())
        errors.append(np.abs(sol.macro.position[-1] - truth.position[-1]).max())
    assert np.log2(errors[0] / errors[1]) == pytest.approx(2.0, abs=0.25)
    total = sol.energy @ np.asarray(body.weights).ravel() + kinetic(body, sol)
    assert total[1] == pytest.approx(total[0], rel=1e-2)


@pytest.mark.parametrize("stepper", [fx.Verlet(), fx.Newmark()])
def test_shaken_nodes_follow_what_is_prescribed(stepper):
    shake = lambda x, t: 0.02 * jnp.sin(5.0 * t)
    body = bar(4, 1, fixed={"left": True}, displacement={"right": {0: shake}})
    start = body.start()
    right = np.unique(body.mesh.unknowns[body.mesh.nodes("right")])
    np.testing.assert_allclose(start.velocity[right, 0], 0.1)
    errors = []
    for steps in (20, 40):
        sol = run(body, start, 1.0, 1.0 / steps, stepper=stepper)
        errors.append(np.abs(sol.macro.position[-1, right, 0] - shake(None, 1.0)).max())
        assert np.abs(sol.macro.position[-1, :, 0]).max() < 0.1
    assert errors[1] < 4e-4 and np.log2(errors[0] / errors[1]) == pytest.approx(2.0, abs=0.3)


def test_the_step_limit_is_that_of_the_highest_frequency():
    body = fx.solids.Elasticity(fx.grids.interval(cells=8), density=2.0, fixed={"left": True, "right": True})
    limit = fx.stiffness(fx.Bundle(body, FIBER), body.start())
    # Lumped linear elements have ω = 2c/h sin(kh/2), and k ≤ 7π between ends that are held; the eigenvalues are ±iω.
    assert abs(limit.eigenvalue) == pytest.approx(2 * SPEED * 8 * np.sin(7 * np.pi / 16), rel=1e-3)
    assert limit.step == pytest.approx(2 / abs(limit.eigenvalue))


@pytest.mark.filterwarnings("ignore:jax computes in single precision")
@pytest.mark.parametrize("stepper", [None, fx.Newmark(tolerance=1e-5, max_steps=1)])
def test_solves_that_fail_in_single_precision_say_that_it_is_on(stepper):
    """A large load in one Newton step: refused in both precisions, with a word on single precision there alone."""

    def words():
        mesh = fx.grids.quads((0.0, 0.0), (2.0, 1.0), cells=(4, 2))
        body = fx.solids.Elasticity(mesh, fixed={"left": True}, traction={"right": (0.0, 0.1)})
        bundle, driver = fx.Bundle(body, NeoHooke()), fx.Quasistatic(1e-5)
        with pytest.raises(fx.NotConverged) as caught:
            if stepper is None:
                fx.steady(bundle, driver, body.start(), tolerance=1e-5, max_steps=1)
            else:
                fx.evolve(bundle, driver, body.start(), t1=2.0, dt=1.0, stepper=stepper)
        return str(caught.value)

    hint = "Double precision is off, and in single precision a tight tolerance may be out of reach"
    assert hint not in words()
    with jax.enable_x64(False):
        assert hint in words()

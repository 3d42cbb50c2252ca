"""Ensembles: their errors against the spread between them, control by an ensemble at rest, and what may be interpolated."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx

Dumbbell, Chain, Rod, FENE = fx.fluids.Dumbbell, fx.fluids.Chain, fx.fluids.Rod, fx.fluids.FENE
COUNT, MEMBERS = 300, 40


def shear(rate, dim=2):
    return jnp.zeros((dim, dim)).at[0, 1].set(rate)


@eqx.filter_jit
def _follow(fiber, kappa, steps, dt, keys):
    """All that does not change the code is an argument: compilation is what takes time here."""

    def one(key):
        move = lambda k, state: fiber.step(state, kappa, dt, jax.random.fold_in(key, k))
        shape = (fiber.springs, fiber.dim) if isinstance(fiber, Chain) else (fiber.dim,)
        start = jax.random.normal(jax.random.fold_in(key, steps), (*shape, fiber.members))
        start = start / jnp.sqrt(jnp.sum(start**2, axis=0)) if isinstance(fiber, Rod) else start
        state = fx.fluids.Controlled(start, start) if fiber.control else start
        state = jax.lax.fori_loop(0, steps, move, state)
        return fiber.link(state, kappa), fiber.standard_error(state, kappa)

    return jax.vmap(one)(keys)


def ensembles(fiber, kappa, steps, dt):
    """Stresses (count, dim, dim) of independent ensembles after a start-up, and the standard errors that they give."""
    keys = jax.random.split(jax.random.key(1), COUNT)
    return tuple(np.asarray(x) for x in _follow(fiber, kappa, jnp.asarray(steps), jnp.asarray(dt), keys))


def honest(stress, error):
    """The error is the spread: both have relative errors of about √(k/count), k = 2 and more with long tails."""
    spread, mean = stress.std(axis=0, ddof=1), np.sqrt(np.mean(error**2, axis=0))
    noisy = spread > 1e-9
    np.testing.assert_allclose(mean[noisy], spread[noisy], rtol=4.0 * (3.0 / COUNT) ** 0.5)
    return spread


@pytest.mark.parametrize("control", [False, True])
def test_hookean_dumbbells(control):
    """Var(z_x z_y) = 1 + 3 Wi² without control, and 3 Wi² with it: z − z₀ is linear in κ and the noise."""
    Wi = 0.2
    stress, error = ensembles(Dumbbell(members=MEMBERS, control=control), shear(Wi), 60, 0.1)
    spread = honest(stress, error)[0, 1]
    np.testing.assert_allclose(spread, np.sqrt((0.0 if control else 1.0) + 3.0 * Wi**2) / MEMBERS**0.5, rtol=0.2)
    assert abs(stress[:, 0, 1].mean() - Wi) < 4.0 * spread / COUNT**0.5
    assert abs(stress[:, 1, 1].mean() - 1.0) < (1e-12 if control else 4.0 * (2.0 / (COUNT * MEMBERS)) ** 0.5)


def test_chains_with_control():
    fiber, found = Chain(FENE(30.0), springs=3, members=MEMBERS, De=0.5, control=True), []
    for rate in (1e-3, 1.0):  # the error is proportional to the rate
        found.append(honest(*ensembles(fiber, shear(rate), 50, 0.1))[0, 1] / rate)
    np.testing.assert_allclose(*found, rtol=0.3)


def test_rods_with_control():
    fiber, found = Rod(members=MEMBERS, control=True), []
    for rate in (1e-3, 1.0):
        stress, error = ensembles(fiber, shear(rate, 3), 40, 0.025)
        found.append(honest(stress, error)[0, 1] / rate if rate == 1.0 else stress[:, 0, 1].std() / rate)
        # Start-up is over to e^(−6) of 1/10; the scheme's bias is of order dt².
        assert abs(stress[:, 0, 1].mean() / rate - 2.0 / 15.0) < 4.0 * found[-1] / COUNT**0.5 + (2e-3 if rate < 1.0 else 1e-2)
    assert found[0] < 3.0 * found[1]  # proportional to the rate but for a logarithm, see `Rod`


def test_rods_are_independent_but_for_their_mean_field():
    """Fluctuations of ⟨mm⟩ about the isotropic state grow by 1/(1 − N/5) in variance, of which members know nothing."""
    dilute, error = ensembles(Rod(members=MEMBERS), shear(1e-3, 3), 60, 0.03)
    honest(dilute, error)
    crowded, _ = ensembles(Rod(fx.fluids.MaierSaupe(3.0), members=MEMBERS), shear(1e-3, 3), 60, 0.03)
    second = crowded[:, 0, 2] / (1.0 - 3.0 / 5.0)  # the stress is that of ⟨mm⟩ less its own field
    assert 1.6 < second.var() / dilute[:, 0, 2].var() < 3.6  # 2.5
    assert Dumbbell(members=1).standard_error(jnp.ones((2, 1)), shear(1.0)) is None


def test_springs_of_an_interpolation_stay_off_their_limit():
    safe = jnp.asarray([[1.0, 3.0, 2.0], [0.0, 0.0, 0.0]])
    new = jnp.asarray([[1.1, 3.15, 4.0], [0.1, 0.0, 0.0]])  # fine, within reach but near the pole, out of reach
    for fiber, shape in ((Dumbbell(FENE(10.0)), (2, 3)), (Chain(FENE(10.0), springs=1), (1, 2, 3))):
        found = np.asarray(fiber.mixing.limit(new.reshape(shape), safe.reshape(shape))).reshape(2, 3)
        np.testing.assert_array_equal(found, np.stack([new[:, 0], safe[:, 1], safe[:, 2]], axis=1))
    np.testing.assert_array_equal(Dumbbell().mixing.limit(new, safe), new)
    pair = Dumbbell(FENE(10.0), control=True).mixing.limit(*(fx.fluids.Controlled(x, x) for x in (new, safe)))
    np.testing.assert_array_equal(pair.members, pair.rest)
    np.testing.assert_array_equal(pair.rest[:, 2], safe[:, 2])


def test_rods_are_the_same_head_to_tail():
    fiber, rng = Rod(members=50), np.random.default_rng(0)
    state, other = (x / np.linalg.norm(x, axis=0) for x in rng.standard_normal((2, 3, 50)))
    turned = np.asarray(fiber.mixing.align(jnp.asarray(state), jnp.asarray(other)))
    assert np.all(np.sum(turned * other, axis=0) >= 0.0) and np.any(turned != state)
    np.testing.assert_array_equal(np.abs(turned), np.abs(state))
    new = np.asarray(fiber.mixing.limit(jnp.asarray(1.3 * turned), jnp.asarray(turned)))
    np.testing.assert_allclose(new, turned, atol=1e-15)
    lost = np.asarray(fiber.mixing.limit(jnp.asarray(-1e-3 * turned), jnp.asarray(0.5 * turned)))
    np.testing.assert_allclose(lost, turned, atol=1e-15)


@pytest.mark.parametrize("dim", [2, 3])
def test_conformations_stay_positive(dim):
    fiber, rng = fx.fluids.GaussianDensity(dim), np.random.default_rng(dim)
    kept = 0
    for _ in range(40):
        root, noise = rng.standard_normal((2, dim, dim))
        safe, bend = root @ root.T, noise + noise.T
        found = np.asarray(fiber.mixing.limit(jnp.asarray(safe + 0.3 * bend), jnp.asarray(safe)))
        positive = np.linalg.eigvalsh(0.75 * safe + 0.3 * bend).min() > 0.0
        np.testing.assert_array_equal(found, safe + 0.3 * bend if positive else safe)
        kept += positive
    assert 3 < kept < 37


def test_who_may_be_mixed():
    for fiber in (Dumbbell(), Chain(), Rod(), fx.fluids.GaussianDensity(), fx.fluids.RodDensity(degree=4)):
        assert fiber.mixing.refusal == ""
    assert "fluctuate less" in fx.diffusion.GinzburgLandau(lambda x: x**2).mixing.refusal

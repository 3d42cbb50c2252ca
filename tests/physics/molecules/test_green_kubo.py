"""Viscosity of boxes at rest from fluctuations: an ideal gas, the definition, what is refused."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax.physics.molecules.start import packed

m = fx.molecules
REST = jnp.zeros((3, 3))


def box(potential, particles=27, density=0.6, **options):
    return m.Box(potential, particles, density, start=packed(particles), **options)


def test_an_ideal_gas_has_the_modulus_of_its_momenta():
    """Nothing changes its stress: G = ρT at all times, and the integral is ρTt."""
    gas = m.GreenKubo(box(m.Pair(lambda r: 0.0 * r, 0.8), 125, temperature=1.7), window=0.08)
    assert gas.samples == 3

    @jax.jit
    def answers(keys):
        one = lambda key: gas.link(gas.init(REST, key), REST)
        return jax.lax.map(one, keys)

    found = answers(jax.random.split(jax.random.key(3), 300))
    np.testing.assert_allclose(found["time"][0], [0.0, 0.04, 0.08], atol=1e-15)
    G = np.asarray(found["modulus"])
    np.testing.assert_allclose(G, G[:, :1] * np.ones(3), rtol=1e-9)
    np.testing.assert_allclose(found["viscosity"], G * np.asarray(found["time"]), rtol=1e-9, atol=1e-12)
    # Five independent entries of each of 300 boxes: 2.6 %.
    assert abs(G[:, 0].mean() / (0.6 * 1.7) - 1.0) < 4.0 * (2.0 / 1500.0) ** 0.5


def test_products_are_those_of_the_definition():
    """From the stresses of the box alone, followed by hand; an antisymmetric part and the pressure do not count."""
    inner = box(m.WCA())
    fiber, dt = m.GreenKubo(inner, window=0.16), inner.timestep(REST)
    state = eqx.filter_jit(fiber.init)(REST, jax.random.key(0))
    step, plain = eqx.filter_jit(fiber.step), eqx.filter_jit(inner.step)
    now, series = state.box, []
    for k in range(fiber.samples):
        key = jax.random.key(k)
        state, now = step(state, REST, dt, key), plain(now, REST, dt, key)
        series.append(np.asarray(now.stress))
    found = fiber.link(state, REST)
    volume = 27 / 0.6
    entries = []
    for s in series:
        s = 0.5 * (s + s.T)
        diagonal = (s[0, 0] - s[1, 1]) / 2.0, (s[0, 0] + s[1, 1] - 2.0 * s[2, 2]) / np.sqrt(12.0)
        entries.append([s[0, 1], s[0, 2], s[1, 2], *diagonal])
    entries = np.array(entries)[::-1]
    G = volume / 5.0 * entries @ entries[0]  # V/T of the mean over five entries, each as σ_xy
    np.testing.assert_allclose(found["modulus"], G, rtol=1e-10)
    eta = [float(dt) * (np.sum(G[: k + 1]) - 0.5 * (G[0] + G[k])) for k in range(len(G))]
    np.testing.assert_allclose(found["viscosity"], eta, rtol=1e-10, atol=1e-14)
    assert int(fiber.verdict(state)) == 0 and G[0] > 0.0


def test_a_flow_is_remarked_and_failures_are_those_of_the_box():
    fiber = m.GreenKubo(box(m.WCA()), window=0.08)
    assert fiber.remark(np.zeros((1, 3, 3))) == ""
    assert "at rest only" in fiber.remark(np.ones((1, 3, 3)))
    state = eqx.filter_jit(fiber.init)(REST, jax.random.key(0))
    bad = state._replace(box=state.box._replace(code=jnp.int32(101)))
    assert int(fiber.verdict(bad)) == 101 and "skin" in fiber.remedy(101)
    assert float(fiber.relaxation_time(REST)) == 0.5 and fiber.workspace == fiber.box.workspace


@pytest.mark.parametrize(("arguments", "words"), [((3.0,), "must be a fx.molecules.Box"), ((0.05,), "at least two steps")])
def test_refusals(arguments, words):
    inner = box(m.WCA())
    with pytest.raises(fx.BadInput, match=words):
        m.GreenKubo(*(arguments if words.startswith("must") else (inner, *arguments)))

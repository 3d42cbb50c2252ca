"""The quantum chain (4.13)-(4.20), mended: exact solutions, the stress in all its forms, stability, decay of deviations."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import ellipe, ellipj, ellipk

import fiberax as fx
from fiberax.core.equilibrium import following
from fiberax.core.lagrangian import multipliers

N, A = 48, 0.1
LENGTH = 1.0 + A


class Contact(eqx.Module):
    """V = g s²/2, with g a parameter: one compiled program for all g."""

    g: jax.Array = eqx.field(converter=jnp.asarray)

    def __call__(self, s):
        return 0.5 * self.g * s**2


def chain(g, external=None):
    return fx.solids.QuantumChain(Contact(float(g)), external, n=N)


def exact(g, length):
    """ψ = a dn(bz|m) on one period: a² = −2b²/g, b = 2K/L, K(m) E(m) = −gL/8. Returns ψ at 4096 points, W and λ."""
    m = brentq(lambda m: ellipk(m) * ellipe(m) + g * length / 8.0, 1e-12, 1.0 - 1e-14, xtol=1e-16)
    b = 2.0 * ellipk(m) / length
    sn, cn, dn, _ = ellipj(b * length * np.arange(4096) / 4096, m)
    a = b * np.sqrt(-2.0 / g)
    psi, slope = a * dn, -a * b * m * sn * cn
    return psi, length * np.mean(slope**2 + 0.5 * g * psi**4), -(b**2) * (2.0 - m)


def derivative(phi):
    """ϕ_y of a smooth periodic function on a grid."""
    k = np.fft.rfftfreq(len(phi), 1.0 / len(phi))
    return np.fft.irfft(2j * np.pi * k * np.fft.rfft(phi), len(phi))


@pytest.fixture(scope="module")
def lobe():
    """The modulated ground state at g = −30."""
    found = fx.response(chain(-30.0), A, tangent=True, tolerance=1e-12)
    assert found.result == 0
    return found


def test_ground_state_of_attracting_electrons_is_the_exact_one(lobe):
    psi, energy, lam = exact(-30.0, LENGTH)
    np.testing.assert_allclose([energy, lam], [-18.870402524724, -55.600795122951], rtol=1e-12)  # public values
    np.testing.assert_allclose(lobe.energy, energy, rtol=1e-12)
    np.testing.assert_allclose(multipliers(chain(-30.0), lobe.state, A), lam, rtol=1e-12)
    np.testing.assert_allclose(lobe.value, 0.918556773836, rtol=1e-11)
    centre = int(np.argmax(lobe.state))
    np.testing.assert_allclose(np.roll(lobe.state, -centre), np.sqrt(LENGTH) * np.interp(
        np.arange(N) / N, np.arange(4096) / 4096, psi), atol=1e-4)  # fmt: skip
    h = 1e-3
    energies = np.array([exact(-30.0, LENGTH + k * h)[1] for k in (-2, -1, 0, 1, 2)])
    np.testing.assert_allclose(lobe.value, energies @ [1, -8, 0, 8, -1] / (12 * h), rtol=1e-8)
    np.testing.assert_allclose(lobe.tangent, energies @ [-1, 16, -30, 16, -1] / (12 * h**2), rtol=1e-5)


def test_mended_stress_is_constant_and_the_printed_one_is_not(lobe):
    """(4.18) and (4.19) with −|ψ_z|², and as printed, on a lobe a quarter of the cell off z = 0."""
    phi = np.roll(lobe.state, N // 4 - int(np.argmax(lobe.state)))
    psi, slope = phi / np.sqrt(LENGTH), derivative(phi) / LENGTH**1.5
    lam = -55.600795122951
    rest = 0.5 * -30.0 * psi**4 - lam * psi**2
    np.testing.assert_allclose(-(slope**2) + rest, lobe.value, atol=1e-8)  # (4.18), at every z
    np.testing.assert_allclose(np.mean(-(slope**2) + rest), lobe.value, rtol=1e-11)  # (4.19), a mean over z
    printed = slope**2 + rest
    np.testing.assert_allclose(printed[0], 24.762424988544, rtol=1e-9)  # (4.16), at z = 0
    assert np.ptp(printed) > 20.0 and abs(np.mean(printed) - lobe.value) > 1.0
    # The link gives the same for a lobe that stands elsewhere, also between grid points.
    wave = np.exp(-2j * np.pi * 0.3 / N * np.fft.rfftfreq(N, 1.0 / N))
    moved = np.fft.irfft(wave * np.fft.rfft(phi), N)
    again = fx.response(chain(-30.0), A, state=jnp.asarray(moved), tangent=True, tolerance=1e-12)
    np.testing.assert_allclose(np.argmax(again.state), np.argmax(moved), atol=0)
    np.testing.assert_allclose([again.value, again.tangent], [lobe.value, lobe.tangent], rtol=1e-9)


def test_the_state_moves_with_the_strain_but_not_along_its_zero_mode(lobe):
    """dϕ/dA is the smallest solution: it has no part along ϕ_y, though nothing in the equations holds the lobe in place."""
    fiber = chain(-30.0)
    moved = jax.jit(jax.jacfwd(lambda a: following(fiber, lobe.state, a)))(A)
    drift = derivative(lobe.state)
    assert abs(moved @ drift) < 1e-8 * np.linalg.norm(moved) * np.linalg.norm(drift)
    h, rolled = 1e-4, []
    for a in (A - h, A + h):
        rolled.append(fx.response(fiber, a, state=lobe.state, tolerance=1e-12).state)
    np.testing.assert_allclose(moved, (rolled[1] - rolled[0]) / (2 * h), atol=1e-5 * np.abs(moved).max())


def test_the_constant_loses_stability_where_it_should():
    """At g = −2π²/(1 + A): exactly constant above, modulated below, with the right response and tangent on both sides."""
    critical = -2.0 * np.pi**2 / LENGTH
    above = fx.response(chain(critical + 0.05), A, tangent=True, tolerance=1e-12)
    g = critical + 0.05
    assert np.ptp(above.state) < 1e-12 and above.result == 0
    np.testing.assert_allclose(
        [above.energy, above.value, above.tangent], [g / (2 * LENGTH), -g / (2 * LENGTH**2), g / LENGTH**3], rtol=1e-11
    )
    g = critical - 0.5
    below = fx.response(chain(g), A, tangent=True, tolerance=1e-12)
    energies = [exact(g, LENGTH + k * 1e-3)[1] for k in (-2, -1, 0, 1, 2)]
    assert np.ptp(below.state) > 0.1 and below.result == 0 and below.energy < g / (2 * LENGTH)
    np.testing.assert_allclose(below.energy, energies[2], rtol=1e-12)
    np.testing.assert_allclose(below.value, energies @ np.array([1, -8, 0, 8, -1]) / 12e-3, rtol=1e-7)
    np.testing.assert_allclose(below.tangent, energies @ np.array([-1, 16, -30, 16, -1]) / 12e-6, rtol=1e-4)


def v(y):
    return -20.0 * jnp.cos(2.0 * jnp.pi * y) - 10.0 * jnp.sin(4.0 * jnp.pi * y)


def linear_ground(strain):
    """Smallest eigenvalue of −∂_zz + v(z/(1 + A)) in plane waves."""
    k = np.arange(-20, 21)
    h = np.diag((2.0 * np.pi * k / (1.0 + strain)) ** 2).astype(complex)
    h += np.diag([-10.0] * 40, 1) + np.diag([-10.0] * 40, -1) + np.diag([5j] * 39, 2) + np.diag([-5j] * 39, -2)
    return np.linalg.eigvalsh(h)[0]


def test_an_external_potential_moves_with_the_chain():
    """Without V the ground state is an eigenvalue; with it the mean of −|ψ_z|² + V + vψ² − λψ² is the force."""
    found = fx.response(chain(0.0, v), A, tangent=True, tolerance=1e-12)
    h = 1e-2
    energies = np.array([linear_ground(A + k * h) for k in (-2, -1, 0, 1, 2)])
    np.testing.assert_allclose(found.energy, energies[2], rtol=1e-12)
    np.testing.assert_allclose(found.value, energies @ [1, -8, 0, 8, -1] / (12 * h), rtol=1e-6)
    np.testing.assert_allclose(found.tangent, energies @ [-1, 16, -30, 16, -1] / (12 * h**2), rtol=1e-5)

    fiber = chain(12.0, v)
    found = fx.response(fiber, A, tangent=True, tolerance=1e-12)
    lam = multipliers(fiber, found.state, A)
    psi, slope = found.state / np.sqrt(LENGTH), derivative(found.state) / LENGTH**1.5
    stress = -(slope**2) + 6.0 * psi**4 + fiber.external * psi**2 - lam * psi**2
    np.testing.assert_allclose(np.mean(stress), found.value, rtol=1e-10)
    assert np.ptp(stress) > 1.0  # no stress point by point


def march(relaxation, state, dt, steps):
    """States after each step."""

    def body(state, _):
        state = relaxation.step(state, jnp.asarray(A), jnp.asarray(dt), jax.random.key(0))
        return state, state

    return jax.jit(lambda s: jax.lax.scan(body, s, None, length=steps)[1])(state)


@pytest.mark.parametrize("mass", [0.0, 0.5], ids=["first order", "second order"])
@pytest.mark.parametrize("k", [1, 3])
def test_deviations_decay_as_the_linear_theory_says(mass, k):
    """m s² + η s + 2κ_k = 0, κ_k = (2πk/(1 + A))² + 2g/(1 + A): the factor 2 because δW/δϕ is twice (4.15)."""
    g, friction, n, dt, steps = 9.0, 3.0, 16, 5e-4, 400
    fiber = fx.solids.QuantumChain(Contact(g), n=n)
    kappa = (2.0 * np.pi * k / LENGTH) ** 2 + 2.0 * g / LENGTH
    wave = np.cos(2.0 * np.pi * k * np.arange(n) / n)
    start = jnp.asarray(1.0 + 1e-5 * wave)
    state = fx.Moving(start, jnp.zeros(n)) if mass else start
    states = march(fx.relax(fiber, mass, friction, None if mass else fx.Explicit()), state, dt, steps)
    positions = states.position if mass else states
    found = 2.0 * np.mean(positions * wave, axis=1) / 1e-5
    t = dt * np.arange(1, steps + 1)
    s = np.poly1d([mass, friction, 2.0 * kappa]).roots.astype(complex)
    weights = np.linalg.solve(np.vander(s, increasing=True).T, [1.0] if len(s) == 1 else [1.0, 0.0])
    truth = (np.exp(np.outer(t, s)) @ weights).real
    assert np.abs(truth - 1.0).max() > 0.5  # something happens
    np.testing.assert_allclose(found, truth, atol=2e-3)


@pytest.mark.parametrize("mass", [0.0, 0.02], ids=["first order", "second order"])
def test_the_constraint_holds_to_round_off_and_the_energy_law_holds(mass):
    """Thousands of steps from far off: ∫ϕ² = 1, its time derivative 0, and the energy falls to the ground state's."""
    fiber = fx.solids.QuantumChain(Contact(-30.0), n=16)
    relaxation = fx.relax(fiber, mass, 0.5, None if mass else fx.Explicit())
    start = fx.solids.QuantumChain(Contact(-30.0), lambda y: -jnp.cos(2.0 * jnp.pi * y), n=16).init(jnp.asarray(A), None)
    start = 0.5 * (start + 1.0 + 0.3 * np.sin(4.0 * np.pi * np.arange(16) / 16))  # off the constraint as well
    states = march(relaxation, fx.Moving(start, jnp.zeros(16)) if mass else start, 2e-4, 3000)
    positions = states.position if mass else states
    np.testing.assert_allclose(jnp.mean(positions**2, axis=1), 1.0, atol=1e-14)
    energy = jax.vmap(relaxation.total_energy, (0, None))(states, A)
    assert np.all(np.diff(energy) < 1e-4 * np.ptp(energy)) and np.ptp(energy) > 1.0
    if mass:
        np.testing.assert_allclose(jnp.mean(positions * states.velocity, axis=1), 0.0, atol=1e-13)
    np.testing.assert_allclose(energy[-1], fx.response(fiber, A).energy, rtol=1e-3)


def test_a_cell_turned_inside_out_is_refused():
    found = fx.response(fx.solids.QuantumChain(Contact(1.0), n=16), -1.2)
    assert found.result == fx.Result.NONFINITE
    assert np.isnan(found.value)
    assert np.isnan(found.energy)


@pytest.mark.parametrize("n", [16, 64])
def test_a_wave_function_that_falls_into_one_point_is_no_answer(n):
    """V = -40 s⁴ beats the kinetic energy of any narrow lobe: the energy is unbounded below, whatever the grid."""
    chain = fx.solids.QuantumChain(lambda s: -40.0 * s**4, n=n)
    assert fx.response(chain, 0.0).result == fx.Result.OUT_OF_RANGE
    assert "larger n" in chain.remedy(fx.Result.OUT_OF_RANGE) and chain.remedy(fx.Result.STALLED) == ""


def test_misuse_is_named():
    with pytest.raises(fx.BadInput, match="n = 2; give a whole number"):
        fx.solids.QuantumChain(Contact(1.0), n=2)
    with pytest.raises(fx.BadInput, match=r"external has the shape \(5,\); give a function of y, or n = 16 values"):
        fx.solids.QuantumChain(Contact(1.0), np.ones(5), n=16)
    with pytest.raises(fx.BadInput, match="V must be a function of the density s"):
        fx.solids.QuantumChain(None)

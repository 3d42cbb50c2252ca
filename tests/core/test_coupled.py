"""`fx.coupled_ode`: first and second order, constraints that move, energy law and dispersion relation."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax.testing import CubicFlow, Decay, ElasticWave, Motion, OrnsteinUhlenbeck, SharedLoad, TwoSpringChain


def integrate(bundle, y0, t1, saves=9, clock=1.0):
    return diffrax.diffeqsolve(
        fx.coupled_ode(bundle, clock),
        diffrax.Dopri8(),
        t0=0.0,
        t1=t1,
        dt0=1e-3,
        y0=y0,
        saveat=diffrax.SaveAt(ts=jnp.linspace(0.0, t1, saves)),
        stepsize_controller=diffrax.PIDController(rtol=1e-11, atol=1e-12),
        max_steps=100_000,
    )


def test_first_order_flow_in_closed_form():
    """u' = (U − u)/(ηM), U' = −u: a damped oscillator."""
    bundle = fx.Bundle(Decay(2), fx.relax(CubicFlow(a=0.0), friction=0.5))
    start = jnp.asarray([1.0, 2.0])
    found = integrate(bundle, (start, fx.section(bundle, start)), 1.0, clock=3.0)
    matrix = np.asarray([[0.0, -1.0], [1 / 1.5, -1 / 1.5]])
    values, vectors = np.linalg.eig(matrix)
    truth = [(vectors @ np.diag(np.exp(values * t)) @ np.linalg.inv(vectors) @ [1.0, 0.0]).real for t in found.ts]
    np.testing.assert_allclose(found.ys[0][:, 0], np.asarray(truth)[:, 0], rtol=1e-8)
    np.testing.assert_allclose(found.ys[1][:, 1], 2.0 * np.asarray(truth)[:, 1], atol=1e-8)


LOAD = SharedLoad(jnp.asarray([1.0, 2.0, 5.0]))


@pytest.mark.parametrize("mass", [0.0, 0.4])
def test_moving_constraints_are_kept(mass):
    """mean(u) = U while U decays; in second order the mean of the velocity is dU/dt as well (section 12 on (4.8))."""
    bundle = fx.Bundle(Decay(2), fx.relax(LOAD, mass, 0.3))
    start = jnp.asarray([1.0, 2.0])
    states = fx.section(bundle, start)
    if mass:  # velocities that keep the constraint from the start
        rate = -jax.vmap(LOAD.link)(states.position, start)
        states = fx.Moving(states.position, jnp.broadcast_to(rate[:, None], (2, 3)))
    found = integrate(bundle, (start, states), 1.0, clock=1.0)
    macro, states = found.ys
    position = states.position if mass else states
    assert np.abs(macro[-1] - macro[0]).min() > 0.1
    np.testing.assert_allclose(jnp.mean(position, axis=-1), macro, rtol=1e-9)
    if mass:
        rate = -jax.vmap(jax.vmap(LOAD.link))(position, macro)
        np.testing.assert_allclose(jnp.mean(states.velocity, axis=-1), rate, rtol=1e-7)


def energy(bundle, macro, states, mass):
    """Total energy of the wave on chains: ∫ ½v² + W(A, p) + ½m p'²."""
    chain = bundle.fiber.inner
    inner = jax.vmap(chain.energy)(states.position, macro.strain) + 0.5 * mass * states.velocity**2
    return jnp.mean(0.5 * macro.velocity**2 + inner)


@pytest.mark.parametrize("friction", [0.0, 0.2])
def test_energy_law_of_the_diatomic_chain(friction):
    """(4.9)-(4.12), nonlinear: constant without friction, decreasing with it."""
    bundle = fx.Bundle(ElasticWave(8), fx.relax(TwoSpringChain(k=1.0, q=6.0), mass=0.05, friction=friction))
    strain = 0.4 * jnp.cos(2 * jnp.pi * jnp.arange(8) / 8) + 0.1
    macro = Motion(strain, jnp.zeros(8))
    found = integrate(bundle, (macro, fx.section(bundle, macro)), 1.0)
    total = jax.vmap(lambda m, s: energy(bundle, m, s, 0.05))(*found.ys)
    exchange = jnp.ptp(jnp.mean(0.5 * found.ys[0].velocity ** 2, axis=1))
    assert exchange > 0.05 * total[0]  # there is something to conserve
    if friction == 0.0:
        np.testing.assert_allclose(total, total[0], rtol=1e-8)
    else:
        assert np.all(np.diff(total) < 0.0) and total[-1] < 0.98 * total[0]


@pytest.mark.parametrize("mass, friction", [(0.05, 0.0), (0.05, 0.1), (0.0, 0.1)])
def test_dispersion_of_the_linear_chain(mass, friction):
    """ω² = q²V''(1 − V''/(2V'' − iωη − mω²)) (4.12), all branches, from the Jacobian of the coupled system."""
    cells, stiffness = 6, 1.7
    bundle = fx.Bundle(ElasticWave(cells), fx.relax(TwoSpringChain(k=stiffness), mass, friction))
    macro = Motion(jnp.zeros(cells), jnp.zeros(cells))
    y0 = (macro, fx.section(bundle, macro))
    flat, unravel = jax.flatten_util.ravel_pytree(y0)
    term = fx.coupled_ode(bundle)
    jacobian = jax.jacfwd(lambda y: jax.flatten_util.ravel_pytree(term.vf(0.0, unravel(y), None))[0])(flat)
    found = 1j * np.linalg.eigvals(np.asarray(jacobian))  # y ~ exp(−iωt)
    for j in range(1, cells // 2 + 1):
        q2 = (2.0 * cells * np.sin(np.pi * j / cells)) ** 2  # of the discrete second derivative
        # (ω² − q²V'')(2V'' − iωη − mω²) + q²V''² = 0
        chain = np.asarray([-mass, -1j * friction, 2.0 * stiffness])
        polynomial = np.polyadd(np.polymul([1.0, 0.0, -q2 * stiffness], chain), [q2 * stiffness**2])
        for omega in np.roots(np.trim_zeros(polynomial, "f")):
            assert np.abs(found - omega).min() < 1e-7 * max(1.0, abs(omega)), (j, omega)


def test_random_and_stepping_fibers_are_refused():
    with pytest.raises(fx.Mismatch, match="only has steps"):
        fx.coupled_ode(fx.Bundle(Decay(2), OrnsteinUhlenbeck()))
